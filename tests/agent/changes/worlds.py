"""What the crash suite runs in: devices that outlive the agent, and what they saw. Over the fake, and over routers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from agent.connectors.base import Reach
from agent.model import ABSENT, Item
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import World


class CrashWorld(Protocol):
    """Devices with subscribers `u0`, `u1`, …, each of whom a plan is to suspend."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Let the devices' time pass."""
        ...

    def add(self, login: str, *, online: bool) -> None:
        """Give the devices a subscriber."""
        ...

    def fault(self, login: str, faults: Sequence[str]) -> None:
        """Meet the next commands for a subscriber that change something with these, in their order; "": nothing."""
        ...

    def drift(self, login: str) -> None:
        """Let somebody else change what is a subscriber's."""
        ...

    def unmet(self, login: str) -> Sequence[str]:
        """Return the faults that no command met yet."""
        ...

    async def item(self, n: int, login: str) -> Item:
        """Return the item that suspends a subscriber, as the preview makes it."""
        ...

    def rig(self, folder: Path) -> Rig:
        """Return a life of the agent on a state directory."""
        ...

    def writes(self) -> Sequence[tuple[str, str]]:
        """Return what was written by us: whose, and what it became, in order."""
        ...

    def kicks(self) -> Sequence[tuple[str, str]]:
        """Return whose session was ended by us, and on which device, once for each session."""
        ...

    def value(self, login: str) -> str:
        """Return what a subscriber's resource is."""
        ...

    def suspended(self, login: str) -> bool | None:
        """Return whether a subscriber is set to be suspended; None: on some devices only."""
        ...

    def at_large(self, login: str) -> bool:
        """Return whether a subscriber has a session that is not suspended."""
        ...


class FakeWorld:
    """The fake connector's devices."""

    def __init__(self, clock: FakeClock, reach: Reach = Reach.DIAL) -> None:
        self.world, self._clock, self._reach = World(), clock, reach

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def add(self, login: str, *, online: bool) -> None:
        self.world.add(login, online=online)

    def fault(self, login: str, faults: Sequence[str]) -> None:
        self.world.faults[login] = list(faults)

    def drift(self, login: str) -> None:
        self.world.values[self.world.user(login)] = {"plan": "another"}

    def unmet(self, login: str) -> Sequence[str]:
        return self.world.faults[login]

    async def item(self, n: int, login: str) -> Item:
        return item(n, login, self.world)

    def rig(self, folder: Path) -> Rig:
        return Rig(folder, self.world, self._clock, self._reach)

    def writes(self) -> Sequence[tuple[str, str]]:
        return [(login, "absent" if v is ABSENT else str(sorted(v))) for login, v in self.world.writes]

    def kicks(self) -> Sequence[tuple[str, str]]:
        return [(login, "the one") for login in self.world.kicks]

    def value(self, login: str) -> str:
        return str(self.world.values[self.world.user(login)])

    def suspended(self, login: str) -> bool | None:
        value = self.world.values[self.world.user(login)]
        return value is not ABSENT and value.get("suspended") == "yes"

    def at_large(self, login: str) -> bool:
        """A session has what was set when it began: the first one began before there was anything."""
        return self.world.sessions.get(login) == 1
