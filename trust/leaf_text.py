"""The times of leaves and statements, which are whole minutes, for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def minute_text(unix_minutes: int) -> str:
    """Return a minute as people read it: `2026-11-28 03:49 UTC`. One after the year 9999 is given as its number."""
    try:
        return f"{_EPOCH + timedelta(minutes=unix_minutes):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return f"minute {unix_minutes} since 1970"
