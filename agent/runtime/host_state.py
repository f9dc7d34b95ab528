"""How this machine serves the agent: the space that is left on its disk, and how late its event loop is."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

LOW_BYTES: Final = 512 * 1024 * 1024
"""Below this the disk is low: there is room for days of work, and time to make more. Chosen arbitrarily."""
EVERY_S: Final = 30.0
"""Between two looks at the disk."""
SYNCS: Final = 5
"""Writes of which the time is taken."""
LAG_EVERY_S: Final = 1.0
LAGS_KEPT: Final = 60
"""Measurements of the last minute."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system of the state directory, bytes that our user may still write and all of it."""

    free_bytes: int
    size_bytes: int

    @property
    def low(self) -> bool:
        """Whether a person should make room now."""
        return self.free_bytes < LOW_BYTES


class HostState:
    """Measures the disk and the loop."""

    def __init__(self, state_dir: Path, note: Callable[[str], None]) -> None:
        """Take the state directory, and a callback for the problem of the disk at each look, "" where there is none."""
        self._state_dir, self._note = state_dir, note
        self._lags: deque[float] = deque(maxlen=LAGS_KEPT)

    @property
    def lag_s(self) -> float:
        """How late the event loop was at most in the last minute, seconds."""
        return max(self._lags, default=0.0)

    def disk(self) -> DiskSpace:
        """Return the space on the disk of the state directory."""
        found = os.statvfs(self._state_dir)
        return DiskSpace(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def files_bytes(self) -> int:
        """Return how large the agent's own files are."""
        with os.scandir(self._state_dir) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file())

    async def sync_s(self) -> float:
        """Return how long a small write takes to be durable, seconds: the median of some, in a file without a name.

        Raises:
            OSError: the disk takes none.
        """
        return await trio.to_thread.run_sync(self._sync_s)

    def _sync_s(self) -> float:
        took = []
        # Without a name nothing is left of it, whatever happens
        fd = os.open(self._state_dir, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(SYNCS):
                begun = time.perf_counter()
                os.write(fd, b"\0" * 4096)
                os.fsync(fd)
                took.append(time.perf_counter() - begun)
        finally:
            os.close(fd)
        return statistics.median(took)

    async def run(self) -> None:
        """Look and measure until cancelled."""
        look_at = trio.current_time()
        while True:
            if trio.current_time() >= look_at:
                self._note(self.disk_problem())
                look_at = trio.current_time() + EVERY_S
            due = trio.current_time() + LAG_EVERY_S
            await trio.sleep_until(due)
            self._lags.append(max(0.0, trio.current_time() - due))

    def disk_problem(self) -> str:
        """Return why the disk will not serve for long, "" when it will."""
        try:
            space = self.disk()
        except OSError as err:
            return f"{self._state_dir} cannot be looked at: {err.strerror}"
        if not space.low:
            return ""
        return (
            f"{space.free_bytes // 2**20} MiB are free in {self._state_dir}, expected {LOW_BYTES // 2**20} MiB: "
            f"make room, a full disk stops the agent"
        )
