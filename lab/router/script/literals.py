"""Words that are values of a type: numbers, times, addresses. Pure.

`1s` is 00:00:01, `0xFF` is 255, `yes` is true. A number beyond 64 bits is the largest there is.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_NUMBER: Final = re.compile(r"-?\d+")
_HEX: Final = re.compile(r"(-?)0x([0-9a-fA-F]+)")
_ADDRESS: Final = re.compile(r"(\d{1,3})((?:\.\d{1,3}){1,3})")
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME: Final = re.compile(
    r"(-?)(?=.*[wdhms:])(?:(\d+)w)?(?:(\d+)d)?(?:(\d+):(\d+)(?::(\d+)(?:\.(\d{1,9}))?)?"
    r"|(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)(?:\.(\d{1,9}))?s)?(?:(\d+)ms)?(?:(\d+)us)?(?:(\d+)ns)?)"
)
_MAX: Final = (1 << 63) - 1
_TRUTH: Final = {"yes": "true", "true": "true", "no": "false", "false": "false"}


def number(word: str) -> str | None:
    """A number in tens, or None."""
    if _NUMBER.fullmatch(word):
        value = int(word[:40])
    elif found := _HEX.fullmatch(word):
        value = int(found[2][:32], 16) * (-1 if found[1] else 1)
    else:
        return None
    return str(max(-_MAX - 1, min(value, _MAX)))


def truth(word: str) -> str | None:
    """A boolean, or None."""
    return _TRUTH.get(word)


def address(word: str) -> str | None:
    """An IPv4 address with all its four numbers, or None: 1.1 is 1.0.0.1."""
    found = _ADDRESS.fullmatch(word)
    if not found:
        return None
    parts = [int(part) for part in word.split(".")]
    if max(parts) > 255:
        return None
    return ".".join(map(str, parts[:-1] + [0] * (4 - len(parts)) + parts[-1:]))


def time(word: str) -> str | None:
    """A time as RouterOS prints it, or None: 90m is 01:30:00, 1w is 1w00:00:00."""
    found = _TIME.fullmatch(word)
    if not found or not any(c.isdigit() for c in word):
        return None
    sign, week, day, ch, cm, cs, cf, h, m, s, f, ms, us, ns = found.groups()
    if any(len(part or "") > 12 for part in found.groups()):
        return None
    if ch and cs is None:  # 05:30 is minutes and seconds nowhere: hours and minutes
        cs = "0"
    seconds = 604800 * int(week or 0) + 86400 * int(day or 0)
    seconds += 3600 * int(ch or h or 0) + 60 * int(cm or m or 0) + int(cs or s or 0)
    nanos = int(((cf or f or "") + "0" * 9)[:9]) + 1_000_000 * int(ms or 0) + 1000 * int(us or 0) + int(ns or 0)
    return _time(sign, seconds + nanos // 1_000_000_000, nanos % 1_000_000_000)


def seconds(word: str) -> str | None:
    """A time of so many seconds, or None."""
    found = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,9}))?", word)
    return _time("", int(found[1]), int(((found[2] or "") + "0" * 9)[:9])) if found else None


def _time(sign: str, total: int, nanos: int) -> str:
    days, rest = divmod(total, 86400)
    weeks, days = divmod(days, 7)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    if nanos:
        digits = f"{nanos:09}"
        while digits.endswith("000"):
            digits = digits[:-3]
        text += "." + digits
    return f"{sign}{f'{weeks}w' if weeks else ''}{f'{days}d' if days else ''}{text}"


def prefix(word: str) -> str | None:
    """An IPv6 prefix without the bits beyond its length, or None. Where there are none, it stays as written."""
    if ":" not in word or "/" not in word:
        return None
    try:
        whole = ipaddress.IPv6Interface(word)
    except ValueError:
        return None
    return word if whole.ip == whole.network.network_address else str(whole.network)


def folded(word: str) -> str:
    """A word of any type as RouterOS prints its value."""
    for kind in (number, truth, time, address, prefix):
        value = kind(word)
        if value is not None:
            return value
    return word
