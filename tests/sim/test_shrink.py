"""A failing seed is cut to the fewest parts, faults and asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.sim import run as runs
from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS
from tests.sim.judge import Verdict
from tests.sim.run import Told, run_seed
from tests.sim.shrink import Case, shrink

EVENTS = tuple(f"ask {n}" for n in range(14))
KINDS = tuple(part for part in PARTS if part.name in ("radius", "sql", "clock"))
DRAWN = tuple(fault for fault in FAULTS if fault.name in ("agent-killed", "sql-cut", "clock-stepped"))


def told(case: Case, *wrong: Verdict) -> Told:
    events = (*EVENTS, *(f"{fault.name} {n}" for fault in case.faults for n in range(fault.times)))
    return Told(case.seed, (), case.faults, wrong, 0, 0, 0, 0, 0.0, 0.0, "", events)


def names(case: Case) -> tuple[set[str], set[str]]:
    return {fault.name for fault in case.faults}, {part.name for part in case.parts}


def test_what_it_takes_is_found() -> None:
    """Two asks and one of a fault's occurrences are needed; another rule is broken by a world without a part."""
    played: list[Case] = []

    def play(case: Case) -> Told:
        played.append(case)
        found = told(case)
        happens = set(found.events) - case.without
        if "sql" not in names(case)[1]:
            return told(case, Verdict("other", 1.0, "", ""))
        needed = happens >= {"ask 3", "ask 11", "agent-killed 1"}
        return told(case, *([Verdict("claim", 1.0, "C-1", "what is false", leaf=7)] if needed else []))

    whole = Case(5, DRAWN, KINDS)
    found = shrink(whole, play(whole), play)
    assert names(found.case) == ({"agent-killed"}, {"radius", "sql"})
    assert set(found.told.events) - found.case.without == {"ask 3", "ask 11", "agent-killed 1"}
    assert found.tried == len(played) - 1 <= 60
    text = found.text()
    assert "it takes: ask 3, ask 11, agent-killed 1" in text
    assert "claim at 1.0000: C-1: what is false (leaf 7)" in text
    parts = ",".join(p.name for p in found.case.parts)
    assert f"python -m tests.sim 5 --faults agent-killed --parts {parts} --size 1 --acts none --without" in text


def test_it_ends_where_everything_is_needed() -> None:
    whole = Case(5, DRAWN, KINDS)

    def play(case: Case) -> Told:
        return told(case, *([Verdict("claim", 1.0, "", "")] if case == whole else []))

    found = shrink(whole, play(whole), play, tries=40)
    assert found.case == whole
    assert found.tried <= 40


def test_a_world_leaves_out_what_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "REST_S", 60.0)
    without = frozenset(f"ask {n}" for n in range(1, 14)) | {"dispute", "dispute again"}
    kinds: Any = [part for part in PARTS if part.name == "radius"]
    found = run_seed(
        1001, tmp_path, faults=[f for f in DRAWN if f.name == "agent-killed"], parts=kinds, without=without
    )
    assert {*EVENTS, "dispute", "agent-killed 0"} <= set(found.events)
    assert found.asked <= 1
    assert replace(found, events=()).wrong == ()


def test_a_world_breaks_off_that_does_not_come_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "WORLD_S", 60.0)
    kinds: Any = [part for part in PARTS if part.name == "radius"]
    with pytest.raises(trio.TooSlowError):
        run_seed(1001, tmp_path, faults=[], parts=kinds, size=0.2)
