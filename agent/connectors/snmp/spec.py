"""The descriptor of the connector to devices that speak SNMP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import (
    Changes,
    DeviceFacts,
    Explores,
    ManagesPorts,
    Polls,
    SeesNeighbors,
    SharesCredentials,
    TellsEvents,
)
from agent.connectors.snmp import configuration
from agent.connectors.spec import Commands, ConnectorContext, ConnectorSpec

if TYPE_CHECKING:
    from agent.connectors.snmp.configuration import SnmpConfig
    from agent.connectors.snmp.connector import SnmpConnector


def _make(config: SnmpConfig, context: ConnectorContext) -> SnmpConnector:
    from agent.connectors.snmp.connector import SnmpConnector

    # RFC 3411, SnmpEngineID, format 5 (octets): the same for ever, and another one for each agent
    engine_id = bytes.fromhex("8000000005" + context.commit("snmp engine id", "")[:24])
    return SnmpConnector(
        config,
        context.secrets,
        context.clock,
        engine_id=engine_id,
        answers=context.answers,
    )


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/snmp.md",
    roles=(Changes, Polls, TellsEvents, Explores, DeviceFacts, SeesNeighbors, ManagesPorts, SharesCredentials),
    commands=Commands(
        "snmp", "agent.connectors.snmp.cli:app", "Switches, radios and OLTs: ask them by hand, find them, add them."
    ),
    idle=lambda config: not config.devices and not config.accesses and not config.listen,
)
