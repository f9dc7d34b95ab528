"""How many inputs and histories a run of the fuzzers judged, over all of its processes."""

from __future__ import annotations

import random
from collections import Counter

INPUTS, HISTORIES, LIVES = "malformed inputs", "histories of plans", "lives of an agent"
judged: Counter[str] = Counter()
"""By what they are. Of this process; `conftest` adds up those of the others."""


def add(what: str, count: int) -> None:
    """Count so many more."""
    judged[what] += count


BITS = [
    b"",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"\n",
    b"\r\n",
    b"%",
    b"\\u0000",
    b"-",
    b"+",
    b"9" * 30,
    b"1e999",
    b"null",
    b"NaN",
    b"true",
    b" ",
    b"\xe2\x80\xae",
]


def changed(dice: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """Return noise now and then, else a seed in which up to four places are changed, cut out, doubled or filled."""
    if dice.random() < 0.1 or not seeds:
        return dice.randbytes(dice.randrange(120))
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(data) + 1)
        roll = dice.random()
        fill = dice.choice(BITS) if roll < 0.4 else dice.randbytes(dice.randrange(4))
        if roll > 0.85:
            fill = bytes(data[at : at + dice.randrange(60)])
        data[at : at + dice.choice([0, 1, 1, 2, 8, 40])] = fill
    return bytes(data)
