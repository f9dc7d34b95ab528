"""docs/adding-a-connector.md is true: its connector lands with its folder and one line, and the whole agent has it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from agent.cli import make
from agent.config import AgentConfig, all_keys, documented_keys, load
from agent.config_reader import ConfigReader
from agent.config_schema import documented
from agent.connectors import registry
from agent.connectors.base import NotSentError
from agent.connectors.spec import ConnectorSpec, configured
from agent.runtime.errors import HttpError
from tests.agent.connectors.adding import Agent, running, write_package
from tests.builders.connector import ROLES, context
from tests.repo.documented import rows, shown_keys
from tests.repo.tree import ROOT

CONFIG = """
[agent]
name = "noc-1"
state_dir = "{folder}"
[people]
{uid} = "maria"
[meter.hill]
file = "hill.txt"
secret = "meter/hill"
every_s = 0.01
"""
CONFIG_PAGE = """
## `[meter.NAME]`

| key | default | meaning |
|---|---|---|
| `file` | required | The file that the meter writes. |
| `secret` | `""` | The name of its password in the vault; empty: none. |
| `every_s` | `300.0` | How often it is polled, seconds. |
"""


def test_the_page_lists_every_role() -> None:
    table = rows((ROOT / "docs" / "adding-a-connector.md").read_text(encoding="utf-8"), "## 1. Choose the roles")
    assert sorted(role.strip("`") for role, *_ in table) == sorted(role.__name__ for role in ROLES)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """The registry's list with one line more."""
    import sys

    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    package = write_package(folder)
    yield (*registry.DEFAULT, package)
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture
def specs(packages: tuple[str, ...]) -> tuple[ConnectorSpec[Any], ...]:
    return registry.specs(packages)


@pytest.fixture
def config(tmp_path: Path, specs: tuple[ConnectorSpec[Any], ...]) -> AgentConfig:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(folder=tmp_path, uid=os.getuid()))
    return load(path, {}, specs)


async def test_the_daemon_reads_and_polls_it(config: AgentConfig, tmp_path: Path) -> None:
    (tmp_path / "hill.txt").write_text("volts=12.1\nstate=ok\n")
    assert config.secrets == {"meter/hill"}
    async with running(config) as agent:
        assert (await agent.call("GET", "/v1/secrets"))["wanted"] == ["meter/hill"]
        assert (await agent.call("GET", "/v1/status"))["targets"] == ["meter/hill"]
        (listed,) = await agent.call("GET", "/v1/devices")
        assert (listed["name"], listed["address"]) == ("hill", str(tmp_path / "hill.txt"))
        shown = await agent.call("POST", "/v1/devices/hill/probe", "{}")
        assert (shown["state"], shown["sensors"]) == ("unreachable", [])
        assert "meter/hill" in shown["problem"], "its password is missing"

        password = base64.b64encode(b"pass").decode()
        await agent.call("POST", "/v1/secrets/meter%2Fhill", f'{{"secret": "{password}"}}')
        await polled(agent, {"state": "ok", "volts": "12.1"})
        assert (await agent.call("GET", "/v1/devices/hill"))["facts"] == {"values": "2"}
        (tmp_path / "hill.txt").write_text("volts=11.9\nstate=ok\n")
        await polled(agent, {"state": "ok", "volts": "11.9"})
        listed = await agent.call("GET", "/v1/devices/hill/series")
        assert listed["series"] == [{"of": "value/volts", "name": "value", "value": 11.9}]
        query = {"of": "value/volts"}
        (point,) = (await agent.call("GET", "/v1/devices/hill/series", query=query))["points"]
        assert (point["low"], point["high"]) == (11.9, 12.1)

        session = await agent.daemon.sessions.dialed("meter/hill")
        assert session.target.id == "meter/hill"
        (tmp_path / "hill.txt").unlink()
        assert (await agent.call("POST", "/v1/devices/hill/probe", "{}"))["state"] == "unreachable"
        assert (await agent.call("GET", "/v1/devices/hill"))["sensors"], "the last values are still known"


