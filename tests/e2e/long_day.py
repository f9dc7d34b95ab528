"""One long day with everything that can go wrong, at an operator whose control plane writes down what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from agent.changes.planning.intake import Intake
from agent.changes.remote.inbox_handler import REFUSED_PER_HOUR
from backups.sealing import opened_untrusted
from control_plane.desk import cloud_client, cloud_identity
from control_plane.desk.errors import CloudAwayError, CloudRefusedError
from lab.population import LabService
from protos import member_files
from protos import message_pb2 as pb
from tests.builders.age_files import Owner
from tests.e2e import sweep
from tests.e2e.canaries import AGENT_OPTIONS, Canaries, plain, staff
from tests.e2e.cloud_site import Company, company, wait_until
from tests.e2e.days import Day, following, refusals
from tests.e2e.files import ref_of
from tests.e2e.recording_cloud import Call, RecordingCloud
from trust import chain, seal, statements
from trust import envelope as envelopes
from trust.document import Trust
from trust.errors import Reason
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.policy import Action
from trust.seal import SealingKey
from trust.statements import (
    Decision,
    OutcomeState,
    Pause,
    Plan,
    Receipt,
    ReceiptResult,
    Resume,
)

SERVICES = 30


@dataclass
class Captured:
    """All that a control plane had of a long day, and what the day was about."""

    calls: list[Call]
    raw: dict[str, bytes]
    files: dict[str, bytes]
    log: bytes
    metrics: bytes
    canaries: Canaries
    day: Day

    @property
    def here(self) -> Company:
        return self.day.here

    def clear(self) -> dict[str, bytes]:
        """Return every piece that the control plane can read, by where it was."""
        found = {**self.files, "log": self.log, "metrics": self.metrics}
        listed: set[bytes] = set()
        for n, call in enumerate(self.calls):
            name = f"call {n} {call.method.rpartition('/')[2]}"
            replies = call.replies
            if name.endswith(" List"):  # the whole shared feed, time and again: each message of it once
                fields = [v for r in replies for v in sweep.fields_of(r) or [r] if isinstance(v, bytes)]
                replies = [v for v in fields if v not in listed]
                listed.update(fields)
            for what, pieces in (("request", call.requests), ("reply", replies)):
                found |= {f"{name} {what} {i}": piece for i, piece in enumerate(pieces)}
            found |= {f"{name} {key}": key.encode() + b" " + value for key, value in (*call.metadata, *call.trailing)}
            found[f"{name} end"] = f"{call.method} {call.peer} {call.code} {call.details}".encode()
        return found


async def good_work(day: Day, services: Sequence[LabService], canaries: Canaries) -> None:
    """Have things done, by the desk's own commands and by its connection."""
    here = day.here
    one, two = services[:2]
    plan = await day.planned("billing", Action.SUSPEND, ref_of(one))
    short = statements.decode_as_untrusted(Plan, envelopes.decode_untrusted(plan)).plan_id[:8]
    shown = await here.lena.do("changes", "show", short)
    assert one.login in shown, "who may see is shown what nobody else is"
    await here.lena.do("changes", "list")
    request = cloud_identity.new_request("lena")
    await trio.to_thread.run_sync(lambda: here.lena.connection().renew(request))
    (seen,) = await trio.to_thread.run_sync(here.lena.connection().agents)
    assert seen.connected
    await here.joseph.do("changes", "approve", short, "--yes-i-read-it", "1")
    assert (await day.outcome(plan)).state is OutcomeState.DONE
    refs = here.lena.home / "refs"
    refs.write_text(ref_of(two) + "\n", encoding="utf-8")
    said = await here.lena.do("changes", "suspend", "--agent", here.files.enrolled.handle, "--refs-file", refs)
    assert "RECEIPT" in said

    standing = here.files.people.standing()
    await day.accepted("lena", pb.KIND_STANDING, standing)
    here.billing.pay(one.subscriber)
    plan = await day.planned("billing", Action.RESTORE, ref_of(one))
    assert (await day.outcome(plan)).state is OutcomeState.DONE

    tariff = next(t for what, t in canaries.tokens.items() if what.startswith("tariff") and t != two.tariff.name)
    plan = await day.planned("billing", Action.SET_PLAN, ref_of(two), params={"tariff": tariff})
    await day.view(plan, "lena")
    assert (await day.ended(plan)).state is OutcomeState.DONE
    plan = await day.planned("billing", Action.DISCONNECT, ref_of(two))
    assert (await day.ended(plan)).state is OutcomeState.DONE


