r"""An export's text, read and written: paths, `add`, `set`, quoting, line continuation. Pure.

This reads the output of RouterOS' `/export`, compact or verbose, of versions 6 and 7. It is no reader of scripts:
variables, expressions and blocks are refused with their line.

    /ip firewall filter
    add action=drop chain=forward comment="SUSPENDED: \C3\B1" src-address-list=suspended
    set [ find default-name=ether1 ] name=ether1-wan \
        speed=1Gbps
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.router.errors import ScriptError

_ESCAPES: Final = {
    '"': b'"', "\\": b"\\", "$": b"$", "?": b"?", "_": b" ", "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n",
    "r": b"\r", "t": b"\t", "v": b"\v",
}  # fmt: skip
_WRITTEN: Final = {'"': '\\"', "\\": "\\\\", "$": "\\$", "?": "\\?", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# what stands without quotes in exports
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:,*!<>@+%&|^~-]+")
_NAME: Final = re.compile(r"!?\.?[A-Za-z0-9][A-Za-z0-9._/-]*")
_VERBS: Final = frozenset(("add", "set", "remove"))


@dataclass(frozen=True, slots=True)
class Statement:
    """A command of an export.

    `which`: the word before the arguments (a name, a number, `*1`); `find`: the conditions that stand there instead.
    """

    line: int
    path: str
    verb: str
    which: str = ""
    find: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations, each with the number of its first line."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        # a continued line begins after its indentation, inside quotes too
        part = line.lstrip(" \t") if begun else line
        if not begun:
            first = number
            if part.lstrip().startswith("#"):
                continue
        if part.endswith("\\") and not _escaped_end(begun + part):
            begun += part[:-1]
            continue
        yield first, begun + part
        begun = ""
    if begun:
        yield first, begun


def _escaped_end(line: str) -> bool:
    """Tell whether the backslash at a line's end is itself escaped."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 0


class _Line:
    """One command's text, read from the left."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self._text = text
        self._at = 0

    def error(self, expected: str) -> ScriptError:
        return ScriptError(f"line {self.number} column {self._at + 1}: expected {expected}, got {self.rest()[:24]!r}")

    def rest(self) -> str:
        return self._text[self._at :]

    def skip(self) -> bool:
        """Pass blanks; False at the end."""
        while self._at < len(self._text) and self._text[self._at] in " \t\r":
            self._at += 1
        return self._at < len(self._text)

    def take(self, text: str) -> bool:
        """Pass a text if it stands here."""
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def value(self) -> str:
        """A value: plain, quoted, or parts of both in a row."""
        out = bytearray()
        begun = self._at
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                self._quoted(out)
            elif char in " \t\r]":
                break
            elif char in "[({$;`":
                raise self.error("a value, not an expression")
            else:
                out += char.encode("utf-8", "surrogateescape")
                self._at += 1
        if begun == self._at:
            return ""
        return out.decode("utf-8", "surrogateescape")

    def _quoted(self, out: bytearray) -> None:
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return
            if char == "$":
                raise self.error("a text, not a variable")
            if char != "\\":
                out += char.encode("utf-8", "surrogateescape")
                continue
            escape = self._text[self._at : self._at + 1]
            if re.fullmatch(r"[0-9A-F]{2}", self._text[self._at : self._at + 2]):
                out.append(int(self._text[self._at : self._at + 2], 16))
                self._at += 2
            elif escape in _ESCAPES and escape:
                out += _ESCAPES[escape]
                self._at += 1
            else:
                raise self.error("an escape")
        raise self.error("a closing quote")

    def arguments(self) -> dict[str, str]:
        """`name=value`, `!name` and bare names, up to the end or a closing bracket."""
        args: dict[str, str] = {}
        prefix = ""
        while self.skip() and not self.rest().startswith("]"):
            name = self.match(_NAME)
            if not name:
                raise self.error("an argument")
            # version 7 writes local.role=ebgp .as=65000 for local.role and local.as
            sign, bare = ("!", name[1:]) if name.startswith("!") else ("", name)
            bare = prefix + bare if bare.startswith(".") else bare
            prefix, name = bare.partition(".")[0] if "." in bare else "", sign + bare
            args[name] = self.value() if self.take("=") else ("" if name.startswith("!") else "yes")
        return args


_FIRST: Final = re.compile(r"[^\s=\[\]\"]+(?=\s|$)")


def parse_export(text: str) -> Iterator[Statement]:
    """Read an export, statement by statement.

    Raises:
        ScriptError: a line that is no path, add, set or remove.
    """
    path = ""
    for number, joined in _joined(text.removeprefix("\ufeff")):
        line = _Line(number, joined)
        if not line.skip():
            continue
        words: list[str] = []
        verb = ""
        absolute = line.rest().startswith("/")
        while not verb and line.skip():
            word = line.match(_FIRST)
            if not word:
                raise line.error("a path or a command")
            if word in _VERBS and (words or not absolute or word != "add"):
                verb = word
            else:
                words += [w for w in word.split("/") if w]
        if absolute:
            path = "/" + "/".join(words)
        elif words:
            raise ScriptError(f"line {number}: expected a path, add, set or remove, got {words[0]!r}")
        if verb:
            yield _statement(line, path, verb)


def _statement(line: _Line, path: str, verb: str) -> Statement:
    which, find = "", {}
    line.skip()
    if line.take("["):
        line.skip()
        if not line.take("find"):
            raise line.error("find")
        find = line.arguments()
        if not line.take("]"):
            raise line.error("]")
    elif verb != "add":
        rest = line.rest()
        if rest.startswith('"'):
            which = line.value()
        elif (found := _FIRST.match(rest)) and not found[0].startswith("!"):
            which = line.match(_FIRST)
    args = line.arguments()
    if line.skip():
        raise line.error("the end of the line")
    return Statement(line.number, path, verb, which, find, args)


def quote(value: str) -> str:
    """A value as an export writes it."""
    if _PLAIN.fullmatch(value):
        return value
    out = []
    for byte in value.encode("utf-8", "surrogateescape"):
        char = chr(byte)
        out.append(_WRITTEN.get(char) or (char if 0x20 <= byte < 0x7F else f"\\{byte:02X}"))
    return '"' + "".join(out) + '"'


def format_statement(statement: Statement) -> str:
    """A statement without its path, as an export writes it."""
    parts = [statement.verb]
    if statement.find:
        conditions = " ".join(f"{name}={quote(value)}" for name, value in statement.find.items())
        parts.append(f"[ find {conditions} ]")
    elif statement.which:
        parts.append(quote(statement.which))
    for name, value in statement.args.items():
        parts.append(name if name.startswith("!") else f"{name}={quote(value)}")
    return " ".join(parts)
