"""Intake: from a verified request to a plan: its services, the wish for each, and the facts that it is judged by.

A restore is never lost: when a suspension of the same service is being applied right now, the intake waits for it to
come to rest; when one is planned and unsent, the restore is a change even if the network needs nothing, since starting
it supersedes the suspension. After a matched payment a standing authority may approve it at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import trio

from agent.billing_model import days
from agent.changes.authority import standings
from agent.changes.authority.standings import Standings
from agent.changes.engine.perform import same, still_written
from agent.changes.engine.sessions import Sessions
from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow, RefuseIntent
from agent.changes.journal.item_commands import acted_on_since, repeated_by
from agent.changes.journal.machine import MAY_STAND, Gate
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import Ask, Request, RequestError, is_overdue, refusal, silent_h_of
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.again import RestOfChange, rest_of
from agent.changes.planning.preview import Chosen, NothingToDoError, Previewer, Scope
from agent.config_billing import OverdueRules
from agent.connectors.base import UnreadableError
from agent.connectors.spec import AccessMap
from agent.inventory import book, mapping_check, overdue, resolve
from agent.inventory.billing import BillingReader
from agent.inventory.facts import Billing, age_s
from agent.inventory.overdue import Candidates
from agent.model import (
    Access,
    Address,
    Effect,
    Item,
    ItemState,
    ReasonChange,
    Seen,
    Service,
    ServiceState,
    SuspensionReason,
    Transition,
    by_target,
)
from agent.reasons import ItemReason, SkipReason
from agent.runtime.clock import Clock
from agent.runtime.slices import InSlices
from agent.services import verbs
from agent.services.verbs import Leave, Params, Wish
from agent.store.db import Store
from agent.store.vault import Vault
from trust.policy import Action, RiskClass

REST_S = 120.0
"""How long a restore waits for a suspension that is being applied to come to rest."""
FEW = 20
"""Services that are read by their refs; of more, all services are read."""
LOOK_FROM = 11
"""A batch, by the risk classes."""
_CLOSES = "rows of accounting are closed, none is deleted: each gets a stop time and the cause Stale-Session"
_UNDO_CLOSING = "ispagent change revert opens the rows again; a session that a question ended stays ended"
_MOVING = (ItemState.RUNNING, ItemState.UNKNOWN)
_NOT_SUSPENDED = (
    ItemState.BLOCKED,
    ItemState.EXCLUDED,
    ItemState.SKIPPED,
    ItemState.STALE,
    ItemState.SUPERSEDED,
    ItemState.CANCELLED,
    ItemState.EXPIRED,
    ItemState.NOT_APPLIED,
    ItemState.REVERTED,
)
"""States of an item of a suspension by which nobody is suspended, nor will be."""


class Planner(Protocol):
    """Answers requests for some actions; registered by action at composition."""

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
            UnreadableError: a target could not be read.
        """
        ...

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that takes back the standing writes of a change.

        Raises:
            RequestError: nothing of it stands, or nothing of it can be taken back.
        """
        ...


@runtime_checkable
class RestPlanner(Planner, Protocol):
    """A planner of changes that can be asked for again, as far as nothing was sent or nothing stands."""

    def rest(self, loaded: Loaded) -> RestOfChange:
        """Return the items of a change that can be asked for again.

        Raises:
            RequestError: the change is not over, was rejected, or has no such rest.
        """
        ...

    async def again(self, request: Request, rest: RestOfChange, of: PlanRow, pinned: Pinned) -> bytes:
        """Return the id of the plan that does the rest of the change `of`.

        Raises:
            RequestError: nothing would change, or policy refuses.
            UnreadableError: a target could not be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Intake:
    """Answers requests with plans."""

    store: Store
    vault: Vault
    sessions: Sessions
    previewer: Previewer
    access: Sequence[AccessMap]
    clock: Clock
    billing: BillingReader = field(default_factory=BillingReader)
    """The facts on debts and payments."""
    overdue: OverdueRules = field(default_factory=OverdueRules)
    """The operator's rules for suspending all overdue subscribers."""
    standings: Standings | None = None
    """Knows which standing authorities are in force; None: everything waits for people."""
    planners: Mapping[Action, Planner] = field(default_factory=dict)
    """Answer requests for other actions than those on services."""

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        A signed intent that is refused is used up. It may come again where a target could not be read.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses; or the intent
                was refused before.
            UnreadableError: a target could not be read.
        """
        if request.envelope is None:
            return await self._plan(request, pinned)
        intent_id = bytes.fromhex(request.intent.intent_id)
        if self.store.query("SELECT 1 FROM refused_intent WHERE intent_id = ?", (intent_id,)):
            raise RequestError("this intent was refused before: sign a new one", refused=True)
        try:
            return await self._plan(request, pinned)
        except RequestError:
            await self.store.run(RefuseIntent(intent_id, request.intent.expires))
            raise

    async def _plan(self, request: Request, pinned: Pinned) -> bytes:
        ask = request.ask
        if (planner := self.planners.get(ask.action)) is not None:
            if not ask.change:
                return await planner.plan(request, pinned)
            if not isinstance(planner, RestPlanner):
                raise RequestError(f"{ask.action.value}: expected what it is about by name, got a change")
            left = await self.rest(ask.change, ask.action)
            return await planner.again(request, left, plans.find(self.store.reader, ask.change), pinned)
        if ask.action is Action.REVERT:
            return await self._revert(request, pinned)
        rest = await self.rest(ask.change, ask.action) if ask.change else None
        if rest is not None:
            ask = replace(ask, refs=rest.refs, reason=rest.reason, tariff=rest.tariff)
            request = replace(request, ask=ask)
        services = self._services(ask)
        await trio.lowlevel.checkpoint()  # with 9,000 services each of these steps takes 0.1 s, and others wait
        proposed = await self._overdue(services) if is_overdue(ask) else None
        if proposed is not None:
            ask = replace(ask, refs=tuple(one.service.ref for one in proposed.listed))
        selected = select(ask, services)
        if ask.action is Action.RESTORE and await self._wait_for_rest([s.ref for s in selected]):
            services = self._services(ask)  # the suspension that it waited for left its reason
            selected = [services[s.ref] for s in selected]
        await trio.lowlevel.checkpoint()
        billing = self._billing(selected)
        await trio.lowlevel.checkpoint()
        params = Params(ask.action, self.clock.wall_s(), ask.reason, ask.tariff, silent_h_of(ask))
        others = _logins(services)
        shared = {ref: s for s in mapping_check.check(services.values(), self.access).shared_logins for ref in s.refs}
        await trio.lowlevel.checkpoint()
        chosen = [
            Chosen(
                s,
                _refuse_shared(shared, s) or self._supersede(s, verbs.decide(params, s, billing[s.subscriber]), ask),
                tuple(login for login in others[s.subscriber] if login != s.login),
            )
            async for s in InSlices(selected)
        ]
        if proposed is not None:
            chosen = self._by_rules(chosen, proposed, billing)
        await trio.lowlevel.checkpoint()
        scope = self._scope(ask, chosen, billing, pinned)
        if proposed is not None:
            scope = replace(scope, source=f"{scope.source} · {proposed.said()}")
        if rest is not None:
            scope = replace(
                scope,
                source=" · ".join(filter(None, (scope.source, rest.said()))),
                again_of=plans.find(self.store.reader, ask.change).plan_id,
            )
        return await self.previewer.preview(request, chosen, scope, pinned)

    def _services(self, ask: Ask) -> Mapping[str, Service]:
        """Return the services by which a request is answered.

        Of one that names a few by their whole refs: these, the others of their subscribers, and those that share a
        login with them. Else: all.
        """
        reader, refs = self.store.reader, set(ask.refs)
        if 0 < len(refs) <= FEW and not ask.on_tariff and not ask.exclude:
            named = book.some_services(reader, ask.refs)
            if named.keys() == refs:
                own = {ref for one in named.values() for ref in book.refs_of(reader, one.subscriber)}
                beside = own | mapping_check.sharing(named.values(), book.logins(reader), self.access)
                return {**named, **book.some_services(reader, sorted(beside - refs))}
        return book.services(reader)

    # --- all who are overdue ---

    async def _overdue(self, services: Mapping[str, Service]) -> Candidates:
        """Return the subscribers with something overdue now.

        Raises:
            RequestError: it is no day for suspensions, or nobody has.
        """
        day = days.today(self.clock.wall_s(), self.billing.terms.zone)
        if why := overdue.closed(self.overdue, day):
            raise RequestError(f"{why}: nobody is suspended by --overdue", refused=True)
        billing = self._billing(list(services.values()))
        await trio.lowlevel.checkpoint()
        found = overdue.candidates(services.values(), billing, self.overdue)
        if not found.listed:
            raise NothingToDoError(f"nobody has anything overdue; {found.said()}", [])
        return found

    def _by_rules(self, chosen: Sequence[Chosen], proposed: Candidates, billing: Mapping[str, Billing]) -> list[Chosen]:
        """Return all that were chosen; the operator's rules and the number of a day leave some out, with the reason."""
        left = {one.service.ref: one.left_out for one in proposed.listed}
        taken, ruled = self._suspended_today(), []
        for one in chosen:
            wish = one.wish
            if isinstance(wish, Wish):
                out = left[one.service.ref] or overdue.over_limit(self.overdue, taken)
                if out is None:
                    kept = billing[one.service.subscriber].kept
                    source = "" if kept is None else kept.source
                    wish = replace(wish, requires=overdue.on_run_day(wish.requires, one.service, source))
                    taken += 1
                else:
                    wish = Leave(out.code, out.why, out.blocked)
            ruled.append(replace(one, wish=wish))
        return ruled

    def _suspended_today(self) -> int:
        """Return how many services were suspended for debt on this day of the operator's, or are going to be."""
        zone, now_s = self.billing.terms.zone, self.clock.wall_s()
        since_s = days.start_of(days.today(now_s, zone), zone)
        debt = str(ReasonChange(SuspensionReason.DEBT, added=True))
        marks = ",".join("?" * len(_NOT_SUSPENDED))
        rows = self.store.query(
            "SELECT count(DISTINCT i.service) AS n FROM item i JOIN plan p USING (plan_id) WHERE p.made_s >= ?"  # noqa: S608  # only question marks
            f" AND p.action = ? AND p.reason = ? AND i.state NOT IN ({marks})"
            " AND p.gate IN ('open', 'approved', 'consumed')",
            (int(since_s), Action.SUSPEND.value, debt, *(s.value for s in _NOT_SUSPENDED)),
        )
        return int(rows[0]["n"])

    async def rest(self, change: str, action: Action | None = None) -> RestOfChange:
        """Return the rest of a change that can be asked for anew.

        Raises:
            RequestError: it has none, or is another action than `action` (None: whichever it is).
            RefusedCommandError: there is no such change.
        """
        row = plans.find(self.store.reader, change)
        loaded = await plans.load_aside(self.store, self.vault, row)
        planner = self.planners.get(loaded.plan.action)
        if isinstance(planner, RestPlanner):
            rest = planner.rest(loaded)
        else:
            query, known = self.store.query, book.services(self.store.reader).keys()
            rest = rest_of(loaded, known, lambda item: acted_on_since(query, row.plan_id, item))
        if action not in (None, rest.action):
            raise RequestError(f"{row.short}: expected the rest of a {action.value}, it is a {rest.action.value}")
        return rest

    # --- restore against suspension ---

    async def _wait_for_rest(self, refs: Sequence[str]) -> bool:
        """Wait while services are being suspended; return whether any was."""
        waited = False
        with trio.move_on_after(REST_S):
            while busy := [r for r in refs if suspensions(self.store.reader, r, _MOVING)]:
                waited = True
                await self.clock.sleep(0.5)
            return waited
        raise RequestError(f"{busy[0]} is being suspended right now and did not come to rest: ask again")

    def _supersede(self, service: Service, wish: Wish | Leave, ask: Ask) -> Wish | Leave:
        if ask.action is not Action.RESTORE:
            return wish
        unsent = suspensions(self.store.reader, service.ref, (ItemState.PLANNED, ItemState.WAITING), ask.reason)
        if not unsent:
            return wish
        why = f"supersedes {', '.join(unsent)}, which was not sent yet"
        if isinstance(wish, Wish):
            return replace(wish, why=f"{wish.why}; {why}" if wish.why else why, always=True)
        access = Access.SUSPENDED if service.reasons else Access.ACTIVE
        return Wish(ServiceState(access, service.tariff), why=why, always=True)

    # --- revert ---

    async def _revert(self, request: Request, pinned: Pinned) -> bytes:
        services = book.services(self.store.reader)
        await trio.lowlevel.checkpoint()
        row = plans.find(self.store.reader, request.ask.change)
        if row.gate is not Gate.CONSUMED or row.finished_seq is None:
            now = "running" if row.gate is Gate.CONSUMED else row.gate.value
            raise RequestError(f"{row.short} has nothing to revert yet: it is {now}", refused=True)
        loaded = await plans.load_aside(self.store, self.vault, row)
        first = self._first_action(row)
        if (planner := self.planners.get(first)) is not None:
            return await planner.revert(request, loaded, pinned)
        items = [i for i in loaded.items.items if loaded.rows[i.n].state in MAY_STAND and i.subject in services]
        if not items:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        now = await self._now(items)
        billing = self._billing([services[i.subject or ""] for i in items])
        recorded = plans.recorded(self.store.reader, row.plan_id)
        chosen = [
            self._take_back(i, services[i.subject or ""], now, billing, first, row, recorded=i.n in recorded)
            async for i in InSlices(items)
        ]
        suspends = any(verbs.suspends(c.wish) for c in chosen)
        own = int(self.clock.wall_s()) - row.made_s if row.requester == request.requester else None
        owing = ReasonChange(SuspensionReason.DEBT, added=True)
        debts = [c for c in chosen if isinstance(c.wish, Wish) and owing in c.wish.desired]
        scope = Scope(
            active_services=len(services),
            facts_age_s=_facts_age_s(debts, billing),
            facts_empty=False,
            own_revert_age_s=None if suspends else own,  # to suspend needs a second person, under any name
            reverts=row.plan_id,
            source=f"reverts {row.short}",
            look=_look(chosen, billing) if debts else _cautions(chosen),
        )
        return await self.previewer.preview(request, chosen, scope, pinned)

    def _first_action(self, row: PlanRow) -> Action:
        """Return the action of a plan; of one that reverts another, that of the plan at the beginning."""
        while (action := Action(row.action)) is Action.REVERT and row.reverts is not None:
            row = plans.find(self.store.reader, row.reverts.hex())
        return action

    async def _now(self, items: Sequence[Item]) -> Mapping[Address, Seen | UnreadableError]:
        """Return the present values of the resources that the items wrote, or why they cannot be read.

        Raises:
            UnreadableError: nothing could be read.
        """
        wanted = by_target([t.address for i in items for s in i.steps if not isinstance(s.do, Effect) for t in s.do])
        seen: dict[Address, Seen | UnreadableError] = {}

        async def read(target: str, addresses: list[Address]) -> None:
            try:
                session = await self.sessions.dialed(target)
                seen.update(await session.read(addresses))
            except UnreadableError as err:
                seen.update(dict.fromkeys(addresses, err))

        async with trio.open_nursery() as nursery:
            for target, addresses in wanted.items():
                nursery.start_soon(read, target, addresses)
        errors = [found for found in seen.values() if isinstance(found, UnreadableError)]
        if errors and len(errors) == len(seen):
            raise errors[0]
        return seen

    def _take_back(
        self,
        item: Item,
        service: Service,
        now: Mapping[Address, Seen | UnreadableError],
        billing: Mapping[str, Billing],
        first: Action,
        row: PlanRow,
        *,
        recorded: bool,
    ) -> Chosen:
        if recorded and (by := repeated_by(self.store.query, row.plan_id, item.subject, item.desired)):
            return Chosen(service, Leave(SkipReason.CHANGED_SINCE, f"change {by} did the same to it since"))
        # A suspension can always be taken back; what others wrote beside it stays, and is in the new preview
        suspended = any(isinstance(d, ReasonChange) and d.added for d in item.desired)
        for step in item.steps:
            if isinstance(step.do, Effect):
                continue
            for write in step.do:
                found = now[write.address]
                if isinstance(found, UnreadableError):
                    return Chosen(service, Leave(SkipReason.UNREACHABLE, str(found), blocked=True))
                stands = suspended and still_written(found.value, write)
                if not stands and not same(found.value, write.after, write.unprovable):
                    return Chosen(service, Leave(SkipReason.CHANGED_SINCE, f"{write.address} was changed since"))
        # Of a disconnect only: rows of a service's state, written again without a record, could suspend on one's own
        if first is Action.DISCONNECT and (undo := _rows_again(item, now)):
            return Chosen(service, Wish(None, undo=undo))
        if not recorded and not any(isinstance(d, ReasonChange) and not d.added for d in item.desired):
            return Chosen(service, verbs.as_recorded(service))
        return Chosen(service, verbs.take_back(book.opposite(item.desired), service, billing[service.subscriber]))

    def _billing(self, services: Sequence[Service]) -> Mapping[str, Billing]:
        subscribers = [service.subscriber for service in services]
        return self.billing.of_many(self.store.query, subscribers, self.clock.wall_s())

    # --- what it is judged by ---

    def _scope(
        self,
        ask: Ask,
        chosen: Sequence[Chosen],
        billing: Mapping[str, Billing],
        pinned: Pinned,
    ) -> Scope:
        active = book.count_active(self.store.reader)
        if ask.action is Action.RESTORE and ask.reason is SuspensionReason.DEBT and not ask.alone:
            return self._restoring(active, chosen, pinned)
        if ask.action is not Action.SUSPEND or ask.reason is not SuspensionReason.DEBT:
            if ask.settings:
                return Scope(active, None, False, notes=_CLOSES, undo=_UNDO_CLOSING)
            return Scope(active, None, False, look=_cautions(chosen) if ask.action is Action.SET_PLAN else "")
        age = _facts_age_s(chosen, billing)
        told = self.billing.source_text(self.store.query)
        source = f"no billing data{told}" if age is None else f"billing data{told} {age // 60} min old"
        known = any(one.kept is not None for one in billing.values())
        return Scope(active, age, not known, source=source, look=_look(chosen, billing))

    def _restoring(self, active: int, chosen: Sequence[Chosen], pinned: Pinned) -> Scope:
        now_s = self.clock.wall_s()
        changing = [c.service.ref for c in chosen if isinstance(c.wish, Wish)]
        paid = [r for r in changing if standings.has_matched_payment(self.store.query, r, now_s, self.billing)]
        matched = bool(paid) and len(paid) == len(changing)
        owing = "" if matched or not paid else f"{len(changing) - len(paid)} without a matched payment: apart from them"
        scope = Scope(
            active,
            None,
            False,
            matched_payment=matched,
            look=f"{owing} the other {len(paid)} need no office hours" if owing else "",
        )
        if self.standings is None or len(changing) != 1:
            return scope
        found = self.standings.in_force(now_s)
        return replace(
            scope,
            standing=standings.may_cover(found, pinned.trust, Action.RESTORE, RiskClass.RESTORE),
            standing_turn_s=self.standings.turn_s(found, Action.RESTORE, now_s),
        )


