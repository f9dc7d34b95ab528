"""Make lab/router/tables from the recordings: `python -m lab.tests.router.make_tables [--check]`.

- commands.json: menus, verbs, arguments and their type texts of RouterOS 7.15.3, 7.20.8 and 7.24 (tikoci/restraml)
- fields.json: defaults, what can be unset, keys, of RouterOS 6.49.18 and 7.20.8 (community.routeros' table)
- where.json: the properties that a `where` sees, by menu, in the order in which RouterOS 7.22.1's `:parse` lists them
  (tikoci/lsp-routeros-ts); only of menus that a recorded script asks so
- missing.json: what an `add` without arguments answers, RouterOS 7.20.8 and 7.22.1 (tikoci/lsp-routeros-ts)
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY.parent / "shared" / "data" / "mikrotik"
TABLES = REPOSITORY / "lab" / "router" / "tables"
TREES = ("7.15.3", "7.20.8", "7.24")
FIELDS = ("6.49.18", "7.20.8")
MISSING = ("7.20.8", "7.22.1")
LISTED = "7.22.1"
# their arguments are `set`'s again
_AS_SET = ("add", "set", "reset")


def _read(path: str) -> Any:
    return json.loads((DATA / path).read_text("utf-8"))


def _children(node: dict[str, Any], *types: str) -> dict[str, dict[str, Any]]:
    return {k: v for k, v in node.items() if isinstance(v, dict) and v.get("_type") in types}


def commands() -> dict[str, Any]:
    """All menus of the recorded trees; a bit of a mask is a version, in the order of `versions`."""
    menus: dict[str, dict[str, Any]] = {}
    kinds: dict[str, int] = {"": 0}
    sets: dict[tuple[str, ...], int] = {}

    def walk(node: dict[str, Any], path: str, bit: int) -> None:
        menu = menus.setdefault(path, {"in": 0, "verbs": {}, "args": {}})
        menu["in"] |= bit
        for verb, command in _children(node, "cmd").items():
            args = _children(command, "arg")
            if verb in _AS_SET:
                menu["verbs"][verb] = menu["verbs"].get(verb, 0) | bit
            else:
                number = sets.setdefault(tuple(sorted(args)), len(sets))
                ways = menu["verbs"].setdefault(verb, [])
                same = next((way for way in ways if way[1] == number), None)
                if same:
                    same[0] |= bit
                else:
                    ways.append([bit, number])
            for column, name in enumerate(("add", "set"), start=1):
                if verb != name:
                    continue
                for arg, spec in args.items():
                    row = menu["args"].setdefault(arg, [0, 0, 0])
                    row[column] |= bit
                    if spec.get("desc"):
                        row[0] = kinds.setdefault(spec["desc"], len(kinds))
        for name, child in _children(node, "dir", "path").items():
            walk(child, f"{path}/{name}", bit)

    for number, version in enumerate(TREES):
        walk(_read(f"restraml/inspect-{version}.json"), "", 1 << number)
    return {
        "versions": list(TREES),
        "kinds": list(kinds),
        "sets": [list(s) for s in sets],
        "menus": dict(sorted(menus.items())),
    }


def _entry(menu: dict[str, Any]) -> dict[str, Any]:
    fields = {k: v for k, v in menu["fields"].items() if k != "numbers"}
    entry: dict[str, Any] = {
        "fields": sorted(fields),
        "defaults": {k: v["default"] for k, v in sorted(fields.items()) if "default" in v},
        "unset": {k: v.get("remove_value") for k, v in sorted(fields.items()) if v.get("can_disable")},
        "keys": menu["primary_keys"] or [],
    }
    for flag in ("single_value", "fixed_entries"):
        if menu[flag]:
            entry[flag] = True
    for flag in ("read_only", "write_only"):
        if names := sorted(k for k, v in fields.items() if v.get(flag)):
            entry[flag] = names
    return entry


def fields() -> dict[str, Any]:
    """Defaults and flags of each menu; one entry where both versions agree."""
    both = [{p: _entry(m) for p, m in _read(f"community-routeros-api-data/api_data-{v}.json").items()} for v in FIELDS]
    out: dict[str, dict[str, Any]] = {}
    for path in sorted({*both[0], *both[1]}):
        six, seven = both[0].get(path), both[1].get(path)
        if six == seven:
            out[path] = {"67": six}
            continue
        if seven:
            del seven["fields"]  # commands.json has them
        out[path] = {k: v for k, v in (("6", six), ("7", seven)) if v}
    return {"versions": list(FIELDS), "menus": out}


def missing() -> dict[str, Any]:
    """The answer of each menu that refuses an empty `add`, and which arguments it is about."""
    out: dict[str, Any] = {}
    for version in MISSING:
        answers: dict[str, list[Any]] = {}
        for menu in _read(f"required-args/required-args.v{version}.json"):
            text = re.sub(r" \(/[^()]*/add; line 1\)$", "", menu["rawError"]).removeprefix("Script Error: ")
            listed = re.fullmatch(r"missing value\(s\) of argument\(s\) (.+)", text)
            if listed:
                answers[menu["path"]] = ["", listed[1].split()]
            elif text:
                answers[menu["path"]] = [text, menu["required"]]
        out[version] = dict(sorted(answers.items()))
    return out


# (evl /ip/address/findwhere=$address;$network;...;$.about;(= $interface ether1);5)
_WHERE = re.compile(r"\(evl (/[a-z0-9/-]+)/(?:find|print)[^()$]*?where=((?:\$[a-z0-9.-]+;)+?\$\.about);")


def where() -> dict[str, Any]:
    """The properties of each menu that a listing shows, in the listed order."""
    menus: dict[str, list[str]] = {}
    for path in sorted((DATA / "rsc-parse").glob(f"*.parseil-{LISTED}")):
        for menu, names in _WHERE.findall(path.read_text("utf-8", "replace")):
            properties = [name.removeprefix("$") for name in names.split(";")]
            if menus.setdefault(menu, properties) != properties:
                raise ValueError(f"{menu} is listed in two ways, the second in {path.name}")
    return {"version": LISTED, "menus": dict(sorted(menus.items()))}


def _write(value: Any, depth: int) -> str:
    """JSON with a line for each entry down to `depth`: short, and a diff shows the menu that changed."""
    if depth and isinstance(value, dict):
        lines = (f"{json.dumps(k)}: {_write(v, depth - 1)}" for k, v in value.items())
        return "{\n" + ",\n".join(lines) + "\n}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tables() -> dict[str, str]:
    """All tables by file name."""
    return {
        "commands.json": _write(commands(), 2) + "\n",
        "fields.json": _write(fields(), 2) + "\n",
        "missing.json": _write(missing(), 2) + "\n",
        "where.json": _write(where(), 2) + "\n",
    }


def main() -> int:
    """Write the tables, or with --check only say which differ."""
    wrong = 0
    for name, text in tables().items():
        path = TABLES / name
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            print(f"{name} differs from what the recordings give")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
