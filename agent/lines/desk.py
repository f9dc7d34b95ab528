"""Answers from the state tables: a subscriber's line, a device's parts, outages. No device is asked for them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from agent.connectors.base import LiveSession, SharedCredential
from agent.inventory import book
from agent.lines import outage, states
from agent.lines.credentials import SilentCredential, silent_credentials
from agent.lines.finding import Hint, HintKind, LineFinder, ServiceLine
from agent.lines.known import KnownDevice, KnownEvent, KnownPart
from agent.lines.mapping import LineMap, MappingFile
from agent.lines.outage import Cause, OutageGround, Place
from agent.lines.port_use import PortGround, PortUse, uplink_of, use_of
from agent.lines.states import Query, RecordServiceMacs
from agent.lines.topology import ConfiguredUpstream, DeviceLink, Topology, topology_of
from agent.model import Service
from agent.runtime.clock import Clock
from agent.spelling import mac_digits
from agent.store.db import Store

Hints = Callable[[Query, str | None], Mapping[str, Sequence[Hint]]]
"""Returns other systems' facts on the CPE of a service, or of all of them (None), by service."""
VIEW_S: Final = 60.0
"""How often outages are worked out by themselves, for monitoring and previews."""
HUNG_S: Final = 1.5 * VIEW_S
"""How old it may be where each service hangs, in a large network."""
FRESH_S: Final = 2.0
"""An answer so young is given to every caller."""
QUICK_S: Final = 0.1
"""Where outages take no more CPU time to work out, they are worked out for each page of a subscriber."""
TOPOLOGY_S: Final = 10.0
"""How long devices and links are taken as they were read for one subscriber's line; in a large network, `VIEW_S`."""


@dataclass(frozen=True, slots=True)
class LineTerms:
    """The section `[lines]`.

    `roots`: names of the devices nearest to the agent; `alias`: the pattern of descriptions; `upstreams`: devices that
    are known to be next towards the root of others.
    """

    roots: tuple[str, ...] = ()
    alias: re.Pattern[str] | None = None
    upstreams: tuple[ConfiguredUpstream, ...] = ()


