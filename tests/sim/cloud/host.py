"""The machine of a control plane: `ispcloud serve`, as it is composed in production, in virtual time.

gRPC, TLS and the writer's thread are not there (`wire`, `InlineCloudStore`); all else is the product's own. The process
may die at any instant, or at a commit of its database, and is started again.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar
from unittest import mock

import grpc.aio
import trio
from pyrage import x25519

from backups.sealing import Recipients
from control_plane import backup, calls, certificates
from control_plane import server as servers
from control_plane.clock import SYSTEM, CloudClock
from control_plane.config import DataDir
from control_plane.queues import Keep
from control_plane.server import CloudServer
from control_plane.store import CloudStore, CloudTx, Command, Job, prepare
from durable.writer import BATCH_MAX
from protos import channel as channels
from tests.sim.cloud.virtual_loop import VirtualLoop
from tests.sim.cloud.wire import Wire
from tests.sim.cloud.wire_server import SimulatedServer

T = TypeVar("T")
COMMIT_S = 0.005
"""How long a commit takes: longer than an answer, so that one which does not wait for it is seen."""


class Deaths(Protocol):
    """Asked at each commit of mail. Return True to die there."""

    def __call__(self, *, durable: bool) -> bool: ...


def never(*, durable: bool) -> bool:  # a `Deaths`
    """Let it live."""
    return False


class InlineCloudStore(CloudStore):
    """Commits in the loop's thread all commands together that wait when its turn comes.

    `before_reading`: what a dishonest control plane does to its file after each commit, before anybody reads it.
    """

    dies: Deaths = staticmethod(never)
    before_reading: Callable[[CloudTx], None] | None = None
    on_death: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *args: Any, **named: Any) -> None:
        self._queued: list[Job] = []
        super().__init__(*args, **named)
        self._con.execute("PRAGMA synchronous = OFF")  # only the process dies, and only in play

    def submit(self, job: Job) -> None:
        if self.failed is not None or self._closed:
            raise self._failure(self.failed or "the store is closed")
        self._queued.append(job)
        if len(self._queued) == 1:
            assert self._loop is not None
            self._loop.call_later(COMMIT_S, self._write)

    def _write(self) -> None:
        jobs, self._queued = self._queued[:BATCH_MAX], self._queued[BATCH_MAX:]
        if self._closed:
            return
        if self._queued:
            assert self._loop is not None
            self._loop.call_later(COMMIT_S, self._write)
        mail = any(isinstance(job.command, Keep) for job in jobs)
        if mail and self.dies(durable=False):
            self.on_death()
            return
        self._commit(jobs)
        if self.before_reading is not None:
            self._con.execute("BEGIN IMMEDIATE")
            self.before_reading(CloudTx(self._con))
            self._con.execute("COMMIT")
        if mail and self.dies(durable=True):
            self.on_death()
            return
        self._resume(jobs)


@dataclasses.dataclass(eq=False)
class CloudLife:
    """One life of the process."""

    loop: VirtualLoop
    server: CloudServer
    scope: trio.CancelScope = dataclasses.field(default_factory=trio.CancelScope)

    @property
    def store(self) -> InlineCloudStore:
        store = self.server._store
        assert isinstance(store, InlineCloudStore)
        return store


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of the database, and the data directory that the server used then: it may have been restored since."""

    data: DataDir
    copy: Path


