"""No API call waits for a preview, a list or a batch of thousands: the loop is never held for long."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.runtime.http import HttpRequest, Response
from agent.runtime.json_slices import encode_in_slices
from agent.store.db import Job
from tests.agent.stalls import watched
from tests.builders.expect import expect
from tests.builders.office import MARIA_UID, Desk, Office, office_in

MANY = 5000
MOST_S = 0.25
"""CPU seconds: no API call may wait longer than that."""


async def _call(office: Office, path: str) -> object:
    answer = expect(Response, await office.daemon.api(HttpRequest("GET", path, {}, {}, b"", MARIA_UID, 1)))
    assert answer.status == 200
    return json.loads(await encode_in_slices(answer.json))


async def _import_many(office: Office) -> list[str]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    lines = ["subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of"]
    for n in range(MANY):
        office.desk.world.add(f"many{n}")
        lines.append(f"M-{n},Name {n},home,many{n},fake,20M,,0,34.00,2025-10-03,,{now}")
    await office.daemon.api.parts.importer.run("\n".join(lines).encode(), "maria", dry_run=False)
    return [f"M-{n}/home" for n in range(MANY)]


@pytest.mark.slow
async def test_no_task_holds_the_loop_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office_in(tmp_path, Desk()) as office:
        refs = await _import_many(office)
        commit = office.store._commit
        with watched() as preview:

            def commit_elsewhere(jobs: list[Job]) -> None:  # the agent's writer is a thread, the rig's is not
                begun_s = time.thread_time()
                commit(jobs)
                preview.leave_out(time.thread_time() - begun_s)

            monkeypatch.setattr(office.store, "_commit", commit_elsewhere)
            row = await office.plan(*refs)
        monkeypatch.undo()
        with watched() as show:
            shown = await _call(office, f"/v1/changes/{row.short}")
        with watched() as listed:
            await _call(office, "/v1/changes")
        with watched() as verify:
            await _call(office, "/v1/audit/verify")
    assert isinstance(shown, dict)
    assert len(shown["items"]) == MANY
    longest = {"preview": preview, "show": show, "list": listed, "verify": verify}
    assert {name: (w.longest_s, w.task) for name, w in longest.items() if w.longest_s > MOST_S} == {}
