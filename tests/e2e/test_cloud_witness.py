"""The start-up rule, with a desk that remembers: what a witness did not confirm starts nothing that was left unused.

The witness is `ispcloud changes watch --witness-key` at joseph's desk; beside it the control plane's own cosigns, which
alone would not do.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from protos import message_pb2 as pb
from tests.e2e.cloud_site import PASSPHRASE, CloudProgram, Company, EmptyBoard, company, plan_sha256, wait_until
from tests.e2e.files import Billing, Files, ordinary, ref_of
from tests.e2e.site import Json, Site, open_site, sent, state_of
from trust import keys
from trust.checkpoint import encode_witness_vkey
from trust.document import Quorum, Trust, Witness, WitnessOperator
from trust.errors import Reason
from trust.keys import SigningKey
from trust.statements import ReceiptResult

KEY = SigningKey.generate()
NAME = "desk-joseph"
NO_SOCKETS = shutil.ignore_patterns("*.sock")


@asynccontextmanager
async def witnessed(folder: Path, cloud: CloudProgram, *, wait_s: int = 20) -> AsyncIterator[Company]:
    """A company whose trust document asks for both witnesses. `wait_s`: how long a start waits for them."""

    def quorum(trust: Trust, files: Files) -> Trust:
        witnesses = (
            Witness(NAME, (encode_witness_vkey(NAME, KEY.public),), WitnessOperator.OWN),
            Witness("ispcloud-witness", (cloud.vkey,), WitnessOperator.CLOUD),
        )
        return replace(trust, witnesses=witnesses, quorum=Quorum(2, 1))

    agent = f"[cloud]\ncheckpoint_s = 1\nwitness_wait_s = {wait_s}\n"
    async with company(folder, cloud, desks=("joseph",), change_trust=quorum, agent=agent) as here:
        (here.joseph.home / "witness").write_bytes(keys.seal_key(KEY.seed, PASSPHRASE, 1, 8192))
        yield here


@contextlib.contextmanager
def watching(here: Company) -> Iterator[None]:
    """Have joseph's desk cosign for the block."""
    process = here.joseph.start("changes", "watch", "--witness-key", here.joseph.home / "witness")
    try:
        yield
        assert process.poll() is None, (here.joseph.home / "said").read_text()
    finally:
        process.kill()
        process.wait()


async def cosigned(site: Site) -> None:
    """Wait until both have cosigned the log as it is now."""
    size = (await site.call("GET", "/v1/status"))["log"]["size"]

    async def look() -> bool:
        return site.daemon.log.witnesses.witnessed_text(size) == f"witnessed by {NAME}, ispcloud-witness"

    await wait_until("cosignatures of both", look)


async def confirmed(site: Site) -> None:
    async def look() -> bool:
        return site.daemon.log.witnesses.confirmed

    await wait_until("a confirmed start", look)


async def contradicted_by_both(site: Site) -> None:
    async def look() -> bool:
        return len(site.daemon.log.witnesses.contradicted_by()) == 2

    await wait_until("contradictions of both", look)


async def kinds(site: Site) -> Counter[str]:
    """Return how many events of each kind the agent's log has."""
    return Counter(e["kind"] for e in await site.call("GET", "/v1/audit"))


async def approved(here: Company, site: Site) -> Json:
    """Return a change that is approved and waits for somebody to let it start."""
    change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]), hold=True)
    await site.approve(change, "joseph")
    return change


async def test_a_confirmed_start_goes_on_with_what_was_approved(tmp_path: Path, cloud: CloudProgram) -> None:
    async with witnessed(tmp_path, cloud) as here:
        with watching(here):
            async with here.at_work() as site:
                change = await approved(here, site)
                await cosigned(site)
            async with here.at_work(install=False) as site:
                await confirmed(site)
                shown = await site.show(change)
                assert (shown["gate"], shown["state"]) == ("approved", "approved")
                await site.call("POST", f"/v1/changes/{change['id']}/apply", {})
                assert state_of(await site.wait_end(change)) == ("applied", "garden")
                assert (await kinds(site))["unwitnessed-start"] == 0


async def test_silent_witnesses_make_unused_plans_void(tmp_path: Path, cloud: CloudProgram) -> None:
    """(J9) The control plane's own witness answers; the desk's does not, and one of the cloud's alone is none."""
    async with witnessed(tmp_path, cloud, wait_s=60) as here:
        with watching(here):
            async with here.at_work() as site:
                change = await approved(here, site)
                await cosigned(site)
        config = here.files.config
        config.write_text(config.read_text().replace("witness_wait_s = 60", "witness_wait_s = 2"))
        async with here.at_work(install=False) as site:
            shown = await site.wait_for(change, lambda c: c["gate"] == "void")
            assert shown["gate"] == "void"
            found = await kinds(site)
            assert (found["unwitnessed-start"], found["plan-void"]) == (1, 1)
            assert sent(here.isp) == 0
            # It is previewed again, and then runs
            assert state_of(await site.do("suspend", ref_of(ordinary(here.isp, 1)[0]))) == ("applied", "garden")


