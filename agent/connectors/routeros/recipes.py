"""Which recipe an access method has. A new kind of method is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent.connectors.routeros.access import PppAccess
from agent.connectors.routeros.dhcp_access import DhcpAccess
from agent.connectors.routeros.hotspot_access import HotspotAccess
from agent.connectors.routeros.schema import DhcpMethod, HotspotMethod, PppMethod, StaticMethod
from agent.connectors.routeros.several import SeveralAccess
from agent.connectors.routeros.static_access import StaticAccess

if TYPE_CHECKING:
    from agent.connectors.base import AccessRecipe
    from agent.connectors.routeros.schema import RouterMethod

_RECIPES: Final[Mapping[type, Callable[[Any], AccessRecipe]]] = {
    PppMethod: PppAccess,
    DhcpMethod: DhcpAccess,
    HotspotMethod: HotspotAccess,
    StaticMethod: StaticAccess,
}


def recipe_of(method: RouterMethod) -> AccessRecipe:
    """Return the recipe of a method, on all of its routers.

    Of one router too: a change that was planned on two is judged then by a recipe that knows what it lacks.
    """
    targets = (method.target, *method.also_on)
    return SeveralAccess([_RECIPES[type(method)](replace(method, target=target, also_on=())) for target in targets])
