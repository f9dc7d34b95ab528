"""The connectors that the agent has: one line each. Nothing else above `agent.connectors` names one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

from agent.connectors.spec import ConnectorSpec

DEFAULT: Final = (
    "agent.connectors.radius",
    "agent.connectors.routeros",
    "agent.connectors.cwmp",
    "agent.connectors.snmp",
    "agent.connectors.librenms",
    "agent.connectors.uisp_crm",
    "agent.connectors.splynx",
    "agent.connectors.accounts_sql",
    "agent.connectors.drop_folder",
    "agent.connectors.stripe_payments",
    "agent.connectors.paystack",
    "agent.connectors.daraja",
)
"""Packages that export a `SPEC`. Order: of documentation, and of problems in a configuration file."""


def specs(packages: Iterable[str] = DEFAULT) -> tuple[ConnectorSpec[Any], ...]:
    """Return the spec of each package."""
    return tuple(import_module(package).SPEC for package in packages)