@dataclass(frozen=True, slots=True)
class OutageView:
    """Outages at one moment.

    Args:
        made_s: that moment, unix seconds.
        causes: the parts that are down or bad.
        cut: services that are cut off, with the cause.
        services: services in the inventory; `found`: those with a known line, `behind`: those of which only a shared
            part is known.
        devices: the known devices by target.
        parts: parts by kind and state.
        rooted: whether roots are configured that are known devices.
        claims: links that only one of their ends tells of.
        served: services by the part that is their line, and by the part that they are behind with others.
        silent_credentials: those of which every device is silent.
        problems: mistakes in the mapping file, and in the configured upstreams.
    """

    made_s: float
    causes: Sequence[Cause] = ()
    cut: Mapping[str, Cause] = field(default_factory=dict)
    services: int = 0
    found: int = 0
    behind: int = 0
    devices: Mapping[str, KnownDevice] = field(default_factory=dict)
    parts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rooted: bool = False
    claims: Sequence[DeviceLink] = ()
    served: Mapping[Place, Collection[str]] = field(default_factory=dict)
    silent_credentials: Sequence[SilentCredential] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Hung:
    """Services by the part on which they hang, and how many have a known line, or only a shared part.

    `made_s`: unix seconds; `took_s`: CPU time.
    """

    made_s: float
    took_s: float
    served: Mapping[Place, Collection[str]]
    services: int
    found: int
    behind: int


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A service's line with its devices, and the cause that its state comes from, where that is not the part itself.

    `known`: whether any device is known at all.
    """

    line: ServiceLine
    known: bool
    devices: Mapping[str, KnownDevice]
    causes: Mapping[Place, Cause]


@dataclass(frozen=True, slots=True)
class ShownLink:
    """A link of a device to another one. The ports are named as the devices do; "": not known.

    `told`: `configured`, `both ends`, or `one end`: that leads nowhere.
    """

    port: str
    device: str
    other_port: str
    told: str


class LineDesk:
    """Answers the local API's questions on ports, lines and outages from stored readings."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        terms: LineTerms,
        mapping: MappingFile,
        addresses: Callable[[], Mapping[str, str]],
        hints: Hints,
        credentials: Callable[[], Sequence[SharedCredential]] = tuple,
    ) -> None:
        """Take the sources of answers.

        Args:
            store: the agent's own.
            clock: of the agent.
            terms: `[lines]`.
            mapping: the operator's file.
            addresses: target by IP address, as configured.
            hints: other systems' facts on CPE.
            credentials: that devices share.
        """
        self._credentials = credentials
        self._store, self._clock, self._terms = store, clock, terms
        self._mapping, self._addresses, self._hints = mapping, addresses, hints
        self._topology: tuple[float, Topology] | None = None
        self._lock = trio.Lock()
        self._took_s = 0.0
        self._hung: _Hung | None = None
        self.last = OutageView(0.0)
        """The newest view; it is empty before the first was made."""

    async def run(self) -> None:
        """Work outages out again and again, until cancelled."""
        while True:
            await self.outages(VIEW_S / 2, HUNG_S / 3)
            await self._clock.sleep(VIEW_S)

    async def outages(self, max_age_s: float = FRESH_S, hung_s: float = HUNG_S) -> OutageView:
        """Return outages as they are now, or were `max_age_s` ago at most.

        In a large network, where each service hangs is as old as `hung_s` at most: that is most of the work.
        """
        async with self._lock:
            now_s = self._clock.wall_s()
            if not self._hangs(now_s, hung_s):
                self._hung = None
            if self._hung is None or not 0 <= now_s - self.last.made_s <= max_age_s or not self.last.made_s:
                lines, addresses = self._mapping.current(), self._addresses()
                if not states.is_any(self._store.query):
                    self.last = OutageView(now_s, problems=lines.problems)
                    return self.last
                self.last = await self._store.aside(lambda reader: self._view(reader, lines, addresses, now_s))
        return self.last

    def _hangs(self, now_s: float, hung_s: float) -> bool:
        """Return whether it is known, and new enough, where each service hangs."""
        hung = self._hung
        return hung is not None and (hung.took_s <= QUICK_S or 0 <= now_s - hung.made_s <= hung_s)

    async def refresh(self) -> None:
        """Have outages as they are now, where that is quick; in a large network they are as old as `VIEW_S`."""
        if self._took_s <= QUICK_S:
            await self.outages(0.0)

    async def cut_off(self) -> Collection[str]:
        """Return the services that an outage cuts off, as known a minute ago at most."""
        return (await self.outages(VIEW_S)).cut

    def line_of(self, service: Service) -> FoundLine:
        """Return a service's line, as the database has it now."""
        query, now_s = self._store.query, self._clock.wall_s()
        topology = self._recent_topology()
        finder = LineFinder(query, self._mapping.current(), self._terms.alias, topology, now_s)
        line = finder.find(service, self._known_hints(query, service.ref).get(service.ref, ()))
        shown = [one.part for one in (line.line, *line.candidates, *line.behind) if one is not None]
        devices = {part.target: device for part in shown if (device := states.device(query, part.target)) is not None}
        causes = {
            (part.target, part.key): cause
            for part in shown
            if (cause := outage.cause_of(self.last.causes, part.target, part.key, service.ref)) is not None
        }
        return FoundLine(line, bool(topology.devices), devices, causes)

    def device(self, target: str) -> tuple[KnownDevice, list[KnownPart], list[KnownEvent]] | None:
        """Return a device with its parts and its newest notifications; None: it was never read."""
        query = self._store.query
        device = states.device(query, target)
        return None if device is None else (device, states.parts(query, target), states.events(query, target))

    def links(self, target: str) -> list[ShownLink]:
        """Return the links of a device to others, with the names of their ports, and the evidence."""
        query, topology = self._store.query, self._recent_topology()
        configured = topology.configured.values()
        found = [(link, "configured" if link in configured else "both ends") for link in topology.links.get(target, ())]
        found += [(link, "one end") for link in topology.claims.get(target, ())]
        return [
            ShownLink(
                _port_name(query, target, link.port_of(target)),
                other,
                _port_name(query, other, port),
                told,
            )
            for link, told in found
            for other, port in (link.other(target),)
        ]

    def same_device(self, target: str) -> list[KnownDevice]:
        """Return the other targets that are the same device as one, the shown one first."""
        return states.same_device(self._store.query, target)

    async def port_use(self, target: str, part: str) -> PortUse:
        """Return the use of a port of a device: whether it is an uplink, and its subscribers."""
        view = await self.outages()
        ground = PortGround(self._store.query, self._recent_topology(), view.served, self._clock.wall_s())
        return use_of(ground, target, part)

    def uplink_now(self, query: Query, target: str, part: str) -> str:
        """Return why a port is an uplink, as the database has it in a transaction; "": it is none that is known."""
        return uplink_of(self._read_topology(query, self._addresses()), target, part)

    async def note_macs(self, found: Iterable[tuple[str, str, str]]) -> None:
        """Remember MAC addresses that sessions showed: service, address as twelve hex digits, the source.

        Known ones are not written again.
        """
        known = {(service, mac) for service, mac, _, _ in states.service_macs(self._store.query)}
        new = tuple(one for one in dict.fromkeys(found) if one[:2] not in known)
        if new:
            await self._store.run(RecordServiceMacs(new, int(self._clock.wall_s())))

    async def note_sessions(self, found: Iterable[tuple[str, LiveSession]]) -> None:
        """Remember the MAC addresses of CPE that sessions show, each with the service of the session."""
        await self.note_macs(
            (service, mac, f"session on {session.place}")
            for service, session in found
            for text in session.facts.values()
            if (mac := mac_digits(text))
        )

    # --- reading ---

    def _recent_topology(self) -> Topology:
        now_s = self._clock.wall_s()
        known = self._topology
        most_s = TOPOLOGY_S if self._took_s <= QUICK_S else VIEW_S + TOPOLOGY_S
        if known is None or not known[1].devices or not 0 <= now_s - known[0] <= most_s:
            known = self._topology = (now_s, self._read_topology(self._store.query, self._addresses()))
        return known[1]

    def _read_topology(self, query: Query, addresses: Mapping[str, str]) -> Topology:
        return topology_of(
            states.devices(query),
            states.neighbors(query),
            self._terms.roots,
            addresses,
            states.targets_of_macs(query),
            states.names_of_neighbor_ports(query),
            self._terms.upstreams,
            lambda target, name: next((part.key for part in states.parts_called(query, target, name, "")), ""),
            states.hidden(query),
        )

    def _known_hints(self, query: Query, service: str | None) -> dict[str, list[Hint]]:
        found: dict[str, list[Hint]] = {}
        for ref, mac, how, _ in states.service_macs(query, service):
            found.setdefault(ref, []).append(Hint(HintKind.MAC, mac, how))
        for ref, hints in self._hints(query, service).items():
            found.setdefault(ref, []).extend(hints)
        return found

    def _view(
        self, reader: sqlite3.Connection, lines: LineMap, addresses: Mapping[str, str], now_s: float
    ) -> OutageView:
        """Return outages as one moment of the database shows them; in a thread."""

        def query(sql: str, args: Sequence[object]) -> Sequence[sqlite3.Row]:
            return reader.execute(sql, args).fetchall()

        began_s = self._clock.cpu_s()
        topology = self._read_topology(query, addresses)
        hung = self._hung
        if hung is None or hung.took_s <= QUICK_S:
            self._hung = hung = self._hang(reader, query, lines, topology, now_s)
        read_s = {target: device.read_s for target, device in topology.devices.items()}
        found_causes = outage.causes(OutageGround(topology, states.notable_parts(query, read_s), hung.served, now_s))
        causes = [_port_named(query, cause) for cause in found_causes]
        self._took_s = self._clock.cpu_s() - began_s
        self._topology = (now_s, topology)
        return OutageView(
            now_s,
            causes,
            outage.affected(causes),
            hung.services,
            hung.found,
            hung.behind,
            topology.devices,
            states.part_counts(query),
            bool(topology.roots),
            list(dict.fromkeys(link for some in topology.claims.values() for link in some)),
            hung.served,
            silent_credentials(self._credentials(), topology.devices),
            (*topology.problems, *lines.problems),
        )

    def _hang(
        self, reader: sqlite3.Connection, query: Query, lines: LineMap, topology: Topology, now_s: float
    ) -> _Hung:
        """Return where every service hangs; most of the time that outages take, and seldom new."""
        began_s = self._clock.cpu_s()
        finder = LineFinder(query, lines, self._terms.alias, topology, now_s)
        hints = self._known_hints(query, None)
        services, served, found, behind = book.services(reader), dict[Place, set[str]](), 0, 0
        for service in services.values():
            line = finder.find(service, hints.get(service.ref, ()))
            near = line.line or next(iter(line.behind), None)
            found += line.line is not None
            behind += line.line is None and near is not None
            if near is not None:
                served.setdefault((near.part.target, near.part.key), set()).add(service.ref)
        return _Hung(now_s, self._clock.cpu_s() - began_s, served, len(services), found, behind)


def _port_named(query: Query, cause: Cause) -> Cause:
    """Return a cause with upstream ports named as people know them; keys are not for them."""
    claims = tuple((target, _port_name(query, target, key)) for target, key in cause.claims)
    return replace(cause, upstream_port=_port_name(query, cause.upstream, cause.upstream_port), claims=claims)


def _port_name(query: Query, target: str, key: str) -> str:
    port = states.part(query, target, key) if key else None
    return key.partition("/")[2] if port is None else port.name
