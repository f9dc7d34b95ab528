"""The disk of the agent's machine: power cuts, lost syncs, no room, damaged pages, and copies that are put back.

The agent's files are on a `tests.sim.disk.SimulatedDisk`, and its own `PRAGMA synchronous` is in force. The mark file
is on it too, though what is done to the state directory alone leaves it as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import trio

from agent.cli import local
from tests.sim.disk import Image, Rot, SimulatedDisk
from tests.sim.judge import Evidence, Verdict
from tests.sim.machine import Machine
from tests.sim.part import Declared, DidNothingError, Part, WorldFault
from tests.sim.parts import disk_rules
from tests.sim.parts.disk_faults import ARRIVES_S, FAULTS, arrives_s
from tests.sim.parts.disk_rules import KNOWN_BY_MARKS, Cut, Flip, PutBack, Rotten
from tests.sim.witness import OpenStep, beside_the_disk
from tests.sim.world import World

DATABASES: Final = ("agent.db", "agent.db", "agent.db", "keys.db")
"""Those of which a page is flipped, as often as they stand here."""
PAGE: Final = 4096
"""Of a page of SQLite's, bytes, as both programs have it."""
TREES: Final = (2, 5, 10, 13)
"""How a page of a table or an index begins; pages that only go on with a long row, and free ones, begin with 0."""
LOOK_S: Final = 130.0
"""How often people look at an agent of which a copy was put back, and `LOOKS`: how many times."""
LOOKS: Final = 4
PATIENCE_S: Final = 300
"""How long people wait for an agent that runs."""
OLD = 60.0
"""How old the newest backup is at most, seconds, that people have when a disk turns out to be damaged."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the state directory and the mark file, of one instant. `size`: the leaves of the log in it."""

    at: float
    image: Image
    size: int


@dataclass(eq=False)
class WhileStopped:
    """Something that is done to the machine while no agent runs on it."""

    work: Callable[[], None]
    after_s: float
    done: trio.Event = field(default_factory=trio.Event)


