"""Planner of a device's own configuration: the rows that a device lacks so that a suspension on it is kept.

* Its subject is a device. Its connector names the rows that it lacks; access methods name the rows that they rest on.
* Only the difference is planned, from present reads, and it is a change like any other: preview, approvals of class
  *config*, read-back, revert.
* A revert removes the rows that still read as they were written, last first, and is refused while somebody is kept in
  by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

import trio

from agent.changes.journal.machine import TOUCHED
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import DEVICE_SETTINGS, GARDEN, LIST_NAME, RESOLVERS, Ask, Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.intake import Planner
from agent.changes.planning.preview import Previewer, Scope
from agent.connectors.base import (
    CannotEnforce,
    Connector,
    DeviceNeeds,
    OnDevices,
    Preparation,
    Prepares,
    PrepareTerms,
    UnreadableError,
)
from agent.inventory import book
from agent.model import Address, Effect, Item, ItemState, Listed, Requirement, Seen, Service, Step, Transition
from agent.reasons import SkipReason
from agent.services.network import ROUNDS_MAX, as_read
from agent.services.readiness import AT_ONCE, READ_S
from agent.services.verbs import Leave
from trust import chance
from trust.plural import counted
from trust.policy import Action

_MAY_STAND: Final = (*TOUCHED, ItemState.NEEDS_A_PERSON, ItemState.DIVERGED)
"""States of an item of which something may stand on its device."""
LIST: Final = "suspended"
"""The address list of a profile that has none, where nobody names one."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A preparation as it would be planned now, and the reads that it rests on."""

    found: Preparation | CannotEnforce
    seen: Mapping[Address, Seen]


@dataclass(frozen=True, slots=True)
class Preparer:
    """Finds the configuration that devices lack. `connectors`: those that prepare theirs, by target."""

    previewer: Previewer
    connectors: Mapping[str, Prepares]

    async def look(self, target: str, terms: PrepareTerms) -> Looked:
        """Return the preparation of a target as it is planned from live reads, or its refusal.

        Raises:
            RequestError: no access method is configured on it.
            UnreadableError: it could not be read.
        """
        services, connector = book.services(self.previewer.store.reader), self.connectors[target]
        needs = self._needs(target, services.values())
        if not needs:
            raise RequestError(f"no access method is configured on {_name(target)}: nobody is suspended there")
        seen: dict[Address, Seen] = {}
        for _ in range(ROUNDS_MAX):
            if not (missing := connector.preparation_reads(target, needs, terms, seen)):
                break
            session = await self.previewer.sessions.dialed(target)
            seen |= await session.read(missing)
        return Looked(connector.preparation(target, needs, terms, seen), seen)

    async def advices(self, targets: Iterable[str]) -> Mapping[str, str]:
        """Return by target the effect of a preparation where suspensions are refused, or its refusal."""
        found: dict[str, str] = {}
        limit = trio.CapacityLimiter(AT_ONCE)

        async def advise(target: str) -> None:
            found[target] = f"device prepare {_name(target)} was not tried: no answer within {READ_S:.0f} s"
            async with limit:
                with trio.move_on_after(READ_S):
                    found[target] = await self._advice(target)

        async with trio.open_nursery() as nursery:
            for target in targets:
                nursery.start_soon(advise, target)
        return found

    async def _advice(self, target: str) -> str:
        name = _name(target)
        if target not in self.connectors:
            return f"{name} cannot be prepared by the agent: put it right by hand"
        try:
            found = (await self.look(target, PrepareTerms(LIST))).found
        except (RequestError, UnreadableError) as err:
            return f"device prepare {name} would be refused: {err}"
        if isinstance(found, CannotEnforce):
            return f"device prepare {name} would be refused: {found.detail}"
        if not found.steps:
            return f"device prepare {name} has nothing to add: what is refused is of these subscribers or methods alone"
        rows = counted(len(found.steps), "row")
        return f"ask for what is missing ({rows}: {found.display['after']}): ispagent device prepare {name}"

    def target_named(self, name: str) -> str:
        """Return the target of a name.

        Raises:
            RequestError: there is none.
        """
        found = [target for target in self.connectors if name in (target, _name(target))]
        if len(found) != 1:
            known = ", ".join(map(_name, self.connectors)) or "none"
            raise RequestError(f"there is no router {name}; configured: {known}")
        return found[0]

    def _needs(self, target: str, services: Iterable[Service]) -> Sequence[DeviceNeeds]:
        every = list(services)
        return [
            method.on_devices()[target].needs([service for service in every if service.method == name])
            for name, method in self.previewer.network.access_methods.items()
            if isinstance(method, OnDevices) and target in method.on_devices()
        ]


