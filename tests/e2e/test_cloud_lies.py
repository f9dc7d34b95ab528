"""A control plane that lies: whoever runs it writes into its database what they like, and keeps back what they like.

Names in parentheses are those of the attack list that the threat model answers.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.journal.signing import Signer
from agent.config import load
from agent.store.identity import load_identity
from agent.store.vault import load_store_key
from control_plane import queues
from protos import message_pb2 as pb
from tests.builders.people import People, plan_of, trusted
from tests.e2e.cloud_site import CloudProgram, Company, Withhold, company, plan_sha256, wait_until
from tests.e2e.files import Files, ordinary, ref_of
from tests.e2e.site import Json, MovableClock, Site, b64, sent, state_of
from trust import answer as answers
from trust import envelope as envelopes
from trust import seal, statements
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import Reason
from trust.keys import SigningKey
from trust.policy import Action
from trust.statements import (
    Approval,
    Decision,
    Intent,
    IntentSubject,
    OnFailure,
    OnStale,
    Plan,
    ReasonCode,
    ReceiptResult,
    Saw,
    View,
)

Make = Callable[["Stage"], Awaitable[bytes]]
OTHER = SigningKey.generate()
OTHER_AGENT = secrets.token_hex(16)


def two_agents(trust: Trust, files: Files) -> Trust:
    return replace(
        trust, agents=(*trust.agents, trusted(OTHER_AGENT, "noc-2", OTHER, "isp.example/noc-2", SigningKey.generate()))
    )


class Stage:
    """An agent with an open change, one that is done, and one that only its own site may approve."""

    def __init__(self, here: Company, site: Site, opened: Json, done: Json, alone: Json) -> None:
        self.here, self.site, self.opened, self.done, self.alone = here, site, opened, done, alone

    @property
    def people(self) -> People:
        return self.site.people

    def approval(self, plan: Envelope, **fields: object) -> Approval:
        now = self.people.now_s // 60
        plain = Approval(
            trust_id=self.people.trust_id,
            plans=(envelopes.digest(plan).hex(),),
            decision=Decision.APPROVE,
            person="joseph",
            saw=Saw.DETAIL,
            not_before=now - 1,
            not_after=now + 60,
            reason_code=ReasonCode.CHECKED,
            seen=self.here.files.seen(),
        )
        return replace(plain, **fields)  # type: ignore[arg-type]  # each lie names its fields


# --- what it delivers -------------------------------------------------------------------------------------------------


async def forged(stage: Stage) -> bytes:
    """(C1) joseph's approval by a key of the cloud's own."""
    made = stage.approval(plan_of(stage.opened))
    return envelopes.encode(statements.sign(made, [SigningKey.generate()]))


async def altered(stage: Stage) -> bytes:
    """(A3) joseph's own signature under other bytes: for the open change, not for the one that he approved."""
    good = envelopes.decode_untrusted(stage.site.approval(stage.done, "joseph"))
    other = statements.encode(stage.approval(plan_of(stage.opened)))
    return envelopes.encode(replace(good, payload=other))


async def requesters_own(stage: Stage) -> bytes:
    """(A1) The requester's own approval."""
    return stage.site.approval(stage.opened, "maria")


async def of_another_agent(stage: Stage) -> bytes:
    """(C2) An approval that joseph gave to the plan of another agent of the same operator."""
    mine = statements.decode_as_untrusted(Plan, plan_of(stage.opened))
    theirs = statements.sign(replace(mine, agent=OTHER_AGENT, plan_id=secrets.token_hex(16)), [OTHER])
    return envelopes.encode(statements.sign(stage.approval(theirs), [stage.people.keys["joseph"]]))


async def used_again(stage: Stage) -> bytes:
    """(C2) A second approval of a plan that was used."""
    return stage.site.approval(stage.done, "lena")


async def for_the_site_only(stage: Stage) -> bytes:
    """(C9) An approval of a class that is approved at the site."""
    return stage.site.approval(stage.alone, "maria")


async def invented_cancel(stage: Stage) -> bytes:
    """(C1) A cancel by nobody."""
    people = People(keys={"lena": SigningKey.generate()}, trust_id=stage.people.trust_id)
    return people.cancel(plan_of(stage.opened), "lena")


