"""Agent and control plane die at any instant, and the way between them: nothing is lost, nothing happens twice.

People ask and approve without a pause, each message under one ref until it is taken; meanwhile both programs are killed
(-9) and started again, and connections are cut or stand still. At the end every intent has one plan, every plan one
outcome, every approval one receipt, and every subscriber was disconnected once for each change.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
import trio

from control_plane.desk import cloud_identity
from control_plane.desk.feed import Received
from lab.population import LabService
from protos import desk_pb2
from protos import message_pb2 as pb
from protos.desk_pb2_grpc import DeskCloudStub
from tests.e2e.cloud_site import (
    CloudProgram,
    Company,
    Desk,
    Found,
    MortalAgent,
    company,
    digest_of,
    open_proxy,
    wait_until,
)
from tests.e2e.files import Files, ordinary, ref_of
from tests.e2e.site import Office
from trust import envelope as envelopes
from trust import seal, statements
from trust.document import Quorum, Trust, Witness, WitnessOperator
from trust.policy import Action
from trust.statements import Intent, IntentSubject, OnFailure, OnStale, ReceiptResult

CHAOS_S = 15.0
KILLS = 2
"""Of each program, at least: on a slow machine chance alone may not come to that in time."""
WORKERS = 4
SEED = secrets.randbelow(1 << 30)


# --- people who do not give up ----------------------------------------------------------------------------------------


class Courier:
    """A desk's connection that sends a message under its one ref until it is taken, and reads the feed as it can."""

    def __init__(self, desk: Desk) -> None:
        identity = cloud_identity.load(desk.own / "cloud.json")
        credentials = grpc.ssl_channel_credentials(
            identity.ca.encode(), identity.key.encode(), identity.certificate.encode()
        )
        options = [
            ("grpc.ssl_target_name_override", "ispcloud"),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 300),
        ]
        self._channel = grpc.secure_channel(identity.server, credentials, options=options)
        self._stub = DeskCloudStub(self._channel)
        self.tries = 0

    def close(self) -> None:
        self._channel.close()

    def _submit(self, message: pb.Message) -> bool:
        self.tries += 1
        try:
            self._stub.Submit(pb.SubmitRequest(message=message), timeout=2, wait_for_ready=True)
        except grpc.RpcError as err:
            if err.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            return False
        return True

    async def submit(self, message: pb.Message) -> None:
        """Return once it is taken."""
        while not await trio.to_thread.run_sync(self._submit, message):  # noqa: ASYNC110  the server is elsewhere
            await trio.sleep(0.1)

    def _read(self, epoch: bytes, after: int) -> desk_pb2.ListReply | None:
        cursor = pb.Cursor(epoch=epoch, after=after)
        try:
            reply: desk_pb2.ListReply = self._stub.List(desk_pb2.ListRequest(cursor=cursor), timeout=2)
        except grpc.RpcError:
            return None
        return reply

    async def follow(self, feed: SharedFeed) -> None:
        """Keep the shared feed up to date until cancelled."""
        epoch, after = b"", 0
        while True:
            reply = await trio.to_thread.run_sync(self._read, epoch, after)
            if reply is not None:
                feed.found.messages.extend(
                    Received(d.number, int(d.message.kind), d.message.agent.hex(), d.message.body, d.minute)
                    for d in reply.deliveries
                )
                epoch, after = reply.epoch, reply.after
            await trio.sleep(0.15)


@dataclass
class SharedFeed:
    """What was read of the shared feed so far; numbers are read once each."""

    found: Found = field(default_factory=lambda: Found([]))

    async def plan_for(self, intent: str) -> bytes:
        """Return the envelope of the plan that answers an intent."""

        async def look() -> bytes | None:
            return next((self.found.envelope_of(p) for p in self.found.plans if p.intent_sha256 == intent), None)

        return await wait_until("a plan", look, 90)

    async def outcome_of(self, plan: str) -> None:
        async def look() -> bool:
            return bool(self.found.outcomes_of(plan))

        await wait_until("an outcome", look, 90)


