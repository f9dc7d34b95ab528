"""Which parameters of a CPE have a history, and how long it is. Pure.

A value joins the history whenever it is read: by an Inform, a refresh, a test or a change. Nothing is read for the
history alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from agent.cpe_model.known import CachedParameter

KEPT: Final = 500
"""Values of one parameter of one CPE: a day and a half at one in five minutes, three weeks at one an hour."""
LEAST_S: Final = 300
"""Seconds between two values: a CPE that is read more often fills no disk."""
_TRACKED: Final = frozenset(
    {
        "UpTime", "OpticalSignalLevel", "TransmitOpticalLevel", "RXPower", "TXPower", "DownstreamNoiseMargin",
        "UpstreamNoiseMargin", "AssociatedDeviceNumberOfEntries", "TotalAssociations", "HostNumberOfEntries",
    }
)  # fmt: skip
"""The last words of their paths, in both data models: uptime, optical power, DSL margin, clients."""


def tracked(path: str) -> bool:
    """Return whether a parameter has a history."""
    return path.rpartition(".")[2] in _TRACKED


def number(text: str) -> Decimal | None:
    """Return the number that a value is; None: it is none."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def samples(values: Mapping[str, CachedParameter]) -> dict[str, CachedParameter]:
    """Return the values that join the history: numbers of parameters that have one."""
    return {
        path: known
        for path, known in values.items()
        if tracked(path) and known.value is not None and number(known.value) is not None
    }
