"""`python -m lab billing`: its books, and the command itself."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from lab.billing.command import filled_uisp

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)


def test_the_same_seed_gives_the_same_books() -> None:
    def sums(seed: int) -> list[str]:
        return [str(i.total) for i in filled_uisp(5, seed, NOW).invoices.values()]

    assert sums(1) == sums(1)
    assert sums(1) != sums(2)


@pytest.mark.slow
def test_the_command() -> None:
    command = [sys.executable, "-m", "lab", "billing", "--subscribers", "3", "--fault", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "ispagent secret set lab/billing" in process.stdout.readline()
        finally:
            process.terminate()
        assert process.wait(timeout=60) == 0
