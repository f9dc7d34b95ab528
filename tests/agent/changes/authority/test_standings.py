"""Standing authority: what two people signed by day restores at night, after a payment, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.changes.journal import commands, plans
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from tests.builders.agent import Agent, agent_in, done, given, standing
from tests.builders.answers import unix_of
from tests.builders.office import Office
from tests.builders.people import any_time
from tests.builders.subscribers import billing_says
from tests.builders.world import World
from trust import chain, proof
from trust import envelope as envelopes
from trust.document import Person
from trust.leaf import LeafKind
from trust.policy import Action, Role
from trust.statements import FreezeScope

PAID = b"%s,Amina Hassan,home,%s,fake,20M,,0,0.00,2025-10-03,%%(now)s,%%(now)s"


async def suspended_and_paid(agent: Agent, *refs: str) -> None:
    """Suspend for debt, then have a payment come in."""
    logins = {"C-1": b"u0", "C-2/home": b"u1"}
    for ref in refs:
        await done(agent, "suspend", ref)
    for ref in refs:
        await billing_says(agent, PAID % (ref.split("/")[0].encode(), logins[ref]))


async def gate(agent: Agent, change: Any) -> str:
    return str((await agent.call("GET", f"/v1/changes/{change['id']}"))["gate"])


def leaves(agent: Agent, kind: LeafKind) -> int:
    query = "SELECT count(*) FROM event WHERE kind = ?"
    return int(agent.daemon.files.store.reader.execute(query, (kind.value,)).fetchone()[0])


def uses(agent: Agent) -> int:
    return int(agent.daemon.files.store.reader.execute("SELECT count(*) FROM standing_use").fetchone()[0])


# --- what it does ---


async def test_a_matched_payment_restores_at_night_without_anybody(agent: Agent, world: World) -> None:
    await suspended_and_paid(agent, "C-1")
    await given(agent)
    change = await agent.ask("restore", "C-1")
    assert (change["class"], change["gate"], change["approvals"]) == ("restore", "approved", [])
    assert "standing authority" in json.loads(change["documents"][0])["display"]["needs"]
    over = await agent.end(change)
    assert [i["state"] for i in over["items"]] == ["applied"]
    assert world.values[world.user("u0")] == {"plan": "20M"}
    assert (leaves(agent, LeafKind.STANDING), leaves(agent, LeafKind.STANDING_USED), uses(agent)) == (1, 1, 1)
    row = plans.find(agent.daemon.files.store.reader, change["id"])
    export = await agent.daemon.log.evidence.export(row, opened=True)
    report = proof.verify_export_untrusted(export, agent.daemon.log.evidence.vkey, agent.head)
    assert report.ok, [line.text for line in report.lines if not line.ok]
    assert any("by the standing authority of joseph, lena" in line.text for line in report.lines)


async def test_without_a_payment_or_without_authority_a_person_looks(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world) as agent:
        await done(agent, "suspend", "C-1")
        await given(agent)
        unpaid = await agent.ask("restore", "C-1")
        assert (unpaid["class"], unpaid["gate"]) == ("low", "open")
    other = tmp_path / "other"
    other.mkdir()
    async with agent_in(other, World(dict(world.values), {"u0": 1})) as agent:
        world_of_it = agent.daemon.files.store
        await suspended_and_paid(agent, "C-1")
        paid = await agent.ask("restore", "C-1")
        assert (paid["class"], paid["gate"]) == ("low", "open")
        assert world_of_it.reader.execute("SELECT count(*) FROM standing_use").fetchone()[0] == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"C-1,Amina Hassan,home,u0,fake,20M,,0,4.00,2025-10-03,%(now)s,%(now)s", "a part payment"),
        (b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,2025-10-01,%(now)s", "paid before it was suspended"),
        (b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,,%(now)s", "a balance without a payment"),
    ],
)
async def test_what_is_no_matched_payment_is_a_persons_business(agent: Agent, line: bytes, why: str) -> None:
    await done(agent, "suspend", "C-1")
    await billing_says(agent, line)
    await given(agent)
    assert (await agent.ask("restore", "C-1"))["class"] == "low", why


async def test_it_covers_one_subject_and_the_debt_alone(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent)
    assert (await agent.ask("restore", "C-1", "C-2/home"))["class"] == "low"
    await done(agent, "suspend", "C-1", reason="abuse")
    abuse = await agent.ask("restore", "C-1", reason="abuse")
    assert (abuse["class"], abuse["gate"]) == ("low", "open")
    assert (await agent.ask("restore", "C-1"))["class"] == "restore"  # the debt: the abuse stays


async def test_over_its_rate_it_waits_for_a_person_and_says_so(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent, rate=1)
    await agent.end(await agent.ask("restore", "C-1"))
    over = await agent.ask("restore", "C-2/home")
    assert (over["class"], over["gate"], over["have"], over["need"]) == ("restore", "open", 0, 1)
    assert over["waits_because"].startswith("it waits its turn, or for a person: expected at most 1 uses within")
    assert uses(agent) == 1
    await agent.approve(over, "joseph")
    assert [i["state"] for i in (await agent.end(over))["items"]] == ["applied"]
    assert uses(agent) == 1  # a person's approval is none of its uses


async def test_its_rate_counts_any_hour(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent, rate=1)
    await agent.end(await agent.ask("restore", "C-1"))
    store = agent.daemon.files.store
    await store.run(Back(3590))
    waits = await agent.ask("restore", "C-2/home")
    assert waits["gate"] == "open"
    await store.run(Back(20))
    assert [i["state"] for i in (await agent.end(waits))["items"]] == ["applied"], "its turn has come by itself"
    assert uses(agent) == 2


async def test_waiting_for_a_turn_has_a_start_deadline_that_fits(agent: Agent) -> None:
    """The 61st of an hour: refused by nobody, asked anew by nobody, and said in its preview."""
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent, rate=1)
    used = await agent.ask("restore", "C-1")
    await agent.end(used)
    waits = await agent.ask("restore", "C-2/home")
    hour, half = 3600, 1800
    assert hour + half - 120 <= unix_of(waits["start_by"]) - unix_of(used["made"]) <= hour + half + 120
    assert "turn" in json.loads(waits["documents"][0])["display"]
    assert leaves(agent, LeafKind.REFUSED) == 0
    await trio.sleep(2.5)  # looks at it again and again leave no leaf each
    assert leaves(agent, LeafKind.REFUSED) == 0


async def test_a_restart_keeps_what_waits_for_its_turn(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent, rate=1)
    await agent.end(await agent.ask("restore", "C-1"))
    waits = await agent.ask("restore", "C-2/home")
    standings = agent.daemon.job.approvals.standings
    standings._queued.clear()  # what a restart does
    await standings.go_on()
    assert list(standings._queued) == [bytes.fromhex(waits["plan_id"])]


class Back:
    """Let the uses be further back."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def run(self, tx: Any) -> None:
        tx.run("UPDATE standing_use SET at_s = at_s - ?", (self.seconds,))


