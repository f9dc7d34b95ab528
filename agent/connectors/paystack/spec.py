"""The descriptor of the connector to Paystack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import RingsBell, TellsPayments, TriesSource
from agent.connectors.paystack import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources
from agent.connectors.web_source import source_terms

if TYPE_CHECKING:
    from agent.connectors.paystack.configuration import PaystackConfig
    from agent.connectors.paystack.connector import PaystackConnector


def _make(config: PaystackConfig, context: ConnectorContext) -> PaystackConnector:
    from agent.connectors.paystack.connector import PaystackConnector

    return PaystackConnector(config, context)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/paystack.md",
    roles=(TellsPayments, RingsBell, TriesSource),
    sources=source_terms,
    idle=has_no_sources,
)
