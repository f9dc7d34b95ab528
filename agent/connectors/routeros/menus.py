"""The menus of RouterOS that we use, per release: the properties of a row, and whether each is compared, shown and
written.

Two sources are put together at first use: tables/RELEASE.json, made from recordings of RouterOS (by
tests/agent/connectors/routeros/make_tables.py), and tables/overlay.toml, by hand, for gaps in the recordings. A
property that neither has is unknown: it is passed on apart when read, and refused when it is to be written.

Errors:

* MenuError
  x UnknownMenuError: no such menu in the tables of a version
  x UnwritableError: a property that is unknown, or that RouterOS does not let anybody write
"""

from __future__ import annotations

import enum
import functools
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypedDict, cast

from agent.connectors.routeros import versions
from agent.connectors.routeros.values import RouterKind, normalize, rule_of
from agent.connectors.routeros.versions import Version, table_above, table_of

_TABLES: Final = Path(__file__).parent / "tables"

_EMPTY_IS_A_VALUE: Final = frozenset({RouterKind.SWITCH, RouterKind.MATCH_LIST})
"""Kinds with an empty text that differs from no value: a switch that is on, a set of nothing."""


class MenuError(Exception):
    """The tables lack the menu or property that was asked for."""


class UnknownMenuError(MenuError):
    """The tables have no such menu."""


class UnwritableError(MenuError):
    """The property is unknown, or nobody may set it on this release."""


class MenuRole(enum.StrEnum):
    """The uses of a property."""

    PLAIN = "plain"
    SECRET = "secret"
    """Read by a user with policy `sensitive`, written, never shown: whoever reads it makes a commitment of it."""
    WRITE_ONLY = "write-only"
    """Written, never printed."""
    READ_ONLY = "read-only"
    VOLATILE = "volatile"
    """Changes without anybody changing the row, or follows from another property: neither compared nor written."""


_ASKED: Final = 1024
"""Menus to remember, by version, since each write asks three times; chosen arbitrarily, above those of a fleet."""
_WRITABLE: Final = frozenset({MenuRole.PLAIN, MenuRole.SECRET, MenuRole.WRITE_ONLY})
_NEVER_SHOWN: Final = frozenset({MenuRole.SECRET, MenuRole.WRITE_ONLY})
_COMPARED: Final = frozenset({MenuRole.PLAIN, MenuRole.SECRET, MenuRole.READ_ONLY})


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a menu's rows.

    `default`: the value that RouterOS takes where nothing is set, normalized; None where it takes none, or none is
    known. `can_unset`: a row may lose it again; RouterOS writes that `!name`, and a comment is lost by the empty text.
    `required`: RouterOS names it when an `add` lacks it.
    """

    name: str
    kind: RouterKind
    role: MenuRole
    default: str | None = None
    can_unset: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A row, sorted: `settled` is compared, `volatile` is not, `unknown` is in no table and may be a secret."""

    settled: Mapping[str, str]
    volatile: Mapping[str, str]
    unknown: Mapping[str, str]


_Compared = tuple[str, str | None, bool, Callable[[str], str] | None]
"""A property that is compared: its name and default, whether an empty text is a value, and the function that normalizes
a text.
"""