async def trouble(day: Day, services: Sequence[LabService], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have plans rejected, cancelled, frozen, drifted, half done, and crashed over."""
    here, people = day.here, day.here.files.people
    three, four, five, *rest = services
    plan = await day.planned("billing", Action.SUSPEND, ref_of(three))
    await here.isp.database.execute(
        "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Session-Timeout', ':=', '3600')",
        (three.login,),
    )
    assert (await day.ended(plan)).state is OutcomeState.NOTHING_DONE
    plan = await day.planned("billing", Action.SUSPEND, ref_of(four))
    assert (await day.decide(plan, "lena", decision=Decision.REJECT)).result is ReceiptResult.ACCEPTED
    plan = await day.planned("billing", Action.DISCONNECT, ref_of(four))
    for kind, statement in ((pb.KIND_PAUSE, Pause), (pb.KIND_RESUME, Resume)):
        await day.accepted("lena", kind, people.pause(envelopes.decode_untrusted(plan), "lena", statement), here.agent)
    cancel = people.cancel(envelopes.decode_untrusted(plan), "lena")
    await day.accepted("lena", pb.KIND_CANCEL, cancel, here.agent)

    batch = [five, *rest][:5]
    here.isp.set_fault("nak:504", batch[-1].login)
    plan = await day.planned("billing", Action.SUSPEND, *map(ref_of, batch))
    await day.view(plan, "lena")
    assert (await day.ended(plan)).state is OutcomeState.NEEDS_A_PERSON
    here.isp.clear_faults()

    freeze = people.freeze("joseph")
    await day.accepted("joseph", pb.KIND_FREEZE, freeze)
    unfreeze = people.unfreeze(freeze, ["lena", "joseph"])
    await day.accepted("lena", pb.KIND_UNFREEZE, unfreeze)

    async def crashes(*_: object) -> bytes:
        raise ValueError(f"a fault of ours about {three.name}, {three.login}")

    with monkeypatch.context() as broken:
        broken.setattr(Intake, "plan", crashes)
        await day.ask("billing", Action.SUSPEND, ref_of(four))
        await day.quiet()


async def refused(day: Day, service: LabService, suspended: LabService) -> None:
    """Have the agent refuse what it can refuse."""
    here, people = day.here, day.here.files.people
    for receipt in await refusals(day, suspended):
        assert receipt.result is ReceiptResult.REFUSED
    everybody = await day.ask("billing", Action.SUSPEND, *map(ref_of, here.isp.services))
    await day.receipt(everybody)
    for changes in ({"params": {"tariff": service.name}}, {"agent": "ab" * 16}, {"expires": 1}):
        asked = await day.ask("billing", Action.SET_PLAN, ref_of(service), **changes)
        assert await day.refused(asked)
    people.keys["stranger"] = SigningKey.generate()
    here.desks["stranger"] = here.desks["billing"]
    asked = await day.ask("stranger", Action.SUSPEND, ref_of(service))
    assert await day.refused(asked)
    await day.send_sealed("billing", f"no envelope: {service.name} {service.login}".encode())
    nobody = seal.seal(service.name.encode(), SealingKey.generate().public)
    await here.desks["billing"].send(pb.KIND_INTENT, nobody, here.agent)
    await day.quiet()
    plan = await day.planned("lena", Action.DISCONNECT, ref_of(service))
    assert (await day.decide(plan, "lena")).result is ReceiptResult.REFUSED  # who asked does not count
    wrong = await day.decide(plan, "joseph", key=people.keys["lena"])
    assert wrong.result is ReceiptResult.REFUSED
    await view_refused(day, plan)
    await guess(day)


async def guess(day: Day) -> None:
    """Have somebody ask for one name after the other: each leaves a leaf, and soon nobody looks any more."""
    asked = [await day.ask("joseph", Action.SUSPEND, f"C-{n:06}/home") for n in range(REFUSED_PER_HOUR)]
    reasons = [await day.refused(one) for one in asked]
    assert reasons == ["not-taken"] * REFUSED_PER_HOUR, reasons
    # Only now: intents are handled side by side, and what is not yet refused is not yet counted.
    assert await day.refused(await day.ask("joseph", Action.SUSPEND, "C-999999/home")) == "rate-limited"
    counted = "SELECT count(*) FROM event WHERE kind = ?"
    row = day.site.daemon.files.store.reader.execute(counted, (LeafKind.REFUSED.value,)).fetchone()
    assert row[0] >= REFUSED_PER_HOUR


async def view_refused(day: Day, plan: bytes) -> None:
    """Have somebody ask for items who may not see them; the answer is a receipt, and no page."""
    desk = day.desk("blind")

    async def ask() -> None:
        with pytest.raises(CloudAwayError):
            await day.view(plan, "blind")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        (refusal,) = await day.feed.wait(lambda b: may_not_see(b.receipts))
        assert refusal.reason is Reason.NOT_ALLOWED_TO_SEE
        desk.close()


def may_not_see(receipts: Sequence[Receipt]) -> list[Receipt]:
    return [r for r in receipts if r.of_type == "view" and r.result is ReceiptResult.REFUSED]


async def refused_by_the_cloud(day: Day, cloud: RecordingCloud) -> None:
    """Have the control plane refuse what it can refuse."""
    here = day.here
    receipt = next(c.requests[0] for c in cloud.calls() if c.method.endswith("AgentCloud/Submit"))
    for kind, body in ((pb.KIND_APPROVAL, b"{}"), (pb.KIND_PLAN, receipt), (pb.KIND_INTENT, b"")):
        with pytest.raises(CloudRefusedError):
            await here.joseph.send(kind, body, here.agent)
    cloud.admin("people", "revoke", "joseph", "--operator", here.operator)

    async def shut_out() -> bool:
        try:
            await here.joseph.feed()
        except CloudRefusedError:
            return True
        return False

    await wait_until("a refusal of who was revoked", shut_out)
    used = member_files.read_invitation_untrusted(
        next(here.folder.glob("people-joseph-*.json")).read_bytes(), member_files.AT_DESKS
    )
    with pytest.raises(CloudRefusedError):
        await trio.to_thread.run_sync(cloud_client.enroll, used)


async def new_trust(day: Day) -> Trust:
    """Sign the next version of the trust document and let it travel with an approval."""
    files = day.here.files
    before = files.signed_trust()[0]
    head = chain.head_sha256(envelopes.decode_untrusted(before))
    files.trust = replace(files.trust, version=2, prev=head)
    document = files.signed_trust()[0]
    await day.accepted("lena", pb.KIND_TRUST, document)
    return files.trust


async def long_day(folder: Path, cloud: RecordingCloud, canaries: Canaries, patch: pytest.MonkeyPatch) -> Captured:
    """Live through everything; return what the control plane has of it."""
    async with company(
        folder,
        cloud,
        isp={"services": SERVICES},
        change_trust=lambda trust, files: staff(trust, files, cloud.vkey, 1),
        prepare_files=canaries.prepare,
        desks=("lena", "joseph", "blind"),
        agent=AGENT_OPTIONS,
        within_s=(2, 4),
    ) as here:
        here.desk("billing", "services")
        services = plain(here.isp.services)
        canaries.note_sessions(here.isp)
        async with here.at_work() as site, following(here.lena) as feed:
            day = Day(here, site, feed)
            await good_work(day, services, canaries)
            await day.checkpoint()
            await trouble(day, services[2:], patch)
            await day.checkpoint()
            running = cloud.files()
        with canaries.database_away():
            async with here.at_work(install=False) as site, following(here.lena) as feed:
                day.site, day.feed = site, feed
                asked = await day.ask("billing", Action.SUSPEND, ref_of(services[9]))
                assert await day.refused(asked) == "not-taken"
        async with here.at_work(install=False) as site, following(here.lena) as feed:
            day.site, day.feed = site, feed
            await refused(day, services[9], services[4])
            await new_trust(day)
            canaries.note_sessions(here.isp)
            day.note_intents()
            await refused_by_the_cloud(day, cloud)
            metrics = cloud.metrics_text()
            owner = Owner()
            cloud.admin("backup", "--to", str(folder / "backup"), "--recipient", owner.public)
    cloud.stop()
    files = {**running, **{f"{name} at the end": data for name, data in cloud.files().items()}}
    with opened_untrusted(folder / "backup", owner.identities) as clear:
        files["backup"] = clear.read(1 << 30)
    return Captured(cloud.calls(), cloud.raw(), files, cloud.log.read_bytes(), metrics, canaries, day)
