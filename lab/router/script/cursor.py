"""A script's text and a place in it: blanks, names, the text of a syntax error. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from lab.router.errors import ScriptSyntaxError

SYNTAX: Final = "syntax error"
NAME: Final = "expected command name"
END: Final = "expected end of command"
BRACE: Final = "missing closing brace"
VALUE_BRACE: Final = "expected closing brace"
WHERE: Final = "missing value for where"

# blanks, and a backslash that continues the line
_BLANKS: Final = re.compile(r"(?:[ \t\r]|\\\r?\n)+")
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|\\\r?\n)+")
_COMMENT: Final = re.compile(r"#[^\n]*(?:\n|$)")


class Cursor:
    """A place in a script."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._counted = 0, 1
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]

    def place(self, at: int) -> str:
        """A place as RouterOS says it."""
        line, column = self._count(at)
        return f"(line {line} column {column})"

    def _count(self, at: int) -> tuple[int, int]:
        """Line and column from 1. A column is a byte, but a tab goes on to the next column that 8 divides."""
        line = bisect_right(self._lines, at)
        # on from the last place asked for, so that all places of a long line cost no more than one
        begun, column = self._counted if self._lines[line - 1] <= self._counted[0] <= at else (self._lines[line - 1], 1)
        for char in self.text[begun:at]:
            column = column // 8 * 8 + 8 if char == "\t" else column + 1
        self._counted = at, column
        return line, column

    def error(self, text: str, at: int | None = None) -> ScriptSyntaxError:
        """The refusal at a place, here unless told."""
        return ScriptSyntaxError(text, *self._count(self.at if at is None else at))

    def peek(self, length: int = 1) -> str:
        """The next characters; fewer at the end."""
        return self.text[self.at : self.at + length]

    def take(self, text: str) -> bool:
        """Pass a text if it stands here."""
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> str:
        """Pass the pattern's match here."""
        found = pattern.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[0]

    def sees(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether the pattern matches here."""
        return pattern.match(self.text, self.at) is not None

    def blanks(self) -> bool:
        """Pass blanks on this line; tell whether there were any."""
        return bool(self.match(_BLANKS))

    def space(self) -> None:
        """Pass blanks and line ends, as inside brackets of an expression."""
        self.match(_SPACE)

    def comments(self) -> bool:
        """Pass a comment with its line's end."""
        return bool(self.match(_COMMENT))

    def ended(self) -> bool:
        """Tell whether a command ends here."""
        return self.peek() in ("", "\n", ";", "}", "]")
