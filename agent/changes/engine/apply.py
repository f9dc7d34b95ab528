"""Apply a consumed plan: waves of items, each run by an `ItemRun`, and taken back by `Undo` where the plan declares it.

* The run can be started again at any point (a crash, a restart): it begins by finding the fate of every step that was
  about to be sent, and goes on from the states in the database. Nothing that was applied is sent again.
* An unsent item waits until the plan's deadline for a target that does not answer. The others go
  on; it is tried again when they are through, and counts as no failure.
* An error of one item ends no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from agent.changes.engine.item import CANCELLED, EXPIRED, KEPT_OUT, ItemRun, Stopped, Stopping
from agent.changes.engine.perform import absent
from agent.changes.engine.reads import RecentReads, read_again
from agent.changes.engine.steps import RunParts, Steps
from agent.changes.engine.tickets import Tickets, addresses_of
from agent.changes.engine.undo import Undo, can_be_undone
from agent.changes.journal import plans
from agent.changes.journal.machine import FAILED, FINAL, TOUCHED, UNSENT, Event
from agent.changes.journal.plans import Loaded
from agent.connectors.base import UnreadableError
from agent.model import ABSENT, Direction, Item, ItemState, Wave
from agent.reasons import ItemReason, ProofReason, RefusalReason
from agent.runtime.clock import Clock
from agent.runtime.slices import InSlices
from agent.runtime.supervise import Crash, contain
from trust.leaf import LeafKind
from trust.statements import OnFailure

_log = logging.getLogger(__name__)
S = ItemState
CANCEL_S = 1.0
"""How often, while a wave runs, it is looked whether a person cancelled the change."""
HEALTH_S = 5.0
"""How often, while a wave runs, it is looked whether sessions were lost that are not on the list."""
AWAY_S = 5.0
"""How soon items are tried again when their target does not answer; then twice as long each time, up to `AWAY_MAX_S`.
"""
AWAY_MAX_S = 30.0


class Pacer:
    """Spaces starts per key (a NAS, or a target) evenly."""

    def __init__(self, per_s: int, clock: Clock) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._next: dict[str, float] = {}

    async def wait(self, key: str) -> None:
        """Return when the next start under `key` is due."""
        if not self._gap_s:
            return
        now = self._clock.boot_s()
        at = max(now, self._next.get(key, now))
        self._next[key] = at + self._gap_s
        if at > now:
            await self._clock.sleep_until_boot(at)


class Run:
    """One consumed plan being applied. `changed` is called after every move."""

    def __init__(self, parts: RunParts, loaded: Loaded, changed: Callable[[], None] = lambda: None) -> None:
        self._parts = parts
        self._loaded = loaded
        self._clock = parts.clock
        self.tickets = Tickets(
            loaded.row, parts.store, parts.recorder, parts.clock, parts.unmet, parts.send_window, parts.recorders
        )
        self._steps: dict[int, Steps] = {}
        for item in loaded.items.items:
            self.tickets.track(item, loaded.rows[item.n].state, loaded.rows[item.n].reason)
            self._steps[item.n] = Steps(item, parts, self.tickets, changed)
        self._stopping = Stopping()
        self._recent = RecentReads()
        self._away: dict[int, Stopped] = {}
        """Why each item waits: its target does not answer, or its plan may not send now."""
        self._reopened = plans.reopened(parts.store.reader, loaded.row)
        self._undoing: dict[int, Undo] = {}
        self._changed = changed
        pace = loaded.items.head.pace
        self._pacer = Pacer(pace.per_target_per_s if parts.paced else 0, parts.clock)

    def waits_for(self, target: str) -> bool:
        """Tell whether an item waits for its device to call in, to be sent or taken back, and that is `target`."""
        states = self.tickets.states
        return any(
            (states[item.n] is S.WAITING or (item.n in self._undoing and self._undoing[item.n].waiting))
            and item.steps[0].target == target
            for item in self._loaded.items.items
            if item.steps
        )

    def accepted(self) -> frozenset[tuple[int, int]]:
        """Return the steps, by item and number, with an effect that their target accepted in this run."""
        return frozenset((n, step) for n, steps in self._steps.items() for step in steps.accepted)

    def spared(self) -> Mapping[int, str]:
        """Return why items of this run wait for a target that is spared now, by their numbers."""
        return {n: steps.spared for n, steps in self._steps.items() if steps.spared}

    async def run(self) -> str:
        """Apply the rest of the plan; return why it stopped early, or "" when it went through all waves.

        Raises:
            StoreFailedError: the journal cannot be written: the daemon must stop.
        """
        await self._recover()
        await self._end_erased()
        # Opened again by a person, it only finishes what they asked for: waves, and their stop, were the first run's
        waves = () if self._reopened else self._loaded.items.head.waves
        for number, wave in enumerate(waves):
            if self._stopping.why:
                break
            if number:
                await self._wait_until_open(wave)
            rest = waves[number + 1 :]
            soaked = self._begun(rest, wave if number == 0 else None)
            await self._run_wave(wave, soak=bool(rest) and not soaked, canary=number == 0 and bool(rest))
        await self._wait_for_away()
        if self._stopping.why:
            await self._cancel_rest()
        await self._finish_begun()
        standing = [steps for n, steps in self._steps.items() if self.tickets.states[n] in TOUCHED]
        await read_again(self._parts.sessions, standing, self._changed)
        if self._reverts() and self._failed() and not self._was_lost():
            await self._revert_all()
        return self._stopping.why

    def _reverts(self) -> bool:
        """Tell whether a failure takes back what stands: not where only a retry failed, long after the others stood."""
        return self._loaded.plan.on_failure is OnFailure.REVERT and not self._reopened

    def _was_lost(self) -> bool:
        """Tell whether the log lost a part of the run. Its revert is for people: others may have changed it since.

        All items may have ended before the copy was taken: then none of them says so.
        """
        if ItemReason.RESTORED in self.tickets.reasons.values():
            return True
        since = (LeafKind.RESTORED_DATABASE, self._loaded.row.consumed_seq)
        return bool(self._parts.store.query("SELECT 1 FROM event WHERE kind = ? AND seq > ? LIMIT 1", since))

    async def _end_erased(self) -> None:
        """End the items of erased subscribers: nothing can be read or recorded of them. The others go on."""
        for item in self._loaded.items.items:
            if item.n in self._loaded.items.erased and not self._ended(item):
                event = Event.CANCEL if self.tickets.unsent(item) else Event.ESCALATE
                await self._end_unsent(
                    item, event, RefusalReason.ERASED, "subject key missing: its subscriber was erased"
                )

    # --- waves ---

    def _items(self, wave: Wave) -> tuple[Item, ...]:
        return self._loaded.items.items[wave.first - 1 : wave.last]

    def _begun(self, waves: Sequence[Wave], canary: Wave | None) -> bool:
        """Return whether a restarted run was already past the soak before these waves.

        `canary`: the wave before, if it is the first. Where nothing of it stands, others stood in for it one by one, up
        to the first that stands: those do not count.
        """
        states = self.tickets.states
        items = [i for wave in waves for i in self._items(wave) if i.steps]
        if canary is not None and not any(states[i.n] in TOUCHED for i in self._items(canary)):
            stood = next((k for k, i in enumerate(items, start=1) if states[i.n] in TOUCHED), len(items))
            items = items[stood:]
        return any(states[i.n] not in UNSENT or self._calls_in(i) for i in items)

    def _calls_in(self, item: Item) -> bool:
        """Tell whether an item was begun at a device that calls in, and waits for it."""
        waits = self.tickets.states[item.n] is S.WAITING
        return waits and self._parts.sessions.arrives_later(item.steps[0].target)

    async def _run_wave(self, wave: Wave, *, soak: bool, canary: bool) -> None:
        items = self._items(wave)
        left = [i for i in items if self.tickets.states[i.n] not in FINAL]
        if not left and not soak and (not canary or self._stands()):
            return
        before = await self._census() if self._stops_by_loss() else {}
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch_health, before)
            watching.start_soon(self._watch_waiting)
            await self._run_items(left)
            if canary and self._loaded.plan.on_failure is not OnFailure.CONTINUE:
                await self._judge_canary(items)
            watching.cancel_scope.cancel()
        if soak and not self._stopping.why:
            await self._clock.sleep(wave.soak_s)
        await self._health(before)

    async def _wait_until_open(self, wave: Wave) -> None:
        """Keep a wave back while the plan may not send: else all waves would be sent at once when it may again.

        Items of the waves before go first, then: their results are the reason for having waves.
        """
        closed = False
        while self.tickets.window().closed and not self.tickets.cancelled() and not self._stopping.why:
            left = (i for i in self._items(wave) if self.tickets.unsent(i) and self.tickets.wanted(i))
            if self.tickets.left_s() <= 0 or next(left, None) is None:
                return
            closed = True
            await self._clock.sleep(CANCEL_S)
        if closed:
            kept_out = [i for i in self._loaded.items.items if i.n in self._away and self._away[i.n].reason in KEPT_OUT]
            await self._run_items(kept_out)

    async def _judge_canary(self, items: Sequence[Item]) -> None:
        """Stop where a canary failed. For one that proved nothing (stale, skipped) the next stands in, one by one.

        Where only targets are left that do not answer, one of them is waited for: nothing else goes first.
        """
        tried = list(items)
        if not self._stands():  # those that stood in for it before a restart
            tried += [i for i in self._loaded.items.items if i not in items and self._ended(i) and i.steps]
        pause_s = AWAY_S
        while True:
            if failed := sum(self._failure(i.n) for i in tried):
                self._stopping.stop(f"canary: {failed} of {len(tried)} failed")
            if self._stopping.why or self._stands():
                return
            silent = {place_of(i) for i in self._loaded.items.items if i.n in self._away}
            left = [i for i in self._loaded.items.items if not self._ended(i)]
            if stand_in := next((i for i in left if i not in tried and place_of(i) not in silent), None):
                tried.append(stand_in)
                await self._run_items([stand_in])
                continue
            again = [i for i in left if i.n in self._away]
            if not again or not await self._pause(pause_s):
                return
            pause_s = min(2 * pause_s, AWAY_MAX_S)
            await self._run_items(again)

    async def _wait_for_away(self) -> None:
        """Try items again when their target does not answer, until the plan's deadline; then they expire."""
        pause_s = AWAY_S
        while not self._stopping.why and (left := [i for i in self._loaded.items.items if i.n in self._away]):
            if not await self._pause(pause_s):
                return
            pause_s = min(2 * pause_s, AWAY_MAX_S)
            async with trio.open_nursery() as watching:
                watching.start_soon(self._watch_waiting)
                await self._run_items(left)
                watching.cancel_scope.cancel()
            if len(self._away) < len(left):
                pause_s = AWAY_S

    async def _pause(self, pause_s: float) -> bool:
        """Wait before items are tried again that are away; False: they ended (cancelled, superseded, out of time)."""
        until = self._clock.boot_s() + pause_s
        while self._away and not self._stopping.why:
            left = [i for i in self._loaded.items.items if i.n in self._away]
            late = self.tickets.left_s() <= 0
            for item in left:
                if late:
                    end = _too_late(self._away[item.n])
                    await self._end_unsent(item, end.event, end.reason, end.detail)
                elif not self.tickets.wanted(item):
                    await self._end_unsent(item, CANCELLED.event, CANCELLED.reason, CANCELLED.detail)
            if self._clock.boot_s() >= until:
                break
            await self._clock.sleep(CANCEL_S)
        return bool(self._away) and not self._stopping.why

    async def _end_unsent(self, item: Item, event: Event, reason: str, detail: str) -> None:
        self._away.pop(item.n, None)
        await self.tickets.move(item, event, reason, detail)
        self._changed()

    def _stands(self) -> bool:
        """Tell whether anything of the plan was applied and stands."""
        return any(state in TOUCHED for state in self.tickets.states.values())

    async def _run_items(self, items: Sequence[Item]) -> None:
        async with trio.open_nursery() as nursery:
            async for item in InSlices(items):
                if self._stopping.why:
                    break
                await self._pace(item)
                nursery.start_soon(self._run_one, item)

    async def _pace(self, item: Item) -> None:
        if item.steps:
            await self._pacer.wait(place_of(item))

    async def _watch_health(self, before: Mapping[str, frozenset[str]]) -> None:
        while not self._stopping.why:
            await self._clock.sleep(HEALTH_S)
            await self._health(before)

    async def _finish_begun(self) -> None:
        """Finish the items that were begun before a restart, also where the run is over; or that are retried."""
        begun = [i for i in self._loaded.items.items if not self._ended(i)]
        if not begun:
            return
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch_waiting)
            async with trio.open_nursery() as nursery:
                async for item in InSlices(begun):
                    if self._reopened:  # a person asked for all of them at once
                        await self._pace(item)
                    nursery.start_soon(self._run_one, item)
            watching.cancel_scope.cancel()

    def _ended(self, item: Item) -> bool:
        return self.tickets.states[item.n] in FINAL

    async def _watch_waiting(self) -> None:
        """End the waiting for devices that have not called in, once the change is stopped, cancelled or out of time."""
        while not self.tickets.cancelled():
            if self._stopping.why:
                self._stopping.leave(Stopped(Event.CANCEL, ItemReason.STOPPED, self._stopping.why))
                return
            if self.tickets.left_s() <= 0:
                self._stopping.leave(EXPIRED)
                return
            if not self.tickets.window().closed:
                self._stopping.window.ring()
            await self._clock.sleep(CANCEL_S)
        self._stopping.leave(CANCELLED)

    def _stops_by_loss(self) -> bool:
        """Tell whether lost sessions stop the run: of one item nothing is left to stop, and a census is large."""
        several = sum(bool(item.steps) for item in self._loaded.items.items) > 1
        return several and self._loaded.items.head.pace.stop_lost_sessions > 0

    async def _census(self) -> Mapping[str, frozenset[str]]:
        """Return the logins that are online, by target; empty where a target has no census or cannot be asked now."""
        online: dict[str, frozenset[str]] = {}
        for target, address in self._parts.census.items():
            if any(s.target == target for i in self._loaded.items.items for s in i.steps):
                try:
                    session = await self._parts.sessions.dialed(target)
                    value = (await session.read([address]))[address].value
                except UnreadableError:
                    continue
                online[target] = frozenset() if value is ABSENT else frozenset(value)
        return online

    async def _health(self, before: Mapping[str, frozenset[str]]) -> None:
        """Stop the run when more sessions than `stop_lost_sessions` were lost beside those that the plan ends."""
        if not before:
            return
        limit = self._loaded.items.head.pace.stop_lost_sessions
        listed = {i.display["login"].casefold() for i in self._loaded.items.items if "login" in i.display}
        after = await self._census()
        for target, online in before.items():
            lost = {login for login in online - after.get(target, online) if login.casefold() not in listed}
            if len(lost) > limit:
                self._stopping.stop(f"{len(lost)} sessions lost at {target} that are not on the list")

    def _failed(self) -> int:
        return sum(self._failure(n) and self._fate_known(n, state) for n, state in self.tickets.states.items())

    def _failure(self, n: int) -> bool:
        """Tell whether an item failed, other than for want of an answer: that says nothing of the change."""
        reason = self.tickets.reasons[n]
        silent = reason in (ItemReason.TARGET_AWAY, ProofReason.NOT_PROVEN) or absent(reason)
        return self.tickets.states[n] in FAILED and not silent

    def _fate_known(self, n: int, state: ItemState) -> bool:
        """Tell whether the state of a failed item counts: after a restart one in doubt does not until it goes on."""
        steps = self._steps[n]
        return not steps.doubted(Direction.FORWARD) and (state is not S.UNKNOWN or steps.in_doubt())

    def _check_stop(self) -> None:
        if self._loaded.plan.on_failure is OnFailure.CONTINUE:
            return
        failed = self._failed()  # of what is in doubt since before a restart, nothing is known yet
        total = sum(1 for i in self._loaded.items.items if self.tickets.states[i.n] not in (S.BLOCKED, S.EXCLUDED))
        pace = self._loaded.items.head.pace
        percent, least = pace.stop_failed_percent, pace.stop_failed_least
        if failed >= least and total > 1 and failed * 100 > percent * total:
            limit = f"limit {percent} %" if least == 1 else f"limit {percent} %, and at least {least}"
            self._stopping.stop(f"{failed} of {total} failed ({limit})")

    async def _cancel_rest(self) -> None:
        for item in self._loaded.items.items:
            if self.tickets.states[item.n] in UNSENT:
                await self._end_unsent(item, Event.CANCEL, ItemReason.STOPPED, self._stopping.why)

    def _item_run(self, item: Item) -> ItemRun:
        return ItemRun(self._steps[item.n], self._stopping, self._recent)

    async def _run_one(self, item: Item) -> None:
        run = self._item_run(item)
        name = f"change {self._loaded.row.short}, item {item.n}"
        if isinstance(await contain(name, run.run, log=_log), Crash):
            await self._give_up(item)
        self._away.pop(item.n, None)
        if run.away is not None:
            self._away[item.n] = run.away
        if self.tickets.states[item.n] in FAILED:  # nothing else brings a run nearer to its stop
            self._check_stop()

    async def _give_up(self, item: Item) -> None:
        """End an item after its run crashed: a fault of ours in one item ends no other.

        Its addresses stay its own until the effect of its steps is known, or known to be unknowable.
        """
        steps, state = self._steps[item.n], self.tickets.states[item.n]
        if steps.in_doubt():
            await self._find_fates(steps)
            state = self.tickets.states[item.n]
        if state not in FINAL:
            event = Event.FAIL if state in UNSENT else Event.ESCALATE
            await self.tickets.move(item, event, ItemReason.GIVEN_UP, "a fault of the agent's own: its log says which")
            self._changed()

    async def _find_fates(self, steps: Steps) -> None:
        """Find the fate of an item's steps; where that crashes as well it is unknown."""
        reader, plan_id = self._parts.store.reader, self._loaded.row.plan_id
        name = f"change {self._loaded.row.short}, item {steps.item.n}, fate"

        async def look() -> None:
            await steps.find_fates(plans.steps(reader, plan_id))

        if isinstance(await contain(name, look, log=_log), Crash):
            why = "a fault of the agent's own, also when it looked what became of it"
            await steps.give_up_doubts(plans.steps(reader, plan_id), why)
        await steps.leave()

    async def _revert_all(self) -> None:
        """Take back the items that stand, as the approved plan declares (`--on-failure revert`)."""
        async with trio.open_nursery() as nursery:
            for item in self._loaded.items.items:
                if self._to_undo(item) and can_be_undone(item):
                    await self._pace(item)
                    nursery.start_soon(self.undo, item)

    async def undo(self, item: Item) -> None:
        """Take one item back."""
        self._undoing[item.n] = Undo(self._steps[item.n])
        await self._undoing[item.n].run()

    def _to_undo(self, item: Item) -> bool:
        """Tell whether anything of an item stands, all of it, or one half where the other is proven not to."""
        state = self.tickets.states[item.n]
        if item.n in self._loaded.items.erased:
            return False
        return state in TOUCHED or (state is S.NEEDS_A_PERSON and self._steps[item.n].half_stands())

    async def _recover(self) -> None:
        """Find the fate of every step in doubt, and take note of the outcomes of the others."""
        async with trio.open_nursery() as nursery:
            for row in plans.steps(self._parts.store.reader, self._loaded.row.plan_id):
                if row.item in self._loaded.items.erased:
                    continue
                steps = self._steps[row.item]
                steps.note(row, self._loaded.rows[row.item])
                if row.verdict is None and self._parts.sessions.arrives_later(steps.item.steps[row.n - 1].target):
                    steps.recover_later(row)  # others need not wait for it to call in
                elif row.verdict is None:
                    nursery.start_soon(steps.recover, row)
        for item in self._loaded.items.items:
            if not self.tickets.retried(item) and self._steps[item.n].nothing_sent():
                self._steps[item.n].look_again()
        for n in plans.locked(self._parts.store.reader, self._loaded.row.plan_id):
            steps = self._steps[n]
            steps.locked = True
            if self.tickets.states[n] not in (S.RUNNING, S.UNKNOWN) and not steps.doubted():
                await self.tickets.unlock(steps.item, addresses_of(steps.item, whole=True))
                steps.locked = False
        if self._reopened:
            return
        self._check_stop()  # a run that was being stopped when the agent died stays stopped
        stopped = (
            r.detail for r in self._loaded.rows.values() if r.state is S.CANCELLED and r.reason == ItemReason.STOPPED
        )
        self._stopping.why = next(stopped, self._stopping.why)


def _too_late(waited: Stopped) -> Stopped:
    """Return how an item ends that waited, tried again and again, until the plan's deadline."""
    if (kept_out := KEPT_OUT.get(waited.reason)) is not None:
        return kept_out
    return Stopped(Event.EXPIRE, ItemReason.TARGET_AWAY, f"{waited.detail}; it stayed away until the deadline")


def place_of(item: Item) -> str:
    """Return where an item acts, to which its pace belongs: its NAS, else its target; "" for one without steps."""
    return item.display.get("nas") or (item.steps[0].target if item.steps else "")
