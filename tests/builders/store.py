"""A store on a folder, and commands that do as they are told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.changes.auditlog.evidence import Evidence
from agent.changes.journal import machine
from agent.changes.journal.audit import Recorder
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from agent.store.mark_file import LogMark
from agent.store.vault import Vault
from trust.keys import SigningKey
from trust.leaf import LeafKind

KEY = SigningKey(bytes(range(32)))
STORE_KEY = bytes(range(32, 64))
TRANSITIONS = [(s.value, t.value) for (s, _), t in machine.TRANSITIONS.items()]
WALL_S = 1_767_225_600.0


@dataclass(frozen=True, slots=True)
class Put:
    """Write one row of `meta` and one event; then perhaps go wrong."""

    key: str
    value: bytes = b"v"
    wrong: Exception | None = None
    sealed: Sealed | None = None
    also: Callable[[Tx], object] = lambda tx: None
    high: bool = False

    def run(self, tx: Tx) -> int:
        seq = tx.append(Entry(LeafKind.START, sealed=self.sealed))
        tx.run("INSERT INTO meta VALUES (?,?)", (self.key, self.value))
        tx.raise_high_water = self.high
        self.also(tx)
        if self.wrong is not None:
            raise self.wrong
        return seq


def open_store(folder: Path, high_water: Callable[[LogMark], None] | None = None) -> Store:
    return Store(folder, TRANSITIONS, lambda: WALL_S, high_water=high_water)


class Agent:
    """Store, vault and evidence on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = Vault(STORE_KEY, folder / "keys.db")
        self.store = open_store(folder, self.vault.raise_mark)
        self.recorder = Recorder(self.vault)
        self.evidence = Evidence(self.store, self.vault, self.recorder, "test.local/agent/a", KEY)

    def close(self) -> None:
        self.store.close()
        self.vault.close()


def keys(store: Store) -> list[str]:
    return [r["key"] for r in store.reader.execute("SELECT key FROM meta ORDER BY key")]


def edit(folder: Path, *script: str) -> None:
    """Change the database by hand, as root could: triggers are dropped first, so that they do not help."""
    with closing(sqlite3.connect(folder / "agent.db", isolation_level=None)) as con:
        for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            con.execute(f"DROP TRIGGER {name}")
        for statement in script:
            con.execute(statement)


@dataclass(frozen=True)
class AddService:
    """Put a service into the inventory."""

    ref: str
    login: str = "u0"
    method: str = "fake"

    def run(self, tx: Tx) -> None:
        subscriber, name = self.ref.split("/")
        row = (self.ref, subscriber, "", name, self.login, self.method, "20M", "", 0, "{}")
        tx.run("INSERT INTO service VALUES (?,?,?,?,?,?,?,?,?,?)", row)


@dataclass(frozen=True)
class AddServices:
    """Put services into the inventory: C-LOGIN/home of each login; those `suspended` have been, for debt."""

    logins: tuple[str, ...]
    suspended: tuple[str, ...] = ()
    method: str = "fake"

    def run(self, tx: Tx) -> None:
        for login in self.logins:
            AddService(f"C-{login}/home", login, self.method).run(tx)
        for login in self.suspended:
            tx.run(
                "INSERT INTO reason (service, reason, plan_id, seq) SELECT ?, 'debt', NULL, max(seq) FROM event",
                (f"C-{login}/home",),
            )
