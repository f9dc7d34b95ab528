"""How far a source's word counts, from the result of a reading. Pure.

* Only FRESH lets anybody be suspended or restored without a person. Everything else is doubt.
* A full reading of which a person should look at the size is not stored: the reading before stays. It is compared with
  the kept accounts as of the same day, so that a due day that passed for many swells nothing.
* A person that accepts a size accepts that size: the next reading is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.age import age_text
from agent.billing_model.errors import BillingState, SourceError

FEW: Final = 10
"""A count that moved by no more than this is neither shrunk nor swollen. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class ReadingSize:
    """How many accounts a reading has, and how many of them are overdue on the operator's day."""

    accounts: int
    overdue: int


@dataclass(frozen=True, slots=True)
class SourceJudgment:
    """How far a source's word counts, and a sentence on it without data of any subscriber; "" for FRESH."""

    state: BillingState
    detail: str = ""


FRESH: Final = SourceJudgment(BillingState.FRESH)
NEVER: Final = SourceJudgment(BillingState.NEVER, "it was not read yet")


def of_reading(before: ReadingSize | None, now: ReadingSize, nameless: int = 0) -> SourceJudgment:
    """Return how far a whole reading counts.

    Args:
        before: of the kept facts, counted for the same day, or a size that a person accepted; None: nothing is kept.
        now: of the reading.
        nameless: accounts that were left out, since their field for the subscriber is empty.
    """
    if now.accounts == 0 and nameless:
        why = f"none of its {nameless} accounts has a subscriber's name: see `subscriber` in its section"
        return SourceJudgment(BillingState.EMPTY, why)
    if now.accounts == 0:
        return SourceJudgment(BillingState.EMPTY, "the source has no account")
    if before is None or before.accounts == 0:
        return FRESH
    pairs = (
        ("accounts", before.accounts, now.accounts),
        ("overdue accounts", before.overdue, now.overdue),
    )
    for what, was, has in pairs:
        if 2 * has < was and was - has > FEW:
            return SourceJudgment(BillingState.SHRUNK, f"{what}: {was} before, {has} now: less than half")
        if has > 2 * was and has - was > FEW:
            return SourceJudgment(BillingState.SWOLLEN, f"{what}: {was} before, {has} now: more than twice as many")
    return FRESH


def of_error(error: SourceError) -> SourceJudgment:
    """Return how far a source counts that could not be read whole."""
    return SourceJudgment(error.state, str(error))


def at(judged: SourceJudgment, read_s: float | None, max_age_s: float, now_s: float) -> SourceJudgment:
    """Return how far a source counts now, given how its last reading was judged.

    Args:
        judged: of the last reading that was tried.
        read_s: when the kept accounts were read, unix seconds; None: never.
        max_age_s: the configured limit.
        now_s: unix seconds.
    """
    if judged.state is not BillingState.FRESH:
        return judged
    if read_s is None:
        return NEVER
    if now_s - read_s > max_age_s:
        old, limit = age_text(int(now_s - read_s)), age_text(int(max_age_s))
        return SourceJudgment(BillingState.STALE, f"it was read {old} ago, at most {limit} is configured")
    return FRESH


def acceptable(state: BillingState) -> bool:
    """Return whether a person's `billing accept` may end a state: it questions a size, and a size only."""
    return state in (BillingState.SHRUNK, BillingState.SWOLLEN)
