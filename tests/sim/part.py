"""A part of the simulated world: devices of a kind, a billing system, a control plane, a disk.

A part brings what belongs to it: its devices and their section of the agent's configuration, what its people do, its
faults, what the witness sees at it, and its rules of judgment. `tests.sim.all_parts` lists them. A seed says which
parts are in its world.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from tests.sim.sockets import Process

if TYPE_CHECKING:
    from agent.connectors.spec import ConnectorSpec
    from lab.database import Database
    from lab.isp import LabOptions
    from tests.sim.judge import Asked, Evidence, Verdict
    from tests.sim.machine import Machine
    from tests.sim.people import Desk
    from tests.sim.world import World

Act = Callable[["World", random.Random], Awaitable[None]]
DeskAct = Callable[["Desk", random.Random, float], Awaitable[None]]


class DidNothingError(Exception):
    """A fault had nothing to act on in this world: it was not seen, nor any pair with it."""


@dataclass(frozen=True, slots=True)
class WorldFault:
    """A fault: `act` begins it, lets it last, and takes it back, or raises DidNothingError. It may happen `times` times
    in a world.

    `part`: the name of the part that must be in the world for it; "": none.
    """

    name: str
    act: Act
    times: int = 1
    part: str = ""


@dataclass(frozen=True, slots=True)
class WorldAct:
    """Something that people do in some worlds, `times` times, beside the asks that each has.

    `act` is told within how many seconds it begins. `part`: as of `WorldFault`.
    """

    name: str
    act: DeskAct
    part: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Declared:
    """What a part adds to the agent's files before they are written.

    `config`: sections of agent.toml. `secrets`: values by name. `billing`: rows of the subscriber file, by service.
    `billing_terms`: lines of `[billing]` that say which source decides; "": the file does. `agent`: lines of `[agent]`.
    """

    config: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    billing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    billing_terms: str = ""
    agent: str = ""


class Part:
    """A part that adds nothing. Each hook may be replaced; `world.part(Kind)` finds a part of the world.

    `percent`: how many of the worlds that do not need it have it all the same.

    The hooks are called in this order: `database` once, before anything is open; `open` once, before the agent's files
    exist; `specs` before each of its lives; `install` once, while its first life runs and has its trust document and
    secrets; `work` while people ask and faults begin; `settle` when all of that is over; `judge` at the end. `look` is
    called after each step of each task, so that it must be quick.
    """

    name: ClassVar[str]
    faults: ClassVar[tuple[WorldFault, ...]] = ()
    acts: ClassVar[tuple[WorldAct, ...]] = ()
    percent: ClassVar[int] = 35
    beside: ClassVar[frozenset[str] | None] = None
    """The parts that may join it by chance; None: all."""

    def database(self, options: LabOptions) -> Database | None:
        """Return the database that RADIUS has in this world; None: this part brings none."""
        return None

    def specs(self, specs: Sequence[ConnectorSpec[Any]]) -> Sequence[ConnectorSpec[Any]]:
        """Return the connectors that each life of the agent is composed from."""
        return specs

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Start the devices, in tasks of `nursery`; `world.files` does not exist yet."""
        return Declared()

    async def install(self, world: World) -> None:
        """Tell the agent what only its API takes."""

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Let people and devices of this part do something within so many seconds; returns when they are done."""

    async def settle(self, world: World) -> None:
        """Let everything be as it is without faults."""

    async def between_lives(self, world: World, machine: Machine) -> None:
        """Let something be done to a machine whose agent just ended, before it is started again."""

    def look(self, process: Process | None) -> None:
        """Look at what the last step of a task changed. `process`: whose task it was; None: the world's."""

    def own_asks(self, log: sqlite3.Connection) -> Iterable[Asked]:
        """Return the changes that the agent asked for by itself, from its file."""
        return ()

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be, by the rules of this part."""
        return ()

    def close(self) -> None:
        """Let go of files."""
