"""Two routers of the lab behind an agent, one class for each access method, and the files of the agent for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar, TypeVar

import trio

from lab.router.device import Router
from lab.router.dhcp import DhcpClient
from lab.router.firewall import Verdict
from lab.router.hosts import Host
from lab.router.hotspot import HotspotClient
from lab.router.server import Endpoint, serve
from tests.e2e.files import COLUMNS, PATIENT, Files, Typed, Waits, make_files, stamp
from tests.e2e.site import AgentProgram, Json, Office, check_log, open_site, started

PASSWORD = "api-password-of-routers"
ROUTERS = ("edge-1", "edge-2")
LOGIN, OTHER, ELSEWHERE = "user0@edge-1", "user1@edge-1", "user0@edge-2"
FILTER = "/ip/firewall/filter"
LEASES, USERS, COOKIES = "/ip/dhcp-server/lease", "/ip/hotspot/user", "/ip/hotspot/cookie"
LISTS = ("/ip/firewall/address-list", "/ipv6/firewall/address-list")
WORD = "of-the-subscriber"


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110  the lab's CPE tell nobody
            await trio.sleep(0.02)


def ref(who: str) -> str:
    return f"C-{who.replace('@', '-')}/home"


def billing_row(who: str) -> dict[str, str]:
    """Return a line of the subscriber file; everybody owes."""
    now = datetime.now(UTC)
    values = {
        "subscriber": ref(who).partition("/")[0],
        "name": who,
        "service": "home",
        "login": who,
        "method": who.partition("@")[2],
        "tariff": "Home 20M",
        "balance": "34.00",
        "due": (now - timedelta(days=10)).date().isoformat(),
        "paid_at": stamp(now - timedelta(days=60)),
        "as_of": stamp(now),
    }
    return {column: values.get(column, "") for column in COLUMNS}


def router_text(endpoints: Mapping[str, Endpoint], waits: Waits) -> str:
    """Return the configuration's sections of routers that are served."""
    return "".join(
        f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "ispagents"\n'
        f'secret = "routeros/{name}"\nfingerprint = "{endpoint.fingerprint}"\nserial = "SERIAL-{name}"\n'
        f"timeout_s = {waits.answer_s}\n"
        for name, endpoint in endpoints.items()
    )


def bare_router(name: str, version: str, *families: str, fasttrack: bool = True) -> Router:
    """Return a router whose list `suspended` is dropped above FastTrack, and a user for the agent."""
    router = Router(version, identity=name, serial=f"SERIAL-{name}")
    for family in families or ("/ip",):
        rules = f"{family}/firewall/filter"
        router.add(rules, chain="forward", action="accept", src_address_list="suspended", dst_address_list="pay-page")
        router.add(rules, chain="forward", action="drop", src_address_list="suspended")
    if fasttrack:
        router.add(FILTER, chain="forward", action="fasttrack-connection", connection_state="established,related")
    router.add("/user/group", name="ispagents", policy="read,write,api")  # no `sensitive`: it sees no password
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    return router