async def polled(agent: Agent, wanted: dict[str, str]) -> None:
    with trio.fail_after(60):
        while True:
            shown = await agent.call("GET", "/v1/devices/hill")
            if {one["label"]: one["text"] or str(one["value"]) for one in shown["sensors"]} == wanted:
                return
            await trio.sleep(0.01)


async def test_the_command_line_shows_it(
    config: AgentConfig, packages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hill.txt").write_text("volts=12.1\n")
    monkeypatch.setenv("ISPAGENT_SOCKET", str(config.socket))
    app = make(packages)

    async def run(*words: str, text: str = "") -> str:
        result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, list(words), input=text))
        assert result.exit_code == 0, result.output
        return result.stdout

    async with running(config) as agent:
        assert await run("secret", "set", "meter/hill", "--stdin", text="pass\n") == "secret meter/hill is set\n"
        await polled(agent, {"volts": "12.1"})
        said = await run("device", "show", "hill")
        assert "values        1" in said
        assert "volts                    12.1 (" in said
        assert "hill" in await run("device", "list")
        assert "value/volts" in await run("device", "series", "hill")
        assert "12.1 |*" in await run("device", "series", "hill", "value/volts")
        drawn = tmp_path / "volts.svg"
        assert await run("device", "series", "hill", "value/volts", "--plot", str(drawn)) == f"wrote {drawn}\n"
        assert "hill · value/volts" in drawn.read_text()
        picture = tmp_path / "volts.png"
        assert await run("device", "series", "hill", "value/volts", "--plot", str(picture)) == f"wrote {picture}\n"
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert await run("meter", "onboard", "hill") == '[meter.hill]\nfile = "…"\n'
    assert "meter" in await run("--help")
    assert "onboard" in await run("device", "--help"), "the routers' own is still there"


def test_its_mistakes_are_told_with_all_others(tmp_path: Path, specs: tuple[ConnectorSpec[Any], ...]) -> None:
    reader = ConfigReader(tmp_path / "a.toml", {"meter": {"hill": {"fil": "x"}}}, all_keys(specs))
    assert configured(specs[-1], reader).config.meters == ()
    assert [p.partition(" ")[2] for p in reader.problems] == [
        "meter.hill.fil: unknown; did you mean file?",
        "meter.hill.file: missing; expected a path",
    ]


def test_its_keys_are_compared_with_its_page(specs: tuple[ConnectorSpec[Any], ...]) -> None:
    assert shown_keys(CONFIG_PAGE) == documented(specs[-1].keys)
    assert documented_keys(specs) == [*documented_keys(), *shown_keys(CONFIG_PAGE)]


def test_it_plays_its_roles(config: AgentConfig) -> None:
    made = config.connectors[-1].make(context({}))
    assert {role for role in ROLES if isinstance(made, role)} == set(config.connectors[-1].spec.roles)


async def test_nothing_is_sent_to_it(config: AgentConfig) -> None:
    from agent.connectors.roles import Connectors
    from agent.model import Address, Direction, Effect, Replay, Target, Ticket

    connectors = Connectors({"meter": config.connectors[-1].make(context({"meter/hill": b""}))})
    effect = Effect(Address("meter/hill/value/volts"), "set", {}, "k", Replay.NEVER, None, 1)
    async with connectors.in_sessions["meter"].dial(Target("meter/hill", "meter")) as session:
        with pytest.raises(NotSentError, match="is only read"):
            await session.send(Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, "meter/hill", effect, {}, float("inf")))


async def test_a_secret_that_no_connector_wants_is_refused(config: AgentConfig) -> None:
    async with running(config) as agent:
        with pytest.raises(HttpError, match="got meter/valley"):
            await agent.call("POST", "/v1/secrets/meter%2Fvalley", '{"secret": "cGFzcw=="}')
