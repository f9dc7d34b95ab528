"""Which of a suspended subscriber's packets to the internet does a rule match: surely, and perhaps. Pure.

A packet is its protocol, destination port, connection state, source address and the interface that it leaves by, each
an axis of `packet_sets`. A matcher that is no axis matches none, all or some of the packets. DNS and ICMP are left out
of
them: they pass in every suspension, and the preview names them as ways out. So are packets to a place: a pay page's
address or list, which is not the internet.

* A doubtful matcher matches perhaps, never surely.
* A matcher that is not known here may match anything.
* A list that a rule fills as packets come changes after it was read.

Source: RouterOS manual, "Common Firewall Matchers and Actions" and "Packet Flow".
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from agent.connectors.routeros.addresses import networks, within
from agent.connectors.routeros.marks import is_on, marked
from agent.connectors.routeros.packet_sets import Box, Spans, both, less, spans

Rule = Mapping[str, str]

PPP: Final = "ppp"
"""`Confined.interface` of a session with an interface made at the login."""
ALL_PPP: Final = "all-ppp"
"""In a rule: any PPP interface. In `Ruleset.interface_lists`: those PPP servers' interfaces that always exist."""
_ALL_OF_A_KIND: Final = "all-"
"""How the names begin that stand for all interfaces of a kind: `all-ethernet`, `all-vlan`, `all-ppp`."""
DYNAMIC: Final = "<"
"""How the names of interfaces begin that are made at a login: `<pppoe-amina.h>`."""
WIDE: Final = "dst-address-list-wide"
"""A property that whoever reads the rules adds: `true` where the list of `dst-address-list` `is_wide`."""
HELD: Final = "dst-address-list-held"
"""Another one, where that list is not: how many addresses of the internet it holds, of IPv4 and of IPv6, `256 0`."""
PLACE_MAX: Final = {4: 2 ** (32 - 8), 6: 2 ** (128 - 32)}
"""Addresses that a pay page's network or list has at most: 10.0.0.0/8, a provider's /32; chosen arbitrarily."""
_INSIDE: Final = tuple(
    network
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "224.0.0.0/3", "fc00::/7", "fe80::/10", "ff00::/8",
    )
    for network in networks(text)
)  # fmt: skip
"""Networks that are no part of the internet: private, shared, link-local, multicast and reserved ones."""
_HOLDS_IPV4: Final = tuple(
    network for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16") for network in networks(text)
)
"""Networks of IPv6 by which much of IPv4 is reached: NAT64 (RFC 6052, RFC 8215), Teredo and 6to4."""
_ALL_OF_IT: Final = 2**128
_PORT_DIGITS: Final = 5
SILENT: Final = frozenset(
    {
        "chain",
        "action",
        "comment",
        "disabled",
        "invalid",
        "dynamic",
        "log",
        "log-prefix",
        "reject-with",
        "jump-target",
        "hw-offload",
        "address-list",
        "address-list-timeout",
        "new-packet-mark",
        "new-connection-mark",
        "new-routing-mark",
        "passthrough",
        "bytes",
        "packets",
        WIDE,
        HELD,
    }
)
"""Properties of a rule that are no matchers."""
_DROPS: Final = frozenset({"drop", "reject", "tarpit"})
_ROUTED_6: Final = networks("2000::/3")[0]
"""All of IPv6 that the internet routes (RFC 4291 section 2.4)."""
FILLS: Final = frozenset({"add-src-to-address-list", "add-dst-to-address-list"})
"""Actions that put an address of the packet into a list."""
MARKS: Final = frozenset({"packet-mark", "connection-mark"})
"""Matchers for which the mangle rules are to be known."""
_TCP, _UDP = 6, 17
_PROTOCOLS: Final = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": _TCP, "udp": _UDP, "dccp": 33, "ipv6-encap": 41, "gre": 47,
    "ipsec-esp": 50, "ipsec-ah": 51, "icmpv6": 58, "ospf": 89, "ipip": 94, "etherip": 97, "pim": 103, "vrrp": 112,
    "l2tp": 115, "sctp": 132, "udp-lite": 136,
}  # fmt: skip
_DNS: Final = ((53, 53), (853, 853))
_STATES: Final = ("new", "established", "related", "invalid", "untracked")
_WITH_PORTS: Final = spans(((_TCP, _TCP), (_UDP, _UDP)))
_ICMP: Final = ((1, 1), (58, 58))
DNS: Final = "DNS"
PING: Final = "ping"


