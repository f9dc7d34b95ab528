"""What the registry is given by tests: the part of the connector under test, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.connectors.radius.schema import RadiusConfig
from agent.connectors.routeros.schema import RouterosConfig


@dataclass(frozen=True, slots=True)
class Configs:
    """See `agent.connectors.registry.Configured`."""

    radius: RadiusConfig = field(default_factory=lambda: RadiusConfig((), (), ()))
    routeros: RouterosConfig = field(default_factory=RouterosConfig)
