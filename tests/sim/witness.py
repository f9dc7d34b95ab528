"""Sees everything that happens, at the instant at which it happens, and asks no program about it.

* After each step of each task, each part of the world looks at its devices, and the witness at the agent's log.
* It reads the agent's file by a connection of its own: it sees what is committed, and nothing else.
"""

from __future__ import annotations

import bisect
import json
import mmap
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from tests.sim.part import Part
from tests.sim.sockets import PROCESS

ORIGINAL: Final = "agent"
"""The machine of the agent that people talk to; copies of it have other names."""
ABOUT_TO = 15
"""The number of that kind of leaf, by docs/spec."""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that the log says is about to be done, since trio's time `about_at`, and not yet what came of it.

    `effect`: whether it is something done, as the end of a session, in place of something written. `do`: all that the
    log says of it. `service`, `component`: those of its item, each "" where it has none. `direction`: whether it takes
    back what a step of the same number did. `action`, `requester`: of its change; "" where nobody looked. `proven_at`:
    when the log had the outcome of the steps before it; 0: there is none.
    """

    plan: str
    item: int
    n: int
    attempt: int
    about_at: float
    effect: bool
    service: str
    component: str
    do: Any = field(compare=False)
    direction: str = "forward"
    action: str = ""
    requester: str = ""
    proven_at: float = field(default=0.0, compare=False)


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
    machine: str
    """The machine whose log says it."""


def machine_of(by: str) -> str:
    """Return on which machine a program runs, by its name; "": on none of them."""
    return by.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Lost:
    """Leaves that a log has no more: at `found_at` it was as it had been at `since`. `leaves`: how many, net.

    `first_at`: when the first of them was seen, which may be the moment of the last one that is left.
    """

    since: float
    found_at: float
    leaves: int
    first_at: float = float("inf")

    def has(self, at: float, by: float = float("inf"), *, first: float | None = None) -> bool:
        """Return whether they may tell what came to pass at a moment, or since `first`, and are missed at `by`."""
        return (self.since < at or self.first_at <= at) and (at if first is None else first) < self.found_at <= by


@dataclass
class Seen:
    """Everything that was seen, in order.

    `writes`: what changed how something is set; `sent`: requests to do something; `ended`: sessions that ended by one;
    `refused`: sessions that their device had, and refused to end.
    """

    writes: list[Deed] = field(default_factory=list)
    sent: list[Deed] = field(default_factory=list)
    ended: list[Deed] = field(default_factory=list)
    refused: list[Deed] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)


class WriteAheadLog:
    """Tells whether a database in SQLite's WAL mode may have changed, without a call of the system.

    Its "-shm" file begins with the header of the log's index, in which each commit counts (SQLite's file format,
    section 4.3), and which ends with its own checksum. It is there for as long as anybody has the database open.
    """

    _HEADER: Final = 48

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-shm")
        self._shared: mmap.mmap | None = None
        self._sums = memoryview(b"").cast("Q")
        self._seen = -1

    def changed(self) -> bool:
        """Return whether it may have changed since this was asked last; True where nobody can tell."""
        if self._shared is None:
            try:
                with self._path.open("rb") as file:
                    self._shared = mmap.mmap(file.fileno(), self._HEADER, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # it is not there yet, or empty
                return True
            self._sums = memoryview(self._shared).cast("Q")
        if (now := self._sums[-1]) == self._seen:
            return False
        self._seen = now
        return True

    def close(self) -> None:
        """Let go of the file: the next one may be another."""
        self._sums.release()
        if self._shared is not None:
            self._shared.close()
        self._shared, self._seen = None, -1


def beside_the_disk(path: Path) -> str:
    """Return the URI of a database by which it is read as it was written, whatever a simulated disk makes of it."""
    return f"file:{path}?mode=ro&vfs=unix"


Growth = list[tuple[int, float, bytes]]
"""How a log grew: after each commit how many leaves it had, when (trio's time), and the last of them."""


def _shared(growth: Growth, log: sqlite3.Connection) -> int:
    """Return how many leaves a log has as they were in a growth: at the last of its commits that the log has too."""
    for size, _, leaf in reversed(growth):
        row = log.execute("SELECT leaf FROM event WHERE seq = ?", (size,)).fetchone()
        if row is not None and bytes(row[0]) == leaf:
            return size
    return 0


class AgentLog:
    """The log of one agent, as it is on its disk: what is committed, and nothing else. `unplugged`: nobody reads it."""

    def __init__(self, machine: str, path: Path, trace: Callable[[str], None], moves: list[Move]) -> None:
        """Begin to look at a machine's `agent.db`; what its items come into is put into `moves`."""
        self.machine, self.path = machine, path
        self.unplugged = False
        self.broken = False
        """Whether its file is damaged, so that nobody looks at it before another is in its place."""
        self._trace, self._moves = trace, moves
        self._con: sqlite3.Connection | None = None
        self._wal = WriteAheadLog(path)
        self._items: dict[tuple[bytes, int], tuple[str, float, int]] = {}
        self._grown: Growth = [(0, 0.0, b"")]
        self._former: list[Growth] = []
        """Its growths before leaves were lost: a copy that is put back may have them again."""
        self.is_copy = False
        """Whether what it has when it is first looked at is old: nothing of it happens then."""
        self._announced: tuple[OpenStep, ...] = ()
        """What it announced when somebody saw it last, while nobody does: a datagram may be on its way still."""

    @property
    def size(self) -> int:
        """How many leaves were seen."""
        return self._grown[-1][0]

    @property
    def last_leaf(self) -> bytes:
        """The last one of them."""
        return self._grown[-1][2]

    def look_away(self) -> None:
        """Look no more until `plug_in`: the file may not be what was durable."""
        if self.unplugged:
            return
        try:
            self.look()  # what its agent had just written, in the same step of its task
            self._announced = self.open_steps()
        except sqlite3.DatabaseError:  # its tables are being made, or it is damaged
            self._announced = ()
        self.unplugged = True

    def unplug(self) -> None:
        """Let go of the file: another may be put in its place."""
        self.look_away()
        if self._con is not None:
            self._con.close()
        self._wal.close()
        self._con = None

    def plug_in(self) -> Lost | None:
        """Look again. Returns what was seen and is gone; what the items were then tells nothing new."""
        self.unplugged = self.broken
        log = self.log()
        if log is None:
            return None
        (size,) = log.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        before = self._grown
        self._grown = max([before, *self._former], key=lambda growth: _shared(growth, log))
        kept = _shared(before, log)
        if self._grown is before and kept == self.size:
            return None
        now = trio.current_time()
        first_at = next((at for leaves, at, _ in before if leaves > kept), now)
        lost = Lost(self.at_of(min(int(size), self.size)), now, self.size - int(size), first_at)
        self._former.append(before)
        self._grown = [(0, 0.0, b""), *(one for one in self._grown[1:] if one[0] <= size)]
        rows = log.execute("SELECT plan_id, n, state, state_seq FROM item").fetchall()
        self._items = {(row[0], row[1]): (row[2], now, row[3]) for row in rows}
        self._remember(log)
        return lost

    def log(self) -> sqlite3.Connection | None:
        """Return a connection to the file; None: there is none now."""
        if self.unplugged:
            return None
        if self._con is None and self.path.exists():
            self._con = sqlite3.connect(beside_the_disk(self.path), uri=True, isolation_level=None)
        return self._con

    def at_of(self, seq: int) -> float:
        """Return when a leaf was first seen, trio's time; now for one that is new."""
        place = bisect.bisect_left(self._grown, (seq, 0.0, b""))
        return self._grown[place][1] if place < len(self._grown) else trio.current_time()

    def open_steps(self) -> tuple[OpenStep, ...]:
        """Return what the durable log announces, effects that were given up last.

        No write of an item that was given up is sent any more. An effect of one may be finished: a port gets its power
        back.
        """
        log = self.log()
        if log is None:
            return self._announced if self.unplugged else ()
        found = log.execute(
            "SELECT s.plan_id, s.item, s.n, s.direction, s.attempt, e.seq, s.do, i.service, i.part, p.action,"
            " p.requester, (SELECT max(b.outcome_seq) FROM step b WHERE b.plan_id = s.plan_id AND b.item = s.item"
            " AND b.direction = s.direction AND b.n < s.n) FROM step s JOIN plan p ON p.plan_id = s.plan_id"
            " JOIN item i ON i.plan_id = s.plan_id AND i.n = s.item"
            " JOIN event e ON e.seq = s.about_seq AND e.kind = ?"
            " WHERE s.outcome_seq IS NULL"
            " AND (i.reason NOT IN ('given-up', 'restored') OR CAST(s.do AS TEXT) LIKE '{%')"
            " ORDER BY i.reason IN ('given-up', 'restored')",
            (ABOUT_TO,),
        )
        steps = []
        for plan, item, n, direction, attempt, seq, text, service, part, *asked, proven in found:
            do = json.loads(text)
            effect, about_at, names = isinstance(do, dict), self.at_of(seq), (service or "", part or "")
            proven_at = 0.0 if proven is None else self.at_of(proven)
            one = OpenStep(plan.hex(), item, n, attempt, about_at, effect, *names, do, direction, *asked, proven_at)
            steps.append(one)
        return tuple(steps)

    def look(self) -> None:
        """Look at what changed in it."""
        if self.unplugged or not self._wal.changed() or (log := self.log()) is None:
            return
        size, last = self.size, self.last_leaf
        try:
            self._remember(log)
            if (self.size, self.last_leaf) == (size, last):
                return  # no item comes into a state without a leaf
            rows = log.execute(
                "SELECT plan_id, n, coalesce(service, ''), coalesce(part, ''), state, state_seq, reason, detail"
                " FROM item WHERE state_seq > ?",
                (size if self.size > size else 0,),
            ).fetchall()
        except sqlite3.DatabaseError:
            self._wal.close()
            return  # its tables are being made, or it is damaged, which its agent is about to see
        now = trio.current_time()
        if self.is_copy:
            self._items, self.is_copy = {(row[0], row[1]): (row[4], now, row[5]) for row in rows}, False
        for plan, n, service, part, state, seq, reason, detail in rows:
            before, at, before_seq = self._items.get((plan, n), ("", now, -1))
            if seq == before_seq:
                continue
            self._items[plan, n] = (state, now, seq)
            suspended = bool(log.execute("SELECT 1 FROM reason WHERE service = ?", (service,)).fetchone())
            move = Move(
                now, plan.hex(), n, service, part, state, before, at, reason, detail, suspended, seq, self.machine
            )
            self._moves.append(move)
            told = f"{service}{part} of {move.plan[:6]} {before or '-'} > {state} {reason} {detail}"
            self._trace(f"log {seq}: {told}")

    def _remember(self, log: sqlite3.Connection) -> None:
        newest = log.execute("SELECT seq, leaf FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        if newest is not None and (newest[0] != self.size or bytes(newest[1]) != self.last_leaf):
            self._grown.append((int(newest[0]), trio.current_time(), bytes(newest[1])))


class Witness(trio.abc.Instrument):
    """The witness; `trio.lowlevel.add_instrument` lets it look."""

    def __init__(self, log: Path, parts: Sequence[Part], trace: Callable[[str], None]) -> None:
        """Begin to look at the agent's `agent.db`, and let the parts look."""
        self.seen = Seen()
        self.agent_log = AgentLog(ORIGINAL, log, trace, self.seen.moves)
        self.logs = {ORIGINAL: self.agent_log}
        """Of each machine, by its name: where the agent has been cloned there are two."""
        self.failed: BaseException | None = None
        """Why it looks no more."""
        self.acting = trio.Event()
        """Set when a program does something to a line or a device, and then made anew."""
        self._looking, self._trace = [part for part in parts if type(part).look is not Part.look], trace

    def close(self) -> None:
        """Stop looking."""
        for log in self.logs.values():
            log.unplug()

    def add_log(self, machine: str, path: Path) -> None:
        """Look at the log of another machine's agent, too: a copy, of which nothing was seen to happen."""
        log = self.logs[machine] = AgentLog(machine, path, self._trace, self.seen.moves)
        log.is_copy = True

    def open_steps(self, by: str = "") -> tuple[OpenStep, ...]:
        """Return what is announced by the log of the machine whose process did something; "": by any log."""
        mine = self.logs.get(machine_of(by))
        logs = self.logs.values() if mine is None else (mine,)
        return tuple(step for log in logs for step in log.open_steps())

    # --- after each step of a task ------------------------------------------------------------------------------------

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look at what the step changed. trio goes on without an instrument that fails, so that `failed` says it."""
        try:
            process = task.context.get(PROCESS)
            for part in self._looking:
                part.look(process)
            for log in self.logs.values():
                log.look()
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
        steps = tuple(step for step in self.open_steps(by) if about(step))
        kept.append(Deed(trio.current_time() if at is None else at, subject, by, what, steps, session))
        if by:
            self.acting.set()
            self.acting = trio.Event()
        told = " ".join(f"{s.plan[:6]}/{s.item}.{s.n}#{s.attempt}" for s in steps) or "no step"
        self._trace(f"{by or 'world'}: {what} of {subject} {session} ({told})")
