"""How the known devices hang together: neighbors that they hear, and which way leads to the configured roots. Pure.

A neighbor proves nothing, and may be nobody's: it is a known device by its address, by its MAC address, or by its name
where only one device has that name. Edges have no direction; cycles are usual.

* A link counts when both devices tell of each other, each at the port that the other one names. A link that only one of
  them tells is a claim: a subscriber's CPE can announce any name, but it cannot make the real device hear it at that
  port.
* A configured upstream counts without a neighbor, and no other way leads to its device.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from agent.lines.known import KnownDevice, KnownNeighbor
from agent.spelling import mac_digits


@dataclass(frozen=True, slots=True)
class DeviceLink:
    """A link between two known devices. The ports are keys of parts, or "" where they are not known."""

    a: str
    a_port: str
    b: str
    b_port: str

    def other(self, target: str) -> tuple[str, str]:
        """Return the device at the other end, and the port there."""
        return (self.b, self.b_port) if target == self.a else (self.a, self.a_port)

    def port_of(self, target: str) -> str:
        """Return the port at one end."""
        return self.a_port if target == self.a else self.b_port


@dataclass(frozen=True, slots=True)
class Topology:
    """The known devices and the links between them.

    Args:
        devices: by target.
        links: by target: configured, or told by both ends.
        roots: targets, as configured. An island without one has its best connected device that answers for one.
        claims: by target: links that only one end tells of; they lead nowhere.
        configured: the configured link to a device's upstream, by target.
        problems: configured upstreams that name no known device, a sentence each.
    """

    devices: Mapping[str, KnownDevice]
    links: Mapping[str, Sequence[DeviceLink]]
    roots: Sequence[str]
    claims: Mapping[str, Sequence[DeviceLink]] = field(default_factory=dict)
    configured: Mapping[str, DeviceLink] = field(default_factory=dict)
    problems: Sequence[str] = ()
    _depth: Mapping[str, int] = field(default_factory=dict)
    _behind: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def depth(self, target: str) -> int:
        """Return how many links a device is from the nearest root; of one without a way, more than any."""
        return self._depth.get(target, len(self.devices))

    def behind(self, target: str, port: str) -> str:
        """Return the known device that is at the other end of a port; "": none is."""
        return self._behind.get((target, port), "")

    def claimed_behind(self, target: str, port: str) -> str:
        """Return the known device that a device claims to hear at a port, though that one does not tell of it."""
        claims = self.claims.get(target, ())
        return next((link.b for link in claims if (link.a, link.a_port) == (target, port)), "")

    def beside(self, target: str) -> Collection[str]:
        """Return the devices through which a device may be reached: its configured upstream, or all with a link."""
        if target in self.configured:
            return (self.configured[target].other(target)[0],)
        return [link.other(target)[0] for link in self.links.get(target, ())]

    def named(self, name: str) -> Sequence[str]:
        """Return the targets that a name means: as configured, or as the devices call themselves."""
        return self._names.get(name.casefold(), ())

    def reached(self) -> Collection[str]:
        """Return the devices that answer and have a way to a root through others that do.

        Where no root answers, all that answer count.
        """
        answers = {target for target, device in self.devices.items() if not device.silent}
        roots = [target for target in answers if self._depth.get(target) == 0]
        depth: dict[str, int] = {}
        _spread(depth, roots, self.links, self.configured, answers)
        return depth.keys() if depth else answers

    def upstream(self, target: str) -> DeviceLink | None:
        """Return the link towards the nearest root; None: it is one, or no way is known."""
        if target in self.configured:
            return self.configured[target]
        depth = self.depth(target)
        nearer = (link for link in self.links.get(target, ()) if self.depth(link.other(target)[0]) < depth)
        return min(nearer, key=lambda link: (self.depth(link.other(target)[0]), link.other(target)[0]), default=None)


@dataclass(frozen=True, slots=True)
class ConfiguredUpstream:
    """A device, the one that is next towards the root, and the port of that one by any of its names, or ""."""

    device: str
    upstream: str
    port: str = ""


PortNames = Mapping[tuple[str, str], Collection[str]]
"""By target and key of a part: the names by which a neighbor may call it."""


def topology_of(
    devices: Mapping[str, KnownDevice],
    neighbors: Iterable[KnownNeighbor],
    roots: Collection[str],
    addresses: Mapping[str, str],
    macs: Mapping[str, str],
    ports: PortNames,
    upstreams: Iterable[ConfiguredUpstream] = (),
    port_key: Callable[[str, str], str] = lambda _target, _name: "",
    hidden: Mapping[str, str] = MappingProxyType({}),
) -> Topology:
    """Return which device is behind which, by links, roots and the configuration.

    Args:
        devices: by target.
        neighbors: that they hear or heard.
        roots: names of devices that are nearest to the agent, as configured.
        addresses: target by IP address.
        macs: target by MAC address of one of its parts, twelve hex digits; those of several devices are left out.
        ports: names of the ports at which neighbors are heard.
        upstreams: as configured.
        port_key: returns the key of a device's part by its name; "": it has none of that name.
        hidden: other targets of a device, each with the one that is shown: their names and addresses mean that one.
    """
    names = _names(devices, hidden)
    addresses = {address: hidden.get(target, target) for address, target in addresses.items()}
    confirmed, claimed = _told(devices, neighbors, addresses, macs, names, ports)
    configured, problems = _configured(upstreams, names, port_key, confirmed)
    links = _by_end(dict.fromkeys((*configured.values(), *confirmed)))
    behind: dict[tuple[str, str], str] = {}
    for link in (link for some in links.values() for link in some):
        for end in (link.a, link.b):
            if link.port_of(end):
                behind[end, link.port_of(end)] = link.other(end)[0]
    chosen = sorted({target for name in roots for target in names.get(name.casefold(), ())})
    depth = _depths(devices, links, configured, chosen)
    return Topology(devices, links, chosen, _by_end(claimed), configured, problems, depth, behind, names)


def _configured(
    upstreams: Iterable[ConfiguredUpstream],
    names: Mapping[str, Sequence[str]],
    port_key: Callable[[str, str], str],
    confirmed: Collection[DeviceLink],
) -> tuple[dict[str, DeviceLink], list[str]]:
    """Return the configured link of each device to its upstream, and the faults of others.

    Where both ends tell of a link at the configured port, it is that one.
    """
    configured: dict[str, DeviceLink] = {}
    problems = []
    for one in upstreams:
        ends = [names.get(name.casefold(), ()) for name in (one.device, one.upstream)]
        unknown = [name for name, end in zip((one.device, one.upstream), ends, strict=True) if len(end) != 1]
        if unknown:
            problems.append(f"[lines] upstreams: no device called {unknown[0]} was read, or several are called so")
            continue
        (device,), (upstream,) = ends
        if device != upstream:
            port = port_key(upstream, one.port) if one.port else ""
            told = (
                link
                for link in confirmed
                if {link.a, link.b} == {device, upstream} and port in ("", link.port_of(upstream))
            )
            configured[device] = next(told, DeviceLink(upstream, port, device, ""))
    return configured, problems


def _by_end(links: Iterable[DeviceLink]) -> dict[str, list[DeviceLink]]:
    found: dict[str, list[DeviceLink]] = {}
    for link in links:
        found.setdefault(link.a, []).append(link)
        found.setdefault(link.b, []).append(link)
    return found


def _told(
    devices: Mapping[str, KnownDevice],
    neighbors: Iterable[KnownNeighbor],
    addresses: Mapping[str, str],
    macs: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    ports: PortNames,
) -> tuple[list[DeviceLink], list[DeviceLink]]:
    """Return the links that both ends tell of, and those that only one does.

    A CPE chooses its announcement, and with it the word of the device at its port. It does not choose the real device's
    word on that port: so each end must be named by the other one.
    """
    told: dict[tuple[str, str], list[KnownNeighbor]] = {}
    for one in neighbors:
        other = _known(one, addresses, macs, names, devices) if one.target in devices else ""
        if other and other != one.target:
            told.setdefault((one.target, other), []).append(one)
    confirmed: dict[DeviceLink, None] = {}
    claimed: dict[DeviceLink, None] = {}
    for (target, other), heard in told.items():
        for one in heard:
            ends = [
                back.port
                for back in told.get((other, target), ())
                if back.port
                and one.port
                and _is_called(one.remote_port, back, ports)
                and _is_called(back.remote_port, one, ports)
            ]
            for port in ends:
                link = DeviceLink(target, one.port, other, port)
                if DeviceLink(other, port, target, one.port) not in confirmed:
                    confirmed[link] = None
            if not ends:
                claimed[DeviceLink(target, one.port, other, "")] = None
    return list(confirmed), list(claimed)


def _is_called(name: str, heard: KnownNeighbor, ports: PortNames) -> bool:
    """Return whether a name that a neighbor announced of its end may mean the port at which something is heard."""
    own = {heard.interface, heard.port.partition("/")[2], *ports.get((heard.target, heard.port), ())}
    spelled = {text for one in own for text in _spellings(one)}
    return any(text in spelled for text in _spellings(name))


_LONG_NAME: Final = re.compile(r"([a-z]+)[ -]?([0-9].*)")


def _spellings(name: str) -> Collection[str]:
    """Return how a port's name may be spelled: `GigabitEthernet0/1` is `Gi0/1`, and `bridge/ether1` is `ether1`."""
    text = name.strip().casefold()
    if not text:
        return ()
    found = {text}
    if mac := mac_digits(text):
        found.add(mac)
    last = text.rpartition("/")[2]
    if last[:1].isalpha():
        found.add(last)
    if (long := _LONG_NAME.fullmatch(text)) is not None:
        found.add(f"{long[1][:2]}{long[2]}")
    return found


