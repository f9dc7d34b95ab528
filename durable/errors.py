"""Errors of the durable base. Each program turns them into its own; `sqlite3.Error` passes through.

* DurableError
  x NewerDatabaseError: newer code wrote the database
"""

from __future__ import annotations


class DurableError(Exception):
    """Anything of ours that the durable base raises."""


class NewerDatabaseError(DurableError):
    """Newer code wrote the database; it is left as it is."""

    def __init__(self, known: int, found: int) -> None:
        super().__init__(f"expected database version {known} or older, got {found}")
