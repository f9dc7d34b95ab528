"""PPPoE: CPE that dial, the sessions they get, and what a session brings with it and takes away. Pure.

A session takes its profile from the secret as it is when the CPE dials: a running session keeps what it had. It brings
an interface `<pppoe-NAME>`, a dynamic queue where the profile limits the rate, dynamic entries of the profile's address
lists, and one connection to the internet where the firewall lets it open one. All go with it. A CPE that loses its
session dials again after its delay; one that is refused tries again later.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lab.router import values as v
from lab.router.firewall import LISTS, Packet, Verdict
from lab.router.table import Row

if TYPE_CHECKING:
    from lab.router.device import Router

SECRETS: Final = "/ppp/secret"
PROFILES: Final = "/ppp/profile"
ACTIVE: Final = "/ppp/active"
QUEUES: Final = "/queue/simple"
POOLS: Final = "/ip/pool"
SERVERS: Final = "/interface/pppoe-server/server"
BINDINGS: Final = "/interface/pppoe-server"
CONNECTIONS: Final = "/ip/firewall/connection"
# an address of the documentation range (RFC 5737), standing for the internet
INTERNET: Final = "203.0.113.80"


@dataclass(slots=True)
class Session:
    """A CPE online. `rows`: what came with it, by menu."""

    name: str
    address: str
    interface: str
    started: float
    profile: str
    active: Row
    rows: list[tuple[str, Row]] = field(default_factory=list)
    flow: Row | None = None
    ends: float | None = None


@dataclass(slots=True)
class Cpe:
    """A subscriber's router. `refused`: why its last dial failed; `dials`: how often it tried."""

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

    @property
    def online(self) -> bool:
        return self.session is not None


def queue_of(rate_limit: str) -> dict[str, str]:
    """The limits of the queue that a profile's rate-limit makes.

    rx[/tx] [rx-burst[/tx] [rx-threshold[/tx] [rx-time[/tx] [priority [rx-min[/tx]]]]]], rx being the subscriber's
    upload (MikroTik's manual, "PPP AAA"). A part that cannot be read is left out.
    """
    kinds = (
        ("max-limit", v.pair(v.rate)),
        ("burst-limit", v.pair(v.rate)),
        ("burst-threshold", v.pair(v.rate)),
        ("burst-time", v.pair(v.duration())),
        ("priority", v.pair(v.integer(1, 8))),
        ("limit-at", v.pair(v.rate)),
    )
    out: dict[str, str] = {}
    for part, (name, kind) in zip(rate_limit.split(), kinds, strict=False):
        try:
            out[name] = kind(part)
        except v.BadValueError:
            continue
    return out


class _RefusedError(Exception):
    """The CPE does not get on; the text says why."""