def _facts_age_s(chosen: Sequence[Chosen], billing: Mapping[str, Billing]) -> int | None:
    """Return the age of the oldest billing data by which something would change, seconds; None: there is none."""
    rests_on = [billing[c.service.subscriber] for c in chosen if isinstance(c.wish, Wish)]
    ages = [int(age_s(one)) for one in rests_on if one.kept is not None]
    return max(ages, default=None)


def _rows_again(item: Item, now: Mapping[Address, Seen | UnreadableError]) -> tuple[Transition, ...]:
    """Return the writes that take back an item that only wrote, and wanted nothing of the service."""
    if item.desired or item.enforce is not None:
        return ()
    writes = [write for step in item.steps if not isinstance(step.do, Effect) for write in step.do]
    found = [(write, now[write.address]) for write in reversed(writes)]
    return tuple(Transition(w.address, seen, w.before.value) for w, seen in found if isinstance(seen, Seen))


def select(ask: Ask, services: Mapping[str, Service]) -> list[Service]:
    """Return the services that an ask names, in the order asked, each once.

    Raises:
        RequestError: references that are unknown or ambiguous, each named.
    """
    found = resolve.select(
        services, ask.refs, on_tariff=ask.on_tariff, exclude=ask.exclude, all_services=ask.all_services
    )
    if found.problems:
        raise refusal(found.problems)
    if not found.services:
        raise RequestError(
            "no service is left to change: all that were asked for are excluded"
            f" ({', '.join(ask.exclude)[:200] or 'none'})"
        )
    return list(found.services)


