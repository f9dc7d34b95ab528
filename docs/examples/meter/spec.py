"""The descriptor of the connector to meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import DeviceFacts, Polls, Reads
from agent.connectors.meter import configuration
from agent.connectors.spec import Commands, ConnectorContext, ConnectorSpec

if TYPE_CHECKING:
    from agent.connectors.meter.configuration import MeterConfig
    from agent.connectors.meter.connector import MeterConnector


def _make(config: MeterConfig, context: ConnectorContext) -> MeterConnector:
    from agent.connectors.meter.connector import MeterConnector

    return MeterConnector(config, context.secrets, context.clock)


SPEC: Final = ConnectorSpec(
    name="meter",
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/meter.md",
    roles=(Reads, Polls, DeviceFacts),
    commands=Commands("meter", "agent.connectors.meter.cli:app"),
    idle=lambda config: not config.meters,
)
