"""Changes of a few services in all orders: previews that are held back, several reasons, tariffs, reverts and retries.

* The judge is the device beside the record. Once nothing runs a service is suspended there if and only if a reason is
  recorded, and has the recorded tariff. An item that says that a person must look excuses its service.
* Nobody is suspended for a debt that was paid before the item's first step.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent import daemon as daemons
from agent.billing_model.errors import BillingState
from agent.changes.engine.perform import Patience
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.journal.request import Ask, RequestError, local
from agent.config import AgentConfig
from agent.connectors.base import AccessPlan, Enforced, Judgment, NetworkState, Session, UnreadableError
from agent.daemon import Daemon, Files
from agent.inventory import book
from agent.inventory.ledger import FILE, KeptAccount, RecordFile, SourceStatus
from agent.inventory.subscribers_csv import parse_untrusted
from agent.model import Absent, Access, Address, Enforcement, Seen, Service, ServiceState, Step, Target, Value
from agent.runtime.clock import Clock
from agent.store.errors import RefusedCommandError
from tests.builders import office as offices
from tests.builders.clock import LifeClock, virtual_clock
from tests.builders.job import CrashedError
from tests.builders.office import MARIA_UID, Desk, Office, office_on
from tests.builders.people import People
from tests.builders.world import WITHIN_S, FakeConnector, FakeMethod, FakeSession, World, disconnect
from tests.fuzz import counting
from tests.marks import fuzzing
from trust import envelope as envelopes
from trust.items import SuspensionReason
from trust.policy import Action
from trust.statements import OnFailure, SeenHeads

LIVES, LIVES_FUZZED = 15, 1500
SERVICES = {"C-1/home": "u0", "C-2/home": "u1", "C-3/home": "u2"}
WHOM = st.sampled_from([("C-1/home",), ("C-1/home",), ("C-1/home",), ("C-2/home",), tuple(SERVICES)])
REASONS = (SuspensionReason.DEBT, SuspensionReason.ABUSE)
REFUSALS = (RequestError, RefusedCommandError, UnreadableError)
FAULTS = st.lists(
    st.sampled_from(["", "", "nak", "ack-without-effect", "command-lost", "reply-lost", "refused"]), max_size=4
)
SECONDS = st.sampled_from([0.0, 0.6, 3.0, 40.0, 400.0])
DIES = st.none() | st.tuples(st.integers(1, 30), st.booleans())
FRESH = """subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of
{lines}"""
TURNS = st.sampled_from(["debt", "abuse", "tariff"])
LOOKS = frozenset({"needs-a-person", "diverged"})
LEFT = frozenset({"revert-not-required", "revert-stale"})
"""Why a declared revert left an item to people, before it sent anything."""
STANDS = frozenset({"applied", "set-at-next-login", "set-not-enforced"})


def stamp(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


class Begun(dict[str, int]):
    """Sessions by login; each keeps the access that its user had when it began."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.carried = world, dict[tuple[str, int], bool]()

    def __setitem__(self, login: str, number: int) -> None:
        super().__setitem__(login, number)
        self.carried[login, number] = suspended(self.world.values[self.world.user(login)])


def suspended(value: Value) -> bool:
    return not isinstance(value, Absent) and "suspended" in value


class LiveSessions(FakeSession):
    """Tells what each session carries."""

    def _value(self, a: Address) -> Value:
        kind, login = a.split("/", 3)[2:]
        if kind == "sessions" and login in self.world.sessions:
            number = self.world.sessions[login]
            assert isinstance(self.world.sessions, Begun)
            return {str(number): "garden" if self.world.sessions.carried[login, number] else "full"}
        return super()._value(a)