@dataclass
class Crowd:
    """Everything that people asked for and approved."""

    here: Company
    maria: Courier
    joseph: Courier
    feed: SharedFeed
    changes: Counter[str] = field(default_factory=Counter)
    """Changes by login."""
    intents: list[bytes] = field(default_factory=list)
    approvals: list[bytes] = field(default_factory=list)
    over: bool = False

    def intent(self, verb: Action, ref: str) -> bytes:
        people = self.here.files.people
        made = Intent(
            trust_id=people.trust_id,
            intent_id=secrets.token_hex(16),
            salt=secrets.token_hex(16),
            agent=self.here.agent,
            requester="maria",
            verb=verb,
            params={},
            subjects=(IntentSubject("service", ref),),
            exclude=(),
            on_failure=OnFailure.STOP,
            on_stale=OnStale.SKIP,
            canary=0,
            expires=int(time.time()) + 3600,
            reason="request",
        )
        return envelopes.encode(statements.sign(made, [people.keys["maria"]]))

    async def work(self, service: LabService, public: bytes) -> None:
        """Suspend and restore a service, again and again."""
        verb = Action.SUSPEND
        while not self.over:
            intent = self.intent(verb, ref_of(service))
            self.intents.append(intent)
            self.changes[service.login] += 1
            await self.maria.submit(self.here.message(pb.KIND_INTENT, seal.seal(intent, public)))
            plan = await self.feed.plan_for(digest_of(intent))
            approval = self.here.files.people.approve(
                envelopes.decode_untrusted(plan), "joseph", seen=self.here.files.seen()
            )
            self.approvals.append(approval)
            await self.joseph.submit(self.here.message(pb.KIND_APPROVAL, approval))
            await self.feed.outcome_of(digest_of(plan))
            verb = Action.RESTORE if verb is Action.SUSPEND else Action.SUSPEND


# --- what befalls them ------------------------------------------------------------------------------------------------


