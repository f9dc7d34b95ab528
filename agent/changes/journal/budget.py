"""Rolling budgets: the number of services that a risk class or a standing authority may change in any hour.

A plan over its budget waits for its turn, first come, first served. It does not expire meanwhile: its signed start
deadline covers the turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from agent.changes.journal.machine import Gate
from agent.changes.journal.trust_state import Query

HOUR_S = 3600
Uses = Sequence[tuple[float, int]]
"""Uses of a budget: the time (unix seconds) and the number of services of each."""
# Plans are kept for ever, and few began within an hour: CROSS JOIN has SQLite begin with these (event_consumed)
_USES: Final = (
    "SELECT e.at_s AS at_s, count(*) AS n FROM event e CROSS JOIN plan p ON p.consumed_seq = e.seq"
    " JOIN item i USING (plan_id) WHERE e.kind = 14 AND e.at_s > ?2 AND p.risk = ?1"  # LeafKind.CONSUMED
    " AND i.state NOT IN ('blocked', 'excluded') GROUP BY p.plan_id"
)


def next_turn(uses: Uses, ahead: Sequence[int], mine: int, most: int, now_s: float) -> float | None:
    """Return the time at which `mine` services fit into a budget after those ahead; None: the budget is smaller.

    Args:
        uses: uses within the last hour.
        ahead: sizes of the plans that wait before, in order.
        mine: number of services.
        most: services in any hour.
        now_s: unix seconds.
    """
    if mine > most:
        return None
    counted = deque(sorted((at, n) for at, n in uses if at > now_s - HOUR_S))
    total, turn = sum(n for _, n in counted), now_s
    for n in (*(size for size in ahead if size <= most), mine):
        while total + n > most:
            at, over = counted.popleft()
            total, turn = total - over, max(turn, at + HOUR_S)
        counted.append((turn, n))
        total += n
    return turn


def uses_of(query: Query, risk: str, now_s: float) -> list[tuple[float, int]]:
    """Return the plans of a class that started within the last hour, and their sizes."""
    rows = query(_USES, (risk, int(now_s) - HOUR_S))
    return [(float(r["at_s"]), int(r["n"])) for r in rows]


def waiting_of(query: Query, risk: str, now_s: float) -> list[int]:
    """Return the sizes of the plans of a class that may still start, the first to come first."""
    rows = query(
        "SELECT count(*) AS n FROM plan p JOIN item i USING (plan_id) WHERE p.risk = ? AND p.gate IN (?, ?)"
        " AND p.start_by_s > ? AND i.state NOT IN ('blocked', 'excluded') GROUP BY p.plan_id ORDER BY p.gate_seq",
        (risk, Gate.OPEN.value, Gate.APPROVED.value, int(now_s)),
    )
    return [int(r["n"]) for r in rows]


def size_of(query: Query, plan_id: bytes) -> int:
    """Return the number of services that a plan would change."""
    counted = "SELECT count(*) AS n FROM item WHERE plan_id = ? AND state NOT IN ('blocked', 'excluded')"
    return int(query(counted, (plan_id,))[0]["n"])
