"""One round of a scenario: its folder, its dice, what it counts, what it finds false; and the agent's lives in it."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from agent.runtime.errors import ClientError
from tests.e2e.files import Files
from tests.e2e.site import AgentProgram, ApiRefusedError, Json, Office
from tests.servers import MariaDB, PostgreSQL
from tests.sim.judge import Verdict
from tests.torture.agent_file import AgentFile
from tests.torture.audit import AGENT, TWIN

T = TypeVar("T")
WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Lets a program end when what started it ends, however that ends."""
FAULT_WORDS = re.compile(r"Traceback|(?<!lost-)crash", re.IGNORECASE)
"""Words of a fault of the agent's own. `lost-crash` is the reason of an item whose step was under way at a kill."""
GIVEN_UP = "the agent cannot go on"
"""Words of a run that a fault of the agent's own ended; a restored copy gives up too, and says so otherwise."""
LOOK_S = 0.03
BEGUN_S = 2.0
QUICK_START_S = 1.5
"""How long a start takes on a machine that has nothing else to do."""
REST_S = 3.0
"""A CPE redials, accounting is written, an item is judged once more."""

_keeper = ThreadPoolExecutor(max_workers=1)


async def in_keeper(work: Callable[[], T]) -> T:
    """Do blocking work in the one thread that never ends: a server dies with the thread that started it."""
    return await trio.to_thread.run_sync(lambda: _keeper.submit(work).result())


