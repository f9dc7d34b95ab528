"""Random histories of plans, true and false: ours and the second verifier judge each alike.

100,000 with `make fuzz`, in parts; a few in any other run. Each part starts the second verifier once.
"""

from __future__ import annotations

import secrets

import pytest

from tests.fuzz import counting
from tests.marks import fuzzing
from tests.servers import ServerMissingError, missing, program
from tests.trust import histories, second

PARTS, PART = 200, 500
FEW = 20
"""Histories of any other run."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A part stays within the time that a test has."""
    metafunc.parametrize("part", range(PARTS if fuzzing() else 1))


def test_both_verifiers_judge_each_history_alike(part: int) -> None:
    try:
        program("node", "nodejs")
    except ServerMissingError as err:
        missing(str(err))
    first, count = secrets.randbits(48), PART if fuzzing() else FEW
    files = {seed: histories.history(seed) for seed in range(first, first + count)}
    for (seed, file), theirs in zip(files.items(), second.theirs(list(files.values())), strict=True):
        assert second.ours(file) == theirs, f"seed {seed}"
    counting.add(counting.HISTORIES, count)
