"""The descriptor of the RouterOS connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import Changes, DeviceFacts, KnowsHolders, Prepares, SeesNeighbors, SessionHost
from agent.connectors.routeros import configuration
from agent.connectors.spec import Commands, ConnectorContext, ConnectorSpec

if TYPE_CHECKING:
    from agent.connectors.routeros.connector import RouterosConnector
    from agent.connectors.routeros.schema import RouterosConfig


def _make(config: RouterosConfig, context: ConnectorContext) -> RouterosConnector:
    from agent.connectors.routeros.connector import RouterosConnector

    return RouterosConnector(config, context.secrets, context.commit, clock=context.clock)


def _host() -> SessionHost:
    from agent.connectors.routeros.hosting import RouterHost

    return RouterHost()


SPEC: Final = ConnectorSpec(
    name="routeros",
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/routeros.md",
    roles=(Changes, DeviceFacts, Prepares, SeesNeighbors, KnowsHolders),
    access=configuration.access,
    method_sections=configuration.METHOD_SECTIONS,
    host=_host,
    idle=lambda config: not config.targets and not config.methods,
    commands=Commands("device", "agent.connectors.routeros.cli:app"),
)
