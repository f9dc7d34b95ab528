"""Addresses of a device's ports in plans: `snmp/sw-3/if/ge-0-7/admin`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp.profile import ADMIN, ALIAS, POWER
from agent.model import Address

IDENTITY: Final = "identity"
"""The marks by which a device is told from another one behind its address."""
PORTS: Final = "if"
"""The names of all of its ports."""
NOW, WAY, CYCLE = "now", "way", "power-cycle"
"""Of a port: its state for people; whether the agent's own way leads over it; when its power was cut last."""
OF_PORT: Final = frozenset({ADMIN, ALIAS, POWER, NOW, WAY, CYCLE})


@dataclass(frozen=True, slots=True)
class PortAddress:
    """A parsed address. `port` and `what` are "" for the device itself, of which `of` is IDENTITY or PORTS."""

    of: str
    port: str = ""
    what: str = ""


def address(target: str, *words: str) -> Address:
    """Return an address of a device."""
    return Address("/".join((target, *words)))


def parse(target: str, text: Address) -> PortAddress | None:
    """Return an address in its parts; None: it names nothing of this device."""
    if not text.startswith(f"{target}/"):
        return None
    match text.removeprefix(f"{target}/").split("/"):
        case ["identity"]:
            return PortAddress(IDENTITY)
        case ["if"]:
            return PortAddress(PORTS)
        case ["if", port, what] if port and what in OF_PORT:
            return PortAddress(PORTS, port, what)
    return None
