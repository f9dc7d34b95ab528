"""Lives of an agent with its people, as Hypothesis finds them: the rules of authority, judged from the devices' side.

Beside crashes, cancels and freezes (`test_machine_life`): a state directory that is put back whole while the mark file
stays, a trust version that is withheld from the agent, two workers at once, standing authority that is used up, and
revoked by a new trust version.

* The judge is the fake device: at each first byte it asks a model of its own whether this was still allowed.
* The model knows what people signed, and what the agent told them that it had accepted. It reads no state of the agent
  but the place of an "about to" in the log: what was begun before a stop may be finished.
"""

from __future__ import annotations

import copy
import functools
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent.changes.journal import plans
from agent.changes.journal.request import RequestError
from agent.connectors.base import UnreadableError
from agent.model import Direction, Ticket
from agent.store.errors import RefusedCommandError
from agent.store.mail import LeaveCloud
from tests.builders.clock import LifeClock, virtual_clock
from tests.builders.expect import present
from tests.builders.job import CrashedError
from tests.builders.office import CSV, Desk, build, make_world, office_on
from tests.builders.people import People
from tests.builders.world import World
from tests.fuzz import counting
from tests.marks import fuzzing
from tests.servers import ServerMissingError, missing, program
from tests.trust import second
from trust import envelope as envelopes
from trust import proof, statements
from trust.document import Person, PersonKey, Trust
from trust.keys import SigningKey
from trust.policy import Action, RiskClass, Role
from trust.statements import FreezeScope, Plan, SeenHeads

LIVES, LIVES_FUZZED = 25, 1500
LEAVERS = ("nora", "pete")
APPROVERS = ("joseph", "lena", *LEAVERS)
DEBTORS, PAID = ("C-1", "C-2/home"), ("C-5", "C-6")
LOGINS = {"C-1": "u0", "C-2/home": "u1", "C-5": "u5", "C-6": "u6"}
FAULTS = ["", "command-lost", "reply-lost", "no-effect", "refused"]
SUSPENDED = {"plan": "20M", "suspended": "yes"}
HOUR_S = 3600
THEN = st.sampled_from(["", "copy", "run", "copy and run"])
SIGNERS = st.sampled_from([("joseph",), ("nora",), ("pete",), ("joseph", "nora"), ("lena", "pete")])
STOPS = st.sampled_from(["cancel", "freeze", "late"])
"""What stops a run: a cancel, a freeze of all, or the last moment of its plan."""
RUN_S = 8.0
"""How long workers work, in play; a worker looks at its plans each second."""


def life_world() -> World:
    world = make_world()
    for ref in PAID:
        world.add(LOGINS[ref])
        world.values[world.user(LOGINS[ref])] = dict(SUSPENDED)
    return world


class LifeDesk(Desk):
    """Two more approvers, who may leave."""

    def trust(self, files: Any) -> Trust:
        first = super().trust(files)
        more = (
            Person(n, (Role.APPROVER,), ("all",), True, (PersonKey("ed25519", self.people.keys[n].public.hex()),))
            for n in LEAVERS
        )
        return replace(first, people=(*first.people, *more))


@dataclass(frozen=True)
class Template:
    """An agent as it is after its first day; each example begins with a copy."""

    folder: Path
    people: People
    first: Trust
    head: str
    clock: tuple[float, float]


@functools.cache
def template() -> Template:
    folder = Path(tempfile.mkdtemp(prefix="lives-"))
    (folder / "state").mkdir()
    clock = LifeClock()
    people = People(now_s=int(clock.start_wall_s))
    people.keys.update({name: SigningKey.generate() for name in LEAVERS})
    more = "".join(
        f"{ref},Paid {ref},home,{LOGINS[ref]},fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s\n" for ref in PAID[1:]
    )
    desk = LifeDesk(people, world=life_world(), csv=CSV + more)
    with office_on(folder / "state", desk, clock, marked=True) as office:

        async def first_day() -> None:
            async with trio.open_nursery() as nursery:
                await office.daemon.sessions.host(nursery)
                await office.daemon.begin()
                await office.install()
                for ref in PAID[1:]:
                    office.store._con.execute(
                        "INSERT INTO reason (service, reason, plan_id, seq) VALUES (?, 'debt', NULL, 1)",
                        (f"{ref}/home",),
                    )
                await office.store.run(LeaveCloud())
                nursery.cancel_scope.cancel()

        trio.run(first_day, clock=virtual_clock())
        clock.stop()
        pinned = office.pinned
        return Template(folder, people, pinned.trust, pinned.sha256.hex(), (clock.start_wall_s, clock.start_boot_s))


