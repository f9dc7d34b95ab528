"""The journal as the runner sees it: tickets in, outcomes out, for one plan.

It turns what happens into commands with their sealed records, keeps the item states as the database has them, and is
the only caller of `AboutTo`, `StepDone` and `MoveItem`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.changes.journal import commands
from agent.changes.journal.audit import Json, Recorder, do_json, outcome_json, seen_json
from agent.changes.journal.commands import Now, PlanRow
from agent.changes.journal.machine import FINAL, Event
from agent.inventory.book import AS_PREVIEWED, OF_SUBJECTS, Broken, inventory_address
from agent.model import (
    Address,
    DesiredChange,
    Direction,
    Effect,
    Item,
    ItemState,
    Seen,
    Step,
    StepOutcome,
    Ticket,
    Transition,
    write_changes,
)
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx

Unmet = Callable[[Tx, Item, bool], Broken | None]
"""Reads the facts that an item requires (begun already?) and says what no longer holds."""


def now_of(clock: Clock) -> Now:
    """Return the moment by both clocks."""
    return Now(clock.wall_s(), clock.boot_s(), clock.boot_id)


@dataclass(frozen=True, slots=True)
class Doing:
    """What is about to be sent: a step's transitions or effect, and what the effect was bound to."""

    step: int
    target: str
    direction: Direction
    do: tuple[Transition, ...] | Effect
    bound: Mapping[Address, Seen]


def inverse(transitions: tuple[Transition, ...]) -> tuple[Transition, ...]:
    """Return the transitions that take back `transitions`, last first."""
    return tuple(
        Transition(t.address, Seen(t.after, t.before.at_s), t.before.value, t.unprovable) for t in reversed(transitions)
    )


