"""A router made from an export, and an export made from a router.

Things that an export names are taken to exist: hardware, built-in rows, and the targets of its references. Menus and
arguments that the version's recordings lack are kept as they stand and written back; `LoadReport.unknown` lists them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.router import values as v
from lab.router.assumed_facts import Model
from lab.router.device import Router
from lab.router.rsc import Statement, format_statement, parse_export
from lab.router.store import INTERFACES
from lab.router.table import Row

# never in an export: what the router does, who its users are (RouterOS leaves them out), and rows shown twice
_LEFT_OUT: Final = frozenset(
    (
        INTERFACES, "/ip/firewall/connection", "/ip/hotspot/active", "/ip/hotspot/cookie", "/ip/hotspot/host",
        "/ipv6/firewall/connection", "/ppp/active", "/system/history", "/user", "/user/active",
    )
)  # fmt: skip
# what others refer to comes first, as in RouterOS' own exports
_FIRST: Final = (
    "/interface/bridge", "/interface/ethernet", "/interface/vlan", "/interface/list", "/interface", "/ip/pool",
    "/queue/type", "/ppp/profile", "/queue", "/ip/hotspot/profile", "/ip/hotspot/user/profile", "/ip/hotspot",
    "/ip/dhcp-server",
)  # fmt: skip
_RATES: Final = frozenset(("max-limit", "limit-at", "burst-limit", "burst-threshold"))
_HEADER: Final = re.compile(r"^# .* by RouterOS (\d+\.\d+(?:\.\d+)?)", re.MULTILINE)
_MODEL: Final = re.compile(r"^# model = (\S+)", re.MULTILINE)
_SERIAL: Final = re.compile(r"^# serial number = (\S+)", re.MULTILINE)
_SOFTWARE: Final = re.compile(r"^# software id = (\S+)", re.MULTILINE)
_PORT: Final = re.compile(r"\bether(\d{1,2})\b")


@dataclass(slots=True)
class LoadReport:
    """The result of an export: statements carried out, and words that the recordings of the version do not know."""

    loaded: int = 0
    unknown: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Loaded:
    """A router made from an export. `kept`: statements of menus that the version's recordings lack."""

    router: Router
    report: LoadReport
    kept: list[Statement] = field(default_factory=list)


def load_export(text: str, version: str = "", clock: Callable[[], float] = time.time) -> Loaded:
    """Make a router from an export; version, model and serial number are those of its header unless given.

    Raises:
        ScriptError: the text is no export.
        UnknownVersionError: `version` is none.
    """

    def header(pattern: re.Pattern[str], otherwise: str) -> str:
        found = pattern.search(text)
        return found[1] if found else otherwise

    router = Router(
        version or header(_HEADER, "7.20.8"),
        identity="MikroTik",
        serial=header(_SERIAL, "HFG09ABCDEF"),
        clock=clock,
        board=header(_MODEL, "CHR"),
        software_id=header(_SOFTWARE, "ABCD-EF12"),
        ports=max((int(n) for n in _PORT.findall(text)), default=0),
        with_services=False,
    )
    loaded = Loaded(router, LoadReport())
    for statement in parse_export(text):
        _carry_out(loaded, statement)
    return loaded


def _carry_out(loaded: Loaded, statement: Statement) -> None:
    store, report = loaded.router.store, loaded.report
    model = store.find_model(statement.path)
    if model is None:
        report.unknown.append(f"line {statement.line}: {statement.path}")
        loaded.kept.append(statement)
        return
    known = model.menu.verbs.get("add", frozenset()) | model.menu.verbs.get("set", frozenset())
    for arg in statement.args:
        if arg.removeprefix("!") not in known:
            report.unknown.append(f"line {statement.line}: {statement.path} {arg}")
    if statement.verb == "add":
        store.add(statement.path, statement.args, lenient=True)
    elif model.menu.single:
        store.change(statement.path, store.single(statement.path), statement.args, lenient=True)
    else:
        for row in _chosen(loaded.router, model, statement):
            if statement.verb == "remove":
                store.remove(statement.path, row)
            else:
                store.change(statement.path, row, statement.args, lenient=True)
    report.loaded += 1


def _alike(shown: str | None, wanted: str) -> bool:
    return shown == wanted or (shown in ("true", "false") and wanted == ("yes" if shown == "true" else "no"))


