"""Mutants stay mistakes in the code of now: a text that is gone makes none, and its rule is tried by nobody."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS, ROOT, Mutant
from tests.torture.mutants import HUNTS

EACH = dict.fromkeys((*MUTANTS, *(one.mutant for one in HUNTS)))


@pytest.mark.parametrize("mutant", EACH, ids=lambda mutant: mutant.name)
def test_the_text_of_a_mutant_stands_once(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1, f"of {mutant.file}"
