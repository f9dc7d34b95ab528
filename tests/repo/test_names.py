"""Names of tests: with its file a name is one line of a report."""

from __future__ import annotations

import ast

from tests.repo import tree

MOST = 59
"""Characters."""


def test_names_of_tests_are_short() -> None:
    long = [
        f"{tree.name(path)}: {node.name}"
        for path in tree.python_files("tests")
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > MOST
    ]
    assert long == [], f"expected at most {MOST} characters: say the state and the result"
