"""A machine that was put back whole, with no witness: the control plane has what the agent signed since.

The mark file came back with the rest, or its disk is gone.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from protos import message_pb2 as pb
from tests.e2e.cloud_site import CloudProgram, Company, company, plan_sha256, wait_until
from tests.e2e.files import ordinary, ref_of
from tests.e2e.site import Site, sent, state_of
from trust import chain
from trust import envelope as envelopes
from trust.statements import ReceiptResult

NO_SOCKETS = shutil.ignore_patterns("*.sock")
pytestmark = pytest.mark.slow


def without_joseph(here: Company) -> bytes:
    """Sign the next trust version, in which joseph is not."""
    files = here.files
    trust = files.trust
    head = chain.head_sha256(envelopes.decode_untrusted(files.signed_trust()[0]))
    root = replace(trust.root, keys=tuple(k for k in trust.root.keys if k.person != "joseph"), threshold=1)
    people = tuple(p for p in trust.people if p.handle != "joseph")
    files.trust = replace(trust, version=2, prev=head, people=people, root=root)
    return files.signed_trust()[0]


async def doubted(site: Site) -> str:
    async def look() -> str:
        return site.daemon.api.parts.trust.doubt()

    return await wait_until("a trust in doubt", look)


@pytest.mark.parametrize("mark_file", ["put back", "deleted"])
async def test_J4_a_state_put_back_whole_brings_nobody_back(
    tmp_path: Path, cloud: CloudProgram, mark_file: str
) -> None:
    async with company(tmp_path, cloud, agent="[cloud]\ncheckpoint_s = 1\n") as here:
        state, mark = here.files.state, here.files.state.with_name(f"{here.files.state.name}-mark")
        service = ordinary(here.isp, 1)[0]
        async with here.at_work() as site:
            change = await site.ask("suspend", ref_of(service))
            await here.joseph.wait("the plan", lambda b: b.plans)
        shutil.copytree(state, tmp_path / "backup", ignore=NO_SOCKETS)
        shutil.copytree(mark, tmp_path / "backup-mark")
        async with here.at_work(install=False) as site:
            approval = site.approval(change, "joseph")
            await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)
            assert state_of(await site.wait_end(change)) == ("applied", "garden")
            await here.joseph.outcome(plan_sha256(change))
            document = without_joseph(here)
            await here.lena.send(pb.KIND_TRUST, document)
            assert (await here.lena.receipt(document)).trust_version == 2
        before = sent(here.isp)

        for folder, backup in ((state, "backup"), (mark, "backup-mark")):
            shutil.rmtree(folder)
            if backup == "backup" or mark_file == "put back":
                shutil.copytree(tmp_path / backup, folder)
        async with here.at_work(install=False) as site:
            said = await doubted(site)
            assert "there may have been a newer version than" in said
            shown = await site.wait_for(change, lambda c: c["gate"] == "void")
            assert shown["gate"] == "void"
            receipts = await here.joseph.wait(
                "a second receipt", lambda b: b.receipts_of(approval) if len(b.receipts_of(approval)) > 1 else None
            )
            assert receipts[-1].result is ReceiptResult.REFUSED
            pinned = site.daemon.api.parts.trust.pinned
            assert pinned is not None
            # What the board led to is not undone by what came in behind it: the second version came again as well
            assert pinned.trust.version == 2
            assert "newer version than 2" in site.daemon.api.parts.trust.doubt()
        assert sent(here.isp) == before
