"""Sees everything that happens, at the instant at which it happens, and asks no program about it.

* It looks after each step of each task: whether the database of RADIUS changed, who changed it (by the process of
  that task), which sessions the NAS ended for whom, and what became durable in the agent's log.
* It reads the agent's file by a connection of its own: it sees what is committed, and nothing else.
* `lab.truth` keeps what every line could do.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import trio

from lab import radius_codec, radius_server
from lab.database import Cursor, Engine
from lab.errors import MalformedPacketError
from lab.isp import Isp
from lab.radius_codec import Code
from lab.truth import History
from tests.sim.sockets import PROCESS, SimulatedSocket
from tests.sim.weather import Place

Rows = tuple[tuple[object, ...], ...]
ABOUT_TO = 15
"""The number of that kind of leaf, by docs/spec."""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that the log says is about to be done, since `about_s` (unix seconds), and not yet what came of it."""

    plan: str
    item: int
    n: int
    attempt: int
    about_s: int
    effect: bool


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done to a line. `open`: what the agent's log announced of that line at that instant."""

    at: float
    login: str
    by: str
    what: str
    open: tuple[OpenStep, ...]
    session: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """An item that came into a state, as the log says, with what the agent then recorded of its service."""

    at: float
    plan: str
    item: int
    service: str
    state: str
    before: str
    before_at: float
    reason: str
    detail: str
    suspended: bool
    seq: int


@dataclass
class Seen:
    """Everything that was seen, in order."""

    writes: list[Deed] = field(default_factory=list)
    sent: list[Deed] = field(default_factory=list)
    ended: list[Deed] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)


