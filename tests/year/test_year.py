"""A short dirty year on PostgreSQL: nothing is claimed that is not so, and nobody is harmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import PostgreSQL
from tests.year.year import YearOptions, live, restarter

pytestmark = [pytest.mark.slow, pytest.mark.servers]


async def test_nothing_is_claimed_that_is_not_so(postgresql: PostgreSQL, tmp_path: Path) -> None:
    options = YearOptions(
        tmp_path,
        seed=11,
        services=60,
        asks=100,
        asks_a_round=20,
        database=postgresql.fresh(),
        restart=restarter(postgresql),
    )
    report = await live(options)
    assert report.false == []
    assert report.harm == []
    outcomes = report.outcomes
    assert outcomes["suspend: applied"] > 5, "asks were done, not refused"
    assert outcomes["restore: applied"] > 1
    assert outcomes["never ended"] == 0
    assert report.drift_rounds > 1
    assert sum(report.differences.values()) > 20, "staff made differences"
