"""`verify_100000_leaves`: a log of 100,000 leaves, whole, by our verifier, against the second one (Node.js).

It is 1,000 plans of three items that went well, each with its approval and outcome, and padding up to the number.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.result import Result
from tests.builders.operator import plan
from tests.servers import program
from tests.trust import second
from tests.trust.tales import K, Tale
from trust import proof
from trust.policy import RiskClass

LEAVES = 100_000
PLANS = 1000
AIM_US = 100.0


def log_of(leaves: int, plans: int) -> bytes:
    """Return the export of a whole log."""
    tale = Tale()
    told = tale.statements[:1]
    tale.write(K.START, of_plan=False)
    for n in range(plans):
        one = Tale(plan(plan_id=f"{n:032x}", risk_class=RiskClass.LOW))
        one.log = tale.log
        one.write(K.PLAN)
        one.approve()
        one.consume()
        for item in (1, 2, 3):
            one.apply(item)
        one.end()
        told += one.statements[1:]
    while len(tale.log) < leaves:
        tale.write(K.PADDING, of_plan=False)
    return proof.encode_export(tale.export(whole=True, opened=True, statements_=told))


def bench(leaves: int = LEAVES, plans: int = PLANS) -> list[Result]:
    file = log_of(leaves, plans)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.jsonl"
        path.write_bytes(file)
        command = [program("node", "nodejs"), str(second.SCRIPT), str(path), second.HEAD]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    began = time.perf_counter()
    report = proof.verify_export_untrusted(file, head=second.HEAD)
    ours_s = time.perf_counter() - began
    if theirs["faults"] or theirs["leaves"] != leaves or not (report.ok and report.whole):
        raise AssertionError("the log verifies by neither or one of both")
    per_us, theirs_us = ours_s / leaves * 1e6, theirs["seconds"] / leaves * 1e6
    more = {"leaves": float(leaves), "plans": float(plans), "bytes": float(len(file))}
    return [
        Result(
            "verify_100000_leaves", f"at most {AIM_US:.0f} µs a leaf", per_us, "µs a leaf",
            "the second verifier, tests/trust/second/verify.js", theirs_us, per_us / theirs_us, per_us <= AIM_US, more,
        )
    ]  # fmt: skip
