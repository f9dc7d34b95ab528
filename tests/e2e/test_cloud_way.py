"""Changes through the control plane, from the request to the outcome, and what people elsewhere see of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # a compiled module

from control_plane import server
from control_plane.desk.errors import CloudRefusedError
from lab.isp import Isp
from lab.population import LabService
from protos import channel
from protos import message_pb2 as pb
from tests.e2e.cloud_site import CloudProgram, Company, Desk, company, plan_sha256
from tests.e2e.files import Files, ordinary, ref_of, stamp
from tests.e2e.site import Json, Site, item_states, state_of
from trust import chain
from trust import envelope as envelopes
from trust.document import PersonKey, ServiceAccount, Trust
from trust.errors import Reason
from trust.keys import SigningKey
from trust.statements import OutcomeState, ReceiptResult


async def sealed(here: Company, site: Site) -> None:
    """Wait until desks can seal to the agent."""
    await site.daemon.sealing.refresh()
    await here.joseph.wait("a sealing key", lambda b: b.sealkeys)


def newcomer(files: Files, handle: str) -> SigningKey:
    """Return the new key of somebody whom the trust document does not know yet."""
    key = files.people.keys[handle] = SigningKey.generate()
    return key


def test_grpc_knows_every_option_that_is_set() -> None:
    """gRPC passes over a misspelt option in silence: then pings every 15 s end a connection as too many."""
    known = Path(cygrpc.__file__).read_bytes()
    for options in (server.OPTIONS, channel.options()):
        assert [name for name, _ in options if name.encode() not in known] == []


# --- the whole way ----------------------------------------------------------------------------------------------------


async def test_asked_and_approved_at_desks_applied_at_the_site(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud, desks=("maria", "joseph")) as here, here.at_work() as site:
        (service,) = ordinary(here.isp, 1)
        await sealed(here, site)
        said = await here.desks["maria"].do("changes", "suspend", ref_of(service), "--agent", "noc-1")
        assert "RECEIPT noc-1: intent accepted" in said
        (plan,) = (await here.joseph.feed()).plans
        assert (plan.requester, plan.agent) == ("maria", here.agent)

        shown = await here.joseph.do("changes", "show", plan.plan_id[:8])
        assert service.subscriber in shown
        disclosed = [e for e in await site.call("GET", "/v1/audit") if e["kind"] == "disclosed"]
        assert len(disclosed) == 1

        refused = await here.desks["maria"].type("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
        assert (refused.code, "another person must approve" in refused.sentence) == (3, True)
        said = await here.joseph.do("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
        assert "RECEIPT noc-1: approve accepted · 1 of 1 people" in said

        (change,) = await site.call("GET", "/v1/changes")
        assert state_of(await site.wait_end(change)) == ("applied", "garden")
        (session,) = here.isp.sessions(service.login)
        assert session.lease.pool == "garden"
        outcome = await here.joseph.outcome(plan_sha256(await site.show(change)))
        assert (outcome.state, outcome.final) == (OutcomeState.DONE, True)
        line = await here.joseph.do("changes", "list")
        assert "done" in line
        assert "NO RECEIPT" not in line


def two_owe(isp: Isp, files: Files) -> None:
    """Let two of an ISP's ordinary subscribers owe, of whom the second promised to pay."""
    debtor, promised = ordinary(isp, 2)
    for service in isp.services:
        if service.subscriber not in (debtor.subscriber, promised.subscriber):
            files.billing.update(service.subscriber, balance="0.00", due="", promise_until="")
    until = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    files.billing.update(promised.subscriber, promise_until=until)


