"""Rules of CONTRIBUTING.md that no linter checks: errors, asserts, exceptions, and reasons for what is switched off."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.repo import tree

BORDERS = {
    "agent/runtime/supervise.py": "what it is for: a part that dies is logged and started again",
    "agent/connectors/radius/codec.py": "pyrad raises what it likes",
}
"""The only files that may catch `Exception`, and why."""

TREES = {
    "trust": "trust/errors.py",
    "backups": "backups/errors.py",
    "durable": "durable/errors.py",
    "agent/store": "agent/store/errors.py",
    "agent/runtime": "agent/runtime/errors.py",
    "agent/connectors/cwmp": "agent/connectors/cwmp/errors.py",
    "agent/connectors/radius": "agent/connectors/radius/errors.py",
    "agent/connectors/routeros": "agent/connectors/routeros/errors.py",
    "agent/connectors/snmp": "agent/connectors/snmp/errors.py",
    "control_plane": "control_plane/errors.py",
}
"""Where the error tree of each package is drawn."""


# --- the form of errors ---------------------------------------------------------------------------------------------


def turned_texts(module: ast.Module) -> list[str]:
    """Return the texts that say `X expected, got Y`: one form everywhere is `expected X, got Y`."""
    texts = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if " expected, got" in text]


def test_what_was_expected_stands_first() -> None:
    found = {tree.name(p): texts for p in tree.python_files(*tree.PACKAGES) if (texts := turned_texts(tree.parsed(p)))}
    assert found == {}


def test_turned_texts_are_seen() -> None:
    assert turned_texts(ast.parse('f"{x}: a number expected, got {y}"')) == [": a number expected, got "]
    assert turned_texts(ast.parse('f"{x}: expected a number, got {y}"')) == []


# --- exceptions and asserts -----------------------------------------------------------------------------------------


def broad_handlers(module: ast.Module) -> list[int]:
    """Return the lines that catch everything and do not raise again."""
    found = []
    for handler in (n for n in ast.walk(module) if isinstance(n, ast.ExceptHandler)):
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = {c.id if isinstance(c, ast.Name) else None for c in caught}
        raises_again = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        if None in caught or "Exception" in names or ("BaseException" in names and not raises_again):
            found.append(handler.lineno)
    return found


def test_nobody_catches_everything() -> None:
    found = {
        tree.name(p): lines for p in tree.python_files(*tree.PACKAGES) if (lines := broad_handlers(tree.parsed(p)))
    }
    assert {f"{name}:{lines}" for name, lines in found.items() if name not in BORDERS} == set()
    assert set(found) == set(BORDERS), "a border that no longer needs it is taken off the list"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("try: pass\nexcept Exception: pass", [2]),
        ("try: pass\nexcept (ValueError, Exception) as e: raise X from e", [2]),
        ("try: pass\nexcept: raise", [2]),
        ("try: pass\nexcept BaseException: pass", [2]),
        ("try: pass\nexcept BaseException:\n  close()\n  raise", []),
        ("try: pass\nexcept ValueError: pass", []),
    ],
)
def test_broad_handlers_are_seen(source: str, lines: list[int]) -> None:
    assert broad_handlers(ast.parse(source)) == lines


def test_nothing_in_production_rests_on_assert() -> None:
    found = [
        f"{tree.name(path)}:{node.lineno}"
        for path in tree.python_files(*tree.PACKAGES)
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Assert)
    ]
    assert found == [], "python -O removes assert statements: raise an error"


# --- reasons ---------------------------------------------------------------------------------------------------------

_OFF = re.compile(r"#\s*(?P<what>noqa|type:\s*ignore)(?P<rest>.*)", re.IGNORECASE)
_NOQA = re.compile(r":\s*[A-Z]+[0-9]+(\s*,\s*[A-Z]+[0-9]+)*(?P<reason>.*)")
_IGNORE = re.compile(r"\[[a-z0-9, -]+\](?P<reason>.*)")


def unexplained(comment: str) -> bool:
    """Return whether a comment switches a check off without naming it, or without a reason."""
    found = _OFF.search(comment)
    if found is None:
        return False
    form = _NOQA if found["what"].lower() == "noqa" else _IGNORE
    code = form.fullmatch(found["rest"])
    return code is None or not re.search(r"[a-z]{2}", code["reason"])


@pytest.mark.parametrize(
    ("comment", "wrong"),
    [
        ("# noqa", True),
        ("# noqa: S608", True),
        ("# noqa: S608 (constants only)", False),
        ("# noqa: S608, E501  long by nature", False),
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore[arg-type]  # set by the test", False),
        ("# an ordinary comment", False),
    ],
)
def test_unexplained_is_seen(comment: str, wrong: bool) -> None:
    assert unexplained(comment) is wrong


def comments(path: Path) -> list[tuple[int, str]]:
    """Return the comments of a Python file with their lines, of one that switches something off."""
    text = path.read_text(encoding="utf-8")
    if not _OFF.search(text):  # to take a thousand files apart costs ten seconds
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


def test_what_is_switched_off_has_a_code_and_a_reason() -> None:
    found = [
        f"{tree.name(path)}:{line} {text}"
        for path in tree.python_files()
        for line, text in comments(path)
        if unexplained(text)
    ]
    assert found == []


# --- error trees -----------------------------------------------------------------------------------------------------

_BRANCH = re.compile(r"^(?P<indent> *)[*x+-] (?P<name>[A-Z]\w*)([:,]|$)")


def drawn(docstring: str) -> dict[str, str | None]:
    """Return the error tree of a docstring: name -> parent (None for a root)."""
    found: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in docstring.splitlines():
        if (branch := _BRANCH.match(line)) is None:
            continue
        indent = len(branch["indent"])
        while path and path[-1][0] >= indent:
            path.pop()
        found[branch["name"]] = path[-1][1] if path else None
        path.append((indent, branch["name"]))
    return found


def _errors(folder: str) -> dict[str, tuple[Path, str]]:
    """Return the public errors that a package defines: name -> file, base."""
    top = folder.split("/")[0]
    return {
        node.name: (path, node.bases[0].id)
        for path, node in tree.classes(top)
        if tree.name(path).startswith(f"{folder}/")
        and node.name.endswith("Error")
        and not node.name.startswith("_")
        and node.bases
        and isinstance(node.bases[0], ast.Name)
    }


@pytest.mark.parametrize("folder", TREES)
def test_errors_stand_in_their_tree(folder: str) -> None:
    docstring = ast.get_docstring(tree.parsed(tree.ROOT / TREES[folder])) or ""
    shown = drawn(docstring)
    defined = _errors(folder)
    assert defined, f"no errors found in {folder}"
    for name, (path, base) in defined.items():
        # A module may draw a branch of its own where its errors do not leave it
        here = shown if name in shown else drawn(ast.get_docstring(tree.parsed(path)) or "")
        assert name in here, f"{tree.name(path)}: {name} stands in no tree (expected in {TREES[folder]})"
        if here[name] is not None:
            assert here[name] == base, f"{name} is drawn under {here[name]}, its base is {base}"
    assert set(shown) <= set(defined), "drawn, and not there any more"


def test_tree_is_read() -> None:
    assert drawn("x\n\n* A\n  x B: why\n    + C\n  x D") == {"A": None, "B": "A", "C": "B", "D": "A"}


def test_every_error_of_ours_ends_in_error() -> None:
    found = [
        f"{tree.name(path)}: {node.name}"
        for path, node in tree.classes(*tree.PACKAGES)
        if any(isinstance(b, ast.Name) and (b.id == "Exception" or b.id.endswith("Error")) for b in node.bases)
        and not node.name.endswith("Error")
    ]
    assert found == []


# --- SQL ------------------------------------------------------------------------------------------------------------

UNNAMED = re.compile(r"\b(?:INSERT|REPLACE)\b[A-Z ]*\bINTO \w+ VALUES")


@pytest.mark.parametrize("path", tree.python_files("agent"), ids=tree.name)
def test_an_insert_names_its_columns(path: Path) -> None:
    """A migration that adds a column, or moves one, must not put values into another."""
    assert UNNAMED.findall(path.read_text(encoding="utf-8")) == []


def test_an_insert_without_columns_is_seen() -> None:
    assert UNNAMED.search("INSERT OR REPLACE INTO meta VALUES (?,?)")
    assert not UNNAMED.search("INSERT INTO meta (key, value) VALUES (?,?)")
