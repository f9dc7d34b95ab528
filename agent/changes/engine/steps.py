"""The steps of one item: their known outcomes, the one way in which any is sent, and the doubts that a crash left.

* A step is sent by `Steps.send` and nowhere else: "about to" is durable before the first byte.
* An outcome that a crash would only lose until it is read again may be *owed*: the item's next command brings it, so
  that it is durable before any step that must follow. Everything that waits says it first (`say`).
* The item's addresses are taken with its first "about to" and given back with its last move (`end`). While the fate of
  a step is in doubt they stay its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import trio

from agent.changes.engine.perform import CRASH, OutcomeKind, Patience, kind_of, perform_step, recover_step
from agent.changes.engine.sessions import ItemSessions, Sessions, WindowSlot
from agent.changes.engine.tickets import Owed, StepAction, Tickets, Unmet, addresses_of, moment_now
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import DesiredRecorder
from agent.changes.journal.machine import Event, StepFact
from agent.changes.journal.moments import SendWindow
from agent.changes.journal.plans import ItemRow, StepRow
from agent.connectors.base import CLOCK_SET, IN_FORCE, AccessMethod, Earlier, UnreadableError
from agent.model import (
    Address,
    DesiredChange,
    Direction,
    Effect,
    GuardKind,
    Item,
    ProofKind,
    Replay,
    Seen,
    Step,
    StepOutcome,
    Ticket,
    Transition,
    Verdict,
)
from agent.reasons import ItemReason, TargetReason
from agent.runtime.clock import Clock
from agent.store.db import Store
from agent.store.errors import RefusedCommandError

MAX_ATTEMPTS = 2
"""How often a step is sent when the first try proved to have had no effect at all; a crash of ours allows one more."""
MOST_VISITS = 20
"""How often a step is begun at a device that hangs up, or a target that goes away, before anything was sent."""
FINISH_S = 60.0
"""How soon after its last step an item that was begun sends its next one although its window closed meanwhile."""
_NOTHING_SENT = (OutcomeKind.HUNG_UP, OutcomeKind.AWAY)
_Key = tuple[int, Direction]


async def _no_facts(_: Collection[str]) -> None:
    await trio.lowlevel.checkpoint()


def subjects(item: Item) -> tuple[str, ...]:
    """Return the services with billing data that an item rests on."""
    return (item.subject,) if item.subject is not None else ()


def ends_of(item: Item) -> list[Step]:
    """Return the steps that end the sessions by which an item's enforcement is judged."""
    enforce = item.enforce
    where = set() if enforce is None else {enforce.address, *enforce.expect.values()}  # of each device, where several
    return [step for step in item.steps if isinstance(step.do, Effect) and step.do.address in where]


def guard_problem(item: Item) -> str:
    """Return why an item cannot run as its steps say; "": it can.

    A guard is a device that takes a write back by itself where it is not confirmed. No connector can do it yet. A step
    that asks for it is refused before anything of its item is sent: its approvers relied on the guard, and a write
    without one could lose the device.
    """
    for step in item.steps:
        if step.guard is not GuardKind.NONE:
            return (
                f"step {step.n} on {step.target} asks for {step.guard.value}, which no connector of this agent can do"
            )
    return ""


@dataclass(frozen=True, slots=True)
class RunParts:
    """The parts of the agent that a run uses. `census`: target id -> the address that lists its open sessions."""

    store: Store
    recorder: Recorder
    sessions: Sessions
    access_methods: Mapping[str, AccessMethod]
    clock: Clock
    unmet: Unmet
    patience: Patience = field(default_factory=Patience)
    census: Mapping[str, Address] = field(default_factory=dict)
    paced: bool = True
    check_clock: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    """Halts applying, durably, if the clock jumped."""
    refresh_facts: Callable[[Collection[str]], Awaitable[object]] = _no_facts
    """Reads billing data of services again, by their refs."""
    send_window: Callable[[PlanRow], SendWindow] = lambda _: SendWindow(0)
    """Tells whether the policy of a plan lets it send now. Judged again before each send."""
    recorders: Mapping[type, DesiredRecorder] = field(default_factory=dict)
    """The recorder of each kind of desired change that belongs to no service."""


