"""The control plane's board contradicts a machine that was put back whole. It confirms nothing; its lies do nothing."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes.auditlog import own_board
from agent.changes.auditlog.recovery import MarksVerdict, VoidUnconsumed
from agent.changes.journal import trust_state
from agent.changes.journal.machine import ChangeState
from agent.changes.journal.request import RequestError
from agent.changes.journal.signing import Signer
from agent.store.mail import LeaveCloud
from agent.store.mark_file import TRUST_ACCEPTED
from tests.builders.expect import expect
from tests.builders.office import Desk, Office, approval, office_in, remove_joseph, words, work
from trust import envelope as envelopes
from trust import statements
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.statements import Decision, Outcome, Receipt

MALFORMED = [b"", b"{}", b"\xff" * 4096, b"[" * 4096, b'{"payloadType":"","payload":"","signatures":[]}']


@dataclass
class Snapshot:
    """A machine of which everything was put back: what was approved, run and signed since is on the board alone."""

    folder: Path
    desk: Desk
    early: list[bytes]
    """What this agent had signed before the snapshot."""
    board: list[bytes]
    """Of what it signed since, newest first: an outcome, and receipts of which the newest names trust version 2."""
    signed: bytes
    """Joseph's approval of the plan, which ran."""
    newer: bytes
    """Version 2 of the trust, without joseph."""

    @asynccontextmanager
    async def life(self, *, marked: bool = True) -> AsyncIterator[Office]:
        async with office_in(self.folder / "state", self.desk, marked=marked) as office:
            if not marked:
                await office.daemon.begin()
            yield office


def refused(office: Office) -> bytes:
    """Sign a receipt of today."""
    return office.daemon.log.signer().receipt("cancel", bytes(32), None, (0, 0), version(office), time.time())


def version(office: Office) -> int:
    pinned = office.pinned
    return pinned.trust.version


async def _first_lives(folder: Path) -> Snapshot:
    site = Snapshot(folder, Desk(), [], [], b"", b"")
    (folder / "state").mkdir()
    async with site.life() as office:
        await office.plan("C-1/home")
        site.signed = approval(office)
        await office.daemon.log.evidence.checkpoint()
        site.early = [refused(office)]
    for part in ("state", "state-mark"):
        shutil.copytree(folder / part, folder / f"{part}.before")
    async with site.life() as office:
        (answer,) = await office.daemon.job.approvals.submit(site.signed)
        await work(office)
        assert (office.gate(), len(site.desk.world.writes)) == ("consumed", 1)
        await office.daemon.log.evidence.checkpoint()
        outcome = bytes(office.store.query("SELECT outcome FROM plan")[0][0])
        middle = refused(office)
        site.newer = await remove_joseph(office)
        await office.daemon.log.evidence.checkpoint()
        site.board = [refused(office), middle, outcome, answer.receipt]
    return site


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return trio.run(_first_lives, tmp_path_factory.mktemp("lived"))


@pytest.fixture
def site(lived: Snapshot, tmp_path: Path) -> Snapshot:
    """The machine, put back: state directory and mark file of one moment."""
    for part in ("state", "state-mark"):
        shutil.copytree(lived.folder / f"{part}.before", tmp_path / part)
    return replace(lived, folder=tmp_path)


async def told(office: Office, *answered: bytes) -> int | None:
    return await office.daemon.log.board.compare_untrusted(answered)


@pytest.fixture
async def office(site: Snapshot) -> AsyncIterator[Office]:
    async with site.life() as made:
        yield made


@pytest.mark.parametrize("how", ["snapshot", "mark-file-off", "mark-file-deleted"])
async def test_J4_the_board_contradicts_a_machine_that_was_put_back(site: Snapshot, how: str) -> None:
    if how == "mark-file-deleted":
        shutil.rmtree(site.folder / "state-mark")
    async with site.life(marked=how != "mark-file-off") as office:
        trust, submit = office.parts.trust, office.daemon.job.approvals.submit
        noticed = how == "mark-file-deleted"
        assert (office.gate(), bool(trust.doubt())) == (("void", True) if noticed else ("open", False))
        await told(office, *site.board)
        assert office.gate() == "void"
        assert "there may have been a newer version than 1" in trust.doubt()
        with pytest.raises(RequestError, match="newer version than 1"):
            await submit(site.signed)
        with pytest.raises(RequestError, match="newer version than 1"):
            await office.plan("C-2/home")
        await trust.install(site.newer, "", time.time())
        assert "newer version than 2" in trust.doubt(), "the board may have kept back a third that removed more people"
        await trust.end_doubt(words(office))
        assert (trust.doubt(), await told(office, *site.board)) == ("", None)
        envelope = envelopes.decode_untrusted((await office.plan("C-2/home")).envelope)
        (answer,) = await submit(office.people.approve(envelope, "joseph"))
        assert not answer.accepted
        await work(office)
        assert len(site.desk.world.writes) == 1


