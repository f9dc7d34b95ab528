"""One vocabulary for both data models: `wifi.1.ssid` is a path of TR-098 here and of TR-181 there. Pure.

A profile says, for one kind of CPE, where each name stands, and how that CPE must be spoken to (its quirks). Profiles
are data: `profiles/*.toml`, read by `profile_files`, chosen by `profiles.ProfileBook`.

Objects with instance numbers of a CPE's own choice have no path there but a place (`places`): `CpeProfile.bound` gives
the profile of one CPE, with the names at known places.

* CpeModelError
  x UnknownNameError: neither a name of the vocabulary nor a path below the root
    x UnplacedNameError: a name without a known place at this CPE
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from agent.cpe_model import values
from agent.cpe_model.errors import CpeModelError
from agent.cpe_model.places import FAMILIES, Places
from agent.cpe_model.presentable import presentable

TABLE: Final = "table"
"""The kind of a name that stands for a table; its path ends in a dot."""
KINDS: Final = frozenset(values.TYPES) - {"base64Binary"} | {TABLE}
"""The kinds of a name: the types of a parameter's value, and `table`."""
INSTANCE: Final = "{i}"
"""Stands for the instance number, in the name and in the path of a table's column."""
NUMBER: Final = "{n}"
"""Stands for the number of a counted place, in a name and in its place: `wifi.{n}.ssid`."""
UNITS: Final[Mapping[str, tuple[Decimal, str]]] = {
    "": (Decimal(1), ""),
    "s": (Decimal(1), "s"),
    "ms": (Decimal(1), "ms"),
    "bytes": (Decimal(1), "bytes"),
    "dBm": (Decimal(1), "dBm"),
    "0.001 dBm": (Decimal("0.001"), "dBm"),
    "0.1 dBm": (Decimal("0.1"), "dBm"),
    "0.1 dB": (Decimal("0.1"), "dB"),
    "kbit/s": (Decimal(1), "kbit/s"),
}
"""The unit of a number: unit -> (factor, the unit that people are shown)."""

_NUMBERS: Final = frozenset({"int", "unsignedInt", "long", "unsignedLong"})
_NUMBER: Final = re.compile(r"([+-]?)0*([0-9]+)", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})


class UnknownNameError(CpeModelError):
    """Neither a name of a profile's vocabulary nor a path below its root."""


class UnplacedNameError(UnknownNameError):
    """A name without a known place at this CPE: nothing of it can be shown or written."""


class BooleanStyle(enum.Enum):
    """How a CPE takes booleans."""

    WORDS = "true"
    DIGITS = "1"


class Reports(enum.Enum):
    """Whether a CPE's word that a transfer succeeded is worth something."""

    TRUSTED = "trusted"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A name and where it stands.

    `name` and `path` have `{i}` where a table's instance goes. `kind`: one of KINDS. `unit`: one of UNITS.
    """

    name: str
    path: str
    kind: str
    secret: bool = False
    writable: bool = False
    unit: str = ""

    def shown(self, text: str) -> str:
        """Return a value for people, with its unit: `-21500` of a thousandth of a dBm is `-21.5 dBm`.

        A boolean is `true` or `false`; a text that is no number of this unit stays as it came.

        Args:
            text: the device's own string. Not for secrets.
        """
        factor, unit = UNITS[self.unit]
        text = normalize(self.kind, text)
        if not unit or not _DECIMAL.fullmatch(text):
            return text
        number = Decimal(text) * factor
        return f"{number.normalize() if factor != 1 else number:f} {unit}"

    def at(self, instance: str) -> Mapped:
        """Return the name and path of one instance of a column."""
        return Mapped(
            self.name.replace(INSTANCE, instance, 1),
            self.path.replace(INSTANCE, instance, 1),
            self.kind,
            self.secret,
            self.writable,
            self.unit,
        )


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a name stands, from a place. `path`: below the place's object."""

    at: str
    path: str
    kind: str
    writable: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class PlacedName:
    """A name that stands at the first of some spots with a known place.

    `name`, and each spot's place, have `{n}` where the number of a counted place goes.
    """

    name: str
    spots: tuple[Spot, ...]
    secret: bool = False

    @property
    def family(self) -> str:
        """The counted places that it is for; empty where its place is single."""
        first = self.spots[0].at
        return first.partition(".")[0] if NUMBER in first else ""

    def why_not(self, places: Places, number: str) -> str:
        """Return why it stands nowhere."""
        at = self.spots[0].at.replace(NUMBER, number)
        if at in places.unknown:
            return places.unknown[at]
        if self.family in places.unknown:
            return places.unknown[self.family]
        count = places.counts.get(self.family, 0)
        return f"there is no {self.family}.{number}: {count} were read" if count else "nothing of it was read"

    def at(self, places: Places, number: str) -> tuple[Mapped, tuple[str, ...]] | None:
        """Return the name where it stands, and the parameters that this rests on; None: its place is not known."""
        for spot in self.spots:
            place = places.found.get(spot.at.replace(NUMBER, number))
            if place is not None:
                name = self.name.replace(NUMBER, number)
                path = place.path + spot.path
                return Mapped(name, path, spot.kind, self.secret, spot.writable, spot.unit), place.rests_on
        return None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A test that a CPE runs when its state is written to `Requested`.

    `path`: its object. `state`: its DiagnosticsState. `complete`: its value at the end (an error begins with `Error`).
    `arguments` are written, `results` read; their names begin with the diagnostic's: `ping.host`.
    """

    name: str
    path: str
    state: Mapped
    complete: tuple[str, ...]
    arguments: tuple[Mapped, ...]
    results: tuple[Mapped, ...]

    def argument(self, word: str) -> Mapped | None:
        """Return the argument of a word, `host`, or None where this test has none."""
        return next((mapped for mapped in self.arguments if mapped.name == f"{self.name}.{word}"), None)


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A call that is not made. `path`: an object that must not be asked for as a whole, None where no path matters."""

    method: str
    path: str | None
    why: str


