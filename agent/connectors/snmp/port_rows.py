"""Ports as they are changed: the part of a profile that finds them, and the writable values of each. Pure.

* A port is found by its natural key each time that it is read; its ifIndex is of that reading alone.
* Two ports of one name have keys that end with their index: neither is ever written, since the index may change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.snmp import profile_choice, profile_reading, values
from agent.connectors.snmp.profile import ADMIN, ALIAS, DEVICE, SnmpProfile, Sources, TableProfile, WriteColumn
from agent.connectors.snmp.profile_choice import WantedValues
from agent.connectors.snmp.values import MISSING, OCTET_STRING, Oid, Value
from agent.line_model.reading import Part, PartKind
from agent.model import ABSENT
from agent.model import Value as FieldValues

_NAMES: Final = ("name", "alias", "index", "mac")
_FACTS: Final = ("description", "type")
_UP: Final = "up"
_OPER: Final = "oper"
_OCTETS: Final = "octets"
"""Field of a description that is no UTF-8: its octets in hex, so that exactly they can be put back."""


@dataclass(frozen=True, slots=True)
class PortCell:
    """A writable value of a port: its OID, its present value, and the device's own word on it ("": none).

    `value` None: the device does not show it.
    """

    how: WriteColumn
    oid: Oid
    value: Value | None
    told: str = ""


@dataclass(frozen=True, slots=True)
class WritablePort:
    """A port with its writable values, by the names of `profile.WRITES`. `tail`: its index in this reading."""

    part: Part
    tail: bytes
    cells: Mapping[str, PortCell]

    @property
    def names(self) -> tuple[str, ...]:
        """How people call it: the end of its key, its ifName and its ifDescr."""
        return tuple(dict.fromkeys((key_of(self.part), self.part.name, self.part.facts.get("description", ""))))

    @property
    def ambiguous(self) -> bool:
        """Whether its key is that of several ports with their index behind it."""
        return self.part.key.endswith(f"~{'.'.join(map(str, values.index(self.tail)))}")


def key_of(part: Part) -> str:
    """Return the name of a port in addresses."""
    return part.key.partition("/")[2]


@dataclass(frozen=True, slots=True)
class PortReader:
    """Reads the ports of a device by its profile. `narrow`: the profile without all that says nothing of ports."""

    narrow: SnmpProfile

    @property
    def wanted(self) -> WantedValues:
        """The questions to the device."""
        found = profile_choice.wanted(self.narrow)
        more = []
        for table in self.narrow.tables:
            columns = dict.fromkeys(column for how in table.write.values() for column in _columns(how))
            more.append(tuple(columns))
        return WantedValues(found.scalars, tuple(group for group in (*found.columns, *more) if group))

    def rows(
        self, read_s: int, scalars: Mapping[Oid, Value], columns: Mapping[Oid, Mapping[bytes, Value]]
    ) -> tuple[Mapping[str, WritablePort], str]:
        """Return the ports by their key in addresses, and the device's serial number, "" where it tells none."""
        found = profile_reading.part_rows(self.narrow, read_s, scalars, columns)
        tails: dict[str, bytes] = {}
        cells: dict[str, dict[str, PortCell]] = {}
        for table in self.narrow.tables:
            for tail, key in found.keys.get(table.name, {}).items():
                if table.key is not None:
                    tails[key] = tail
                for name, how in table.write.items():
                    cells.setdefault(key, {})[name] = _cell(how, tail, columns)
        ports = {
            key_of(part): WritablePort(part, tails.get(key, b""), cells.get(key, {}))
            for key, part in found.parts.items()
            if part.kind is PartKind.PORT
        }
        return ports, found.serial


def _columns(how: WriteColumn) -> tuple[Oid, ...]:
    return (how.of.column,) if how.told is None else (how.of.column, how.told.column)


def _cell(how: WriteColumn, tail: bytes, columns: Mapping[Oid, Mapping[bytes, Value]]) -> PortCell:
    value, told = columns.get(how.of.column, {}).get(tail), ""
    if how.told is not None:
        answer = columns.get(how.told.column, {}).get(tail)
        if answer is not None and isinstance(answer[1], int) and answer[0] not in MISSING:
            told = how.told.words.get(answer[1], f"({answer[1]})")
    shown = None if value is None or value[0] in MISSING else value
    return PortCell(how, Oid(how.of.column + tail), shown, told)


def reader_of(profile: SnmpProfile) -> PortReader:
    """Return the reader of ports by a profile."""
    needed = {table.name for table in profile.tables if table.write or "serial" in _of_device(table)}
    for table in reversed(profile.tables):
        if table.name in needed:
            needed.update(way.of for way in table.part if way.of)
    return PortReader(replace(profile, tables=tuple(_narrowed(t) for t in profile.tables if t.name in needed)))


def _of_device(table: TableProfile) -> Iterable[str]:
    return table.values if table.kind == DEVICE else ()


def _narrowed(table: TableProfile) -> TableProfile:
    """Return a table without the values that are not needed to find its rows and to name its parts."""
    if table.kind == DEVICE or not table.rows:  # every column says which rows there are
        return table
    kept = {name for name in (*_NAMES, *table.rows, *table.where, *table.where_not) if name in table.values}
    kept |= set(table.key.names if table.key else ()) & table.values.keys()
    facts = {label: ways for label, ways in table.facts.items() if label in _FACTS}
    while True:
        needs = set(_needed([*(table.values[name] for name in kept), *table.let.values(), *facts.values()]))
        if not (more := (needs & table.values.keys()) - kept):
            break
        kept |= more
    return replace(table, values={name: ways for name, ways in table.values.items() if name in kept}, facts=facts)


def _needed(every: Iterable[Sources]) -> Iterable[str]:
    for ways in every:
        for way in ways:
            yield from (*way.how.names, *way.when, way.value, way.named)
            yield from (one for one in (*(way.at or ()), *(way.below or ())) if isinstance(one, str))
            yield from way.template.names if way.template is not None else ()


# --- values as plans have them --------------------------------------------------------------------------------------


def field_values(name: str, cell: PortCell | None) -> FieldValues:
    """Return a port's value in the words of the profile; ABSENT where the device shows none.

    A port that is switched off and says that it is up contradicts itself: then `oper` says so too, and nobody takes it
    for switched off.
    """
    if cell is None or cell.value is None:
        return ABSENT
    content = cell.value[1]
    if name == ALIAS:
        return _text(content) if isinstance(content, bytes) else ABSENT
    if not isinstance(content, int):
        return ABSENT
    word = cell.how.of.words.get(content, f"({content})")
    if name == ADMIN and word == "down" and cell.told == _UP:
        return {ADMIN: word, _OPER: _UP}
    return {name: word}


def _text(octets: bytes) -> FieldValues:
    octets = octets.rstrip(b"\x00")  # some agents fill the field
    try:
        return {ALIAS: octets.decode("utf-8")}
    except UnicodeDecodeError:
        return {_OCTETS: octets.hex()}


def wire_value(name: str, cell: PortCell, wanted: FieldValues) -> Value | None:
    """Return the value to write so that a port reads as wanted; None: there is none."""
    if wanted is ABSENT:
        return None
    if name == ALIAS:
        text, octets = wanted.get(ALIAS), wanted.get(_OCTETS)
        if isinstance(text, str):
            return OCTET_STRING, text.encode("utf-8")
        return (OCTET_STRING, bytes.fromhex(octets)) if isinstance(octets, str) else None
    word = wanted.get(name)
    if not isinstance(word, str) or word not in cell.how.of.words.values():
        return None
    return values.INTEGER, cell.how.number(word)
