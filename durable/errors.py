"""Errors of the durable base. Each program turns them into its own; `sqlite3.Error` passes through.

* DurableError
  x NewerDatabaseError: newer code wrote the database
"""

from __future__ import annotations


class DurableError(Exception):
    """Anything of ours that the durable base raises."""


class NewerDatabaseError(DurableError):
    """Newer code wrote the database, and no program as old as this one may write to it; it is left as it is."""

    def __init__(self, known: int, found: int, oldest: int) -> None:
        super().__init__(
            f"expected database version {known} or older, got {found}, to which programs of version {oldest} or newer"
            " may write"
        )
