"""A subscriber's packet on its way through the firewall: whether it gets out, and by which rule. Pure, IPv4 and IPv6.

A packet meets raw's prerouting first, then mangle's prerouting and forward, which may mark it, and filter's forward
then; its family decides the rules and lists. Known are the matchers by which operators hold subscribers back: addresses
and lists, interfaces and their lists, connection state, protocol and port, MAC, nat state, IPsec policy, marks of
packets and connections. A connection's mark is what its packet at hand gets: none is remembered. A rule with any other
matcher does not match, and the verdict names the matcher as unsure: an honest "perhaps".
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lab.router.limits import JUMPS_MAX
from lab.router.store import Event, Store
from lab.router.table import Row

FILTER: Final = "/ip/firewall/filter"
NAT: Final = "/ip/firewall/nat"
RAW: Final = "/ip/firewall/raw"
MANGLE: Final = "/ip/firewall/mangle"
LISTS: Final = "/ip/firewall/address-list"
CONNECTIONS: Final = "/ip/firewall/connection"
_LISTS: Final = (LISTS, "/ipv6/firewall/address-list")
_MEMBERS: Final = "/interface/list/member"

# properties of a rule that choose no packet
_NO_MATCHERS: Final = frozenset(
    (
        "action", "address-list", "address-list-timeout", "chain", "comment", "disabled", "hw-offload", "jump-target",
        "log", "log-prefix", "new-connection-mark", "new-packet-mark", "new-routing-mark", "passthrough", "reject-with",
        "to-addresses", "to-ports",
    )
)  # fmt: skip
_PASSES_ON: Final = frozenset(("log", "passthrough", "add-src-to-address-list", "add-dst-to-address-list"))
_MOVES: Final = frozenset(("dst-nat", "redirect", "netmap"))
_PROTOCOLS: Final = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}


_parsed = functools.lru_cache(4096)(ipaddress.ip_address)
"""Addresses of packets: each packet is compared with many rules."""


def family_of(address: str) -> int:
    """4 or 6, or 0 where the text is no address."""
    try:
        return _parsed(address).version
    except ValueError:
        return 0


def of_family(path: str, family: int) -> str:
    """The menu of `/ip` that IPv6 has under `/ipv6`, for the family asked for."""
    return path.replace("/ip/", "/ipv6/", 1) if family == 6 else path


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet from a subscriber. `source_mac` and the interfaces may be unknown (empty).

    `bridge`: the one that its session is bridged into; empty for a session that is routed.
    """

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 443
    state: str = "new"
    in_interface: str = ""
    out_interface: str = ""
    source_mac: str = ""
    nat_state: str = ""
    bridge: str = ""
    packet_mark: str = ""
    connection_mark: str = ""

    @property
    def family(self) -> int:
        return family_of(self.source)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a packet's way ended. `rule`: the `.id` in `menu` that decided, empty for the end of the chain."""

    out: bool
    rule: str = ""
    action: str = "accept"
    comment: str = ""
    unsure: tuple[str, ...] = ()
    menu: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a subscriber's connection.

    `out`: a new connection reaches the internet; `rule` of `menu`, `action`: the deciding ones. `lingers`: a connection
    from before still flows, by rule `lingers_by`; `fasttracked`: because it passes by the firewall. `moved_by`: the nat
    rule that sends a new connection elsewhere. `unsure`: matchers in rules that were passed over because the lab cannot
    judge them.
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
    menu: str = ""


def address_range(value: str) -> tuple[int, int, int] | None:
    """The family (4 or 6), first and last address that a value covers, or None where it is a name."""
    first, dash, last = value.partition("-")
    try:
        if dash:
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            return (low.version, int(low), int(high)) if low.version == high.version else None
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def covers(value: str, address: str) -> bool:
    """Tell whether an address, prefix or range covers an address; false where either is none."""
    covered = address_range(value)
    if covered is None or family_of(address) != covered[0]:
        return False
    return covered[1] <= int(ipaddress.ip_address(address)) <= covered[2]


_List = tuple[int, str]


