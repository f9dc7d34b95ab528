"""Planner of changes of the inventory itself: a service that is taken out, fields that are written otherwise.

Login, access method and protection decide whether a change reaches a service, so a list that gives a known service
others asks for a change, as does one that gives a new service the login of a known one. Nothing is sent to the network
by them. They are previewed, approved, logged and taken back as any other change, since the facts of a plan have an
author. A suspended service keeps its mark in the network, so it is refused; with one exception, a service with a login
that another one claims: it cannot be restored, and it must be possible to remove it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import repeated_by
from agent.changes.journal.machine import TOUCHED, Gate
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.intake import Planner, select
from agent.changes.planning.preview import Chosen, Previewer, Scope
from agent.connectors.base import NetworkState, UnreadableError
from agent.connectors.spec import AccessMap
from agent.inventory import book, mapping_check
from agent.inventory.subscribers_csv import login_problem
from agent.model import (
    DesiredChange,
    EntryChange,
    EntryFieldChange,
    Item,
    ItemState,
    ReasonChange,
    Requirement,
    Service,
)
from agent.reasons import MethodReason, SkipReason
from agent.services.verbs import Leave, Wish, suspends
from trust.plural import counted
from trust.policy import Action
from trust.statements import LOGIN

_NOT_OVER: Final = (ItemState.PLANNED, ItemState.WAITING, ItemState.RUNNING, ItemState.UNKNOWN)
_BEFORE: Final = (Gate.OPEN.value, Gate.APPROVED.value, Gate.CONSUMED.value)
_ONLY: Final = "only the inventory changes"
_IMPORTED: Final = "an import that lists it adds it again"


@dataclass(frozen=True, slots=True)
class InventoryPlanner:
    """Implements `Planner` for changes of the inventory. `serving`: the CPE that serve a service, by name."""

    previewer: Previewer
    access: Sequence[AccessMap]
    serving: Callable[[str], Sequence[str]]

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
        """
        services = book.services(self.previewer.store.reader)
        if request.ask.action is Action.EDIT:
            if request.envelope is not None:
                raise RequestError("subscriber-edit: expected an import of a list at the agent", refused=True)
            edited = await self._edits([book.read_entry(text) for text in request.ask.settings.values()], services)
            return await self.previewer.preview(request, edited, Scope(_active(services), None, False), pinned)
        selected = select(request.ask, services)
        if request.ask.action is Action.RENAME_LOGIN:
            if len(selected) != 1:
                raise RequestError("rename-login: expected one service")
            wishes = [await self._rename(selected[0], request.ask.settings[LOGIN].strip(), services)]
        else:
            shared = self._shared(services)
            wishes = [self._remove(s, shared.get(s.ref)) for s in selected]
        chosen = [Chosen(service, wish) for service, wish in zip(selected, wishes, strict=True)]
        return await self.previewer.preview(request, chosen, Scope(_active(services), None, False), pinned)

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that puts entries and logins back.

        Raises:
            RequestError: nothing of the change stands, or nothing of it can be taken back.
        """
        row, services = loaded.row, book.services(self.previewer.store.reader)
        touched = [i for i in loaded.items.items if loaded.rows[i.n].state in TOUCHED]
        back = [service for i in touched if (service := _as_before(i, services)) is not None]
        logins = _Logins(
            self._shared({**services, **{s.ref: s for s in back}}), mapping_check.claimed(back, services, self.access)
        )
        chosen = [self._put_back(i, services, row, logins) for i in touched]
        if not chosen:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        scope = Scope(
            _active(services),
            None,
            False,
            own_revert_age_s=None if any(suspends(c.wish) for c in chosen) else self._own_age_s(request, row),
            reverts=row.plan_id,
            source=f"reverts {row.short}",
        )
        return await self.previewer.preview(request, chosen, scope, pinned)

    def _own_age_s(self, request: Request, row: PlanRow) -> int | None:
        own = row.requester == request.requester
        return int(self.previewer.clock.wall_s()) - row.made_s if own else None

    # --- out of the inventory ---

    def _remove(self, service: Service, shared: mapping_check.SharedLogin | None) -> Wish | Leave:
        if (left := self._busy(service)) is not None:
            return left
        reasons, others = ", ".join(sorted(service.reasons)), _others(service, shared)
        if reasons and not others:
            why = f"suspended for {reasons}: the network would keep it suspended, and nobody would know of it"
            return Leave(SkipReason.SUSPENDED, why, blocked=True)
        parts = [f"its login {service.login} stays in the network as it is"]
        if others:
            parts.append(f"and is then {others}'s")
        if reasons:
            parts.append(f"with the mark of its suspension for {reasons}, which a restore of {others} lifts")
        cpes = ", ".join(self.serving(service.ref))
        notes = [f"CPE {cpes} stays bound to it: ispagent cpe accept --service"] if cpes else []
        lifted = tuple(ReasonChange(reason, added=False) for reason in sorted(service.reasons))
        desired: tuple[DesiredChange, ...] = (*lifted, EntryChange(book.entry_text(service), added=False))
        return Wish(None, desired, network=False, why=" · ".join([" ".join(parts), *notes, _IMPORTED]))

    def _busy(self, service: Service) -> Leave | None:
        """Return why a service is left alone while another change of it is open."""
        if found := open_changes(self.previewer.store.reader, service.ref):
            return Leave(SkipReason.OPEN_CHANGE, f"change {', '.join(found)} of it is not over", blocked=True)
        return None

    # --- another login ---

    async def _rename(self, service: Service, login: str, services: Mapping[str, Service]) -> Wish | Leave:
        if login == service.login:
            return Leave(SkipReason.ALREADY, f"its login is {login} already")
        if problem := login_problem(login):
            return Leave(SkipReason.BAD_LOGIN, problem, blocked=True)
        if (left := self._busy(service)) is not None:
            return left
        if service.reasons:
            reasons = ", ".join(sorted(service.reasons))
            why = f"suspended for {reasons}: the mark is on the login {service.login} in the network"
            return Leave(SkipReason.SUSPENDED, why, blocked=True)
        renamed = replace(service, login=login)
        if others := _others(renamed, self._shared({**services, service.ref: renamed}).get(service.ref)):
            why = f"the login {login} is that of {others}: whose it is, nobody could say"
            return Leave(SkipReason.SHARED_LOGIN, why, blocked=True)
        return await self._named(renamed, EntryFieldChange(LOGIN, service.login, login))

    async def _named(self, renamed: Service, change: EntryFieldChange) -> Wish | Leave:
        """Return the wish, once the network was asked for the new login."""
        told = _told((await self.previewer.network.read_states([renamed]))[renamed.ref], change.after)
        if isinstance(told, Leave):
            return told
        return Wish(None, (change,), (book.own_login(renamed.ref),), network=False, why=f"{told} · {_ONLY}")

    # --- another entry, from a list ---

    async def _edits(self, wanted: Sequence[Service], services: Mapping[str, Service]) -> list[Chosen]:
        """Return the edits that give services the fields of `wanted`, or add those that are not known."""
        shared = self._shared({**services, **{s.ref: s for s in wanted}})
        had = mapping_check.claimed(wanted, services, self.access)
        moved = [s for s in wanted if s.ref not in services or s.login != services[s.ref].login]
        network = self.previewer.network
        states = await network.read_states([s for s in moved if s.method in network.access_methods])
        chosen = []
        for service in wanted:
            now = services.get(service.ref)
            told = _told(states[service.ref], service.login) if service.ref in states else ""
            others, holders = _others(service, shared.get(service.ref)), ", ".join(had.get(service.ref, ()))
            chosen.append(Chosen(now or service, self._edit(now, service, told, others, holders)))
        return chosen

    def _edit(self, now: Service | None, wanted: Service, told: str | Leave, others: str, had: str) -> Wish | Leave:
        """Return the effect of one edit. `others`: services with its login afterwards; `had`: with it now."""
        if isinstance(told, Leave):
            return told
        if (left := self._busy(wanted)) is not None:
            return left
        desired: tuple[DesiredChange, ...] = (EntryChange(book.entry_text(wanted), added=True),)
        if now is not None:
            desired = book.field_changes(now, wanted)
            if not desired:
                return Leave(SkipReason.ALREADY, "its entry reads so already")
            if now.reasons and (now.login, now.method) != (wanted.login, wanted.method):
                reasons = ", ".join(sorted(now.reasons))
                why = f"suspended for {reasons}: the mark is on the login {now.login} in the network"
                return Leave(SkipReason.SUSPENDED, why, blocked=True)
        clash = f"the login {wanted.login} is also that of {others}: neither could be changed then" if others else ""
        taken = f"the login {wanted.login} was that of {had}" if had and not others else ""
        moves = now is None or (now.login, now.method) != (wanted.login, wanted.method)
        requires = (book.own_login(wanted.ref),) if moves and not others and not had else ()
        return Wish(None, desired, requires, network=False, why=" · ".join(filter(None, (clash or taken, told, _ONLY))))

    # --- back ---

    def _put_back(self, item: Item, services: Mapping[str, Service], row: PlanRow, logins: _Logins) -> Chosen:
        desired = book.opposite(item.desired)
        entry = next((d for d in desired if isinstance(d, EntryChange)), None)
        now, before = services.get(item.subject or ""), _as_before(item, services)
        others = "" if before is None else _others(before, logins.afterwards.get(before.ref))
        if entry is not None and entry.added:
            service = book.read_entry(entry.entry)
            if now is not None:
                return Chosen(now, Leave(SkipReason.CHANGED_SINCE, "it is in the inventory again"))
            if by := repeated_by(self.previewer.store.query, row.plan_id, item.subject, item.desired):
                return Chosen(service, Leave(SkipReason.CHANGED_SINCE, f"change {by} removed it since"))
            why = "back into the inventory as it was"
            shared = f" · its login is also that of {others}: neither could be changed then" if others else ""
            return Chosen(service, Wish(None, desired, logins.alone(service), network=False, why=f"{why}{shared}"))
        if now is None:
            gone = Service(item.subject or "", "", "", "", "", "", "")
            return Chosen(gone, Leave(SkipReason.CHANGED_SINCE, "it is not in the inventory any more"))
        wish = self._busy(now) or _taken_back(item, now, desired)
        by = repeated_by(self.previewer.store.query, row.plan_id, item.subject, item.desired)
        if by and isinstance(wish, Wish):
            wish = Leave(SkipReason.CHANGED_SINCE, f"change {by} wrote it since")
        moves = before is not None and (before.login, before.method) != (now.login, now.method)
        if before is not None and moves and isinstance(wish, Wish):
            wish = replace(wish, requires=logins.alone(before))
            if others:
                why = f"the login {before.login} is that of {others}: whose it is, nobody could say"
                wish = Leave(SkipReason.SHARED_LOGIN, why, blocked=True)
        return Chosen(now, wish)

    def _shared(self, services: Mapping[str, Service]) -> Mapping[str, mapping_check.SharedLogin]:
        found = mapping_check.check(services.values(), self.access).shared_logins
        return {ref: shared for shared in found for ref in shared.refs}


@dataclass(frozen=True, slots=True)
class _Logins:
    """The logins of services that are put back: who has each `afterwards`, and which others have it `now`, by ref."""

    afterwards: Mapping[str, mapping_check.SharedLogin]
    now: Mapping[str, tuple[str, ...]]

    def alone(self, service: Service) -> tuple[Requirement, ...]:
        """Return the requirement that a service's login is its own, where it would be now."""
        return () if service.ref in self.now or service.ref in self.afterwards else (book.own_login(service.ref),)


