"""The clocks of the control plane: handed down from where the server is composed, so that tests can have their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CloudClock:
    """Two clocks: unix seconds, and seconds that never go back."""

    wall_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic

    def minute(self) -> int:
        """Return the wall clock, unix minutes: all that the control plane tells of time."""
        return int(self.wall_s()) // 60


SYSTEM: Final = CloudClock()
"""The machine's."""
