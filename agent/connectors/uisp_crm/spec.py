"""The descriptor of the connector to UISP CRM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import LooksUpPayments, RingsBell, TellsAccounts, TellsPayments, TriesSource
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources
from agent.connectors.uisp_crm import configuration
from agent.connectors.web_source import secrets_of, source_terms

if TYPE_CHECKING:
    from agent.connectors.uisp_crm.configuration import CrmConfig
    from agent.connectors.uisp_crm.connector import CrmConnector


def _make(config: CrmConfig, context: ConnectorContext) -> CrmConnector:
    from agent.connectors.uisp_crm.connector import CrmConnector

    return CrmConnector(config, context)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=secrets_of,
    make=_make,
    docs="docs/connectors/uisp-crm.md",
    roles=(TellsAccounts, TellsPayments, LooksUpPayments, RingsBell, TriesSource),
    sources=source_terms,
    idle=has_no_sources,
)
