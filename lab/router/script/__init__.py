"""RouterOS's scripting language: whether a script is one, its faults, and how RouterOS lists it.

    parse(b":put [:len $x]").listing()    b"/;(evl /putmessage=...)"

- `cursor`: the text and a place in it; `literals`: words that are numbers, times, addresses
- `expressions`: what stands in parentheses, arrays, texts; `parser`: statements, commands, arguments
- `commands`: the tree of commands that words are looked up in; `nodes`: what a script is made of, and its listing
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.router.script.commands import commands_of
from lab.router.script.nodes import Node, listing
from lab.router.script.parser import Parser

VERSION = "7.22.1"


@dataclass(frozen=True, slots=True)
class Script:
    """A script that RouterOS would accept."""

    node: Node

    def listing(self) -> bytes:
        """The output of RouterOS's `:put [:parse $script]`, without the line's end.

        Raises:
            ScriptError: it is beyond `SCRIPT_LISTING_BYTES_MAX`.
        """
        return listing(self.node).encode("latin-1")


def parse(script: bytes, version: str = VERSION) -> Script:
    """Read a script.

    Raises:
        ScriptSyntaxError: RouterOS would refuse it; its text is RouterOS's.
        UnknownVersionError: as `parse_version`.
    """
    return Script(Parser(script.decode("latin-1"), commands_of(version)).script())
