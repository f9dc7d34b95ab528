"""Preview: the effect on each subject, from live reads, as a plan that the agent signs.

Preview, apply and read-back use the same readers and the same access methods. The approver signs this plan; it stands
for the item documents under `items_root`, and those very documents are run.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from agent.changes.authority.standings import Standings
from agent.changes.engine.apply import place_of
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import guard_problem
from agent.changes.journal import budget, machine
from agent.changes.journal.audit import Recorder, subject_of
from agent.changes.journal.commands import Deadline, NewItem, SavePlan
from agent.changes.journal.moments import windows_text
from agent.changes.journal.request import CPE, PORT, Ask, Request, RequestError
from agent.changes.journal.trust_state import Pinned, policy_for
from agent.changes.planning.start import StartTimes, start_times
from agent.changes.planning.unproven import UnprovenSuspension, unproven_suspensions
from agent.connectors.base import (
    WARNING,
    AccessMethod,
    AccessPlan,
    CannotEnforce,
    ClosesGhosts,
    NetworkState,
    UnreadableError,
)
from agent.inventory import authorship
from agent.inventory.authorship import Authorship
from agent.inventory.book import PAID, as_previewed, not_there
from agent.inventory.facts import fact_address
from agent.model import (
    Access,
    Address,
    Effect,
    EffectKind,
    EntryChange,
    Head,
    Item,
    Listed,
    Pace,
    ReasonChange,
    Requirement,
    Seen,
    Service,
    Step,
    Wave,
    target_of,
)
from agent.reasons import MethodReason, SkipReason, TargetReason
from agent.runtime.clock import Clock
from agent.runtime.slices import InSlices
from agent.services import verbs
from agent.services.network import NetworkReader, Readings, as_read, unmapped_text
from agent.services.verbs import Leave, Wish
from agent.store.db import Store
from agent.store.vault import Vault
from trust import chance, merkle, statements
from trust import envelope as envelopes
from trust.document import UNKNOWN, Trust
from trust.items import encode_head, encode_item, encode_value, guard_of, items_root
from trust.keys import SigningKey
from trust.moments import moment_text
from trust.plural import counted
from trust.policy import (
    LOW_ITEMS_MAX,
    OWN_REVERT_S,
    Action,
    PolicyClass,
    RiskClass,
    UnknownRequester,
    risk_class,
)
from trust.render import item_name
from trust.short_id import SHORT_CHARS, short_id
from trust.statements import OnStale, Plan, size_bucket
from trust.verify import BY_STANDING, people_more, runs

SHORT_TRIES = 4
"""Plan ids that are drawn before a short id gets a letter more; chosen arbitrarily."""
"""Tries of one length: with 5 characters and 50,000 plans in the history one try in 490 collides."""
NAMED = 5
"""Services that a note of a batch names, and changes of entries."""


class NothingToDoError(RequestError):
    """Nothing would change; `lines` say why for each service, `codes` are their reasons."""

    def __init__(self, message: str, lines: Sequence[str], codes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)
        self.codes = frozenset(codes)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a plan is to run, from the configuration."""

    ttl_s: int
    run_for_s: int
    canary: int
    soak_s: int
    per_target_per_s: int
    stop_failed_percent: int
    stop_failed_least: int
    stop_lost_sessions: int
    usual: int

    def pace(self) -> Pace:
        """Return the pace for the head of a plan."""
        least = self.stop_failed_least if self.stop_failed_percent else 1
        return Pace(self.per_target_per_s, self.stop_failed_percent, self.stop_lost_sessions, least)


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """Facts of the agent that every plan names or goes by. The digests are 64 hex digits."""

    pacing: Pacing
    timezone: ZoneInfo
    config_sha256: str
    build_sha256: str
    facts_age_max_s: int
    """The age from which billing data counts as old."""
    billing_source: str
    """The source with the accounts that decide."""