async def test_it_is_judged_once_and_an_accepted_trust_stays_accepted(site: Snapshot) -> None:
    async with site.life() as office:
        assert await told(office, *site.board) == 1
        assert await told(office, *site.board) is None
        await office.parts.trust.end_doubt(words(office))
        assert await told(office, *site.board) is None
        assert await told(office, *site.board[1:]) is None, "whichever of them is kept back"
    async with site.life() as office:
        assert await told(office, *site.board) is None
        assert (office.parts.trust.doubt(), office.leaves(LeafKind.RESTORED_DATABASE)) == ("", 1)


def signed(office: Office, made: Receipt | Outcome, key: SigningKey | None = None) -> bytes:
    return envelopes.encode(statements.sign(made, [key or office.daemon.files.identity.plan_key]))


def changed(office: Office, **fields: object) -> bytes:
    """Return a receipt of today, with other fields, under this agent's key."""
    receipt = statements.decode_as_untrusted(Receipt, envelopes.decode_untrusted(refused(office)))
    return signed(office, replace(receipt, **fields))  # type: ignore[arg-type]  # a receipt's


def unknown_outcome(office: Office) -> bytes:
    plan = envelopes.digest(office.plan_envelope())
    return office.daemon.log.signer().outcome(plan, 1, ChangeState.DONE, {}, time.time())


AGAINST: dict[str, Callable[[Office], bytes]] = {
    "a newer trust version": lambda office: changed(office, trust_version=2),
    "a longer log": lambda office: changed(office, log_size=office.store.size + 1),
    "another log": lambda office: changed(office, log_root="ab" * 32),
    "an outcome": unknown_outcome,
}


@pytest.mark.parametrize("what", AGAINST)
async def test_each_contradiction_is_enough(office: Office, what: str) -> None:
    assert await told(office, refused(office)) is None, "what fits says nothing"
    assert await told(office, refused(office), AGAINST[what](office)) == 1
    assert (office.gate(), office.leaves(LeafKind.RESTORED_DATABASE)) == ("void", 1)
    assert "newer version than 1" in office.parts.trust.doubt()
    record = expect(dict, office.daemon.log.evidence.events()[-2].record)
    assert record["trust_version"] == (2 if what == "a newer trust version" else 0)


async def test_an_approval_that_the_log_lacks_contradicts(office: Office, site: Snapshot) -> None:
    """The run had not ended, or its outcome is kept back: the checkpoint that the receipt names is one of ours."""
    receipt = statements.decode_as_untrusted(Receipt, envelopes.decode_untrusted(site.board[-1]))
    assert (receipt.of_type, receipt.log_size <= office.store.size) == ("approval", True)
    assert await told(office, site.board[-1]) == 1
    assert office.gate() == "void"
    assert await told(office, site.board[-1]) is None


async def test_own_approvals_contradict_nothing(tmp_path: Path) -> None:
    """Two of one person, a rejection, and answers to those that come too late."""
    (tmp_path / "state").mkdir()
    own: list[bytes] = []
    desk = Desk()
    for life in range(2):
        async with office_in(tmp_path / "state", desk, marked=True) as office:
            if not life:
                await office.plan(requester=1)  # nobody knows who asked: two must approve
            approve, plan = office.people.approve, newest(office)
            first, no = approve(plan, "joseph"), approve(plan, "lena", decision=Decision.REJECT)
            for data in (first, first, approve(plan, "joseph", not_before=1), no, first):
                (answer,) = await office.daemon.job.approvals.submit(data)
                own = [answer.receipt, *own]
                assert await told(office, *own) is None
            assert (len(own), office.parts.trust.doubt()) == (5 * (life + 1), "")


