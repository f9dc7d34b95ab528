"""Random bytes from the kernel, drawn in blocks: one system call for some hundred salts and nonces.

`os.urandom` lets other threads run while it asks the kernel, so a task that draws 20 times for an item waits 20 times
until the thread that writes the database lets it go on. Rules:

* Each byte is given out once; a child process begins with a block of its own.
* Salts, nonces and references only. Keys are drawn one by one (`secrets`), so that no key lies in memory before it is
  needed.
"""

from __future__ import annotations

import os
import threading
from typing import Final

BLOCK_BYTES: Final = 4096
"""Drawn at once: the salts and nonces of 73 records. Chosen arbitrarily."""


class _Blocks:
    """The block that is being given out."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew; after a fork, when another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._block = b""
        self._at = 0

    def take(self, size_bytes: int) -> bytes:
        with self._lock:
            start, end = self._at, self._at + size_bytes
            if end > len(self._block):
                self._block = os.urandom(max(BLOCK_BYTES, size_bytes))
                start, end = 0, size_bytes
            self._at = end
            return self._block[start:end]


_BLOCKS: Final = _Blocks()
os.register_at_fork(after_in_child=_BLOCKS.forget)


def random_bytes(size_bytes: int) -> bytes:
    """Return so many random bytes that nobody else is given. Any thread may call."""
    return _BLOCKS.take(size_bytes)
