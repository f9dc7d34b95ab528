"""Strict JSON: what one reader would understand otherwise than another is refused."""

from __future__ import annotations

import json
from typing import Final, NoReturn

from agent.runtime.errors import MalformedJsonError
from agent.runtime.slices import MANY, InSlices

LONG: Final = 1 << 20
"""Characters of a text that are encoded at once: some 5 ms."""
MAX_DEPTH: Final = 32
"""Nesting of arrays and objects. Chosen arbitrarily; ours go to 6."""


class _RefusedError(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"the name {twice[:40]!r} stands twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is no JSON number")


def decode_untrusted(data: bytes) -> object:
    """Return the value that `data` (UTF-8, no byte order mark) holds.

    Raises:
        MalformedJsonError: not JSON, a name twice in an object, NaN or Infinity, nested deeper than MAX_DEPTH,
            a lone surrogate, or a number too long to convert.
    """
    try:
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
        _refuse_odd(value, MAX_DEPTH)
    except RecursionError as err:
        raise MalformedJsonError(f"JSON nested at most {MAX_DEPTH} deep expected") from err
    except ValueError as err:  # JSONDecodeError, UnicodeDecodeError, int() of too many digits, _RefusedError
        raise MalformedJsonError(f"strict JSON expected: {err}") from err
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _RefusedError("a number is out of range")
    return number


def _refuse_odd(value: object, depth: int) -> None:
    if depth == 0:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case str():
            value.encode("utf-8")  # a lone surrogate (\ud800) is a UnicodeEncodeError, a ValueError
        case dict():
            for name, inner in value.items():
                _refuse_odd(name, depth)
                _refuse_odd(inner, depth - 1)
        case list():
            for inner in value:
                _refuse_odd(inner, depth - 1)
        case _:
            pass


async def encode_in_slices(value: object) -> bytes:
    """Return what `encode` returns; long lists and texts of it in slices: other tasks run in between."""
    if isinstance(value, dict) and value:
        parts: list[bytes] = []
        for name, inner in value.items():
            parts += [b",", encode(name), b":", *await _encode_long(inner)]
        return b"".join((b"{", *parts[1:], b"}"))
    return b"".join(await _encode_long(value))


async def _encode_long(value: object) -> list[bytes]:
    """Return the parts of a value's text, which are joined once: a copy of it all takes its time too."""
    if isinstance(value, list) and len(value) > MANY:
        slices = await _encode_slices(value, MANY)
        return [b"[", slices[0], *(part for text in slices[1:] for part in (b",", text)), b"]"]
    if isinstance(value, str) and len(value) > LONG:
        return [b'"', *await _encode_slices(value, LONG), b'"']
    return [encode(value)]


async def _encode_slices(value: list[object] | str, most: int) -> list[bytes]:
    """Return each slice without its brackets or quotes. A text is escaped character by character: it may be cut."""
    return [encode(value[start : start + most])[1:-1] async for start in InSlices(range(0, len(value), most), 1)]


def encode(value: object) -> bytes:
    """Return `value` as JSON in UTF-8 on one line, without a line end."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
