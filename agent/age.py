"""How long something lasts, or how old it is, for people."""

from __future__ import annotations


def age_text(seconds: int) -> str:
    """Return a duration in its largest unit: `6d`, `3h`, `12m`, `40s`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"
