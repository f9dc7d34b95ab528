"""PPPoE: CPE that dial, their sessions, and the rows that come and go with a session. Pure.

A session takes its profile from the secret as it is when the CPE dials: a running session keeps the former one. A login
without a secret that is on is asked about where /ppp/aaa and /radius say so: RADIUS' answer goes before the profile,
and its rate and lists may be changed while the session lasts. A secret that is on hides RADIUS, even where it refuses.

A session brings an interface `<pppoe-NAME>`, a dynamic queue where its rate is limited, and dynamic entries of its
address lists: all go with it. Its CPE opens one connection to the internet where the firewall lets it. That outlives
the session in the connection table, FastTracked or not, and carries on where the CPE gets the same address again, as it
does from a pool whenever possible. A CPE that loses its session dials again after its delay; one that is refused tries
again later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from lab.router import values as v
from lab.router.firewall import LISTS, Verdict
from lab.router.flows import Flows, Line
from lab.router.queues import LIMITS, QUEUES, queue_of
from lab.router.state import RouterState
from lab.router.table import Row

SECRETS: Final = "/ppp/secret"
PROFILES: Final = "/ppp/profile"
ACTIVE: Final = "/ppp/active"
POOLS: Final = "/ip/pool"
SERVERS: Final = "/interface/pppoe-server/server"
BINDINGS: Final = "/interface/pppoe-server"
AAA: Final = "/ppp/aaa"
RADIUS: Final = "/radius"


@dataclass(frozen=True, slots=True)
class Accepted:
    """RADIUS' policy for a session; an empty field is as in the profile.

    `group`: the profile (Mikrotik-Group), empty for the server's default-profile. `pool` is not read where there is an
    `address` (MikroTik's manual, "RADIUS Client").
    """

    address: str = ""
    pool: str = ""
    rate_limit: str = ""
    address_lists: tuple[str, ...] = ()
    group: str = ""
    timeout_s: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """The parts of a session. `remote`: an address, or the pool it comes from; `timeout_s` 0: none."""

    profile: Row
    remote: str
    local: str
    rate_limit: str
    address_lists: tuple[str, ...]
    timeout_s: float
    limits: tuple[str, str] = ("0", "0")
    radius: bool = False


@dataclass(slots=True)
class Session:
    """A CPE online. `rows`: those that came with it, by menu."""

    name: str
    address: str
    interface: str
    started: float
    terms: Terms
    active: Row
    rows: list[tuple[str, Row]] = field(default_factory=list)
    ends: float | None = None

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.terms.profile.props.get("name", "")

    @property
    def session_id(self) -> str:
        """Its number as RADIUS knows it: /ppp/active shows it with 0x before."""
        return self.active.props["session-id"].removeprefix("0x")


@dataclass(slots=True)
class Cpe:
    """A subscriber's router. `refused`: why its last dial failed; `dials`: how often it tried.

    `asking`: the number of the dial about which RADIUS is asked just now. `flows`: the connections that it opened, in
    any of its sessions.
    """

    login: str
    password: str
    mac: str
    redial_s: float
    retry_s: float
    session: Session | None = None
    refused: str = ""
    dials: int = 0
    next_dial: float | None = None
    redials: bool = True
    asking: int | None = None
    flows: list[Row] = field(default_factory=list)

    @property
    def online(self) -> bool:
        return self.session is not None


class Aaa(Protocol):
    """The part that speaks RADIUS for a router."""

    def ask(self, cpe: Cpe, number: int) -> None:
        """Ask about a login; `Access.admit` or `Access.refuse` takes the result, later."""

    def ended(self, cpe: Cpe, session: Session, reason: str) -> None:
        """Take note that a session which RADIUS accepted has ended."""


class _RefusedError(Exception):
    """The CPE does not get on; the text says why."""


class Access:
    """The CPE of one router and their sessions. `aaa`: the part that speaks RADIUS, None for none."""

    def __init__(self, state: RouterState, flows: Flows) -> None:
        self._state, self._flows = state, flows
        self._store = state.store
        self.aaa: Aaa | None = None
        self.cpes: dict[tuple[str, str], Cpe] = {}
        self._of_login: dict[str, list[Cpe]] = {}
        self._by_active: dict[str, Cpe] = {}
        self._by_name: dict[str, list[Cpe]] = {}
        self._used: dict[str, Cpe] = {}
        self._count = 0
        self._store.computed[ACTIVE] = self._uptime

    def _uptime(self, row: Row) -> dict[str, str]:
        cpe = self._by_active.get(row.id)
        if cpe is None or cpe.session is None:
            return {}
        return {"uptime": v.format_duration(int(self._state.now() - cpe.session.started) * 1000)}

    # --- CPE ----------------------------------------------------------------------------------------------------------

    def plug_in(self, cpe: Cpe, *, dial: bool = True) -> None:
        """Connect a CPE; it dials at once, or when told to."""
        old = self.cpes.get((cpe.login, cpe.mac))
        if old is not cpe:
            if old is not None:
                self.unplug(old)
            self.cpes[(cpe.login, cpe.mac)] = cpe
            self._of_login.setdefault(cpe.login, []).append(cpe)
        if dial:
            self.dial(cpe)

    def unplug(self, cpe: Cpe) -> None:
        """Disconnect a CPE."""
        if self.cpes.get((cpe.login, cpe.mac)) is cpe:
            del self.cpes[(cpe.login, cpe.mac)]
            self._of_login[cpe.login].remove(cpe)
        cpe.next_dial = cpe.asking = None
        cpe.redials = False
        self.hang_up(cpe, "peer request")

    def of_login(self, login: str) -> list[Cpe]:
        """The CPE of a login, those online first."""
        return sorted(self._of_login.get(login, ()), key=lambda c: not c.online)

    def dial(self, cpe: Cpe) -> None:
        """Let a CPE dial."""
        if cpe.online or cpe.asking is not None or (cpe.login, cpe.mac) not in self.cpes:
            return
        cpe.dials += 1
        cpe.next_dial = None
        try:
            self._check_server()
            secret = self._store.named(SECRETS, cpe.login)
            if secret is None or self._passed_over(secret):
                self._ask(cpe, self._aaa())
            else:
                self._begin(cpe, self._authenticate(cpe, secret), self._number())
        except _RefusedError as err:
            self._turn_away(cpe, str(err))

    def _passed_over(self, secret: Row) -> bool:
        """Whether a secret counts for none, so that RADIUS is asked about its login."""
        return secret.props.get("disabled") == "true" and self._setting(AAA, "use-radius") == "true"

    def admit(self, cpe: Cpe, number: int, accepted: Accepted) -> Session | None:
        """Begin the session that RADIUS accepted; None: it cannot, or nobody waits for that dial any more."""
        if cpe.asking != number:
            return None
        cpe.asking = None
        try:
            return self._begin(cpe, self._accepted_terms(cpe, accepted), number)
        except _RefusedError as err:
            self._turn_away(cpe, str(err))
            return None

    def refuse(self, cpe: Cpe, number: int, why: str) -> None:
        """Turn away a CPE that RADIUS did not accept."""
        if cpe.asking == number:
            cpe.asking = None
            self._turn_away(cpe, why)

    def _turn_away(self, cpe: Cpe, why: str) -> None:
        cpe.refused = why
        if cpe.redials:
            self._later(cpe, cpe.retry_s)

    def _aaa(self) -> Aaa:
        """The part that asks RADIUS about a login without a secret."""
        if self._setting(AAA, "use-radius") != "true":
            raise _RefusedError("no such secret; /ppp/aaa use-radius=no")
        if not self.radius_servers():
            raise _RefusedError("no such secret; no enabled /radius row is for ppp")
        if self.aaa is None:
            raise _RefusedError("no such secret; nobody speaks RADIUS for this router")
        return self.aaa

    def _ask(self, cpe: Cpe, aaa: Aaa) -> None:
        cpe.asking = self._number()
        aaa.ask(cpe, cpe.asking)

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _setting(self, path: str, name: str) -> str:
        """The properties of a menu of one row."""
        return self._store.view(path, self._store.single(path)).get(name, "")

    def radius_servers(self) -> list[dict[str, str]]:
        """The /radius rows that are asked about PPP, in their order, as `print` shows them."""
        shown = (self._store.view(RADIUS, row) for row in self._store.table(RADIUS))
        return [row for row in shown if row["disabled"] == "false" and "ppp" in row["service"].split(",")]

    def accounts(self) -> bool:
        """Tell whether sessions that RADIUS accepted are accounted for."""
        return self._setting(AAA, "accounting") == "true"

    def interim_s(self) -> float:
        """How often interim updates are sent where RADIUS does not say, seconds; 0: never."""
        return (v.milliseconds(self._setting(AAA, "interim-update")) or 0) / 1000

    def server(self) -> dict[str, str]:
        """The enabled PPPoE server, as `print` shows it; empty where there is none."""
        shown = (self._store.view(SERVERS, row) for row in self._store.table(SERVERS))
        return next((row for row in shown if row["disabled"] == "false"), {})

    def _later(self, cpe: Cpe, delay_s: float) -> None:
        due = cpe.next_dial = self._state.now() + delay_s

        def again() -> None:
            if cpe.next_dial == due:
                self.dial(cpe)

        self._state.schedule(due, again)

    # --- a session's beginning ----------------------------------------------------------------------------------------

    def _check_server(self) -> None:
        if not self.server():
            raise _RefusedError("no PPPoE server is enabled")

    def _authenticate(self, cpe: Cpe, secret: Row) -> Terms:
        """A CPE's policy by its secret."""
        props = secret.props
        if props.get("disabled") == "true":
            raise _RefusedError("the secret is disabled")
        if props.get("service", "any") not in ("any", "pppoe"):
            raise _RefusedError("the secret is for another service")
        if props.get("password", "") != cpe.password:
            raise _RefusedError("wrong password")
        if props.get("caller-id") not in (None, "", cpe.mac):
            raise _RefusedError("the secret is for another caller-id")
        profile = self._profile(cpe, props.get("profile", "default"))
        return Terms(
            profile,
            props.get("remote-address") or profile.props.get("remote-address", ""),
            props.get("local-address") or profile.props.get("local-address", ""),
            profile.props.get("rate-limit", ""),
            _names(profile.props.get("address-list", "")),
            (v.milliseconds(profile.props.get("session-timeout", "")) or 0) / 1000,
            (props.get("limit-bytes-in", "0"), props.get("limit-bytes-out", "0")),
        )

    def _accepted_terms(self, cpe: Cpe, accepted: Accepted) -> Terms:
        """A CPE's policy by RADIUS: its attributes, and the profile's where it says nothing."""
        profile = self._profile(cpe, accepted.group or self.server().get("default-profile", "default"))
        props = profile.props
        return Terms(
            profile,
            accepted.address or accepted.pool or props.get("remote-address", ""),
            props.get("local-address", ""),
            accepted.rate_limit or props.get("rate-limit", ""),
            accepted.address_lists or _names(props.get("address-list", "")),
            accepted.timeout_s or (v.milliseconds(props.get("session-timeout", "")) or 0) / 1000,
            radius=True,
        )

    def _profile(self, cpe: Cpe, name: str) -> Row:
        """The profile of that name, where it lets one more session of the login in."""
        profile = self._store.named(PROFILES, name) or self._store.table(PROFILES).get(name)
        if profile is None:
            raise _RefusedError(f"no profile {name}")
        only_one = profile.props.get("only-one", "default")
        if only_one == "default":
            standard = self._store.named(PROFILES, "default")
            only_one = standard.props.get("only-one", "no") if standard else "no"
        if only_one == "yes" and any(other.online for other in self._by_name.get(cpe.login, ())):
            raise _RefusedError("only one session is allowed")
        return profile

    def _address(self, cpe: Cpe, wanted: str) -> str:
        if not wanted:
            raise _RefusedError("neither secret or RADIUS nor profile has a remote-address")
        try:
            return str(ipaddress.IPv4Address(wanted))
        except ValueError:
            pass
        if self._store.named(POOLS, wanted) is None:
            raise _RefusedError(f"no pool {wanted}")
        address = self._state.pools.take(wanted, self._used.__contains__, f"ppp {cpe.login}")
        if not address:
            raise _RefusedError("no address is free")
        return address

    def _begin(self, cpe: Cpe, terms: Terms, number: int) -> Session:
        address = self._address(cpe, terms.remote)
        store, now = self._store, self._state.now()
        interface = f"<pppoe-{cpe.login}>"
        again = 1
        while store.named("/interface", interface):
            interface = f"<pppoe-{cpe.login}-{again}>"
            again += 1
        active = store.insert(
            ACTIVE,
            {
                "name": cpe.login,
                "service": "pppoe",
                "caller-id": cpe.mac,
                "address": address,
                "encoding": "",
                # the service, the restarts, the sessions: as the field reports Acct-Session-Id to be made
                "session-id": f"0x81{self._state.boots % 256:02x}{number:04x}",
                "limit-bytes-in": terms.limits[0],
                "limit-bytes-out": terms.limits[1],
            }
            | ({"radius": "true"} if terms.radius else {}),
            dynamic=True,
        )
        session = Session(cpe.login, address, interface, now, terms, active)
        cpe.session, cpe.refused = session, ""
        self._by_active[active.id] = cpe
        self._by_name.setdefault(cpe.login, []).append(cpe)
        self._used[address] = cpe
        self._bring(cpe, session)
        if terms.timeout_s:
            session.ends = now + terms.timeout_s
            self._state.schedule(session.ends, lambda: self._time_out(cpe, session))
        self._flows.go_on(cpe.flows, _line_of(cpe), address)
        self._state.tell_change()
        return session

    def _add(self, session: Session, path: str, props: dict[str, str], before: Row | None = None) -> None:
        """Make a row that goes with a session."""
        if self._store.find_model(path):
            session.rows.append((path, self._store.add(path, props, dynamic=True, before=before)))

    def _bring(self, cpe: Cpe, session: Session) -> None:
        """Make the rows of a session beside its own."""
        terms = session.terms
        # an interface first: the queue's target names it
        if self._store.find_model(BINDINGS):
            self._add(session, BINDINGS, {"name": session.interface, "user": cpe.login, "service": ""})
        else:
            row = self._store.insert("/interface", {"name": session.interface}, dynamic=True)
            row.state["type"] = "pppoe-in"
            session.rows.append(("/interface", row))
        if terms.local and _span(terms.local):
            ends = {"address": f"{terms.local}/32", "network": session.address}
            self._add(session, "/ip/address", ends | {"interface": session.interface})
        self._bring_queue(session, terms.rate_limit)
        self._bring_lists(session, terms.address_lists)
        if name := terms.profile.props.get("interface-list"):
            self._add(session, "/interface/list/member", {"list": name, "interface": session.interface})
        for prop, way in (("incoming-filter", "in-interface"), ("outgoing-filter", "out-interface")):
            if target := terms.profile.props.get(prop):
                jump = {"chain": "ppp", "action": "jump", "jump-target": target, way: session.interface}
                self._add(session, "/ip/firewall/filter", jump)

    def _bring_queue(self, session: Session, rate_limit: str) -> None:
        if not (limits := queue_of(rate_limit)):
            return
        wanted = session.terms.profile.props
        before = wanted.get("insert-queue-before", "")
        queues = self._store.table(QUEUES)
        place = next(iter(queues), None) if before == "first" else self._store.named(QUEUES, before)
        parent = {"parent": wanted["parent-queue"]} if wanted.get("parent-queue") else {}
        self._add(session, QUEUES, {"name": session.interface, "target": session.interface, **limits, **parent}, place)

    def _bring_lists(self, session: Session, names: Sequence[str]) -> None:
        for name in names:
            self._add(session, LISTS, {"list": name, "address": session.address})

    # --- a session while it lasts -------------------------------------------------------------------------------------

    def change_rate(self, session: Session, rate_limit: str) -> None:
        """Give a session another rate limit. One of which nothing can be read changes nothing."""
        if not (limits := queue_of(rate_limit)):
            return
        for path, row in session.rows:
            if path == QUEUES and self._store.table(path).get(row.id) is row:
                self._store.change(path, row, {f"!{name}": "" for name, _ in LIMITS} | limits)
                return
        self._bring_queue(session, rate_limit)

    def change_lists(self, session: Session, names: Sequence[str]) -> None:
        """Put a session on these address lists in place of those that it brought."""
        old = [row for path, row in session.rows if path == LISTS]
        session.rows = [(path, row) for path, row in session.rows if path != LISTS]
        for row in old:
            if self._store.table(LISTS).get(row.id) is row:
                self._store.remove(LISTS, row)
        self._bring_lists(session, names)

    # --- a session's end ----------------------------------------------------------------------------------------------

    def _time_out(self, cpe: Cpe, session: Session) -> None:
        if cpe.session is session:
            self.hang_up(cpe, "session timeout")

    def end_of_row(self, path: str, row: Row) -> bool:
        """End the session that a row of /ppp/active or of its interface stands for; False where there is none."""
        if path == ACTIVE:
            cpe = self._by_active.get(row.id)
        else:
            cpe = next((c for c in self._by_active.values() if c.session and (path, row) in c.session.rows), None)
        if cpe is None:
            return False
        self.hang_up(cpe, "admin request")
        return True

    def hang_up(self, cpe: Cpe, reason: str) -> None:
        """End a CPE's session; it dials again after its delay."""
        session = cpe.session
        if session is None:
            return
        cpe.session = None
        del self._by_active[session.active.id]
        self._by_name[cpe.login].remove(cpe)
        self._used.pop(session.address, None)
        for path, row in [*reversed(session.rows), (ACTIVE, session.active)]:
            if self._store.table(path).get(row.id) is row:
                self._store.remove(path, row)
        secret = None if session.terms.radius else self._store.named(SECRETS, cpe.login)
        if secret:
            secret.state["last-logged-out"] = self._state.date_time()
            if self._store.facts.version[0] >= 7:
                secret.state["last-caller-id"] = cpe.mac
                secret.state["last-disconnect-reason"] = reason.replace(" ", "-")
        if session.terms.radius and self.aaa is not None:
            self.aaa.ended(cpe, session, reason)
        if cpe.redials:
            self._later(cpe, cpe.redial_s)
        self._state.tell_change()

    def hang_up_all(self) -> None:
        """End all sessions, as a restart of the router does."""
        for cpe in list(self.cpes.values()):
            self.hang_up(cpe, "nas reboot")
            if cpe.asking is not None:
                cpe.asking = None
                self._later(cpe, cpe.redial_s)

    # --- whose packets ------------------------------------------------------------------------------------------------

    def gets_out_of(self, cpe: Cpe, session: Session) -> Verdict:
        """The rules that the packets of one session of a CPE meet."""
        if cpe.session is not session:
            return Verdict(online=False, out=False, reason="the session has ended")
        return self._flows.meets(_line_of(cpe), session.address)

    def line(self, which: str) -> Line | None:
        """The line of the CPE of that login, MAC or address; of several CPE, of one that is online."""
        cpe = self._used.get(which) or next(iter(self.of_login(which)), None)
        cpe = cpe or next((c for c in self.cpes.values() if c.mac == which), None)
        return _line_of(cpe) if cpe else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _line_of(cpe: Cpe) -> Line:
    session = cpe.session
    if session is None:
        return Line(cpe.login, mac=cpe.mac, why_not=cpe.refused)
    bridge = session.terms.profile.props.get("bridge", "")
    return Line(cpe.login, (session.address,), session.interface, cpe.mac, tuple(cpe.flows), bridge=bridge)


def _span(part: str) -> tuple[int, int] | None:
    first, dash, last = part.strip().partition("-")
    try:
        network = None if dash else ipaddress.IPv4Network(first)
        if network is not None:
            return int(network.network_address), int(network.broadcast_address)
        return int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    except ValueError:
        return None