class Access:
    """The CPE of one router and their sessions."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._store = router.store
        self.cpes: dict[tuple[str, str], Cpe] = {}
        self._by_active: dict[str, Cpe] = {}
        self._by_name: dict[str, list[Cpe]] = {}
        self._used: dict[str, Cpe] = {}
        self._last: dict[str, int] = {}
        self._count = 0
        self._store.computed[ACTIVE] = self._uptime

    def _uptime(self, row: Row) -> dict[str, str]:
        cpe = self._by_active.get(row.id)
        if cpe is None or cpe.session is None:
            return {}
        return {"uptime": v.format_duration(int(self._router.now() - cpe.session.started) * 1000)}

    # --- CPE ----------------------------------------------------------------------------------------------------------

    def plug_in(self, cpe: Cpe) -> None:
        """Connect a CPE; it dials at once."""
        self.cpes[(cpe.login, cpe.mac)] = cpe
        self.dial(cpe)

    def unplug(self, cpe: Cpe) -> None:
        """Disconnect a CPE."""
        self.cpes.pop((cpe.login, cpe.mac), None)
        cpe.next_dial = None
        cpe.redials = False
        self.hang_up(cpe, "peer request")

    def of_login(self, login: str) -> list[Cpe]:
        """The CPE of a login, those online first."""
        return sorted((c for c in self.cpes.values() if c.login == login), key=lambda c: not c.online)

    def dial(self, cpe: Cpe) -> None:
        """Let a CPE dial."""
        if cpe.online or (cpe.login, cpe.mac) not in self.cpes:
            return
        cpe.dials += 1
        cpe.next_dial = None
        try:
            self._begin(cpe)
            cpe.refused = ""
        except _RefusedError as err:
            cpe.refused = str(err)
            self._later(cpe, cpe.retry_s)

    def _later(self, cpe: Cpe, delay_s: float) -> None:
        due = cpe.next_dial = self._router.now() + delay_s

        def again() -> None:
            if cpe.next_dial == due:
                self.dial(cpe)

        self._router.schedule(due, again)

    # --- a session's beginning ----------------------------------------------------------------------------------------

    def _authenticate(self, cpe: Cpe) -> tuple[Row, Row]:
        """The secret and the profile that a CPE gets on with."""
        servers = self._store.table(SERVERS)
        default = self._store.model(SERVERS).shown.get("disabled", "true")
        if not any(row.props.get("disabled", default) == "false" for row in servers):
            raise _RefusedError("no PPPoE server is enabled")
        secret = self._store.named(SECRETS, cpe.login)
        if secret is None:
            raise _RefusedError("no such secret; RADIUS is not part of this router")
        props = secret.props
        if props.get("disabled") == "true":
            raise _RefusedError("the secret is disabled")
        if props.get("service", "any") not in ("any", "pppoe"):
            raise _RefusedError("the secret is for another service")
        if props.get("password", "") != cpe.password:
            raise _RefusedError("wrong password")
        if props.get("caller-id") not in (None, "", cpe.mac):
            raise _RefusedError("the secret is for another caller-id")
        name = props.get("profile", "default")
        profile = self._store.named(PROFILES, name) or self._store.table(PROFILES).get(name)
        if profile is None:
            raise _RefusedError(f"no profile {name}")
        only_one = profile.props.get("only-one", "default")
        if only_one == "default":
            standard = self._store.named(PROFILES, "default")
            only_one = standard.props.get("only-one", "no") if standard else "no"
        if only_one == "yes" and any(other.online for other in self._by_name.get(cpe.login, ())):
            raise _RefusedError("only one session is allowed")
        return secret, profile

    def _address(self, secret: Row, profile: Row) -> str:
        wanted = secret.props.get("remote-address") or profile.props.get("remote-address", "")
        if not wanted:
            raise _RefusedError("neither secret nor profile has a remote-address")
        try:
            return str(ipaddress.IPv4Address(wanted))
        except ValueError:
            pass
        seen: set[str] = set()
        while wanted and wanted != "none" and wanted not in seen:
            seen.add(wanted)
            pool = self._store.named(POOLS, wanted)
            if pool is None:
                raise _RefusedError(f"no pool {wanted}")
            if address := self._free_address(wanted, pool.props.get("ranges", "")):
                return address
            wanted = pool.props.get("next-pool", "")
        raise _RefusedError("no address is free")

    def _free_address(self, pool: str, ranges: str) -> str:
        """The free address after the one given out last: a redial gets another one, as in the field."""
        spans = [span for part in ranges.split(",") if (span := _span(part))]
        size = sum(high - low + 1 for low, high in spans)
        start = self._last.get(pool, -1) + 1
        for step in range(min(size, len(self._used) + 1)):
            place = (start + step) % size
            rest = place
            for low, high in spans:
                if rest <= high - low:
                    address = str(ipaddress.IPv4Address(low + rest))
                    break
                rest -= high - low + 1
            if address not in self._used:
                self._last[pool] = place
                return address
        return ""

    def _begin(self, cpe: Cpe) -> None:
        secret, profile = self._authenticate(cpe)
        address = self._address(secret, profile)
        self._count += 1
        store, now = self._store, self._router.now()
        interface = f"<pppoe-{cpe.login}>"
        number = 1
        while store.named("/interface", interface):
            interface = f"<pppoe-{cpe.login}-{number}>"
            number += 1
        active = store.insert(
            ACTIVE,
            {
                "name": cpe.login,
                "service": "pppoe",
                "caller-id": cpe.mac,
                "address": address,
                "encoding": "",
                "session-id": f"0x{0x81000000 + self._count:x}",
                "limit-bytes-in": secret.props.get("limit-bytes-in", "0"),
                "limit-bytes-out": secret.props.get("limit-bytes-out", "0"),
            },
            dynamic=True,
        )
        session = Session(cpe.login, address, interface, now, profile.props.get("name", ""), active)
        cpe.session = session
        self._by_active[active.id] = cpe
        self._by_name.setdefault(cpe.login, []).append(cpe)
        self._used[address] = cpe
        self._bring(cpe, session, secret, profile)
        limit = v.milliseconds(profile.props.get("session-timeout", ""))
        if limit:
            session.ends = now + limit / 1000
            self._router.schedule(session.ends, lambda: self._time_out(cpe, session))
        self._open_flow(session)
        self._router.tell_change()

    def _bring(self, cpe: Cpe, session: Session, secret: Row, profile: Row) -> None:
        """Make what a session has beside itself."""

        def bring(path: str, props: dict[str, str], before: Row | None = None) -> None:
            if self._store.find_model(path):
                session.rows.append((path, self._store.add(path, props, dynamic=True, before=before)))

        wanted = profile.props
        # an interface first: the queue's target names it
        if self._store.find_model(BINDINGS):
            bring(BINDINGS, {"name": session.interface, "user": cpe.login, "service": ""})
        else:
            row = self._store.insert("/interface", {"name": session.interface}, dynamic=True)
            row.state["type"] = "pppoe-in"
            session.rows.append(("/interface", row))
        local = secret.props.get("local-address") or wanted.get("local-address", "")
        if local and _span(local):
            bring("/ip/address", {"address": f"{local}/32", "network": session.address, "interface": session.interface})
        if limits := queue_of(wanted.get("rate-limit", "")):
            before = wanted.get("insert-queue-before", "")
            queues = self._store.table(QUEUES)
            place = next(iter(queues), None) if before == "first" else self._store.named(QUEUES, before)
            parent = {"parent": wanted["parent-queue"]} if wanted.get("parent-queue") else {}
            bring(QUEUES, {"name": session.interface, "target": session.interface, **limits, **parent}, place)
        for name in filter(None, wanted.get("address-list", "").split(",")):
            bring(LISTS, {"list": name, "address": session.address})
        if wanted.get("interface-list"):
            bring("/interface/list/member", {"list": wanted["interface-list"], "interface": session.interface})

    def _packet(self, cpe: Cpe, session: Session, state: str, **changes: object) -> Packet:
        return Packet(
            source=session.address,
            destination=str(changes.get("destination", INTERNET)),
            protocol=str(changes.get("protocol", "tcp")),
            port=int(str(changes.get("port", 443))),
            state=state,
            in_interface=session.interface,
            out_interface=self._router.firewall.uplink(),
            source_mac=cpe.mac,
        )

    def _open_flow(self, session: Session) -> None:
        """Open the session's one connection, where a new one gets out."""
        cpe = self._used[session.address]
        wall = self._router.firewall
        new = self._packet(cpe, session, "new")
        if wall.moved(new) or not wall.walk(new).out:
            return
        row = self._store.insert(
            CONNECTIONS,
            {
                "protocol": new.protocol,
                "src-address": f"{session.address}:50000",
                "dst-address": f"{new.destination}:{new.port}",
                "tcp-state": "established",
                "timeout": "23h59m59s",
            },
            dynamic=True,
        )
        settled = wall.walk(self._packet(cpe, session, "established"))
        row.state["fasttrack"] = "true" if settled.action == "fasttrack-connection" else "false"
        session.flow = row

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
        if session.flow and self._store.table(CONNECTIONS).get(session.flow.id) is session.flow:
            self._store.remove(CONNECTIONS, session.flow)
        if secret := self._store.named(SECRETS, cpe.login):
            secret.state["last-logged-out"] = self._router.date_time()
            if self._store.facts.version[0] >= 7:
                secret.state["last-caller-id"] = cpe.mac
                secret.state["last-disconnect-reason"] = reason.replace(" ", "-")
        if cpe.redials:
            self._later(cpe, cpe.redial_s)
        self._router.tell_change()

    def hang_up_all(self) -> None:
        """What a restart does to the sessions."""
        for cpe in list(self.cpes.values()):
            self.hang_up(cpe, "nas reboot")
        self._last.clear()

    # --- who gets out -------------------------------------------------------------------------------------------------

    def gets_out(self, login: str, **packet: object) -> Verdict:
        """What a login's packet to the internet meets: a new connection, and the one it had before."""
        cpe = next(iter(self.of_login(login)), None)
        if cpe is None and _is_address(login):
            return self._address_gets_out(login, **packet)
        if cpe is None or cpe.session is None:
            return Verdict(online=False, out=False, reason=cpe.refused if cpe else "no CPE of that login")
        session = cpe.session
        new = self._packet(cpe, session, "new", **packet)
        flow = session.flow
        alive = flow if flow and self._store.table(CONNECTIONS).get(flow.id) is flow else None
        return self._judge(new, alive)

    def _address_gets_out(self, address: str, **packet: object) -> Verdict:
        """The same for an address whose subscriber has no PPPoE session here: DHCP, hotspot, static."""
        new = Packet(
            source=address,
            destination=str(packet.get("destination", INTERNET)),
            protocol=str(packet.get("protocol", "tcp")),
            port=int(str(packet.get("port", 443))),
            out_interface=self._router.firewall.uplink(),
        )
        flows = (
            row for row in self._store.table(CONNECTIONS) if row.props.get("src-address", "").split(":")[0] == address
        )
        return self._judge(new, next(flows, None))

    def _judge(self, new: Packet, flow: Row | None) -> Verdict:
        wall = self._router.firewall
        moved = wall.moved(new)
        first = wall.walk(new)
        settled = wall.walk(replace(new, state="established"))
        alive = flow is not None
        fast = flow is not None and flow.state.get("fasttrack") == "true"
        return Verdict(
            online=True,
            out=first.out and moved is None,
            rule=first.rule,
            action=first.action,
            lingers=alive and (fast or settled.out),
            lingers_by=settled.rule if alive and not fast else "",
            fasttracked=fast,
            moved_by=moved.rule if moved else "",
            unsure=tuple(dict.fromkeys((*first.unsure, *settled.unsure, *(moved.unsure if moved else ())))),
            reason=first.comment,
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _span(part: str) -> tuple[int, int] | None:
    first, dash, last = part.strip().partition("-")
    try:
        network = None if dash else ipaddress.IPv4Network(first)
        if network is not None:
            return int(network.network_address), int(network.broadcast_address)
        return int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    except ValueError:
        return None