class CloudHost:
    """The machine. `start` it; then it may be killed, stopped, rolled back."""

    def __init__(self, data: DataDir, wire: Wire, clock: CloudClock) -> None:
        self.data, self.wire, self.clock = data, wire, clock
        self.life: CloudLife | None = None
        self.past: list[CloudLife] = []
        """Held, so that Python cleans up behind no dead process while the world lasts."""
        self._identity = x25519.Identity.generate()
        self.configure: Callable[[InlineCloudStore], None] = lambda store: None

    @property
    def address(self) -> str:
        """Return where members connect."""
        return str(self.data.config.listen)

    async def start(self) -> None:
        """Start the process; returns once it listens."""
        loop = self.wire.loop = VirtualLoop()
        life = self.life = CloudLife(loop, CloudServer(self.data, clock=self.clock))
        life.store.on_death = self.kill
        life.store._loop = loop  # type: ignore[assignment]  # a loop as asyncio's, and no subclass of it
        self.configure(life.store)
        self.wire.nursery.start_soon(self._let_live, life)
        await loop.call(life.server.start())
        loop.create_task(life.server.run())

    async def _let_live(self, life: CloudLife) -> None:
        with life.scope:
            await life.loop.run()

    def kill(self) -> None:
        """SIGKILL, now."""
        life, self.life = self.life, None
        if life is None:
            return
        life.loop.kill()
        life.scope.cancel()
        self.past.append(life)
        self.wire.kill(self._servers(life))
        life.server.close()

    async def stop(self) -> None:
        """Let it drain and end, as SIGTERM does."""
        life = self.life
        if life is None:
            return
        life.server.stop.set()
        while not life.store._closed and not life.loop.dead:  # noqa: ASYNC110  # another loop's state
            await trio.sleep(0.1)
        if self.life is life:
            self.life = None
            life.loop.kill()
            life.scope.cancel()
            self.past.append(life)
            self.wire.kill(self._servers(life))

    def bury(self) -> None:
        """Kill it, and let Python clean up behind all its lives: when the world ends."""
        self.kill()
        for life in self.past:
            life.loop.bury()
        self.past.clear()

    def _servers(self, life: CloudLife) -> tuple[SimulatedServer, ...]:
        found: list[SimulatedServer] = [life.server._members, life.server._strangers]  # type: ignore[list-item]  # they stand for gRPC's
        return tuple(found)

    # --- its file -----------------------------------------------------------------------------------------------------

    def copy(self, name: str) -> Snapshot:
        """Return a copy of the database as it is at this instant, as a snapshot of the machine has it."""
        made = Snapshot(self.data, self.data.path / name)
        with closing(sqlite3.connect(self.data.database)) as source, closing(sqlite3.connect(made.copy)) as to:
            source.backup(to)
        return made

    def roll_back(self, snapshot: Snapshot) -> None:
        """Put a copy in the database's place, in the data directory of then; the process must not run."""
        assert self.life is None
        self.data = snapshot.data
        for old in self.data.path.glob(f"{self.data.database.name}-*"):
            old.unlink()
        shutil.copyfile(snapshot.copy, self.data.database)

    def back_up(self, name: str) -> None:
        """Write a backup beside the data directory, as `ispcloud backup` does."""
        identity = self._identity.to_public()
        recipients = Recipients((str(identity),), (identity,))
        backup.write(self.data, self.data.path.with_name(name), recipients, int(self.clock.wall_s()))

    def restore(self, name: str) -> None:
        """Make a new data directory of a backup, as `ispcloud restore` does; the process must not run."""
        assert self.life is None
        archive = self.data.path.with_name(name)
        self.data = backup.restore(archive, [self._identity], self.data.path.with_name(f"{name}-restored")).data

    def change(self, command: Command[T]) -> T:
        """Change its database from outside, as an administrator's commands do."""
        with closing(prepare(self.data.database)) as con:
            con.execute("BEGIN IMMEDIATE")
            result = command.run(CloudTx(con))
            con.execute("COMMIT")
        return result

    def rows(self, sql: str, *args: object) -> list[sqlite3.Row]:
        """Read its database from outside."""
        with closing(sqlite3.connect(f"file:{self.data.database}?mode=ro", uri=True)) as con:
            con.row_factory = sqlite3.Row
            return con.execute(sql, args).fetchall()


def member_of(pem: bytes) -> str:
    """Return what a member's path is called: its handle, an agent's is `agent`; "" without a certificate."""
    if not pem:
        return ""
    kind, _, who = certificates.read_peer_untrusted(leaf_of(pem)).uri.rpartition("/")
    return "agent" if kind.endswith("/agent") else who


def leaf_of(chain: bytes) -> bytes:
    """Return the first certificate of a chain, PEM: what the server is told."""
    end = b"-----END CERTIFICATE-----\n"
    return chain[: chain.find(end) + len(end)]


@contextmanager
def without_grpc(wire: Wire, clock: CloudClock, log: io.StringIO) -> Iterator[None]:
    """Let control planes and their clients stand on the wire for the block. `log`: gets the control planes' lines."""
    wire.name_of = member_of
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(grpc.aio, "server", wire.server))
        stack.enter_context(mock.patch.object(channels, "open_channel", wire.open_channel))
        stack.enter_context(mock.patch.object(servers, "CloudStore", InlineCloudStore))
        stack.enter_context(mock.patch.object(servers, "server_credentials", return_value=None))
        stack.enter_context(mock.patch.object(calls, "sys", SimpleNamespace(stderr=log)))
        for name in ("wall_s", "monotonic_s"):
            before = getattr(SYSTEM, name)
            stack.callback(object.__setattr__, SYSTEM, name, before)
            object.__setattr__(SYSTEM, name, getattr(clock, name))
        yield
