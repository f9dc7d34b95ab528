"""The descriptor of the RADIUS connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import Changes, KnowsHolders, KnowsPasswords
from agent.connectors.radius import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec

if TYPE_CHECKING:
    from agent.connectors.radius.connector import RadiusConnector
    from agent.connectors.radius.schema import RadiusConfig
    from agent.connectors.radius.sql_connection import Pools


def make(config: RadiusConfig, context: ConnectorContext, pools: Pools | None = None) -> RadiusConnector:
    """Return the connector; nothing is opened yet.

    Args:
        config: its configuration.
        context: everything else.
        pools: makes the connections to a database; None: by the drivers.
    """
    from agent.connectors.radius.connector import RadiusConnector
    from agent.connectors.radius.sql_connection import Pool

    return RadiusConnector(
        config,
        context.secrets,
        context.commit,
        zone=context.zone,
        hosts=context.hosts,
        book=context.answers,
        clock=context.clock,
        pools=pools or Pool,
    )


SPEC: Final = ConnectorSpec(
    name="radius",
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=make,
    docs="docs/connectors/radius.md",
    roles=(Changes, KnowsHolders, KnowsPasswords),
    access=configuration.access,
    method_sections=("method",),
)
