"""20,000 CPE on a virtual clock, a process of its own: the ACS and all of them, over streams in memory.

    python -m tests.bench.acs_virtual

It reads a line of JSON, `folder`, `cpes`, `interval_s`, `seconds` and `storm`, and prints a line with what it found.

While the fleet informs every `interval_s` seconds, virtual time stands still as long as anybody works, and goes on by a
second once nobody does. In the storm it runs as the real one does, and what is waited for is skipped once nobody works:
so an ACS that is slow is slow there too, and a Retry-After of two minutes takes no two minutes.
"""

from __future__ import annotations

import gc
import heapq
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import trio
import trio.testing

from agent.changes.engine.sessions import ArrivedSessions
from agent.connectors.cwmp.listener import Acs
from tests.bench import acs_cpe
from tests.bench.acs_cpe import Said, TurnedAway, take_answer
from tests.bench.acs_load import RETRY_DOUBLINGS, RETRY_FIRST_S
from tests.bench.acs_site import Site, opened, warnings
from tests.bench.cloud import raise_nofile, rss_kib
from tests.bench.processes import BenchError

WALL_S = 1_767_225_600.0
STORM_S = 420.0
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class VirtualClock:
    """The agent's clocks, both trio's mock clock."""

    mock: trio.testing.MockClock
    boot_id: str = "virtual"

    def wall_s(self) -> float:
        return WALL_S + self.mock.current_time()

    def boot_s(self) -> float:
        return self.mock.current_time()

    def cpu_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        await trio.sleep_until(boot_s)


def host(number: int) -> str:
    """Return the address of a CPE, of its own: one address alone has few connections."""
    return f"127.1.{number >> 8 & 255}.{number & 255}"


async def serve_one(acs: Acs, stream: trio.abc.Stream, address: str) -> None:
    """Serve a connection in memory as one that the listener took, or hang up on it."""
    client = acs._let_in(address)
    if client is None:
        await trio.aclose_forcefully(stream)
    else:
        await acs._serve_one(None, cast(trio.SocketStream, Accepted(stream)), client)


class Accepted(trio.abc.Stream):
    """A connection in memory, whose sending half need not be closed."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@dataclass
class _Fleet:
    """The CPE. `busy`: how many are in a session or were told to begin one; `waits`: when others come again."""

    site: Site
    what: Said
    clock: trio.testing.MockClock
    nursery: trio.Nursery
    told: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    most_open: int = 0
    most_rss: int = 0
    waits: list[float] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random("storm"))

    async def call(self, number: int, *, booted: bool) -> TurnedAway | str | None:
        """Have a CPE call in once; return why it was not served, None: it was."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(serve_one, self.site.connector.acs, theirs, host(number))
        steps = acs_cpe.session(self.what, number, booted=booted)
        got = bytearray()
        try:
            request = next(steps)
            while True:
                await ours.send_all(request)
                while (answer := take_answer(got)) is None:
                    data = await ours.receive_some(_READ_BYTES)
                    if not data:
                        return "closed without a word"
                    got += data
                request = steps.send(answer)
        except StopIteration as over:
            return cast("TurnedAway | None", over.value)
        except trio.BrokenResourceError:
            return "closed without a word"
        finally:
            self.most_open = max(self.most_open, self.site.connector.acs.sessions)
            await trio.aclose_forcefully(ours)

    def start(self, way: Callable[[int], Awaitable[None]], number: int) -> None:
        """Have a CPE call in from now on, by `one` or `until_served`. It is busy before its task has run at all."""
        self.busy += 1
        self.nursery.start_soon(way, number)

    async def one(self, number: int) -> None:
        """Have a CPE call in, which is to be served at once."""
        over = await self.call(number, booted=False)
        self.busy -= 1
        if over is not None:
            raise BenchError(f"expected to be let in, got {over}")
        self.told["served"] += 1

    async def until_served(self, number: int) -> None:
        """Have a CPE call in, again and again, until it is served."""
        tries = 0
        while True:
            over = await self.call(number, booted=True)
            self.busy -= 1
            if over is None:
                self.told["served"] += 1
                self.told["at once"] += not tries
                return
            self.told["503" if isinstance(over, TurnedAway) else over] += 1
            tries += 1
            if isinstance(over, TurnedAway):
                wait_s = over.retry_s
            else:
                first = RETRY_FIRST_S * 2 ** min(tries - 1, RETRY_DOUBLINGS)
                wait_s = self.dice.uniform(first, 2 * first)
            until = trio.current_time() + wait_s
            heapq.heappush(self.waits, until)
            await trio.sleep_until(until)
            heapq.heappop(self.waits)  # whose it is does not matter: as many are due as woke
            self.busy += 1

    async def still(self) -> None:
        """Return once nobody works."""
        while self.busy:
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            if self.busy:  # for the disk: the store has a thread of its own
                await trio.to_thread.run_sync(time.sleep, 0.0005)


