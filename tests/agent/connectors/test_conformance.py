"""The conformance suite over every registered connector, and over two fakes: one dials, one's devices call in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agent.connectors import radius, registry, snmp
from agent.connectors.base import Changes, Reach, Session
from agent.connectors.radius.dictionary import profile
from agent.connectors.radius.schema import Method, Nas, RadiusConfig
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.credential import SnmpVersion
from agent.cpe_model.addresses import TableRow, address, row_address
from agent.model import Address, Direction, Effect, ProofKind, Replay, SecretRef, Step, Target, Ticket, Transition
from lab.cpe.model import Model
from lab.cpe.quirks import Quirks
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.server import open_snmp_lab
from lab.snmp.values import Value
from lab.tests.snmp.devices import switch as lab_switch
from tests.agent.connectors.conformance import ACCESS_CHECKS, CHECKS, AccessLab, Lab, effect_of
from tests.agent.connectors.radius.fakes import SECRET, UdpNas, attributes_of, reply
from tests.agent.connectors.router_labs import (
    SILENT_S,
    BaseAccessLab,
    BaseLab,
    dhcp_lab,
    hotspot_lab,
    ppp_lab,
    service,
    static_lab,
)
from tests.builders.acs import SHARED, AcsRig, opened, until
from tests.builders.connector import context
from tests.builders.expect import expect, present
from tests.builders.world import FakeConnector, World
from tests.servers import RadiusDatabase


@dataclass
class FakeLab(BaseAccessLab):
    world: World = field(default_factory=World)

    async def arrive(self, nursery: trio.Nursery) -> None:
        connector = expect(FakeConnector, self.connector)

        async def call() -> None:
            await wait_all_tasks_blocked()
            connector.calls_in.set()

        nursery.start_soon(call)

    def drift(self) -> None:
        self.world.values[self.world.user(self.offline.login)] = {"plan": "drifted"}

    def lose_reply(self) -> None:
        self.world.faults[self.online.login] = ["reply-lost"]

    def lose_command(self) -> None:
        self.world.faults[self.online.login] = ["command-lost"]

    def mend(self) -> None:
        self.world.faults.clear()


@asynccontextmanager
async def fake_lab(reach: Reach) -> AsyncIterator[AccessLab]:
    world = World()
    world.add("amina.h")
    world.add("bob", online=False)
    connector = FakeConnector(world, reach)
    on, off = (service(login, "fake", "20M") for login in ("amina.h", "bob"))
    yield FakeLab(connector, Address("fake/d/user/nobody"), online=on, offline=off, world=world)


# --- RADIUS: a SQLite lab database, and a NAS that ends sessions and lets them redial ---


SESSION_NOT_FOUND = bytes([101, 6]) + (503).to_bytes(4, "big")
"""Error-Cause (RFC 5176 section 3.5)."""


@dataclass
class RadiusLab(BaseAccessLab):
    database: RadiusDatabase | None = None
    fault: str = ""
    dialed: int = 0

    def db(self) -> RadiusDatabase:
        assert self.database is not None
        return self.database

    def dial_in(self, login: str) -> None:
        suspended = self.db().run("SELECT 1 FROM radusergroup WHERE username = %s AND groupname = 'suspended'", login)
        self.dialed += 1
        unique, now = f"u{self.dialed}", datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        self.db().run(
            "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, framedipaddress, acctstarttime)"
            " VALUES (%s, %s, %s, '10.0.0.1', %s, %s)",
            f"sid-{unique}", unique, login, "10.66.0.7" if suspended else "100.64.12.9", now,
        )  # fmt: skip

    def answer(self, request: bytes) -> list[bytes]:
        """What the NAS does with a Disconnect-Request (it runs in the NAS' thread)."""
        if self.fault == "command":
            return []
        asked = {code: value.decode(errors="replace") for code, value in attributes_of(request)}
        found = self.db().run(
            "SELECT username, acctsessionid FROM radacct WHERE username = %s AND acctstoptime IS NULL", asked[1]
        )
        found = [row for row in found if asked.get(44, row[1]) == row[1]]
        if not found:
            return [] if self.fault else [reply(request, ack=False, attributes=SESSION_NOT_FOUND)]
        for _, sid in found:
            now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
            self.db().run("UPDATE radacct SET acctstoptime = %s WHERE acctsessionid = %s", now, sid)
            self.dial_in(found[0][0])
        return [] if self.fault else [reply(request, ack=True)]

    def drift(self) -> None:
        self.db().run_many(
            "INSERT INTO radreply (username, attribute, op, value) VALUES (%s, 'Session-Timeout', ':=', %s)",
            [(self.offline.login, "3600")],
        )

    def lose_reply(self) -> None:
        self.fault = "reply"

    def lose_command(self) -> None:
        self.fault = "command"

    def mend(self) -> None:
        self.fault = ""


@asynccontextmanager
async def radius_lab(database: RadiusDatabase) -> AsyncIterator[AccessLab]:
    database.add_group("home20", [("Mikrotik-Rate-Limit", ":=", "20M/20M")])
    database.add_group("suspended", [("Mikrotik-Address-List", ":=", "suspended")])
    for login in ("amina.h", "bob"):
        database.add_user(login, "wonder-password", {"home20": 1})
    on, off = (service(login, "pppoe", "Home 20M") for login in ("amina.h", "bob"))
    unknown = Address("radius/main/user/nobody")
    clear = ("wonder-password", SECRET.decode())
    lab = RadiusLab(FakeConnector(World()), unknown, clear, SILENT_S, online=on, offline=off, database=database)
    lab.dial_in("amina.h")
    with UdpNas(lab.answer).run() as nas:
        config = RadiusConfig(
            (replace(database.target(secret="db"), timeout_s=20.0),),
            (Nas("bng-1", "10.0.0.1", "127.0.0.1", nas.port, "nas"),),
            (Method("pppoe", "radius/main", {"Mikrotik-Address-List": "suspended"}, {"Home 20M": "home20"}),),
        )
        secrets = {"db": database.password.encode(), "nas": SECRET}
        lab.connector = radius.SPEC.make(config, context(secrets))
        yield lab


# --- CWMP: the lab's CPE, which calls in when it is switched on, and when `rest` has it do so ---


@dataclass
class CwmpLab(BaseLab):
    _: KW_ONLY
    rig: AcsRig
    passphrases: Mapping[str, str]

    @property
    def targets(self) -> Sequence[Target]:
        return (Target(f"cwmp/{self.rig.name()}", "cwmp"),)

    def at(self, what: str) -> Address:
        return address(self.rig.line.target.id, what if what.startswith("@") else self.rig.path(what))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with super().session() as session:
            await self.rig.keep(self.passphrases)  # it was reset: what it took before that is forgotten
            yield session

    async def arrive(self, nursery: trio.Nursery) -> None:
        await self.rig.connector.port.wait()
        self.rig.nursery = nursery
        nursery.start_soon(self.rig.plug_in)

    async def rest(self, session: Session) -> None:
        """A reboot is over when it said so; without one, a CPE that dropped the line calls again after a while."""
        line = self.rig.connector.line(self.rig.name())
        cpe = self.rig.cpe
        if line.live is None and not cpe.device.rebooting and not cpe.device.wants_session:
            cpe.device.add_event("2 PERIODIC")
        boots = 1 + sum(not done.fault for done in cpe.executed("Reboot"))
        await until(lambda: line.live is not None and cpe.device.boots == boots)

    async def reads(self, session: Session) -> Collection[Address]:
        row = TableRow(self.rig.ports, {self.rig.port_key: "8080"}, ("InternalPort", "InternalClient"))
        names = ("wifi.1.ssid", "wifi.1.key", "wifi.1.channel", "wifi.1.auto-channel", "wan.ppp.username")
        ping = present(self.rig.connector.line(self.rig.name()).profile().diagnostic("ping"))
        told = [self.at(what) for what in ("@boots", "@resets", "@firmware", f"@run:{ping.path}")]
        return [*map(self.at, names), *told, row_address(self.rig.line.target.id, row)]

    async def write(self, session: Session) -> Step:
        where = [self.at(name) for name in ("wifi.1.ssid", "wifi.1.key", "wifi.1.auto-channel")]
        before = await session.read(where)
        after = ({"value": "Amina"}, {"value": SecretRef(self.rig.commits["new"])}, {"value": "false"})
        writes = tuple(Transition(a, before[a], v) for a, v in zip(where, after, strict=True))
        return Step(1, self.targets[0].id, writes)

    async def effect(self, session: Session) -> Step:
        reboot = Effect(self.at("@boots"), "reboot", {}, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 60)
        return Step(1, self.targets[0].id, reboot)

    def drift(self) -> None:
        self.rig.cpe.device.put(self.at("wifi.1.ssid").split("/")[2], "by its owner")

    def lose_reply(self) -> None:
        self.rig.cpe.device.quirks = Quirks(loses_answer_on=("Reboot",))

    def lose_command(self) -> None:
        self.rig.cpe.device.quirks = Quirks(cut_on=("Reboot",))
        self.rig.cpe.device.add_event("2 PERIODIC")  # so that it calls again once it was cut off

    def mend(self) -> None:
        self.rig.cpe.device.quirks = Quirks()


@asynccontextmanager
async def cwmp_lab(folder: Path, model: Model) -> AsyncIterator[Lab]:
    with opened(folder) as book:
        rig = AcsRig(book, model)
        await rig.known()
        passphrases = {"old": "correct horse battery", "new": "a better passphrase"}
        clear = (*passphrases.values(), SHARED)
        yield CwmpLab(rig.connector, rig.at("NoSuch.Parameter"), clear, rig=rig, passphrases=passphrases)


# --- RouterOS: the lab's router over TLS, with subscribers who come back by themselves ---


# --- SNMP: the lab's switch, a port of which is switched, and another one's power is cycled ---


@dataclass
class SnmpSwitchLab(BaseLab):
    _: KW_ONLY
    switch: Device

    def at(self, port: str, what: str) -> Address:
        return Address(f"snmp/sw-1/if/{port}/{what}")

    async def reads(self, session: Session) -> Collection[Address]:
        whats = ("admin", "alias", "power", "now", "way", "power-cycle")
        return [Address("snmp/sw-1/identity"), Address("snmp/sw-1/if"), *(self.at("ge-2", what) for what in whats)]

    async def write(self, session: Session) -> Step:
        wanted = {self.at("ge-2", "admin"): {"admin": "down"}, self.at("ge-2", "alias"): {"alias": "Çukur 7"}}
        before = await session.read(list(wanted))
        return Step(1, "snmp/sw-1", tuple(Transition(a, before[a], after) for a, after in wanted.items()))

    async def effect(self, session: Session) -> Step:
        args = {"off-s": "1", "ends": "on"}
        cycle = Effect(
            self.at("ge-3", "power-cycle"), "power-cycle", args, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 9
        )
        return Step(1, "snmp/sw-1", cycle)

    def drift(self) -> None:
        self.switch.links.switch(self.switch.links.find("ge-2"), False, self.switch.clock())

    def lose_reply(self) -> None:
        """Nobody hears of either SET; from the second one on nothing is heard of the switch at all."""
        column = self.switch.writable[POE_ADMIN]

        def wrote(index: str, value: Value, now: float) -> None:
            column.wrote(index, value, now)
            self.switch.faults.silence = value.number() == 1

        self.switch.writable = {**self.switch.writable, POE_ADMIN: replace(column, wrote=wrote)}
        self.switch.faults.set_lost = True

    def lose_command(self) -> None:
        self.switch.faults.set_dropped = True

    def mend(self) -> None:
        self.switch.faults.clear()

    async def rest(self, session: Session) -> None:
        self.mend()
        ticket = Ticket(
            "0" * 32, 1, 1, Direction.FORWARD, 1, "snmp/sw-1", effect_of(await self.effect(session)), {}, 0.0
        )
        await session.finish(ticket)  # type: ignore[attr-defined]  # as the engine does where a reply was lost


@asynccontextmanager
async def snmp_lab() -> AsyncIterator[Lab]:
    switch = lab_switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    async with open_snmp_lab([switch]) as lab:
        read, write = (SnmpAccess(name, SnmpVersion.V2C, name) for name in ("read", "write"))
        device = SnmpDevice("sw-1", lab.address, lab.port, read, timeout_s=SILENT_S, retries=0, write=write)
        secrets = {"read": b"sw-1", "write": b"sw-1-write"}
        connector = snmp.SPEC.make(SnmpConfig((device,), (read, write)), context(secrets))
        # It reads no secret: none is in what a port is
        yield SnmpSwitchLab(connector, Address("snmp/sw-1/if/ge-9/admin"), switch=switch)


ACCESS_LABS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[AccessLab]]] = {
    "fake-dial": lambda _: fake_lab(Reach.DIAL),
    "fake-arrive": lambda _: fake_lab(Reach.ARRIVE),
    "routeros": lambda _: ppp_lab(),
    "routeros-7.15": lambda _: ppp_lab("7.15.3"),
    "routeros-7.24": lambda _: ppp_lab("7.24"),
    "routeros-dhcp": lambda _: dhcp_lab("7.20.8"),
    "routeros-dhcp-7.15": lambda _: dhcp_lab("7.15.3"),
    "routeros-dhcp-7.24": lambda _: dhcp_lab("7.24"),
    "routeros-hotspot": lambda _: hotspot_lab("7.20.8"),
    "routeros-hotspot-7.15": lambda _: hotspot_lab("7.15.3"),
    "routeros-hotspot-7.24": lambda _: hotspot_lab("7.24"),
    "routeros-static": lambda _: static_lab(),
    "routeros-static-7.15": lambda _: static_lab("7.15.3"),
    "routeros-static-7.24": lambda _: static_lab("7.24"),
    "radius": lambda request: radius_lab(request.getfixturevalue("sqlite_radius")),
}
DEVICE_LABS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Lab]]] = {
    "cwmp": lambda request: cwmp_lab(request.getfixturevalue("tmp_path"), tr181()),
    "cwmp-tr098": lambda request: cwmp_lab(request.getfixturevalue("tmp_path"), tr098()),
    "snmp": lambda _: snmp_lab(),
}
"""Of connectors without access recipes."""
LABS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Lab]]] = {**ACCESS_LABS, **DEVICE_LABS}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """NAS profiles as shipped, with time-outs for a busy machine."""
    timed = lambda name: replace(profile(name), timeout_s=10.0, retries=2)  # noqa: E731  one expression
    monkeypatch.setattr("agent.connectors.radius.connector.profile", timed)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices of the lab confirm no lost command, and what they lost takes no effect later: both is waited for."""
    monkeypatch.setattr("agent.connectors.routeros.limits.CANCEL_S", 0.1)
    for module in ("session", "connector"):
        monkeypatch.setattr(f"agent.connectors.routeros.{module}.SETTLE_S", 0.2)
    for name in ("SETTLE_S", "LOOKS_S", "DELIVERS_S"):
        monkeypatch.setattr(f"agent.connectors.snmp.port_session.{name}", 0.3)
    monkeypatch.setattr("agent.connectors.snmp.port_session.POWER_TRIES", 1)


def test_every_connector_that_changes_something_has_a_lab() -> None:
    assert {spec.name for spec in registry.specs() if Changes in spec.roles} <= set(LABS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", LABS)
async def test_conformance(name: str, check: Callable[[Lab], Awaitable[None]], request: pytest.FixtureRequest) -> None:
    async with LABS[name](request) as lab:
        with trio.fail_after(60):
            await check(lab)


@pytest.mark.parametrize("check", ACCESS_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", ACCESS_LABS)
async def test_access(name: str, check: Callable[[AccessLab], Awaitable[None]], request: pytest.FixtureRequest) -> None:
    async with ACCESS_LABS[name](request) as lab:
        with trio.fail_after(60):
            await check(lab)


@pytest.mark.parametrize("name", LABS)
async def test_who_has_recipes_has_an_access_lab(name: str, request: pytest.FixtureRequest) -> None:
    async with LABS[name](request) as lab:
        assert bool(lab.connector.access_methods) == (name in ACCESS_LABS)


@pytest.mark.parametrize("name", LABS)
async def test_reach(name: str, request: pytest.FixtureRequest) -> None:
    """Devices that call in arrive, wait to be lent, are lent, and end; what is dialed serves nobody."""
    async with LABS[name](request) as lab:
        log: list[str] = []
        there, may_go, leave = trio.Event(), trio.Event(), trio.Event()

        async def arrived(session: Session) -> None:
            assert session.target in lab.targets
            log.append("arrived")
            there.set()
            await may_go.wait()
            await session.read([lab.unknown])
            log.append("lent")
            leave.set()

        async with trio.open_nursery() as nursery:
            with trio.fail_after(60):
                if lab.connector.traits.reach is Reach.DIAL:
                    await lab.connector.serve(arrived)
                else:
                    nursery.start_soon(lab.connector.serve, arrived)
                    assert isinstance(lab, BaseLab)
                    await lab.arrive(nursery)
                    await there.wait()
                    await wait_all_tasks_blocked()
                    assert log == ["arrived"]  # it waits for as long as it takes
                    may_go.set()
                    await leave.wait()
            nursery.cancel_scope.cancel()
        assert log == ([] if lab.connector.traits.reach is Reach.DIAL else ["arrived", "lent"])
