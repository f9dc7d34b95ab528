"""A copy of the machine that runs beside it: some seeds, and that the copy does something."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS, parts_of
from tests.sim.run import run_seed

CLONED = tuple(fault for fault in FAULTS if fault.name == "machine-cloned")
KINDS = tuple(part for part in PARTS if part.name in ("radius", "sql", "clone"))


def test_only_who_tells_two_machines_joins_a_copy() -> None:
    drawn = [{part.name for part in parts_of(seed, CLONED)} for seed in range(60)]
    assert {"radius", "clone"} in drawn
    assert {"radius", "sql", "routers", "clone"} in drawn
    assert all(names <= {"radius", "sql", "routers", "clone"} for names in drawn)


@pytest.mark.parametrize("seed", [1003, 2001])
def test_two_machines_of_one_mind_do_nothing_twice(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    lines: list[str] = []
    told = run_seed(seed, tmp_path, faults=CLONED, parts=KINDS, trace=lines.append)
    assert not told.wrong, "\n".join([*(v.text() for v in told.wrong), *lines[-40:]])
    assert any("copy-1 1 runs" in line for line in lines)
    if seed == 1003:
        assert any("copy-1 1: rows of" in line for line in lines)


def test_two_machines_contend_for_routers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of the middle of a batch writes rows of routers, and the original finds them changed."""
    caplog.set_level(logging.CRITICAL)
    lines: list[str] = []
    kinds = [part for part in PARTS if part.name in ("radius", "routers", "clone")]
    told = run_seed(60009, tmp_path, faults=CLONED, parts=kinds, trace=lines.append)
    assert not told.wrong, "\n".join([*(v.text() for v in told.wrong), *lines[-40:]])
    assert any("copy-1 1: changed /ppp/secret" in line for line in lines)
    assert any("agent 1: changed /ppp/secret" in line for line in lines)
    assert any("stale drifted routeros/" in line for line in lines)


def test_a_copy_beside_other_devices_did_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its pairs with their faults were counted as seen."""
    caplog.set_level(logging.CRITICAL)
    beside = [fault for fault in FAULTS if fault.name in ("machine-cloned", "agent-killed")]
    kinds = [part for part in PARTS if part.name in ("radius", "disk", "clone")]
    told = run_seed(1003, tmp_path, faults=beside, parts=kinds)
    assert told.acted == {"agent-killed"}
    assert "machine-cloned (did nothing)" in told.text()
