"""The connectors of one agent, and which of them plays which role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.connectors.base import (
    AccessMethod,
    Changes,
    Connector,
    KnowsPasswords,
    Reads,
    UnreadableError,
)
from agent.connectors.read_only import ReadOnly
from agent.connectors.spec import Configured, ConnectorContext
from agent.model import Address, Service
from agent.reasons import TargetReason


@dataclass(frozen=True, slots=True)
class Connectors:
    """Connectors by name, the first word of their targets' ids."""

    by_name: Mapping[str, Connector]

    @property
    def targets(self) -> tuple[str, ...]:
        """The ids of all configured targets."""
        return tuple(target.id for connector in self.by_name.values() for target in connector.targets)

    @property
    def in_sessions(self) -> Mapping[str, Changes]:
        """The connectors that lend sessions, by name. One that only reads refuses to send."""
        found: dict[str, Changes] = {}
        for name, connector in self.by_name.items():
            if isinstance(connector, Changes):
                found[name] = connector
            elif isinstance(connector, Reads):
                found[name] = ReadOnly(connector)
        return found

    @property
    def access_methods(self) -> Mapping[str, AccessMethod]:
        """All access methods, by name."""
        return {name: method for one in self.in_sessions.values() for name, method in one.access_methods.items()}

    @property
    def census(self) -> Mapping[str, Address]:
        """The resource that lists all online subscribers, by target; without the targets that list nobody."""
        return {
            target.id: Address(f"{target.id}/{connector.traits.census}")
            for connector in self.in_sessions.values()
            if connector.traits.census
            for target in connector.targets
        }

    async def password_of(self, service: Service) -> str:
        """Return the password of a service's login, from the target of its access method.

        Raises:
            UnreadableError: it is kept elsewhere, or cannot be read.
        """
        method = self.access_methods.get(service.method)
        connector = self.by_name.get(method.target.partition("/")[0]) if method else None
        if method is None or not isinstance(connector, KnowsPasswords):
            why = f"{service.ref} ({service.method}): its password is kept where the agent cannot read it"
            raise UnreadableError(why, reason=TargetReason.NO_PASSWORD)
        return await connector.password_of(method.target, service.login)


def build(configured: Iterable[Configured[Any]], context: ConnectorContext) -> Connectors:
    """Return the connectors, which know each other as hosts of sessions; nothing is opened yet. Idle ones are left out.

    Raises:
        TypeError: a connector does not play a role that its spec declares.
    """
    busy = [one for one in configured if not one.spec.idle(one.config)]
    hosts = {one.spec.name: one.spec.host() for one in busy if one.spec.host is not None}
    return Connectors({one.spec.name: one.make(replace(context, hosts=hosts)) for one in busy})
