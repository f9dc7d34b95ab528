"""Polled values in the agent's database: commands that record them, queries that return them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.connectors.base import Sample
from agent.store.db import Store, Tx

KEPT: Final = 500
"""Values of one name of one target: a day and a half at one in five minutes. Chosen arbitrarily."""
NAMES_MAX: Final = 1000
"""Names of one target, so that a device cannot fill the disk. Chosen arbitrarily."""
NAME_CHARS: Final = 100
VALUE_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class Polled:
    """A value that a target had at a time, unix seconds."""

    name: str
    value: str
    at_s: int


@dataclass(frozen=True, slots=True)
class RecordSamples:
    """Command: keep what a poll returned. Text beyond the limits is cut, names beyond them are left out."""

    target: str
    samples: tuple[Sample, ...]

    def run(self, tx: Tx) -> int:
        """Return how many values were recorded."""
        at_s = int(tx.now_s)
        known = {row["name"] for row in tx.all("SELECT DISTINCT name FROM sample WHERE target = ?", (self.target,))}
        rows: dict[str, str] = {}
        for sample in self.samples:
            name = sample.name[:NAME_CHARS]
            if name in known or len(known) < NAMES_MAX:
                known.add(name)
                rows[name] = sample.value[:VALUE_CHARS]
        tx.many(
            "INSERT OR REPLACE INTO sample (target, name, at_s, value) VALUES (?, ?, ?, ?)",
            [(self.target, name, at_s, value) for name, value in rows.items()],
        )
        tx.many(
            "DELETE FROM sample WHERE target = ?1 AND name = ?2 AND at_s <= (SELECT at_s FROM sample "
            "WHERE target = ?1 AND name = ?2 ORDER BY at_s DESC LIMIT 1 OFFSET ?3)",
            [(self.target, name, KEPT) for name in rows],
        )
        return len(rows)


def latest(store: Store, target: str) -> list[Polled]:
    """Return the newest value of each name, by name."""
    query = "SELECT name, value, max(at_s) AS at_s FROM sample WHERE target = ? GROUP BY name ORDER BY name"
    return [Polled(row["name"], row["value"], row["at_s"]) for row in store.query(query, (target,))]


def series(store: Store, target: str, name: str) -> list[Polled]:
    """Return the values of one name that are kept, oldest first."""
    query = "SELECT name, value, at_s FROM sample WHERE target = ? AND name = ? ORDER BY at_s"
    return [Polled(row["name"], row["value"], row["at_s"]) for row in store.query(query, (target, name))]
