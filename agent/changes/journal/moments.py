"""Windows as people read them, in the operator's own time zone. Pure. Moments: `trust/moments.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from agent.reasons import RefusalReason
from trust.moments import local, zone_name
from trust.policy import Window, minutes_until_open

DAY_MINUTES = 24 * 60
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""Not `strftime`'s: those are of the machine's language."""


@dataclass(frozen=True, slots=True)
class SendWindow:
    """When a plan may send. `opens_s`: its next opening, unix seconds, or now; None: nothing says when.

    `closed`: the sentence for people; "" while it is open. `code`: the reason why it is closed.
    """

    opens_s: float | None
    closed: str = ""
    code: RefusalReason = RefusalReason.WINDOW_CLOSED


def send_window(windows: tuple[Window, ...], now_s: float, until_s: float, zone: ZoneInfo) -> SendWindow:
    """Return whether a plan may send now, and else when: the one judgment of a start and of each send.

    Args:
        windows: of the plan's policy; none: any time.
        now_s: the time, unix seconds.
        until_s: the deadline of the plan's sends, unix seconds.
        zone: the operator's time zone, in which windows are.
    """
    if not windows:
        return SendWindow(now_s)
    minutes = minutes_until_open(windows, minute_of_week(now_s, zone))
    if minutes == 0:
        return SendWindow(now_s)
    if minutes is None:
        return SendWindow(None, "waits for a window that never opens")
    opens_s = (now_s // 60 + minutes) * 60
    late = ", which is after its deadline: nothing will be sent" if opens_s >= until_s else ""
    return SendWindow(opens_s, f"waits for the window: {weekday_text(opens_s, zone)}{late}")


def weekday_text(unix_s: float, zone: ZoneInfo) -> str:
    """Return a moment of the coming week for people: `Sun 02:00 EAT`."""
    at = local(unix_s, zone)
    return f"{_DAYS[at.weekday()]} {_hour(at.hour * 60 + at.minute)} {zone_name(at)}"


def minute_of_week(unix_s: float, zone: ZoneInfo) -> int:
    """Return a moment as policy windows count: minutes since Monday 00:00 on the operator's clock."""
    at = local(unix_s, zone)
    return at.weekday() * DAY_MINUTES + at.hour * 60 + at.minute


def windows_text(windows: Sequence[Window], now_s: float, zone: ZoneInfo) -> str:
    """Return when a policy lets a change start: `Mon-Fri 09:00-16:00 EAT`, days with equal hours together."""
    days: dict[str, list[int]] = {}
    longer: list[str] = []
    for window in sorted((w for w in windows if w.start < w.end), key=lambda w: w.start):
        (day, start), (last, end) = divmod(window.start, DAY_MINUTES), divmod(window.end - 1, DAY_MINUTES)
        if day == last:
            days.setdefault(f"{_hour(start)}-{_hour(end + 1)}", []).append(day)
        else:
            longer.append(f"{_DAYS[day]} {_hour(start)}-{_DAYS[last]} {_hour(end + 1)}")
    if not days and not longer:
        return "never" if windows else ""
    name = zone_name(local(now_s, zone))
    return ", ".join([*(f"{_days(of)} {hours}" for hours, of in days.items()), *longer]) + f" {name}"


def _hour(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _days(days: Sequence[int]) -> str:
    """Return days of the week, 0 Monday, as text: neighbors as a range."""
    whole = days[-1] - days[0] + 1 == len(days) > 2
    return f"{_DAYS[days[0]]}-{_DAYS[days[-1]]}" if whole else " ".join(_DAYS[d] for d in days)
