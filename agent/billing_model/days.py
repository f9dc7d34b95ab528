"""Days of billing systems and of the operator: the day on which something is due, and today.

* A due day is a day in the zone of the billing system. One writes the 27th as `2026-11-27T00:00:00+0200`, which in UTC
  is a moment of the 26th: a day is never taken from a moment in UTC.
* "Today" is the operator's day. A day ends with the local midnight, whether it had 23, 24 or 25 hours.
* In doubt between two days the later one counts: nobody is cut off a day early.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from agent.billing_model.errors import MalformedDayError

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII
)
_DIGITS_OF_FRACTION: Final = 6
_YEAR_MIN, _YEAR_MAX = 1970, 9990


@dataclass(frozen=True, slots=True)
class When:
    """A moment, or a day of which the moment is not told: from `first_s` up to `last_s`, unix seconds."""

    first_s: float
    last_s: float
    day: date
    """In the source's zone. For a moment that its own offset puts on another day, the later one."""


def when_untrusted(text: str, zone: tzinfo) -> When:
    """Return the day or moment that a text means.

    Args:
        text: `YYYY-MM-DD`, or RFC 3339 with or without an offset; without one it is in `zone`.
        zone: of the billing system.

    Raises:
        MalformedDayError: it is neither, or before 1970 or after 9990.
    """
    try:
        if _DAY.fullmatch(text):
            day = _in_range(date.fromisoformat(text))
            return When(start_of(day, zone), end_of(day, zone) - 1, day)
        written = _written(text)
        moment = written if written.tzinfo is not None else written.replace(tzinfo=zone)
        at_s = moment.timestamp()
        return When(at_s, at_s, max(written.date(), datetime.fromtimestamp(at_s, zone).date()))
    except (ValueError, OverflowError, OSError) as err:
        raise MalformedDayError(f"expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got {text[:40]!a}") from err


def today(now_s: float, zone: tzinfo) -> date:
    """Return the day that it is in a zone. `now_s`: unix seconds."""
    return datetime.fromtimestamp(now_s, zone).date()


def start_of(day: date, zone: tzinfo) -> float:
    """Return when a local day begins, unix seconds."""
    return datetime.combine(day, time.min, zone).astimezone(UTC).timestamp()


def end_of(day: date, zone: tzinfo) -> float:
    """Return when a local day is over, unix seconds: the first moment of the next one."""
    return start_of(day + timedelta(days=1), zone)


def _written(text: str) -> datetime:
    if not _MOMENT.fullmatch(text):
        raise ValueError
    written = datetime.fromisoformat(_at_most_microseconds(text.upper()))
    _in_range(written.date())
    return written


def _in_range(day: date) -> date:
    if not _YEAR_MIN <= day.year <= _YEAR_MAX:
        raise ValueError
    return day


def _at_most_microseconds(text: str) -> str:
    head, dot, rest = text.partition(".")
    if not dot:
        return text
    digits = re.match(r"[0-9]+", rest)
    cut = len(digits.group()) if digits else 0
    return f"{head}.{rest[: min(cut, _DIGITS_OF_FRACTION)].ljust(_DIGITS_OF_FRACTION, '0')}{rest[cut:]}"
