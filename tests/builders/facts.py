"""What billing says of one subscriber, from the strings of a file's line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from decimal import Decimal

from agent.billing_model import days
from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.inventory.facts import Billing, BillingTerms
from agent.inventory.ledger import BY_SOURCE, FILE, KeptAccount, KeptPayment

LONG = BillingTerms(max_age_s=604_800)


def at(text: str, zone: tzinfo = UTC) -> float:
    """Return the first moment that a text may mean, unix seconds."""
    return days.when_untrusted(text, zone).first_s


def payment(
    paid_at: str,
    *,
    source: str = FILE,
    state: PaymentState = PaymentState.SETTLED,
    learned_s: float | None = None,
    settled_s: float | None = None,
    zone: tzinfo = UTC,
) -> KeptPayment:
    """Return a payment of C-1; unless told, it was heard of when it was made."""
    paid = days.when_untrusted(paid_at, zone)
    told = Payment(f"C-1 {paid_at}", "C-1", "C-1", Decimal(0), "", paid, state)
    learned = paid.last_s if learned_s is None else learned_s
    settled = (learned if state is PaymentState.SETTLED else 0.0) if settled_s is None else settled_s
    return KeptPayment(source, told, learned, settled, "C-1", BY_SOURCE)


def account(balance: str, due: str, as_of: str, zone: tzinfo = UTC) -> tuple[Account, float]:
    """Return an account, and the last moment of which it can be."""
    owed, when = Decimal(balance), days.when_untrusted(as_of, zone)
    day = days.when_untrusted(due, zone).day if due else None
    invoices = (OpenInvoice("", day, owed),) if owed > 0 else ()
    return Account("C-1", "C-1", "", owed, invoices, when.first_s), when.last_s


def billing(
    balance: str,
    due: str = "2026-10-03",
    paid_at: str = "",
    as_of: str = "2026-10-15T09:00:00Z",
    *,
    now: str = "",
    terms: BillingTerms = LONG,
    source: str = FILE,
    author: str = "",
    doubt: str = "",
    payments: Sequence[KeptPayment] = (),
    **fields: object,
) -> Billing:
    """Return what is known at `now`; "": at the time of the export. `fields`: of the account."""
    told, read_s = account(balance, due, as_of, terms.zone)
    told = replace(told, **fields)  # type: ignore[arg-type]  # each test names fields of an account
    kept = KeptAccount(source, told, read_s, author)
    paid = (payment(paid_at, zone=terms.zone), *payments) if paid_at else tuple(payments)
    return Billing(kept, paid, terms, at(now, terms.zone) if now else read_s, doubt)
