"""The condition of the agent, its metrics and its health, as monitoring sees them on a real listener."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from agent.api.metrics import CONTENT_TYPE, exposition
from agent.api.overview import Condition, Overview, overview, status_line
from agent.changes.clock_watch import ClockWatch
from agent.config import ConfigError, parse_untrusted
from agent.inventory.drift_book import DriftRound
from agent.lines.desk import OutageView
from agent.lines.known import KnownDevice
from agent.runtime.host_state import LOW_BYTES, DiskSpace, HostState
from agent.runtime.outages import SourceReport, SourceState
from tests.builders.agent import Agent, agent_in
from tests.builders.world import World
from tests.repo import tree

FOUND = Overview(
    condition=Condition.DEGRADED,
    problems=("nas/bng-2: no reply",),
    sources=(
        SourceReport("radius/main", SourceState.UP, 10.0, 20.5),
        SourceReport('odd "name"\\', SourceState.DOWN, 11.0, None, "no reply", 12.0),
        SourceReport("routeros/edge-1"),
    ),
    disk_free=5,
    disk_size=9,
    files=3,
    lag_s=0.25,
    log_size=44,
    gates={"open": 2, "consumed": 7},
    items={"applied": 30},
    outbox=1,
    inbox=0,
    connected=None,
    trust_until_s=None,
)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_text_is_what_prometheus_reads() -> None:
    read = samples(exposition(FOUND))
    assert read["ispagent_condition", (("condition", "degraded"),)] == 1
    assert read["ispagent_condition", (("condition", "fine"),)] == 0
    assert read["ispagent_source_up", (("source", "radius/main"),)] == 1
    assert read["ispagent_source_up", (("source", 'odd "name"\\'),)] == 0
    assert ("ispagent_source_up", (("source", "routeros/edge-1"),)) not in read
    assert read["ispagent_source_last_success_timestamp_seconds", (("source", "radius/main"),)] == 20.5
    assert read["ispagent_changes", (("gate", "consumed"),)] == 7
    assert read["ispagent_items", (("state", "applied"),)] == 30
    assert read["ispagent_log_leaves_total", ()] == 44
    assert read["ispagent_loop_lag_seconds", ()] == 0.25
    assert not any(name.startswith("ispagent_cloud") for name, _ in read)
    assert not any(name.startswith("ispagent_drift") for name, _ in read)
    compared = samples(exposition(replace(FOUND, drift=DriftRound(1, 2, 600, 590, 12, 8, 2, True))))
    results = {label: n for (name, labels), n in compared.items() if "drift_services" in name for _, label in labels}
    assert results == {"checked": 590, "differ": 12, "not-checked": 8, "busy": 2}
    assert compared["ispagent_drift_round_timestamp_seconds", ()] == 2
    cloud = samples(exposition(replace(FOUND, connected=False, trust_until_s=1_800_000_000)))
    assert cloud["ispagent_cloud_connected", ()] == 0
    assert cloud["ispagent_outbox_messages", ()] == 1
    assert cloud["ispagent_trust_expires_timestamp_seconds", ()] == 1_800_000_000


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    device = KnownDevice("snmp/sw-1", read_s=1)
    whole = replace(FOUND, lines=OutageView(1.0, devices={"snmp/sw-1": device}, parts={("port", "up"): 3}), now_s=9.0)
    known = {name for name, _ in samples(exposition(whole))}
    dashboard = json.loads((tree.ROOT / "docs" / "grafana" / "ispagents.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for expr in asked for name in re.findall(r"ispagent_[a-z_]+", expr)}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert named <= known, named - known
    assert {name for name in known if name.startswith("ispagent_line")} <= named, "each has a panel"


async def test_the_worst_condition_wins_and_everything_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agent_in(tmp_path, World()) as agent:
        parts = agent.daemon.api.parts
        assert overview(parts).condition is Condition.FINE
        parts.outages.note("nas/bng-2", "no reply")
        found = overview(parts)
        assert (found.condition, found.problems) == (Condition.DEGRADED, ("nas/bng-2: no reply",))
        monkeypatch.setattr(ClockWatch, "halted", lambda self: 7200.0)
        found = overview(parts)
        assert found.condition is Condition.HALTED
        assert found.problems[0].startswith("the clock jumped by 7200 s")
        assert found.problems[1] == "nas/bng-2: no reply"
        assert status_line(found).startswith("HALTED: the clock jumped by 7200 s")
        assert status_line(found).endswith("and 1 more · 1 DOWN · log 2 leaves")
        status = await agent.call("GET", "/v1/status")
        assert (status["condition"], status["problems"]) == ("halted", list(found.problems))
        down = [s for s in status["sources"] if s["state"] == "down"]
        assert [(s["name"], s["error"]) for s in down] == [("nas/bng-2", "no reply")]


def test_one_line_for_systemd() -> None:
    up, down = (SourceReport(name, SourceState(name), 0.0, None, "", None) for name in ("up", "down"))
    own = replace(up, name="disk")
    seen = Overview(
        Condition.DEGRADED,
        ("radius/main: \x1b[31mno reply\u202e",),
        (up, up, down, own),
        disk_free=0,
        disk_size=0,
        files=0,
        lag_s=0.0,
        log_size=812,
        gates={"open": 2, "approved": 1, "consumed": 90},
        items={},
        outbox=0,
        inbox=0,
        connected=False,
        trust_until_s=1,
    )
    assert status_line(seen) == (
        "DEGRADED: radius/main: \\u001b[31mno reply\\u202e · 2 up · 1 DOWN · 2 changes waiting for approval"
        " · 1 approved, not started · control plane NOT connected · log 812 leaves"
    )
    assert status_line(replace(seen, condition=Condition.FINE, problems=(), sources=(), gates={}, connected=True)) == (
        "FINE · control plane connected · log 812 leaves"
    )


def test_a_disk_that_fills_up_is_said_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostState(tmp_path, lambda problem: None)
    assert host.disk().size_bytes > host.disk().free_bytes > 0
    monkeypatch.setattr(HostState, "disk", lambda self: DiskSpace(LOW_BYTES - 1, 2**40))
    assert "511 MiB are free" in host.disk_problem()
    monkeypatch.setattr(HostState, "disk", lambda self: DiskSpace(LOW_BYTES, 2**40))
    assert host.disk_problem() == ""


def fetch(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.headers["content-type"], err.read().decode()


async def ask(port: int, path: str, method: str = "GET") -> tuple[int, str, Any]:
    return await trio.to_thread.run_sync(fetch, port, path, method)


async def test_metrics_and_health_on_loopback(tmp_path: Path) -> None:
    async with agent_in(tmp_path, World()) as agent, trio.open_nursery() as nursery:
        port = await served(agent, nursery)
        status, kind, text = await ask(port, "/metrics")
        assert (status, kind) == (200, CONTENT_TYPE)
        assert samples(text)["ispagent_log_leaves_total", ()] >= 1
        for name in ("Amina", "Silva", "C-1", "u0"):
            assert name not in text
        assert (await ask(port, "/health"))[0] == 200
        agent.daemon.api.parts.outages.note("billing", "the billing file cannot be read")
        status, _, text = await ask(port, "/health")
        assert (status, json.loads(text)["condition"]) == (503, "degraded")
        assert (await ask(port, "/v1/status"))[0] == 404
        assert (await ask(port, "/metrics", "POST"))[0] == 405
        nursery.cancel_scope.cancel()


async def served(agent: Agent, nursery: trio.Nursery) -> int:
    await nursery.start(agent.daemon._serve_metrics, "127.0.0.1", 0)
    return agent.daemon.metrics_port


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:9464", ("::1", 9464)), ("", None)],
)
def test_where_metrics_are_served(text: str, found: tuple[str, int] | None) -> None:
    data = f'[agent]\nname = "a"\nmetrics_listen = "{text}"\n'
    assert parse_untrusted(data.encode(), Path("/etc/a.toml"), {}).metrics_listen == found


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "10.0.0.1:1", "localhost:1", "127.0.0.1", "127.0.0.1:70000", ":1"])
def test_metrics_are_served_on_loopback_only(text: str) -> None:
    data = f'[agent]\nname = "a"\nmetrics_listen = "{text}"\n'
    with pytest.raises(ConfigError, match="a loopback address and a port"):
        parse_untrusted(data.encode(), Path("/etc/a.toml"), {})
