"""Payments and cuts in all orders, with restarts, crashes, lost replies and a source that fails.

The judge is the billing system's own book beside the device. Once all is quiet a service is online if nothing is
overdue and no other reason stands; one whose debt was never cleared since its cut is not back. Cut and restore take
turns at the device: no suspension has two restores.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.hooks import Heard
from agent.changes import paid, worker
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.journal.request import Ask, RequestError, local
from agent.changes.planning.preview import NothingToDoError
from agent.connectors.base import UnreadableError
from agent.inventory import book
from agent.inventory.ledger import KeepHeard
from agent.model import SuspensionReason, Ticket
from agent.store.errors import RefusedCommandError
from tests.builders.billing import refused
from tests.builders.clock import LifeClock, virtual_clock
from tests.builders.job import CrashedError
from tests.builders.office import MARIA_UID, Office
from tests.builders.paid_office import HEAD, SUSPENDED, PaidDesk, ToldBilling, first_day, paid_office, working
from tests.builders.people import People
from tests.marks import fuzzing
from trust import envelope as envelopes
from trust.policy import Action
from trust.statements import SeenHeads

NAMES = ("C-1", "C-2")
WHO = st.sampled_from(NAMES)
DIES = st.none() | st.tuples(st.integers(1, 60), st.booleans())
"""At which command from now on the process dies, and whether after it took effect."""
EVENTS = ("pay", "part", "reverse", "owe", "file", "dial", "hang up")
BOOKED = st.sampled_from((*EVENTS, "pay", "pending", "settle", "lie"))
MEANWHILE = st.none() | st.tuples(st.integers(1, 40), st.sampled_from(EVENTS))
"""At which command from now on something happens beside it."""
FAULTS = st.sampled_from(["", "command-lost", "reply-lost", "nak", "ack-without-effect", "refused", "away"])
REFUSALS = (NothingToDoError, RequestError, RefusedCommandError, UnreadableError)
SETTLE_S = 4500.0
"""Long enough for the longest pause between two asks, here ten minutes, and for several full readings."""
LIVES, LIVES_FUZZED = 6, 300


class PaidLife(RuleBasedStateMachine):
    """One agent, two debtors, and whatever happens to them."""

    @initialize()
    def begin(self) -> None:
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(worker, "LOOK_S", 60.0)
        self.patched.setattr(paid, "AGAIN_MAX_S", 600.0)
        self.folder = Path(tempfile.mkdtemp(prefix="paid-"))
        self.clock = LifeClock()
        self.billing = ToldBilling(self.clock)
        self.desk = PaidDesk.of(People(now_s=int(self.clock.start_wall_s)), self.billing, NAMES, suspended=False)
        self.desk.file = self.folder.with_suffix(".csv")
        self.pending: list[Payment] = []
        self.indebted: set[str] = set()
        self.cleared = dict.fromkeys(NAMES, False)
        """Whether nothing was overdue at a time since the last cut for debt."""
        self.barred: set[str] = set()
        self.asked: list[PlanRow] = []
        self.dice = random.Random(1)
        self.events = self.sessions = 0
        self.opened = ExitStack()
        self.file_comes(NAMES[0], lies=False)
        self.start()
        self.play(lambda: first_day(self.office, self.desk, suspended=False), works=False)
        self.passes(5)

    def teardown(self) -> None:
        if not hasattr(self, "opened"):
            return
        try:
            self.billing.fails, self.billing.payment_fails = [], []
            self.desk.world.faults.clear()
            self.desk.world.no_redial.clear()
            for name in NAMES:
                self.dials(name)
            self.passes(SETTLE_S)
            self.judge()
        finally:
            self.opened.close()
            self.patched.undo()
            shutil.rmtree(self.folder)
            if self.desk.file is not None:
                self.desk.file.unlink()

    # --- the agent's life ---

    def start(self) -> None:
        self.office: Office = self.opened.enter_context(paid_office(self.folder, self.desk, self.clock))

    def play(self, scene: Callable[[], Awaitable[None]], *, works: bool = True) -> None:
        """Run a scene in virtual time; a crash in it is followed by a start."""
        crashed = False
        store = self.office.store
        self.desk.people.now_s = int(self.clock.wall_s())

        async def hosted() -> None:
            nonlocal crashed
            try:
                async with trio.open_nursery() as nursery:
                    if works:
                        await working(self.office.daemon, nursery)
                    await scene()
                    nursery.cancel_scope.cancel()
            except* CrashedError:
                crashed = True
            finally:
                self.clock.stop()

        trio.run(hosted, clock=virtual_clock())
        store.die_at, store.die_after, store.between = None, False, None
        self.note_cuts()
        if crashed:
            self.opened.close()
            self.start()

    def passes(self, seconds: float) -> None:
        async def scene() -> None:
            await trio.sleep(seconds)

        self.play(scene)

    def note_cuts(self) -> None:
        for name in NAMES:
            before, now = name in self.indebted, "debt" in self.reasons(name)
            if now and not before:
                self.indebted.add(name)
                self.cleared[name] = self.billing.debts[name] == 0
            elif before and not now:
                self.indebted.discard(name)
                assert self.cleared[name], f"{name}: restored though its debt was never cleared"

    # --- the billing system ---

    @rule(name=WHO, what=BOOKED)
    def booked(self, name: str, what: str) -> None:
        """Something happens in the billing system, or at the subscriber's."""
        self.happens(name, what)

    def happens(self, name: str, what: str) -> None:
        billing, owes = self.billing, self.billing.debts[name] > 0
        match what:
            case "pay" | "part" if owes:
                billing.pay(name, part=what == "part")
            case "pending" if owes:  # as a bank debit is for days
                self.pending.append(billing.pay(name, state=PaymentState.PENDING))
            case "settle" if self.pending:
                told = self.pending.pop(0)
                billing.paid[billing.paid.index(told)] = replace(told, state=PaymentState.SETTLED)
                billing.debts[told.subscriber] = Decimal(0)
            case "reverse":
                settled = [p for p in billing.paid if p.subscriber == name and p.state is PaymentState.SETTLED]
                if settled:
                    billing.reverse(settled[-1])
            case "owe":
                billing.owe(name)
            case "file":
                self.file_comes(name, lies=False)
            case "lie":
                self.file_comes(name, lies=True)
            case "dial":
                self.dials(name)
            case "hang up":
                self.desk.world.sessions.pop(f"u-{name}", None)
        for one in NAMES:
            self.cleared[one] = self.cleared[one] or self.billing.debts[one] == 0

    @rule(count=st.integers(1, 4), payments=st.booleans())
    def source_fails(self, count: int, payments: bool) -> None:
        (self.billing.payment_fails if payments else self.billing.fails).extend(refused() for _ in range(count))

    # --- the agent and its people ---

    def set_off(self, name: str, dies: tuple[int, bool] | None, meanwhile: tuple[int, str] | None) -> None:
        """Have the process die, or something happen to a subscriber, at a command of the next scene."""
        store = self.office.store
        if dies is not None:
            store.die_at, store.die_after = store.seen + dies[0], dies[1]
        if meanwhile is not None:
            at, what = store.seen + meanwhile[0], meanwhile[1]

            def between(n: int) -> None:
                if n == at:
                    self.happens(name, what)

            store.between = between

    @rule(
        name=WHO,
        books=st.sampled_from(["pay", "pay", "pay", "part", "settle", "reverse", ""]),
        alone=st.booleans(),
        seconds=st.sampled_from([0.05, 2.0, 20.0]),
        dies=DIES,
        meanwhile=MEANWHILE,
    )
    def webhook(
        self,
        name: str,
        books: str,
        alone: bool,
        seconds: float,
        dies: tuple[int, bool] | None,
        meanwhile: tuple[int, str] | None,
    ) -> None:
        """The billing system calls, of something that it booked just now, or of nothing new.

        `alone`: it names the payment, if there is one, and no account.
        """
        self.happens(name, books)
        self.events += 1
        event, paid = f"e{self.events}", self.billing.last_of(name)
        heard = Heard(event, "paid", accounts=() if alone and paid else (f"k-{name}",), payment_ids=paid)

        async def scene() -> None:
            await self.office.store.run(KeepHeard("main", event, heard))
            self.office.daemon.job.sources.heard.ring()
            await trio.sleep(seconds)

        self.set_off(name, dies, meanwhile)
        self.play(scene)

    @rule(name=WHO, seconds=st.sampled_from([1.0, 61.0, 600.0, 3700.0]), dies=DIES, meanwhile=MEANWHILE)
    def time_passes(
        self, name: str, seconds: float, dies: tuple[int, bool] | None, meanwhile: tuple[int, str] | None
    ) -> None:
        """It polls, reads all accounts and the file, asks for restores and sends them."""
        self.set_off(name, dies, meanwhile)
        self.passes(seconds)

    def file_comes(self, name: str, lies: bool) -> None:
        """The billing file tells the same payments as the source does; or one of which the source knows nothing."""
        now = datetime.fromtimestamp(self.clock.wall_s(), UTC)
        rows = ""
        for one in NAMES:
            paid = [p.paid.last_s for p in self.billing.paid if p.subscriber == one and p.state is PaymentState.SETTLED]
            at = now if lies and one == name else datetime.fromtimestamp(max(paid), UTC) if paid else None
            owed = Decimal(0) if lies and one == name else self.billing.debts[one]
            rows += f"{one},Amina,home,u-{one},fake,20M,,0,{owed},2025-12-04,{stamp(at)},{stamp(now)}\n"
        assert self.desk.file is not None
        draft = self.desk.file.with_suffix(".new")
        draft.write_text(HEAD + rows)
        draft.replace(self.desk.file)

    @rule(name=WHO, reads_first=st.booleans(), dies=DIES, meanwhile=MEANWHILE)
    def preview(
        self, name: str, reads_first: bool, dies: tuple[int, bool] | None, meanwhile: tuple[int, str] | None
    ) -> None:
        """People ask for a suspension for debt; whether they approve it, and when, is another matter."""
        if "debt" not in self.reasons(name):
            self.billing.owe(name)

        async def scene() -> None:
            if reads_first:
                await trio.sleep(65)
            with suppress(*REFUSALS):
                self.asked.append(await self.office.plan(name))

        self.set_off(name, dies, meanwhile)
        self.play(scene)

    @precondition(lambda self: self.asked)
    @rule(seconds=st.sampled_from([0.02, 0.5, 20.0]), dies=DIES, meanwhile=MEANWHILE)
    def approval(self, seconds: float, dies: tuple[int, bool] | None, meanwhile: tuple[int, str] | None) -> None:
        plan = self.asked.pop()

        async def scene() -> None:
            await self.approved(plan)
            await trio.sleep(seconds)

        self.set_off(self.dice.choice(NAMES), dies, meanwhile)
        self.play(scene)

    async def approved(self, plan: PlanRow) -> None:
        """Have joseph sign it; it may be too late."""
        pinned = self.office.pinned
        seen = SeenHeads(pinned.trust.version, pinned.sha256.hex())
        signed = self.desk.people.approve(envelopes.decode_untrusted(plan.envelope), "joseph", seen=seen)
        await self.office.daemon.job.approvals.submit(signed)
        self.office.daemon.job.worker.poke()

    @rule(
        name=WHO,
        reads_first=st.booleans(),
        seconds=st.sampled_from([0.02, 0.5, 20.0]),
        late=st.sampled_from(["", "pay", "part"]),
        at=st.sampled_from(["approved", "first byte", "taken"]),
        dies=DIES,
    )
    def cut(
        self, name: str, reads_first: bool, seconds: float, late: str, at: str, dies: tuple[int, bool] | None
    ) -> None:
        """People suspend for debt; the subscriber may pay after the approval, or while the first write is sent."""
        if "debt" not in self.reasons(name):
            self.billing.owe(name)

        def once(ticket: Ticket) -> None:
            del ticket
            self.desk.world.on_send = self.desk.world.on_took = nothing_more
            self.happens(name, late)

        async def scene() -> None:
            if reads_first:
                await trio.sleep(65)
            try:
                plan = await self.office.plan(name)
                if late and at == "first byte":
                    self.desk.world.on_send = once
                elif late and at == "taken":
                    self.desk.world.on_took = once
                await self.approved(plan)
            except REFUSALS:
                return
            if late and at == "approved":
                self.happens(name, late)
            await trio.sleep(seconds)

        self.set_off(name, dies, None)
        self.play(scene)
        self.desk.world.on_send = self.desk.world.on_took = nothing_more

    # --- the network ---

    @rule(name=WHO, fault=FAULTS, count=st.integers(1, 2), redials=st.booleans())
    def next_sends_fail(self, name: str, fault: str, count: int, redials: bool) -> None:
        """And whether the CPE dials again once it was disconnected."""
        self.desk.world.faults.setdefault(f"u-{name}", []).extend([fault] * count if fault else [])
        (self.desk.world.no_redial.discard if redials else self.desk.world.no_redial.add)(f"u-{name}")

    def dials(self, name: str) -> None:
        """Dial, or dial once more while a session stands."""
        self.sessions += 100
        self.desk.world.sessions[f"u-{name}"] = self.sessions

    @rule(name=WHO, seconds=st.sampled_from([5.0, 100.0]), dies=DIES, meanwhile=MEANWHILE)
    def target_is_away(
        self, name: str, seconds: float, dies: tuple[int, bool] | None, meanwhile: tuple[int, str] | None
    ) -> None:
        self.desk.world.dead.add("fake/d")
        self.set_off(name, dies, meanwhile)
        self.passes(seconds)
        self.desk.world.dead.clear()

    # --- other reasons, and people who take over ---

    @rule(name=WHO)
    def abuse(self, name: str) -> None:
        """People suspend for abuse, beside whatever else."""

        self.play(lambda: self.by_people(name, Action.SUSPEND, SuspensionReason.ABUSE))
        if "abuse" in self.reasons(name):
            self.barred.add(name)

    @precondition(lambda self: self.barred)
    @rule(name=WHO)
    def abuse_ends(self, name: str) -> None:
        if name in self.barred:
            self.play(lambda: self.by_people(name, Action.RESTORE, SuspensionReason.ABUSE))
            if "abuse" not in self.reasons(name):
                self.barred.discard(name)

    @rule(name=WHO, dies=DIES)
    def person_takes_a_payer(self, name: str, dies: tuple[int, bool] | None) -> None:
        """Somebody restores who paid, before the agent does or beside it."""
        if self.billing.debts[name] == 0 and "debt" in self.reasons(name):
            self.set_off(name, dies, None)
            self.play(lambda: self.by_people(name, Action.RESTORE, SuspensionReason.DEBT))

    async def by_people(self, name: str, verb: Action, reason: SuspensionReason) -> None:
        api = self.office.daemon.api.parts
        now_s = self.clock.wall_s()
        pinned = api.trust.current(now_s)
        ask = Ask(verb, (name,), reason=reason)
        asked = local(ask, MARIA_UID, api.people, pinned.trust, api.agent, now_s)
        try:
            plan_id = await api.intake.plan(asked, pinned)
            row = self.office.store.query("SELECT * FROM plan WHERE plan_id = ?", (plan_id,))[0]
            await self.approved(read_plan_row(row))
        except REFUSALS:
            return
        await trio.sleep(30)

    @rule()
    def restart(self) -> None:
        self.opened.close()
        self.start()

    # --- the judge ---

    def reasons(self, name: str) -> set[str]:
        return {str(r) for r in book.services(self.office.store.reader)[f"{name}/home"].reasons}

    def judge(self) -> None:
        for name in NAMES:
            cut, reasons, owed = self.desk.is_cut(name), self.reasons(name), self.billing.debts[name]
            assert cut == bool(reasons), f"{name}: cut {cut}, recorded {reasons}"
            if owed == 0:
                assert reasons <= {"abuse"}, f"{name}: nothing is overdue, and it is cut for debt"
            if name in self.barred:
                assert cut, f"{name}: barred for abuse, and online"
            written = [value == SUSPENDED for login, value in self.desk.world.writes if login == f"u-{name}"]
            assert written == turns(len(written)), f"{name}: {written} written, True is a cut"
            kicks = self.desk.world.kicks.count(f"u-{name}")
            assert kicks <= len(written), f"{name}: {kicks} disconnects of {len(written)} writes"


def turns(count: int) -> list[bool]:
    return [n % 2 == 0 for n in range(count)]


def stamp(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def nothing_more(ticket: Ticket) -> None:
    del ticket


TestPaidLife = PaidLife.TestCase
TestPaidLife.settings = settings(
    max_examples=LIVES_FUZZED if fuzzing() else LIVES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
