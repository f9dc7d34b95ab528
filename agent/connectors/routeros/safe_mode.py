"""Is a colleague's safe mode open on a router? Pure.

Writes of any session while it is open are undone when its session ends without releasing it, and a hundred writes of
anybody put it out of force (MikroTik's manual, "Configuration Management"). Nothing of ours takes or ends one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

SAFE_MODE: Final = "/safe-mode"
"""From 7.18 on."""
HISTORY: Final = "/system/history"
FLOATING: Final = "floating-undo"
"""Marks an action that an open safe mode would undo, on every release."""

_Rows = Sequence[Mapping[str, str]]


def open_safe_mode(modes: _Rows, history: _Rows) -> str | None:
    """Return that a safe mode is open and the users that made changes in it, for people; "": none is; None: nobody
    knows.

    Args:
        modes: the rows of `/safe-mode`; none where the release has no such menu.
        history: rows of the history; those that are not marked count for nothing.
    """
    floating = [row for row in history if row.get(FLOATING) in ("true", "yes")]
    if floating or any(row.get("enabled") in ("true", "yes") for row in modes):
        by = ", ".join(sorted({row["by"] for row in floating if row.get("by")}))
        return f"a safe mode is open{f' (changes by {by})' if by else ''}"
    return "" if modes else None