@dataclass
class Network(ABC):
    """Two routers and an agent in front of them. Subscribers are `userN@ROUTER`; each router knows only its own."""

    site: Office
    routers: dict[str, Router]

    HELD: ClassVar[tuple[str, ...]] = ROUTERS
    """Where a suspension holds at once; on the others its subscriber must do something first."""
    COMMANDS: ClassVar[tuple[str, ...]] = ()
    """What a suspension of LOGIN sends that changes something: one command for each step, in order."""
    FASTER: ClassVar[tuple[int, int]] = (50_000_000, 50_000_000)
    """The speed of the tariff Home 50M, bits a second."""

    @staticmethod
    @abstractmethod
    def make_router(name: str, logins: Sequence[str], version: str) -> Router:
        """Return a router with these subscribers, who all go online."""

    @classmethod
    @abstractmethod
    def method(cls, name: str, waits: Waits) -> str:
        """Return the configuration's sections of the access method on a router."""

    @staticmethod
    def login(who: str) -> str:
        """Return how billing writes a login."""
        return who

    def router(self, who: str) -> Router:
        return self.routers[who.partition("@")[2]]

    def verdicts(self, who: str) -> list[Verdict]:
        """Return what the packet view says of a subscriber, for each of its addresses."""
        return [self.router(who).gets_out(who)]

    def gets_out(self, who: str) -> bool:
        return all(one.out for one in self.verdicts(who))

    def kept_in(self, who: str) -> bool:
        """Return whether neither a new connection gets out nor one from before goes on."""
        return not any(one.out or one.lingers for one in self.verdicts(who))

    @abstractmethod
    def row(self, who: str) -> dict[str, object]:
        """Return what people and the agent write of a subscriber."""

    @abstractmethod
    def suspended(self, who: str) -> dict[str, object]:
        """Return what a suspension changes in it."""

    @abstractmethod
    def meddle(self, who: str) -> None:
        """Change it as another administrator may."""

    def online(self, who: str) -> bool:
        """Return whether the router knows of a session; one with a fixed address needs none."""
        return True

    def age(self, *who: str) -> None:
        """Let sessions be a minute old, where one is known by its user, its address and when it began."""
        return

    @abstractmethod
    def unplug(self, who: str) -> Callable[[], object]:
        """Switch a subscriber's device off; return how to switch it on again."""


@dataclass
class Ppp(Network):
    """PPP secrets: a suspension is a profile."""

    COMMANDS = ("/ppp/secret/set", "/ppp/active/remove", "/ip/firewall/connection/remove")

    @staticmethod
    def make_router(name: str, logins: Sequence[str], version: str) -> Router:
        router = bare_router(name, version)
        gateway = {"local_address": "100.64.0.1", "remote_address": "cgnat"}
        router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
        router.add("/ppp/profile", name="home20", rate_limit="20M/20M", **gateway)
        router.add("/ppp/profile", name="home50", rate_limit="50M/50M", **gateway)
        router.add("/ppp/profile", name="suspended", address_list="suspended", **gateway)
        for login in logins:
            router.add("/ppp/secret", name=login, password=WORD, profile="home20", service="pppoe")
            router.plug_in(login, WORD, redial_s=0.05)
        return router

    @classmethod
    def method(cls, name: str, waits: Waits) -> str:
        return (
            f'[ppp.{name}]\ntarget = "routeros/{name}"\nsuspended_profile = "suspended"\n'
            f"disconnect_within_s = {waits.gone_s}\nredial_within_s = {waits.back_s}\n"
            f'[ppp.{name}.tariffs]\n"Home 20M" = "home20"\n"Home 50M" = "home50"\n'
        )

    def row(self, who: str) -> dict[str, object]:
        (found,) = [r for r in self.router(who).rows("/ppp/secret") if r["name"] == who]
        return {k: v for k, v in found.items() if not k.startswith("last-")}

    def suspended(self, who: str) -> dict[str, object]:
        return {"profile": "suspended", "comment": "isp:suspended"}

    def meddle(self, who: str) -> None:
        self.router(who).set("/ppp/secret", who, profile="home50")

    def sessions(self, who: str) -> list[str]:
        return [r["session-id"] for r in self.router(who).rows("/ppp/active") if r["name"] == who]

    def online(self, who: str) -> bool:
        return bool(self.sessions(who))

    def unplug(self, who: str) -> Callable[[], object]:
        router = self.router(who)
        (cpe,) = router.access.of_login(who)
        router.access.unplug(cpe)
        return lambda: router.plug_in(who, WORD)