# --- judged again when it is used ---


async def held(agent: Agent) -> Any:
    """Return a restore that a standing authority approved, and that does not start by itself."""
    await suspended_and_paid(agent, "C-1")
    await given(agent)
    change = await agent.ask("restore", "C-1", hold=True)
    assert change["gate"] == "approved"
    return change


async def released_waits(agent: Agent, change: Any) -> Any:
    """Let it start, and return it once it waits for people again."""
    await agent.call("POST", f"/v1/changes/{change['id']}/apply", {})
    with trio.fail_after(60):
        while await gate(agent, change) != "open":
            await agent.daemon.api.parts.bell.wait()
    return await agent.call("GET", f"/v1/changes/{change['id']}")


async def test_a_payment_that_was_taken_back_voids_it(agent: Agent, world: World) -> None:
    change = await held(agent)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)).encode()
    await billing_says(agent, b"C-1,Amina Hassan,home,u0,fake,20M,,0,34.00,2025-10-03,," + later)
    waits = await released_waits(agent, change)
    assert waits["waits_because"].startswith("it is not approved any more: no standing authority")
    assert (world.values[world.user("u0")], uses(agent)) == ({"plan": "20M", "suspended": "yes"}, 0)
    await agent.approve(change, "joseph")
    assert [i["state"] for i in (await agent.end(change))["items"]] == ["applied"]


