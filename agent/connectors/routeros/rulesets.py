"""A router's rules and the lists that they refer to as one value, `ip/filter/all`, so that both are of one moment.
Pure.

Its rows: the filter rules first, by their numbers from 1; then by key the other reads:

* `raw N`: the raw rules; `interfaces LIST`: a list's interfaces; `members LIST`: an address list's entries, with
  `dynamic` or `static`; `ways`: the interfaces of the default routes; `tracking`: the settings of connection tracking;
  `filled`: the address lists that mangle and nat rules add to; `tunnels`: the other ends of IPsec policies;
  `route NETWORK`: the interfaces that lead to a network; `mangle N`: the mangle rules.
* `read`: which of `raw`, `interfaces`, `ways`, `tunnels`, `route` and `mangle` were read, since one without rows has no
  key here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.connectors.routeros.addresses import rows_of, rows_value
from agent.connectors.routeros.arrivals import arriving
from agent.connectors.routeros.firewall import KeptIn, LetOut, asks_source, keeps_in, keeps_out
from agent.connectors.routeros.matching import Confined, Ruleset
from agent.model import Address, Seen, Value

_READ: Final = "read"
_KNOWN_MAX: Final = 64
"""Values that are kept taken apart; chosen arbitrarily, some megabytes."""
_VERDICTS_MAX: Final = 512
"""Verdicts that are kept of one value; chosen arbitrarily."""
_RAW, _INTERFACES, _MEMBERS, _WAYS, _TRACKING, _FILLED = "raw", "interfaces", "members", "ways", "tracking", "filled"
_TUNNELS, _ROUTES, _MANGLE = "tunnels", "route", "mangle"
_PARTS: Final = (_RAW, _INTERFACES, _MEMBERS, _ROUTES, _MANGLE)


def ruleset_value(ruleset: Ruleset) -> Value:
    """Return the value of a ruleset."""
    return rows_value(_rows(ruleset))


def ruleset_of(value: Value) -> Ruleset:
    """Return the ruleset of such a value; a value of filter rules alone is one of which nothing else was read."""
    rows = rows_of(value)
    parts: dict[str, dict[str, Mapping[str, str]]] = {kind: {} for kind in _PARTS}
    for key, row in rows.items():
        kind, _, name = key.partition(" ")
        if kind in parts:
            parts[kind][name] = row
    read = rows.get(_READ, {})
    interfaces = {name: frozenset(row.values()) for name, row in parts[_INTERFACES].items()}
    return Ruleset(
        filter=tuple(row for key, row in rows.items() if key.isdecimal()),
        raw=tuple(parts[_RAW].values()) if _RAW in read else None,
        interface_lists=interfaces if _INTERFACES in read else None,
        members=parts[_MEMBERS],
        ways_out=frozenset(rows.get(_WAYS, {}).values()) if _WAYS in read else None,
        tracking=rows.get(_TRACKING),
        filled=frozenset(rows.get(_FILLED, {}).values()),
        tunnels=frozenset(rows.get(_TUNNELS, {}).values()) if _TUNNELS in read else None,
        routes={net: frozenset(row.values()) for net, row in parts[_ROUTES].items()} if _ROUTES in read else None,
        mangle=tuple(parts[_MANGLE].values()) if _MANGLE in read else None,
    )


@dataclass(slots=True)
class _Known:
    """A value, its ruleset, and the verdicts on it."""

    value: Value
    ruleset: Ruleset
    verdicts: dict[Confined, KeptIn | LetOut] = field(default_factory=dict)
    outside: dict[str, KeptIn | LetOut] = field(default_factory=dict)
    arrived: dict[Confined, Confined] = field(default_factory=dict)


class Rulesets:
    """The rulesets of values, taken apart and judged once: a preview asks for the same rules for each subscriber.

    Judging 500 rules that let somebody out took 0.45 s with its mend, measured on a busy machine.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[int, _Known] = {}

    def at(self, where: Address, seen: Mapping[Address, Seen]) -> Ruleset:
        """Return the ruleset that was read there."""
        return self.of(seen[where].value)

    def of(self, value: Value) -> Ruleset:
        """Return the ruleset of a value."""
        return self._of(value).ruleset

    def kept(self, value: Value, confined: Confined) -> KeptIn | LetOut:
        """Return `keeps_in` of a value's ruleset. An address on which no rule hangs makes no verdict of its own."""
        known = self._of(value)
        arrived = known.arrived.get(confined)
        if arrived is None:
            while len(known.arrived) >= _VERDICTS_MAX:
                del known.arrived[next(iter(known.arrived))]
            arrived = known.arrived[confined] = arriving(known.ruleset, confined)
        confined = arrived
        if confined.lists and confined.addresses and not asks_source(known.ruleset, confined.lists):
            confined = replace(confined, addresses=())
        verdict = known.verdicts.get(confined)
        if verdict is None:
            while len(known.verdicts) >= _VERDICTS_MAX:
                del known.verdicts[next(iter(known.verdicts))]
            verdict = known.verdicts[confined] = keeps_in(known.ruleset, confined)
        return verdict

    def kept_out(self, value: Value, members_of: str) -> KeptIn | LetOut:
        """Return `keeps_out` of a value's filter rules."""
        known = self._of(value)
        if members_of not in known.outside:
            known.outside[members_of] = keeps_out(known.ruleset.filter, members_of)
        return known.outside[members_of]

    def _of(self, value: Value) -> _Known:
        """Return the cached work on a value, or on an equal one that was read before."""
        known = self._known.get(id(value))
        if known is not None and known.value is value:
            return known
        alike = next((one for one in self._known.values() if one.value == value), None)
        while len(self._known) >= _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        if alike is None:
            known = _Known(value, ruleset_of(value))
        else:
            known = replace(alike, value=value)
        self._known[id(value)] = known
        return known


def _rows(ruleset: Ruleset) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield from _numbered("", ruleset.filter)
    yield from _numbered(f"{_RAW} ", ruleset.raw or ())
    yield from _numbered(f"{_MANGLE} ", ruleset.mangle or ())
    for name, interfaces in (ruleset.interface_lists or {}).items():
        yield f"{_INTERFACES} {name}", _listed(interfaces)
    for name, entries in ruleset.members.items():
        yield f"{_MEMBERS} {name}", entries
    if ruleset.ways_out is not None:
        yield _WAYS, _listed(ruleset.ways_out)
    if ruleset.tracking is not None:
        yield _TRACKING, ruleset.tracking
    if ruleset.filled:
        yield _FILLED, _listed(ruleset.filled)
    if ruleset.tunnels:
        yield _TUNNELS, _listed(ruleset.tunnels)
    for network, leads in (ruleset.routes or {}).items():
        yield f"{_ROUTES} {network}", _listed(leads)
    found = {
        _RAW: ruleset.raw,
        _INTERFACES: ruleset.interface_lists,
        _WAYS: ruleset.ways_out,
        _TUNNELS: ruleset.tunnels,
        _ROUTES: ruleset.routes,
        _MANGLE: ruleset.mangle,
    }
    read = {what: "yes" for what, value in found.items() if value is not None}
    if read:
        yield _READ, read


def _numbered(prefix: str, rules: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, Mapping[str, str]]]:
    return ((f"{prefix}{number}", rule) for number, rule in enumerate(rules, start=1))


def _listed(names: frozenset[str]) -> Mapping[str, str]:
    return {str(number): name for number, name in enumerate(sorted(names))}
