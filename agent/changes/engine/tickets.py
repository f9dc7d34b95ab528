"""Tickets of one plan: leave to perform a step once, and its outcome.

It turns events into commands with their sealed records, and keeps the item states as the database has them. It
is the only caller of the commands of steps and of `MoveItem`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil

from agent.changes.journal import item_commands
from agent.changes.journal.audit import Json, Recorder, encode_do, outcome_json, seen_json
from agent.changes.journal.commands import Deadline, PlanRow
from agent.changes.journal.item_commands import DesiredRecorder
from agent.changes.journal.machine import FAILED, FINAL, TOUCHED, UNSENT, Event
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import CLOCK_SET, IN_FORCE
from agent.inventory.book import AS_PREVIEWED, OF_SUBJECTS, Broken, inventory_address
from agent.model import (
    Address,
    DesiredChange,
    Direction,
    Effect,
    Enforcement,
    Item,
    ItemState,
    Seen,
    StepOutcome,
    Ticket,
    Transition,
    write_changes,
)
from agent.reasons import ItemReason, ProofReason, RefusalReason, TargetReason
from agent.runtime.clock import Clock, now_of
from agent.store.db import Store, Tx
from agent.store.errors import ErasedSubjectError, RefusedCommandError

_log = logging.getLogger(__name__)

Unmet = Callable[[Tx, bytes, Item, bool], Broken | None]
"""Reads the facts that an item of a plan (its id) requires (begun already?) and returns the first one that no longer
holds.
"""


def with_clock(enforce: Enforcement, until: Deadline, clock: Clock) -> Enforcement:
    """Return an enforcement with how far our clock was set since its plan was made. `until`: a deadline of the plan."""
    set_s = round(until.clock_set_s(now_of(clock)))
    return replace(enforce, expect={**enforce.expect, CLOCK_SET: str(set_s)}) if set_s else enforce


def moment_now(at_s: float, set_s: int) -> str:
    """Return a past moment by our clock of now, unix seconds, rounded up; late by how far that was set at most."""
    return str(ceil(at_s) + max(set_s, 0))


def with_writes(enforce: Enforcement, in_force_s: float | None, set_s: int) -> Enforcement:
    """Return an enforcement with since when its item's writes are known to be done; None: it does not count."""
    if in_force_s is None:
        return enforce
    return replace(enforce, expect={**enforce.expect, IN_FORCE: moment_now(in_force_s, set_s)})


@dataclass(frozen=True, slots=True)
class StepAction:
    """A step that is about to be sent: its transitions or effect, and the resources that the effect was bound to."""

    step: int
    target: str
    direction: Direction
    do: tuple[Transition, ...] | Effect
    bound: Mapping[Address, Seen]


@dataclass(frozen=True, slots=True)
class Owed:
    """An outcome that is known and not durable yet: the next command of its item brings it."""

    ticket: Ticket
    outcome: StepOutcome


