"""The part that serves a subscriber: candidates with how each was found, and the line where there is no doubt.

Sources, the strongest first: the operator's mapping file; the serial number of the ONU; the MAC address of the
subscriber's CPE in registrations and bridge tables; the description of a port.

* Exactly one part by the strongest source that tells something, and no weaker source that tells of another: the line.
* Anything else: candidates. None of them is chosen, since a wrong line sends a van to the wrong house.
* A MAC address is learned on every switch on its way. A port with a polled device behind it, or with many addresses,
  is such a way: the edge-most part counts. Where only ways are known, the subscriber is *behind* them.
* Two candidates of which one hangs on the other are one: an ONU and its PON port, a client and its radio.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.age import age_text
from agent.line_model.reading import PartKind
from agent.line_model.serials import onu_serial
from agent.lines import states
from agent.lines.known import KnownDevice, KnownMac, KnownPart
from agent.lines.limits import WAY_MACS
from agent.lines.mapping import LineMap
from agent.lines.states import Query
from agent.lines.topology import Topology
from agent.model import Service
from agent.spelling import fold, mac_digits

_OWN: Final = frozenset({PartKind.ONU, PartKind.CLIENT})
"""Parts that are one subscriber's, however many addresses are behind them."""


class FoundBy(enum.IntEnum):
    """The ways in which a candidate is found, the strongest first."""

    MAPPING = 1
    SERIAL = 2
    MAC = 3
    DESCRIPTION = 4


class HintKind(enum.Enum):
    """The facts on a subscriber's CPE."""

    MAC = "mac"
    SERIAL = "serial"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something by which the devices may know a subscriber. `how`: where it is from, for people.

    `value`: a MAC address as twelve hex digits, a serial number as it was written, or an IP address.
    """

    kind: HintKind
    value: str
    how: str


@dataclass(frozen=True, slots=True)
class LineCandidate:
    """A part that may serve a subscriber. `how`: why, a text for each source."""

    part: KnownPart
    source: FoundBy
    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """The facts on a service's line.

    Args:
        service: its ref.
        line: the part that serves it; None: none is known for certain.
        candidates: the parts found, where it is not certain; empty with `line`.
        behind: parts that it is behind with others, the edge-most first.
        notes: the hints that did not lead to a part, and why.
    """

    service: str
    line: LineCandidate | None = None
    candidates: tuple[LineCandidate, ...] = ()
    behind: tuple[LineCandidate, ...] = ()
    notes: tuple[str, ...] = ()


def hints_of(service: Service) -> list[Hint]:
    """Return MAC addresses, serial numbers and single IP addresses of a service's CPE from the inventory."""
    found = [Hint(HintKind.MAC, mac, "login") for mac in [mac_digits(service.login)] if mac]
    login = service.login.strip().removesuffix("/32").removesuffix("/128")
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*", login):
        found += [] if found else [Hint(HintKind.ADDRESS, login.lower(), "login")]
    for column, text in (service.extra or {}).items():
        if mac := mac_digits(text):
            found.append(Hint(HintKind.MAC, mac, f"column {column}"))
        elif onu_serial(text):
            found.append(Hint(HintKind.SERIAL, text, f"column {column}"))
    return found