@dataclass
class Hotspots(Network):
    """Hotspot users: a suspension is a profile."""

    PROFILE: ClassVar[str] = "suspended"
    COMMANDS = (f"{USERS}/set", f"{COOKIES}/remove", "/ip/hotspot/active/remove", "/ip/firewall/connection/remove")

    @staticmethod
    def make_router(name: str, logins: Sequence[str], version: str) -> Router:
        router = bare_router(name, version)
        router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.250")
        router.add("/ip/hotspot/profile", name="hsprof1", login_by="cookie,http-chap")
        router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
        router.add(f"{USERS}/profile", name="home20", rate_limit="20M/20M")
        router.add(f"{USERS}/profile", name="home50", rate_limit="50M/50M")
        router.add(f"{USERS}/profile", name="suspended", address_list="suspended")
        for login in logins:
            router.add(USERS, name=login, password=WORD, profile="home20", comment=f"house of {login}")
            router.plug_in_hotspot(user=login, password=WORD, redial_s=0.05)
        return router

    @classmethod
    def method(cls, name: str, waits: Waits) -> str:
        return (
            f'[hotspot.{name}]\ntarget = "routeros/{name}"\nsuspended_profile = "{cls.PROFILE}"\n'
            f"disconnect_within_s = {waits.gone_s}\nredial_within_s = {waits.back_s}\n"
            f'[hotspot.{name}.tariffs]\n"Home 20M" = "home20"\n"Home 50M" = "home50"\n'
        )

    def host(self, who: str) -> HotspotClient:
        (found,) = [c for c in self.router(who).hotspot.clients.values() if c.user == who]
        return found

    def cookies(self, who: str) -> int:
        return sum(1 for r in self.router(who).rows(COOKIES) if r["user"] == who)

    def row(self, who: str) -> dict[str, object]:
        (found,) = [r for r in self.router(who).rows(USERS) if r["name"] == who]
        return {k: v for k, v in found.items() if k not in ("uptime", "bytes-in", "bytes-out")}

    def suspended(self, who: str) -> dict[str, object]:
        change = {"profile": self.PROFILE} if self.PROFILE else {"disabled": "true"}
        return {**change, "comment": f"house of {who} isp:suspended"}

    def meddle(self, who: str) -> None:
        self.router(who).set(USERS, who, profile="home50")

    def online(self, who: str) -> bool:
        return self.host(who).online

    def age(self, *who: str) -> None:
        for one in who:
            if session := self.host(one).session:
                session.started -= 60

    def unplug(self, who: str) -> Callable[[], object]:
        host, router = self.host(who), self.router(who)
        router.hotspot.unplug(host)
        return lambda: router.hotspot.plug_in(host)


@dataclass
class DisabledHotspots(Hotspots):
    """Hotspot users on routers without a suspended profile: a suspension disables them."""

    PROFILE = ""


