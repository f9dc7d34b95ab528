"""One CPE against one ACS: sessions, reboots, transfers and connection requests, on trio's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from lab.cpe.caller import Caller
from lab.cpe.device import Device
from lab.cpe.doorbell import Doorbell
from lab.cpe.events import PERIODIC
from lab.cpe.http import Network
from lab.cpe.records import Executed, Record, SessionOver
from lab.cpe.udp import UdpListener

_INSTANT_S: Final = 1e-6
"""The shortest wait. A clock of its own that counts from less may be ahead of trio's by less than trio's can tell: such
a wait would be none, again and again.
"""
_NETWORK: Final = Network()


class _News:
    """Something happened: every waiting task looks again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def __call__(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class Cpe:
    """A CPE that runs.

    Args:
        device: the CPE itself.
        network: how it reaches the ACS and the servers of files.
        boot_s: how long a boot takes.
        backoff_scale: the waits of TR-069 3.2.1.1 between retries are multiplied by it.
        doorbell: where it takes connection requests; None: one of its own.
        listens: whether it takes connection requests over HTTP.
        udp: also over UDP, for a CPE behind NAT (TR-069 annex G).
    """

    def __init__(
        self,
        device: Device,
        *,
        network: Network = _NETWORK,
        boot_s: float = 0.0,
        backoff_scale: float = 1.0,
        doorbell: Doorbell | None = None,
        listens: bool = True,
        udp: bool = False,
    ) -> None:
        self.device = device
        self.boot_s = boot_s
        self.sessions = 0
        self._caller = Caller(device, network, backoff_scale)
        self._doorbell = doorbell
        self._listens = listens
        self.udp = UdpListener(device) if udp else None
        self._news = _News()
        self._scope: trio.CancelScope | None = None
        self._over = 0

    @property
    def log(self) -> deque[Record]:
        """The last thousand records."""
        return self.device.log

    def executed(self, method: str = "") -> list[Executed]:
        """The requests of the ACS that it met, of one method or of all."""
        return [one for one in self.log if isinstance(one, Executed) and method in ("", one.method)]

    # --- what a test does ---------------------------------------------------------------------------------------------

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at whenever something happened to the CPE."""
        while not predicate():
            await self._news.wait()

    async def wait_sessions(self, number: int) -> None:
        """Wait until that many sessions are over, counted from the start."""
        await self.wait_for(lambda: self._over >= number)

    async def call_in(self, *events: str) -> SessionOver:
        """Call the ACS now, with these events (periodic without any), and wait until that session is over."""
        number = self.sessions + 1
        self._caller.hurry()
        for event in events or (PERIODIC,):
            self.device.add_event(event)
        await self.wait_sessions(number)
        return next(one for one in reversed(self.log) if isinstance(one, SessionOver))

    def power_cut(self) -> None:
        """Lose power now, in the midst of whatever it does; after `boot_s` it is back."""
        self.device.power_cut()
        if self._scope is not None:
            self._scope.cancel()

    # --- running ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Power it on, and run it until cancelled. Its clock is trio's from here on."""
        device = self.device
        ahead_s = device.now() - trio.current_time()
        device.clock = lambda: ahead_s + trio.current_time()
        device.on_change.append(self._news)
        try:
            async with trio.open_nursery() as nursery:
                if self._listens:
                    bell = self._doorbell
                    if bell is None:
                        bell = Doorbell()
                        await nursery.start(bell.serve)
                    device.set_server("ConnectionRequestURL", bell.add(device), quietly=True)
                if self.udp is not None:
                    await nursery.start(self.udp.run)
                device.boot()
                task_status.started()
                while True:
                    await self._live()
        finally:
            device.on_change.remove(self._news)

    async def _live(self) -> None:
        """From one boot to the next."""
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            while not self.device.rebooting:
                await self._step(nursery)
            nursery.cancel_scope.cancel()
        self._scope = None
        await trio.sleep(self.boot_s)
        self._caller.hurry()
        self.device.boot()

    async def _step(self, nursery: trio.Nursery) -> None:
        device, caller = self.device, self._caller
        device.handle_timer()
        for transfer in device.take_transfers():
            nursery.start_soon(caller.transfer, transfer)
        if caller.session_due:
            self.sessions += 1
            try:
                await caller.session()
            finally:
                self._over += 1
                self._news()
            return
        left_s = caller.due() - device.now()
        with trio.move_on_after(max(left_s, _INSTANT_S) if left_s > 0 else 0.0):
            await self._news.wait()
