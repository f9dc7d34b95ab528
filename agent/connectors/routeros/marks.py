"""Which packets surely carry a mark when they come to the filter? Pure: it is given the mangle rules as they were read.

Packets go through mangle's prerouting, then through its forward, then through the filter's. A rule that sets another
mark of the kind takes this one away; one that ends a chain (accept, a jump, `passthrough=no`, an action that is not
known) may keep packets from the rules below it.

Source: RouterOS manual, "Mangle" (actions, passthrough) and "Packet Flow".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from agent.connectors.routeros.packet_sets import Box

_CHAINS: Final = ("prerouting", "forward")
_BUILT_IN: Final = frozenset({*_CHAINS, "input", "output", "postrouting"})
_GOES_ON: Final = ("add-", "change-", "clear-df", "log", "mark-", "passthrough", "set-priority", "sniff-", "strip-")
"""How actions begin after which the next rule is looked at, unless `passthrough=no`."""
_OFF: Final = frozenset({"no", "false"})

Rule = Mapping[str, str]


class Matches(Protocol):
    """The packets that a rule matches perhaps, and those that it matches surely; None: none."""

    @property
    def may(self) -> Box | None:
        """The packets that it matches perhaps."""
        ...

    @property
    def must(self) -> Box | None:
        """The packets that it matches surely."""
        ...


def marked(rules: Sequence[Rule], kind: str, name: str, match: Callable[[Rule], Matches]) -> Box | None:
    """Return packets that surely carry a mark, those of the last rule that surely sets it; None: that is not known.

    Args:
        rules: all mangle rules of a family in their order, with their properties as RouterOS prints them.
        kind: `packet` or `connection`.
        name: the mark's.
        match: returns which packets of the subscriber a rule matches.
    """
    sets, found = f"mark-{kind}", None
    others = [rule for rule in rules if is_on(rule) and rule.get("chain") not in _BUILT_IN]
    for chain in _CHAINS:
        ended = False
        for rule in rules:
            action = rule.get("action", "accept")
            if rule.get("chain") != chain or not is_on(rule) or (fits := match(rule)).may is None:
                continue
            if action == sets:
                mine = rule.get(f"new-{kind}-mark") == name
                found = (fits.must or found) if mine and not ended else found if mine else None
            elif action == "jump" and any(one.get("action") == sets and match(one).may for one in others):
                found = None  # what a chain of its own sets is not followed
            ended = ended or not action.startswith(_GOES_ON) or rule.get("passthrough") in _OFF
    return found


def is_on(rule: Rule) -> bool:
    """Tell whether a rule is neither disabled nor invalid."""
    return "true" not in (rule.get("disabled"), rule.get("invalid"))
