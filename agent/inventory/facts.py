"""Billing facts: the present state of one subscriber's account, and the two rules that decide by it.

* `debt` says whether a subscriber may be suspended for debt, `paid_since` whether a payment lifts such a suspension
  without a person. Both are asked at the preview and again at each about-to.
* In doubt nobody is cut off: data that is old, from the future or not whole, a payment that the account cannot have
  counted yet, a promise that nobody can read. In doubt nothing is lifted by itself either: a person looks.
* "Today" is the operator's day; a due day is one of the billing system's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model import days
from agent.billing_model.account import Account, PaymentState
from agent.billing_model.terms import OwnRule
from agent.inventory.ledger import BY_HAND, CLOCK_SLACK_S, FILE, KeptAccount, KeptPayment
from agent.inventory.matching import same_payment
from agent.model import Address
from agent.reasons import SkipReason
from trust.moments import moment_text
from trust.plural import counted

PENDING_S: Final = 7 * 86_400
"""How long a pending payment keeps its subscriber online. Bank debits settle within five working days."""
BOOKED_S: Final = 86_400
"""How long a billing system may take to count a payment that another source tells. Chosen arbitrarily."""
_AHEAD_S: Final = 2 * 86_400
"""Beyond this a payment's own time is a mistake: more than zones and a wrong clock explain."""
_DAY_S: Final = 86_400
_FILES: Final = frozenset({FILE, BY_HAND})
"""Sources that tell payments together with the account that counts them."""


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """The operator's terms by which accounts are judged.

    `authority`: the source with the accounts that decide. `zone`: of the operator's days. `max_age_s`: older data is
    doubt. `minimum`: nobody is suspended for less. `own_rules`: those of the source that are honored.
    """

    authority: str = FILE
    configured: bool = True
    """Whether the configuration names the authority; without one, lists that people import decide."""
    zone: tzinfo = UTC
    max_age_s: int = 7200
    grace_days: int = 0
    minimum: Decimal = Decimal(0)
    own_rules: Collection[OwnRule] = frozenset(OwnRule)


@dataclass(frozen=True, slots=True)
class Billing:
    """Billing's present facts on a subscriber.

    `kept`: the account; None: there is none. `payments`: at least those that the account may not have counted, and
    those that were heard of lately. `doubt`: why nothing may be concluded; "": it may.
    """

    kept: KeptAccount | None
    payments: tuple[KeptPayment, ...]
    terms: BillingTerms
    now_s: float
    doubt: str = ""

    @property
    def today(self) -> date:
        """The operator's day."""
        return days.today(self.now_s, self.terms.zone)


@dataclass(frozen=True, slots=True)
class NotOwing:
    """Why a subscriber is not suspended for debt. `blocked`: because too little is known."""

    code: SkipReason
    why: str
    blocked: bool = False


def fact_address(source: str, subscriber: str) -> Address:
    """Return the address of a subscriber's billing facts, as requirements name it."""
    return Address(f"billing/{source}/{subscriber}")


def subscriber_of(address: Address) -> str:
    """Return the subscriber of an address of billing facts. Its source only says where they were from at the time."""
    return address.split("/", 2)[2]


# --- who may be suspended ---------------------------------------------------------------------------------------------


def debt(billing: Billing, promise: str = "") -> Decimal | NotOwing:
    """Return the overdue sum for which a subscriber may be suspended now, or why it may not be.

    Args:
        billing: the facts.
        promise: of the subscriber list: the last day of a promise to pay, `YYYY-MM-DD`; "": none was made.
    """
    kept = billing.kept
    if kept is None:
        if billing.doubt:
            return NotOwing(SkipReason.BILLING_IN_DOUBT, f"what billing says may be old: {billing.doubt}", blocked=True)
        return NotOwing(SkipReason.NO_BILLING_DATA, "no billing data: nothing says that it owes", blocked=True)
    if why := unsure(billing):
        return NotOwing(SkipReason.BILLING_IN_DOUBT, why, blocked=True)
    return _held(billing, kept.account) or _promised(promise, billing.today) or _overdue(billing, kept)


def unsure(billing: Billing) -> str:
    """Return why an account must not be judged by now: doubt, its age, or a time in the future; "": it may be."""
    kept = billing.kept
    if billing.doubt or kept is None:
        return f"what billing says may be old: {billing.doubt}" if billing.doubt else "no billing data"
    if kept.account.as_of_s > billing.now_s + CLOCK_SLACK_S:
        return f"its billing data lies in the future: {describe(billing)}"
    if age_s(billing) > billing.terms.max_age_s:
        old, most = _span(age_s(billing)), _span(billing.terms.max_age_s)
        return f"its billing data is {old} old, at most {most} counts: {describe(billing)}"
    return ""


