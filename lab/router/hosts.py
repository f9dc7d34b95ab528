"""Hosts with fixed addresses, IPv4, IPv6 or both, each with an open connection. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.router.flows import Flows, Line
from lab.router.store import Store
from lab.router.table import Row


@dataclass(slots=True)
class Host:
    """A subscriber's device. `flows`: the connections that it opened."""

    name: str
    addresses: tuple[str, ...]
    mac: str
    interface: str
    flows: list[Row] = field(default_factory=list)


def plain(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses as RouterOS writes them.

    Raises:
        ValueError: one of them is no address.
    """
    return tuple(str(ipaddress.ip_address(address)) for address in addresses)


class Hosts:
    """The hosts behind one router."""

    def __init__(self, store: Store, flows: Flows) -> None:
        self._store, self._flows = store, flows
        self._by: dict[str, Host] = {}

    def plug_in(self, host: Host) -> None:
        """Connect a host; it opens a connection from each address that gets packets out."""
        host.interface = host.interface or self._interface(host.addresses)
        for key in (host.name, host.mac, *host.addresses):
            self._by[key] = host
        self.open(host)

    def unplug(self, host: Host) -> None:
        """Disconnect a host; its connections go."""
        for key in [key for key, known in self._by.items() if known is host]:
            del self._by[key]
        for flow in host.flows:
            self._flows.close(flow)
        host.flows.clear()

    def open(self, host: Host) -> None:
        """Let a host open its connections anew."""
        for flow in host.flows:
            self._flows.close(flow)
        line = _line_of(host)
        opened = (self._flows.open(line, address) for address in host.addresses)
        host.flows = [flow for flow in opened if flow is not None]

    def line(self, which: str) -> Line | None:
        """The line of a host's name, MAC or address."""
        host = self._by.get(which) or self._by.get(which.upper()) or self._by.get(which.lower())
        return _line_of(host) if host else None

    def after_restart(self) -> None:
        """Connections that a restart cut are opened again."""
        for host in {id(host): host for host in self._by.values()}.values():
            self.open(host)

    def _interface(self, addresses: Iterable[str]) -> str:
        """The interface that a host is reached by: the one with an own address of its network; empty: not known."""
        wanted = [ipaddress.ip_address(address) for address in addresses]
        for path in ("/ip/address", "/ipv6/address"):
            for row in self._store.table(path) if self._store.find_model(path) else ():
                try:
                    network = ipaddress.ip_interface(row.props.get("address", "")).network
                except ValueError:
                    continue
                if row.props.get("disabled") != "true" and any(address in network for address in wanted):
                    return row.props.get("interface", "")
        return ""


def _line_of(host: Host) -> Line:
    return Line(host.name, host.addresses, host.interface, host.mac, tuple(host.flows))
