"""Later trust versions: by file, by statement, as links that an approval carries; and what they do to open plans."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.changes.journal import plans
from agent.changes.journal.request import RequestError
from agent.changes.journal.trust_state import InstallTrust, TrustState, split_envelopes
from agent.store.errors import DamagedValueError
from tests.builders.agent import Agent, agent_in, refused
from tests.builders.expect import present
from tests.builders.office import Office, approval, next_trust
from tests.builders.people import People, any_time, plan_of
from tests.builders.world import World
from trust import envelope as envelopes
from trust import limits, statements, verify
from trust.document import Person, PersonKey, Root, RootKey, Trust
from trust.envelope import Envelope
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.policy import Channel, PolicyClass, RiskClass, Role
from trust.statements import SeenHeads

DAY = 86_400


def state(agent: Agent) -> TrustState:
    return agent.daemon.api.parts.trust


def pinned(agent: Agent) -> Trust:
    found = present(state(agent).pinned)
    return found.trust


def following(us: People, before: Trust, before_sha256: str, *who: str, **changes: Any) -> Envelope:
    """Return the next version, signed by joseph and lena (or `who`)."""
    document = replace(before, version=before.version + 1, prev=before_sha256, **changes)
    return statements.sign(document, [us.keys[w] for w in who or ("joseph", "lena")])


def chain_of(agent: Agent, n: int, **changes: Any) -> list[Envelope]:
    """Return the next `n` versions after the pinned one; the last has the changes."""
    found: list[Envelope] = []
    before, sha256 = pinned(agent), agent.head
    for i in range(n):
        fields = changes if i == n - 1 else {"expires": before.expires - 1}
        found.append(following(agent.people, before, sha256, **fields))
        before = statements.decode_as_untrusted(Trust, found[-1])
        sha256 = envelopes.digest(found[-1]).hex()
    return found


def seen(envelope: Envelope) -> SeenHeads:
    version = statements.decode_as_untrusted(Trust, envelope).version
    return SeenHeads(version, envelopes.digest(envelope).hex())


def lines(*envelopes_: Envelope | bytes) -> bytes:
    return b"\n".join(e if isinstance(e, bytes) else envelopes.encode(e) for e in envelopes_) + b"\n"


def refusals(agent: Agent) -> list[dict[str, Any]]:
    found = [e.record for e in agent.daemon.log.evidence.events(limit=100_000) if e.kind == "refused"]
    return [r for r in found if isinstance(r, dict)]


# --- following the chain ---


async def test_an_approval_brings_the_links_that_the_agent_lacks(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    links = chain_of(agent, 3)
    approval = agent.people.approve(plan_of(change), "joseph", seen=seen(links[-1]))
    (alone,) = await agent.hand_in(approval, change["id"])
    assert (alone["accepted"], alone["reason"]) == (False, "newer-trust")
    assert pinned(agent).version == 1, "a claim of a newer version moves nothing (A11)"
    (answer,) = await agent.hand_in(lines(*links, approval), change["id"])
    assert (answer["accepted"], answer["gate"]) == (True, "approved")
    assert pinned(agent).version == 4
    receipt = verify.verify_receipt(envelopes.decode_untrusted(base64.b64decode(answer["receipt"])), pinned(agent))
    assert receipt.trust_version == 4


async def test_links_may_come_beside_a_statement_and_be_known_already(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    links = [envelopes.encode(e) for e in chain_of(agent, 2)]
    approval = agent.people.approve(plan_of(change), "joseph", seen=seen(envelopes.decode_untrusted(links[-1])))
    submit = agent.daemon.api.parts.approvals.submit
    for _ in range(2):
        (answer,) = await submit(approval, links=links, from_cloud=True)
        assert answer.accepted
    assert pinned(agent).version == 3


async def test_version_that_expired_may_be_way_to_one_in_force(agent: Agent) -> None:
    now = agent.people.now_s
    old = following(agent.people, pinned(agent), agent.head, issued=now - 9 * DAY, expires=now - DAY)
    before = statements.decode_as_untrusted(Trust, old)
    new = following(agent.people, before, envelopes.digest(old).hex(), issued=now, expires=now + DAY)
    fields = {"document": base64.b64encode(lines(old)).decode(), "words": ""}
    assert "expired" in str(await refused(agent.call("POST", "/v1/trust", fields, os.getuid())))
    fields = {"document": base64.b64encode(lines(old, new)).decode(), "words": ""}
    assert (await agent.call("POST", "/v1/trust", fields, os.getuid()))["version"] == 3


async def test_a_later_version_is_installed_without_words(agent: Agent) -> None:
    (two,) = chain_of(agent, 1)
    fields = {"document": base64.b64encode(envelopes.encode(two)).decode(), "words": ""}
    assert (await agent.call("POST", "/v1/trust", fields, os.getuid()))["version"] == 2
    assert "in force already" in str(await refused(agent.call("POST", "/v1/trust", fields, os.getuid())))


async def test_a_new_root_needs_the_old_one_and_itself(agent: Agent) -> None:
    keys = agent.people.keys
    root = Root(2, tuple(RootKey(n, keys[n].public.hex()) for n in ("joseph", "maria")))
    for who in (("joseph", "lena"), ("joseph", "maria"), ("joseph",)):
        bad = following(agent.people, pinned(agent), agent.head, *who, root=root)
        (answer,) = await agent.hand_in(envelopes.encode(bad))
        assert (answer["accepted"], answer["reason"]) == (False, "threshold-not-met"), who
    good = following(agent.people, pinned(agent), agent.head, "joseph", "lena", "maria", root=root)
    (answer,) = await agent.hand_in(envelopes.encode(good))
    assert (answer["accepted"], pinned(agent).version) == (True, 2)


def skipped(agent: Agent) -> Envelope:
    return chain_of(agent, 2)[1]


def forked(agent: Agent) -> Envelope:
    document = replace(pinned(agent), expires=pinned(agent).expires - 5)
    return statements.sign(document, [agent.people.keys[w] for w in ("joseph", "lena")])


def of_another_parent(agent: Agent) -> Envelope:
    return following(agent.people, pinned(agent), "ab" * 32)


def by_a_stranger(agent: Agent) -> Envelope:
    document = replace(pinned(agent), version=2, prev=agent.head)
    return statements.sign(document, [SigningKey.generate(), SigningKey.generate()])


@pytest.mark.parametrize(
    ("make", "reason", "alarms"),
    [
        (skipped, "version-skipped", 0),
        (forked, "forked", 1),
        (of_another_parent, "wrong-previous", 1),
        (by_a_stranger, "threshold-not-met", 0),
    ],
)
async def test_T8_T15_what_does_not_follow_is_refused_a_fork_alarms(
    agent: Agent, make: Callable[[Agent], Envelope], reason: str, alarms: int
) -> None:
    data = envelopes.encode(make(agent))
    with pytest.raises(RequestError):
        await state(agent).follow(data, agent.people.now_s)
    found = [r for r in refusals(agent) if r["what"] == "trust-forked"]
    assert len(found) == alarms
    (answer,) = await agent.hand_in(data)
    assert (answer["accepted"], answer["reason"]) == (False, reason)
    assert pinned(agent).version == 1
    change = await agent.ask("suspend", "C-1")  # an alarm stops nothing
    assert (await agent.approve(change, "joseph"))["accepted"]


async def test_bad_links_stop_no_approval_that_can_do_without(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    good = agent.people.approve(plan_of(change), "joseph", seen=SeenHeads(1, agent.head))
    for bad in (forked(agent), skipped(agent)):
        (answer,) = await agent.hand_in(lines(bad, good), change["id"])
        assert answer["accepted"]
    claims = agent.people.approve(plan_of(change), "lena", seen=seen(skipped(agent)))
    (answer,) = await agent.hand_in(lines(skipped(agent), claims), change["id"])
    assert (answer["accepted"], answer["reason"]) == (False, "newer-trust")
    assert "expected trust version 2, got 3" in answer["message"]


async def test_two_that_come_at_once_pin_the_version_once(agent: Agent) -> None:
    data = envelopes.encode(chain_of(agent, 1)[0])
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(state(agent).follow, data, agent.people.now_s)
    rows = agent.daemon.files.store.reader.execute("SELECT version FROM trust ORDER BY version").fetchall()
    assert [r["version"] for r in rows] == [1, 2]
    kinds = [e.kind for e in agent.daemon.log.evidence.events(limit=100_000)]
    assert kinds.count("trust-changed") == 1


async def test_a_version_without_this_agent_or_its_key_is_not_pinned(agent: Agent) -> None:
    other = replace(pinned(agent).agents[0], plan_key=SigningKey.generate().public.hex())
    for agents in ((), (other,)):
        bad = following(agent.people, pinned(agent), agent.head, agents=agents)
        (answer,) = await agent.hand_in(envelopes.encode(bad))
        assert not answer["accepted"]
    assert pinned(agent).version == 1


@pytest.mark.parametrize(
    ("altered", "says"),
    [
        ("sha256 = zeroblob(32)", "not the one that was pinned"),
        ("envelope = x'7b7d'", "table trust: the stored document is malformed.* put the state directory back"),
    ],
)
async def test_a_stored_document_that_was_altered_stops_the_start(office: Office, altered: str, says: str) -> None:
    office.store._con.execute(f"UPDATE trust SET {altered}")
    plan_key = office.daemon.files.identity.plan_key.public
    with pytest.raises(DamagedValueError, match=says):
        TrustState(office.store, office.parts.recorder, office.parts.agent, plan_key)


def test_a_file_is_one_envelope_or_one_a_line() -> None:
    one = envelopes.encode(
        statements.sign(statements.Unfreeze("1" * 32, "2" * 64, "joseph", 0), [SigningKey.generate()])
    )
    assert split_envelopes(one) == [one]
    assert split_envelopes(b"\n" + one + b"\n \n" + one + b"\n") == [one, one]
    assert split_envelopes(b"garbage") == [b"garbage"]
    assert split_envelopes(b"") == [b""]
    lines = b"".join(line + b"\n" for line in json.dumps(json.loads(one), indent=1).encode().splitlines())
    assert split_envelopes(lines) == [lines]


def test_lines_of_space_around_one_envelope_are_no_part_of_it() -> None:
    one = envelopes.encode(
        statements.sign(statements.Unfreeze("1" * 32, "2" * 64, "joseph", 0), [SigningKey.generate()])
    )
    # The decoder would refuse a form feed, and a file over its limit
    for file in (b"\x0c\n" + one, one + b"\n\x0c\n", one + b"\n" * limits.ENVELOPE_BYTES):
        assert split_envelopes(file) == [one]


# --- what a new version does to what is approved ---


def without(trust: Trust, handle: str) -> tuple[Person, ...]:
    return tuple(replace(p, roles=(Role.REQUESTER,)) if p.handle == handle else p for p in trust.people)


async def test_A2_an_approver_removed_before_the_start_does_not_count(agent: Agent, world: World) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    assert (await agent.approve(change, "joseph"))["gate"] == "approved"
    two = following(agent.people, pinned(agent), agent.head, people=without(pinned(agent), "joseph"))
    await agent.hand_in(envelopes.encode(two))
    shown = await agent.call("GET", f"/v1/changes/{change['id']}")
    assert (shown["gate"], shown["have"], shown["need"]) == ("open", 0, 1)
    assert shown["waits_because"].startswith("it is not approved any more")
    await agent.call("POST", f"/v1/changes/{change['id']}/apply", {})
    assert world.writes == []
    lena = agent.people.approve(plan_of(change), "lena", seen=seen(two))
    (answer,) = await agent.hand_in(lena, change["id"])
    assert answer["gate"] == "approved"
    assert [i["state"] for i in (await agent.end(change))["items"]] == ["applied"]


async def test_A2_by_a_file_that_the_worker_alone_notices(agent: Agent, world: World) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    await agent.approve(change, "joseph")
    two = following(agent.people, pinned(agent), agent.head, people=without(pinned(agent), "joseph"))
    await state(agent).follow(envelopes.encode(two), agent.people.now_s)
    await agent.call("POST", f"/v1/changes/{change['id']}/apply", {})
    with trio.fail_after(60):
        while plans.find(agent.daemon.files.store.reader, change["id"]).gate.value != "open":
            agent.daemon.job.worker.poke()
            await trio.lowlevel.checkpoint()
    assert world.writes == []


async def test_A2_a_version_that_is_being_pinned_holds_the_start(office: Office) -> None:
    """It is durable and this process does not go by it yet: the writer's order decides, not who wakes up first."""
    await office.plan()
    await office.receive("approval", approval(office))
    data = next_trust(office)
    digest = envelopes.digest(envelopes.decode_untrusted(data))
    await office.store.run(
        InstallTrust(2, 1, digest, data, (), ("joseph", "lena", "maria"), office.parts.recorder.record(None, {}))
    )
    assert office.gate() == "approved"
    assert not await office.daemon.job.worker._consume(office.row())
    assert office.daemon.job.worker.waiting[office.row().plan_id].startswith("a new trust version is being pinned")


