"""Random bytes from the kernel, drawn in blocks: one system call for some hundred salts and nonces.

`os.urandom` lets other threads run while it asks the kernel, so a task that draws 20 times for an item waits 20 times
until the thread that writes the database lets it go on. Rules:

* Each byte is given out once; a child process begins with a block of its own.
* A block lives for `BLOCK_S` seconds: a snapshot of a virtual machine that is started twice repeats no older bytes.
* Salts, nonces and references only. Keys are drawn one by one (`trust.chance`), so that no key lies in memory before
  it is needed.
* Where a source was lent (`trust.chance.lend`), it is asked each time: a test wants its order of bytes.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from trust import chance

BLOCK_BYTES: Final = 4096
"""Drawn at once: the salts and nonces of 73 records. Chosen arbitrarily."""

BLOCK_S: Final = 0.05
"""Longest life of a block, seconds: a batch draws one within some 40 ms."""


class _Blocks:
    """The block that is being given out."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew; after a fork, when another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._block = b""
        self._at = 0
        self._until_s = 0.0

    def take(self, size_bytes: int) -> bytes:
        with self._lock:
            start, end = self._at, self._at + size_bytes
            now_s = time.monotonic()
            if end > len(self._block) or now_s > self._until_s:
                self._until_s = now_s + BLOCK_S
                self._block = os.urandom(max(BLOCK_BYTES, size_bytes))
                start, end = 0, size_bytes
            self._at = end
            return self._block[start:end]


_BLOCKS: Final = _Blocks()
os.register_at_fork(after_in_child=_BLOCKS.forget)


def random_bytes(size_bytes: int) -> bytes:
    """Return so many random bytes that nobody else is given. Any thread may call."""
    source = chance.lent()
    return _BLOCKS.take(size_bytes) if source is None else source.draw(size_bytes)