class Tickets:
    """One plan's tickets."""

    def __init__(
        self,
        plan: PlanRow,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        unmet: Unmet,
        send_window: Callable[[PlanRow], SendWindow],
        recorders: Mapping[type, DesiredRecorder] | None = None,
    ) -> None:
        self.plan = plan
        self._recorders = recorders or {}
        self._send_window = send_window
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._unmet = unmet
        self.states: dict[int, ItemState] = {}
        self.reasons: dict[int, str] = {}
        """The reason of each item's last move."""
        self._services: dict[int, str | None] = {}

    def track(self, item: Item, state: ItemState, reason: str) -> None:
        """Take note of an item, of the state that the database has for it, and why."""
        self.states[item.n], self.reasons[item.n] = state, reason
        self._services[item.n] = item.subject

    def unsent(self, item: Item) -> bool:
        """Tell whether nothing of an item was sent."""
        return self.states[item.n] in UNSENT

    def retried(self, item: Item) -> bool:
        """Tell whether a person asked for an item once more. It recorded its changes before."""
        return self.reasons[item.n] == ItemReason.RETRY

    def window(self) -> SendWindow:
        """Return whether the plan may send now: its policy's window is open, and nobody paused it."""
        return self._send_window(self.plan)

    async def about_to(
        self,
        item: Item,
        action: StepAction,
        take: tuple[Address, ...] = (),
        owed: Owed | None = None,
        *,
        in_window: bool = False,
    ) -> Ticket:
        """Return the ticket, once "about to" is durable, and with it `owed`. `take`: the addresses to hold from now on.

        `in_window`: refuse it outside the policy's window and during a pause, also where the item was begun.

        Raises:
            RefusedCommandError: nothing may be sent; `reason` says why. The outcome that was owed is durable.
        """
        try:
            about = self._about(item, action, take, in_window=in_window)
        except ErasedSubjectError as err:
            # The step may not be sent, but the outcome before it happened
            if owed is not None:
                await self.outcome(owed)
            raise RefusedCommandError(RefusalReason.ERASED, str(err)) from err
        attempt: int | RefusedCommandError
        if owed is None:
            attempt = await self._store.run(about)
        else:
            # One commit for both: the outcome is durable with the step that names it in `after`, never later
            attempt = await self._store.run(item_commands.NextStep(self._done(owed), about))
        if isinstance(attempt, RefusedCommandError):
            raise attempt
        if about.begins:
            self.states[item.n] = ItemState.RUNNING
        return self.ticket(item, action, attempt)

    def _about(
        self, item: Item, action: StepAction, take: tuple[Address, ...], *, in_window: bool
    ) -> item_commands.AboutTo:
        service, do = item.subject, encode_do(action.do)
        forward = action.direction is Direction.FORWARD
        begins = forward and self.unsent(item)
        rests_on = item if forward else self._rest_of_revert(item)
        record: dict[str, Json] = {
            "what": "about-to",
            **({"event": Event.BEGIN.value} if begins else {}),
            "direction": action.direction.value,
            "bound": seen_json(action.bound),
        }
        return item_commands.AboutTo(
            plan_id=self.plan.plan_id,
            n=item.n,
            step=action.step,
            direction=action.direction,
            do=do.encode(),
            bound=action.bound,
            now=now_of(self._clock),
            unmet=lambda tx, begun: self._broken(tx, rests_on, begun),
            take=take,
            sealed=self._recorder.record(service, record, {"do": do}),
            begins=begins,
            window=self.window() if begins or (forward and in_window) else None,
        )

    def _broken(self, tx: Tx, item: Item, begun: bool) -> Broken | None:
        """Return why an item may not be begun. A revert undoes no change that another one did again since."""
        broken, of = self._unmet(tx, self.plan.plan_id, item, begun), self.plan.reverts
        if broken is not None or begun or of is None:
            return broken
        if by := item_commands.repeated_by(tx.all, of, item.subject, item.desired):
            return Broken(f"change {by} did the same to the service since", stale=True)
        by = item_commands.set_since(tx.all, of, item)
        return Broken(f"change {by} set it since", stale=True) if by else None

    def _rest_of_revert(self, item: Item) -> Item:
        """Return an item with the facts that taking it back rests on.

        Its device is the same one, and its service's entry is as the item left it: where another change acted on it
        since, as by another reason for the suspension, that one would be taken back with it.
        """
        kept = tuple(r for r in item.requires if r.test == AS_PREVIEWED or r.test not in OF_SUBJECTS)
        recorded = item.desired if self.states[item.n] in TOUCHED else ()  # half an item recorded nothing
        return replace(item, requires=kept, desired=recorded)

    def cancelled(self) -> bool:
        """Tell whether a person cancelled the plan: unsent steps are then never sent."""
        found = self._store.reader.execute("SELECT 1 FROM cancelled WHERE plan_digest = ?", (self.plan.digest,))
        return found.fetchone() is not None

    def wanted(self, item: Item) -> bool:
        """Tell whether the item is still to be done, as the database has it now: not cancelled, nor over otherwise.

        An item that waits asks this. Then `about_to` decides, and gives the reason.
        """
        if self.cancelled():
            return False
        row = self._store.reader.execute(
            "SELECT state FROM item WHERE plan_id = ? AND n = ?", (self.plan.plan_id, item.n)
        )
        return ItemState(row.fetchone()["state"]) not in FINAL

    def clock_set_s(self) -> int:
        """Return by how many seconds our clock was set since the plan was made."""
        return round(self.plan.run_until.clock_set_s(now_of(self._clock)))

    def left_s(self) -> float:
        """Return how long the plan may run still, by the clock that says less: one that is set back adds no time."""
        until, now = self.plan.run_until, now_of(self._clock)
        left_s = until.wall_s - now.wall_s
        # After a restart of the machine its boot-time clock began anew: only the wall clock is left
        if until.boot_id == now.boot_id:
            left_s = min(left_s, until.boot_s - now.boot_s)
        return left_s

    def ticket(self, item: Item, action: StepAction, attempt: int) -> Ticket:
        """Return the ticket of an "about to" that is durable."""
        deadline_s = self._clock.boot_s() + self.left_s()
        return Ticket(
            plan_id=self.plan.plan_id.hex(),
            item=item.n,
            step=action.step,
            direction=action.direction,
            attempt=attempt,
            target=action.target,
            do=action.do,
            bound=action.bound,
            # A declared revert may finish after the deadline: stopping it halfway leaves the device in neither state.
            deadline_s=deadline_s if action.direction is Direction.FORWARD else float("inf"),
        )

    async def doubt(self, ticket: Ticket, reason: str) -> None:
        """Move the item to unknown while its step is re-read."""
        if self.states[ticket.item] is ItemState.RUNNING and ticket.direction is Direction.FORWARD:
            move = self._move(ticket.item, Event.LOSE, TargetReason.LOST.numbered(reason), "being re-read")
            self.states[ticket.item] = await self._store.run(move)

    async def outcome(self, owed: Owed) -> None:
        """Make a step's outcome durable; the ticket is used up."""
        await self._store.run(self._done(owed))

    def _done(self, owed: Owed) -> item_commands.StepDone:
        ticket = owed.ticket
        record: dict[str, Json] = {
            "what": "outcome",
            "direction": ticket.direction.value,
            **outcome_json(owed.outcome),
        }
        return item_commands.StepDone(
            plan_id=self.plan.plan_id,
            digest=self.plan.digest,
            n=ticket.item,
            step=ticket.step,
            direction=ticket.direction,
            attempt=ticket.attempt,
            outcome=owed.outcome,
            sealed=self._recorder.move_record(self._services[ticket.item], record),
        )

    async def move(
        self, item: Item, event: Event, reason: str, detail: str = "", desired: tuple[DesiredChange, ...] = ()
    ) -> None:
        """Move an item along the machine's table."""
        self.states[item.n] = await self._store.run(self._move(item.n, event, reason, detail, desired))
        self.reasons[item.n] = reason

    async def diverge(self, item: Item, where: Address, wrote: tuple[Address, ...]) -> bool:
        """Move an item that stands and reads otherwise now; return whether it did: another change may have acted.

        Args:
            item: the item.
            where: the address that reads otherwise.
            wrote: the addresses that the item wrote.
        """
        row = self._store.reader.execute(
            "SELECT state_seq FROM item WHERE plan_id = ? AND n = ?", (self.plan.plan_id, item.n)
        ).fetchone()
        detail = f"{where} no longer reads as it was set"
        move = self._move(item.n, Event.DIVERGE, ItemReason.READS_OTHERWISE, detail)
        state = await self._store.run(item_commands.MoveStanding(move, row["state_seq"], wrote, over=False))
        if state is None:
            return False
        self.states[item.n] = state
        return True

    async def end(
        self,
        item: Item,
        event: Event,
        reason: str,
        detail: str,
        desired: tuple[DesiredChange, ...],
        owed: Owed | None,
        give_back: tuple[Address, ...],
    ) -> None:
        """Move an item for the last time of its run, make `owed` durable and give the addresses back, all in one."""
        done = None if owed is None else self._done(owed)
        move = self._move(item.n, event, reason, detail, desired)
        state = self.states[item.n] = await self._store.run(item_commands.EndItem(move, done, give_back))
        if state in FAILED:
            target = item.steps[0].target if item.steps else ""
            told = {"change": self.plan.short, "item": item.n, "target": target, "state": state.value}
            _log.warning("an item did not go through", extra={**told, "reason": str(reason)})
        self.reasons[item.n] = reason

    def _move(
        self, n: int, event: Event, reason: str, detail: str, desired: tuple[DesiredChange, ...] = ()
    ) -> item_commands.MoveItem:
        service = self._services[n]
        record: dict[str, Json] = {
            **_event_record(event),
            "reason": reason,
            "detail": detail,
            "desired": [*write_changes(desired)],
        }
        sealed = self._recorder.move_record(service, record)
        return item_commands.MoveItem(self.plan.plan_id, n, event, reason, detail, sealed, desired, service)

    async def begin(self, item: Item) -> None:
        """Begin an item of which nothing has to be sent, by the checks of a first "about to".

        Raises:
            RefusedCommandError: it may not be done now; `reason` says why.
        """
        self.states[item.n] = await self._store.run(self._begin(item, self.window()))
        self.reasons[item.n] = ""

    def _begin(self, item: Item, window: SendWindow) -> item_commands.Begin:
        try:
            sealed = self._recorder.record(item.subject, _event_record(Event.BEGIN))
        except ErasedSubjectError as err:
            raise RefusedCommandError(RefusalReason.ERASED, str(err)) from err
        return item_commands.Begin(
            self.plan.plan_id,
            item.n,
            now_of(self._clock),
            lambda tx, begun: self._broken(tx, item, begun),
            addresses_of(item),
            sealed,
            window,
        )

    async def record_reason(self, item: Item, how: ProofReason | ItemReason, detail: str) -> None:
        """Record the reason of an item without steps, if everything still is as previewed.

        Args:
            item: which has no steps.
            how: the code of the item's last move.
            detail: for people.

        Raises:
            RefusedCommandError: it is not; `reason` says why.
        """
        record: dict[str, Json] = {**_event_record(Event.PROVE), "desired": [*write_changes(item.desired)]}
        begin = self._begin(item, SendWindow(None))  # nothing is sent: in any window, but not in a pause
        sealed = self._recorder.record(item.subject, record)
        move = item_commands.MoveItem(
            self.plan.plan_id,
            item.n,
            Event.PROVE,
            how,
            detail,
            sealed,
            item.desired,
            item.subject,
            self._recorders,
        )
        self.states[item.n] = await self._store.run(item_commands.RecordReason(begin, move))
        recorders = (self._recorders[type(one)] for one in item.desired if type(one) in self._recorders)
        for recorder in dict.fromkeys(recorders):
            recorder.recorded()

    async def lock(self, item: Item, addresses: tuple[Address, ...]) -> None:
        """Take addresses for an item, all or none.

        Raises:
            RefusedCommandError: `busy`: another change holds one. Or the item may not be begun now, or not be retried;
                `reason` says why.
        """
        retried = (item, self.window()) if self.retried(item) else None
        begins = now_of(self._clock) if self.unsent(item) else None
        await self._store.run(item_commands.Lock(self.plan.plan_id, item.n, addresses, retried, begins))

    async def lock_to_revert(self, item: Item, addresses: tuple[Address, ...]) -> None:
        """Take addresses for an item that is to be taken back, all or none.

        Raises:
            RefusedCommandError: `busy`: another change holds one; or it may not be taken back now: `reason` says why.
        """
        rests_on = self._rest_of_revert(item)
        await self._store.run(
            item_commands.LockToRevert(
                self.plan.plan_id,
                rests_on,
                now_of(self._clock),
                lambda tx, begun: self._unmet(tx, self.plan.plan_id, rests_on, begun),
                addresses,
            )
        )

    async def unlock(self, item: Item, addresses: tuple[Address, ...]) -> None:
        """Give an item's addresses back."""
        await self._store.run(item_commands.Unlock(self.plan.plan_id, item.n, addresses))


def _event_record(event: Event) -> dict[str, Json]:
    return {"what": "item", "event": event.value}


def addresses_of(item: Item, *, whole: bool = False) -> tuple[Address, ...]:
    """Return the addresses that an item holds while it acts, without repeats. `whole`: its devices' own as well.

    Those that its steps act on; and its service in the inventory, if it rests on it: a CPE's firmware is no reason for
    a restore of its subscriber to wait.
    """
    found: dict[Address, None] = {Address(step.target): None for step in item.steps} if whole else {}
    if item.subject is not None and any(r.test == AS_PREVIEWED for r in item.requires):
        found[inventory_address(item.subject)] = None
    for step in item.steps:
        for address in (step.do.address,) if isinstance(step.do, Effect) else (t.address for t in step.do):
            found[address] = None
    return tuple(found)
