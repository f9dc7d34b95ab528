"""Reads the agent's `agent.db` by a connection of its own, while the agent lives, dies, and is put back.

Nothing here trusts what the agent says of its log: the root over the leaves is computed anew, and leaves that were
seen once must stay.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

ABOUT_TO, OUTCOME = 15, 16
"""The numbers of those kinds of leaf, by docs/spec."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A state that an item came into, as the agent's log says. `before_at`: since when it had the state before."""

    at: float
    before_at: float
    change: str
    service: str
    state: str
    reason: str
    detail: str
    suspended: bool
    leaf: int


@dataclass(frozen=True, slots=True)
class Announced:
    """A step of the log: about to be done at `about_s`, known what came of it at `outcome_s` (unix seconds).

    `after`: what it was to write, as text; an effect writes nothing.
    """

    change: str
    action: str
    service: str
    item: int
    n: int
    direction: str
    attempt: int
    about_s: int
    outcome_s: float
    effect: bool
    after: str
    verdict: str
    leaf: int


@dataclass(frozen=True, slots=True)
class ItemNow:
    """An item as it stands."""

    change: str
    service: str
    state: str
    reason: str
    detail: str


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash over leaves, as RFC 6962 section 2.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\1" + p[0] + p[1]).digest() if len(p) == 2 else p[0] for p in pairs]
    return level[0]


class AgentFile:
    """The file. `claims`: every state that an item was seen to come into. `mark` is put to the names of changes."""

    def __init__(self, path: Path, mark: str = "") -> None:
        self.claims: list[Claimed] = []
        self._path, self._mark = path, mark
        self._items: dict[tuple[str, str], tuple[float, int]] = {}
        self._leaves: list[bytes] = []
        self._version = -1
        self._is_news = True
        self._con: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read."""
        if self._con is not None:
            self._con.close()
        self._con, self._version = None, -1

    def forget(self) -> None:
        """Let another file take its place, whose leaves and items are others; what it says first is no news."""
        self.close()
        self._leaves.clear()
        self._items.clear()
        self._is_news = False

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None, timeout=10)

    def _read(self, *statements: str) -> list[list[tuple[object, ...]]]:
        """Return the rows of some queries as of one moment, by a connection of their own."""
        with closing(self._connect()) as con:
            con.execute("BEGIN")
            return [con.execute(sql).fetchall() for sql in statements]

    def look(self) -> None:
        """Take note of the states that changed since the last look."""
        if not self._path.exists():
            return
        self._con = self._con or self._connect()
        (version,) = self._con.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        now = trio.current_time()
        found = self._con.execute(
            "SELECT short, service, state, state_seq, item.reason, detail,"
            " EXISTS (SELECT 1 FROM reason WHERE reason.service = item.service) FROM item JOIN plan USING (plan_id)"
        ).fetchall()
        self._version = version
        for change, service, state, seq, reason, detail, suspended in found:
            key = f"{change}{self._mark}", str(service)
            before_at, before = self._items.get(key, (now, -1))
            if seq == before:
                continue
            leaf = int(str(seq))
            self._items[key] = (now, leaf)
            claim = Claimed(now, before_at, *key, str(state), str(reason), str(detail), bool(suspended), leaf)
            self.claims += [claim] if self._is_news else []
        self._is_news = True

    def steps(self) -> list[Announced]:
        """Return every step, in the order of the log."""
        (found,) = self._read(
            "SELECT short, action, service, s.item, s.n, s.direction, s.attempt, a.at_s, o.at_s, s.do,"
            " coalesce(s.verdict, ''), s.about_seq FROM step s JOIN plan USING (plan_id)"
            " JOIN item i ON i.plan_id = s.plan_id AND i.n = s.item JOIN event a ON a.seq = s.about_seq"
            " LEFT JOIN event o ON o.seq = s.outcome_seq ORDER BY s.about_seq"
        )
        return [self._step(row) for row in found]

    def _step(self, row: tuple[Any, ...]) -> Announced:
        change, action, service, item, n, direction, attempt, about_s, outcome_s, do, verdict, leaf = row
        done, outcome_s = json.loads(do), math.inf if outcome_s is None else outcome_s
        after = "" if isinstance(done, dict) else json.dumps([one["after"] for one in done])
        where = f"{change}{self._mark}", action, service, item, n, direction, attempt
        return Announced(*where, about_s, outcome_s, isinstance(done, dict), after, verdict, leaf)

    def items(self) -> list[ItemNow]:
        """Return every item."""
        (found,) = self._read(
            "SELECT short, service, state, item.reason, detail FROM item JOIN plan USING (plan_id) ORDER BY state_seq"
        )
        return [ItemNow(f"{change}{self._mark}", *map(str, more)) for change, *more in found]

    def unfinished(self) -> list[str]:
        """Return the changes that are approved or begun, and not over."""
        (found,) = self._read(
            "SELECT short, gate FROM plan WHERE gate IN ('approved', 'consumed') AND finished_seq IS NULL"
        )
        return [f"{short} ({gate})" for short, gate in found]

    def finished(self, change: str) -> bool:
        """Tell whether a change is over, used or not."""
        sql = "SELECT short FROM plan WHERE finished_seq IS NOT NULL OR gate NOT IN ('open', 'approved', 'consumed')"
        return any(row[0] == change for row in self._read(sql)[0])

    def held(self) -> list[str]:
        """Return the addresses that are held."""
        return [str(row[0]) for row in self._read("SELECT address FROM address_lock")[0]]

    def suspended(self) -> set[str]:
        """Return the services that are suspended on record."""
        return {str(row[0]) for row in self._read("SELECT DISTINCT service FROM reason")[0]}

    # --- the log ------------------------------------------------------------------------------------------------------

    def wrong_log(self) -> list[str]:
        """Return what is wrong with the log."""
        rows, notes, about, over = self._read(
            "SELECT leaf, kind, plan, item, step FROM event ORDER BY seq",
            "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 3",
            "SELECT plan_id, item, n, about_seq FROM step",
            "SELECT plan_id, item, n, outcome_seq FROM step WHERE outcome_seq IS NOT NULL",
        )
        leaves = [bytes(row[0]) for row in rows if isinstance(row[0], bytes)]
        wrong = [] if leaves[: len(self._leaves)] == self._leaves else ["leaves that were seen before are others now"]
        self._leaves = leaves
        for size, note in notes:
            assert isinstance(note, bytes)
            lines = note.decode().split("\n")
            if lines[1] != str(size):
                wrong.append(f"the checkpoint of {size} leaves says {lines[1]}")
            elif base64.b64decode(lines[2]) != root_hash(leaves[: int(lines[1])]):
                wrong.append(f"the root of {size} leaves is another than its checkpoint says")
        for kind, steps, name in ((ABOUT_TO, about, "about to"), (OUTCOME, over, "outcome")):
            told = {(*row[2:], seq) for seq, row in enumerate(rows, 1) if row[1] == kind}
            wrong += _differ(name, told, set(steps))
        return wrong

    @property
    def size(self) -> int:
        """How many leaves there were at the last `wrong_log`."""
        return len(self._leaves)


def _differ(name: str, leaves: Collection[object], steps: Collection[object]) -> list[str]:
    lone, untold = len(set(leaves) - set(steps)), len(set(steps) - set(leaves))
    if not lone and not untold:
        return []
    return [f"{lone} leaves '{name}' without a step, {untold} steps without such a leaf"]
