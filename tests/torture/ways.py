"""Ways between the agent and its network that lose, double, delay and cut what passes, by a seed."""

from __future__ import annotations

import contextlib
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from tests.e2e.proxy import Link, Proxy

DATAGRAM_BYTES = 4096
ON_ITS_WAY_S = 0.005
"""How long bytes may take to the server before the connection behind them is cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut a connection where bytes to the server match: before they pass, after, or before what is answered."""

    pattern: re.Pattern[bytes]
    when: str
    chance: float


def cuts(chance: float, *patterns: str) -> list[Cut]:
    """Return the cuts at some patterns, at each of the three instants."""
    compiled = [re.compile(p.encode(), re.IGNORECASE) for p in patterns]
    return [Cut(p, when, chance) for p in compiled for when in ("before", "after", "reply")]


class CuttingProxy(Proxy):
    """A TCP way that is cut by chance where its bytes say what passes. `count`: what was cut how often."""

    def __init__(self, to: Callable[[], tuple[str, int]], dice: random.Random, count: Counter[str]) -> None:
        super().__init__(to)
        self.rules: Sequence[Cut] = ()
        self._dice, self._count = dice, count

    async def carry(self, link: Link, data: bytes, *, up: bool) -> bool:
        if not up:
            return not link.doomed and await super().carry(link, data, up=up)
        for rule in self.rules:
            if rule.pattern.search(data) and self._dice.random() < rule.chance:
                self._count[f"cut {rule.when}"] += 1
                if rule.when == "before":
                    return False
                await super().carry(link, data, up=up)
                link.doomed = rule.when == "reply"
                if not link.doomed:
                    await trio.sleep(ON_ITS_WAY_S)
                return link.doomed
        return await super().carry(link, data, up=up)

    def cut_once(self) -> None:
        """Break every connection; new ones are taken."""
        self.cut()
        self.mend()
        self._count["cut all"] += 1


@dataclass
class Air:
    """How likely a datagram of either direction is lost, doubled or late; `late_s`: at most so late."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_s: float = 0.0


class UdpWay:
    """A way for datagrams to one port, and back."""

    def __init__(self, port: int, dice: random.Random, count: Counter[str]) -> None:
        self.air = Air()
        self.port = 0
        self._target, self._dice, self._count = ("127.0.0.1", port), dice, count
        self._back: dict[tuple[str, int], trio.socket.SocketType] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry datagrams until cancelled."""
        with await _bound() as front:
            self.port = front.getsockname()[1]
            async with trio.open_nursery() as nursery:
                task_status.started()
                try:
                    while True:
                        data, peer = await front.recvfrom(DATAGRAM_BYTES)
                        if peer not in self._back:
                            self._back[peer] = await _bound()
                            nursery.start_soon(self._answers, front, peer, nursery)
                        self._carry(nursery, self._back[peer], data, self._target)
                finally:
                    for back in self._back.values():
                        back.close()

    async def _answers(self, front: trio.socket.SocketType, peer: tuple[str, int], nursery: trio.Nursery) -> None:
        while True:
            data, _ = await self._back[peer].recvfrom(DATAGRAM_BYTES)
            self._carry(nursery, front, data, peer)

    def _carry(self, nursery: trio.Nursery, sock: trio.socket.SocketType, data: bytes, target: tuple[str, int]) -> None:
        air, roll = self.air, self._dice.random
        if roll() < air.lost:
            self._count["datagram lost"] += 1
            return
        copies = 2 if roll() < air.doubled else 1
        self._count["datagram doubled"] += copies - 1
        for _ in range(copies):
            late_s = roll() * air.late_s if roll() < air.late else 0.0
            nursery.start_soon(_send_later, sock, data, target, late_s)


async def _send_later(sock: trio.socket.SocketType, data: bytes, target: tuple[str, int], late_s: float) -> None:
    await trio.sleep(late_s)
    with contextlib.suppress(OSError):
        await sock.sendto(data, target)


async def _bound() -> trio.socket.SocketType:
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    return sock
