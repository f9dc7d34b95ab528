"""Routers of the lab under the conformance suite, one for each access method."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

import trio

from agent.changes.engine.sessions import Sessions
from agent.connectors import routeros
from agent.connectors.base import Connector, Session
from agent.connectors.routeros.schema import (
    DhcpMethod,
    HotspotMethod,
    PppMethod,
    RouterMethod,
    RouterosConfig,
    RouterTarget,
    StaticMethod,
)
from agent.model import Access, Address, ProofKind, Service, Step, Target
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.agent.connectors.conformance import AccessLab, effect_of, kick_step, plan_for, seen_for, write_step
from tests.builders.connector import context

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
    """The write suspends an offline user, the effect ends the session of an online one."""

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


def isp_router(version: str = "7.20.8", clock: Callable[[], float] = time.time) -> Router:
    """A router with two tariffs, a suspended profile whose list is dropped above FastTrack, and two secrets."""
    router = Router(version, clock=clock)
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
    """The same with static leases, where a write holds at once.

    Its clock stands: a lease tells its age in seconds, and two readings of it are to be equal however slow they are.
    """
    now_s = time.time()
    router = isp_router(version, lambda: now_s)
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
