"""One SNMP device: its values, its links, its faults, and whether it answers at all. Pure.

A device from a recording stands still until told otherwise (`move`), so that two walks of it are equal.
"""

from __future__ import annotations

import hashlib
import heapq
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from lab.snmp import ber, values
from lab.snmp.answers import Asked, answer
from lab.snmp.errors import SnmpValueError
from lab.snmp.faults import Faults
from lab.snmp.links import DOWN, IF_ADMIN, IF_ALIAS, IF_DESCR, IF_ENTRY, IF_INDEX, IF_OPER, IF_X_ENTRY, UP, Links, Port
from lab.snmp.messages import DATAGRAM_BYTES_MAX, Kind, Pdu
from lab.snmp.mib import Mib, Moving
from lab.snmp.moving import Fading, Growing, Uptime
from lab.snmp.sets import Column, Refused, Writable, apply_set
from lab.snmp.values import Value

Clock = Callable[[], float]
Notify = Callable[[str, tuple[tuple[str, Value], ...]], None]
"""Is told the OID of a notification and its values, by OID."""

SYS_UPTIME: Final = "1.3.6.1.2.1.1.3.0"
ENGINE_BOOTS: Final = "1.3.6.1.6.3.10.2.1.2.0"
ENGINE_TIME: Final = "1.3.6.1.6.3.10.2.1.3.0"
BRIDGE_PORT_IF: Final = "1.3.6.1.2.1.17.1.4.1.2"
POE_ENTRY: Final = "1.3.6.1.2.1.105.1.1.1"
POE_ADMIN: Final = "1.3.6.1.2.1.105.1.1.1.3"
POE_STATUS: Final = "1.3.6.1.2.1.105.1.1.1.6"
COLD_START: Final = "1.3.6.1.6.3.1.1.5.1"
LINK_DOWN: Final = "1.3.6.1.6.3.1.1.5.3"
LINK_UP: Final = "1.3.6.1.6.3.1.1.5.4"
_DELIVERING: Final = 3
_DISABLED: Final = 1
_ENGINE_BOOTS_FIRST: Final = 3


class Engine:
    """The identity and clock of an authoritative SNMP engine (RFC 3414 section 2.2)."""

    def __init__(self, engine_id: bytes, since: float, boots: int = _ENGINE_BOOTS_FIRST) -> None:
        self.engine_id, self.since, self.boots = engine_id, since, boots

    def time(self, now: float) -> int:
        """Return the seconds since it booted."""
        return max(0, int(now - self.since))

    def reboot(self, since: float) -> None:
        """Start again at that time."""
        self.boots += 1
        self.since = since


def engine_id_of(name: str) -> bytes:
    """Return an engine id, the same for the same name, in an enterprise's own format (RFC 3411 section 5)."""
    return bytes.fromhex("80007a6905") + hashlib.sha256(name.encode()).digest()[:12]


