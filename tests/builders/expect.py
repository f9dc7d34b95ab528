"""Values that must be of some kind, for a test to go on with them."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def expect(kind: type[T], value: object) -> T:
    """Return the value, which must be of this kind."""
    assert isinstance(value, kind), f"expected a {kind.__name__}, got {value!r}"
    return value


def present(value: T | None) -> T:
    """Return the value, which must not be None."""
    assert value is not None
    return value
