"""Code that tests share stands in `tests/builders`, a conftest or a support file, once: never in a test file.

A test file that others import cannot be split, renamed or deleted without looking at them; and who needs a subscriber
or an agent next cannot find it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest

from tests.repo import tree

LEFT = {
    "tests/sim/cloud/test_cloud_wire.py": "runs tests of the control plane over its own wire",
}
"""Files that may import a test file, and why."""

STATEMENTS = 2
"""A body of fewer is no copy: `return Book()` says the same twice by chance."""


def modules() -> dict[str, ast.Module]:
    """Return each Python file of the tests."""
    return {tree.name(path): tree.parsed(path) for path in tree.python_files("tests")}


def of_test_files(parsed: ast.Module) -> list[str]:
    """Return the test files that a module imports, or imports from."""
    found = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
            found += [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.startswith("tests")]
    return [name for name in found if any(part.startswith("test_") for part in name.split("."))]


def functions(parsed: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and code of each function at the top of a module that is no test and does several things."""
    for node in parsed.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("test_"):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if sum(isinstance(n, ast.stmt) for statement in body for n in ast.walk(statement)) >= STATEMENTS:
                yield node.name, ast.unparse([*node.decorator_list, node.args, *body])  # type: ignore[arg-type]  # a list is taken


def copies(parsed: Mapping[str, ast.Module]) -> list[str]:
    """Return the functions that several modules define alike, and where."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, module in parsed.items():
        for function, code in functions(module):
            places[function, code].append(name)
    return [f"{function}: {', '.join(found)}" for (function, _), found in places.items() if len(found) > 1]


def test_nobody_imports_a_test_file() -> None:
    found = {name: imported for name, module in modules().items() if (imported := of_test_files(module))}
    assert set(LEFT) <= set(found), "it does not any more: take it off the list"
    bad = {name: imported for name, imported in found.items() if name not in LEFT}
    assert bad == {}, "put what is shared into tests/builders, or into a support file beside the tests"


def test_no_helper_is_defined_twice() -> None:
    assert copies(modules()) == [], "put it into tests/builders, a conftest or a support file, and import it"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tests.agent.test_api import Agent", ["tests.agent.test_api.Agent"]),
        ("def f():\n  from tests.fuzz import test_cwmp, harnesses", ["tests.fuzz.test_cwmp"]),
        ("import tests.trust.test_keys", ["tests.trust.test_keys"]),
        ("from tests.builders.agent import Agent\nimport trio.testing", []),
    ],
)
def test_imports_of_test_files_are_seen(source: str, found: list[str]) -> None:
    assert of_test_files(ast.parse(source)) == found


BODY = "  x = make()\n  return x\n"


@pytest.mark.parametrize(
    ("other", "copied"),
    [
        (f"def f(a):\n  'Says more.'\n{BODY}", True),
        (f"def f(b):\n{BODY}", False),
        (f"def g(a):\n{BODY}", False),
        (f"@pytest.fixture\ndef f(a):\n{BODY}", False),
        ("def f(a):\n  return make()\n", False),
    ],
    ids=["docstring", "arguments", "name", "fixture", "body"],
)
def test_copies_are_seen(other: str, copied: bool) -> None:
    found = copies({"a.py": ast.parse(f"def f(a):\n{BODY}"), "b.py": ast.parse(other)})
    assert found == (["f: a.py, b.py"] if copied else [])
