"""The parts of a parsed script, and the listing that RouterOS prints for them. Pure.

RouterOS shows code as it keeps it: operators in front, commands by their whole path, arguments in the order of their
names and run together with the path, arrays by `;`. Nothing is quoted, so two scripts can have one listing:

    :put [:len $x]      (evl /putmessage=(evl (evl /lenvalue=$x)))
    {:local a 1}        (evl (evl /localname=$a;value=1))

A text is one `str` with bytes as its characters (latin-1), as in all of this package: a script is bytes, and RouterOS
counts columns in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from lab.router.errors import ScriptError
from lab.router.limits import SCRIPT_LISTING_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known when the script is read, as RouterOS prints it."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, or a property in a `where`."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator and its operands. `evl` with statements is a block, `<%%` a call, a blank two conditions in a row."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Elements in a row: an array, the words of a call, a script's statements."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Keyed:
    """`name=value`: an argument, or an element of an array."""

    name: str
    value: Node


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its whole path, with its arguments."""

    path: str
    arguments: tuple[Keyed, ...]


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu that is entered and stays; an empty statement leaves the menu that it stands in."""

    path: str


Node: TypeAlias = Constant | Variable | Operation | Listed | Keyed | Command | Menu

NOTHING = Constant("")


def code(statements: Iterable[Node]) -> Listed:
    """A block as a value: RouterOS keeps it as an array of nothing and the code."""
    return Listed((NOTHING, Operation("evl", tuple(statements))))


def listing(node: Node) -> str:
    """RouterOS' text for a node.

    Raises:
        ScriptError: it is beyond the limit. A call lists its function twice, so nested calls double it each time.
    """
    out: list[str] = []
    size = 0
    # no recursion: `a->b->c->...` is as deep as it is long
    left: list[Node | str] = [node]
    while left:
        part = left.pop()
        if isinstance(part, str):
            out.append(part)
            size += len(part)
            if size > SCRIPT_LISTING_BYTES_MAX:
                raise ScriptError(f"expected a listing of {SCRIPT_LISTING_BYTES_MAX} bytes at most, got more")
        else:
            left.extend(reversed(_parts(part)))
    return "".join(out)


def _parts(node: Node) -> list[Node | str]:
    match node:
        case Constant(text):
            return [text]
        case Variable(name):
            return ["$" + name]
        case Operation(operator, operands):
            return ["(" + operator, *(part for operand in operands for part in (" ", operand)), ")"]
        case Listed(items):
            return _row(items)
        case Keyed(name, value):
            return [name + "=", value]
        case Command(path, arguments):
            return ["(evl " + path, *_row(arguments), ")"]
        case Menu(path):
            return [path]


def _row(items: Iterable[Node]) -> list[Node | str]:
    return [part for item in items for part in (";", item)][1:]
