"""Whether a port carries the agent's own way to a device, as the device's own tables tell. Pure.

* The way is where the device has learned the MAC address of the agent, or of the gateway by which it answers.
* A link aggregation, its members, and interfaces that are no port with a cable (VLAN, loopback, bridge) are refused:
  one of them may be the management interface, or all of the uplink.
* Nothing known is not "safe": each gap is told, and the caller decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.connectors.snmp import values
from agent.connectors.snmp.port_rows import WritablePort

LAG: Final = "161"
"""IANAifType ieee8023adLag."""
NO_CABLE: Final = frozenset({"24", "53", "131", "134", "135", "136", "137", "142", "150", "166", "209"})
"""IANAifTypes: loopback, propVirtual, tunnel, atmSubInterface, l2vlan, l3ipvlan, l3ipxvlan, ipForward, mplsTunnel,
mpls, bridge."""


@dataclass(frozen=True, slots=True)
class WayFacts:
    """Facts about the way to a device, from its own tables.

    Args:
        asked: the address by which it is asked.
        addresses: its own IP addresses, each with the ifIndex of its interface.
        learned: MAC addresses of the agent's own way, each with the ifIndexes where the device has learned it.
        sought: the MAC addresses that were sought in its bridge table, each with its meaning for people.
        members: ifIndex of a member of a link aggregation -> ifIndex of that.
        members_read: whether the device has a table of these.
    """

    asked: str
    addresses: Mapping[str, int] = field(default_factory=dict)
    learned: Mapping[str, frozenset[int]] = field(default_factory=dict)
    sought: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[int, int] = field(default_factory=dict)
    members_read: bool = False


@dataclass(frozen=True, slots=True)
class WayJudgment:
    """`carries`: why a port may not be cut; "": nothing is known against it. `not_checked`: gaps, a text each."""

    carries: str
    not_checked: tuple[str, ...] = ()


def judge_way(port: WritablePort, ports: Collection[WritablePort], facts: WayFacts) -> WayJudgment:
    """Return whether the agent's own way to a device leads over one of its ports."""
    index, names = _index(port), {_index(one): one.part.name for one in ports}
    types = {_index(one): one.part.facts.get("type", "") for one in ports}
    if types.get(index) == LAG or index in facts.members.values():
        return WayJudgment("it is a link aggregation, not one port")
    if (lag := facts.members.get(index)) is not None:
        return WayJudgment(f"it is a member of the link aggregation {names.get(lag, str(lag))}")
    if types.get(index) in NO_CABLE:
        return WayJudgment(f"it is no port with a cable (ifType {types[index]}): the device may be managed by it")
    if index and facts.addresses.get(facts.asked) == index:
        return WayJudgment(f"the device has the address {facts.asked} there, by which it is asked")
    for mac, where in facts.learned.items():
        if index in where:
            return WayJudgment(f"the agent's own way leads over it: {mac}, {facts.sought[mac]}, is learned there")
    return WayJudgment("", tuple(_not_checked(index, types, facts)))


def _not_checked(index: int, types: Mapping[int, str], facts: WayFacts) -> list[str]:
    found = []
    if not types.get(index):
        found.append("whether it is a port with a cable: the device tells no ifType of it")
    if LAG in types.values() and not facts.members_read:
        found.append("whether it is a member of a link aggregation: the device does not tell which ports are")
    # Where the device has its address on a port with a cable, that port was refused above, and no other carries the way
    own = facts.addresses.get(facts.asked)
    routed = own is not None and types.get(own, LAG) not in {"", LAG, *NO_CABLE}
    learned = frozenset().union(*facts.learned.values())
    if any(_is_above_ports(one, types, facts) for one in learned):
        found.append("the agent's own way: it is learned at an interface whose ports the device does not tell")
    if not facts.learned and not routed:
        if not facts.addresses:
            found.append("the agent's own way: the device does not tell its addresses")
        elif not facts.sought:
            found.append("the agent's own way: the device does not tell which MAC address leads to the agent")
        else:
            found.append(f"the agent's own way: the device has learned {', '.join(facts.sought)} on no port")
    return found


def _is_above_ports(index: int, types: Mapping[int, str], facts: WayFacts) -> bool:
    """Return whether an interface is no port itself, such as an aggregation, and its ports are not known."""
    return types.get(index, LAG) in {LAG, *NO_CABLE} and index not in facts.members.values()


def _index(port: WritablePort) -> int:
    return next(iter(values.index(port.tail)), 0)
