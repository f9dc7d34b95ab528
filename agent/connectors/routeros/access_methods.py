"""The access method of each kind of section. A new kind is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent.connectors.routeros.access import PppAccess
from agent.connectors.routeros.dhcp_access import DhcpAccess
from agent.connectors.routeros.hotspot_access import HotspotAccess
from agent.connectors.routeros.multi_router import SeveralAccess
from agent.connectors.routeros.schema import DhcpMethod, HotspotMethod, PppMethod, StaticMethod
from agent.connectors.routeros.static_access import StaticAccess
from agent.connectors.routeros.ways_out import RouterWays, SubscriberKind, Suspended
from agent.connectors.ways import WaysAccess

if TYPE_CHECKING:
    from agent.connectors.base import AccessMethod, DeviceMethod
    from agent.connectors.routeros.schema import RouterMethod

_METHODS: Final[Mapping[type, Callable[[Any], DeviceMethod]]] = {
    PppMethod: PppAccess,
    DhcpMethod: DhcpAccess,
    HotspotMethod: HotspotAccess,
    StaticMethod: StaticAccess,
}


def access_method_of(method: RouterMethod) -> AccessMethod:
    """Return the access method of a section, on all of its routers.

    Of one router too: a change that was planned on two is then judged by an access method that knows its missing part.
    """
    targets = (method.target, *method.also_on)
    parts = [_on_router(replace(method, target=target, also_on=())) for target in targets]
    return SeveralAccess(parts, alone=method.only_these_routers)


def _on_router(method: RouterMethod) -> DeviceMethod:
    return WaysAccess(_METHODS[type(method)](method), RouterWays(_suspended(method)))


def _suspended(method: RouterMethod) -> Suspended:
    """Return how a method's section suspends, on the router that it names."""
    target, most = method.target, method.garden_most
    match method:
        case PppMethod():
            return Suspended(target, SubscriberKind.PPP, profile=method.suspended_profile, garden_most=most)
        case HotspotMethod():
            return Suspended(target, SubscriberKind.HOTSPOT, profile=method.suspended_profile, garden_most=most)
        case DhcpMethod():
            lists = tuple(filter(None, (method.suspended_list,)))
            return Suspended(target, SubscriberKind.DHCP, lists, garden_most=most)
        case StaticMethod():
            lists = tuple(filter(None, (method.suspended_list,)))
            queue = bool(method.suspended_limit)
            return Suspended(target, SubscriberKind.STATIC, lists, by_queue=queue, garden_most=most)