def suspensions(
    reader: sqlite3.Connection, service: str, states: Sequence[ItemState], reason: SuspensionReason | None = None
) -> list[str]:
    """Return the short ids of changes that suspend a service (reverts of restores too), with its item in one of
    `states`.

    `reason`: only those for it; None: for any. A retried one left its reason before, and may wait long for its turn.
    """
    marks = ",".join("?" * len(states))
    added = [str(ReasonChange(r, added=True)) for r in (SuspensionReason if reason is None else [reason])]
    rows = reader.execute(
        f"SELECT DISTINCT p.short FROM item i JOIN plan p USING (plan_id) WHERE i.service = ? AND i.state IN ({marks})"  # noqa: S608  # only question marks
        f" AND p.reason IN ({','.join('?' * len(added))}) AND i.reason <> ?"
        " AND p.gate IN ('open', 'approved', 'consumed')",
        (service, *(s.value for s in states), *added, ItemReason.RETRY.value),
    ).fetchall()
    return [r["short"] for r in rows]


def _refuse_shared(shared: Mapping[str, mapping_check.SharedLogin], service: Service) -> Leave | None:
    if service.ref not in shared:
        return None
    others = ", ".join(ref for ref in shared[service.ref].refs if ref != service.ref)
    return Leave(
        SkipReason.SHARED_LOGIN,
        f"the login {service.login} is also that of {others}: whose it is, nobody can say",
        blocked=True,
    )


def _logins(services: Mapping[str, Service]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for service in services.values():
        found.setdefault(service.subscriber, []).append(service.login)
    return found


def _cautions(chosen: Sequence[Chosen]) -> str:
    """Return how many of those that would change are protected, or have others hanging on them."""
    found = sum(1 for c in chosen if isinstance(c.wish, Wish) and (c.service.protected or c.service.feeds))
    return f"{found} protected, or feeding others" if found else ""


def _look(chosen: Sequence[Chosen], billing: Mapping[str, Billing]) -> str:
    """Return the facts worth a second look in a batch: the smallest debt, subscribers with several services."""
    changing = [c for c in chosen if isinstance(c.wish, Wish)]
    if len(changing) < LOOK_FROM:
        return ""
    found = [billing[c.service.subscriber] for c in changing]
    debts = [one.kept.account.overdue(one.today) for one in found if one.kept is not None]
    several = sum(1 for c in changing if c.others)
    parts = [f"smallest debt {min(debts)}"] if debts else []
    parts += [f"{several} have other services"] if several else []
    return " · ".join(parts)
