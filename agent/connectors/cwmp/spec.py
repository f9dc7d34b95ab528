"""The descriptor of the CWMP connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.connectors.base import Changes, ConnectionRequests
from agent.connectors.cwmp import configuration
from agent.connectors.spec import ConnectorContext, ConnectorSpec
from agent.cpe_model.manager import CpeManager

if TYPE_CHECKING:
    from agent.connectors.cwmp.connector import CwmpConnector
    from agent.connectors.cwmp.schema import CwmpConfig


def _make(config: CwmpConfig, context: ConnectorContext) -> CwmpConnector:
    from agent.connectors.cwmp.connector import CwmpConnector

    return CwmpConnector(config, context.secrets, context.commit, context.cpes, context.clock)


SPEC: Final = ConnectorSpec(
    name="cwmp",
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=configuration.secrets,
    make=_make,
    docs="docs/connectors/cwmp.md",
    reload=configuration.reload,
    roles=(Changes, ConnectionRequests, CpeManager),
)