def _names(devices: Mapping[str, KnownDevice], hidden: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the targets by every name that means them: as configured, then as other systems and they themselves say.

    A name of the configuration means that device alone, whatever others call themselves.
    """
    names: dict[str, list[str]] = {}
    for target, shown in {**{target: target for target in devices}, **hidden}.items():
        if shown in devices:
            for name in dict.fromkeys((target.casefold(), target.partition("/")[2].casefold())):
                names.setdefault(name, []).append(shown)
    taken = set(names)
    for target, device in devices.items():
        for name in sorted({device.name.rpartition("/")[2].casefold(), device.identity.casefold()} - taken - {""}):
            names.setdefault(name, []).append(target)
    return names


def _known(
    one: KnownNeighbor,
    addresses: Mapping[str, str],
    macs: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    devices: Mapping[str, KnownDevice],
) -> str:
    if one.address and (found := addresses.get(one.address)) in devices:
        return found or ""
    if one.mac and (found := macs.get(one.mac)) in devices:
        return found or ""
    for name in (one.identity, one.identity.partition(".")[0]):
        named = names.get(name.casefold(), ()) if name else ()
        if len(named) == 1:
            return named[0]
    return ""


def _depths(
    devices: Mapping[str, KnownDevice],
    links: Mapping[str, Sequence[DeviceLink]],
    configured: Mapping[str, DeviceLink],
    roots: Sequence[str],
) -> dict[str, int]:
    """Return how far each device is from a root. An island without a root has its best connected device for one."""
    depth: dict[str, int] = {}
    _spread(depth, roots, links, configured)
    by_degree = sorted(devices, key=lambda target: (devices[target].silent, -len(links.get(target, ())), target))
    for target in by_degree:
        if target not in depth and links.get(target):
            _spread(depth, [target], links, configured)
    return depth


def _spread(
    depth: dict[str, int],
    roots: Sequence[str],
    links: Mapping[str, Sequence[DeviceLink]],
    configured: Mapping[str, DeviceLink],
    only: Collection[str] | None = None,
) -> None:
    """Give each device its distance from the roots. To one with a configured upstream no other way leads."""
    depth.update(dict.fromkeys(roots, 0))
    waiting = deque(roots)
    while waiting:
        target = waiting.popleft()
        for link in links.get(target, ()):
            other = link.other(target)[0]
            known = configured.get(other)
            if known is not None and known.other(other)[0] != target:
                continue
            if other not in depth and (only is None or other in only):
                depth[other] = depth[target] + 1
                waiting.append(other)