async def test_a_desk_asks_for_all_overdue_the_site_chooses(tmp_path: Path, cloud: CloudProgram) -> None:
    """Who asks names nobody; who approves sees each that is cut, and each that is left out with the reason."""
    async with (
        company(tmp_path, cloud, desks=("maria", "joseph"), prepare_files=two_owe) as here,
        here.at_work() as site,
    ):
        debtor, promised, paid = ordinary(here.isp, 3)
        await sealed(here, site)
        said = await here.desks["maria"].do("changes", "suspend", "--overdue", "--agent", "noc-1")
        assert "RECEIPT noc-1: intent accepted" in said
        assert debtor.subscriber not in said
        (plan,) = (await here.joseph.feed()).plans
        assert plan.requester == "maria"

        shown = await here.joseph.do("changes", "show", plan.plan_id[:8], "--list")
        assert debtor.subscriber in shown
        assert "promised to pay until" in shown
        assert promised.subscriber in shown
        assert paid.subscriber not in shown

        said = await here.joseph.do("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
        assert "RECEIPT noc-1: approve accepted" in said
        (change,) = await site.call("GET", "/v1/changes")
        ended = item_states(await site.wait_end(change))
        assert ended == {ref_of(debtor): ("applied", "garden"), ref_of(promised): ("excluded", "promised")}
        assert [s.lease.pool for one in (debtor, promised) for s in here.isp.sessions(one.login)] == [
            "garden",
            "normal",
        ]


@pytest.mark.slow
async def test_asked_at_the_site_and_approved_elsewhere(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud, desks=("joseph",)) as here:
        # As an operator's: enrolled and trusted by nothing but commands
        lena = here.desk_by_hand("lena")
        async with here.at_work() as site:
            (service,) = ordinary(here.isp, 1)
            typed = await here.files.type("change", "suspend", ref_of(service))
            assert typed.code == 0, typed
            (change,) = await site.call("GET", "/v1/changes")
            sha256 = plan_sha256(await site.show(change))
            await lena.wait("the plan", lambda b: b.plans)
            # By the beginning of the digest: the short name is known at the site, and after a look
            assert "RECEIPT noc-1: approve accepted" in await lena.do(
                "changes", "approve", sha256[:8], "--yes-i-read-it", "1"
            )
            assert (await lena.outcome(sha256)).state is OutcomeState.DONE
            watched = await here.files.type("change", "watch", change["id"])
            assert watched.code == 0, watched
            assert change["id"] in await lena.do("changes", "list")
            assert state_of(await site.show(change)) == ("applied", "garden")


# --- standing authority -----------------------------------------------------------------------------------------------


def with_billing(trust: Trust, files: Files) -> Trust:
    key = newcomer(files, "billing")
    return replace(
        trust, services=(ServiceAccount("billing", (PersonKey("ed25519", key.public.hex()),), run_by="maria"),)
    )


def pay(here: Company, service: LabService) -> None:
    """Somebody pays, after they were suspended: later than in the same second."""
    paid = stamp(datetime.now(UTC) + timedelta(seconds=2))
    here.billing.update(service.subscriber, balance="0.00", paid_at=paid)
    here.billing.write()


async def restores(billing: Desk, service: LabService) -> None:
    said = await billing.do("changes", "restore", ref_of(service), "--agent", "noc-1")
    assert "asked noc-1 as billing" in said
    assert "RECEIPT noc-1: intent accepted" in said


@pytest.mark.slow
async def test_restored_at_night_by_standing_authority(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud, change_trust=with_billing) as here, here.at_work() as site:
        early, late = ordinary(here.isp, 2)
        billing = here.desk("billing", "services")
        await sealed(here, site)
        for service in (early, late):
            await site.do("suspend", ref_of(service))

        file = here.folder / "standing.json"
        await here.lena.do("standing", "new", "--rate", "1", "--days", "7", "--out", file, "--yes")
        alone = await here.lena.type("standing", "send", file)
        assert (alone.code, "expected 2 people to sign" in alone.sentence) == (3, True), alone
        await here.joseph.do("standing", "sign", file, "--yes")
        assert "RECEIPT noc-1: standing accepted" in await here.joseph.do("standing", "send", file)
        assert [s["verb"] for s in (await site.call("GET", "/v1/status"))["standings"]] == ["restore"]

        pay(here, early)
        await restores(billing, early)
        change = await newest(site)
        assert change["class"] == "restore"
        assert state_of(await site.wait_end(change))[0] == "applied"
        assert (await billing.outcome(plan_sha256(change))).state is OutcomeState.DONE
        assert (await site.show(change))["approvals"] == []

        pay(here, late)
        await restores(billing, late)
        second = await newest(site)
        assert (second["class"], second["gate"]) == ("restore", "open")
        assert second["waits_because"] == (
            "it waits its turn, or for a person: expected at most 1 uses within an hour, got 1 already"
        )
        short = plan_sha256(second)[:8]
        await here.joseph.do("changes", "approve", short, "--yes-i-read-it", "1")
        assert state_of(await site.wait_end(second))[0] == "applied"


async def newest(site: Site) -> Json:
    """Return the change that was made last."""
    return await site.show((await site.call("GET", "/v1/changes"))[0])


async def test_a_service_sees_no_plans_and_approves_nothing(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud, change_trust=with_billing) as here, here.at_work() as site:
        billing = here.desk("billing", "services")
        (service,) = ordinary(here.isp, 1)
        change = await site.ask("suspend", ref_of(service))
        await here.joseph.wait("the plan", lambda b: b.plans)
        assert (await billing.feed()).plans == []
        typed = await billing.type("changes", "approve", plan_sha256(change)[:8], "--yes-i-read-it", "1")
        assert typed.code != 0
        assert (await site.show(change))["gate"] == "open"


# --- two operators ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_two_operators_do_not_see_each_other(tmp_path: Path, cloud: CloudProgram) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with (
        company(tmp_path / "a", cloud, desks=("joseph",)) as ours,
        company(tmp_path / "b", cloud, desks=("joseph",)) as theirs,
        ours.at_work() as site,
        theirs.at_work() as other,
    ):
        change = await site.ask("suspend", ref_of(ordinary(ours.isp, 1)[0]))
        (plan,) = await ours.joseph.wait("the plan", lambda b: b.plans)
        mine = await other.ask("suspend", ref_of(ordinary(theirs.isp, 1)[0]))
        await theirs.joseph.wait("their own plan", lambda b: b.plans)

        assert [p.agent for p in (await theirs.joseph.feed()).plans] == [theirs.agent]
        assert "noc-1" in await ours.joseph.do("changes", "list")
        approval = site.approval(change, "joseph")
        with pytest.raises(CloudRefusedError, match="unknown-agent"):
            await theirs.joseph.send(pb.KIND_APPROVAL, approval, ours.agent)
        # And what their own cloud's feed is fed with by us changes nothing there
        theirs.inject(theirs.message(pb.KIND_APPROVAL, approval))
        await theirs.joseph.send(pb.KIND_APPROVAL, approval, theirs.agent)
        receipt = await theirs.joseph.receipt(approval)
        assert receipt.result is ReceiptResult.REFUSED
        assert (await other.show(mine))["gate"] == "open"
        assert (await site.show(change))["gate"] == "open"
        assert plan.agent == ours.agent


