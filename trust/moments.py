"""How moments are written: one form for people, one for programs. Pure, but for the machine's own time zone.

* People read `14:05 EAT` of today and `2026-11-26 14:05 EAT` of any other day: on the operator's clock where the agent
  writes the text, on the machine's own where a command prints it. The zone is always named, since people in two places
  read one page. Evidence is in UTC for everybody: it is compared word by word.
* Programs read RFC 3339 in UTC, `2026-11-26T11:05:00Z`.
* Columns of a list have no room for a zone: `agent/cli/when.py` has their form.

`tests/repo/test_moments.py` finds any other place that formats one; protocols and files that prescribe a form may.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Final

LATEST_S: Final = 253_402_300_799
"""The end of the year 9999, unix seconds; a later moment is shown as its number."""
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
"""Date, time without its fraction, offset: an offset is mandatory there."""


def local(unix_s: float, zone: tzinfo | None = None) -> datetime:
    """Return a moment on the clock of a zone.

    Args:
        unix_s: unix seconds.
        zone: None: the machine's own.

    Raises:
        ValueError: it is none of the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(unix_s, UTC).astimezone(zone)
    except (OverflowError, OSError) as err:
        raise ValueError(f"expected a moment of the years 1 to 9999, got {unix_s} s") from err


def moment_text(unix_s: float, zone: tzinfo | None = None, now_s: float | None = None, *, seconds: bool = False) -> str:
    """Return a moment for people: `14:05 EAT` where it is of the same day as `now_s`, else `2026-11-26 14:05 EAT`.

    Args:
        unix_s: unix seconds.
        zone: of the reader; None: the machine's own.
        now_s: the time, unix seconds; None: the date is always given.
        seconds: give them, too.
    """
    try:
        at = local(unix_s, zone)
    except ValueError:
        return f"{unix_s:.0f} s since 1970"
    today = now_s is not None and at.date() == local(now_s, zone).date()
    return f"{'' if today else f'{day_text(at)} '}{at:{'%H:%M:%S' if seconds else '%H:%M'}} {zone_name(at)}"


def day_text(at: datetime) -> str:
    """Return the day of a moment: `2026-11-26`."""
    return f"{at.year:04}-{at.month:02}-{at.day:02}"  # `%Y` leaves out zeros before years below 1000


def zone_name(at: datetime) -> str:
    """Return the name of a moment's zone: `EAT`; of a zone without a name `UTC-03`."""
    name = at.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def rfc3339(unix_s: float) -> str:
    """Return a moment for programs, to the second: `2026-11-26T11:05:00Z` (RFC 3339 section 5.6)."""
    return f"{local(int(unix_s), UTC):%Y-%m-%dT%H:%M:%S}Z"


def moment_json(unix_s: object) -> str | None:
    """Return a moment for an answer, RFC 3339; None: there is none, or none of the years 1970 to 9999.

    Args:
        unix_s: unix seconds; None or 0: there is none.
    """
    return rfc3339(unix_s) if isinstance(unix_s, int | float) and 1 <= unix_s <= LATEST_S else None


def moments_json(fields: Mapping[str, object], **names: str) -> dict[str, object]:
    """Return the fields of an answer with some moments in RFC 3339.

    Args:
        fields: their moments are in unix seconds.
        names: of each moment among them its name in the answer, since `_s` ends the names of seconds there.
    """
    return {names.get(name, name): moment_json(value) if name in names else value for name, value in fields.items()}


def unix_of_rfc3339_untrusted(text: str) -> int:
    """Return the moment that RFC 3339 (section 5.6) names, in whole unix seconds, rounded down.

    Args:
        text: with an offset or `Z`, such as `2026-11-26T14:05:00+03:00`.

    Raises:
        ValueError: it is none, of a day that does not exist, or before 1970.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"expected RFC 3339, such as 2026-11-26T11:05:00Z, got {text[:40]!a}")
    unix_s = int(datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3].upper()}").timestamp())
    if unix_s < 0:
        raise ValueError(f"expected a moment after 1969, got {text[:40]!a}")
    return unix_s
