"""Whether a session began before a change. Pure.

Accounting dates sessions by the clocks of NAS (Event-Timestamp), the agent its changes by its own. By how much these
differ is not known, and either may have been set meanwhile. So:

* By unique id: a session that was there when the change ended the sessions is from before it. The caller knows those.
* A duration may be compared with another, whatever clocks measured them: a session that lasted longer than the change
  is old began before it.
* Two moments that one NAS told may be compared: a session that began after one that the change ended had stopped began
  after the change.
* A moment of a NAS and one of ours differ by their clocks too. A session that began later than ours, or earlier by no
  more than `CLOCKS_S`, is taken for a new one. Of any other nobody knows.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Final

from agent.connectors.radius.addresses import LASTED, NAS, STOPPED, began_s

CLOCKS_S: Final = 60
"""How far our clock and the one of accounting may be apart; chosen arbitrarily."""
CUT_S: Final = 5
"""How far a duration may be off, of which each end was cut to seconds; chosen arbitrarily."""


class Began(enum.Enum):
    """Whether a session began before a change."""

    BEFORE = "before"
    SINCE = "since"
    UNKNOWN = "unknown"


def when_began(
    session: Mapping[str, str], told: Mapping[str, str], ended: Collection[Mapping[str, str]], passed_s: int
) -> Began:
    """Tell whether a session began before a change, without a look at our clock's time of day.

    Args:
        session: its fields, as accounting told them.
        told: those of its `accounted/UNIQUEID`.
        ended: those of the sessions that the change ended.
        passed_s: how long ago the change was previewed, seconds.
    """
    if _number(told, LASTED) > passed_s + CUT_S:
        return Began.BEFORE
    since_s = began_s(session, 0)
    stops = [_number(one, STOPPED) for one in ended if STOPPED in one and one[NAS] == session.get(NAS)]
    # The last stop: somebody may have closed the row of another session before the change
    if stops and since_s >= max(stops):
        return Began.SINCE
    if stops and since_s < max(stops) - passed_s - CUT_S:
        return Began.BEFORE
    return Began.UNKNOWN


def is_another(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Tell whether a session has the unique id of an earlier one: some NAS give ids again after a restart.

    Accounting then dates the earlier one's row anew. It does so too for a Start that comes twice, a moment later.

    Args:
        before: fields of the earlier session, as accounting told them; none where they are not known.
        now: those of the session.
    """
    told_s = max(began_s(before, 0), _number(before, "heard"))
    return bool(told_s) and began_s(now, 0) > told_s + CLOCKS_S


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isdecimal() else 0
