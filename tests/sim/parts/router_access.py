"""Kinds of subscribers on a router: how they are set up, which rows are theirs, and what is true of them.

The truth is the router's packet view (`lab.router.packets`), and for a next login its rows. The agent is not asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from lab.router.device import Router
from lab.router.dhcp import DhcpClient
from lab.router.firewall import Verdict
from lab.router.flows import host_of
from lab.router.hosts import Host
from lab.router.hotspot import HotspotClient
from lab.router.ppp import Cpe
from lab.router.table import Row
from lab.truth import LineState, NextLogin, OnlineSession
from tests.sim.parts.router_record import AGENT

WITHIN_S: Final = (10, 30)
"""How long the agent waits for a session to be gone, and for the subscriber to come back."""
TARIFFS: Final = ("Home 20M", "Home 50M")
LISTED: Final = "198.18.0.1"
"""An address that is always in the list of suspended subscribers, and nobody's: it shows whether the list keeps in."""
WORD: Final = "of-the-subscriber"
SUSPENDED: Final = "suspended"
AAA: Final = "/ppp/aaa"
SECRETS, ACTIVE, LEASES = "/ppp/secret", "/ppp/active", "/ip/dhcp-server/lease"
USERS, LOGGED_IN, COOKIES = "/ip/hotspot/user", "/ip/hotspot/active", "/ip/hotspot/cookie"
LISTS, QUEUES = ("/ip/firewall/address-list", "/ipv6/firewall/address-list"), "/queue/simple"
FLOWS: Final = ("/ip/firewall/connection", "/ipv6/firewall/connection")
RUNNING: Final = frozenset({ACTIVE, LOGGED_IN, COOKIES, *FLOWS})
"""Menus of what runs: who removes a row ends it."""


@dataclass(frozen=True, slots=True)
class Online:
    """A subscriber who is online. `began`: by trio's clock. `shut`: nothing gets out; `out`: everything does."""

    session: str
    address: str
    began: float
    shut: bool
    out: bool
    rate: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The true state of a subscriber at an instant. `if_active`: the next login, judged for an active subscriber.

    `left`: connections that carry on after a logout, or while a device is off that said nothing. They are no sessions;
    who is to be suspended is at large by them.
    """

    online: tuple[Online, ...]
    next: NextLogin
    if_active: NextLogin | None = None
    left: tuple[Online, ...] = ()

    def state(self, *, suspended: bool) -> LineState:
        """Return it for a judgment: neither shut nor fully out is never as wanted."""
        return LineState(
            tuple(
                OnlineSession("", one.session, one.address, one.shut if suspended else not one.out, one.rate, one.began)
                for one in (*self.online, *(self.left if suspended else ()))
            ),
            self.next if suspended or self.if_active is None else self.if_active,
        )


def bits(rate: str) -> str:
    """Return a rate as `upload/download` in bits a second, however it is written."""
    units = {"k": 1000, "M": 1_000_000, "G": 1_000_000_000}
    sides = [side for side in rate.partition(" ")[0].split("/") if side]
    return "/".join(str(int(s[:-1]) * units[s[-1]]) if s[-1] in units else s for s in sides)


def session_name(user: str, address: str, logins: int) -> str:
    """Return the name of a hotspot's session, which has no number of its own."""
    return f"{user} {address} {logins}"


