"""Subscribers by RADIUS: what the witness sees of their rows, of their sessions, and of requests to a NAS.

It reads the database of RADIUS by a connection of its own, or at a simulated server after each commit. `lab.truth`
keeps what every line could do.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import ClassVar, Final, TypeVar

import trio

from lab import radius_codec, radius_server
from lab.database import Cursor, Engine
from lab.dynauth import NOT_REMOVABLE
from lab.errors import MalformedPacketError
from lab.radius_codec import Code
from lab.truth import History
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldAct, WorldFault
from tests.sim.parts import radius_rules
from tests.sim.parts.radius_faults import FAULTS
from tests.sim.parts.radius_logins import Logins
from tests.sim.parts.radius_people import ACTS, dispute
from tests.sim.parts.radius_rules import FORGOTTEN, Rows, WrittenRows
from tests.sim.parts.sql import SqlPart
from tests.sim.people import Desk
from tests.sim.sockets import PROCESS, Process, SimulatedSocket
from tests.sim.sql.lab import SimulatedLabDatabase
from tests.sim.weather import Place
from tests.sim.witness import OpenStep, WriteAheadLog
from tests.sim.world import World

T = TypeVar("T")
READ: Final = frozenset({"radcheck", "radreply", "radusergroup", "radgroupcheck", "radgroupreply"})
"""The tables by which a login is answered."""
DATABASE: Final = "radius.db"
AWAY_S: Final = 90.0
"""How long an agent that was killed, or whose machine lost its power, may not run."""
EARLY_S: Final = 10.0
"""Within which time people first contradict each other: few lines are suspended yet, so that a batch has many items."""


class RadiusPart(Part):
    """The lab's RADIUS server, its database, and its NAS; they are in each world. `logins`: of each service."""

    name = "radius"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    acts: ClassVar[tuple[WorldAct, ...]] = ACTS

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Begin to look at the ISP, which the world opened."""
        self._isp, self._world = world.isp, world
        self.history = History(world.isp, exact=True)
        self._services = {login: service for service, login in world.logins.items()}
        """Of each login, the service that had it first."""
        self.logins = Logins(world.logins)
        self._file: sqlite3.Connection | None = None
        self._wal = WriteAheadLog(world.options.folder / DATABASE)
        self._server: SimulatedLabDatabase | None = None
        sql = self._sql = world.find(SqlPart)
        if sql is None:
            database = f"file:{world.options.folder / DATABASE}?mode=ro"
            self._file = sqlite3.connect(database, uri=True, isolation_level=None)
        else:
            self._server, sql.server.on_change = sql.rows, self._changed
        self._version, self._forgets = -1, False
        self._rows: dict[str, Rows] = {}
        self._past: dict[str, list[tuple[float, Rows]]] = {}
        """Of each login, the rows that it has had, and since when."""
        self.written: list[WrittenRows] = []
        self._received = dict.fromkeys(world.isp.nas, 0)
        self._look_at_rows("", trio.current_time())
        world.network.on_datagram = self.on_datagram
        return Declared()

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Let people contradict each other, at once and once more later."""
        for name, within in (("dispute", EARLY_S), ("dispute again", within_s / 2)):
            if world.happens(name):
                await dispute(desk, random.Random(f"{world.options.seed} {name}"), within)

    def rows_of(self, service: str) -> Rows:
        """Return the rows of a service's login, as they are committed now."""
        return self._rows[self.logins.now(service)]

    def close(self) -> None:
        """Let go of the database."""
        if self._file is not None:
            self._file.close()
            self._wal.close()

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be of lines by RADIUS."""
        self.logins.follow(evidence.seen.moves, evidence.lost)
        server = self._sql.server if self._sql is not None else None
        clock = self._world.machine.clock
        yield from radius_rules.judge(evidence, self.history, self.logins, self.written, clock)
        away = [(at, at + AWAY_S) for at in self._world.kills]  # nobody reads then what a failover forgot
        yield from radius_rules.lost(evidence, self.written, [*(server.troubles if server is not None else ()), *away])

    # --- what is seen -------------------------------------------------------------------------------------------------

    def look(self, process: Process | None) -> None:
        """Look at rows that changed, and at answers of the NAS."""
        if self._file is not None and self._wal.changed():
            version = self._file.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = version
                self._look_at_rows(process.name if process is not None else "", trio.current_time())
        for name, nas in self._isp.nas.items():
            if len(nas.received) != self._received[name]:
                self._look_at_nas(name)

    def _changed(self, tables: frozenset[str], began: float | None) -> None:
        """Look at rows that a simulated server has committed just now, or forgotten (`began` None)."""
        if not tables & READ:
            return
        process = PROCESS.get() if began is not None else None
        now = trio.current_time()
        self._forgets = began is None
        self._look_at_rows(process.name if process is not None else "", min(began if began is not None else now, now))
        self._forgets = False

    def _read(self, job: Callable[[Cursor], T]) -> T:
        """Return the result of a job that reads the committed rows of now."""
        if self._file is None:
            assert self._server is not None
            return self._server.look(job)
        with closing(self._file.cursor()) as raw:
            return job(Cursor(raw, Engine.SQLITE))

    def _look_at_rows(self, by: str, began: float) -> None:
        """Take note of rows that are others now. `began`: when the transaction began that changed them."""
        now, first, changed = trio.current_time(), not self._rows, self._read(self._changed_rows)
        witness = self._world.witness
        for login in filter(None, changed):
            past, rows = self._past.setdefault(login, []), self._rows[login]
            if not first:
                service = self._owner(login, by)
                what = FORGOTTEN if self._forgets else "rows"
                witness.note(witness.seen.writes, service, by, what, self._about(service))
                since = max((n for n, (at, _) in enumerate(past) if at <= began), default=0)
                before = tuple(one for _, one in past[since:])
                self.written.append(WrittenRows(witness.seen.writes[-1], login, before, rows, began))
            past.append((now, rows))

    def _changed_rows(self, cursor: Cursor) -> list[str]:
        """Return the logins whose rows are others than before, "" for all; their lines' history is noted."""
        found: dict[str, list[tuple[object, ...]]] = {}
        for table, columns in (
            ("radcheck", "attribute, op, value"),
            ("radreply", "attribute, op, value"),
            ("radusergroup", "groupname, priority, ''"),
        ):
            for login, *row in cursor.fetch(f"SELECT username, {columns} FROM {table} ORDER BY id"):
                found.setdefault(login, []).append((table, *row))
        rows = {login: tuple(found.get(login, ())) for login in self._services}
        rows[""] = tuple(cursor.fetch("SELECT groupname, attribute, op, value FROM radgroupreply ORDER BY id"))
        changed = [login for login in rows if rows[login] != self._rows.get(login)]
        self._rows = rows
        for login in self._services if "" in changed else changed:
            self.history.note_rows(login, radius_server.read_user(cursor, login))
        return changed

    def _look_at_nas(self, name: str) -> None:
        received = list(self._isp.nas[name].received)
        witness = self._world.witness
        for one in received[self._received[name] :]:
            kept = {"ack": witness.seen.ended, f"nak:{NOT_REMOVABLE}": witness.seen.refused}.get(one.outcome)
            if kept is not None and (service := self._owner(one.login, "nas")):
                what = f"{'ended' if kept is witness.seen.ended else 'not ended'} on {name}"
                witness.note(kept, service, "nas", what, self._about(service), one.session_id, one.at)
        self._received[name] = len(received)

    def _owner(self, login: str, by: str) -> str:
        """Return whose a login is now, "" where it is no subscriber's. `by`: the program that does something to it."""
        witness = self._world.witness
        self.logins.follow(witness.seen.moves, self._world.lost)
        owner = self.logins.owner(login, lambda: {step.service for step in witness.open_steps(by)})
        return owner or self._services.get(login, "")

    def _about(self, service: str) -> Callable[[OpenStep], bool]:
        return lambda step: step.service == service

    def on_datagram(self, sock: SimulatedSocket, target: Place, data: bytes) -> None:
        """Take note of a request that the agent sends to a NAS, at the instant in which it is sent."""
        if sock.owner is None or target[1] not in {nas.dynauth_port for nas in self._isp.nas.values()}:
            return
        try:
            packet = radius_codec.decode_untrusted(data)
        except MalformedPacketError:
            return
        login = (packet.data("User-Name") or b"").decode(errors="replace")
        service = self._owner(login, sock.owner.name)
        if service and packet.code in (Code.DISCONNECT_REQUEST, Code.COA_REQUEST):
            session = (packet.data("Acct-Session-Id") or b"").decode(errors="replace")
            witness = self._world.witness
            witness.note(witness.seen.sent, service, sock.owner.name, "request", self._about(service), session)
