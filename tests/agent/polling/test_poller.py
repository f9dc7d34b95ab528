"""The schedule of polls: each target at its pace, silence of one, a crash of one, and lanes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pytest
import trio
import trio.testing

from agent.connectors.base import Connector, DeviceReport, DeviceState, UnreadableError
from agent.line_model.reading import DeviceReading, Sensor, SourceReading, ToldDown
from agent.model import Target
from agent.polling import poller as polling
from agent.polling.poller import ANSWER_S, Poller
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock


class Meters:
    """`a` answers, `b` is away, `c` says nothing, `d` makes the connector crash."""

    targets: Sequence[Target] = tuple(Target(f"meter/{name}", "meter") for name in "abcd")
    every_s = 0.01

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.enough = trio.Event()

    def poll_every_s(self, target: str) -> float:
        return self.every_s

    async def poll(self, target: Target) -> DeviceReading:
        self.asked.append(target.id)
        if min(self.asked.count("meter/a"), self.asked.count("meter/b")) > 2:
            self.enough.set()
        await trio.lowlevel.checkpoint()
        match target.id:
            case "meter/b":
                raise UnreadableError("b is away", reason=TargetReason.UNREACHABLE)
            case "meter/c":
                await trio.sleep_forever()
            case "meter/d":
                raise ZeroDivisionError
        return DeviceReading(target.id, 1000, sensors=(Sensor("value/volts", "value", "volts", len(self.asked)),))


class Reported(Meters):
    """Reports on its devices itself."""

    def reports(self) -> Sequence[DeviceReport]:
        return ()

    async def probe(self, target: str) -> DeviceReport:
        raise AssertionError


class Kept:
    """What a poller told."""

    def __init__(self) -> None:
        self.readings: list[DeviceReading] = []
        self.failures: dict[str, str] = {}
        self.silent: dict[str, bool] = {}
        self.lists: list[tuple[str, frozenset[str], int]] = []

    async def keep(self, reading: DeviceReading) -> None:
        self.readings.append(reading)

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        assert at_s > 1_700_000_000
        self.failures[target] = why
        self.silent[target] = silent

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        self.lists.append((target, devices, at_s))


def poller(connectors: Mapping[str, Connector], *keepers: Kept) -> Poller:
    return Poller(connectors, SystemClock(), keepers)


async def run_until(made: Poller, event: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        with trio.fail_after(60):
            await event.wait()
        nursery.cancel_scope.cancel()


async def test_one_that_is_silent_or_crashes_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    meters, kept = Meters(), Kept()
    made = poller({"meter": meters}, kept)
    states = {r.target: r.state for r in made.reports()}
    assert set(states.values()) == {DeviceState.NOT_ASKED}
    with caplog.at_level(logging.CRITICAL, "agent.polling"):
        await run_until(made, meters.enough)
    a, b, c, _ = made.reports()
    assert (a.state, a.problem, a.read_s is not None) == (DeviceState.REACHABLE, "", True)
    assert (b.state, b.problem, b.read_s) == (DeviceState.UNREACHABLE, "b is away", None)
    assert (c.state, meters.asked.count("meter/c")) == (DeviceState.NOT_ASKED, 1)
    assert {reading.target for reading in kept.readings} == {"meter/a"}
    assert kept.failures == {"meter/b": "b is away"}
    assert made.newest("meter/a")[1] == 1000
    assert made.newest("meter/b") == ((), 0)
    assert made.newest("meter/x") == ((), 0)


async def test_silence_is_a_problem_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "ANSWER_S", 0.01)
    assert ANSWER_S == 60
    kept = Kept()
    found = await poller({"meter": Meters()}, kept).probe("meter/c")
    why = "meter/c: expected an answer in 0.01 s, got none"
    assert (found.state, found.problem, kept.failures) == (DeviceState.UNREACHABLE, why, {"meter/c": why})


async def test_a_probe_polls_at_once() -> None:
    made = poller({"meter": Meters()})
    assert (await made.probe("meter/a")).state is DeviceState.REACHABLE
    (volts,), read_s = made.newest("meter/a")
    assert (volts.value, read_s) == (1, 1000)
    with pytest.raises(UnreadableError, match="no target meter/x is polled"):
        await made.probe("meter/x")


async def test_a_connector_that_reports_itself_is_only_polled() -> None:
    made = poller({"meter": Reported()})
    assert (list(made.reports()), list(made.targets)) == ([], [])
    assert not poller({}).targets


async def test_nothing_to_poll_is_the_end_of_it() -> None:
    with trio.fail_after(60):
        await poller({}).run()


class Crowd(Meters):
    """Many that say nothing, and one that answers."""

    targets = tuple(Target(f"meter/{n}", "meter") for n in range(12))

    def __init__(self) -> None:
        super().__init__()
        self.under_way = self.most = 0

    async def poll(self, target: Target) -> DeviceReading:
        self.asked.append(target.id)
        if self.asked.count("meter/0") == 5:
            self.enough.set()
        if target.id == "meter/0":
            await trio.lowlevel.checkpoint()
            return DeviceReading(target.id, 1000)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(0.05)
        finally:
            self.under_way -= 1
        raise UnreadableError("silent", reason=TargetReason.UNREACHABLE)


async def test_the_silent_are_in_a_lane_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "QUICK", 2)
    monkeypatch.setattr(polling, "SLOW", 3)
    crowd = Crowd()
    await run_until(poller({"meter": crowd}), crowd.enough)
    assert crowd.most <= 5
    assert crowd.asked.count("meter/0") == 5


NOW_S = 1_800_000_000
ONE, TWO = "told/main/one", "told/main/two"


class Tells:
    """A system that knows two devices, of which one is down and one answers no more."""

    targets: Sequence[Target] = (Target("told/main", "told"),)

    def __init__(self) -> None:
        self.fails = False
        self.devices = frozenset({ONE, TWO})

    def poll_every_s(self, target: str) -> float:
        assert target == "told/main"
        return 60.0

    async def gather(self, target: Target) -> SourceReading:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise UnreadableError("no answer", reason=TargetReason.UNREACHABLE)
        volts = (Sensor("value/volts", "value", "volts", 230.0),)
        readings = tuple(DeviceReading(name, NOW_S - 90, sensors=volts) for name in sorted(self.devices))
        down = (ToldDown(TWO, NOW_S - 50, "no ping"), ToldDown(ONE, NOW_S - 40, "no SNMP", silent=False))
        return SourceReading(target.id, NOW_S, readings, down, self.devices, 60.0, ("its log",))


async def test_system_tells_of_devices_with_times_of_its_own_polls() -> None:
    told, kept = Tells(), Kept()
    made = poller({"told": told}, kept)
    assert await made.poll_now(ONE)
    assert [(one.target, one.read_s) for one in kept.readings] == [
        (ONE, NOW_S - 90),
        (TWO, NOW_S - 90),
        ("told/main", NOW_S),
    ]
    assert kept.readings[-1].not_read == ("its log",)
    assert (kept.failures, kept.silent) == ({TWO: "no ping", ONE: "no SNMP"}, {TWO: True, ONE: False})
    assert kept.lists == [("told/main", {ONE, TWO}, NOW_S)]
    assert made.newest(ONE)[1] == NOW_S - 90
    told.devices = frozenset({TWO})
    assert await made.poll_now("told/main")
    assert (made.newest(ONE), made.newest(TWO)[1]) == (((), 0), NOW_S - 90)
    assert not await made.poll_now("told/other/one")


async def test_an_unreadable_system_is_not_silence() -> None:
    told, kept = Tells(), Kept()
    told.fails = True
    assert await poller({"told": told}, kept).poll_now("told/main")
    assert (kept.failures, kept.silent) == ({"told/main": "no answer"}, {"told/main": False})
    assert (kept.readings, kept.lists) == ([], [])