async def plan_as_approval(stage: Stage) -> bytes:
    """(E4) The agent's own plan, as if it were an approval."""
    return envelopes.encode(plan_of(stage.opened))


async def own_trust(stage: Stage) -> bytes:
    """(T10) A trust document of the cloud's own chain, with the same id and the next version."""
    people = People(trust_id=stage.people.trust_id)
    first = stage.here.files.trust
    return people.sign_trust(
        replace(people.trust(first.agents[0]), version=2, prev=stage.here.files.seen().trust_sha256)
    )[0]


async def own_standing(stage: Stage) -> bytes:
    """(C1) Standing authority by keys of the cloud's own."""
    return People(trust_id=stage.people.trust_id).standing()


LIES: dict[str, tuple[Make, pb.Kind, str]] = {
    "forged": (forged, pb.KIND_APPROVAL, "unknown-signer"),
    "altered": (altered, pb.KIND_APPROVAL, "unknown-signer"),
    "requester": (requesters_own, pb.KIND_APPROVAL, "requester-approves"),
    "other agent": (of_another_agent, pb.KIND_APPROVAL, "other-plan"),
    "used": (used_again, pb.KIND_APPROVAL, "consumed"),
    "site only": (for_the_site_only, pb.KIND_APPROVAL, "wrong-channel"),
    "cancel": (invented_cancel, pb.KIND_CANCEL, "unknown-signer"),
    "plan": (plan_as_approval, pb.KIND_APPROVAL, "not-taken"),
    "trust": (own_trust, pb.KIND_TRUST, "threshold-not-met"),
    "standing": (own_standing, pb.KIND_STANDING, "unknown-signer"),
}


async def test_C1_C2_C9_inventions_are_refused_with_a_reason_each(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud, desks=("joseph",), change_trust=two_agents) as here, here.at_work() as site:
        first, second, third = ordinary(here.isp, 3)
        done = await site.do("suspend", ref_of(first))
        await site.do("suspend", ref_of(third))
        alone = await site.ask("restore", ref_of(third), alone=True)
        assert alone["class"] == "alone"
        stage = Stage(here, site, await site.ask("suspend", ref_of(second)), done, alone)
        before, approvals = sent(here.isp), (await site.show(done))["approvals"]

        lies = {what: await make(stage) for what, (make, _, _) in LIES.items()}
        replayed = next(iter(site.daemon.files.store.reader.execute("SELECT envelope FROM approval")))["envelope"]
        for what, body in lies.items():
            here.inject(here.message(LIES[what][1], body))
        here.inject(here.message(pb.KIND_APPROVAL, bytes(replayed)))  # (C2) the very one that was used
        here.inject(here.message(pb.KIND_INTENT, secrets.token_bytes(4096)))
        here.inject(here.message(pb.KIND_APPROVAL, b"\xff\x00 no envelope"))
        here.proxy.cut()  # and now it tells the agent
        here.proxy.mend()

        got = {what: await here.joseph.receipt(body) for what, body in lies.items()}
        assert {what: r.reason.value if r.reason else "accepted" for what, r in got.items()} == {
            what: reason for what, (_, _, reason) in LIES.items()
        }
        assert {r.result for r in got.values()} == {ReceiptResult.REFUSED}
        assert (await here.joseph.receipt(bytes(replayed))).result is ReceiptResult.ACCEPTED  # it was, once

        assert ((await site.show(stage.opened))["gate"], (await site.show(alone))["gate"]) == ("open", "open")
        assert (await site.call("GET", "/v1/trust"))["version"] == 1
        shown = await site.show(done)
        assert (shown["approvals"], state_of(shown)) == (approvals, ("applied", "garden"))
        assert len(await site.call("GET", "/v1/changes")) == 4
        assert sent(here.isp) == before
        # By the site's own socket the same statement counts (C9), so it was the way that was refused
        (answer,) = await site.hand_in(lies["site only"], alone["id"])
        assert answer["accepted"], answer
        await site.wait_end(alone)


