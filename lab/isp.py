"""The whole ISP: database, RADIUS server, BNG with their subscribers online. `open_lab` runs it for a block.

The BNG are plain ones, which speak RADIUS alone, or routers with an API each (`LabOptions.routers`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

import trio

from lab import dynauth, population
from lab.database import Database, Dsn, Engine, create_sqlite, open_database
from lab.errors import LabError
from lab.nas import Nas, NasOptions
from lab.population import LabService, NasRow
from lab.radius_client import Endpoint
from lab.radius_server import RadiusServer, ServerOptions
from lab.router import server as router_server
from lab.router.device import Router
from lab.router.facts import parse_version
from lab.router_nas import RouterNas
from lab.routers import make_router
from lab.sessions import PoolPlan, Session, Subscription
from lab.snmp.network import Network, build_network, customers_of
from lab.snmp.server import Layout, SnmpLab, open_snmp_lab

NAS_MAX: Final = 16
GARDEN4: Final = (IPv4Network("10.99.0.0/16"),)
GARDEN6: Final = (IPv6Network("fd00:98::/32"), IPv6Network("fd00:99::/32"))


@dataclass(frozen=True, slots=True)
class LabOptions:
    """An ISP to open.

    `services`: how many lines the subscriber file has (some subscribers have two); `dsn` None: SQLite in `directory`;
    `database`: one that is open, in place of `dsn`.
    `radius`: somebody else's server on the same tables (a real FreeRADIUS) in place of ours; `dial`: log everybody in.
    `routers`: the BNG are routers of `router_version`, with an API each. `snmp`: an access network that speaks SNMP.
    `clock`: unix seconds, of BNG, RADIUS and SNMP devices.
    """

    directory: Path
    services: int = 40
    nas: int = 2
    seed: int = 1
    dsn: Dsn | None = None
    database: Database | None = None
    radius: Endpoint | None = None
    dial: bool = True
    redial_delay_s: float = 0.2
    retry_s: float = 5.0
    retry_most_s: float = 0.0
    interim_s: int = 0
    latency_s: float = 0.0
    require_message_authenticator: bool = False
    timestamp_window_s: int = 300
    list_moves_pool: bool = True
    coa_address_list: bool = False
    routers: bool = False
    router_version: str = "7.20.8"
    snmp: bool = False
    clock: Callable[[], float] = time.time


def secret_of(seed: int, name: str) -> str:
    """A shared secret of the lab, 24 hex digits: the same for the same seed, so that a rehearsal can be repeated."""
    return hashlib.sha256(f"lab {seed} {name}".encode()).hexdigest()[:24]


def _plans(n: int) -> tuple[PoolPlan, PoolPlan]:
    """Pools of the n-th BNG, n from 0: normal and garden."""
    normal = PoolPlan(
        "normal",
        IPv4Network(f"100.64.{16 * n}.0/20"),
        IPv6Network(f"2001:db8:{0x100 + n:x}::/48"),
        IPv6Network(f"2001:db8:{0x4000 + 0x100 * n:x}::/40"),
    )
    garden = PoolPlan(
        "garden",
        IPv4Network(f"10.99.{16 * n}.0/20"),
        IPv6Network(f"fd00:99:{n:x}::/48"),
        IPv6Network(f"fd00:98:{0x100 * n:x}::/40"),
    )
    return normal, garden


def _nas_options(options: LabOptions, n: int) -> NasOptions:
    name = f"bng-{n + 1}"
    normal, garden = _plans(n)
    return NasOptions(
        name=name,
        accounting=f"10.255.0.{n + 1}",
        secret=secret_of(options.seed, name).encode(),
        normal=normal,
        garden=garden,
        list_moves_pool=options.list_moves_pool,
        redial_delay_s=options.redial_delay_s,
        retry_s=options.retry_s,
        retry_most_s=options.retry_most_s,
        interim_s=options.interim_s,
        latency_s=options.latency_s,
        require_message_authenticator=options.require_message_authenticator,
        timestamp_window_s=options.timestamp_window_s,
        changeable=(*dynauth.CHANGEABLE, *(("Mikrotik-Address-List",) if options.coa_address_list else ())),
    )


class Isp:
    """A running ISP, as a test or the control socket handles it.

    `routers` by the BNG's name, and where each one's API is (`endpoints`, TLS); empty where the BNG are plain ones.
    `network`: the access network, and `snmp`: where its devices answer; None: there is none.
    """

    def __init__(
        self, options: LabOptions, database: Database, radius: Endpoint, services: tuple[LabService, ...]
    ) -> None:
        self.options = options
        self.database = database
        self.radius = radius
        self.services = services
        self.nas: dict[str, Nas] = {}
        self.routers: dict[str, Router] = {}
        self.endpoints: dict[str, router_server.Endpoint] = {}
        self.network: Network | None = None
        self.snmp: SnmpLab | None = None

    def api_password(self, name: str) -> str:
        """The password of the API user `ispagents` on the router of that name."""
        return secret_of(self.options.seed, f"router {name}")

    @property
    def snmp_community(self) -> str:
        """The community by which all devices of the access network are read."""
        return secret_of(self.options.seed, "snmp")

    async def break_line(self, login: str) -> None:
        """Cut a subscriber's line, and with it the session; the CPE cannot dial until `mend_line`.

        Raises:
            LabError: no access network, or no such login.
        """
        self._line(login).cut(login)
        self.set_fault("no-redial", login)
        await self.hang_up(login)

    async def mend_line(self, login: str) -> None:
        """Let a line work again without the login's faults, and its CPE dial in.

        Raises as `break_line` does, and as `dial`.
        """
        self._line(login).mend(login)
        self.clear_faults(login)
        await self.dial(login)

    def _line(self, login: str) -> Network:
        if self.network is None:
            raise LabError(f"{login}: expected an ISP with an access network (snmp), got one without")
        return self.network

    def nas_of(self, login: str) -> Nas:
        """The BNG that a login's CPE hangs on.

        Raises:
            LabError: no such login.
        """
        for nas in self.nas.values():
            if nas.subscribed(login):
                return nas
        raise LabError(f"expected a login of this ISP, got {login!r}")

    def set_fault(self, text: str, login: str = "") -> None:
        """Put a fault in force for a login, or everywhere when `login` is empty.

        Raises:
            UnknownFaultError: no such fault.
            LabError: no such login.
        """
        for nas in [self.nas_of(login)] if login else self.nas.values():
            nas.set_fault(text, login)

    def clear_faults(self, login: str | None = None) -> None:
        """Take back a login's faults ('' for those of all), or every fault when `login` is None."""
        for nas in self.nas.values():
            nas.faults.clear(login)

    def sessions(self, login: str = "") -> tuple[Session, ...]:
        """The sessions now, of one login or all."""
        return tuple(s for nas in self.nas.values() for s in nas.sessions(login))

    async def dial(self, login: str) -> Session | None:
        """Let a CPE dial in; None: rejected. Raises as `Nas.dial` does."""
        return await self.nas_of(login).dial(login)

    async def hang_up(self, login: str) -> int:
        """End a login's sessions from the CPE's side; returns how many. Raises LabError for an unknown login."""
        return await self.nas_of(login).hang_up(login)


