"""Profile files: those that are shipped (`profiles/*.toml`) and an operator's own, each on top of the one it extends.

A file has `extends`, a `[match]` (which CPE it is for), and in `[quirks]`, `[places]`, `[parameters]` and
`[diagnostics]` the differences from the file that it extends: a parameter may be given in part, or as `false` where
this CPE has no such thing. A generic file has a `root` instead of the first two, and everything. `profiles/tr098.toml`
explains each key. Own files extend a shipped one or one another; where an own one matches a CPE, no shipped one is
asked.

* CpeModelError
  x ProfileError: a profile file that is wrong, or no profile of that name or root
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Final

from agent.cpe_model import values
from agent.cpe_model.errors import CpeModelError
from agent.cpe_model.places import NAMES as PLACES
from agent.cpe_model.vocabulary import (
    INSTANCE,
    KINDS,
    NUMBER,
    TABLE,
    UNITS,
    BooleanStyle,
    CpeProfile,
    Diagnostic,
    Mapped,
    PlacedName,
    Reports,
    Spot,
    Unsafe,
)

_SECTIONS: Final = frozenset({"quirks", "places", "parameters", "diagnostics"})
_TEXTS: Final = "a list of texts"
_OBJECT: Final = "a path that ends in a dot"
_COUNTED: Final = re.compile(r"(?<=\.)[1-9][0-9]*(?=\.|$)", re.ASCII)


class ProfileError(CpeModelError):
    """A profile file that is wrong (it says file, key, expected and actual value); or no such profile."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which CPE a profile is for; empty for any. Product class and software version of several: any one of them.

    `ouis`: six hexadecimal digits in capitals. `classes`: whole product classes. `prefixes`: beginnings of one.
    `software`: beginnings of the software version. None of these regards capitals.
    """

    ouis: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    software: tuple[str, ...] = ()

    def score(self, oui: str, product_class: str, software: str) -> tuple[bool, int, int, bool] | None:
        """Return how specific a match is, the larger the more, or None where it is none.

        The deciding matches, in this order: the whole product class, the longer beginning of it, the longer beginning
        of the software version, a named OUI.
        """
        oui, product_class, software = oui.strip().upper(), product_class.strip().lower(), software.strip().lower()
        exact = product_class in (name.lower() for name in self.classes)
        begin = _longest(self.prefixes, product_class)
        version = _longest(self.software, software)
        if (
            (self.ouis and oui not in self.ouis)
            or ((self.classes or self.prefixes) and not exact and begin is None)
            or (self.software and version is None)
        ):
            return None
        return exact, 0 if exact else begin or 0, version or 0, bool(self.ouis)


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """A profile and the CPE that it is for; a generic one is for any of its root."""

    profile: CpeProfile
    match: Match
    own: bool = False
    """Whether it is the operator's."""


def _longest(beginnings: Iterable[str], text: str) -> int | None:
    return max((len(begin) for begin in beginnings if text.startswith(begin.lower())), default=None)


@functools.cache
def load() -> tuple[ProfileEntry, ...]:
    """Return the profiles that are shipped, sorted by name, read once.

    Raises:
        ProfileError: a file is wrong.
    """
    return read(shipped())


@functools.cache
def shipped() -> Mapping[str, str]:
    """Return the files that are shipped: name without `.toml` -> content."""
    folder = resources.files("agent.cpe_model") / "profiles"
    files = [path for path in folder.iterdir() if path.name.endswith(".toml")]
    return {path.name.removesuffix(".toml"): path.read_text(encoding="utf-8") for path in files}


def read(texts: Mapping[str, str]) -> tuple[ProfileEntry, ...]:
    """Return the profiles of a set of files, sorted by name.

    Args:
        texts: a file's name without `.toml` -> its content.

    Raises:
        ProfileError: a file is wrong.
    """
    tables = {name: _parsed(name, text) for name, text in texts.items()}
    return tuple(_entry(name, tables) for name in sorted(tables))