@dataclass
class Leases(Network):
    """DHCP leases: a suspension is an address list. On `edge-2` what is written holds from the next renewal."""

    LIST: ClassVar[str] = "suspended"
    HELD = ("edge-1",)
    COMMANDS = (f"{LEASES}/set", "/ip/firewall/connection/remove")

    @staticmethod
    def make_router(name: str, logins: Sequence[str], version: str) -> Router:
        router = bare_router(name, version)
        router.add("/ip/pool", name="lan", ranges="10.1.0.10-10.1.0.19")
        router.add(
            "/ip/dhcp-server", name="d1", interface="ether3", address_pool="lan", lease_time="10m", disabled="no"
        )
        router.dhcp.applies = "at-once" if name == "edge-1" else "at-renewal"
        for n, who in enumerate(logins):
            own = {"mac_address": mac(who), "address": f"10.1.0.{50 + n}", "rate_limit": "20M/20M"}
            router.add(LEASES, **own, server="d1", address_lists="shops", comment=f"house {n}")
            router.plug_in_dhcp(own["mac_address"])
        return router

    @classmethod
    def method(cls, name: str, waits: Waits) -> str:
        return (
            f'[dhcp.{name}]\ntarget = "routeros/{name}"\nsuspended_list = "{cls.LIST}"\n'
            f"cut_within_s = {waits.gone_s}\nrenew_within_s = {waits.gone_s}\n"
            f'[dhcp.{name}.tariffs]\n"Home 20M" = "20M/20M"\n"Home 50M" = "50M/50M"\n'
        )

    @staticmethod
    def login(who: str) -> str:
        return mac(who).replace(":", "-").lower()  # as people write a MAC

    def client(self, who: str) -> DhcpClient:
        return self.router(who).dhcp.clients[mac(who)]

    def verdicts(self, who: str) -> list[Verdict]:
        return [self.router(who).gets_out(mac(who))]

    def row(self, who: str) -> dict[str, object]:
        (found,) = [r for r in self.router(who).rows(LEASES) if r["mac-address"] == mac(who)]
        written = ("address", "address-lists", "rate-limit", "block-access", "comment", "server", "disabled")
        return {"block-access": "false"} | {k: v for k, v in found.items() if k in written}

    def suspended(self, who: str) -> dict[str, object]:
        change = {"address-lists": f"shops,{self.LIST}"} if self.LIST else {"block-access": "true"}
        return {**change, "comment": f"{self.row(who)['comment']}".removesuffix(" isp:suspended") + " isp:suspended"}

    def meddle(self, who: str) -> None:
        (row,) = [r for r in self.router(who).rows(LEASES) if r["mac-address"] == mac(who)]
        self.router(who).set(LEASES, row[".id"], rate_limit="1M/1M")

    def online(self, who: str) -> bool:
        return self.client(who).online

    def renews(self, who: str) -> None:
        self.router(who).dhcp.ask(self.client(who))

    def unplug(self, who: str) -> Callable[[], object]:
        """Switch a client off, and let its lease run out as ten minutes would."""
        router, client = self.router(who), self.client(who)
        router.dhcp.unplug(client)
        router.dhcp._end(router.dhcp._of_client[client.mac])
        return lambda: router.dhcp.plug_in(client)


@dataclass
class BlockedLeases(Leases):
    """DHCP leases on routers without a suspended list: a suspension blocks them."""

    LIST = ""


def mac(who: str) -> str:
    name, _, router = who.partition("@")
    return f"02:00:00:00:{ROUTERS.index(router):02d}:{int(name.removeprefix('user')):02d}"


@dataclass
class Static(Network):
    """Fixed addresses of both families: `edge-1` suspends by a list, `edge-2` by the queue of a subscriber."""

    COMMANDS = (
        *(f"{path}/add" for path in LISTS),
        *(f"{family}/firewall/connection/remove" for family in ("/ip", "/ipv6")),
    )
    FASTER = (10_000_000, 50_000_000)

    @staticmethod
    def make_router(name: str, logins: Sequence[str], version: str) -> Router:
        router = bare_router(name, version, "/ip", "/ipv6", fasttrack=name == "edge-1")
        router.add("/ip/address", address="192.0.2.1/24", interface="ether5")
        router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
        for n, who in enumerate(logins):
            target = f"{v4(who)}/32,2001:db8:7:{n}::/64"
            router.add("/queue/simple", name=f"home{n}", target=target, max_limit="5M/20M")
            router.plug_in_host([v4(who), v6(who)], name=who)
        return router

    @classmethod
    def method(cls, name: str, waits: Waits) -> str:
        suspended = 'suspended_list = "suspended"' if name == "edge-1" else 'suspended_limit = "64k/64k"'
        return (
            f'[static.{name}]\ntarget = "routeros/{name}"\n{suspended}\ncut_within_s = {waits.gone_s}\n'
            f'[static.{name}.tariffs]\n"Home 20M" = "5M/20M"\n"Home 50M" = "10M/50M"\n'
        )

    @staticmethod
    def login(who: str) -> str:
        return f"{v4(who)},2001:db8:7:{number(who)}::/64"

    def verdicts(self, who: str) -> list[Verdict]:
        return [self.router(who).gets_out(which) for which in (v4(who), v6(who))]

    def gets_out(self, who: str) -> bool:
        return super().gets_out(who) and (who.endswith("edge-1") or self.row(who)["limit"] == "5000000/20000000")

    def kept_in(self, who: str) -> bool:
        return super().kept_in(who) if who.endswith("edge-1") else self.row(who)["limit"] == "64000/64000"

    def row(self, who: str) -> dict[str, object]:
        router = self.router(who)
        (queue,) = [q for q in router.rows("/queue/simple") if q["name"] == f"home{number(who)}"]
        return {"entries": [r["address"] for path in LISTS for r in router.rows(path)], "limit": queue["max-limit"]}

    def suspended(self, who: str) -> dict[str, object]:
        return {"entries": [str(ip_network(address)).removesuffix("/32") for address in self.login(who).split(",")]}

    def meddle(self, who: str) -> None:
        self.router(who).add(LISTS[0], list="suspended", address=v4(who), comment="by hand", disabled="yes")

    def unplug(self, who: str) -> Callable[[], object]:
        router = self.router(who)
        router.hosts.unplug(self.host(who))
        return lambda: router.plug_in_host([v4(who), v6(who)], name=who)

    def host(self, who: str) -> Host:
        return next(h for h in self.router(who).hosts._by.values() if h.name == who)


