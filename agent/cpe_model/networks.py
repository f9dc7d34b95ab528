"""The part of an address that one customer has. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

_NETWORK_BITS: Final = 64


def network_of(address: str) -> str:
    """Return the network that one customer has: an IPv4 address itself, of an IPv6 address its /64.

    Args:
        address: as a socket gives it; a text that is no address stands for itself.
    """
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> _NETWORK_BITS << _NETWORK_BITS, _NETWORK_BITS)))
