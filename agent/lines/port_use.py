"""The use of a port of a device: uplink, way to other devices, or subscribers. Nothing is asked of a device.

* A port is an uplink where a known device is at its other end that is as near to a root as its own device, or nearer:
  of a ring both ends are.
* Nobody known at the other end is not "no uplink": unless the uplink is known to be another port, that is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent.age import age_text
from agent.lines import states
from agent.lines.limits import WAY_MACS
from agent.lines.outage import Place
from agent.lines.states import Query
from agent.lines.topology import Topology


@dataclass(frozen=True, slots=True)
class PortGround:
    """The ground on which the use of a port is judged. `served`: see `OutageView`; `now_s`: unix seconds."""

    query: Query
    topology: Topology
    served: Mapping[Place, Collection[str]]
    now_s: float


@dataclass(frozen=True, slots=True)
class PortUse:
    """The use of a port.

    Args:
        uplink: why it is an uplink; "": it is none that is known.
        devices: names of the known devices behind it.
        services: refs of the services that hang on it and on these.
        heard: neighbors at it that are no known devices, as they call themselves: that proves nothing.
        macs: MAC addresses that are learned at it.
        not_checked: gaps in the knowledge of it, a text each.
    """

    uplink: str = ""
    devices: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    macs: int = 0
    not_checked: tuple[str, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether it leads to more than one house."""
        return bool(self.devices) or self.macs > WAY_MACS


def uplink_of(topology: Topology, target: str, part: str) -> str:
    """Return why a port is an uplink; "": it is none that is known."""
    beyond = _beyond(topology, target, part)
    if not beyond or beyond == target or topology.depth(beyond) > topology.depth(target):
        return ""
    return f"{topology.devices[beyond].name} is at its other end, and is as near to the root, or nearer"


def _beyond(topology: Topology, target: str, part: str) -> str:
    """Return the known device at the other end of a port. Here a claim of one end counts: it makes a port no freer."""
    return topology.behind(target, part) or topology.claimed_behind(target, part)


def use_of(ground: PortGround, target: str, part: str) -> PortUse:
    """Return the use of a port, by the key of its part."""
    behind = _behind(ground.topology, target, part)
    places = {(target, key) for key in _below(ground, target, part)}
    services = {ref for place, refs in ground.served.items() if place in places or place[0] in behind for ref in refs}
    heard = [
        one.identity or one.mac
        for one in states.neighbors(ground.query, target)
        if one.port == part and not one.seen_s and not _beyond(ground.topology, target, part)
    ]
    return PortUse(
        uplink_of(ground.topology, target, part),
        tuple(sorted(ground.topology.devices[one].name for one in behind)),
        tuple(sorted(services)),
        tuple(dict.fromkeys(heard)),
        states.macs_behind(ground.query, target, part),
        tuple(_not_checked(ground, target)),
    )


def _behind(topology: Topology, target: str, part: str) -> Collection[str]:
    """Return the known devices that are reached over a port, without a way back; a cycle ends."""
    first = _beyond(topology, target, part)
    if not first or topology.depth(first) <= topology.depth(target):
        return ()
    found, waiting = {first}, [first]
    while waiting:
        here = waiting.pop()
        for link in topology.links.get(here, ()):
            other = link.other(here)[0]
            if other not in found and other != target and topology.depth(other) > topology.depth(here):
                found.add(other)
                waiting.append(other)
    return found


def _below(ground: PortGround, target: str, part: str) -> Collection[str]:
    """Return the keys of a part and of the parts that hang on it."""
    parents = {one.key: one.parent for one in states.parts(ground.query, target)}
    found, grew = {part}, True
    while grew:
        more = {key for key, parent in parents.items() if parent in found and key not in found}
        found, grew = found | more, bool(more)
    return found


def _not_checked(ground: PortGround, target: str) -> list[str]:
    """Return the gaps in the knowledge of a device's uplink."""
    topology, device = ground.topology, ground.topology.devices.get(target)
    if device is None or not device.read_s:
        return ["the uplink, and who hangs on it: the device was never read"]
    found = []
    if device.unread_s or device.old(ground.now_s):
        age = age_text(int(ground.now_s - device.read_s))
        found.append(f"the uplink, and who hangs on it: as of {age} ago, its last reading")
    if target in topology.roots:
        return found  # its uplink is the agent's own way, which the device itself is asked for
    link = topology.upstream(target)
    if not topology.roots or link is None:
        found.append("the uplink: no way from this device to one of [lines] roots is known")
    elif not link.port_of(target):
        found.append(
            f"the uplink: {topology.devices[link.other(target)[0]].name} hears it, at which of its ports is not known"
        )
    return found
