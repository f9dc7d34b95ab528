"""CPE in the simulation: some seeds, and that its judge sees what is false."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.sim.faults import FAULTS
from tests.sim.parts.cpe import CpePart
from tests.sim.parts.radius import RadiusPart
from tests.sim.run import Told, run_seed

PARTS = (RadiusPart, CpePart)
SEEDS = ((8, ("cpe-loses-answers", "acs-killed-in-session")), (101, ("cpe-slow", "cpe-boots")))
"""101: a CPE that gives three parameters at once was asked again and again for the results of a test that was over."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the agent's warnings out of the way: there are many, and each is right."""
    caplog.set_level(logging.CRITICAL)


def told(seed: int, folder: Path, names: tuple[str, ...], lines: list[str]) -> Told:
    folder.mkdir()
    faults = [fault for fault in FAULTS if fault.name in names]
    assert len(faults) == len(names)
    return run_seed(seed, folder, faults=faults, parts=PARTS, trace=lines.append)


@pytest.mark.parametrize(("seed", "names"), SEEDS)
def test_nothing_false_is_seen(seed: int, names: tuple[str, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    found = told(seed, tmp_path / "w", names, lines)
    assert not found.wrong, "\n".join([*(v.text() for v in found.wrong), *lines[-40:]])
    assert any("SetParameterValues" in line for line in lines), "a world in which nothing is done shows nothing"


@pytest.mark.slow
def test_a_seed_says_all(tmp_path: Path) -> None:
    one, two = list[str](), list[str]()
    place, names = tmp_path / "w", ("agent-killed", "cpe-lossy", "cpe-cloned")
    first = told(5, place, names, one)
    place.rename(tmp_path / "first")
    second = told(5, place, names, two)
    assert one == two
    assert first.leaves_sha256 == second.leaves_sha256
