"""Whose packets get out and how fast: a subscriber's line, and what the router does with its packets. Pure.

A subscriber is asked for by login, hotspot user, MAC or address; each kind of access (`ppp`, `hotspot`, `dhcp`,
`hosts`) finds its own as a `Line`. The firewall judges the line's packets, a hotspot on its interface holds back who is
not logged in, and the first simple queue that takes them says how fast they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from lab.router.firewall import CONNECTIONS, Packet, Verdict, Walk, family_of, of_family
from lab.router.queues import speed_limit
from lab.router.table import Row

if TYPE_CHECKING:
    from lab.router.device import Router

# addresses of the documentation ranges (RFC 5737, RFC 3849), standing for the internet
INTERNET: Final = "203.0.113.80"
INTERNET6: Final = "2001:db8:ffff::80"


@dataclass(frozen=True, slots=True)
class Line:
    """Where a subscriber is: its addresses (none: not online, `why_not` says why), interface, MAC and flows.

    `flows` are the connections it opened; those since removed are among them.
    """

    name: str
    addresses: tuple[str, ...] = ()
    interface: str = ""
    mac: str = ""
    flows: tuple[Row, ...] = ()
    why_not: str = ""

    def address(self, family: int) -> str:
        """Its address of a family, 4 or 6, or empty."""
        return next((a for a in self.addresses if family_of(a) == family), "")


class Finder(Protocol):
    """One kind of access."""

    def line(self, which: str) -> Line | None:
        """The line of a login, MAC or address; None where it is none of this kind."""


class Packets:
    """The packet view of one router. `finders`: asked in order, whoever is online wins."""

    def __init__(self, router: Router, finders: Iterable[Finder]) -> None:
        self._router = router
        self._store = router.store
        self._finders = tuple(finders)

    # --- lines --------------------------------------------------------------------------------------------------------

    def line(self, which: str) -> Line:
        """The line of a login, hotspot user, MAC or address.

        An address that no subscriber of the lab has is a line too: of somebody behind an interface that is not known.
        """
        lines = [line for finder in self._finders if (line := finder.line(which))]
        if lines:
            return next((line for line in lines if line.addresses), lines[0])
        family = family_of(which)
        if not family:
            return Line(which, why_not="no CPE of that login")
        path = of_family(CONNECTIONS, family)
        known = self._store.table(path) if self._store.find_model(path) else ()
        flows = (row for row in known if host_of(row.props.get("src-address", "")) == which)
        return Line(which, (which,), flows=tuple(flows))

    def packet(self, line: Line, source: str, destination: str = "", protocol: str = "tcp", port: int = 443) -> Packet:
        """A line's packet to the internet, of a new connection."""
        return Packet(
            source=source,
            destination=destination or (INTERNET6 if family_of(source) == 6 else INTERNET),
            protocol=protocol,
            port=port,
            in_interface=line.interface,
            out_interface=self._router.firewall.uplink(),
            source_mac=line.mac,
        )

    # --- flows --------------------------------------------------------------------------------------------------------

    def open_flow(self, line: Line, source: str) -> Row | None:
        """Open a line's connection to the internet; None where a new one does not get out, or none is tracked."""
        packet = self.packet(line, source)
        path = of_family(CONNECTIONS, packet.family)
        if self._moved(packet) or not self._judge(packet).out or not self._store.find_model(path):
            return None
        row = self._store.insert(
            path,
            {
                "protocol": packet.protocol,
                "src-address": _with_port(source, 50000),
                "dst-address": _with_port(packet.destination, packet.port),
                "tcp-state": "established",
                "timeout": "23h59m59s",
            },
            dynamic=True,
        )
        settled = self._router.firewall.judge(replace(packet, state="established"))
        row.state["fasttrack"] = "true" if settled.action == "fasttrack-connection" else "false"
        return row

    def alive(self, flow: Row | None) -> bool:
        """Tell whether a flow still is in the connection table of its family."""
        if flow is None:
            return False
        path = of_family(CONNECTIONS, family_of(host_of(flow.props.get("src-address", ""))))
        return self._store.table(path).get(flow.id) is flow

    def close_flow(self, flow: Row | None) -> None:
        """Take a flow out of the connection table, if it is still there."""
        if flow is not None and self.alive(flow):
            self._store.remove(of_family(CONNECTIONS, family_of(host_of(flow.props.get("src-address", "")))), flow)

    # --- who gets out -------------------------------------------------------------------------------------------------

    def _judge(self, packet: Packet) -> Walk:
        """What a packet meets: raw, then a hotspot's own rules, then the filter's."""
        ended = self._router.firewall.judge(packet)
        if ended.menu and not ended.out and "/raw" in ended.menu:
            return ended
        return self._router.hotspot.gate.holds_back(packet) or ended

    def _moved(self, packet: Packet) -> Walk | None:
        return self._router.firewall.moved(packet)

    def gets_out(self, which: str, destination: str, protocol: str, port: int) -> Verdict:
        """What a line's packet to the internet meets: of a new connection, and of the one that it had before."""
        line = self.line(which)
        source = self._source(line, which, destination)
        if not source:
            return Verdict(online=False, out=False, reason=line.why_not or f"{which} has no address of that family")
        packet = self.packet(line, source, destination, protocol, port)
        moved, first = self._moved(packet), self._judge(packet)
        settled = self._judge(replace(packet, state="established"))
        flow = self._flow(line, source)
        fast = flow is not None and flow.state.get("fasttrack") == "true"
        return Verdict(
            online=True,
            out=first.out and moved is None,
            rule=first.rule,
            action=first.action,
            lingers=flow is not None and (fast or settled.out),
            lingers_by=settled.rule if flow is not None and not fast else "",
            fasttracked=fast,
            moved_by=moved.rule if moved else "",
            unsure=tuple(dict.fromkeys((*first.unsure, *settled.unsure, *(moved.unsure if moved else ())))),
            reason=first.comment,
            menu=first.menu,
        )

    def _source(self, line: Line, which: str, destination: str) -> str:
        """The address that packets come from: the one asked for, or the line's of the destination's family."""
        if family_of(which):
            return which
        if destination:
            return line.address(family_of(destination) or 4)
        return line.address(4) or line.address(6)

    def _flow(self, line: Line, source: str) -> Row | None:
        mine = (f for f in line.flows if host_of(f.props.get("src-address", "")) == source)
        return next((f for f in mine if self.alive(f)), None)

    # --- how fast -----------------------------------------------------------------------------------------------------

    def speed_of(self, which: str, destination: str) -> tuple[int, int] | None:
        """The bits a second that a line may send and receive, as the first queue that takes its packets says."""
        line = self.line(which)
        source = self._source(line, which, destination)
        flow = self._flow(line, source) if source else None
        if not source or (flow is not None and flow.state.get("fasttrack") == "true"):
            return None
        packet = self.packet(line, source, destination)
        return speed_limit(self._store.table("/queue/simple"), packet)


def host_of(endpoint: str) -> str:
    """The address of `address:port`, `[address]:port` or an address alone."""
    if endpoint.startswith("["):
        return endpoint[1:].partition("]")[0]
    return endpoint if endpoint.count(":") > 1 else endpoint.partition(":")[0]


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