CutOff = Callable[[], Awaitable[Collection[str]]]
"""Returns the refs of the services that an outage cuts off now."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A service that was asked for, the wish for it, and the logins of its subscriber's other services."""

    service: Service
    wish: Wish | Leave
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """The facts that decide the risk class, beside the items. Ages in seconds; None: not known or not used.

    `matched_payment`: of each subject, since its suspension; `standing`: an authority for that is in force, with a rate
    that leaves room from `standing_turn_s` on (unix seconds). `notes`: of the targets' sessions. `device_config`,
    `guarded`, `baseline_due`: see `trust.policy.risk_class`. `reason`: of the plan, where its items have none.
    `run_for_s`: how long it may run once it started, seconds; None: as configured. `undo`: how it is taken back; "": by
    `change revert`. `again_of`: the change of which it is the rest. `staged`: a tenth of the items, at least one, goes
    first. `rings`: percents of the items that have had their turn after each wave; none: as above.
    """

    active_services: int
    facts_age_s: int | None
    facts_empty: bool
    own_revert_age_s: int | None = None
    reverts: bytes | None = None
    again_of: bytes | None = None
    source: str = ""
    look: str = ""
    notes: str = ""
    matched_payment: bool = False
    standing: bool = False
    device_config: bool = False
    guarded: bool = True
    baseline_due: bool = False
    reason: str = ""
    run_for_s: int | None = None
    undo: str = ""
    staged: bool = False
    rings: tuple[int, ...] = ()
    standing_turn_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Previewer:
    """Reads the present state and makes signed plans of it."""

    store: Store
    vault: Vault
    recorder: Recorder
    sessions: Sessions
    network: NetworkReader
    clock: Clock
    agent: str
    plan_key: SigningKey
    terms: Callable[[], PlanTerms]
    """As they are now: a reload of the configuration changes them."""
    log_head: Callable[[], tuple[int, bytes]]
    """Size and root of the log as they may leave the agent (`Evidence.published`)."""
    standings: Standings
    """Approve a plan as it is saved, where one covers it."""
    cut_off: CutOff
    """Services with lines that are down, by the last reads of the devices."""

    @property
    def pacing(self) -> Pacing:
        """How plans are to run."""
        return self.terms().pacing

    @property
    def timezone(self) -> ZoneInfo:
        """The operator's."""
        return self.terms().timezone

    async def preview(self, request: Request, chosen: Sequence[Chosen], scope: Scope, pinned: Pinned) -> bytes:
        """Read the present values of the services' resources, plan the items, sign and save the plan; return its id.

        A service with a target that could not be read is blocked; others go on.

        Raises:
            NothingToDoError: no service would change.
            RequestError: the policy refuses such a change outright.
            UnreadableError: nothing would change, and not everything could be read.
        """
        refs = [c.service.ref for c in chosen if _is_read(c) and verbs.is_suspended(c.wish)]
        left = await unproven_suspensions(self.store, self.vault, refs)
        ends = request.ask.action is Action.SUSPEND
        read = await self.network.read([c.service for c in chosen if _is_read(c)])
        fresh = [
            _as_new(c.service)
            async for c in InSlices(chosen)
            if _again(c.wish, c.service, read) or _unvouched(c.wish, c.service, left.get(c.service.ref), ends=ends)
        ]
        if fresh:
            read = await self.network.read(fresh, read)
        authors = authorship.recent(self.store.query, [c.service.ref for c in chosen], self.clock.wall_s())
        own = self._own_edits(request, chosen, pinned.trust)
        chosen = [replace(c, wish=_not_by_who_asks(c, own)) async for c in InSlices(chosen)] if own else chosen
        items = [
            self._item(c, read, authors.get(c.service.ref, ()), left.get(c.service.ref), ends=ends)
            async for c in InSlices(chosen)
        ]
        if read.unread and not any(i.listed is Listed.CHANGE for i in items):
            raise next(iter(read.unread.values()))
        scope = replace(
            scope,
            notes=_notes(
                *_warnings(items),
                *_authored(items, authors),
                scope.notes,
                *await _rejected(chosen, read),
                *_told(read),
                *_in_outage(items, await self.cut_off()),
            ),
        )
        both = InSlices(zip(chosen, items, strict=True))
        again = [c async for c, item in both if item.steps and _again(c.wish, c.service, read)]
        if not all(verbs.suspends(c.wish) for c in again):
            # Somebody is suspended by it: neither a payment nor an own revert covers that
            scope = replace(scope, matched_payment=False, standing=False, own_revert_age_s=None)
        return await self.propose(request, items, scope, pinned)

    async def propose(self, request: Request, found: Sequence[Item], scope: Scope, pinned: Pinned) -> bytes:
        """Number the items, sign and save their plan; return its id.

        Raises:
            NothingToDoError: none of them would change anything.
            RequestError: the policy refuses such a change outright, or a step asks for a guard.
        """
        items = self._order(list(found))
        changing = [i for i in items if i.listed is Listed.CHANGE]
        if not changing:
            raise NothingToDoError("nothing would change", [_why_not(i) for i in items], [i.reason for i in items])
        if why := next(filter(None, map(guard_problem, changing)), ""):
            raise RequestError(why, refused=True)
        restores = pinned.trust.policy_class(RiskClass.RESTORE)
        risk = risk_class(
            request.ask.action,
            len(changing),
            scope.active_services,
            usual=self.pacing.usual or None,
            facts_age_s=scope.facts_age_s,
            facts_age_max_s=self.terms().facts_age_max_s,
            facts_empty=scope.facts_empty,
            alone=request.ask.alone,
            own_revert_age_s=scope.own_revert_age_s,
            matched_payment=scope.matched_payment,
            standing=scope.standing,
            restore_most=1 if restores is None else restores.max_items,
            device_config=scope.device_config,
            guarded=scope.guarded,
            baseline_due=scope.baseline_due,
        )
        if risk is RiskClass.RESTORE and len(changing) > LOW_ITEMS_MAX:  # of one, the standing authority is judged
            items = tuple(_rests_on_payment(item, self.terms().billing_source) for item in items)
        policy = policy_for(pinned.trust, risk)
        self._check_policy(policy, request, len(changing))
        self._check_time(changing, scope)
        return await self._save(request, items, scope, pinned, policy)

    # --- items ---

    def _own_edits(self, request: Request, chosen: Sequence[Chosen], trust: Trust) -> Mapping[str, str]:
        """Return, by service, the fields of its entry that the requester changed alone; for an unknown requester,
        anybody's.
        """
        if request.ask.action is Action.EDIT:  # it is there to be looked at
            return {}
        asks = None if request.requester == UNKNOWN else {request.requester, runs(request.requester, trust)}
        return authorship.unlooked(self.store.query, [c.service.ref for c in chosen], asks)

    def _item(
        self,
        chosen: Chosen,
        read: Readings,
        authors: Sequence[Authorship],
        left: UnprovenSuspension | None,
        *,
        ends: bool,
    ) -> Item:
        """Return the item of a service. `ends`: it ends all that is `left`, though the service is suspended already."""
        service, wish = chosen.service, chosen.wish
        display = {"title": title(service), "login": service.login, "tariff": service.tariff}
        if authors:
            now_s = self.clock.wall_s()
            display["entry"] = f"its entry: {' · '.join(one.text(now_s) for one in authors)}"
        if isinstance(wish, Leave):
            return _leave(service, wish, display)
        if wish.why:
            display["why"] = wish.why
        if chosen.others:
            display["other_services"] = f"other services stay as they are: {', '.join(chosen.others)}"
        if not wish.network:
            return _change(service, wish, AccessPlan((), None, {}), display, read.seen)
        method = self.network.access_methods.get(service.method)
        if method is None:
            return _leave(service, Leave(SkipReason.UNMAPPED_METHOD, unmapped_text(service), blocked=True), display)
        if why := read.missing(service):
            return _leave(service, Leave(SkipReason.UNREACHABLE, why, blocked=True), display)
        seen, state, again = read.seen, read.state(service), _again(wish, service, read)
        unvouched = not again and _unvouched(wish, service, left, ends=ends)
        asked = _as_new(service) if again or unvouched else service
        other = _other_tariff(service, state) if wish.same_tariff else ""
        asked = replace(asked, tariff=other or asked.tariff)
        planned = _in_a_document(_planned(method, wish, asked, seen))
        if isinstance(planned, CannotEnforce):
            return _leave(
                service, Leave(planned.reason, planned.detail, blocked=True), {**display, **_now({}, service, state)}
            )
        shown = {**planned.display, **_now(planned.display, service, state), **display}
        rest = None
        if left and (again or ends or not service.reasons):
            rest = left.knowing(method, service).after(planned, seen, service.login)
        elif left and planned.steps:
            rest = replace(left.knowing(method, service), over=True).after(planned, seen, service.login)
        planned = rest or planned
        if not planned.steps and not wish.desired and not wish.always:
            return _leave(service, _already(wish, state, left), shown)
        if not planned.steps:
            shown |= _beside(shown, state, left)
        if planned.steps and (other or again):
            shown["why"] = f"{wish.why}: the network does not read so, and it is enforced again"
        elif left and (rest or (unvouched and planned.steps)):
            shown["why"] = f"{wish.why}: {left.text()}"
        return _change(service, wish, planned, shown, seen)

    def _order(self, items: list[Item]) -> tuple[Item, ...]:
        """Number the items: those that would change first, online ones leading so that the canary proves something."""
        changing = [i for i in items if i.listed is Listed.CHANGE]
        changing.sort(key=lambda i: i.display.get("online") != "online")
        rest = [i for i in items if i.listed is not Listed.CHANGE]
        return tuple(replace(item, n=n) for n, item in enumerate([*changing, *rest], start=1))

    def _check_policy(self, policy: PolicyClass, request: Request, items: int) -> None:
        if request.ask.action not in policy.actions:
            raise RequestError(
                f"policy: class {policy.risk_class.value} does not allow {request.ask.action.value}:"
                " the owners change that in the"
                " trust document",
                refused=True,
            )
        if items > policy.max_items:
            raise RequestError(
                f"policy: class {policy.risk_class.value} allows {policy.max_items} services, got"
                f" {items}: ask for fewer at a time",
                refused=True,
            )
        if request.ask.alone and policy.risk_class is not RiskClass.ALONE:
            raise RequestError(
                f"policy: --alone covers a restore of {LOW_ITEMS_MAX} services at most, and the revert of your own"
                f" change within {OWN_REVERT_S // 3600} hours that suspends nobody; this is class"
                f" {policy.risk_class.value}: ask without it",
                refused=True,
            )
        if request.requester == UNKNOWN and policy.unknown_requester is UnknownRequester.REFUSE:
            raise RequestError(
                f"policy: class {policy.risk_class.value} needs a known requester: {request.unknown_why}",
                refused=True,
            )

    def _check_time(self, changing: Sequence[Item], scope: Scope) -> None:
        """Refuse more than can be begun before the plan's deadline; devices that call in have one of their own.

        Items without steps, as of the inventory alone, keep to no pace.
        """
        pacing = self.pacing
        pace, run_for_s = pacing.per_target_per_s, pacing.run_for_s
        paced = Counter(place_of(item) for item in changing if item.steps)
        if scope.run_for_s is not None or not pace or not paced:
            return
        place, most = max(paced.items(), key=lambda found: found[1])
        soak_s = sum(w.soak_s for w in self._waves(len(changing), None, scope))
        takes_s = soak_s + most / pace
        if takes_s > run_for_s:
            fits = max(int((run_for_s - soak_s) * pace), 0)
            raise RequestError(
                f"{most} services at {place} take {int(takes_s // 60) + 1} min at {pace} a second and target, and a"
                f" change may run for {run_for_s // 60} min: ask for {fits} of them at most, or set [policy] pace or"
                " run_for_s",
                refused=True,
            )

    # --- the plan ---

    def _turn(self, policy: PolicyClass, changing: int, scope: Scope, now_s: float) -> float | None:
        """Return when a plan's turn comes in the budgets that it falls under; None: it is more than one allows."""
        query, risk = self.store.query, policy.risk_class.value
        uses, ahead = budget.uses_of(query, risk, now_s), budget.waiting_of(query, risk, now_s)
        turn_s = budget.next_turn(uses, ahead, changing, policy.budget_per_hour, now_s)
        by_standing = _by_standing(policy, scope, changing)
        return turn_s if turn_s is None or not by_standing else max(turn_s, scope.standing_turn_s)

    async def _save(
        self, request: Request, items: tuple[Item, ...], scope: Scope, pinned: Pinned, policy: PolicyClass
    ) -> bytes:
        now_s = self.clock.wall_s()
        pacing = self.pacing
        ttl_s = min(pacing.ttl_s, policy.max_ttl_s)
        made, changing = int(now_s) // 60, sum(i.listed is Listed.CHANGE for i in items)
        turn_s = self._turn(policy, changing, scope, now_s)
        start = start_times(policy, now_s, ttl_s, turn_s, self.timezone)
        start_by = start.by
        run_until = start_by + -(-(scope.run_for_s or pacing.run_for_s) // 60)
        times = self._times(policy, start, run_until)
        documents = [encode_item(i) async for i in InSlices(items)]
        size, root = self.log_head()
        self.recorder.ensure([i.subject for i in items])
        rows = tuple([self._row(i, d) async for i, d in InSlices(zip(items, documents, strict=True))])
        effects = self._effect_kinds(items)
        boot = self.clock.boot_s() - now_s
        covered = _by_standing(policy, scope, changing)
        for tries in itertools.count():  # the signed head names the short id: another id is another plan
            plan_id = chance.token_bytes(16)
            short = short_id(plan_id, SHORT_CHARS + tries // SHORT_TRIES)
            head = encode_head(self._head(request, items, scope, policy, pinned.trust, plan_id, short, times))
            plan = Plan(
                trust_id=pinned.trust.trust_id,
                plan_id=plan_id.hex(),
                agent=self.agent,
                trust_version=pinned.trust.version,
                intent_sha256=request.digest.hex(),
                requester=request.requester,
                risk_class=policy.risk_class,
                action=request.ask.action,
                made=made,
                start_by=start_by,
                run_until=run_until,
                size_bucket=size_bucket(changing),
                effect_kinds=effects,
                guard_kind=guard_of(items),
                cannot_enforce=any(i.listed is Listed.BLOCKED for i in items),
                on_failure=request.ask.on_failure,
                on_stale=OnStale.SKIP,
                items_root=items_root([head, *documents]).hex(),
                build_sha256=self.terms().build_sha256,
                log_size=size,
                log_root=root.hex(),
            )
            envelope = statements.sign(plan, [self.plan_key])
            save = SavePlan(
                plan_id=plan_id,
                short=short,
                digest=envelopes.digest(envelope),
                envelope=envelopes.encode(envelope),
                intent_id=bytes.fromhex(request.intent.intent_id),
                intent_digest=request.digest,
                intent_envelope=request.envelope,
                action=request.ask.action.value,
                risk=policy.risk_class.value,
                reason=scope.reason or _reason(request.ask, items),
                requester=request.requester,
                made_s=int(now_s),
                start_by=Deadline(start_by * 60, start_by * 60 + boot, self.clock.boot_id),
                run_until=Deadline(run_until * 60, run_until * 60 + boot, self.clock.boot_id),
                reverts=scope.reverts,
                again_of=scope.again_of,
                head=head,
                hold=request.ask.hold,
                items=rows,
                intent_record=self.recorder.record(
                    None, {"what": "intent", "requester": request.requester, "verb": request.ask.action.value}
                ),
                plan_record=self.recorder.record(
                    None, {"what": "plan", "short": short, "items": len(items), "class": policy.risk_class.value}
                ),
            )
            if await (self.standings.save(save) if covered else self.store.run(save)):
                break
        return plan_id

    def _effect_kinds(self, items: Sequence[Item]) -> tuple[EffectKind, ...]:
        """Return the kinds of the plan's effects, and of those that a revert inside the run has."""
        steps = [step for item in items for step in item.steps]
        own = [(step.target, step.do) for step in steps if isinstance(step.do, Effect)]
        on_revert = [(step.target, effect) for step in steps for effect in step.on_revert]
        kinds = {kind for target, effect in own + on_revert for kind in self.sessions.kinds_of(target, effect)}
        return tuple(sorted(kinds, key=lambda kind: kind.value))

    def _row(self, item: Item, document: bytes) -> NewItem:
        sealed = self.vault.seal_record(subject_of(item.subject), document)
        return NewItem(
            n=item.n,
            doc=sealed.ciphertext,
            leaf=merkle.leaf_hash(document),
            subject=sealed.subject,
            service=item.subject,
            state=machine.first_state(item.listed),
            reason=item.reason,
            part=part_of(item),
        )

    def _times(self, policy: PolicyClass, start: StartTimes, run_until: int) -> Mapping[str, str]:
        """Return a preview's text on a plan's times, in unix minutes, on the operator's own clock."""
        now_s, zone = self.clock.wall_s(), self.timezone
        return {
            "asked_at": moment_text(now_s, zone, now_s),
            "until": moment_text(start.by * 60, zone, now_s),
            "ends": moment_text(run_until * 60, zone, now_s),
            "window": windows_text(policy.windows, now_s, zone),
            "turn": moment_text(start.first_s, zone, now_s) if start.first_s >= now_s + 60 else "",
        }

    def _head(
        self,
        request: Request,
        items: tuple[Item, ...],
        scope: Scope,
        policy: PolicyClass,
        trust: Trust,
        plan_id: bytes,
        short: str,
        times: Mapping[str, str],
    ) -> Head:
        counts = Counter(i.listed.value for i in items)
        changing = counts[Listed.CHANGE.value]
        needs = _needs(policy, request, trust)
        if _by_standing(policy, scope, changing):
            needs = f"the standing authority, or {needs}"
        waves = self._waves(changing, request.ask.canary, scope)
        display = {
            "verb": request.ask.action.value,
            "asked_by": request.requester,
            **times,
            "needs": needs,
            "class": policy.risk_class.value,
            "tariff": request.ask.tariff,
            "source": scope.source,
            "look": scope.look,
            "notes": scope.notes,
            "undo": scope.undo or _undo(request.ask.action, items, short),
        }
        if len(waves) > 1:
            display["share"] = f"{changing * 100 / max(scope.active_services, 1):.1f} % of active"
        return Head(
            plan_id=plan_id.hex(),
            salt=chance.token_hex(16),
            items_n=len(items),
            counts=dict(counts),
            waves=waves,
            pace=self.pacing.pace(),
            config_sha256=self.terms().config_sha256,
            display={k: v for k, v in display.items() if v},
        )

    def _waves(self, changing: int, canary: int | None, scope: Scope) -> tuple[Wave, ...]:
        """Return the waves.

        Where the scope is staged a tenth goes first, at least one: a fault on one, as a bad image, is a fault on all of
        its kind.
        """
        pacing = self.pacing
        first = pacing.canary
        if scope.rings and changing > 1:
            return ring_waves(changing, scope.rings, pacing.soak_s)
        if scope.staged and changing > 1:
            first = min(max(1, changing // 10), first if canary is None else min(canary or 1, first))
            return (Wave(1, first, pacing.soak_s), Wave(first + 1, changing, 0))
        if (
            canary is not None
        ):  # who asks may want a smaller canary than the operator's configuration, never a larger one
            first = min(canary, first) if first else canary
        if changing <= max(first, 1) * 2 or first < 1:
            return (Wave(1, changing, 0),)
        return (Wave(1, first, pacing.soak_s), Wave(first + 1, changing, 0))


def _by_standing(policy: PolicyClass, scope: Scope, changing: int) -> bool:
    """Tell whether a standing authority may approve a plan that changes so many items."""
    return policy.risk_class in BY_STANDING and scope.standing and changing == 1


def ring_waves(changing: int, percents: Sequence[int], soak_s: int) -> tuple[Wave, ...]:
    """Return a wave for each ring: after it so many percent of the items have had their turn, at least one more.

    Args:
        changing: items in all, at least 1.
        percents: rising, each below 100.
        soak_s: seconds to wait after each ring but the last.
    """
    ends: list[int] = []
    for percent in percents:
        end = max(-(-changing * percent // 100), (ends[-1] if ends else 0) + 1)
        if end < changing:
            ends.append(end)
    firsts = [1, *(end + 1 for end in ends)]
    return tuple(
        Wave(first, last, soak_s if last < changing else 0)
        for first, last in zip(firsts, [*ends, changing], strict=True)
    )


def _reason(ask: Ask, items: Sequence[Item]) -> str:
    """Return the reason that a plan adds (`+debt`) or lifts (`-debt`), or "": it decides which changes supersede which.

    A restore lifts its reason also of services that do not have it yet, since a suspension may be on its way. The items
    of a revert have one in common: that of the change which they revert.
    """
    if ask.action is Action.RESTORE:
        return str(ReasonChange(ask.reason, added=False))
    return next((str(d) for i in items for d in i.desired if isinstance(d, ReasonChange)), "")


def _needs(policy: PolicyClass, request: Request, trust: Trust) -> str:
    """Return how many people must approve, and why as many."""
    if policy.risk_class is RiskClass.ALONE:
        return "your own signature"
    more = people_more(policy, request.requester, [trust])
    people = policy.approvals + more
    needs = counted(people, "approver")
    if request.requester == UNKNOWN:
        return f"{needs}, since nobody knows who asked: {request.unknown_why}"
    whose = f", not {who}, who runs {request.requester}" if (who := runs(request.requester, trust)) else ""
    return f"{needs}{whose}{', one of them since a program asked' if more else ''}"


def _undo(action: Action, items: Sequence[Item], short: str) -> str:
    """Return how a change is taken back. A revert needs a record or a write of the change: a disconnect leaves none."""
    if action is Action.DISCONNECT:
        return "cannot be undone: the sessions log in again by themselves"
    changing = [item for item in items if item.listed is Listed.CHANGE]
    if not any(item.desired or any(not isinstance(step.do, Effect) for step in item.steps) for item in changing):
        return "nothing to undo: it writes nothing and records nothing"
    return f"ispagent change revert {short} · per item, skips what was changed since"


def title(service: Service) -> str:
    """Return how a service is named to people."""
    return " · ".join(p for p in (f"{service.subscriber} {service.name}".strip(), service.tariff, service.login) if p)


def _already(wish: Wish, state: NetworkState | UnreadableError, left: UnprovenSuspension | None) -> Leave:
    """Return why nothing would change: the network is as wanted, unless something else rejects the login.

    `left`: of an earlier suspension that was not seen enforced.
    """
    refused = state.refused if isinstance(state, NetworkState) else ""
    if refused and wish.state is not None and wish.state.access is Access.ACTIVE:
        held = wish.already or "nothing of this agent's holds it back"
        return Leave(MethodReason.REJECTED, f"{held}; the login is rejected today: {refused}")
    if isinstance(state, NetworkState) and state.unknown and state.access is None and not refused:
        held = wish.why if wish.already else "nothing of this agent's holds it back"
        return Leave(SkipReason.ALREADY, f"{held}; what holds cannot be told: {state.unknown}")
    return Leave(SkipReason.ALREADY, _unproven(wish, state, left) or wish.already or "the network already is as wanted")


_POLICY: Final = {Access.ACTIVE: "active", Access.SUSPENDED: "suspended"}


def _unproven(wish: Wish, state: NetworkState | UnreadableError, left: UnprovenSuspension | None) -> str:
    """Return the text for a service without a known session that an unasked NAS may still hold; "": the reads prove it.

    Accounting lacks a session if its Start packet was lost, and the rows do not show sessions. A session is not known
    either where its end was asked for, and nothing shows since that it goes on. Of one with an unknown policy only a
    change that was seen enforced tells that it is as wanted.
    """
    if not isinstance(state, NetworkState) or wish.state is None:
        return ""
    held = wish.why if wish.already else "the network already is as wanted"
    wrong = [one for one in state.sessions if one.carries not in (None, wish.state.access)]
    if wrong:  # one that no step can end, as on a NAS that is not configured
        told = "; ".join(f"a session on {one.place} is {_POLICY[one.carries]}" for one in wrong if one.carries)
        return f"{held}, as far as was read; not proven: {told}"
    if state.sessions and all(one.unsure for one in state.sessions):
        return f"{held}, as far as was read; not proven: {'; '.join(one.unsure for one in state.sessions)}"
    if left is not None and not left.vouched and any(one.carries is None for one in state.sessions):
        return f"{held}, as far as was read; not proven: {left.said()}"
    if state.sessions or not state.unasked:
        return ""
    asked = f"{', '.join(state.unasked)} {'was' if len(state.unasked) == 1 else 'were'} not asked"
    return f"{held}, as far as was read; not proven: no session by {state.sessions_by}, and {asked}"


def part_of(item: Item) -> str | None:
    """Return the device, or its part `TARGET/PORT`, that an item is about; None: a service, or it sends nothing.

    A CPE counts as itself: its service may have another one by the time of a revert.
    """
    if not item.steps:
        return None
    port = item.display.get(PORT)
    if item.subject is None and port:
        return f"{item.steps[0].target}/{port}"
    return item.steps[0].target if CPE in item.display else None


def _leave(service: Service, leave: Leave, display: Mapping[str, str]) -> Item:
    return Item(
        n=1,
        salt=chance.token_hex(16),
        subject=service.ref,
        listed=Listed.BLOCKED if leave.blocked else Listed.EXCLUDED,
        reason=leave.code,
        display={**display, "why_not": leave.why},
    )


def _planned(
    method: AccessMethod, wish: Wish, service: Service, seen: Mapping[Address, Seen]
) -> AccessPlan | CannotEnforce:
    """Return the steps of an access method for a wish on the network."""
    if wish.undo:
        steps = (Step(n, target_of(write.address), (write,)) for n, write in enumerate(wish.undo, start=1))
        return AccessPlan(tuple(steps), None, {})
    if wish.state is not None:
        return method.plan(wish.state, service, seen)
    if wish.silent_h is None:
        return method.disconnect(service, seen)
    if not isinstance(method, ClosesGhosts):
        why = f"method {service.method} has no accounting that keeps rows of sessions"
        return CannotEnforce(TargetReason.UNSUPPORTED, why)
    return method.close_ghosts(service, seen, wish.silent_h)


def _in_a_document(planned: AccessPlan | CannotEnforce) -> AccessPlan | CannotEnforce:
    """Return the plan where a document can hold its values: a device may have texts that are no UTF-8."""
    if isinstance(planned, AccessPlan):
        for write in (w for step in planned.steps if not isinstance(step.do, Effect) for w in step.do):
            try:
                encode_value(write.before.value)
                encode_value(write.after)
            except UnicodeEncodeError:
                return CannotEnforce(TargetReason.NOT_UTF8, f"{write.address} has a text that is not UTF-8")
    return planned


def _is_read(chosen: Chosen) -> bool:
    return isinstance(chosen.wish, Wish) and chosen.wish.network


def _not_by_who_asks(chosen: Chosen, own: Mapping[str, str]) -> Wish | Leave:
    """Return the wish for a service; block it if the requester alone changed the entry, which the approvers read."""
    if isinstance(chosen.wish, Leave) or (told := own.get(chosen.service.ref)) is None:
        return chosen.wish
    why = f"whoever asks changed it by an import, and nobody else looked since: {told}; let somebody else ask"
    return Leave(SkipReason.OWN_EDIT, why, blocked=True)


def _as_new(service: Service) -> Service:
    """Return a service after the network lost its suspension, as its access method is asked to suspend it once more."""
    return replace(service, reasons=frozenset())


def _told(read: Readings) -> list[str]:
    """Return the notes of the targets, in their order."""
    return [text for target in sorted(read.notes) for text in read.notes[target]]


def _entry(service: Service, wish: Wish) -> Requirement:
    """Return the requirement on a service's entry: as previewed, or not there where the plan adds it."""
    adds = any(isinstance(change, EntryChange) and change.added for change in wish.desired)
    return not_there(service.ref) if adds else as_previewed(service)


async def _rejected(chosen: Sequence[Chosen], read: Readings) -> list[str]:
    """Return how many logins of a batch something else rejects today, and the first few of them by name."""
    asked = [c for c in chosen if _is_read(c)] if len(chosen) > 1 else []
    states = {c.service.ref: read.state(c.service) async for c in InSlices(asked)}
    refs = [ref for ref, state in states.items() if isinstance(state, NetworkState) and state.refused]
    more = f" and {len(refs) - NAMED} more" if len(refs) > NAMED else ""
    return [f"{len(refs)} rejected today by what is not the agent's: {', '.join(refs[:NAMED])}{more}"] if refs else []


def _in_outage(items: Sequence[Item], cut: Collection[str]) -> list[str]:
    """Return how many of the services that would change an outage cuts off: they cannot tell a suspension from it."""
    refs = [item.subject for item in items if item.listed is Listed.CHANGE and item.subject in cut]
    if not refs:
        return []
    return [f"{len(refs)} of these {'is' if len(refs) == 1 else 'are'} in an outage: ispagent outage"]


def _notes(*texts: str) -> str:
    return " · ".join(filter(None, texts))


def _warnings(items: Sequence[Item]) -> list[str]:
    """Return the warnings of the items, each once, with the number of services that it is about."""
    counts = Counter(text for item in items if (text := item.display.get(WARNING)))
    return [f"WARNING: {text}{f' ({n} services)' if n > 1 else ''}" for text, n in counts.most_common()]


def _other_tariff(service: Service, state: NetworkState | UnreadableError) -> str:
    """Return the tariff that the network reads of, where that is another one than recorded."""
    read = "" if isinstance(state, UnreadableError) else state.tariff
    return "" if read == service.tariff else read


def _authored(items: Sequence[Item], authors: Mapping[str, Sequence[Authorship]]) -> list[str]:
    """Return the recent authors of the entries of a batch, without the former values: those are in each item."""
    changing = [item for item in items if item.listed is Listed.CHANGE and item.subject in authors]
    if len(items) == 1 or not changing:
        return []
    found = [(item, one) for item in changing for one in authors[item.subject or ""]]
    added = Counter(f"by {one.by} in {one.via}" for _, one in found if one.field == authorship.ENTRY)
    new = [f"{n} in the inventory for less than 7 days, added {how}" for how, n in added.most_common(NAMED)]
    changed = [
        f"{item_name(item)}: {one.field} changed by {one.by} in {one.via}"
        for item, one in found
        if one.field != authorship.ENTRY
    ]
    more = [f"and {len(changed) - NAMED} more changes of entries"] if len(changed) > NAMED else []
    return [*new, *changed[:NAMED], *more]


def _again(wish: Wish | Leave, service: Service, read: Readings) -> bool:
    """Tell whether steps of a wish suspend a service that is recorded as suspended, since the network lost that."""
    if not isinstance(wish, Wish) or not verbs.enforces_again(wish, service):
        return False
    state = read.state(service)
    return isinstance(state, NetworkState) and state.access is not Access.SUSPENDED and not state.refused


def _unvouched(wish: Wish | Leave, service: Service, left: UnprovenSuspension | None, *, ends: bool) -> bool:
    """Tell whether a wish suspends a service that is recorded as suspended, which nobody saw enforced.

    One that only repeats a reason does not where nothing is known to be left: each monthly batch would ask all NAS.
    """
    if not isinstance(wish, Wish) or left is None or left.vouched or not verbs.enforces_again(wish, service):
        return False
    return verbs.suspends(wish) or (ends and not left.over)


def _now(display: Mapping[str, str], service: Service, state: NetworkState | UnreadableError) -> dict[str, str]:
    """Return the present state for people: a login that is rejected today first, then another tariff than recorded."""
    if isinstance(state, UnreadableError):
        return {}
    told = f"login is rejected today: {state.refused}" if state.refused else ""
    other = _other_tariff(service, state)
    tariff = f"the network reads tariff {other}, and {service.tariff} is recorded" if other else ""
    now = " · ".join(filter(None, (told, tariff, display.get("now", ""))))
    return {"now": now} if now else {}


def _beside(
    display: Mapping[str, str], state: NetworkState | UnreadableError, left: UnprovenSuspension | None
) -> dict[str, str]:
    """Return the present state of a service of which only the record changes, with everything that was not read."""
    unread = "; ".join(state.not_checked) if isinstance(state, NetworkState) else ""
    checked = f"not checked: {unread}" if unread else ""
    proven = f"not proven: {left.said()}" if left is not None and not left.vouched else ""
    now = " · ".join(filter(None, (display.get("now"), checked, proven)))
    return {"now": now} if now else {}


def _change(
    service: Service, wish: Wish, planned: AccessPlan, display: Mapping[str, str], seen: Mapping[Address, Seen]
) -> Item:
    return Item(
        n=1,
        salt=chance.token_hex(16),
        subject=service.ref,
        listed=Listed.CHANGE,
        reason="",
        display=display,
        requires=(_entry(service, wish), *wish.requires, *(as_read(a, seen[a].value) for a in planned.rests_on)),
        steps=planned.steps,
        enforce=planned.enforce,
        desired=wish.desired,
    )


def _rests_on_payment(item: Item, source: str) -> Item:
    """Return an item that is done only while a payment is matched; one that would not change as it is."""
    if item.listed is not Listed.CHANGE or item.subject is None:
        return item
    paid = Requirement(fact_address(source, subject_of(item.subject)), PAID, "a payment is matched")
    return replace(item, requires=(*item.requires, paid))


def _why_not(item: Item) -> str:
    return f"{item_name(item)}: {item.display.get('why_not', item.reason)}"