@dataclass
class Chaos:
    """Kills and cuts at random instants. `count` says what happened how often."""

    here: Company
    agent: MortalAgent
    dice: random.Random
    count: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Let both programs die independently of each other, and the way between them fail, for a while."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._again, 1.2, (self.kill_agent, self.kill_agent, self.cut, self.freeze))
            nursery.start_soon(self._again, 1.5, (self.kill_cloud,))
        self.here.proxy.mend()
        await self.kill_agent()  # a fresh one does not wait out its pause before it dials

    async def _again(self, longest_s: float, events: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Let the events happen by chance for a while, and until the first of them happened often enough."""
        ends = trio.current_time() + CHAOS_S
        while trio.current_time() < ends or self.count[events[0].__name__] < KILLS:
            await trio.sleep(self.dice.uniform(0.05, longest_s))
            what = self.dice.choice(events)
            self.count[what.__name__] += 1
            await what()

    async def kill_agent(self) -> None:
        await trio.to_thread.run_sync(self.agent.kill)
        await trio.sleep(self.dice.uniform(0, 0.2))
        self.agent = MortalAgent(self.here.files)
        if self.dice.random() < 0.7:  # else it may die again before it is ready
            await trio.to_thread.run_sync(self.agent.wait_ready)

    async def kill_cloud(self) -> None:
        await trio.to_thread.run_sync(self.here.cloud.kill)
        await trio.sleep(self.dice.uniform(0, 0.3))
        await trio.to_thread.run_sync(self.here.cloud.start)

    async def cut(self) -> None:
        self.here.proxy.cut()
        await trio.sleep(self.dice.uniform(0, 0.3))
        self.here.proxy.mend()

    async def freeze(self) -> None:
        self.here.proxy.freeze()
        await trio.sleep(self.dice.uniform(0.1, 1.0))
        self.here.proxy.mend()


def with_witness(cloud: CloudProgram, trust: Trust) -> Trust:
    """Let each start wait for the control plane's own witness, so that it is asked all the time."""
    witness = Witness("ispcloud-witness", (cloud.vkey,), WitnessOperator.CLOUD)
    return replace(trust, witnesses=(witness,), quorum=Quorum(1, 0))


@asynccontextmanager
async def crowded(folder: Path, cloud: CloudProgram) -> AsyncIterator[Crowd]:
    def change_trust(trust: Trust, _: Files) -> Trust:
        return with_witness(cloud, trust)

    agent = "[cloud]\ncheckpoint_s = 1\nwitness_wait_s = 3600\n"
    async with (
        open_proxy(cloud) as proxy,
        company(folder, cloud, desks=(), change_trust=change_trust, agent=agent) as here,
    ):
        maria, joseph = (Courier(here.desk(who, server=proxy.address)) for who in ("maria", "joseph"))
        try:
            yield Crowd(here, maria, joseph, SharedFeed())
        finally:
            maria.close()
            joseph.close()


@pytest.mark.slow
async def test_killed_at_any_instant(tmp_path: Path, own_cloud: CloudProgram) -> None:
    print("seed", SEED)
    async with crowded(tmp_path, own_cloud) as crowd:
        here, office, feed = crowd.here, Office(crowd.here.files), crowd.feed
        chaos = Chaos(here, MortalAgent(here.files), random.Random(SEED))
        try:
            await trio.to_thread.run_sync(chaos.agent.wait_ready)
            await office.install()
            await chaos.kill_agent()
            async with trio.open_nursery() as readers:
                readers.start_soon(crowd.joseph.follow, feed)

                async def sealkey() -> bytes | None:
                    return next((bytes.fromhex(k.x25519) for k in feed.found.sealkeys), None)

                public = await wait_until("a sealing key", sealkey)
                async with trio.open_nursery() as people:
                    for service in ordinary(here.isp, WORKERS):
                        people.start_soon(crowd.work, service, public)
                    await chaos.run()
                    crowd.over = True
                await trio.to_thread.run_sync(chaos.agent.wait_ready)
                await settled(office)
                await check(crowd, office, chaos)
                readers.cancel_scope.cancel()
        finally:
            chaos.agent.kill()


async def settled(office: Office) -> None:
    async def look() -> bool:
        cloud = await office.call("GET", "/v1/cloud")
        return bool(cloud["connected"]) and cloud["outbox"] == 0 and cloud["inbox"] == 0

    await wait_until("an empty outbox", look)


def told_once(feed: Found) -> Found:
    """Return a feed without plans and outcomes that an agent told again, to the byte.

    It does so where its question whether the control plane was put back had no answer: a kill may cut that, too.
    """
    again = (pb.KIND_PLAN, pb.KIND_OUTCOME)
    return Found(list({(m.kind, m.body if m.kind in again else m.number): m for m in feed.messages}.values()))


async def check(crowd: Crowd, office: Office, chaos: Chaos) -> None:
    """Nothing lost, nothing doubled."""
    print(dict(chaos.count), "changes", sum(crowd.changes.values()), "tries", crowd.maria.tries + crowd.joseph.tries)
    assert min(chaos.count["kill_agent"], chaos.count["kill_cloud"]) >= KILLS

    found = told_once(await crowd.here.joseph.feed())
    intents = Counter(digest_of(i) for i in crowd.intents)
    assert Counter(p.intent_sha256 for p in found.plans) == intents
    outcomes = Counter(o.plan_sha256 for o in found.outcomes if o.final)
    assert outcomes == Counter(digest_of(found.envelope_of(p)) for p in found.plans)
    receipts = Counter(r.of_sha256 for r in found.receipts if r.result is ReceiptResult.ACCEPTED)
    assert receipts == Counter(digest_of(s) for s in (*crowd.intents, *crowd.approvals))
    assert [r for r in found.receipts if r.result is ReceiptResult.REFUSED] == []

    events = Counter(e["kind"] for e in await office.call("GET", "/v1/audit"))
    assert events["consumed"] == len(crowd.intents)
    assert (events["plan-void"], events["witness-anomaly"], events["unwitnessed-start"]) == (0, 0, 0)
    await office.verify_log()
    rows = await crowd.here.isp.database.fetch("SELECT username, COUNT(*) FROM radacct GROUP BY username")
    sessions = {str(login): int(n) for login, n in rows}
    assert {login: sessions[login] for login in crowd.changes} == {login: 1 + n for login, n in crowd.changes.items()}