class GardenMethod(FakeMethod):
    """Ends a session where only that is not as wanted, and judges user and session."""

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        state = super().network_state(service, seen)
        found = seen[Address(f"fake/d/sessions/{service.login}")].value
        carried = {} if isinstance(found, Absent) else found
        sessions = tuple(
            replace(one, carries=Access.SUSPENDED if carried[one.facts["sid"]] == "garden" else Access.ACTIVE)
            for one in state.sessions
        )
        return replace(state, sessions=sessions)

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        planned = super().plan(wanted, service, seen)
        found = seen[Address(f"fake/d/sessions/{service.login}")].value
        word = "garden" if wanted.access is Access.SUSPENDED else "full"
        where = Address(f"fake/d/sessions/{service.login}")
        enforce = Enforcement("fake/d", where, {"method": "fake", "carries": word, "plan": wanted.tariff}, WITHIN_S)
        if planned.steps:
            return replace(planned, enforce=enforce)
        if isinstance(found, Absent) or all(one == word for one in found.values()):
            return planned
        kick = disconnect(service.login)
        return AccessPlan(
            (Step(1, "fake/d", kick, on_revert=(kick,)),), enforce, {"online": "online"}, planned.rests_on
        )

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address] = ()
    ) -> Collection[Address]:
        user = Address(f"fake/d/user/{enforce.address.rsplit('/', 1)[1]}")
        return [] if user in seen else [user]

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        login, word = enforce.address.rsplit("/", 1)[1], enforce.expect["carries"]
        row, value = seen[Address(f"fake/d/user/{login}")].value, seen[enforce.address].value
        if suspended(row) is not (word == "garden") or isinstance(row, Absent) or row["plan"] != enforce.expect["plan"]:
            return Judgment(Enforced.NO, "old-session", "the row reads otherwise")
        if isinstance(value, Absent):
            return Judgment(Enforced.PENDING, "offline")
        if any(one != word for one in value.values()):
            return Judgment(Enforced.NO, "still-online")
        return Judgment(Enforced.YES, "seen")


class GardenConnector(FakeConnector):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.access_methods = {"fake": GardenMethod()}

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[Session]:
        yield LiveSessions(self.world, target)


def build(config: AgentConfig, files: Files, clock: Clock, desk: Desk) -> Daemon:
    connectors = {"fake": GardenConnector(desk.world)}
    return daemons.build(config, files, clock, connectors=connectors, patience=Patience(poll_s=0.01, reread_s=20))


def garden_world() -> World:
    world = World()
    world.sessions = Begun(world)
    for login in SERVICES.values():
        world.add(login)
    return world


@dataclass(frozen=True)
class Template:
    folder: Path
    people: People
    clock: tuple[float, float]


def lines(owing: Collection[str], at_s: float) -> str:
    return "".join(
        f"{ref.split('/', maxsplit=1)[0]},X,home,{login},fake,20M,,0,{'34.00' if ref in owing else '0.00'},2025-10-03,"
        f"{'' if ref in owing else stamp(at_s)},{stamp(at_s)}\n"
        for ref, login in SERVICES.items()
    )


@functools.cache
def template() -> Template:
    """Return an agent as it is after its first day."""
    folder = Path(tempfile.mkdtemp(prefix="reasons-"))
    (folder / "state").mkdir()
    clock = LifeClock()
    people = People(now_s=int(clock.start_wall_s))
    people.policy = tuple(replace(p, budget_per_hour=100_000) for p in people.policy)
    desk = Desk(people, world=garden_world(), csv=FRESH.format(lines=lines(SERVICES, clock.start_wall_s)))
    with office_on(folder / "state", desk, clock) as office:

        async def first_day() -> None:
            async with trio.open_nursery() as nursery:
                await office.daemon.sessions.host(nursery)
                document, words = people.sign_trust(desk.trust(office.daemon.files))
                api = office.daemon.api.parts
                await api.trust.install(document, words, clock.wall_s())
                await api.importer.run(desk.csv.encode(), "maria", dry_run=False)
                nursery.cancel_scope.cancel()

        trio.run(first_day, clock=virtual_clock())
        clock.stop()
    return Template(folder, people, (clock.start_wall_s, clock.start_boot_s))


