"""An agent's main job without daemon, trust or network: a store, a fake connector, a consumed plan."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import trio

from agent.changes.auditlog.evidence import Evidence
from agent.changes.engine.apply import Run
from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import RunParts
from agent.changes.journal import commands, machine, plans
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import Deadline, NewItem, PlanRow, SavePlan
from agent.changes.journal.machine import Gate
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import Connector, Enforced, Judgment, Reach
from agent.inventory.book import Broken
from agent.model import (
    ABSENT,
    Address,
    Effect,
    Enforcement,
    Head,
    Item,
    ItemState,
    Listed,
    Pace,
    ProofKind,
    Replay,
    Step,
    Wave,
)
from agent.runtime.clock import Clock, now_of
from agent.store.db import Command, Job, Store
from agent.store.vault import Vault
from tests.builders.world import FakeConnector, FakeMethod, World, steps_for
from trust import envelope as envelopes
from trust import merkle, statements
from trust.items import (
    EffectKind,
    GuardKind,
    ReasonChange,
    Seen,
    SuspensionReason,
    encode_head,
    encode_item,
    items_root,
)
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.policy import Action, RiskClass
from trust.statements import OnFailure, OnStale, Plan, SizeBucket

KEY = SigningKey(bytes(range(32)))
TRANSITIONS = [(s.value, t.value) for (s, _), t in machine.TRANSITIONS.items()]
STORE_KEY = bytes(range(32, 64))
NO_PACE = Pace(0, 100, 0)


T = TypeVar("T")


class CrashedError(BaseException):
    """The process died here."""


class CrashingStore(Store):
    """Writes in the caller's thread, so that virtual time waits for it; dies before or after the n-th command.

    Once dead it writes nothing more, whoever asks: tasks that were beside the one that died are dead too.
    """

    die_at: int | None = None
    die_after = False
    dead = False
    seen = 0
    between: Callable[[int], None] | None = None
    """Called with each command's number just before it: what else happens at that moment."""
    on_death: Callable[[], None] = staticmethod(lambda: None)

    def now(self, command: Command[T]) -> T:
        """Write at once, as somebody beside the run does."""
        job = Job(command, trio.lowlevel.current_task())
        self._commit([job])
        self._tell_failure()
        posted, self._posted = self._posted and self.failed is None, False
        if posted:
            self.on_post()
        if job.error is not None:
            raise job.error
        return job.value

    async def run(self, command: Command[Any]) -> Any:
        with self.boundary():
            await trio.lowlevel.checkpoint()
            if self.between is not None:
                self.between(self.seen)
            return self.now(command)

    @contextmanager
    def boundary(self) -> Iterator[None]:
        """Let the process die before what is inside, or after it, when its turn has come."""
        self.seen += 1
        dies = self.seen == self.die_at
        if dies and not self.die_after:
            self._die()
        if self.dead:
            raise CrashedError
        try:
            yield
        finally:
            if dies:
                self._die()
            if self.dead:
                raise CrashedError

    def _die(self) -> None:
        if not self.dead:
            self.dead = True
            self.on_death()


def item(n: int, login: str, world: World, *, listed: Listed = Listed.CHANGE) -> Item:
    before = Seen(world.values[world.user(login)], 1_767_225_600)
    if before.value is ABSENT:
        raise AssertionError(f"{login} is not in this world")
    value = before.value
    return Item(
        n=n,
        salt=secrets.token_hex(16),
        subject=f"C-{login}/home",
        listed=listed,
        reason="",
        display={"title": login, "login": login, "nas": "bng"},
        steps=steps_for(login, before, {**value, "suspended": "yes"}),
        enforce=Enforcement("fake/d", Address(f"fake/d/sessions/{login}"), {"method": "fake"}, 10),
        desired=(ReasonChange(SuspensionReason.DEBT, added=True),),
    )