def _chosen(router: Router, model: Model, statement: Statement) -> list[Row]:
    """The rows that a `set` is about. One that is not there is made: an export names existing things."""
    store, path = router.store, model.path
    table = store.table(path)
    if statement.find:
        if dict(statement.find) == {"default": "yes"} and (first := [row for row in table if row.builtin]):
            return first
        rows = [
            row
            for row in table
            for shown in (store.view(path, row),)
            if all(_alike(shown.get(name), wanted) for name, wanted in statement.find.items())
        ]
        if rows or statement.verb == "remove":
            return rows
        props = {k: value for k, value in statement.find.items() if k not in ("default", "builtin")}
        if "default-name" in props:
            props["name"] = props["default-name"]
        return [store.insert(path, props, builtin=True)]
    which = statement.which
    if which.startswith("*"):
        row = table.get(which)
        return [row or store.insert(path, {}, builtin=True)]
    if which.isdecimal() and not store.named(path, which):
        # a verbose export numbers rows as they stand on its router, added ones among them: the name is surer
        if (known := store.named(path, statement.args.get("name", ""))) and known.builtin:
            return [known]
        while len(table) <= min(int(which), 1000):
            store.insert(path, {}, builtin=True)
        return [list(table)[int(which)]]
    key = model.menu.keys[0] if model.menu.keys else "name"
    row = store.named(path, which) or next((r for r in table if r.props.get(key) == which), None)
    return [row or store.insert(path, {key: which}, builtin=True)]


# --- writing ----------------------------------------------------------------------------------------------------------


def export(router: Router, kept: list[Statement] | None = None) -> str:
    """A router's configuration as text; loading it gives the same rows again. Secrets are in it."""
    found: dict[str, list[Statement]] = {}
    for path in router.store.used_paths():
        if path not in _LEFT_OUT and (statements := list(_statements(router, path))):
            found[path] = statements
    for statement in kept or ():
        found.setdefault(statement.path, []).append(statement)
    lines = [
        f"# {router.date_time()} by RouterOS {router.version}",
        f"# software id = {router.software_id}",
        "#",
        f"# model = {router.board}",
        f"# serial number = {router.serial}",
    ]
    for path in sorted(found, key=_place):
        lines.append("/" + " ".join(path.split("/")[1:]))
        lines += [format_statement(s) for s in found[path]]
    return "\n".join(lines) + "\n"


def _place(path: str) -> tuple[int, str]:
    for number, first in enumerate(_FIRST):
        if path == first or path.startswith(f"{first}/"):
            return number, path
    return len(_FIRST), path


def _written(model: Model, props: Mapping[str, str]) -> dict[str, str]:
    """Properties as an export writes them, in its order."""
    out = {}
    for name, value in sorted(props.items()):
        if value in ("true", "false") and _is_flag(model, name):
            out[name] = "yes" if value == "true" else "no"
        elif name in _RATES:
            out[name] = "/".join(v.short_rate(part) for part in value.split("/"))
        elif value.isdecimal() and v.is_size(model.menu.defaults.get(name)):
            out[name] = f"{value}KiB"
        else:
            out[name] = value
    return out


def _is_flag(model: Model, name: str) -> bool:
    kind = model.kinds.get(name, v.text)
    try:
        return kind("yes") == "true"
    except v.BadValueError:
        return False


def _statements(router: Router, path: str) -> Iterator[Statement]:
    model = router.store.model(path)
    if model.menu.single:
        row = router.store.single(path)
        if row.props:
            yield Statement(0, path, "set", args=_written(model, row.props))
        return
    for number, row in enumerate(router.store.table(path)):
        if row.dynamic:
            continue
        if not row.builtin:
            yield Statement(0, path, "add", args=_written(model, row.props))
        elif (changed := _changed(model, row, number)) is not None:
            yield changed


def _changed(model: Model, row: Row, number: int) -> Statement | None:
    """The `set` that makes a built-in row as it is, or None where it is as it came."""
    first = next((f for f in model.lore.rows if f.get(".id") == row.id), None)
    if first is None and number < len(model.lore.rows):
        first = model.lore.rows[number]
    original = {k: value for k, value in (first or {}).items() if k != ".id"}
    gone = {f"!{k}": "" for k in sorted(original.keys() - row.props.keys())}
    if first is not None and row.props == original:
        return None
    args = _written(model, row.props) | gone
    if "default-name" in row.props:
        name = row.props["default-name"]
        args.pop("default-name")
        return Statement(0, model.path, "set", find={"default-name": name}, args=args)
    if first is not None and ".id" in first:
        return Statement(0, model.path, "set", which=row.id, args=args)
    key = model.menu.keys[0] if model.menu.keys else "name"
    if first is None and row.props.get(key):
        args.pop(key)
        return Statement(0, model.path, "set", which=row.props[key], args=args)
    return Statement(0, model.path, "set", which=str(number), args=args)


def contents(router: Router) -> dict[str, list[dict[str, str]]]:
    """All configuration that an export carries, to compare two routers: rows in order, without ids."""
    out: dict[str, list[dict[str, str]]] = {}
    for path in router.store.used_paths():
        if path in _LEFT_OUT:
            continue
        if router.store.model(path).menu.single:
            rows = [router.store.single(path).props]
        else:
            rows = [row.props for row in router.store.table(path) if not row.dynamic]
        if any(rows):
            out[path] = [dict(sorted(props.items())) for props in rows]
    return out
