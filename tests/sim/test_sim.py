"""Some seeds of the simulation, and that a seed says all."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sim.faults import FAULTS, PAIRS, SIZES, drawn, pairs_of, parts_of, size_of
from tests.sim.judge import Asked, Evidence, judge
from tests.sim.part import WorldFault
from tests.sim.parts.clock import ClockPart
from tests.sim.parts.radius import RadiusPart
from tests.sim.run import Told, run_seed
from tests.sim.witness import Deed, OpenStep, Seen

SEEDS = (1, 123, 134)
"""Any: two with kills, one of them beside a half-open way."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the agent's warnings out of the way: there are many, and each is right."""
    caplog.set_level(logging.CRITICAL)


def told(seed: int, folder: Path, lines: list[str], faults: Sequence[WorldFault] | None = None) -> Told:
    folder.mkdir()
    return run_seed(seed, folder, faults=faults, trace=lines.append)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_false_is_seen(seed: int, tmp_path: Path) -> None:
    lines: list[str] = []
    found = told(seed, tmp_path / "w", lines)
    assert not found.wrong, "\n".join([*(v.text() for v in found.wrong), *lines[-40:]])
    assert found.writes > 2, "a world in which nothing is done shows nothing"


def test_a_seed_says_all(tmp_path: Path) -> None:
    one, two, three = list[str](), list[str](), list[str]()
    place = tmp_path / "w"  # the same: a plan names its configuration, and that names the database's file
    faults = [fault for fault in FAULTS if fault.name in ("agent-killed", "coa-lost", "sql-failover")]
    first = told(1004, place, one, faults)
    place.rename(tmp_path / "first")
    second = told(1004, place, two, faults)
    place.rename(tmp_path / "second")
    third = told(1006, place, three, faults)
    assert first.leaves_sha256 == second.leaves_sha256 != third.leaves_sha256
    assert one == two != three
    assert first.kills > 0


@pytest.mark.parametrize(("second", "rules"), [("reverse", []), ("forward", ["twice"])])
def test_taking_a_step_back_is_no_second_time(second: str, rules: list[str]) -> None:
    """Seed 700013: a change that takes back what it did on a failure did each step "twice"."""
    seen = Seen()
    for at, direction in ((1.0, "forward"), (2.0, second)):
        step = OpenStep("p", 1, 1, 1, at, False, "s", "", None, direction)
        seen.writes.append(Deed(at, "s", "agent 1", "set", (step,)))
    asked = {"p": Asked("p", "suspend", frozenset({"s"}), 0)}
    found = judge(Evidence(seen, asked, [], [], {}, "", 3.0, [], []), ())
    assert [verdict.rule for verdict in found] == rules


def test_consecutive_seeds_go_through_all_pairs() -> None:
    seen = set[tuple[str, str]]()
    for seed in range(5000, 5000 + len(PAIRS) * 4):
        faults = drawn(seed)
        assert 1 <= len(faults) <= 4
        assert len(set(faults)) == len(faults)
        seen |= pairs_of(fault.name for fault in faults)
    assert len(seen) == len(PAIRS)
    assert {len(drawn(seed)) for seed in range(200)} == {1, 2, 3, 4}
    assert len({f.name for f in FAULTS}) == len(FAULTS)


def test_a_fault_has_its_part_in_a_world_of_any_size() -> None:
    for seed in range(200):
        faults = drawn(seed)
        kinds = {part.name for part in parts_of(seed, faults, size_of(seed))}
        assert {f.part for f in faults} - {""} | {"radius"} <= kinds
        assert kinds <= {part.name for part in parts_of(seed, faults)}


def test_a_small_world_has_the_work_of_the_largest_less_some(tmp_path: Path) -> None:
    """So that a seed that is played at another size is not another seed: its dice are the same."""
    assert {size_of(seed) for seed in range(100)} == set(SIZES)
    asks = {f"ask {n}" for n in range(14)}
    seen = {}
    for size in (0.2, 1.0):
        place = tmp_path / f"{size}"
        place.mkdir()
        seen[size] = set(run_seed(1005, place, faults=(), parts=[RadiusPart], size=size).events)
    assert asks <= seen[1.0]
    assert 0 < len(seen[0.2] & asks) < 7
    assert seen[0.2] < seen[1.0]


def test_in_a_leap_nothing_is_heard_of_who_is_gone(tmp_path: Path) -> None:
    """A session that vanished has its row still, and accounting seemed to have heard of it since its NAS denied it."""
    rows = [("s1", "a", 10.0, None), ("s2", "b", 20.0, None), ("s1", "b", 30.0, None), ("s3", "a", 40.0, 45.0)]
    with closing(sqlite3.connect(tmp_path / "radius.db")) as radius, radius:
        radius.execute("CREATE TABLE radacct (acctsessionid, username, acctupdatetime, acctstoptime)")
        radius.executemany("INSERT INTO radacct VALUES (?, ?, ?, ?)", rows)
    online = [SimpleNamespace(session_id=one, login="a") for one in ("s1", "s3")]
    part = ClockPart()
    part._world = SimpleNamespace(  # type: ignore[assignment]  # as far as it asks
        options=SimpleNamespace(folder=tmp_path), isp=SimpleNamespace(sessions=lambda: online)
    )
    part._keep_reported(1900.0)
    with closing(sqlite3.connect(tmp_path / "radius.db")) as radius:
        assert [row[0] for row in radius.execute("SELECT acctupdatetime FROM radacct")] == [1910.0, 20.0, 30.0, 40.0]
