"""The times of leaves and statements, which are whole minutes, for people."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from trust.moments import LATEST_S, moment_text

_LATEST_MINUTE: Final = LATEST_S // 60


def minute_text(unix_minutes: int) -> str:
    """Return a minute as people read it: `2026-11-28 03:49 UTC`. One after the year 9999 is given as its number.

    In UTC wherever it is read: an auditor and the site compare evidence word by word.
    """
    if unix_minutes > _LATEST_MINUTE:
        return f"minute {unix_minutes} since 1970"
    return moment_text(unix_minutes * 60, UTC)
