"""What people do in some worlds beside their asks: each act by its own dice, and none changes what else is drawn."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from tests.e2e.files import COLUMNS, Billing
from tests.sim.acts import ACTS, drawn_acts
from tests.sim.all_parts import PARTS
from tests.sim.parts.radius_people import _imported
from tests.sim.people import Desk
from tests.sim.run import run_seed
from tests.sim.shrink import ALWAYS

SEED = 33001000


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the agent's warnings out of the way."""
    caplog.set_level(logging.CRITICAL)


def test_each_has_a_name_by_which_a_failing_seed_is_cut(tmp_path: Path) -> None:
    names = [f"{act.name} {n}" for act in ACTS for n in range(act.times)]
    kinds = [part for part in PARTS if part.name in {ALWAYS, *(act.part for act in ACTS)}]
    events, asked = [], []
    for acts in (ACTS, ()):
        folder = tmp_path / f"{len(acts)} acts"
        folder.mkdir()
        told = run_seed(SEED, folder, faults=(), parts=kinds, size=0.1, acts=acts)
        assert not told.wrong
        events.append(sorted(told.events))
        asked.append(told.asked)
    assert events[0] == sorted([*events[1], *names])
    assert asked[0] > asked[1] + len(ACTS)


def test_a_smaller_world_has_fewer() -> None:
    assert len({act.name for act in ACTS}) == len(ACTS)
    seen = {size: [set(drawn_acts(seed, PARTS, size)) for seed in range(300)] for size in (0.2, 1.0)}
    assert all(small <= large for small, large in zip(seen[0.2], seen[1.0], strict=True))
    assert 0 < sum(map(len, seen[0.2])) < sum(map(len, seen[1.0])) / 3
    assert set.union(*seen[1.0]) == set(ACTS)
    assert drawn_acts(5, [PARTS[0]], 1.0) == tuple(a for a in drawn_acts(5, PARTS, 1.0) if a.part in ("", ALWAYS))


def test_a_login_is_given_away_by_a_list_of_two(tmp_path: Path) -> None:
    """Billing has each service's first tariff. A list of all of them set the record of many back to it, and the agent
    then restored no payer whose row said the tariff that was set since.
    """
    rows = {ref: {**dict.fromkeys(COLUMNS, ""), "name": ref, "login": ref[-1]} for ref in ("C-a", "C-b", "C-c")}
    billing, listed = Billing(tmp_path / "list.csv", rows), list[tuple[str, str]]()

    async def import_csv(part: Billing) -> dict[str, object]:
        listed.extend((row["name"], row["login"]) for row in csv.DictReader(io.StringIO(part.text())))
        return {}

    desk = Desk(SimpleNamespace(files=SimpleNamespace(billing=billing), office=SimpleNamespace(import_csv=import_csv)))  # type: ignore[arg-type]  # as far as it asks
    trio.run(_imported, desk, {"C-a": "b", "C-b": "a"})
    assert listed == [("C-a", "b"), ("C-b", "a")]
    assert [row["login"] for row in rows.values()] == ["a", "b", "c"]