def read_own(texts: Mapping[str, str]) -> tuple[tuple[ProfileEntry, ...], tuple[str, ...]]:
    """Return an operator's profiles, and the faults of their files, a sentence each: those are left out.

    Args:
        texts: a file's name without `.toml` -> its content.
    """
    tables = {name: _parsed(name, text) for name, text in shipped().items()}
    problems: list[str] = []
    own: list[str] = []
    for name, text in sorted(texts.items()):
        try:
            table = _parsed(name, text)
            if name in shipped():
                raise table.error("", "a file name that no shipped profile has", f"{name}.toml")
            if "extends" not in table.items:
                raise table.error("", "extends = one of the profiles that are shipped, or of your own", "none")
            tables[name] = table
            own.append(name)
        except ProfileError as err:
            problems.append(str(err))
    entries: list[ProfileEntry] = []
    for name in own:
        try:
            entries.append(replace(_entry(name, tables), own=True))
        except ProfileError as err:
            problems.append(str(err))
    return tuple(entries), tuple(problems)


def _parsed(name: str, text: str) -> _Table:
    try:
        return _Table(name, "", tomllib.loads(text), text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        line = re.search(r"at line ([0-9]+)", str(err))
        where = f", line {line[1]}" if line is not None else ""
        raise ProfileError(f"profile {name}.toml{where}: expected TOML: {err}") from err


# --- a table of a file, and what it must hold -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a file; each of its methods gives a key's value in its type, or tells the fault."""

    file: str
    where: str
    items: Mapping[str, object]
    source: str = ""
    """The text of the file, to find the line of a mistake."""
    keys: tuple[str, ...] = ()
    """The keys that lead to this table."""

    def key(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where and key else self.where or key

    def error(self, key: str, expected: str, got: object) -> ProfileError:
        return ProfileError(f"{self._at(key)}expected {expected}, got {got!r}")

    def _at(self, key: str) -> str:
        line = _line(self.source, (*self.keys, key))
        where = f", line {line}" if line else ""
        return f"profile {self.file}.toml{where}: " + (f"{self.key(key)}: " if self.key(key) else "")

    def only(self, allowed: Iterable[str]) -> None:
        known = sorted(allowed)
        for key in self.items:
            if key not in known:
                raise self.error(key, f"one of {', '.join(known)}", key)

    def need(self, key: str, expected: str) -> object:
        if key not in self.items:
            raise ProfileError(f"{self._at(key)}expected {expected}, got nothing")
        return self.items[key]

    def text(self, key: str, among: Iterable[str] | None = None) -> str:
        expected = "a text" if among is None else f"one of {', '.join(repr(word) for word in sorted(among))}"
        value = self.need(key, expected)
        if not isinstance(value, str) or (among is not None and value not in among):
            raise self.error(key, expected, value)
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        if default is not None and key not in self.items:
            return default
        value = self.need(key, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def count(self, key: str) -> int:
        value = self.need(key, "a whole number from 0")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(key, "a whole number from 0", value)
        return value

    def texts(self, key: str, *, least: int = 0) -> tuple[str, ...]:
        expected = _TEXTS if least == 0 else f"{_TEXTS}, at least {least}"
        if least == 0 and key not in self.items:
            return ()
        value = self.need(key, expected)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) < least:
            raise self.error(key, expected, value)
        return tuple(value)

    def table(self, key: str) -> _Table:
        value = self.items.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "a table", value)
        return _Table(self.file, self.key(key), value, self.source, (*self.keys, key))

    def tables(self, key: str) -> tuple[_Table, ...]:
        value = self.need(key, "a list of tables")
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "a list of tables", value)
        keys = (*self.keys, key)
        return tuple(
            _Table(self.file, f"{self.key(key)}[{at}]", item, self.source, keys) for at, item in enumerate(value)
        )


def _line(source: str, keys: tuple[str, ...]) -> int:
    """Return the line of a file that a key stands in, or the innermost table of it that is there; 0: none is."""
    at = line = 0
    for key in filter(None, keys):
        found = re.compile(rf"""(?:^|[\s\[{{.,"'])({re.escape(key)})["']?\s*(?:[=.\]])""").search(source, at)
        if found is None:
            break
        at = found.start(1)
        line = source.count("\n", 0, at) + 1
    return line


