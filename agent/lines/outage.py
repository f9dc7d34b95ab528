"""Causes of outages: the device or part, since when, and the services that it affects. Pure.

* A silent device next to one that answers is a cause; those that are silent behind it are not. "Silent" never means
  "down": it is unreachable, or asked with a wrong secret.
* A device that answers and cannot be read (a wrong secret of version 3, a missing one) is told for itself: it is no
  sign that anybody is cut off.
* A part is a cause where somebody would miss it: a subscriber's line, a link between devices, a radio or PON port, an
  ONU or client that was up. A port that nobody ever used is none. A part behind one that is down is no cause of its
  own, and neither is a port towards a silent device.
* Most of the ONUs of a PON port (or the clients of a radio) that failed together are one cause.
* A part that changes again and again is one line that says so, in any state.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.line_model.reading import LinkState, PartKind
from agent.lines.known import KnownPart, SinceHow, flaps
from agent.lines.limits import CLAIMS_SHOWN, RESTART_SHOWN_S, TOGETHER_LEAST, TOGETHER_S
from agent.lines.topology import DeviceLink, Topology

Place = tuple[str, str]
"""A target and the key of a part."""
_SHARED: Final = frozenset({PartKind.RADIO, PartKind.PON})
_OWN: Final = frozenset({PartKind.ONU, PartKind.CLIENT})


class CauseKind(enum.Enum):
    """The kinds of causes, the worst first."""

    SILENT = "silent"
    """A device does not answer: unreachable, or wrong secret."""
    DOWN = "down"
    """A part is down."""
    TOGETHER = "together"
    """Most parts behind one went down at the same time."""
    RESTARTED = "restarted"
    FLAPPING = "flapping"
    FADING = "fading"
    ERRORS = "errors"
    UNREAD = "unread"
    """A device refuses to be read, or its secret is missing: its parts are not known."""


_CUTS: Final = frozenset({CauseKind.SILENT, CauseKind.DOWN, CauseKind.TOGETHER})
"""Causes that cut services off: they stand before parts that are bad but work."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of an outage: the failure of a device or part that explains others.

    Args:
        kind: of the failure.
        target: id of the device.
        part: the part; None: the device itself.
        since_s: unix seconds.
        detail: the facts on it, for people.
        upstream: the device that is next towards the root, and `upstream_port`, its port as it calls it; "": not
            known.
        claims: without `upstream`: devices and ports at the other end of links that only one end tells of.
        behind: devices that are silent for it.
        parts: how many parts failed together, and `of`, out of how many.
        services: refs of the services with lines on it.
    """

    kind: CauseKind
    target: str
    part: KnownPart | None
    since_s: int
    detail: str = ""
    upstream: str = ""
    upstream_port: str = ""
    claims: tuple[Place, ...] = ()
    behind: tuple[str, ...] = ()
    parts: int = 0
    of: int = 0
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutageGround:
    """The basis on which outages are judged.

    Args:
        topology: devices and links.
        parts: the parts that are not simply up or disabled, and every part of a radio or PON that has such ones.
        served: services by the part that is their line, and by the part that they are behind with others.
        now_s: unix seconds.
    """

    topology: Topology
    parts: Sequence[KnownPart]
    served: Mapping[Place, Collection[str]]
    now_s: float
    _by_place: dict[Place, KnownPart] = field(default_factory=dict)


def causes(seen: OutageGround) -> list[Cause]:
    """Return the causes: those that cut off before the others, and those first on which the most subscribers hang."""
    found = list(_Judge(seen).causes())
    order = list(CauseKind)
    return sorted(
        found,
        key=lambda c: (c.kind not in _CUTS, -len(c.services), order.index(c.kind), c.since_s, c.target, _key(c.part)),
    )


def _key(part: KnownPart | None) -> str:
    return "" if part is None else part.key


class _Judge:
    """Works the causes out."""

    def __init__(self, seen: OutageGround) -> None:
        self._seen, self._topology = seen, seen.topology
        self._parts = {(part.target, part.key): part for part in seen.parts}
        self._children: dict[Place, list[KnownPart]] = {}
        for part in seen.parts:
            if part.parent:
                self._children.setdefault((part.target, part.parent), []).append(part)
        self._silent = {target for target, device in self._topology.devices.items() if device.silent}
        self._refusing = {target for target, device in self._topology.devices.items() if device.refuses}
        self._on_device: dict[str, set[str]] = {}
        for (target, _), services in seen.served.items():
            self._on_device.setdefault(target, set()).update(services)

    def causes(self) -> Iterator[Cause]:
        yield from self._silences()
        yield from self._refusals()
        yield from self._restarts()
        told: set[Place] = set()
        for part in self._seen.parts:
            place = (part.target, part.key)
            if part.target in self._silent or part.target in self._refusing or place in told:
                continue
            cause = self._part_cause(part, told)
            if cause is not None:
                yield self._placed(cause)

    # --- devices ---

    def _silences(self) -> Iterator[Cause]:
        frontier, behind = self._silent_groups()
        for target in frontier:
            device, cut = self._topology.devices[target], tuple(sorted(behind[target]))
            services = {ref for one in (target, *cut) for ref in self._on_device.get(one, ())}
            port_down = self._port_towards(target)
            detail = device.why or "no answer"
            if not device.read_s:
                detail = f"{detail}; it never answered"
            if port_down:
                detail = f"{detail}; {port_down}"
            yield self._placed(
                Cause(
                    CauseKind.SILENT,
                    target,
                    None,
                    device.unread_s,
                    detail,
                    behind=cut,
                    services=tuple(sorted(services)),
                )
            )

    def _refusals(self) -> Iterator[Cause]:
        for target in sorted(self._refusing):
            device = self._topology.devices[target]
            told = (one for one in self._on_device if one == target or one.startswith(f"{target}/"))
            services = tuple(sorted({ref for one in told for ref in self._on_device[one]}))
            yield self._placed(Cause(CauseKind.UNREAD, target, None, device.unread_s, device.why, services=services))

    def _silent_groups(self) -> tuple[list[str], Mapping[str, set[str]]]:
        """Return the silent devices that are causes, and those behind each of them.

        A cause is next to a device that is reached. Where no silent device of a group is, it is the one nearest to the
        root.
        """
        reached = self._topology.reached()
        in_order = sorted(self._silent, key=lambda target: (self._topology.depth(target), target))
        frontier = [target for target in in_order if any(one in reached for one in self._topology.beside(target))]
        owner: dict[str, str] = {}
        self._spread(frontier, owner)
        for target in in_order:
            if target not in owner:
                frontier.append(target)
                self._spread([target], owner)
        behind: dict[str, set[str]] = {target: set() for target in frontier}
        for target, cause in owner.items():
            behind[cause] |= {target} - {cause}
        return frontier, behind

    def _others(self, target: str) -> list[str]:
        return [link.other(target)[0] for link in self._topology.links.get(target, ())]

    def _spread(self, frontier: Sequence[str], owner: dict[str, str]) -> None:
        """Give each silent device that is behind a cause to the nearest one."""
        owner.update({target: target for target in frontier})
        waiting = deque(frontier)
        while waiting:
            target = waiting.popleft()
            for other in self._others(target):
                if other in self._silent and other not in owner and target in self._topology.beside(other):
                    owner[other] = owner[target]
                    waiting.append(other)

    def _port_towards(self, target: str) -> str:
        """Return that the port towards a silent device is down, where a device that answers says so."""
        for link in self._topology.links.get(target, ()):
            other, port = link.other(target)
            part = self._parts.get((other, port))
            if other not in self._silent and part is not None and part.state is LinkState.DOWN:
                return f"{self._name(other)} {part.name} towards it is down"
        return ""

    def _restarts(self) -> Iterator[Cause]:
        for target, device in self._topology.devices.items():
            recent = [at_s for at_s in device.restarts if at_s > self._seen.now_s - RESTART_SHOWN_S]
            if not recent or target in self._silent or target in self._refusing:
                continue
            if flaps(device.restarts, self._seen.now_s):
                detail = f"{len(recent)} restarts in {RESTART_SHOWN_S // 60} min"
            else:
                detail = f"{len(recent)} restarts" if len(recent) > 1 else "it answers again"
            services = tuple(sorted(self._on_device.get(target, ())))
            yield self._placed(Cause(CauseKind.RESTARTED, target, None, recent[-1], detail, services=services))

    # --- parts ---

    def _part_cause(self, part: KnownPart, told: set[Place]) -> Cause | None:
        place = (part.target, part.key)
        services = self._hanging(place)
        beyond = self._topology.behind(*place)
        if not self._is_missed(part, services, beyond):
            return None
        if (changes := flaps(part.changes, self._seen.now_s)) > 0:
            detail = f"{changes} changes in 30 min, {part.state.value} now"
            return Cause(CauseKind.FLAPPING, part.target, part, part.changes[-changes], detail, services=services)
        if part.state is LinkState.DOWN:
            return self._down_cause(part, services, beyond, told)
        if part.state is not LinkState.UP:
            return None
        if measure := part.fading():
            unit = measure.rpartition("_")[2].replace("dbm", "dBm").replace("db", "dB")
            now, usual = part.measures[measure], part.usual[measure]
            detail = f"{measure.rpartition('_')[0].replace('_', ' ')} {now:.1f} {unit}, usually {usual:.1f}"
            return Cause(
                CauseKind.FADING, part.target, part, part.fades_s or self._read_s(part), detail, services=services
            )
        return self._error_cause(part, services)

    def _is_missed(self, part: KnownPart, services: Collection[str], beyond: str) -> bool:
        if services or beyond or part.kind in _SHARED:
            return True
        return part.kind in _OWN and part.since_how is not SinceHow.FIRST

    def _down_cause(self, part: KnownPart, services: tuple[str, ...], beyond: str, told: set[Place]) -> Cause | None:
        place = (part.target, part.key)
        if beyond in self._silent or self._told_by_other_end(place, beyond):
            return None
        if self._above_is_down(part):
            return None
        above = (part.target, part.parent)
        if part.parent and (together := self._together(above, part)) is not None:
            told.update((one.target, one.key) for one in together)
            whole = self._parts.get(above)
            refs = {ref for one in together for ref in self._hanging((one.target, one.key))}
            return Cause(
                CauseKind.TOGETHER,
                part.target,
                whole or replace(part, key=part.parent, name=part.parent.partition("/")[2], kind=PartKind.PON),
                min(one.since_s for one in together),
                _words(together),
                parts=len(together),
                of=len(self._children[above]),
                services=tuple(sorted(refs)),
            )
        return Cause(CauseKind.DOWN, part.target, part, part.since_s, light(part) or part.told, services=services)

    def _told_by_other_end(self, place: Place, beyond: str) -> bool:
        """Return whether the end of a link that is nearer to the root is down too: that one tells of it."""
        if not beyond:
            return False
        for link in self._topology.links.get(place[0], ()):
            if link.port_of(place[0]) == place[1] and link.other(place[0])[0] == beyond:
                other = self._parts.get(link.other(place[0]))
                nearer = (self._topology.depth(beyond), beyond) < (self._topology.depth(place[0]), place[0])
                return other is not None and other.state is LinkState.DOWN and nearer
        return False

    def _above_is_down(self, part: KnownPart) -> bool:
        """Return whether something that a part hangs on is down: that is the cause. A cycle ends."""
        seen = {part.key}
        while part.parent and part.parent not in seen:
            seen.add(part.parent)
            above = self._parts.get((part.target, part.parent))
            if above is None:
                return False
            if above.state in (LinkState.DOWN, LinkState.DISABLED):
                return True
            part = above
        return False

    def _together(self, above: Place, part: KnownPart) -> list[KnownPart] | None:
        """Return the parts that failed together with a part, if they are most of those with the same parent."""
        children = self._children.get(above, [])
        down = [one for one in children if one.state is LinkState.DOWN and one.since_how is not SinceHow.FIRST]
        near = [one for one in down if abs(one.since_s - part.since_s) <= TOGETHER_S]
        others = len(children) - (len(down) - len(near))  # what was down before says nothing of now
        return near if len(near) >= TOGETHER_LEAST and 2 * len(near) > others else None

    def _error_cause(self, part: KnownPart, services: tuple[str, ...]) -> Cause | None:
        read_s = self._read_s(part)
        for name, growth in part.errors.items():
            if growth.at_s >= read_s and "errors" in name and growth.bad():
                since_s = growth.since_s or growth.at_s
                detail = f"{growth.grew} {name.replace('_', ' ')} in {growth.within_s} s"
                return Cause(CauseKind.ERRORS, part.target, part, since_s, detail, services=services)
        return None

    def _read_s(self, part: KnownPart) -> int:
        device = self._topology.devices.get(part.target)
        return 0 if device is None else device.read_s

    def _hanging(self, place: Place) -> tuple[str, ...]:
        """Return the services on a part and on the parts behind it; a cycle ends."""
        found, seen, waiting = set(self._seen.served.get(place, ())), {place}, [place]
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                below = (child.target, child.key)
                if below not in seen:
                    seen.add(below)
                    found.update(self._seen.served.get(below, ()))
                    waiting.append(below)
        return tuple(sorted(found))

    def _placed(self, cause: Cause) -> Cause:
        link: DeviceLink | None = self._topology.upstream(cause.target)
        if link is None:
            claims = {one.other(cause.target) for one in self._topology.claims.get(cause.target, ())}
            return replace(cause, claims=tuple(sorted(claims)[:CLAIMS_SHOWN]))
        upstream, port = link.other(cause.target)
        return replace(cause, upstream=upstream, upstream_port=port)

    def _name(self, target: str) -> str:
        return self._topology.devices[target].name


def light(part: KnownPart) -> str:
    """Return that a part lost its light or its signal before it went down; "": nothing shows that."""
    for name in ("rx_power_dbm", "olt_rx_power_dbm", "signal_dbm"):
        last, usual = part.before.get(name), part.usual.get(name)
        lost = {"rx_power_dbm": -27.0, "olt_rx_power_dbm": -28.0, "signal_dbm": -80.0}[name]
        if last is not None and (last <= lost or (usual is not None and last <= usual - 6.0)):
            return f"losing {'signal' if name == 'signal_dbm' else 'light'}: {last:.1f} dBm"
    return ""


def _words(parts: Iterable[KnownPart]) -> str:
    """Return the reason that most of the parts tell for being down."""
    words = Counter(part.told for part in parts if part.told)
    return words.most_common(1)[0][0] if words else ""


def affected(found: Iterable[Cause]) -> dict[str, Cause]:
    """Return the services that are cut off now, each with the worst cause; a part that is bad but works cuts nobody
    off.
    """
    cut: dict[str, Cause] = {}
    for cause in found:
        if cause.kind in _CUTS:
            for ref in cause.services:
                cut.setdefault(ref, cause)
    return cut


def cause_of(found: Sequence[Cause], target: str, part: str, service: str = "") -> Cause | None:
    """Return the cause that a part's state comes from, where that is something else than the part itself.

    `service`: of the part's line; a part of the device above it may be down.
    """
    for cause in found:
        if target == cause.target and (cause.part is None or cause.part.key != part) and cause.kind in _WHOLE:
            return cause
        if target in cause.behind:
            return cause
        hangs = target == cause.target and cause.part is not None and cause.part.key != part
        if hangs and service in cause.services and cause.kind in _SHARED_CAUSES:
            return cause
    return None


_WHOLE: Final = frozenset({CauseKind.SILENT, CauseKind.RESTARTED})
_SHARED_CAUSES: Final = frozenset({CauseKind.DOWN, CauseKind.TOGETHER})
