"""The control plane is away in the middle of a change: what was approved happens once, and is told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from protos import message_pb2 as pb
from tests.e2e.cloud_site import CloudProgram, Company, Found, company, digest_of, open_proxy, plan_sha256, wait_until
from tests.e2e.files import ordinary, ref_of
from tests.e2e.site import Json, Site, check_log, item_states, open_site, sent, state_of
from trust.statements import OutcomeState, ReceiptResult

SLOW: dict[str, Any] = {"policy": {"pace": 2, "canary": 10}}


@asynccontextmanager
async def reachable(folder: Path, cloud: CloudProgram, **options: Any) -> AsyncIterator[Company]:
    """A company whose desk finds the control plane again after its restart, on whatever port."""
    async with open_proxy(cloud) as proxy, company(folder, cloud, desks=(), **options) as here:
        here.desk("joseph", server=proxy.address)
        yield here


def once(feed: Found, plan: str) -> bool:
    """Return whether a plan and its outcome stand on the shared feed once each."""
    plans = [m for m in feed.messages if m.kind == pb.KIND_PLAN and digest_of(m.body) == plan]
    return (len(plans), len(feed.outcomes_of(plan))) == (1, 1)


async def begun(site: Site, change: Json) -> Json:
    """Return the change once something of it is applied and something is not begun."""
    return await site.wait_for(change, lambda c: any(s == "applied" for s, _ in item_states(c).values()))


async def test_killed_after_the_approval_was_delivered(tmp_path: Path, own_cloud: CloudProgram) -> None:
    async with reachable(tmp_path, own_cloud, **SLOW) as here, here.at_work() as site:
        refs = [ref_of(s) for s in ordinary(here.isp, 6)]
        change = await site.ask("suspend", *refs)
        sha256 = plan_sha256(change)
        await here.joseph.wait("the plan", lambda b: b.plans)
        await here.joseph.send(pb.KIND_APPROVAL, site.approval(change, "joseph"), here.agent)
        await begun(site, change)
        await trio.to_thread.run_sync(own_cloud.kill)

        done = await site.wait_end(change)
        assert {s for s, _ in item_states(done).values()} == {"applied"}
        # The site's people work on without it
        (other,) = [s for s in ordinary(here.isp, 7) if ref_of(s) not in refs]
        assert state_of(await site.do("suspend", ref_of(other))) == ("applied", "garden")
        datagrams = sent(here.isp)

        await trio.to_thread.run_sync(own_cloud.start)
        assert (await here.joseph.outcome(sha256)).state is OutcomeState.DONE
        await here.joseph.wait("both outcomes", lambda b: len(b.outcomes) == 2)
        feed = await here.joseph.feed()
        assert once(feed, sha256)
        assert len(feed.plans) == 2
        assert sent(here.isp) == datagrams


@pytest.mark.slow
async def test_killed_before_the_approval_arrived_and_restarted(tmp_path: Path, own_cloud: CloudProgram) -> None:
    async with reachable(tmp_path, own_cloud) as here:
        (service,) = ordinary(here.isp, 1)
        async with here.at_work() as site:
            change = await site.ask("suspend", ref_of(service))
            sha256 = plan_sha256(change)
            await here.joseph.wait("the plan", lambda b: b.plans)
            here.proxy.cut()
            approval = site.approval(change, "joseph")
            await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)  # it is durable there when this returns
            await trio.to_thread.run_sync(own_cloud.kill)
            here.proxy.mend()
            assert (await site.show(change))["gate"] == "open"
        async with open_site(here.files, install=False) as site:
            assert (await site.show(change))["gate"] == "open"
            await trio.to_thread.run_sync(own_cloud.start)
            assert state_of(await site.wait_end(change)) == ("applied", "garden")
            assert (await here.joseph.receipt(approval)).result is ReceiptResult.ACCEPTED
            await here.joseph.outcome(sha256)
            assert once(await here.joseph.feed(), sha256)
            await check_log(site)
        assert sent(here.isp) == 1


@pytest.mark.slow
async def test_the_agent_dies_while_the_outcome_waits(tmp_path: Path, own_cloud: CloudProgram) -> None:
    async with reachable(tmp_path, own_cloud) as here:
        (service,) = ordinary(here.isp, 1)
        async with here.at_work() as site:
            await trio.to_thread.run_sync(own_cloud.stop)
            change = await site.ask("suspend", ref_of(service))
            assert state_of(await site.apply(change)) == ("applied", "garden")
            shown = await site.call("GET", "/v1/cloud")
            assert (shown["connected"], shown["outbox"] >= 2) == (False, True), shown
        async with open_site(here.files, install=False) as site:
            await trio.to_thread.run_sync(own_cloud.start)
            await here.joseph.outcome(plan_sha256(change))
            assert once(await here.joseph.feed(), plan_sha256(change))

            async def empty() -> bool:
                return bool((await site.call("GET", "/v1/cloud"))["outbox"] == 0)

            await wait_until("an empty outbox", empty)


async def test_an_answer_that_was_lost_has_no_second_effect(tmp_path: Path, own_cloud: CloudProgram) -> None:
    """The desk sends under one ref again and again, the way is cut between; the agent's way as well."""
    async with reachable(tmp_path, own_cloud) as here, here.at_work() as site:
        change = await site.ask("suspend", ref_of(ordinary(here.isp, 1)[0]))
        approval = site.approval(change, "joseph")
        message = here.message(pb.KIND_APPROVAL, approval)
        await here.joseph.wait("the plan", lambda b: b.plans)
        here.inject(message)  # taken, and the answer was lost
        for _ in range(3):
            here.proxy.cut()
            here.proxy.mend()
            await here.joseph.send(pb.KIND_APPROVAL, approval, here.agent)
        assert state_of(await site.wait_end(change)) == ("applied", "garden")
        await here.joseph.outcome(plan_sha256(change))
        await here.joseph.wait("a receipt for each", lambda b: len(b.receipts_of(approval)) == 4)
        feed = await here.joseph.feed()
        assert {r.result for r in feed.receipts_of(approval)} == {ReceiptResult.ACCEPTED}
        assert once(feed, plan_sha256(change))
        assert sent(here.isp) == 1


@pytest.mark.slow
async def test_a_watching_desk_comes_back(tmp_path: Path, own_cloud: CloudProgram) -> None:
    """Neither a restart as it should be nor a kill ends `ispcloud changes watch`, which may be a witness."""
    async with reachable(tmp_path, own_cloud) as here, here.at_work() as site:
        watch = here.joseph.start("changes", "watch")
        said = here.joseph.home / "said"

        async def told(service: int) -> None:
            change = await site.ask("suspend", ref_of(ordinary(here.isp, 3)[service]))
            await here.joseph.wait("it", lambda b: b.plans[service:])

            async def line() -> bool:
                assert watch.poll() is None, said.read_text()
                return f"waiting: {change['id']} suspend" in said.read_text()

            await wait_until(f"a line of {change['id']}", line)

        try:
            await told(0)
            for n, end in enumerate((own_cloud.stop, own_cloud.kill), start=1):
                await trio.to_thread.run_sync(end)
                await trio.to_thread.run_sync(own_cloud.start)
                await told(n)
        finally:
            watch.kill()
            watch.wait()
