"""The start of a plan: its turn in a rolling budget, its policy's window, and the deadline that covers both. Pure.

A plan that cannot start in time is refused at the preview, with the time from which it could: nobody signs in vain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from agent.changes.journal.moments import minute_of_week, windows_text
from agent.changes.journal.request import RequestError
from trust.moments import moment_text
from trust.policy import PolicyClass, minutes_until_open


@dataclass(frozen=True, slots=True)
class StartTimes:
    """The first moment at which a plan may start (unix seconds), and its deadline for that (unix minutes)."""

    first_s: float
    by: int


def start_times(policy: PolicyClass, made_s: float, ttl_s: int, turn_s: float | None, zone: ZoneInfo) -> StartTimes:
    """Return the times of a plan's start.

    Args:
        policy: of its class.
        made_s: time of its preview, unix seconds.
        ttl_s: seconds in which it may be approved and started once its turn has come.
        turn_s: time of its turn in the budgets that it falls under, unix seconds; None: it never comes.
        zone: the operator's time zone, in which windows are.

    Raises:
        RequestError: its turn, or its policy's window, comes later than its approvals count.
    """
    name, counts_until = policy.risk_class.value, made_s + policy.max_ttl_s
    if turn_s is None:
        most = policy.budget_per_hour
        raise RequestError(f"policy: class {name} may change {most} services an hour: ask for fewer", refused=True)
    by_s = min(max(made_s, turn_s) + ttl_s, counts_until)
    if turn_s >= counts_until:
        raise RequestError(
            f"policy: class {name} may change {policy.budget_per_hour} services an hour, and so many wait that this"
            f" could start at {moment_text(turn_s, zone, made_s)} only; approvals count for"
            f" {policy.max_ttl_s // 60} min: ask again later",
            refused=True,
        )
    first_s = max(made_s, turn_s)
    closed = minutes_until_open(policy.windows, minute_of_week(first_s, zone))
    if closed is None:
        raise RequestError(f"policy: class {name} never starts: its windows hold no minute", refused=True)
    opens_s = first_s if closed == 0 else (first_s // 60 + closed) * 60
    if opens_s >= by_s:
        ask_from = moment_text(opens_s - ttl_s + 60, zone, made_s)
        raise RequestError(
            f"policy: class {name} starts only {windows_text(policy.windows, made_s, zone)}, and this would have to"
            f" start by {moment_text(by_s, zone, made_s)}: ask from {ask_from} on",
            refused=True,
        )
    return StartTimes(opens_s, int(made_s) // 60 + math.ceil((by_s - made_s) / 60))
