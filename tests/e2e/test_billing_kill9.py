"""The agent dies by SIGKILL between a webhook and the restore, again and again: nobody is lost, nothing is done twice.

The agent is `ispagent run`, in a process of its own; the CRM, the BNG and their subscribers outlive it. One subscriber
after the other pays; the sender of the webhook calls until it is answered with 200. The agent is killed at random
moments until the payer is back: while it starts, reads the account, plans, writes, or disconnects.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from hypothesis import settings

from agent.runtime.errors import ClientError
from lab.billing.server import serve_billing
from lab.isp import Isp
from lab.population import LabService
from tests.e2e.files import ordinary, ref_of, small_isp
from tests.e2e.forked_agents import ForkedAgents, forked_agents
from tests.e2e.paid import Crm, paid_files, walled
from tests.e2e.site import ApiRefusedError, Office

KILLS, PARTS = 200, 8
GATE_PARTS = 3
"""Of them, in the slow suite, which is bounded; `make fuzz` has all."""
PAYERS = 40
"""Of each part, at most."""
AT_ONCE = 10
LIVES_ON = 0.15
"""The share of lives that are not killed before the payer is back: they also tell how long a restore takes now."""
SOON = 0.9
"""Of the time that a restore took last: later most kills would come too late."""
ANSWERED_FIRST = 0.8
"""The share of webhooks that are answered before the first kill; else it may come before or in the middle."""
WITHIN_S = 120.0
SEED = secrets.randbelow(1 << 30)


@dataclass
class Deaths:
    """One agent after the other, subscribers who pay, and the calls of their CRM.

    `bell_s`, `start_s`: how long the last restore took from the answered webhook on, and from a start on.
    """

    office: Office
    isp: Isp
    agents: ForkedAgents
    dice: random.Random
    bell_s: float = 1.0
    start_s: float = 1.0
    answered: list[str] = field(default_factory=list)
    kills: int = 0
    """Of agents that had a webhook and had not restored its payer."""

    def again(self) -> None:
        self.agents.kill()
        self.agents.begin()

    def is_back(self, service: LabService) -> bool:
        return len(self.isp.sessions(service.login)) == 1 and not walled(self.isp, service)

    async def back(self, service: LabService) -> float:
        """Return how long it takes until a payer is back, seconds."""
        began_s = trio.current_time()
        with trio.fail_after(WITHIN_S):
            while not self.is_back(service):  # noqa: ASYNC110  the lab tells nobody
                await trio.sleep(0.005)
        return trio.current_time() - began_s

    async def call(self, body: dict[str, Any]) -> None:
        """Call the agent, whichever lives, until one answers with 200."""
        data = json.dumps(body).encode()
        while True:
            try:
                told: Any = await self.office.call("GET", "/v1/billing/hooks/main")
                url = urlsplit(told["url"])
                head = f"POST {url.path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                async with await trio.open_tcp_stream("127.0.0.1", url.port or 0) as stream:
                    await stream.send_all(head + data)
                    if bytes(await stream.receive_some(12)) == b"HTTP/1.1 200":
                        break
            except (OSError, trio.BrokenResourceError, ClientError, ApiRefusedError):
                pass
            await trio.sleep(0.02)
        self.answered.append(body["uuid"])

    async def kill_until_back(self, service: LabService, event: str, most: int) -> None:
        """Kill the agent at random moments until a payer is back, or agents were killed so often in all."""
        if self.dice.random() < ANSWERED_FIRST:
            with trio.fail_after(WITHIN_S):
                while event not in self.answered:  # noqa: ASYNC110  another task appends it
                    await trio.sleep(0.001)
        began_anew = False
        while self.kills < most and self.dice.random() > LIVES_ON:
            span_s = self.start_s if began_anew else self.bell_s
            with trio.move_on_after(self.dice.uniform(0, SOON * span_s)):
                self.note(await self.back(service), began_anew=began_anew)
                return
            if self.is_back(service):
                return
            await trio.to_thread.run_sync(self.again)
            self.kills += event in self.answered and not self.is_back(service)
            began_anew = True
            if self.is_back(service):  # by the one that was killed: that tells nothing of the new one
                return
        self.note(await self.back(service), began_anew=began_anew)

    def note(self, took_s: float, *, began_anew: bool) -> None:
        """Take note of how long a restore took in a life that was not ended."""
        if began_anew:
            self.start_s = took_s
        else:
            self.bell_s = took_s


async def first_day(office: Office, agents: ForkedAgents, services: Sequence[LabService]) -> None:
    """Start the agent, install everything, and suspend everybody for debt."""
    agents.begin()
    await answers(office)
    await office.install()
    await office.hand_in(office.people.standing(rate_per_hour=1000))
    with trio.fail_after(60):
        while (await office.call("GET", "/v1/billing"))["sources"][-1]["state"] != "fresh":  # noqa: ASYNC110  as people look
            await trio.sleep(0.05)
    for n in range(0, len(services), AT_ONCE):
        done = await office.do("suspend", *(ref_of(s) for s in services[n : n + AT_ONCE]))
        assert {item["state"] for item in done["items"]} == {"applied"}


async def answers(office: Office) -> None:
    with trio.fail_after(60):
        while True:
            try:
                await office.call("GET", "/v1/status")
                return
            except (ClientError, OSError):
                await trio.sleep(0.02)


async def nothing_waits(state: Path) -> None:
    """Return once all that was begun is over."""
    waits = (
        "SELECT 1 FROM plan WHERE finished_seq IS NULL AND gate IN ('open', 'approved', 'consumed')"
        " UNION ALL SELECT 1 FROM heard WHERE done_s IS NULL"
    )
    with trio.fail_after(60), closing(sqlite3.connect(f"file:{state}/agent.db?mode=ro", uri=True)) as reader:
        while reader.execute(waits).fetchall():  # noqa: ASYNC110  of another process
            await trio.sleep(0.05)


async def check(deaths: Deaths, payers: Sequence[LabService], events: Sequence[str], state: Path) -> None:
    """No event is lost, none was done twice."""
    changes = await deaths.office.call("GET", "/v1/changes")
    with closing(sqlite3.connect(f"file:{state}/agent.db?mode=ro", uri=True)) as reader:
        heard = reader.execute("SELECT event_id, done_s IS NOT NULL FROM heard").fetchall()
        restored = reader.execute(
            "SELECT service, state FROM item JOIN plan USING (plan_id) WHERE plan.reason = '-debt'"
        ).fetchall()
    assert sorted(heard) == sorted((event, 1) for event in events)
    assert sorted(deaths.answered) == sorted(events)
    applied = Counter(service for service, item_state in restored if item_state == "applied")
    assert applied == Counter(ref_of(s) for s in payers)
    assert {c["requester"] for c in changes if c["action"] == "restore"} == {"noc-1"}
    rows = await deaths.isp.database.fetch("SELECT username, COUNT(*) FROM radacct GROUP BY username")
    sessions = {str(login): int(n) for login, n in rows}
    assert {s.login: sessions[s.login] for s in payers} == {s.login: 3 for s in payers}  # one cut, one restore
    await deaths.office.verify_log()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS if settings.get_current_profile_name() == "fuzz" else GATE_PARTS))
async def test_killed_between_receipt_and_restore(tmp_path: Path, part: int) -> None:
    await killed(tmp_path, random.Random(SEED + part), KILLS // PARTS, PAYERS)


async def killed(folder: Path, dice: random.Random, kills: int, payers: int) -> None:
    """Kill the agent so many times between a webhook and its restore; not more than `payers` pay."""
    print("seed", SEED)
    crm, events = Crm(), list[str]()
    async with small_isp(folder, services=3 * payers + 40) as isp, serve_billing(crm.books) as server:
        services = ordinary(isp, payers)
        for service in services:
            crm.owes(service)
        files = paid_files(folder, isp, server.url, rate=1000, hooks=True)
        office, paid = Office(files), list[LabService]()
        with forked_agents(files) as agents:
            deaths = Deaths(office, isp, agents, dice)
            await first_day(office, agents, services)
            async with trio.open_nursery() as nursery:
                for service in services:
                    paid.append(service)
                    body = crm.called(service)
                    events.append(body["uuid"])
                    if len(paid) == 1:  # two that are not disturbed tell how long it takes
                        await deaths.call(body)
                        deaths.bell_s = await deaths.back(service)
                        continue
                    if len(paid) == 2:
                        await deaths.call(body)
                        await trio.to_thread.run_sync(deaths.again)
                        deaths.start_s = await deaths.back(service)
                        continue
                    nursery.start_soon(deaths.call, body)
                    await deaths.kill_until_back(service, body["uuid"], kills)
                    if deaths.kills >= kills:
                        break
            await answers(office)
            await nothing_waits(files.state)
            print("kills", deaths.kills, "payers", len(paid), f"{deaths.bell_s:.2f} s and {deaths.start_s:.2f} s")
            assert deaths.kills >= kills
            assert not any(walled(isp, s) for s in paid)
            assert all(walled(isp, s) for s in services if s not in paid)
            await check(deaths, paid, events, files.state)