async def test_C1_C15_an_intent_by_nobody_makes_no_plan(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C1, C15) A sealed intent says the same whether its subject exists or not, and signed by nobody it says less."""
    async with company(tmp_path, cloud, desks=("joseph",)) as here, here.at_work() as site:
        await site.daemon.sealing.refresh()
        (key,) = await here.joseph.wait("a sealing key", lambda b: b.sealkeys)
        (service,) = ordinary(here.isp, 1)

        def intent(ref: str, signer: SigningKey) -> bytes:
            made = Intent(
                trust_id=site.people.trust_id,
                intent_id=secrets.token_hex(16),
                salt=secrets.token_hex(16),
                agent=here.agent,
                requester="maria",
                verb=Action.SUSPEND,
                params={},
                subjects=(IntentSubject("service", ref),),
                exclude=(),
                on_failure=OnFailure.STOP,
                on_stale=OnStale.SKIP,
                canary=0,
                expires=int(time.time()) + 3600,
                reason="debt",
            )
            return envelopes.encode(statements.sign(made, [signer]))

        maria = site.people.keys["maria"]
        nobodys = intent(ref_of(service), SigningKey.generate())
        unknown = intent("C-99999/home", maria)
        online_nobody = intent("C-99999/home", SigningKey.generate())
        for body in (nobodys, unknown, online_nobody):
            sealed = seal.seal(body, bytes.fromhex(key.x25519))
            here.inject(here.message(pb.KIND_INTENT, sealed))
        here.proxy.cut()
        here.proxy.mend()
        receipts = [await here.joseph.receipt(body) for body in (nobodys, unknown, online_nobody)]
        assert [r.reason.value for r in receipts if r.reason] == ["unknown-signer", "not-taken", "unknown-signer"]
        assert len({len(m.body) for m in (await here.joseph.feed()).messages if m.kind == pb.KIND_RECEIPT}) <= 2
        assert await site.call("GET", "/v1/changes") == []


# --- what it keeps back -----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_C4_C5_a_cancel_withheld_is_missed_and_carried_by_file(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C4, C5) No receipt comes, the desk says so; the same cancel by file stops the change."""
    async with company(tmp_path, cloud, desks=("joseph", "lena")) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]), hold=True)
        await here.joseph.wait("the plan", lambda b: b.plans)
        await site.approve(change, "joseph")
        here.proxy.cut()  # what comes meanwhile, the control plane throws away
        file = here.folder / "cancel.json"
        short = plan_sha256(change)[:8]
        async with trio.open_nursery() as nursery:

            async def withhold() -> None:
                async def look() -> bool:
                    return cloud.change(Withhold(here.agent_queue, pb.KIND_CANCEL)) > 0

                await wait_until("a cancel", look)
                here.proxy.mend()

            nursery.start_soon(withhold)
            typed = await here.lena.type("changes", "cancel", short, "--yes", "--out", file, "--wait", "2")
        assert (typed.code, "NO RECEIPT from noc-1" in typed.sentence) == (4, True), typed
        await here.connected(site)
        assert (await site.show(change))["gate"] == "approved"

        carried = await here.files.type("change", "cancel", change["id"], "--file", str(file))
        assert carried.code == 0, carried
        refused = await here.files.type("change", "apply", change["id"])
        assert refused.code == 3, refused
        assert (await site.wait_end(change))["state"] == "cancelled"
        assert sent(here.isp) == 0
        assert (await here.lena.receipt(file.read_bytes().strip())).result is ReceiptResult.ACCEPTED
        assert "cancelled" in await here.lena.do("changes", "list")