@dataclass
class Told:
    """A plan, as its people know it."""

    plan_id: bytes
    plan: Plan
    envelope: bytes
    signed: set[str] = field(default_factory=set)
    """Whose approval the agent accepted."""
    cancelled_at: int | None = None
    """How many leaves the log had when the cancel was accepted."""
    started: bool = False


@dataclass
class Frozen:
    """A freeze that the agent accepted, from one size of its log to another."""

    envelope: bytes
    scope: FreezeScope
    target: str
    since: int
    until: int | None = None


@dataclass
class Granted:
    """A standing authority that the agent accepted."""

    people: tuple[str, ...]
    rate: int
    uses: list[float] = field(default_factory=list)


@dataclass
class Known:
    """What goes with a snapshot of the agent: what was told to it, and would not be known after it was put back."""

    plans: list[Told] = field(default_factory=list)
    freezes: list[Frozen] = field(default_factory=list)
    standings: list[Granted] = field(default_factory=list)
    uses: list[float] = field(default_factory=list)
    """When restores started that no people had approved."""


class OfficeLife(RuleBasedStateMachine):
    """One agent, its people, its devices, and whatever happens to them."""

    @initialize(
        faults=st.lists(st.sampled_from(FAULTS), max_size=2),
        granted=st.booleans(),
        copied=st.booleans(),
        auditors=st.sampled_from([1, 1, 1, 1, 2]),
    )
    def begin(self, faults: list[str], granted: bool, copied: bool, auditors: int) -> None:
        made = template()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        shutil.copytree(made.folder, self.folder, dirs_exist_ok=True)
        self.clock = LifeClock(made.clock[0], start_boot_s=made.clock[1])
        self.people = replace(made.people)
        self.world = life_world()
        self.world.faults["u0"] = faults
        self.world.on_send, self.world.on_took = self.sent, self.took
        self.chain, self.heads, self.links = [made.first], [made.head], [b""]
        self.pinned = 1
        """The newest version that the agent ever pinned: what bound it once binds it for good."""
        self.known, self.kept, self.done = Known(), None, Counter[tuple[str, int, int]]()
        self.barred: set[str] = set()
        """Plans of a time that was put back: what had happened to them since must not happen again, nor be undone."""
        self.wire = 0
        self.judged, self.kept_judged, self.passed = 0, 0, False
        """Up to which leaf it was judged whether steps were begun in time; whether time passed in this scene."""
        self.broken: list[AssertionError] = []
        self.auditors = auditors
        self.opened = ExitStack()
        self.start()
        if granted:
            self.grant(("joseph", "nora"))
        if copied:
            self.keep_a_copy()

    def teardown(self) -> None:
        if not hasattr(self, "opened"):
            return
        try:
            self.told_to_auditors()
        finally:
            self.opened.close()
            shutil.rmtree(self.folder)
            counting.add(counting.LIVES, 1)

    # --- the agent's life ---

    def start(self) -> None:
        desk = LifeDesk(self.people, world=self.world)
        self.office = self.opened.enter_context(office_on(self.folder / "state", desk, self.clock, marked=True))
        self.beside = build(self.office.daemon.config, self.office.daemon.files, self.clock, desk)
        self.play(self.office.daemon.begin)
        self.office.daemon.log.evidence.verify()

    def stop(self) -> None:
        self.opened.close()

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Run a scene in virtual time; a crash in it is followed by a start."""
        crashed = False
        store = self.office.store
        self.people.now_s = int(self.clock.wall_s())

        async def hosted() -> None:
            nonlocal crashed
            try:
                async with trio.open_nursery() as nursery:
                    for daemon in (self.office.daemon, self.beside):
                        await daemon.sessions.host(nursery)
                    await scene()
                    nursery.cancel_scope.cancel()
            except* CrashedError:
                crashed = True
            finally:
                self.clock.stop()

        trio.run(hosted, clock=virtual_clock())
        store.die_at, store.between = None, None
        for err in self.broken:
            raise err
        self.note_starts()
        self.judge_late()
        if crashed:
            self.stop()
            self.start()

    def size(self) -> int:
        return self.office.number("SELECT count(*) FROM event")

    async def hand_in(self, data: bytes, *, to_second: bool = False) -> bool:
        """Return whether it was accepted."""
        daemon = self.beside if to_second else self.office.daemon
        try:
            answers = await daemon.job.approvals.submit(data)
        except (RequestError, RefusedCommandError):
            return False
        finally:
            pinned = present(daemon.job.approvals._trust.pinned)
            self.pinned = max(self.pinned, pinned.trust.version)
        return answers[0].accepted

    # --- what the device sees ---

    def plan_of(self, plan_id: str) -> Told:
        return next(told for told in self.known.plans if told.plan_id.hex() == plan_id)

    def sent(self, ticket: Ticket) -> None:
        """A first byte; what it breaks is kept for the end of the scene: no fault of one plan ends the others."""
        try:
            self.judge_sent(ticket)
        except AssertionError as err:
            self.broken.append(err)

    def judge_sent(self, ticket: Ticket) -> None:
        self.wire = len(self.world.writes) + len(self.world.kicks)
        told = self.plan_of(ticket.plan_id)
        (begun,) = self.office.store.reader.execute(
            "SELECT about_seq FROM step WHERE plan_id = ? AND item = ? AND n = ? AND direction = ? AND attempt = ?",
            (told.plan_id, ticket.item, ticket.step, ticket.direction.value, ticket.attempt),
        ).fetchone()
        self.judge_frozen(told, begun)
        if ticket.direction is not Direction.FORWARD:
            return
        self.judge_start(told)
        assert ticket.plan_id not in self.barred, "sent again after the state directory was put back"
        assert told.cancelled_at is None or begun < told.cancelled_at, "begun after its cancel"
        assert self.clock.wall_s() < told.plan.run_until * 60, "sent after its last moment"

    def took(self, ticket: Ticket) -> None:
        """The device did it, or not: no step of a plan is done twice."""
        if len(self.world.writes) + len(self.world.kicks) > self.wire and ticket.direction is Direction.FORWARD:
            step = (ticket.plan_id, ticket.item, ticket.step)
            self.done[step] += 1
            if self.done[step] > 1:
                self.broken.append(AssertionError("applied twice"))

    def covers(self, freeze: Frozen, told: Told) -> bool:
        named = {told.plan.requester, *told.signed}
        return freeze.scope is FreezeScope.ALL or freeze.target in named

    def frozen(self) -> set[str]:
        return {f.target for f in self.known.freezes if f.until is None and f.scope is FreezeScope.PERSON}

    def judge_frozen(self, told: Told, seq: int) -> None:
        """Nothing was begun at this place of the log if a freeze held then."""
        for freeze in self.known.freezes:
            held = freeze.since <= seq and (freeze.until is None or seq < freeze.until)
            assert not (held and self.covers(freeze, told)), "begun under a freeze"

    def judge_start(self, told: Told) -> None:
        """A plan has started: enough people must have approved it who still may, or a standing authority in force."""
        if told.started:
            return
        told.started = True
        begun = self.office.number("SELECT consumed_seq FROM plan WHERE plan_id = ?", told.plan_id)
        self.judge_frozen(told, begun)
        assert told.cancelled_at is None or begun < told.cancelled_at, "started after its cancel"
        now, then = self.chain[self.pinned - 1], self.chain[told.plan.trust_version - 1]
        need = max(self.need(trust, told.plan.risk_class) for trust in (now, then))
        if len({who for who in told.signed if now.person(who)}) >= need:
            return
        assert told.plan.risk_class is RiskClass.RESTORE, "started without enough approvals"
        frozen, now_s = self.frozen(), self.clock.wall_s()
        able = [s for s in self.known.standings if all(now.person(who) and who not in frozen for who in s.people)]
        recent = sum(at > now_s - HOUR_S for at in self.known.uses)
        assert recent < sum(s.rate for s in able), "started by a standing authority that does not hold, or is used up"
        self.known.uses.append(now_s)

    def judge_late(self) -> None:
        """Nothing was begun after its plan's last moment; of a scene in which that passed nothing is judged."""
        sql = "SELECT plan_id, at_s FROM step JOIN event ON about_seq = seq WHERE direction = ? AND seq > ?"
        for row in self.office.store.query(sql, (Direction.FORWARD.value, self.judged)):
            (told,) = [told for told in self.known.plans if told.plan_id == bytes(row["plan_id"])]
            assert self.passed or row["at_s"] < told.plan.run_until * 60, "begun after its last moment"
        self.judged, self.passed = self.size(), False

    def need(self, trust: Trust, risk: RiskClass) -> int:
        policy = present(trust.policy_class(risk))
        return policy.approvals

    def note_starts(self) -> None:
        """Judge also what started and sent nothing yet."""
        started = self.office.store.query("SELECT plan_id FROM plan WHERE consumed_seq IS NOT NULL")
        ids = {bytes(r["plan_id"]) for r in started}
        for told in self.known.plans:
            if told.plan_id in ids:
                self.judge_start(told)

    # --- rules: what people do ---

    @rule(ref=st.sampled_from(DEBTORS + PAID), signers=SIGNERS, then=THEN)
    def turn(self, ref: str, signers: tuple[str, ...], then: str) -> None:
        """Suspend a service, or restore it where it is suspended."""
        away = self.world.values[self.world.user(LOGINS[ref])] == SUSPENDED
        self.change(ref, Action.RESTORE if away else Action.SUSPEND, signers, then)

    @rule(ref=st.sampled_from(DEBTORS), signers=SIGNERS, then=THEN)
    def disconnect(self, ref: str, signers: tuple[str, ...], then: str) -> None:
        """End a service's sessions."""
        self.change(ref, Action.DISCONNECT, signers, then)

    @rule(ref=st.sampled_from(PAID), then=THEN)
    def restore_after_payment(self, ref: str, then: str) -> None:
        """Ask for what a standing authority may approve, and nobody else does."""
        self.change(ref, Action.RESTORE, (), then)

    def change(self, ref: str, verb: Action, signers: tuple[str, ...], then: str) -> None:
        asked: list[Told] = []

        async def scene() -> None:
            try:
                row = await self.office.plan(ref, verb=verb)
            except (RequestError, RefusedCommandError, UnreadableError):
                return
            plan = statements.decode_as_untrusted(Plan, envelopes.decode_untrusted(row.envelope))
            asked.append(Told(row.plan_id, plan, row.envelope))
            self.known.plans.extend(asked)
            for who in signers:
                await self._approve(asked[0], who, self.pinned, [])

        self.play(scene)
        if "copy" in then:
            self.keep_a_copy()
        if "run" in then:
            self.work()

    async def _approve(self, told: Told, who: str, seen: int, links: list[bytes], *, beside: bool = False) -> None:
        heads = SeenHeads(seen, self.heads[seen - 1])
        signed = self.people.approve(envelopes.decode_untrusted(told.envelope), who, seen=heads)
        if await self.hand_in(b"\n".join([*links, signed]), to_second=beside):
            assert self.chain[self.pinned - 1].person(who), "an approval of somebody who left was accepted"
            told.signed.add(who)

    @precondition(lambda self: self.known.plans)
    @rule(
        data=st.data(),
        who=st.sampled_from(APPROVERS),
        ahead=st.integers(0, 2),
        carries=st.booleans(),
        beside=st.booleans(),
    )
    def approve(self, data: st.DataObject, who: str, ahead: int, carries: bool, beside: bool) -> None:
        """Approve a plan under a trust version that the agent may lack, with the way to it or without."""
        told = self.any_plan(data)
        seen = min(self.pinned + ahead, len(self.chain))
        links = self.links[self.pinned : seen] if carries else []
        self.play(functools.partial(self._approve, told, who, seen, links, beside=beside))

    def any_plan(self, data: st.DataObject) -> Told:
        return self.known.plans[-1 - data.draw(st.integers(0, min(2, len(self.known.plans) - 1)))]

    async def _cancel(self, told: Told) -> None:
        if await self.hand_in(self.people.cancel(envelopes.decode_untrusted(told.envelope), "lena")):
            told.cancelled_at = told.cancelled_at or self.size()

    async def _freeze(self, scope: FreezeScope, target: str) -> None:
        data = self.people.freeze("lena", scope, target)
        if await self.hand_in(data):
            self.known.freezes.append(Frozen(data, scope, target, self.size()))

    @precondition(lambda self: self.known.plans)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        told = self.any_plan(data)
        self.play(functools.partial(self._cancel, told))

    @rule(whom=st.sampled_from(["", "maria", "joseph", *LEAVERS]))
    def freeze(self, whom: str) -> None:
        scope = FreezeScope.PERSON if whom else FreezeScope.ALL
        self.play(functools.partial(self._freeze, scope, whom))

    @precondition(lambda self: any(f.until is None for f in self.known.freezes))
    @rule(who=st.sampled_from([("lena", "joseph"), ("joseph", "nora"), ("lena", "pete")]))
    def unfreeze(self, who: tuple[str, str]) -> None:
        held = [f for f in self.known.freezes if f.until is None]

        async def scene() -> None:
            if not await self.hand_in(self.people.unfreeze(held[0].envelope, who, *(f.envelope for f in held[1:]))):
                return
            for freeze in held:
                freeze.until = self.size()

        self.play(scene)

    @precondition(lambda self: not self.known.standings)  # two of them allow twice as much
    @rule(who=st.sampled_from([("joseph", "nora"), ("lena", "pete")]))
    def grant(self, who: tuple[str, str]) -> None:
        async def scene() -> None:
            if await self.hand_in(self.people.standing(who, rate_per_hour=1)):
                self.known.standings.append(Granted(who, 1))

        self.play(scene)

    @rule(stay=st.sets(st.sampled_from(LEAVERS)), approvals=st.integers(1, 2), runs=st.booleans())
    def next_trust(self, stay: set[str], approvals: int, runs: bool) -> None:
        """Sign the next version of the trust; it may be withheld from the agent for long."""
        before = self.chain[-1]
        first = self.chain[0]
        document = replace(
            first,
            version=before.version + 1,
            prev=self.heads[-1],
            issued=before.issued + 1,
            people=tuple(p for p in first.people if p.handle not in LEAVERS or p.handle in stay),
            policy=tuple(
                replace(p, approvals=approvals) if p.risk_class in (RiskClass.LOW, RiskClass.RESTORE) else p
                for p in first.policy
            ),
        )
        data, _ = self.people.sign_trust(document)
        self.chain.append(document)
        self.heads.append(envelopes.digest(envelopes.decode_untrusted(data)).hex())
        self.links.append(data)
        if runs:
            self.trust_comes(to_second=False)
            self.work()

    @precondition(lambda self: len(self.chain) > 1)
    @rule(to_second=st.booleans())
    def trust_comes(self, to_second: bool) -> None:
        """Hand in all versions: one that was withheld, or that a restored agent has not any more."""

        async def scene() -> None:
            for data in self.links[1:]:
                await self.hand_in(data, to_second=to_second)

        self.play(scene)

    # --- rules: what befalls the devices and the machine ---

    @rule(ref=st.sampled_from(DEBTORS + PAID))
    def somebody_sets_it_back(self, ref: str) -> None:
        """Somebody else makes the device as it was on the first day: a plan that ran would fit once more."""
        login = LOGINS[ref]
        self.world.values[self.world.user(login)] = dict(SUSPENDED) if ref in PAID else {"plan": "20M"}
        self.world.sessions[login] = 1

    @rule(minutes=st.sampled_from([5, 31, 62]))
    def time_passes(self, minutes: int) -> None:
        self.clock.pass_s(minutes * 60)

    @rule(
        both=st.booleans(),
        die_at=st.one_of(st.none(), st.integers(1, 12)),
        die_after=st.booleans(),
        stop_at=st.one_of(st.none(), st.integers(1, 12)),
        stop=STOPS,
    )
    def run(self, both: bool, die_at: int | None, die_after: bool, stop_at: int | None, stop: str) -> None:
        """Let one worker or two look at what there is; perhaps die, perhaps something stops them meanwhile."""
        self.work(both=both, die_at=die_at, die_after=die_after, stop_at=stop_at, stop=stop)

    @rule(ref=st.sampled_from(DEBTORS), stop_at=st.integers(1, 12), stop=STOPS)
    def stopped_in_the_middle(self, ref: str, stop_at: int, stop: str) -> None:
        """Start a change that was approved, and have it stopped somewhere in its run."""
        self.somebody_sets_it_back(ref)
        self.change(ref, Action.SUSPEND, ("joseph", "lena"), "")
        self.work(stop_at=stop_at, stop=stop)

    def work(
        self,
        *,
        both: bool = False,
        die_at: int | None = None,
        die_after: bool = False,
        stop_at: int | None = None,
        stop: str = "",
    ) -> None:
        """`stop`: what happens just before the command of number `stop_at`: `cancel`, `freeze` or `late`."""
        store = self.office.store
        store.seen, store.die_at, store.die_after = 0, die_at, die_after
        stops, told = trio.Event(), self.known.plans[-1] if self.known.plans else None

        def between(n: int) -> None:
            if n != stop_at:
                return
            if stop == "late" and told is not None:
                self.passed = True  # between a command's making and its commit too
                self.clock.pass_s(max(told.plan.run_until * 60 - self.clock.wall_s(), 0))
            else:
                stops.set()

        store.between = between

        async def people_stop() -> None:
            await stops.wait()
            if stop == "cancel" and told is not None:
                await self._cancel(told)
            else:
                await self._freeze(FreezeScope.ALL, "")

        async def scene() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(people_stop)
                for daemon in (self.office.daemon, self.beside) if both else (self.office.daemon,):
                    nursery.start_soon(daemon.job.worker.run)
                await trio.sleep(RUN_S)
                nursery.cancel_scope.cancel()

        self.play(scene)

    @rule()
    def restart(self) -> None:
        self.stop()
        self.start()

    def keep_a_copy(self) -> None:
        """Take a snapshot of the whole state directory, as a backup or a virtual machine does."""
        for con in (self.office.store._con, self.office.daemon.files.vault._con):
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.folder / "state", self.folder / "copy")
        self.kept, self.kept_judged = copy.deepcopy(self.known), self.judged

    @precondition(lambda self: self.kept is not None)
    @rule(runs=st.booleans())
    def put_the_copy_back(self, runs: bool) -> None:
        """The state directory is what it was; the mark file, which is beside it, knows better."""
        assert self.kept is not None
        self.stop()
        for told in self.known.plans:
            stopped = any(f.until is None and self.covers(f, told) for f in self.known.freezes)
            if told.started or told.cancelled_at is not None or stopped:
                self.barred.add(told.plan_id.hex())
        self.known = copy.deepcopy(self.kept)
        shutil.rmtree(self.folder / "state")
        shutil.copytree(self.folder / "copy", self.folder / "state")
        self.judged = self.kept_judged
        self.start()
        if runs:
            self.work()

    # --- what is left ---

    def told_to_auditors(self) -> None:
        """Have both verifiers judge the evidence of what ended: they find nothing wrong in it."""
        self.office.daemon.log.evidence.verify()
        over = self.office.store.query("SELECT plan_id FROM plan WHERE outcome IS NOT NULL ORDER BY gate_seq LIMIT 3")
        exports: list[bytes] = []

        async def scene() -> None:
            for row in over:
                plan = plans.find(self.office.store.reader, bytes(row["plan_id"]).hex())
                exports.append(await self.office.daemon.log.evidence.export(plan, opened=True))

        self.play(scene)
        head = template().head
        for export in exports:
            report = proof.verify_export_untrusted(export, self.office.daemon.log.evidence.vkey, head)
            assert report.ok, [line.text for line in report.lines if not line.ok]
        if exports and self.auditors > 1 and has_node():
            ours = [proof.verify_export_untrusted(export, head=head) for export in exports]
            wanted = [(frozenset(f.value for f in report.faults), not report.whole) for report in ours]
            assert second.theirs(exports, head) == wanted


