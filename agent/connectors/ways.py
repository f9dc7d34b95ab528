"""An access method with the ways out of its devices: completes the one that writes and judges. Pure.

The access method inside knows its rows, its rules and its sessions. Other ways out of a device (`Ways`) are alike for
all of them: a sure one refuses the suspension and its proof, the others stand in the preview, and beside a state that
reads as suspended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent.connectors.base import (
    NONE_ENDED,
    OPEN,
    AccessPlan,
    CannotEnforce,
    DeviceMethod,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    KnowsClients,
    NetworkState,
    WayOut,
    Ways,
)
from agent.model import Access, Address, Effect, Enforcement, Seen, Service, ServiceState
from agent.reasons import MethodReason, ProofReason

_WITHIN: Final = frozenset({Enforced.YES, Enforced.PENDING})


class WaysAccess:
    """Implements `agent.connectors.base.DeviceMethod` and `KnowsClients` over another one."""

    def __init__(self, inner: DeviceMethod, ways: Ways) -> None:
        """Take the access method, and the ways out of its devices."""
        self.target = inner.target
        self._inner, self._ways = inner, ways

    def example(self) -> Example | None:
        """Return the access method's example."""
        return self._inner.example()

    def needs(self, services: Collection[Service]) -> DeviceNeeds:
        """Return the access method's needs."""
        return self._inner.needs(services)

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that the access method needs, and those of the ways out."""
        return [*self._inner.reads(service, seen), *self._ways.reads(service, seen)]

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the access method's state, and beside a suspended one the ways out."""
        state = self._inner.network_state(service, seen)
        if state.access is not Access.SUSPENDED:
            return state
        found = self._ways.out(service, seen)
        unread = tuple(way.text for way in found if not way.known)
        ways_out = tuple(way.text for way in found if way.known)
        return replace(state, not_checked=(*state.not_checked, *unread), ways_out=(*state.ways_out, *ways_out))

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the access method's plan with the ways out, or the one that defeats a suspension."""
        planned = self._inner.plan(wanted, service, seen)
        if isinstance(planned, CannotEnforce):
            return planned
        if wanted.access is not Access.SUSPENDED:
            return _with(planned, self._ways.undoing(seen) if planned.steps else ())
        found = self._ways.out(service, seen)
        if refusing := _refusing(found):
            return CannotEnforce(MethodReason.WAY_OUT, f"{refusing.text}: {refusing.mend}")
        return _with(planned, found)

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the access method's disconnect."""
        return self._inner.disconnect(service, seen)

    def ends_of_clients(self, service: Service, ended: Mapping[Address, Seen]) -> Sequence[tuple[str, Effect]]:
        """Return the access method's clients; none of one that knows none."""
        return self._inner.ends_of_clients(service, ended) if isinstance(self._inner, KnowsClients) else ()

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge as the access method does; a suspension does not hold while a way out is there that defeats it."""
        found = self._inner.judge(enforce, seen, ended)
        if not _suspends(enforce) or found.enforced not in _WITHIN:
            return found
        if refusing := _refusing(self._ways.out(None, seen)):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, refusing.text)
        told = " · ".join((found.detail, *(way.text for way in self._ways.undoing(seen))))
        return replace(found, detail=told)

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the addresses that the access method needs to judge, and those of ways that defeat a suspension."""
        more = self._ways.defeat_reads(seen) if _suspends(enforce) else ()
        return [*self._inner.enforcement_reads(enforce, seen, ended), *more]


def _suspends(enforce: Enforcement) -> bool:
    return enforce.expect.get("state") == Access.SUSPENDED.value


def _refusing(found: Collection[WayOut]) -> WayOut | None:
    return next((way for way in found if way.refuses), None)


def _with(planned: AccessPlan, found: Sequence[WayOut]) -> AccessPlan:
    """Return a plan with a preview that names the ways out."""
    if not found:
        return planned
    told = "; ".join(filter(None, (planned.display.get(OPEN, ""), *(way.told for way in found))))
    return replace(planned, display={**planned.display, OPEN: told})
