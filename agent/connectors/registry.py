"""Which connectors there are: kind -> how one is made from its configuration. A new connector is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Final, Protocol

from agent.connectors.base import Connector
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.schema import RadiusConfig
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.schema import RouterosConfig

Secrets = Callable[[str], bytes]
"""The vault: name -> secret."""

Commit = Callable[[str, str], str]
"""Keyed commitment: (label, secret value) -> 64 hex digits."""


class Configured(Protocol):
    """What the connectors are configured with, each by its own part."""

    @property
    def radius(self) -> RadiusConfig:
        """Databases, NAS and methods."""
        ...

    @property
    def routeros(self) -> RouterosConfig:
        """Routers and methods."""
        ...


def _radius(config: Configured, secrets: Secrets, commit: Commit, zone: tzinfo) -> Connector:
    return RadiusConnector(config.radius, secrets, commit, zone=zone)


def _routeros(config: Configured, secrets: Secrets, commit: Commit, _: tzinfo) -> Connector:
    return RouterosConnector(config.routeros, secrets, commit)


CONNECTORS: Final[Mapping[str, Callable[[Configured, Secrets, Commit, tzinfo], Connector]]] = {
    "radius": _radius,
    "routeros": _routeros,
}
