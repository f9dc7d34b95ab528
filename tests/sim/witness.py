"""Sees everything that happens, at the instant at which it happens, and asks no program about it.

* After each step of each task, each part of the world looks at its devices, and the witness at the agent's log.
* It reads the agent's file by a connection of its own: it sees what is committed, and nothing else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.sim.part import Part
from tests.sim.sockets import PROCESS

ABOUT_TO = 15
"""The number of that kind of leaf, by docs/spec."""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that the log says is about to be done, since `about_s` (unix seconds), and not yet what came of it.

    `effect`: whether it is something done, as the end of a session, in place of something written. `do`: all that the
    log says of it. `service`, `component`: those of its item, each "" where it has none.
    """

    plan: str
    item: int
    n: int
    attempt: int
    about_s: int
    effect: bool
    service: str
    component: str
    do: Any = field(compare=False)


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done to a line or a device, at trio's time `at`.

    `subject`: a service, or a device's name as the change names it. `by`: the program's name; "": not the agent.
    `open`: what the agent's log announced of that subject at that instant. `session`: which session it was about.
    """

    at: float
    subject: str
    by: str
    what: str
    open: tuple[OpenStep, ...]
    session: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """An item that came into a state, as the log says, with what the agent then recorded of its service.

    `service`, `component`: as in `OpenStep`.
    """

    at: float
    plan: str
    item: int
    service: str
    component: str
    state: str
    before: str
    before_at: float
    reason: str
    detail: str
    suspended: bool
    seq: int


@dataclass
class Seen:
    """Everything that was seen, in order.

    `writes`: what changed how something is set; `sent`: requests to do something; `ended`: sessions that ended by one.
    """

    writes: list[Deed] = field(default_factory=list)
    sent: list[Deed] = field(default_factory=list)
    ended: list[Deed] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)


class Witness(trio.abc.Instrument):
    """The witness; `trio.lowlevel.add_instrument` lets it look."""

    def __init__(self, log: Path, parts: Sequence[Part], trace: Callable[[str], None]) -> None:
        """Begin to look at the agent's `agent.db`, and let the parts look."""
        self.seen = Seen()
        self.failed: BaseException | None = None
        """Why it looks no more."""
        self.acting = trio.Event()
        """Set when a program does something to a line or a device, and then made anew."""
        self._parts, self._trace, self._log_path = parts, trace, log
        self._log: sqlite3.Connection | None = None
        self._version = -1
        self._items: dict[tuple[bytes, int], tuple[str, float, int]] = {}

    def close(self) -> None:
        """Stop looking."""
        self.forget_log()

    def forget_log(self) -> None:
        """Let go of the agent's file, as one that is put in its place may be another."""
        if self._log is not None:
            self._log.close()
        self._log, self._version = None, -1

    # --- after each step of a task ------------------------------------------------------------------------------------

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look at what the step changed. trio goes on without an instrument that fails, so that `failed` says it."""
        try:
            process = task.context.get(PROCESS)
            for part in self._parts:
                part.look(process)
            self._look_at_log()
        except BaseException as err:
            self.failed = err
            raise

    def note(
        self,
        kept: list[Deed],
        subject: str,
        by: str,
        what: str,
        about: Callable[[OpenStep], bool],
        session: str = "",
        at: float | None = None,
    ) -> None:
        """Keep a deed in one of the lists of `seen`. `about`: whether an open step is about this subject."""
        steps = tuple(step for step in self.open_steps() if about(step))
        kept.append(Deed(trio.current_time() if at is None else at, subject, by, what, steps, session))
        if by:
            self.acting.set()
            self.acting = trio.Event()
        told = " ".join(f"{s.plan[:6]}/{s.item}.{s.n}#{s.attempt}" for s in steps) or "no step"
        self._trace(f"{by or 'world'}: {what} of {subject} {session} ({told})")

    # --- the agent's log ----------------------------------------------------------------------------------------------

    def log(self) -> sqlite3.Connection | None:
        """Return a connection to the agent's file; None: there is none yet."""
        if self._log is None and self._log_path.exists():
            self._log = sqlite3.connect(f"file:{self._log_path}?mode=ro", uri=True, isolation_level=None)
        return self._log

    def open_steps(self) -> tuple[OpenStep, ...]:
        """Return what the durable log announces."""
        log = self.log()
        if log is None:
            return ()
        found = log.execute(
            "SELECT s.plan_id, s.item, s.n, s.attempt, e.at_s, s.do, i.service, i.part FROM step s"
            " JOIN item i ON i.plan_id = s.plan_id AND i.n = s.item"
            " JOIN event e ON e.seq = s.about_seq AND e.kind = ?"
            " WHERE s.outcome_seq IS NULL",
            (ABOUT_TO,),
        )
        steps = []
        for plan, item, n, attempt, at_s, text, service, part in found:
            do = json.loads(text)
            effect = isinstance(do, dict)
            steps.append(OpenStep(plan.hex(), item, n, attempt, at_s, effect, service or "", part or "", do))
        return tuple(steps)

    def _look_at_log(self) -> None:
        log = self.log()
        if log is None:
            return
        version = log.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        try:
            rows = log.execute(
                "SELECT plan_id, n, coalesce(service, ''), coalesce(part, ''), state, state_seq, reason, detail"
                " FROM item"
            ).fetchall()
        except sqlite3.OperationalError:
            return  # its tables are being made
        self._version = version
        now = trio.current_time()
        for plan, n, service, part, state, seq, reason, detail in rows:
            before, at, before_seq = self._items.get((plan, n), ("", now, -1))
            if seq == before_seq:
                continue
            self._items[plan, n] = (state, now, seq)
            suspended = bool(log.execute("SELECT 1 FROM reason WHERE service = ?", (service,)).fetchone())
            move = Move(now, plan.hex(), n, service, part, state, before, at, reason, detail, suspended, seq)
            self.seen.moves.append(move)
            told = f"{service}{part} of {move.plan[:6]} {before or '-'} > {state} {reason} {detail}"
            self._trace(f"log {seq}: {told}")
