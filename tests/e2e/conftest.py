"""What tests of several files here begin with: a control plane, and an agent with CPE."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.cpe.transfers import firmware
from tests.e2e.cloud_site import CloudProgram, cloud_program
from tests.e2e.cpe_site import CpeSite, acs_site


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProgram]:
    """Run one control plane for the tests of a file."""
    with cloud_program(tmp_path_factory.mktemp("cloud")) as program:
        yield program


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[CloudProgram]:
    """Run a control plane that a test may kill."""
    (tmp_path / "control").mkdir()
    with cloud_program(tmp_path / "control") as program:
        yield program


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[CpeSite]:
    """Run an agent with an ACS that has one firmware image, gate-2.0.bin."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "gate-2.0.bin").write_bytes(firmware("2.0.0"))
    async with acs_site(tmp_path, f'files = "{images}"\n') as site:
        yield site
