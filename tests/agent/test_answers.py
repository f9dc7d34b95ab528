"""Moments in answers of the API: RFC 3339 in every one, but for the log's own records."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.api.routes import ROUTES
from agent.changes.engine.devices import Devices
from agent.connectors.base import DeviceReport, DeviceState
from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState, Part, PartKind, Sensor
from agent.lines.states import RecordDeviceReading, RecordEvent, RecordUnread
from agent.runtime.errors import HttpError
from tests.builders.agent import Agent, agent_in, done, given
from tests.builders.answers import checked, moment_problems
from tests.builders.people import plan_of
from tests.builders.world import World

ELSEWHERE = {
    r"/v1/cpes.*": "tests/e2e/test_cpe*.py: an agent with an ACS",
    r"/v1/cpe-matrix": "the same",
    r"/v1/billing/accounts/\{subscriber\}": "tests/agent/test_billing_api.py: an agent with a billing system",
    r"/v1/billing/hooks/\{source\}": "tests/agent/billing/test_hooks_wired.py: a source that is called",
    r"/v1/devices/\{name\}/neighbors": "tests/e2e/test_snmp_evening.py: a device that is asked",
    r"/v1/changes/\{id\}/watch": "every test that waits for a change's end",
}
"""Routes with GET that answer nothing on the site of this test, and the tests that have their answers checked."""


async def site(agent: Agent, world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Fill a site with what has moments; return the values of segments that vary."""
    now_s = int(time.time())
    report = DeviceReport("fake/olt-1", "10.0.0.9:161", DeviceState.REACHABLE, tried_s=now_s, read_s=now_s)
    monkeypatch.setattr(Devices, "reports", lambda self: [report])
    store, series, began_s = agent.daemon.files.store, agent.daemon.api.parts.series, now_s - 960
    for n in range(3):
        part = Part("port/1", PartKind.PORT, "1", state=LinkState.UP, counters={"in_errors": 900 * n})
        sensors = (Sensor("voltage/in", "voltage", "in", 12.0, "V"),)
        reading = DeviceReading(
            "fake/olt-1", began_s + 300 * n, parts=(part,), sensors=sensors, uptime_s=900.0 if n < 2 else 9.0, boots=n
        )
        await store.run(RecordDeviceReading(reading))
        await series.keep(reading)
    await series.flush(None)
    await store.run(RecordEvent(LineEvent("fake/olt-1", EventKind.PART_UP, "a", began_s + 930, part="port/1")))
    await store.run(RecordUnread("fake/olt-1", "no answer", began_s + 940, silent=True))
    await given(agent)
    await done(agent, "suspend", "C-1", "C-2/home")
    change = await agent.ask("restore", "C-1", alone=True, on_failure="continue")
    assert (await agent.approve(change, "maria"))["accepted"]
    await agent.end(change)
    world.values[world.user("u3")] = {"plan": "20M", "suspended": "yes"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.daemon.drift.run)
        await agent.call("POST", "/v1/drift", {})
        with trio.fail_after(60):
            while (await agent.call("GET", "/v1/drift"))["running"]:  # noqa: ASYNC110  asked as a person does
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    await agent.daemon.api.parts.lines.outages(0)
    left = await agent.ask("suspend", "C-4", reason="abuse")
    assert (await agent.hand_in(agent.people.cancel(plan_of(left), "joseph")))[0]["accepted"]
    return {"id": left["id"], "ref": "C-2", "seq": "1", "name": "olt-1"}


def found_moments(answer: Any) -> int:
    """Return how many texts of an answer are moments."""
    if isinstance(answer, dict):
        return sum(found_moments(value) for name, value in answer.items() if name != "record")
    if isinstance(answer, list | tuple):
        return sum(map(found_moments, answer))
    return isinstance(answer, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer) is not None


async def test_every_answer_has_rfc_3339(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: dict[str, int] = {}
    async with agent_in(tmp_path, world) as agent:
        values = await site(agent, world, monkeypatch)
        for route in ROUTES:
            if route.method != "GET" or any(re.fullmatch(pattern, route.path) for pattern in ELSEWHERE):
                continue
            path = route.path.format(**values)
            query = "?of=voltage/in" if path.endswith("/series") else ""
            try:
                moments[route.path] = found_moments(await agent.call("GET", path + query, uid=0))
            except HttpError as err:
                pytest.fail(f"{route.path}: name the test that asks it in ELSEWHERE: {err}")
    assert {path for path, count in moments.items() if count} == {
        "/v1/status", "/v1/trust", "/v1/subscribers/{ref}", "/v1/devices", "/v1/devices/{name}",
        "/v1/devices/{name}/series", "/v1/outage", "/v1/drift", "/v1/changes", "/v1/changes/{id}", "/v1/reviews",
        "/v1/billing/payments", "/v1/audit",
    }, "a site without moments proves nothing of its answers"  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"sources": [{"since": 1_795_924_034}]}, ".sources[].since 1795924034"),
        ({"made_at": 1_795_924_034.5}, ".made_at 1795924034.5"),
        ({"restarts": (1_795_924_034,)}, ".restarts[] 1795924034"),
        ({"read_s": "2026-11-26T11:05:00Z"}, ".read_s '2026-11-26T11:05:00Z'"),
    ],
)
def test_a_moment_in_another_form_is_found(answer: object, problem: str) -> None:
    assert list(moment_problems(answer)) == [problem]


def test_records_bytes_and_ages_are_no_moments() -> None:
    assert checked({"record": {"at_s": 1_795_924_034}, "disk": {"free": 1_795_924_034}, "age_s": 40})
