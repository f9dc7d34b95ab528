"""One suspension stays easy to follow: how many files it goes through, and how often it moves between them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELD = {"files": 111, "moves": 1764}
"""Measured last; lower these when the script prints less. The aim is 55 files and 1,800 moves. Accounts and payments,
and the question of their source before each cut, added five files; the question whether a service is in an
outage, one; long answers that are encoded in slices, and ages in words, one each. Devices
that come and go (LibreNMS), one of them known twice, and the files in which people say where a service hangs: seven,
of which three went again when only connectors with devices are asked for their names. Reads beside the steps became one
file, guards a part of the steps, and the signer a part of what is signed: three more. That a NAS acknowledged the end
of a session is kept over a restart, since a database may forget it (seed 30118 of the simulation): one added.
One short id of a change and one form of a moment, at the site and at every desk: `trust/short_id.py` and
`trust/moments.py`. By how much our clock was set since the preview, which each disconnect asks: one. A short answer is
encoded at once: 140 moves less. Item documents, plans and approvals are read as declared (`trust.strict_json.record`),
and clocks, rows and trusts are asked once for each answer: 270 moves less. Whether an earlier suspension was set and
not seen enforced, and the check of stored states for values that no ispagent writes: two files and 60 moves. A number
and what it counts (`trust/plural.py`), which fourteen places wrote on their own: one file and 24 moves."""
POLLS = 1.1
"""How much a slow machine may add to the moves: it lets the agent poll more often."""
RUNS = 3
"""Runs of which the shortest counts: on a busy machine a poll of the mail may come into one, with its files."""


def traced() -> tuple[dict[str, int], str]:
    """Return the figures of one suspension, and its longest ways."""
    # In a process of its own: the tracer must be installed before any thread starts, and caches must be cold
    done = subprocess.run(
        [sys.executable, "-m", "tests.trace_suspension", "--edges"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found = {name: int(n) for name, n in re.findall(r"(files|moves) (\d+)", done.stdout.splitlines()[0])}
    assert found.keys() == HELD.keys()
    return found, "\n".join(done.stdout.splitlines()[:24])


def test_one_suspension_goes_no_further_than_before() -> None:
    for _ in range(RUNS):
        found, longest = traced()
        if found["files"] <= HELD["files"] and found["moves"] <= HELD["moves"] * POLLS:
            return
    raise AssertionError(f"{found}\n{longest}")
