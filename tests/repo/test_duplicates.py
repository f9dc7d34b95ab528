"""The agent and the control plane share no code by copy: what both need stands once, in durable, protos or trust."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.repo import tree

BLOCK = 8
"""Lines; eight in a row that are equal by chance do not happen."""


def lines_of(source: str) -> list[tuple[int, str]]:
    """Return the lines that say something, with their numbers: without indentation, imports, comments and blanks."""
    imports = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    stripped = ((number, line.strip()) for number, line in enumerate(source.splitlines(), 1) if number not in imports)
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def blocks(source: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Return each block of lines in a row, with the number of its first line."""
    lines = lines_of(source)
    for start in range(len(lines) - BLOCK + 1):
        yield tuple(line for _, line in lines[start : start + BLOCK]), lines[start][0]


def shared(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Return the places (`file:line = file:line`) where a block of one side begins that the other side has too."""
    known = {block: f"{name}:{line}" for name, source in ours.items() for block, line in blocks(source)}
    return [
        f"{known[block]} = {name}:{line}"
        for name, source in theirs.items()
        for block, line in blocks(source)
        if block in known
    ]


def sources(folder: str) -> dict[str, str]:
    """Return the text of each Python file below a folder."""
    return {tree.name(path): path.read_text(encoding="utf-8") for path in tree.python_files(folder)}


def test_agent_and_control_plane_share_no_block() -> None:
    assert shared(sources("agent"), sources("control_plane")) == [], "put it where both may import it"


BODY = [f"total = add(total, {n})" for n in range(BLOCK)]


def made(*lines: str, indent: str = "    ", name: str = "theirs") -> str:
    """Return a function with these lines; its first and last line are of its name."""
    return f"def {name}(total, add):\n" + "".join(f"{indent}{line}\n" for line in (*lines, f"return {name}"))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (made(*BODY, indent="  "), True),
        (made(*BODY[:3], "", "# another comment", "from a import (", "    b,", ")", *BODY[3:]), True),
        (made(*BODY[:-1]), False),
        (made(*BODY[:4], "total = 0", *BODY[4:]), False),
        (made(*reversed(BODY)), False),
    ],
    ids=["indentation", "blanks-comments-imports", "seven", "another-line", "another-order"],
)
def test_a_copy_is_seen(other: str, found: bool) -> None:
    here = "import os\n\n# a comment\n" + made(*BODY[:2], "# why", *BODY[2:], name="ours")
    expected = ["agent/a.py:5 = control_plane/b.py:2"] if found else []
    assert shared({"agent/a.py": here}, {"control_plane/b.py": other})[:1] == expected


def test_a_planted_copy_of_real_code_is_seen() -> None:
    ours = sources("agent")
    whole = ours["agent/store/log_store.py"].splitlines()
    start = next(n for n, line in enumerate(whole) if line.startswith("def load_tail"))
    copy = "\n".join(whole[start : start + 20])
    assert shared(ours, {**sources("control_plane"), "control_plane/copy.py": copy})