@dataclass(frozen=True, slots=True)
class CpeProfile:
    """The places of values in a kind of CPE, and its quirks.

    Attributes:
        name: of its file, without `.toml`.
        root: `InternetGatewayDevice.` or `Device.`.
        boolean: how booleans are written.
        names_batch: most parameters in one GetParameterValues, 0 for no limit.
        values_batch: most parameters in one SetParameterValues, 0 for no limit.
        get_by_path: whether values may be asked for by a path that ends in a dot.
        unsafe: calls that are not made.
        firmware_types: the FileType of a firmware download, best first.
        download_reports: whether TransferComplete means anything. SoftwareVersion decides in any case.
        parameters: the vocabulary with the same paths on each CPE, without the diagnostics'. Of a bound profile
            the names that were placed, too.
        diagnostics: the tests.
        placed: the vocabulary that stands at places.
        fixed: places that this profile fixes: place -> full path of its object.
        unplaced: of a bound profile, name -> why its place is not known.
        rests_on: of a bound profile, path -> the parameters that say that the name stands there.
    """

    name: str
    root: str
    boolean: BooleanStyle
    names_batch: int
    values_batch: int
    get_by_path: bool
    unsafe: tuple[Unsafe, ...]
    firmware_types: tuple[str, ...]
    download_reports: Reports
    parameters: tuple[Mapped, ...]
    diagnostics: tuple[Diagnostic, ...]
    placed: tuple[PlacedName, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    unplaced: Mapping[str, str] = field(default_factory=dict)
    rests_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _by_name: Mapping[str, Mapped] = field(init=False, repr=False, compare=False)
    _by_path: Mapping[str, Mapped] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, Mapped] = {}
        by_path: dict[str, Mapped] = {}
        for mapped in self.all():
            by_name[mapped.name] = mapped
            by_path.setdefault(mapped.path, mapped)  # two names may come to stand at one path: the first is shown
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_by_path", by_path)

    def bound(self, places: Places) -> CpeProfile:
        """Return the profile of one CPE: names at places that are known have paths, the others a reason."""
        names = {mapped.name for mapped in self.parameters}
        parameters = list(self.parameters)
        unplaced: dict[str, str] = {}
        rests_on: dict[str, tuple[str, ...]] = {}
        for placed in self.placed:
            count = places.counts.get(placed.family, 0)
            for number in map(str, range(1, count + 1)) if count else (NUMBER if placed.family else "",):
                name, found = placed.name.replace(NUMBER, number), placed.at(places, number)
                if name in names:  # it has a path of its own, or a place of this number alone
                    continue
                names.add(name)
                if found is None:
                    unplaced[name] = placed.why_not(places, number)
                    continue
                parameters.append(found[0])
                rests_on.setdefault(found[0].path, found[1])
        return replace(self, parameters=tuple(parameters), unplaced=unplaced, rests_on=rests_on)

    def why_unplaced(self, name: str) -> str | None:
        """Return why a name of the vocabulary stands nowhere on this CPE; None: it does, or there is no such name."""
        if name in self._by_name:
            return None
        if (why := self.unplaced.get(name)) is not None:
            return why
        family, _, rest = name.partition(".")
        number, _, last = rest.partition(".")
        generic = f"{family}.{NUMBER}.{last}"
        if family in FAMILIES and number.isascii() and number.isdecimal() and generic in {p.name for p in self.placed}:
            return self.unplaced.get(generic, f"there is no {family}.{number} among those that were read")
        return "nothing was read of it" if any(placed.name == name for placed in self.placed) else None

    def all(self) -> Iterator[Mapped]:
        """Yield every name with its place: the parameters, then each diagnostic's state, arguments and results."""
        yield from self.parameters
        for diagnostic in self.diagnostics:
            yield from (diagnostic.state, *diagnostic.arguments, *diagnostic.results)

    def mapped(self, name: str) -> Mapped | None:
        """Return a name with its place; `hosts.3.mac` gives that of row 3. None where this CPE has no such thing."""
        return _instance_of(self._by_name, name)

    def mapped_at(self, path: str) -> Mapped | None:
        """Return the name that stands at a path, of a row or not. None where the vocabulary has none."""
        return _instance_of(self._by_path, path)

    def path(self, name: str) -> str | None:
        """Return where a name stands, or None where this CPE has no such thing."""
        found = self.mapped(name)
        return None if found is None else found.path

    def name_of(self, path: str) -> str | None:
        """Return the name of a path, or None where the vocabulary has none."""
        found = self.mapped_at(path)
        return None if found is None else found.name

    def diagnostic(self, name: str) -> Diagnostic | None:
        """Return a test, `ping`, or None where this CPE has none."""
        return next((diagnostic for diagnostic in self.diagnostics if diagnostic.name == name), None)

    def resolve(self, name_or_path: str) -> str:
        """Return the path of a name, or a path below the root as it is.

        Raises:
            UnplacedNameError: a name without a known place at this CPE; it says why.
            UnknownNameError: neither; it names near ones.
        """
        if (found := self.path(name_or_path)) is not None:
            return found
        if (why := self.why_unplaced(name_or_path)) is not None:
            raise UnplacedNameError(f"{presentable(name_or_path)} is not known of this CPE: {why}")
        if name_or_path.startswith(self.root):
            return name_or_path
        number = next((word for word in name_or_path.split(".") if word.isascii() and word.isdecimal()), "1")
        every = [*self._by_name, *(placed.name.replace(NUMBER, number) for placed in self.placed)]
        near = difflib.get_close_matches(name_or_path, every, 3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UnknownNameError(
            f"profile {self.name}: expected a name of its vocabulary or a path below {self.root}, "
            f"got {presentable(name_or_path)}{hint}"
        )

    def write_value(self, type_name: str, text: str) -> str:
        """Return a value as this CPE takes it: a boolean in its style, anything else as it is."""
        if values.read_type(type_name) != "boolean":
            return text
        word = normalize(type_name, text)
        if self.boolean is BooleanStyle.DIGITS:
            return {"true": "1", "false": "0"}.get(word, word)
        return word

    def unsafe_call(self, method: str, path: str = "") -> str | None:
        """Return why a call must not be made, None where it may.

        Args:
            method: `Reboot`, `GetParameterValues` …
            path: of its subject: a full name, a path that ends in a dot, or empty for the whole tree. A call
                for a path is a call for all that lies below it.
        """
        for unsafe in self.unsafe:
            if unsafe.method != method:
                continue
            if unsafe.path is None or unsafe.path == path or (unsafe.path.startswith(path) and path[-1:] in ("", ".")):
                return unsafe.why
        return None


def normalize(type_name: str, text: str) -> str:
    """Return a value in the one form that it is compared in; idempotent.

    Booleans are `true` and `false`; whole numbers have no plus, no leading zeros and no minus before 0; hexBinary is in
    capitals, a dateTime with a zone in UTC. Any other text, and every other type, stays as it came.

    Args:
        type_name: with or without a prefix: `boolean`, `xsd:unsignedInt`.
        text: the device's own string.
    """
    kind = values.read_type(type_name)
    if kind == "boolean":
        word = text.strip().lower()
        return "true" if word in _TRUE else "false" if word in _FALSE else text
    if kind in _NUMBERS and (found := _NUMBER.fullmatch(text.strip())) is not None:
        return f"-{found[2]}" if found[1] == "-" and found[2] != "0" else found[2]
    if kind == "hexBinary":
        return text.upper()
    if kind == "dateTime" and (at := values.moment(text)) is not None:
        return at.isoformat().replace("+00:00", "Z")
    return text


def _instance_of(known: Mapping[str, Mapped], text: str) -> Mapped | None:
    """Return the parameter under a name or path, with the last number in it taken for a row where it must be."""
    if INSTANCE in text:  # a column, and of no row
        return None
    if (found := known.get(text)) is not None:
        return found
    parts = text.split(".")
    for at in range(len(parts) - 1, -1, -1):
        if parts[at].isascii() and parts[at].isdigit():
            row = known.get(".".join((*parts[:at], INSTANCE, *parts[at + 1 :])))
            return None if row is None else row.at(parts[at])
    return None