def _as_before(item: Item, services: Mapping[str, Service]) -> Service | None:
    """Return an item's service as it was before the item, which is to be taken back; None: there was or is none."""
    desired = book.opposite(item.desired)
    if entry := next((d for d in desired if isinstance(d, EntryChange)), None):
        return book.read_entry(entry.entry) if entry.added else None
    now = services.get(item.subject or "")
    return None if now is None else book.with_desired(now, desired)


def _told(state: NetworkState | UnreadableError, login: str) -> str | Leave:
    """Return the network's state of a login that a service is to get; it is left where there is no such login."""
    if isinstance(state, UnreadableError):
        return f"not checked whether the network has that login: {state}"
    if state.absent:
        return Leave(MethodReason.NO_SUCH_LOGIN, state.unknown or f"no login {login}", blocked=True)
    sessions = f", {counted(len(state.sessions), 'session')}" if state.sessions else ", offline"
    access = state.access.value if state.access else f"rejected: {state.refused}" if state.refused else "no state"
    return f"the network has that login: {access}{sessions}"


def _taken_back(item: Item, now: Service, desired: tuple[DesiredChange, ...]) -> Wish | Leave:
    """Return the edits that take back the fields, or entry, that an item wrote, unless they read otherwise today."""
    if any(isinstance(d, EntryChange) for d in desired):
        if now.reasons:
            return Leave(SkipReason.CHANGED_SINCE, "it is suspended now")
        return Wish(None, desired, network=False, why=f"out of the inventory again · {_ONLY}")
    written = [d for d in item.desired if isinstance(d, EntryFieldChange)]
    for change in written:
        if (text := book.field_text(now, change.name)) != change.after:
            return Leave(SkipReason.CHANGED_SINCE, f"its {change.name} is {text or 'none'} now")
    if now.reasons and any(change.name in ("login", "method") for change in written):
        return Leave(SkipReason.CHANGED_SINCE, "it is suspended now")
    fields = ", ".join(f"{change.name} is {change.before or 'none'} again" for change in written)
    return Wish(None, desired, network=False, why=f"its {fields}")


