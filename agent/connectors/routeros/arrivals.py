"""By which interface does a subscriber without a PPP session come in? Pure: it is given the routes as they were read.

Answers go where the routes lead. A subscriber with a fixed address or a lease gets answers only by the interface that
its route names, so that is where it is; and a rule that names interfaces can be judged for it. Where the routes
differ, or were not all read, the interface is not known.

Source: RouterOS manual, "IP Routing" (route selection: the longest prefix wins).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from agent.connectors.routeros.addresses import Network, networks
from agent.connectors.routeros.matching import Confined, Rule, Ruleset

BY_INTERFACE: Final = frozenset({"in-interface", "in-interface-list"})
"""Matchers for which it is to be known."""


def arriving(ruleset: Ruleset, confined: Confined) -> Confined:
    """Return the subscriber with the interface that its packets come in by; unchanged where that is not known.

    Args:
        ruleset: the rules, and the routes of their family.
        confined: the subscriber. One that has an interface already, or no addresses, keeps it.
    """
    if confined.interface or not confined.addresses or not ruleset.routes or not _asked(ruleset):
        return confined
    mine = [network for text in confined.addresses for network in networks(text)]
    found = {interface_to(ruleset.routes, one) for one in mine}
    return replace(confined, interface=found.pop()) if len(found) == 1 else confined


def interface_to(routes: Mapping[str, Collection[str]], network: Network) -> str:
    """Return the one interface that leads to all of a network; "" where there are several, or none is known.

    The longest route to all of it counts, and each to a part of it. A default route leads to no subscriber.
    """
    low, high = int(network[0]), int(network[-1])
    best, found, inside = 0, frozenset[str](), set[str]()
    for text, leads in routes.items():
        for version, first, last, length in _bounds(text):
            if version != network.version:
                continue
            if first <= low and high <= last and length >= max(best, 1):
                found = frozenset(leads) | (found if length == best else frozenset())
                best = length
            elif low <= first and last <= high:
                inside |= set(leads)
    alike = {*found, *inside}
    return alike.pop() if len(alike) == 1 else ""


@lru_cache(maxsize=8192)  # of a batch each subscriber is looked for among the same routes
def _bounds(text: str) -> tuple[tuple[int, int, int, int], ...]:
    """Return each network of a text as its IP version, first address, last address and prefix length."""
    return tuple((one.version, int(one[0]), int(one[-1]), one.prefixlen) for one in networks(text))


def _asked(ruleset: Ruleset) -> bool:
    return any(_names(rule) for rules in (ruleset.filter, ruleset.raw or (), ruleset.mangle or ()) for rule in rules)


def _names(rule: Rule) -> bool:
    return any(rule.get(name) for name in BY_INTERFACE)


def spelt(routes: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
    """Return routes, pairs of a network and an interface, by network: all interfaces that lead there."""
    found: dict[str, set[str]] = {}
    for network, interface in routes:
        found.setdefault(network, set()).add(interface)
    return {network: frozenset(leads) for network, leads in found.items()}
