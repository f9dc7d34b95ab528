"""Makes agent/connectors/routeros/tables/RELEASE.json from what was recorded of RouterOS.

    python -m tests.agent.connectors.routeros.make_tables

From ../shared/data/mikrotik: the /console/inspect trees say which arguments `add` and `set` take and whether there is
`move` and `find`; community.routeros' data says keys, defaults, what can be unset; RouterOS' answers to an empty `add`
say what it wants. Facts only, in a shape of our own; what they do not say is in tables/overlay.toml, by hand.

No tree was recorded of 6.49. What community.routeros has of it can be written; other arguments of 7.15 are marked
read-only there: they are asked for, so that nothing that a row has is overlooked, and never written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.connectors.routeros.values import RouterKind
from agent.connectors.routeros.versions import RECORDED, Version
from tests.agent.connectors.routeros.recorded import DATA

TABLES: Final = Path(__file__).parents[4] / "agent/connectors/routeros/tables"

NOT_PROPERTIES: Final = frozenset({"numbers", "copy-from", "place-before", "_type"})
"""Arguments that choose rows or a place, and the tree's own word."""

DEFAULTS_OF: Final[Mapping[Version, str]] = {
    Version(6, 49, 18): "6.49.18",
    Version(7, 15, 3): "7.20.8",
    Version(7, 20, 8): "7.20.8",
    Version(7, 24): "7.20.8",
}
"""community.routeros' data was taken for two releases; a release has the defaults of the nearest."""

WANTED_BY: Final[Mapping[Version, str]] = {
    Version(7, 15, 3): "7.20.8",
    Version(7, 20, 8): "7.20.8",
    Version(7, 24): "7.22.1",
}
"""The answers to an empty `add` were recorded on two releases."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """What was recorded, by release as the files have it."""

    trees: Mapping[str, Json]
    community: Mapping[str, Json]
    empty_adds: Mapping[str, Mapping[str, Json]]


def sources() -> Sources:
    return Sources(
        trees={v: _read(f"restraml/inspect-{v}.json") for v in ("7.15.3", "7.20.8", "7.24")},
        community={v: _read(f"community-routeros-api-data/api_data-{v}.json") for v in ("6.49.18", "7.20.8")},
        empty_adds={
            v: {row["path"]: row for row in _read(f"required-args/required-args.v{v}.json")}
            for v in ("7.20.8", "7.22.1")
        },
    )


def _read(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def menus_wanted() -> list[str]:
    """Return the menus of the overlay: those that we use."""
    return sorted(tomllib.loads((TABLES / "overlay.toml").read_text())["menus"])


def node(tree: Json, path: str) -> Json | None:
    """Return a menu of a tree, None where the release has none."""
    at: Any = tree
    for word in path.strip("/").split("/"):
        at = at.get(word) if isinstance(at, dict) else None
    return at


def arguments(menu: Json | None) -> Mapping[str, str]:
    """Return the properties that `add` or `set` of a menu takes -> its description of each, empty for most."""
    found: dict[str, str] = {}
    for command in ("add", "set"):
        for name, argument in (menu or {}).get(command, {}).items():
            if name not in NOT_PROPERTIES:
                found[name] = found.get(name) or argument.get("desc", "")
    return found


def kind_of(description: str) -> RouterKind | None:
    """Return the kind that a tree's description of an argument says, None when it says none."""
    if "time interval" in description:
        return RouterKind.DURATION
    if "MAC address" in description:
        return RouterKind.MAC
    if "IP address range" in description:
        return RouterKind.RANGE
    if "IP prefix" in description or "IPv6 prefix" in description:
        return RouterKind.PREFIX
    if "IP address" in description:
        return RouterKind.ADDRESS
    if description.endswith("*]"):
        return RouterKind.LIST
    return RouterKind.TEXT if "string value" in description else None


