"""A session to a router of the lab."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import trio

from agent.connectors.base import Session
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.schema import RouterosConfig, RouterTarget
from agent.runtime.clock import Clock, SystemClock
from lab.router.device import Router
from lab.router.server import Endpoint, serve

PASSWORD = b"api-password"


def commit(label: str, value: str) -> str:
    return f"{abs(hash((label, value))):064x}"[:64]


@asynccontextmanager
async def opened(
    router: Router,
    change: Callable[[RouterTarget], RouterTarget] = lambda target: target,
    *,
    tls: bool = True,
    clock: Clock = SystemClock(),  # noqa: B008  frozen
) -> AsyncIterator[Session]:
    async with trio.open_nursery() as nursery:
        endpoint: Endpoint = await nursery.start(partial(serve, router, tls=tls))
        fingerprint = bytes.fromhex(endpoint.fingerprint)
        target = RouterTarget("edge-1", endpoint.host, endpoint.port, "ispagents", "api", fingerprint, not tls)
        target = change(replace(target, timeout_s=20.0))
        made = RouterosConnector(RouterosConfig((target,)), {"api": PASSWORD}.__getitem__, commit, clock=clock)
        async with made.dial(made.targets[0]) as session:
            yield session
        nursery.cancel_scope.cancel()