class ReasonLife(RuleBasedStateMachine):
    """One agent, three services, and people who ask for what contradicts."""

    @initialize()
    def begin(self) -> None:
        made = template()
        self.folder = Path(tempfile.mkdtemp(prefix="reason-"))
        shutil.copytree(made.folder, self.folder, dirs_exist_ok=True)
        self.clock = LifeClock(made.clock[0], start_boot_s=made.clock[1])
        self.desk = Desk(replace(made.people), world=garden_world())
        self.world = self.desk.world
        self.asked: list[PlanRow] = []
        self.all: list[PlanRow] = []
        self.owing = set(SERVICES)
        self.paid: dict[str, int] = {}
        self.opened = ExitStack()
        self.start()
        self.bill()

    def teardown(self) -> None:
        if not hasattr(self, "opened"):
            return
        try:
            self.calm()
        finally:
            self.opened.close()
            shutil.rmtree(self.folder)
            counting.add(counting.LIVES, 1)

    # --- the agent's life ---

    def start(self) -> None:
        before, offices.build = offices.build, build
        try:
            self.office: Office = self.opened.enter_context(office_on(self.folder / "state", self.desk, self.clock))
        finally:
            offices.build = before

    def play(self, scene: Callable[[], Awaitable[None]], dies: tuple[int, bool] | None = None) -> None:
        crashed, store = False, self.office.store
        self.desk.people.now_s = int(self.clock.wall_s())
        if dies is not None:
            store.die_at, store.die_after = store.seen + dies[0], dies[1]

        async def hosted() -> None:
            nonlocal crashed
            try:
                async with trio.open_nursery() as nursery:
                    await self.office.daemon.sessions.host(nursery)
                    nursery.start_soon(self.office.daemon.job.worker.run)
                    await scene()
                    nursery.cancel_scope.cancel()
            except* CrashedError:
                crashed = True
            finally:
                self.clock.stop()

        trio.run(hosted, clock=virtual_clock())
        store.die_at = None
        if crashed:
            self.opened.close()
            self.start()

    def passes(self, seconds: float, dies: tuple[int, bool] | None = None) -> None:
        self.play(functools.partial(trio.sleep, seconds), dies)

    # --- people ---

    def bill(self) -> None:
        """Billing tells who owes."""
        now_s, store = self.clock.wall_s(), self.office.store
        facts = parse_untrusted(FRESH.format(lines=lines(self.owing, now_s)).encode(), now_s).facts.values()
        accounts = [KeptAccount(FILE, fact.account, now_s) for fact in facts]
        payments = [fact.payment for fact in facts if fact.payment is not None]
        status = SourceStatus(FILE, BillingState.FRESH, "", now_s, now_s, now_s, len(accounts))
        sealed = self.office.daemon.api.parts.recorder.record(None, {"what": "billing"})
        self.play(functools.partial(store.run, RecordFile(accounts, payments, "", status, sealed)))

    @rule(ref=st.sampled_from([*SERVICES, "C-1/home"]))
    def pays(self, ref: str) -> None:
        if ref in self.owing:
            self.owing.discard(ref)
            self.bill()
            self.paid[ref] = self.size()

    @rule(ref=st.sampled_from([*SERVICES, "C-1/home"]))
    def owes(self, ref: str) -> None:
        self.owing.add(ref)
        self.paid.pop(ref, None)
        self.bill()

    def size(self) -> int:
        return self.office.number("SELECT count(*) FROM event")

    async def ask(self, ask: Ask) -> None:
        api, now_s = self.office.daemon.api.parts, self.clock.wall_s()
        pinned = api.trust.current(now_s)
        try:
            request = local(ask, MARIA_UID, api.people, pinned.trust, api.agent, now_s)
            plan_id = await api.intake.plan(request, pinned)
        except REFUSALS:
            return
        row = self.office.store.reader.execute("SELECT * FROM plan WHERE plan_id = ?", (plan_id,)).fetchone()
        self.asked.append(read_plan_row(row))
        self.all.append(self.asked[-1])

    async def approve(self, row: PlanRow) -> None:
        pinned = self.office.pinned
        seen = SeenHeads(pinned.trust.version, pinned.sha256.hex())
        for who in ("joseph", "lena"):
            with suppress(*REFUSALS):
                signed = self.desk.people.approve(envelopes.decode_untrusted(row.envelope), who, seen=seen)
                await self.office.daemon.job.approvals.submit(signed)
        self.office.daemon.job.worker.poke()

    def asks(self, ask: Ask, seconds: float | None, dies: tuple[int, bool] | None) -> None:
        """Ask, and have it approved at once unless `seconds`, in which it may run, is None."""

        async def scene() -> None:
            before = len(self.asked)
            await self.ask(ask)
            if seconds is not None and len(self.asked) > before:
                await self.approve(self.asked.pop())
                await trio.sleep(seconds)

        self.play(scene, dies)

    @rule(
        refs=WHOM,
        reason=st.sampled_from(REASONS),
        verb=st.sampled_from([Action.SUSPEND, Action.RESTORE]),
        revert=st.booleans(),
        seconds=st.none() | SECONDS,
        dies=DIES,
    )
    def turns(
        self,
        refs: tuple[str, ...],
        reason: SuspensionReason,
        verb: Action,
        revert: bool,
        seconds: float | None,
        dies: tuple[int, bool] | None,
    ) -> None:
        on_failure = OnFailure.REVERT if revert else OnFailure.CONTINUE
        ask = Ask(verb, refs, reason=reason, on_failure=on_failure, canary=1 if len(refs) > 1 else None)
        self.asks(ask, seconds, dies)

    @rule(
        refs=WHOM, tariff=st.sampled_from(["20M", "50M"]), revert=st.booleans(), seconds=st.none() | SECONDS, dies=DIES
    )
    def set_plan(
        self, refs: tuple[str, ...], tariff: str, revert: bool, seconds: float | None, dies: tuple[int, bool] | None
    ) -> None:
        on_failure = OnFailure.REVERT if revert else OnFailure.CONTINUE
        ask = Ask(Action.SET_PLAN, refs, tariff=tariff, on_failure=on_failure, canary=1 if len(refs) > 1 else None)
        self.asks(ask, seconds, dies)

    @rule(ref=st.sampled_from([*SERVICES, "C-1/home"]), reason=st.sampled_from(REASONS), seconds=st.none() | SECONDS)
    def adopt(self, ref: str, reason: SuspensionReason, seconds: float | None) -> None:
        self.asks(Ask(Action.ADOPT, (ref,), reason=reason), seconds, None)

    @precondition(lambda self: self.all)
    @rule(back=st.integers(0, 4), seconds=st.none() | SECONDS, dies=DIES)
    def revert(self, back: int, seconds: float | None, dies: tuple[int, bool] | None) -> None:
        row = self.all[-1 - min(back, len(self.all) - 1)]
        self.asks(Ask(Action.REVERT, change=row.plan_id.hex(), on_failure=OnFailure.CONTINUE), seconds, dies)

    @precondition(lambda self: self.all)
    @rule(back=st.integers(0, 4), seconds=SECONDS, dies=DIES)
    def retry(self, back: int, seconds: float, dies: tuple[int, bool] | None) -> None:
        row = self.all[-1 - min(back, len(self.all) - 1)]

        async def scene() -> None:
            await self.reopen(row)
            await trio.sleep(seconds)

        self.play(scene, dies)

    # --- rare orders, each by itself ---

    def turn(self, what: str, refs: tuple[str, ...] = ("C-1/home",), *, revert: bool = False) -> Ask:
        """Return the ask that turns a reason, or the tariff, of C-1 into what it is not."""
        service = book.services(self.office.store.reader)["C-1/home"]
        more = Ask(Action.SET_PLAN, refs, tariff="50M" if service.tariff == "20M" else "20M")
        if what != "tariff":
            verb = Action.RESTORE if what in service.reasons else Action.SUSPEND
            more = Ask(verb, refs, reason=SuspensionReason(what))
        on_failure = OnFailure.REVERT if revert else OnFailure.CONTINUE
        return replace(more, on_failure=on_failure, canary=1 if len(refs) > 1 else None)

    @rule(what=TURNS, then=st.lists(TURNS, min_size=1, max_size=3), faults=FAULTS, dies=DIES)
    def batch_is_taken_back(self, what: str, then: list[str], faults: list[str], dies: tuple[int, bool] | None) -> None:
        """A batch begins with C-1. Others change that in its soak, and then it fails."""
        refuse = {login: ["refused"] * 2 for login in ("u1", "u2")}
        self.world.faults.update(refuse)
        self.asks(self.turn(what, tuple(SERVICES), revert=True), 5.0, None)
        for other in then:
            self.asks(self.turn(other), 3.0, None)
        self.world.faults.update({**refuse, "u0": faults})
        self.passes(900.0, dies)
        self.world.faults.clear()

    @rule(
        what=TURNS,
        online=st.booleans(),
        beside=TURNS,
        first=st.booleans(),
        seconds=st.sampled_from([0.3, 40.0]),
        dies=DIES,
    )
    def retried(
        self, what: str, online: bool, beside: str, first: bool, seconds: float, dies: tuple[int, bool] | None
    ) -> None:
        """A session is not ended, and the change is retried. An older preview is approved before that, or after."""
        self.world.faults["u0"] = ["", "nak", "nak", "nak"]
        before = len(self.all)
        self.asks(self.turn(what), 40.0, None)
        self.world.faults.clear()
        if len(self.all) == before:
            return
        row = self.all[-1]
        if not online:
            self.world.sessions.pop("u0", None)
        self.asks(self.turn(beside), None, None)
        held = self.asked.pop() if len(self.all) > before + 1 else None

        async def scene() -> None:
            if held is not None and first:
                await self.approve(held)
            await self.reopen(row)
            if held is not None and not first:
                await self.approve(held)
            await trio.sleep(seconds)

        self.play(scene, dies)

    async def reopen(self, row: PlanRow) -> None:
        found = self.office.store.query("SELECT * FROM plan WHERE plan_id = ?", (row.plan_id,))
        with suppress(*REFUSALS):
            await self.office.daemon.api.parts.retry.retry(read_plan_row(found[0]))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), count=st.integers(1, 3), seconds=SECONDS, dies=DIES)
    def approves(self, data: st.DataObject, count: int, seconds: float, dies: tuple[int, bool] | None) -> None:
        """Sign previews that were held back, in any order."""
        rows = data.draw(st.permutations(self.asked))[:count]
        self.asked = [row for row in self.asked if row not in rows]

        async def scene() -> None:
            for row in rows:
                await self.approve(row)
            await trio.sleep(seconds)

        self.play(scene, dies)

    # --- devices, and time ---

    @rule(login=st.sampled_from([*SERVICES.values(), "u0"]), faults=FAULTS)
    def faults(self, login: str, faults: list[str]) -> None:
        self.world.faults[login] = faults

    @rule(login=st.sampled_from([*SERVICES.values(), "u0"]))
    def session_ends_or_begins(self, login: str) -> None:
        if self.world.sessions.pop(login, None) is None:
            known = [number for who, number in self.sessions.carried if who == login]
            self.sessions[login] = max(known, default=0) + 1

    @property
    def sessions(self) -> Begun:
        assert isinstance(self.world.sessions, Begun)
        return self.world.sessions

    @rule(away=st.booleans(), seconds=SECONDS)
    def target_away(self, away: bool, seconds: float) -> None:
        (self.world.dead.add if away else self.world.dead.discard)("fake/d")
        self.passes(seconds)

    @rule(seconds=st.sampled_from([2.0, 61.0, 400.0, 1900.0]), dies=DIES)
    def time_passes(self, seconds: float, dies: tuple[int, bool] | None) -> None:
        self.passes(seconds, dies)

    @rule()
    def judged_again(self) -> None:
        async def scene() -> None:
            await self.office.daemon.judging.round()

        self.play(scene)

    @rule()
    def calm(self) -> None:
        """Let all that was approved end, and compare."""
        self.world.faults.clear()
        self.world.dead.clear()
        left = "SELECT count(*) FROM plan WHERE gate = 'approved' OR (consumed_seq NOT NULL AND finished_seq IS NULL)"

        async def scene() -> None:
            for _ in range(2000):
                if not self.office.number(left):
                    return
                await trio.sleep(5)
            raise AssertionError("something never ended")

        self.play(scene)
        self.judge()

    def judge(self) -> None:
        for ref, service in book.services(self.office.store.reader).items():
            rows = self.office.store.query(_ITEMS, (ref,))
            told = [tuple(row) for row in rows]
            if any(row["state"] in LOOKS and row["reason"] not in LEFT for row in rows):
                continue
            value = self.world.values[self.world.user(SERVICES[ref])]
            assert not isinstance(value, Absent)
            assert suspended(value) is bool(service.reasons), (ref, value, sorted(service.reasons), told)
            assert value["plan"] == service.tariff, (ref, value, service.tariff, told)
            for reason in REASONS:
                mine = [row for row in rows if row["lifts"] == reason and row["state"] in STANDS | LOOKS]
                if mine and mine[-1]["state"] in STANDS:
                    assert (mine[-1]["sign"] == "+") is (reason in service.reasons), (ref, reason, told)
            for row in self.office.store.query(_FOR_DEBT, (ref,)):
                assert row["begun"] < self.paid.get(ref, row["begun"] + 1), f"{row['short']} began after a payment"