def _as_compared(known: Property) -> _Compared:
    keeps_empty = known.default is not None or known.kind in _EMPTY_IS_A_VALUE
    return known.name, known.default, keeps_empty, rule_of(known.kind)


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu on one release.

    `keys`: the properties that name a row for people and plans; empty where nothing does but its place. RouterOS need
    not hold them unique. `ordered`: the rows have an order that counts, and `move`. `single`: settings, one row without
    `.id`. `one_of`: an `add` wants at least one of these.
    """

    path: str
    keys: tuple[str, ...]
    ordered: bool
    single: bool
    properties: Mapping[str, Property]
    one_of: tuple[str, ...] = ()
    proplist: tuple[str, ...] = field(init=False)
    """Names that a bulk read asks for: `.id`, the keys, then every property that is compared, sorted.

    Secrets are among them, since a password that somebody else changed is a change. RouterOS passes over names that it
    does not know.
    """
    secrets: frozenset[str] = field(init=False, repr=False)
    """Names of the properties that are never shown."""
    _compared: tuple[_Compared, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        compared = [known for known in self.properties.values() if known.role in _COMPARED]
        names = sorted(known.name for known in compared if known.name not in self.keys)
        secret = frozenset(known.name for known in self.properties.values() if known.role in _NEVER_SHOWN)
        object.__setattr__(self, "secrets", secret)
        object.__setattr__(self, "_compared", tuple(map(_as_compared, compared)))  # looked at for each row of each read
        object.__setattr__(self, "proplist", (*(() if self.single else (".id",)), *self.keys, *names))

    def readable(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return the compared properties of a row that was read with `proplist`, or with no proplist at all.

        Each value is normalized. A property that is absent has its default, where one is known; else it is left out,
        and so is one with an empty text, RouterOS' other way to print that nothing is set. So two rows that RouterOS
        treats alike are equal. A row that was read with fewer properties would be given defaults that it may not have:
        do not bring one here.
        """
        settled: dict[str, str] = {}
        for name, default, keeps_empty, rule in self._compared:
            text = row.get(name)
            if text is None:
                if default is not None:
                    settled[name] = default  # the tables have it normalized
            elif text or keeps_empty:
                settled[name] = text if rule is None else rule(text)
        return settled

    def sort(self, row: Mapping[str, str]) -> Reading:
        """Return every property of a row, normalized and sorted by its uses; as `readable`, and all.

        Words of the API itself, which begin with a dot (`.id`, `.nextid`), are no properties and are left out.
        """
        volatile: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for name, text in row.items():
            known = self.properties.get(name)
            if known is None and not name.startswith("."):
                unknown[name] = text
            elif known is not None and known.role not in _COMPARED:
                volatile[name] = normalize(known.kind, text)
        return Reading(*map(MappingProxyType, (self.readable(row), volatile, unknown)))

    def writable(self, name: str) -> Property:
        """Return the property with this name, which may be set.

        Raises:
            UnwritableError: this release has no such property as far as the tables go, or it cannot be set.
        """
        known = self.properties.get(name)
        if known is None:
            raise UnwritableError(f"{self.path}: {name} is no property that the tables know")
        if known.role not in _WRITABLE:
            raise UnwritableError(f"{self.path}: {name} is {known.role.value}")
        return known


@functools.lru_cache(maxsize=_ASKED)
def menu(path: str, version: Version) -> Menu:
    """Return a menu as the table that serves a version has it; ask `versions.known` whether that is a guess.

    Raises:
        UnknownMenuError: we use no menu of that path.
    """
    found = menus(version).get(path)
    if found is None:
        raise UnknownMenuError(f"menu: expected one of those in the tables, got {path!r}")
    return found


def unshown(path: str, version: Version, row: Mapping[str, str], words: Iterable[str]) -> tuple[str, ...]:
    """Return which properties may not be written to a row, since nothing shows that the release has them.

    On a version that is not known those that the row does not show; but between two recorded releases those that both
    have. A comment is sure: rows have it in every recorded release, and show it only where it is not empty.

    Args:
        path: the menu's.
        version: the router's.
        row: as it was read just now, without a proplist or with that of the menu.
        words: of the command: `=name=value`, `=!name=`.
    """
    if versions.known(version):
        return ()
    above = table_above(version)
    sure = {"comment"} | row.keys() | (_load(above)[path].properties.keys() if above is not None else set())
    names = (word[1:].removeprefix("!").partition("=")[0] for word in words)
    return tuple(name for name in names if name not in sure)


def menus(version: Version) -> Mapping[str, Menu]:
    """Return every menu of the table that serves a version, by path."""
    return _load(table_of(version))


