"""The descriptor of the connector to M-Pesa (Daraja)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import RingsBell, TellsPayments, TriesSource
from agent.connectors.daraja import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources
from agent.connectors.web_source import secrets_of, source_terms

if TYPE_CHECKING:
    from agent.connectors.daraja.configuration import DarajaConfig
    from agent.connectors.daraja.connector import DarajaConnector


def _make(config: DarajaConfig, context: ConnectorContext) -> DarajaConnector:
    from agent.connectors.daraja.connector import DarajaConnector

    return DarajaConnector(config, context)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=secrets_of,
    make=_make,
    docs="docs/connectors/daraja.md",
    roles=(TellsPayments, RingsBell, TriesSource),
    sources=source_terms,
    idle=has_no_sources,
)