# --- a file on top of another ---------------------------------------------------------------------------------------


def _entry(name: str, tables: Mapping[str, _Table]) -> ProfileEntry:
    chain = _chain(name, tables)
    root = chain[0].text("root")
    if not root.endswith(".") or root.count(".") != 1:
        raise chain[0].error("root", "one word and a dot", root)
    own = tables[name]
    merged = _Table(name, "", _merged([dict(table.items) for table in chain]), own.source)
    return ProfileEntry(_profile(name, root, merged), _match(own) if "extends" in own.items else Match())


def _chain(name: str, tables: Mapping[str, _Table]) -> list[_Table]:
    """Return a file and those that it extends, the generic one first."""
    chain: list[_Table] = []
    at = name
    while True:
        table = tables[at]
        if table in chain:
            raise table.error("extends", "another file, and a generic one in the end", at)
        chain.insert(0, table)
        if "extends" not in table.items:
            table.only({"root", *_SECTIONS})
            return chain
        table.only({"extends", "match", *_SECTIONS})
        at = table.text("extends", tables)


def _merged(tables: list[dict[str, object]]) -> dict[str, object]:
    """Return tables put over each other: tables in them are merged, everything else is replaced.

    A parameter that is given a path without a place stands at no place any more.
    """
    merged: dict[str, object] = {}
    for table in tables:
        for key, value in table.items():
            below = merged.get(key)
            if isinstance(below, dict) and isinstance(value, dict):
                gone = ("or",) if "at" in value else ("at", "or") if "path" in value else ()
                merged[key] = _merged([{k: v for k, v in below.items() if k not in gone}, value])
            else:
                merged[key] = value
    return merged


def _match(table: _Table) -> Match:
    match = table.table("match")
    match.only({"oui", "product_class", "product_class_prefix", "software_prefix"})
    ouis = match.texts("oui")
    for oui in ouis:
        if len(oui) != 6 or not values.TYPES["hexBinary"](oui) or oui != oui.upper():
            raise match.error("oui", "six hexadecimal digits in capitals", oui)
    found = Match(
        ouis, match.texts("product_class"), match.texts("product_class_prefix"), match.texts("software_prefix")
    )
    if not (found.ouis or found.classes or found.prefixes) or "" in (*found.classes, *found.prefixes, *found.software):
        raise table.error("match", "an OUI or a product class, none of them empty", dict(match.items))
    return found


def _profile(name: str, root: str, table: _Table) -> CpeProfile:
    quirks = table.table("quirks")
    quirks.only(
        {
            "boolean",
            "names_batch",
            "values_batch",
            "get_by_path",
            "unsafe",
            "firmware_types",
            "download_reports",
        }
    )
    parameters, placed = _parameters(table.table("parameters"), root)
    profile = CpeProfile(
        name=name,
        root=root,
        boolean=BooleanStyle(quirks.text("boolean", [style.value for style in BooleanStyle])),
        names_batch=quirks.count("names_batch"),
        values_batch=quirks.count("values_batch"),
        get_by_path=quirks.flag("get_by_path"),
        unsafe=tuple(_unsafe(unsafe, root) for unsafe in quirks.tables("unsafe")),
        firmware_types=quirks.texts("firmware_types", least=1),
        download_reports=Reports(quirks.text("download_reports", [word.value for word in Reports])),
        parameters=parameters,
        diagnostics=_diagnostics(table.table("diagnostics"), root),
        placed=placed,
        fixed=_places(table.table("places"), root),
    )
    _once(table, profile)
    return profile


def _once(table: _Table, profile: CpeProfile) -> None:
    """Check that no name and no path stands twice.

    Raises:
        ProfileError: one does.
    """
    names: set[str] = set()
    paths: dict[str, str] = {}
    for mapped in profile.all():
        if mapped.name in names:
            raise table.error(mapped.name, "a name once", f"{mapped.name} twice")
        if mapped.path in paths:
            raise table.error(mapped.name, f"a path that {paths[mapped.path]} does not have", mapped.path)
        names.add(mapped.name)
        paths[mapped.path] = mapped.name


