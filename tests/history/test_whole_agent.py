"""Whole agents live through parts of two years: nobody is cut off or brought back whom the oracle would not."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import trio

from tests.history.replay import OPERATORS
from tests.history.whole_agent import Lives, live
from tests.sim.part import Declared
from tests.sim.world import World


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_an_agent_lives_as_the_oracle_says() -> None:
    seen = live(OPERATORS["-5, billed in +2"], 16, every=1000, hot=14, days=150, seed=4)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "line: closed", "line: opened by itself"} <= set(seen.seen)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["-8", "-5", "+2 with daylight saving", "+13"])
def test_an_agent_of_each_zone_lives_as_the_oracle_says(zone: str) -> None:
    seen = live(OPERATORS[zone], 20, every=60, hot=10, days=150, seed=2)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "line: closed", "line: opened by itself"} <= set(seen.seen)


class LivesInUtc(Lives):
    """The agent's configuration names no zone."""

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        return replace(await super().open(world, nursery), agent="")


def test_the_oracle_notices_an_agent_of_another_zone() -> None:
    seen = live(OPERATORS["-8"], 12, every=7, hot=0, days=16, kind=LivesInUtc)
    assert any("agent: closed" in line for line in seen.differ)
