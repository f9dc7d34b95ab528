"""The main job of an agent, and an agent whose inbox is filled by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.builders.clock import FakeClock
from tests.builders.job import Rig
from tests.builders.office import Desk, Office, office_in
from tests.builders.world import World


@pytest.fixture
def rig(tmp_path: Path, world: World) -> Iterator[Rig]:
    """Return the parts of a job, with its files in a temporary folder."""
    rig = Rig(tmp_path, world, FakeClock())
    rig.without_fsync()
    yield rig
    rig.close()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """Return an agent that is set up."""
    async with office_in(tmp_path, Desk()) as office:
        yield office
