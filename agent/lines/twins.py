"""Which targets are one device, and which of them is shown. Pure.

The agent may poll a device that another system polls too, and two systems may know one device. Two targets are the same
device only where that is certain, since a hidden one causes no outage:

* their management answers at the same address and port; or
* serial number and kind (sysObjectID) are the same; or
* they have the same name (sysName) and kind, and a MAC address of a port in common.

A target that could be several of the agent's own is none of them. Two targets of one origin are never the same device:
neither two that the agent polls, nor two of the same system.

The agent's own target is shown while it is fresh. Otherwise the one that was shown stays while it is fresh (at first
the one with the first name); after that the one with the newest reading takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address

from agent.lines.known import KnownDevice

Macs = Callable[[str], Collection[str]]
"""Returns the MAC addresses of the ports of a target."""


def hidden(devices: Mapping[str, KnownDevice], macs: Macs, now_s: float) -> dict[str, str]:
    """Return the targets to hide, each with the target that answers for it.

    Args:
        devices: all of them by target.
        macs: of their ports.
        now_s: unix seconds.
    """
    found: dict[str, str] = {}
    for group in _groups(devices, macs):
        shown = _shown([devices[target] for target in group], now_s)
        found |= {target: shown for target in group if target != shown}
    return found


def _groups(devices: Mapping[str, KnownDevice], macs: Macs) -> Iterator[list[str]]:
    """Yield the targets of each device that has several: the agent's own first, if there is one."""
    index = _Index(devices, macs)
    groups: dict[str, list[str]] = {}
    for target in sorted(target for target, device in devices.items() if device.source):
        same = index.same(target)
        own = [other for other in same if not devices[other].source]
        if len(own) > 1:
            continue
        heads = own or [head for head in groups if head in same]
        group = groups.setdefault(heads[0] if len(heads) == 1 else target, heads or [target])
        origins = {devices[other].source for other in group}
        if target not in group and devices[target].source not in origins:
            group.append(target)
    yield from (group for group in groups.values() if len(group) > 1)


class _Index:
    """Finds the devices that are the same as one, without comparing each with each."""

    def __init__(self, devices: Mapping[str, KnownDevice], macs: Macs) -> None:
        self._devices, self._macs = devices, macs
        self._by: dict[tuple[str, ...], list[str]] = {}
        for target, device in devices.items():
            for key in _keys(device):
                self._by.setdefault(key, []).append(target)

    def same(self, target: str) -> set[str]:
        device = self._devices[target]
        near = {(other, key[0]) for key in _keys(device) for other in self._by[key] if other != target}
        certain = {other for other, kind in near if kind != "name"}
        return certain | {
            other
            for other, _ in near
            if other not in certain and not set(self._macs(target)).isdisjoint(self._macs(other))
        }


def _keys(device: KnownDevice) -> Iterator[tuple[str, ...]]:
    for place in device.places:
        yield "place", _same_place(place)
    if device.serial and device.object_id:
        yield "serial", device.serial.casefold(), device.object_id
    if device.identity and device.object_id:
        yield "name", device.identity.casefold(), device.object_id


def _same_place(place: str) -> str:
    host, _, port = place.rpartition(":")
    try:
        return f"{ip_address(host.strip('[]'))} {port}"
    except ValueError:
        return f"{host.casefold()} {port}"


def _shown(group: Collection[KnownDevice], now_s: float) -> str:
    own = [one for one in group if not one.source]
    fresh = [one for one in group if one.fresh(now_s)]
    before = [one for one in group if not one.hidden_by and any(other.hidden_by == one.target for other in group)]
    for wanted in (own, before or sorted(group, key=lambda one: one.target)):
        if wanted and wanted[0] in fresh:
            return wanted[0].target
    if fresh:
        return max(fresh, key=lambda one: (one.read_s, one.target)).target
    return max(group, key=lambda one: (not one.source, one.read_s, one.target)).target
