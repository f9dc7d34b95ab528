"""A profile: how the columns and scalars of a family of devices become a `DeviceReading`.

* A profile is data. `profile_files.py` makes it from TOML and checks it; `profiles/system.toml` explains the format.
* Values are computed in the order of the file; each may use those above it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from agent.connectors.snmp import conversions
from agent.connectors.snmp.conversions import Result
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import COUNTERS, MEASURES, PartKind

PART_KINDS: Final = MappingProxyType({kind.value: kind for kind in PartKind})
SENSOR, NEIGHBOR, MAC, DEVICE = "sensor", "neighbor", "mac", "device"
PART_TEXTS: Final = frozenset({"name", "alias", "state", "told", "mac", "serial", "parent", "index", "since"})
UNITS: Final = MappingProxyType(
    {
        "temperature": "C",
        "voltage": "V",
        "current": "A",
        "power": "W",
        "load": "%",
        "memory": "%",
        "fan": "rpm",
        "battery": "%",
        "runtime": "min",
        "state": "",
        "value": "",
    }
)
"""Quantities of a sensor, each with its unit."""
VALUES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(PART_KINDS, PART_TEXTS | MEASURES.keys() | COUNTERS.keys()),
        SENSOR: frozenset({"quantity", "label", "value", "unit", "text"}),
        NEIGHBOR: frozenset({"identity", "address", "interface", "platform", "version", "mac", "port", "remote_port"}),
        MAC: frozenset({"mac", "part", "vlan", "address"}),
        DEVICE: frozenset(
            {"identity", "description", "object_id", "hardware", "version", "serial", "uptime_s", "engine_s", "boots"}
        ),
    }
)
"""Names of a table's values, by its kind."""


ADMIN, ALIAS, POWER = "admin", "alias", "power"
WRITES: Final = MappingProxyType(
    {ADMIN: frozenset({"up", "down"}), ALIAS: frozenset(), POWER: frozenset({"on", "off"})}
)
"""Writable values of a part, with the words for which a profile must give numbers; without words: a text."""
ALIAS_OCTETS: Final = 64
"""IfAlias (RFC 2863)."""

_KNOWN_MAX: Final = 8192
"""Values that a conversion remembers, chosen arbitrarily: some 1 MiB of names."""


class IndexType(enum.Enum):
    """How a part of a row's index is written (RFC 2578, section 7.7)."""

    INT = "int"
    MAC = "mac"
    IP = "ip"
    INET = "inet"
    """InetAddressType and InetAddress."""
    TEXT = "text"
    """A text behind its length."""
    REST = "rest"
    """A text up to the end (IMPLIED)."""
    SERIAL = "serial"
    """Eight sub-identifiers that are the serial number of an ONU."""
    ANY = "any"
    """Everything up to the end, shown in dots."""


@dataclass(frozen=True, slots=True)
class IndexPart:
    """A part of a row's index."""

    name: str
    type: IndexType