def _others(service: Service, shared: mapping_check.SharedLogin | None) -> str:
    """Return the other services that claim a service's login; "": none does."""
    return "" if shared is None else ", ".join(ref for ref in shared.refs if ref != service.ref)


def _active(services: Mapping[str, Service]) -> int:
    return sum(1 for service in services.values() if not service.reasons)


def open_changes(reader: sqlite3.Connection, service: str) -> list[str]:
    """Return the short ids of the changes of a service that are not over, from their preview on."""
    states, gates = ",".join("?" * len(_NOT_OVER)), ",".join("?" * len(_BEFORE))
    rows = reader.execute(
        "SELECT DISTINCT p.short FROM item i JOIN plan p USING (plan_id)"  # noqa: S608  # only question marks
        f" WHERE i.service = ? AND i.state IN ({states}) AND p.gate IN ({gates})",
        (service, *(state.value for state in _NOT_OVER), *_BEFORE),
    )
    return [r["short"] for r in rows]


def planners(
    previewer: Previewer, access: Sequence[AccessMap], serving: Callable[[str], Sequence[str]]
) -> Mapping[Action, Planner]:
    """Return the planner of each change of the inventory."""
    return dict.fromkeys(
        (Action.REMOVE, Action.RENAME_LOGIN, Action.EDIT), InventoryPlanner(previewer, access, serving)
    )
