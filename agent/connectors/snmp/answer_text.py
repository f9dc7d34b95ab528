"""Names and values of a device as people read them. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

from agent.connectors.base import AnswerRow
from agent.connectors.snmp import values
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import DeviceReading

_TYPES: Final = {
    values.INTEGER: "INTEGER",
    values.OCTET_STRING: "STRING",
    values.NULL: "NULL",
    values.OBJECT_IDENTIFIER: "OID",
    values.IP_ADDRESS: "IpAddress",
    values.COUNTER32: "Counter32",
    values.GAUGE32: "Gauge32",
    values.TIME_TICKS: "Timeticks",
    values.OPAQUE: "Opaque",
    values.COUNTER64: "Counter64",
    values.NO_SUCH_OBJECT: "noSuchObject",
    values.NO_SUCH_INSTANCE: "noSuchInstance",
    values.END_OF_MIB_VIEW: "endOfMibView",
}


def row_of(name: Oid, value: Value) -> dict[str, str]:
    """Return `oid`, `type` and `value` of a varbind."""
    return {"oid": values.dotted(name), "type": _TYPES.get(value[0], hex(value[0])), "value": text_of(value)}


def text_of(value: Value) -> str:
    """Return a value's text: octets that are no printable text in hexadecimal digits."""
    tag, content = value
    if isinstance(content, int):
        return "" if tag in values.MISSING else str(content)
    if tag == values.OBJECT_IDENTIFIER:
        return values.dotted(Oid(content)) if content else ""
    if tag == values.IP_ADDRESS and len(content) == 4:
        return str(ipaddress.IPv4Address(content))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content.hex(" ")
    return text if all(letter.isprintable() or letter in "\r\n\t" for letter in text) else content.hex(" ")


def _number(value: float) -> str:
    """Return a number as people read it: 117 M, never 1.17e+08."""
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.6g} {prefix}"
    return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"


def rows_of(reading: DeviceReading) -> list[AnswerRow]:
    """Return a reading as rows: the device, its parts, sensors, neighbors, and the tables that were not read."""
    rows: list[AnswerRow] = [
        {
            "what": "device",
            "name": reading.identity,
            "text": reading.description,
            "profile": reading.profile,
            "hardware": reading.hardware,
            "version": reading.version,
            "serial": reading.serial,
        }
    ]
    rows += [
        {
            "what": part.kind.value,
            "key": part.key,
            "name": part.name,
            "alias": part.alias,
            "state": part.state.value,
            "told": part.told,
            "mac": part.mac,
            "serial": part.serial,
            "values": ", ".join(f"{name} {_number(value)}" for name, value in part.measures.items()),
        }
        for part in reading.parts
    ]
    rows += [
        {
            "what": "sensor",
            "key": one.key,
            "name": one.label,
            "values": one.text if one.value is None else f"{_number(one.value)} {one.unit}".rstrip(),
        }
        for one in reading.sensors
    ]
    rows += [
        {"what": "neighbor", "name": one.identity, "text": one.platform, "key": one.port, "mac": one.mac}
        for one in reading.neighbors
    ]
    return [*rows, *({"what": "not read", "text": text} for text in reading.not_read)]
