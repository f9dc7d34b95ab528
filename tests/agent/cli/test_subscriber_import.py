"""What an import says of services that the configuration cannot serve: how many, by what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import subscriber
from tests.builders.agent import agent_in
from tests.builders.world import World

HEADER = "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of"


async def test_what_is_missing_is_summed_up_and_the_cut_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"D-{n},,home,d{n},{'radio' if n % 3 else 'fake'},{'20M' if n % 3 else '7M'},,0,,,," for n in range(30)]
    async with agent_in(tmp_path, World()) as agent:
        csv = "\n".join((HEADER, *lines)).encode()
        done = (await agent.daemon.api.parts.importer.run(csv, "maria", dry_run=True)).answer
    monkeypatch.setattr(subscriber, "read_file", lambda path: b"")
    monkeypatch.setattr(subscriber, "call_object", lambda *_, **__: done)
    subscriber.import_(Path("x.csv"), dry_run=True)
    said = capsys.readouterr().out
    assert "CANNOT BE ENFORCED as configured:" in said
    assert "      20  no method radio\n" in said
    assert f"… {int(str(done['cannot_enforce_count'])) - 10} more" in said
