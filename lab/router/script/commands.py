"""The commands, their abbreviations, and the argument that a word without a name is given to. Pure.

Menus, commands and arguments are the recorded tree of the version (`facts`). Facts that a tree does not say stand here:
the order of arguments that need no name, which arguments hold code or the name of a variable, and, of 7.22.1, the
properties that a `where` sees (tables/where.json, from listings that a router printed).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Final, cast

from lab.router.facts import HARDWARE, facts_of

# the order of arguments without a name, of commands that are no menu's: as scripts write them and listings show them.
# Not recorded, and taken from what the argument is: export, grep, import, rndnum, rndstr, tocrlf, toid, toip6, ssh, and
# those of /tool but fetch
_ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "/convert": ("value",), "/delay": ("delay-time",), "/deserialize": ("value",), "/do": ("command",),
    "/error": ("message",), "/execute": ("script",), "/find": ("in", "key", "from"), "/for": ("counter",),
    "/foreach": ("counter",), "/global": ("name", "value"), "/grep": ("script",), "/if": ("condition",),
    "/import": ("file-name",), "/len": ("value",), "/local": ("name", "value"), "/onerror": ("error", "in"),
    "/parse": ("value",), "/pick": ("counter", "begin", "end"), "/ping": ("address",), "/put": ("message",),
    "/resolve": ("domain-name",), "/retry": ("command",), "/return": ("value",), "/serialize": ("value",),
    "/set": ("name", "value"), "/time": ("command",), "/toarray": ("value",), "/tobool": ("value",),
    "/tocrlf": ("input",), "/toid": ("value",), "/toip": ("value",), "/toip6": ("value",), "/tolf": ("input",),
    "/tonsec": ("value",), "/tonum": ("value",), "/tostr": ("value",), "/totime": ("value",), "/typeof": ("value",),
    "/while": ("condition",), "/rndnum": ("from", "to"), "/rndstr": ("length",), "/export": ("path",),
    "/tool/fetch": ("url",), "/terminal/style": ("style",), "/terminal/inkey": (), "/tool/wol": ("interface",),
    "/system/ssh": ("address",), "/tool/ping": ("address",), "/tool/traceroute": ("address",),
}  # fmt: skip
# of any menu's command: what is not named goes to the first of these that the command has and that is free
_USUAL: Final = ("numbers", "number", "value-name", "message", "destination")
# in the recorded trees of older versions, and of a package of its own since
_PACKAGED: Final = ("/interface/veth",)
_CODE: Final = frozenset(("do", "else", "on-error", "command"))
_SOURCE: Final = frozenset(f"/system/{menu}/{verb}" for menu in ("script", "scheduler") for verb in ("add", "set")) | {
    "/execute"
}
# other names of menus
_ALIASES: Final = {"/interface/wifiwave2": "wifi"}
_DECLARING: Final[Mapping[str, str]] = {
    "/local": "name", "/global": "name", "/for": "counter", "/foreach": "counter", "/onerror": "error",
}  # fmt: skip


class Commands:
    """The commands of one version, without those of extra packages and of hardware."""

    def __init__(self, version: str) -> None:
        self._facts = facts_of(version)
        self._children: dict[str, dict[str, bool]] = {"": {}}
        for path in self._facts.paths():
            if path in HARDWARE or path.startswith(_PACKAGED):
                continue
            steps = path.split("/")[1:]
            for depth, step in enumerate(steps):
                parent = "/".join(["", *steps[:depth]])
                self._children.setdefault(parent, {})[step] = True
                self._children.setdefault(f"{parent}/{step}", {})
        for path, children in self._children.items():
            menu = self._facts.menu(path)
            for verb in menu.verbs if menu else ():
                children.setdefault(verb, False)

    def find(self, menu: str, word: str) -> tuple[str, bool] | None:
        """The child of a menu by its name or an abbreviation that fits no other: its path, and whether it is a menu."""
        children = self._children[menu]
        word = _ALIASES.get(f"{menu}/{word}", word)
        name = word if word in children else _only(children, word)
        return (f"{menu}/{name}", children[name]) if name else None

    def arguments(self, command: str) -> frozenset[str]:
        """The names of a command's arguments."""
        path, _, verb = command.rpartition("/")
        menu = self._facts.menu(path)
        return menu.verbs.get(verb, frozenset()) if menu else frozenset()

    def argument(self, command: str, word: str) -> str | None:
        """An argument by its name or an abbreviation that fits no other."""
        names = self.arguments(command)
        return word if word in names else _only(names, word)

    def unnamed(self, command: str) -> tuple[str, ...]:
        """The arguments that words without a name are given to, in order."""
        order = _ORDER.get(command)
        if order is not None:
            return order
        names = self.arguments(command)
        if command.endswith(("/add", "/print")):
            return ()
        return tuple(name for name in _USUAL if name in names)

    def kind(self, command: str, argument: str) -> str:
        """The type text of an argument, "" where none is recorded."""
        path, _, verb = command.rpartition("/")
        menu = self._facts.menu(path)
        return menu.kinds.get(argument, "") if menu and verb in ("add", "set") else ""

    def holds_code(self, command: str, argument: str) -> bool:
        """Tell whether braces are a block there, not an array."""
        return argument in _CODE or (command, argument) == ("/onerror", "in")

    def holds_source(self, command: str, argument: str) -> bool:
        """Tell whether braces are a script there that is kept as text."""
        return command in _SOURCE and argument in ("source", "on-event", "script")

    def declares(self, command: str) -> str:
        """The argument that names new variables, or ""."""
        return _DECLARING.get(command, "")

    def properties(self, menu: str) -> tuple[str, ...]:
        """The properties that a `where` sees in a menu; empty where no listing was recorded."""
        return _properties().get(menu, ())


def _only(names: Mapping[str, bool] | frozenset[str], word: str) -> str | None:
    fitting = [name for name in names if name.startswith(word)]
    return fitting[0] if len(fitting) == 1 else None


@functools.cache
def _properties() -> dict[str, tuple[str, ...]]:
    text = resources.files("lab.router").joinpath("tables", "where.json").read_text("utf-8")
    table = cast("dict[str, dict[str, list[str]]]", json.loads(text))
    return {path: tuple(names) for path, names in table["menus"].items()}


@functools.cache
def commands_of(version: str) -> Commands:
    """The commands of a version, put together once.

    Raises:
        UnknownVersionError: as `parse_version`.
    """
    return Commands(version)