class Access:
    """A kind of access on one router. `logins`: of each subscriber's name, as billing has it."""

    section: ClassVar[str]
    rates: ClassVar[Mapping[str, str]] = {TARIFFS[0]: "20M/20M", TARIFFS[1]: "50M/50M"}
    """Of each tariff, as `Online.rate` and the next login have it."""
    own: ClassVar[str]
    """The menu of a subscriber's own row."""

    logs_in: ClassVar[bool] = True
    """Whether its sessions begin with a login, and end."""

    def __init__(self, router: Router, name: str, subscribers: int, since_s: Callable[[], float]) -> None:
        """Set everybody up. `since_s`: what the router's clock has more than trio's now."""
        self.router, self.name, self._since_s = router, name, since_s
        self._began: dict[tuple[str, float], float] = {}
        """When each session began by trio's clock: a leap of the router's after that changes nothing."""
        self.had: dict[str, str] = {}
        """Who had an address last."""
        self.logins = {f"user{n}": self.login(n) for n in range(subscribers)}
        self.set_up()
        for n, who in enumerate(self.logins):
            self.add(n, who)

    # --- what a kind says ---------------------------------------------------------------------------------------------

    def login(self, n: int) -> str:
        """Return a subscriber's login."""
        return f"user{n}@{self.name}"

    def config(self) -> str:
        """Return the access method's section of the agent's configuration."""
        raise NotImplementedError

    def set_up(self) -> None:
        """Add what all subscribers need."""
        raise NotImplementedError

    def add(self, n: int, who: str) -> None:
        """Add a subscriber and its device."""
        raise NotImplementedError

    def owner(self, path: str, props: Mapping[str, str]) -> str:
        """Return whose a row is, by name; "": nobody's here."""
        raise NotImplementedError

    def sample(self, who: str) -> Sample:
        """Return what is true of a subscriber now."""
        raise NotImplementedError

    def restart(self, who: str, *, away: bool = False) -> None:
        """Switch a subscriber's device off and on again; `away`: off only."""
        raise NotImplementedError

    def back(self, who: str) -> None:
        """Switch a subscriber's device on, where it is off."""
        raise NotImplementedError

    # --- for all kinds ------------------------------------------------------------------------------------------------

    def row(self, who: str) -> Row | None:
        """Return a subscriber's own row; None: it is gone."""
        return next((row for row in self.router.store.table(self.own) if self.owner(self.own, row.props) == who), None)

    def rate(self, tariff: str) -> str:
        """Return what a subscriber of a tariff gets, as samples have it."""
        return bits(self.rates[tariff])

    def by_hand(self, what: str) -> dict[str, str]:
        """Return what staff set on a row for a tariff, or to suspend its subscriber."""
        return {"profile": {TARIFFS[0]: "home20", TARIFFS[1]: "home50"}.get(what, what)}

    def _online(self, verdict: Verdict, session: str, address: str, began: float, rate: str) -> Online:
        shut = not (verdict.out or verdict.lingers)
        at = self._began.setdefault((session, began), began - self._since_s())
        return Online(session, address, at, shut, verdict.out, bits(rate))

    def _next(self, lists: str, rate: str) -> NextLogin:
        """Return what a next login gets with these address lists."""
        held = SUSPENDED in lists.split(",") and not self.router.gets_out(LISTED).out
        return NextLogin(True, held, bits(rate))

    def _left(self, address: str, after: NextLogin) -> tuple[Online, ...]:
        """Return the connection that carries on at an address without a session. `after`: the next login."""
        lingers = bool(address) and self.router.gets_out(address).lingers
        return (Online("a connection", address, 0.0, False, True, after.rate),) if lingers else ()

    def _section(self, kind: str, **values: str) -> str:
        given = "".join(f"{name} = {value}\n" for name, value in values.items())
        rates = "".join(f'"{tariff}" = "{self._sold(tariff)}"\n' for tariff in TARIFFS)
        return f'[{kind}.{self.name}]\ntarget = "routeros/{self.name}"\n{given}[{kind}.{self.name}.tariffs]\n{rates}\n'

    def _sold(self, tariff: str) -> str:
        """Return a tariff's value in the section."""
        return self.rates[tariff]

    def session(self, path: str, props: Mapping[str, str]) -> str:
        """Return the name of what a row of `RUNNING` stands for, as `Online.session` has it."""
        if path in FLOWS:
            return f"{props.get('src-address', '')} > {props.get('dst-address', '')}"
        return props.get("session-id", "")

    def _of_flow(self, props: Mapping[str, str]) -> str:
        """Return who has a connection's address, or had it last."""
        return self.had.get(host_of(props.get("src-address", "")), "")


