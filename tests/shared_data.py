"""Recorded and published data that stands beside the repository, in ../shared/data: read in place, never copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"


def shared_file(name: str) -> Path:
    """Return a file of the shared data; skip the test, in one line, where this checkout stands alone."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no ../shared/data/{name} here: not compared")
    return path


def shared_json(name: str) -> Any:
    """Return the content of a JSON file of the shared data; skip the test where it is not there."""
    return json.loads(shared_file(name).read_bytes())
