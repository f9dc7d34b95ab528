"""The conformance suite over every registered connector, and over two fakes: one dials, one's devices call in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agent.changes.engine.sessions import Sessions
from agent.connectors import radius, registry, routeros, snmp
from agent.connectors.base import Changes, Connector, Reach, Session
from agent.connectors.radius.dictionary import profile
from agent.connectors.radius.schema import Method, Nas, RadiusConfig
from agent.connectors.routeros.schema import (
    DhcpMethod,
    HotspotMethod,
    PppMethod,
    RouterMethod,
    RouterosConfig,
    RouterTarget,
    StaticMethod,
)
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.credential import SnmpVersion
from agent.cpe_model.addresses import TableRow, address, row_address
from agent.model import (
    Access,
    Address,
    Direction,
    Effect,
    ProofKind,
    Replay,
    SecretRef,
    Service,
    Step,
    Target,
    Ticket,
    Transition,
)
from lab.cpe.model import Model
from lab.cpe.quirks import Quirks
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.server import open_snmp_lab
from lab.snmp.values import Value
from lab.tests.snmp.devices import switch as lab_switch
from tests.agent.connectors.conformance import (
    ACCESS_CHECKS,
    CHECKS,
    AccessLab,
    Lab,
    effect_of,
    kick_step,
    plan_for,
    seen_for,
    write_step,
)
from tests.agent.connectors.radius.fakes import SECRET, UdpNas, attributes_of, reply
from tests.builders.acs import SHARED, AcsRig, opened, until
from tests.builders.connector import context
from tests.builders.expect import expect, present
from tests.builders.world import FakeConnector, World
from tests.servers import RadiusDatabase

SILENT_S = 1.5
"""How long an answer that was lost is waited for, seconds."""


def service(login: str, method: str, tariff: str) -> Service:
    return Service(f"C-{login}/home", f"C-{login}", login, "home", login, method, tariff)


@dataclass
class BaseLab:
    """Sessions through `Sessions`, as the agent has them; a device that calls in is called for."""

    connector: Connector
    unknown: Address
    secrets: tuple[str, ...] = ()
    silent_s: float = float("inf")

    @property
    def targets(self) -> Sequence[Target]:
        return self.connector.targets

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        target = self.targets[0]
        sessions = Sessions({target.kind: self.connector})
        async with trio.open_nursery() as nursery:
            await sessions.host(nursery)
            await self.arrive(nursery)
            async with sessions.use(target.id) as session:
                yield session
            nursery.cancel_scope.cancel()

    async def arrive(self, nursery: trio.Nursery) -> None:
        """Let the device call in."""

    async def rest(self, session: Session) -> None:
        """A dialed device has finished when it answers."""
        await trio.lowlevel.checkpoint()


@dataclass
class BaseAccessLab(BaseLab):
    """The write suspends who is offline, the effect ends the session of who is online."""

    _: KW_ONLY
    online: Service
    offline: Service

    async def reads(self, session: Session) -> Collection[Address]:
        seen = [await seen_for(self, session, service) for service in (self.online, self.offline)]
        return list(dict.fromkeys(address for each in seen for address in each))

    async def write(self, session: Session) -> Step:
        return write_step(await plan_for(self, session, self.offline, Access.SUSPENDED))

    async def effect(self, session: Session) -> Step:
        step = kick_step(await plan_for(self, session, self.online, Access.SUSPENDED))
        assert effect_of(step).proof is ProofKind.GONE
        return step

    def drift(self) -> None:
        raise NotImplementedError

    def lose_reply(self) -> None:
        raise NotImplementedError

    def lose_command(self) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        raise NotImplementedError


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

FILTER = "/ip/firewall/filter"


@dataclass
class RouterLab(BaseAccessLab):
    """`rows` is the menu where subscribers stand, by the property `key`; `running` where what they have open is."""

    router: Router = field(default_factory=Router)
    rows: str = "/ppp/secret"
    key: str = "name"
    running: str = "/ppp/active"

    def drift(self) -> None:
        (row,) = [r for r in self.router.rows(self.rows) if r.get(self.key) == self.offline.login]
        self.router.set(self.rows, row[".id"], comment="somebody else was here")

    def lose_reply(self) -> None:
        self.router.faults.inject("reply-lost", match=f"{self.running}/remove")

    def lose_command(self) -> None:
        self.router.faults.inject("command-lost", match=f"{self.running}/remove")

    def mend(self) -> None:
        self.router.faults.clear()


def isp_router(version: str = "7.20.8") -> Router:
    """A router with two tariffs, a suspended profile whose list is dropped above FastTrack, and two secrets."""
    router = Router(version)
    router.add("/ip/pool", name="cgnat", ranges="100.64.12.2-100.64.12.250")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M", local_address="100.64.12.1", remote_address="cgnat")
    suspended = {"address_list": "suspended", "local_address": "100.64.12.1", "remote_address": "cgnat"}
    router.add("/ppp/profile", name="suspended", **suspended)
    router.add(FILTER, chain="forward", action="drop", src_address_list="suspended")
    router.add(FILTER, chain="forward", action="fasttrack-connection", connection_state="established,related")
    for login in ("amina.h", "bob"):
        router.add("/ppp/secret", name=login, password="wonder-password", profile="home20", service="pppoe")
    router.add("/user", name="ispagents", password="api-password", group="full")
    router.plug_in("amina.h", "wonder-password")
    return router


def hotspot_router(version: str) -> Router:
    """The same for a hotspot: its user is logged in since a minute, by a whole second, without cookie or connection."""
    router = isp_router(version)
    router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.99")
    router.add("/ip/hotspot/profile", name="hsprof1", login_by="http-chap")
    router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
    router.add("/ip/hotspot/user/profile", name="home20", rate_limit="20M/20M")
    router.add("/ip/hotspot/user/profile", name="suspended", address_list="suspended")
    for login in ("amina.h", "bob"):
        router.add("/ip/hotspot/user", name=login, password="wonder-password", profile="home20")
    host = router.plug_in_hotspot(user="amina.h", password="wonder-password")
    assert host.session is not None
    host.session.started = float(int(host.session.started) - 60)  # a session is known by when it began
    router.flows.close(host.flows[0])  # a suspension ends one session, and nothing else
    return router


LEASES = {"amina.h": "02:00:00:00:AA:01", "bob": "02:00:00:00:AA:02"}


def dhcp_router(version: str) -> Router:
    """The same with static leases; what is written to one holds at once."""
    router = isp_router(version)
    router.add("/ip/pool", name="lan", ranges="10.1.0.10-10.1.0.19")
    router.add("/ip/dhcp-server", name="d1", interface="ether3", address_pool="lan", lease_time="10m", disabled="no")
    for n, mac in enumerate(LEASES.values(), start=50):
        row = {"mac_address": mac, "address": f"10.1.0.{n}", "rate_limit": "20M/20M", "comment": "house"}
        router.add("/ip/dhcp-server/lease", server="d1", **row)
    router.dhcp.applies = "at-once"
    router.plug_in_dhcp(LEASES["amina.h"])
    router.dhcp.release(router.plug_in_dhcp(LEASES["bob"]))  # was there, and left: the router knows that he is offline
    return router


@asynccontextmanager
async def serving(router: Router, method: RouterMethod) -> AsyncIterator[Connector]:
    """A connector to the router `edge-1`, with one method."""
    async with trio.open_nursery() as nursery:
        endpoint: Endpoint = await nursery.start(partial(serve, router, tls=True))
        target = RouterTarget(
            "edge-1",
            endpoint.host,
            endpoint.port,
            "ispagents",
            "edge-1",
            fingerprint=bytes.fromhex(endpoint.fingerprint),
            serial=router.serial,
            timeout_s=20.0,
        )
        config = RouterosConfig((target,), (method,))
        yield routeros.SPEC.make(config, context({"edge-1": b"api-password"}))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def router_lab(
    router: Router, method: RouterMethod, logins: tuple[str, str] = ("amina.h", "bob"), **lab: Any
) -> AsyncIterator[AccessLab]:
    """A router with subscribers of one method; `lab` is where they stand."""
    async with serving(router, method) as connector:
        on, off = (service(login, method.name, "Home 20M") for login in logins)
        options = {"secrets": ("wonder-password", "api-password"), "silent_s": SILENT_S} | lab
        nobody = Address("routeros/edge-1/ppp/secret/nobody")
        yield RouterLab(connector, nobody, online=on, offline=off, router=router, **options)


@dataclass
class StaticLab(RouterLab):
    """A host with a fixed address and one connection, and one that is switched off."""

    def drift(self) -> None:
        self.router.add("/ip/firewall/address-list", list="suspended", address=self.offline.login, comment="by hand")

    def lose_reply(self) -> None:
        self.router.faults.inject("reply-lost", match="/ip/firewall/connection/remove")

    def lose_command(self) -> None:
        self.router.faults.inject("command-lost", match="/ip/firewall/connection/remove")


@asynccontextmanager
async def static_lab(version: str = "7.20.8") -> AsyncIterator[AccessLab]:
    router = isp_router(version)
    router.plug_in_host(["192.0.2.7"])
    method = StaticMethod("static", "routeros/edge-1", {"Home 20M": ""}, suspended_list="suspended")
    async with serving(router, method) as connector:
        on, off = (service(login, "static", "Home 20M") for login in ("192.0.2.7", "192.0.2.8"))
        # It reads no secret: nobody's password is in address lists
        nobody = Address("routeros/edge-1/ip/list/192.0.2.9 suspended")
        yield StaticLab(connector, nobody, silent_s=SILENT_S, online=on, offline=off, router=router)


TARIFFS = {"Home 20M": "home20"}


def ppp_lab(version: str = "7.20.8") -> AbstractAsyncContextManager[AccessLab]:
    return router_lab(isp_router(version), PppMethod("ppp", "routeros/edge-1", "suspended", TARIFFS))


def hotspot_lab(version: str) -> AbstractAsyncContextManager[AccessLab]:
    method = HotspotMethod("hotspot", "routeros/edge-1", TARIFFS, "suspended")
    return router_lab(hotspot_router(version), method, rows="/ip/hotspot/user", running="/ip/hotspot/active")


def dhcp_lab(version: str) -> AbstractAsyncContextManager[AccessLab]:
    method = DhcpMethod("dhcp", "routeros/edge-1", {"Home 20M": "20M/20M"}, "suspended")
    rows = {"rows": "/ip/dhcp-server/lease", "key": "mac-address", "running": "/ip/firewall/connection"}
    # A lease has no secret
    return router_lab(dhcp_router(version), method, (LEASES["amina.h"], LEASES["bob"]), secrets=(), **rows)


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
