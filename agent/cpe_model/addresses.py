"""Addresses of a CPE's parameters and rows, below its target `KIND/NAME/`. Natural keys: instance numbers may change.

    Device.WiFi.SSID.1.SSID                                     a parameter: {"value": text}
    Device.NAT.PortMapping.[ExternalPort=8080](Enable,InternalPort)
                                                                a row of a table, by the fields that tell it apart, and
                                                                the other fields that matter: {field: text}
    @run:Device.IP.Diagnostics.IPPing.                          a diagnostic: {"key": of the run, "over": yes or no}
    @boots, @resets, @firmware                                  the CPE's word on itself when it called in: nothing
                                                                is asked of it to read these

Instance numbers that a data model fixes (radio 1, WAN interface 1) stand in a parameter's path as the CPE has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.cpe_model.errors import BadAddressError
from agent.model import Address

VALUE: Final = "value"
"""The one field of a parameter."""
BOOTS: Final = "@boots"
"""{"count": how often it said `1 BOOT`}."""
RESETS: Final = "@resets"
"""{"count": how often it said `0 BOOTSTRAP`}."""
FIRMWARE: Final = "@firmware"
"""{"version": the SoftwareVersion of its last Inform}."""
RUN: Final = "@run:"
"""Before the path of a diagnostic's object."""
TOLD: Final = (BOOTS, RESETS, FIRMWARE)

_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.([A-Za-z_][A-Za-z0-9_-]*|[1-9][0-9]*))*\.?", re.ASCII)
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_ROW: Final = re.compile(r"(?P<table>[^\[\]()]+\.)\[(?P<key>[^\]]+)\]\((?P<fields>[^)]*)\)")
PATH_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table. `table` ends in a dot; `key`: field -> text; `fields`: the others that matter, in order."""

    table: str
    key: Mapping[str, str]
    fields: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All fields: the key's first."""
        return (*self.key, *self.fields)


def name_of(target: str) -> str:
    """Return the CPE's name of a target's id."""
    return target.partition("/")[2]


def is_path(text: str) -> bool:
    """Return whether a text is the full name of a parameter, or an object's with its dot."""
    return len(text) <= PATH_CHARS and _PATH.fullmatch(text) is not None


def address(target: str, what: str) -> Address:
    """Return the address of a parameter's path, or of one of `TOLD`, at a CPE's target."""
    return Address(f"{target}/{what}")


def row_address(target: str, row: TableRow) -> Address:
    """Return the address of a row.

    Raises:
        BadAddressError: a key that an address cannot hold.
    """
    for field, text in row.key.items():
        if not _FIELD.fullmatch(field) or not text or set(text) & set("[](),="):
            raise BadAddressError("row: expected key fields whose values have none of [ ] ( ) , =")
    if not row.key or not all(_FIELD.fullmatch(f) for f in row.fields) or not is_path(row.table):
        raise BadAddressError("row: expected a table's path, a key and field names")
    key = ",".join(f"{field}={text}" for field, text in row.key.items())
    return address(target, f"{row.table}[{key}]({','.join(row.fields)})")


def what_of(addr: Address) -> str | TableRow:
    """Return the parameter's path, the member of `TOLD` or the row that an address names.

    Raises:
        BadAddressError: it names nothing that a CPE has.
    """
    parts = addr.split("/", 2)
    if len(parts) != 3:
        raise BadAddressError("address: expected KIND/NAME/PATH")
    what = parts[2]
    if what in TOLD or is_path(what.removeprefix(RUN)):
        return what
    if (found := _ROW.fullmatch(what)) and is_path(found["table"]):
        key = dict(pair.partition("=")[::2] for pair in found["key"].split(","))
        row = TableRow(found["table"], key, tuple(f for f in found["fields"].split(",") if f))
        if row_address(f"{parts[0]}/{parts[1]}", row) == addr:
            return row
    raise BadAddressError("address: expected a parameter's path, or a table's with a key")
