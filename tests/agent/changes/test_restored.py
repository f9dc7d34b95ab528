"""A state directory that was put back whole, with no witness: nothing runs twice, and nobody who left comes back."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes.auditlog import recovery
from agent.changes.journal.request import RequestError
from agent.store.backup import BackupPaths, BackupSource, make
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.mail import LeaveCloud
from agent.store.restoring import restore
from tests.builders.age_files import Owner
from tests.builders.agent import Agent
from tests.builders.job import STORE_KEY
from tests.builders.office import Desk, Office, approval, approved, office_in, remove_joseph, words, work
from tests.builders.store import edit
from tests.builders.terminal import Terminal
from tests.builders.witnesses import Witness, life, site_in, snapshot
from trust import envelope as envelopes
from trust import statements
from trust.document import Quorum, WitnessOperator
from trust.leaf import LeafKind
from trust.statements import Decision, Freeze, FreezeScope, Outcome, Resume


@dataclass
class PutBack:
    """A site after the copy of its state directory was put back: what was approved and run since is gone from it."""

    folder: Path
    desk: Desk
    signed: bytes
    """Joseph's approval of the plan, which ran."""
    newer: bytes
    """Version 2 of the trust, without joseph."""

    def life(self) -> AbstractAsyncContextManager[Office]:
        return office_in(self.folder / "state", self.desk, marked=True)

    def put_back(self) -> None:
        shutil.rmtree(self.folder / "state")
        shutil.copytree(self.folder / "backup", self.folder / "state")


async def _first_lives(folder: Path) -> PutBack:
    """Plan, back up, approve, run, remove joseph."""
    site = PutBack(folder, Desk(), b"", b"")
    (folder / "state").mkdir()
    async with site.life() as office:
        await office.store.run(LeaveCloud())
        await office.plan("C-1/home")
        site.signed = approval(office)
    shutil.copytree(folder / "state", folder / "backup")
    async with site.life() as office:
        (answer,) = await office.daemon.job.approvals.submit(site.signed)
        assert answer.accepted
        await work(office)
        assert (office.gate(), len(site.desk.world.writes)) == ("consumed", 1)
        site.newer = await remove_joseph(office)
    return site


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> PutBack:
    return trio.run(_first_lives, tmp_path_factory.mktemp("lived"))


@pytest.fixture
def site(lived: PutBack, tmp_path: Path) -> PutBack:
    for path in lived.folder.iterdir():
        shutil.copytree(path, tmp_path / path.name)
    again = replace(lived, folder=tmp_path)
    again.put_back()
    return again


async def test_a_state_directory_put_back_brings_nobody_back(site: PutBack) -> None:
    async with site.life() as office:
        trust, submit = office.parts.trust, office.daemon.job.approvals.submit
        assert (office.gate(), office.leaves(LeafKind.RESTORED_DATABASE)) == ("void", 1)
        assert "version 1 is pinned, and this agent had version 2: ispagent trust install FILE" in trust.doubt()
        with pytest.raises(RequestError, match="had version 2"):
            await submit(site.signed)
        with pytest.raises(RequestError, match="had version 2"):
            await office.plan("C-2/home")
        await trust.install(site.newer, "", time.time())
        assert trust.doubt() == ""
        envelope = envelopes.decode_untrusted((await office.plan("C-2/home")).envelope)
        (answer,) = await submit(office.people.approve(envelope, "joseph"))
        assert not answer.accepted
        await work(office)
        assert len(site.desk.world.writes) == 1


async def test_it_is_said_at_each_start_and_after_each_copy(site: PutBack) -> None:
    async with site.life():
        pass
    async with site.life() as office:
        assert "had version 2" in office.parts.trust.doubt()
        assert office.leaves(LeafKind.RESTORED_DATABASE) == 1, "it is judged once"
    site.put_back()
    async with site.life() as office:
        assert office.gate() == "void"
        assert "had version 2" in office.parts.trust.doubt()


