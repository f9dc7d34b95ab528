"""Which menus, verbs, arguments and defaults a RouterOS version has, from the recordings in tables/.

Command trees were recorded of 7.15.3, 7.20.8 and 7.24, of virtual routers: a version between two of them is taken for
the older one. Of version 6 no tree was recorded: its menus, arguments and defaults are those of 6.49.18 that an
automation project lists, the verbs follow from the kind of menu, and menus that only show the router's state are
those of 7.15.3. Facts on leases in MikroTik's manual of its time that the project leaves out are added by hand.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, TypeAlias, cast

from lab.router.errors import UnknownVersionError

Default: TypeAlias = "str | int | float | bool | None"

_ORDINARY: Final = ("add", "comment", "disable", "edit", "enable", "export", "find", "get", "print", "remove", "set")
# menus that hold what the router is and does, not what was configured: no project lists them for version 6
_STATE: Final = (
    "/interface", "/interface/bridge/host", "/interface/pppoe-server", "/ip/dns/cache", "/ip/firewall/connection",
    "/ip/hotspot/active", "/ip/hotspot/cookie", "/ip/hotspot/host", "/ip/hotspot/ip-binding", "/ip/ipsec/active-peers",
    "/ip/neighbor", "/ip/pool/used", "/ipv6/firewall/connection", "/ipv6/neighbor", "/log", "/ppp/active", "/system",
    "/system/history", "/system/license", "/system/resource", "/system/resource/cpu", "/user/active",
)  # fmt: skip
# a virtual router has none, so no recorded tree has it; version 6 shows its health in one row
_SHOWS: Final = frozenset(("value-name", "number", "proplist", "where"))
_SETS: Final = frozenset(("l3-hw-offloading", "name", "numbers"))
HARDWARE: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "/system/routerboard": dict.fromkeys(("export", "get", "print", "upgrade"), _SHOWS),
    "/system/health": dict.fromkeys(("export", "find", "get", "print"), _SHOWS),
    "/interface/ethernet/switch": dict.fromkeys(("find", "get", "print"), _SHOWS) | {"set": _SETS},
    "/interface/ethernet/switch/port": dict.fromkeys(("find", "get", "print"), _SHOWS) | {"set": _SETS},
}
# what the manual of its time has ("DHCP", "Leases") and the project leaves out: arguments, verbs
_SIX_MORE: Final = {
    "/ip/dhcp-server/lease": (
        ("allow-dual-stack-queue", "block-access", "dhcp-option-set", "lease-time", "rate-limit", "use-src-mac"),
        ("make-static",),
    ),
}
_SIX_PRINT: Final = frozenset(
    (
        "append", "brief", "count-only", "detail", "file", "follow", "follow-only", "from", "interval", "proplist",
        "terse", "value-list", "where",
    )
)  # fmt: skip
# what a menu that can be ordered takes; recorded of version 7 in 45 menus
_ORDERED: Final = ("/firewall/filter", "/firewall/nat", "/firewall/mangle", "/firewall/raw", "/queue/simple", "/radius")


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer of `add` when `arguments` lack: all of them (`text` empty), or every one (`text`)."""

    text: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu of one version.

    `verbs`: arguments of each command; `kinds`: the type texts of add's and set's; `unset`: arguments that can be
    absent, with their value then by the project's table; `single`: one row without `.id`; `fixed`: rows that are
    neither added nor removed.
    """

    path: str
    verbs: Mapping[str, frozenset[str]]
    kinds: Mapping[str, str]
    defaults: Mapping[str, Default]
    unset: Mapping[str, Default]
    keys: tuple[str, ...]
    write_only: frozenset[str]
    single: bool
    fixed: bool
    missing: Missing | None

    @property
    def ordered(self) -> bool:
        """Tell whether rows have a place that matters."""
        return "move" in self.verbs


def parse_version(version: str) -> tuple[int, int, int]:
    """Return a version's numbers: "7.20.8" and "7.20" and "6.49.18 (long-term)".

    Raises:
        UnknownVersionError: it does not begin with two numbers.
    """
    found = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?![.\d])", version)
    if not found:
        raise UnknownVersionError(f"expected a RouterOS version such as 7.20.8, got {version!r}")
    return int(found[1]), int(found[2]), int(found[3] or 0)


# tables/*.json, as make_tables writes them
_Args = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class _MenuRow:
    bits: int
    verbs: dict[str, int | list[list[int]]]
    args: _Args


def _load(name: str) -> dict[str, object]:
    return cast(
        dict[str, object], json.loads(resources.files("lab.router").joinpath("tables", name).read_text("utf-8"))
    )


@functools.cache
def _commands() -> tuple[list[str], list[str], list[frozenset[str]], dict[str, _MenuRow]]:
    table = _load("commands.json")
    menus = cast("dict[str, dict[str, object]]", table["menus"])
    rows = {
        path: _MenuRow(cast(int, m["in"]), cast("dict[str, int | list[list[int]]]", m["verbs"]), cast(_Args, m["args"]))
        for path, m in menus.items()
    }
    sets = [frozenset(names) for names in cast("list[list[str]]", table["sets"])]
    return cast("list[str]", table["versions"]), cast("list[str]", table["kinds"]), sets, rows


_Entry = dict[str, object]


@functools.cache
def _fields() -> dict[str, dict[str, _Entry]]:
    return cast("dict[str, dict[str, _Entry]]", _load("fields.json")["menus"])


@functools.cache
def _missing() -> dict[str, dict[str, tuple[str, list[str]]]]:
    return cast("dict[str, dict[str, tuple[str, list[str]]]]", _load("missing.json"))


def _nearest(versions: Iterable[str], wanted: tuple[int, int, int]) -> int:
    """The index of the newest recorded version that is not newer than `wanted` in its first two numbers, or 0."""
    known = [parse_version(v)[:2] for v in versions]
    return max((i for i, v in enumerate(known) if v <= wanted[:2]), default=0)


class Facts:
    """The recorded facts of one version. Menus are put together when first asked for."""

    def __init__(self, version: str) -> None:
        self.version = parse_version(version)
        versions = _commands()[0]
        self._bit = 1 << _nearest(versions, self.version)
        self._missing = _missing()[list(_missing())[_nearest(_missing(), self.version)]]
        self._menus: dict[str, Menu | None] = {}
        rows = _commands()[3]
        self._paths = frozenset(
            self._six_paths() if self.version[0] < 7 else (p for p, row in rows.items() if row.bits & self._bit)
        ) | frozenset(HARDWARE)
        self._folders = frozenset(
            path[:at] for path in self._paths for at in (m.start() for m in re.finditer("/", path)) if at
        )

    @staticmethod
    def _six_paths() -> Iterable[str]:
        yield from (p for p, entry in _fields().items() if "6" in entry or "67" in entry)
        yield from _STATE

    def paths(self) -> list[str]:
        """All menus of this version, in order."""
        return sorted(self._paths)

    def is_folder(self, path: str) -> bool:
        """Tell whether there is anything at or under that path."""
        return path in self._paths or path in self._folders or path == ""

    def menu(self, path: str) -> Menu | None:
        """The menu at a path, or None where this version has none."""
        if path not in self._menus:
            self._menus[path] = self._make(path) if path in self._paths else None
        return self._menus[path]

    def _make(self, path: str) -> Menu:
        _, kinds, sets, rows = _commands()
        both = _fields().get(path, {})
        entry = both.get("67") or both.get("6" if self.version[0] < 7 else "7", {})
        row = rows.get(path)
        verbs: dict[str, frozenset[str]]
        texts: dict[str, str] = {}
        if path in HARDWARE and (self.version[0] >= 7 or not entry):
            verbs = dict(HARDWARE[path])
            if self.version[0] < 7 and path == "/system/health":
                verbs.pop("find", None)
        elif self.version[0] < 7 and path not in _STATE:
            verbs = _six_verbs(path, entry)
            if row:
                texts = {arg: kinds[spec[0]] for arg, spec in row.args.items() if arg in verbs["set"] and spec[0]}
        elif row is None:
            verbs = {}
        else:
            verbs, texts = self._recorded(row, kinds, sets)
        missing = self._missing.get(path)
        if missing and "add" in verbs:
            # arguments that came later are not asked for
            known = tuple(a for a in missing[1] if a in verbs["add"])
            answer = Missing(missing[0], known) if known or missing[0] else None
        else:
            answer = None
        return Menu(
            path=path,
            verbs=verbs,
            kinds=texts,
            defaults=cast("dict[str, Default]", entry.get("defaults", {})),
            unset=cast("dict[str, Default]", entry.get("unset", {})),
            keys=tuple(cast("list[str]", entry.get("keys", []))),
            write_only=frozenset(cast("list[str]", entry.get("write_only", []))),
            single="print" in verbs and "find" not in verbs,
            fixed="print" in verbs and "find" in verbs and "add" not in verbs,
            missing=answer,
        )

    def _recorded(
        self, row: _MenuRow, kinds: list[str], sets: list[frozenset[str]]
    ) -> tuple[dict[str, frozenset[str]], dict[str, str]]:
        bit = self._bit
        verbs: dict[str, frozenset[str]] = {}
        for verb, ways in row.verbs.items():
            if not isinstance(ways, int):
                for mask, number in ways:
                    if mask & bit:
                        verbs[verb] = sets[number]
            elif ways & bit:
                column = 1 if verb == "add" else 2
                verbs[verb] = frozenset(arg for arg, spec in row.args.items() if spec[column] & bit)
        texts = {arg: kinds[spec[0]] for arg, spec in row.args.items() if spec[0] and (spec[1] | spec[2]) & bit}
        return verbs, texts


def _six_verbs(path: str, entry: _Entry) -> dict[str, frozenset[str]]:
    fields = frozenset(cast("list[str]", entry.get("fields", [])))
    fields -= frozenset(cast("list[str]", entry.get("read_only", [])))
    if entry.get("single_value"):
        return {
            "edit": frozenset(("value-name",)),
            "export": frozenset(("compact", "file", "hide-sensitive", "terse", "verbose")),
            "get": frozenset(("value-name",)),
            "print": frozenset(("detail", "file", "interval", "proplist", "where", "without-paging")),
            "set": fields,
        }
    # every row can have a comment, though the project lists it for some menus only
    more, verbs_more = _SIX_MORE.get(path, ((), ()))
    fields |= {"comment", *more}
    names = [v for v in _ORDINARY if v not in ("add", "remove")] if entry.get("fixed_entries") else list(_ORDINARY)
    verbs = {v: frozenset(("numbers",)) for v in (*names, *verbs_more)}
    verbs["comment"] |= {"comment"}
    verbs["edit"] = frozenset(("number", "value-name"))
    verbs["export"] = frozenset(("compact", "file", "hide-sensitive", "terse", "verbose"))
    verbs["find"] = frozenset(("where",))
    verbs["get"] = frozenset(("number", "value-name"))
    verbs["print"] = _SIX_PRINT
    verbs["set"] = fields | {"numbers"}
    if "add" in verbs:
        verbs["add"] = fields | {"copy-from"}
    if entry.get("unset"):
        verbs["unset"] = frozenset(("numbers", "value-name"))
    if path.endswith(_ORDERED):
        verbs["move"] = frozenset(("destination", "numbers"))
        verbs["add"] |= {"place-before"}
    return verbs


@functools.cache
def facts_of(version: str) -> Facts:
    """The facts of a version, put together once.

    Raises:
        UnknownVersionError: as `parse_version`.
    """
    return Facts(version)