async def test_a_restored_database_meets_a_witness_that_has_seen_more(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C2, J4) The whole machine was put back: its own memory of the log as well; the desk remembers."""
    async with witnessed(tmp_path, cloud) as here:
        backup, mark = tmp_path / "backup", here.files.state.with_name(f"{here.files.state.name}-mark")
        with watching(here):
            async with here.at_work() as site:
                change = await approved(here, site)
                await cosigned(site)
            shutil.copytree(here.files.state, backup, ignore=NO_SOCKETS)
            shutil.copytree(mark, tmp_path / "backup-mark")
            async with here.at_work(install=False) as site:
                await site.call("POST", f"/v1/changes/{change['id']}/apply", {})
                assert state_of(await site.wait_end(change)) == ("applied", "garden")
                await site.do("restore", ref_of(ordinary(here.isp, 1)[0]))
                await cosigned(site)
                await here.joseph.do("changes", "show", plan_sha256(change)[:8])
            before = sent(here.isp)

            shutil.rmtree(here.files.state)
            shutil.copytree(backup, here.files.state)
            shutil.copytree(tmp_path / "backup-mark", mark, dirs_exist_ok=True)
            cloud.change(EmptyBoard(here.operator_id))  # which would tell as much, and halt it before the witnesses do
            async with here.at_work(install=False) as site:
                await site.wait_for(change, lambda c: c["gate"] == "void")
                await contradicted_by_both(site)  # the later one's answer voids what is asked before it
                found = await kinds(site)
                assert found["witness-anomaly"] == 2
                assert (found["unwitnessed-start"], found["restored-database"]) == (1, 0)
                assert "CONTRADICTED by" in site.daemon.log.witnesses.witnessed_text()
                # Nothing new starts either, while this stands
                again = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
                await site.approve(again, "joseph")
                said = await site.wait_for(again, lambda c: c["waits_because"])
                why = (
                    f"the witness {NAME} has seen another log of this agent: nothing starts before people have "
                    "compared them (docs/operations.md)"
                )
                assert (said["gate"], said["waits_because"]) == ("approved", why)
                # Joseph's desk saw more of the log than it has now: what it answers is not believed
                looked = await here.joseph.type("changes", "show", plan_sha256(again)[:8])
                # Which of the two it says depends on how many leaves there are by now
                assert (looked.code, "FORKED" in looked.sentence or "shrank" in looked.sentence) == (3, True), looked
        assert sent(here.isp) == before


async def test_an_older_database_is_noticed_without_a_witness(tmp_path: Path, cloud: CloudProgram) -> None:
    """(C2) Only the database was put back: the used approval comes again, for a plan that is void."""
    async with company(tmp_path, cloud, desks=("joseph",)) as here:
        files = [here.files.state / name for name in ("agent.db", "agent.db-wal", "agent.db-shm")]
        async with here.at_work() as site:
            change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
            await here.joseph.wait("the plan", lambda b: b.plans)
        backup = {file: file.read_bytes() for file in files if file.exists()}
        async with here.at_work(install=False) as site:
            approval = site.approval(change, "joseph")
            await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)
            assert state_of(await site.wait_end(change)) == ("applied", "garden")
            await here.joseph.outcome(plan_sha256(change))
        for file in files:
            file.unlink(missing_ok=True)
        for file, data in backup.items():
            file.write_bytes(data)
        async with here.at_work(install=False) as site:
            receipts = await here.joseph.wait(
                "a second receipt", lambda b: b.receipts_of(approval) if len(b.receipts_of(approval)) > 1 else None
            )
            assert [(r.result, r.reason) for r in receipts] == [
                (ReceiptResult.ACCEPTED, None),
                (ReceiptResult.REFUSED, Reason.VOID),
            ]
            assert (await site.show(change))["gate"] == "void"
            assert ((await kinds(site))["restored-database"], sent(here.isp)) == (1, 1)


async def test_of_two_agents_with_one_identity_one_is_contradicted(tmp_path: Path, cloud: CloudProgram) -> None:
    """(J5) A clone of the machine runs beside it: both hold the same approved plan, and it is used once at most."""
    async with witnessed(tmp_path, cloud) as here:
        with watching(here):
            async with here.at_work() as site:
                change = await approved(here, site)
                await cosigned(site)
            clone = cloned(here.files, tmp_path / "clone")
            async with here.at_work(install=False) as site:
                await confirmed(site)
                await cosigned(site)
                async with open_site(clone, install=False) as twin:
                    shown = await twin.wait_for(change, lambda c: c["gate"] == "void")
                    assert "CONTRADICTED by" in twin.daemon.log.witnesses.witnessed_text()
                    assert shown["gate"] == "void"
                    assert (await kinds(twin))["witness-anomaly"] >= 1
                    assert sent(here.isp) == 0
                    # What the clone hears, the first one hears as well: it goes on or stops, and nothing happens twice
                    await site.call("POST", f"/v1/changes/{change['id']}/apply", {})
                    over = await site.wait_for(change, lambda c: c["waits_because"] or state_of(c)[0] == "applied")
                    assert sent(here.isp) == (1 if state_of(over)[0] == "applied" else 0)
                    assert (await twin.show(change))["gate"] == "void"


def cloned(files: Files, folder: Path) -> Files:
    """Return a copy of an agent's whole folder, as another machine would run it."""
    shutil.copytree(files.folder, folder, ignore=NO_SOCKETS)
    return replace(
        files, folder=folder, config=folder / "agent.toml", billing=Billing(folder / "billing.csv", files.billing.rows)
    )