class PppSubscribers(Access):
    """Subscribers are PPP secrets."""

    own = SECRETS
    radius: frozenset[str] = frozenset()
    """The logins that RADIUS has too: it is asked about those without a secret where the router asks it at all."""

    def config(self) -> str:
        gone, back = WITHIN_S
        return self._section(
            "ppp", suspended_profile='"suspended"', disconnect_within_s=f"{gone}", redial_within_s=f"{back}"
        )

    def _sold(self, tariff: str) -> str:
        return {TARIFFS[0]: "home20", TARIFFS[1]: "home50"}[tariff]

    def set_up(self) -> None:
        gateway = {"local_address": "100.64.0.1", "remote_address": "cgnat"}
        self.router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
        self.router.add("/ppp/profile", name="home20", rate_limit="20M/20M", **gateway)
        self.router.add("/ppp/profile", name="home50", rate_limit="50M/50M", **gateway)
        self.router.add("/ppp/profile", name=SUSPENDED, address_list=SUSPENDED, **gateway)

    def add(self, n: int, who: str) -> None:
        self.router.add(SECRETS, name=self.logins[who], password=WORD, profile="home20", service="pppoe")
        self.router.plug_in(self.logins[who], WORD, redial_s=1.0 + n, retry_s=60.0)

    def owner(self, path: str, props: Mapping[str, str]) -> str:
        if path in (SECRETS, ACTIVE):
            return next((who for who, login in self.logins.items() if login == props.get("name")), "")
        return self._of_flow(props) if path in FLOWS else ""

    def _cpes(self, who: str) -> list[Cpe]:
        return self.router.access.of_login(self.logins[who])

    def sample(self, who: str) -> Sample:
        online = []
        for cpe in self._cpes(who):
            if (session := cpe.session) is not None:
                verdict = self.router.access.gets_out_of(cpe, session)
                rate = session.terms.rate_limit
                online.append(self._online(verdict, f"0x{session.session_id}", session.address, session.started, rate))
        secret = self.router.store.named(SECRETS, self.logins[who])
        if secret is None or secret.props.get("disabled") == "true":
            return Sample(tuple(online), self._by_radius(who))
        profile = self.router.store.named("/ppp/profile", secret.props.get("profile", "default"))
        props = profile.props if profile else {}
        return Sample(tuple(online), self._next(props.get("address-list", ""), props.get("rate-limit", "")))

    def _by_radius(self, who: str) -> NextLogin:
        """Return the next login of a subscriber without a secret that counts."""
        asked = self.router.store.single(AAA).props.get("use-radius") == "true" and self.router.access.aaa is not None
        if not asked or self.logins[who] not in self.radius:
            return NextLogin(False)
        return NextLogin(True, False, self.rate(TARIFFS[0]))

    def restart(self, who: str, *, away: bool = False) -> None:
        for cpe in self._cpes(who):
            cpe.redials = not away
            self.router.access.hang_up(cpe, "peer request")

    def back(self, who: str) -> None:
        for cpe in self._cpes(who):
            cpe.redials = True
            self.router.access.dial(cpe)