async def test_an_older_trust_is_accepted_by_its_words_alone(site: PutBack, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.life() as office:
        admin = Terminal(Agent(office.daemon, office.people, ""), monkeypatch, os.getuid())
        assert "HALTED   trust: version 1 is pinned, and" in (await admin.type("status")).out
        assert "DOUBT   version 1 is pinned, and" in (await admin.type("trust", "show")).out
        wrong = await admin.type("trust", "accept", "--words", "one two three four five six seven eight")
        assert (wrong.code, "word 1" in wrong.err) == (3, True)
        assert office.parts.trust.doubt()
        done = await admin.type("trust", "accept", "--words", words(office))
        assert (done.code, done.lines[-1]) == (0, "trust version 1 is accepted")
        assert office.parts.trust.doubt() == ""
        again = await admin.type("trust", "accept", "--words", words(office))
        assert (again.code, "nothing to accept" in again.err) == (3, True)
        with pytest.raises(RequestError, match="nothing to accept"):
            await office.parts.trust.end_doubt(words(office))
        (answer,) = await office.daemon.job.approvals.submit(site.signed)
        assert not answer.accepted, "its plan is void, whoever may approve now"
    async with site.life() as office:
        assert office.parts.trust.doubt() == "", "the mark has the version that was accepted"


async def test_stops_alone_are_taken_while_the_trust_is_in_doubt(site: PutBack) -> None:
    async with site.life() as office:
        people, now = office.people, int(time.time()) // 60
        freeze = Freeze(people.trust_id, secrets.token_hex(16), FreezeScope.ALL, "", "lena", now)
        signed = envelopes.encode(statements.sign(freeze, [people.keys["lena"]]))
        (answer,) = await office.daemon.job.approvals.submit(signed)
        assert answer.accepted
        row = office.row()
        resume = people.pause(envelopes.decode_untrusted(row.envelope), "lena", Resume)
        with pytest.raises(RequestError, match="had version 2"):
            await office.daemon.job.approvals.submit(resume)
        with pytest.raises(RequestError, match="had version 2"):
            await office.daemon.job.approvals.resume(row, "lena", None)


STOPS: dict[str, Callable[[Office], bytes]] = {
    "cancel": lambda office: office.people.cancel(office.plan_envelope(), "lena"),
    "freeze": lambda office: office.people.freeze("lena"),
    "pause": lambda office: office.people.pause(office.plan_envelope(), "lena"),
    "rejection": lambda office: approval(office, "lena", decision=Decision.REJECT),
}


@pytest.mark.parametrize("what", STOPS)
async def test_a_stop_is_not_lost_with_a_copy_from_just_before_it(tmp_path: Path, what: str) -> None:
    """The plan was approved, the nightly copy taken, the plan stopped: all in one life of the agent."""
    site = PutBack(tmp_path, Desk(), b"", b"")
    (tmp_path / "state").mkdir()
    async with site.life() as office:
        await office.plan("C-1/home")
        submit = office.daemon.job.approvals.submit
        (answer,) = await submit(approval(office))
        assert (answer.accepted, office.gate()) == (True, "approved")
        for con in (office.store._con, office.daemon.files.vault._con):
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(tmp_path / "state", tmp_path / "backup")
        (answer,) = await submit(STOPS[what](office))
        assert answer.accepted, answer
    site.put_back()
    async with site.life() as office:
        assert (office.gate(), office.leaves(LeafKind.RESTORED_DATABASE)) == ("void", 1)


async def test_items_that_may_have_been_sent_since_need_a_person(tmp_path: Path) -> None:
    """The copy was taken between the start of a change and its first write: each of its items has run since."""
    site = PutBack(tmp_path, Desk(), b"", b"")
    (tmp_path / "state").mkdir()
    async with site.life() as office:
        row = await approved(office, await office.plan("C-1/home", "C-2/home"))
        async with trio.open_nursery() as nursery:
            await office.daemon.job.worker._look(nursery)
            nursery.cancel_scope.cancel()  # as soon as the plan is consumed
        assert office.number("SELECT count(*) FROM item WHERE state = 'planned'") == 2
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    async with site.life() as office:
        await work(office)
        assert len(site.desk.world.writes) == 2
    site.put_back()
    async with site.life() as office:
        await work(office)
        found = office.store.query("SELECT state, reason FROM item")
        assert {tuple(item) for item in found} == {("needs-a-person", "restored")}
        (outcome,) = [envelopes.decode_untrusted(sent.body) for sent in office.out("outcome")]
        said = statements.decode_as_untrusted(Outcome, outcome)
        assert (said.plan_sha256, said.state.value) == (row.digest.hex(), "needs-a-person")
        assert len(site.desk.world.writes) == 2, "nothing is sent twice"

        agent = Agent(office.daemon, office.people, "")
        back = await agent.ask("revert", change=office.store.query("SELECT short FROM plan")[0]["short"])
        assert (await agent.approve(back, "joseph"))["accepted"]
        await work(office)
        assert len(site.desk.world.writes) == 4, "what stands of it can be taken back"


async def test_a_lost_mark_file_may_hide_anything(site: PutBack) -> None:
    """A new machine: the state directory came from the backup, and the mark file stayed on the old disk."""
    shutil.rmtree(site.folder / "state-mark")
    async with site.life() as office:
        trust = office.parts.trust
        assert office.gate() == "void"
        with pytest.raises(RequestError, match="the mark file was lost"):
            await office.daemon.job.approvals.submit(site.signed)
        await trust.install(site.newer, "", time.time())
        assert "newer version than 2" in trust.doubt(), "there may be a third that removed more people"
    site.put_back()
    async with site.life() as office:
        assert office.parts.trust.doubt(), "put back again: the new mark file has the doubt"
        await office.parts.trust.end_doubt(words(office))
    async with site.life() as office:
        assert office.parts.trust.doubt() == ""


async def test_approved_plans_do_not_start_while_trust_is_in_doubt(tmp_path: Path) -> None:
    async with site_in(tmp_path, [], Quorum(0, 0)) as site:
        await site.rig.store.run(
            recovery.VoidUnconsumed(recovery.MarksVerdict(doubt=2), site.rig.recorder.record(None, {}))
        )
        plan_id = await site.plan()
        with pytest.raises(RefusedCommandError, match="had version 2") as refused:
            await site.rig.consume(plan_id)
        assert refused.value.reason == "trust-in-doubt"


async def test_an_agent_from_before_mark_files_loses_nothing(tmp_path: Path) -> None:
    desk, state = Desk(), tmp_path / "state"
    state.mkdir()
    async with office_in(state, desk) as office:
        await office.plan("C-1/home")
    for _ in range(2):
        async with office_in(state, desk, marked=True) as office:
            assert (office.gate(), office.parts.trust.doubt()) == ("open", "")


async def test_witnesses_can_tell_where_the_mark_file_was_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with site_in(tmp_path / "one", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        plan_id = await site.plan()
        lost = recovery.MarksVerdict(lost=True, doubt=0)
        await site.rig.store.run(recovery.VoidUnconsumed(lost, site.rig.recorder.record(None, {})))
        folder = snapshot(site, tmp_path / "two")
        await site.start()
        assert (site.gate(plan_id), site.trust.doubt()) == ("open", "")
    async with life(site, folder) as again:
        await again.start("desk-lena", wait_s=30)
        assert again.gate(plan_id) == "void"
        assert "the mark file was lost" in again.trust.doubt()


async def test_a_damaged_database_starts_nothing(tmp_path: Path) -> None:
    """Pages that changed on the disk are found before anything is sent, and said in a sentence."""
    desk, state = Desk(), tmp_path / "state"
    state.mkdir()
    async with office_in(state, desk) as office:
        await office.plan("C-1/home")
        (answer,) = await office.daemon.job.approvals.submit(approval(office))
        assert answer.accepted
        office.store._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        root = office.number("SELECT rootpage FROM sqlite_master WHERE name = 'service'")
        size = office.number("PRAGMA page_size")
        with (state / "agent.db").open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)
        with pytest.raises(LogCorruptError, match=r"^agent\.db: it is damaged.*put the state directory back"):
            await office.daemon._work()
        assert (office.gate(), len(desk.world.writes)) == ("approved", 0)


async def test_a_log_with_a_gap_starts_nothing(tmp_path: Path) -> None:
    desk, state = Desk(), tmp_path / "state"
    state.mkdir()
    async with office_in(state, desk) as office:
        await office.plan("C-1/home")
        (answer,) = await office.daemon.job.approvals.submit(approval(office))
        assert answer.accepted
        edit(state, "DELETE FROM event WHERE seq = 2")
        with pytest.raises(LogCorruptError, match=r"^expected events 1 to \d+, got \d+ of them"):
            await office.daemon._work()
        assert (office.gate(), len(desk.world.writes)) == ("approved", 0)


# --- from a backup ---


async def test_restored_backup_starts_nothing_and_brings_nobody_back(site: PutBack, tmp_path: Path) -> None:
    """Made while the agent runs, restored into a new directory: all that holds of a copy that was put back holds."""
    state, owner, key = tmp_path / "state", Owner(), tmp_path / "store.key"
    key.write_bytes(STORE_KEY)
    key.chmod(0o600)
    (tmp_path / "agent.toml").write_text("")
    paths = BackupPaths(tmp_path / "b.age", tmp_path / "b.keys.age")
    shutil.rmtree(state)
    shutil.rmtree(tmp_path / "state-mark")
    first, desk = replace(site), Desk()
    first.desk = desk
    state.mkdir()
    async with first.life() as office:
        await office.store.run(LeaveCloud())
        await office.plan("C-1/home")
        first.signed = approval(office)
        source = BackupSource(state, key, tmp_path / "agent.toml", "noc-1", office.daemon.config.origin)
        await trio.to_thread.run_sync(make, source, paths, owner.recipients, int(time.time()))
        (answer,) = await office.daemon.job.approvals.submit(first.signed)
        assert answer.accepted
        await work(office)
        assert (office.gate(), len(desk.world.writes)) == ("consumed", 1)
        newer = await remove_joseph(office)
    for mark in ("there", "gone"):
        shutil.rmtree(state)
        if mark == "gone":
            shutil.rmtree(tmp_path / "state-mark")
        restore(paths, owner.identities, state)
        async with first.life() as office:
            assert (office.gate(), office.leaves(LeafKind.RESTORED_DATABASE)) == ("void", 1), mark
            assert office.parts.trust.doubt(), mark
            with pytest.raises(RequestError, match=r"had version 2|trust"):
                await office.daemon.job.approvals.submit(first.signed)
            await work(office)
            assert len(desk.world.writes) == 1, mark
            if mark == "there":
                await office.parts.trust.install(newer, "", time.time())
                assert office.parts.trust.doubt() == ""
