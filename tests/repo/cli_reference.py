"""The reference of both command lines, from the code: `python -m tests.repo.cli_reference` writes docs/cli.md."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import get_args

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from agent.cli import app as agent_app
from control_plane.cli import app as cloud_app

ROOT = Path(__file__).resolve().parents[2]
CLI_MD = ROOT / "docs" / "cli.md"
COMMON = 8
"""An option that so many commands of a program have alike is told once."""
_TABLE = ("| what | default | meaning |", "|---|---|---|")

PREFACE = """\
# Command lines

Written from the code by `python -m tests.repo.cli_reference`; a test compares. `ispagent` talks to the daemon through
its unix socket, which it finds by `ISPAGENT_SOCKET`, or in the configuration that `ISPAGENT_CONFIG` names. `ispcloud`
is a person's own tool on their own machine, which works on files or through a control plane; and the control plane
itself (`init`, `serve`, `operators`, `agents`, `people`, `services`, `backup`, `restore`).

| exit code | meaning |
|---|---|
| 0 | done, or now waiting for approval |
| 1 | failed, and nothing changed or all was reverted: database down, agent not running |
| 2 | usage, configuration or input file |
| 3 | refused: policy, trust, expired, too few approvers, all stale |
| 4 | mixed, unknown, waiting for a device, not enforced, or needs a person |
| 5, 6, 7 | of `ispagent status`, for monitoring: degraded, frozen, halted. The worst is told |

## Both

- `--version`; `-h` and `--help` after any command.
- `ispagent --install-completion` (and `ispcloud`) teaches your shell (bash, zsh, fish, PowerShell) to complete
  commands and options at TAB; `--show-completion` prints the script of the shell that you are in. Packages bring it.
- The id of a change (`K7QF2`) is the same at the site and at each desk; its first four letters will do where no other
  change begins with them.
- A sentence gives a time with its zone: `14:05 EAT` of today, `2026-11-26 14:05 EAT` of another day. Rows of lists and
  events are on the clock of the machine where the command is typed, without a zone. JSON and log
  lines have RFC 3339 in UTC; signed documents in JSON are as they were signed.
- On a terminal, words by which somebody has to look (`CANNOT ENFORCE`, `NOT APPLIED`, `SET, NOT ENFORCED`…) are red.
  `NO_COLOR=1` turns that off. In a pipe there are no colors, and no line of a preview is wrapped.
- Lists that show `--output` below take `-o name` (the names alone, one a line), `-o wide` (all columns) and `-o json`
  (the same as `--json`). The others have `--json` only.
- Under `--json` standard output has the answer alone. An error is one line on standard error, always of this form;
  `exit` is the exit code, `code` a reason of [reasons.md](reasons.md), or `failed`, `usage`, `refused` or `mixed`
  where there is none:

      {"error": {"code": "unknown-change", "message": "there is no change K7QF2", "exit": 2}}

- `finished` in a change's JSON is true once nothing more becomes of it: not while it waits for approval, for its
  window or for a device.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option of a command. `names`: what is typed, or its placeholder; `env`: or what is set."""

    names: tuple[str, ...]
    option: bool
    required: bool
    repeats: bool
    flag: bool
    default: str
    env: str
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the words that call it, what it says of itself, what it takes."""

    words: tuple[str, ...]
    help: str
    parameters: tuple[Parameter, ...]

    @property
    def options(self) -> frozenset[str]:
        """The names of its options."""
        return frozenset(name for p in self.parameters if p.option for name in p.names)


def commands() -> list[Command]:
    """Return every command of `ispagent` and `ispcloud`, in the order of their help."""
    return [*_commands("ispagent", agent_app), *_commands("ispcloud", cloud_app)]


def _commands(name: str, app: typer.Typer) -> Iterator[Command]:
    root = get_command(app)
    if not isinstance(root, TyperGroup):
        raise TypeError(f"expected {name} to be a group of commands, got {type(root).__name__}")
    yield from _walk((name,), root)


def _walk(words: tuple[str, ...], group: TyperGroup) -> Iterator[Command]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and (not isinstance(command, TyperGroup) or command.invoke_without_command):
            found = tuple(_parameter(p) for p in command.params if isinstance(p, TyperArgument | TyperOption))
            yield Command((*words, name), " ".join((command.help or "").split()), found)
        if isinstance(command, TyperGroup):
            yield from _walk((*words, name), command)


def _parameter(param: TyperArgument | TyperOption) -> Parameter:
    option = isinstance(param, TyperOption)
    names = (*param.opts, *param.secondary_opts) if option else (param.metavar or (param.name or "").upper(),)
    default = param.default
    return Parameter(
        names=tuple(names),
        option=option,
        required=param.required,
        repeats=param.multiple if isinstance(param, TyperOption) else param.nargs == -1,
        flag=bool(param.is_flag) if isinstance(param, TyperOption) else False,
        default="" if default in (None, "", False, 0) or callable(default) else _text(default),
        env=param.envvar if isinstance(param.envvar, str) else "",
        help=(param.help or "") + _choices(param),
    )


def _choices(param: TyperArgument | TyperOption) -> str:
    kind = param.type_descriptor.annotation
    kinds = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, enum.Enum)]
    return "".join(f": {', '.join(str(member.value) for member in k)}" for k in kinds)


def _text(default: object) -> str:
    return str(default.value if isinstance(default, enum.Enum) else default)


def _usage(command: Command) -> str:
    parts = [" ".join(command.words)]
    for p in command.parameters:
        shown = p.names[0] if p.flag or not p.option else f"{p.names[0]} {p.names[0].lstrip('-').upper()}"
        shown += "…" if p.repeats and not p.option else ""
        parts += [shown if p.required else f"[{shown}]"]
    return " ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _row(p: Parameter) -> str:
    """Return the row of a table that tells of an argument or option."""
    needed = f"required, or `{p.env}`" if p.env else "required"
    default = needed if p.required else f"`{p.default}`" if p.default else f"`{p.env}`" if p.env else ""
    more = "; may be given again" if p.option and p.repeats and "again" not in p.help else ""
    names = ", ".join(f"`{name}`" for name in p.names).replace("|", "\\|")
    return f"| {names} | {default} | {_cell(p.help)}{more} |"


def common_options(told: Iterable[Command]) -> list[Parameter]:
    """Return the options that `COMMON` or more commands of a program have alike, the most frequent ones first.

    Of options with the same names the one that most commands have is common; the others stay with their commands.
    """
    count = Counter(p for command in told for p in command.parameters if p.option)
    found: dict[tuple[str, ...], Parameter] = {}
    for parameter, times in count.most_common():
        if times >= COMMON:
            found.setdefault(parameter.names, parameter)
    return list(found.values())


def _section(command: Command, common: list[Parameter]) -> Iterator[str]:
    yield from (f"## `{' '.join(command.words)}`", "", command.help, "", f"    {_usage(command)}", "")
    own = [_row(p) for p in command.parameters if p not in common]
    if own:
        yield from (*_TABLE, *own, "")
    shared = [p.names[0] for p in common if p in command.parameters]
    if shared:
        yield from (f"Common options: {', '.join(f'`{name}`' for name in shared)}.", "")


def render() -> str:
    """Return docs/cli.md."""
    lines = [PREFACE]
    for program, group in groupby(commands(), lambda command: command.words[0]):
        told = list(group)
        common = common_options(told)
        lines += [f"# `{program}`", "", "Common options: each command names those that it takes.", ""]
        lines += [*_TABLE, *(_row(p) for p in common), ""]
        lines += [line for command in told for line in _section(command, common)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    CLI_MD.write_text(render(), encoding="utf-8")