class Leases(Access):
    """Subscribers are static DHCP leases. `listed`: suspended by an address list, else by block-access."""

    own = LEASES
    logs_in = False
    listed = True

    def login(self, n: int) -> str:
        return f"02:00:00:00:07:{n:02d}"

    def config(self) -> str:
        within = f"{WITHIN_S[0]}"
        listed = '"suspended"' if self.listed else '""'
        return self._section("dhcp", suspended_list=listed, cut_within_s=within, renew_within_s=within)

    def set_up(self) -> None:
        server = {"interface": "ether3", "address_pool": "lan", "lease_time": "10m", "disabled": "no"}
        self.router.add("/ip/pool", name="lan", ranges="10.1.0.10-10.1.0.19")
        self.router.add("/ip/dhcp-server", name="d1", **server)
        self.router.dhcp.applies = "at-once"
        self._clients: dict[str, DhcpClient] = {}

    def add(self, n: int, who: str) -> None:
        own = {"mac_address": self.logins[who], "address": f"10.1.0.{50 + n}", "rate_limit": "20M/20M"}
        self.router.add(LEASES, **own, server="d1", address_lists="shops", comment=f"house {n}")
        self._clients[who] = self.router.plug_in_dhcp(self.logins[who], retry_s=60.0)

    def by_hand(self, what: str) -> dict[str, str]:
        if what == SUSPENDED:
            return {"address_lists": SUSPENDED} if self.listed else {"block_access": "yes"}
        return {"rate_limit": self.rates[what]}

    def owner(self, path: str, props: Mapping[str, str]) -> str:
        if path == LEASES:
            return next((who for who, mac in self.logins.items() if mac == props.get("mac-address")), "")
        return self._of_flow(props) if path in FLOWS else ""

    def _client(self, who: str) -> DhcpClient | None:
        return self.router.dhcp.clients.get(self.logins[who])

    def sample(self, who: str) -> Sample:
        online: tuple[Online, ...] = ()
        client = self._client(who)
        if client is not None and client.online:
            queues = self.router.store.table(QUEUES)
            target = f"{client.address}/32"
            rate = next((q.props.get("max-limit", "") for q in queues if q.props.get("target") == target), "")
            online = (self._online(self.router.gets_out(client.mac), client.mac, client.address, 0.0, rate),)
        after = self._address_next(who)
        return Sample(online, after, left=() if online else self._left(self._address(who), after))

    def _address(self, who: str) -> str:
        """Return the address of a client's lease, or nothing."""
        lease = self.row(who)
        return "" if lease is None else lease.state.get("active-address") or lease.props.get("address", "")

    def _address_next(self, who: str) -> NextLogin:
        lease = self.row(who)
        if lease is None or lease.props.get("disabled") == "true":
            return NextLogin(True)  # an address of the pool, and no limit
        if lease.props.get("block-access") == "true":
            return NextLogin(False)
        return self._next(lease.props.get("address-lists", ""), lease.props.get("rate-limit", ""))

    def restart(self, who: str, *, away: bool = False) -> None:
        client = self._client(who)
        if client is not None and not away:
            self.router.dhcp.restart(client)
        elif client is not None:
            self.router.dhcp.unplug(client)

    def back(self, who: str) -> None:
        """Switch it on: the same device, which goes on with the connections that it has open."""
        if self._client(who) is None:
            self.router.dhcp.plug_in(self._clients[who])


class LateLeases(Leases):
    """The same; what is written to a lease holds at its renewal."""

    def set_up(self) -> None:
        super().set_up()
        self.router.dhcp.applies = "at-renewal"


class BlockedLeases(Leases):
    """The same; suspended by block-access."""

    listed = False