@dataclass(frozen=True, slots=True)
class PreparationPlanner:
    """Implements `Planner` for the preparation of devices."""

    preparer: Preparer

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: no such device, no access method on it, it is ready, or policy refuses.
            UnreadableError: it could not be read.
        """
        target = self.preparer.target_named(request.ask.refs[0])
        terms = terms_of(request.ask)
        looked = await self.preparer.look(target, terms)
        found, previewer = looked.found, self.preparer.previewer
        if isinstance(found, CannotEnforce):
            item = _left(target, Leave(found.reason, found.detail, blocked=True))
        elif not found.steps:
            item = _left(target, Leave(SkipReason.ALREADY, _ready_text(terms)))
        else:
            display = {"title": f"router {_name(target)}", **found.display}
            requires = tuple(as_read(where, looked.seen[where].value) for where in found.rests_on)
            item = _item(display, found.steps, requires=requires)
        notes = [] if isinstance(found, CannotEnforce) or not found.look else [found.look]
        session = await previewer.sessions.dialed(target)
        notes += session.notes()
        if (busy := await session.busy()) is not None:
            notes.append(busy.detail)
        scope = Scope(
            _active(book.services(previewer.store.reader)),
            None,
            False,
            device_config=True,
            source="from what it reads now",
            notes=" · ".join(notes),
        )
        return await previewer.propose(request, [item], scope, pinned)

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that removes the rows that a preparation added and nobody changed since.

        Raises:
            RequestError: nothing of it stands, or somebody is kept in by it.
            UnreadableError: the device could not be read.
        """
        previewer = self.preparer.previewer
        row, services = loaded.row, book.services(previewer.store.reader)
        stand = [i for i in loaded.items.items if loaded.rows[i.n].state in _MAY_STAND and i.steps]
        if not stand:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        made = [await self._take_back(item, services.values()) for item in stand]
        own = int(previewer.clock.wall_s()) - row.made_s if row.requester == request.requester else None
        scope = Scope(
            _active(services),
            None,
            False,
            own_revert_age_s=own,
            reverts=row.plan_id,
            source=f"reverts {row.short}",
            device_config=not request.ask.alone,  # what a person may take back alone, class `alone` says
        )
        return await previewer.propose(request, made, scope, pinned)

    async def _take_back(self, item: Item, services: Iterable[Service]) -> Item:
        target = item.steps[0].target
        connector = self.preparer.connectors.get(target)
        if connector is None:
            return _left(target, Leave(SkipReason.CHANGED_SINCE, "it is no longer configured", blocked=True))
        writes = [write for step in reversed(item.steps) if not isinstance(step.do, Effect) for write in step.do]
        needed = connector.undo_reads(target, item.steps)
        session = await self.preparer.previewer.sessions.dialed(target)
        seen = await session.read([*(write.address for write in writes), *needed])
        held = [s.ref for s in services if s.reasons and target in self._devices_of(s.method)]
        why = connector.undo_refusal(target, item.steps, seen)
        if held or why:
            return _left(target, Leave(SkipReason.SUSPENDED, _suspended_text(held) or why, blocked=True))
        back: list[Transition] = []
        for write in writes:
            now = seen[write.address]
            if now.value == write.before.value:
                continue
            if now.value != write.after:
                told = f"{write.address} was changed since: put it right, or remove it by hand; nothing is taken back"
                return _left(target, Leave(SkipReason.CHANGED_SINCE, told))
            back.append(Transition(write.address, now, write.before.value))
        if not back:
            return _left(target, Leave(SkipReason.ALREADY, "nothing of the change stands on it"))
        steps = tuple(Step(n, target, (write,), (n - 1,) if n > 1 else ()) for n, write in enumerate(back, start=1))
        return _item({"title": f"router {_name(target)}", "after": "as before the change"}, steps)

    def _devices_of(self, name: str) -> Iterable[str]:
        method = self.preparer.previewer.network.access_methods.get(name)
        return method.on_devices() if isinstance(method, OnDevices) else ()