async def test_a_rate_used_up_meanwhile_voids_it(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1", "C-2/home")
    await given(agent, rate=1)
    change = await agent.ask("restore", "C-1", hold=True)
    await agent.daemon.files.store.run(Back(3700))  # it was approved long ago, and its use did not count
    other = await agent.ask("restore", "C-2/home")
    await agent.end(other)
    waits = await released_waits(agent, change)
    assert "it waits its turn, or for a person: expected at most 1 uses within an hour" in waits["waits_because"]


async def test_a_freeze_of_one_who_signed_stops_it(agent: Agent) -> None:
    change = await held(agent)
    await agent.hand_in(agent.people.freeze("joseph", FreezeScope.PERSON, "lena"))
    await released_waits(agent, change)
    assert agent.daemon.api.parts.approvals.standings.in_force(agent.people.now_s) == []
    assert (await agent.ask("restore", "C-1"))["class"] == "low"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What each about-to asks first."""

    plan_id: bytes
    requester: str

    def run(self, tx: Tx) -> None:
        commands.refuse_if_stopped(tx, self.plan_id, self.requester)


async def restoring(office: Office) -> commands.PlanRow:
    """Have billing ask by the cloud for what a standing authority approves."""
    await office.receive("standing", office.people.standing())
    intent = office.intent("C-5", who="billing", key=office.desk.billing, verb=Action.RESTORE)
    await office.receive("intent", office.sealed(intent))
    assert office.gate() == "approved"
    return office.row()


@pytest.mark.parametrize("scope", FreezeScope.__members__.values())
async def test_a_freeze_stops_what_it_has_begun_before_its_next_step(office: Office, scope: FreezeScope) -> None:
    row = await restoring(office)
    assert await office.daemon.job.worker._consume(row)
    await office.store.run(NextStep(row.plan_id, row.requester))
    targets = {
        FreezeScope.ALL: "",
        FreezeScope.AGENT: office.parts.agent,
        FreezeScope.PERSON: "joseph",  # one of the two who signed the standing authority
        FreezeScope.KEY: office.people.keys["joseph"].public.hex(),
    }
    await office.receive("freeze", office.people.freeze("maria", scope, targets[scope]))
    with pytest.raises(RefusedCommandError, match="frozen by maria"):
        await office.store.run(NextStep(row.plan_id, row.requester))


@pytest.mark.parametrize("scope", [FreezeScope.PERSON, FreezeScope.KEY])
async def test_a_frozen_requester_has_nothing_done_at_night(office: Office, scope: FreezeScope) -> None:
    target = "billing" if scope is FreezeScope.PERSON else office.desk.billing.public.hex()
    await office.receive("freeze", office.people.freeze("lena", scope, target))
    row = await restoring(office)
    assert not await office.daemon.job.worker._consume(row)
    assert "frozen by lena" in office.daemon.job.worker.waiting[row.plan_id]


async def test_a_freeze_of_somebody_else_stops_nothing(office: Office) -> None:
    for scope, target in ((FreezeScope.PERSON, "nobody"), (FreezeScope.KEY, "1" * 64)):
        await office.receive("freeze", office.people.freeze("maria", scope, target))
    await office.receive("freeze", office.people.freeze("lena", FreezeScope.PERSON, "maria"))
    row = await restoring(office)
    assert await office.daemon.job.worker._consume(row)
    await office.store.run(NextStep(row.plan_id, row.requester))


async def test_a_trust_version_without_one_who_signed_stops_it(agent: Agent) -> None:
    change = await held(agent)
    pinned = agent.pinned

    def demoted(people: Sequence[Person]) -> tuple[Person, ...]:
        return tuple(replace(p, roles=(Role.REQUESTER,)) if p.handle == "joseph" else p for p in people)

    document = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), people=demoted(pinned.trust.people))
    data, _ = agent.people.sign_trust(document)
    (answer,) = await agent.hand_in(data)
    assert (answer["accepted"], answer["message"]) == (True, "trust version 2 is pinned")
    assert await gate(agent, change) == "open"
    assert (await agent.ask("restore", "C-1"))["class"] == "low"
    assert chain.head_sha256(envelopes.decode_untrusted(data)) == agent.head


async def test_a_rejection_stops_it(tmp_path: Path, world: World) -> None:
    from trust.statements import Decision

    async with agent_in(tmp_path, world) as agent:
        change = await held(agent)
        assert (await agent.approve(change, "lena", decision=Decision.REJECT))["gate"] == "rejected"


async def test_person_who_does_not_suffice_takes_nothing_away_from_it(tmp_path: Path, world: World) -> None:
    policy = tuple(replace(p, approvals=2) if p.risk_class.value == "restore" else p for p in any_time())
    async with agent_in(tmp_path, world, policy=policy) as agent:
        change = await held(agent)
        answer = await agent.approve(change, "joseph")
        assert (answer["accepted"], answer["gate"], answer["have"], answer["need"]) == (True, "approved", 1, 2)


# --- what is not taken ---


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda a: standing(a, "joseph"), "threshold-not-met"),
        (lambda a: standing(a, "joseph", "joseph"), "threshold-not-met"),
        (lambda a: standing(a, begins=-600, ends=-1), "expired"),
        (lambda a: standing(a, scope="ab" * 16), "wrong-agent"),
        (lambda a: standing(a, trust_id="0" * 32), "wrong-trust"),
    ],
)
async def test_no_standing_authority_here_is_refused_with_a_leaf(agent: Agent, make: Any, reason: str) -> None:
    (answer,) = await agent.hand_in(make(agent))
    assert (answer["accepted"], answer["reason"]) == (False, reason)
    assert answer["receipt"]
    assert leaves(agent, LeafKind.REFUSED) == 1
    assert agent.daemon.api.parts.approvals.standings.in_force(agent.people.now_s) == []


async def test_tomorrows_is_kept_unused_today_and_ends_by_its_date(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1")
    await given(agent, begins=60, ends=600)
    standings, now_s = agent.daemon.api.parts.approvals.standings, agent.people.now_s
    assert (await agent.ask("restore", "C-1"))["class"] == "low"
    assert [len(standings.in_force(now_s + m * 60)) for m in (0, 59, 61, 599, 602)] == [0, 0, 1, 1, 0]


async def test_handed_in_again_it_changes_nothing(agent: Agent) -> None:
    data = standing(agent)
    assert (await agent.hand_in(data))[0]["message"].startswith("standing authority for restore, at most 60 an hour")
    assert (await agent.hand_in(data))[0]["message"] == "this standing authority was already recorded"
    assert leaves(agent, LeafKind.STANDING) == 1


async def test_who_asks_is_not_one_of_the_two(agent: Agent) -> None:
    await suspended_and_paid(agent, "C-1")
    keys = agent.daemon.api.parts.people
    agent.daemon.api.parts = replace(agent.daemon.api.parts, people={**keys, 4242: "joseph"})
    await given(agent)
    change = await agent.ask("restore", "C-1")
    assert (change["requester"], change["class"], change["gate"]) == ("joseph", "restore", "open")
    assert change["waits_because"].startswith("it waits for a person")
