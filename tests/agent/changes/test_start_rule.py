"""The start: without a fresh answer of the quorum over this very start, what was not consumed is void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.builders.expect import expect
from tests.builders.witnesses import Site, Witness, desk_and_cloud, life, site_in, snapshot
from trust.document import Quorum, WitnessOperator
from trust.leaf import LeafKind

pytestmark = pytest.mark.virtual_time


def why(site: Site) -> str:
    """Return why the last start was not witnessed."""
    events = [e for e in site.rig.evidence.events(limit=100_000) if e.kind == "unwitnessed-start"]
    record = expect(dict, events[-1].record)
    return str(record["why"])


async def test_a_confirmed_start_leaves_everything_as_it_is(tmp_path: Path) -> None:
    async with site_in(tmp_path, desk_and_cloud()) as site:
        plan_id = await site.plan()
        await site.start()
        assert site.asking.confirmed
        assert site.gate(plan_id) == "open"
        assert site.leaves(LeafKind.UNWITNESSED_START) == 0


async def test_the_answer_must_cover_the_leaf_of_this_start(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", desk_and_cloud()) as site:
        await site.cosigned()
        plan_id = await site.plan()
        folder = snapshot(site, tmp_path / "two")
    async with life(site, folder) as again:
        assert again.asking.witnessed_text() == "witnessed by desk-lena, cloud"
        await again.start()
        assert again.asking.confirmed
        assert again.gate(plan_id) == "open"
        assert {c.size for w in again.witnesses for c in w.known.values()} == {again.rig.evidence.published()[0]}


async def test_J9_silence_of_the_witnesses_voids_what_is_unconsumed(tmp_path: Path) -> None:
    async with site_in(tmp_path, desk_and_cloud()) as site:
        open_, used = await site.plan(), await site.plan()
        await site.rig.consume(used)
        began = trio.current_time()
        await site.start("desk-lena", "cloud", wait_s=30)
        assert trio.current_time() - began >= 30
        assert (site.gate(open_), site.gate(used)) == ("void", "consumed")
        assert site.rig.states(used)[0].value == "planned"  # it goes on: only what had not begun is void
        assert (why(site), site.leaves(LeafKind.PLAN_VOID)) == ("silence", 1)
        new = await site.plan()
        await site.rig.consume(new)  # previewed again, it may start
        await site.cosigned()
        assert site.asking.confirmed


async def test_the_cloud_alone_does_not_confirm(tmp_path: Path) -> None:
    witnesses = [*desk_and_cloud(), Witness("cloud-2", WitnessOperator.CLOUD)]
    async with site_in(tmp_path, witnesses, Quorum(2, 1)) as site:
        plan_id = await site.plan()
        await site.start("desk-lena")
        assert not site.asking.confirmed
        assert site.gate(plan_id) == "void"


async def test_a_third_party_counts_as_not_the_clouds(tmp_path: Path) -> None:
    witnesses = [*desk_and_cloud(), Witness("university", WitnessOperator.THIRD)]
    async with site_in(tmp_path, witnesses, Quorum(2, 1)) as site:
        plan_id = await site.plan()
        await site.start("desk-lena")
        assert site.gate(plan_id) == "open"
        assert site.asking.witnessed_text() == "witnessed by cloud, university"


async def test_an_agent_without_a_control_plane_meets_silence(tmp_path: Path) -> None:
    async with site_in(tmp_path, desk_and_cloud()) as site:
        from agent.store.mail import LeaveCloud

        await site.rig.store.run(LeaveCloud())
        plan_id = await site.plan()
        await site.start()
        assert site.gate(plan_id) == "void"


async def test_J4_a_restored_machine_starts_and_goes_on_with_nothing(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", desk_and_cloud()) as site:
        await site.cosigned()
        open_, used = await site.plan(), await site.plan()
        await site.rig.consume(used)
        folder = snapshot(site, tmp_path / "two")  # its keys.db too: nothing on the machine knows better
        await site.rig.apply(used)
        assert [login for login, _ in site.rig.world.writes] == ["u1"]
        await site.cosigned()
        await site.start()
    async with life(site, folder) as restored:
        began = trio.current_time()
        await restored.start(wait_s=600)
        assert trio.current_time() - began < 600, "a contradiction is not waited for"
        assert why(restored) == "contradicted"
        assert restored.asking.contradicted_by() == ["cloud", "desk-lena"]
        assert restored.gate(open_) == "void"
        assert restored.rig.states(used)[0].value == "needs-a-person"  # it may have run, and been taken back, since


async def test_J4_a_restored_machine_whose_log_grew_to_the_same_size(tmp_path: Path) -> None:
    async with site_in(tmp_path / "one", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
        await site.cosigned()
        plan_id = await site.plan()
        folder = snapshot(site, tmp_path / "two")
        await site.start()
        assert site.asking.confirmed
    async with life(site, folder) as restored:
        await restored.start()
        assert restored.asking.contradicted_by() == ["desk-lena"]
        assert restored.gate(plan_id) == "void"


async def test_one_contradiction_outweighs_a_quorum(tmp_path: Path) -> None:
    witnesses = [*desk_and_cloud(), Witness("site-2", WitnessOperator.OWN)]
    async with site_in(tmp_path, witnesses, Quorum(2, 1)) as site:
        await site.cosigned()
        plan_id = await site.plan()
        (known,) = witnesses[2].known.values()
        witnesses[2].known[known.origin] = replace(known, size=known.size * 100)
        await site.start()
        await site.cosigned()  # the quorum may have been there before its answer came
        assert site.asking.contradicted_by() == ["site-2"]
        assert not site.asking.confirmed
        assert site.gate(plan_id) == "void"
