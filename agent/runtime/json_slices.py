"""Long answers as JSON, encoded in slices: other tasks run in between.

A module of its own: the command line, which only reads JSON, imports no event loop.
"""

from __future__ import annotations

from typing import Final

from agent.runtime.json_text import encode
from agent.runtime.slices import MANY, InSlices

LONG: Final = 1 << 20
"""Characters of a text that are encoded at once: some 5 ms."""


async def encode_in_slices(value: object) -> bytes:
    """Return the same as `encode`; long lists and texts of it in slices: other tasks run in between."""
    if isinstance(value, dict) and any(map(_is_long, value.values())):
        parts: list[bytes] = []
        for name, inner in value.items():
            parts += [b",", encode(name), b":", *await _encode_long(inner)]
        return b"".join((b"{", *parts[1:], b"}"))
    return b"".join(await _encode_long(value))


def _is_long(value: object) -> bool:
    return (isinstance(value, list) and len(value) > MANY) or (isinstance(value, str) and len(value) > LONG)


async def _encode_long(value: object) -> list[bytes]:
    """Return the parts of a value's text, which are joined once: a copy of it all takes its time too."""
    if isinstance(value, list) and _is_long(value):
        slices = await _encode_slices(value, MANY)
        return [b"[", slices[0], *(part for text in slices[1:] for part in (b",", text)), b"]"]
    if isinstance(value, str) and _is_long(value):
        return [b'"', *await _encode_slices(value, LONG), b'"']
    return [encode(value)]


async def _encode_slices(value: list[object] | str, most: int) -> list[bytes]:
    """Return each slice without its brackets or quotes. A text is escaped character by character: it may be cut."""
    return [encode(value[start : start + most])[1:-1] async for start in InSlices(range(0, len(value), most), 1)]
