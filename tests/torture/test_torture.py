"""The second judge runs: one short round of two scenarios, on real servers, with real kills."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.servers import ServerMissingError, missing
from tests.torture.rounds import Round, Servers
from tests.torture.scenarios import run_round

SEED = 24
"""On RADIUS, its faults are lost and doubled CoA."""


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["postgresql", "cpes"])
def test_a_short_round_finds_nothing_false(tmp_path: Path, scenario: str) -> None:
    about = Round(scenario, SEED, tmp_path, chaos_s=3.0, services=6)
    with contextlib.ExitStack() as stack:
        try:
            run_round(about, Servers(stack))
        except ServerMissingError as err:
            missing(str(err))
    assert [verdict.text() for verdict in about.found] == []
    assert about.count["kills"] > 0
    assert about.count["= applied"] > 0