class Journal:
    """One plan's journal."""

    def __init__(self, plan: PlanRow, store: Store, recorder: Recorder, clock: Clock, unmet: Unmet) -> None:
        self.plan = plan
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._unmet = unmet
        self.states: dict[int, ItemState] = {}
        self._services: dict[int, str | None] = {}

    def track(self, item: Item, state: ItemState) -> None:
        """Take note of an item and the state that the database has for it."""
        self.states[item.n] = state
        self._services[item.n] = item.subject

    async def about_to(self, item: Item, doing: Doing) -> Ticket:
        """Return the ticket, once "about to" is durable.

        Raises:
            RefusedCommandError: nothing may be sent; `reason` says why.
        """
        service = item.subject
        rests_on = item
        if doing.direction is Direction.REVERT:  # it keeps only the precondition that the device is the same one
            rests_on = replace(item, requires=tuple(r for r in item.requires if r.test not in OF_SUBJECTS))
        record: dict[str, Json] = {
            "what": "about-to",
            "direction": doing.direction.value,
            "do": do_json(doing.do),
            "bound": seen_json(doing.bound),
        }
        attempt = await self._store.run(
            commands.AboutTo(
                plan_id=self.plan.plan_id,
                n=item.n,
                step=doing.step,
                direction=doing.direction,
                do=json.dumps(do_json(doing.do)).encode(),
                bound=doing.bound,
                now=now_of(self._clock),
                unmet=lambda tx, begun: self._unmet(tx, rests_on, begun),
                sealed=self._recorder.record(service, record),
                began=self._recorder.record(service, {"what": "item", "event": Event.BEGIN.value}),
            )
        )
        if self.states[item.n] in (ItemState.PLANNED, ItemState.WAITING):
            self.states[item.n] = ItemState.RUNNING
        return self.ticket(item, doing, attempt)

    def cancelled(self) -> bool:
        """Tell whether a person cancelled the plan: what was not sent yet never is."""
        found = self._store.reader.execute("SELECT 1 FROM cancelled WHERE plan_digest = ?", (self.plan.digest,))
        return found.fetchone() is not None

    def wanted(self, item: Item) -> bool:
        """Tell whether the item is still to be done, as the database has it now: not cancelled, nor over otherwise.

        For who waits, and may then ask `about_to`, which is what decides, and says why.
        """
        if self.cancelled():
            return False
        row = self._store.reader.execute(
            "SELECT state FROM item WHERE plan_id = ? AND n = ?", (self.plan.plan_id, item.n)
        )
        return ItemState(row.fetchone()["state"]) not in FINAL

    def ticket(self, item: Item, doing: Doing, attempt: int) -> Ticket:
        """Return the ticket of an "about to" that is durable."""
        until = self.plan.run_until
        left_s = until.wall_s - self._clock.wall_s()
        deadline_s = self._clock.boot_s() + left_s
        if until.boot_id == self._clock.boot_id:
            deadline_s = min(deadline_s, until.boot_s)
        return Ticket(
            plan_id=self.plan.plan_id.hex(),
            item=item.n,
            step=doing.step,
            direction=doing.direction,
            attempt=attempt,
            target=doing.target,
            do=doing.do,
            bound=doing.bound,
            # A declared revert may finish after the deadline (DESIGN section 2).
            deadline_s=deadline_s if doing.direction is Direction.FORWARD else float("inf"),
        )

    async def doubt(self, ticket: Ticket, reason: str) -> None:
        """Move the item to unknown while its step is re-read."""
        if self.states[ticket.item] is ItemState.RUNNING and ticket.direction is Direction.FORWARD:
            await self.move_n(ticket.item, Event.LOSE, f"lost-{reason}", "being re-read")

    async def outcome(self, ticket: Ticket, outcome: StepOutcome) -> None:
        """Make a step's outcome durable; the ticket is used up."""
        service = self._services[ticket.item]
        record: dict[str, Json] = {"what": "outcome", "direction": ticket.direction.value, **outcome_json(outcome)}
        await self._store.run(
            commands.StepDone(
                plan_id=self.plan.plan_id,
                n=ticket.item,
                step=ticket.step,
                direction=ticket.direction,
                attempt=ticket.attempt,
                outcome=outcome,
                sealed=self._recorder.record(service, record),
            )
        )

    async def move(
        self, item: Item, event: Event, reason: str, detail: str = "", desired: tuple[DesiredChange, ...] = ()
    ) -> ItemState:
        """Move an item along the machine's table; return its new state."""
        return await self.move_n(item.n, event, reason, detail, desired)

    async def move_n(
        self, n: int, event: Event, reason: str, detail: str = "", desired: tuple[DesiredChange, ...] = ()
    ) -> ItemState:
        """As `move`, by the item's number."""
        service = self._services[n]
        record: dict[str, Json] = {
            "what": "item",
            "event": event.value,
            "reason": reason,
            "detail": detail,
            "desired": [*write_changes(desired)],
        }
        state = await self._store.run(
            commands.MoveItem(
                plan_id=self.plan.plan_id,
                n=n,
                event=event,
                reason=reason,
                detail=detail,
                sealed=self._recorder.record(service, record),
                desired=desired,
                service=service,
            )
        )
        self.states[n] = state
        return state

    async def record_reason(self, item: Item) -> None:
        """Record what an item without steps records, if everything still is as previewed.

        Raises:
            RefusedCommandError: it is not; `reason` says why.
        """
        record: dict[str, Json] = {
            "what": "item",
            "event": Event.PROVE.value,
            "desired": [*write_changes(item.desired)],
        }
        move = commands.MoveItem(
            self.plan.plan_id,
            item.n,
            Event.PROVE,
            "recorded",
            "",
            self._recorder.record(item.subject, record),
            item.desired,
            item.subject,
        )
        began = self._recorder.record(item.subject, {"what": "item", "event": Event.BEGIN.value})
        self.states[item.n] = await self._store.run(
            commands.RecordReason(
                move,
                inventory_address(item.subject or ""),
                now_of(self._clock),
                lambda tx, begun: self._unmet(tx, item, begun),
                began,
            )
        )

    async def lock(self, item: Item, *, whole: bool = False) -> str | None:
        """Take the item's addresses, `whole`: its device; return None, or the short id of the change that holds one."""
        return await self._store.run(commands.Lock(self.plan.plan_id, item.n, _locked(item, whole)))

    async def unlock(self, item: Item, *, whole: bool = False) -> None:
        """Give the item's addresses back, as they were taken."""
        await self._store.run(commands.Unlock(self.plan.plan_id, item.n, _locked(item, whole)))


def _locked(item: Item, whole: bool) -> tuple[Address, ...]:
    device = tuple(dict.fromkeys(Address(step.target) for step in item.steps)) if whole else ()
    return (*device, *addresses_of(item))


def addresses_of(item: Item) -> tuple[Address, ...]:
    """Return the addresses that the item's steps act on, without repeats; and its service in the inventory, if it
    rests on it: a CPE's firmware is no reason for a restore of its subscriber to wait.
    """
    rests = item.subject is not None and any(r.test == AS_PREVIEWED for r in item.requires)
    found: dict[Address, None] = {inventory_address(item.subject or ""): None} if rests else {}
    for step in item.steps:
        for address in _step_addresses(step):
            found[address] = None
    return tuple(found)


def _step_addresses(step: Step) -> tuple[Address, ...]:
    if isinstance(step.do, Effect):
        return (step.do.address,)
    return tuple(t.address for t in step.do)
