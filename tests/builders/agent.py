"""A daemon of an agent, called without a socket, with its people and its list of subscribers."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from agent import daemon as daemons
from agent.changes.engine.perform import Patience
from agent.changes.journal.trust_state import Pinned
from agent.config import AgentConfig, parse_untrusted
from agent.runtime.clock import SystemClock
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response, StreamResponse
from agent.store.identity import create_identity
from agent.store.vault import create_store_key, load_store_key
from tests.builders.answers import checked
from tests.builders.expect import expect, present
from tests.builders.people import People, any_time, plan_of, trusted
from tests.builders.world import FakeConnector, World
from trust import envelope as envelopes
from trust import statements
from trust.policy import Action, PolicyClass
from trust.statements import (
    SeenHeads,
    Standing,
    StandingEvidence,
)

MARIA, NOBODY, OTHER, JOSEPH = 4242, 4243, 4244, 4245


CSV = b"""subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of
C-1,Amina Hassan,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s
C-2,Joao Silva,home,u1,fake,20M,,0,12.50,2025-10-03,,%(now)s
C-2,,shop,u2,fake,20M,,0,,,,
C-3,Clinic,home,u3,fake,20M,hospital,0,99.00,2025-10-03,,%(now)s
C-4,Paid,home,u4,fake,20M,,0,0.00,2025-10-03,2026-01-01,%(now)s
"""


class Agent:
    """A daemon's parts, called without a socket."""

    def __init__(self, daemon: daemons.Daemon, people: People, words: str) -> None:
        self.daemon = daemon
        self.people = people
        self.words = words

    async def call(self, method: str, path: str, body: object = None, uid: int = MARIA) -> Any:
        path, _, query = path.partition("?")
        pairs = dict(p.split("=", 1) for p in query.split("&") if p)
        data = b"" if body is None else json.dumps(body).encode()
        answer = expect(Response, await self.daemon.api(HttpRequest(method, path, pairs, {}, data, uid, 1)))
        return checked(answer.json)

    async def ask(self, action: str, *refs: str, uid: int = MARIA, **more: object) -> Any:
        body = {
            "action": action, "refs": list(refs), "on_tariff": "", "exclude": [], "reason": "debt", "tariff": "",
            "on_failure": "stop", "change": "", "alone": False, "hold": False, **more,
        }  # fmt: skip
        return await self.call("POST", "/v1/changes", body, uid)

    async def hand_in(self, data: bytes, change: str = "") -> Any:
        body = {"envelope": base64.b64encode(data).decode(), "change": change}
        return await self.call("POST", "/v1/statements", body)

    async def approve(self, change: Any, who: str, **more: Any) -> Any:
        seen = SeenHeads(1, self.head)
        return (await self.hand_in(self.people.approve(plan_of(change), who, seen=seen, **more), change["id"]))[0]

    @property
    def head(self) -> str:
        return self.pinned.sha256.hex()

    @property
    def pinned(self) -> Pinned:
        """The trust that the agent goes by."""
        return present(self.daemon.api.parts.trust.pinned)

    async def watch(self, change: Any) -> AsyncIterator[Any]:
        request = HttpRequest("GET", f"/v1/changes/{change['id']}/watch", {}, {}, b"", MARIA, 1)
        answer = expect(StreamResponse, await self.daemon.api(request))
        async for line in answer.lines:
            yield checked(line)

    async def end(self, change: Any) -> Any:
        async for _ in self.watch(change):
            pass
        return await self.call("GET", f"/v1/changes/{change['id']}")


def config_for(folder: Path, more: str = "") -> AgentConfig:
    people = f'{MARIA} = "maria"\n{OTHER} = "nobody-known"\n{JOSEPH} = "joseph"\n'
    text = f'[agent]\nname = "noc-1"\nstate_dir = "{folder}"\n[people]\n{people}'
    return parse_untrusted((text + more).encode(), folder / "agent.toml", {})


@asynccontextmanager
async def agent_in(
    folder: Path,
    world: World,
    *,
    install: bool = True,
    policy: tuple[PolicyClass, ...] | None = None,
    connector: FakeConnector | None = None,
    more: str = "",
) -> AsyncIterator[Agent]:
    """One agent and its people. `more`: lines of its configuration."""
    config = config_for(folder, more)
    create_store_key(config.key_file)
    create_identity(config.state_dir, load_store_key(config.key_file))
    async with daemons.open_files(config, SystemClock()) as files:
        daemon = daemons.build(
            config,
            files,
            SystemClock(),
            connectors={"fake": connector or FakeConnector(world)},
            patience=Patience(poll_s=0.01),
        )
        people = People(policy=policy or any_time())
        entry = trusted(files.identity.agent, "noc-1", files.identity.plan_key, config.origin, files.identity.log_key)
        document, words = people.sign_trust(people.trust(entry))
        agent = Agent(daemon, people, words)
        async with trio.open_nursery() as nursery:
            await daemon.sessions.host(nursery)
            nursery.start_soon(daemon.job.worker.run)
            if install:
                body = {"document": base64.b64encode(document).decode(), "words": words}
                await agent.call("POST", "/v1/trust", body, os.getuid())
                now = chain_time()
                csv = CSV % {b"now": now}
                fields = {"csv": base64.b64encode(csv).decode(), "dry_run": False}
                await agent.call("POST", "/v1/subscribers/import", fields)
            yield agent
            nursery.cancel_scope.cancel()


def chain_time() -> bytes:

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time())).encode()


async def refused(coroutine: Any) -> HttpError:
    with pytest.raises(HttpError) as info:
        await coroutine
    return info.value


async def done(agent: Agent, action: str, *refs: str, **more: Any) -> Any:
    change = await agent.ask(action, *refs, **more)
    await agent.approve(change, "joseph")
    return await agent.end(change)


async def states(agent: Agent, change: Any) -> list[str]:
    return [i["state"] for i in (await agent.call("GET", f"/v1/changes/{change['id']}"))["items"]]


async def suspended_for(agent: Agent, ref: str) -> Any:
    return (await agent.call("GET", f"/v1/subscribers/{ref}"))["services"][0]["suspended_for"]


def item_of(change: Any, n: int = 1) -> Any:
    return json.loads(change["documents"][n])


def standing(
    agent: Agent, *who: str, rate: int = 60, begins: int = -60, ends: int = 600, scope: str = "all", **fields: Any
) -> bytes:
    """Return a standing authority for restores; `begins` and `ends` in minutes from now."""
    now = agent.people.now_s // 60
    statement = Standing(
        trust_id=agent.people.trust_id,
        standing_id=secrets.token_hex(16),
        verb=Action.RESTORE,
        person=(who or ("joseph",))[0],
        scope=(scope,),
        evidence=StandingEvidence.PAYMENT_MATCHED,
        rate_per_hour=rate,
        not_before=now + begins,
        not_after=now + ends,
    )
    keys = [agent.people.keys[w] for w in who or ("joseph", "lena")]
    return envelopes.encode(statements.sign(replace(statement, **fields), keys))


async def given(agent: Agent, *who: str, **fields: Any) -> None:
    (answer,) = await agent.hand_in(standing(agent, *who, **fields))
    assert answer["accepted"], answer
