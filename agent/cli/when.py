"""Times that people type (`--since 2d`, `--until 2026-11-27`), and how a command shows a moment to them.

In a sentence it is `said`, with its zone. In a column, which has no room for a zone, it is on the reader's own clock.
"""

from __future__ import annotations

import re
import time as machine
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from agent.cli import client
from agent.cli.client import fail
from trust.moments import day_text, local, moment_text, unix_of_rfc3339_untrusted

FORMS: Final = "2026-11-27, 2026-11-27T14:30, 14:30, today, yesterday, or 45m, 6h, 3d, 2w ago"
Since = Annotated[str, typer.Option("--since", help=f"From then on: {FORMS}", metavar="WHEN")]
Until = Annotated[str, typer.Option("--until", help="Before then; a day alone is the whole day", metavar="WHEN")]
For = Annotated[
    str, typer.Option("--for", help="Only of this service, subscriber, login or MAC address", metavar="REF")
]
_AGO: Final = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS: Final = {"today": 0, "yesterday": 1}


def unix_now() -> float:
    """Return the wall clock, unix seconds: the one place where commands read it."""
    return machine.time()


def local_now() -> datetime:
    """Return now, in the reader's own time zone."""
    return local(unix_now())


def moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Return the moment that a text means on the clock of `now`, which has a time zone.

    Args:
        text: one of `FORMS`.
        now: the reader's own time.
        end: of a day alone its end is meant, not its beginning.

    Raises:
        ValueError: none of the forms.
    """
    text = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    if text in _DAYS:
        day = midnight - timedelta(days=_DAYS[text])
        return day + timedelta(days=1) if end else day
    if len(text) <= len("14:30:00") and ":" in text:
        return datetime.combine(now.date(), time.fromisoformat(text), now.tzinfo)
    found = datetime.fromisoformat(text.upper())
    found = found.replace(tzinfo=found.tzinfo or now.tzinfo)
    return found + timedelta(days=1) if end and len(text) == len("2026-11-27") else found


def period(since: str, until: str) -> dict[str, str]:
    """Return the query fields of a period, unix seconds; a text that is no time ends the program."""
    now, fields = local_now(), {}
    for name, text in (("since", since), ("until", until)):
        if text:
            try:
                fields[name] = str(max(int(moment(text, now, end=name == "until").timestamp()), 0))
            except (ValueError, OverflowError):
                fail(f"--{name}: expected {FORMS}; got {text[:40]!r}", client.USAGE)
    return fields


def query(fields: Mapping[str, str]) -> str:
    """Return the query of a path, with its question mark; fields that are empty are left out."""
    text = urlencode({name: value for name, value in fields.items() if value})
    return f"?{text}" if text else ""


def unix_of(at: object) -> int:
    """Return a moment of an answer in unix seconds; 0: there is none."""
    return 0 if at is None else unix_of_rfc3339_untrusted(str(at))


def said(at: object, now: datetime | None = None, *, seconds: bool = False) -> str:
    """Return a moment of an answer for a sentence, in the reader's own time zone, as `trust.moments` writes it.

    None: never.
    """
    if at is None:
        return "never"
    return moment_text(unix_of(at), None, (now or local_now()).timestamp(), seconds=seconds)


def clock_text(at: object, now: datetime | None = None) -> str:
    """Return a moment of an answer to the second for a column of events: as `when_text`, without its zone."""
    return said(at, now, seconds=True).rpartition(" ")[0]


def when_text(at: object, now: datetime | None = None) -> str:
    """Return a moment of an answer in eleven columns, in the reader's own time zone: of today its time, else its day
    and time.
    """
    shown = local(unix_of(at))
    today = (now or local_now()).date()
    if shown.date() == today:
        return f"{shown:      %H:%M}"
    return f"{shown:%m-%d %H:%M}" if shown.year == today.year else f"{day_text(shown)} "
