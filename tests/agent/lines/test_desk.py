"""Answers of the desk: lines and outages from one moment of the database, and MAC addresses that are remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.connectors.base import Connector, LiveSession
from agent.inventory.book import ImportServices
from agent.inventory.merge import MergeResult
from agent.line_model.reading import EventKind, LineEvent, Neighbor, Part, PartKind, SeenMac
from agent.lines import desk as desk_module
from agent.lines import states
from agent.lines.desk import LineDesk, LineTerms, ShownLink
from agent.lines.finding import Hint, HintKind, LineFinder, ServiceLine
from agent.lines.keeping import LineKeeper
from agent.lines.known import StateHow
from agent.lines.limits import SERVICE_MACS_MAX
from agent.lines.listening import Listening
from agent.lines.mapping import MappingFile
from agent.lines.outage import CauseKind
from agent.lines.states import Query, RecordServiceMacs
from agent.lines.topology import ConfiguredUpstream
from agent.model import Service
from agent.reasons import ProofReason
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.readings import AT, DOWN, UP, event, onu, port, reading
from tests.builders.store import Agent

MAC = "02:00:00:00:00:01"
ALL = tuple(
    Service(f"C-{n}/home", f"C-{n}", "Amina", "home", f"u{n}", "pppoe", "20M", extra={"ont": f"HWTC0000000{n}"})
    for n in range(4)
)


def clock_at(after_s: int = 400) -> FakeClock:
    return FakeClock(start_wall_s=AT + after_s)


def no_hints(_query: Query, _service: str | None) -> Mapping[str, Sequence[Hint]]:
    return {}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(tmp_path)
    sealed = agent.recorder.record(None, {"what": "import"})
    await agent.store.run(ImportServices(MergeResult(ALL, (), (), (), ()), (), sealed, "maria"))
    yield agent
    agent.close()


def desk_of(agent: Agent, clock: FakeClock | None = None, *, roots: tuple[str, ...] = ("core",)) -> LineDesk:
    terms, file = LineTerms(roots), MappingFile(None)
    return LineDesk(agent.store, clock or clock_at(), terms, file, lambda: {"10.0.0.9": "snmp/olt"}, no_hints)


async def network(agent: Agent) -> LineKeeper:
    """A core router and an OLT behind it, with four ONUs of which one is down."""
    keeper = LineKeeper(agent.store)
    near = Neighbor("whoever", "10.0.0.9", "1", "", "", "", port="port/1", remote_port="eth0")
    back = Neighbor("core", "", "eth0", "", "", "", port="port/eth0", remote_port="0/1")
    onus = [onu(f"HWTC0000000{n}", parent="pon/1") for n in range(4)]
    pon = Part("pon/1", PartKind.PON, "0/1")
    await keeper.keep(
        reading(0, replace(port("1"), name="0/1"), target="snmp/core", identity="core", neighbors=(near,))
    )
    await keeper.keep(reading(0, pon, *onus, target="snmp/olt", identity="olt", neighbors=(back,)))
    down = [onus[0], *(onu(f"HWTC0000000{n}", DOWN, parent="pon/1") for n in (1,)), *onus[2:]]
    await keeper.keep(reading(300, pon, *down, target="snmp/olt", identity="olt"))
    return keeper


async def test_an_onu_that_is_down_is_an_outage_of_one(agent: Agent) -> None:
    await network(agent)
    desk = desk_of(agent)
    view = await desk.outages()
    (cause,) = view.causes
    assert (cause.kind, cause.services) == (CauseKind.DOWN, ("C-1/home",))
    assert (cause.upstream, cause.upstream_port) == ("snmp/core", "0/1"), "as the device calls it"
    assert (view.services, view.found, view.rooted, len(view.devices)) == (4, 4, True, 2)
    assert view.parts["onu", "down"] == 1
    assert set(await desk.cut_off()) == {"C-1/home"}
    found = desk.line_of(ALL[1])
    assert found.line.line is not None
    assert (found.line.line.part.state, found.causes) == (DOWN, {})


async def test_links_say_how_they_are_known(agent: Agent) -> None:
    keeper = await network(agent)
    forged = Neighbor("core", "", "7", "", "", "", port="port/7", remote_port="0/1")
    await keeper.keep(reading(0, port("7"), target="snmp/sw", identity="sw", neighbors=(forged,)))
    desk = desk_of(agent)
    assert desk.links("snmp/olt") == [ShownLink("eth0", "snmp/core", "0/1", "both ends")]
    assert desk.links("snmp/sw") == [ShownLink("7", "snmp/core", "", "one end")]
    assert len((await desk.outages()).claims) == 1
    terms = LineTerms(("core",), None, (ConfiguredUpstream("sw", "core", "0/1"), ConfiguredUpstream("nobody", "core")))
    told = LineDesk(agent.store, clock_at(), terms, MappingFile(None), dict, no_hints)
    assert told.links("snmp/sw") == [
        ShownLink("", "snmp/core", "0/1", "configured"),
        ShownLink("7", "snmp/core", "", "one end"),
    ]
    assert (await told.outages()).problems == (
        "[lines] upstreams: no device called nobody was read, or several are called so",
    )


async def test_the_cause_of_a_line_is_fresh_without_being_asked_for(agent: Agent) -> None:
    await network(agent)
    desk = desk_of(agent)
    await desk.refresh()
    assert desk.line_of(ALL[0]).causes == {}
    for _ in range(2):
        await agent.store.run(states.RecordUnread("snmp/olt", "no answer", AT + 410, silent=True))
    await desk.refresh()
    (cause,) = desk.line_of(ALL[0]).causes.values()
    assert (cause.kind, cause.target) == (CauseKind.SILENT, "snmp/olt")


async def test_a_silent_device_is_the_cause_of_its_lines(agent: Agent) -> None:
    keeper = await network(agent)
    for n in (1, 2):
        await keeper.failed("snmp/olt", "unreachable, or wrong secret", AT + 300 + 60 * n, silent=True)
    desk = desk_of(agent)
    (cause,) = (await desk.outages()).causes
    assert (cause.kind, len(cause.services)) == (CauseKind.SILENT, 4)
    found = desk.line_of(ALL[0])
    assert [one.target for one in found.causes.values()] == ["snmp/olt"]
    assert found.devices["snmp/olt"].silent


async def test_views_are_shared_while_they_are_young(agent: Agent) -> None:
    await network(agent)
    clock = clock_at()
    desk = desk_of(agent, clock)
    first = await desk.outages()
    assert await desk.outages() is first
    clock.step_wall(30)
    assert await desk.outages(60) is first
    assert await desk.outages() is not first
    clock.step_wall(-3600)
    assert (await desk.outages(60)).made_s < first.made_s, "the clock was set back"


async def test_a_large_network_has_states_of_now_and_older_lines(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "QUICK_S", -1.0)  # every network is large
    keeper = await network(agent)
    clock = clock_at()
    desk = desk_of(agent, clock)
    assert (await desk.outages()).found == 4
    found: list[str] = []
    real = LineFinder.find

    def find(self: LineFinder, service: Service, hints: Iterable[Hint] = ()) -> ServiceLine:
        found.append(service.ref)
        return real(self, service, hints)

    monkeypatch.setattr(LineFinder, "find", find)
    pon = Part("pon/1", PartKind.PON, "0/1")
    onus = [onu(f"HWTC0000000{n}", DOWN if n < 2 else UP, parent="pon/1") for n in range(4)]
    await keeper.keep(reading(420, pon, *onus, target="snmp/olt", identity="olt"))
    clock.step_wall(30)
    assert set((await desk.outages()).cut) == {"C-0/home", "C-1/home"}, "what is down is of now"
    assert found == []
    clock.step_wall(desk_module.HUNG_S)
    await desk.outages()
    assert len(found) == 4
    clock.step_wall(-3600)
    await desk.outages()
    assert len(found) == 8, "the clock was set back"


async def test_nothing_is_known_without_devices(agent: Agent) -> None:
    desk = desk_of(agent)
    view = await desk.outages()
    assert (view.causes, view.devices, view.cut) == ((), {}, {})
    assert not desk.line_of(ALL[0]).known
    assert desk.device("snmp/olt") is None


async def test_a_device_is_shown_with_its_parts_and_notifications(agent: Agent) -> None:
    await network(agent)
    shown = present(desk_of(agent).device("snmp/olt"))
    device, parts, events = shown
    assert (device.identity, len(parts), events) == ("olt", 5, [])


async def test_a_sessions_address_outlives_it_until_the_service_ends(agent: Agent) -> None:
    keeper = await network(agent)
    desk = desk_of(agent)
    macs = (SeenMac(MAC, "port/7"),)
    await keeper.keep(reading(300, port("7"), target="snmp/sw", identity="sw", macs=macs))
    plain = Service("C-0/home", "C-0", "Amina", "home", "u0", "pppoe", "20M")
    assert desk.line_of(plain).line.line is None
    found = [("C-0/home", "020000000001", "session on bng-1"), ("C-9/home", "020000000009", "session on bng-1")]
    await desk.note_macs(found)
    await desk.note_macs(found)
    line = present(desk.line_of(plain).line.line)
    assert "session on bng-1" in line.how[0]
    assert [row[:2] for row in states.service_macs(agent.store.query)] == [("C-0/home", "020000000001")]
    more = tuple(("C-0/home", f"02000000010{n}", "session") for n in range(9))
    await agent.store.run(RecordServiceMacs(more, 1_900_000_000))
    assert len(states.service_macs(agent.store.query, "C-0/home")) == SERVICE_MACS_MAX


async def test_every_session_that_a_round_sees_leads_to_a_line(agent: Agent) -> None:
    keeper = await network(agent)
    desk = desk_of(agent)
    await keeper.keep(reading(300, port("7"), target="snmp/sw", identity="sw", macs=(SeenMac(MAC, "port/7"),)))
    plain = Service("C-0/home", "C-0", "Amina", "home", "u0", "pppoe", "20M")
    facts = {"sid": "8101", "mac": "02-00-00-00-00-01"}
    session = LiveSession("bng-1", "accounting", AT, "100.64.0.1", facts, None, ProofReason.NOT_TOLD)
    await desk.note_sessions([("C-0/home", session)])
    line = present(desk.line_of(plain).line.line)
    assert "session on bng-1" in line.how[0]


async def test_what_other_systems_know_counts(agent: Agent) -> None:
    await network(agent)
    hint = Hint(HintKind.SERIAL, "HWTC00000002", "CPE x")
    desk = LineDesk(
        agent.store, clock_at(), LineTerms(), MappingFile(None), dict, lambda _query, _service: {"C-9/home": [hint]}
    )
    line = present(desk.line_of(Service("C-9/home", "C-9", "Amina", "home", "u9", "pppoe", "20M")).line.line)
    assert line.part.key == "onu/HWTC00000002"


class Teller:
    """A connector that tells one event."""

    targets = ()

    def __init__(self, told: LineEvent) -> None:
        self.told = told
        self.durable = trio.Event()

    async def listen(self, heard) -> None:  # type: ignore[no-untyped-def]  # the protocol has its type
        await heard(self.told)
        self.durable.set()
        await trio.sleep_forever()


async def test_notification_is_state_before_its_sender_is_answered(agent: Agent) -> None:
    keeper = LineKeeper(agent.store)
    await keeper.keep(reading(0, port("1", index=7)))
    polled: list[str] = []
    teller = Teller(event(60, EventKind.PART_DOWN, "id-1", index=7, authenticated=True))
    connectors: list[Connector] = [teller]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listening(connectors, agent.store, polled.append).run)
        with trio.fail_after(60):
            await teller.durable.wait()
        known = states.part(agent.store.query, "snmp/sw-1", "port/1")
        nursery.cancel_scope.cancel()
    assert known is not None
    assert (known.state, polled) == (DOWN, [])


async def test_an_unproven_notification_only_polls_its_device(agent: Agent) -> None:
    await agent.store.run(states.RecordDeviceReading(reading(0, port("1", index=7))))
    polled: list[str] = []
    down, other = EventKind.PART_DOWN, EventKind.OTHER
    for index, kind in ((7, down), (7, down), (9, down), (7, other)):
        teller = Teller(event(60, kind, f"id-{index}-{kind.value}", index=index))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Listening([teller], agent.store, polled.append).run)
            with trio.fail_after(60):
                await teller.durable.wait()
            nursery.cancel_scope.cancel()
    known = present(states.part(agent.store.query, "snmp/sw-1", "port/1"))
    assert (known.state, known.how) == (UP, StateHow.UNPROVEN)
    assert polled == ["snmp/sw-1"], "once for a repeated one, and not for ports that nobody knows"


async def test_a_device_that_refuses_cuts_nobody_off(agent: Agent) -> None:
    keeper = await network(agent)
    for n in (1, 2):
        await keeper.failed("snmp/olt", "wrong secret", AT + 300 + 60 * n, silent=False)
    desk = desk_of(agent)
    view = await desk.outages()
    (cause,) = view.causes
    assert (cause.kind, cause.since_s, cause.detail, len(cause.services)) == (
        CauseKind.UNREAD,
        AT + 360,
        "wrong secret",
        4,
    )
    assert not view.cut
    await keeper.failed("snmp/olt", "unreachable, or wrong secret", AT + 480, silent=True)
    olt = (await desk_of(agent).outages()).devices["snmp/olt"]
    assert (olt.silent, olt.refuses) == (False, False), "one lost packet is no silence yet"
