"""A subscriber's packet on its way through the firewall: whether it gets out, and by which rule. Pure, IPv4.

It knows the matchers by which operators hold subscribers back: addresses and lists, interfaces and their lists,
connection state, protocol and port, MAC, nat state, IPsec policy. A rule with any other matcher does not match, and the
verdict names the matcher as unsure: an honest "perhaps".
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.router.limits import JUMPS_MAX
from lab.router.store import Event, Store
from lab.router.table import Row

FILTER: Final = "/ip/firewall/filter"
NAT: Final = "/ip/firewall/nat"
LISTS: Final = "/ip/firewall/address-list"
_MEMBERS: Final = "/interface/list/member"

# properties of a rule that choose no packet
_NO_MATCHERS: Final = frozenset(
    (
        "action", "address-list", "address-list-timeout", "chain", "comment", "disabled", "hw-offload", "jump-target",
        "log", "log-prefix", "reject-with", "to-addresses", "to-ports",
    )
)  # fmt: skip
_PASSES_ON: Final = frozenset(("log", "passthrough", "add-src-to-address-list", "add-dst-to-address-list"))
_MOVES: Final = frozenset(("dst-nat", "redirect", "netmap"))


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet from a subscriber. `source_mac` and the interfaces may be unknown (empty)."""

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 443
    state: str = "new"
    in_interface: str = ""
    out_interface: str = ""
    source_mac: str = ""
    nat_state: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a packet's way ended. `rule`: the `.id` that decided, empty for the end of the chain."""

    out: bool
    rule: str = ""
    action: str = "accept"
    comment: str = ""
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a subscriber's router would get.

    `out`: a new connection reaches the internet; `rule`, `action`: what decided so. `lingers`: a connection from before
    still flows, by rule `lingers_by`; `fasttracked`: because it passes by the firewall. `moved_by`: the nat rule that
    sends a new connection elsewhere. `unsure`: matchers in rules that were passed over because the lab cannot judge
    them.
    """

    online: bool
    out: bool
    rule: str = ""
    action: str = ""
    lingers: bool = False
    lingers_by: str = ""
    fasttracked: bool = False
    moved_by: str = ""
    unsure: tuple[str, ...] = ()
    reason: str = ""


def address_range(value: str) -> tuple[int, int] | None:
    """The first and last address that a value covers, or None where it is a name."""
    first, dash, last = value.partition("-")
    try:
        if dash:
            return int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        return None
    return int(network.network_address), int(network.broadcast_address)


class AddressLists:
    """Which addresses are on which list, kept up to date row by row. To be told of every change."""

    def __init__(self) -> None:
        self._single: dict[str, Counter[int]] = {}
        self._wide: dict[str, dict[str, tuple[int, int]]] = {}
        self._of_row: dict[str, tuple[str, int, int]] = {}

    def watch(self, path: str, row: Row, event: Event) -> None:
        """Take note of a change; what is not about an address list is passed over."""
        if path != LISTS:
            return
        self._forget(row.id)
        covered = address_range(row.props.get("address", ""))
        if event == "removed" or row.props.get("disabled") == "true" or covered is None:
            return
        name, (low, high) = row.props.get("list", ""), covered
        self._of_row[row.id] = (name, low, high)
        if low == high:
            self._single.setdefault(name, Counter())[low] += 1
        else:
            self._wide.setdefault(name, {})[row.id] = (low, high)

    def _forget(self, row_id: str) -> None:
        known = self._of_row.pop(row_id, None)
        if known is None:
            return
        name, low, high = known
        if low == high:
            self._single[name][low] -= 1
            if not self._single[name][low]:
                del self._single[name][low]
        else:
            del self._wide[name][row_id]

    def has(self, name: str, address: str) -> bool:
        """Tell whether an address is on a list."""
        number = int(ipaddress.IPv4Address(address))
        if name in self._single and self._single[name][number]:
            return True
        return any(low <= number <= high for low, high in self._wide.get(name, {}).values())


@dataclass(slots=True)
class Firewall:
    """The rules of a store, walked by packets. `lists` must watch the store."""

    store: Store
    lists: AddressLists
    _matchers: Mapping[str, Callable[[Packet, str], bool]] = field(init=False)

    def __post_init__(self) -> None:
        self._matchers = {
            "src-address": lambda p, x: _covers(x, p.source),
            "dst-address": lambda p, x: _covers(x, p.destination),
            "src-address-list": lambda p, x: self.lists.has(x, p.source),
            "dst-address-list": lambda p, x: self.lists.has(x, p.destination),
            "connection-state": lambda p, x: p.state in x.split(","),
            "connection-nat-state": lambda p, x: p.nat_state in x.split(","),
            "protocol": lambda p, x: p.protocol == {"6": "tcp", "17": "udp", "1": "icmp"}.get(x, x),
            "dst-port": lambda p, x: _has_port(x, p.port),
            "port": lambda p, x: _has_port(x, p.port),
            "in-interface": lambda p, x: x == p.in_interface or (x == "all-ppp" and p.in_interface.startswith("<")),
            "out-interface": lambda p, x: x == p.out_interface,
            "in-interface-list": lambda p, x: self._on_interface_list(x, p.in_interface),
            "out-interface-list": lambda p, x: self._on_interface_list(x, p.out_interface),
            "src-mac-address": lambda p, x: x == p.source_mac,
            # a subscriber's packet to the internet is in no tunnel of the router's
            "ipsec-policy": lambda p, x: x.endswith(",none"),
        }

    def uplink(self) -> str:
        """The interface to the internet: the first member of the list WAN, or unknown."""
        members = self.store.table(_MEMBERS) if self.store.find_model(_MEMBERS) else ()
        return next((m.props.get("interface", "") for m in members if m.props.get("list") == "WAN"), "")

    def _on_interface_list(self, name: str, interface: str) -> bool:
        if name in ("all", "none"):
            return name == "all"
        if name in ("dynamic", "static"):
            return interface.startswith("<") == (name == "dynamic")
        table = self.store.table(_MEMBERS)
        keys = ("list", "interface")
        found = table.find(keys, {"list": name, "interface": interface}) if keys in table.unique else table
        return any(
            m.props.get("list") == name and m.props.get("interface") == interface
            for m in found
            if m.props.get("disabled") != "true"
        )

    def _matches(self, rule: Row, packet: Packet, unsure: list[str]) -> bool:
        for name, value in rule.props.items():
            if name in _NO_MATCHERS or value == "":
                continue
            matcher = self._matchers.get(name)
            if matcher is None or (name.startswith("out-interface") and not packet.out_interface):
                unsure.append(f"{name} in {rule.id}")
                return False
            wanted, sign = (value[1:], True) if value.startswith("!") else (value, False)
            if matcher(packet, wanted) == sign:
                return False
        return True

    def walk(self, packet: Packet, path: str = FILTER, chain: str = "forward") -> Walk:
        """Send a packet down a chain of rules."""
        unsure: list[str] = []
        jumps = iter(range(JUMPS_MAX))
        chains: dict[str, list[Row]] = {}
        if self.store.find_model(path):
            for row in self.store.table(path):
                if row.props.get("disabled") != "true":
                    chains.setdefault(row.props.get("chain", ""), []).append(row)
        ended = self._walk(packet, chains, chain, unsure, jumps)
        return ended or Walk(out=True, unsure=tuple(unsure))

    def _walk(
        self, packet: Packet, chains: Mapping[str, list[Row]], chain: str, unsure: list[str], jumps: Iterator[int]
    ) -> Walk | None:
        for rule in chains.get(chain, ()):
            action = rule.props.get("action", "accept")
            if action in _PASSES_ON or not self._matches(rule, packet, unsure):
                continue
            if action == "return":
                return None
            if action == "jump":
                if next(jumps, None) is None:
                    # a circle of jumps, which RouterOS lets be configured
                    unsure.append(f"more than {JUMPS_MAX} jumps in {rule.id}")
                    return None
                ended = self._walk(packet, chains, rule.props.get("jump-target", ""), unsure, jumps)
                if ended:
                    return ended
                continue
            if action == "fasttrack-connection" and packet.protocol not in ("tcp", "udp"):
                continue
            out = action not in ("drop", "reject", "tarpit")
            return Walk(out, rule.id, action, rule.props.get("comment", ""), tuple(unsure))
        return None

    def moved(self, packet: Packet) -> Walk | None:
        """The nat rule that sends a new connection elsewhere, if one does."""
        ended = self.walk(packet, NAT, "dstnat")
        return ended if ended.action in _MOVES else None


def _covers(value: str, address: str) -> bool:
    covered = address_range(value)
    return covered is not None and covered[0] <= int(ipaddress.IPv4Address(address)) <= covered[1]


def _has_port(value: str, port: int) -> bool:
    for part in value.split(","):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if found and int(found[1]) <= port <= int(found[2] or found[1]):
            return True
    return False