async def _open_tables(options: LabOptions, stack: AsyncExitStack, services: tuple[LabService, ...]) -> Database:
    database = options.database or await _open_by_dsn(options, stack)
    nas = [_nas_options(options, n) for n in range(options.nas)]
    rows = [NasRow(n.name, n.accounting, n.secret.decode()) for n in nas]
    # A directory that was used before goes on as it was left
    if not (await database.fetch("SELECT COUNT(*) FROM radcheck"))[0][0]:
        # A plain BNG moves a walled session by itself; a router does as RADIUS says
        garden = "garden" if options.routers and options.list_moves_pool else ""
        await database.write(lambda cursor: population.write_rows(cursor, services, rows, garden))
    return database


async def _open_by_dsn(options: LabOptions, stack: AsyncExitStack) -> Database:
    dsn = options.dsn or Dsn(Engine.SQLITE, path=str(options.directory / "radius.db"))
    if dsn.engine is Engine.SQLITE and not await trio.Path(dsn.path).exists():
        create_sqlite(Path(dsn.path))
    return await stack.enter_async_context(open_database(dsn))


async def _start_radius(options: LabOptions, database: Database, nursery: trio.Nursery) -> Endpoint:
    if options.radius is not None:
        return options.radius
    secret = secret_of(options.seed, "radius").encode()
    server = RadiusServer(database, ServerOptions(secret), options.clock)
    await nursery.start(server.run)
    return Endpoint("127.0.0.1", server.auth_port, server.acct_port, secret)


