"""`ispagent snmp` and `ispagent device` over a whole daemon that polls a switch; profiles against recordings."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from agent.cli import app
from agent.config import load
from lab.snmp import values
from lab.snmp.server import SnmpLab, open_snmp_lab
from lab.tests.snmp.devices import IF, IFX, SYS, switch
from tests.agent.connectors.adding import running

CONFIG = """
[agent]
name = "noc-1"
state_dir = "{folder}"
[people]
{uid} = "maria"
[snmp-credential.public]
version = "2c"
community = "snmp/public"
[snmp.sw-1]
address = "{address}"
port = {port}
credential = "public"
timeout_s = 0.5
"""

Run = Callable[..., Awaitable[str]]


@asynccontextmanager
async def polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SnmpLab, Run]]:
    """A daemon that has polled one switch, and a way to run commands."""
    async with open_snmp_lab([switch("sw-1")]) as lab:
        lab["sw-1"].put(f"{IFX}.15.1", values.gauge(1000))
        path = tmp_path / "agent.toml"
        path.write_text(CONFIG.format(folder=tmp_path, uid=os.getuid(), address=lab.address, port=lab.port))
        config = load(path, {})
        monkeypatch.setenv("ISPAGENT_SOCKET", str(config.socket))

        async def run(*words: str, code: int = 0) -> str:
            result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, list(words)))
            assert result.exit_code == code, result.output
            return result.output

        async with running(config) as agent:
            secret = base64.b64encode(b"sw-1").decode()
            await agent.call("POST", "/v1/secrets/snmp%2Fpublic", f'{{"secret": "{secret}"}}')
            assert (await agent.call("POST", "/v1/devices/sw-1/probe", "{}"))["state"] == "reachable"
            yield lab, run


async def test_a_switch_is_asked_shown_and_plotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with polled(tmp_path, monkeypatch) as (lab, run):
        assert await run("snmp", "get", "sw-1", f"{SYS}.5.0") == f".{SYS}.5.0 = STRING: sw-1\n"
        walked = await run("snmp", "walk", "sw-1", f"{IF}.2", "--json")
        assert [json.loads(line).get("value") for line in walked.splitlines()][:2] == ["port 1", "port 2"]
        assert "port/ge-3" in await run("snmp", "poll", "sw-1")
        listed = await run("snmp", "list")
        assert f"127.0.0.1:{lab.port}" in listed
        assert "nowhere" in await run("snmp", "get", "nowhere", SYS, code=1)
        said = await run("snmp", "discover", "10.0.0.0/8", code=1)
        assert "expected prefixes of at most 65,536 addresses together, got 16,777,216" in said
        assert "expected a prefix, or --neighbors" in await run("snmp", "discover", code=2)
        assert await run("snmp", "discover", "--neighbors", "--csv") == "name,address,credential\n"
        assert "0 addresses asked on port 161, none answered" in await run("snmp", "discover", "--neighbors")
        shown = await run("device", "show", "sw-1")
        assert "4 ports (4 up)" in shown
        assert await run("device", "neighbors", "sw-1")
        assert "port/ge-1" in await run("device", "series", "sw-1")
        assert "|*" in await run("device", "series", "sw-1", "port/ge-1", "speed_bps")


async def test_a_profile_is_tried_on_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "Mine"\nextends = ["standard"]\n')
    async with polled(tmp_path, monkeypatch) as (_, run):
        tried = await run("snmp", "profile", "test", str(mine), "--against", "sw-1", "--json")
        assert json.loads(tried.splitlines()[0])["profile"] == "mine"


def invoked(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result.output


def test_a_profile_against_a_recording(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('title = "Base"\nextends = ["standard"]\n')
    mine, recording = tmp_path / "mine.toml", tmp_path / "sw.snmprec"
    mine.write_text('title = "Mine"\nextends = ["base"]\n')
    recording.write_text(f"{SYS}.5.0|4|sw-7\n{IF}.2.1|4|eth0\n{IF}.7.1|2|1\n{IF}.8.1|2|2\n")
    said = invoked("snmp", "profile", "test", str(mine), "--against", str(recording))
    assert "sw-7" in said
    assert "port/eth0" in said
    recording.write_text("no recording")
    assert "expected OID|TAG|VALUE" in invoked(
        "snmp", "profile", "test", str(mine), "--against", str(recording), code=2
    )
    mine.write_text("title = 3\n")
    assert "mine.toml" in invoked("snmp", "profile", "test", str(mine), "--against", str(recording), code=1)
    assert "cannot be read" in invoked("snmp", "profile", "test", str(tmp_path / "no.toml"), "--against", "x", code=2)
    assert "standard" in invoked("snmp", "profile", "list")


def test_a_device_is_added(tmp_path: Path) -> None:
    add = ("snmp", "add", "sw-9", "10.0.0.9", "--credential", "public")
    assert invoked(*add) == '[snmp.sw-9]\naddress = "10.0.0.9"\ncredential = "public"\n'
    assert 'port = 1161\nsys_name = "é"\n' in invoked(*add, "--port", "1161", "--sys-name", "é")
    fleet = tmp_path / "sites.csv"
    fleet.write_text("name,address,credential\nsw-1,10.0.0.1,public\n")
    assert "was added" in invoked(*add, "--fleet", str(fleet))
    assert fleet.read_text().splitlines()[-1] == "sw-9,10.0.0.9,public"
    assert "stands there already" in invoked(*add, "--fleet", str(fleet), code=1)
    fleet.write_bytes(b"\xef\xbb\xbfname, address\nsw-1,10.0.0.1")
    assert "no column credential" in invoked(*add, "--fleet", str(fleet))
    assert fleet.read_text("utf-8-sig").splitlines() == ["name, address", "sw-1,10.0.0.1", "sw-9,10.0.0.9"]
    assert "find them" in invoked("--help")
    assert "got 'SW 9'" in invoked("snmp", "add", "SW 9", "10.0.0.9", "--credential", "public", code=2)
    fleet.write_text("a,b\n")
    assert "expected a header of different columns (a-z, _) with `name`, got 'a,b'" in invoked(
        *add, "--fleet", str(fleet), code=2
    )
    fleet.write_text("name,host\n")
    assert "expected a column address, got name,host" in invoked(*add, "--fleet", str(fleet), code=2)
