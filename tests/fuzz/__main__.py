"""`make fuzz`: new inputs for every parser, and new lives of an agent, in as many processes as there are processors.

The last line says how many inputs were judged. Arguments are pytest's.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.fuzz import counting

LIVES = (
    "tests/agent/changes/test_office_life.py",
    "tests/agent/changes/test_paid_life.py",
    "tests/e2e/test_billing_kill9.py",
)

if __name__ == "__main__":
    began = time.monotonic()
    # A test has longer than in other runs, also where the machine has other work
    options = [
        "-q",
        "-n",
        "auto",
        "--dist",
        "worksteal",
        "--hypothesis-profile=fuzz",
        "-o",
        "faulthandler_timeout=3600",
    ]
    code = pytest.main([*options, *(sys.argv[1:] or ["tests/fuzz", *LIVES])])
    judged = ", ".join(f"{count:,} {what}" for what, count in sorted(counting.judged.items()))
    print(f"make fuzz: {judged or 'nothing'} judged in {time.monotonic() - began:.0f} s, exit code {int(code)}")
    sys.exit(code)
