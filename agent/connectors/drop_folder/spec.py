"""The descriptor of the connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import TellsAccounts, TellsPayments
from agent.connectors.drop_folder import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources

if TYPE_CHECKING:
    from agent.connectors.drop_folder.configuration import FolderConfig
    from agent.connectors.drop_folder.connector import DropFolderConnector


def _make(config: FolderConfig, context: ConnectorContext) -> DropFolderConnector:
    from agent.connectors.drop_folder.connector import DropFolderConnector

    return DropFolderConnector(config, context.zone, context.clock)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=lambda _: frozenset(),
    make=_make,
    docs="docs/connectors/drop-folder.md",
    roles=(TellsAccounts, TellsPayments),
    sources=configuration.sources,
    idle=has_no_sources,
)
