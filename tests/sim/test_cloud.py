"""Worlds with a control plane: some faults of it, and that a seed says all."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.sim.faults import FAULTS
from tests.sim.parts.cloud import CloudPart
from tests.sim.parts.radius import RadiusPart
from tests.sim.run import Told, run_seed

PARTS = (RadiusPart, CloudPart)
WORLDS = (
    (3001, ("cloud-rolled-back", "cloud-half-open")),
    (3004, ("cloud-replays", "cloud-forges", "agent-killed")),
    (3004, ("cloud-restored", "cloud-withholds")),
)
"""Seeds that live no days; 3004 is searched for names, too."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the agent's warnings out of the way: there are many, and each is right."""
    caplog.set_level(logging.CRITICAL)


def told(seed: int, names: tuple[str, ...], folder: Path, lines: list[str]) -> Told:
    folder.mkdir()
    faults = [fault for fault in FAULTS if fault.name in names]
    assert len(faults) == len(names)
    return run_seed(seed, folder, faults=faults, parts=PARTS, trace=lines.append)


@pytest.mark.parametrize(("seed", "names"), WORLDS)
def test_nothing_false_is_seen(seed: int, names: tuple[str, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    found = told(seed, names, tmp_path / "w", lines)
    assert not found.wrong, "\n".join([*(v.text() for v in found.wrong), *lines[-40:]])
    for said in ("took intent", "took approval", "took freeze", "delivered unfreeze", "took receipt", "took outcome"):
        assert any(f"cloud: {said}" in line for line in lines), f"a world without {said} shows little"


@pytest.mark.slow
def test_a_seed_says_all(tmp_path: Path) -> None:
    one, two = list[str](), list[str]()
    place, names = tmp_path / "w", ("cloud-killed-at-commit", "cloud-slow")
    first = told(3001, names, place, one)
    place.rename(tmp_path / "first")
    second = told(3001, names, place, two)
    assert first.leaves_sha256 == second.leaves_sha256
    assert one == two