class HotspotUsers(Access):
    """Subscribers are users of the hotspot. `profile`: of a suspended one; "": the user is disabled."""

    own = USERS
    profile = SUSPENDED

    def config(self) -> str:
        gone, back = WITHIN_S
        return self._section(
            "hotspot",
            suspended_profile=f'"{self.profile}"',
            disconnect_within_s=f"{gone}",
            redial_within_s=f"{back}",
        )

    def _sold(self, tariff: str) -> str:
        return {TARIFFS[0]: "home20", TARIFFS[1]: "home50"}[tariff]

    def set_up(self) -> None:
        router = self.router
        router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.250")
        router.add("/ip/hotspot/profile", name="hsprof1", login_by="cookie,http-chap")
        router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
        router.add(f"{USERS}/profile", name="home20", rate_limit="20M/20M")
        router.add(f"{USERS}/profile", name="home50", rate_limit="50M/50M")
        router.add(f"{USERS}/profile", name=SUSPENDED, address_list=SUSPENDED)

    def add(self, n: int, who: str) -> None:
        login = self.logins[who]
        self.router.add(USERS, name=login, password=WORD, profile="home20", comment=f"house of {login}")
        self.router.plug_in_hotspot(user=login, password=WORD, redial_s=1.0 + n, retry_s=60.0)

    def owner(self, path: str, props: Mapping[str, str]) -> str:
        name = {USERS: "name", LOGGED_IN: "user", COOKIES: "user"}.get(path)
        if name:
            return next((who for who, login in self.logins.items() if login == props.get(name)), "")
        return self._of_flow(props) if path in FLOWS else ""

    def _client(self, who: str) -> HotspotClient | None:
        return next((c for c in self.router.hotspot.clients.values() if c.user == self.logins[who]), None)

    def sample(self, who: str) -> Sample:
        online: tuple[Online, ...] = ()
        client = self._client(who)
        if client is not None and (session := client.session) is not None:
            queue = next((row for path, row in session.rows if path == QUEUES), None)
            rate = queue.props.get("max-limit", "") if queue else ""
            named = session_name(client.user, client.address, client.logins)
            online = (self._online(self.router.gets_out(client.mac), named, client.address, session.started, rate),)
        after = self._login_next(who)
        away = client is not None and client.session is None
        return Sample(online, after, left=self._left(client.address, after) if client is not None and away else ())

    def _login_next(self, who: str) -> NextLogin:
        user = self.router.store.named(USERS, self.logins[who])
        if user is None or user.props.get("disabled") == "true":
            return NextLogin(False)
        profile = self.router.store.named(f"{USERS}/profile", user.props.get("profile", "default"))
        props = profile.props if profile else {}
        return self._next(props.get("address-list", ""), props.get("rate-limit", ""))

    def session(self, path: str, props: Mapping[str, str]) -> str:
        if path != LOGGED_IN:
            return super().session(path, props) or props.get("mac-address", "")
        user, address = props["user"], props["address"]
        client = next((c for c in self.router.hotspot.clients.values() if c.user == user), None)
        return session_name(user, address, client.logins if client else 0)

    def restart(self, who: str, *, away: bool = False) -> None:
        client = self._client(who)
        if client is not None:
            self.router.hotspot.unplug(client)
        if not away:
            self.back(who)

    def back(self, who: str) -> None:
        login = self.logins[who]
        if self._client(who) is None:
            self.router.plug_in_hotspot(user=login, password=WORD, redial_s=1.0, retry_s=60.0)


class DisabledUsers(HotspotUsers):
    """The same; a suspended user is disabled."""

    profile = ""


