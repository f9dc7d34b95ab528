"""Random bytes, from one source: the operating system's, unless the code that starts a program lends another.

The functions are named as those of the standard library's `secrets`, and mean the same.

* Nothing else in the programs draws randomness; `tests/repo/test_one_source.py` lists the exceptions.
* Keys come from here too. There is no seed, and no generator that takes one: a source is an object that only code can
  lend, by `lend`. Neither a file, nor an environment variable, nor a message can. Only tests lend one.
* A source is lent to the tasks that are started inside the block, and to their threads. So several agents in one
  process can each have their own.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

_FRACTION_BITS: Final = 53
"""A float in [0, 1) holds so many bits."""


class Chance(Protocol):
    """A source of random bytes."""

    def draw(self, size_bytes: int) -> bytes:
        """Return so many bytes that nobody else is given. Any thread may call."""
        ...


_lent: ContextVar[Chance | None] = ContextVar("chance", default=None)


@contextmanager
def lend(source: Chance) -> Iterator[None]:
    """Have everything that the block starts draw from a source instead of the operating system. For tests."""
    before = _lent.set(source)
    try:
        yield
    finally:
        _lent.reset(before)


def lent() -> Chance | None:
    """Return the source that was lent; None: the operating system's holds."""
    return _lent.get()


def token_bytes(size_bytes: int) -> bytes:
    """Return so many random bytes."""
    source = _lent.get()
    return os.urandom(size_bytes) if source is None else source.draw(size_bytes)


def token_hex(size_bytes: int) -> str:
    """Return so many random bytes as hex digits, two for each."""
    return token_bytes(size_bytes).hex()


def token_urlsafe(size_bytes: int) -> str:
    """Return so many random bytes as base64 for URLs (RFC 4648 section 5), without padding."""
    return base64.urlsafe_b64encode(token_bytes(size_bytes)).rstrip(b"=").decode("ascii")


def randbits(bits: int) -> int:
    """Return 0 <= n < 2 ** `bits`; `bits` is at least 1."""
    size_bytes = (bits + 7) // 8
    return int.from_bytes(token_bytes(size_bytes), "big") >> (size_bytes * 8 - bits)


def randbelow(limit: int) -> int:
    """Return 0 <= n < `limit`, each with the same probability; `limit` is at least 1.

    Raises:
        ValueError: it is not.
    """
    if limit < 1:
        raise ValueError(f"expected a limit of at least 1, got {limit}")
    bits = limit.bit_length()
    while (drawn := randbits(bits)) >= limit:  # a remainder would prefer the small ones
        pass
    return drawn


def fraction() -> float:
    """Return 0 <= x < 1, to spread events over time."""
    return randbits(_FRACTION_BITS) / (1 << _FRACTION_BITS)