@dataclass(frozen=True, slots=True)
class Found:
    """What a fleet cost. Times in seconds, memory in KiB."""

    cpes: int
    intervals: float
    virtual_s: float
    wall_s: float
    cpu_s: float
    rss_known: int
    rss_first: int
    rss_last: int
    commits: int
    storm_s: float
    storm_wall_s: float
    storm_half_s: float
    storm_at_once: int
    storm_503: int
    storm_closed: int
    storm_most_open: int
    storm_rss: int
    storm_rss_after: int


async def _intervals(fleet: _Fleet, cpes: int, interval_s: int, seconds: float) -> tuple[int, int, int]:
    """Let everybody inform once an interval until so many real seconds are over; each began one interval at least.

    Returns:
        Virtual seconds, and the memory after the first interval and at the end.
    """
    began, tick, first = time.perf_counter(), 0, 0
    while tick < interval_s or time.perf_counter() - began < seconds:
        phase = tick % interval_s
        for number in range(phase * cpes // interval_s, (phase + 1) * cpes // interval_s):
            fleet.start(fleet.one, number)
        await fleet.still()
        fleet.clock.jump(1.0)
        tick += 1
        if tick == interval_s:
            first = _rss()
    return tick, first, _rss()


def _rss() -> int:
    gc.collect()
    return rss_kib(int(Path("/proc/self").readlink().name))


async def _storm(fleet: _Fleet, cpes: int) -> tuple[float, float, int]:
    """Have all call in at once, until all were served. Returns: seconds until all and until half were, most memory."""
    fleet.told.clear()
    fleet.most_open = most = 0
    fleet.clock.rate = 1.0
    began, real = trio.current_time(), time.perf_counter()
    half = 0.0
    for number in range(cpes):
        fleet.start(fleet.until_served, number)
    while fleet.told["served"] < cpes:
        if time.perf_counter() - real > STORM_S:
            raise BenchError(f"expected all to be served in {STORM_S:.0f} s, got {dict(fleet.told)}")
        await trio.sleep(0.02)
        most = max(most, rss_kib(int(Path("/proc/self").readlink().name)))
        if not half and fleet.told["served"] * 2 >= cpes:
            half = trio.current_time() - began
        if not fleet.busy and fleet.waits:
            fleet.clock.jump(max(0.0, fleet.waits[0] - trio.current_time()))
    over = trio.current_time() - began
    fleet.clock.rate = 0.0
    return over, half, most


async def _run(folder: Path, clock: trio.testing.MockClock, first: dict[str, int]) -> Found:
    cpes = first["cpes"]
    with opened(folder, VirtualClock(clock)) as site:
        acs, fleet = site.connector.acs, site.connector.fleet
        nobody = ArrivedSessions()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fleet.run, nobody.arrived)
            nursery.start_soon(acs._sweep)
            nursery.start_soon(acs.deal_turns)
            await site.know(cpes)
            fleet = _Fleet(site, acs_cpe.said(), clock, nursery)
            fleet.start(fleet.one, 0)
            await fleet.still()  # what all share is loaded with the first
            before, commits = _rss(), site.store.commits
            wall, cpu = time.perf_counter(), time.process_time()
            ticks, after_first, last = await _intervals(fleet, cpes, first["interval_s"], first["seconds"])
            wall, cpu, commits = time.perf_counter() - wall, time.process_time() - cpu, site.store.commits - commits
            storm_s = half_s = storm_wall = 0.0
            most = after = 0
            if first["storm"]:
                fleet.told.clear()
                storm_wall = time.perf_counter()
                storm_s, half_s, most = await _storm(fleet, cpes)
                storm_wall = time.perf_counter() - storm_wall
                called = site.called_in()
                if (called["cpes"], called["boots"], called["least"]) != (cpes, cpes, 1):
                    raise BenchError(f"expected each of {cpes} CPE to have booted once, got {called}")
                after = _rss()
            nursery.cancel_scope.cancel()
    return Found(
        cpes,
        ticks / first["interval_s"],
        ticks,
        wall,
        cpu,
        before,
        after_first,
        last,
        commits,
        storm_s,
        storm_wall,
        half_s,
        int(fleet.told["at once"]),
        int(fleet.told["503"]),
        int(fleet.told["closed without a word"]),
        fleet.most_open,
        most,
        after,
    )


def main() -> None:
    raise_nofile()
    first = json.loads(sys.stdin.readline())
    clock = trio.testing.MockClock()
    with warnings() as warned:
        found = trio.run(_run, Path(first["folder"]), clock, first, clock=clock)
    if warned.first:
        raise BenchError(f"expected no crash in the ACS: {dict(warned.said)} {warned.first}")
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