class StaticHosts(Access):
    """Subscribers have fixed addresses of both families, and are suspended by an address list."""

    own = QUEUES
    logs_in = False
    rates: ClassVar[Mapping[str, str]] = {TARIFFS[0]: "5M/20M", TARIFFS[1]: "10M/50M"}

    def login(self, n: int) -> str:
        return f"192.0.2.{10 + n},2001:db8:7:{n + 1}::/64"

    def config(self) -> str:
        return self._section("static", suspended_list='"suspended"', cut_within_s=f"{WITHIN_S[0]}")

    def set_up(self) -> None:
        self.router.add("/ip/address", address="192.0.2.1/24", interface="ether5")
        self._hosts: dict[str, Host] = {}

    def by_hand(self, what: str) -> dict[str, str]:
        return {"max_limit": self.rates.get(what, "64k/64k")}

    def _addresses(self, who: str) -> tuple[str, str]:
        n = int(who.removeprefix("user"))
        return f"192.0.2.{10 + n}", f"2001:db8:7:{n + 1}::9"

    def add(self, n: int, who: str) -> None:
        v4, v6 = self._addresses(who)
        self.router.add(QUEUES, name=f"home{n}", target=f"{v4}/32,2001:db8:7:{n + 1}::/64", max_limit="5M/20M")
        self._hosts[who] = self.router.plug_in_host([v4, v6], name=who)

    def owner(self, path: str, props: Mapping[str, str]) -> str:
        if path == QUEUES:
            return (
                f"user{props.get('name', '').removeprefix('home')}" if props.get("name", "").startswith("home") else ""
            )
        if path in (*LISTS, *FLOWS):
            text = host_of(props.get("src-address", "")) if path in FLOWS else props.get("address", "")
            wanted = text.partition("/")[0]
            return next((who for who in self.logins if self._holds(who, wanted)), "")
        return ""

    def _holds(self, who: str, address: str) -> bool:
        v4, v6 = self._addresses(who)
        return address == v4 or address.startswith(v6.removesuffix("9"))

    def sample(self, who: str) -> Sample:
        """Return what is true: a host is online while it has a connection."""
        found, queue = [self.router.gets_out(address) for address in self._addresses(who)], self.row(who)
        rate = bits(queue.props.get("max-limit", "") if queue else "")
        shut, out = not any(one.out or one.lingers for one in found), all(one.out for one in found)
        line = self.router.hosts.line(who)
        flows = [flow for flow in (line.flows if line else ()) if self.router.flows.alive(flow)]
        online = Online(who, self._addresses(who)[0], 0.0, shut, out, rate)
        new = NextLogin(True, not any(one.out for one in found), rate)
        return Sample((online,) if flows else (), new, NextLogin(True, not out, rate))

    def restart(self, who: str, *, away: bool = False) -> None:
        """Let a host open its connections anew; `away`: close them."""
        host = self._hosts[who]
        self.router.hosts.unplug(host)
        if not away:
            self.back(who)

    def back(self, who: str) -> None:
        host = self._hosts[who]
        self.router.hosts.unplug(host)
        self.router.hosts.plug_in(host)


class SlowHosts(StaticHosts):
    """The same; suspended by their queue's limit."""

    def config(self) -> str:
        return self._section("static", suspended_limit='"64k/64k"', cut_within_s=f"{WITHIN_S[0]}")

    def sample(self, who: str) -> Sample:
        queue = self.row(who)
        rate = queue.props.get("max-limit", "") if queue else ""
        speeds = [self.router.speed_of(address) for address in self._addresses(who)]
        shut, out = all(one == (64_000, 64_000) for one in speeds), not any(one == (64_000, 64_000) for one in speeds)
        online = Online(who, self._addresses(who)[0], 0.0, shut, out, bits(rate))
        return Sample((online,), NextLogin(True, shut, bits(rate)))


KINDS: Final[tuple[type[Access], ...]] = (
    PppSubscribers,
    Leases,
    LateLeases,
    BlockedLeases,
    HotspotUsers,
    DisabledUsers,
    StaticHosts,
    SlowHosts,
)


def furnish(router: Router, kind: type[Access]) -> None:
    """Give a router its firewall, and a user to the agent."""
    families = ("/ip", "/ipv6") if issubclass(kind, StaticHosts) else ("/ip",)
    for family in families:
        rules = f"{family}/firewall/filter"
        router.add(rules, chain="forward", action="accept", src_address_list=SUSPENDED, dst_address_list="pay-page")
        router.add(rules, chain="forward", action="drop", src_address_list=SUSPENDED)
    if kind is not SlowHosts:
        fast = {"chain": "forward", "action": "fasttrack-connection", "connection_state": "established,related"}
        router.add("/ip/firewall/filter", **fast)
    router.add(LISTS[0], list=SUSPENDED, address=LISTED, comment="the office's test address")
    router.add("/user/group", name=AGENT, policy="read,write,api")
    router.add("/user", name=AGENT, password=api_password(router), group=AGENT)


def api_password(router: Router) -> str:
    """Return the password of the agent's user on a router."""
    return f"api-password-of-{router.serial}"


def drawn_kinds(seed: int) -> tuple[type[Access], ...]:
    """Return the kinds of a seed's routers: PPP on the first, others on one or two more."""
    dice = random.Random(f"routers {seed}")
    return (PppSubscribers, *(dice.choice(KINDS) for _ in range(dice.choice((1, 1, 2)))))
