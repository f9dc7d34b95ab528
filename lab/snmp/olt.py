"""A GPON OLT and its ONUs, with columns as HUAWEI-XPON-MIB names them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab.snmp import values
from lab.snmp.mib import Moving
from lab.snmp.values import Value

DESCRIPTION: Final = "Huawei Integrated Access Software"
OBJECT_ID: Final = "1.3.6.1.4.1.2011.2.123"
_ROOT: Final = "1.3.6.1.4.1.2011.6.128.1.1.2"
_SERIAL: Final = f"{_ROOT}.43.1.3"
_DESCRIPTION: Final = f"{_ROOT}.43.1.9"
_RUN_STATUS: Final = f"{_ROOT}.46.1.15"
_DISTANCE: Final = f"{_ROOT}.46.1.20"
_DOWN_CAUSE: Final = f"{_ROOT}.46.1.24"
_OPTICAL: Final = f"{_ROOT}.51.1"
_ONLINE: Final = 1
_OFFLINE: Final = 2
_LOSS_OF_SIGNAL: Final = 2
_NOTHING_READ: Final = 0x7FFFFFFF
_OLT_RX_OFFSET: Final = 10_000


def pon_index(slot: int, port: int) -> int:
    """Return the ifIndex of a GPON port of frame 0."""
    return 0xFA000000 + slot * 0x2000 + port * 0x100


@dataclass(frozen=True, slots=True)
class Onu:
    """An ONU: its serial number (four letters, eight hexadecimal digits), description, place, and power in 0.01 dBm."""

    serial: str
    description: str
    pon: int
    number: int
    rx_power: int
    olt_rx_power: int

    @property
    def row(self) -> str:
        """Its index in the tables."""
        return f"{self.pon}.{self.number}"


def rows(onu: Onu) -> dict[str, Value | Moving]:
    """Return the values of an ONU that is online."""
    serial = onu.serial[:4].encode() + bytes.fromhex(onu.serial[4:])
    return {
        f"{_SERIAL}.{onu.row}": values.string(serial),
        f"{_DESCRIPTION}.{onu.row}": values.string(onu.description),
        f"{_DISTANCE}.{onu.row}": values.integer(900 + 37 * onu.number),
        f"{_DOWN_CAUSE}.{onu.row}": values.integer(-1),
        **light(onu),
    }


def light(onu: Onu) -> dict[str, Value | Moving]:
    """Return the values that an ONU with light has."""
    return {
        f"{_RUN_STATUS}.{onu.row}": values.integer(_ONLINE),
        f"{_OPTICAL}.1.{onu.row}": values.integer(45),
        f"{_OPTICAL}.2.{onu.row}": values.integer(12),
        f"{_OPTICAL}.3.{onu.row}": values.integer(230),
        f"{_OPTICAL}.4.{onu.row}": values.integer(onu.rx_power),
        f"{_OPTICAL}.5.{onu.row}": values.integer(3280),
        f"{_OPTICAL}.6.{onu.row}": values.integer(onu.olt_rx_power + _OLT_RX_OFFSET),
    }


def darkness(onu: Onu) -> dict[str, Value | Moving]:
    """Return the values of an ONU without light: nothing of its optics is known."""
    return {
        f"{_RUN_STATUS}.{onu.row}": values.integer(_OFFLINE),
        f"{_DOWN_CAUSE}.{onu.row}": values.integer(_LOSS_OF_SIGNAL),
        **{f"{_OPTICAL}.{n}.{onu.row}": values.integer(_NOTHING_READ) for n in range(1, 7)},
    }


def rx_power_oid(onu: Onu) -> str:
    """Return the OID of the power that an ONU receives."""
    return f"{_OPTICAL}.4.{onu.row}"
