"""The descriptor of the connector to LibreNMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import DeviceFacts, TellsDevices
from agent.connectors.librenms import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources

if TYPE_CHECKING:
    from agent.connectors.librenms.configuration import LibrenmsConfig
    from agent.connectors.librenms.connector import LibrenmsConnector


def _make(config: LibrenmsConfig, context: ConnectorContext) -> LibrenmsConnector:
    from agent.connectors.librenms.connector import LibrenmsConnector

    return LibrenmsConnector(config, context.secrets, context.zone, context.clock)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/librenms.md",
    roles=(TellsDevices, DeviceFacts),
    idle=has_no_sources,
)