class DiskPart(Part):
    """The machine's disk, and the people who put copies of it back."""

    name = "disk"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Put the simulated disk below the folders of the agent."""
        self._world, self._nursery = world, nursery
        self.state = world.options.folder / "site" / "state"
        self.mark_folder = world.options.folder / "site" / "state-mark"
        self.dice = random.Random(f"disk {world.options.seed}")
        self.disk = SimulatedDisk((self.state, self.mark_folder), self.dice, self._power_is_gone)
        self._open = ExitStack()
        self._open.enter_context(self.disk.attached())
        world.disk_is_simulated = True
        self.cuts: list[Cut] = []
        self.put_back: list[PutBack] = []
        self.full: list[tuple[float, float]] = []
        self.flips: list[Flip] = []
        self.rotten: list[Rotten] = []
        self.refused_at: list[tuple[float, Sequence[OpenStep]]] = []
        """When the log could not grow, and which steps were begun then."""
        self.disk.on_refused = self._refused
        self.disk.on_rotten = self._rotten_was_read
        self.backup: Copy | None = None
        self._jobs: list[WhileStopped] = []
        return Declared()

    async def install(self, world: World) -> None:
        """Make the first backup."""
        self.backup = self.copy()

    async def work(self, world: World, desk: object, within_s: float) -> None:
        """Make a backup now and then, while people work."""
        with trio.move_on_after(within_s):
            while True:
                await trio.sleep(self.dice.uniform(OLD / 2, OLD))
                if self._is_whole() and not self._is_empty():
                    self.backup = self.copy()

    async def settle(self, world: World) -> None:
        """Let people wait until the agent runs; a damage that nobody noticed ends here."""
        if (world.witness.agent_log.broken or self._is_altered()) and (backup := self.backup) is not None:
            await self.while_stopped(lambda: self.restore(backup, "directory"))
        await world.machine.started.wait()
        if any(
            back.asks_for_words for back in self.put_back
        ):  # a backup that was made before they were typed asks anew
            await self.accept_trust(world, 0)

    def close(self) -> None:
        """Take the disk away."""
        self._open.close()

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be after what the disk did."""
        return disk_rules.judge(evidence, self, self._world.machine)

    def kills(self) -> list[float]:
        """Return when the agent was killed."""
        return self._world.kills

    def names(self) -> list[str]:
        """Return what nobody but those who see subscribers may read."""
        return [*self._world.logins, *self._world.logins.values()]

    def _refused(self, path: Path) -> None:
        # agent.db itself grows by checkpoints alone: one that fails loses nothing, and SQLite's COMMIT says nothing
        if path.name == "agent.db-wal":
            self.refused_at.append((trio.current_time(), self._begun()))

    def _begun(self) -> Sequence[OpenStep]:
        try:
            return self._world.witness.agent_log.open_steps()
        except sqlite3.DatabaseError:  # its tables are being made
            return ()

    # --- copies -------------------------------------------------------------------------------------------------------

    def leaves(self) -> Sequence[tuple[int, int]]:
        """Return number and kind of each leaf that is in the log now, or was, where it cannot be read."""
        try:
            with closing(sqlite3.connect(beside_the_disk(self.state / "agent.db"), uri=True)) as log:
                self._leaves: Sequence[tuple[int, int]] = log.execute(
                    "SELECT seq, kind FROM event ORDER BY seq"
                ).fetchall()
        except sqlite3.DatabaseError:
            pass  # it is damaged
        return self._leaves

    def plans(self) -> frozenset[str]:
        """Return the plans of which something was seen until now."""
        return frozenset(move.plan for move in self._world.witness.seen.moves)

    def _is_whole(self) -> bool:
        runs = self.disk.powered and self._world.life is not None
        rots = self.disk.rot is not None or self.disk.on_read is not None
        return runs and not rots and not self._world.witness.agent_log.broken and not self._is_altered()

    def _is_altered(self) -> bool:
        """Tell whether rows read as something else, which SQLite's check does not find."""
        since = max((back.at for back in self.put_back), default=0.0)
        return any(flip.alters and flip.at > since for flip in self.flips)

    async def running(self) -> None:
        """Return once the machine has its power and its agent runs, with a database that is whole.

        Raises:
            DidNothingError: it does not for a long time.
        """
        for _ in range(PATIENCE_S):
            if self._is_whole():
                return
            await trio.sleep(1)
        raise DidNothingError

    def copy(self) -> Copy:
        """Return a copy of everything, as a snapshot of the disk has it."""
        return Copy(trio.current_time(), self.disk.image(), len(self.leaves()))

    async def while_stopped(self, work: Callable[[], None], after_s: float = 0.0) -> None:
        """Stop the agent, do this to its files after so many seconds, and let it be started again."""
        job = WhileStopped(work, after_s)
        self._jobs.append(job)
        while not job.done.is_set():
            self._world.kill()
            with trio.move_on_after(3):
                await job.done.wait()

    def restore(self, copy: Copy, kind: str) -> None:
        """Put a copy back, as `tests.sim.parts.disk_faults.KINDS` says of that kind; no agent runs."""
        machine = self._world.machine
        now = self.disk.image()
        known = self.plans()
        raised = any(seq > copy.size and number in KNOWN_BY_MARKS for seq, number in self.leaves())
        self._world.witness.agent_log.unplug()
        if self._world.witness.agent_log.broken or self._is_altered():
            kind = "directory" if kind == "database" else kind  # what is damaged may be keys.db
            self._world.witness.agent_log.broken = False
            self._world.damaged.append((self.flips[-1].since, trio.current_time()))
        mark = {path for path in (*copy.image, *now) if path.parent == self.mark_folder}
        if kind == "database":
            old = {path: data for path, data in copy.image.items() if path.name.startswith("agent.db")}
            image = {path: data for path, data in now.items() if not path.name.startswith("agent.db")} | old
        elif kind == "machine":
            image = copy.image
        else:
            image = {path: data for path, data in copy.image.items() if path not in mark}
            image |= {path: now[path] for path in sorted(mark) if kind == "directory" and path in now}
        self.disk.put(image)
        if kind == "machine":
            full, self.disk.full = self.disk.full, False  # people make room for what they type
            with contextlib.redirect_stdout(io.StringIO()):
                local.init(config=machine.files.config, enroll=machine.files.folder / "again.json", restored=True)
            self.disk.full = full
            self.disk.keep_all()
        noticed = raised or kind in ("machine", "mark-lost")
        self._world.restored.append(trio.current_time())
        self.put_back.append(PutBack(trio.current_time(), kind, copy.at, known, noticed, kind == "mark-lost"))
        self._nursery.start_soon(self._see_to_trust)
        self._world.trace(f"people: put back {kind} of {copy.at:.0f}{', which is noticed' if noticed else ''}")

    def flip(self, dice: random.Random) -> None:
        """Let one page of a database read as something else from now on; no agent runs."""
        log, path = self._world.witness.agent_log, self.state / dice.choice(DATABASES)
        self.leaves()
        log.unplug()
        image = self.disk.image()
        content = bytearray(image[path] or b"")
        pages = range(0, len(content), PAGE)
        at, what = dice.choice(pages), dice.choice(("garbage", "nothing", "another page"))
        other = dice.choice(pages)
        page = {"garbage": dice.randbytes(PAGE), "nothing": bytes(PAGE), "another page": content[other : other + PAGE]}
        content[at : at + PAGE] = page[what]
        self._put_flipped(path, bytes(content), f"page {at // PAGE + 1} of {path.name} is {what}", trio.current_time())

    def _put_flipped(self, path: Path, content: bytes, what: str, since: float) -> None:
        log, image = self._world.witness.agent_log, self.disk.image()
        before = rows_of(image, path)
        self.disk.put(image | {path: content})
        now = rows_of(image | {path: content}, path)
        log.broken, alters = now is None, now not in (None, before)
        self.flips.append(Flip(trio.current_time(), what, log.broken, since, alters))
        said = ", which damages it" if log.broken else ", and SQLite finds nothing" if alters else ""
        self._world.trace(f"disk: {what}{said}")

    # --- pages that rot -----------------------------------------------------------------------------------------------

    def rot(self, dice: random.Random) -> None:
        """Let one page of a database that is in use read as something else: one that is read soon, or any.

        Garbage and zeros are no page of SQLite's. Of a page that is another good one nobody could tell: SQLite keeps
        no checksums.
        """
        left = dice.randrange(1, 60)

        def next_read(path: Path, offset: int, size: int) -> None:
            nonlocal left
            if path.parent == self.state and path.name in DATABASES and size == PAGE:
                left -= 1
                if left == 0:
                    self.disk.tell_reads(None)
                    self._begin_rot(path, offset, dice)

        if dice.random() < 0.7:  # most pages are read seldom
            self.disk.tell_reads(next_read)
            return
        path = self.state / dice.choice(DATABASES)
        self._begin_rot(path, dice.choice(range(0, path.stat().st_size, PAGE)), dice)

    def _begin_rot(self, path: Path, at: int, dice: random.Random) -> None:
        first = path.read_bytes()[at]
        what = dice.choice(("garbage", "nothing", "an error"))
        given = {"garbage": b"\xff" + dice.randbytes(PAGE - 1), "nothing": bytes(PAGE), "an error": None}[what]
        told = f"page {at // PAGE + 1} of {path.name} is {what}"
        self.rotten.append(Rotten(trio.current_time(), told, at == 0 or first in TREES))
        self.disk.let_rot(Rot(path, at, given, PAGE))
        self._world.trace(f"disk: {told}, while it is in use")

    def _rotten_was_read(self) -> None:
        rot = self.rotten[-1]
        if rot.read_at == float("inf"):
            rot.read_at, rot.begun = trio.current_time(), self._begun()
            self._world.trace("disk: it is read")

    def _keep_rot(self, rot: Rot) -> None:
        """Let a page that rotted read so for good, from when its agent has ended. What gave an error is zeros then."""
        self.disk.let_rot(None)
        self._world.witness.agent_log.unplug()
        image = self.disk.image()
        content = bytearray(image[rot.path] or b"")
        content[rot.offset : rot.offset + rot.size] = rot.given or bytes(rot.size)
        since = self.rotten[-1].at
        self._put_flipped(rot.path, bytes(content), self.rotten[-1].what, since)
        self._world.damaged.append((since, trio.current_time()))

    async def _see_to_trust(self) -> None:
        """Look after a copy was put back, or a disk lied, at what the agent knows of its trust document.

        It asks for the words where the control plane's board says that its log was longer, though no mark says so.
        """
        for _ in range(LOOKS):
            await trio.sleep(LOOK_S)
            await self._put_back_where_empty(self._world)
            await self.accept_trust(self._world, 0)

    async def _put_back_where_empty(self, world: World) -> None:
        """Put the newest backup back where a disk that lied has lost the trust document, and all with it."""
        if (backup := self.backup) is not None and self._is_whole() and self._is_empty():
            await self.while_stopped(lambda: self.restore(backup, "directory"))

    def _is_empty(self) -> bool:
        """Tell whether the agent's log has no trust document, as before it was installed."""
        with closing(sqlite3.connect(beside_the_disk(self.state / "agent.db"), uri=True)) as log:
            return log.execute("SELECT 1 FROM trust").fetchone() is None

    async def accept_trust(self, world: World, within_s: float) -> None:
        """Type the words of the trust document, where the agent asks for them."""
        await trio.sleep(within_s)
        with trio.move_on_after(300):
            while True:
                if (office := world.office) and world.life is not None:
                    with contextlib.suppress(Exception):
                        if (await office.call("GET", "/v1/trust"))["doubt"]:
                            for back in self.put_back:  # a damage may have had another copy put back since
                                back.typed_at = min(back.typed_at, trio.current_time())
                            await office.call("POST", "/v1/trust/accept", {"words": world.files.signed_trust()[1]})
                            world.trace("people: the trust is accepted")
                        return
                await trio.sleep(3)

    # --- the machine --------------------------------------------------------------------------------------------------

    def _power_is_gone(self) -> None:
        world = self._world
        log = world.witness.agent_log
        known = log.log()
        leaves = [] if known is None else known.execute("SELECT seq, kind FROM event ORDER BY seq").fetchall()
        self._leaves = leaves or self._leaves
        lies = self.disk.lies(self.state / "agent.db")
        self.cuts.append(Cut(trio.current_time(), lies, leaves, self.plans(), log.size))
        world.power_cut(world.machine)

    async def between_lives(self, world: World, machine: Machine) -> None:
        """Give the machine its power again; do what people want to do while no agent runs."""
        if machine is not world.machine:
            return
        if not self.disk.powered:
            world.witness.agent_log.unplug()
            await trio.sleep(self.dice.uniform(5, 60))
            self.disk.put(self.disk.left)
            machine.clock.boot_anew(f"boot {len(self.cuts) + 1}", self.cuts[-1].at)
            if self.cuts[-1].lies:
                self._nursery.start_soon(self._see_to_trust)
        if self.disk.rot is not None:
            # What the agent sent is announced in its log, which is read when it arrives
            await trio.sleep(arrives_s(world, ARRIVES_S))
            self._keep_rot(self.disk.rot)
        jobs, self._jobs = self._jobs, []
        copies = len(self.put_back)
        for job in jobs:
            if job.after_s:
                await trio.sleep(job.after_s)
            job.work()
            job.done.set()
        if machine.stays_down and self.backup is not None:
            if len(self.put_back) == copies:
                self.restore(self.backup, "directory")
            machine.repaired.set()


