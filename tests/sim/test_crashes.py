"""Crashes that the judge reads from the programs' logs."""

from __future__ import annotations

import logging

import pytest
from trio.testing import MockClock

from agent.runtime.supervise import contain
from tests.sim.crashes import crashes_read
from tests.sim.sockets import PROCESS, Process


async def crash() -> None:
    raise ValueError("of the agent's own")


async def test_a_crash_of_a_program_that_lives_is_read(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    process = Process("agent 2")
    log = logging.getLogger("agent.changes")
    token = PROCESS.set(process)
    try:
        with crashes_read() as read:
            log.error("something else")
            await contain("change AAAAA, item 3", crash, log=log)
            process.kill()
            await contain("change AAAAA, item 4", crash, log=log)
        await contain("after the world", crash, log=log)
    finally:
        PROCESS.reset(token)
    assert [(one.by, one.task) for one in read.found] == [("agent 2", "change AAAAA, item 3")]
    assert "of the agent's own" in read.found[0].error
    assert caplog.records == []
