"""The marker `slow`: `make test` leaves these tests out, `make test-slow` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet
from hypothesis import settings

T = TypeVar("T")


def fuzzing() -> bool:
    """Return whether this is `make fuzz`, whose profile has 5,000 examples at least."""
    return settings().max_examples >= 5000


def slow_unless(quick: Callable[[T], bool], cases: Iterable[T]) -> list[ParameterSet]:
    """Return the cases as parameters of one argument; all are slow but those that are `quick`."""
    return [pytest.param(case, marks=() if quick(case) else pytest.mark.slow) for case in cases]