def rows_of(image: Image, path: Path) -> bytes | None:
    """Return a digest of all rows of a database; None: pages, rows or indexes of it are not as SQLite writes them.

    An index is as it should be where a copy made anew gives the same rows: SQLite's check does not see all of that.
    """
    with tempfile.TemporaryDirectory() as folder:
        for one in (path, path.with_name(f"{path.name}-wal")):
            if (content := image.get(one)) is not None:
                (Path(folder) / one.name).write_bytes(content)
        try:
            with closing(sqlite3.connect(Path(folder) / path.name)) as con:
                if con.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                    return None
                con.text_factory = bytes
                tables = [
                    row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
                ]
                rows = [con.execute(f'SELECT * FROM "{name.decode()}"').fetchall() for name in tables]
                indexed = _rows_by_index(con)
                con.execute("REINDEX")
                return hashlib.sha256(repr(rows).encode()).digest() if _rows_by_index(con) == indexed else None
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return None


def _rows_by_index(con: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    """Return the rows that each index gives, and how many entries it has: a row that is not there is given by none."""
    found = con.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 2").fetchall()
    rows = []
    for table, index, made in found:
        _, where, condition = (made or b"").decode().partition(" WHERE ")
        place = f'"{table.decode()}" INDEXED BY "{index.decode()}"{where}{condition}'
        rows += [con.execute(f"SELECT {what} FROM {place}").fetchall() for what in ("*", "count(*)")]
    return rows
