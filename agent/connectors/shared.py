"""What several connectors need and none of them owns."""

from __future__ import annotations

import time


def boot_time_s() -> float:
    """Return the boot-time clock, on which tickets' deadlines are."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def age_text(seconds: int) -> str:
    """Return a duration in its largest unit: `6d`, `3h`, `12m`, `40s`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"