def session_of(joined: str) -> str:
    """Return the name that stands, among a list's interfaces, for all sessions of profiles with an interface list."""
    return f"{DYNAMIC}ppp {joined}>"


class Axis(enum.IntEnum):
    """The place of each set in a box."""

    PROTOCOL = 0
    PORT = 1
    STATE = 2
    SOURCE = 3
    WAY = 4


PROTOCOLS: Final = spans(((0, 255),))
PORTS: Final = spans(((0, 65535),))
STATES: Final = spans(((0, len(_STATES) - 1),))


def states(*names: str) -> Spans:
    """Return connection states as a set on their axis."""
    return spans((_STATES.index(name), _STATES.index(name)) for name in names)


class Sure(enum.Enum):
    """How many of the packets a matcher fits that is no axis."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


_TURNED: Final = {Sure.NONE: Sure.ALL, Sure.SOME: Sure.SOME, Sure.ALL: Sure.NONE}


@dataclass(frozen=True, slots=True)
class Confined:
    """How a suspended subscriber will look on a router.

    `lists`: the address lists that it is a member of. `addresses`: its fixed addresses, or the prefixes or ranges of
    the pool that it gets one from; empty: not known. `interface`: where its packets come in: `ppp` for a session's
    dynamic interface, else an interface's name; "": not known. `joins`: the interface lists that its session's
    interface is put in at the login. `chain`: the one that its profile's `incoming-filter` sends its packets to.
    """

    lists: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    interface: str = ""
    joins: frozenset[str] = frozenset()
    chain: str = ""

    @property
    def is_told(self) -> bool:
        """Whether anything tells rules that a packet is this subscriber's."""
        return bool(self.lists or self.addresses or self.joins or self.chain)

    @property
    def text(self) -> str:
        """The subscriber for people: `list suspended`, else its addresses, its interface list or its chain."""
        if self.lists:
            return f"list {', '.join(sorted(self.lists))}"
        if self.joins:
            return f"interface list {', '.join(sorted(self.joins))}"
        return ", ".join(self.addresses) or f"incoming-filter {self.chain}"

    @property
    def matcher(self) -> str:
        """The matcher of a rule that is about this subscriber only."""
        if self.lists:
            return f"src-address-list={min(self.lists)}"
        if self.joins:
            return f"in-interface-list={min(self.joins)}"
        if not self.addresses:
            return f"incoming-filter={self.chain}"
        first, *more = self.addresses
        return f"src-address={first}" + (f" (and one each for {', '.join(more)})" if more else "")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One family's rules as a router has them, and the lists that they refer to. None: not read.

    `filter`, `raw`: all rules in their order, each with its properties as RouterOS prints them. `interface_lists`: the
    interfaces of each. `members`: entries of address lists, entry -> `dynamic` or `static`, of those that were read.
    `ways_out`: the interfaces of the default routes. `tracking`: the settings of connection tracking. `filled`: the
    address lists that rules of other tables (mangle, nat) add to as packets come. `tunnels`: the networks at the other
    ends of IPsec policies. `mangle`: its rules, where others ask for marks. `routes`: networks, and the interfaces that
    lead to each ("": one that cannot be told).
    """

    filter: Sequence[Rule]
    raw: Sequence[Rule] | None = None
    interface_lists: Mapping[str, frozenset[str]] | None = None
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ways_out: frozenset[str] | None = None
    tracking: Mapping[str, str] | None = None
    filled: frozenset[str] = frozenset()
    tunnels: frozenset[str] | None = None
    routes: Mapping[str, frozenset[str]] | None = None
    mangle: Sequence[Rule] | None = None


@dataclass(frozen=True, slots=True)
class Matched:
    """Implements `marks.Matches`: the packets that a rule matches perhaps, and among them the sure ones; None: none."""

    may: Box | None
    must: Box | None


@dataclass(frozen=True, slots=True)
class _Part:
    """The meaning of one matcher: for an axis, or for all packets alike."""

    axis: Axis | None
    may: Spans = ()
    must: Spans = ()
    sure: Sure = Sure.SOME


_SOME: Final = _Part(None)


def fills(rules: Iterable[Rule]) -> frozenset[str]:
    """Return the address lists that rules add to as packets come."""
    return frozenset(rule.get("address-list", "") for rule in rules if rule.get("action") in FILLS and is_on(rule))


def is_wide(entries: Iterable[str]) -> bool:
    """Tell whether an address list holds so much that it is no garden: by its entries' addresses, as RouterOS has them.

    A name counts for nothing: RouterOS lists the addresses that it found for it. Nor do addresses that the
    internet does not route.
    """
    held = held_by(entries)
    return any(held[version] > most for version, most in PLACE_MAX.items())


def held_by(entries: Iterable[str]) -> dict[int, int]:
    """Return how many addresses of the internet an address list holds, by IP version; those of IPv4 within IPv6 too."""
    held = {4: 0, 6: 0}
    for text in entries:
        for network in networks(text):
            if any(network.overlaps(whole) for whole in _HOLDS_IPV4 if whole.version == network.version):
                held[6] += _ALL_OF_IT
            elif not any(within(network, inside) for inside in _INSIDE):
                held[network.version] += network.num_addresses
    return held


class Matcher:
    """Matches the rules of a ruleset with the packets of one subscriber."""

    def __init__(self, ruleset: Ruleset, confined: Confined) -> None:
        """Take the rules with the lists that they refer to, and the subscriber."""
        self._ruleset, self._confined = ruleset, confined
        self._ways = tuple(sorted(ruleset.ways_out or ()))
        self._known = any(networks(text) for text in confined.addresses)
        sources = _sources(confined.addresses) if self._known else spans(((0, 0),))
        ways = spans(((0, max(len(self._ways) - 1, 0)),))
        self._all: Box = (PROTOCOLS, PORTS, STATES, sources, ways)
        self._judges: Mapping[str, Callable[[str, Rule], _Part]] = {
            "protocol": self._protocol,
            "dst-port": self._port,
            "connection-state": self._state,
            "src-address": self._source,
            "src-address-list": self._source_list,
            "out-interface": self._out_interface,
            "out-interface-list": self._out_list,
            "in-interface": self._in_interface,
            "in-interface-list": self._in_list,
            "dst-address": self._destination,
            "dst-address-list": self._destination_list,
            "dst-address-type": self._kind_of_address,
            "src-address-type": self._kind_of_address,
            "connection-nat-state": self._nat_state,
            "ipsec-policy": self._ipsec,
            "packet-mark": partial(self._mark, "packet"),
            "connection-mark": partial(self._mark, "connection"),
        }
        """By matcher; any other matches perhaps."""
        self._rules = (*ruleset.filter, *(ruleset.raw or ()), *(ruleset.mangle or ()))
        self._marks: dict[tuple[str, str], Box | None] = {}
        self._filled = fills(self._rules) | ruleset.filled
        self._adds_up: bool | None = None
        """Whether all the places that rules name are much of the internet together; None: not asked yet."""

    def packets(self, in_states: Spans) -> list[Box]:
        """Return all of the subscriber's packets to the internet that have one of these states."""
        sources, ways = self._all[Axis.SOURCE], self._all[Axis.WAY]
        others = less(PROTOCOLS, spans((*_WITH_PORTS, *_ICMP)))
        return [
            (_WITH_PORTS, less(PORTS, _DNS), in_states, sources, ways),
            (others, PORTS, in_states, sources, ways),
        ]

    def beside(self, in_states: Spans) -> Mapping[str, list[Box]]:
        """Return the packets to the internet that `packets` leaves out, by a name: a tunnel may be in them."""
        sources, ways = self._all[Axis.SOURCE], self._all[Axis.WAY]
        return {
            DNS: [(_WITH_PORTS, spans(_DNS), in_states, sources, ways)],
            PING: [(spans(_ICMP), PORTS, in_states, sources, ways)],
        }

    def match(self, rule: Rule) -> Matched:
        """Return which packets a rule matches."""
        may, must, surely = list(self._all), list(self._all), True
        for name, value in rule.items():
            if name in SILENT or not value or name.startswith("."):
                continue
            judge, text = self._judges.get(name), value.removeprefix("!")
            part = judge(text, rule) if judge else _SOME
            if text != value:
                part = self._turned(part)
            if part.axis is not None:
                may[part.axis] = both(may[part.axis], part.may)
                must[part.axis] = both(must[part.axis], part.must)
            elif part.sure is Sure.NONE:
                return Matched(None, None)
            else:
                surely = surely and part.sure is Sure.ALL
        return Matched(tuple(may) if all(may) else None, tuple(must) if surely and all(must) else None)

    def _turned(self, part: _Part) -> _Part:
        if part.axis is None:
            return _Part(None, sure=_TURNED[part.sure])
        everything = self._all[part.axis]
        return _Part(part.axis, less(everything, part.must), less(everything, part.may))

    # --- axes ---

    def _protocol(self, text: str, _: Rule) -> _Part:
        number = int(text) if _is_number(text) else _PROTOCOLS.get(text)
        if number is None or number > PROTOCOLS[-1][1]:
            return _Part(Axis.PROTOCOL, PROTOCOLS, ())
        found = spans(((number, number),))
        return _Part(Axis.PROTOCOL, found, found)

    def _port(self, text: str, rule: Rule) -> _Part:
        pairs = [part.partition("-")[::2] for part in text.split(",")]
        if rule.get("protocol") not in ("tcp", "udp", "6", "17") or not all(
            _is_number(low) and (_is_number(high) or not high) for low, high in pairs
        ):
            return _Part(Axis.PORT, PORTS, ())
        found = spans((int(low), int(high or low)) for low, high in pairs)
        return _Part(Axis.PORT, found, found)

    def _state(self, text: str, _: Rule) -> _Part:
        words = text.split(",")
        if not all(word in _STATES for word in words):
            return _Part(Axis.STATE, STATES, ())
        found = states(*words)
        return _Part(Axis.STATE, found, found)

    def _source(self, text: str, _: Rule) -> _Part:
        theirs = [network for part in text.split(",") for network in networks(part)]
        if not self._known or not theirs:
            return self._of_sources((), everything=True)
        return self._of_sources(_sources(text.split(",")))

    def _source_list(self, name: str, _: Rule) -> _Part:
        everything = self._all[Axis.SOURCE]
        if name in self._confined.lists:
            return _Part(Axis.SOURCE, everything, everything)
        entries = self._ruleset.members.get(name)
        if entries is None or name in self._filled:
            return self._of_sources((), everything=True)
        if not entries:
            return _Part(Axis.SOURCE, (), ())
        if not self._known:
            return self._of_sources((), everything=True)
        stays = [text for text, how in entries.items() if how == "static"]
        return _Part(Axis.SOURCE, both(everything, _sources(entries)), both(everything, _sources(stays)))

    def _of_sources(self, found: Spans, *, everything: bool = False) -> _Part:
        whole = self._all[Axis.SOURCE]
        return (
            _Part(Axis.SOURCE, whole, ()) if everything else _Part(Axis.SOURCE, both(whole, found), both(whole, found))
        )

    def _out_interface(self, name: str, _: Rule) -> _Part:
        # all-ethernet, all-vlan, all-ppp, …: of what kind a way out is, nobody read
        kind = name.startswith(_ALL_OF_A_KIND)
        return self._of_ways(lambda way: Sure.ALL if way == name else Sure.SOME if kind else Sure.NONE)

    def _out_list(self, name: str, _: Rule) -> _Part:
        held = (self._ruleset.interface_lists or {}).get(name)
        if name in ("all", "none"):
            return _Part(None, sure=Sure.ALL if name == "all" else Sure.NONE)
        if held is None:
            return _Part(Axis.WAY, self._all[Axis.WAY], ())
        return self._of_ways(lambda way: Sure.ALL if way in held else Sure.NONE)

    def _of_ways(self, judge: Callable[[str], Sure]) -> _Part:
        if not self._ways:
            return _Part(Axis.WAY, self._all[Axis.WAY], ())
        found = [judge(way) for way in self._ways]
        may = spans((n, n) for n, how in enumerate(found) if how is not Sure.NONE)
        return _Part(Axis.WAY, may, spans((n, n) for n, how in enumerate(found) if how is Sure.ALL))

    # --- what is true of all packets alike ---

    def _in_interface(self, name: str, _: Rule) -> _Part:
        mine = self._confined.interface
        if mine == PPP:
            if name == ALL_PPP:
                return _Part(None, sure=Sure.ALL)
            fixed = (self._ruleset.interface_lists or {}).get(ALL_PPP, frozenset())
            return _Part(None, sure=Sure.SOME if name.startswith(DYNAMIC) or name in fixed else Sure.NONE)
        if not mine or name.startswith(_ALL_OF_A_KIND):
            return _SOME
        return _Part(None, sure=Sure.ALL if name == mine else Sure.NONE)

    def _in_list(self, name: str, _: Rule) -> _Part:
        lists, mine = self._ruleset.interface_lists or {}, self._confined.interface
        if name in ("all", "none"):
            return _Part(None, sure=Sure.ALL if name == "all" else Sure.NONE)
        if mine == PPP:
            fixed = lists.get(ALL_PPP, frozenset())
            if name in ("dynamic", "static"):
                return _Part(None, sure=Sure.SOME if fixed else Sure.ALL if name == "dynamic" else Sure.NONE)
            if name in self._confined.joins:
                return _Part(None, sure=Sure.ALL)
            held = lists.get(name)
            outside = held is not None and not held & fixed and not any(map(self._may_be_mine, held))
            return _Part(None, sure=Sure.NONE) if outside else _SOME
        if not mine or name not in lists:
            return _SOME
        return _Part(None, sure=Sure.ALL if mine in lists[name] else Sure.NONE)

    def _may_be_mine(self, interface: str) -> bool:
        """Tell whether an interface may be the session's: its profile, where that is known, has one interface list.

        Another session's that is in the list now has a profile with that list, or had one.
        """
        joins = self._confined.joins
        return interface in map(session_of, joins) if joins else interface.startswith(DYNAMIC)

    def _destination(self, text: str, _: Rule) -> _Part:
        theirs = [network for part in text.split(",") for network in networks(part)]
        if any(network.prefixlen == 0 or network == _ROUTED_6 for network in theirs):
            return _Part(None, sure=Sure.ALL)
        return _SOME if not theirs or self._is_wide(text.split(",")) else _Part(None, sure=Sure.NONE)

    def _destination_list(self, name: str, rule: Rule) -> _Part:
        wide = rule.get(WIDE) == "true" or name in self._filled or self._is_wide(self._ruleset.members.get(name, ()))
        return _SOME if wide else _Part(None, sure=Sure.NONE)

    def _is_wide(self, entries: Iterable[str]) -> bool:
        """Tell whether a destination is no place: by itself, or since all that rules name are much together."""
        if is_wide(entries):
            return True
        if self._adds_up is None:
            self._adds_up = self._is_much()
        return self._adds_up

    def _is_much(self) -> bool:
        """Tell whether all the places together are much of the internet that rules let the subscriber reach, perhaps.

        Of a list without entries read, as many addresses count as it holds.
        """
        places, sizes = set[str](), dict[str, str]()
        for rule in self._rules:
            places |= {part for text in self._reached(rule, "dst-address") for part in text.split(",")}
            for name in self._reached(rule, "dst-address-list"):
                entries = self._ruleset.members.get(name)
                places |= set(entries or ())
                sizes |= {name: rule.get(HELD, "")} if entries is None else {}
        held = held_by(places)
        for size in filter(None, sizes.values()):
            for version, many in zip((4, 6), size.split(" "), strict=False):
                held[version] += int(many) if many.isdecimal() else _ALL_OF_IT
        return any(held[version] > most for version, most in PLACE_MAX.items())

    def _reached(self, rule: Rule, name: str) -> list[str]:
        """Return the destination that a rule lets the subscriber reach, perhaps, by the property of that name."""
        text = rule.get(name, "")
        action = rule.get("action", "")
        drops = action in _DROPS or action.startswith("mark-")  # what has a mark is dropped, perhaps
        lets = drops == text.startswith("!")
        if not text or not lets or not is_on(rule) or self._is_of_others(rule):
            return []
        return [text.removeprefix("!")]

    def _is_of_others(self, rule: Rule) -> bool:
        """Tell whether a rule's source is surely not the subscriber."""
        judged = (("src-address", self._source), ("src-address-list", self._source_list))
        parts = [
            self._turned(part) if rule[name].startswith("!") else part
            for name, judge in judged
            if rule.get(name)
            for part in (judge(rule[name].removeprefix("!"), rule),)
        ]
        return any(part.axis is not None and not part.may for part in parts)

    def _kind_of_address(self, text: str, _: Rule) -> _Part:
        # a host on the internet, or a subscriber, is neither the router itself nor a broadcast
        return _Part(None, sure=Sure.ALL if "unicast" in text.split(",") else Sure.NONE)

    def _nat_state(self, text: str, rule: Rule) -> _Part:
        """Judge the kind of NAT; a port forward takes packets from outside, where no subscriber is."""
        if text == "dstnat" and self._ways and self._from_outside(rule):
            return _Part(None, sure=Sure.NONE)
        return _SOME

    def _from_outside(self, rule: Rule) -> bool:
        name = rule.get("in-interface-list", "")
        held = (self._ruleset.interface_lists or {}).get(name, frozenset()) | {rule.get("in-interface", "")} - {""}
        return bool(held) and "!" not in name and held <= set(self._ways)

    def _mark(self, kind: str, name: str, _: Rule) -> _Part:
        """Judge by the mangle rules; a mark that they do not surely set may be another's work (a profile, RADIUS)."""
        if (kind, name) not in self._marks:
            self._marks[kind, name] = None  # where mangle rules ask for the mark that they set
            rules = self._ruleset.mangle or ()
            self._marks[kind, name] = marked(rules, kind, name, self.match) if self._marks_stay(kind) else None
        box = self._marks[kind, name]
        if box is None:
            return _SOME
        narrow = [axis for axis in Axis if box[axis] != self._all[axis]]
        if not narrow:
            return _Part(None, sure=Sure.ALL)
        return _Part(narrow[0], self._all[narrow[0]], box[narrow[0]]) if len(narrow) == 1 else _SOME

    def _marks_stay(self, kind: str) -> bool:
        """Tell whether all packets may carry a mark: one without tracking is of no connection."""
        untracked = any(rule.get("action") == "notrack" and is_on(rule) for rule in self._ruleset.raw or ())
        return kind == "packet" or not (
            untracked or (self._ruleset.tracking or {}).get("enabled") in (None, "no", "false")
        )

    def _ipsec(self, text: str, _: Rule) -> _Part:
        """Judge by the networks at the other ends of the router's tunnels: packets into one go to them.

        So no packet to the internet does, unless they are much of it; and no packet of the subscriber comes out of one
        that is not its session, or lacks its addresses.
        """
        way, kind = text.partition(",")[::2]
        part = _Part(None, sure=self._by_tunnel(way)) if kind in ("ipsec", "none") else _SOME
        return self._turned(part) if kind == "none" else part

    def _by_tunnel(self, way: str) -> Sure:
        tunnels = self._ruleset.tunnels
        if way not in ("in", "out") or tunnels is None:
            return Sure.SOME
        if way == "out":
            return Sure.SOME if is_wide(tunnels) else Sure.NONE
        if not tunnels or self._confined.interface == PPP:
            return Sure.NONE
        mine = self._all[Axis.SOURCE] if self._known else ()
        return Sure.NONE if mine and not both(mine, _sources(tunnels)) else Sure.SOME


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _PORT_DIGITS


def _sources(texts: Iterable[str]) -> Spans:
    """Return addresses as a set; IPv4 and IPv6 do not touch."""
    return spans(
        ((network.version << 128) + int(network[0]), (network.version << 128) + int(network[-1]))
        for text in texts
        for network in networks(text)
    )
