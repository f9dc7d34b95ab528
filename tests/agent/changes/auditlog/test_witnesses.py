"""What witnesses say of this agent's log, and what of it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes.auditlog import witnesses
from agent.changes.auditlog.evidence import PAD_SMALLEST, Evidence
from agent.changes.auditlog.witnesses import Witnesses
from agent.changes.journal import commands
from agent.changes.journal.machine import Gate
from agent.changes.journal.trust_state import TrustState
from agent.changes.retry import ReopenRun
from agent.runtime.clock import now_of
from agent.runtime.notifier import Notifier
from agent.store import mail
from agent.store.errors import RefusedCommandError
from tests.builders.witnesses import AGENT, Site, Witness, desk_and_cloud, life, site_in, snapshot
from trust.checkpoint import cosign
from trust.document import Quorum, WitnessOperator
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.witness import decode_request_untrusted, note_text


async def consume(site: Site, plan_id: bytes) -> None:
    record = site.rig.recorder.record(None, {})
    await site.rig.store.run(commands.SetGate(plan_id, Gate.APPROVED, LeafKind.APPROVAL, record))
    command = commands.Consume(plan_id, now_of(site.clock), lambda tx, kept: None, lambda tx: None, 10**6, record)
    await site.rig.store.run(command)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_in(tmp_path, desk_and_cloud()) as made:
        yield made


async def test_said_only_with_a_witness_that_the_cloud_does_not_run(site: Site) -> None:
    assert site.asking.witnessed_text() == "not witnessed"
    await site.asking.publish()
    await site.deliver("desk-lena")
    assert site.asking.witnessed_text() == "not witnessed"
    await site.cosigned()
    assert site.asking.witnessed_text() == "witnessed by desk-lena, cloud"
    size = site.rig.evidence.published()[0]
    assert site.asking.witnessed_text(size) == "witnessed by desk-lena, cloud"
    assert site.asking.witnessed_text(size + 1) == "not witnessed"


async def test_each_request_begins_at_what_that_witness_cosigned(site: Site) -> None:
    await site.cosigned()
    first = site.rig.evidence.published()[0]
    await site.plan()
    await site.asking.publish()
    await site.deliver("cloud")
    second = site.rig.evidence.published()[0]
    await site.plan()
    await site.asking.publish()
    olds = {o.witness: decode_request_untrusted(o.body).old for o in site.waiting()}
    assert {w.name: olds[w.key_id] for w in site.witnesses} == {"desk-lena": second, "cloud": first}
    assert await site.deliver() == 2
    assert {c.size for w in site.witnesses for c in w.known.values()} == {site.rig.evidence.published()[0]}


async def test_a_request_that_was_not_sent_is_replaced(site: Site) -> None:
    for _ in range(5):
        await site.plan()
        await site.asking.publish()
    assert len(site.waiting()) == 2
    await site.deliver()
    assert site.asking.witnessed_text(site.rig.evidence.published()[0]).startswith("witnessed by")


async def test_whoever_watches_looks_again_after_an_answer(site: Site) -> None:
    await site.asking.publish()
    woken = site.bell.next_ring()
    assert await site.deliver("cloud") == 1
    assert woken.is_set()


async def test_a_request_is_not_sent_after_two_cadences(site: Site) -> None:
    await site.asking.publish()
    reader, now_s = site.rig.store.reader, site.clock.wall_s()
    left = [sum(o.kind == "checkpoint" for o in mail.next_out(reader, now_s + s, 100)) for s in (110, 130)]
    assert left == [2, 0]


async def test_requests_go_out_on_a_fixed_cadence_whatever_happened(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with site_in(tmp_path, desk_and_cloud()) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.asking.run)
        sizes = []
        for n in range(4):
            await trio.sleep(60.5 if n == 0 else 60)
            assert len(site.waiting()) == 2
            await site.deliver()
            sizes.append(site.rig.evidence.published()[0])
            if n == 1:
                await site.plan()
        assert sizes == [128, 128, 256, 256]
        nursery.cancel_scope.cancel()


async def test_with_quorum_0_nobody_is_asked_and_nothing_changes(tmp_path: Path) -> None:
    async with site_in(tmp_path, desk_and_cloud(), Quorum(0, 0)) as site:
        plan_id = await site.plan()
        await site.asking.publish()
        await site.start()
        assert site.waiting() == []
        assert site.asking.confirmed
        assert site.asking.witnessed_text() == "not witnessed"
        assert site.gate(plan_id) == "open"
        assert site.leaves(LeafKind.UNWITNESSED_START) == 0


async def test_a_witness_that_knows_nothing_is_asked_from_size_0(site: Site) -> None:
    await site.cosigned()
    site.witnesses[1].known.clear()  # it was restored, or has a new log of conflicts to begin
    await site.plan()
    await site.cosigned()
    assert site.witnesses[1].said[-2:][0] == b"conflict 0\n"
    assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena, cloud"
    assert site.asking.contradicted_by() == []


async def test_a_lost_answer_or_a_repeated_ask_is_no_contradiction(tmp_path: Path) -> None:
    async with site_in(tmp_path, [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        desk, vkey = site.witnesses[0], site.rig.evidence.vkey
        await site.plan()
        await site.asking.publish()
        (lost,) = await site.sent()
        await site.asking.publish()
        (again,) = await site.sent()
        desk.answer(lost.body, vkey, 0)  # it cosigned, and nobody heard it
        await site.asking.take(again.witness, desk.answer(again.body, vkey, int(site.clock.wall_s())))
        assert desk.said[-1].startswith(b"conflict")
        await site.deliver()
        assert site.asking.contradicted_by() == []
        assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena"


async def test_a_late_answer_after_an_outage_is_no_contradiction(tmp_path: Path) -> None:
    async with site_in(tmp_path, [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        desk, vkey = site.witnesses[0], site.rig.evidence.vkey
        await site.plan()
        await site.asking.publish()
        (first,) = await site.sent()
        await site.asking.publish()
        (second,) = await site.sent()
        await site.asking.take(first.witness, desk.answer(first.body, vkey, int(site.clock.wall_s())))
        for _ in range(5):  # nothing is sent meanwhile, and each request takes the place of the one before
            await site.plan()
            await site.asking.publish()
        await site.asking.take(second.witness, desk.answer(second.body, vkey, int(site.clock.wall_s())))
        assert desk.said[-1].startswith(b"conflict")
        assert site.asking.contradicted_by() == []
        await site.deliver()
        assert site.asking.contradicted_by() == []
        assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"conflict \n",
        b"conflict -1\n",
        b"conflict 01\n",
        b"\xff\xfe",
        b"conflict 99999999999999999999\n",
        b"x\n" * 9,
    ],
)
async def test_answers_that_are_none_do_nothing(site: Site, body: bytes) -> None:
    await site.asking.publish()
    before = site.rig.evidence.head()
    for witness in site.witnesses:
        await site.asking.take(witness.key_id, body)
    assert site.rig.evidence.head() == before
    assert site.asking.witnessed_text() == "not witnessed"
    assert site.asking.contradicted_by() == []


async def test_endless_conflicts_do_not_have_us_ask_without_end(site: Site) -> None:
    await site.asking.publish()
    before, desk = site.rig.evidence.head()[0], site.witnesses[0]
    for _ in range(100):
        await site.asking.take(desk.key_id, b"conflict %d\n" % site.rig.evidence.published()[0])
    assert site.rig.evidence.head()[0] - before <= witnesses.AGAIN_MAX * PAD_SMALLEST
    await site.cosigned()
    assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena, cloud"


async def test_a_long_answer_or_many_that_fit_nothing_cost_little(site: Site) -> None:
    await site.cosigned()
    await site.plan()
    await site.asking.publish()
    old = decode_request_untrusted(site.waiting()[0].body).note
    await site.plan()
    await site.asking.publish()
    desk, size = site.witnesses[0], site.rig.evidence.published()[0]
    new = site.rig.store.reader.execute("SELECT note FROM checkpoint WHERE size = ?", (size,)).fetchone()["note"]
    good = {n: cosign(note_text(bytes(n)), desk.name, desk.key, int(site.clock.wall_s())) for n in (old, new)}
    bad = cosign("another text\n", desk.name, desk.key, 0)
    await site.asking.take(desk.key_id, (bad * 5000 + good[new]).encode())  # nobody reads that far
    for _ in range(witnesses.UNFIT_MAX):
        await site.asking.take(desk.key_id, bad.encode())
    await site.asking.take(desk.key_id, good[old].encode())
    assert site.asking.witnessed_text(size) == "not witnessed"
    await site.asking.take(desk.key_id, good[new].encode())
    assert site.asking.witnessed_text(size) == "witnessed by desk-lena"


async def test_only_witnesses_of_the_trust_document_are_heard(site: Site) -> None:
    await site.asking.publish()
    eve, note = Witness("desk-lena", WitnessOperator.OWN), decode_request_untrusted(site.waiting()[0].body).note
    await site.asking.take(eve.key_id, b"conflict 4096\n")
    line = cosign(note_text(note), "desk-lena", eve.key, int(site.clock.wall_s())).encode()
    await site.asking.take(eve.key_id, line)
    await site.asking.take(site.witnesses[0].key_id, line)
    assert (site.asking.contradicted_by(), site.asking.witnessed_text()) == ([], "not witnessed")


async def test_a_replayed_cosignature_of_an_older_size_is_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with site_in(tmp_path, [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        old = site.witnesses[0].said[-1]
        await site.plan()
        await site.cosigned()
        seen = site.rig.store.reader.execute("SELECT * FROM witness_seen").fetchall()
        plan_id = await site.plan()
        await site.note_start()

        async def replays() -> None:
            while True:
                for said in (old, site.witnesses[0].said[-1]):
                    await site.asking.take(site.witnesses[0].key_id, said)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(replays)
            await site.asking.start_rule(20)
            nursery.cancel_scope.cancel()
        assert not site.asking.confirmed
        assert site.gate(plan_id) == "void"
        again = site.rig.store.reader.execute("SELECT * FROM witness_seen").fetchall()
        assert [(r["size"], r["line"]) for r in again] == [(r["size"], r["line"]) for r in seen]


@pytest.mark.parametrize("skew_s", [10 * 365 * 86_400, -86_400])
async def test_C17_witness_time_far_off_is_an_alarm_and_stops_nothing(
    tmp_path: Path, autojump_clock: MockClock, skew_s: int
) -> None:
    async with site_in(tmp_path, [Witness("desk-lena", WitnessOperator.OWN, skew_s)]) as site:
        plan_id = await site.plan()
        await site.start()
        assert site.asking.confirmed
        await site.cosigned()
        await site.cosigned()
        assert site.leaves(LeafKind.WITNESS_ANOMALY) == 1  # told once, not at each answer
        await consume(site, plan_id)
        assert site.gate(plan_id) == "consumed"


# --- contradictions ---


async def test_J5_clone_of_agent_is_contradicted_and_starts_nothing(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", desk_and_cloud()) as site:
        await site.cosigned()
        plan_id = await site.plan()
        folder = snapshot(site, tmp_path / "two")
        for _ in range(80):
            await site.note_start()
        await site.cosigned()  # the one that goes on is far ahead
        async with life(site, folder) as clone:
            await clone.note_start()
            await clone.cosigned()
            assert clone.witnesses[0].said[-1] == b"conflict %d\n" % site.rig.evidence.published()[0]
            assert clone.asking.contradicted_by() == ["cloud", "desk-lena"]
            assert clone.asking.witnessed_text().startswith("CONTRADICTED by cloud, desk-lena")
            assert clone.gate(plan_id) == "void"
            assert clone.leaves(LeafKind.WITNESS_ANOMALY) == 2
            new = await clone.plan()
            with pytest.raises(RefusedCommandError, match="has seen another log") as info:
                await consume(clone, new)
            assert info.value.reason == "not-witnessed"
            await clone.cosigned()
            assert clone.leaves(LeafKind.WITNESS_ANOMALY) == 2  # told once while it stands
        await site.cosigned()
        assert site.asking.contradicted_by() == []
        await consume(site, plan_id)


async def test_J5_a_clone_of_the_same_size_is_contradicted_too(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        folder = snapshot(site, tmp_path / "two")
        await site.note_start()
        await site.cosigned()
        async with life(site, folder) as clone:
            await clone.note_start()
            await clone.rig.evidence.checkpoint()
            assert clone.rig.evidence.published()[0] == site.rig.evidence.published()[0]
            assert clone.rig.evidence.published()[1] != site.rig.evidence.published()[1]
            await clone.cosigned()
            assert clone.asking.contradicted_by() == ["desk-lena"]


async def test_a_contradiction_stands_until_a_witness_cosigns_later(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        desk = site.witnesses[0]
        await site.asking.publish()
        (withheld,) = await site.sent()
        late = desk.answer(withheld.body, site.rig.evidence.vkey, int(site.clock.wall_s()))
        await site.asking.take(desk.key_id, b"conflict 4096\n")  # whoever carries answers can say this
        await site.asking.take(desk.key_id, late)
        assert site.asking.contradicted_by() == ["desk-lena"]  # it was cosigned before
        folder = snapshot(site, tmp_path / "two")
    async with life(site, folder) as again:
        await again.asking.take(desk.key_id, late)
        assert again.asking.contradicted_by() == ["desk-lena"]
        await again.cosigned()
        assert again.asking.contradicted_by() == []
        await consume(again, await again.plan())


async def test_a_renewed_log_key_ends_a_lost_logs_contradiction(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        folder = snapshot(site, tmp_path / "two")
        for _ in range(80):
            await site.note_start()
        await site.cosigned()
        async with life(site, folder) as restored:
            await restored.note_start()
            await restored.cosigned()
            assert restored.asking.contradicted_by() == ["desk-lena"]
            rig = restored.rig
            rig.evidence = Evidence(
                rig.store, rig.vault, rig.recorder, "test.local/agent/a/2", SigningKey(bytes(range(64, 96)))
            )
            trust = TrustState(rig.store, rig.recorder, AGENT, SigningKey(bytes(range(32))).public)
            restored.asking = Witnesses(rig.store, rig.recorder, rig.evidence, trust, restored.clock, Notifier())
            await restored.note_start()
            await restored.cosigned()
            assert restored.asking.contradicted_by() == []
            assert restored.asking.witnessed_text(rig.evidence.published()[0]) == "witnessed by desk-lena"


async def test_witness_that_left_trust_document_contradicts_no_more(site: Site) -> None:
    await site.cosigned()
    await site.asking.take(site.witnesses[1].key_id, b"conflict 1000000\n")
    plan_id = await site.plan()
    with pytest.raises(RefusedCommandError, match="cloud has seen another log"):
        await consume(site, plan_id)
    await site.next_trust(site.witnesses[:1], Quorum(1, 1))
    assert site.asking.contradicted_by() == []
    await consume(site, plan_id)


async def test_a_contradiction_holds_a_retry_as_well(site: Site) -> None:
    plan_id = await site.plan()
    await consume(site, plan_id)
    record = site.rig.recorder.record(None, {})
    await site.rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: record))
    await site.asking.publish()
    await site.asking.take(site.witnesses[0].key_id, b"conflict 100000\n")
    with pytest.raises(RefusedCommandError, match="another log"):
        await site.rig.store.run(ReopenRun(plan_id, (), now_of(site.clock), record))


async def test_with_quorum_0_no_contradiction_stands(site: Site) -> None:
    await site.asking.publish()
    await site.asking.take(site.witnesses[0].key_id, b"conflict 100000\n")
    assert site.asking.contradicted_by() == ["desk-lena"]
    await site.next_trust(site.witnesses, Quorum(0, 0))
    plan_id = await site.plan()
    await consume(site, plan_id)
    assert (site.gate(plan_id), site.asking.witnessed_text()) == ("consumed", "not witnessed")


async def test_a_replaced_key_of_a_witness_begins_anew(site: Site) -> None:
    await site.cosigned()
    new = replace(site.witnesses[1], key=SigningKey.generate(), known={}, said=[])
    site.witnesses[1] = new
    await site.next_trust(site.witnesses, Quorum(2, 1))
    await site.cosigned()
    assert new.said[0] == b"conflict 0\n"
    assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena, cloud"
