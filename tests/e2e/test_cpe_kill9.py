"""The agent is killed while a change waits for a CPE, and at the instant that the CPE takes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from lab.cpe.client import Cpe
from lab.cpe.quirks import Quirks
from lab.cpe.records import Executed
from tests.e2e.cpe_site import SSID, WHO, accept, acs_files, device, free_port, name, until
from tests.e2e.router_site import ref
from tests.e2e.site import AgentProgram, Office, started, state_of
from tests.marks import slow_unless


async def accepted(office: Office, cpe: Cpe) -> None:
    """Accept the CPE and read it once, while it calls every second."""
    await accept(office, name("LAB0001"), ref(WHO))
    async with trio.open_nursery() as nursery:
        look = {"names": ["wifi.1.ssid"], "timeout_s": 20}
        nursery.start_soon(partial(office.call, "POST", f"/v1/cpes/{name('LAB0001')}/refresh", look))
        with trio.move_on_after(20):
            while not cpe.executed("GetParameterValues"):
                await cpe.call_in("2 PERIODIC")
                await trio.sleep(0.05)


@pytest.mark.parametrize("instant", slow_unless(lambda at: at == "taken", ["waiting", "taken", "answer-lost"]))
async def test_killed(tmp_path: Path, instant: str) -> None:
    port = free_port()
    files = acs_files(tmp_path, port=port)
    office, programs = Office(files), [await started(AgentProgram(files))]
    try:
        await office.install()
        quirks = Quirks(loses_answer_on=("SetParameterValues",)) if instant == "answer-lost" else Quirks()
        made = device(f"http://127.0.0.1:{port}/acs", "LAB0001", quirks=quirks)
        cpe = Cpe(made, boot_s=0.0, backoff_scale=0.01)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: cpe.run(task_status=task_status))
            await cpe.wait_sessions(1)
            await accepted(office, cpe)
            change = await office.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Through a crash"})
            await office.approve(change, "joseph")
            await office.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
            if instant == "waiting":
                programs[0].kill()
            else:
                made.on_change.append(lambda: kill_once_taken(made.log, programs[0]))
                with trio.move_on_after(5):
                    await cpe.call_in("2 PERIODIC")
            await until(lambda: programs[0].ended)
            programs.append(await started(AgentProgram(files)))
            with trio.fail_after(60):
                while (now := await office.show(change))["items"][0]["state"] not in ("applied", "not-applied"):
                    await cpe.call_in("2 PERIODIC")
                    await trio.sleep(0.2)
                    assert now["items"][0]["state"] in ("waiting", "running", "unknown")
            assert state_of(await office.show(change))[0] == "applied"
            assert made.tree.get(SSID) == "Through a crash"
            assert len(cpe.executed("SetParameterValues")) == 1
            assert await office.verify_log() > 0
            nursery.cancel_scope.cancel()
    finally:
        for program in programs:
            program.stop()


def kill_once_taken(log: object, program: AgentProgram) -> None:
    """Kill the agent at the instant that the CPE has executed the change."""
    taken = any(isinstance(one, Executed) and one.method == "SetParameterValues" for one in log)  # type: ignore[attr-defined]  # a deque
    if taken and not program.ended:
        program.kill()