def age_s(billing: Billing) -> float:
    """Return how old the word on an account is, seconds; 0 where there is none."""
    return 0.0 if billing.kept is None else max(billing.now_s - billing.kept.read_s, 0.0)


def _held(billing: Billing, account: Account) -> NotOwing | None:
    own = billing.terms.own_rules
    if account.exempt and OwnRule.EXEMPT in own:
        return NotOwing(SkipReason.EXEMPT, f"billing exempts it: {account.exempt}")
    if OwnRule.HOLD not in own:
        return None
    if account.promise_until is not None and account.promise_until >= billing.today:
        return NotOwing(SkipReason.PROMISED, f"promised to pay until {account.promise_until}, billing says")
    if account.hold_until_s > billing.now_s:
        until = moment_text(account.hold_until_s, billing.terms.zone)
        return NotOwing(SkipReason.PROMISED, f"postponed until {until}, billing says")
    return None


def _promised(promise: str, today: date) -> NotOwing | None:
    if not promise:
        return None
    try:
        last = date.fromisoformat(promise[:10])
    except ValueError:  # somebody promised something, and a person can read what: nobody is cut off by it
        return NotOwing(SkipReason.PROMISED, f"promised to pay until {promise}, which is no date (YYYY-MM-DD expected)")
    return None if last < today else NotOwing(SkipReason.PROMISED, f"promised to pay until {promise}")


def _overdue(billing: Billing, kept: KeptAccount) -> Decimal | NotOwing:
    account, today = kept.account, billing.today
    grace, minimum = _grace(billing.terms, account), _minimum(billing.terms, account)
    if account.overdue(today) <= 0:
        code = SkipReason.PAID if account.balance <= 0 else SkipReason.NOT_OVERDUE
        return NotOwing(code, f"{'paid' if account.balance <= 0 else 'not overdue'}: {describe(billing)}")
    sum_ = late(billing, account)
    if sum_ <= 0:
        return NotOwing(SkipReason.IN_GRACE, f"within {grace} days of grace: {describe(billing)}")
    if sum_ < minimum:
        return NotOwing(SkipReason.BELOW_MINIMUM, f"{sum_} overdue, expected at least {minimum}: {describe(billing)}")
    for payment in billing.payments:
        if _not_counted(payment, kept, billing.now_s):
            state = "is pending" if payment.payment.state is PaymentState.PENDING else "came"
            return NotOwing(SkipReason.PAID, f"a payment {state} that billing may not count yet: {describe(billing)}")
    if _told_elsewhere(billing, kept) >= sum_:
        return NotOwing(SkipReason.PAID, f"another source tells that it paid as much lately: {describe(billing)}")
    return sum_


def late(billing: Billing, account: Account) -> Decimal:
    """Return the sum of an account that is overdue now, past the days of grace."""
    return account.overdue(billing.today, _grace(billing.terms, account))


def unlisted(account: Account) -> Decimal:
    """Return the debt of an account without any open invoice: its list may be lost, so that no due day is known."""
    return Decimal(0) if account.invoices else max(account.balance, Decimal(0))


def _grace(terms: BillingTerms, account: Account) -> int:
    """Return the days of grace: the operator's or the source's own, whichever are more."""
    own = account.own_grace_days if OwnRule.GRACE in terms.own_rules else None
    return max(terms.grace_days, own or 0)


def _minimum(terms: BillingTerms, account: Account) -> Decimal:
    """Return the least sum for a suspension: the operator's or the source's own, whichever is more."""
    own = account.own_minimum if OwnRule.MINIMUM in terms.own_rules else None
    return max(terms.minimum, own or Decimal(0))


def _not_counted(payment: KeptPayment, kept: KeptAccount, now_s: float) -> bool:
    """Return whether an account cannot have counted a payment: it is pending, or newer than the word on the account."""
    told = payment.payment
    if told.state is PaymentState.REVERSED:
        return False
    # One that is dated far ahead by mistake must not spare somebody until that day
    paid_s = told.paid.last_s if told.paid.last_s <= now_s + _AHEAD_S else payment.learned_s
    if told.state is PaymentState.PENDING and paid_s > now_s - PENDING_S:
        return True
    if paid_s >= kept.account.as_of_s:
        return True
    return payment.learned_s >= kept.account.as_of_s and not {payment.source, kept.source} <= _FILES


