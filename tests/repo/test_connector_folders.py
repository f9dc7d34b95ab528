"""What a connector's folder may hold and import, by the names of folders and files: a new one needs no line here.

* A connector imports no other, and nothing outside its folder imports it: the registry finds it by its package's name.
* A module does no I/O unless a word of its name says so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo import tree

_FOLDER = "agent.connectors."
IO_WORDS = {"session", "listener", "poller", "sql"}
IO_NAMES = {"connector", "cli"}
EXCEPTIONS = {"agent/connectors/routeros/line.py": "the way to one router: it holds connections and opens them again"}
"""Modules that do I/O under another name, and why."""
IO_MODULES = ("trio", "socket", "sqlite3", "psycopg", "pymysql", "h11", "subprocess")
IO_PACKAGES = ("agent.store", "agent.runtime", "durable")


def connector_of(name: str) -> str:
    """Return the connector in whose folder a module, or a name in one, is; empty: in none."""
    kind = name.removeprefix(_FOLDER).partition(".")[0]
    return kind if name.startswith(_FOLDER) and (tree.ROOT / "agent" / "connectors" / kind).is_dir() else ""


def imports(parsed: ast.Module) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever the import stands."""
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strangers(module: str, parsed: ast.Module) -> list[str]:
    """Return the imports of a module that reach into the folder of a connector from outside."""
    return [name for name in imports(parsed) if connector_of(name) not in ("", connector_of(module))]


def may_do_io(path: Path) -> bool:
    """Return whether the name of a connector's module allows I/O."""
    return path.stem in IO_NAMES or not IO_WORDS.isdisjoint(path.stem.split("_")) or tree.name(path) in EXCEPTIONS


def io(parsed: ast.Module) -> list[str]:
    """Return the imports by which a module does I/O."""
    return [
        name
        for name in imports(parsed)
        if name.partition(".")[0] in IO_MODULES or any(f"{name}.".startswith(f"{p}.") for p in IO_PACKAGES)
    ]


def modules() -> dict[Path, str]:
    return {path: tree.module(path) for path in tree.python_files("agent")}


def test_a_connector_is_imported_from_its_own_folder_only() -> None:
    found = {tree.name(path): names for path, m in modules().items() if (names := strangers(m, tree.parsed(path)))}
    assert found == {}


def test_modules_without_a_word_for_it_do_no_io() -> None:
    pure = [path for path, module in modules().items() if connector_of(module) and not may_do_io(path)]
    assert len(pure) > 60
    assert {tree.name(path): names for path in pure if (names := io(tree.parsed(path)))} == {}


def test_an_exception_that_is_not_needed_is_taken_off() -> None:
    assert [name for name in EXCEPTIONS if not io(tree.parsed(tree.ROOT / name))] == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("agent.connectors.radius.access", "from agent.connectors.routeros.values import Kind", True),
        ("agent.connectors.radius.access", "from agent.connectors import routeros", True),
        ("agent.connectors.radius.access", "from agent.connectors.radius import codec\nimport trio", False),
        ("agent.connectors.radius.access", "from agent.connectors.base import Session", False),
        ("agent.connectors.registry", "from agent.connectors.radius import SPEC", True),
        ("agent.daemon", "def f():\n  from agent.connectors.cwmp.connector import CwmpConnector", True),
        ("agent.daemon", "from agent.connectors import registry, roles", False),
    ],
)
def test_strangers_are_seen(module: str, source: str, found: bool) -> None:
    assert bool(strangers(module, ast.parse(source))) is found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import trio.socket", True),
        ("if TYPE_CHECKING:\n  from agent.store.db import Store", True),
        ("from agent.runtime import clock", True),
        ("from agent.runtimes import clock\nfrom triology import a", False),
    ],
)
def test_io_is_seen(source: str, found: bool) -> None:
    assert bool(io(ast.parse(source))) is found


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("api_session.py", True),
        ("sql_connection.py", True),
        ("connector.py", True),
        ("sessions.py", False),
        ("spec.py", False),
    ],
)
def test_names_say_whether_there_is_io(name: str, allowed: bool) -> None:
    assert may_do_io(tree.ROOT / "agent" / "connectors" / "radius" / name) is allowed
