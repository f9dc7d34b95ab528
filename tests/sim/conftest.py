"""Gives each test of the simulation the real way to make a database."""

from __future__ import annotations

import pytest

from durable import files
from tests import once


@pytest.fixture(autouse=True)
def real_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make databases as `make sim` does, where `open_world` says which are copies: a kept seed is to be one world."""
    monkeypatch.setattr(files, "open_database", once.real_database)
