"""A subscriber's connections, and the router's treatment of their packets. Pure.

The firewall judges the packets of a subscriber's line, and a hotspot on its interface holds back hosts that are not
logged in. A connection that got out stands in the connection table. Removing its row ends it, and nothing else does:
not the end of the session or lease that it was opened in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lab.router.firewall import CONNECTIONS, Firewall, Packet, Verdict, Walk, family_of, of_family
from lab.router.gate import Gate
from lab.router.store import Store
from lab.router.table import Row

# addresses of the documentation ranges (RFC 5737, RFC 3849), standing for the internet
INTERNET: Final = "203.0.113.80"
BRIDGE: Final = "/interface/bridge"
SWITCH: Final = "/interface/ethernet/switch"
INTERNET6: Final = "2001:db8:ffff::80"


@dataclass(frozen=True, slots=True)
class Line:
    """Where a subscriber is: its addresses (none: not online, `why_not` says why), interface, MAC and flows.

    `flows` are the connections it opened; those since removed are among them. `bridge`: the one that its session is
    bridged into (BCP).
    """

    name: str
    addresses: tuple[str, ...] = ()
    interface: str = ""
    mac: str = ""
    flows: tuple[Row, ...] = ()
    why_not: str = ""
    bridge: str = ""

    def address(self, family: int) -> str:
        """Its address of a family, 4 or 6, or empty."""
        return next((a for a in self.addresses if family_of(a) == family), "")


class Flows:
    """The connections through one router, IPv4 and IPv6."""

    def __init__(self, store: Store, firewall: Firewall, gate: Gate) -> None:
        self._store, self._firewall, self._gate = store, firewall, gate

    # --- one connection -----------------------------------------------------------------------------------------------

    def open(self, line: Line, source: str) -> Row | None:
        """Open a line's connection to the internet; None where none gets out, or the version tracks none."""
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
        settled = self._firewall.judge(replace(packet, state="established"))
        row.state["seen-reply"] = "true"
        row.state["fasttrack"] = "true" if settled.action == "fasttrack-connection" else "false"
        return row

    def own(self, client: str, port: int, here: str, here_port: int) -> Row | None:
        """A connection to the router itself, such as an API session's; None where the version tracks none."""
        path = of_family(CONNECTIONS, family_of(client))
        if not self._store.find_model(path):
            return None
        ends = {"src-address": _with_port(client, port), "dst-address": _with_port(here, here_port)}
        told = {"tcp-state": "established", "timeout": "23h59m59s"}
        return self._store.insert(path, {"protocol": "tcp", **ends, **told}, dynamic=True)

    def go_on(self, mine: list[Row], line: Line, source: str) -> None:
        """Let a subscriber go on with a connection that it opened from an address before, or open one.

        `mine`: the connections that it opened; those that are no more are taken out.
        """
        mine[:] = [flow for flow in mine if self.alive(flow)]
        known = any(host_of(flow.props.get("src-address", "")) == source for flow in mine)
        if not known and (flow := self.open(line, source)) is not None:
            mine.append(flow)

    def alive(self, flow: Row | None) -> bool:
        """Tell whether a flow still is in the connection table of its family."""
        if flow is None:
            return False
        path = of_family(CONNECTIONS, family_of(host_of(flow.props.get("src-address", ""))))
        return self._store.table(path).get(flow.id) is flow

    def close(self, flow: Row | None) -> None:
        """Take a flow out of the connection table, if it is still there."""
        if flow is not None and self.alive(flow):
            self._store.remove(of_family(CONNECTIONS, family_of(host_of(flow.props.get("src-address", "")))), flow)

    def of_line(self, line: Line, source: str) -> Row | None:
        """The connection that a line has open from an address, None where it has none."""
        mine = (f for f in line.flows if host_of(f.props.get("src-address", "")) == source)
        return next((f for f in mine if self.alive(f)), None)

    def of_address(self, address: str) -> tuple[Row, ...]:
        """The connections from an address that stand in the table of its family."""
        path = of_family(CONNECTIONS, family_of(address))
        known = self._store.table(path) if self._store.find_model(path) else ()
        return tuple(row for row in known if host_of(row.props.get("src-address", "")) == address)

    # --- packets ------------------------------------------------------------------------------------------------------

    def packet(self, line: Line, source: str, destination: str = "", protocol: str = "tcp", port: int = 443) -> Packet:
        """A line's packet to the internet, of a new connection."""
        return Packet(
            source=source,
            destination=destination or (INTERNET6 if family_of(source) == 6 else INTERNET),
            protocol=protocol,
            port=port,
            in_interface=line.interface,
            out_interface=self._firewall.uplink(),
            source_mac=line.mac,
            bridge=line.bridge,
        )

    def _judge(self, packet: Packet) -> Walk:
        """Judge a packet by raw, then by a hotspot's own rules, then by the filter; unless the switch routes it."""
        if self._offloaded(packet):
            return Walk(out=True, action="l3-hw-offloading", comment="routed by the switch", menu=SWITCH)
        if packet.bridge:
            return Walk(out=True, action="bridge", comment=f"bridged into {packet.bridge}", menu=BRIDGE)
        ended = self._firewall.judge(packet)
        if ended.menu and not ended.out and "/raw" in ended.menu:
            return ended
        return self._gate.holds_back(packet) or ended

    def _moved(self, packet: Packet) -> Walk | None:
        return None if self._offloaded(packet) else self._firewall.moved(packet)

    def _offloaded(self, packet: Packet) -> bool:
        """Tell whether a switch chip routes a packet, past the CPU and so past every rule and queue.

        A packet of a PPP session never is, and none is where the port of the way out is left out.
        """
        if not packet.in_interface or packet.in_interface.startswith("<") or not self._store.find_model(SWITCH):
            return False
        on = any(row.props.get("l3-hw-offloading") in ("true", "yes") for row in self._store.table(SWITCH))
        ports = self._store.table(f"{SWITCH}/port") if on else ()
        left_out = {row.props.get("name", "") for row in ports if row.props.get("l3-hw-offloading") in ("false", "no")}
        return on and packet.out_interface not in left_out

    def meets(self, line: Line, source: str, destination: str = "", protocol: str = "tcp", port: int = 443) -> Verdict:
        """Judge a line's packet to the internet, as one of a new connection and of the one that it had before."""
        packet = self.packet(line, source, destination, protocol, port)
        moved, first = self._moved(packet), self._judge(packet)
        settled = self._judge(replace(packet, state="established"))
        flow = self.of_line(line, source)
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


def host_of(endpoint: str) -> str:
    """The address of `address:port`, `[address]:port` or an address alone."""
    if endpoint.startswith("["):
        return endpoint[1:].partition("]")[0]
    return endpoint if endpoint.count(":") > 1 else endpoint.partition(":")[0]


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
