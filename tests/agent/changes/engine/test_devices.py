"""Devices as people ask for them, over connectors that report on theirs and such that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio

from agent.changes.checkup import Checkup
from agent.changes.engine.devices import Devices
from agent.changes.engine.sessions import Sessions
from agent.connectors.base import CheckResult, DeviceReport, DeviceState, Finding, SharedCredential, UnreadableError
from agent.line_model.reading import Neighbor
from agent.model import Target
from agent.reasons import TargetReason
from tests.builders.expect import present
from tests.builders.world import FakeConnector, World


class ReportingConnector(FakeConnector):
    """A connector that knows something of its devices."""

    def __init__(self) -> None:
        super().__init__(World())
        self.known = [
            DeviceReport("fake/d", "10.0.0.1:1", DeviceState.REACHABLE, findings=(Finding("clock", "is off"),)),
            DeviceReport("fake/e", "10.0.0.2:1", DeviceState.REFUSED, "another device"),
            DeviceReport("fake/f", "10.0.0.3:1"),
        ]
        self.probed: list[str] = []

    def reports(self) -> Sequence[DeviceReport]:
        return self.known

    async def probe(self, target: str) -> DeviceReport:
        await trio.lowlevel.checkpoint()
        self.probed.append(target)
        return self.known[0]


def test_they_are_counted_by_state() -> None:
    both = {"quiet": FakeConnector(World()), "fake": ReportingConnector()}
    assert Devices(both, Sessions(both)).counts() == {
        "configured": 3,
        "not-asked": 1,
        "reachable": 1,
        "unreachable": 0,
        "refused": 1,
        "findings": 1,
    }


def test_one_is_found_by_name_or_target() -> None:
    devices = Devices({"fake": ReportingConnector()}, Sessions({}))
    for name in ("e", "fake/e"):
        found = present(devices.find(name))
        assert (found.target, found.name, found.problem) == ("fake/e", "e", "another device")
    assert devices.find("x") is None
    assert devices.find("") is None


async def test_a_device_told_by_a_system_is_probed_by_its_name_there() -> None:
    told = ReportingConnector()
    told.targets = (Target("fake/main", "fake"), Target("fake/west", "fake"))
    told.known = [DeviceReport(f"fake/{name}", "") for name in ("main", "main/sw-3", "main/sw-4", "west/sw-4")]
    devices = Devices({"fake": told}, Sessions({"fake": told}))
    found = present(devices.find("sw-3"))
    assert found.target == "fake/main/sw-3"
    assert devices.find("sw-4") is None
    with pytest.raises(UnreadableError, match="fake/north/sw-3"):
        await devices.probe("fake/north/sw-3")


class Sharer(ReportingConnector):
    """Devices that share two credentials; `deaf`: those that do not answer."""

    def __init__(self, *deaf: str, reason: TargetReason = TargetReason.UNREACHABLE) -> None:
        super().__init__()
        self.targets = tuple(Target(f"fake/d{n}", "fake") for n in range(7))
        self.credentials = (
            SharedCredential("lab", frozenset({"lab-auth", "lab-priv"}), [one.id for one in self.targets]),
            SharedCredential("spare", frozenset({"spare"}), ()),
        )
        self.known = [DeviceReport("fake/d6", "", DeviceState.REACHABLE)]
        self.deaf, self.reason = deaf, reason
        self.greeted: list[str] = []

    async def greet(self, target: str) -> None:
        await trio.lowlevel.checkpoint()
        self.greeted.append(target)
        if "all" in self.deaf or target in self.deaf:
            raise UnreadableError(f"{target}: unreachable, or wrong secret", reason=self.reason)


def no_poll(target: str) -> None:
    raise AssertionError(target)


def checkup_of(sharer: Sharer, poll: Callable[[str], None] = no_poll) -> Checkup:
    async def look(target: str) -> None:
        raise AssertionError(target)

    return Checkup(Sessions({}), Devices({"fake": sharer}, Sessions({})), {}, look, poll)


async def test_a_shared_secret_is_tried_on_a_few_of_its_devices() -> None:
    sharer = Sharer()
    (check,) = await checkup_of(sharer).secret("lab-priv")
    assert (check.about, check.result) == ("credential lab", CheckResult.OK)
    assert check.detail == "5 of 5 devices that were asked answer to it, 7 have it"
    assert len(sharer.greeted) == 5
    assert "fake/d6" in sharer.greeted, "it answered before"
    assert list(await checkup_of(sharer).secret("spare")) == []
    assert list(await checkup_of(sharer).secret("another")) == []


def test_a_secret_that_changed_has_all_of_its_devices_read() -> None:
    asked: list[str] = []
    checkup = checkup_of(Sharer(), asked.append)
    checkup.secret_changed("another")
    assert asked == []
    checkup.secret_changed("lab-priv")
    assert asked == [f"fake/d{n}" for n in range(7)]


@pytest.mark.parametrize(
    ("sharer", "result"),
    [
        (Sharer("fake/d0"), CheckResult.WARNING),
        (Sharer("all"), CheckResult.FAILS),
        (Sharer("all", reason=TargetReason.MISSING_SECRET), CheckResult.NOT_CHECKED),
    ],
)
async def test_a_wrong_shared_secret_is_named(sharer: Sharer, result: CheckResult) -> None:
    (check,) = await checkup_of(sharer).secret("lab-auth")
    assert check.result is result
    assert "fake/d0: unreachable, or wrong secret" in check.detail


async def test_a_probe_is_on_an_open_session() -> None:
    connector = ReportingConnector()
    sessions = Sessions({"fake": connector})
    devices = Devices({"fake": connector}, sessions)
    with pytest.raises(UnreadableError, match="the agent is not running"):
        await devices.probe("fake/d")
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        assert (await devices.probe("fake/d")).address == "10.0.0.1:1"
        assert connector.probed == ["fake/d"]
        with pytest.raises(UnreadableError, match="not configured"):
            await devices.probe("fake/x")
        nursery.cancel_scope.cancel()


async def test_what_reports_nothing_is_not_probed() -> None:
    connectors = {"fake": FakeConnector(World())}
    sessions = Sessions(connectors)
    devices = Devices(connectors, sessions)
    assert list(devices.reports()) == []
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        with pytest.raises(UnreadableError, match="nothing to probe"):
            await devices.probe("fake/d")
        nursery.cancel_scope.cancel()


class SeeingConnector(ReportingConnector):
    """A connector whose devices tell of their neighbors."""

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        await trio.lowlevel.checkpoint()
        return [Neighbor(f"next to {target}", "10.0.0.9", "ether3", "", "", "")]


async def test_neighbors_are_those_that_a_device_tells_of() -> None:
    connector = SeeingConnector()
    sessions = Sessions({"fake": connector})
    with pytest.raises(UnreadableError, match="the agent is not running"):  # it is asked on an open session
        await Devices({"fake": connector}, sessions).neighbors("fake/d")
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        (found,) = await Devices({"fake": connector}, sessions).neighbors("fake/d")
        assert found.identity == "next to fake/d"
        silent = Devices({"fake": ReportingConnector()}, sessions)
        with pytest.raises(UnreadableError, match="fake/d tells of no neighbors"):
            await silent.neighbors("fake/d")
        nursery.cancel_scope.cancel()
