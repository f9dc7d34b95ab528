"""Billing facts: what the billing system's export says of one subscriber, and the rule of who owes.

A fact is a snapshot taken at `as_of`. It is read again at each about-to, so that who paid meanwhile is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final

from agent.model import Address

CLOCK_SLACK_S = 300
"""How far the billing system's clock may run before ours. Chosen arbitrarily."""
CONFIGURED: Final = "billing"
"""Source of a fact: the billing system that the configuration names. No requester can write it."""
BY_HAND: Final = "import"
"""Source of a fact: a file that a person imported. It is evidence for no standing authority."""
_EASTMOST_S = 14 * 3600
"""A day alone begins so much earlier where its time zone is the eastmost one."""


@dataclass(frozen=True, slots=True)
class BillingFact:
    """What is known of a subscriber's account, in the export's own strings, checked when they were read.

    `balance` is decimal and above zero when the subscriber owes. `due` and `paid_at` may be empty; `as_of` is when the
    export was made. Dates are `YYYY-MM-DD` or RFC 3339. `source`: `CONFIGURED`, `BY_HAND`, or "" where it is not known;
    `author`: who imported it by hand.
    """

    subscriber: str
    balance: str
    due: str
    paid_at: str
    as_of: str
    source: str = ""
    author: str = ""


def fact_address(subscriber: str) -> Address:
    """Return the address of a subscriber's billing fact, as requirements name it."""
    return Address(f"billing/file/{subscriber}")


def in_future(as_of: str, now_s: float) -> bool:
    """Return whether an export's own time lies in the future, beyond what clocks and time zones explain.

    Such a fact never grows old and makes every due date a late one: nothing is judged by it.

    Args:
        as_of: `YYYY-MM-DD` or RFC 3339.
        now_s: the agent's time, unix seconds.

    Raises:
        ValueError: neither `YYYY-MM-DD` nor RFC 3339 with an offset.
    """
    moment = earliest(as_of).timestamp()
    if len(as_of) == len("YYYY-MM-DD"):
        moment -= _EASTMOST_S
    return moment > now_s + CLOCK_SLACK_S


def owes(fact: BillingFact, now_s: float | None = None) -> bool:
    """Return whether the subscriber is in arrears. In doubt it is not: nobody is cut off by mistake.

    All of these hold: the balance is above zero; the due date, if there is one, lies before the day of the export; the
    last payment, if there is one, was before the due date and before the export. So a payment since either of them
    counts, whatever the balance says: the export may not have seen it yet, and a part payment is a person's business.

    Args:
        fact: what billing says.
        now_s: unix seconds; with it, a fact that lies in the future is none that owes. None: judged by itself alone.
    """
    if Decimal(fact.balance) <= 0 or (now_s is not None and in_future(fact.as_of, now_s)):
        return False
    as_of = earliest(fact.as_of)
    if fact.due and earliest(fact.due).date() >= as_of.date():
        return False
    if not fact.paid_at:
        return True
    return latest(fact.paid_at) < min(as_of, earliest(fact.due) if fact.due else as_of)


def describe(fact: BillingFact) -> str:
    """Return the fact in one line for people: `34.00 due 2026-10-03, 12 days late, as of 2026-10-15T09:04:11Z`."""
    parts: list[str] = []
    if Decimal(fact.balance) > 0:
        late = (earliest(fact.as_of).date() - earliest(fact.due).date()).days if fact.due else 0
        days = f"{abs(late)} day{'' if abs(late) == 1 else 's'}"
        when = f" due {fact.due[:10]}" if fact.due else ""
        parts.append(f"{fact.balance}{when}")
        if fact.due:
            parts.append(f"{days} late" if late > 0 else "due today" if late == 0 else f"in {days}")
    else:
        parts.append(f"balance {fact.balance}")
    if fact.paid_at:
        parts.append(f"last paid {fact.paid_at}")
    by_hand = [f"imported by hand by {fact.author}"] if fact.source == BY_HAND else []
    return ", ".join([*parts, f"as of {fact.as_of}", *by_hand])


def earliest(text: str) -> datetime:
    """Return the first moment that `text` may mean: of a day alone its start, UTC.

    Raises:
        ValueError: neither `YYYY-MM-DD` nor RFC 3339 with an offset.
    """
    return _moment(text, time.min)


def latest(text: str) -> datetime:
    """Return the last moment that `text` may mean: of a day alone its end, UTC.

    Raises:
        ValueError: neither `YYYY-MM-DD` nor RFC 3339 with an offset.
    """
    return _moment(text, time.max)


def _moment(text: str, of_day: time) -> datetime:
    if len(text) == len("YYYY-MM-DD"):
        return datetime.combine(date.fromisoformat(text), of_day, UTC)
    if len(text) < len("YYYY-MM-DDTHH:MM:SSZ") or text[10] not in "Tt ":
        raise ValueError("no RFC 3339 time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return moment.astimezone(UTC)