@dataclass(frozen=True, slots=True)
class Template:
    """A text with names in braces. `pieces`: text and name in turns, the first one a text."""

    pieces: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.pieces[1::2]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Steps by which a value is converted, in the order of these attributes.

    Args:
        kind: of `conversions.AS`.
        regex: a text that does not match is dropped; the first group, or else the match, is the value.
        bits: lowest bit and number of bits of an integer.
        only: texts of the values that count; empty: all.
        drop: texts of values that mean that there is none.
        words: text of a value -> the text or number in its place; others are dropped. None: every one stays.
        largest, smallest: names of values; the largest or smallest of them and the value counts.
        minus: names of values that are subtracted.
        times: names of values by which it is multiplied.
        percent_of: name of the value that is 100 %.
        scale: factor; offset: added behind it.
        to_dbm: the number is of milliwatts and becomes dBm.
        least, most: a number outside is dropped.
    """

    kind: str = ""
    regex: re.Pattern[str] | None = None
    bits: tuple[int, int] | None = None
    only: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    words: Mapping[str, Result] | None = None
    largest: tuple[str, ...] = ()
    smallest: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    percent_of: str = ""
    scale: float = 1
    offset: float = 0
    to_dbm: bool = False
    least: float | None = None
    most: float | None = None

    untouched: bool = field(init=False, default=False)
    """Nothing is to be done."""
    sifts: bool = field(init=False, default=False)
    """More is done than to convert by `kind`, before other values count."""
    known: dict[Value, Result | None] = field(init=False, default_factory=dict, compare=False, repr=False)
    """Values that were sifted before: states come again at each poll."""
    computes: bool = field(init=False, default=False)
    """The value becomes a number that depends on more than the value itself."""

    def __post_init__(self) -> None:
        computes = bool(
            self.largest
            or self.smallest
            or self.minus
            or self.times
            or self.percent_of
            or self.to_dbm
            or self.kind in ("ago", "ticks")
            or (self.scale, self.offset, self.least, self.most) != (1, 0, None, None)
        )
        sifts = bool(self.regex or self.bits or self.only or self.drop or self.words is not None)
        object.__setattr__(self, "computes", computes)
        object.__setattr__(self, "sifts", sifts)
        object.__setattr__(self, "untouched", not computes and not sifts and not self.kind)

    @property
    def names(self) -> tuple[str, ...]:
        """Other values that it needs."""
        others = (*self.largest, *self.smallest, *self.minus, *self.times)
        return (*others, *((self.percent_of,) if self.percent_of else ()))

    def first(self, value: Value) -> Result | None:
        """Return a value converted by itself, before those of other names count; None: it is dropped."""
        if not self.sifts:
            return conversions.AS[self.kind](value)
        try:
            return self.known[value]
        except KeyError:
            pass
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        found = self.known[value] = self.sifted(conversions.AS[self.kind](value))
        return found

    def sifted(self, found: Result | None) -> Result | None:
        """Return a converted value, unless it is one that means that there is none."""
        if found is None:
            return None
        if self.regex is not None:
            match = self.regex.search(str(found))
            if match is None:
                return None
            found = match[1] if self.regex.groups else match[0]
            if not found:
                return None
        if self.bits is not None:
            if not isinstance(found, int):
                return None
            found = found >> self.bits[0] & (1 << self.bits[1]) - 1
        if self.only or self.drop or self.words is not None:
            shown = str(found)
            if shown in self.drop or (self.only and shown not in self.only):
                return None
            if self.words is not None:
                return self.words.get(shown)
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """One way to a value: exactly one of `column`, `oid`, `index`, `template` and `of` is given.

    Args:
        column: a column of the table, or of another one where `at` is given.
        at: index of the row of that other table: names of values, or numbers.
        below: with `column`: the value is the rest of the index of its first row whose index begins with these.
        oid: a scalar, with its instance.
        index: name of a part of the row's index.
        value: name of a value above.
        template: a text with names.
        of: name of a table: the value is the key of its part, of the row `at`, or of the name `named`.
        named: name of a value.
        alone: the table's part is meant if it has only one.
        when: name of a value -> texts: the way counts in rows in which the value is one of them; empty: it is there.
        how: its conversion.
    """

    column: Oid | None = None
    at: tuple[str | int, ...] | None = None
    below: tuple[str | int, ...] | None = None
    oid: Oid | None = None
    index: str = ""
    value: str = ""
    template: Template | None = None
    of: str = ""
    named: str = ""
    alone: bool = False
    when: Mapping[str, frozenset[str]] = field(default_factory=dict)
    how: Conversion = field(default_factory=Conversion)

    @property
    def of_rows(self) -> bool:
        """Its column is one of the table itself."""
        return self.at is None and self.below is None


Sources = tuple[Source, ...]
"""Ways to one value: the first that gives one counts."""


@dataclass(frozen=True, slots=True)
class ColumnWords:
    """A column of a table with the words of its numbers."""

    column: Oid
    words: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class WriteColumn:
    """A column of a table that may be written.

    `of`: the column with its words; without words it is a text of at most `most` octets. `told`: the column by which
    the device tells what became of it (ifOperStatus, pethPsePortDetectionStatus); None: there is none.
    """

    of: ColumnWords
    most: int = ALIAS_OCTETS
    told: ColumnWords | None = None

    def number(self, word: str) -> int:
        """Return the number of a word.

        Raises:
            KeyError: it has none.
        """
        return {text: number for number, text in self.of.words.items()}[word]


@dataclass(frozen=True, slots=True)
class TableProfile:
    """Rows of one kind.

    Args:
        name: its name in the profile.
        kind: of `VALUES`.
        index: parts of a row's index.
        key: of the part or sensor that a row makes; None for other kinds, and where `part` is given.
        part: the part that a row adds to.
        rows: names of values: their columns give the rows; empty: all.
        where: name of a value -> texts of which it must be one; empty: it must be there.
        where_not: name of a value -> texts of which it must be none.
        let: helpers; values: of `VALUES`; facts: label -> ways.
        write: of `WRITES`.
    """

    name: str
    kind: str
    index: tuple[IndexPart, ...]
    key: Template | None
    part: Sources
    rows: frozenset[str]
    where: Mapping[str, frozenset[str]]
    where_not: Mapping[str, frozenset[str]]
    let: Mapping[str, Sources]
    values: Mapping[str, Sources]
    facts: Mapping[str, Sources]
    write: Mapping[str, WriteColumn] = field(default_factory=dict)

    def named(self) -> list[tuple[str, Sources]]:
        """Return all values in the order in which they are computed."""
        facts = [(f"facts.{label}", ways) for label, ways in self.facts.items()]
        return [*self.let.items(), *self.values.items(), *facts]


@dataclass(frozen=True, slots=True)
class DeviceMatch:
    """Which devices a profile is for: everything that is given must hold.

    Args:
        object_ids: beginnings of sysObjectID.
        description: found in sysDescr.
        has: scalars that the device answers, each with a pattern for its text.
    """

    object_ids: tuple[Oid, ...] = ()
    description: re.Pattern[str] | None = None
    has: Mapping[Oid, re.Pattern[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnmpProfile:
    """How a family of devices is read.

    Args:
        name: of its file, without `.toml`.
        title: for people.
        every_s: seconds from one reading to the next.
        matches: any of them.
        device: of `DEVICE`.
        tables: in the order in which they are computed.
        own: it is the operator's.
    """

    name: str
    title: str
    every_s: float
    matches: tuple[DeviceMatch, ...]
    device: Mapping[str, Sources]
    tables: tuple[TableProfile, ...]
    own: bool = False