@pytest.mark.parametrize("stop", ["cancel", "freeze", "late"])
def test_a_run_is_stopped_at_each_of_its_commands(stop: str) -> None:
    """Random lives seldom stop a run right before a step; here each place of one run has its turn."""
    steps_done = set()
    for stop_at in range(1, 12):
        life = OfficeLife()
        life.begin([], granted=False, copied=False, auditors=1)
        try:
            life.stopped_in_the_middle("C-1", stop_at, stop)
            steps_done.add(len(life.done))
        finally:
            life.teardown()
    assert {1, 2} <= steps_done, "some were stopped between two steps, and some were not"


def test_nothing_is_begun_when_agent_is_back_after_last_moment() -> None:
    """It died at each command of a run, and came back too late for what was left of it."""
    steps_done = set()
    for die_at in range(1, 12):
        life = OfficeLife()
        life.begin([], granted=False, copied=False, auditors=1)
        try:
            life.change("C-1", Action.SUSPEND, ("joseph", "lena"), "")
            life.work(die_at=die_at, die_after=True)
            life.clock.pass_s(life.known.plans[-1].plan.run_until * 60 - life.clock.wall_s())
            life.work()
            steps_done.add(len(life.done))
        finally:
            life.teardown()
    assert {0, 1} <= steps_done, "some had a step before, and no other after"


@functools.cache
def has_node() -> bool:
    try:
        program("node", "nodejs")
    except ServerMissingError:
        return False
    return True


def test_the_second_verifier_is_here() -> None:
    if not has_node():
        missing("nodejs: the lives were judged by our verifier alone")


TestOfficeLife = OfficeLife.TestCase
TestOfficeLife.settings = settings(
    max_examples=LIVES_FUZZED if fuzzing() else LIVES,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
