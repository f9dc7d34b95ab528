"""Reads a published description that is a YAML document in block style.

It reads mappings, sequences, plain and quoted scalars, `|` blocks, and empty `{}` and `[]`; a document with
anything else is refused. A library for the whole of YAML would be a dependency for one file of the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_KEY = re.compile(r"""(?P<key>'[^']*'|"[^"]*"|[^\s'"#\[{&*!|>-][^#]*?|-[^\s][^#]*?):(?: +(?P<rest>.*))?""")
_EMPTY: dict[str, Any] = {"{}": {}, "[]": []}
_WORDS = {"true": True, "false": False, "null": None, "~": None}


class BlockYamlError(ValueError):
    """A line is not of the block style that is read here."""


@dataclass
class _Lines:
    """The lines that are left. Blank ones count in blocks of text only."""

    lines: list[str]
    at: int = 0

    def peek(self) -> tuple[int, str] | None:
        """Return indentation and text of the next line that is not blank; None: there is none."""
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1
        if self.at == len(self.lines):
            return None
        line = self.lines[self.at]
        text = line.lstrip(" ")
        return len(line) - len(text), text.rstrip()

    def error(self, expected: str) -> BlockYamlError:
        """Return the error of the next line."""
        return BlockYamlError(f"line {self.at + 1}: expected {expected}, got {self.lines[self.at].strip()[:60]!r}")


def block_yaml(text: str) -> Any:
    """Return the value of a document.

    Raises:
        BlockYamlError: it holds what is not read here.
    """
    lines = _Lines(text.splitlines())
    value = _node(lines, 0)
    if lines.peek() is not None:
        raise lines.error("the end")
    return value


def _node(lines: _Lines, least: int) -> Any:
    """Return the value that begins on the next line; nothing indented by less than `least` belongs to it."""
    found = lines.peek()
    if found is None or found[0] < least:
        return None
    indent, text = found
    if text == "-" or text.startswith("- "):
        return _sequence(lines, indent)
    return _mapping(lines, indent) if _KEY.fullmatch(text) else _scalar_line(lines, text)


def _scalar_line(lines: _Lines, text: str) -> Any:
    value = _scalar(lines, text)
    lines.at += 1
    return value


def _sequence(lines: _Lines, indent: int) -> list[Any]:
    values = []
    while (found := lines.peek()) is not None and found[0] == indent and (found[1] + " ").startswith("- "):
        rest = found[1][2:].lstrip()
        if not rest:
            lines.at += 1
            values.append(_node(lines, indent + 1))
        else:  # what follows the dash is a line of its own, further to the right
            lines.lines[lines.at] = lines.lines[lines.at].replace("-", " ", 1)
            values.append(_node(lines, indent + 1))
    return values


def _mapping(lines: _Lines, indent: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    while (found := lines.peek()) is not None and found[0] == indent:
        if (match := _KEY.fullmatch(found[1])) is None:
            raise lines.error("a key")
        key, rest = match["key"].strip("'\""), match["rest"] or ""
        if rest in ("|", "|-"):
            lines.at += 1
            values[key] = _text(lines, indent)
        elif rest:
            values[key] = _scalar_line(lines, rest)
        else:
            lines.at += 1
            after = lines.peek()
            dash = after is not None and after[0] == indent and (after[1] + " ").startswith("- ")
            values[key] = _node(lines, indent if dash else indent + 1)
    return values


def _text(lines: _Lines, indent: int) -> str:
    found = []
    while lines.at < len(lines.lines):
        line = lines.lines[lines.at]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        found.append(line.strip())
        lines.at += 1
    return "\n".join(found).strip()


def _scalar(lines: _Lines, text: str) -> Any:
    if text in _EMPTY:
        return type(_EMPTY[text])()
    if text[0] in "'\"":
        if len(text) < 2 or text[-1] != text[0]:
            raise lines.error("a quoted text on one line")
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    if text[0] in "[{&*!|>":
        raise lines.error("a plain value")
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", text):
        return float(text)
    return _WORDS.get(text, text)
