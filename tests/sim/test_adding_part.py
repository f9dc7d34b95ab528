"""docs/adding-a-connector.md is true: a connector that is added is simulated by its lab part and a line of faults."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.connectors import registry
from tests.agent.connectors.adding import EXAMPLE, write_package
from tests.sim.faults import FAULTS
from tests.sim.parts.radius import RadiusPart
from tests.sim.run import Told, run_seed


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example's connector and its lab part, as they would be in the repository."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    name = write_package(folder)
    # as by its line in the registry
    monkeypatch.setattr(registry, "specs", functools.partial(registry.specs, (*registry.DEFAULT, name)))
    part = EXAMPLE.with_name("meter_part.py")
    (folder / name / "part.py").write_text(part.read_text(encoding="utf-8"), encoding="utf-8")
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def run(seed: int, folder: Path, package: str) -> tuple[Told, Any]:
    module = importlib.import_module(f"{package}.part")
    kept: list[Any] = []

    class Kept(module.MeterPart):
        def __init__(self) -> None:
            kept.append(self)

    kills = [fault for fault in FAULTS if fault.name == "agent-killed"]
    told = run_seed(seed, folder, faults=[*module.MeterPart.faults, *kills], parts=[RadiusPart, Kept])
    return told, kept[0]


@pytest.mark.parametrize("seed", [1001, 1006])
def test_its_lab_part_and_a_line_of_faults_suffice(
    seed: int, package: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    (tmp_path / "w").mkdir()
    told, part = run(seed, tmp_path / "w", package)
    assert not told.wrong, [v.text() for v in told.wrong]
    assert told.kills > 0
    assert len(part.shown) > 5


def test_a_connector_that_tells_old_values_is_seen(
    package: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.CRITICAL)
    connector = importlib.import_module(f"{package}.connector")
    read, kept = connector.MeterConnector._read, dict[str, Any]()

    async def read_once(self: Any, meter: Any) -> Any:
        kept.setdefault("values", await read(self, meter))
        return kept["values"]

    monkeypatch.setattr(connector.MeterConnector, "_read", read_once)
    (tmp_path / "w").mkdir()
    told, _ = run(1001, tmp_path / "w", package)
    assert "told" in {verdict.rule for verdict in told.wrong}
