"""The state of services that the network reads now: the one reader of previews and all else above connectors.

It never answers from the agent's memory. It is tolerant: a target that cannot be read is one error, which the services
that hang on it have for an answer; all others go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import trio

from agent.connectors.base import (
    AccessMethod,
    CannotEnforce,
    NetworkState,
    OnDevices,
    ReadSession,
    UnreadableError,
)
from agent.inventory.book import AS_READ
from agent.model import Access, Address, Requirement, Seen, Service, ServiceState, Value, by_target, target_of
from agent.reasons import ExplainedReason, MethodReason, TargetReason
from agent.runtime.slices import InSlices
from trust.items import encode_value

ROUNDS_MAX = 8
"""Read rounds of an access method; each may name resources that the last one made necessary."""


class Targets(Protocol):
    """Opens a session to a target that is dialed."""

    async def dialed(self, target: str) -> ReadSession:
        """Return an open session.

        Raises:
            UnreadableError: it cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings of some services.

    `unread`: by target, why it could not be. `left`: by a service's ref, the targets that it hangs on and that could
    not be read. `notes`: of the targets that were.
    """

    access_methods: Mapping[str, AccessMethod]
    seen: Mapping[Address, Seen]
    unread: Mapping[str, UnreadableError]
    left: Mapping[str, Sequence[str]]
    notes: Mapping[str, Sequence[str]]
    states: dict[str, NetworkState | UnreadableError] = field(default_factory=dict)
    """Those that were asked for, by a service's ref."""
    reachable: dict[tuple[str, tuple[str, ...]], AccessMethod] = field(default_factory=dict)
    """Access methods without the targets that could not be read, by both: as they were asked for."""

    def missing(self, service: Service) -> str:
        """Return why not all could be read that the access method of a service asked for; "": all was."""
        return "; ".join(str(self.unread[target]) for target in self.left.get(service.ref, ()))

    def state(self, service: Service) -> NetworkState | UnreadableError:
        """Return the state of a service, or why it was not read.

        Where only another target than that of its access method is missing, the state says so.
        """
        if service.ref not in self.states:
            self.states[service.ref] = self._state(service)
        return self.states[service.ref]

    def held(self, service: Service, *, suspended: bool) -> NetworkState | UnreadableError:
        """Return the state of a service, judged whether it keeps a suspended subscriber in.

        The judge is the access method's plan of a suspension, as in a preview. It judges the devices that were read;
        the state names the others.

        Args:
            service: as it was read: as one that was never suspended.
            suspended: the inventory has it as suspended.
        """
        state = self.state(service)
        if isinstance(state, UnreadableError) or state.absent or state.refused or state.access is Access.ACTIVE:
            return state
        if not suspended and state.access is None:
            return state
        unread = self.missing(service)
        asked = replace(service, tariff=state.tariff or service.tariff)
        planned = self._read_part(service).plan(ServiceState(Access.SUSPENDED, asked.tariff), asked, self.seen)
        if not isinstance(planned, CannotEnforce):
            return replace(state, unjudged=unread)
        if not isinstance(planned.reason, ExplainedReason) or not planned.reason.lets_out:
            return replace(state, unjudged="; ".join(filter(None, (planned.detail, unread))))
        why, mend = planned.detail, planned.reason.remedy
        return replace(state, access=None, unknown=why, not_held=why, mend=mend, unjudged=unread)

    def _read_part(self, service: Service) -> AccessMethod:
        """Return the access method of a service, on the devices that were read."""
        method, gone = self.access_methods[service.method], tuple(self.left.get(service.ref, ()))
        if not gone or not isinstance(method, OnDevices):
            return method
        key = (service.method, gone)
        if key not in self.reachable:
            self.reachable[key] = method.without(gone)
        return self.reachable[key]

    def _state(self, service: Service) -> NetworkState | UnreadableError:
        method = self.access_methods.get(service.method)
        if method is None:
            return UnreadableError(unmapped_text(service), reason=MethodReason.UNMAPPED_METHOD)
        if method.target in self.left.get(service.ref, ()):
            return self.unread[method.target]
        return method.network_state(service, self.seen)


class NetworkReader:
    """Reads services by their access methods, through the sessions that also write."""

    def __init__(self, targets: Targets, access_methods: Mapping[str, AccessMethod]) -> None:
        """Take the targets, and the access methods by name."""
        self._targets = targets
        self.access_methods = access_methods

    def alone(self, name: str, method: AccessMethod) -> NetworkReader:
        """Return a reader of the same targets that knows one access method only, by that name."""
        return NetworkReader(self._targets, {name: method})

    async def read_states(self, services: Sequence[Service]) -> Mapping[str, NetworkState | UnreadableError]:
        """Return the state of each service that the network reads now, by its ref, or why that could not be read.

        The reasons in the inventory are left aside: all is read, as of a service that was never suspended. Of one that
        is suspended the state says whether that keeps anybody in (`Readings.held`).
        """
        fresh = [(replace(service, reasons=frozenset()), bool(service.reasons)) for service in services]
        read = await self.read([service for service, _ in fresh])
        return {one.ref: read.held(one, suspended=suspended) async for one, suspended in InSlices(fresh)}

    async def read(self, services: Sequence[Service], known: Readings | None = None) -> Readings:
        """Return the answers to the services' access methods, as far as they can be read.

        Args:
            services: each of them once.
            known: earlier readings of others, and of these as they were asked then, which are gone on with.

        Raises:
            UnreadableError: an access method does not come to an end with its questions.
        """
        seen: dict[Address, Seen] = dict(known.seen) if known else {}
        unread: dict[str, UnreadableError] = dict(known.unread) if known else {}
        notes: dict[str, Sequence[str]] = dict(known.notes) if known else {}
        wanted = [(self.access_methods[s.method], s) for s in services if s.method in self.access_methods]
        for _ in range(ROUNDS_MAX):
            asked = {s.ref: found async for method, s in InSlices(wanted) if (found := method.reads(s, seen))}
            needed = by_target([a for found in asked.values() for a in found])
            missing = {target: addresses for target, addresses in needed.items() if target not in unread}
            if not missing:
                left = {ref: sorted({target_of(a) for a in found}) for ref, found in asked.items()}
                return Readings(self.access_methods, seen, unread, {**(known.left if known else {}), **left}, notes)
            async with trio.open_nursery() as nursery:
                for target, addresses in missing.items():
                    nursery.start_soon(self._read_target, target, addresses, seen, unread, notes)
        raise UnreadableError(
            f"an access method asked for more than {ROUNDS_MAX} rounds of reads", reason=TargetReason.ENDLESS
        )

    async def _read_target(
        self,
        target: str,
        addresses: Sequence[Address],
        seen: dict[Address, Seen],
        unread: dict[str, UnreadableError],
        notes: dict[str, Sequence[str]],
    ) -> None:
        try:
            session = await self._targets.dialed(target)
            seen.update(await session.read(addresses))
            notes[target] = session.notes()
        except UnreadableError as err:
            unread[target] = err


def as_read(where: Address, value: Value) -> Requirement:
    """Return the requirement that a resource still reads so; it is read again before the first step."""
    return Requirement(where, AS_READ, f"{where} reads as previewed ({value_digest(value)})")


def value_digest(value: Value) -> str:
    """Return 16 hex digits by which two values are compared."""
    return hashlib.sha256(encode_value(value)).hexdigest()[:16]


def unmapped_text(service: Service) -> str:
    """Return why a service of an unknown access method is left alone."""
    return f"no access mapping for method {service.method}"
