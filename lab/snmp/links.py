"""The interfaces of a device: administrative and operational state, last change, counters (RFC 2863). Pure.

Assumed: a port that a recording shows switched off has a cable in it, so that it comes up when it is switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lab.snmp import ber, values
from lab.snmp.errors import NoSuchPartError
from lab.snmp.mib import Mib
from lab.snmp.moving import Growing

IF_ENTRY: Final = "1.3.6.1.2.1.2.2.1"
IF_INDEX: Final = f"{IF_ENTRY}.1"
IF_DESCR: Final = f"{IF_ENTRY}.2"
IF_ADMIN: Final = f"{IF_ENTRY}.7"
IF_OPER: Final = f"{IF_ENTRY}.8"
IF_LAST_CHANGE: Final = f"{IF_ENTRY}.9"
IF_X_ENTRY: Final = "1.3.6.1.2.1.31.1.1.1"
IF_NAME: Final = f"{IF_X_ENTRY}.1"
IF_ALIAS: Final = f"{IF_X_ENTRY}.18"
UP: Final = 1
DOWN: Final = 2

# octets, packets, discards and errors of ifEntry; octets and packets of ifXEntry, 32 and 64 bits
_COUNTERS: Final = (
    *(f"{IF_ENTRY}.{n}" for n in (10, 11, 12, 13, 14, 16, 17, 18, 19, 20)),
    *(f"{IF_X_ENTRY}.{n}" for n in range(2, 14)),
)
_OCTETS: Final = (f"{IF_ENTRY}.10", f"{IF_ENTRY}.16", f"{IF_X_ENTRY}.6", f"{IF_X_ENTRY}.10")
_PACKETS: Final = (f"{IF_ENTRY}.11", f"{IF_ENTRY}.17", f"{IF_X_ENTRY}.7", f"{IF_X_ENTRY}.11")
_PACKET_BYTES: Final = 700


@dataclass(slots=True)
class Port:
    """One interface: switched on or not, with a signal on its line or not.

    `down`: ifOperStatus while it is not up; `rate_bps`: traffic each way while it is up.
    """

    index: int
    switched_on: bool
    carrier: bool
    down: int = DOWN
    rate_bps: float = 0.0

    @property
    def oper(self) -> int:
        """IfOperStatus."""
        if not self.switched_on:
            return DOWN
        return UP if self.carrier else self.down


Changed = Callable[[Port, float], None]


class Links:
    """The interfaces of one device. `changed` is called when ifOperStatus of one changes."""

    def __init__(self, mib: Mib, uptime_ticks: Callable[[float], int], changed: Changed) -> None:
        self._mib, self._uptime_ticks, self._changed = mib, uptime_ticks, changed
        self.ports: dict[int, Port] = {}
        self.load()

    def load(self) -> None:
        """Read the interfaces that the values have."""
        self.ports.clear()
        for index in self._indexes():
            admin, oper = self._number(IF_ADMIN, index, UP), self._number(IF_OPER, index, UP)
            down = oper if oper not in (0, UP) else DOWN
            self.ports[index] = Port(index, admin != DOWN, oper == UP or admin == DOWN, down)

    def _indexes(self) -> Iterator[int]:
        root = ber.oid(IF_OPER)
        for oid in self._mib.below(root):
            yield int(ber.dotted(oid)[len(IF_OPER) + 1 :].split(".")[0])

    def _number(self, column: str, index: int, otherwise: int) -> int:
        value = self._mib.value(ber.oid(f"{column}.{index}"), 0.0)
        return otherwise if value is None or value.tag != ber.INTEGER else value.number()

    def find(self, name: int | str) -> Port:
        """Return an interface by ifIndex, ifName, ifDescr or ifAlias.

        Raises:
            NoSuchPartError: there is none.
        """
        if isinstance(name, int):
            found = self.ports.get(name)
        else:
            found = next((p for column in (IF_NAME, IF_DESCR, IF_ALIAS) for p in self._named(column, name)), None)
        if found is None:
            raise NoSuchPartError(f"expected an interface by ifIndex, ifName, ifDescr or ifAlias, got {name!r}")
        return found

    def _named(self, column: str, name: str) -> Iterator[Port]:
        for port in self.ports.values():
            value = self._mib.value(ber.oid(f"{column}.{port.index}"), 0.0)
            if value is not None and value.text() == name:
                yield port

    def set_carrier(self, port: Port, present: bool, now: float, down: int = DOWN) -> None:
        """Plug a cable in or out; `down` is ifOperStatus without it."""
        before = port.oper
        port.carrier, port.down = present, down
        self._show(port, before, now)

    def switch(self, port: Port, on: bool, now: float) -> None:
        """Switch a port on or off, as ifAdminStatus does."""
        before = port.oper
        port.switched_on = on
        self._mib.put(ber.oid(f"{IF_ADMIN}.{port.index}"), values.integer(UP if on else DOWN))
        self._show(port, before, now)

    def _show(self, port: Port, before: int, now: float) -> None:
        if port.oper == before:
            return
        self._mib.put(ber.oid(f"{IF_OPER}.{port.index}"), values.integer(port.oper))
        self._mib.put(ber.oid(f"{IF_LAST_CHANGE}.{port.index}"), values.ticks(self._uptime_ticks(now)))
        self._set_rates(port, now)
        self._changed(port, now)

    # --- counters -----------------------------------------------------------------------------------------------------

    def grow(self, port: Port, rate_bps: float, now: float) -> None:
        """Let the octets and packets of a port grow with that much traffic each way, while it is up."""
        port.rate_bps = rate_bps
        for column in (*_OCTETS, *_PACKETS):
            oid = ber.oid(f"{column}.{port.index}")
            value = self._mib.raw(oid)
            if value is not None and not isinstance(value, Growing):
                told = value(now) if callable(value) else value
                self._mib.put(oid, Growing(told.tag, told.number(), 0.0, now))
        self._set_rates(port, now)

    def _set_rates(self, port: Port, now: float) -> None:
        octets_per_s = port.rate_bps / 8 if port.oper == UP else 0.0
        for columns, rate in ((_OCTETS, octets_per_s), (_PACKETS, octets_per_s / _PACKET_BYTES)):
            for column in columns:
                counter = self._mib.raw(ber.oid(f"{column}.{port.index}"))
                if isinstance(counter, Growing):
                    counter.change_rate(rate, now)

    def wrap_counters(self, port: Port, now: float, within_s: float = 1.0) -> None:
        """Put the growing 32-bit counters of a port just before their end."""
        for column in _COUNTERS:
            counter = self._mib.raw(ber.oid(f"{column}.{port.index}"))
            if isinstance(counter, Growing) and counter.tag != values.COUNTER64:
                counter.near_wrap(now, within_s)

    def reset_counters(self, port: Port, now: float) -> None:
        """Set all counters of a port to 0."""
        for column in _COUNTERS:
            oid = ber.oid(f"{column}.{port.index}")
            counter = self._mib.raw(oid)
            if isinstance(counter, Growing):
                counter.put(0, now)
            elif counter is not None and not callable(counter):
                self._mib.put(oid, values.number(counter.tag, 0))