async def test_a_life_that_goes_on_is_never_contradicted_by_itself(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    own: list[bytes] = []
    desk = Desk()
    for _ in range(2):
        async with office_in(tmp_path / "state", desk, marked=True) as office:
            for ref in ("C-1/home", "C-2/home"):
                await office.plan(ref)
                (answer,) = await office.daemon.job.approvals.submit(office.people.cancel(newest(office), "lena"))
                assert answer.accepted
                await office.daemon.job.worker._conclude()
                await office.daemon.log.evidence.checkpoint()
                outcomes = office.store.query("SELECT outcome FROM plan WHERE outcome IS NOT NULL ORDER BY gate_seq")
                own = [*{bytes(r[0]): 0 for r in outcomes}, answer.receipt, refused(office), *own]
                assert await told(office, *own) is None
            assert (len(outcomes) > 0, office.parts.trust.doubt()) == (True, "")


def newest(office: Office) -> envelopes.Envelope:
    return envelopes.decode_untrusted(office.row().envelope)


def forged(office: Office) -> bytes:
    receipt = statements.decode_as_untrusted(Receipt, envelopes.decode_untrusted(refused(office)))
    return signed(office, replace(receipt, trust_version=9), SigningKey.generate())


def altered(office: Office) -> bytes:
    """Return a receipt whose signature is ours, over other bytes."""
    good, other = (envelopes.decode_untrusted(x) for x in (refused(office), changed(office, trust_version=9)))
    return envelopes.encode(replace(good, payload=other.payload))


def of_another_agent(office: Office) -> bytes:
    key = SigningKey.generate()
    signer = Signer(office.people.trust_id, "ab" * 16, key, lambda: (10**6, b"r" * 32))
    return signer.receipt("cancel", bytes(32), None, (0, 0), 9, time.time())


def names_another_agent(office: Office) -> bytes:
    """Return what only a thief of our key can sign."""
    return changed(office, agent="ab" * 16, trust_version=9)


LIES: dict[str, Callable[[Office], list[bytes]]] = {
    "forged": lambda office: [forged(office)],
    "altered": lambda office: [altered(office)],
    "of another agent": lambda office: [of_another_agent(office)],
    "naming another agent": lambda office: [names_another_agent(office)],
    "a plan": lambda office: [envelopes.encode(office.plan_envelope())],
    "malformed": lambda _: MALFORMED,
    "too large": lambda office: [changed(office, trust_version=9) + b" " * 4096],
    "of another chain": lambda office: [changed(office, trust_id="cd" * 16, trust_version=9)],
    "10,000": lambda office: [changed(office, trust_version=9)] * 10_000,
    "one too many": lambda office: [changed(office, trust_version=9)] * 101,
}
SAID = {
    "forged": "not-ours",
    "altered": "malformed",
    "of another agent": "not-ours",
    "naming another agent": "not-ours",
    "a plan": "not-ours",
    "malformed": "malformed",
    "too large": "too-large",
    "10,000": "too-many",
    "one too many": "too-many",
}


@pytest.mark.parametrize("what", LIES)
async def test_a_hostile_board_does_nothing(office: Office, what: str, caplog: pytest.LogCaptureFixture) -> None:
    size = office.store.size
    with caplog.at_level(logging.WARNING, "agent.board"):
        assert await told(office, *LIES[what](office)) is None
    assert (office.store.size, office.gate(), office.parts.trust.doubt()) == (size, "open", "")
    codes = {str(getattr(r, "reason", getattr(r, "code", ""))) for r in caplog.records if r.name == "agent.board"}
    assert codes == ({SAID[what]} if what in SAID else set())
    assert len([r for r in caplog.records if r.name == "agent.board"]) <= 2


async def test_old_statements_and_silence_confirm_nothing(office: Office, site: Snapshot) -> None:
    """Not even what fits ends a doubt: the control plane may have kept the newest back."""
    assert await told(office, *site.early * 100) is None
    assert await told(office) is None
    assert office.gate() == "open"
    await told(office, *site.board)
    assert await told(office, *site.early) is None
    assert await told(office) is None
    assert "newer version" in office.parts.trust.doubt()


async def test_what_the_mark_file_told_already_is_not_told_again(office: Office) -> None:
    """The mark file knows the trust version: an honest restore needs no words, however long the lost log was."""
    await office.store.run(LeaveCloud())  # a leaf later than the copy
    await office.daemon.log.evidence.checkpoint(grow=True)
    lost = refused(office)
    judged = MarksVerdict(older=(1, office.store.size))
    await office.store.run(VoidUnconsumed(judged, office.parts.recorder.record(None, {})))
    assert await told(office, changed(office, log_root="ab" * 32), lost) is None
    assert office.parts.trust.doubt() == ""
    assert await told(office, changed(office, trust_version=2)) == 0, "unless it knew an older version"
    assert office.parts.trust.doubt()


async def test_a_version_that_the_mark_file_named_stays_named(office: Office) -> None:
    judged = MarksVerdict(older=(1, 2), doubt=2)
    await office.store.run(VoidUnconsumed(judged, office.parts.recorder.record(None, {})))
    assert await told(office, changed(office, trust_version=2)) is None
    assert "had version 2" in office.parts.trust.doubt()
    assert await told(office, changed(office, trust_version=3)) == 0
    assert "newer version than 1" in office.parts.trust.doubt()


async def test_witnesses_do_not_end_a_doubt_of_the_board(office: Office, site: Snapshot) -> None:
    """What is on the board may be younger than what the witnesses have cosigned."""
    lost = MarksVerdict(lost=True, doubt=0)
    await office.store.run(VoidUnconsumed(lost, office.parts.recorder.record(None, {})))
    assert trust_state.witnesses_end_doubt(office.store.query)
    assert await told(office, *site.board) == 1
    assert trust_state.stored_doubt(office.store.query) == 0
    assert not trust_state.witnesses_end_doubt(office.store.query)
    await office.parts.trust.end_doubt(words(office))
    assert office.number("SELECT count(*) FROM meta WHERE key = ?", TRUST_ACCEPTED) == 1


async def test_a_start_waits_for_the_board_and_not_for_ever(site: Snapshot, autojump_clock: MockClock) -> None:
    async with site.life() as office:
        board, begun = office.daemon.log.board, trio.current_time()
        await board.start_rule(10)
        assert trio.current_time() - begun == pytest.approx(10, abs=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.start_rule, 3600)
            await trio.testing.wait_all_tasks_blocked()
            board.pass_over("unavailable")
        assert trio.current_time() - begun < 20
        await office.store.run(LeaveCloud())
    async with site.life() as office:
        await office.daemon.log.board.start_rule(3600)  # without a control plane nobody is waited for
        assert trio.current_time() - begun < 20


async def test_an_approved_plan_waits_until_the_board_was_read(office: Office, site: Snapshot) -> None:
    """The copy is from after the approval and before the start."""
    (answer,) = await office.daemon.job.approvals.submit(site.signed)
    assert (answer.accepted, office.gate()) == (True, "approved")
    writes = len(site.desk.world.writes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.daemon._work)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert office.gate() == "approved"
        await told(office, *site.board)
        with trio.fail_after(60):
            await office.daemon.log.board.start_rule(60)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert (office.gate(), len(site.desk.world.writes)) == ("void", writes)


@pytest.mark.parametrize("late", [False, True])
async def test_a_run_that_goes_on_is_left_to_its_process(office: Office, site: Snapshot, late: bool) -> None:
    await office.daemon.job.approvals.submit(site.signed)
    office.store._con.execute("UPDATE plan SET gate = 'consumed', consumed_seq = gate_seq")
    if late:
        office.daemon.log.board.pass_over("unavailable")
        await office.daemon.log.board.start_rule(1)
    await told(office, *site.board)
    states = {r[0] for r in office.store.query("SELECT state FROM item")}
    assert ("needs-a-person" in states) is not late


def test_limits_are_those_of_the_control_plane() -> None:
    from control_plane import limits

    assert own_board.STATEMENTS_MAX == limits.BOARD_STATEMENTS
    assert max(limits.RECEIPT_BYTES, limits.OUTCOME_BYTES) <= own_board.STATEMENT_BYTES