async def test_C3_an_approval_that_is_delivered_late_does_not_count(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C3) Kept back until the plan may not start any more."""
    clock = MovableClock()
    async with company(tmp_path, cloud, desks=("joseph",)) as here, here.at_work(clock=clock) as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        approval = site.approval(change, "joseph")
        here.proxy.cut()
        await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)
        clock.pass_s(5 * 3600)
        here.proxy.mend()
        receipt = await here.joseph.receipt(approval)
        assert receipt.result is ReceiptResult.REFUSED
        assert receipt.reason is not None
        assert receipt.reason.value in ("expired", "consumed")
        assert (await site.wait_end(change))["state"] == "expired"
        assert sent(here.isp) == 0


async def test_A2_C4_C16_who_was_removed_is_shown_nothing_any_more(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C4, C16, A2) The version without joseph is kept from his desk; the agent has it, and he counts no more."""
    async with company(tmp_path, cloud, desks=("joseph", "lena")) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        await here.joseph.wait("the plan", lambda b: b.plans)
        old, files = here.files.seen(), here.files
        people = tuple(p for p in files.trust.people if p.handle != "joseph")
        root = replace(
            files.trust.root, threshold=1, keys=tuple(k for k in files.trust.root.keys if k.person == "lena")
        )
        files.trust = replace(files.trust, version=2, prev=old.trust_sha256, people=people, root=root)
        installed = await site.call("POST", "/v1/trust", {"document": b64(files.signed_trust()[0]), "words": ""})
        assert installed["version"] == 2

        typed = await here.joseph.type("changes", "show", plan_sha256(change)[:8])
        assert (typed.code, "noc-1 does not show it: unknown-signer" in typed.sentence) == (3, True), typed
        approval = site.approval(change, "joseph", seen=old)
        await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)
        receipt = await here.joseph.receipt(approval)
        assert (receipt.result, receipt.reason) == (ReceiptResult.REFUSED, Reason.UNKNOWN_SIGNER)
        assert "disclosed" not in {e["kind"] for e in await site.call("GET", "/v1/audit")}
        assert ((await site.show(change))["gate"], sent(here.isp)) == ("open", 0)


async def test_C16_a_view_is_answered_once(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C16) Brought a second time it is refused: no new pages to a key that may be known by then."""
    async with company(tmp_path, cloud, desks=("joseph",)) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        key = seal.SealingKey.generate()
        view = site.people.view(plan_of(change), "joseph", key, seen=here.files.seen())
        request = statements.decode_as_untrusted(View, envelopes.decode_untrusted(view))
        pages = await trio.to_thread.run_sync(here.joseph.connection().view(here.agent, view).pages)
        answer = answers.decode_untrusted(seal.open_pages_untrusted(bytes.fromhex(request.view_id), key, pages))
        assert [d.decode() for d in answer.documents] == change["documents"]

        again = here.joseph.connection().view(here.agent, view)
        try:
            receipt = await here.joseph.receipt(view)
        finally:
            again.cancel()
        assert (receipt.result, receipt.reason) == (ReceiptResult.REFUSED, Reason.CONSUMED)
        assert [e["kind"] for e in await site.call("GET", "/v1/audit")].count("disclosed") == 1


# --- what it shows ----------------------------------------------------------------------------------------------------


async def test_C6_plans_that_no_agent_signed_are_not_shown(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C6) What the agent did not sign is named as not verified, and nobody can approve it."""
    async with company(tmp_path, cloud, desks=("joseph",)) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        await here.joseph.wait("the plan", lambda b: b.plans)
        real = statements.decode_as_untrusted(Plan, plan_of(change))
        fake = statements.sign(replace(real, plan_id="ab" * 16), [SigningKey.generate()])
        feed = queues.feed(here.operator_id)
        here.inject(here.message(pb.KIND_PLAN, envelopes.encode(fake)), feed)
        typed = await here.joseph.type("changes", "list")
        assert "1 messages NOT VERIFIED" in typed.err
        assert typed.out.count("suspend") == 1
        refused = await here.joseph.type("changes", "approve", "abababab", "--yes-i-read-it", "1")
        assert refused.code == 2, refused


async def test_C7_L1_a_forked_log_is_an_alarm_at_the_desk(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C7, L1) A second history of an agent's log, signed with its own key, contradicts what this desk saw."""
    async with company(tmp_path, cloud, desks=("joseph", "lena")) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        await here.joseph.wait("the plan", lambda b: b.plans)
        assert "suspend" in await here.joseph.do("changes", "show", plan_sha256(change)[:8])

        config = load(here.files.config)
        identity = load_identity(config.state_dir, load_store_key(config.key_file))
        size, root = site.daemon.log.evidence.published()
        assert size > 0
        twin = Signer(site.people.trust_id, identity.agent, identity.plan_key, lambda: (size, bytes(32)))
        lie = twin.receipt("cancel", secrets.token_bytes(32), None, (0, 0), 1, time.time())
        here.inject(here.message(pb.KIND_RECEIPT, lie), queues.feed(here.operator_id))

        typed = await here.joseph.type("changes", "list")
        assert (typed.code, f"noc-1 FORKED: two different trees of {size} entries" in typed.err) == (4, True), typed
        assert root != bytes(32)
