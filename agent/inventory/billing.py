"""Reading the ledger by the operator's terms: which account is a subscriber's, and doubts about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from agent.billing_model.errors import BillingState
from agent.inventory import ledger
from agent.inventory.facts import PENDING_S, Billing, BillingTerms, NotOwing, age_s, debt, describe, last_paid
from agent.inventory.ledger import BY_HAND, FILE, KeptAccount, Query
from trust.moments import moment_json

MANY: Final = 20
"""From so many subscribers on all accounts are read at once."""
_LATELY_S: Final = 3 * 86_400
"""Older payments than the age limit and this are counted in every account that is not too old."""


@dataclass(frozen=True, slots=True)
class BillingReader:
    """Reads billing's facts on subscribers.

    The accounts of one source decide. Only where that is the file, a subscriber that it does not name is judged by the
    list that a person imported; and where no source is configured, by whichever of the two is newer.
    """

    terms: BillingTerms = field(default_factory=BillingTerms)
    doubt: Callable[[str], str] = lambda _: ""
    """Why nothing may be concluded of a subscriber by the billing file; "": it may."""

    def of(self, query: Query, subscriber: str, now_s: float) -> Billing:
        """Return the facts on a subscriber. `now_s`: unix seconds."""
        found = [ledger.account_of(query, source, subscriber) for source in self._sources()]
        payments = tuple(ledger.payments_of(query, subscriber))
        return Billing(
            self._chosen(found), payments, self.terms, now_s, self._source_doubt(query) or self.doubt(subscriber)
        )

    def of_many(self, query: Query, subscribers: Iterable[str], now_s: float) -> dict[str, Billing]:
        """Return the facts on subscribers, by subscriber; payments that all accounts counted are left out."""
        wanted = list(dict.fromkeys(subscribers))
        if len(wanted) < MANY:
            return {subscriber: self.of(query, subscriber, now_s) for subscriber in wanted}
        kept = [ledger.by_subscriber(query, source) for source in self._sources()]
        since_s = now_s - max(self.terms.max_age_s + _LATELY_S, PENDING_S)
        paid = ledger.payments_since(query, since_s)
        doubt = self._source_doubt(query)
        return {
            one: Billing(
                self._chosen([by.get(one) for by in kept]),
                tuple(paid.get(one, ())),
                self.terms,
                now_s,
                doubt or self.doubt(one),
            )
            for one in wanted
        }

    def source_text(self, query: Query) -> str:
        """Return name and state of the source that decides, for previews; "" where it is the billing file."""
        name = self.terms.authority
        return "" if name == FILE else f" of {name} ({ledger.status(query, name).state.value}),"

    def _sources(self) -> tuple[str, ...]:
        return (FILE, BY_HAND) if self.terms.authority == FILE else (self.terms.authority,)

    def _chosen(self, found: list[KeptAccount | None]) -> KeptAccount | None:
        """Return the account that decides, out of those in each source, the authority's first."""
        there = [one for one in found if one is not None]
        if not self.terms.configured:
            there.sort(key=lambda one: one.read_s, reverse=True)
        return there[0] if there else None

    def _source_doubt(self, query: Query) -> str:
        """Return why a configured source does not count now. `doubt` knows the doubts about the billing file."""
        source = self.terms.authority
        if source == FILE:
            return ""
        now = ledger.status(query, source)
        if now.state is BillingState.FRESH:
            return ""
        return f"{source} is {now.state.value}{f': {now.detail}' if now.detail else ''}"


def billing_json(billing: Billing) -> dict[str, object] | None:
    """Return billing's facts on a subscriber for the API; None: there are none."""
    kept = billing.kept
    if kept is None:
        return None
    account, owed = kept.account, debt(billing)
    due, paid = account.oldest_due(), last_paid(billing)
    return {
        "source": kept.source,
        "author": kept.author,
        "currency": account.currency,
        "balance": str(account.balance),
        "overdue": str(account.overdue(billing.today)),
        "due": "" if due is None else due.isoformat(),
        "invoices": [
            {"number": i.number, "due": "" if i.due is None else i.due.isoformat(), "unpaid": str(i.unpaid)}
            for i in account.invoices
        ],
        "paid_at": "" if paid is None else paid.day.isoformat(),
        "as_of": moment_json(account.as_of_s),
        "age_s": int(age_s(billing)),
        "owes": isinstance(owed, Decimal),
        "not_owing": owed.why if isinstance(owed, NotOwing) else "",
        "text": describe(billing),
    }