class Rig:
    """The parts of an agent on one state directory."""

    def __init__(
        self,
        folder: Path,
        world: World,
        clock: Clock,
        reach: Reach = Reach.DIAL,
        store_type: Callable[..., CrashingStore] = CrashingStore,
    ) -> None:
        self.folder = folder
        self.world = world
        self.clock = clock
        self.connector = FakeConnector(world, reach)
        self.connectors: Mapping[str, Connector] = {"fake": self.connector}
        self.vault = Vault(STORE_KEY, folder / "keys.db")
        self.store = store_type(folder, TRANSITIONS, clock.wall_s, high_water=self.vault.raise_mark)
        self.recorder = Recorder(self.vault)
        self.evidence = Evidence(self.store, self.vault, self.recorder, "test.local/agent/a", KEY)
        self.census: dict[str, Address] = {}
        self.unmet: Callable[..., Broken | None] = lambda tx, _, item, begun: None
        self.send_window: Callable[[PlanRow], SendWindow] = lambda _: SendWindow(0)

    def without_fsync(self) -> None:
        """Write without waiting for the disk, for tests in which only the process dies, and only in play."""
        for con in (self.store._con, self.vault._con):
            con.execute("PRAGMA synchronous = OFF")

    def close(self) -> None:
        self.store.close()
        self.vault.close()

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[RunParts]:
        sessions = Sessions(self.connectors)
        async with trio.open_nursery() as nursery:
            await sessions.host(nursery)
            yield RunParts(
                store=self.store,
                recorder=self.recorder,
                sessions=sessions,
                access_methods={name: r for c in self.connectors.values() for name, r in c.access_methods.items()},
                clock=self.clock,
                unmet=self.unmet,
                patience=Patience(reread_s=30),
                census=self.census,
                send_window=lambda row: self.send_window(row),
            )
            nursery.cancel_scope.cancel()

    async def save_plan(
        self,
        items: Sequence[Item],
        *,
        waves: Sequence[Wave] | None = None,
        on_failure: OnFailure = OnFailure.STOP,
        action: Action = Action.SUSPEND,
        run_for_s: int = 3600,
        pace: Pace = NO_PACE,
    ) -> bytes:
        """Save a plan as the preview does; return its id."""
        now = now_of(self.clock)
        plan_id = secrets.token_bytes(16)
        changing = sum(i.listed is Listed.CHANGE for i in items)
        head = Head(
            plan_id=plan_id.hex(),
            salt=secrets.token_hex(16),
            items_n=len(items),
            counts={"change": changing},
            waves=tuple(waves or (Wave(1, changing, 0),)),
            pace=pace,
            config_sha256="0" * 64,
        )
        documents = [encode_head(head), *map(encode_item, items)]
        made = int(now.wall_s) // 60
        plan = Plan(
            trust_id="1" * 32,
            plan_id=plan_id.hex(),
            agent="2" * 32,
            trust_version=1,
            intent_sha256="3" * 64,
            requester="maria",
            risk_class=RiskClass.LOW,
            action=action,
            made=made,
            start_by=made + 30,
            run_until=made + 30 + run_for_s // 60,
            size_bucket=SizeBucket.TO_10,
            effect_kinds=(EffectKind.DISCONNECT,),
            guard_kind=GuardKind.NONE,
            cannot_enforce=False,
            on_failure=on_failure,
            on_stale=OnStale.SKIP,
            items_root=items_root(documents).hex(),
            build_sha256="0" * 64,
            log_size=0,
            log_root="0" * 64,
        )
        envelope = statements.sign(plan, [KEY])
        self.recorder.ensure([i.subject for i in items])
        rows = []
        for i, document in zip(items, documents[1:], strict=True):
            sealed = self.vault.seal_record((i.subject or "").split("/")[0], document)
            state = machine.first_state(i.listed)
            rows.append(
                NewItem(i.n, sealed.ciphertext, merkle.leaf_hash(document), sealed.subject, i.subject, state, i.reason)
            )

        def deadline(minute: int) -> Deadline:
            return Deadline(minute * 60, now.boot_s + minute * 60 - now.wall_s, now.boot_id)

        await self.store.run(
            SavePlan(
                plan_id=plan_id,
                short=secrets.token_hex(3).upper(),
                digest=envelopes.digest(envelope),
                envelope=envelopes.encode(envelope),
                intent_id=secrets.token_bytes(16),
                intent_digest=bytes(32),
                intent_envelope=None,
                action=action.value,
                risk="low",
                reason=next((str(d) for i in items for d in i.desired if isinstance(d, ReasonChange)), ""),
                requester="maria",
                made_s=int(now.wall_s),
                start_by=deadline(plan.start_by),
                run_until=deadline(plan.run_until),
                reverts=None,
                head=documents[0],
                hold=False,
                items=tuple(rows),
                intent_record=self.recorder.record(None, {"what": "intent"}),
                plan_record=self.recorder.record(None, {"what": "plan"}),
            )
        )
        return plan_id

    async def consume(
        self, plan_id: bytes, approved: Callable[[Sequence[commands.Kept]], None] = lambda kept: None
    ) -> None:
        record = self.recorder.record(None, {"what": "x"})
        await self.store.run(commands.SetGate(plan_id, Gate.APPROVED, LeafKind.APPROVAL, record))
        await self.store.run(
            commands.Consume(
                plan_id, now_of(self.clock), lambda tx, kept: approved(kept), lambda tx: None, 10**6, record
            )
        )

    async def consumed(self, items: Sequence[Item], **plan: Any) -> bytes:
        """Save a plan, and consume it."""
        plan_id = await self.save_plan(items, **plan)
        await self.consume(plan_id)
        return plan_id

    async def applied(self, items: Sequence[Item], **plan: Any) -> bytes:
        """Save a plan, and run it to its end."""
        plan_id = await self.consumed(items, **plan)
        await self.apply(plan_id)
        return plan_id

    def loaded(self, plan_id: bytes) -> plans.Loaded:
        return plans.load(self.store.reader, self.vault, plans.find(self.store.reader, plan_id.hex()))

    def states(self, plan_id: bytes) -> list[ItemState]:
        return [r.state for r in self.loaded(plan_id).rows.values()]

    async def apply(self, plan_id: bytes, also: Callable[[], Awaitable[None]] | None = None) -> str:
        """Run the plan to its end (also again, after a crash)."""
        async with self.parts() as parts, trio.open_nursery() as nursery:
            if also is not None:
                nursery.start_soon(also)
            stopped = await Run(parts, self.loaded(plan_id)).run()
            nursery.cancel_scope.cancel()
        return stopped