def _object(table: _Table, key: str, path: str) -> str:
    if not path.endswith("."):
        raise table.error(key, _OBJECT, path)
    return path


def _unsafe(table: _Table, root: str) -> Unsafe:
    table.only({"method", "path", "why"})
    path = root + table.text("path") if "path" in table.items else None
    return Unsafe(table.text("method"), path, table.text("why"))


def _places(table: _Table, root: str) -> dict[str, str]:
    """Return the places that a profile fixes: place -> full path of its object."""
    found = {}
    for key, value in table.items.items():
        if _COUNTED.sub(NUMBER, key) not in PLACES or NUMBER in key:
            raise table.error(key, f"one of {', '.join(sorted(PLACES))}, with a number for {NUMBER}", key)
        if value is not False:
            found[key] = root + _object(table, key, table.text(key))
    return found


def _parameters(table: _Table, root: str) -> tuple[tuple[Mapped, ...], tuple[PlacedName, ...]]:
    """Return the names of a table of parameters: those with a path, and those that stand at a place."""
    found: list[Mapped] = []
    placed: list[PlacedName] = []
    for key, value in table.items.items():
        if value is False:
            continue
        one = table.table(key)
        one.only({"at", "path", "kind", "unit", "secret", "writable", "or"})
        if "at" not in one.items:
            found.append(_mapped(one, key, root))
            continue
        spots = [_spot(one, key)]
        if "or" in one.items:
            below = {k: v for k, v in one.items.items() if k != "or"}
            other = one.table("or")
            other.only({"at", "path", "kind", "unit", "writable"})
            spots.append(_spot(replace(other, items={**below, **other.items}), key))
        placed.append(PlacedName(key, tuple(spots), one.flag("secret", False)))
    placed.sort(key=lambda name: NUMBER in name.name)  # a name of one network counts before that of all
    return tuple(found), tuple(placed)


def _spot(table: _Table, name: str) -> Spot:
    at = table.text("at")
    if _COUNTED.sub(NUMBER, at) not in PLACES or at.count(NUMBER) != name.count(NUMBER):
        raise table.error("at", f"one of {', '.join(sorted(PLACES))}, with {NUMBER} as in the name", at)
    mapped = _mapped(table, name, "")
    return Spot(at, mapped.path, mapped.kind, mapped.writable, mapped.unit)


def _mapped(one: _Table, name: str, below: str) -> Mapped:
    """Return a name with its path, kind and unit. `below`: the object above the path."""
    kind, path = one.text("kind", KINDS), one.text("path")
    if path.endswith(".") != (kind == TABLE) or not path:
        raise one.error("path", _OBJECT if kind == TABLE else "a path that does not end in a dot", path)
    if name.count(INSTANCE) != path.count(INSTANCE) or name.count(INSTANCE) > 1:
        raise one.error("path", f"{INSTANCE} as often as in the name, once at most", path)
    unit = one.text("unit", UNITS) if "unit" in one.items else ""
    return Mapped(name, below + path, kind, one.flag("secret", False), one.flag("writable", False), unit)


def _of_diagnostic(table: _Table, path: str, name: str, *, writable: bool) -> tuple[Mapped, ...]:
    """Return the arguments or results of a test; arguments are written."""
    found = []
    for key, value in table.items.items():
        if value is False:
            continue
        one = table.table(key)
        one.only({"path", "kind", "unit"})
        found.append(replace(_mapped(one, key, path), name=f"{name}.{key}", writable=writable))
    return tuple(found)


def _diagnostics(table: _Table, root: str) -> tuple[Diagnostic, ...]:
    found = []
    for name, value in table.items.items():
        if value is False:
            continue
        one = table.table(name)
        one.only({"object", "complete", "arguments", "results"})
        path = root + _object(one, "object", one.text("object"))
        found.append(
            Diagnostic(
                name=name,
                path=path,
                state=Mapped(f"{name}.state", f"{path}DiagnosticsState", "string", writable=True),
                complete=one.texts("complete", least=1),
                arguments=_of_diagnostic(one.table("arguments"), path, name, writable=True),
                results=_of_diagnostic(one.table("results"), path, name, writable=False),
            )
        )
    return tuple(found)
