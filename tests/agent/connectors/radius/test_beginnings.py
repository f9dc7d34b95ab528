"""Whether a session began before a change: by durations, and by moments of one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from agent.connectors.radius.beginnings import CUT_S, Began, when_began

STOP_S, PASSED_S = 1_700_000_000, 30
HERE = {"nas": "10.0.0.1"}
ENDED = {**HERE, "stopped": str(STOP_S)}
ELSEWHERE = {"nas": "10.0.0.2", "stopped": str(STOP_S)}
EARLY = {**HERE, "stopped": str(STOP_S - 86400)}
"""Its row was closed by somebody, long before."""


@pytest.mark.parametrize(
    ("since_s", "lasted_s", "ended", "when"),
    [
        (STOP_S, 0, [ENDED], Began.SINCE),
        (STOP_S - 1, 0, [ENDED], Began.UNKNOWN),  # beside it: before or after the write
        (STOP_S - PASSED_S - CUT_S, 0, [ENDED], Began.UNKNOWN),
        (STOP_S - PASSED_S - CUT_S - 1, 0, [ENDED], Began.BEFORE),
        (STOP_S - 1, 0, [EARLY, ENDED], Began.UNKNOWN),
        (STOP_S, 0, [ELSEWHERE], Began.UNKNOWN),
        (STOP_S, 0, [HERE], Began.UNKNOWN),
        (STOP_S, 0, [{}], Began.UNKNOWN),
        (STOP_S, 0, [], Began.UNKNOWN),
        (STOP_S, PASSED_S + CUT_S, [], Began.UNKNOWN),
        (STOP_S, PASSED_S + CUT_S + 1, [], Began.BEFORE),
        (STOP_S, PASSED_S + CUT_S + 1, [ENDED], Began.BEFORE),
    ],
)
def test_a_session_began_before_or_since(
    since_s: int, lasted_s: int, ended: Sequence[Mapping[str, str]], when: Began
) -> None:
    session, told = {**HERE, "since": str(since_s)}, {**HERE, "lasted": str(lasted_s)}
    assert when_began(session, told, ended, PASSED_S) is when