def _told_elsewhere(billing: Billing, kept: KeptAccount) -> Decimal:
    """Return the sum of late payments that other sources tell, and of which the account's own tells nothing."""
    booked = [one.payment for one in billing.payments if one.source == kept.source]
    found: dict[str, Decimal] = {}
    for one in billing.payments:
        told, elsewhere = one.payment, one.source != kept.source and not {one.source, kept.source} <= _FILES
        late = told.state is PaymentState.SETTLED and one.learned_s > billing.now_s - BOOKED_S
        foreign = len({told.currency, kept.account.currency} - {""}) > 1
        if elsewhere and late and not foreign and not any(same_payment(told, other) for other in booked):
            found[told.provider_reference or f"{one.source} {told.id}"] = told.amount  # two sources may tell of one
    return sum(found.values(), Decimal(0))


# --- who paid ---------------------------------------------------------------------------------------------------------


def paid_since(billing: Billing, looked_s: float) -> bool:
    """Return whether nothing is late now and a payment was settled of which a suspension for debt did not know.

    An invoice within its days of grace is not late: nobody is suspended for it, so it keeps nobody suspended. When it
    was made does not matter: one that was made before the suspension and heard of after it shows that the suspension
    was a mistake. It stands for a person's look at night, so in doubt it is not: neither by facts that lie in the
    future, nor by a file that a requester of changes could have written, nor beside a debt without an open invoice.

    Args:
        billing: of the subscriber, now.
        looked_s: when the account was looked at last before the suspension, unix seconds.
    """
    kept = billing.kept
    if kept is None or kept.source == BY_HAND or kept.author or unsure(billing):
        return False
    if late(billing, kept.account) > 0 or unlisted(kept.account) > 0:
        return False
    known = {
        one.payment.provider_reference
        for one in billing.payments
        if one.payment.state is PaymentState.SETTLED and 0 < one.settled_s < looked_s
    } - {""}
    return any(
        _is_news(payment, looked_s, billing.now_s)
        for payment in billing.payments
        if payment.payment.provider_reference not in known  # another source told of that very payment before
    )


def _is_news(payment: KeptPayment, looked_s: float, now_s: float) -> bool:
    settled = payment.payment.state is PaymentState.SETTLED and payment.source != BY_HAND
    return settled and payment.settled_s >= looked_s and payment.payment.paid.first_s <= now_s + CLOCK_SLACK_S


# --- for people -------------------------------------------------------------------------------------------------------


def describe(billing: Billing) -> str:
    """Return the account in one line for people: `34.00 due 2026-10-03, 12 days late, as of 2026-10-15 09:04 EAT`."""
    kept = billing.kept
    if kept is None:
        return "no billing data"
    paid = last_paid(billing)
    last = [] if paid is None else [f"last paid {_when(paid, billing)}"]
    return ", ".join([*_balance(kept.account, billing.today), *last, f"as of {_as_of(billing)}", *_by_hand(kept)])


def last_paid(billing: Billing) -> days.When | None:
    """Return when the latest settled payment was made; None: none is known."""
    settled = (p.payment.paid for p in billing.payments if p.payment.state is PaymentState.SETTLED)
    return max(settled, key=lambda when: when.last_s, default=None)


def _balance(account: Account, today: date) -> list[str]:
    money = f" {account.currency}" if account.currency else ""
    if account.balance <= 0:
        return [f"balance {account.balance}{money}"]
    overdue, due = account.overdue(today), account.oldest_due()
    text = f"{account.balance}{money}"
    if 0 < overdue < account.balance:
        text = f"{overdue} of {text} overdue"
    if due is None:
        return [text]
    late = (today - due).days
    span = counted(abs(late), "day")
    return [f"{text} due {due}", f"{span} late" if late > 0 else "due today" if late == 0 else f"in {span}"]


def _when(paid: days.When, billing: Billing) -> str:
    return str(paid.day) if paid.last_s > paid.first_s else moment_text(paid.first_s, billing.terms.zone)


def _as_of(billing: Billing) -> str:
    kept = billing.kept
    if kept is None:
        return "never"
    as_of_s = kept.account.as_of_s
    if kept.source in _FILES and kept.read_s - as_of_s > _DAY_S / 2:  # the export says its day only
        return str(days.today(kept.read_s, billing.terms.zone))
    return moment_text(as_of_s, billing.terms.zone)


def _by_hand(kept: KeptAccount) -> list[str]:
    if kept.source == BY_HAND:
        return [f"imported by hand by {kept.author}"] if kept.author else ["imported by hand"]
    return [f"{kept.author} can write that file"] if kept.author else []


def _span(seconds: float) -> str:
    minutes = int(seconds) // 60
    if minutes < 2 * 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
