"""The descriptor of the connector to Splynx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import LooksUpPayments, RingsBell, TellsAccounts, TellsPayments, TriesSource
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources
from agent.connectors.splynx import configuration
from agent.connectors.web_source import secrets_of, source_terms

if TYPE_CHECKING:
    from agent.connectors.splynx.configuration import SplynxConfig
    from agent.connectors.splynx.connector import SplynxConnector


def _make(config: SplynxConfig, context: ConnectorContext) -> SplynxConnector:
    from agent.connectors.splynx.connector import SplynxConnector

    return SplynxConnector(config, context)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=secrets_of,
    make=_make,
    docs="docs/connectors/splynx.md",
    roles=(TellsAccounts, TellsPayments, LooksUpPayments, RingsBell, TriesSource),
    sources=source_terms,
    idle=has_no_sources,
)
