"""Gives each test of the simulation the real way to make a database."""

from __future__ import annotations

import pytest

from durable import files
from tests import once


@pytest.fixture(autouse=True)
def real_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each new database by its migrations, as `make sim` does: a kept seed is to play the same world here."""
    monkeypatch.setattr(files, "open_database", once.real_database)
