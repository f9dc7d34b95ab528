"""Runs the second verifier (`second/verify.js`), which shares nothing with ours but the pages in docs/spec."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.builders.operator import sha, trust
from tests.servers import program
from trust import proof

SCRIPT = Path(__file__).parent / "second" / "verify.js"
HEAD = sha(trust())
Verdict = tuple[frozenset[str], bool]
"""The codes of the reasons for which a file is refused, and whether something was left open."""


def ours(file: bytes) -> Verdict:
    report = proof.verify_export_untrusted(file, head=HEAD)
    codes = frozenset(fault.value for fault in report.faults)
    assert all(line.ok or line.fault for line in report.lines)
    return codes, not report.whole


def theirs(files: Sequence[bytes], head: str = HEAD) -> list[Verdict]:
    node = program("node", "nodejs")
    asked = "\n".join(json.dumps({"file": base64.b64encode(f).decode(), "head": head}) for f in files)
    done = subprocess.run([node, str(SCRIPT), "--batch"], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(frozenset(a["faults"]), a["part"]) for a in answers]
