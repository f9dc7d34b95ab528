"""Access points of three makers, with their registered stations. Pure.

Columns as UBNT-AirMAX-MIB, MIKROTIK-MIB and CAMBIUM-PMP80211-MIB name them. Their indexes in an ePMP are assumed
(`lab/assumed.toml`, snmp-epmp-stations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from lab.snmp import ber, values
from lab.snmp.mib import Moving
from lab.snmp.tables import numbers
from lab.snmp.values import Value

Rows = dict[str, Value | Moving]
WLAN: Final = 2
"""ifIndex of the radio; 1 is the port towards the network."""


@dataclass(frozen=True, slots=True)
class Station:
    """A customer's radio: its MAC address, the name that it says, its number, and the signal at the access point."""

    mac: str
    name: str
    number: int
    signal_dbm: int


class Maker(Protocol):
    """How a maker's access point tells of itself and of its stations."""

    description: str
    object_id: str

    def radio(self, ssid: str, frequency_mhz: int, clients: int) -> Rows:
        """Return the values of the radio."""
        ...

    def station(self, station: Station) -> Rows:
        """Return the rows of a station."""
        ...

    def signal(self, station: Station) -> str:
        """Return the OID of a station's signal."""
        ...

    def clients(self) -> tuple[str, int]:
        """Return the OID that counts the stations, and the tag of its value."""
        ...


class AirMax:
    """Ubiquiti airOS."""

    description = "Linux 4.1.15 #1 Tue Mar 5 11:21:40 EET 2026 armv7l"
    object_id = "1.3.6.1.4.1.10002.1"
    _root: Final = "1.3.6.1.4.1.41112.1.4"

    def radio(self, ssid: str, frequency_mhz: int, clients: int) -> Rows:
        return {
            "1.2.840.10036.3.1.2.1.2.5": values.string("Ubiquiti Networks, Inc."),
            "1.2.840.10036.3.1.2.1.3.5": values.string("Rocket 5AC Prism"),
            "1.2.840.10036.3.1.2.1.4.5": values.string("XC.qca955x.v8.7.11"),
            f"{self._root}.1.1.2.1": values.integer(2),
            f"{self._root}.1.1.4.1": values.integer(frequency_mhz),
            f"{self._root}.1.1.6.1": values.integer(24),
            f"{self._root}.1.1.7.1": values.integer(6000),
            f"{self._root}.5.1.2.1": values.string(ssid),
            f"{self._root}.5.1.5.1": values.integer(-60),
            f"{self._root}.5.1.6.1": values.integer(36),
            f"{self._root}.5.1.7.1": values.integer(93),
            f"{self._root}.5.1.8.1": values.integer(-95),
            f"{self._root}.5.1.9.1": values.integer(130_000_000),
            f"{self._root}.5.1.10.1": values.integer(130_000_000),
            f"{self._root}.5.1.14.1": values.integer(40),
            f"{self._root}.5.1.15.1": values.gauge(clients),
        }

    def station(self, station: Station) -> Rows:
        row, root = f"1.{numbers(station.mac)}", f"{self._root}.7.1"
        return {
            f"{root}.1.{row}": values.mac(station.mac),
            f"{root}.2.{row}": values.string(station.name),
            f"{root}.3.{row}": values.integer(station.signal_dbm),
            f"{root}.4.{row}": values.integer(-95),
            f"{root}.5.{row}": values.integer(1200 + 150 * station.number),
            f"{root}.6.{row}": values.integer(91),
            f"{root}.11.{row}": values.integer(117_000_000),
            f"{root}.12.{row}": values.integer(104_000_000),
            f"{root}.13.{row}": values.counter64(0),
            f"{root}.14.{row}": values.counter64(0),
            f"{root}.15.{row}": values.ticks(_REGISTERED_TICKS),
        }

    def signal(self, station: Station) -> str:
        return f"{self._root}.7.1.3.1.{numbers(station.mac)}"

    def clients(self) -> tuple[str, int]:
        return f"{self._root}.5.1.15.1", values.GAUGE32


