"""The router: its menus, its users and sessions, CPE, timers and faults. Pure: the clock comes from outside.

Whoever runs it asks `get_timer` when to call `handle_timer` next; `lab.router.server` does. Tests change it behind the
API's back with `add`, `set`, `remove` and read it with `rows`; property names may be written with `_` for `-`.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from lab.router import values as v
from lab.router.dhcp import LEASES, Dhcp, DhcpClient
from lab.router.facts import parse_version
from lab.router.faults import FaultKind, Faults
from lab.router.firewall import Verdict
from lab.router.flows import Flows
from lab.router.gate import ACTIVE as LOGGED_IN
from lab.router.gate import Gate
from lab.router.hosts import Host, Hosts, plain
from lab.router.hotspot import HOSTS, Hotspot, HotspotClient
from lab.router.limits import HISTORY_MAX, SESSIONS_MAX
from lab.router.observed import Observed
from lab.router.packets import Packets
from lab.router.ppp import ACTIVE, BINDINGS, Access, Cpe
from lab.router.safe_mode import HISTORY, SafeMode
from lab.router.state import RouterState
from lab.router.store import Event
from lab.router.table import Row
from lab.router.verbs import Answer, Command, Special, User

_USERS_ONLINE: Final = "/user/active"
_TIMED: Final = ("/ip/firewall/address-list", "/ipv6/firewall/address-list")
_PAST: Final = {"add": "added", "remove": "removed", "move": "moved"}


def _named(props: Mapping[str, str]) -> dict[str, str]:
    return {name.rstrip("_").replace("_", "-"): value for name, value in props.items()}


def _mac(kind: int, number: int) -> str:
    """A locally administered MAC, the kind of subscriber in its second octet."""
    return v.mac(f"02{kind:02X}{number:08X}")


class Router(RouterState):
    """One router. `clock` gives seconds since 1970; uptime, dates and timeouts follow from it.

    A new router has ethernet interfaces, the user `admin` (group full, no password) and a PPPoE server on ether2.
    `cpu_load`, `down_s` (how long a restart takes), `clock_off_s` (how far ahead its shown time is),
    `gmt_offset` and `device_mode` may be set at any time.
    """

    def __init__(
        self,
        version: str = "7.20.8",
        identity: str = "edge-1",
        serial: str = "HFG09ABCDEF",
        clock: Callable[[], float] = time.time,
        *,
        board: str = "CCR2004-1G-12S+2XS",
        software_id: str = "ABCD-EF12",
        ports: int = 8,
        with_services: bool = True,
    ) -> None:
        super().__init__(version, clock)
        self.version = version
        self.serial = serial
        self.software_id = software_id
        self.board = board
        self.cpu_load = 7
        self.down_s = 0.0
        self.clock_off_s = 0.0
        self.gmt_offset = "+00:00"
        self.device_mode = {"mode": "advanced", "scheduler": "true", "flagged": "false"}
        self.faults: Faults[Router] = Faults()
        self.says_empty = parse_version(version) >= (7, 18, 0)
        self.on_restart: list[Callable[[], None]] = []
        self._booted = self._up_at = clock()
        self._connections = 0
        self.told_bytes: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self.store.watchers += [self._on_row, self.lists.watch]
        gate = Gate(self.store, self.firewall)
        self.flows = Flows(self.store, self.firewall, gate)
        self.access = Access(self, self.flows)
        self.dhcp = Dhcp(self, self.flows)
        self.hotspot = Hotspot(self, self.flows, gate, self.dhcp.address_of)
        self.hosts = Hosts(self.store, self.flows)
        self.packets = Packets(self.store, self.flows, (self.access, self.hotspot, self.dhcp, self.hosts))
        self.safe_mode = SafeMode(self, self.take_away)
        self.specials: dict[str, Special] = {
            "/system/reboot": self._reboot_command,
            "/safe-mode/take": self._take_safe_mode,
            "/safe-mode/release": lambda _, __: self._done(self.safe_mode.release),
            "/safe-mode/unroll": lambda _, __: self._done(self.safe_mode.unroll),
        }
        self._describe()
        self._first_rows(identity, ports, with_services=with_services)

    def _first_rows(self, identity: str, ports: int, *, with_services: bool) -> None:
        for number in range(1, ports + 1):
            name = f"ether{number}"
            mac = f"02:00:00:00:00:{number:02X}"
            row = {"name": name, "default-name": name, "mac-address": mac, "orig-mac-address": mac}
            self.store.insert("/interface/ethernet", row, builtin=True)
        self.store.insert("/user", {"name": "admin", "group": "full", "password": ""})
        self.store.change("/system/identity", self.store.single("/system/identity"), {"name": identity})
        if with_services:
            self.add("/interface/pppoe-server/server", interface="ether2", service_name="pppoe", disabled="no")

    # --- what it is ---------------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        computed = self.store.computed
        computed["/system/resource"] = self._resource
        computed["/system/clock"] = self._clock_row
        computed["/system/routerboard"] = lambda _: {
            "routerboard": "true",
            "model": self.board,
            "serial-number": self.serial,
            "current-firmware": self.version,
            "upgrade-firmware": self.version,
        }
        computed["/system/license"] = lambda _: {"software-id": self.software_id, "nlevel": "6", "features": ""}
        computed["/system/device-mode"] = lambda _: dict(self.device_mode)
        computed["/safe-mode"] = lambda _: {"enabled": "true" if self.safe_mode.held_by else "false"}
        for path in _TIMED:
            computed[path] = self._remaining
        Observed(self.store, self.version, self.board, lambda: self.cpu_load, self.date_time).describe()

    def _resource(self, _: Row) -> dict[str, str]:
        return {
            "uptime": v.format_duration(int(self.now() - self._booted) * 1000),
            "version": f"{self.version} (stable)",
            "board-name": self.board,
            "architecture-name": "arm64",
            "platform": "MikroTik",
            "cpu": "ARM64",
            "cpu-count": "4",
            "cpu-load": str(self.cpu_load),
            "free-memory": "3500000000",
            "total-memory": "4294967296",
            "free-hdd-space": "100000000",
            "total-hdd-space": "134217728",
        }

    def _clock_row(self, _: Row) -> dict[str, str]:
        sign, hours, minutes = self.gmt_offset[0], self.gmt_offset[1:3], self.gmt_offset[4:]
        ahead_s = int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60) + self.clock_off_s
        date, _sep, time_ = self.date_time(ahead_s).partition(" ")
        return {"date": date, "time": time_, "gmt-offset": self.gmt_offset}

    def _remaining(self, row: Row) -> dict[str, str]:
        if row.expires_at is None:
            return {}
        left = max(0.0, row.expires_at - self.now())
        return {"timeout": v.format_duration(int(left) * 1000), "dynamic": "true"}

    # --- timers -------------------------------------------------------------------------------------------------------

    def refresh(self, path: str) -> None:
        """Make a menu show the present state."""
        if path in _TIMED:
            self.handle_timer()

    def _on_row(self, path: str, row: Row, event: Event) -> None:
        if path in _TIMED and event != "removed":
            self._take_timeout(path, row)
        if path == "/ip/address" and event != "removed" and "network" not in row.props and "address" in row.props:
            row.state["network"] = v.prefix4(row.props["address"]).partition("/")[0]
        if path == "/ip/address" and event != "removed":
            row.state["actual-interface"] = row.props.get("interface", "")
        if path == LEASES and event != "removed":
            row.state["blocked"] = row.props.get("block-access", "false")

    def _take_timeout(self, path: str, row: Row) -> None:
        """Turn an entry's `timeout` into the time when it goes. It then is dynamic: a restart loses it."""
        row.state.setdefault("creation-time", self.date_time())
        if row.props.get("dynamic") == "true":
            row.dynamic = True
        timeout = row.props.pop("timeout", None)
        if timeout is None:
            return
        if timeout.startswith("none"):
            row.expires_at, row.dynamic = None, timeout == "none-dynamic"
            return
        row.dynamic = True
        due = row.expires_at = self.now() + (v.milliseconds(timeout) or 0) / 1000

        def end() -> None:
            if row.expires_at == due and self.store.table(path).get(row.id) is row:
                self.store.remove(path, row)

        self.schedule(due, end)

    # --- behind the API's back ----------------------------------------------------------------------------------------

    def add(self, path: str, **props: str) -> str:
        """Add a row and return its `.id`. A menu to which nobody can add (hotspot active) takes any properties.

        Raises:
            Trap: as an API client would be refused.
        """
        args = _named(props)
        menu = self.store.model(path).menu
        shut = menu.missing is not None and menu.missing.text.startswith("error - ")
        if "add" not in menu.verbs or shut:
            return self.store.insert(path, args, dynamic=True).id
        before = args.pop("place-before", "")
        place = self.store.resolve(path, before)[0] if before else None
        return self.store.add(path, args, before=place).id

    def set(self, path: str, which: str = "", /, **props: str) -> None:
        """Set properties of the row of that `.id` or name, or of a menu that has one row.

        Raises:
            Trap: as an API client would be refused.
        """
        single = self.store.model(path).menu.single
        for row in [self.store.single(path)] if single else self.store.resolve(path, which):
            self.store.change(path, row, _named(props))

    def remove(self, path: str, which: str) -> None:
        """Remove the row of that `.id` or name.

        Raises:
            Trap: it is not there.
        """
        for row in self.store.resolve(path, which):
            self.take_away(path, row)

    def rows(self, path: str) -> list[dict[str, str]]:
        """A menu's rows as `print` shows them to a user that may see everything.

        Raises:
            Trap: there is no such menu.
        """
        self.refresh(path)
        if self.store.model(path).menu.single:
            return [self.store.view(path, self.store.single(path))]
        return [self.store.view(path, row) for row in self.store.table(path)]

    def take_away(self, path: str, row: Row) -> None:
        """Remove a row, or end the session that it stands for."""
        if path in (ACTIVE, BINDINGS) and self.access.end_of_row(path, row):
            return
        if path in (LOGGED_IN, HOSTS) and self.hotspot.end_of_row(path, row):
            return
        self.store.remove(path, row)

    # --- CPE ----------------------------------------------------------------------------------------------------------

    def plug_in(
        self, login: str, password: str = "", *, mac: str = "", redial_s: float = 0.2, retry_s: float = 1.0
    ) -> Cpe:
        """Connect a CPE that dials at once, and again `redial_s` after it lost its session (`retry_s` after a refusal).

        `mac` left out: one that follows from the number of CPE.
        """
        cpe = Cpe(login, password, mac or _mac(0x10, len(self.access.cpes) + 1), redial_s, retry_s)
        self.access.plug_in(cpe)
        return cpe

    def plug_in_dhcp(self, mac: str = "", *, server: str = "", host_name: str = "", retry_s: float = 1.0) -> DhcpClient:
        """Connect a DHCP client that asks at once, and again after `retry_s` while it is not served.

        `server`: the name of the DHCP server on its interface, the first enabled one when left out; `mac` left
        out: one that nobody has.

        Raises:
            BadValueError: `mac` is none.
        """
        address = v.mac(mac) if mac else _mac(0x11, next(self._numbers))
        client = DhcpClient(address, server, host_name, retry_s)
        self.dhcp.plug_in(client)
        return client

    def plug_in_hotspot(
        self,
        mac: str = "",
        user: str = "",
        password: str = "",
        *,
        server: str = "",
        address: str = "",
        redial_s: float = 0.2,
        retry_s: float = 1.0,
    ) -> HotspotClient:
        """Connect a host that logs in at once, and again `redial_s` after it lost its session (`retry_s`: refused).

        `server`: the name of the hotspot, the first enabled one when left out. Its address is `address`, or the one
        that a DHCP client of its MAC has, or one of the hotspot's pool; `mac` as in `plug_in_dhcp`.

        Raises:
            BadValueError: `mac` is none.
        """
        own = v.mac(mac) if mac else _mac(0x12, next(self._numbers))
        client = HotspotClient(own, user, password, server, address, redial_s, retry_s)
        self.hotspot.plug_in(client)
        return client

    def plug_in_host(self, addresses: Iterable[str], mac: str = "", *, interface: str = "", name: str = "") -> Host:
        """Connect a host with fixed addresses, IPv4 or IPv6, that opens a connection from each of them.

        `interface`: the one with an own address of the host's network when left out.

        Raises:
            ValueError: one of `addresses` is none.
            BadValueError: `mac` is none.
        """
        fixed = plain(addresses)
        own = v.mac(mac) if mac else _mac(0x13, next(self._numbers))
        host = Host(name or own, fixed, own, interface)
        self.hosts.plug_in(host)
        return host

    def gets_out(self, which: str, *, destination: str = "", protocol: str = "tcp", port: int = 443) -> Verdict:
        """Tell whether a subscriber's packets reach the internet, and by which rule.

        `which`: a login, hotspot user, MAC or address. A subscriber with both families is judged by IPv4, unless
        `destination` or the address asked for is of IPv6.
        """
        return self.packets.gets_out(which, destination, protocol, port)

    def speed_of(self, which: str, *, destination: str = "") -> tuple[int, int] | None:
        """The upload and download in bits a second that a subscriber's first simple queue allows; 0 is no limit.

        None: no queue takes its packets, they are fasttracked, or it is not online. `which` and `destination` as for
        `gets_out`.
        """
        return self.packets.speed_of(which, destination)

    # --- users and connections ----------------------------------------------------------------------------------------

    def user(self, name: str) -> User | None:
        """A user with the policies held now, or None where there is no such user or it is disabled."""
        row = self.store.named("/user", name)
        if row is None or row.props.get("disabled") == "true":
            return None
        group = self.store.named("/user/group", row.props.get("group", ""))
        held = group.props.get("policy", "") if group else ""
        return User(name, frozenset(p for p in held.split(",") if p and not p.startswith("!")))

    def password(self, name: str) -> str:
        """A user's password."""
        row = self.store.named("/user", name)
        return row.props.get("password", "") if row else ""

    def sessions_max(self) -> int:
        """How many API sessions there may be at a time, over both services."""
        service = self.store.named("/ip/service", "api")
        return int(service.props.get("max-sessions", SESSIONS_MAX)) if service else SESSIONS_MAX

    def connect(self) -> bool:
        """Take a connection, or refuse it: too many, or the router is restarting."""
        full = self.faults.holds(FaultKind.MAX_SESSIONS) or self._connections >= self.sessions_max()
        if full or self.now() < self._up_at:
            return False
        self._connections += 1
        return True

    def disconnect(self, active: Row | None) -> None:
        """A connection that was taken is gone."""
        self._connections -= 1
        self.safe_mode.ended(active.id if active else "")
        if active is not None and self.store.table(_USERS_ONLINE).get(active.id) is active:
            self.store.remove(_USERS_ONLINE, active)

    def logged_in(self, name: str, address: str) -> Row:
        """Show a logged-in user."""
        row = self.store.named("/user", name)
        group = row.props.get("group", "") if row else ""
        if row:
            row.state["last-logged-in"] = self.date_time()
        props = {"when": self.date_time(), "name": name, "address": address, "via": "api", "group": group}
        return self.store.insert(_USERS_ONLINE, props, dynamic=True)

    def note(self, command: Command, user: User) -> None:
        """Remember a change in /system/history; RouterOS keeps the last hundred."""
        table = self.store.table(HISTORY)
        what = " ".join(command.path.split("/")[-2:])
        entry = self.store.insert(
            HISTORY,
            {
                "action": f"{what.strip()} {_PAST.get(command.verb, 'changed')}",
                "by": user.name,
                "policy": "write",
                "time": self.date_time(),
            },
        )
        self.safe_mode.changed(entry)
        while len(table) > HISTORY_MAX:
            self.store.remove(HISTORY, next(iter(table)))

    # --- restarts -----------------------------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Restart: connections are cut, sessions and everything dynamic are gone, freed ids are given out again."""
        self.boots += 1
        self.access.hang_up_all()
        self.hotspot.restart()
        for path, table in self.store.tables():
            for row in list(table):
                # leases are kept on disk, and who is logged in goes with its connection
                if row.dynamic and path not in (_USERS_ONLINE, LEASES):
                    self.store.remove(path, row)
        history = self.store.table(HISTORY)
        for row in list(history):
            self.store.remove(HISTORY, row)
        for _, table in self.store.tables():
            table.renumber()
        self.pools.forget()
        self.dhcp.after_restart()
        self.hosts.after_restart()
        self._up_at = self.now() + self.down_s
        self._booted = self._up_at
        for act in tuple(self.on_restart):
            act()

    def _take_safe_mode(self, args: Mapping[str, str], user: User) -> Answer:
        self.safe_mode.take(user.session)
        return Answer()

    @staticmethod
    def _done(act: Callable[[], None]) -> Answer:
        act()
        return Answer()

    def _reboot_command(self, args: Mapping[str, str], user: User) -> Answer:
        self.reboot()
        return Answer()