class Servers:
    """The database servers of a run, each started when it is first needed, and stopped at its end."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[type[PostgreSQL | MariaDB], PostgreSQL | MariaDB] = {}

    def of(self, kind: type[PostgreSQL | MariaDB]) -> PostgreSQL | MariaDB:
        """Return a server of a kind. It is durable: it must lose nothing when it is killed."""
        if kind not in self._running:
            server = kind(durable=True)
            self._stack.enter_context(server)
            for login in (AGENT, TWIN):
                server.add_login(login)
            self._running[kind] = server
        return self._running[kind]


@dataclass
class Round:
    """A round. `chaos_s`: how long faults go on; `settle_s`: how long after that everything may take to be over.

    `services`: how many a batch on RADIUS has. `wanted`: the faults by name, in the place of those that the seed draws.
    """

    scenario: str
    seed: int
    folder: Path
    chaos_s: float
    settle_s: float = 90.0
    services: int = 24
    wanted: Sequence[str] = ()
    count: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    found: list[Verdict] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def dice(self, name: str) -> random.Random:
        """Return dice of the seed: what one thing draws depends on no other."""
        return random.Random(f"{self.scenario} {self.seed} {name}")

    def say(self, text: str) -> None:
        """Note what happened, for the folder that a failure keeps."""
        self.told.append(f"[{time.monotonic() - self.began:7.2f}] {text}")

    def wrong(self, rule: str, what: str, service: str = "", truth: str = "", leaf: int = 0) -> None:
        """Note something that must not be."""
        verdict = Verdict(rule, trio.current_time(), service, what, truth, leaf)
        self.found.append(verdict)
        self.say(f"FALSE {verdict.text()}")


class Lives:
    """The agent: one process after the other on the same files. `file` is looked at all the while."""

    def __init__(self, about: Round, files: Files, mark: str = "") -> None:
        self.files, self.office = files, Office(files)
        self.file = AgentFile(files.state / "agent.db", mark)
        self.kills = 0
        self._round = about
        self._program: AgentProgram | None = None
        self._start_s = QUICK_START_S

    async def begin(self, *, prefix: Sequence[str] = ()) -> None:
        """Start it, and return once it listens."""
        began = trio.current_time()
        await trio.to_thread.run_sync(self.spawn(prefix=prefix).wait_ready)
        self._start_s = trio.current_time() - began
        self._round.say(f"the agent listens after {self._start_s:.1f} s")

    def spawn(self, *, prefix: Sequence[str] = ()) -> AgentProgram:
        """Start it, and do not wait."""
        self._program = AgentProgram(self.files, prefix=(*WITH_US, *prefix))
        return self._program

    @property
    def program(self) -> AgentProgram:
        assert self._program is not None
        return self._program

    async def kill(self) -> None:
        """End it by SIGKILL, at this instant; then look at its log."""
        if self._program is None:
            return
        self._died_by_itself()
        self.program.kill()
        await trio.to_thread.run_sync(self.program.wait_exit)
        self._program = None
        self.kills += 1
        self._round.count["kills"] += 1
        self._round.say("killed")
        for wrong in await trio.to_thread.run_sync(self.file.wrong_log) if self.file_is_there else []:
            self._round.wrong("log", wrong)

    async def stop(self) -> None:
        """End it as an operator does."""
        await trio.to_thread.run_sync(self.program.stop)
        self._program = None

    def copy(self, what: Path, to: Path, *without: str) -> None:
        """Copy a folder with its files; it must not live.

        Whoever opens and closes SQLite's files beside SQLite loses its locks in this process, and dies (SIGBUS) when
        the next agent cuts the shared memory short: so nobody looks at the file meanwhile.
        """
        assert self._program is None
        self.file.close()
        shutil.copytree(what, to, ignore=shutil.ignore_patterns("*.sock", *without))

    @property
    def file_is_there(self) -> bool:
        return (self.files.state / "agent.db").exists()

    def _died_by_itself(self) -> None:
        if self._program is not None and self._program.ended:
            words = self._program.log.read_text()[-400:].replace("\n", " / ")
            self._round.wrong("died", f"the agent ended by itself, exit code {self._program.wait_exit()}: {words}")

    async def die_again_and_again(self, dice: random.Random) -> None:
        """Kill it at drawn instants until cancelled, sometimes while it starts; it lives in the end."""
        longest = dice.choice((0.5, 1.5, 4.0))
        try:
            while True:
                # On a busy machine it starts slowly and works slowly: it would never come to anything
                slow = max(1.0, self._start_s / QUICK_START_S)
                await trio.sleep(slow * dice.choice((0.1 + 0.3 * dice.random(), longest * dice.random())))
                with trio.CancelScope(shield=True):
                    await self.kill()
                    while dice.random() < 0.2:
                        self.spawn()
                        await trio.sleep(1.5 * dice.random())
                        await self.kill()
                    await self.begin()
        finally:
            if self._program is None:
                with trio.CancelScope(shield=True):
                    await self.begin()

    async def watched(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at its file until cancelled."""
        task_status.started()
        while True:
            if self.file_is_there:
                self.file.look()
            await trio.sleep(LOOK_S)

    # --- people -------------------------------------------------------------------------------------------------------

    async def patiently(self, act: Callable[[], Awaitable[T]], within_s: float = 60.0) -> T:
        """Return what an act returns, tried again while the agent is away."""
        with trio.fail_after(within_s):
            while True:
                try:
                    return await act()
                except (ClientError, OSError):
                    await trio.sleep(0.1)

    async def approved(self, action: str, *refs: str, **fields: object) -> Json:
        """Ask for a change and see it approved."""
        change = await self.office.ask(action, *refs, on_failure="continue", **fields)
        for who in ("joseph", "lena")[: max(1, change["need"])]:
            await self.office.hand_in(self.office.approval(change, who), change["id"])
        self._round.say(f"{action} of {len(change['items'])}: {change['id']}")
        return change

    async def settled(self, within_s: float) -> bool:
        """Return whether everything that was begun is over within some time."""
        with trio.move_on_after(within_s):
            while self.file.unfinished():  # noqa: ASYNC110  of another process
                await trio.sleep(0.1)
            return True
        return False

    async def through_chaos(self, name: str, acts: Mapping[str, Callable[[random.Random], Awaitable[None]]]) -> None:
        """Die again and again, and let faults go on, until everything is over or it is time."""
        about = self._round
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.die_again_and_again, about.dice(f"kills {name}"))
            for fault, act in acts.items():
                nursery.start_soon(act, about.dice(f"{fault} {name}"))
            await trio.sleep(BEGUN_S)
            await self.settled(about.chaos_s)
            nursery.cancel_scope.cancel()
        about.say(f"{name}: the faults are over")

    async def end_of(self, change: Json) -> Json | None:
        """Return a change once it is over and everything is at rest; None: it never was.

        What is not enforced is tried again once, as its text advises.
        """
        about = self._round
        if not await self.settled(about.settle_s):
            about.wrong("restless", f"{self.file.unfinished()} {about.settle_s:.0f} s after the last fault")
            return None
        shown = await self.patiently(lambda: self.office.show(change["id"]))
        if any(item["state"] == "set-not-enforced" for item in shown["items"]):
            about.count["retries"] += 1
            try:
                await self.office.call("POST", f"/v1/changes/{change['id']}/retry", {})
            except ApiRefusedError as err:
                about.say(f"retry: {err}")
            await trio.sleep(0.5)
            await self.settled(about.settle_s)
        await trio.sleep(REST_S)
        await self.check_rest()
        return await self.patiently(lambda: self.office.show(change["id"]))

    async def check_rest(self) -> None:
        """Judge the agent at rest: nothing goes on, nothing is held, its log adds up, and it never broke down."""
        about = self._round
        for change in self.file.unfinished():
            about.wrong("restless", f"{change} is not over")
        for address in self.file.held():
            about.wrong("restless", f"{address} is still held")
        self._died_by_itself()
        for wrong in await trio.to_thread.run_sync(self.file.wrong_log):
            about.wrong("log", wrong)
        verified = await self.patiently(self.office.verify_log)
        if verified < self.file.size:
            about.wrong("log", f"audit verify counts {verified} leaves of {self.file.size}")
        self.check_words()

    def check_words(self) -> None:
        """Judge what it printed, and what it gave up."""
        log = self.files.folder / "daemon.log"
        for line in log.read_text().splitlines():
            if FAULT_WORDS.search(line):
                self._round.wrong("crashed", line[:400])
                break
        for item in self.file.items():
            if item.reason == "given-up" and item.detail.startswith(GIVEN_UP):
                self._round.wrong("crashed", f"{item.change} is {item.state}: {item.detail}", item.service)

    def end(self) -> None:
        """Leave no process and no open file."""
        self.file.close()
        if self._program is not None and not self._program.ended:
            self._program.kill()
            self._program.wait_exit()