class Device:
    """A device that answers.

    `upstream` and `upstream_port`: the device, and its ifIndex, by which the asker reaches this one; 0: any.

    Args:
        name: of the device; its community and SNMPv3 context too, where no other is said.
        given: values by encoded OID.
        clock: seconds; a test gives its own.
        community: for reading.
        write_community: for reading and writing.
    """

    def __init__(
        self,
        name: str,
        given: Mapping[bytes, Value | Moving],
        *,
        clock: Clock = time.time,
        community: str = "",
        write_community: str = "",
    ) -> None:
        self.name = name
        self.clock = clock
        self.community = community or name
        self.write_community = write_community or f"{name}-write"
        self.mib = Mib(given)
        self.faults = Faults()
        self.bytes_max = DATAGRAM_BYTES_MAX
        self.engine = Engine(engine_id_of(name), clock())
        self.upstream: Device | None = None
        self.upstream_port = 0
        self.asked = 0
        self.notify: list[Notify] = []
        self.on_carrier: list[Callable[[Port, float], None]] = []
        self.dark_until = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self.on_later: Callable[[], None] = lambda: None
        """Called when something is to be done later."""
        self._numbers = count()
        self._uptime = Uptime(clock() - self._recorded_ticks() / 100)
        self.links = Links(self.mib, self._uptime.ticks, self._link_changed)
        self.writable: Writable = {
            IF_ADMIN: Column(ber.INTEGER, UP, DOWN, self._wrote_admin),
            IF_ALIAS: Column(ber.OCTET_STRING, 0, 64, self._wrote_alias),
            POE_ADMIN: Column(ber.INTEGER, 1, 2, self._wrote_poe),
        }

    def _recorded_ticks(self) -> int:
        value = self.mib.value(ber.oid(SYS_UPTIME), 0.0)
        return 0 if value is None or value.tag != values.TIME_TICKS else value.number()

    # --- values -------------------------------------------------------------------------------------------------------

    def get(self, oid: str) -> Value | None:
        """Return the value of an OID now; None: there is none."""
        return self.mib.value(ber.oid(oid), self.clock())

    def put(self, oid: str, value: Value | Moving) -> None:
        """Set a value, new or not."""
        self.mib.put(ber.oid(oid), value)

    def drop(self, oid: str) -> None:
        """Take out an OID and all below it."""
        root = ber.oid(oid)
        self.mib.drop(list(self.mib.below(root)))

    def answer(self, pdu: Pdu, asked: Asked) -> bytes | None:
        """Return the response to a PDU; None: there is none.

        Raises:
            MalformedSnmpError: an OID in it is none.
        """
        self.asked += 1
        if pdu.kind == Kind.SET and asked.writes:
            if self.faults.set_dropped:
                return None
            if self.faults.set_late:
                self.later(self.faults.set_late, lambda: self._set_late(pdu))
                return None
        return answer(self.mib, self.writable, pdu, asked, self.faults, self.clock())

    def _set_late(self, pdu: Pdu) -> None:
        """Carry out a SET, long after it came."""
        try:
            apply_set(self.mib, self.writable, pdu.binds, self.clock())
        except Refused:
            pass  # nobody waits for the answer

    # --- motion -------------------------------------------------------------------------------------------------------

    def move(self, rate_bps: float = 1e6) -> None:
        """Let uptime count and the counters of all ports grow by so much traffic while they are up."""
        now = self.clock()
        self._uptime.since = now - self._recorded_ticks() / 100
        self.put(SYS_UPTIME, self._uptime)
        self.put(ENGINE_BOOTS, lambda _: values.integer(self.engine.boots))
        self.put(ENGINE_TIME, lambda at: values.integer(self.engine.time(at)))
        for port in self.links.ports.values():
            self.links.grow(port, rate_bps, now)

    def set_link(self, port: int | str, up: bool, down: int = DOWN) -> None:
        """Plug the cable of a port in or out; `down` is ifOperStatus without it.

        Raises:
            NoSuchPartError: no such port.
        """
        self.links.set_carrier(self.links.find(port), up, self.clock(), down)

    def set_rate(self, port: int | str, rate_bps: float) -> None:
        """Let a port carry so much traffic each way. Raises as `set_link` does."""
        self.links.grow(self.links.find(port), rate_bps, self.clock())

    def set_counter(self, oid: str, rate_per_s: float, value: int | None = None) -> None:
        """Let a counter of any kind grow, from a value or on from where it is.

        Raises:
            SnmpValueError: there is none at that OID.
        """
        told, now = self.get(oid), self.clock()
        if told is None:
            raise SnmpValueError(f"{self.name}: expected a counter at {oid}, got nothing there")
        self.put(oid, Growing(told.tag, told.number() if value is None else value, rate_per_s, now))

    def fade(self, oid: str, to: int, over_s: float) -> None:
        """Let a number go evenly to another one within so many seconds.

        Raises:
            SnmpValueError: there is none at that OID.
        """
        told = self.get(oid)
        if told is None:
            raise SnmpValueError(f"{self.name}: expected a number at {oid}, got nothing there")
        self.put(oid, Fading(told.tag, told.number(), to, self.clock(), over_s))

    def wrap_counters(self, port: int | str, within_s: float = 1.0) -> None:
        """Let the growing 32-bit counters of a port wrap within so many seconds. Raises as `set_link` does."""
        self.links.wrap_counters(self.links.find(port), self.clock(), within_s)

    def reset_counters(self, port: int | str) -> None:
        """Set the counters of a port to 0, as an operator's `clear counters`. Raises as `set_link` does."""
        self.links.reset_counters(self.links.find(port), self.clock())

    # --- life ---------------------------------------------------------------------------------------------------------

    def reachable(self) -> bool:
        """Tell whether it and everything between it and the asker is running."""
        here: Device = self
        while here.clock() >= here.dark_until:
            above = here.upstream
            if above is None:
                return True
            way = above.links.ports.get(here.upstream_port)
            if way is not None and way.oper != UP:
                return False
            here = above
        return False

    def reboot(self, takes_s: float = 0.0) -> None:
        """Restart: silent for so long, then with counters at 0 and one engine boot more; coldStart is told."""
        up_at = self.clock() + takes_s
        self.stay_dark(takes_s)
        self.engine.reboot(up_at)
        self._uptime.since = up_at
        self.put(SYS_UPTIME, self._uptime)
        for port in self.links.ports.values():
            self.links.reset_counters(port, up_at)
        self.later(takes_s, lambda: self.tell(COLD_START))

    def renumber(self, by: int) -> None:
        """Give each interface another ifIndex, as some devices do when they restart or a card is added."""
        rows: dict[bytes, Value | Moving] = {}
        old: list[bytes] = []
        for root in (IF_ENTRY, IF_X_ENTRY, POE_ENTRY):
            for oid in list(self.mib.below(ber.oid(root))):
                words = ber.dotted(oid).split(".")
                value = self.mib.raw(oid)
                if value is None:
                    continue
                words[-1] = str(int(words[-1]) + by)
                old.append(oid)
                rows[ber.oid(".".join(words))] = value
                if ber.dotted(oid).startswith(f"{IF_INDEX}."):
                    rows[ber.oid(".".join(words))] = values.integer(int(words[-1]))
        for oid in list(self.mib.below(ber.oid(BRIDGE_PORT_IF))):
            told = self.mib.value(oid, 0.0)
            if told is not None:
                rows[oid] = values.integer(told.number() + by)
        self.mib.drop(old)
        for oid, value in rows.items():
            self.mib.put(oid, value)
        self.links.load()

    def stay_dark(self, seconds: float) -> None:
        """Answer nothing for so long, and let nothing through; 0: answer again."""
        self.dark_until = self.clock() + seconds if seconds else 0.0

    def change_engine_id(self) -> None:
        """Be replaced by another one, with the same values: the engine id is new, and boots start again."""
        self.engine = Engine(engine_id_of(f"{self.name} {self.engine.engine_id.hex()}"), self.clock(), 1)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something in so many seconds of the lab's clock; whoever serves the device calls `run_due`."""
        heapq.heappush(self._later, (self.clock() + seconds, next(self._numbers), what))
        self.on_later()

    def uptime_ticks(self) -> int:
        """Return sysUpTime now, in hundredths of a second."""
        return self._uptime.ticks(self.clock())

    def run_due(self) -> bool:
        """Do everything that is due by now; return whether something is due later."""
        while self._later and self._later[0][0] <= self.clock():
            heapq.heappop(self._later)[2]()
        return bool(self._later)

    def tell(self, notification: str, *told: tuple[str, Value]) -> None:
        """Send a notification to whoever listens, with values by OID; nothing leaves a device that is not reachable."""
        if self.reachable():
            for notify in self.notify:
                notify(notification, told)

    # --- what follows from a change -----------------------------------------------------------------------------------

    def _link_changed(self, port: Port, now: float) -> None:
        for follow in self.on_carrier:
            follow(port, now)
        index = port.index
        told: list[tuple[str, Value]] = [
            (f"{IF_INDEX}.{index}", values.integer(index - 2**32 if index >= 2**31 else index)),
            (f"{IF_ADMIN}.{index}", values.integer(UP if port.switched_on else DOWN)),
            (f"{IF_OPER}.{index}", values.integer(port.oper)),
        ]
        described = self.get(f"{IF_DESCR}.{index}")
        if described is not None:
            told.append((f"{IF_DESCR}.{index}", described))
        self.tell(LINK_UP if port.oper == UP else LINK_DOWN, *told)

    def _wrote_admin(self, index: str, value: Value, now: float) -> None:
        if index.isdigit() and int(index) in self.links.ports:
            self.links.switch(self.links.ports[int(index)], value.number() == UP, now)

    def _wrote_alias(self, index: str, value: Value, now: float) -> None:
        self.put(f"{IF_ALIAS}.{index}", value)

    def _wrote_poe(self, index: str, value: Value, now: float) -> None:
        """Switch the power of a port (index GROUP.PORT) as pethPsePortAdminEnable does: its device goes dark."""
        self.put(f"{POE_ADMIN}.{index}", value)
        on = value.number() == 1
        self.put(f"{POE_STATUS}.{index}", values.integer(_DELIVERING if on else _DISABLED))
        port = self.links.ports.get(int(index.split(".")[-1]))
        if port is not None:
            self.links.set_carrier(port, on, now)