class AddressLists:
    """Which addresses are on which list, kept up to date row by row. To be told of every change.

    Prefixes are counted by length: telling whether an address is on a list costs a look per length in use.
    """

    def __init__(self) -> None:
        self._nets: dict[_List, dict[int, Counter[int]]] = {}
        self._wide: dict[_List, dict[str, tuple[int, int]]] = {}
        self._of_row: dict[tuple[str, str], tuple[_List, int, int]] = {}

    def watch(self, path: str, row: Row, event: Event) -> None:
        """Take note of a change; one that is not about an address list is passed over."""
        if path not in _LISTS:
            return
        self._forget((path, row.id))
        covered = address_range(row.props.get("address", ""))
        if event == "removed" or row.props.get("disabled") == "true" or covered is None:
            return
        family, low, high = covered
        key = (family, row.props.get("list", ""))
        self._of_row[(path, row.id)] = (key, low, high)
        if (free := _host_bits(low, high)) is None:
            self._wide.setdefault(key, {})[row.id] = (low, high)
        else:
            self._nets.setdefault(key, {}).setdefault(free, Counter())[low >> free] += 1

    def _forget(self, which: tuple[str, str]) -> None:
        known = self._of_row.pop(which, None)
        if known is None:
            return
        key, low, high = known
        if (free := _host_bits(low, high)) is None:
            del self._wide[key][which[1]]
            return
        counts = self._nets[key][free]
        counts[low >> free] -= 1
        if not counts[low >> free]:
            del counts[low >> free]
        if not counts:
            del self._nets[key][free]

    def has(self, name: str, address: str) -> bool:
        """Tell whether an address, IPv4 or IPv6, is on a list of its family."""
        parsed = _parsed(address)
        key, number = (parsed.version, name), int(parsed)
        if any(number >> free in counts for free, counts in self._nets.get(key, {}).items()):
            return True
        return any(low <= number <= high for low, high in self._wide.get(key, {}).values())


def _host_bits(low: int, high: int) -> int | None:
    """How many bits of a prefix are free, or None where the span is no prefix."""
    size = high - low + 1
    if size < 1 or size & (size - 1) or low % size:
        return None
    return size.bit_length() - 1


