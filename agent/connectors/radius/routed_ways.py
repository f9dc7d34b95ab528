"""Access by RADIUS with the ways out of its routers, beside the rules that `routed_access` judges. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.connectors.radius.routed_access import RoutedAccess, read_by_routers
from agent.connectors.ways import WaysAccess

if TYPE_CHECKING:
    from agent.connectors.base import (
        AccessMethod,
        AccessPlan,
        CannotEnforce,
        DeviceMethod,
        SessionHost,
        WayOut,
        Ways,
    )
    from agent.connectors.radius.schema import Method, RadiusConfig
    from agent.model import Address, Seen, Service


class HostsWays:
    """Implements `agent.connectors.base.Ways` for the routers that serve a method.

    A service that is suspended needs nothing of them to be restored, so of it nothing is read: a router that is away
    holds up no restore.
    """

    def __init__(self, ways: Mapping[str, Ways]) -> None:
        """Take the ways out of each router, by target."""
        self._ways = ways

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the needs of each router's ways out, for a service that is not suspended."""
        return [] if service.reasons else [a for one in self._ways.values() for a in one.reads(service, seen)]

    def out(self, service: Service | None, seen: Mapping[Address, Seen]) -> list[WayOut]:
        """Return the ways out of each router with its name; of a service that is suspended none were read."""
        if service is None or service.reasons:
            return []
        return [_of(target, way) for target, one in self._ways.items() for way in one.out(service, seen)]

    def undoing(self, seen: Mapping[Address, Seen]) -> list[WayOut]:  # noqa: ARG002  as the role says
        """Return nothing: RADIUS is written, and no router."""
        return []

    def defeat_reads(self, seen: Mapping[Address, Seen]) -> Collection[Address]:  # noqa: ARG002  as above
        """Return nothing: each of many routers would be asked for each of many items."""
        return []


class RoutedWays(WaysAccess):
    """A RADIUS access method completed by its routers' rules and ways out.

    Implements `agent.connectors.base.OnDevices` and `ClosesGhosts` too.
    """

    def __init__(
        self, routed: RoutedAccess, method: Method, routers: Mapping[str, str], hosts: Mapping[str, SessionHost]
    ) -> None:
        """Take the access method with its routers' rules; the rest as that does."""
        self._routed, self._method, self._hosts = routed, method, hosts
        self._targets = tuple(dict.fromkeys(routers.values()))
        kind, most = method.sessions.value, method.garden_most
        ways = {
            target: hosts[target.partition("/")[0]].ways(target, kind, routed.lists, most) for target in self._targets
        }
        super().__init__(routed, HostsWays(ways))

    def on_devices(self) -> Mapping[str, DeviceMethod]:
        """Return the access method with each router alone."""
        return {
            target: RoutedWays(alone, self._method, {target: target}, self._hosts)
            for target, alone in self._routed.on_devices().items()
        }

    def without(self, targets: Collection[str]) -> RoutedWays:
        """Return the access method with its other routers."""
        others = {target: target for target in self._targets if target not in targets}
        return RoutedWays(self._routed.without(targets), self._method, others, self._hosts)

    def close_ghosts(self, service: Service, seen: Mapping[Address, Seen], silent_h: int) -> AccessPlan | CannotEnforce:
        """Return the access method's steps."""
        return self._routed.close_ghosts(service, seen, silent_h)


def _of(target: str, way: WayOut) -> WayOut:
    return replace(way, text=f"{target.partition('/')[2]}: {way.text}")


def with_routers(
    access_methods: Mapping[str, DeviceMethod], config: RadiusConfig, hosts: Mapping[str, SessionHost]
) -> Mapping[str, AccessMethod]:
    """Return the access methods of RADIUS, completed by the routers that its NAS are.

    Args:
        access_methods: by name.
        config: of this connector.
        hosts: by the first word of a target's id. A router of a kind that has none is not looked at.
    """
    routers = read_by_routers(config.nas, hosts)
    others = [nas.name for nas in config.nas if nas.accounting not in routers]
    if not routers:
        return access_methods
    names = {nas.accounting: nas.name for nas in config.nas}
    routed = (RoutedAccess(access_methods[m.name], m, routers, hosts, others, names) for m in config.methods)
    return {m.name: RoutedWays(one, m, routers, hosts) for m, one in zip(config.methods, routed, strict=True)}