class Steps:
    """The steps of one item. `changed` is called after every move."""

    def __init__(self, item: Item, parts: RunParts, tickets: Tickets, changed: Callable[[], None]) -> None:
        """Begin without any outcome."""
        self.item, self.parts, self.tickets, self.changed = item, parts, tickets, changed
        self.outcomes: dict[_Key, StepOutcome] = {}
        """The last outcome of each step, each way."""
        self.last: StepOutcome | None = None
        self.ended: dict[Address, Seen] = {}
        """Sessions that the item set out to end, as they were read: they must be gone in the end."""
        self.locked = False
        """Whether the item holds its addresses."""
        self.accepted: set[int] = set()
        """Steps with an effect that the target accepted in this run: its result may not be known yet."""
        self.looks = 0
        """How often `look_again` was called."""
        self.spared = ""
        """Why the target is spared now, and since when: the item waits for it. "": it does not."""
        self._lost: dict[int, StepOutcome] = {}
        """The outcome of each step, as planned, that was sent, not answered, and not seen to have an effect."""
        self._attempts: dict[_Key, int] = {}
        """How often each was about to be sent, in a retry since it was asked for."""
        self._crashed: set[_Key] = set()
        self._in_doubt: set[_Key] = set()
        """About to be sent, and without an outcome: until there is one, the item's addresses stay its own."""
        self._doubts: list[StepRow] = []
        """Of `_in_doubt`, those from before a restart."""
        self._owed: Owed | None = None
        self._sent_s = float("-inf")
        """When a step was sent last in this run, on the boot-time clock."""
        self._earlier: dict[_Key, dict[Address, tuple[Seen, int]]] = {}
        """The sessions that earlier attempts were bound to, as read first, and how far our clock was set by then."""
        self._done_s: dict[_Key, float] = {}
        """When each outcome was recorded, unix seconds."""
        self._arrives = bool(item.steps) and parts.sessions.arrives_later(item.steps[0].target)

    # --- outcomes so far ---

    def done(self, n: int) -> StepOutcome | None:
        """Return the outcome of step `n` as planned, or None."""
        return self.outcomes.get((n, Direction.FORWARD))

    def stands(self, n: int) -> bool:
        """Tell whether step `n` was applied as planned."""
        done = self.done(n)
        return done is not None and done.verdict is Verdict.APPLIED

    def facts(self) -> list[StepFact]:
        """Return the facts of each step that the machine judges by."""
        return [_fact(step, self.done(step.n)) for step in self.item.steps]

    def note_outcome(self, key: _Key, outcome: StepOutcome, at_s: float | None = None) -> None:
        """Take note of an outcome. `at_s`: when it was recorded, unix seconds; None: now."""
        self.outcomes[key] = outcome
        self._done_s[key] = self.parts.clock.wall_s() if at_s is None else at_s
        if key[1] is Direction.FORWARD:
            self.last = outcome
            if kind_of(outcome) in (OutcomeKind.LOST, OutcomeKind.CRASHED):
                self._lost[key[0]] = outcome

    def note_bound(self, step: Step, bound: Mapping[Address, Seen]) -> None:
        """Take note of the sessions that a step is to end."""
        if isinstance(step.do, Effect) and step.do.proof is ProofKind.GONE:
            self.ended.update(bound)

    async def bind(self, step: Step, way: Direction, effect: Effect, sessions: ItemSessions) -> Earlier:
        """Return what an effect is to end now; the next attempt at its step, also in a retry, needs that.

        Its session compares moments: of the plan, of earlier attempts, and when sessions began. Whoever set our clock
        meanwhile moved none of them.
        """
        set_s = self.tickets.clock_set_s()
        known = self._earlier.get((step.n, way), {})
        earlier = {where: replace(seen, at_s=seen.at_s + set_s - then_s) for where, (seen, then_s) in known.items()}
        moments = {CLOCK_SET: str(set_s)} if set_s else {}
        if (in_force_s := self._in_force_s(step, way)) is not None:
            moments[IN_FORCE] = moment_now(in_force_s, set_s)  # late, it spares too few
        asked = replace(effect, args={**effect.args, **moments})
        bound = await (await sessions.at(step.target)).bind(asked, earlier)
        self._note_earlier(step, way, bound, set_s)
        return bound

    def _in_force_s(self, step: Step, way: Direction) -> float | None:
        """Return since when what the item writes before `step` is known to be so, unix seconds; None: not all of it.

        The agent may die after a write and end sessions minutes later; many began since, as wanted.
        """
        writes = [s.n for s in self.item.steps if s.n < step.n and not isinstance(s.do, Effect)]
        if way is not Direction.FORWARD or not writes or not all(map(self.stands, writes)):
            return None
        return max(self._done_s[n, way] for n in writes)

    def unlooked_s(self) -> float | None:
        """Return since when the item's writes are known to be done, where no sessions were looked up to be ended since.

        Those from before the writes are then in no list of `ended`. None: they were looked up, or nobody is to.
        """
        ends = ends_of(self.item)
        if all((step.n, Direction.FORWARD) in self._earlier for step in ends):
            return None
        return self._in_force_s(ends[-1], Direction.FORWARD)

    def _note_earlier(self, step: Step, way: Direction, bound: Earlier, set_s: int) -> None:
        """Record the sessions that an attempt at a step is bound to, as first read, and how our clock was set then."""
        noted = {where: (seen, set_s) for where, seen in bound.items()}
        self._earlier[step.n, way] = {**noted, **self._earlier.get((step.n, way), {})}

    def ended_one(self) -> bool:
        """Tell whether the item ended a session, so that another may follow."""
        ends = [self.done(s.n) for s in self.item.steps if isinstance(s.do, Effect) and s.do.proof is ProofKind.GONE]
        known = [kind_of(outcome) for outcome in ends if outcome is not None]
        return bool(self.ended) and any(kind is not OutcomeKind.NONE for kind in known)

    def arrives(self) -> bool:
        """Tell whether the item's device calls in when it likes: then one change at a time acts on it, all of it."""
        return self._arrives

    def patience_with(self, target: str) -> Patience:
        """Return how long to wait for a target: its connector may know better than for all."""
        traits, patience = self.parts.sessions.connector(target).traits, self.parts.patience
        if traits.send_s is None and traits.reread_s is None:
            return patience
        return replace(
            patience,
            send_s=patience.send_s if traits.send_s is None else traits.send_s,
            reread_s=patience.reread_s if traits.reread_s is None else traits.reread_s,
        )

    def try_again(self, step: Step, direction: Direction, outcome: StepOutcome) -> bool:
        """Return whether a step that proved to have had no effect may be sent once more."""
        kind, key = kind_of(outcome), (step.n, direction)
        if kind is (OutcomeKind.HUNG_UP if self.parts.sessions.arrives_later(step.target) else OutcomeKind.AWAY):
            return self._attempts.get(key, 0) < MOST_VISITS
        if outcome.reason == TargetReason.NOT_THERE:  # another session may be open: look again
            return self._attempts.get(key, 0) <= MAX_ATTEMPTS
        if kind not in (OutcomeKind.LOST, OutcomeKind.UNDECIDED, OutcomeKind.CRASHED) and not _asked_again(
            step, outcome
        ):
            return False
        if isinstance(step.do, Effect) and step.do.replay is Replay.NEVER:
            return False
        # A crash of ours is no fault of the device: that attempt is given back
        return self._attempts.get(key, 0) < MAX_ATTEMPTS + (key in self._crashed)

    def half_stands(self) -> bool:
        """Tell whether some of the item's writes were applied and all others are proven not to have been."""
        if self.doubted(Direction.FORWARD):
            return False
        done = [self.done(step.n) for step in self.item.steps if not isinstance(step.do, Effect)]
        verdicts = {Verdict.NOT_APPLIED if each is None else each.verdict for each in done}  # None: never sent
        return verdicts == {Verdict.APPLIED, Verdict.NOT_APPLIED}

    def nothing_sent(self) -> bool:
        """Tell whether the item is as if it had not been begun: its device was away before each first byte."""
        begun = bool(self._in_doubt or self._lost)
        return not begun and all(kind_of(done) in _NOTHING_SENT for done in self.outcomes.values())

    def unproven(self) -> StepOutcome | None:
        """Return the outcome of an effect that was sent, not answered, and may have been had all the same; None: none.

        Its proof is a change: that none was seen disproves nothing, and no refusal of a later attempt does.
        """
        for step in self.item.steps:
            changes = isinstance(step.do, Effect) and step.do.proof is ProofKind.CHANGED
            if changes and step.n in self._lost and not self.stands(step.n):
                return self._lost[step.n]
        return None

    def none_stands(self) -> bool:
        """Tell whether steps were sent, and none is known to have had an effect."""
        done = self.outcomes.values()
        fails = [each.verdict is Verdict.NOT_APPLIED or kind_of(each) is OutcomeKind.UNDECIDED for each in done]
        return not self._in_doubt and bool(fails) and all(fails)

    def look_again(self) -> None:
        """Forget the sessions that were looked up: nothing was sent, and by the item's next turn others may be there.

        Else one that began since would count as from after an attempt that never was.
        """
        self.looks += 1
        self._earlier.clear()
        self.ended.clear()
        for key in [key for key, done in self.outcomes.items() if done.reason == TargetReason.NOTHING_TO_DO]:
            del self.outcomes[key]
            self.last = None

    def in_doubt(self) -> bool:
        """Tell whether the fate of a step is not known now."""
        return bool(self._in_doubt)

    # --- sending ---

    async def send(self, action: StepAction, sessions: ItemSessions, slot: WindowSlot) -> StepOutcome:
        """Send a step once it is durable that it is about to be; return the outcome that was read back.

        Raises:
            RefusedCommandError: it may not be sent now. UnreadableError: its device cannot be read before it is.
        """
        session = await sessions.at(action.target)
        async with self.parts.sessions.kept(action.target):
            await self._before_send(action.direction)
            ticket = await self._about_to(action)
            key = action.step, action.direction
            self._attempts[key] = self._attempts.get(key, 0) + 1
            self._in_doubt.add(key)
            self.changed()
            # No checkpoint up to here: between "about to" and the shield in `perform_step` nothing can be cancelled
            done = await perform_step(
                session,
                ticket,
                self,
                self.parts.clock,
                self.patience_with(action.target),
                self._replied(action, sessions, slot),
                leave=self.parts.sessions.arrives(action.target),
            )
            self._in_doubt.discard(key)
        return done

    async def begin(self) -> None:
        """Begin an item of which nothing has to be sent, such as where no session is left to end.

        Raises:
            RefusedCommandError: it may not be done now.
        """
        await self._before_send(Direction.FORWARD)
        await self.tickets.begin(self.item)
        self.changed()

    async def _before_send(self, direction: Direction) -> None:
        """Read what each step rests on, the clock last: one that leapt meanwhile would stretch the deadline."""
        if direction is Direction.FORWARD and self.item.requires:
            await self.parts.refresh_facts(subjects(self.item))
        await self.parts.check_clock()

    async def _about_to(self, action: StepAction) -> Ticket:
        # With the first "about to", in one command: an item needs few of them (ADR 4)
        take = () if self.locked else self._addresses
        try:
            ticket = await self.tickets.about_to(self.item, action, take, self._owed, in_window=self._waited())
        except RefusedCommandError:
            self._owed = None  # it was said, whatever the next step is refused for
            raise
        self._owed, self.locked = None, True
        self._sent_s = self.parts.clock.boot_s()
        return ticket

    def _waited(self) -> bool:
        """Tell whether the next step is no mere finishing of the item: its device may have been away for days.

        Or the agent. Of a retried item the window was asked for when it took its addresses.
        """
        in_vain = (self.none_stands() or self.nothing_sent()) and not self.tickets.retried(self.item)
        return (in_vain or self.arrives()) and self.parts.clock.boot_s() >= self._sent_s + FINISH_S

    def _replied(self, action: StepAction, sessions: ItemSessions, slot: WindowSlot) -> Callable[[], None]:
        """Return the call to make when an effect is accepted: after its last one an item only reads."""

        def replied() -> None:
            if action.direction is not Direction.FORWARD:
                return
            self.accepted.add(action.step)
            self.changed()
            if all(action.step in later.fallback_for for later in self.item.steps[action.step :]):
                slot.over()
                if isinstance(action.do, Effect):
                    sessions.let_go(action.do)

        return replied

    # --- the journal, as `perform_step` sees it ---

    async def doubt(self, ticket: Ticket, reason: str) -> None:
        """Record that a step is being re-read."""
        await self.tickets.doubt(ticket, reason)

    async def outcome(self, ticket: Ticket, outcome: StepOutcome) -> None:
        """Make an outcome durable, now or with the item's next command."""
        self._owed = Owed(ticket, outcome)
        if not self._may_be_owed(ticket, outcome):
            await self.say()

    def _may_be_owed(self, ticket: Ticket, outcome: StepOutcome) -> bool:
        """Tell whether recovery would find the same outcome by reading: a crash then loses nothing.

        Not where only a reply says so; nor of a device that calls in, which may be away for days.
        """
        provable = not isinstance(ticket.do, Effect) or ticket.do.proof is not None
        forward = ticket.direction is Direction.FORWARD
        return forward and provable and outcome.verdict is Verdict.APPLIED and not self.arrives()

    async def say(self) -> None:
        """Make the outcome durable that is owed, if there is one."""
        if self._owed is not None:
            # A cancel in here would lose an outcome that only this process knows
            with trio.CancelScope(shield=True):
                await self.tickets.outcome(self._owed)
            self._owed = None

    # --- moves and addresses ---

    async def move(self, event: Event, reason: str, detail: str = "") -> None:
        """Move the item to the state that an event leads to, durably; its run goes on."""
        await self.tickets.move(self.item, event, reason, detail)
        self.changed()

    async def end(self, event: Event, reason: str, detail: str = "", desired: tuple[DesiredChange, ...] = ()) -> None:
        """Move the item for the last time of its run, and give its addresses back, unless a step is in doubt."""
        # A step in doubt keeps them: another change would plan on a value that may yet turn out to be ours
        give_back = () if self._in_doubt else self._addresses
        await self.tickets.end(self.item, event, reason, detail, desired, self._owed, give_back)
        self._owed, self.locked = None, self.locked and not give_back
        self.changed()

    async def lock(self) -> None:
        """Take the item's addresses before its first "about to": for an item that must read them first.

        Raises:
            RefusedCommandError: `busy`: another change holds one.
        """
        await self.tickets.lock(self.item, self._addresses)
        self.locked = True

    async def lock_to_revert(self) -> None:
        """Take the item's addresses to take it back.

        Raises:
            RefusedCommandError: `busy`: another change holds one; or it may not be taken back now.
        """
        await self.tickets.lock_to_revert(self.item, self._addresses)
        self.locked = True

    async def leave(self) -> None:
        """Say the outcome that is owed and give the addresses back, unless a step is in doubt."""
        await self.say()
        if self.locked and not self._in_doubt:
            with trio.CancelScope(shield=True):
                await self.tickets.unlock(self.item, self._addresses)
            self.locked = False

    @cached_property
    def _addresses(self) -> tuple[Address, ...]:
        """The addresses that the item holds while it acts."""
        return addresses_of(self.item, whole=self.arrives())

    # --- after a crash ---

    def note(self, row: StepRow, at: ItemRow) -> None:
        """Take note of an attempt that the journal has. `at`: the item's row."""
        step = self.item.steps[row.n - 1]
        # Set before that attempt or after it: so the fewest sessions seem to be from before it, and are ended again
        self._note_earlier(step, row.direction, row.bound, max(self.tickets.clock_set_s(), 0))
        if row.direction is Direction.FORWARD:
            self.note_bound(step, row.bound)
        ended = row.direction is Direction.FORWARD and isinstance(step.do, Effect)
        if at.reason == ItemReason.RETRY and ended and row.outcome_seq is not None and row.outcome_seq < at.state_seq:
            return  # a person asked for it once more
        key = (row.n, row.direction)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        if row.verdict is not None:
            self._note_recorded(key, StepOutcome(row.verdict, row.reason, row.detail), row.outcome_s)

    def _note_recorded(self, key: _Key, outcome: StepOutcome, at_s: float | None = None) -> None:
        kind = kind_of(outcome)
        if kind is OutcomeKind.EXPIRED:
            return  # nothing was sent
        if kind is OutcomeKind.CRASHED:
            self._crashed.add(key)
        self.note_outcome(key, outcome, at_s)

    def recover_later(self, row: StepRow) -> None:
        """Find the fate of a step when its item is gone on with: its device must call in first."""
        self._doubts.append(row)
        self._in_doubt.add((row.n, row.direction))

    def doubted(self, way: Direction | None = None) -> bool:
        """Tell whether the fate of a step is still to be found, from before a restart. `way`: None: any."""
        return any(way in (None, row.direction) for row in self._doubts)

    async def resolve_doubts(self) -> None:
        """Find the fate of steps that were about to be sent to a device that calls in when it likes."""
        while self._doubts:
            row = self._doubts[0]
            await self.recover(row)
            self._in_doubt.discard((row.n, row.direction))
            del self._doubts[0]

    async def find_fates(self, rows: Collection[StepRow]) -> None:
        """Find the fate of the item's steps that a crash of its run left in doubt."""
        for row in rows:
            if row.item == self.item.n and row.verdict is None:
                await self.recover(row)
                self._in_doubt.discard((row.n, row.direction))

    async def give_up_doubts(self, rows: Collection[StepRow], why: str) -> None:
        """Call the fate of the item's steps unknown that are in doubt still: it is for a person to look."""
        for row in rows:
            if row.item == self.item.n and row.verdict is None:
                action = self._action(row)
                ticket = self.tickets.ticket(self.item, action, row.attempt)
                await self.outcome(ticket, StepOutcome(Verdict.UNKNOWN, ItemReason.GIVEN_UP, why))
                self._in_doubt.discard((row.n, row.direction))

    async def recover(self, row: StepRow) -> None:
        """Find the fate of a step that was about to be sent when the agent died."""
        action = self._action(row)
        ticket = self.tickets.ticket(self.item, action, row.attempt)
        await self.doubt(ticket, CRASH)
        self.changed()
        try:
            outcome = await self._recovered(action.target, ticket)
        except UnreadableError as err:
            outcome = StepOutcome(Verdict.UNKNOWN, err.reason, f"what became of it cannot be read: {err}")
            await self.outcome(ticket, outcome)
        await self.say()
        self._note_recorded((row.n, row.direction), outcome)

    def _action(self, row: StepRow) -> StepAction:
        """Return the action that a journaled attempt was about to do."""
        step = self.item.steps[row.n - 1]
        do = step.do if row.direction is Direction.FORWARD else inverse_of(step)
        if do is None:
            raise ValueError(f"item {self.item.n} step {row.n} has no revert, yet one was journalled")
        return StepAction(row.n, step.target, row.direction, do, row.bound)

    async def _recovered(self, target: str, ticket: Ticket) -> StepOutcome:
        """Read the outcome of a ticket.

        Raises:
            UnreadableError: the target cannot be read, or does not call in for too long.
        """
        sessions, patience = self.parts.sessions, self.patience_with(target)
        arrives = sessions.arrives(target)
        with trio.move_on_after(patience.reread_s if arrives else float("inf")) as scope:
            async with sessions.for_item(target) as lent, sessions.kept(target):
                scope.deadline = float("inf")
                session = await lent.at(target)
                if isinstance(ticket.do, Effect):
                    lent.let_go(ticket.do)  # it is not sent again before its proof is judged
                return await recover_step(session, ticket, self, self.parts.clock, patience, leave=arrives)
        raise UnreadableError(f"{target} did not call in for {patience.reread_s:.0f} s", reason=TargetReason.TIMEOUT)


