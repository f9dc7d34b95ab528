"""The machine on which an agent runs: its clocks, the agent's files, and the lives of the agent."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from agent.daemon import Daemon
from agent.store.errors import LASTING, StoreError
from tests.builders.clock import FakeClock
from tests.builders.job import CrashingStore
from tests.e2e.files import Files
from tests.sim.sockets import Process

NAP_S = 30.0
"""As `agent.runtime.clock`: who sleeps looks at the boot-time clock this often."""

INSTANT_S = 1e-6
"""Virtual time does not move by less than a float of its size can tell."""


class MachineClock:
    """The clocks of one machine, which may be wrong; those of all other machines are right."""

    def __init__(self, right: FakeClock) -> None:
        self.boot_id = right.boot_id
        self._right = right
        self._moved_s = self._rate = self._slewed_at = self._booted_s = 0.0
        self.settings: list[tuple[float, float]] = [(float("-inf"), 0.0)]
        """Since when (trio's time) somebody had set the wall clock so that it was wrong by how much."""
        self.offs: list[tuple[float, float]] = []
        """From when until when the machine had no power."""

    def wall_s(self) -> float:
        return self._right.wall_s() + self.wrong_by_s()

    def boot_s(self) -> float:
        return self._right.boot_s() - self._booted_s

    def cpu_s(self) -> float:
        return 0.0  # in virtual time work takes none

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until_boot(self.boot_s() + seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        left = boot_s - self.boot_s()
        if left <= 0:
            await trio.lowlevel.checkpoint()
        while (
            left > 0
        ):  # as of the system's clock: nobody wakes early, who would then sleep for no time, again and again
            await trio.sleep(max(min(left, NAP_S), INSTANT_S))
            left = boot_s - self.boot_s()

    # --- what happens to it -------------------------------------------------------------------------------------------

    def wrong_by_s(self) -> float:
        """Return how far the wall clock is ahead of the right time."""
        return self._moved_s + (trio.current_time() - self._slewed_at) * self._rate

    def wrong_during(self, since: float, until: float) -> list[float]:
        """Return by how much the wall clock was wrong in each stretch of a time, but for what it was slewed."""
        ends = [*(at for at, _ in self.settings[1:]), float("inf")]
        return [by_s for (at, by_s), end in zip(self.settings, ends, strict=True) if at <= until and end >= since]

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._moved_s += seconds
        self.settings.append((trio.current_time(), self.wrong_by_s()))

    def slew(self, rate: float) -> None:
        """Let the wall clock run faster from now on by this share, as NTP slews it."""
        self._moved_s, self._slewed_at, self._rate = self.wrong_by_s(), trio.current_time(), rate

    def set_right(self) -> None:
        """Set the wall clock to the right time."""
        self._moved_s, self._slewed_at, self._rate = 0.0, trio.current_time(), 0.0
        self.settings.append((trio.current_time(), 0.0))

    def boot_anew(self, boot_id: str, off_at: float) -> None:
        """The machine booted, without power since `off_at`: the boot-time clock begins again."""
        self.boot_id, self._booted_s = boot_id, self._right.boot_s()
        self.offs.append((off_at, trio.current_time()))


@dataclass(eq=False)
class Life:
    """One life of the agent, from its start to its end."""

    process: Process
    daemon: Daemon
    store: CrashingStore
    over: trio.Event = field(default_factory=trio.Event)
    failure: BaseException | None = None
    """The error by which it ends, of a request of people's; None: none."""
    requests: dict[trio.CancelScope, trio.Event] = field(default_factory=dict)
    """Of the requests of people that are under way, in their order, and set once each is over: the daemon's tasks,
    which end with the first to fail.
    """

    serves: bool = True
    """Whether it takes requests: no more once the daemon's tasks are cancelled, of which its server is one."""

    async def cancel_requests(self) -> None:
        """Wait to be cancelled with the daemon's tasks, then cancel the requests, and take none any more.

        The daemon has ended when they have, as it is with its own tasks.
        """
        try:
            await trio.sleep_forever()
        finally:
            self.serves = False
            for scope in self.requests:
                scope.cancel()
            with trio.CancelScope(shield=True):
                for over in list(self.requests.values()):
                    await over.wait()

    def fail(self, error: BaseException) -> None:
        """Let it end by an error, as the daemon does where one is not contained."""
        self.failure = error
        self.over.set()

    def kill(self) -> None:
        """SIGKILL, now."""
        self.store.dead = True
        self.died()

    def died(self) -> None:
        """Take note that the process is dead: the kernel closes what it had open."""
        if not self.process.dead:
            self.process.kill()
            self.over.set()


@dataclass(frozen=True, slots=True)
class Exit:
    """An agent that ended by itself: what it said, and whether it stays down until a person did something."""

    at: float
    life: str
    sentences: tuple[str, ...]
    stays_down: bool


def exit_of(error: BaseException, life: str) -> Exit | None:
    """Return how `ispagent run` ends by this error; None: as no program should, with a traceback."""
    found = _store_errors(error)
    if not found:
        return None
    sentences = tuple(dict.fromkeys(str(one) for one in found))
    return Exit(trio.current_time(), life, sentences, any(isinstance(one, LASTING) for one in found))


def _store_errors(error: BaseException) -> list[StoreError]:
    """Return the errors of the store of which an error consists; none where it has others too."""
    if isinstance(error, StoreError):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return []
    parts = [_store_errors(one) for one in error.exceptions]
    return [one for part in parts for one in part] if all(parts) else []


@dataclass(eq=False)
class Machine:
    """A machine. `name`: what its agent's processes are called, with a number; `lives`: how many there were.

    `repaired`: set by people once they did what the agent said when it ended and stayed down.
    """

    name: str
    files: Files
    clock: MachineClock
    life: Life | None = None
    process: Process | None = None
    lives: int = 0
    started: trio.Event = field(default_factory=trio.Event)
    exits: list[Exit] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    """When an agent ended there, for whatever reason."""
    repaired: trio.Event = field(default_factory=trio.Event)

    @property
    def stays_down(self) -> bool:
        """Whether its last agent ended, and waits for people."""
        last = self.exits[-1] if self.exits else None
        return last is not None and last.stays_down and last.life == f"{self.name} {self.lives}"
