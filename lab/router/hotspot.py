"""Hotspot: hosts that log in, their sessions, cookies that let them in again. Pure.

A host on a hotspot's interface gets nothing out before it has logged in (`gate`). An ip-binding lets it by
(`bypassed`) or keeps it out (`blocked`) whatever it does. A login brings a dynamic queue and dynamic entries of the
user profile's address lists. A host logs in by itself again after it lost its session: by a cookie without a password,
else by its password.

Two kinds of cookie stand in /ip/hotspot/cookie (MikroTik's manual, "HotSpot"). One that the browser keeps
(`login-by=cookie`) outlives a session that was removed. One of the MAC (`login-by=mac-cookie`, `add-mac-cookie`) goes
when the session is removed or ends by a limit. Hotspots know IPv4 only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from lab.router import values as v
from lab.router.firewall import LISTS, covers
from lab.router.flows import Flows, Line
from lab.router.gate import ACTIVE, BINDINGS, SERVERS, Gate
from lab.router.queues import QUEUES, place_of, queue_of
from lab.router.state import RouterState
from lab.router.store import Event
from lab.router.table import Row

PROFILES: Final = "/ip/hotspot/profile"
USERS: Final = "/ip/hotspot/user"
USER_PROFILES: Final = "/ip/hotspot/user/profile"
HOSTS: Final = "/ip/hotspot/host"
COOKIES: Final = "/ip/hotspot/cookie"

_HTTP: Final = ("http-chap", "http-pap", "https")
_NO_MAC: Final = "00:00:00:00:00:00"


class _RefusedError(Exception):
    """The host does not get in; the text says why."""


@dataclass(slots=True)
class Session:
    """A host logged in. `rows`: those that came with it, by menu."""

    user: str
    active: Row
    started: float
    rows: list[tuple[str, Row]] = field(default_factory=list)


@dataclass(slots=True)
class HotspotClient:
    """A subscriber's device. `cookie`: its browser's; `refused`: why its last login failed; `logins`: how many worked.

    `fixed`: its address where it takes none from DHCP or the hotspot's pool. `flows`: the connections that it opened.
    """

    mac: str
    user: str
    password: str
    server: str
    fixed: str
    redial_s: float
    retry_s: float
    address: str = ""
    interface: str = ""
    host: Row | None = None
    session: Session | None = None
    cookie: Row | None = None
    flows: list[Row] = field(default_factory=list)
    refused: str = ""
    logins: int = 0
    next_login: float | None = None

    @property
    def online(self) -> bool:
        return self.session is not None


class Hotspot:
    """The hotspots of one router and the hosts behind them. `address_of`: gives the address that a MAC has by DHCP."""

    def __init__(self, state: RouterState, flows: Flows, gate: Gate, address_of: Callable[[str], str]) -> None:
        self._state, self._flows, self._address_of = state, flows, address_of
        self._store = state.store
        self.clients: dict[str, HotspotClient] = {}
        self._by_address: dict[str, HotspotClient] = {}
        self._by_active: dict[str, HotspotClient] = {}
        self._by_host: dict[str, HotspotClient] = {}
        self._sessions: dict[str, list[HotspotClient]] = {}
        self._seen: dict[str, float] = {}
        self._mac_cookies: dict[str, tuple[Row, str]] = {}
        self._gate = gate
        gate.why = self._why
        self._store.watchers += [gate.watch, self._on_row]
        self._store.computed.update(
            {
                ACTIVE: self._active_times,
                HOSTS: self._host_times,
                COOKIES: self._cookie_times,
                USERS: self._user_times,
            }
        )

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _for(self, seconds: float) -> str:
        return v.format_duration(int(max(0.0, seconds)) * 1000)

    def _active_times(self, row: Row) -> dict[str, str]:
        client = self._by_active.get(row.id)
        if client is None or client.session is None:
            return {}
        now = self._state.now()
        left = {} if row.expires_at is None else {"session-time-left": self._for(row.expires_at - now)}
        return {"uptime": self._for(now - client.session.started), "idle-time": "0s", **left}

    def _host_times(self, row: Row) -> dict[str, str]:
        client = self._by_host.get(row.id)
        if client is None:
            return {}
        bypassed = self._type(client) == "bypassed"
        return {
            "uptime": self._for(self._state.now() - self._seen[row.id]),
            "authorized": "true" if client.online else "false",
            "bypassed": "true" if bypassed else "false",
        }

    def _cookie_times(self, row: Row) -> dict[str, str]:
        return {} if row.expires_at is None else {"expires-in": self._for(row.expires_at - self._state.now())}

    def _used_s(self, user: Row) -> float:
        """The seconds that a user has been logged in, over all sessions."""
        now = self._state.now()
        running = (c.session for c in self._sessions.get(user.props.get("name", ""), ()))
        past = (v.milliseconds(user.state.get("uptime", "0s")) or 0) / 1000
        return past + sum(now - session.started for session in running if session)

    def _user_times(self, row: Row) -> dict[str, str]:
        return {"uptime": self._for(self._used_s(row))}

    # --- hosts --------------------------------------------------------------------------------------------------------

    def plug_in(self, client: HotspotClient) -> None:
        """Connect a host; it logs in at once. One of the same MAC is taken away before."""
        if other := self.clients.get(client.mac):
            self.unplug(other)
        self.clients[client.mac] = client
        self.log_in(client)

    def unplug(self, client: HotspotClient) -> None:
        """Disconnect a host: its session ends as of one that is out of reach; cookies stay."""
        self.clients.pop(client.mac, None)
        client.next_login = None
        self.log_out(client, "lost")
        self._leave(client)

    def line(self, which: str) -> Line | None:
        """The line of a hotspot user, MAC or address; of a user's several hosts, of one that is logged in."""
        client = self._by_address.get(which) or self.clients.get(which.upper())
        if client is None:
            named = [c for c in self.clients.values() if c.user == which]
            client = next((c for c in named if c.online), named[0] if named else None)
        if client is None:
            return None
        addresses = (client.address,) if client.address else ()
        return Line(client.user, addresses, client.interface, client.mac, tuple(client.flows), client.refused)

    def _shown(self, path: str, row: Row | None, name: str) -> str:
        shown = self._store.model(path).shown
        return row.props.get(name, shown.get(name, "")) if row else shown.get(name, "")

    def _server(self, client: HotspotClient) -> Row:
        named = self._store.named(SERVERS, client.server) if client.server else None
        servers = list(self._store.table(SERVERS)) if not client.server else [named] if named else []
        for row in servers:
            if self._shown(SERVERS, row, "disabled") != "true":
                return row
        raise _RefusedError("no hotspot is enabled")

    def _arrive(self, client: HotspotClient, server: Row) -> None:
        """Make the host known to the hotspot, with the address that it has."""
        pool = self._shown(SERVERS, server, "address-pool")
        address = client.fixed or self._address_of(client.mac)
        if not address and client.address and self._state.pools.holds(pool, client.address):
            address = client.address
        address = address or self._state.pools.take(pool, self._by_address.__contains__, f"hotspot {client.mac}")
        if not address:
            raise _RefusedError("the host has no address")
        name = server.props.get("name", "")
        known = client.host and self._store.table(HOSTS).get(client.host.id) is client.host
        if known and client.address == address:
            return
        self._leave(client)
        props = {"mac-address": client.mac, "address": address, "to-address": address, "server": name}
        client.host = self._store.insert(HOSTS, props, dynamic=True)
        client.address, client.interface = address, server.props.get("interface", "")
        self._by_address[address] = self._by_host[client.host.id] = client
        self._seen[client.host.id] = self._state.now()

    def _leave(self, client: HotspotClient) -> None:
        host, client.host = client.host, None
        if self._by_address.get(client.address) is client:
            del self._by_address[client.address]
        client.address = ""
        if host is None:
            return
        self._by_host.pop(host.id, None)
        self._seen.pop(host.id, None)
        if self._store.table(HOSTS).get(host.id) is host:
            self._store.remove(HOSTS, host)

    # --- logging in ---------------------------------------------------------------------------------------------------

    def log_in(self, client: HotspotClient) -> None:
        """Let a host log in, if it is not and need be."""
        if client.online or self.clients.get(client.mac) is not client:
            return
        client.next_login = None
        try:
            server = self._server(client)
            self._arrive(client, server)
            self._pass(client, server)
            client.refused = ""
        except _RefusedError as err:
            client.refused = str(err)
            self._later(client, client.retry_s)
            return
        if line := self.line(client.mac):
            self._flows.go_on(client.flows, line, client.address)
        self._state.tell_change()

    def _pass(self, client: HotspotClient, server: Row) -> None:
        kind = self._type(client)
        if kind == "blocked":
            raise _RefusedError("blocked by an ip-binding")
        if kind == "regular":
            self._begin(client, server)

    def _later(self, client: HotspotClient, delay_s: float) -> None:
        due = client.next_login = self._state.now() + delay_s

        def again() -> None:
            if client.next_login == due:
                self.log_in(client)

        self._state.schedule(due, again)

    def _check(self, client: HotspotClient, server: Row, name: str, password: str | None) -> Row:
        """The user of a login. `password` None: a cookie identifies it."""
        user = self._store.named(USERS, name)
        if user is None:
            raise _RefusedError("no such user; RADIUS is not part of the lab's hotspot")
        props = user.props
        if props.get("disabled") == "true":
            raise _RefusedError("the user is disabled")
        if password is not None and props.get("password", "") != password:
            raise _RefusedError("wrong password")
        if props.get("mac-address") not in (None, "", _NO_MAC, client.mac):
            raise _RefusedError("the user is for another MAC address")
        if self._shown(USERS, user, "server") not in ("all", server.props.get("name", "")):
            raise _RefusedError("the user is for another hotspot")
        limit = v.milliseconds(props.get("limit-uptime", "")) or 0
        if limit and self._used_s(user) >= limit / 1000:
            raise _RefusedError("uptime limit reached")
        profile = self._profile(user)
        shared = self._shown(USER_PROFILES, profile, "shared-users")
        if shared.isdecimal() and len(self._sessions.get(name, ())) >= int(shared):
            raise _RefusedError("no more sessions are allowed for the user")
        return user

    def _profile(self, user: Row) -> Row | None:
        name = self._shown(USERS, user, "profile")
        return self._store.named(USER_PROFILES, name) or self._store.table(USER_PROFILES).get(name)

    def _authenticate(self, client: HotspotClient, server: Row, methods: list[str]) -> tuple[str, Row]:
        """How a host got in, and as which user: ways that ask nobody come first."""
        refusal = _RefusedError("the hotspot takes no passwords")
        for how, name, password in self._ways(client, server, methods):
            try:
                return how, self._check(client, server, name, password)
            except _RefusedError as err:
                refusal = err
                if how == "mac-cookie":
                    self._forget_mac(client.mac)
        raise refusal

    def _ways(self, client: HotspotClient, server: Row, methods: list[str]) -> Iterator[tuple[str, str, str | None]]:
        """The logins that a host has: the way, the user, the password (None: the cookie is enough)."""
        if "mac-cookie" in methods and client.mac in self._mac_cookies:
            row, password = self._mac_cookies[client.mac]
            yield "mac-cookie", row.props["user"], password
        if "mac" in methods and self._store.named(USERS, client.mac):
            profile = self._server_profile(server)
            yield "mac", client.mac, profile.props.get("mac-auth-password", "") if profile else ""
        if "cookie" in methods and client.cookie and self._store.table(COOKIES).get(client.cookie.id) is client.cookie:
            yield "cookie", client.cookie.props["user"], None
        if how := next((method for method in methods if method in _HTTP), ""):
            yield how, client.user, client.password

    def _server_profile(self, server: Row) -> Row | None:
        return self._store.named(PROFILES, self._shown(SERVERS, server, "profile"))

    def _begin(self, client: HotspotClient, server: Row) -> None:
        methods = self._shown(PROFILES, self._server_profile(server), "login-by").split(",")
        how, user = self._authenticate(client, server, methods)
        name, now = user.props.get("name", ""), self._state.now()
        profile = self._profile(user)
        active = self._store.insert(
            ACTIVE,
            {
                "server": server.props.get("name", ""),
                "user": name,
                "address": client.address,
                "mac-address": client.mac,
                "login-by": how,
                "keepalive-timeout": self._shown(USER_PROFILES, profile, "keepalive-timeout"),
            },
            dynamic=True,
            # as a client of the API met it: the address in hex, so that the next session may have the same .id
            row_id=f"*{int(ipaddress.IPv4Address(client.address)):X}",
        )
        session = client.session = Session(name, active, now)
        client.logins += 1
        self._by_active[active.id] = client
        self._sessions.setdefault(name, []).append(client)
        self._bring(client, session, profile)
        self._bake(client, user, profile, methods, how)
        self._limit(client, session, user, profile)

    def _bring(self, client: HotspotClient, session: Session, profile: Row | None) -> None:
        props = profile.props if profile else {}

        def bring(path: str, row: dict[str, str], before: Row | None = None) -> None:
            session.rows.append((path, self._store.add(path, row, dynamic=True, before=before)))

        if limits := queue_of(props.get("rate-limit", "")):
            parent = props.get("parent-queue", "none")
            under = {"parent": parent} if parent not in ("", "none") else {}
            queue, number = f"<hotspot-{session.user}>", 1
            while self._store.named(QUEUES, queue):
                queue = f"<hotspot-{session.user}-{number}>"
                number += 1
            place = place_of(self._store, props.get("insert-queue-before", ""))
            bring(QUEUES, {"name": queue, "target": f"{client.address}/32", **limits, **under}, place)
        for name in filter(None, props.get("address-list", "").split(",")):
            bring(LISTS, {"list": name, "address": client.address})

    def _limit(self, client: HotspotClient, session: Session, user: Row, profile: Row | None) -> None:
        """Have a session end when its time is up."""
        timeout = v.milliseconds(profile.props.get("session-timeout", "") if profile else "") or 0
        uptime = v.milliseconds(user.props.get("limit-uptime", "")) or 0
        ends = [timeout / 1000] if timeout else []
        ends += [uptime / 1000 - self._used_s(user)] if uptime else []
        if not ends:
            return
        due = session.active.expires_at = session.started + min(ends)

        def end() -> None:
            if client.session is session:
                self.log_out(client, "session timeout")

        self._state.schedule(due, end)

    # --- cookies ------------------------------------------------------------------------------------------------------

    def _bake(self, client: HotspotClient, user: Row, profile: Row | None, methods: list[str], how: str) -> None:
        """Leave the cookies that a login leaves."""
        name = user.props.get("name", "")
        server = self._store.named(SERVERS, client.session.active.props["server"]) if client.session else None
        if "cookie" in methods and how in _HTTP:
            lifetime = self._shown(PROFILES, self._server_profile(server) if server else None, "http-cookie-lifetime")
            client.cookie = self._cookie(name, client.mac, lifetime)
        if "mac-cookie" in methods and self._shown(USER_PROFILES, profile, "add-mac-cookie") == "true":
            self._forget_mac(client.mac)
            row = self._cookie(name, client.mac, self._shown(USER_PROFILES, profile, "mac-cookie-timeout"))
            row.state["mac-cookie"] = "true"
            self._mac_cookies[client.mac] = (row, user.props.get("password", ""))

    def _cookie(self, user: str, mac: str, lifetime: str) -> Row:
        row = self._store.insert(COOKIES, {"user": user, "mac-address": mac}, dynamic=True)
        if seconds := (v.milliseconds(lifetime) or 0) / 1000:
            row.expires_at = self._state.now() + seconds
            self._state.schedule(row.expires_at, self._expire(row))
        return row

    def _expire(self, row: Row) -> Callable[[], None]:
        def act() -> None:
            if self._store.table(COOKIES).get(row.id) is row:
                self._store.remove(COOKIES, row)

        return act

    def _forget_mac(self, mac: str) -> None:
        if mac in self._mac_cookies:
            self._store.remove(COOKIES, self._mac_cookies[mac][0])

    # --- logging out --------------------------------------------------------------------------------------------------

    def end_of_row(self, path: str, row: Row) -> bool:
        """End the login of a row of the active or host menu; False where it is nobody's."""
        client = (self._by_active if path == ACTIVE else self._by_host).get(row.id)
        if client is None:
            return False
        self.log_out(client, "admin reset")
        if path == HOSTS:
            self._leave(client)
            self._later(client, client.redial_s)
        return True

    def log_out(self, client: HotspotClient, cause: str) -> None:
        """End a host's session; it logs in again after its delay. Connections stay as they are in the table."""
        session = client.session
        if session is None:
            return
        client.session = None
        self._by_active.pop(session.active.id, None)
        self._sessions[session.user].remove(client)
        if user := self._store.named(USERS, session.user):
            past = (v.milliseconds(user.state.get("uptime", "0s")) or 0) / 1000
            user.state["uptime"] = self._for(past + self._state.now() - session.started)
        for path, row in [*reversed(session.rows), (ACTIVE, session.active)]:
            if self._store.table(path).get(row.id) is row:
                self._store.remove(path, row)
        if cause in ("admin reset", "session timeout"):
            self._forget_mac(client.mac)
        if self.clients.get(client.mac) is client:
            self._later(client, client.redial_s)
        self._state.tell_change()

    def restart(self) -> None:
        """The effect of a restart: sessions and hosts are gone; present hosts log in again."""
        for client in list(self.clients.values()):
            self.log_out(client, "reboot")
            self._leave(client)
            self._later(client, client.redial_s)

    # --- changes ------------------------------------------------------------------------------------------------------

    def _on_row(self, path: str, row: Row, event: Event) -> None:
        if path == COOKIES and event == "removed":
            mac = row.props.get("mac-address", "")
            if mac in self._mac_cookies and self._mac_cookies[mac][0] is row:
                del self._mac_cookies[mac]
        elif path == BINDINGS:
            self._look_again(row)

    def _type(self, client: HotspotClient) -> str:
        server = client.host.props["server"] if client.host else ""
        return self._gate.type_of(client.mac, client.address, server)

    def _why(self, address: str) -> str:
        """Why the host of an address has not logged in."""
        client = self._by_address.get(address)
        return client.refused if client else ""

    def _look_again(self, row: Row) -> None:
        """Let the hosts that an ip-binding is about find out at once; a session that runs goes on."""
        mac, address = row.props.get("mac-address", ""), row.props.get("address", "")
        client = self.clients.get(mac) or self._by_address.get(address.removesuffix("/32"))
        about = [client] if client else [] if mac else [c for c in self.clients.values() if covers(address, c.address)]
        for one in about:
            if not one.online:
                self.log_in(one)
