"""Which connectors there are: kind -> how one is made from its configuration. A new connector is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Final

from agent.connectors.base import Connector
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.schema import RadiusConfig

Secrets = Callable[[str], bytes]
"""The vault: name -> secret."""

Commit = Callable[[str, str], str]
"""Keyed commitment: (label, secret value) -> 64 hex digits."""


def _radius(config: RadiusConfig, secrets: Secrets, commit: Commit, zone: tzinfo) -> Connector:
    return RadiusConnector(config, secrets, commit, zone=zone)


CONNECTORS: Final[Mapping[str, Callable[[RadiusConfig, Secrets, Commit, tzinfo], Connector]]] = {
    "radius": _radius,
}
