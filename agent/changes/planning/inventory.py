"""Planner of changes of the inventory itself: a service that is taken out, a login that is written otherwise.

Nothing is sent to the network by them. They are previewed, approved, logged and taken back as any other change, since
the facts of a plan have an author. A suspended service keeps its mark in the network, so it is refused; with one
exception, a service with a login that another one claims: it cannot be restored, and it must be possible to remove it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.changes.journal.commands import PlanRow
from agent.changes.journal.machine import TOUCHED, Gate
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.intake import Planner, select
from agent.changes.planning.preview import Chosen, Previewer, Scope
from agent.connectors.base import UnreadableError
from agent.connectors.spec import AccessMap
from agent.inventory import book, mapping_check
from agent.inventory.subscribers_csv import login_problem
from agent.model import DesiredChange, EntryChange, Item, ItemState, LoginChange, ReasonChange, Service
from agent.reasons import MethodReason, SkipReason
from agent.services.verbs import Leave, Wish, suspends
from trust.policy import Action
from trust.statements import LOGIN

_NOT_OVER: Final = (ItemState.PLANNED, ItemState.WAITING, ItemState.RUNNING, ItemState.UNKNOWN)
_BEFORE: Final = (Gate.OPEN.value, Gate.APPROVED.value, Gate.CONSUMED.value)
_IMPORTED: Final = "an import that lists it adds it again"


@dataclass(frozen=True, slots=True)
class InventoryPlanner:
    """Implements `Planner` for remove and rename-login. `serving`: the CPE that serve a service, by name."""

    previewer: Previewer
    access: Sequence[AccessMap]
    serving: Callable[[str], Sequence[str]]

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
        """
        services = book.services(self.previewer.store.reader)
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
        chosen = [self._put_back(i, services) for i in loaded.items.items if loaded.rows[i.n].state in TOUCHED]
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
        return await self._named(renamed, LoginChange(service.login, login))

    async def _named(self, renamed: Service, change: LoginChange) -> Wish | Leave:
        """Return the wish, once the network was asked for the new login."""
        state = (await self.previewer.network.read_states([renamed]))[renamed.ref]
        if isinstance(state, UnreadableError):
            told = f"not checked whether the network has that login: {state}"
        elif state.absent:
            return Leave(MethodReason.NO_SUCH_LOGIN, state.unknown or f"no login {change.after}", blocked=True)
        else:
            sessions = f", {len(state.sessions)} session(s)" if state.sessions else ", offline"
            access = (
                state.access.value if state.access else f"rejected: {state.refused}" if state.refused else "no state"
            )
            told = f"the network has that login: {access}{sessions}"
        return Wish(None, (change,), network=False, why=f"{told} · only the inventory changes")

    # --- back ---

    def _put_back(self, item: Item, services: Mapping[str, Service]) -> Chosen:
        desired = book.opposite(item.desired)
        entry = next((d for d in desired if isinstance(d, EntryChange)), None)
        now = services.get(item.subject or "")
        if entry is not None:
            service = book.read_entry(entry.entry)
            if now is not None:
                return Chosen(now, Leave(SkipReason.CHANGED_SINCE, "it is in the inventory again"))
            others = _others(service, self._shared({**services, service.ref: service}).get(service.ref))
            why = "back into the inventory as it was"
            shared = f" · its login is also that of {others}: neither could be changed then" if others else ""
            return Chosen(service, Wish(None, desired, network=False, why=f"{why}{shared}"))
        renamed = next(d for d in item.desired if isinstance(d, LoginChange))
        if now is None:
            gone = Service(item.subject or "", "", "", "", renamed.after, "", "")
            return Chosen(gone, Leave(SkipReason.CHANGED_SINCE, "it is not in the inventory any more"))
        if now.login != renamed.after or now.reasons:
            what = f"its login is {now.login} now" if now.login != renamed.after else "it is suspended now"
            return Chosen(now, Leave(SkipReason.CHANGED_SINCE, what))
        if (left := self._busy(now)) is not None:
            return Chosen(now, left)
        return Chosen(now, Wish(None, desired, network=False, why=f"its login is {renamed.before} again"))

    def _shared(self, services: Mapping[str, Service]) -> Mapping[str, mapping_check.SharedLogin]:
        found = mapping_check.check(services.values(), self.access).shared_logins
        return {ref: shared for shared in found for ref in shared.refs}


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
    return dict.fromkeys((Action.REMOVE, Action.RENAME_LOGIN), InventoryPlanner(previewer, access, serving))
