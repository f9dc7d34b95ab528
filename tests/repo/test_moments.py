"""Moments are formatted in one place, `trust/moments.py`: people read one form with its zone, programs RFC 3339."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.repo import tree

FORMAT = re.compile(r"%[aAbBdHIjmMpSyYZ]")
"""A directive of strftime(3)."""

MAY = {
    "trust/moments.py": "the one place",
    "agent/cli/when.py": "columns of lists: eleven characters, on the reader's own clock",
    "agent/cli/plot_layout.py": "the marks of an axis, whose zone the plot names once",
    "agent/runtime/redacting_log.py": "log lines: RFC 3339 with milliseconds",
    "agent/store/backup_folder.py": "names of files, which sort by time",
    "agent/connectors/daraja/daraja_session.py": "the form that M-Pesa's API prescribes",
    "agent/connectors/paystack/paystack_session.py": "the form that Paystack's API prescribes",
}


def formats(source: str) -> Iterator[int]:
    """Yield the lines that format a moment: `strftime`, or an f-string's format with directives of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("strftime", "ctime", "asctime"):
                yield node.lineno
        elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            texts = (n.value for n in ast.walk(node.format_spec) if isinstance(n, ast.Constant))
            if any(isinstance(text, str) and FORMAT.search(text) for text in texts):
                yield node.lineno


def test_moments_are_formatted_in_one_place() -> None:
    found: dict[str, list[int]] = {}
    for path in tree.python_files(*tree.PACKAGES):
        name = tree.name(path)
        if lines := list(formats(path.read_text(encoding="utf-8"))):
            found[name] = lines
    others = [f"{name}:{line}" for name, lines in found.items() if name not in MAY for line in lines]
    assert not others, f"use trust.moments (moment_text for people, rfc3339 for programs): {', '.join(others)}"
    assert set(MAY) <= set(found), "an entry of a file that formats no moment any more"


@pytest.mark.parametrize(
    "source", ["x = at.strftime(form)", "x = f'{at:%H:%M}'", "x = f'{at:{width}%Y}'", "x = time.ctime(0)"]
)
def test_what_formats_a_moment_is_found(source: str) -> None:
    assert list(formats(source)) == [1]


def test_what_formats_none_is_not() -> None:
    assert not list(formats("x = f'{share:.1%} {name:>8}' + str(day) + f'{count} % of active'"))
