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

    Of one router too: a change that was planned on two is judged then by an access method that knows what it lacks.
    """
    targets = (method.target, *method.also_on)
    return SeveralAccess([_METHODS[type(method)](replace(method, target=target, also_on=())) for target in targets])
