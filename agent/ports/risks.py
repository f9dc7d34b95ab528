"""The risk of a change of ports. Pure.

| change | class |
|---|---|
| a description; switching a port up | low; of an uplink's description config |
| down, power cycle: all was checked, and few subscribers hang on it | low, as a disconnect |
| the same with another device behind it, many addresses, or more than 10 subscribers | config |
| the same where the uplink or the agent's own way is not known | unguarded |
| an uplink, or the agent's own way | refused |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.base import PortPlan, PortWish
from agent.lines.port_use import PortUse
from trust.policy import LOW_ITEMS_MAX

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class PortRisk:
    """The risk of one port's change. `config`, `guarded`: as of `trust.policy.risk_class`; `services` that it cuts."""

    config: bool
    guarded: bool
    services: frozenset[str]


def risk_of(wish: PortWish, plan: PortPlan, use: PortUse) -> PortRisk:
    """Return the risk of a change of a port that is not refused."""
    if not wish.cuts:
        return PortRisk(bool(use.uplink) and not wish.restores, True, frozenset())
    unknown = bool(plan.not_checked or use.not_checked)
    return PortRisk(unknown or use.shared, not unknown, frozenset(use.services))


def together(risks: Iterable[PortRisk]) -> tuple[bool, bool]:
    """Return whether a plan changes a device's configuration, and whether that is guarded, by its ports' risks."""
    every = list(risks)
    many = len(frozenset().union(*(one.services for one in every))) > LOW_ITEMS_MAX
    return many or any(one.config for one in every), all(one.guarded for one in every)


def open_text(plan: PortPlan, use: PortUse) -> str:
    """Return the gaps in the knowledge of a port, for the preview."""
    return "; ".join(f"not checked: {text}" for text in dict.fromkeys((*plan.not_checked, *use.not_checked)))


def hanging_text(wish: PortWish, use: PortUse) -> str:
    """Return the subscribers and devices behind a port, for the preview."""
    told = [_services(wish, use.services)]
    told += [f"behind it: {_few(use.devices)}"] if use.devices else []
    told += [f"hears {_few(use.heard)}, which the agent does not know"] if use.heard else []
    told += [f"{use.macs} MAC addresses are learned there"] if use.macs else []
    return " · ".join(filter(None, told))


def _services(wish: PortWish, services: Sequence[str]) -> str:
    if not services:
        return "no subscriber is known to hang on it"
    cut = " and are cut off" if wish.cuts and len(services) > 1 else " and is cut off" if wish.cuts else ""
    return f"{len(services)} subscriber{'s hang' if len(services) > 1 else ' hangs'} on it{cut}: {_few(services)}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