class Witness(trio.abc.Instrument):
    """The witness; `trio.lowlevel.add_instrument` lets it look."""

    def __init__(self, isp: Isp, database: Path, log: Path, logins: Mapping[str, str]) -> None:
        """Begin to look.

        Args:
            isp: the lab.
            database: RADIUS' SQLite file.
            log: the agent's `agent.db`.
            logins: of each service.
        """
        self.seen = Seen()
        self.failed: BaseException | None = None
        """Why it looks no more."""
        self.acting = trio.Event()
        """Set when a program does something to a line, and then made anew."""
        self.history = History(isp)
        self.trace: Callable[[str], None] = lambda text: None
        self._isp, self._logins, self._log_path = isp, dict(logins), log
        self._services = {login: service for service, login in logins.items()}
        self._radius = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        self._log: sqlite3.Connection | None = None
        self._versions = [-1, -1]
        self._rows: dict[str, Rows] = {}
        self._items: dict[tuple[bytes, int], tuple[str, float, int]] = {}
        self._received = dict.fromkeys(isp.nas, 0)
        self._look_at_rows("")

    def close(self) -> None:
        """Stop looking."""
        self._radius.close()
        self.forget_log()

    def forget_log(self) -> None:
        """Let go of the agent's file, as one that is put in its place may be another."""
        if self._log is not None:
            self._log.close()
        self._log, self._versions[1] = None, -1

    # --- after each step of a task ------------------------------------------------------------------------------------

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look at what the step changed. trio goes on without an instrument that fails, so that `failed` says it."""
        try:
            self._look(task)
        except BaseException as err:
            self.failed = err
            raise

    def _look(self, task: trio.lowlevel.Task) -> None:
        version = self._radius.execute("PRAGMA data_version").fetchone()[0]
        if version != self._versions[0]:
            self._versions[0] = version
            process = task.context.get(PROCESS)
            self._look_at_rows(process.name if process is not None else "")
        for name, nas in self._isp.nas.items():
            if len(nas.received) != self._received[name]:
                self._look_at_nas(name)
        self._look_at_log()

    def _look_at_rows(self, by: str) -> None:
        found: dict[str, list[tuple[object, ...]]] = {}
        for table, columns in (
            ("radcheck", "attribute, op, value"),
            ("radreply", "attribute, op, value"),
            ("radusergroup", "groupname, priority, ''"),
        ):
            for login, *row in self._radius.execute(f"SELECT username, {columns} FROM {table} ORDER BY id"):
                found.setdefault(login, []).append((table, *row))
        rows = {login: tuple(found.get(login, ())) for login in self._services}
        groups = tuple(self._radius.execute("SELECT groupname, attribute, op, value FROM radgroupreply ORDER BY id"))
        rows[""] = groups
        changed = [login for login in rows if rows[login] != self._rows.get(login)]
        first = not self._rows
        self._rows = rows
        if not changed:
            return
        with closing(self._radius.cursor()) as raw:
            for login in self._services if "" in changed else changed:
                self.history.note_rows(login, radius_server.read_user(Cursor(raw, Engine.SQLITE), login))
        for login in changed:
            if login and not first:
                self._note(self.seen.writes, Deed(trio.current_time(), login, by, "rows", self.open_steps(login)))

    def _look_at_nas(self, name: str) -> None:
        received = list(self._isp.nas[name].received)
        for one in received[self._received[name] :]:
            if one.outcome == "ack" and one.login in self._services:
                deed = Deed(one.at, one.login, "nas", f"ended on {name}", self.open_steps(one.login), one.session_id)
                self._note(self.seen.ended, deed)
        self._received[name] = len(received)

    def on_datagram(self, sock: SimulatedSocket, target: Place, data: bytes) -> None:
        """Take note of a request that the agent sends to a NAS, at the instant in which it is sent."""
        if sock.owner is None or target[1] not in {nas.dynauth_port for nas in self._isp.nas.values()}:
            return
        try:
            packet = radius_codec.decode_untrusted(data)
        except MalformedPacketError:
            return
        login = (packet.data("User-Name") or b"").decode(errors="replace")
        if login in self._services and packet.code in (Code.DISCONNECT_REQUEST, Code.COA_REQUEST):
            session = (packet.data("Acct-Session-Id") or b"").decode(errors="replace")
            deed = Deed(trio.current_time(), login, sock.owner.name, "request", self.open_steps(login), session)
            self._note(self.seen.sent, deed)

    def _note(self, kept: list[Deed], deed: Deed) -> None:
        kept.append(deed)
        if deed.by:
            self.acting.set()
            self.acting = trio.Event()
        steps = " ".join(f"{s.plan[:6]}/{s.item}.{s.n}#{s.attempt}" for s in deed.open) or "no step"
        self.trace(f"{deed.by or 'world'}: {deed.what} of {deed.login} {deed.session} ({steps})")

    # --- the agent's log ----------------------------------------------------------------------------------------------

    def log(self) -> sqlite3.Connection | None:
        """Return a connection to the agent's file; None: there is none yet."""
        if self._log is None and self._log_path.exists():
            self._log = sqlite3.connect(f"file:{self._log_path}?mode=ro", uri=True, isolation_level=None)
        return self._log

    def open_steps(self, login: str) -> tuple[OpenStep, ...]:
        """Return what the durable log announces of a login's service."""
        log = self.log()
        if log is None:
            return ()
        found = log.execute(
            "SELECT s.plan_id, s.item, s.n, s.attempt, e.at_s, s.do FROM step s"
            " JOIN item i ON i.plan_id = s.plan_id AND i.n = s.item"
            " JOIN event e ON e.seq = s.about_seq AND e.kind = ?"
            " WHERE i.service = ? AND s.outcome_seq IS NULL",
            (ABOUT_TO, self._services.get(login, "")),
        )
        steps = [(plan.hex(), *numbers, isinstance(json.loads(do), dict)) for plan, *numbers, do in found]
        return tuple(OpenStep(*step) for step in steps)

    def _look_at_log(self) -> None:
        log = self.log()
        if log is None:
            return
        version = log.execute("PRAGMA data_version").fetchone()[0]
        if version == self._versions[1]:
            return
        try:
            rows = log.execute("SELECT plan_id, n, service, state, state_seq, reason, detail FROM item").fetchall()
        except sqlite3.OperationalError:
            return  # its tables are being made
        self._versions[1] = version
        now = trio.current_time()
        for plan, n, service, state, seq, reason, detail in rows:
            before, at, before_seq = self._items.get((plan, n), ("", now, -1))
            if seq == before_seq or service not in self._logins:
                continue
            self._items[plan, n] = (state, now, seq)
            suspended = bool(log.execute("SELECT 1 FROM reason WHERE service = ?", (service,)).fetchone())
            move = Move(now, plan.hex(), n, service, state, before, at, reason, detail, suspended, seq)
            self.seen.moves.append(move)
            self.trace(f"log {seq}: {service} of {move.plan[:6]} {before or '-'} > {state} {reason} {detail}")