def with_fallback(login: str, world: World) -> Item:
    """The write, a disconnect, and a disconnect at another target in case the first does not work."""
    base = item(1, login, world)
    second = effect(login, "fake/r", "disconnect", ProofKind.GONE)
    second_way = Step(3, "fake/r", second, after=(1,), on_revert=(second,), fallback_for=(2,))
    return replace(base, steps=(*base.steps, second_way))


class SeenRecipe(FakeMethod):
    """Judges an old session too: by the policy that it is seen to have."""

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address] = ()
    ) -> Collection[Address]:
        policy = Address(f"fake/r/policy/{enforce.address.rsplit('/', 1)[1]}")
        return [] if policy in seen else [policy]

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        policy = Address(f"fake/r/policy/{enforce.address.rsplit('/', 1)[1]}")
        if not ended and seen[policy].value is ABSENT:
            return Judgment(Enforced.NO, "old-session")
        return super().judge(enforce, seen, ended)


def told_first(login: str, world: World) -> Item:
    """The write, a change of the running session that proves nothing by itself, and a disconnect if that did not."""
    base = item(1, login, world)
    tell = Step(2, "fake/d", effect(login, "fake/d", "tell", None), after=(1,))
    drop = replace(base.steps[1], n=3, fallback_for=(2,))
    return replace(base, steps=(base.steps[0], tell, drop))


def effect(login: str, target: str, verb: str, proof: ProofKind | None) -> Effect:
    where = Address(f"{target}/sessions/{login}")
    return Effect(where, verb, {}, f"{verb}-{target}-{login}", Replay.IF_UNPROVEN, proof, 5)


async def apply(rig: Rig, plan_id: bytes, also: Callable[[], Awaitable[None]]) -> str:
    """Apply a plan, with a device that calls in every 10 s."""

    async def call_in() -> None:
        while True:
            rig.connector.calls_in.set()
            await trio.sleep(10)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_in)
            nursery.start_soon(also)

    return await rig.apply(plan_id, both)
