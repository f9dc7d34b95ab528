"""The worker: what one plan raises ends no other, nor the daemon."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio

from agent import daemon as daemons
from agent.changes import worker as workers
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.moments import SendWindow
from agent.changes.journal.request import Ask, local
from agent.config import parse_untrusted
from agent.runtime.clock import SystemClock
from agent.store.errors import MissingKeyError
from tests.builders.job import STORE_KEY
from tests.builders.office import MARIA_UID, Desk, Office, approved, finished, office_in, work
from trust import envelope as envelopes
from trust import statements
from trust.policy import Action
from trust.statements import FreezeScope, Outcome


async def restore(office: Office, ref: str) -> PlanRow:
    api = office.daemon.api.parts
    pinned = api.trust.current(time.time())
    asked = local(Ask(Action.RESTORE, (ref,)), MARIA_UID, api.people, pinned.trust, api.agent, time.time())
    await api.intake.plan(asked, pinned)
    return office.row()


def erase(folder: Path, subject: bytes) -> None:
    """Delete a subscriber's key, as it is done today: by hand, while the agent is stopped."""
    with closing(sqlite3.connect(folder / "keys.db", isolation_level=None)) as con:
        assert con.execute("DELETE FROM subject WHERE id = ?", (subject,)).rowcount == 1


