"""The local API by its table: roles, strict bodies, and a change from ask to end, without a socket."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.api.call import STRANGERS_PER_MIN, CallerRole
from agent.api.routes import ROUTES
from agent.changes.auditlog import recovery
from agent.changes.auditlog.evidence import Evidence
from agent.changes.worker import Worker
from agent.cli.outcome import outcome_text
from agent.runtime.http import HttpRequest
from agent.store import mail
from agent.store.db import Tx
from agent.store.errors import DamagedValueError
from agent.store.log_store import Entry
from agent.store.mail import JoinCloud
from tests.builders.agent import MARIA, NOBODY, OTHER, Agent, agent_in, refused
from tests.builders.answers import unix_of
from tests.builders.people import any_time, plan_of, trusted
from tests.builders.subscribers import bring
from tests.builders.world import World
from trust import chain, merkle, statements
from trust import envelope as envelopes
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.moments import rfc3339
from trust.policy import Role
from trust.statements import (
    Decision,
    FreezeScope,
    Outcome,
    OutcomeBucket,
    OutcomeState,
    Resume,
    SeenHeads,
    SizeBucket,
)


async def test_every_route_names_its_role_and_unknown_ones_are_404(tmp_path: Path, world: World) -> None:
    assert len({(r.method, r.path) for r in ROUTES}) == len(ROUTES)
    async with agent_in(tmp_path, world) as agent:
        assert (await refused(agent.call("GET", "/v1/nothing"))).status == 404
        assert (await refused(agent.call("DELETE", "/v1/status"))).status == 405
        for route in ROUTES:
            if route.role is CallerRole.ANYONE:
                continue
            path = route.path.replace("{id}", "X").replace("{ref}", "X").replace("{seq}", "1").replace("{name}", "x")
            assert (await refused(agent.call(route.method, path, {}, NOBODY))).status == 403


async def test_a_stored_plan_that_no_agent_wrote_ends_the_agent(tmp_path: Path, world: World) -> None:
    """A page of zeros is a valid one for SQLite, and a task that starts again would read it again and again."""

    async def work() -> None:
        async with agent_in(tmp_path, world) as agent:
            await agent.ask("suspend", "C-1")
            agent.daemon.files.store._con.execute("UPDATE plan SET gate = ?", ("\0" * 4,))
            await agent.call("GET", "/v1/changes")

    with pytest.raises(ExceptionGroup) as caught:
        await work()
    assert caught.group_contains(DamagedValueError, match="table plan")


async def test_trust_document_decides_who_sees_subscribers_here_too(agent: Agent) -> None:
    """L3: somebody whom a new version removes, or lets see nobody, sees nobody by the local socket either."""
    change = await agent.ask("suspend", "C-1")
    shown = [
        r.path.replace("{id}", change["id"]).replace("{ref}", "C-1") for r in ROUTES if r.role is CallerRole.VIEWER
    ]
    assert {f"/v1/changes/{change['id']}", "/v1/subscribers/C-1", "/v1/audit"} <= set(shown)
    assert (await refused(agent.call("GET", "/v1/changes", uid=OTHER))).code == "role"
    pinned = agent.pinned
    trust, digest = pinned.trust, pinned.sha256
    blind = tuple(replace(p, sees_subscribers=p.handle != "maria") for p in trust.people)
    gone = tuple(p for p in trust.people if p.handle != "maria")
    for version, people, may_list in ((2, blind, True), (3, gone, False)):
        trust = replace(trust, version=version, prev=digest.hex(), issued=trust.issued + 1, people=people)
        document = agent.people.sign_trust(trust)[0]
        digest = envelopes.digest(envelopes.decode_untrusted(document))
        assert (await agent.hand_in(document))[0]["accepted"]
        for path in ("/v1/subscribers", f"/v1/changes/{change['id']}", "/v1/audit", "/v1/changes?for=C-1"):
            where, _, query = path.partition("?")
            request = HttpRequest("GET", where, dict([query.split("=")] if query else []), {}, b"", MARIA, 1)
            assert (await refused(agent.daemon.api(request))).status == 403, path
        if may_list:
            assert [c["id"] for c in await agent.call("GET", "/v1/changes")] == [change["id"]]
        else:
            assert "trust version 3 has no maria" in str(await refused(agent.call("GET", "/v1/changes")))
        assert "documents" not in await agent.ask("suspend", "C-2/home")
    assert await agent.call("GET", "/v1/subscribers", uid=os.getuid()), "root and the agent's own user see all"


async def test_a_period_is_asked_for_in_either_form(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1")
    made_s = unix_of(change["made"])
    for since, until in ((made_s, made_s + 1), (made_s + 1, made_s + 2)):
        numbers = await agent.call("GET", f"/v1/changes?since={since}&until={until}")
        moments = await agent.call("GET", f"/v1/changes?since={rfc3339(since)}&until={rfc3339(until)}")
        assert moments == numbers
        assert [one["id"] for one in moments] == ([change["id"]] if since == made_s else [])


async def test_who_pauses_and_who_lets_a_change_go_on(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1")
    at = f"/v1/changes/{change['id']}"
    pinned = agent.pinned
    asks = tuple(replace(p, roles=(Role.REQUESTER,) if p.handle == "maria" else p.roles) for p in pinned.trust.people)
    trust = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), people=asks, issued=pinned.trust.issued + 1)
    document = agent.people.sign_trust(trust)[0]
    assert (await agent.hand_in(document))[0]["accepted"]
    assert (await agent.call("POST", f"{at}/pause", {}))["paused_by"] == "maria"
    assert not (await agent.call("POST", f"{at}/resume", {}))["paused_by"], "who paused it"
    plan = plan_of(change)
    assert (await agent.hand_in(agent.people.pause(plan, "joseph")))[0]["accepted"]
    err = await refused(agent.call("POST", f"{at}/resume", {}))
    assert (err.status, err.code) == (403, "not-an-approver")
    assert "maria did not pause it: joseph, an approver or an owner lets it go on" in str(err)
    assert (await agent.hand_in(agent.people.pause(plan, "lena", Resume, minutes=2)))[0]["accepted"]
    assert not (await agent.call("GET", at))["paused_by"]


async def test_bodies_are_strict(agent: Agent) -> None:
    err = await refused(agent.ask("suspend", "C-1", surprise=1))
    assert err.status == 400
    assert "surprise" in str(err)
    assert (await refused(agent.ask("explode", "C-1"))).status == 400
    assert (await refused(agent.ask("suspend"))).status == 400
    assert "reason" in str(await refused(agent.ask("suspend", "C-1", reason="spite")))
    assert "reason" in str(await refused(agent.ask("suspend", "C-1", reason="")))
    assert "--tariff" in str(await refused(agent.ask("set-plan", "C-1")))


async def test_one_change_from_ask_to_revert(agent: Agent, world: World) -> None:
    change = await agent.ask("suspend", "C-1")
    assert change["state"] == "waiting for approval"
    own = await agent.approve(change, "maria")
    assert (own["accepted"], own["reason"]) == (False, "requester-approves")
    good = await agent.approve(change, "joseph")
    assert (good["accepted"], good["gate"], good["have"], good["need"]) == (True, "approved", 1, 1)
    done = await agent.end(change)
    assert [i["state"] for i in done["items"]] == ["applied"]
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}
    shown = await agent.call("GET", "/v1/subscribers/C-1")
    assert shown["services"][0]["suspended_for"] == ["debt"]

    back = await agent.ask("revert", change=change["id"], on_failure="continue")
    await agent.approve(back, "lena")
    await agent.end(back)
    assert world.values[world.user("u0")] == {"plan": "20M"}
    assert (await agent.call("GET", "/v1/audit/verify"))["leaves"] > 10


async def test_receipts_are_signed_by_the_agent(tmp_path: Path, world: World) -> None:
    from trust import verify

    async with agent_in(tmp_path, world) as agent:
        change = await agent.ask("suspend", "C-1")
        answer = await agent.approve(change, "joseph")
        pinned = agent.pinned
        receipt = verify.verify_receipt(envelopes.decode_untrusted(base64.b64decode(answer["receipt"])), pinned.trust)
        assert (receipt.of_type, receipt.have, receipt.need, receipt.reason) == ("approval", 1, 1, None)
        await agent.end(change)
        row = agent.daemon.files.store.reader.execute("SELECT outcome FROM plan").fetchone()
        outcome = verify.verify_outcome(envelopes.decode_untrusted(bytes(row["outcome"])), pinned.trust)
        assert (outcome.final, outcome.state) == (True, OutcomeState.DONE)
        assert mail.state(agent.daemon.files.store.reader).outbox == 0  # nobody to send it to


async def test_an_enrolled_agent_posts_plan_and_outcome(agent: Agent) -> None:
    store = agent.daemon.files.store
    assert await agent.call("GET", "/v1/cloud", uid=NOBODY) == {
        "enrolled": False, "connected": False, "outbox": 0, "inbox": 0, "sent_at": None, "received_at": None,
    }  # fmt: skip
    await store.run(JoinCloud(b"n" * 32))
    change = await agent.ask("suspend", "C-1")
    await agent.approve(change, "joseph")
    await agent.end(change)
    out = mail.next_out(store.reader, 0, 10)
    assert [o.kind for o in out] == ["plan", "receipt", "outcome"]
    assert out[0].body == base64.b64decode(change["plan"])
    status = await agent.call("GET", "/v1/status")
    assert (status["cloud"]["enrolled"], status["cloud"]["outbox"]) == (True, 3)
    assert (status["log"]["witnessed"], status["log"]["witnessed_text"]) == (False, "not witnessed")
    assert status["standings"] == []
    assert status["trust_warning"] is None


async def test_a_statement_brings_the_trust_that_it_needs(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1")
    pinned = agent.pinned
    second = replace(pinned.trust, version=2, prev=agent.head, issued=pinned.trust.issued + 1)
    link, _ = agent.people.sign_trust(second)
    seen = SeenHeads(2, envelopes.digest(envelopes.decode_untrusted(link)).hex())
    approval = agent.people.approve(plan_of(change), "joseph", seen=seen)
    (answer,) = await agent.hand_in(approval, change["id"])
    assert (answer["accepted"], answer["reason"]) == (False, "newer-trust")
    body = {
        "envelope": base64.b64encode(approval).decode(), "change": change["id"],
        "links": [base64.b64encode(link).decode()],
    }  # fmt: skip
    (answer,) = await agent.call("POST", "/v1/statements", body)
    assert answer["accepted"]
    assert (await agent.call("GET", "/v1/status"))["trust_version"] == 2
    (again,) = await agent.hand_in(link)
    assert again["accepted"]
    (standing,) = await agent.hand_in(agent.people.standing())
    assert standing["accepted"]
    (shown,) = (await agent.call("GET", "/v1/status"))["standings"]
    assert (shown["verb"], shown["evidence"], sorted(shown["people"])) == (
        "restore", "payment-matched", ["joseph", "lena"],
    )  # fmt: skip
    body["links"] = ["no base64"]
    assert (await refused(agent.call("POST", "/v1/statements", body))).code == "bad-request"


async def test_an_agent_that_is_not_enrolled_keeps_no_mail(agent: Agent) -> None:
    """Left while it was down, or switched off: what was to be sent is dropped, and the rest goes on."""
    await agent.daemon.files.store.run(JoinCloud(b"n" * 32))
    await agent.ask("suspend", "C-1")
    await agent.daemon.link.join()
    state = agent.daemon.link.state()
    assert (state["enrolled"], state["outbox"], state["connected"]) == (False, 0, False)


async def test_broken_credentials_stop_nothing(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "cloud.json").write_bytes(b"{}")
    await agent.daemon.link.join()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.daemon.link.run)
        with trio.fail_after(60):
            while (await agent.call("GET", "/v1/cloud"))["problem"] != "credentials":  # noqa: ASYNC110  a state, not an event
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def test_grpc_costs_an_agent_without_a_cloud_nothing() -> None:
    code = "import sys, agent.daemon, agent.cli; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_who_would_not_change_says_why(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", "C-3", "C-4")
    documents = [json.loads(d) for d in change["documents"][1:]]
    assert [(d["subject"], d["listed"], d["reason"]) for d in documents] == [
        ("C-1/home", "change", ""),
        ("C-3/home", "excluded", "protected"),
        ("C-4/home", "excluded", "paid"),
    ]
    err = await refused(agent.ask("suspend", "C-3"))
    assert (err.status, err.code) == (409, "nothing-to-do")
    assert "hospital" in str(err)


async def test_unknown_and_ambiguous_references_are_each_named(agent: Agent) -> None:
    err = await refused(agent.ask("suspend", "C-1", "C-2", "C-99"))
    assert err.status == 400
    assert "C-2: 2 services: name one of C-2/home, C-2/shop, or take all with --all-services" in str(err)
    assert "C-99: no such service" in str(err)


async def test_unknown_requester_needs_one_more(agent: Agent) -> None:
    asked = await agent.ask("suspend", "C-1", uid=OTHER)
    assert "documents" not in asked, "the trust document does not know that person"
    change = await agent.call("GET", f"/v1/changes/{asked['id']}")
    assert change["requester"] == "unknown"
    stranger = await agent.ask("suspend", "C-2/home", uid=NOBODY)
    assert "documents" not in stranger
    assert "Joao" not in json.dumps(stranger)
    first = await agent.approve(change, "joseph")
    assert (first["have"], first["need"], first["gate"]) == (1, 2, "open")
    assert (await agent.approve(change, "lena"))["gate"] == "approved"


async def test_approval_for_another_plan_a_forged_one_and_garbage(agent: Agent) -> None:
    one, two = await agent.ask("suspend", "C-1"), await agent.ask("suspend", "C-2/home")
    seen = SeenHeads(1, agent.head)
    other = agent.people.approve(plan_of(one), "joseph", seen=seen)
    assert (await agent.hand_in(other, two["id"]))[0]["reason"] == "other-plan"
    forged = await agent.approve(two, "joseph", key=SigningKey.generate())
    assert (forged["accepted"], forged["reason"]) == (False, "unknown-signer")
    assert (await refused(agent.hand_in(b"{}"))).status == 400
    assert (await agent.call("GET", f"/v1/changes/{two['id']}"))["gate"] == "open"


async def test_what_ends_before_it_starts_is_told_to_every_desk(agent: Agent) -> None:
    """Else it would wait on the desks of those who did not reject or cancel it. Told once, and not of what waits."""
    store = agent.daemon.files.store
    await store.run(JoinCloud(b"n" * 32))
    one, two = await agent.ask("suspend", "C-1"), await agent.ask("suspend", "C-2/home")
    await agent.ask("suspend", "C-2/shop")
    assert (await agent.approve(one, "lena", decision=Decision.REJECT))["gate"] == "rejected"
    await agent.hand_in(agent.people.cancel(plan_of(two), "joseph"), two["id"])
    with trio.fail_after(60):
        while len(told := [o for o in mail.next_out(store.reader, 0, 100) if o.kind == "outcome"]) < 2:  # noqa: ASYNC110  the worker tells nobody
            await trio.sleep(0.02)
    await agent.daemon.job.worker._conclude()
    assert len([o for o in mail.next_out(store.reader, 0, 100) if o.kind == "outcome"]) == 2
    outcomes = [statements.decode_as_untrusted(Outcome, envelopes.decode_untrusted(o.body)) for o in told]
    by_plan = {o.plan_sha256: (o.state, o.final, dict(o.buckets)) for o in outcomes}
    for change, state in ((one, OutcomeState.REJECTED), (two, OutcomeState.CANCELLED)):
        assert by_plan[change["sha256"]] == (state, True, {OutcomeBucket.NOT_APPLIED: SizeBucket.ONE})


async def test_rejection_closes_and_cancel_by_file(agent: Agent, world: World) -> None:
    one, two = await agent.ask("suspend", "C-1"), await agent.ask("suspend", "C-2/home")
    assert (await agent.approve(one, "lena", decision=Decision.REJECT))["gate"] == "rejected"
    assert (await agent.end(one))["exit"] == 3
    answer = (await agent.hand_in(agent.people.cancel(plan_of(two), "joseph"), two["id"]))[0]
    assert answer["accepted"]
    assert (await agent.end(two))["state"] == "cancelled"
    assert world.writes == []


async def test_watch_tells_what_ends_change_while_line_is_taken(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.api.changes.WATCH_S", 3600)
    async with agent_in(tmp_path, world) as agent:
        change = await agent.ask("suspend", "C-1")
        told = []
        with trio.fail_after(60):
            async for line in agent.watch(change):
                told.append(line)
                if len(told) == 1:  # it has read the events, and not yet whether they were the last
                    await agent.approve(change, "joseph", decision=Decision.REJECT)
        assert [line["kind"] for line in told[:-1]] == ["plan", "rejection", "change-finished"]
        assert told[-1] == {"end": True, "state": "rejected", "exit": 3}


async def test_a_watch_ends_without_an_outcome_that_never_comes(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("agent.api.changes.OUTCOME_S", 0.0)
    monkeypatch.setattr(Worker, "_conclude_one", fails)
    change = await agent.ask("suspend", "C-1")
    await agent.approve(change, "joseph", decision=Decision.REJECT)
    with trio.fail_after(60):
        told = [line async for line in agent.watch(change)]
    assert [line.get("kind") for line in told] == ["plan", "rejection", None]
    assert told[-1] == {"end": True, "state": "rejected", "exit": 3}


async def test_a_watch_tells_more_events_than_one_read_returns(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    change = await agent.ask("suspend", "C-1")
    await agent.approve(change, "joseph")
    await agent.end(change)
    whole = [line async for line in agent.watch(change)]
    monkeypatch.setattr(Evidence, "events", partialmethod(Evidence.events, limit=2))
    assert [line async for line in agent.watch(change)] == whole
    assert [line["kind"] for line in whole[-2:-1]] == ["change-finished"]


async def test_freeze_holds_the_start_until_two_lift_it(agent: Agent, world: World) -> None:
    change = await agent.ask("suspend", "C-1")
    freeze = agent.people.freeze("joseph", FreezeScope.ALL)
    await agent.hand_in(freeze)
    await agent.approve(change, "joseph")
    await trio.sleep(0.3)
    assert world.writes == []
    assert (await agent.call("GET", "/v1/status"))["frozen"]
    alone = (await agent.hand_in(agent.people.unfreeze(freeze, ["lena"])))[0]
    assert (alone["accepted"], alone["reason"]) == (False, "threshold-not-met")
    assert (await agent.hand_in(agent.people.unfreeze(freeze, ["lena", "joseph"])))[0]["accepted"]
    assert (await agent.end(change))["state"] == "done"


async def test_entry_that_changed_since_preview_is_not_acted_on(agent: Agent, world: World) -> None:
    change = await agent.ask("suspend", "C-1")
    await bring(agent, b"C-1,Amina Hassan,home,u4,fake,20M,,0,,,,", b"C-4,Paid,home,u0,fake,20M,,0,,,,")
    await agent.approve(change, "joseph")
    done = await agent.end(change)
    assert [i["state"] for i in done["items"]] == ["skipped"]
    assert "changed since the preview" in done["items"][0]["detail"]
    assert world.writes == []


async def test_two_restores_of_different_reasons_do_not_both_wait(agent: Agent, world: World) -> None:
    for reason in ("abuse", "debt"):
        change = await agent.ask("suspend", "C-1", reason=reason)
        await agent.approve(change, "joseph")
        await agent.end(change)
    one, two = await agent.ask("restore", "C-1", reason="debt"), await agent.ask("restore", "C-1", reason="abuse")
    for change in (one, two):
        await agent.approve(change, "joseph")
        await agent.end(change)
    shown = await agent.call("GET", "/v1/subscribers/C-1")
    assert shown["services"][0]["suspended_for"] == ["abuse"]
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}


async def test_alone_needs_ones_own_signature_and_opens_a_review(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1", reason="abuse")
    await agent.approve(change, "joseph")
    await agent.end(change)
    back = await agent.ask("restore", "C-1", reason="abuse", alone=True)
    assert back["class"] == "alone"
    assert (await agent.approve(back, "joseph"))["reason"] == "signer-is-another"
    assert (await agent.approve(back, "maria"))["gate"] == "approved"
    assert (await agent.end(back))["state"] == "done"
    events = await agent.call("GET", f"/v1/audit?change={back['id']}")
    assert "review-opened" in [e["kind"] for e in events]
    later = await agent.call("GET", f"/v1/audit?change={back['id']}&after={events[0]['seq']}")
    assert [e["seq"] for e in later] == [e["seq"] for e in events[1:]]
    (review,) = await agent.call("GET", "/v1/reviews")
    assert (review["id"], review["verdict"], review["envelope"]) == (back["id"], "", "")
    after = int(time.time()) // 60 + 1  # a review is signed behind the end, which is known to the second
    decided = agent.people.approve(plan_of(back), "joseph", seen=SeenHeads(1, agent.head), not_before=after)
    assert (await agent.hand_in(decided, back["id"]))[0]["message"] == "review closed by joseph: in order"
    assert await agent.call("GET", "/v1/reviews") == []
    (review,) = await agent.call("GET", "/v1/reviews?closed=1")
    assert (review["closed_by"], base64.b64decode(review["envelope"])) == ("joseph", decided)


async def test_an_hourly_budget_of_items_holds_the_start(tmp_path: Path, world: World) -> None:
    from dataclasses import replace

    policy = tuple(replace(p, budget_per_hour=1) if p.risk_class.value == "low" else p for p in any_time())
    async with agent_in(tmp_path, world, policy=policy) as agent:
        one, two = await agent.ask("suspend", "C-1"), await agent.ask("suspend", "C-2/home")
        for change in (one, two):
            await agent.approve(change, "joseph")
        await agent.end(one)
        await trio.sleep(0.2)
        held = await agent.call("GET", f"/v1/changes/{two['id']}")
        assert held["gate"] == "approved"
        assert "may change 1 services an hour" in held["waits_because"]


async def test_approvals_that_arrive_together_both_count(agent: Agent) -> None:
    asked = await agent.ask("suspend", "C-1", uid=OTHER)
    change = await agent.call("GET", f"/v1/changes/{asked['id']}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.approve, change, "joseph")
        nursery.start_soon(agent.approve, change, "lena")
    assert (await agent.end(change))["state"] == "done"


async def test_a_freeze_of_another_agent_or_of_a_key(agent: Agent, world: World) -> None:
    other = (await agent.hand_in(agent.people.freeze("joseph", FreezeScope.AGENT, "f" * 32)))[0]
    assert (other["accepted"], other["reason"]) == (False, "wrong-agent")
    change = await agent.ask("suspend", "C-1", hold=True)
    await agent.approve(change, "joseph")
    key = agent.people.keys["joseph"].public.hex()
    assert (await agent.hand_in(agent.people.freeze("lena", FreezeScope.KEY, key)))[0]["accepted"]
    await agent.call("POST", f"/v1/changes/{change['id']}/apply", {})
    await trio.sleep(0.3)
    assert world.writes == []


async def test_restore_supersedes_an_unsent_suspension(agent: Agent, world: World) -> None:
    suspension = await agent.ask("suspend", "C-1")
    restore = await agent.ask("restore", "C-1")
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    shown = await agent.call("GET", f"/v1/changes/{suspension['id']}")
    assert [i["state"] for i in shown["items"]] == ["superseded"]
    await agent.approve(suspension, "joseph")
    await agent.end(suspension)
    assert world.writes == []


async def test_reasons_are_a_set(agent: Agent, world: World) -> None:
    for reason in ("abuse", "debt"):
        change = await agent.ask("suspend", "C-1", reason=reason)
        await agent.approve(change, "joseph")
        await agent.end(change)
    assert len(world.writes) == 1
    change = await agent.ask("restore", "C-1", reason="debt")
    await agent.approve(change, "joseph")
    await agent.end(change)
    assert len(world.writes) == 1
    shown = await agent.call("GET", "/v1/subscribers/C-1")
    assert shown["services"][0]["suspended_for"] == ["abuse"]
    change = await agent.ask("restore", "C-1", reason="abuse")
    await agent.approve(change, "joseph")
    await agent.end(change)
    assert world.values[world.user("u0")] == {"plan": "20M"}


async def test_a_signed_intent_wins_over_the_uid(tmp_path: Path, world: World) -> None:
    import secrets
    import time

    from trust import statements
    from trust.policy import Action
    from trust.statements import Intent, IntentSubject, OnFailure, OnStale

    async with agent_in(tmp_path, world) as agent:
        intent = Intent(
            agent.people.trust_id, secrets.token_hex(16), secrets.token_hex(16), agent.daemon.files.identity.agent,
            "lena", Action.SUSPEND, {}, (IntentSubject("service", "C-1"),), (), OnFailure.STOP, OnStale.SKIP, 0,
            int(time.time()) + 600, "debt",
        )  # fmt: skip
        data = envelopes.encode(statements.sign(intent, [agent.people.keys["lena"]]))
        body = {"intent": base64.b64encode(data).decode()}
        change = await agent.call("POST", "/v1/changes", body, NOBODY)
        assert change["requester"] == "lena"
        assert (await refused(agent.call("POST", "/v1/changes", body, NOBODY))).code == "replayed-intent"
        forged = envelopes.encode(statements.sign(intent, [SigningKey.generate()]))
        body = {"intent": base64.b64encode(forged).decode()}
        assert (await refused(agent.call("POST", "/v1/changes", body, NOBODY))).status == 403


async def test_somebody_not_in_the_configuration_asks_at_a_terminal(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.builders.terminal import Terminal

    async with agent_in(tmp_path, world) as agent:
        said = await Terminal(agent, monkeypatch, NOBODY).type("change", "suspend", "C-1")
        assert (said.code, said.err) == (0, "")
        (change,) = await agent.call("GET", "/v1/changes")
        told = f"you see no preview: uid {NOBODY} is mapped to no person in the configuration ([people])"
        told += ": who reads needs a line there, and a role such as auditor in the trust document"
        assert said.out == f"{change['id']}: suspend, waiting for approval; {told}\n"


async def test_unknown_users_are_refused_and_never_kept_from_stop(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1")
    store = agent.daemon.files.store

    async def hand_in(data: bytes) -> Any:
        body = {"envelope": base64.b64encode(data).decode(), "change": ""}
        return await agent.call("POST", "/v1/statements", body, NOBODY)

    def approval(key: SigningKey | None = None) -> bytes:
        return agent.people.approve(plan_of(change), "joseph", key=key, seen=SeenHeads(1, agent.head))

    for _ in range(STRANGERS_PER_MIN):
        assert not (await hand_in(approval(SigningKey.generate())))[0]["accepted"]
    size = store.size
    assert (await refused(hand_in(approval(SigningKey.generate())))).status == 429
    assert (await refused(hand_in(b"junk"))).status == 429
    assert store.size == size
    assert (await hand_in(agent.people.freeze("joseph")))[0]["accepted"]
    assert (await agent.hand_in(approval()))[0]["accepted"]  # who is known is not held up by them


async def test_C14_a_payload_type_in_a_message_is_escaped(agent: Agent) -> None:
    evil = envelopes.sign("application/\x1b]0;owned\x07\u202e", b"{}", [SigningKey.generate()])
    error = await refused(agent.hand_in(envelopes.encode(evil)))
    assert "owned" in str(error)
    assert str(error).isprintable()


@dataclass(frozen=True, slots=True)
class VoidAll:
    """What a start without its witnesses does."""

    def run(self, tx: Tx) -> None:
        tx.append(Entry(LeafKind.UNWITNESSED_START))
        recovery.void_unconsumed(tx)


async def test_a_void_change_says_why(agent: Agent) -> None:
    change = await agent.ask("suspend", "C-1")
    await agent.daemon.files.store.run(VoidAll())
    shown = await agent.call("GET", f"/v1/changes/{change['id']}")
    assert (shown["gate"], "its witnesses did not confirm" in shown["waits_because"]) == ("void", True)
    assert "not started: the agent started" in outcome_text(shown)
    other = await agent.ask("suspend", "C-2/home")
    assert other["waits_because"] == ""


@pytest.mark.parametrize("data", [b"", b"junk", b"{}"])
async def test_an_intent_that_is_no_envelope_is_a_bad_request(agent: Agent, data: bytes) -> None:
    body = {"intent": base64.b64encode(data).decode()}
    assert (await refused(agent.call("POST", "/v1/changes", body))).code == "bad-request"


async def test_a_freeze_that_ended_is_not_shown(agent: Agent) -> None:
    statement = agent.people.freeze("joseph")
    await agent.hand_in(statement)
    store = agent.daemon.files.store
    (shown,) = (await agent.call("GET", "/v1/status"))["frozen"]
    assert shown == {"scope": "all", "target": "", "person": "joseph", "statement": statement.decode()}
    store._con.execute("UPDATE freeze SET expires_s = 1")
    assert (await agent.call("GET", "/v1/status"))["frozen"] == []


async def test_nothing_works_before_trust_and_wrong_words_are_refused(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world, install=False) as agent:
        assert "no trust is installed" in str(await refused(agent.ask("suspend", "C-1")))
        identity = agent.daemon.files.identity
        entry = trusted(identity.agent, "noc-1", identity.plan_key, "x", identity.log_key)
        document, _ = agent.people.sign_trust(agent.people.trust(entry))
        encoded = base64.b64encode(document).decode()
        wrong = "-".join(["lusab"] * 8)
        err = await refused(agent.call("POST", "/v1/trust", {"document": encoded, "words": wrong}, os.getuid()))
        assert err.status == 403
        other = trusted(identity.agent, "noc-1", SigningKey.generate(), "x", identity.log_key)
        document, _ = agent.people.sign_trust(agent.people.trust(other))
        head = chain.head_words(envelopes.decode_untrusted(document))
        body = {"document": base64.b64encode(document).decode(), "words": head}
        assert "another key" in str(await refused(agent.call("POST", "/v1/trust", body, os.getuid())))


async def test_an_export_is_proven_beside_the_loop(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change may have 35,000 leaves: nobody else waits while they are proven."""
    threads, inclusion = set[int](), merkle.inclusion

    def noted(index: int, size: int, nodes: merkle.Nodes) -> tuple[bytes, ...]:
        threads.add(threading.get_ident())
        return inclusion(index, size, nodes)

    async with agent_in(tmp_path, world) as agent:
        change = await agent.ask("suspend", "C-1")
        monkeypatch.setattr(merkle, "inclusion", noted)
        await agent.call("POST", f"/v1/audit/export/{change['id']}", {})
        assert threads
        assert threading.get_ident() not in threads


