"""A hotspot's gate: the packets that it lets through. Pure, IPv4: hotspots know nothing else.

The hotspot's own rules stand above the filter's. An ip-binding decides before all else, the first that is about the
host: a bypassed one passes, a blocked one does not. A host with a row in /ip/hotspot/active passes, others reach only
    the walled garden of addresses. The walled garden of web hosts is not judged: the lab's packets name no host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lab.router.firewall import Firewall, Packet, Walk, covers
from lab.router.store import Event, Store
from lab.router.table import Row

SERVERS: Final = "/ip/hotspot"
ACTIVE: Final = "/ip/hotspot/active"
BINDINGS: Final = "/ip/hotspot/ip-binding"
GARDEN: Final = "/ip/hotspot/walled-garden/ip"

_SERVER: Final = frozenset(("server",))


class Gate:
    """The gates of one router. `why`: gives the reason why an address has not logged in; the hotspot sets it."""

    def __init__(self, store: Store, firewall: Firewall) -> None:
        self._store = store
        self._firewall = firewall
        self.why: Callable[[str], str] = lambda _: ""
        self._let_in: dict[str, str] = {}
        self._by_mac: dict[str, dict[str, Row]] = {}
        self._mac_of: dict[str, str] = {}

    def watch(self, path: str, row: Row, event: Event) -> None:
        """Take note of sessions and ip-bindings. To be told of every change."""
        if path == ACTIVE:
            address = row.props.get("address", "")
            if event != "removed":
                self._let_in[address] = row.id
            elif self._let_in.get(address) == row.id:
                del self._let_in[address]
        elif path == BINDINGS:
            if (known := self._mac_of.pop(row.id, None)) is not None:
                del self._by_mac[known][row.id]
            if event != "removed":
                mac = self._mac_of[row.id] = row.props.get("mac-address", "")
                self._by_mac.setdefault(mac, {})[row.id] = row
                kind = row.props.get("type", "regular")
                row.state.update({k: "true" if k == kind else "false" for k in ("bypassed", "blocked")})

    def _binding(self, mac: str, address: str, server: str) -> Row | None:
        """The first ip-binding that is about a host."""
        rows = [*self._by_mac.get(mac, {}).values(), *(self._by_mac.get("", {}).values() if mac else ())]
        fits = [row for row in rows if _is_about(row, address, server)]
        if len(fits) < 2:
            return fits[0] if fits else None
        among = {row.id for row in fits}
        return next(row for row in self._store.table(BINDINGS) if row.id in among)

    def type_of(self, mac: str, address: str, server: str) -> str:
        """The ip-bindings' word on a host: regular, bypassed or blocked."""
        row = self._binding(mac, address, server)
        return row.props.get("type", "regular") if row else "regular"

    def holds_back(self, packet: Packet) -> Walk | None:
        """The hotspot that keeps a packet in because its host has not logged in; None: none does."""
        if packet.family != 4 or not packet.in_interface:
            return None
        off = self._store.model(SERVERS).shown.get("disabled", "false")
        for server in self._store.table(SERVERS):
            if server.props.get("interface") == packet.in_interface and server.props.get("disabled", off) != "true":
                return self._judge(packet, server.props.get("name", ""))
        return None

    def _judge(self, packet: Packet, server: str) -> Walk | None:
        binding = self._binding(packet.source_mac, packet.source, server)
        kind = binding.props.get("type", "regular") if binding else "regular"
        if binding and kind == "blocked":
            return Walk(out=False, rule=binding.id, action="drop", comment="blocked by an ip-binding", menu=BINDINGS)
        if kind == "bypassed" or packet.source in self._let_in:
            return None
        unsure: list[str] = []
        for row in self._store.table(GARDEN):
            if row.props.get("disabled") == "true" or row.props.get("server", server) not in ("all", "", server):
                continue
            if self._firewall.matches(row, packet, unsure, _SERVER):
                if row.props.get("action", "accept") == "accept":
                    return None
                break
        reason = self.why(packet.source)
        comment = f"not logged in to hotspot {server}" + (f": {reason}" if reason else "")
        return Walk(out=False, action="reject", comment=comment, unsure=tuple(unsure), menu=SERVERS)


def _is_about(row: Row, address: str, server: str) -> bool:
    props = row.props
    if props.get("disabled") == "true" or props.get("server", "all") not in ("all", "", server):
        return False
    return not props.get("address") or covers(props["address"], address)
