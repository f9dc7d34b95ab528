"""Shares costly first steps of a program among all tests of a worker. They are most of the work of a short test.

- Typer reads the annotations of some 150 commands (0.08 s of CPU).
- A digest of some 400 files of code is part of each preview (0.04 s).
- A new database goes through all versions of its schema (0.02 s of CPU, 25 commits). Each further one begins as a copy
  of the first. The simulation says itself where: its worlds are played outside of pytest, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import typer.main
import typer.testing

from agent import daemon
from durable import files

real_database = files.open_database
real_digest = daemon.build_sha256
_new: dict[tuple[tuple[str, ...], int], bytes] = {}


def open_database(
    path: Path,
    migrations: Sequence[str],
    writers_from: int,
    migrating: Callable[[int], None] | None = None,
) -> sqlite3.Connection:
    """Return an open database as `durable.files.open_database` does; a new one is a copy of the first one made."""
    if path.exists() or not path.parent.is_dir():
        return real_database(path, migrations, writers_from, migrating)
    made = _new.get(key := (tuple(migrations), writers_from))
    if made is not None:
        path.write_bytes(made)
    con = real_database(path, migrations, writers_from, migrating)
    if made is None:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _new[key] = path.read_bytes()
    return con


def share() -> None:
    """Let the tests of this process share them."""
    files.open_database = open_database
    daemon.build_sha256 = cache(real_digest)
    typer.testing._get_command = cache(typer.main.get_command)