class MikroTik:
    """RouterOS, with the wireless package."""

    description = "RouterOS RB921UAGS-5SHPacD"
    object_id = "1.3.6.1.4.1.14988.1"
    _root: Final = "1.3.6.1.4.1.14988.1.1"

    def radio(self, ssid: str, frequency_mhz: int, clients: int) -> Rows:
        root = f"{self._root}.1.3.1"
        return {
            f"{root}.2.{WLAN}": values.gauge(130_000_000),
            f"{root}.3.{WLAN}": values.gauge(117_000_000),
            f"{root}.4.{WLAN}": values.string(ssid),
            f"{root}.6.{WLAN}": values.counter32(clients),
            f"{root}.7.{WLAN}": values.integer(frequency_mhz),
            f"{root}.8.{WLAN}": values.string("5ghz-a/n/ac"),
            f"{root}.9.{WLAN}": values.integer(-106),
            f"{root}.10.{WLAN}": values.gauge(88),
            f"{self._root}.3.8.0": values.integer(241),
            f"{self._root}.3.10.0": values.integer(390),
            f"{self._root}.4.4.0": values.string("7.20.8"),
            f"{self._root}.7.3.0": values.string("HCX0LAB00001"),
            f"{self._root}.7.8.0": values.string("RB921UAGS-5SHPacD"),
        }

    def station(self, station: Station) -> Rows:
        row, root = f"{numbers(station.mac)}.{WLAN}", f"{self._root}.1.2.1"
        return {
            f"{root}.1.{row}": values.mac(station.mac),
            f"{root}.3.{row}": values.integer(station.signal_dbm),
            f"{root}.4.{row}": values.counter32(0),
            f"{root}.5.{row}": values.counter32(0),
            f"{root}.8.{row}": values.gauge(117_000_000),
            f"{root}.9.{row}": values.gauge(104_000_000),
            f"{root}.10.{row}": values.string("7.20.8"),
            f"{root}.11.{row}": values.ticks(_REGISTERED_TICKS),
            f"{root}.12.{row}": values.integer(42),
            f"{root}.20.{row}": values.string(station.name),
        }

    def signal(self, station: Station) -> str:
        return f"{self._root}.1.2.1.3.{numbers(station.mac)}.{WLAN}"

    def clients(self) -> tuple[str, int]:
        return f"{self._root}.1.3.1.6.{WLAN}", values.COUNTER32


class Epmp:
    """Cambium ePMP."""

    description = "Cambium ePMP"
    object_id = "1.3.6.1.4.1.17713.21"
    _root: Final = "1.3.6.1.4.1.17713.21.1"

    def radio(self, ssid: str, frequency_mhz: int, clients: int) -> Rows:
        return {
            f"{self._root}.1.6.0": values.integer(1),
            f"{self._root}.1.17.0": values.string("4.8.1"),
            f"{self._root}.1.31.0": values.string("E5LAB0000001"),
            f"{self._root}.1.33.0": values.integer(1),
            f"{self._root}.2.1.0": values.integer(frequency_mhz),
            f"{self._root}.2.10.0": values.integer(clients),
        }

    def station(self, station: Station) -> Rows:
        root, n = f"{self._root}.2.30.1", station.number
        return {
            f"{root}.1.{n}": values.string(station.mac.upper()),
            f"{root}.2.{n}": values.integer(n),
            f"{root}.3.{n}": values.integer(0),
            f"{root}.4.{n}": values.integer(station.signal_dbm),
            f"{root}.5.{n}": values.integer(station.signal_dbm - 2),
            f"{root}.6.{n}": values.integer(28),
            f"{root}.7.{n}": values.integer(27),
            f"{root}.8.{n}": values.integer(13),
            f"{root}.9.{n}": values.integer(13),
            f"{root}.10.{n}": values.ip(f"10.21.3.{n}"),
            f"{root}.18.{n}": values.string(station.name),
            f"{root}.27.{n}": values.string("1 day, 02:03:04"),
            f"{root}.28.{n}": values.string("93.4"),
            f"{root}.29.{n}": values.integer(2),
        }

    def signal(self, station: Station) -> str:
        return f"{self._root}.2.30.1.4.{station.number}"

    def clients(self) -> tuple[str, int]:
        return f"{self._root}.2.10.0", ber.INTEGER


_REGISTERED_TICKS: Final = 9_000_000
MAKERS: Final[tuple[Maker, ...]] = (AirMax(), MikroTik(), Epmp())
