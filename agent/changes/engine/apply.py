"""Apply a consumed plan: waves of items, each run by an `ItemRun`, and taken back by `Undo` where the plan declares it.

The run can be started again at any point (a crash, a restart): it begins by finding the fate of every step that was
about to be sent, and goes on from the states in the database. Nothing that was applied is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trio

from agent.changes.engine.item import CANCELLED, EXPIRED, ItemRun, Stopped, Stopping
from agent.changes.engine.read_again import read_again
from agent.changes.engine.steps import RunParts, Steps
from agent.changes.engine.tickets import Tickets, addresses_of
from agent.changes.engine.undo import Undo, can_be_undone
from agent.changes.journal import plans
from agent.changes.journal.machine import FINAL, TOUCHED, Event
from agent.changes.journal.plans import Loaded
from agent.connectors.base import UnreadableError
from agent.model import ABSENT, Direction, Item, ItemState, Wave
from agent.reasons import ItemReason
from agent.runtime.clock import Clock

S = ItemState
CANCEL_S = 1.0
"""How often, while a wave runs, it is looked whether a person cancelled the change."""
HEALTH_S = 5.0
"""How often, while a wave runs, it is looked whether sessions were lost that are not on the list."""


class Pacer:
    """Spaces starts per key (a NAS, or a target) evenly."""

    def __init__(self, per_s: int, clock: Clock) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._next: dict[str, float] = {}

    async def wait(self, key: str) -> None:
        """Return when the next start under `key` is due."""
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
        self.tickets = Tickets(loaded.row, parts.store, parts.recorder, parts.clock, parts.unmet)
        self._steps: dict[int, Steps] = {}
        for item in loaded.items.items:
            self.tickets.track(item, loaded.rows[item.n].state, loaded.rows[item.n].reason)
            self._steps[item.n] = Steps(item, parts, self.tickets, changed)
        self._stopping = Stopping()
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

    async def run(self) -> str:
        """Apply the rest of the plan; return why it stopped early, or "" when it went through all waves.

        Raises:
            StoreFailedError: the journal cannot be written: the daemon must stop.
        """
        await self._recover()
        waves = self._loaded.items.head.waves
        for number, wave in enumerate(waves):
            if self._stopping.why:
                break
            rest = waves[number + 1 :]
            soaked = self._begun(rest, wave if number == 0 else None)
            await self._run_wave(wave, soak=bool(rest) and not soaked, canary=number == 0 and bool(rest))
        if self._stopping.why:
            await self._cancel_rest()
        await self._finish_begun()
        standing = [steps for n, steps in self._steps.items() if self.tickets.states[n] in TOUCHED]
        await read_again(self._parts.sessions, standing, self._changed)
        if self._loaded.plan.on_failure.value == "revert" and self._failed():
            await self._revert_all()
        return self._stopping.why

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
        return any(states[i.n] is not S.PLANNED for i in items)

    async def _run_wave(self, wave: Wave, *, soak: bool, canary: bool) -> None:
        items = self._items(wave)
        left = [i for i in items if self.tickets.states[i.n] not in FINAL]
        if not left and not soak and (not canary or self._stands()):
            return
        before = await self._census()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch_health, before)
            watching.start_soon(self._watch_waiting)
            await self._run_items(left)
            if canary:
                await self._judge_canary(items)
            watching.cancel_scope.cancel()
        if soak and not self._stopping.why:
            await self._clock.sleep(wave.soak_s)
        await self._health(before)

    async def _judge_canary(self, items: Sequence[Item]) -> None:
        """Stop where a canary failed. For one that proved nothing (stale, skipped) the next stands in, one by one."""
        tried = list(items)
        if not self._stands():  # those that stood in for it before a restart
            tried += [i for i in self._loaded.items.items if i not in items and self._ended(i) and i.steps]
        rest = [i for i in self._loaded.items.items if i not in items and not self._ended(i)]
        while True:
            if failed := sum(self.tickets.failed(i.n) for i in tried):
                self._stopping.stop(f"canary: {failed} of {len(tried)} failed")
            if self._stopping.why or not rest or self._stands():
                return
            tried.append(rest.pop(0))
            await self._run_items(tried[-1:])

    def _stands(self) -> bool:
        """Tell whether anything of the plan was applied and stands."""
        return any(state in TOUCHED for state in self.tickets.states.values())

    async def _run_items(self, items: Sequence[Item]) -> None:
        async with trio.open_nursery() as nursery:
            for item in items:
                if self._stopping.why:
                    break
                await self._pace(item)
                nursery.start_soon(self._run_one, item)

    async def _pace(self, item: Item) -> None:
        if item.steps:
            await self._pacer.wait(item.display.get("nas") or item.steps[0].target)

    async def _watch_health(self, before: Mapping[str, frozenset[str]]) -> None:
        while not self._stopping.why:
            await self._clock.sleep(HEALTH_S)
            await self._health(before)

    async def _finish_begun(self) -> None:
        """Finish the items that were begun before a restart, also where the run is over."""
        begun = [i for i in self._loaded.items.items if self.tickets.states[i.n] in (S.RUNNING, S.UNKNOWN)]
        if not begun:
            return
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch_waiting)
            async with trio.open_nursery() as nursery:
                for item in begun:
                    nursery.start_soon(self._item_run(item).run)
            watching.cancel_scope.cancel()

    def _ended(self, item: Item) -> bool:
        return self.tickets.states[item.n] in FINAL

    async def _watch_waiting(self) -> None:
        """End the waiting for devices that have not called in, once the change is stopped, cancelled or out of time."""
        while not self.tickets.cancelled():
            if self._stopping.why:
                self._stopping.leave(Stopped(Event.CANCEL, ItemReason.STOPPED, self._stopping.why))
                return
            if self._clock.wall_s() >= self._loaded.row.run_until.wall_s:
                self._stopping.leave(EXPIRED)
                return
            await self._clock.sleep(CANCEL_S)
        self._stopping.leave(CANCELLED)

    async def _census(self) -> Mapping[str, frozenset[str]]:
        """Return the logins that are online, by target; empty where a target has no census or cannot be asked now."""
        online: dict[str, frozenset[str]] = {}
        for target, address in self._parts.census.items():
            if any(s.target == target for i in self._loaded.items.items for s in i.steps):
                try:
                    session = await self._parts.sessions.dialled(target)
                    value = (await session.read([address]))[address].value
                except UnreadableError:
                    continue
                online[target] = frozenset() if value is ABSENT else frozenset(value)
        return online

    async def _health(self, before: Mapping[str, frozenset[str]]) -> None:
        """Stop when sessions were lost that are not on the list (DESIGN section 3)."""
        limit = self._loaded.items.head.pace.stop_lost_sessions
        if not before or not limit:
            return
        listed = {i.display["login"].casefold() for i in self._loaded.items.items if "login" in i.display}
        after = await self._census()
        for target, online in before.items():
            lost = {login for login in online - after.get(target, online) if login.casefold() not in listed}
            if len(lost) > limit:
                self._stopping.stop(f"{len(lost)} sessions lost at {target} that are not on the list")

    def _failed(self) -> int:
        states = self.tickets.states
        return sum(1 for n, state in states.items() if self.tickets.failed(n) and self._fate_known(n, state))

    def _fate_known(self, n: int, state: ItemState) -> bool:
        """Tell whether the state of a failed item counts: after a restart one in doubt does not until it goes on."""
        steps = self._steps[n]
        return not steps.doubted(Direction.FORWARD) and (state is not S.UNKNOWN or steps.in_doubt())

    def _check_stop(self) -> None:
        if self._loaded.plan.on_failure.value == "continue":
            return
        failed = self._failed()  # of what is in doubt since before a restart, nothing is known yet
        total = sum(1 for i in self._loaded.items.items if self.tickets.states[i.n] not in (S.BLOCKED, S.EXCLUDED))
        percent = self._loaded.items.head.pace.stop_failed_percent
        if failed and total > 1 and failed * 100 > percent * total:
            self._stopping.stop(f"{failed} of {total} failed (limit {percent} %)")

    async def _cancel_rest(self) -> None:
        for item in self._loaded.items.items:
            if self.tickets.states[item.n] in (S.PLANNED, S.WAITING):
                await self.tickets.move(item, Event.CANCEL, ItemReason.STOPPED, self._stopping.why)
                self._changed()

    def _item_run(self, item: Item) -> ItemRun:
        return ItemRun(self._steps[item.n], self._loaded.row.run_until.wall_s, self._stopping)

    async def _run_one(self, item: Item) -> None:
        await self._item_run(item).run()
        if self.tickets.failed(item.n):  # nothing else brings a run nearer to its stop
            self._check_stop()

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
        return state in TOUCHED or (state is S.NEEDS_A_PERSON and self._steps[item.n].half_stands())

    async def _recover(self) -> None:
        """Find the fate of every step in doubt, and take note of the outcomes of the others."""
        async with trio.open_nursery() as nursery:
            for row in plans.steps(self._parts.store.reader, self._loaded.row.plan_id):
                steps = self._steps[row.item]
                steps.note(row, self._loaded.rows[row.item])
                if row.verdict is None and self._parts.sessions.arrives_later(steps.item.steps[row.n - 1].target):
                    steps.recover_later(row)  # others need not wait for it to call in
                elif row.verdict is None:
                    nursery.start_soon(steps.recover, row)
        for n in plans.locked(self._parts.store.reader, self._loaded.row.plan_id):
            steps = self._steps[n]
            steps.locked = True
            if self.tickets.states[n] not in (S.RUNNING, S.UNKNOWN) and not steps.doubted():
                await self.tickets.unlock(steps.item, addresses_of(steps.item, whole=True))
                steps.locked = False
        self._check_stop()  # a run that was being stopped when the agent died stays stopped
        stopped = (
            r.detail for r in self._loaded.rows.values() if r.state is S.CANCELLED and r.reason == ItemReason.STOPPED
        )
        self._stopping.why = next(stopped, self._stopping.why)
