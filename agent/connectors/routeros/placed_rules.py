"""Firewall rules of ours, each known by its comment, and its place among the others. Pure.

* A rule has no key of its own and no stable number, so ours are found by their comment, exactly one of each.
* The place is part of the value: `above` is the text of the rule of somebody else that stands next below in the same
  chain, "" at its end. A rule that was moved, or that somebody put another one under, reads otherwise.
* A value has the properties that differ from RouterOS' defaults, so a rule that was just added reads as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.connectors.routeros.addresses import COPIES
from agent.connectors.routeros.firewall import shown
from agent.connectors.routeros.matching import WIDE, Rule
from agent.connectors.routeros.menus import Menu, UnwritableError
from agent.model import ABSENT, Absent, Value

OURS: Final = "ispagents: "
"""How a comment of ours begins; the rest names the rule's purpose."""
ABOVE: Final = "above"
COMMENT: Final = "comment"
_COUNTERS: Final = frozenset({"bytes", "packets"})
_OFF: Final = frozenset({"", "false", "no"})


def is_ours(rule: Rule) -> bool:
    """Tell whether a rule has a comment of ours."""
    return rule.get(COMMENT, "").startswith(OURS)


def text_of(rule: Rule) -> str:
    """Return a rule's action, matchers and comment: a text by which people, and we, know it again."""
    said = shown({name: text for name, text in rule.items() if name not in _COUNTERS})
    off = " disabled" if rule.get("disabled") == "true" else ""
    return f"{said}{off}{f' # {rule[COMMENT]}' if rule.get(COMMENT) else ''}"


def below(rows: Sequence[Rule], place: int, chain: str) -> int | None:
    """Return the index of the first rule from `place` on that is of the chain and not ours; None: there is none."""
    found = (n for n in range(place, len(rows)) if rows[n].get("chain") == chain and not is_ours(rows[n]))
    return next(found, None)


def value_of(menu: Menu, rows: Sequence[Rule], key: str) -> Value:
    """Return the rule with a comment: its properties, and its place.

    Args:
        menu: the filter's as the router's release has it.
        rows: all rows in their order, read without a proplist.
        key: the comment.
    """
    found = [n for n, row in enumerate(rows) if row.get(COMMENT) == key]
    if not found:
        return ABSENT
    if len(found) > 1:
        return {COPIES: str(len(found))}
    (n,) = found
    reading = menu.sort({k: v for k, v in rows[n].items() if k not in _COUNTERS and k != WIDE})
    own = {name: text for name, text in reading.settled.items() if text not in (*_OFF, menu.properties[name].default)}
    own |= {name: text for name, text in reading.unknown.items() if text not in _OFF}
    under = below(rows, n + 1, rows[n].get("chain", ""))
    return {**own, ABOVE: "" if under is None else text_of(rows[under])}


def differences(now: Value, wanted: Mapping[str, str]) -> str:
    """Return somebody's changes to a rule of ours, for people, but for its place; "": none.

    Args:
        now: the rule, as `value_of` returns it.
        wanted: its properties, without the place.
    """
    if isinstance(now, Absent):
        return "is missing"
    if COPIES in now:
        return f"is there {now[COPIES]} times"
    told = [
        f"{name} is {now.get(name, 'not set')}, expected {wanted.get(name, 'it not to be set')}"
        for name in sorted({*now, *wanted} - {ABOVE})
        if now.get(name) != wanted.get(name)
    ]
    return "; ".join(told)


def order_of(rows: Sequence[Rule]) -> Value:
    """Return the texts of all rules that are not ours, by their place among these: the order that a place rests on."""
    others = [f"{row.get('chain', '')} {text_of(row)}" for row in rows if not is_ours(row)]
    return {f"{n}": text for n, text in enumerate(others)} or ABSENT


def words_to_add(menu: Menu, value: Value, rows: Sequence[Rule]) -> list[str]:
    """Return the words of an `add` that makes a rule in its place.

    Raises:
        UnwritableError: a property cannot be written, or the rule that it shall stand above is not there exactly once.
    """
    if isinstance(value, Absent):
        raise UnwritableError(f"{menu.path}: nothing to add")
    words = []
    for name, text in value.items():
        if name != ABOVE:
            menu.writable(name)
            words.append(f"={name}={text}")
    above = value.get(ABOVE, "")
    if not above:
        return words
    under = [row for row in rows if row.get("chain") == value.get("chain") and text_of(row) == above]
    if len(under) != 1 or ".id" not in under[0]:
        raise UnwritableError(f"{menu.path}: expected one rule {above}, got {len(under)}")
    return [*words, f"=place-before={under[0]['.id']}"]
