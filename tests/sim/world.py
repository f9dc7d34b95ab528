"""A whole ISP with its agent in one process, in virtual time, by one seed.

Inside: the agent as it is composed in production, with its files, its SQL, its RADIUS client; the lab's RADIUS server,
NAS and CPE; people who ask and approve; the parts of `tests.sim.parts`. The agent may be killed at any instant, and is
started again as systemd does.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock
from urllib.parse import parse_qsl

import trio

from agent import daemon as daemons
from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.config import load
from agent.connectors import registry
from agent.connectors.spec import ConnectorSpec
from agent.reasons import HttpReason
from agent.runtime import json_text
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response
from agent.runtime.supervise import Crash, contain, ends_program
from durable import files as databases
from lab.isp import Isp, LabOptions, open_lab
from lab.staff import Staff, write_disabled_group
from tests import once
from tests.builders.clock import FakeClock
from tests.builders.job import CrashingStore
from tests.e2e.files import FILE_DECIDES, Files, lab_mapping, lab_secrets, make_files, ref_of
from tests.e2e.site import ApiRefusedError, Office
from tests.seeded import SeededChance
from tests.sim.inline import ThreadPace, inline_threads
from tests.sim.machine import Life, Machine, MachineClock, exit_of
from tests.sim.network import Network, open_network
from tests.sim.part import Declared, Part
from tests.sim.sockets import PROCESS, Process, SimulatedSocket
from tests.sim.weather import Weather
from tests.sim.witness import Lost, Witness
from trust import chance
from trust.document import TrustedAgent

WITHIN_S = (10, 30)
"""How long the agent waits for a session to be gone, and for the CPE to come back."""
BACK_S = 2.0
"""After how long systemd starts an agent again that died."""
PACES = (1000, 1000, 1)
"""How many items of a batch the agent begins in a second: all at once, or so that others come in between."""
SOAKS_S = (0, 0, 40)
"""How long the agent watches the first item of a batch before it goes on with the others."""
BILLING_S = 900.0
PartT = TypeVar("PartT", bound=Part)
_log = logging.getLogger("agent.runtime.http")
"""Where the agent's server tells of a request that crashed."""
code_sha256 = functools.cache(daemons.build_sha256)


class AgentAwayError(Exception):
    """The agent does not run now, or died over this request."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """A world. `trace`: told what happens, line by line."""

    folder: Path
    seed: int
    services: int = 6
    trace: Callable[[str], None] = lambda text: None
    without: frozenset[str] = frozenset()
    """Events that do not happen, by name: see `World.happens`."""
    size: float = 1.0
    """The share of what people do and of the devices there can be, 0 to 1."""
    old_pace: bool = False
    """Whether a task carries packets, and the agent looks for everything as often as in production, at rest too: as it
    was when the older seeds were kept, whose worlds would be others without it.
    """


@dataclass
class SimulatedOffice(Office):
    """People in front of a machine's agent, whichever of its lives it is in."""

    machine: Machine

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the agent's answer.

        Raises:
            ApiRefusedError: it refused.
            AgentAwayError: there is no agent, it ends, or it died meanwhile: nobody knows whether it did as asked.
        """
        life = self.machine.life
        if life is None or life.process.dead or not life.serves:
            raise AgentAwayError
        bare, _, query = path.partition("?")
        data = b"" if body is None else json_text.encode(body)
        request = HttpRequest(method, bare, dict(parse_qsl(query)), {}, data, os.getuid(), os.getpid())
        answers: list[Response | HttpError | Crash] = []
        token, scope = PROCESS.set(life.process), trio.CancelScope()
        life.requests[scope] = over = trio.Event()
        try:
            with scope:
                async with trio.open_nursery() as nursery:

                    async def ask() -> None:
                        answers.append(await contain("http", lambda: _answer(life, request), log=_log))
                        scope.cancel()

                    nursery.start_soon(ask)
                    await life.over.wait()
                    scope.cancel()
        except BaseExceptionGroup as group:
            if not life.process.dead:
                if group.subgroup(ends_program) is None:
                    raise
                life.fail(group)
            raise AgentAwayError from group
        finally:
            PROCESS.reset(token)
            del life.requests[scope]
            over.set()
        match answers:
            case [Response() as answer]:
                return json.loads(json_text.encode(answer.json))
            case [HttpError() as err]:
                raise ApiRefusedError(err.status, err.code, str(err)) from err
            case [Crash(err)] if not life.process.dead and exit_of(err, life.process.name) is None:
                raise ApiRefusedError(500, HttpReason.INTERNAL, repr(err)) from err
        raise AgentAwayError


def with_requests(sessions: Sessions, life: Life) -> None:
    """Let the requests of people, which are tasks of the world here, end when the daemon's tasks are cancelled."""
    hosts = sessions.host

    async def host(nursery: trio.Nursery) -> None:
        await hosts(nursery)
        nursery.start_soon(life.cancel_requests)

    sessions.host = host  # type: ignore[method-assign]  # nothing else tells of the daemon's nursery


