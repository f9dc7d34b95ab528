"""May FastTrack take a subscriber's connections? Pure: it is given the rules as they were read.

A fasttracked connection passes by the simple queues, so a queue does not limit connections that a
`fasttrack-connection` rule may match. A rule sees packets both ways, and one way is enough: a rule does not count only
where it surely matches neither the packets from the subscriber nor those to them, or stands below a rule that surely
takes them.

Source: RouterOS manual, "FastTrack" ("fasttracked packets bypass firewall, connection tracking, simple queues, …").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from agent.connectors.routeros.addresses import Network, networks, within
from agent.connectors.routeros.firewall import shown
from agent.connectors.routeros.matching import Rule

_FASTTRACK: Final = "fasttrack-connection"
_TAKES: Final = frozenset({"accept", "drop", "reject", "tarpit"})
"""Actions after which no further rule is looked at."""
_SIDES: Final = ("src", "dst")
_SILENT: Final = frozenset(
    {"chain", "action", "comment", "disabled", "invalid", "dynamic", "log", "log-prefix", "reject-with", "hw-offload"}
)
_STATES: Final = "connection-state"

Holds = Callable[[str], bool]
"""Tells whether an address list holds all of a subscriber's addresses."""


def is_on(rules: Sequence[Rule]) -> bool:
    """Tell whether any rule fasttracks."""
    return any(map(_fasttracks, rules))


def lists_asked(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the address lists that may decide whether FastTrack takes a connection."""
    chains = {rule.get("chain") for rule in rules if _fasttracks(rule)}
    names = (rule.get(f"{side}-address-list", "") for rule in rules if rule.get("chain") in chains for side in _SIDES)
    return frozenset(name.removeprefix("!") for name in names if name)


def takes(rules: Sequence[Rule], mine: Collection[Network], holds: Holds) -> str:
    """Return the rule by which FastTrack may take connections of these addresses; "" where there is none.

    Args:
        rules: all filter rules of one family in their order, with their properties as RouterOS prints them.
        mine: a subscriber's addresses of that family.
        holds: whether a list holds all of them.
    """
    for number, rule in enumerate(rules):
        if _fasttracks(rule) and not all(
            _spares(rule, side, mine, holds) or _taken_before(rules[:number], rule, side, mine, holds)
            for side in _SIDES
        ):
            return f"rule {number} ({shown(rule)})"
    return ""


def _fasttracks(rule: Rule) -> bool:
    return rule.get("action") == _FASTTRACK and "true" not in (rule.get("disabled"), rule.get("invalid"))


def _spares(rule: Rule, side: str, mine: Collection[Network], holds: Holds) -> bool:
    """Tell whether a rule surely matches no packet with one of these as its `side` address."""
    name = rule.get(f"{side}-address-list", "")
    if name.startswith("!") and holds(name[1:]):
        return True
    text = rule.get(f"{side}-address", "")
    theirs = networks(text.removeprefix("!"))
    if not theirs:
        return False
    if text.startswith("!"):
        return all(any(within(one, other) for other in theirs) for one in mine)
    return not any(one.overlaps(other) for one in mine for other in theirs)


def _taken_before(above: Sequence[Rule], rule: Rule, side: str, mine: Collection[Network], holds: Holds) -> bool:
    """Tell whether a rule above surely takes every packet of that side that `rule` would match."""
    return any(
        other.get("action", "accept") in _TAKES
        and other.get("chain") == rule.get("chain")
        and "true" not in (other.get("disabled"), other.get("invalid"))
        and _matches_all(other, side, mine, holds)
        and all(_no_narrower(prop, text, rule) for prop, text in _others(other, side).items())
        for other in above
    )


def _matches_all(rule: Rule, side: str, mine: Collection[Network], holds: Holds) -> bool:
    """Tell whether a rule's own address and list of that side fit all of these."""
    name, text = rule.get(f"{side}-address-list", ""), rule.get(f"{side}-address", "")
    if name and (name.startswith("!") or not holds(name)):
        return False
    theirs = networks(text)
    return not text or all(any(within(one, other) for other in theirs) for one in mine)


def _others(rule: Rule, side: str) -> dict[str, str]:
    beside = _SILENT | {f"{side}-address", f"{side}-address-list"}
    return {prop: text for prop, text in rule.items() if text and prop not in beside and not prop.startswith(".")}


def _no_narrower(prop: str, text: str, rule: Rule) -> bool:
    """Tell whether a packet with the property of `rule` surely has this one too."""
    if prop == _STATES and "!" not in text + rule.get(prop, "!"):
        return set(rule[prop].split(",")) <= set(text.split(","))
    return rule.get(prop) == text