# --- the trust chain --------------------------------------------------------------------------------------------------


async def second_version(here: Company) -> Path:
    """Have lena and joseph sign a version in which oscar approves; return its file."""
    key = newcomer(here.files, "oscar")
    draft, first = here.folder / "draft.json", here.lena.own / "trust.json"
    at = ("--draft", draft)
    await here.lena.do("trust", "next", first, "--out", draft)
    await here.lena.do(
        "trust", "add", "person", "oscar", "--key", key.public.hex(), "--role", "approver", "--sees-subscribers", *at
    )
    signed = here.folder / "second.json"
    await here.lena.do("trust", "sign", draft, "--out", signed, "--previous", first, "--yes")
    await here.joseph.do("trust", "sign", signed, "--previous", first, "--yes")
    return signed


async def test_an_approval_carries_the_version_that_knows_its_signer(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        await here.joseph.wait("the plan", lambda b: b.plans)
        signed = await second_version(here)
        oscar = here.desk("oscar")
        oscar.trusts(signed.read_bytes())
        alone = site.approval(change, "oscar")
        await oscar.send(pb.KIND_APPROVAL, alone, here.agent)
        receipt = await oscar.receipt(alone)
        assert (receipt.reason, receipt.trust_version) == (Reason.UNKNOWN_SIGNER, 1)
        # Items are shown to people of today's trust, so the request to see them carries it too
        await oscar.do("changes", "approve", plan_sha256(change)[:8], "--yes-i-read-it", "1")
        assert (await site.call("GET", "/v1/trust"))["version"] == 2
        assert state_of(await site.wait_end(change)) == ("applied", "garden")
        sent = cloud.rows("SELECT message FROM letter WHERE kind = ? ORDER BY id", pb.KIND_APPROVAL)
        carried = [list(pb.Message.FromString(row["message"]).links) for row in sent]
        assert carried[-1] == [signed.read_bytes().strip()]


async def test_a_version_that_is_published_reaches_agents_and_desks(tmp_path: Path, cloud: CloudProgram) -> None:
    async with company(tmp_path, cloud) as here, here.at_work() as site:
        signed = await second_version(here)
        said = await here.lena.do("trust", "publish", signed)
        assert "RECEIPT noc-1: trust accepted" in said
        assert (await site.call("GET", "/v1/trust"))["version"] == 2
        await here.joseph.do("changes", "list")
        head = chain.head_sha256(envelopes.decode_untrusted(signed.read_bytes()))
        assert chain.head_sha256(envelopes.decode_untrusted((here.joseph.own / "trust.json").read_bytes())) == head
        (receipt,) = (await here.joseph.feed()).receipts_of(signed.read_bytes())
        assert receipt.trust_version == 2
