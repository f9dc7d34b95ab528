"""The parts of both command lines: commands that are imported when they are called.

`ispagent status` must not pay for previews, profiles of CPE and connectors, nor `ispcloud keys` for gRPC. So a program
has a table of nouns in place of their modules: a module is imported when its noun is called, or when a help lists its
commands. tests/repo/test_startup.py bounds the imports of a command.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self, get_args, get_origin

import typer
from typer.core import TyperGroup
from typer.main import get_group

_SENTENCE_MAX: Final = 1_000
"""Characters of a first sentence: longer than any, so that none is cut."""
_LABELS: Final[Mapping[Any, str]] = {str: "TEXT", int: "N", float: "N", Path: "FILE"}


@dataclass(frozen=True, slots=True)
class Noun:
    """A word of a command line: a command, or a group of commands.

    Args:
        name: the word.
        at: `MODULE:NAME` of the `typer.Typer` with that command, or with the commands of the group.
        about: the purpose of the group, in one line; "": it is a command, and its docstring says that.
        nouns: the groups inside the group.
    """

    name: str
    at: str
    about: str = ""
    nouns: tuple[Noun, ...] = ()


class PlainGroup(TyperGroup):
    """A group with a help that tells the first sentence of each command whole, on as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands. typer's own cuts each sentence at the width of a line, often before its point."""
        found = [(name, command) for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))]
        rows = [(name, command.get_short_help_str(_SENTENCE_MAX)) for name, command in found if not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class LazyGroup(PlainGroup):
    """A group that imports a command when it is called."""

    at: str = ""
    """`MODULE:NAME` of the `typer.Typer` with its own commands; "": it has none."""
    nouns: Sequence[Noun] = ()
    """Commands and groups that have a module each."""

    @classmethod
    def of(cls, noun: Noun) -> Self:
        """Return the group that a noun is."""
        group = cls(name=noun.name, help=noun.about or None, no_args_is_help=True, rich_markup_mode=None)
        group.at, group.nouns = noun.at, noun.nouns
        return group

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 # typer's signature
        """Return the names of all commands, added ones last."""
        return [*self._own, *(noun.name for noun in self.nouns), *self.added]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None: there is none of that name."""
        found = self._found(cmd_name)
        if found is None:  # typer looks for near names in `commands`
            self.commands.update({name: self._found(name) for name in self.list_commands(ctx)})
            return None
        _spare(found, ctx)
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options of the group itself."""
        _spare(self, ctx)
        return super().parse_args(ctx, args)

    def group(self, noun: Noun) -> LazyGroup:
        """Return a group inside this one."""
        return LazyGroup.of(noun)

    @cached_property
    def added(self) -> Mapping[str, Any]:
        """Commands that are not the group's own."""
        return {}

    @cached_property
    def _own(self) -> Mapping[str, Any]:
        return commands_of(self.at) if self.at else {}

    def _found(self, name: str) -> Any:
        for noun in self.nouns:
            if noun.name == name:
                return self.group(noun) if noun.about else commands_of(noun.at)[name]
        return self._own.get(name) or self.added.get(name)


def commands_of(at: str) -> Mapping[str, Any]:
    """Return the commands of a `typer.Typer`, named as `MODULE:NAME`."""
    module, _, name = at.partition(":")
    outer = typer.Typer(rich_markup_mode=None)  # inherited by the commands
    outer.add_typer(getattr(import_module(module), name), name=name)
    inner: Any = get_group(outer).commands[name]
    return dict(inner.commands)


def _spare(command: Any, ctx: Any) -> None:
    """Let the parameters of a command be converted by `_Sparing`; of a group that connectors made, all of them."""
    for parameter in command.get_params(ctx):
        if not isinstance(parameter.get_runtime_param, partial):
            parameter.get_runtime_param = partial(_Sparing, parameter.get_runtime_param)
            parameter.display_type = partial(_label, parameter, parameter.display_type)
    for inner in getattr(command, "commands", {}).values():
        _spare(inner, ctx)


def _label(parameter: Any, typers: Callable[[Any], str], ctx: Any) -> str:
    """Return the placeholder of a value in a help: TEXT, where typer writes `<list[str]>`. An argument has its name."""
    kind = parameter.type_descriptor.annotation
    label = _LABELS.get(get_args(kind)[0] if get_origin(kind) is list else kind)
    if label is None:
        return typers(ctx)
    return "" if parameter.param_type_name == "argument" else label


@dataclass(frozen=True, slots=True)
class _Sparing:
    """Converts a typed word where that needs conversion. typer's own way imports pydantic, a third of a command."""

    typers: Callable[[], Any]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter; called by typer."""
        many = param.multiple or param.nargs == -1
        if ctx.get_parameter_source(param.name).name == "DEFAULT":  # ours, and of its type already
            return () if many and value is None else value
        kind = param.type_descriptor.annotation
        if kind is str and isinstance(value, str):
            return value
        if kind == list[str] and many:
            return list(value)
        if kind is int and isinstance(value, str):
            return self._number(value, param, ctx)
        if isinstance(kind, type) and issubclass(kind, enum.Enum) and isinstance(value, str):
            return self._member(kind, value, param, ctx)
        return self.typers().coerce(value, param=param, ctx=ctx)

    @staticmethod
    def _number(text: str, param: Any, ctx: Any) -> int:
        """Return a whole number.

        Raises:
            typer.BadParameter: it is none, or outside of the parameter's range.
        """
        low, high = param.min, param.max
        number = int(text) if re.fullmatch(r"[-+]?[0-9]{1,18}", text, re.ASCII) else None
        if number is None or (low is not None and number < low) or (high is not None and number > high):
            among = "" if low is None and high is None else f" from {low} to {high}"
            among = f" of {low} or more" if low is not None and high is None else among
            among = f" of {high} or less" if low is None and high is not None else among
            raise typer.BadParameter(f"expected a whole number{among}, got {text[:40]!r}", ctx=ctx, param=param)
        return number

    @staticmethod
    def _member(kind: type[enum.Enum], text: str, param: Any, ctx: Any) -> enum.Enum:
        """Return the member of an enumeration that has a value.

        Raises:
            typer.BadParameter: none has.
        """
        known = {str(member.value): member for member in kind}
        if text not in known:
            raise typer.BadParameter(f"expected one of {', '.join(known)}, got {text[:40]!r}", ctx=ctx, param=param)
        return known[text]