@dataclass(slots=True)
class LineFinder:
    """Finds lines in the state table as it is at one moment.

    Args:
        query: of a reader.
        lines: the operator's mapping.
        alias: the pattern of descriptions, with a group `service`; None: descriptions tell nothing.
        topology: the known devices and their neighbors.
        now_s: unix seconds.
    """

    query: Query
    lines: LineMap
    alias: re.Pattern[str] | None
    topology: Topology
    now_s: float
    _aliases: dict[str, list[tuple[str, str]]] | None = None
    _ways: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def devices(self) -> Mapping[str, KnownDevice]:
        """The known devices by target."""
        return self.topology.devices

    def find(self, service: Service, hints: Iterable[Hint] = ()) -> ServiceLine:
        """Return a service's line, or its candidates.

        Args:
            service: of the line.
            hints: the facts on its CPE beside the inventory.
        """
        notes: list[str] = []
        every = list(dict.fromkeys([*self._mapped_macs(service), *hints_of(service), *hints]))
        found = [*self._mapped(service, notes), *self._by_serial(every)]
        by_mac, behind = self._by_mac(self._macs(every))
        found += [*by_mac, *self._described(service)]
        merged = self._one_each(found)
        line, candidates = _decided(merged)
        if line is not None or candidates:
            behind = []
        return ServiceLine(service.ref, line, candidates, tuple(behind), tuple(notes))

    # --- the mapping file ---

    def _mapped(self, service: Service, notes: list[str]) -> Iterator[LineCandidate]:
        for mapped in self.lines.parts.get(service.ref, ()):
            where = f"mapping file, line {mapped.line}"
            if not mapped.device:
                if not self._is_known(mac_digits(mapped.part)):
                    notes.append(f"{where}: no device knows the MAC address {mapped.part}")
                continue
            targets = self.topology.named(mapped.device)
            if len(targets) != 1:
                told = "no device" if not targets else f"{len(targets)} devices"
                notes.append(f"{where}: {told} called {mapped.device}: name it as in the configuration")
                continue
            parts = self._named(targets[0], mapped.part)
            if not parts:
                notes.append(
                    f"{where}: {mapped.device} has no part called {mapped.part}: ispagent device show lists its parts"
                )
            yield from (LineCandidate(part, FoundBy.MAPPING, (where,)) for part in parts)

    def _mapped_macs(self, service: Service) -> Iterator[Hint]:
        """Yield the MAC addresses that the file has for a service, without a device."""
        for mapped in self.lines.parts.get(service.ref, ()):
            if not mapped.device:
                yield Hint(HintKind.MAC, mac_digits(mapped.part), f"mapping file, line {mapped.line}")

    def _is_known(self, mac: str) -> bool:
        return bool(states.macs(self.query, mac) or states.parts_of_mac(self.query, _with_colons(mac)))

    def _named(self, target: str, text: str) -> Sequence[KnownPart]:
        if (part := states.part(self.query, target, text)) is not None:
            return (part,)
        if mac := mac_digits(text):
            own = [one for one in states.parts_of_mac(self.query, _with_colons(mac)) if one.target == target]
            return own or [one for row, one in self._learned(mac) if row.target == target]
        serial = onu_serial(text) or text
        parts = states.parts_called(self.query, target, text, serial)
        there = [one for one in parts if not one.gone]
        return there or parts

    # --- serial numbers ---

    def _by_serial(self, hints: Iterable[Hint]) -> Iterator[LineCandidate]:
        for hint in hints:
            if hint.kind is HintKind.SERIAL:
                for spelled in dict.fromkeys(filter(None, (onu_serial(hint.value), hint.value))):
                    for part in _newest(states.parts_of_serial(self.query, spelled)):
                        yield LineCandidate(part, FoundBy.SERIAL, (f"serial number {spelled} ({hint.how})",))

    # --- MAC addresses ---

    def _macs(self, hints: Iterable[Hint]) -> dict[str, str]:
        """Return the MAC addresses of the hints, each with where it is from; those behind IP addresses too."""
        found: dict[str, str] = {}
        for hint in hints:
            if hint.kind is HintKind.MAC:
                found.setdefault(hint.value, hint.how)
            elif hint.kind is HintKind.ADDRESS:
                for mac, target in states.macs_of_address(self.query, hint.value):
                    found.setdefault(mac, f"{hint.value} in the ARP table of {target.partition('/')[2]}")
        return found

    def _by_mac(self, macs: Mapping[str, str]) -> tuple[list[LineCandidate], list[LineCandidate]]:
        """Return the edge-most parts that have one of the addresses, and the parts that lead to it with others."""
        own, edge, ways = [], [], []
        for mac, how in macs.items():
            colons = _with_colons(mac)
            registered = _newest(p for p in states.parts_of_mac(self.query, colons) if p.kind in _OWN)
            for part in registered:
                own.append(LineCandidate(part, FoundBy.MAC, (f"MAC {colons} registered there ({how})",)))
            there = {part.target for part in registered if not part.gone}
            for row, part in self._learned(mac):
                if part.target in there and part.kind not in _OWN:
                    continue  # the port of the radio that it is registered at
                told = "learned" if not row.seen_s else f"last learned {age_text(int(self.now_s - row.seen_s))} ago"
                found = LineCandidate(part, FoundBy.MAC, (f"MAC {colons} {told} there ({how})",))
                if why := self._way(part, mac):
                    ways.append(LineCandidate(part, FoundBy.MAC, (*found.how, why)))
                else:
                    edge.append(found)
        if own or edge:
            return [*own, *edge], []
        return [], sorted(ways, key=lambda one: -self.topology.depth(one.part.target))

    def _learned(self, mac: str) -> Iterator[tuple[KnownMac, KnownPart]]:
        """Yield where an address is now; where it is nowhere, where it was last, within two readings of that device."""
        rows = [row for row in states.macs(self.query, mac) if row.part]
        if any(not row.seen_s for row in rows):
            rows = [row for row in rows if not row.seen_s]
        elif rows:
            newest_s = max(row.seen_s for row in rows)
            rows = [row for row in rows if row.seen_s >= newest_s - 2 * self._every_s(row.target)]
        for row in {(row.target, row.part): row for row in rows}.values():
            if (part := states.part(self.query, row.target, row.part)) is not None:
                yield row, part

    def _every_s(self, target: str) -> float:
        device = self.devices.get(target)
        return 300.0 if device is None else device.every_s

    def _way(self, part: KnownPart, mac: str) -> str:
        """Return why a part leads to more than one subscriber; "": it does not, as far as is known."""
        if part.kind in _OWN:
            return ""
        if (beyond := self.topology.behind(part.target, part.key)) and beyond != part.target:
            return f"{beyond.partition('/')[2]} is behind it"
        if claimed := self.topology.claimed_behind(part.target, part.key):
            name = claimed.partition("/")[2]
            return f"{name} is heard there, which {name} does not confirm"
        key = (part.target, part.key, mac)
        if key not in self._ways:
            count = states.macs_behind(self.query, part.target, part.key)
            shared = part.kind in (PartKind.PON, PartKind.RADIO) and count > 1
            self._ways[key] = f"{count} addresses are behind it" if count > WAY_MACS or shared else ""
        return self._ways[key]

    # --- descriptions ---

    def _described(self, service: Service) -> Iterator[LineCandidate]:
        if self.alias is None:
            return
        if self._aliases is None:
            self._aliases = {}
            for target, key, alias in states.aliases(self.query):
                if (match := self.alias.search(alias)) is not None and match["service"]:
                    self._aliases.setdefault(fold(match["service"]), []).append((target, key))
        names = dict.fromkeys(fold(name) for name in (service.ref, service.subscriber, service.login) if name)
        for target, key in dict.fromkeys(place for name in names for place in self._aliases.get(name, ())):
            if (part := states.part(self.query, target, key)) is not None:
                yield LineCandidate(part, FoundBy.DESCRIPTION, (f"description {part.alias!r}",))

    # --- candidates that are one ---

    def _one_each(self, found: Sequence[LineCandidate]) -> list[LineCandidate]:
        """Return each part once, with all of its sources, and without those on which another one of them hangs."""
        by_part: dict[tuple[str, str], list[LineCandidate]] = {}
        for one in found:
            by_part.setdefault((one.part.target, one.part.key), []).append(one)
        merged = {
            place: LineCandidate(ones[0].part, min(one.source for one in ones), _texts(ones))
            for place, ones in by_part.items()
        }
        for place in list(merged) if len(merged) > 1 else ():
            if place not in merged:
                continue
            for above in self._above(merged[place].part):
                if (over := merged.pop(above, None)) is not None:
                    here = merged[place]
                    how = (*here.how, *(f"{text}: {over.part.name}" for text in over.how))
                    merged[place] = LineCandidate(here.part, min(here.source, over.source), how)
        return list(merged.values())

    def _above(self, part: KnownPart) -> Iterator[tuple[str, str]]:
        """Yield the parts that a part hangs on; a cycle ends."""
        seen = {part.key}
        while part.parent and part.parent not in seen:
            seen.add(part.parent)
            yield part.target, part.parent
            above = states.part(self.query, part.target, part.parent)
            if above is None:
                return
            part = above


def _with_colons(mac: str) -> str:
    return ":".join(mac[n : n + 2] for n in range(0, 12, 2))


def _texts(found: Collection[LineCandidate]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in found for text in one.how))


def _newest(parts: Iterable[KnownPart]) -> list[KnownPart]:
    """Return the parts that are there; where none is, those that were there last."""
    every = list(parts)
    there = [part for part in every if not part.gone]
    if there or not every:
        return there
    newest_s = max(part.seen_s for part in every)
    return [part for part in every if part.seen_s == newest_s]


def _decided(found: Sequence[LineCandidate]) -> tuple[LineCandidate | None, tuple[LineCandidate, ...]]:
    """Return the line, or the candidates, the strongest source first."""
    if len(found) == 1:
        return found[0], ()
    return None, tuple(sorted(found, key=lambda one: (one.source, one.part.target, one.part.key)))