def terms_of(ask: Ask) -> PrepareTerms:
    """Return a person's choices.

    Raises:
        RequestError: a setting that is none of them, or a text that is no address.
    """
    unknown = sorted(ask.settings.keys() - DEVICE_SETTINGS)
    if unknown:
        raise RequestError(f"expected settings out of {', '.join(sorted(DEVICE_SETTINGS))}, got {', '.join(unknown)}")
    name = ask.settings.get(LIST_NAME, "") or LIST
    if not name.isprintable() or "," in name or len(name) > 64:
        raise RequestError(f"{LIST_NAME}: expected the name of an address list, got {name[:64]!r}")
    resolvers = _networks(ask, RESOLVERS)
    if any("/" in text for text in resolvers):
        raise RequestError(f"{RESOLVERS}: expected addresses, got a network")
    return PrepareTerms(name, _networks(ask, GARDEN), resolvers)


def _networks(ask: Ask, key: str) -> tuple[str, ...]:
    texts = tuple(text.strip() for text in ask.settings.get(key, "").split(",") if text.strip())
    for text in texts:
        try:
            ip_network(text)
        except ValueError as err:
            raise RequestError(f"{key}: expected addresses or networks, got {text[:64]!r}") from err
    return texts


def _item(display: Mapping[str, str], steps: tuple[Step, ...], *, requires: tuple[Requirement, ...] = ()) -> Item:
    return Item(1, chance.token_hex(16), None, Listed.CHANGE, "", display, requires, steps)


def _left(target: str, leave: Leave) -> Item:
    listed = Listed.BLOCKED if leave.blocked else Listed.EXCLUDED
    display = {"title": f"router {_name(target)}", "why_not": leave.why}
    return Item(1, chance.token_hex(16), None, listed, leave.code, display)


def _ready_text(terms: PrepareTerms) -> str:
    asked = [f"--{name}" for name, given in (("garden", terms.garden), ("resolver", terms.resolvers)) if given]
    told = f"; {' and '.join(asked)} would add to rules that are there: do that by hand" if asked else ""
    return f"nothing is missing: it has the profile, lists and rules that its access methods need{told}"


def _suspended_text(held: Sequence[str]) -> str:
    if not held:
        return ""
    if len(held) == 1:
        return f"{held[0]} is suspended there: restore it first"
    return f"{len(held)} services are suspended there, {held[0]} among them: restore them first"


def _active(services: Mapping[str, Service]) -> int:
    return sum(1 for service in services.values() if not service.reasons)


def _name(target: str) -> str:
    return target.partition("/")[2]


def planners(preparer: Preparer) -> Mapping[Action, Planner]:
    """Return the planner of preparations."""
    return {Action.PREPARE: PreparationPlanner(preparer)}


def preparer_of(previewer: Previewer, connectors: Iterable[Connector]) -> Preparer:
    """Return the preparer over all connectors that prepare their devices."""
    known = {target.id: one for one in connectors if isinstance(one, Prepares) for target in one.targets}
    return Preparer(previewer, known)
