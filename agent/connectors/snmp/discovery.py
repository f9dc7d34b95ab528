"""Which addresses are asked when a network is searched for devices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from agent.connectors.snmp.errors import SnmpError

HOSTS_MAX: Final = 65_536
"""Addresses of one search: with 256 at once and 3 s for a silent one, 13 minutes. A /16 is searched, no more."""


class NoPrefixError(SnmpError):
    """A text that is no prefix, or more addresses than are searched."""


def hosts_of(texts: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Return the addresses of prefixes (`10.0.0.0/24`, one address alone), each once, without those that are known.

    Raises:
        NoPrefixError: a text is none, or they have more than `HOSTS_MAX` addresses.
    """
    networks = [_network(text) for text in texts]
    count = sum(network.num_addresses for network in networks)
    if count > HOSTS_MAX:
        largest = max(networks, key=lambda network: network.num_addresses)
        raise NoPrefixError(
            f"expected prefixes of at most {HOSTS_MAX:,} addresses together, got {count:,} "
            f"({largest} alone has {largest.num_addresses:,}): search the networks of your devices one by one"
        )
    left_out = {_same(address) for address in known}
    found = dict.fromkeys(str(host) for network in networks for host in _hosts(network))
    return [host for host in found if host not in left_out]


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as err:
        raise NoPrefixError(f"expected a prefix without host bits, such as 10.0.0.0/24, got {text[:60]!r}") from err


def _hosts(network: IPv4Network | IPv6Network) -> Iterable[object]:
    return network.hosts() if network.num_addresses > 1 else (network.network_address,)


def _same(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text
