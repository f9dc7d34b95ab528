"""A connection to a lab router without a network, so that virtual time works; it takes time, and outlives who dials.

What was sent arrives, also when the agent is dead by then, as from a kernel's buffers: a command may take effect after
the next life has begun. The router's own timers carry it: `lab.router.server.pump` must run.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from agent.runtime.notifier import Notifier
from lab.router.device import Router
from lab.router.session import ApiSession

LATENCY_S = 0.01


class Wire(trio.abc.Stream):
    """The agent's end. `late_s` says of bytes that are sent how much later than usual they arrive."""

    def __init__(self, router: Router, late_s: Callable[[bytes], float] = lambda data: 0.0) -> None:
        self._router, self._late_s = router, late_s
        self._session = ApiSession(router)
        self._session.on_output = self._collect
        self._came = bytearray()
        self._ended = self._closed = False
        self._arrived = Notifier()
        self._there_s = self._here_s = router.now()

    # --- our end ---

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        if self._ended:
            raise trio.BrokenResourceError
        sent = bytes(data)
        self._on_its_way(lambda: self._session.receive_untrusted(sent), self._late_s(sent))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not (self._came or self._ended or self._closed):
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        taken = bytes(self._came[:max_bytes])
        del self._came[: len(taken)]
        return taken

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Hang up: the router learns it behind all that was sent."""
        if not self._closed:
            self._closed = True
            self._arrived.ring()
            self._on_its_way(self._session.close)

    def _on_its_way(self, act: Callable[[], None], late_s: float = 0.0) -> None:
        self._there_s = max(self._there_s, self._router.now() + LATENCY_S + late_s)  # nothing overtakes
        self._router.schedule(self._there_s, act)

    # --- the router's end ---

    def _collect(self) -> None:
        """Send off what the router says; come back for what it holds back."""
        said, closed = self._session.take_output(), self._session.closed
        if said or closed:
            self._here_s = max(self._here_s, self._router.now() + LATENCY_S)
            self._router.schedule(self._here_s, lambda: self._arrive(said, end=closed))
        if (due := self._session.get_timer()) is not None:
            self._router.schedule(due, self._session.handle_timer)

    def _arrive(self, data: bytes, *, end: bool) -> None:
        self._came += data
        self._ended = self._ended or end
        self._arrived.ring()
