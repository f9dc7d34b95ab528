"""Mistakes put into a copy of the agent: the second judge must find each. `python -m tests.torture.mutants [NAME…]`.

Most are those of the simulation (`tests.sim.mutants`). docs/testing.md has the table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.sim.mutants import MUTANTS, Mutant, put

FIRST: Final = 1000
ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class Hunt:
    """A mutant, and the scenario with the faults under which it shows; "": those that each seed draws."""

    mutant: Mutant
    scenario: str
    faults: str = ""


_OWN: Final = (
    Mutant(
        "rows-not-compared",
        "agent/connectors/radius/sql.py",
        "        if observed != self.before:\n",
        "        if False:\n",
        "rows are written whatever stands in them by then",
    ),
    Mutant(
        "mark-not-read",
        "agent/changes/auditlog/recovery.py",
        "        older = older or older_than(store, outside.size, outside.root)\n",
        "",
        "a state directory that was put back as a whole is taken for the newest one",
    ),
)
_BY_NAME: Final = {mutant.name: mutant for mutant in (*MUTANTS, *_OWN)}
HUNTS: Final = (
    Hunt(_BY_NAME["act-before-durable"], "postgresql", "sql-gone"),
    Hunt(_BY_NAME["skip-read-back"], "postgresql", "sql-cut"),
    Hunt(_BY_NAME["fit-is-thrown-out"], "postgresql", "stop-lost,reply-lost"),
    Hunt(_BY_NAME["reason-not-recorded"], "postgresql", "coa-doubled"),
    Hunt(_BY_NAME["begun-is-forgotten"], "mariadb", "coa-doubled"),
    Hunt(_BY_NAME["rows-not-compared"], "cloned"),
    Hunt(_BY_NAME["mark-not-read"], "restored"),
)


def hunt(one: Hunt, rounds: int) -> tuple[str, bool]:
    """Return what the second judge says of a mutant, and whether it found it."""
    with tempfile.TemporaryDirectory() as folder:
        put(one.mutant, Path(folder))
        command = [sys.executable, "-m", "tests.torture", "--rounds", str(rounds), "--seed", str(FIRST)]
        more = ["--until-false", "--faults", one.faults, "--keep", f"{folder}/kept", one.scenario]
        # The copy comes before the tree itself, for the agent's processes too
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(
            [*command, *more], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        lines = [line for line in done.stdout.splitlines() if not line.startswith("  again: python")]
        return "\n".join([*lines, *done.stderr.splitlines()[-5:]]), "FALSE" in done.stdout


def main() -> int:
    """Hunt the mutants that are named, or all; return how many were not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.mutants", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how many for each, at most")
    asked = parser.parse_args()
    missed = 0
    for one in HUNTS:
        if asked.names and one.mutant.name not in asked.names:
            continue
        said, found = hunt(one, asked.rounds)
        missed += not found
        print(f"{one.mutant.name}: {'found' if found else 'NOT FOUND'}: {one.mutant.why}\n{said}", flush=True)
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