async def test_missing_key_of_subscriber_ends_one_change_and_no_other(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await approved(office, await restore(office, "C-5"))
        subject = bytes(office.store.reader.execute("SELECT subject FROM item").fetchone()[0])
        gone = office.row().plan_id
        await approved(office, await office.plan("C-1"))
    erase(tmp_path, subject)
    async with office_in(tmp_path, desk) as office:
        await work(office, lambda: finished(office) == 2)
        states = dict(office.store.reader.execute("SELECT plan_id = ?, state FROM item", (gone,)).fetchall())
        assert states == {1: "cancelled", 0: "applied"}
        row = office.store.reader.execute("SELECT reason, detail FROM item WHERE plan_id = ?", (gone,)).fetchone()
        assert row["reason"] == "erased"
        assert "its subscriber was erased" in row["detail"]


async def test_key_that_goes_missing_while_it_runs_is_one_named_item(office: Office) -> None:
    await approved(office, await office.plan("C-1", "C-2/home"))
    vault = office.daemon.files.vault
    del vault._ids["C-1"]
    await work(office, lambda: finished(office) == 1)
    found = office.store.reader.execute("SELECT service, state, reason FROM item ORDER BY service").fetchall()
    assert [tuple(r) for r in found] == [
        ("C-1/home", "not-applied", "erased"),
        ("C-2/home", "applied", found[1]["reason"]),
    ]


async def test_a_plan_that_cannot_be_run_ends_and_others_go_on(office: Office) -> None:
    bad = await approved(office, await office.plan("C-1"))
    await approved(office, await office.plan("C-2/home"))
    office.store._con.execute("UPDATE item SET doc = zeroblob(64) WHERE plan_id = ?", (bad.plan_id,))
    await work(office, lambda: finished(office) == 2)
    found = office.store.reader.execute("SELECT service, state, reason, detail FROM item ORDER BY service").fetchall()
    assert [tuple(row)[:3] for row in found] == [
        ("C-1/home", "cancelled", "given-up"),
        ("C-2/home", "applied", found[1]["reason"]),
    ]
    assert found[0]["detail"].startswith("the agent cannot go on with it: ")
    assert office.desk.world.kicks == ["u1"]
    signed = [envelopes.decode_untrusted(o.body) for o in office.out("outcome")]
    outcomes = [statements.decode_as_untrusted(Outcome, envelope) for envelope in signed]
    assert [o.state.value for o in outcomes if o.plan_sha256 == bad.digest.hex()] == ["cancelled"]


async def test_a_change_that_goes_on_twice_is_run_once(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The start finds a retry unfinished, and is told of it too: two runs at once would act on one session."""
    row = await approved(office, await office.plan("C-1"))
    worker = office.daemon.job.worker
    async with trio.open_nursery() as nursery:
        await worker._look(nursery)
        nursery.cancel_scope.cancel()  # the agent ends as soon as the plan is consumed
    assert (office.row().consumed_seq is not None, finished(office)) == (True, 0)
    worker.resume(row.plan_id)
    with caplog.at_level(logging.INFO):
        await work(office, lambda: finished(office) == 1)
    assert [r.message for r in caplog.records].count("a change begins") == 1
    assert office.desk.world.kicks == ["u0"]


async def test_plan_that_cannot_be_judged_is_left_and_others_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await approved(office, await office.plan("C-1"))
    await approved(office, await office.plan("C-2/home"))
    worker, real = office.daemon.job.worker, office.daemon.job.approvals.send_window

    def send_window(row: PlanRow) -> SendWindow:
        if row.plan_id == bad.plan_id:
            raise KeyError("C-1")
        return real(row)

    monkeypatch.setattr(office.daemon.job.approvals, "send_window", send_window)
    with caplog.at_level(logging.ERROR):
        await work(office, lambda: finished(office) == 1)
    assert "fault of the agent's own" in worker.waiting[bad.plan_id]
    assert [r.task for r in caplog.records if hasattr(r, "task")] == [f"change {bad.short}"], "said once"


async def test_plan_that_stays_frozen_is_looked_at_without_a_write(office: Office) -> None:
    await approved(office, await office.plan("C-1"))
    frozen = office.people.freeze("lena")
    await office.receive("freeze", frozen)
    worker, plan_id = office.daemon.job.worker, office.row().plan_id
    async with trio.open_nursery() as nursery:
        await worker._look(nursery)
        commits = office.store.commits
        for _ in range(30):
            await worker._look(nursery)
            assert worker.waiting[plan_id].startswith("frozen by lena")
        assert office.store.commits == commits
        await office.receive("unfreeze", office.people.unfreeze(frozen, ["lena", "joseph"]))
        await worker._look(nursery)
        assert plan_id not in worker.waiting
        assert office.row().consumed_seq is not None
        nursery.cancel_scope.cancel()


async def test_nothing_is_read_again_before_a_commit(office: Office) -> None:
    await approved(office, await office.plan("C-1"))
    await work(office, lambda: finished(office) == 1)
    worker, judging = office.daemon.job.worker, office.daemon.judging
    asked = list[str]()
    async with trio.open_nursery() as nursery:
        for _ in range(2):  # the first look and round find plans that are over
            await worker._look(nursery)
            await judging.round()
        office.store.reader.set_trace_callback(asked.append)
        await worker._look(nursery)
        await judging.round()
        assert not asked
        await office.plan("C-2/home")
        await worker._look(nursery)
        await judging.round()
        assert [text for text in asked if "FROM plan" in text]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("again_s", "gate"), [(0.0, "open"), (60.0, "approved")])
async def test_restore_that_stays_frozen_is_judged_again(
    office: Office, monkeypatch: pytest.MonkeyPatch, again_s: float, gate: str
) -> None:
    """Its standing authority may end under the freeze: then people can approve it before the lift."""
    monkeypatch.setattr(workers, "AGAIN_S", again_s)
    await office.receive("standing", office.people.standing())
    intent = office.intent("C-5", who="billing", key=office.desk.billing, verb=Action.RESTORE)
    await office.receive("intent", office.sealed(intent))
    await office.receive("freeze", office.people.freeze("maria"))
    async with trio.open_nursery() as nursery:
        await office.daemon.job.worker._look(nursery)
        assert office.gate() == "approved"
        await office.receive("freeze", office.people.freeze("maria", FreezeScope.PERSON, "joseph"))  # who signed it
        await office.daemon.job.worker._look(nursery)
    assert office.gate() == gate


async def test_each_look_reads_plans_by_an_index(office: Office) -> None:
    """The look comes once a second, and years of cancelled and expired plans must not slow it."""
    asked, reader = list[str](), office.store.reader
    reader.set_trace_callback(asked.append)
    async with trio.open_nursery() as nursery:
        await office.daemon.job.worker._look(nursery)
    reader.set_trace_callback(None)
    found = [str(r["detail"]) for sql in asked for r in reader.execute(f"EXPLAIN QUERY PLAN {sql}") if " plan" in sql]
    assert any("plan_gate" in plan for plan in found)
    assert any("plan_untold" in plan for plan in found)
    assert all("USING INDEX plan_" in plan for plan in found if " plan " in plan), found


@pytest.mark.parametrize("lost", ["file", "keys", "mark"])
async def test_a_log_without_its_keys_is_refused_at_the_start(tmp_path: Path, lost: str) -> None:
    async with office_in(tmp_path, Desk()) as office:
        await approved(office, await office.plan("C-1"))
        await work(office, lambda: finished(office) == 1)
    (tmp_path / "store.key").write_bytes(STORE_KEY)
    (tmp_path / "store.key").chmod(0o600)
    text = f'[agent]\nname = "noc-1"\nstate_dir = "{tmp_path}"\n'
    config = parse_untrusted(text.encode(), tmp_path / "agent.toml", {})
    async with daemons.open_files(config, SystemClock()):
        pass
    if lost == "file":
        for name in ("keys.db", "keys.db-wal", "keys.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    else:
        with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as con:
            con.execute("DELETE FROM subject" if lost == "keys" else "DELETE FROM mark")
    with pytest.raises(MissingKeyError, match=r"keys\.db: expected the keys and the mark of a log of \d+ leaves"):
        async with daemons.open_files(config, SystemClock()):
            pass
