"""Each outage has one line at its beginning and one at its end, and its state is kept."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from agent.runtime import redacting_log
from agent.runtime.outages import Outages, SourceState


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = redacting_log.RedactingHandler(stream)
    logger = logging.getLogger("agent.outages")
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    yield stream
    logger.removeHandler(handler)
    logger.level = level


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_an_outage_has_two_lines_however_often_it_is_noted(log: io.StringIO) -> None:
    times = iter((1000.0, 1010.0, 1020.0, 1030.0, 1046.0, 1046.0))
    outages = Outages(lambda: next(times))
    outages.expect("radius/main")
    assert outages.reports()[0].state is SourceState.NOT_ASKED
    outages.note("radius/main", "")
    assert lines(log) == [], "that it works is no news"
    for _ in range(3):
        outages.note("radius/main", "nothing listens on 10.9.0.20:5432")
    outages.note("radius/main", "")
    outages.note("radius/main", "")
    begins, ends = lines(log)
    assert (begins["level"], begins["target"]) == ("warning", "radius/main")
    assert begins["cause"] == "nothing listens on 10.9.0.20:5432"
    assert (ends["level"], ends["elapsed_s"], ends["target"]) == ("info", 36.0, "radius/main")
    (report,) = outages.reports()
    assert (report.state, report.since_s, report.ok_s) == (SourceState.UP, 1046.0, 1046.0)
    assert (report.error, report.error_s) == ("nothing listens on 10.9.0.20:5432", 1030.0)


def test_what_is_away_from_the_beginning_is_an_outage(log: io.StringIO) -> None:
    outages = Outages(lambda: 5.0)
    outages.note("billing", "the billing file cannot be read: No such file or directory")
    (line,) = lines(log)
    assert "***" not in json.dumps(line)
    assert outages.reports()[0].since_s == 5.0