def described(recorded: Sources, path: str, name: str, version: Version) -> RouterKind | None:
    """Return the kind that a property's own tree says, else that another says: each leaves out some."""
    own = recorded.trees.get(str(version), {})
    found = (kind_of(arguments(node(tree, path)).get(name, "")) for tree in (own, *recorded.trees.values()))
    return next((kind for kind in found if kind is not None), None)


def default_text(default: object) -> str:
    """Return a default of community.routeros, which has Python's values, as the console writes it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default)


def properties(recorded: Sources, path: str, version: Version) -> Iterator[tuple[str, Json]]:
    """Yield what is recorded of each property of a menu of a release, by name."""
    community = recorded.community[DEFAULTS_OF[version]].get(path, {}).get("fields", {})
    tree = recorded.trees.get(str(version))
    has_tree = tree is not None
    taken = arguments(node(tree if tree is not None else recorded.trees["7.15.3"], path))
    read_only = {n for n, f in community.items() if f.get("read_only") and n not in NOT_PROPERTIES}
    # `name` of /ip/service cannot be set, and the tree has it nowhere; community.routeros knows it as the key.
    keys = set(recorded.community[DEFAULTS_OF[version]].get(path, {}).get("primary_keys") or ())
    names = set(taken) | read_only | keys | (set() if has_tree else set(community) - NOT_PROPERTIES)
    wanted = wanted_of(recorded, path, version)
    for name in sorted(names):
        field, kind = community.get(name, {}), described(recorded, path, name, version)
        writable = name in taken if has_tree else name in community
        row: Json = {"kind": kind.value} if kind is not None else {}
        if "default" in field:
            row["default"] = default_text(field["default"])
        if field.get("can_disable"):
            row["can_unset"] = True
        if name in wanted.every or field.get("required"):
            row["required"] = True
        if field.get("write_only"):
            row["role"] = "write-only"
        if name in read_only or not writable:
            row["role"] = "read-only"
        yield name, row


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an empty `add` was refused for: `every` one of these, and one of `one_of`."""

    every: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


def wanted_of(recorded: Sources, path: str, version: Version) -> Wanted:
    row = recorded.empty_adds.get(WANTED_BY.get(version, ""), {}).get(path)
    if row is None:
        return Wanted()
    names = tuple(row["required"])
    # "missing value(s) of argument(s) name group password" wants all; "mac-address or client-id must be present" one.
    return Wanted(one_of=names) if len(names) > 1 and " or " in row["rawError"] else Wanted(every=names)


def tables() -> Mapping[str, str]:
    """Return file name -> text of each table."""
    recorded = sources()
    return {f"{v}.json": _table(recorded, v) for v in RECORDED}


def _table(recorded: Sources, version: Version) -> str:
    """Return a table as JSON with a property a line, so that a difference between two can be read."""
    lines = ["{", f' "version": "{version}",', ' "menus": {']
    paths = menus_wanted()
    for path in paths:
        menu = node(recorded.trees.get(str(version), recorded.trees["7.15.3"]), path)
        known = recorded.community[DEFAULTS_OF[version]].get(path, {})
        head = {
            "keys": known.get("primary_keys") or [],
            "ordered": bool(menu and "move" in menu),
            # A menu of rows has `find`; one of settings has none.
            "single": bool(menu and "find" not in menu),
            "one_of": list(wanted_of(recorded, path, version).one_of),
        }
        rows = [f"   {json.dumps(name)}: {json.dumps(row)}" for name, row in properties(recorded, path, version)]
        lines.append(f'  {json.dumps(path)}: {{{json.dumps(head)[1:-1]}, "properties": {{')
        lines += [*(f"{row}," for row in rows[:-1]), *rows[-1:]]
        lines.append("  }}" + ("," if path != paths[-1] else ""))
    return "\n".join([*lines, " }", "}", ""])


def main() -> None:
    for name, text in tables().items():
        (TABLES / name).write_text(text)
        print(f"{TABLES / name}: {len(text)} characters")


if __name__ == "__main__":
    main()