def _asked_again(step: Step, outcome: StepOutcome) -> bool:
    """Tell whether a device is to be asked once more for a session that it said to have ended: it may deny having it by
    now.
    """
    gone = isinstance(step.do, Effect) and step.do.proof is ProofKind.GONE
    return gone and outcome.verdict is Verdict.NOT_APPLIED and outcome.reason == TargetReason.ACK_WITHOUT_EFFECT


def _fact(step: Step, outcome: StepOutcome | None) -> StepFact:
    done = outcome is not None and outcome.verdict is Verdict.APPLIED and kind_of(outcome) is not OutcomeKind.NONE
    return StepFact(
        None if outcome is None else outcome.verdict,
        effect=isinstance(step.do, Effect),
        drifted=outcome is not None and kind_of(outcome) is OutcomeKind.DRIFTED,
        fallback_for=step.fallback_for,
        provable=not isinstance(step.do, Effect) or step.do.proof is not None,
        acted=done and isinstance(step.do, Effect),
        accepted=done and _only_accepted(step, outcome),
    )


def _only_accepted(step: Step, outcome: StepOutcome | None) -> bool:
    """Tell whether only the target's word says that a step was applied."""
    if isinstance(step.do, Effect):
        return step.do.proof is None
    return outcome is not None and outcome.reason == TargetReason.NOT_PROVABLE


def inverse_of(step: Step) -> tuple[Transition, ...] | Effect | None:
    """Return the inverse of a step: transitions inverted, last first; an effect's declared `on_revert`, or None."""
    if isinstance(step.do, Effect):
        return step.on_revert[0] if step.on_revert else None
    return tuple(
        Transition(t.address, Seen(t.after, t.before.at_s), t.before.value, t.unprovable) for t in reversed(step.do)
    )
