"""A book of CPE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.acs import Book, opened


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """Return an empty book."""
    with opened(tmp_path) as made:
        yield made
