"""Groups of commands that connectors add to, imported only when one of theirs is asked for.

`ispagent status` must not pay for connectors: a group looks into the registry when a command is not its own, or when
its help lists them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from agent.connectors.spec import Commands


class ConnectorGroup(TyperGroup):
    """A group with the commands of the connectors whose specs name it."""

    packages: ClassVar[Sequence[str] | None] = None
    """Packages of the connectors; None: those of the registry."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, the connectors' last."""
        return [*super().list_commands(ctx), *self._added]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None: there is none of that name."""
        return super().get_command(ctx, cmd_name) or self._added.get(cmd_name)

    @cached_property
    def _added(self) -> Mapping[str, Any]:
        """The connectors' commands that are not the group's own already."""
        found: dict[str, Any] = {}
        for commands in self._declared():
            if commands.group == self.name:
                module, _, name = commands.app.partition(":")
                found.update(get_group(getattr(import_module(module), name)).commands)
        return {name: command for name, command in found.items() if name not in self.commands}

    def _declared(self) -> Iterator[Commands]:
        from agent.connectors import registry

        for spec in registry.specs(self.packages or registry.DEFAULT):
            if spec.commands is not None:
                yield spec.commands


class RootGroup(ConnectorGroup):
    """The program itself: a group that only connectors name is made."""

    @cached_property
    def _added(self) -> Mapping[str, Any]:
        groups = dict.fromkeys(commands.group for commands in self._declared())
        return {name: self._group(name) for name in groups if name not in self.commands}

    def _group(self, name: str) -> TyperGroup:
        kind = type("ConnectorsOwnGroup", (ConnectorGroup,), {"packages": self.packages})
        return get_group(typer.Typer(name=name, cls=kind, no_args_is_help=True, rich_markup_mode=None))
