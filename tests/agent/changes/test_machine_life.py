"""Lives of a plan, as Hypothesis finds them: faults, crashes, cancel, freeze, deadlines in any order, at any command.

The model is small: what the device went through, and what the log says. Whatever happened, an item's final state must
be true of the device, and nothing may be begun after a cancel, under a freeze or past the deadline.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.changes.authority import stops
from agent.changes.journal import machine
from agent.changes.journal.machine import ChangeState, Gate
from agent.connectors.base import Reach
from agent.model import Direction, ItemState, Ticket
from tests.builders.clock import FakeClock, virtual_clock
from tests.builders.job import TRANSITIONS, CrashedError, Rig, item
from tests.builders.world import World
from trust.leaf import ITEM_STATE_CODES, LeafKind
from trust.statements import Cancel, Freeze, FreezeScope, OnFailure, Unfreeze

S = ItemState
STATES = {code: S(word) for word, code in ITEM_STATE_CODES.items()}
FAULTS = ["", "command-lost", "reply-lost", "third-value", "no-effect", "refused", "nak", "ack-without-effect"]
UNTOUCHED = {S.PLANNED, S.WAITING, S.SKIPPED, S.STALE, S.SUPERSEDED, S.CANCELLED, S.EXPIRED, S.NOT_APPLIED}
STANDS = {S.APPLIED, S.SET_AT_NEXT_LOGIN, S.SET_NOT_ENFORCED}
FREEZE = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)


class PlanLife(RuleBasedStateMachine):
    """One consumed plan and whatever happens to it."""

    @initialize(
        logins=st.integers(1, 3),
        reach=st.sampled_from(Reach),
        on_failure=st.sampled_from(OnFailure),
        online=st.booleans(),
        faults=st.lists(st.sampled_from(FAULTS), max_size=4),
    )
    def begin(self, logins: int, reach: Reach, on_failure: OnFailure, online: bool, faults: list[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.clock, self.world, self.reach = FakeClock(), World(), reach
        self.logins = [f"u{n}" for n in range(logins)]
        for login in self.logins:
            self.world.add(login, online=online or login != "u0")
        self.world.faults["u0"] = faults
        self.world.on_send = self.sent
        self.rig = Rig(self.folder, self.world, self.clock, reach)
        self.on_failure = on_failure
        self.cancelled = self.frozen = self.late = self.crashed = False
        self.drifted: set[str] = set()
        self.begun: set[int] = set()
        self.plan_id = bytes(16)

        async def save() -> None:
            items = [item(n, login, self.world) for n, login in enumerate(self.logins, start=1)]
            self.plan_id = await self.rig.save_plan(items, on_failure=on_failure)
            await self.rig.consume(self.plan_id)

        self.play(save)

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.close()
            shutil.rmtree(self.folder)

    def play(self, scene: Callable[[], Awaitable[Any]]) -> None:
        """Run a scene in virtual time; the clock goes on from where it was."""

        async def scene_and_clock() -> None:
            try:
                await scene()
            finally:
                wall, boot = self.clock.wall_s(), self.clock.boot_s()
                self.clock = FakeClock(wall, self.clock.boot_id, boot)

        self.rig.clock = self.clock
        trio.run(scene_and_clock, clock=virtual_clock())
        self.rig.clock = self.clock

    # --- what the device sees ---

    def sent(self, ticket: Ticket) -> None:
        """A first byte: its "about to" must be durable and open, and it the only one of its step."""
        rows = self.rig.store.reader.execute(
            "SELECT attempt, about_seq, outcome_seq FROM step"
            " WHERE plan_id = ? AND item = ? AND n = ? AND direction = ?"
            " ORDER BY attempt",
            (self.plan_id, ticket.item, ticket.step, ticket.direction.value),
        ).fetchall()
        assert rows, "sent before its about-to was durable"
        assert rows[-1]["attempt"] == ticket.attempt
        self.begun.add(rows[-1]["about_seq"])
        assert [r["outcome_seq"] is None for r in rows] == [False] * (len(rows) - 1) + [True]
        if ticket.direction is Direction.FORWARD:
            assert self.clock.boot_s() < ticket.deadline_s

    # --- rules ---

    @rule(data=st.data())
    def fault(self, data: st.DataObject) -> None:
        login = data.draw(st.sampled_from(self.logins))
        self.world.faults.setdefault(login, []).extend(data.draw(st.lists(st.sampled_from(FAULTS), max_size=3)))

    @rule(data=st.data())
    def somebody_else_writes(self, data: st.DataObject) -> None:
        login = data.draw(st.sampled_from(self.logins))
        self.world.values[self.world.user(login)] = {"plan": "drifted"}
        self.drifted.add(login)

    @rule()
    def unreadable_for_a_while(self) -> None:
        self.world.unreadable = 3

    def _cancel(self) -> None:
        digest = self.rig.loaded(self.plan_id).row.digest.hex()
        cancel = Cancel("1" * 32, "4" * 32, (digest,), "joseph", 0)
        self.rig.store.now(stops.RecordCancel(cancel, b"e", self.rig.recorder.record(None, {})))
        self.cancelled = True

    def _freeze(self) -> None:
        fresh = self.rig.store.now(stops.RecordFreeze(FREEZE, bytes(32), b"e", self.rig.recorder.record(None, {})))
        self.frozen = self.frozen or fresh

    def _unfreeze(self) -> None:
        if self.frozen:
            unfreeze = Unfreeze("1" * 32, bytes(32).hex(), "joseph", 0)
            self.rig.store.now(stops.RecordUnfreeze(unfreeze, b"e", self.rig.recorder.record(None, {})))
            self.frozen = False

    def _deadline(self) -> None:
        self.clock.step_wall(7200)
        self.late = True

    def happens(self, what: str) -> None:
        {"cancel": self._cancel, "freeze": self._freeze, "unfreeze": self._unfreeze, "deadline": self._deadline}[what]()

    @rule(what=st.sampled_from(["cancel", "freeze", "unfreeze", "deadline"]))
    def between_runs(self, what: str) -> None:
        async def scene() -> None:
            self.happens(what)

        self.play(scene)

    @rule(
        die_at=st.one_of(st.none(), st.integers(1, 25)),
        die_after=st.booleans(),
        meanwhile=st.dictionaries(st.integers(1, 25), st.sampled_from(["cancel", "freeze", "deadline"]), max_size=2),
        thaws=st.booleans(),
    )
    def run(self, die_at: int | None, die_after: bool, meanwhile: dict[int, str], thaws: bool) -> None:
        """Run, or go on after a crash; perhaps die at a command, perhaps something happens at one."""
        store = self.rig.store
        store.seen, store.die_at, store.die_after = 0, die_at, die_after
        store.between = lambda n: self.happens(meanwhile[n]) if n in meanwhile else None
        crashed = False

        async def beside() -> None:
            for _ in range(20):
                await trio.sleep(3)
                self.rig.connector.calls_in.set()
            self.happens("unfreeze" if thaws else "deadline")
            while True:
                for _ in range(10):
                    await trio.sleep(30)
                    self.rig.connector.calls_in.set()
                self.happens("unfreeze")  # a freeze does not last for ever: a declared revert waits for it

        async def scene() -> None:
            nonlocal crashed
            try:
                await self.rig.apply(self.plan_id, beside)
            except* CrashedError:
                crashed = True

        self.play(scene)
        self.crashed = crashed
        if crashed:
            self.rig.close()
            self.rig = Rig(self.folder, self.world, self.clock, self.reach)
        else:
            self.check_end()

    def ended(self) -> bool:
        return not {S.PLANNED, S.WAITING, S.RUNNING, S.UNKNOWN} & set(self.rig.states(self.plan_id))

    def check_end(self) -> None:
        """A run that came to its end left nothing open, and the fold says so."""
        assert self.ended(), self.rig.states(self.plan_id)
        reader = self.rig.store.reader
        assert reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0
        assert reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
        states = Counter(self.rig.states(self.plan_id))
        assert self.rig.loaded(self.plan_id).state() is ChangeState.RUNNING  # until the worker has said that it is over
        change = machine.fold(Gate.CONSUMED, states)
        assert change not in (ChangeState.RUNNING, ChangeState.WAITING_FOR_DEVICE)
        assert (change is ChangeState.DONE) == (set(states) <= {S.APPLIED, S.SET_AT_NEXT_LOGIN, S.SKIPPED})

    @precondition(lambda self: self.ended() and self.on_failure is not OnFailure.REVERT)
    @rule()
    def revert(self) -> None:
        """Take back by hand what stands: the items' own declared inverse, as a revert inside the run does."""
        stand = [n for n, state in enumerate(self.rig.states(self.plan_id), start=1) if state in STANDS]

        async def scene() -> None:
            async with self.rig.parts() as parts:
                from agent.changes.engine.apply import Run

                run = Run(parts, self.rig.loaded(self.plan_id))
                await run._recover()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._calls)
                    for n in stand:
                        await run.undo(self.rig.loaded(self.plan_id).items.items[n - 1])
                    nursery.cancel_scope.cancel()

        self.rig.store.die_at, self.rig.store.between = None, None
        self.play(scene)
        for n in stand:
            state = self.rig.states(self.plan_id)[n - 1]
            assert state in (S.REVERTED, S.NEEDS_A_PERSON)

    async def _calls(self) -> None:
        while True:
            for _ in range(10):
                await trio.sleep(3)
                self.rig.connector.calls_in.set()
            self.happens("unfreeze")  # a freeze does not last for ever: the revert waits for it

    # --- what always holds ---

    def rows(self, sql: str, *args: object) -> list[Any]:
        return self.rig.store.reader.execute(sql, args).fetchall()

    @invariant()
    def states_moved_along_the_table(self) -> None:
        if not hasattr(self, "rig"):
            return
        for n, state in enumerate(self.rig.states(self.plan_id), start=1):
            path = [S.PLANNED]
            for r in self.rows(
                "SELECT code FROM event WHERE plan = ? AND kind IN (?, ?) AND code <> 0 AND item = ? ORDER BY seq",
                self.plan_id, LeafKind.ITEM_STATE.value, LeafKind.ABOUT_TO.value, n,
            ):  # fmt: skip
                path.append(STATES[r["code"]])
            assert path[-1] is state
            assert all((a.value, b.value) in TRANSITIONS for a, b in itertools.pairwise(path)), path

    @invariant()
    def nothing_was_begun_after_a_stop(self) -> None:
        if not hasattr(self, "rig"):
            return
        forward = {r["about_seq"] for r in self.rows("SELECT about_seq FROM step WHERE direction = 'forward'")}
        run_until_s = self.rig.loaded(self.plan_id).row.run_until.wall_s
        stopped = frozen = False
        for r in self.rows("SELECT seq, kind, at_s FROM event ORDER BY seq"):
            kind = LeafKind(r["kind"])
            stopped = stopped or kind is LeafKind.CANCEL
            frozen = kind is LeafKind.FREEZE or (frozen and kind is not LeafKind.UNFREEZE)
            if kind is LeafKind.ABOUT_TO and r["seq"] in forward:
                assert not stopped
                assert not frozen
                assert r["at_s"] < run_until_s or r["seq"] not in self.begun

    @invariant()
    def no_step_took_effect_twice(self) -> None:
        if not hasattr(self, "rig"):
            return
        wrote = Counter((login, str(value)) for login, value in self.world.writes)
        assert max(wrote.values(), default=0) <= 1, wrote
        assert max(Counter(self.world.kicks).values(), default=0) <= 2  # once, and once when it is taken back

    @invariant()
    def final_states_are_true_of_the_device(self) -> None:
        if not hasattr(self, "rig"):
            return
        reasons = {r["service"] for r in self.rows("SELECT service FROM reason")}
        reverting = {r["item"] for r in self.rows("SELECT item FROM step WHERE direction = 'revert'")}
        for n, (login, state) in enumerate(zip(self.logins, self.rig.states(self.plan_id), strict=True), start=1):
            if self.crashed and n in reverting:
                continue  # it died while it took this back: the next run goes on there, and moves the item
            value, service = self.world.values[self.world.user(login)], f"C-{login}/home"
            wrote = [v for who, v in self.world.writes if who == login]
            if state in UNTOUCHED:
                assert not wrote, f"{login} is {state.value}, yet the device took {wrote}"
            if state in STANDS:
                assert wrote == [{"plan": "20M", "suspended": "yes"}]
                assert login in self.drifted or value == wrote[0]
            if state is S.REVERTED:
                assert wrote == [{"plan": "20M", "suspended": "yes"}, {"plan": "20M"}]
            if state is S.DIVERGED and service in reasons:
                assert login in self.drifted  # it stood, and read otherwise at the end of the batch
                continue
            assert (service in reasons) == (state in STANDS) or state in (S.RUNNING, S.UNKNOWN, S.NEEDS_A_PERSON)

    @invariant()
    def the_log_verifies(self) -> None:
        if hasattr(self, "rig"):
            self.rig.evidence.verify()


TestPlanLife = PlanLife.TestCase
TestPlanLife.settings = settings(
    max_examples=60, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