async def _answer(life: Life, request: HttpRequest) -> Response | HttpError:
    """Return an agent's answer, or its refusal."""
    try:
        answer = await life.daemon.api(request)
    except HttpError as err:
        return err
    assert isinstance(answer, Response)
    return answer


class World:
    """The world, as people and faults handle it."""

    machine: Machine
    """The one that the agent runs on, from when all parts are open."""

    def __init__(
        self,
        options: WorldOptions,
        network: Network,
        isp: Isp,
        parts: Sequence[Part],
        clock: FakeClock,
        pace: ThreadPace,
    ) -> None:
        self.options, self.network, self.isp, self.clock, self.pace = options, network, isp, clock, pace
        self.parts = tuple(parts)
        self.disk_is_simulated = False
        """Whether a part says when a file is durable; otherwise everything is, at once."""
        self.kills: list[float] = []
        self.events: list[str] = []
        """What people asked for and what went wrong, by name: a failing seed is cut by leaving some out."""
        self.damaged: list[tuple[float, float]] = []
        """From when until when a database was damaged: tasks that read it may crash before the agent ends."""
        self.acted: set[str] = set()
        """The faults that had something to act on, by name."""
        self.lost: list[Lost] = []
        self.restored: list[float] = []
        """When the agent's files were put back, or what it had written was found to be gone."""
        self.dice = random.Random(f"world {options.seed}")
        self.staff = Staff(isp, options.seed)
        self.logins = {ref_of(s): s.login for s in isp.services}
        """Of each service by RADIUS."""
        self.services = sorted(self.logins)
        """Those that people ask about: by RADIUS, and what parts add while they open."""
        self.on_life: Callable[[Life], None] = lambda life: None
        """Told each life of an agent when it begins."""
        self.billing_s = BILLING_S
        """How often billing exports."""
        self.witness = Witness(options.folder / "site" / "state" / "agent.db", self.parts, self.trace)

    @functools.cached_property
    def office(self) -> SimulatedOffice:
        """People in front of the agent."""
        return SimulatedOffice(self.files, self.machine)

    @property
    def files(self) -> Files:
        """The agent's files."""
        return self.machine.files

    def part(self, kind: type[PartT]) -> PartT:
        """Return the world's part of that kind. Raises LookupError: this world has none."""
        if (part := self.find(kind)) is None:
            raise LookupError(kind.name)
        return part

    def find(self, kind: type[PartT]) -> PartT | None:
        """Return the world's part of that kind; None: this world has none."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def happens(self, name: str) -> bool:
        """Take note of an event that is to begin, which has dice of its own; tell whether it is to happen."""
        self.events.append(name)
        return name not in self.options.without

    def is_busy(self, name: str) -> bool:
        """Tell whether something that people do is to happen in a world of this size, as `happens` does."""
        dice = random.Random(f"busy {self.options.seed} {name}")
        return dice.random() < self.options.size and self.happens(name)

    def trace(self, text: str) -> None:
        """Tell what happens."""
        self.options.trace(f"{trio.current_time():12.4f} {text}")

    # --- the agent's lives --------------------------------------------------------------------------------------------

    @property
    def life(self) -> Life | None:
        """The agent's life; None: it does not run now."""
        return self.machine.life

    async def live(self, machine: Machine) -> None:
        """Let a machine's agent live, and again after each end, as systemd does, until cancelled."""
        while True:
            machine.lives += 1
            await self._one_life(machine, Process(f"{machine.name} {machine.lives}"))
            for part in self.parts:
                await part.between_lives(self, machine)
            if machine.stays_down:
                await machine.repaired.wait()
            await trio.sleep(BACK_S)

    async def _one_life(self, machine: Machine, process: Process) -> None:
        life: Life | None = None
        token = PROCESS.set(process)
        machine.repaired, machine.process = trio.Event(), process
        try:
            specs: Sequence[ConnectorSpec[Any]] = registry.specs()
            for part in self.parts:
                specs = part.specs(specs)
            config = load(machine.files.config, connectors=specs)
            async with daemons.open_files(config, machine.clock, CrashingStore) as opened:
                assert isinstance(opened.store, CrashingStore)
                log = self.witness.logs[machine.name]
                if log.unplugged and (lost := log.plug_in()) is not None:
                    self.lost.append(lost)
                    self.restored.append(lost.found_at)
                    self.trace(f"{process.name} has {lost.leaves} leaves less than were seen")
                if not self.disk_is_simulated:  # only the process dies, and only in play
                    for con in (opened.store._con, opened.vault._con):
                        con.execute("PRAGMA synchronous = OFF")
                patience = Patience(send_s=30.0, reread_s=60.0)
                code = code_sha256()
                daemon = daemons.build(config, opened, machine.clock, patience=patience, code_sha256=code)
                life = Life(process, daemon, opened.store)
                self.on_life(life)
                opened.store.on_death = life.died
                await daemon.begin()
                with_requests(daemon.sessions, life)
                async with trio.open_nursery() as nursery:
                    await nursery.start(daemon.run)
                    machine.life = life
                    machine.started.set()
                    self.trace(f"{process.name} runs")
                    await life.over.wait()
                    if life.failure is not None:
                        raise life.failure
                    nursery.cancel_scope.cancel()
        except BaseException as err:
            if not process.dead:
                ended = exit_of(err, process.name)
                if ended is None:
                    raise
                machine.exits.append(ended)
                self.trace(f"{process.name} ends: {' | '.join(ended.sentences)}")
        finally:
            PROCESS.reset(token)
            machine.life = None
            machine.ends.append(trio.current_time())
            if machine.started.is_set():  # else somebody may wait for it already, and a start did not come to run
                machine.started = trio.Event()
            if life is not None:
                life.died()
        self.trace(f"{process.name} died")

    async def until_acting(self, within_s: float) -> None:
        """Return when the agent next does something to a line, or after some time."""
        with trio.move_on_after(within_s):
            await self.witness.acting.wait()

    def kill(self) -> None:
        """Kill the agent, if it runs."""
        if self.life is not None and not self.life.process.dead:
            self.kills.append(trio.current_time())
            self.life.kill()

    def power_cut(self, machine: Machine) -> None:
        """Let a machine lose its power: nobody is told, and what is on its disk is not seen until it runs again."""
        self.kills.append(trio.current_time())
        self.witness.logs[machine.name].look_away()
        if machine.process is not None:
            for sock in list(machine.process.sockets):
                if isinstance(sock, SimulatedSocket):
                    sock.vanish()
            machine.process.kill() if machine.life is None else machine.life.kill()
        self.trace(f"{machine.name}: the power is cut")

    def kill_at_command(self, after: int, *, durable: bool) -> None:
        """Let the agent die at a command of its store that comes soon: before it is written, or just after."""
        if (life := self.life) is not None and not life.process.dead:
            self.kills.append(trio.current_time())
            life.store.die_at, life.store.die_after = life.store.seen + after, durable

    # --- time of the office -------------------------------------------------------------------------------------------

    async def export_billing(self) -> None:
        """Let billing export again and again: everybody owes."""
        while True:
            self.bill()
            await trio.sleep(self.billing_s)

    def bill(self) -> None:
        """Let billing export now: whoever has an account in the file owes."""
        now = time.gmtime(self.clock.wall_s())
        for row in filter(lambda row: row["balance"], self.files.billing.rows.values()):
            row["as_of"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
            row["due"] = time.strftime("%Y-%m-%d", time.gmtime(self.clock.wall_s() - 10 * 86400))
            row["paid_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock.wall_s() - 60 * 86400))
        self.files.billing.write()

    def sign_now(self) -> None:
        """Let people sign with today's time."""
        self.files.people.now_s = int(self.clock.wall_s())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everybody draw from the seed: the programs by the source that is lent to them, people and the lab too."""
    source = SeededChance(seed)
    with (
        chance.lend(source),
        mock.patch.object(secrets, "token_bytes", lambda size=32: source.draw(size)),
        mock.patch.object(secrets, "token_hex", lambda size=32: source.draw(size).hex()),
    ):
        yield


@contextmanager
def virtual_time(clock: FakeClock) -> Iterator[None]:
    """Let every clock of the machine follow the world's."""

    def boot(_: int) -> float:
        return clock.boot_s()

    with mock.patch.object(time, "time", clock.wall_s), mock.patch.object(time, "clock_gettime", boot):
        yield


@asynccontextmanager
async def open_world(options: WorldOptions, parts: Sequence[Part]) -> AsyncIterator[World]:
    """Run a world with these parts for the block; its agent is installed, and runs."""
    clock = FakeClock()
    clock.wall_s()
    pace = ThreadPace()
    async with AsyncExitStack() as stack:
        stack.enter_context(virtual_time(clock))
        stack.enter_context(seeded(options.seed))
        stack.enter_context(inline_threads(pace))
        if all(part.name != "disk" for part in parts):  # a simulated disk has to see each write
            stack.enter_context(mock.patch.object(databases, "open_database", once.open_database))
        stack.enter_context(mock.patch.object(os, "fdatasync", return_value=None))  # no machine of the world is real
        network = await stack.enter_async_context(open_network(options.seed, by_clock=not options.old_pace))
        network.air.base = Weather(delay_s=(0.0002, 0.003))
        lab = LabOptions(
            options.folder,
            services=options.services,
            nas=2,
            seed=options.seed,
            redial_delay_s=1.0,
            retry_s=5.0,
            retry_most_s=60.0,
            interim_s=600,
            clock=clock.wall_s,
        )
        database = next(filter(None, (part.database(lab) for part in parts)), None)
        isp = await stack.enter_async_context(open_lab(replace(lab, database=database)))
        await write_disabled_group(isp)
        world = World(options, network, isp, parts, clock, pace)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        declared = []
        for part in parts:
            stack.callback(part.close)
            declared.append(await part.open(world, nursery))
        files = _files(world, declared)
        world.machine = Machine("agent", files, MachineClock(clock))
        world.sign_now()
        who = files.trust.agents[0]
        files.trust = files.people.trust(TrustedAgent(who.agent, who.handle, who.plan_key, who.log_key))
        world.bill()
        stack.callback(world.witness.close)
        trio.lowlevel.add_instrument(world.witness)
        stack.callback(lambda: world.witness.failed or trio.lowlevel.remove_instrument(world.witness))
        nursery.start_soon(world.live, world.machine)
        await world.machine.started.wait()
        await world.office.install()
        for part in parts:
            await part.install(world)
        nursery.start_soon(world.export_billing)
        yield world


def _files(world: World, declared: Sequence[Declared]) -> Files:
    """Write the agent's files: the lab's mapping, and what each part adds."""
    mapping = lab_mapping(world.isp, within_s=WITHIN_S) + "".join(f"\n{one.config}" for one in declared)
    # each plan holds the digest of the configuration: the world's folder, another one in each run, may not stand in it
    mapping = mapping.replace(f'"{world.options.folder}/', '"../')
    secrets = lab_secrets(world.isp)
    for one in declared:
        secrets |= one.secrets
    terms = next((one.billing_terms for one in declared if one.billing_terms), FILE_DECIDES)
    dice = random.Random(f"pace {world.options.seed}")
    policy = {"pace": dice.choice(PACES), "soak_s": dice.choice(SOAKS_S), "canary": 1}
    agent = "\n".join(one.agent for one in declared)
    files = make_files(
        world.options.folder, mapping, world.isp.services, secrets, policy=policy, agent=agent, billing=terms
    )
    for one in declared:
        for service, row in one.billing.items():
            files.billing.rows.setdefault(service, {}).update(row)
    return files
