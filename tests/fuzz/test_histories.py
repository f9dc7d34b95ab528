"""Random histories of plans, true and false: ours and the second verifier judge each alike.

100,000 with `make fuzz`: 20 for each example of Hypothesis' profile; a few in any other run.
"""

from __future__ import annotations

import secrets

from hypothesis import settings

from tests.servers import ServerMissingError, missing, program
from tests.trust import histories, second

FUZZ_EXAMPLES = 5000
"""The profile of `make fuzz` has so many examples at least."""
FEW = 20
"""Histories of any other run."""
SLICE = 500
"""Histories that one process of the second verifier judges."""


def test_both_verifiers_judge_each_history_alike() -> None:
    try:
        program("node", "nodejs")
    except ServerMissingError as err:
        missing(str(err))
    examples = settings().max_examples
    first, count = secrets.randbits(48), examples * 20 if examples >= FUZZ_EXAMPLES else FEW
    for start in range(first, first + count, SLICE):
        files = {seed: histories.history(seed) for seed in range(start, min(start + SLICE, first + count))}
        for (seed, file), theirs in zip(files.items(), second.theirs(list(files.values())), strict=True):
            assert second.ours(file) == theirs, f"seed {seed}"
    print(f"{count} histories judged alike")
