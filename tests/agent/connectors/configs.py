"""What the registry is given by tests: the part of the connector under test, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import cast

from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.radius.schema import RadiusConfig
from agent.connectors.registry import Given
from agent.connectors.routeros.schema import RouterosConfig
from agent.cpe_model.known import CpeBook
from agent.runtime.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Configs:
    """See `agent.connectors.registry.Configured`."""

    radius: RadiusConfig = field(default_factory=lambda: RadiusConfig((), (), ()))
    routeros: RouterosConfig = field(default_factory=RouterosConfig)
    cwmp: CwmpConfig = field(default_factory=CwmpConfig)


def commit(label: str, value: str) -> str:
    return hashlib.sha256(f"{label}\0{value}".encode()).hexdigest()


NO_BOOK = cast(CpeBook, None)
"""For connectors that know nothing of CPE."""


def given(config: Configs, secrets: Mapping[str, bytes], cpes: CpeBook = NO_BOOK, clock: Clock | None = None) -> Given:
    """Return what the registry makes a connector from."""
    return Given(config, secrets.__getitem__, commit, UTC, clock or SystemClock(), cpes)