async def test_a_stricter_policy_reopens_older_approvals(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    await agent.approve(change, "joseph")
    policy = tuple(replace(p, approvals=2) if p.risk_class is RiskClass.LOW else p for p in any_time())
    two = following(agent.people, pinned(agent), agent.head, policy=policy)
    await agent.hand_in(envelopes.encode(two))
    shown = await agent.call("GET", f"/v1/changes/{change['id']}")
    assert (shown["gate"], shown["have"], shown["need"]) == ("open", 1, 2)


async def test_a_new_key_of_a_person_takes_nothing_away_from_others(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    await agent.approve(change, "joseph")
    key = PersonKey("ed25519", SigningKey.generate().public.hex())
    people = tuple(replace(p, keys=(key,)) if p.handle == "maria" else p for p in pinned(agent).people)
    await agent.hand_in(envelopes.encode(following(agent.people, pinned(agent), agent.head, people=people)))
    assert (await agent.call("GET", f"/v1/changes/{change['id']}"))["gate"] == "approved"


# --- the end of a document ---


async def test_the_end_is_warned_of_14_days_before(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world, install=False) as agent:
        assert state(agent).warning(agent.people.now_s) is None
    other = tmp_path / "other"
    other.mkdir()
    async with agent_in(other, world) as agent:
        ends = pinned(agent).expires
        told = [state(agent).warning(ends - days * DAY) for days in (14.1, 14, 1, -1)]
        assert told[0] is None
        assert told[1] == "trust version 1 expires in 14 days: its owners sign a new one before"
        assert told[2] == "trust version 1 expires in 1 days: its owners sign a new one before"
        assert told[3] == "trust version 1 has expired: nothing is approved until its owners sign a new one"


# --- which way an approval came ---


def local_only() -> tuple[PolicyClass, ...]:
    return tuple(replace(p, channel=Channel.LOCAL) if p.risk_class is RiskClass.LOW else p for p in any_time())


async def test_C9_local_class_counts_no_approval_that_cloud_brought(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world, policy=local_only()) as agent:
        change = await agent.ask("suspend", "C-1", hold=True)
        approval = agent.people.approve(plan_of(change), "joseph", seen=SeenHeads(1, agent.head))
        submit = agent.daemon.api.parts.approvals.submit
        (by_cloud,) = await submit(approval, from_cloud=True)
        assert (by_cloud.accepted, by_cloud.reason) == (False, "wrong-channel")
        (by_hand,) = await submit(approval)
        assert (by_hand.accepted, by_hand.gate) == (True, "approved")
        (replayed,) = await submit(approval, from_cloud=True)  # the cloud cannot make it weaker
        assert (replayed.accepted, replayed.gate) == (True, "approved")
        await agent.call("POST", f"/v1/changes/{change['id']}/apply", {})
        assert [i["state"] for i in (await agent.end(change))["items"]] == ["applied"]


async def test_approval_by_cloud_is_marked_and_judged_so_at_start(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", hold=True)
    approval = agent.people.approve(plan_of(change), "joseph", seen=SeenHeads(1, agent.head))
    (answer,) = await agent.daemon.api.parts.approvals.submit(approval, from_cloud=True)
    assert (answer.accepted, answer.gate) == (True, "approved")
    rows = agent.daemon.files.store.reader.execute("SELECT person, from_cloud FROM approval").fetchall()
    assert [tuple(r) for r in rows] == [("joseph", 1)]
    two = following(agent.people, pinned(agent), agent.head, policy=local_only())
    await agent.hand_in(envelopes.encode(two))
    assert (await agent.call("GET", f"/v1/changes/{change['id']}"))["gate"] == "open"


# --- rolling budgets ---


async def test_A12_many_plans_of_one_item_are_not_low_risk(tmp_path: Path, world: World) -> None:
    policy = tuple(replace(p, budget_per_hour=2) if p.risk_class is RiskClass.LOW else p for p in any_time())
    async with agent_in(tmp_path, world, policy=policy) as agent:
        for ref in ("C-1", "C-2/home"):
            change = await agent.ask("disconnect", ref)
            await agent.approve(change, "joseph")
            await agent.end(change)
        third = await agent.ask("disconnect", "C-2/shop")
        await agent.approve(third, "joseph")
        with trio.fail_after(60):
            while not (shown := await agent.call("GET", f"/v1/changes/{third['id']}"))["waits_because"]:
                agent.daemon.job.worker.poke()
                await trio.lowlevel.checkpoint()
        assert "may change 2 services an hour: 2 were, this adds 1" in shown["waits_because"]
        assert (shown["gate"], len(world.kicks)) == ("approved", 2)
        query = "SELECT count(*) FROM event WHERE kind = ?"
        found = agent.daemon.files.store.reader.execute(query, (LeafKind.CONSUMED.value,)).fetchone()
        assert found[0] == 2
