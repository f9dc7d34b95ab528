"""Which connectors there are: kind -> how one is made from its configuration. A new connector is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final, Protocol

from agent.connectors.base import Connector
from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.schema import RadiusConfig
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.schema import RouterosConfig
from agent.cpe_model.known import CpeBook
from agent.runtime.clock import Clock

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

    @property
    def cwmp(self) -> CwmpConfig:
        """The ACS."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """What a connector is made from. `zone`: of the operator; `cpes`: where what is known of CPE is kept."""

    config: Configured
    secrets: Secrets
    commit: Commit
    zone: tzinfo
    clock: Clock
    cpes: CpeBook


def _radius(given: Given) -> Connector:
    return RadiusConnector(given.config.radius, given.secrets, given.commit, zone=given.zone)


def _routeros(given: Given) -> Connector:
    return RouterosConnector(given.config.routeros, given.secrets, given.commit)


def _cwmp(given: Given) -> Connector:
    return CwmpConnector(given.config.cwmp, given.secrets, given.commit, given.cpes, given.clock)


CONNECTORS: Final[Mapping[str, Callable[[Given], Connector]]] = {
    "radius": _radius,
    "routeros": _routeros,
    "cwmp": _cwmp,
}
