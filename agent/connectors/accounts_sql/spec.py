"""The descriptor of the connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import RingsBell, TellsAccounts, TellsPayments, TriesSource
from agent.connectors.accounts_sql import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec

if TYPE_CHECKING:
    from agent.connectors.accounts_sql.connector import AccountsSqlConnector
    from agent.connectors.accounts_sql.schema import AccountsSqlConfig


def _make(config: AccountsSqlConfig, context: ConnectorContext) -> AccountsSqlConnector:
    from agent.connectors.accounts_sql.connector import AccountsSqlConnector

    return AccountsSqlConnector(config, context.secrets, context.zone, context.clock)


SPEC: Final = ConnectorSpec(
    name="accounts-sql",
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/accounts-sql.md",
    roles=(TellsAccounts, TellsPayments, RingsBell, TriesSource),
    sources=configuration.sources,
    idle=lambda sources: not sources,
)