# --- the two sources ---

_Names = dict[str, list[str]]
"""Kind -> names of properties."""


class _RecordedProperty(TypedDict, total=False):
    kind: str
    default: str
    role: str
    can_unset: bool
    required: bool


class _RecordedMenu(TypedDict):
    keys: list[str]
    ordered: bool
    single: bool
    one_of: list[str]
    properties: dict[str, _RecordedProperty]


class _ByHand(TypedDict, total=False):
    """A menu of the overlay, or its entry for every menu: the file's head explains each."""

    source: str
    keys: list[str]
    single: bool
    kinds: _Names
    read_only: _Names
    volatile: _Names
    secret: list[str]
    write_only: list[str]
    can_unset: list[str]
    defaults: dict[str, str]
    writable: dict[str, _Names]


class _Overlay(TypedDict):
    everywhere: _ByHand
    menus: dict[str, _ByHand]


# Both files are ours, and a test loads each release: their shape is taken for granted here.


@functools.cache
def _load(release: Version) -> Mapping[str, Menu]:
    """Return a recorded release's menus, read once from the files beside this module."""
    recorded: dict[str, _RecordedMenu] = json.loads((_TABLES / f"{release}.json").read_text("utf-8"))["menus"]
    with (_TABLES / "overlay.toml").open("rb") as file:
        overlay = cast("_Overlay", tomllib.load(file))
    return MappingProxyType({path: _menu(path, found, overlay, release) for path, found in recorded.items()})


def _menu(path: str, recorded: _RecordedMenu, overlay: _Overlay, release: Version) -> Menu:
    by_hand, everywhere = overlay["menus"][path], overlay["everywhere"]
    writable = by_hand.get("writable", {}).get(str(release), {})
    read_only, volatile = by_hand.get("read_only", {}), by_hand.get("volatile", {})
    kinds: dict[str, str] = {}
    for names_of in (everywhere.get("kinds", {}), by_hand.get("kinds", {}), writable, read_only, volatile):
        kinds.update({name: kind for kind, names in names_of.items() for name in names})
    names = {*recorded["properties"], *_all(writable), *_all(read_only), *_all(volatile)}
    properties = {}
    for name in sorted(names):
        found = recorded["properties"].get(name, {})
        kind = RouterKind(kinds.get(name) or found.get("kind", RouterKind.TEXT.value))
        default = by_hand.get("defaults", {}).get(name, found.get("default"))
        properties[name] = Property(
            name=name,
            kind=kind,
            role=_role(name, found, by_hand, _all(writable)),
            default=None if default is None else normalize(kind, default),
            can_unset=found.get("can_unset", False) or name in everywhere.get("can_unset", []),
            required=found.get("required", False),
        )
    return Menu(
        path=path,
        keys=tuple(recorded["keys"] or by_hand.get("keys", [])),
        ordered=recorded["ordered"],
        single=recorded["single"] or by_hand.get("single", False),
        properties=MappingProxyType(properties),
        one_of=tuple(recorded["one_of"]),
    )


def _role(name: str, recorded: _RecordedProperty, by_hand: _ByHand, writable: frozenset[str]) -> MenuRole:
    """Return a property's role: an entry by hand goes before a recorded one, a secret before all."""
    if name in by_hand.get("secret", []):
        return MenuRole.SECRET
    if name in by_hand.get("write_only", []):
        return MenuRole.WRITE_ONLY
    if name in _all(by_hand.get("volatile", {})):
        return MenuRole.VOLATILE
    if name in _all(by_hand.get("read_only", {})):
        return MenuRole.READ_ONLY
    return MenuRole.PLAIN if name in writable else MenuRole(recorded.get("role", MenuRole.PLAIN.value))


def _all(names_of: _Names) -> frozenset[str]:
    return frozenset(name for names in names_of.values() for name in names)