_ITEMS = """
SELECT i.state, i.reason, p.short, p.action, substr(p.reason, 1, 1) AS sign, substr(p.reason, 2) AS lifts, coalesce(
    (SELECT max(about_seq) FROM step s WHERE s.plan_id = i.plan_id AND s.item = i.n AND direction = 'forward'),
    i.state_seq
) AS acted
FROM item i JOIN plan p USING (plan_id) WHERE i.service = ? AND p.action <> 'adopt' ORDER BY acted
"""
_FOR_DEBT = """
SELECT p.short, min(e.seq) AS begun FROM reason r JOIN plan p USING (plan_id)
JOIN item i ON i.plan_id = r.plan_id AND i.service = r.service
JOIN event e ON e.plan = r.plan_id AND e.item = i.n AND e.code = 5 AND e.kind IN (15, 17)
WHERE r.service = ? AND r.reason = 'debt' AND p.action = 'suspend' GROUP BY p.short
"""
"""Code 5: running. Kinds 15 and 17: "about to", and the state of an item."""

TestReasonLife = ReasonLife.TestCase
TestReasonLife.settings = settings(
    max_examples=LIVES_FUZZED if fuzzing() else LIVES,
    stateful_step_count=16,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def lived(*scenes: Callable[[ReasonLife], None]) -> None:
    """Live through these scenes, and compare at the end."""
    life = ReasonLife()
    life.begin()
    try:
        for scene in scenes:
            scene(life)
    finally:
        life.teardown()


KINDS = ("debt", "abuse", "tariff")
BEFORE: tuple[tuple[str, ...], ...] = ((), ("debt",), ("debt", "abuse"))


@pytest.mark.parametrize("before", BEFORE, ids=" ".join)
@pytest.mark.parametrize("what", KINDS)
def test_batches_are_taken_back_after_each_other_change(before: tuple[str, ...], what: str) -> None:
    """Random lives seldom have another change in the soak of a batch that fails; here each has its turn."""
    for then in [[one] for one in KINDS] + [[what, what], ["abuse", "abuse"]]:
        lived(
            *(lambda life, one=one: life.asks(life.turn(one), 3.0, None) for one in before),
            lambda life, then=then: life.batch_is_taken_back(what, then, [], None),
        )


@pytest.mark.parametrize("before", BEFORE, ids=" ".join)
@pytest.mark.parametrize("what", KINDS)
def test_changes_are_retried_beside_each_other_change(before: tuple[str, ...], what: str) -> None:
    for beside in KINDS:
        for first in (True, False):
            lived(
                *(lambda life, one=one: life.asks(life.turn(one), 3.0, None) for one in before),
                lambda life, beside=beside, first=first: life.retried(what, first, beside, first, 40.0, None),
            )
