"""Regular expressions of operators that meet texts of devices: those that a text can make run for years are refused.

`re` cannot be interrupted, and holds every other thread meanwhile: one alias of 60 letters would stop the agent.

* A repeated group in which something repeats, may lack, or has alternatives is tried in exponentially many ways, unless
  it gives nothing back (`(?>…)*+`). Whether its pieces can be told apart is not judged: those that can are refused too.
* Repeats of nearly any character multiply each other: `REPEATS_MAX` of them are allowed in one expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

REPEATS_MAX: Final = 3
"""In 255 characters three take a second at worst, four a minute."""
_FLAGS: Final = re.compile(r"\(\?(?:[a-zA-Z]+\)|#[^)]*\)|P=\w+\))")
_OPEN: Final = re.compile(r"\((?:\?(?:P<\w+>|<[=!]|[:=!>]|[a-zA-Z]*-?[a-zA-Z]*:|\(\w+\)))?")
_SET: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEAT: Final = re.compile(r"(?:[*+?]|\{(?=[0-9,])([0-9]*)(,?)([0-9]*)\})([+?]?)")
_WIDE: Final = (".", "[^", r"\S", r"\D", r"\W", r"\w")


@dataclass(slots=True)
class _Group:
    began: int
    branches: bool = False
    """Something in it can match in several ways."""


def slow_part(pattern: str) -> str:
    """Return the part of an expression that may take exponential or high polynomial time; "": none does."""
    opened, at, wide = [_Group(0)], 0, 0
    while at < len(pattern):
        began, inner = at, False
        if (found := _FLAGS.match(pattern, at)) is not None:
            at = found.end()
            continue
        if (found := _OPEN.match(pattern, at)) is not None:
            opened.append(_Group(at))
            at = found.end()
            continue
        if pattern[at] == "|":
            opened[-1].branches, at = True, at + 1
            continue
        if pattern[at] == ")" and len(opened) > 1:
            group = opened.pop()
            began, inner, at = group.began, group.branches, at + 1
        elif (found := _SET.match(pattern, at)) is not None:
            at = found.end()
        else:
            at += 2 if pattern[at] == "\\" else 1
        repeat = _REPEAT.match(pattern, at)
        varies, many = _varies(repeat)
        at = at if repeat is None else repeat.end()
        if inner and many:
            return pattern[began:at]
        opened[-1].branches |= varies or (inner and not pattern.startswith("(?>", began))
        wide += many and varies and pattern.startswith(_WIDE, began)
        if wide > REPEATS_MAX:
            return pattern
    return ""


def _varies(repeat: re.Match[str] | None) -> tuple[bool, bool]:
    """Return whether a repeat gives back what it took, and whether it takes more than one."""
    if repeat is None or repeat[4] == "+":
        return False, False
    if repeat[1] is None:
        return True, repeat[0][0] != "?"
    most = repeat[3] if repeat[2] else repeat[1]
    return bool(repeat[2]) and repeat[1] != repeat[3], most != "1"