def number(who: str) -> int:
    return int(who.partition("@")[0].removeprefix("user"))


def v4(who: str) -> str:
    return f"192.0.2.{10 + number(who)}"


def v6(who: str) -> str:
    return f"2001:db8:7:{number(who)}::9"


N = TypeVar("N", bound=Network)


@asynccontextmanager
async def served(
    folder: Path,
    kind: type[N],
    subscribers: int = 3,
    versions: Sequence[str] = ("7.20.8", "7.15.3"),
    waits: Waits = PATIENT,
) -> AsyncIterator[N]:
    """Serve two routers by TLS with everybody online, and make the files of an agent for them; it does not run yet."""
    logins = {name: [f"user{n}@{name}" for n in range(subscribers)] for name in ROUTERS}
    everybody = [who for name in ROUTERS for who in logins[name]]
    made = {n: kind.make_router(n, logins[n], version) for n, version in zip(ROUTERS, versions, strict=True)}
    async with trio.open_nursery() as nursery:
        endpoints: dict[str, Endpoint] = {
            name: await nursery.start(partial(serve, router, tls=True)) for name, router in made.items()
        }
        text = router_text(endpoints, waits) + "".join(kind.method(name, waits) for name in ROUTERS)
        files = make_files(folder, text, [], {f"routeros/{name}": PASSWORD for name in ROUTERS})
        files.billing.rows.update({ref(who): billing_row(who) | {"login": kind.login(who)} for who in everybody})
        files.billing.write()
        net = kind(Office(files), made)
        await until(lambda: all(map(net.gets_out, everybody)))
        net.age(*everybody)
        yield net
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(
    folder: Path,
    kind: type[N],
    subscribers: int = 3,
    versions: Sequence[str] = ("7.20.8", "7.15.3"),
    waits: Waits = PATIENT,
) -> AsyncIterator[N]:
    """The same with the agent at work; whatever happened, its log adds up at the end."""
    async with served(folder, kind, subscribers, versions, waits) as net, open_site(net.site.files) as site:
        yield replace(net, site=site)
        await check_log(site)


async def typed(net: Network, *args: str) -> Typed:
    return await trio.to_thread.run_sync(partial(net.site.files.cli, *args))


async def killed_with_a_command(files: Files, router: Router, command: str, who: str) -> Json:
    """Suspend, with the agent killed at the instant that the router has run `command`; return the change at its end."""
    office, programs = Office(files), [AgentProgram(files)]
    try:
        await started(programs[0])
        await office.install()
        asked = await office.ask("suspend", ref(who))
        router.faults.inject("drift", match=command, drift=lambda _: programs[0].kill())
        await office.approve(asked, "joseph")
        await until(lambda: programs[0].ended)
        programs.append(AgentProgram(files))
        await started(programs[1])
        return await office.wait_end(asked)
    finally:
        for program in programs:
            program.stop()
