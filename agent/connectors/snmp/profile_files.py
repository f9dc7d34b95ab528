"""SnmpProfile files: those that are shipped (`profiles/*.toml`) and an operator's own, each on top of those it extends.

* `profiles/system.toml` explains the format. A key that is not known is an error.
* Tables and values have names: an extending file adds to them, replaces them by name, or takes them away by `false`.
* An own file may have the name of a shipped one: it stands in its place, and may extend it.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Final, TypeVar

from agent.connectors.snmp import conversions, profile, values
from agent.connectors.snmp.errors import NoOidError, SnmpProfileError
from agent.connectors.snmp.profile import (
    ALIAS_OCTETS,
    ColumnWords,
    Conversion,
    DeviceMatch,
    IndexPart,
    IndexType,
    SnmpProfile,
    Source,
    Sources,
    TableProfile,
    Template,
    WriteColumn,
)
from agent.connectors.snmp.values import Oid
from agent.line_model.patterns import slow_part
from agent.line_model.reading import LinkState

EVERY_S: Final = 300.0
_EVERY_MIN_S: Final = 10.0
"""Chosen arbitrarily: a shorter schedule is a mistake more often than a wish."""
_STATES: Final = frozenset(state.value for state in LinkState)
_WORD: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
_PIECES: Final = re.compile(r"\{([^{}]*)\}")
_PLACES: Final = ("column", "oid", "index", "value", "text", "of")
_CONVERSION: Final = frozenset(
    {
        "as",
        "regex",
        "bits",
        "only",
        "drop",
        "words",
        "largest",
        "smallest",
        "minus",
        "times",
        "percent_of",
        "scale",
        "offset",
        "to_dbm",
        "least",
        "most",
    }
)
_T = TypeVar("_T")


def load(own: Mapping[str, str] | None = None) -> tuple[tuple[SnmpProfile, ...], tuple[str, ...]]:
    """Return every profile, and the mistakes in the operator's files, a sentence each: wrong files are left out.

    Args:
        own: the name of a file without `.toml` -> its text.
    """
    if not own:
        return shipped(), ()
    files, as_shipped = _shipped_files(), {one.name: one for one in shipped()}
    problems: list[str] = []
    mine: dict[str, _File] = {}
    for name, text in sorted(own.items()):
        try:
            mine[name] = _parsed(name, text)
        except SnmpProfileError as err:
            problems.append(str(err))
    found: list[SnmpProfile] = []
    for name in sorted(files.keys() | mine.keys()):
        if not _rests_on(name, files, mine, frozenset()):
            found.append(as_shipped[name])
            continue
        try:
            found.append(_profile(name, files, mine))
        except SnmpProfileError as err:
            problems.append(str(err))
            if name in files:
                found.append(as_shipped[name])
    return tuple(found), tuple(problems)


@functools.cache
def shipped() -> tuple[SnmpProfile, ...]:
    """Return the profiles that are shipped, sorted by name.

    Raises:
        SnmpProfileError: one is wrong.
    """
    files = _shipped_files()
    return tuple(_profile(name, files, {}) for name in sorted(files))


@functools.cache
def _shipped_files() -> Mapping[str, _File]:
    folder = resources.files("agent.connectors.snmp") / "profiles"
    paths = [path for path in folder.iterdir() if path.name.endswith(".toml")]
    texts = {path.name.removesuffix(".toml"): path.read_text(encoding="utf-8") for path in paths}
    return {name: _parsed(name, text) for name, text in texts.items()}


def _rests_on(name: str, files: Mapping[str, _File], own: Mapping[str, _File], above: frozenset[str]) -> bool:
    """Return whether a profile is one of the operator's files, or extends one, however far down."""
    if name in own or name not in files:
        return True
    below = above | {name}
    return any(base not in below and _rests_on(base, files, own, below) for base in files[name].extends)


