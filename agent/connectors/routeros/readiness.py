"""Subscribers that do not exist, by which a router's readiness is tried: each with the entry of its method. Pure.

* An example is planned by the method itself, from the router's own profiles, lists and rules: its words on a suspension
  cannot differ from a preview's.
* Only its own entry is assumed. Where the entry's address decides, as rules may name addresses, it is an address that
  is nobody's (RFC 5737, RFC 3849), and the example says that it was made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent.connectors.base import Example
from agent.model import Service

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import RouterMethod
    from agent.model import Address, Value

LOGIN: Final = "ispagent-example"
MAC: Final = "02:00:5E:00:53:01"
"""Locally administered: no maker ships it."""
ADDRESS: Final = "192.0.2.1"
"""Of TEST-NET-1 (RFC 5737), which is nobody's."""
MADE_UP: Final = f"rules that name other addresses than {ADDRESS}, which was made up for the trial"


def example(method: RouterMethod, login: str, assumed: Mapping[Address, Value], made_up: str = "") -> Example:
    """Return a subscriber with a method's first tariff. `login`: as that method spells one."""
    tariff = next(iter(method.tariffs), "")
    service = Service("", "", "an example", "", login, method.name, tariff)
    return Example(service, assumed, made_up)


def tariff_of(method: RouterMethod) -> str:
    """Return the profile, rate or limit that the method maps the example's tariff to."""
    return next(iter(method.tariffs.values()), "")
