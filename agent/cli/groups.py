"""Groups of commands that connectors add to.

A group looks into the registry of connectors when a command is not its own, or when its help lists them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from protos.command_line import LazyGroup, Noun, commands_of

if TYPE_CHECKING:
    from agent.connectors.spec import Commands


class ConnectorGroup(LazyGroup):
    """A group with the commands of the connectors that name it in their specs."""

    packages: Sequence[str] | None = None
    """Packages of the connectors; None: those of the registry."""

    def group(self, noun: Noun) -> LazyGroup:
        """Return a group inside this one."""
        found = ConnectorGroup.of(noun)
        found.packages = self.packages
        return found

    @cached_property
    def added(self) -> Mapping[str, Any]:
        """The connectors' commands that are not the group's own."""
        found: dict[str, Any] = {}
        for commands in self.declared():
            if commands.group == self.name:
                found.update(commands_of(commands.app))
        known = {*self._own, *(noun.name for noun in self.nouns)}
        return {name: command for name, command in found.items() if name not in known}

    def declared(self) -> Iterator[Commands]:
        """Yield the connectors' own specs of their commands."""
        from agent.connectors import registry

        for spec in registry.specs(self.packages or registry.DEFAULT):
            if spec.commands is not None:
                yield spec.commands


class RootGroup(ConnectorGroup):
    """The program itself: a group that only connectors name is made."""

    @cached_property
    def added(self) -> Mapping[str, Any]:
        """The groups that only connectors name."""
        named = {commands.group: Noun(commands.group, "", commands.about) for commands in self.declared()}
        known = {noun.name for noun in self.nouns}
        return {name: self.group(noun) for name, noun in named.items() if name not in known}
