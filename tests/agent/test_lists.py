"""Lists as people and programs ask for them: `-o name|wide|json` by one helper."""

from __future__ import annotations

import json

import pytest

from tests.builders.agent import Agent
from tests.builders.terminal import Terminal


async def test_each_list_has_names_all_columns_and_json(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    change = (await agent.ask("suspend", "C-1", reason="abuse"))["id"]
    assert (await at.type("change", "list", "-o", "name")).lines == [change]
    title, row = (await at.type("change", "list", "-o", "wide")).lines
    assert title.split()[:3] == ["id", "made", "action"]
    assert row.split()[0] == change
    assert "+abuse" in row
    assert json.loads((await at.type("change", "list", "-o", "json")).out)[0]["id"] == change
    services = (await at.type("subscriber", "list", "-o", "name")).lines
    assert services == [s["ref"] for s in json.loads((await at.type("subscriber", "list", "--json")).out)]
    assert (await at.type("subscriber", "list", "-o", "wide")).lines[0].split()[0] == "service"
    numbers = (await at.type("audit", "list", "-o", "name")).lines
    assert numbers == [str(e["seq"]) for e in json.loads((await at.type("audit", "list", "-o", "json")).out)]
    for typed in (("secret", "list"), ("change", "list", "--by", "nobody")):
        assert (await at.type(*typed, "-o", "name")).code == 0


async def test_a_retry_says_what_is_tried_and_no_preview(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    change = (await agent.ask("suspend", "C-1", reason="abuse"))["id"]
    refused = await at.type("change", "retry", change)
    assert refused.code == 3
    assert "EFFECT" not in refused.out + refused.err
