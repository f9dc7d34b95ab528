"""Devices as people ask for them, over connectors that report on theirs and such that do not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from agent.changes.engine.devices import Devices
from agent.changes.engine.sessions import Sessions
from agent.connectors.base import DeviceReport, DeviceState, Finding, Neighbor, UnreadableError
from tests.agent.connectors.fake import FakeConnector, World


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
        found = devices.find(name)
        assert found is not None
        assert (found.target, found.name, found.problem) == ("fake/e", "e", "another device")
    assert devices.find("x") is None
    assert devices.find("") is None


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
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        (found,) = await Devices({"fake": connector}, sessions).neighbors("fake/d")
        assert found.identity == "next to fake/d"
        silent = Devices({"fake": ReportingConnector()}, sessions)
        with pytest.raises(UnreadableError, match="fake/d tells of no neighbors"):
            await silent.neighbors("fake/d")
        nursery.cancel_scope.cancel()
