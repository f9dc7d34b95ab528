"""The clock halt: a jump over five minutes stops applying until a person says that the clock is right."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import HALT
from agent.runtime.clock import Clock, ClockGuard, ClockMark, now_of
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind

_log = logging.getLogger(__name__)

MARK = "clock_mark"
EVERY_S = 5.0
"""How often the clocks are compared and the reading is persisted."""


@dataclass(frozen=True, slots=True)
class KeepMark:
    """Persist the last accepted reading."""

    mark: bytes

    def run(self, tx: Tx) -> None:
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MARK, self.mark))


@dataclass(frozen=True, slots=True)
class Halt:
    """Halt applying, because the clock jumped."""

    jump_s: float
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        """Append the leaf of the first halt alone."""
        if tx.one("SELECT 1 FROM meta WHERE key = ?", (HALT,)):
            return
        tx.append(Entry(LeafKind.CLOCK_HALT, sealed=self.sealed))
        tx.run("INSERT INTO meta (key, value) VALUES (?, ?)", (HALT, str(self.jump_s).encode()))


@dataclass(frozen=True, slots=True)
class Accept:
    """A person looked at the clock: applying goes on."""

    mark: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        tx.append(Entry(LeafKind.CLOCK_ACCEPT, sealed=self.sealed))
        tx.run("DELETE FROM meta WHERE key = ?", (HALT,))
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MARK, self.mark))


def _encode(mark: ClockMark) -> bytes:
    return json.dumps([mark.wall_s, mark.boot_s, mark.boot_id, mark.step_s]).encode()


class ClockWatch:
    """Compares the clocks now and then, and before every start and every step."""

    def __init__(self, store: Store, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        rows = dict(store.reader.execute("SELECT key, value FROM meta WHERE key IN (?, ?)", (MARK, HALT)).fetchall())
        mark = ClockMark(*json.loads(rows[MARK])) if MARK in rows else None
        self._guard = ClockGuard(mark, halted_by_s=float(rows[HALT]) if HALT in rows else None)

    def halted(self) -> float | None:
        """Return the jump that halts applying, seconds, or None."""
        return self._guard.halted_by_s

    async def check(self) -> None:
        """Compare the clocks; a jump halts applying, durably, before this returns."""
        known, now = self._guard.halted_by_s, now_of(self._clock)
        jump_s = self._guard.check(now.wall_s, now.boot_s, now.boot_id)
        if jump_s is not None and known is None:
            record = self._recorder.record(None, {"what": "clock-halt", "jump_s": round(jump_s)})
            await self._store.run(Halt(jump_s, record))
            _log.error("the clock jumped, nothing is sent", extra={"jump_s": round(jump_s)})

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            if self._guard.halted_by_s is None and self._guard.mark is not None:
                await self._store.run(KeepMark(_encode(self._guard.mark)))
            await self._clock.sleep(EVERY_S)

    async def accept(self, who: str) -> None:
        """Take the present time as right."""
        now = now_of(self._clock)
        self._guard.accept(now.wall_s, now.boot_s, now.boot_id)
        mark = self._guard.mark
        if mark is None:
            raise ValueError("a guard that accepted has a mark")
        record = self._recorder.record(None, {"what": "clock-accept", "person": who})
        await self._store.run(Accept(_encode(mark), record))
        _log.info("the clock was accepted")
