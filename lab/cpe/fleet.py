"""Thousands of CPE in one process: one heap of due work, one listener, a bounded number of sessions at once.

The CPE of a fleet share their models, and each keeps only its differences. No task waits for any of them: the fleet
sleeps until the first one has something to do.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from lab.cpe.caller import Caller
from lab.cpe.device import Device
from lab.cpe.doorbell import Doorbell
from lab.cpe.http import Network
from lab.cpe.model import Model
from lab.cpe.quirks import NONE, Quirks
from lab.cpe.state import Identity
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181

_NETWORK: Final = Network()
# a CPE of a fleet remembers little of what happened to it
_LOG_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """A model of CPE in a fleet. `share`: how many of all CPE are of it, against those of the other kinds."""

    product_class: str
    model: Callable[[], Model]
    oui: str = "02AC5F"
    software: str = "1.0.0"
    share: int = 1
    quirks: Quirks = NONE


KINDS: Final = (
    Kind("LabGate-T181", tr181, share=5),
    Kind("LabGate-T098", tr098, software="3.12.9", share=4),
    Kind("LabGate-Old", tr098, "02AC60", "V100R003", quirks=Quirks(truth=("true", "false"), lower_oui=True)),
)


def make_devices(
    count: int,
    url: str,
    *,
    seed: int = 0,
    kinds: Sequence[Kind] = KINDS,
    interval_s: int = 300,
    username: str = "",
    password: str = "",
) -> list[Device]:
    """Devices with serial numbers that follow from the seed; the same seed gives the same ones.

    Args:
        count: how many.
        url: of their ACS.
        seed: of serial numbers, kinds and dice.
        kinds: of the CPE.
        interval_s: PeriodicInformInterval, 1 or more; 0 switches periodic informs off.
        username: for the ACS, `{serial}` in it is replaced.
        password: for the ACS.
    """
    dice = random.Random(f"fleet/{seed}")
    chosen = dice.choices(kinds, weights=[kind.share for kind in kinds], k=count)
    serials = dice.sample(range(16**8), count)
    return [
        Device(
            Identity(f"{serial:08X}", oui=kind.oui, product_class=kind.product_class, software=kind.software),
            kind.model(),
            url=url,
            username=username.replace("{serial}", f"{serial:08X}"),
            password=password,
            interval_s=interval_s,
            version="1.0" if kind.oui == "02AC60" else "1.4",
            quirks=kind.quirks,
            seed=seed,
            log_max=_LOG_MAX,
        )
        for kind, serial in zip(chosen, serials, strict=True)
    ]


class Fleet:
    """CPE that run together.

    Args:
        devices: all of them.
        network: how they reach the ACS.
        at_once: how many sessions there are at a time; more wait for their turn.
        boot_s: how long a boot takes.
        backoff_scale: waits between retries are multiplied by it.
        listens: whether they take connection requests.

    `sessions`, `failed`: how many are over, and how many of these not as they should. `talking`: now; `most`: at most.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        *,
        network: Network = _NETWORK,
        at_once: int = 100,
        boot_s: float = 0.0,
        backoff_scale: float = 1.0,
        listens: bool = False,
    ) -> None:
        self.devices = list(devices)
        self.sessions = self.failed = self.talking = self.most = 0
        self._callers = [Caller(device, network, backoff_scale) for device in self.devices]
        self._limiter = trio.CapacityLimiter(at_once)
        self._boot_s = boot_s
        self._listens = listens
        self._heap: list[tuple[float, int]] = []
        self._planned: list[float] = [math.inf] * len(self.devices)
        self._busy = bytearray(len(self.devices))
        self._up_at = [0.0] * len(self.devices)
        self._scopes: dict[int, trio.CancelScope] = {}
        self._news = trio.Event()
        self._ahead_s = 0.0

    def now(self) -> float:
        """The time of all of them."""
        return self._ahead_s + trio.current_time()

    async def run(
        self, *, spread_s: float = 0.0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Power all of them on within `spread_s` seconds (0: at once, a storm), and run them until cancelled."""
        self._ahead_s = (self.devices[0].now() if self.devices else 0.0) - trio.current_time()
        dice = random.Random(len(self.devices))
        async with trio.open_nursery() as nursery:
            if self._listens:
                bell = Doorbell()
                await nursery.start(bell.serve)
                for device in self.devices:
                    device.set_server("ConnectionRequestURL", bell.add(device), quietly=True)
            start = self.now()
            for number, device in enumerate(self.devices):
                device.clock = self.now
                device.rebooting = True
                self._up_at[number] = start + dice.uniform(0.0, spread_s)
                device.on_change.append(_Look(self, number))
                self._plan(number)
            task_status.started()
            while True:
                await self._step(nursery)

    def power_cut(self, spread_s: float = 0.0) -> None:
        """Everybody loses power, and is back within `boot_s` and `spread_s` more seconds: an inform storm."""
        dice = random.Random(self.sessions)
        for number, device in enumerate(self.devices):
            self._up_at[number] = self.now() + self._boot_s + dice.uniform(0.0, spread_s)
            device.power_cut()
        for scope in self._scopes.values():
            scope.cancel()

    async def wait_sessions(self, number: int) -> None:
        """Wait until that many sessions are over, counted from the start."""
        while self.sessions < number:
            await self._news.wait()

    def _due(self, number: int) -> float:
        return self._up_at[number] if self.devices[number].rebooting else self._callers[number].due()

    def _plan(self, number: int) -> None:
        """Put a CPE into the heap for when it has something to do."""
        if self._busy[number]:
            return
        due = self._due(number)
        if due < self._planned[number]:
            self._planned[number] = due
            heapq.heappush(self._heap, (due, number))
            if self._heap[0][1] == number:
                self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _step(self, nursery: trio.Nursery) -> None:
        while self._heap and self._heap[0][0] <= self.now():
            _, number = heapq.heappop(self._heap)
            self._planned[number] = math.inf
            # an entry may be older than what is so now: then it is planned again
            if not self._busy[number] and self._due(number) <= self.now():
                self._busy[number] = 1
                nursery.start_soon(self._serve, number)
            else:
                self._plan(number)
        news = self._news
        wait_s = self._heap[0][0] - self.now() if self._heap else math.inf
        with trio.move_on_after(max(0.0, wait_s)):
            await news.wait()

    async def _serve(self, number: int) -> None:
        """Let one CPE do its due work."""
        device, caller = self.devices[number], self._callers[number]
        try:
            if device.rebooting:
                caller.hurry()
                device.boot()
            device.handle_timer()
            with trio.CancelScope() as self._scopes[number]:
                await self._call(caller)
            if device.rebooting:
                self._up_at[number] = max(self._up_at[number], self.now() + self._boot_s)
        finally:
            self._scopes.pop(number, None)
            self._busy[number] = 0
            self._plan(number)

    async def _call(self, caller: Caller) -> None:
        for transfer in caller.device.take_transfers():
            await caller.transfer(transfer)
        if not caller.session_due or caller.device.rebooting:
            return
        async with self._limiter:
            await self._talk(caller)

    async def _talk(self, caller: Caller) -> None:
        self.talking += 1
        self.most = max(self.most, self.talking)
        ok = False
        try:
            ok = await caller.session()
        finally:
            self.talking -= 1
            self.sessions += 1
            self.failed += not ok
            self._tell()


class _Look:
    """Something happened to one CPE of a fleet: it is planned anew."""

    __slots__ = ("_fleet", "_number")

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet = fleet
        self._number = number

    def __call__(self) -> None:
        self._fleet._plan(self._number)  # noqa: SLF001 # one class in two parts
