"""Which parameters of a CPE have a history. Pure."""

from __future__ import annotations

from typing import Final

_LAST_WORDS: Final = frozenset(
    {
        "UpTime", "OpticalSignalLevel", "TransmitOpticalLevel", "RXPower", "TXPower", "DownstreamNoiseMargin",
        "UpstreamNoiseMargin", "AssociatedDeviceNumberOfEntries", "TotalAssociations", "HostNumberOfEntries",
    }
)  # fmt: skip
"""The last words of their paths, in both data models: uptime, optical power, DSL margin, clients."""
LEAST_S: Final = 300
"""Seconds between two values: a CPE that is read more often fills no disk."""


def is_tracked(path: str) -> bool:
    """Return whether a parameter has a history."""
    return path.rpartition(".")[2] in _LAST_WORDS
