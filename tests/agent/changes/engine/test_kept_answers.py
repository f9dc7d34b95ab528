"""Answers of devices in the database: they outlive a restart, and their number is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.changes.engine import kept_answers
from agent.changes.engine.kept_answers import KEPT_S, KeptAnswers
from agent.connectors.base import KeptAnswer
from tests.builders.store import WALL_S, open_store


def denied(n: int, at_s: int) -> KeptAnswer:
    return KeptAnswer("denied", f"u{n}", "100", "bng-1", at_s)


async def test_answers_outlive_a_restart_with_author_and_time(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    now = int(WALL_S)
    await KeptAnswers(store).keep("radius", [denied(1, now - 5), denied(2, now - 9)])
    await KeptAnswers(store).keep("radius", [denied(2, now - 1)])
    store.close()
    store = open_store(tmp_path)
    assert KeptAnswers(store).kept("radius") == [denied(1, now - 5), denied(2, now - 1)]
    assert KeptAnswers(store).kept("other") == []
    store.close()


async def test_the_old_and_the_surplus_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "KEPT_MAX", 3)
    store = open_store(tmp_path)
    now = int(WALL_S)
    await KeptAnswers(store).keep("radius", [denied(n, now - n) for n in range(6)])
    assert [one.key for one in KeptAnswers(store).kept("radius")] == ["u2", "u1", "u0"]
    await KeptAnswers(store).keep("radius", [denied(9, now - KEPT_S - 60)])
    assert [one.key for one in KeptAnswers(store).kept("radius")] == ["u2", "u1", "u0"]
    await KeptAnswers(store).keep("other", [denied(1, now), denied(9, now - KEPT_S - 60)])
    assert [one.key for one in KeptAnswers(store).kept("other")] == ["u1"], "too old, though there are few"
    store.close()
