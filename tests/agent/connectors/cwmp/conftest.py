"""A real ACS with a CPE of the lab on the line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders.acs import AcsRig, acs_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AcsRig]:
    """Return an ACS, its book, and one CPE that stays in its session."""
    async with acs_rig(tmp_path) as made:
        yield made
