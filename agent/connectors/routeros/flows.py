"""Which open connections a suspension must not leave. Pure.

A FastTracked connection passes by the firewall, and it outlives the session that it was opened in: where the subscriber
gets the same address again, as a pool gives it whenever possible, it carries on. All others meet each rule with every
packet, so where the rules hold they need no more proof; and they may be back at once with the same two ends, since
somebody outside goes on sending. So only those count that are FastTracked, or do not say that they are not.

Where a rule above the one that drops accepts connections that were open before (`KeptIn.open_flows`), each of them
counts of which an answer was seen: only those are established. DNS and ICMP of before do not: they pass in every
suspension, and the preview names them as ways out.

The way to a pay page is open, and FastTrack may take it: the answers from there match no rule about the subscriber's
own packets. So connections that the rules let pass anyway do not count: with an end in the garden, or DNS and ICMP
where they are accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from agent.connectors.routeros.addresses import Network, networks, rows_of, within
from agent.connectors.routeros.firewall import KeptIn
from agent.connectors.routeros.matching import Rule, Ruleset
from agent.model import Value
from trust.plural import counted

Row = Mapping[str, str]
_NOT_FORWARD: Final = frozenset({"input", "output"})
_OUT: Final = frozenset({"drop", "reject", "tarpit"})
_DESTINATION: Final = ("dst-address", "dst-address-list")


def passes(row: Row) -> bool:
    """Tell whether a connection passes by the firewall."""
    return row.get("fasttrack") != "false"


@dataclass(frozen=True, slots=True)
class _Way:
    """The destinations that a rule lets a suspended subscriber reach. `places` None: every place. Empty texts match
    everything.
    """

    places: tuple[Network, ...] | None
    protocol: str
    ports: frozenset[str]

    def takes(self, protocol: str, ends: Collection[Network], port: str) -> bool:
        if self.protocol not in ("", protocol) or (self.ports and port not in self.ports):
            return False
        return self.places is None or any(within(end, place) for end in ends for place in self.places)


@dataclass(frozen=True, slots=True)
class Garden:
    """Where the rules let a suspended subscriber go. `members`: the entries of the lists that it is in."""

    ways: tuple[_Way, ...] = ()
    members: tuple[Network, ...] = ()

    def holds(self, key: str, row: Row, mine: Collection[Network] = ()) -> bool:
        """Tell whether a connection, known by its protocol and ends, goes there.

        A rule about packets *to* the subscriber names its address as a destination too, and says nothing of the
        other end: so its own end, one of `mine` or of the members, does not count. Where neither is known, only the
        end that the connection was opened to does.
        """
        protocol, *texts = key.split(" ")
        ends = [(text.rpartition(":")[0], text.rpartition(":")[2]) for text in texts]
        port, own = ends[-1][1] if ends else "", (*mine, *self.members)
        places = [text for text, _ in (ends if own else ends[-1:])] + [row.get("reply-src-address", "")]
        known = [network for text in places for network in networks(_without_port(text))]
        others = [network for network in known if not any(within(network, one) for one in own)]
        return any(way.takes(protocol, others, port) for way in self.ways)


def garden_of(ruleset: Ruleset, lists: Collection[str]) -> Garden:
    """Return where the rules of one family let members of the suspended subscribers' lists go."""
    ways = []
    for rule in ruleset.filter:
        if rule.get("chain") in _NOT_FORWARD or "true" in (rule.get("disabled"), rule.get("invalid")):
            continue
        if rule.get("src-address-list", "") not in ("", *lists):
            continue
        action, turned = rule.get("action", "accept"), any(rule.get(name, "").startswith("!") for name in _DESTINATION)
        if (action == "accept" and not turned and _is_narrow(rule)) or (action in _OUT and turned):
            ways.append(_way(rule, ruleset.members))
    members = {text for name in lists for text in ruleset.members.get(name, ())}
    return Garden(tuple(ways), tuple(network for text in sorted(members) for network in networks(text)))


def _is_narrow(rule: Rule) -> bool:
    """Tell whether a rule is about some place only, or about DNS or ICMP: one that lets more out is refused before."""
    narrow = any(rule.get(name) for name in _DESTINATION)
    return narrow or rule.get("protocol") in ("icmp", "icmpv6") or rule.get("dst-port") == "53"


def _way(rule: Rule, members: Mapping[str, Mapping[str, str]]) -> _Way:
    places: tuple[Network, ...] | None = None
    if any(rule.get(name) for name in _DESTINATION):
        listed = members.get(rule.get("dst-address-list", "").removeprefix("!"), {})
        texts = [rule.get("dst-address", "").removeprefix("!"), *listed]
        places = tuple(network for text in texts for network in networks(text))
    if rule.get("action", "accept") in _OUT:  # what it drops elsewhere it leaves there, by whatever protocol
        return _Way(places, "", frozenset())
    return _Way(places, rule.get("protocol", ""), frozenset(filter(None, rule.get("dst-port", "").split(","))))


def passing(connections: Value, garden: Garden, open_flows: str = "", mine: Collection[str] = ()) -> frozenset[str]:
    """Return the keys of connections that the rules do not hold, and that do not go to the garden.

    Args:
        connections: as read under an owner.
        garden: where the rules let a suspended subscriber go.
        open_flows: the rule that lets connections pass that were open before, of `KeptIn`; "": none does.
        mine: the subscriber's addresses, as far as they are known.
    """
    own = [network for text in mine for network in networks(text)]
    return frozenset(
        key
        for key, row in rows_of(connections).items()
        if (passes(row) or (open_flows and established(key, row))) and not garden.holds(key, row, own)
    )


def cut_text(kept: KeptIn) -> str:
    """Return the note for a preview: which open connections are cut, why, and at which cost; "" where none can pass."""
    twice = "the router then walks its connection table a second time to read back that none is left"
    if kept.open_flows:
        not_checked = "not checked: connections from outside, opened later"
        return f"open connections are cut: {kept.open_flows} lets them pass; {twice} · {not_checked}"
    return f"open connections that FastTrack took are cut; if there are any, {twice}" if kept.fasttracks else ""


def established(key: str, row: Row) -> bool:
    """Tell whether a connection counts as established, and its packets are no DNS and no ICMP."""
    named = key.startswith("icmp") or key.rpartition(":")[2] == "53"
    return row.get("seen-reply") != "false" and not named


def left_text(many: int, whose: str) -> str:
    """Return the sentence about connections that a suspension left."""
    return f"{counted(many, f'connection of {whose} carries', f'connections of {whose} carry')} on as before"


def _without_port(text: str) -> str:
    return text.partition(":")[0] if text.count(":") == 1 else text
