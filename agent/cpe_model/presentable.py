"""A CPE's own names, made fit for an error: short, and harmless on a terminal."""

from __future__ import annotations

from agent.cpe_model import limits
from trust.terminal import neutralize


def presentable(name: str) -> str:
    """Return a name of an element, header or scheme, neutralized and at most `limits.SHOWN_CHARS` long.

    For names alone: values may be passwords and are never shown.
    """
    # Clipped before and after: an escape takes ten characters in place of one
    shown = neutralize(name[: limits.SHOWN_CHARS])
    return shown if len(shown) <= limits.SHOWN_CHARS else shown[: limits.SHOWN_CHARS - 1] + "…"
