"""Compares every service with the network, at a steady pace and on request, and keeps the differences that it finds.

* It only reads, and nothing mends itself: a difference is listed until a person settles it by a change.
* Services are read in slices with a pause between them: a round over thousands holds up no change and no read.
* A difference counts when a second reading at the end of the round shows it too: a login that is just being edited, or
  a session that is just being replaced, is none. A service on which a change acts meanwhile is not judged.
* A service that cannot be read is listed as not checked: it counts neither as different nor as fine.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

import trio

from agent.changes.engine.reads import read_targets
from agent.changes.engine.steps import RunParts
from agent.connectors.base import LiveSession, NetworkState, UnreadableError
from agent.connectors.spec import AccessMap
from agent.inventory import book, drift_book, mapping_check
from agent.inventory.drift_book import Difference, DriftRound, SaveRound, Unread
from agent.model import ABSENT, Service
from agent.reasons import DriftReason
from agent.services import drift
from agent.services.drift import ServiceReading
from agent.services.network import NetworkReader
from agent.store.db import Store
from trust.moments import moment_json

_log = logging.getLogger("agent.drift")
SLICE: Final = 200
"""Services that are read together."""
PAUSE_S: Final = 0.5
"""Between two slices of a round."""
LOGINS_MAX: Final = 500
"""Logins without a service that are listed of one target."""
ALARM_MIN: Final = 3
"""Services that must differ before there is an alarm, however few there are."""

FIRST_S: Final = 60.0
"""How soon after a start the first round may begin: routers and databases are being reached then."""

SeenSessions = Callable[[Iterable[tuple[str, LiveSession]]], Awaitable[None]]
"""Takes the sessions that a round saw, each with its service."""
Source = Callable[[], Awaitable["SourceFindings"]]
"""Compares something else than services (CPE) with its record."""


@dataclass(frozen=True, slots=True)
class SourceFindings:
    """Findings of another source: differences, subjects that it could not check, and how many it checked."""

    found: tuple[Difference, ...] = ()
    unread: tuple[Unread, ...] = ()
    checked: int = 0


@dataclass(frozen=True, slots=True)
class DriftTempo:
    """How often a round begins by itself, seconds (0: never), and the share of differing services for an alarm."""

    every_s: float
    alarm_percent: int


@dataclass(slots=True)
class _Round:
    """A round under way."""

    began_s: int
    found: dict[str, tuple[Difference, ...]] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    ways_out: set[str] = field(default_factory=set)
    checked: int = 0
    busy: int = 0


class DriftWatch:
    """Runs rounds and keeps the last one."""

    def __init__(
        self,
        parts: RunParts,
        network: NetworkReader,
        access: Sequence[AccessMap],
        zone: ZoneInfo,
        tempo: DriftTempo,
        sources: Sequence[Source] = (),
        seen: SeenSessions | None = None,
    ) -> None:
        """Take the parts that a run uses, and the reader of services' states. Nothing runs before `run`.

        Args:
            parts: of a run; targets are read by its sessions.
            network: reads services' states.
            access: the access methods that the configuration declares.
            zone: the operator's time zone.
            tempo: the pace of rounds.
            sources: further sources of differences.
            seen: is told the sessions of each service; None: nobody.
        """
        self._parts, self._network, self._zone, self._tempo = parts, network, zone, tempo
        self._store: Store = parts.store
        self._access = {one.name: one for one in access}
        self._sources, self._seen = sources, seen
        self._asked = trio.Event()
        self.running = False
        """Whether a round is under way."""

    async def run(self) -> None:
        """Run rounds until cancelled.

        Raises:
            StoreFailedError: a round cannot be recorded.
        """
        while True:
            with trio.move_on_after(self._due_s()):
                await self._asked.wait()
            self._asked = trio.Event()
            self.running = True
            try:
                await self.round()
            finally:
                self.running = False

    def start(self) -> None:
        """Begin a round now, unless one is under way."""
        if not self.running:
            self.running = True
            self._asked.set()

    def last(self) -> DriftRound | None:
        """Return the counts of the last round; None: there was none yet."""
        return drift_book.last_round(self._store.query)

    def _due_s(self) -> float:
        """Return in how many seconds the next round begins by itself."""
        if not self._tempo.every_s:
            return math.inf
        last = self.last()
        since_s = math.inf if last is None else max(self._parts.clock.wall_s() - last.ended_s, 0)
        return max(self._tempo.every_s - since_s, min(self._tempo.every_s, FIRST_S))

    async def round(self) -> DriftRound:
        """Compare all services once, keep the result, and return its counts.

        Raises:
            StoreFailedError: it cannot be recorded.
        """
        clock = self._parts.clock
        now = _Round(int(clock.wall_s()))
        services = list(book.services(self._store.reader).values())
        shared = {ref for s in mapping_check.check(services, self._access.values()).shared_logins for ref in s.refs}
        refs = [one.ref for one in services]
        for start in range(0, len(refs), SLICE):
            if start:
                await clock.sleep(PAUSE_S)
            await self._slice(now, refs[start : start + SLICE], shared)
        await self._second_look(now)
        beside = [await source() for source in self._sources]
        logins, hidden = await self._unknown_logins()
        others = (*logins, *(one for findings in beside for one in findings.found))
        unread = (*now.unread, *hidden, *(one for findings in beside for one in findings.unread))
        differ = len(now.found)
        limit = max(ALARM_MIN, now.checked * self._tempo.alarm_percent / 100)
        done = DriftRound(
            began_s=now.began_s,
            ended_s=int(clock.wall_s()),
            services=len(services),
            checked=now.checked + len({one.subject for one in logins}) + sum(findings.checked for findings in beside),
            differ=differ + len({one.subject for one in others}),
            unread=len(unread),
            busy=now.busy,
            alarm=differ > limit,
            notes=tuple(sorted(now.notes)),
            ways_out=tuple(sorted(now.ways_out)),
        )
        before = self.last()
        found = tuple(one for ones in now.found.values() for one in ones)
        await self._store.run(SaveRound(done, (*found, *others), unread))
        self._say(done, was=before is not None and before.alarm)
        return done

    def _say(self, done: DriftRound, *, was: bool) -> None:
        counts = {"count": done.differ}
        if done.alarm and not was:
            _log.warning("more services differ from the network than drift.alarm_percent allows", extra=counts)
        elif was and not done.alarm:
            _log.info("fewer services differ from the network than drift.alarm_percent", extra=counts)
        elif done.differ:
            _log.info("services differ from the network", extra=counts)

    # --- services ---

    async def _slice(self, now: _Round, refs: Sequence[str], shared: frozenset[str] | set[str]) -> None:
        after_seq = self._store.size
        # As recorded now: a round over thousands takes minutes, and changes end within it
        services = list(book.some_services(self._store.reader, refs).values())
        found, unread = await self._compared(now, [s for s in services if s.ref not in shared])
        busy = drift_book.touched(self._store.query, refs, after_seq)
        unread |= {s.ref: "its login is that of another service too" for s in services if s.ref in shared}
        now.busy += len(busy)
        now.unread += [Unread(ref, why) for ref, why in unread.items() if ref not in busy]
        now.found |= {ref: ones for ref, ones in found.items() if ref not in busy and ones}
        now.checked += sum(1 for ref in found if ref not in busy)

    async def _second_look(self, now: _Round) -> None:
        """Read the services that differ once more, and keep the differences that are still there."""
        suspects = list(now.found)
        first = {ref: {one.code for one in ones} for ref, ones in now.found.items()}
        now.found = {}
        for start in range(0, len(suspects), SLICE):
            await self._parts.clock.sleep(PAUSE_S)
            refs, after_seq = suspects[start : start + SLICE], self._store.size
            services = list(book.some_services(self._store.reader, refs).values())
            found, unread = await self._compared(now, services)
            busy = drift_book.touched(self._store.query, refs, after_seq)
            for ref, ones in found.items():
                again = tuple(one for one in ones if one.code in first[ref])
                if ref not in busy and again:
                    now.found[ref] = again
            now.busy += len(busy)
            now.unread += [Unread(ref, why) for ref, why in unread.items() if ref not in busy]
            now.checked -= len(busy | unread.keys())

    async def _compared(
        self, now: _Round, services: Sequence[Service]
    ) -> tuple[dict[str, tuple[Difference, ...]], dict[str, str]]:
        """Return the differences of each service that could be checked, and of the others why they could not."""
        found: dict[str, tuple[Difference, ...]] = {}
        unread: dict[str, str] = {}
        states = await self._network.read_states(services)
        read_s = int(self._parts.clock.wall_s())
        if self._seen is not None:
            read = ((ref, state) for ref, state in states.items() if isinstance(state, NetworkState))
            await self._seen((ref, session) for ref, state in read for session in state.sessions)
        for service in services:
            state = states[service.ref]
            if isinstance(state, UnreadableError):
                unread[service.ref] = str(state)
                continue
            now.notes |= set(state.not_checked)
            now.ways_out |= set(state.ways_out)
            if (why := drift.cannot_tell(state)) and not drift.lost_hold(service, state):
                unread[service.ref] = why
                continue
            recorded = drift_book.recorded_reasons(self._store.query, service.ref) if service.reasons else ()
            differences = drift.compare(service, self._reading(service, state, read_s), recorded, self._zone)
            if state.unjudged and service.reasons and not differences:
                unread[service.ref] = f"whether it is kept in: {state.unjudged}"
            elif not differences and (why := drift.passed_text(drift.passed_over(state))):
                unread[service.ref] = why
            else:
                now.notes |= {
                    f"whether suspended services are kept in: {why}" for why in filter(None, (state.unjudged,))
                }
                found[service.ref] = differences
        return found, unread

    def _reading(self, service: Service, state: NetworkState, read_s: int) -> ServiceReading:
        method, mapped = self._parts.access_methods[service.method], self._access.get(service.method)
        return ServiceReading(state, method.target, read_s, mapped is not None and service.tariff in mapped.tariffs)

    # --- logins that no service has ---

    async def _unknown_logins(self) -> tuple[list[Difference], list[Unread]]:
        """Return the logins online without a service, and the targets whose logins are not all listed."""
        census = {
            target: where
            for target, where in self._parts.census.items()
            if any(target in (one.target, *one.also_on) for one in self._access.values() if not one.addressed)
        }
        seen, away = await read_targets(self._parts.sessions, list(census.values()))
        read_s = int(self._parts.clock.wall_s())
        known = self._known_logins(book.services(self._store.reader).values())
        found: list[Difference] = []
        unread = [Unread(_online_on(target), str(err)) for target, err in away.items()]
        for target, where in census.items():
            value = seen[where].value if where in seen else ABSENT
            online = () if value is ABSENT else tuple(value)
            strange = sorted(login for login in online if login.casefold() not in known)
            found += [_unknown_login(login, target, read_s) for login in strange[:LOGINS_MAX]]
            if more := len(strange[LOGINS_MAX:]):
                why = f"{more} more {'has' if more == 1 else 'have'} no service: they are not listed one by one"
                unread.append(Unread(_online_on(target), why))
        return found, unread

    def _known_logins(self, services: Iterable[Service]) -> frozenset[str]:
        """Return the logins of all services; a router may serve one that another target decides."""
        same = {name: one.same for name, one in self._access.items()}
        return frozenset(
            text.casefold() for s in services for text in (s.login, same.get(s.method, str)(s.login)) if text
        )


def _online_on(target: str) -> str:
    return f"logins online on {target}"


def _unknown_login(login: str, target: str, read_s: int) -> Difference:
    return Difference(
        subject=f"login {login}",
        code=DriftReason.UNKNOWN_LOGIN.value,
        wanted="no service in the inventory has this login",
        reads="it is listed as online",
        where=target,
        read_s=read_s,
        known="it was made by hand, or its service was never imported",
        asks=(("ispagent subscriber import FILE", "import its service"),),
    )


def counts_json(done: DriftRound | None, *, running: bool) -> Mapping[str, object] | None:
    """Return the counts of a round for people that may see no names; None: there was none yet."""
    if done is None:
        return None
    return {
        "id": done.id,
        "began_at": moment_json(done.began_s),
        "ended_at": moment_json(done.ended_s),
        "services": done.services,
        "checked": done.checked,
        "differ": done.differ,
        "not_checked": done.unread,
        "busy": done.busy,
        "alarm": done.alarm,
        "notes": list(done.notes),
        "ways_out": list(done.ways_out),
        "running": running,
    }