# --- one file -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TableFile:
    """A table as one file gives it: None where it says nothing.

    `let`, `values`, `facts` and `write` have None for `false`.
    """

    kind: str | None = None
    index: tuple[IndexPart, ...] | None = None
    key: Template | None = None
    part: Sources | None = None
    rows: frozenset[str] | None = None
    where: Mapping[str, frozenset[str]] | None = None
    where_not: Mapping[str, frozenset[str]] | None = None
    let: Mapping[str, Sources | None] = field(default_factory=dict)
    values: Mapping[str, Sources | None] = field(default_factory=dict)
    facts: Mapping[str, Sources | None] = field(default_factory=dict)
    write: Mapping[str, WriteColumn | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _File:
    section: _Section
    title: str
    extends: tuple[str, ...]
    every_s: float | None
    matches: tuple[DeviceMatch, ...]
    device: Mapping[str, Sources | None]
    tables: Mapping[str, _TableFile | None]


def _parsed(name: str, text: str) -> _File:
    if not _NAME.fullmatch(name):
        raise SnmpProfileError(f"profile {name}.toml: expected a name of small letters, digits, _, . and -")
    try:
        top = _Section(name, "", tomllib.loads(text), text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise SnmpProfileError(f"profile {name}.toml: expected TOML: {err}") from err
    top.only({"title", "extends", "every_s", "match", "device", "table"})
    every_s = top.number("every_s") if "every_s" in top.items else None
    if every_s is not None and every_s < _EVERY_MIN_S:
        raise top.error("every_s", f"seconds, at least {_EVERY_MIN_S:g}", every_s)
    device = top.section("device")
    device.only(profile.VALUES[profile.DEVICE])
    tables = top.section("table")
    return _File(
        top,
        top.text("title"),
        top.texts("extends"),
        every_s,
        tuple(_match(section) for section in top.sections("match")),
        _each(device, _ways),
        _each(tables, lambda section, key: _table(section.section(key))),
    )


def _each(section: _Section, make: Callable[[_Section, str], _T]) -> dict[str, _T | None]:
    """Return a value for each key of a section; `false` gives None."""
    return {key: None if value is False else make(section, key) for key, value in section.items.items()}


def _match(section: _Section) -> DeviceMatch:
    section.only({"object_id", "description", "has"})
    has = section.section("has")
    found = DeviceMatch(
        tuple(section.oid("object_id", text) for text in section.texts("object_id")),
        section.pattern("description") if "description" in section.items else None,
        {has.oid(key, key): has.pattern(key) for key in has.items},
    )
    if not section.items:
        raise section.error("", "object_id, description or has", {})
    return found


def _table(section: _Section) -> _TableFile:
    section.only({"kind", "index", "key", "part", "rows", "where", "where_not", "let", "values", "facts", "write"})
    has = section.items
    let = section.section("let")
    for key in let.items:
        if not _WORD.fullmatch(key):
            raise let.error(key, "a name of small letters, digits and _", key)
    return _TableFile(
        kind=section.text("kind", profile.VALUES) if "kind" in has else None,
        index=tuple(_index(section, text) for text in section.texts("index")) if "index" in has else None,
        key=_template(section, "key", section.text("key")) if "key" in has else None,
        part=_ways(section, "part") if "part" in has else None,
        rows=frozenset(section.texts("rows")) if "rows" in has else None,
        where=_conditions(section.section("where")) if "where" in has else None,
        where_not=_conditions(section.section("where_not")) if "where_not" in has else None,
        let=_each(let, _ways),
        values=_each(section.section("values"), _ways),
        facts=_each(section.section("facts"), _ways),
        write=_each(_only_writes(section.section("write")), _write),
    )


def _only_writes(section: _Section) -> _Section:
    section.only(profile.WRITES)
    return section


def _write(section: _Section, key: str) -> WriteColumn:
    one = section.section(key)
    one.only({"column", "words", "most", "told"})
    of, needed = _column_words(one), profile.WRITES[key]
    if set(of.words.values()) != needed or len(of.words) != len(needed):
        raise one.error("words", f"a number for each of {', '.join(sorted(needed)) or 'no words: a text'}", of.words)
    most = one.number("most") if "most" in one.items else ALIAS_OCTETS
    if not 1 <= most <= conversions.TEXT_MAX or int(most) != most:
        raise one.error("most", f"octets, 1 to {conversions.TEXT_MAX}", most)
    told = one.section("told") if "told" in one.items else None
    if told is not None:
        told.only({"column", "words"})
    return WriteColumn(of, int(most), None if told is None else _column_words(told))


def _column_words(one: _Section) -> ColumnWords:
    words = one.section("words")
    for key in words.items:
        if not key.isdecimal():
            raise words.error(key, "numbers, each with its word", key)
    return ColumnWords(one.oid("column", one.text("column")), {int(key): words.text(key) for key in words.items})


def _conditions(section: _Section) -> dict[str, frozenset[str]]:
    return {key: frozenset(section.words(key)) for key in section.items}


def _index(section: _Section, text: str) -> IndexPart:
    name, _, kind = text.partition(":")
    if not _WORD.fullmatch(name) or (kind or "int") not in [one.value for one in IndexType]:
        kinds = ", ".join(one.value for one in IndexType)
        raise section.error("index", f"NAME or NAME:TYPE, TYPE one of {kinds}", text)
    return IndexPart(name, IndexType(kind or "int"))


def _template(section: _Section, key: str, text: str) -> Template:
    pieces = tuple(_PIECES.split(text))
    if any("{" in piece or "}" in piece for piece in pieces) or not all(map(_WORD.fullmatch, pieces[1::2])):
        raise section.error(key, "a text with names in braces, such as port/{name}", text)
    return Template(pieces)


def _ways(section: _Section, key: str) -> Sources:
    value = section.items[key]
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise section.error(key, "a text, a table, or a list of these", value)
    return tuple(_way(section, key, one) for one in listed)


def _way(section: _Section, key: str, value: object) -> Source:
    if isinstance(value, str):
        return Source(template=_template(section, key, value))
    if not isinstance(value, dict):
        raise section.error(key, "a text, a table, or a list of these", value)
    one = section.within(key, value)
    if value == {"inherited": True}:
        return INHERITED
    one.only({*_PLACES, "at", "below", "named", "alone", "when", *_CONVERSION})
    if sum(place in value for place in _PLACES) != 1:
        raise section.error(key, f"one of {', '.join(_PLACES)}", value)
    if "below" in value and ("column" not in value or "at" in value):
        raise section.error(key, "column, and no at, where below stands", value)
    if ("named" in value or "alone" in value) and "of" not in value:
        raise section.error(key, "of, where named or alone stands", value)
    alone = "alone" in value and one.flag("alone")
    if "of" in value and sum((alone, "named" in value, "at" in value)) != 1:
        raise section.error(key, "at, named or alone = true, where of stands", value)
    return Source(
        column=one.oid("column", one.text("column")) if "column" in value else None,
        at=one.indexed("at") if "at" in value else None,
        below=one.indexed("below") if "below" in value else None,
        oid=one.oid("oid", one.text("oid")) if "oid" in value else None,
        index=one.text("index") if "index" in value else "",
        value=one.text("value") if "value" in value else "",
        template=_template(one, "text", one.text("text")) if "text" in value else None,
        of=one.text("of") if "of" in value else "",
        named=one.text("named") if "named" in value else "",
        alone=alone,
        when=_conditions(one.section("when")),
        how=_conversion(one),
    )


INHERITED: Final = Source(value="inherited")
"""Stands for the ways of the extended file."""


def _conversion(one: _Section) -> Conversion:
    has = one.items
    words = one.section("words")
    return Conversion(
        kind=one.text("as", conversions.AS.keys() - {""}) if "as" in has else "",
        regex=one.pattern("regex") if "regex" in has else None,
        bits=one.bits() if "bits" in has else None,
        only=frozenset(one.words("only")) if "only" in has else frozenset(),
        drop=frozenset(one.words("drop")) if "drop" in has else frozenset(),
        words={key: words.word(key) for key in words.items} if "words" in has else None,
        largest=one.texts("largest"),
        smallest=one.texts("smallest"),
        minus=one.texts("minus"),
        times=one.texts("times"),
        percent_of=one.text("percent_of") if "percent_of" in has else "",
        scale=one.number("scale") if "scale" in has else 1,
        offset=one.number("offset") if "offset" in has else 0,
        to_dbm=one.flag("to_dbm") if "to_dbm" in has else False,
        least=one.number("least") if "least" in has else None,
        most=one.number("most") if "most" in has else None,
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """A table of a file; each of its methods checks and returns the value of a key."""

    file: str
    where: str
    items: Mapping[str, object]
    source: str
    """The text of the file, to find the line of a mistake."""
    keys: tuple[str, ...] = ()
    """The keys that lead here."""

    def error(self, key: str, expected: str, got: object) -> SnmpProfileError:
        named = ".".join(filter(None, (self.where, key)))
        line = _line(self.source, (*self.keys, key))
        where = f", line {line}" if line else ""
        return SnmpProfileError(f"profile {self.file}.toml{where}: {named or 'file'}: expected {expected}, got {got!r}")

    def only(self, allowed: Iterable[str]) -> None:
        known = sorted(allowed)
        for key in self.items:
            if key not in known:
                raise self.error(key, f"one of {', '.join(known)}", key)

    def text(self, key: str, among: Iterable[str] | None = None) -> str:
        expected = "a text" if among is None else f"one of {', '.join(sorted(among))}"
        value = self.items.get(key)
        if not isinstance(value, str) or (among is not None and value not in among):
            raise self.error(key, expected, "nothing" if value is None else value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.items.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "a list of texts", value)
        return tuple(value)

    def words(self, key: str) -> tuple[str, ...]:
        """Return a list of texts or whole numbers, as texts."""
        value = self.items[key]
        if not isinstance(value, list) or not all(type(item) in (str, int) for item in value):
            raise self.error(key, "a list of texts and whole numbers", value)
        return tuple(map(str, value))

    def flag(self, key: str) -> bool:
        value = self.items[key]
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def number(self, key: str) -> float:
        value = self.items[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:  # not: of NaN too
            raise self.error(key, "a number", value)
        return value

    def bits(self) -> tuple[int, int]:
        value = self.items["bits"]
        match value:
            case [int(low), int(count)] if 0 <= low < 64 and 0 < count <= 64:
                return low, count
        raise self.error("bits", "[lowest bit, number of bits], such as [8, 16]", value)

    def word(self, key: str) -> str | float:
        """Return a text or a number."""
        return self.text(key) if isinstance(self.items[key], str) else self.number(key)

    def indexed(self, key: str) -> tuple[str | int, ...]:
        value = self.items[key]
        if not isinstance(value, list) or not all(
            isinstance(item, str) or (type(item) is int and 0 <= item <= values.PART_MAX) for item in value
        ):
            raise self.error(key, "a list of names and numbers", value)
        return tuple(value)

    def pattern(self, key: str) -> re.Pattern[str]:
        text = self.text(key)
        try:
            found = re.compile(text)
        except (re.error, OverflowError, RecursionError) as err:
            raise self.error(key, f"a regular expression ({err})", text) from err
        if slow := slow_part(text):
            raise self.error(key, "a regular expression that no text keeps busy, as by (?:…)*+", slow)
        return found

    def oid(self, key: str, text: str) -> Oid:
        try:
            return values.oid(text)
        except NoOidError as err:
            raise self.error(key, "an OID such as 1.3.6.1.2.1.1.5.0", text) from err

    def section(self, key: str) -> _Section:
        value = self.items.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "a table", value)
        return self.within(key, value)

    def sections(self, key: str) -> tuple[_Section, ...]:
        value = self.items.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "a list of tables", value)
        return tuple(self.within(key, item) for item in value)

    def within(self, key: str, value: Mapping[str, object]) -> _Section:
        return _Section(self.file, f"{self.where}.{key}".strip("."), value, self.source, (*self.keys, key))


def _line(source: str, keys: tuple[str, ...]) -> int:
    """Return the line in which a key stands, or the innermost table around it that is found; 0: none is."""
    at = line = 0
    for key in filter(None, keys):
        found = re.search(rf"""(?:^|[\s\[{{.,"'])({re.escape(key)})["']?\s*[=.\]]""", source[at:])
        if found is None:
            break
        at += found.start(1)
        line = source.count("\n", 0, at) + 1
    return line


# --- a file on top of others ----------------------------------------------------------------------------------------


def _profile(name: str, files: Mapping[str, _File], own: Mapping[str, _File]) -> SnmpProfile:
    chain: list[_File] = []
    _collect(name, files, own, chain, ())
    device: dict[str, Sources] = {}
    tables: dict[str, _TableFile] = {}
    every_s = EVERY_S
    for file in chain:
        every_s = file.every_s if file.every_s is not None else every_s
        _put(device, file.device)
        for key, table in file.tables.items():
            if table is None:
                tables.pop(key, None)
            else:
                tables[key] = _over(tables.get(key, _TableFile()), table)
    top = chain[-1]
    made: dict[str, TableProfile] = {}
    for key, table in tables.items():
        made[key] = _whole(top.section, key, table, made)
    above: set[str] = set()
    for key, ways in device.items():
        _check_names(top.section, f"device.{key}", ways, above, {})
        above.add(key)
    return SnmpProfile(name, top.title, every_s, top.matches, device, tuple(made.values()), name in own)


def _collect(
    name: str, files: Mapping[str, _File], own: Mapping[str, _File], chain: list[_File], above: tuple[_File, ...]
) -> None:
    """Append a file behind those that it extends, each once."""
    file = own.get(name) or files[name]
    if above and above[-1] is file and name in files:
        file = files[name]  # an own file on top of the shipped one of its name
    if file in above:
        raise above[-1].section.error("extends", "files that do not extend this one in turn", name)
    if file in chain:
        return
    for base in file.extends:
        if base not in files and base not in own:
            known = ", ".join(sorted(files.keys() | own.keys()))
            raise file.section.error("extends", f"names of profiles: {known}", base)
        _collect(base, files, own, chain, (*above, file))
    chain.append(file)


def _put(below: dict[str, Sources], over: Mapping[str, Sources | None]) -> dict[str, Sources]:
    """Put the values of a file over those of others."""
    for key, ways in over.items():
        if ways is None:
            below.pop(key, None)
        else:
            inherited = below.get(key, ())
            below[key] = tuple(source for way in ways for source in (inherited if way is INHERITED else (way,)))
    return below


def _over(below: _TableFile, over: _TableFile) -> _TableFile:
    key, part = (below.key, below.part) if over.key is None and over.part is None else (over.key, over.part)
    return _TableFile(
        kind=below.kind if over.kind is None else over.kind,
        index=below.index if over.index is None else over.index,
        key=key,
        part=part,
        rows=below.rows if over.rows is None else over.rows,
        where=below.where if over.where is None else over.where,
        where_not=below.where_not if over.where_not is None else over.where_not,
        let=_put(_kept(below.let), over.let),
        values=_put(_kept(below.values), over.values),
        facts=_put(_kept(below.facts), over.facts),
        write={**below.write, **over.write},
    )


def _kept(of: Mapping[str, Sources | None]) -> dict[str, Sources]:
    return {key: ways for key, ways in of.items() if ways is not None}


def _whole(top: _Section, name: str, table: _TableFile, above: Mapping[str, TableProfile]) -> TableProfile:
    """Return a table in which nothing is missing and each name is known."""
    where = f"table.{name}"
    if table.kind is None:
        raise top.error(where, f"kind, one of {', '.join(profile.VALUES)}", "nothing")
    part = table.part or ()
    if table.kind in (profile.NEIGHBOR, profile.MAC, profile.DEVICE):
        if table.key is not None or part:
            raise top.error(where, f"neither key nor part, since its kind is {table.kind}", "one")
    elif (table.key is None) == (not part):
        raise top.error(where, "key, or part where rows add to the parts of another table", "both or none")
    made = TableProfile(
        name=name,
        kind=table.kind,
        index=table.index or (),
        key=table.key,
        part=part,
        rows=table.rows or frozenset(),
        where=table.where or {},
        where_not=table.where_not or {},
        let=_kept(table.let),
        values=_kept(table.values),
        facts=_kept(table.facts),
        write={key: column for key, column in table.write.items() if column is not None},
    )
    if made.write and made.kind not in profile.PART_KINDS:
        raise top.error(f"{where}.write", f"it in a table of {', '.join(profile.PART_KINDS)}", made.kind)
    for key in made.values:
        if key not in profile.VALUES[made.kind]:
            raise top.error(f"{where}.values", f"names of {', '.join(sorted(profile.VALUES[made.kind]))}", key)
    _check_table(top, where, made, above)
    return made


def _check_table(top: _Section, where: str, table: TableProfile, above: Mapping[str, TableProfile]) -> None:
    names = {part.name for part in table.index}
    if len(names) != len(table.index):
        raise top.error(f"{where}.index", "each name once", [part.name for part in table.index])
    kinds = [part.type for part in table.index[:-1]]
    if IndexType.REST in kinds or IndexType.ANY in kinds:
        raise top.error(f"{where}.index", "rest and any at the end alone", [part.name for part in table.index])
    for key, ways in table.named():
        _check_names(top, f"{where}.{key}", ways, names, above, table)
        if key in names and key not in table.values:
            raise top.error(f"{where}.let", "a name that the index does not have", key)
        names.add(key)
        if key == "state" and table.kind in profile.PART_KINDS:
            _check_state(top, where, ways)
        if key == "since" and not all(way.how.kind in ("ago", "ticks", "date") for way in ways):
            raise top.error(f"{where}.since", "as = ago, ticks or date", "something else")
    for key in (*table.rows, *table.where, *table.where_not, *(table.key.names if table.key else ())):
        if key not in names:
            raise top.error(where, f"one of {', '.join(sorted(names))}", key)
    if table.key is not None:
        fixed = "".join(table.key.pieces[::2])
        begins = f"{table.kind}/" if table.kind in profile.PART_KINDS else ""
        if fixed.count("/") != 1 or not table.key.pieces[0].startswith(begins):
            raise top.error(f"{where}.key", f"{begins or 'QUANTITY/'} and a name, with no other /", fixed)
    if table.part:
        _check_names(top, f"{where}.part", table.part, names, above, table)
        if not all(way.of for way in table.part):
            raise top.error(f"{where}.part", "of = TABLE", "something else")


def _check_state(top: _Section, where: str, ways: Sources) -> None:
    for way in ways:
        words = {str(word) for word in way.how.words.values()} if way.how.words is not None else None
        if way.template is not None and not way.template.names:
            words = {way.template.pieces[0]}
        if words is None or not words <= _STATES:
            raise top.error(f"{where}.state", f"words that become {', '.join(sorted(_STATES))}", sorted(words or ()))


def _check_names(
    top: _Section,
    where: str,
    ways: Sources,
    names: set[str],
    above: Mapping[str, TableProfile],
    table: TableProfile | None = None,
) -> None:
    """Check that each way to a value names only values above it."""
    for way in ways:
        needed = [*way.how.names, *way.when]
        needed += [at for at in (*(way.at or ()), *(way.below or ())) if isinstance(at, str)]
        needed += [name for name in (way.index, way.value, way.named) if name]
        needed += way.template.names if way.template is not None else ()
        for name in needed:
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise top.error(where, f"a name of the index or of a value above ({known})", name)
        if way.of and way.of not in above and (table is None or way.of != table.name):
            raise top.error(where, f"of = one of the tables above ({', '.join(above) or 'none'})", way.of)
        if way.index and table is not None and way.index not in [part.name for part in table.index]:
            raise top.error(where, "a name of the index", way.index)
