"""Where the recordings are, for tests that read them in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MIKROTIK = Path(__file__).parents[4] / "shared" / "data" / "mikrotik"


def recorded(path: str) -> Path:
    """A recorded file; the test is skipped where there are none, and fails under CI."""
    if not MIKROTIK.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs ../shared/data/mikrotik")
        pytest.skip("no ../shared/data here: recordings of RouterOS are not compared")
    return MIKROTIK / path