@dataclass(slots=True)
class Firewall:
    """The rules of a store, walked by packets. `lists` must watch the store.

    `assumed`: for matchers that are not judged, whether they take a packet; without it they take none.
    """

    store: Store
    lists: AddressLists
    assumed: Mapping[str, bool] = field(default_factory=dict)
    _matchers: Mapping[str, Callable[[Packet, str], bool]] = field(init=False)

    def __post_init__(self) -> None:
        self._matchers = {
            "src-address": lambda p, x: covers(x, p.source),
            "dst-address": lambda p, x: covers(x, p.destination),
            "src-address-list": lambda p, x: self.lists.has(x, p.source),
            "dst-address-list": lambda p, x: self.lists.has(x, p.destination),
            "connection-state": lambda p, x: p.state in x.split(","),
            "connection-nat-state": lambda p, x: p.nat_state in x.split(","),
            "protocol": lambda p, x: p.protocol == _PROTOCOLS.get(x, x),
            "dst-port": lambda p, x: _has_port(x, p.port),
            "port": lambda p, x: _has_port(x, p.port),
            "in-interface": lambda p, x: x == p.in_interface or (x == "all-ppp" and p.in_interface.startswith("<")),
            "out-interface": lambda p, x: x == p.out_interface,
            "in-interface-list": lambda p, x: self._on_interface_list(x, p.in_interface),
            "out-interface-list": lambda p, x: self._on_interface_list(x, p.out_interface),
            "src-mac-address": lambda p, x: x == p.source_mac,
            "packet-mark": lambda p, x: x == (p.packet_mark or "no-mark"),
            "connection-mark": lambda p, x: x == (p.connection_mark or "no-mark"),
            # neither end is the router itself, or a broadcast
            "src-address-type": lambda _, x: "unicast" in x.split(","),
            "dst-address-type": lambda _, x: "unicast" in x.split(","),
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

    def matches(self, rule: Row, packet: Packet, unsure: list[str], but: frozenset[str] = frozenset()) -> bool:
        """Tell whether a rule takes a packet. `but`: properties that choose none; `unsure`: gets the properties that
        are not judged.
        """
        for name, value in rule.props.items():
            if name in _NO_MATCHERS or name in but or value == "":
                continue
            if name in self.assumed:
                if self.assumed[name]:
                    continue
                return False
            matcher = self._matchers.get(name)
            if matcher is None or (name.startswith("out-interface") and not packet.out_interface):
                unsure.append(f"{name} in {rule.id}")
                return False
            wanted, sign = (value[1:], True) if value.startswith("!") else (value, False)
            if matcher(packet, wanted) == sign:
                return False
        return True

    def judge(self, packet: Packet) -> Walk:
        """Send a packet through raw and filter, and say where its way ended."""
        # what leaves by which interface is not decided yet in prerouting
        first = self.walk(replace(packet, out_interface=""), RAW, "prerouting")
        if not first.out:
            return first
        if first.action == "notrack":
            packet = replace(packet, state="untracked")
        then = self.walk(self.marked(packet))
        return replace(then, unsure=(*first.unsure, *then.unsure))

    def walk(self, packet: Packet, path: str = FILTER, chain: str = "forward") -> Walk:
        """Send a packet down a chain of rules of its family."""
        path = of_family(path, packet.family)
        unsure: list[str] = []
        jumps = iter(range(JUMPS_MAX))
        chains: dict[str, list[Row]] = {}
        if self.store.find_model(path):
            for row in self.store.table(path):
                if row.props.get("disabled") != "true":
                    chains.setdefault(row.props.get("chain", ""), []).append(row)
        ended = self._walk(packet, chains, chain, unsure, jumps)
        return replace(ended, menu=path) if ended else Walk(out=True, unsure=tuple(unsure))

    def _walk(
        self, packet: Packet, chains: Mapping[str, list[Row]], chain: str, unsure: list[str], jumps: Iterator[int]
    ) -> Walk | None:
        for rule in chains.get(chain, ()):
            action = rule.props.get("action", "accept")
            if action in _PASSES_ON or not self.matches(rule, packet, unsure):
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

    def marked(self, packet: Packet) -> Packet:
        """The packet with the marks that mangle gives it before it comes to the filter."""
        path = of_family(MANGLE, packet.family)
        if not self.store.find_model(path):
            return packet
        rules = [row for row in self.store.table(path) if row.props.get("disabled") != "true"]
        for chain in ("prerouting", "forward"):
            packet, _ = self._mark(packet, rules, chain, 0)
        return packet

    def _mark(self, packet: Packet, rules: list[Row], chain: str, depth: int) -> tuple[Packet, bool]:
        """Send a packet down a chain of mangle; and whether a rule took it out of the whole table's chain."""
        known = replace(packet, out_interface="") if chain == "prerouting" else packet
        for rule in rules:
            shown = replace(known, packet_mark=packet.packet_mark, connection_mark=packet.connection_mark)
            if rule.props.get("chain") != chain or not self.matches(rule, shown, []):
                continue
            action = rule.props.get("action", "accept")
            if action == "return":
                return packet, False
            if action == "jump" and depth < JUMPS_MAX:
                packet, ended = self._mark(packet, rules, rule.props.get("jump-target", ""), depth + 1)
                if ended:
                    return packet, True
            elif action == "mark-packet":
                packet = replace(packet, packet_mark=rule.props.get("new-packet-mark", ""))
            elif action == "mark-connection" and packet.state != "untracked":
                packet = replace(packet, connection_mark=rule.props.get("new-connection-mark", ""))
            if action == "accept" or rule.props.get("passthrough") in ("false", "no"):
                return packet, True
        return packet, False

    def moved(self, packet: Packet) -> Walk | None:
        """The nat rule that sends a new connection elsewhere, if one does."""
        ended = self.walk(packet, NAT, "dstnat")
        return ended if ended.action in _MOVES else None


def _has_port(value: str, port: int) -> bool:
    for part in value.split(","):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if found and int(found[1]) <= port <= int(found[2] or found[1]):
            return True
    return False