async def _start_nas(isp: Isp, n: int, nursery: trio.Nursery) -> Nas:
    options = _nas_options(isp.options, n)
    before = "SELECT COUNT(*), COUNT(acctstoptime) FROM radacct WHERE nasipaddress = ?"
    ((rows, closed),) = await isp.database.fetch(before, (options.accounting,))
    # The next start must not repeat a session id that the tables know
    boot = 1 + int(datetime.now(UTC).timestamp()) % 255 if rows else 1
    if isp.options.routers:
        nas: Nas = await _start_router(isp, options, boot, nursery, back_up=rows > closed)
    else:
        nas = Nas(options, isp.radius, isp.options.clock, boot=boot, back_up=rows > closed)
    await nursery.start(nas.run)
    nas.subscribe(Subscription(s.login, s.password, s.mac, s.chap) for s in isp.services if s.nas == n)
    return nas


async def _start_router(isp: Isp, options: NasOptions, boot: int, nursery: trio.Nursery, *, back_up: bool) -> Nas:
    router = make_router(options, isp.radius, isp.api_password(options.name), isp.options.router_version)
    router.boots = boot
    isp.routers[options.name] = router
    isp.endpoints[options.name] = await nursery.start(partial(router_server.serve, router, tls=True))
    return RouterNas(options, router, back_up=back_up)


@asynccontextmanager
async def open_lab(options: LabOptions) -> AsyncIterator[Isp]:
    """Run an ISP for the block: by then every wanted session is online, and radacct says so.

    Raises:
        LabError: more BNG than the address plan has room for.
        UnknownVersionError: a router version that is not written as one.
        LabDatabaseError: the database cannot be reached.
        NoAnswerError: RADIUS does not answer.
    """
    if not 1 <= options.nas <= NAS_MAX or options.services < 0:
        raise LabError(f"expected 1..{NAS_MAX} NAS and no negative number of services, got {options.nas}")
    parse_version(options.router_version)
    services = population.populate(options.services, options.nas, options.seed, datetime.now(UTC))
    async with AsyncExitStack() as stack:
        database = await _open_tables(options, stack, services)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        isp = Isp(options, database, await _start_radius(options, database, nursery), services)
        for n in range(options.nas):
            nas = await _start_nas(isp, n, nursery)
            isp.nas[nas.options.name] = nas
        if options.dial:
            await _dial_everybody(isp)
        if options.snmp:
            isp.network = build_network(customers_of(services), options.clock)
            for device in isp.network.devices:
                device.community, device.write_community = isp.snmp_community, f"{isp.snmp_community}-write"
            isp.snmp = await stack.enter_async_context(
                open_snmp_lab(isp.network.devices, layout=Layout.ADDRESSES, clock=options.clock)
            )
        yield isp


async def _dial_everybody(isp: Isp) -> None:
    async with trio.open_nursery() as dialing:
        for nas in isp.nas.values():
            logins = [s.login for s in isp.services if s.online and s.mapped and nas.subscribed(s.login)]
            dialing.start_soon(nas.dial_all, logins)
