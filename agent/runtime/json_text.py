"""Strict JSON: a text that two readers would understand differently is refused."""

from __future__ import annotations

import functools
import json
import re
from decimal import Decimal
from typing import Final, NoReturn

from agent.runtime.errors import MalformedJsonError

MAX_DEPTH: Final = 32
"""Nesting of arrays and objects. Chosen arbitrarily; ours go to 6."""

EXACT_DIGITS: Final = 60
"""Characters of a number with a fraction. Chosen arbitrarily; a binary fraction that is printed whole has 17 digits."""


_SHORT: Final = 20
"""A number without an exponent that is no longer is finite."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


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
        raise MalformedJsonError(f"expected JSON nested at most {MAX_DEPTH} deep") from err
    except ValueError as err:  # JSONDecodeError, UnicodeDecodeError, int() of too many digits, _RefusedError
        raise MalformedJsonError(f"expected strict JSON: {err}") from err
    return value


def decode_exact_untrusted(data: bytes) -> object:
    """Return the same as `decode_untrusted`, with each number that has a fraction as the exact `Decimal`.

    It is made for megabytes: depth and surrogates are looked for in the bytes.

    Raises:
        MalformedJsonError: as `decode_untrusted`, or a number of more than EXACT_DIGITS characters.
    """
    try:
        _refuse_deep(data)
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_exact
        )
        if _SURROGATE.search(data):
            _refuse_odd(value, MAX_DEPTH)
    except RecursionError as err:
        raise MalformedJsonError(f"expected JSON nested at most {MAX_DEPTH} deep") from err
    except ValueError as err:
        raise MalformedJsonError(f"expected strict JSON: {err}") from err
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _RefusedError("a number is out of range")
    return number


@functools.lru_cache(maxsize=4096)
def _exact(text: str) -> Decimal:
    """Return a number as it is written; the prices and sums of a bill are few, and repeat."""
    if len(text) > _SHORT:
        _finite(text)
        if len(text) > EXACT_DIGITS:
            raise _RefusedError(f"expected a number of at most {EXACT_DIGITS} characters")
    elif "e" in text or "E" in text:
        _finite(text)
    try:
        return Decimal(text)
    except ArithmeticError as err:  # an exponent of many digits
        raise _RefusedError("a number is out of range") from err


def _refuse_deep(data: bytes) -> None:
    """Take the innermost brackets away, outside of texts, as often as they may be nested; then none is left.

    All of it is done by functions in C. Bytes that are no JSON may be refused here or by the parser.
    """
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    # Two quotes that meet are a text without brackets, or join two texts: what stands outside of texts stays there
    left = data.translate(None, _NO_BRACKETS).replace(b'""', b"")
    if b'"' in left:
        left = b"".join(left.split(b'"')[::2])
    for _ in range(MAX_DEPTH - 1):
        if not left:
            return
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    if left:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH}")


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


def encode(value: object) -> bytes:
    """Return `value` as JSON in UTF-8 on one line, without a line end."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


_ESCAPED: Final = re.compile("[\udc80-\udcff]")
"""Bytes that are no UTF-8, as `surrogateescape` reads them (PEP 383)."""


def as_utf8(text: str) -> bytes:
    r"""Return JSON text in UTF-8. In a device's string a byte that is no UTF-8 reads `\xNN` afterwards."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _ESCAPED.sub(lambda found: f"\\\\x{ord(found[0]) - 0xDC00:02x}", text).encode()
