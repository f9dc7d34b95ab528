"""No modules that import one another in a circle; imports for type checkers and inside functions count too.

Such modules are one module in several files: none can be read, tested or moved alone.
"""

from __future__ import annotations

import ast

import pytest

from tests.repo import tree


def imports(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Return the modules among these that each imports."""
    found: dict[str, set[str]] = {}
    for module, parsed in modules.items():
        named: set[str] = set()
        for node in ast.walk(parsed):
            if isinstance(node, ast.Import):
                named.update(a.name for a in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{a.name}" for a in node.names}  # a name of a package may be its module
                named.update(name if name in modules else node.module for name in full)
        found[module] = (named & modules.keys()) - {module}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the largest sets of modules in which each leads to each."""
    reached = {module: _reached(graph, module) for module in graph}
    found: list[set[str]] = []
    for module in graph:
        circle = {other for other in reached[module] if module in reached[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    left = list(graph[start])
    while left:
        if (module := left.pop()) not in reached:
            reached.add(module)
            left.extend(graph[module])
    return reached


def test_modules_import_one_another_in_no_circle() -> None:
    graph = imports({tree.module(path): tree.parsed(path) for path in tree.python_files(*tree.PACKAGES, "lab")})
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a": "import b", "b": "import a", "c": "import a"}, [{"a", "b"}]),
        ({"a": "import b", "b": "import c", "c": "import a"}, [{"a", "b", "c"}]),
        ({"a": "import b", "b": "def f():\n  import a"}, [{"a", "b"}]),
        ({"a": "import b", "b": "if TYPE_CHECKING:\n  from a import X"}, [{"a", "b"}]),
        ({"p.a": "from p import b", "p.b": "from p.a import X"}, [{"p.a", "p.b"}]),
        ({"p": "from p.a import X", "p.a": "from p import Y, b", "p.b": ""}, [{"p", "p.a"}]),
        ({"a": "import b, c", "b": "import c", "c": ""}, []),
    ],
)
def test_circles_are_found(sources: dict[str, str], found: list[set[str]]) -> None:
    assert circles(imports({module: ast.parse(text) for module, text in sources.items()})) == found
