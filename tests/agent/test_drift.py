"""Drift by the local API and the command line, and adopting the network's state as a change with an author."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.cli.drift import drift_text
from agent.inventory import drift_book
from agent.reasons import DriftReason
from tests.builders.agent import NOBODY, Agent, agent_in, refused
from tests.builders.terminal import Terminal
from tests.builders.world import World
from trust.moments import rfc3339

CUT = {"plan": "20M", "suspended": "yes"}


@asynccontextmanager
async def watched(folder: Path, world: World) -> AsyncIterator[Agent]:
    async with agent_in(folder, world) as agent, trio.open_nursery() as nursery:
        nursery.start_soon(agent.daemon.drift.run)
        yield agent
        nursery.cancel_scope.cancel()


async def one_round(agent: Agent) -> Any:
    await agent.call("POST", "/v1/drift", {})
    with trio.fail_after(60):
        while (found := await agent.call("GET", "/v1/drift"))["running"]:  # noqa: ASYNC110  asked as a person does
            await trio.sleep(0.01)
    return found


async def suspend(agent: Agent, ref: str) -> Any:
    change = await agent.ask("suspend", ref)
    assert (await agent.approve(change, "joseph"))["accepted"]
    return await agent.end(change)


@pytest.fixture
async def agent(tmp_path: Path, world: World) -> AsyncIterator[Agent]:
    async with watched(tmp_path, world) as made:
        yield made


async def test_a_suspension_undone_by_staff_is_listed_with_its_author(agent: Agent, world: World) -> None:
    assert (await agent.call("GET", "/v1/drift"))["round"] is None
    change = await suspend(agent, "C-1/home")
    found = await one_round(agent)
    assert (found["round"]["checked"], found["differences"]) == (5, [])
    world.values[world.user("u0")] = {"plan": "20M"}
    found = await one_round(agent)
    (one,) = found["differences"]
    assert (one["subject"], one["code"]) == ("C-1/home", DriftReason.SUSPENSION_GONE)
    assert one["known"].endswith(f"by maria (change {change['id']})")
    assert [ask["command"] for ask in one["asks"]] == [
        "ispagent change suspend C-1/home --reason debt",
        "ispagent change adopt C-1/home",
    ]


async def test_names_are_for_operators_and_counts_for_all(agent: Agent, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)
    await one_round(agent)
    assert (await refused(agent.call("GET", "/v1/drift", uid=NOBODY))).status == 403
    assert (await refused(agent.call("POST", "/v1/drift", {}, uid=NOBODY))).status == 403
    counts = (await agent.call("GET", "/v1/status", uid=NOBODY))["drift"]
    assert (counts["differ"], counts["alarm"]) == (1, False)
    assert "u0" not in str(counts)
    assert "C-1" not in str(counts)


# --- adopt ---


async def adopt(agent: Agent, *refs: str, reason: str = "request") -> Any:
    change = await agent.ask("adopt", *refs, reason=reason)
    assert (await agent.approve(change, "joseph"))["accepted"]
    return await agent.end(change)


async def reasons(agent: Agent, ref: str) -> list[str]:
    found = (await agent.call("GET", f"/v1/subscribers/{ref}"))["services"]
    return list(found[0]["suspended_for"])


async def test_a_removed_suspension_is_adopted_without_sending(agent: Agent, world: World) -> None:
    await suspend(agent, "C-1/home")
    world.values[world.user("u0")] = {"plan": "20M"}
    sent = (list(world.writes), list(world.kicks))
    done = await adopt(agent, "C-1/home")
    assert (done["state"], done["items"][0]["reason"]) == ("done", "recorded")
    assert done["requester"] == "maria"
    assert await reasons(agent, "C-1") == []
    assert (world.writes, world.kicks) == sent
    assert (await one_round(agent))["differences"] == []


async def test_a_marker_without_a_reason_is_adopted_with_one(agent: Agent, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)
    assert (await one_round(agent))["differences"][0]["code"] == DriftReason.SUSPENDED_UNRECORDED
    await adopt(agent, "C-1/home", reason="abuse")
    assert await reasons(agent, "C-1") == ["abuse"]
    recorded = drift_book.recorded_reasons(agent.daemon.files.store.query, "C-1/home")
    assert [(one.reason, one.person) for one in recorded] == [("abuse", "maria")]
    assert (await one_round(agent))["differences"] == []


async def test_adoption_needs_approval_and_its_requester_is_none(agent: Agent, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)
    change = await agent.ask("adopt", "C-1/home", reason="request")
    assert change["state"] == "waiting for approval"
    assert not (await agent.approve(change, "maria"))["accepted"]
    assert await reasons(agent, "C-1") == []


async def test_the_revert_of_an_adoption_leaves_the_network_alone(agent: Agent, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)
    done = await adopt(agent, "C-1/home")
    change = await agent.ask("revert", change=done["id"])
    assert (await agent.approve(change, "joseph"))["accepted"]
    assert (await agent.end(change))["state"] == "done"
    assert await reasons(agent, "C-1") == []
    assert (world.writes, world.kicks, world.values[world.user("u0")]) == ([], [], CUT)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"plan": "20M"}, "the network is as recorded"),
        ({"plan": "20M", "rejected": "Auth-Type"}, "the login is rejected: Auth-Type"),
        (None, "the network has no entry of the login"),
    ],
)
async def test_what_cannot_be_adopted_says_why(
    agent: Agent, world: World, row: dict[str, str] | None, why: str
) -> None:
    if row is None:
        del world.values[world.user("u0")]
    else:
        world.values[world.user("u0")] = dict(row)
    err = await refused(agent.ask("adopt", "C-1/home", reason="request"))
    assert why in str(err)


async def test_a_target_that_is_away_is_not_adopted(agent: Agent, world: World) -> None:
    world.dead.add("fake/d")
    assert "fake/d is dead" in str(await refused(agent.ask("adopt", "C-1/home", reason="request")))


async def test_entry_that_changed_since_preview_is_not_overwritten(agent: Agent, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)
    first = await agent.ask("adopt", "C-1/home", reason="request")
    second = await agent.ask("adopt", "C-1/home", reason="abuse")
    for change in (first, second):
        await agent.approve(change, "joseph")
    assert [(await agent.end(c))["items"][0]["state"] for c in (first, second)] == ["applied", "skipped"]
    assert await reasons(agent, "C-1") == ["request"]


# --- what people read ---


def answer(**more: Any) -> Any:
    counts = {
        "id": 3, "began_at": rfc3339(900), "ended_at": rfc3339(940), "services": 5, "checked": 4, "differ": 1,
        "not_checked": 1, "busy": 0, "alarm": False, "notes": ["the NAS were not asked for sessions"], "running": False,
        "ways_out": ["DNS to any server (rule 0)"], **more,
    }  # fmt: skip
    one = {
        "subject": "C-1/home", "code": "suspension-gone", "wanted": "suspended for debt", "reads": "full service",
        "where": "radius/main", "read_at": rfc3339(940), "first_seen": rfc3339(0), "known": "network differs\x1b[2J",
        "asks": [{"command": "ispagent change adopt C-1/home", "meaning": "record that it is active"}],
    }  # fmt: skip
    unread = [{"subject": "C-2/home", "why": "bng-2 is away"}, {"subject": "C-3/home", "why": "bng-2 is away"}]
    return {"round": counts, "running": False, "services": 5, "differences": [one], "not_checked": unread}


def test_a_round_as_text() -> None:
    assert drift_text(answer(), 1000).splitlines() == [
        "4 checked 1m ago: 1 differ, 1 not checked",
        "C-1/home: suspension-gone, seen first 16m ago",
        "  wanted  suspended for debt",
        "  reads   full service (radius/main, 1m ago)",
        "  known   network differs\\u001b[2J",
        "  > ispagent change adopt C-1/home                           record that it is active",
        "not checked: C-2/home, C-3/home: bng-2 is away",
        "of any    not checked: the NAS were not asked for sessions",
        "suspended, and open: DNS to any server (rule 0)",
    ]


def test_services_newer_than_the_round_are_not_checked() -> None:
    text = drift_text(answer() | {"services": 7}, 1000)
    assert "not checked: 2 of 7 services, which came since: ispagent drift --now" in text.splitlines()


async def test_a_round_before_an_import_is_not_taken_for_a_comparison(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a first start: a round over no services, then the import."""
    at = Terminal(agent, monkeypatch)
    await one_round(agent)
    assert (await at.type("drift")).code == 0
    (line,) = [line for line in (await at.type("status")).lines if line.startswith("drift")]
    assert re.fullmatch(r"drift    0 of 5 differ, 0 not checked, \d+s ago: ispagent drift", line)
    csv = tmp_path / "more.csv"
    csv.write_text(
        "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n"
        "C-77,New,home,new77,fake,20M,,0,,,,\n"
    )
    assert (await at.type("subscriber", "import", str(csv))).code == 0
    found = await at.type("drift")
    assert found.code == 4
    assert "not checked: 1 of 6 services, which came since: ispagent drift --now" in found.lines
    assert any("1 came since" in line for line in (await at.type("status")).lines)


def test_under_an_alarm_there_is_one_line_instead_of_thousands() -> None:
    text = drift_text(answer(alarm=True), 1000)
    assert "ALARM" in text
    assert "C-1/home" not in text
    assert "C-1/home" in drift_text(answer(alarm=True), 1000, everything=True)


async def test_an_alarm_is_a_condition_for_monitoring(agent: Agent, world: World) -> None:
    for n in range(4):
        world.values[world.user(f"u{n}")] = dict(CUT)
    assert (await one_round(agent))["round"]["alarm"]
    status = await agent.call("GET", "/v1/status")
    assert status["condition"] == "degraded"
    assert "drift: 4 of 5 differ from the record: ispagent drift" in status["problems"]
