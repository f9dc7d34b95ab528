"""An evening on the phone: a radio fades, a device falls silent, an ONU loses its light; each is one command."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.api.metrics import exposition
from agent.api.overview import overview
from agent.changes.engine.devices import Devices
from agent.config import ConfigError
from agent.connectors.base import DeviceReport, DeviceState, SharedCredential
from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState, Neighbor, Part, PartKind
from agent.lines.states import RecordDeviceReading, RecordEvent, RecordUnread
from tests.builders.agent import OTHER, Agent, agent_in, chain_time, config_for
from tests.builders.answers import unix_of
from tests.builders.subscribers import bring_csv
from tests.builders.terminal import Terminal
from tests.builders.world import World
from trust.moments import moment_text, rfc3339

LIST = """subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of,ont
C-1,Amina,home,u0,fake,20M,,0,34.00,2025-10-03,,{now},HWTC1A2B3C4D
C-2,Joao,home,u1,fake,20M,,0,12.50,2025-10-03,,{now},
C-3,Ivan,home,u2,fake,20M,,0,12.50,2025-10-03,,{now},
"""
UP, DOWN = LinkState.UP, LinkState.DOWN


def onu(state: LinkState, dbm: float) -> Part:
    return Part(
        "onu/HWTC1A2B3C4D", PartKind.ONU, "gpon 0/1/3", serial="HWTC1A2B3C4D", state=state,
        told="los" if state is DOWN else "", parent="pon/0-1", measures={} if state is DOWN else {"rx_power_dbm": dbm},
    )  # fmt: skip


def client(dbm: float) -> Part:
    return Part("client/c2", PartKind.CLIENT, "c2", state=UP, parent="radio/1", measures={"signal_dbm": dbm})


async def evening(agent: Agent) -> int:
    """Play an evening; return when it began, unix seconds."""
    store, began_s = agent.daemon.files.store, int(time.time()) - 1240
    to_ap = Neighbor("ap-1", "", "1", "", "", "", port="port/1", remote_port="eth0")
    to_sw = Neighbor("sw-9", "", "2", "", "", "", port="port/2", remote_port="24")
    to_core = Neighbor("core", "", "24", "", "", "", port="port/24", remote_port="2")
    core = (Part("port/1", PartKind.PORT, "1", state=UP), Part("port/2", PartKind.PORT, "2", state=UP))
    readings: list[DeviceReading] = []
    for n, (light, signal) in enumerate(((-19.0, -61.0), (-19.2, -61.5), (-31.2, -62.0), (0.0, -81.0))):
        at_s = began_s + 300 * n
        readings += [
            DeviceReading("fake/core", at_s, identity="core", parts=core, neighbors=(to_ap, to_sw)),
            DeviceReading("fake/olt-1", at_s, identity="olt-1", parts=(onu(UP if light else DOWN, light),)),
            DeviceReading("fake/ap-1", at_s, identity="ap-1", parts=(client(signal),)),
        ]
    seven = Part("port/7", PartKind.PORT, "7", state=UP)
    readings.append(DeviceReading("fake/sw-9", began_s + 300, identity="sw-9", parts=(seven,), neighbors=(to_core,)))
    for one in readings:
        await store.run(RecordDeviceReading(one))
    for n in (2, 3):
        await store.run(RecordUnread("fake/sw-9", "unreachable, or wrong secret", began_s + 300 * n, silent=True))
    return began_s


@asynccontextmanager
async def desk(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    lines = folder / "lines.csv"
    lines.write_text("service,device,part\nC-2/home,ap-1,client/c2\nC-3/home,sw-9,7\n")
    more = f'[lines]\nfile = "{lines}"\nroots = ["core"]\nalias = "cust (?P<service>.+)"\n'
    async with agent_in(folder, world, more=more) as agent:
        await bring_csv(agent, LIST.format(now=chain_time().decode()).encode())
        yield Terminal(agent, monkeypatch)


def row(lines: list[str], label: str) -> str:
    """Return a labeled paragraph of a page in one line."""
    first = next(n for n, line in enumerate(lines) if line.startswith(f"  {label} "))
    rest = next((n for n in range(first + 1, len(lines)) if lines[n][2:14].strip()), len(lines))
    return " ".join(" ".join(lines[first:rest]).split())


async def test_three_subscribers_ask(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        before = await at.type("subscriber", "show", "C-1/home")
        assert not any(line.startswith("  line ") for line in before.lines), "no device is known: nobody expects a line"
        began_s = await evening(at.agent)

        def clock(after_s: int) -> str:
            return moment_text(began_s + after_s, now_s=time.time())

        await at.agent.daemon.api.parts.lines.outages(0)
        dark = row((await at.type("subscriber", "show", "C-1/home")).lines, "line")
        assert dark.startswith(
            f"line onu HWTC1A2B3C4D on olt-1 gpon 0/1/3: DOWN since {clock(900)} (losing light: -31.2 dBm at"
            f" {clock(600)}; los), read 5m ago found by serial number HWTC1A2B3C4D (column ont)"
        )
        fades = row((await at.type("subscriber", "show", "C-2/home")).lines, "line")
        assert f"up at least since {clock(0)} · signal -81.0 dBm · FADING: usually -61.0 dBm, read 5m ago" in fades
        silent = (await at.type("subscriber", "show", "C-3/home")).lines
        assert row(silent, "line").startswith(
            f"line port 7 on sw-9: unreachable, or wrong secret since {clock(600)}; last known: up at least since"
            f" {clock(300)}, read 15m ago"
        )
        assert row(silent, "cause").endswith("behind core 2 · 1 subscriber")

        said = await at.type("outage")
        assert said.code == 4
        assert [line.split(": ")[0] for line in said.lines] == [
            "sw-9", "olt-1 onu gpon 0/1/3", "ap-1 client c2",
            "3 causes · 4 devices, 1 silent · of 5 services 3 have a known line",
            "1 link between devices is told by one end only and counts for nothing",
        ]  # fmt: skip
        found = json.loads((await at.type("outage", "--json")).out)
        assert (found["cut_off"], found["silent"], found["found"], found["rooted"]) == (2, 1, 3, True)
        unseen = Terminal(at.agent, monkeypatch, uid=OTHER)
        assert (await unseen.type("outage")).code != 0, "lines are for those who may see subscribers"


async def test_a_batch_says_how_many_of_it_are_in_an_outage(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        quiet = await at.agent.ask("suspend", "C-1/home", "C-2/home", "C-3/home")
        assert "in an outage" not in json.dumps(quiet)
        await evening(at.agent)
        await at.agent.daemon.api.parts.lines.outages(0)
        many = await at.agent.ask("disconnect", "C-1/home", "C-2/home", "C-3/home")
        assert "2 of these are in an outage: ispagent outage" in json.dumps(many)


async def test_monitoring_has_devices_and_outages_and_names_nobody(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        parts = at.agent.daemon.api.parts
        assert "ispagent_line" not in exposition(overview(parts))
        await evening(at.agent)
        await parts.lines.outages(0)
        text = exposition(overview(parts))
        assert 'ispagent_line_parts{kind="onu",state="down"} 1.0' in text
        assert 'ispagent_line_devices{state="silent"} 1.0' in text
        assert 'ispagent_line_device_silent{device="fake/sw-9"} 1.0' in text
        assert 'ispagent_line_outages{kind="silent"} 1.0' in text
        assert 'ispagent_line_services{line="cut-off"} 2.0' in text
        assert 'ispagent_line_reading_age_seconds{device="fake/olt-1"}' in text
        assert not any(word in text for word in ("HWTC", "C-1", "client/c2"))


async def test_a_devices_page_has_its_readings(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    report = DeviceReport("fake/olt-1", "10.0.0.9:161", DeviceState.REACHABLE)
    monkeypatch.setattr(Devices, "reports", lambda self: [report])

    def port(name: str, state: LinkState, errors: int, **fields: str) -> Part:
        return Part(f"port/{name}", PartKind.PORT, name, state=state, counters={"in_errors": errors}, **fields)  # type: ignore[arg-type]  # texts

    async with desk(tmp_path, world, monkeypatch) as at:
        store, began_s = at.agent.daemon.files.store, int(time.time()) - 960

        async def keep(after_s: int, *parts: Part, not_read: tuple[str, ...] = ()) -> None:
            one = DeviceReading("fake/olt-1", began_s + after_s, identity="olt-1", parts=parts, not_read=not_read)
            await store.run(RecordDeviceReading(one))

        gone = Part("onu/HWTC00000009", PartKind.ONU, "0/1/9", serial="HWTC00000009", state=UP)
        await keep(0, onu(UP, -19.0), gone, port("1", UP, 0, alias="cust C-2/home"))
        await keep(300, onu(UP, -19.2), gone, port("1", UP, 0, alias="cust C-2/home"))
        await keep(600, onu(UP, -27.4), port("1", UP, 900, alias="cust C-2/home"))
        await keep(
            900, onu(UP, -27.5), port("1", DOWN, 900, alias="cust C-2/home"), not_read=("the ARP table: no answer",)
        )
        event = LineEvent("fake/olt-1", EventKind.PART_UP, "a", began_s + 930, part="port/1", told="linkUp")
        await store.run(RecordEvent(event))

        def clock(after_s: int) -> str:
            return moment_text(began_s + after_s, now_s=time.time())

        page = json.loads((await at.type("device", "show", "olt-1", "--json")).out)["lines"]
        parts = {one["key"]: one for one in page["parts"]}
        assert {key: (one["state"], unix_of(one["since"]) - began_s, one["gone"]) for key, one in parts.items()} == {
            "onu/HWTC1A2B3C4D": ("up", 0, False), "onu/HWTC00000009": ("down", 600, True),
            "port/1": ("down", 900, False),
        }  # fmt: skip
        assert (parts["port/1"]["state_by"], parts["port/1"]["age_s"] >= 60) == ("unproven", True)
        assert parts["port/1"]["errors"]["in_errors"] == {
            "total": 900, "grew": 900, "at": rfc3339(began_s + 600), "within_s": 300, "since": rfc3339(began_s + 300),
        }  # fmt: skip
        assert parts["onu/HWTC1A2B3C4D"]["fading"] == "rx_power_dbm"
        assert page["not_read"] == ["the ARP table: no answer"]
        shown = "\n".join((await at.type("device", "show", "olt-1")).lines)
        told = "a notification that proves nothing tells up: told, not read"
        level = "rx power -27.5 dBm · FADING: usually -19.0 dBm"
        for text in (
            f"port 1 [cust C-2/home]: DOWN since {clock(900)} ({told})",
            f"onu HWTC1A2B3C4D gpon 0/1/3: up at least since {clock(0)} · {level}",
            f"onu HWTC00000009 0/1/9: DOWN since {clock(600)} (no longer there) · no longer there",
            f"{clock(930)} heard linkUp (anybody could have sent it)",
            "not read: the ARP table: no answer",
        ):
            assert text in " ".join(shown.split()), text


async def test_a_credential_no_device_answers_to_is_told_everywhere(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedCredential("lab", frozenset({"lab"}), [f"fake/sw-{n}" for n in range(4)])
    monkeypatch.setattr(Devices, "credentials", lambda self: [shared])
    async with desk(tmp_path, world, monkeypatch) as at:
        store, now_s = at.agent.daemon.files.store, int(time.time())
        for target in shared.targets:
            await store.run(RecordDeviceReading(DeviceReading(target, now_s - 900)))
            for ago_s in (600, 300):
                await store.run(RecordUnread(target, "unreachable, or wrong secret", now_s - ago_s, silent=True))
        since = moment_text(now_s - 600, now_s=time.time())
        told = "all 4 devices with credential lab are silent"
        assert f"{told} since {since}: was it changed?" in (await at.type("outage")).out
        assert any(told in problem for problem in overview(at.agent.daemon.api.parts).problems)
        assert f"{told} for 10m: was it changed?" in (await at.type("status")).out
        checks = (await at.agent.call("GET", "/v1/doctor"))["checks"]
        assert next(c for c in checks if c["about"] == "credential lab")["result"] == "fails"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('alias = "cust (.+)"', "lines.alias: expected a regular expression with a group (?P<service>"),
        ('alias = "(?P<service>"', "lines.alias: expected a regular expression"),
        ('roots = "core"', "lines.roots: expected a list of names of devices"),
        ('roots = ["Core 1"]', "lines.roots: expected a list of names of devices"),
        ('upstreams = ["ap-1"]', 'lines.upstreams: expected a list of "DEVICE UPSTREAM"'),
        ('upstreams = ["ap-1 sw-1", "ap-1 sw-2 7"]', 'lines.upstreams: expected a list of "DEVICE UPSTREAM"'),
    ],
)
def test_a_wrong_configuration_of_lines_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_for(tmp_path, f"[lines]\n{line}\n")
    assert told in str(caught.value)


def test_an_upstream_may_name_a_port_with_spaces(tmp_path: Path) -> None:
    config = config_for(tmp_path, '[lines]\nupstreams = ["ap-1 sw-1 Port 7", "sw-1 core"]\n')
    assert config.lines.upstreams == (("ap-1", "sw-1", "Port 7"), ("sw-1", "core", ""))
