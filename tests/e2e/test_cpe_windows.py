"""Policy windows bind a CPE change when it is sent, however long it waited."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import trio

from agent.config import load
from tests.e2e.cpe_site import WHO, acs_files, acs_site
from tests.e2e.router_site import ref
from tests.e2e.site import MovableClock, state_of
from trust.policy import WEEK_MINUTES, Window

DAY = 24 * 60


def around(minute: int) -> Window:
    """Return a window of 25 minutes at most, with this minute of the week in it."""
    return Window(max(minute - 5, 0), min(minute + 20, WEEK_MINUTES))


@pytest.mark.slow
async def test_d1_a_waiting_reboot_is_sent_in_the_next_window(tmp_path: Path) -> None:
    """The CPE calls in three hours after the window closed: nothing is sent until it opens the next day."""
    files = acs_files(tmp_path)
    now = datetime.now(load(files.config).timezone)
    minute = now.weekday() * DAY + now.hour * 60 + now.minute
    windows = (around(minute), around((minute + DAY) % WEEK_MINUTES))
    files.trust = replace(files.trust, policy=tuple(replace(p, windows=windows) for p in files.trust.policy))
    clock = MovableClock()
    async with acs_site(tmp_path, files=files, clock=clock) as at:
        cpe = await at.plug_in("LAB0001")
        await at.accept("LAB0001", ref(WHO))
        change = await at.site.ask("cpe-reboot", ref(WHO))
        await at.site.approve(change, "joseph")
        open_ = await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        assert not open_["waits_because"]
        clock.pass_s(3 * 3600)
        told = await at.site.wait_for(change, lambda c: c["waits_because"])
        assert told["waits_because"].startswith("waits for the window: ")
        assert "deadline" not in told["waits_because"]
        await cpe.call_in("2 PERIODIC")
        await cpe.call_in("2 PERIODIC")
        assert (await at.site.show(change))["items"][0]["state"] == "waiting"
        assert cpe.executed("Reboot") == []
        clock.pass_s(21 * 3600)
        await at.site.wait_for(change, lambda c: not c["waits_because"])
        with trio.fail_after(60):
            while not cpe.executed("Reboot"):
                await cpe.call_in("2 PERIODIC")
        done = await at.site.wait_end(change)
        assert state_of(done)[0] == "applied"
        assert len(cpe.executed("Reboot")) == 1