async def test_the_audit_answers(tmp_path: Path, world: World) -> None:
    from trust import proof

    async with agent_in(tmp_path, world) as agent:
        change = await agent.ask("suspend", "C-1")
        await agent.approve(change, "joseph")
        await agent.end(change)
        events = await agent.call("GET", f"/v1/audit?change={change['id']}")
        kinds = [e["kind"] for e in events]
        assert kinds.index("about-to") < kinds.index("step-outcome") < kinds.index("change-finished")
        vkey = agent.daemon.log.evidence.vkey
        for opened in ("0", "1"):
            found = await agent.call("GET", f"/v1/audit/proof/{events[-1]['seq']}?open={opened}")
            assert proof.verify_file_untrusted(found["file"].encode(), vkey).ok
            found = await agent.call("POST", f"/v1/audit/export/{change['id']}?open={opened}", {})
            assert proof.verify_file_untrusted(found["file"].encode(), vkey).ok
            assert ("Amina" in base64_text(found["file"])) is (opened == "1")
        assert [e["kind"] for e in await agent.call("GET", "/v1/audit")].count("exported") == 3, "one opened proof"
        assert (await refused(agent.call("GET", "/v1/audit/proof/99999"))).status == 404
        assert (await refused(agent.call("GET", "/v1/audit?after=²"))).status == 400


def base64_text(export: str) -> str:
    """Everything in an export that is base64, decoded."""
    texts = []
    for line in export.splitlines():
        for value in json.loads(line).values():
            if isinstance(value, str):
                try:
                    texts.append(base64.b64decode(value, validate=True).decode(errors="replace"))
                except ValueError:
                    continue
    return "\n".join(texts)
