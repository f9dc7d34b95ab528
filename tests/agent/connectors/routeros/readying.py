"""What a router of the lab reads, and whether it is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from agent.connectors.base import ReadSession, UnreadableError
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.schema import (
    DhcpMethod,
    HotspotMethod,
    PppMethod,
    RouterMethod,
    RouterosConfig,
    RouterTarget,
    StaticMethod,
)
from agent.model import Service
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock
from agent.services.network import NetworkReader
from agent.services.readiness import Readiness, ReadinessReader
from lab.router.device import Router
from lab.router.export import export
from lab.router.server import Endpoint, serve

PPP = PppMethod("ppp", "routeros/edge-1", "suspended", {"Home 20M": "home20"})
STATIC = StaticMethod("static", "routeros/edge-1", {"Home 20M": ""}, suspended_list="suspended")
DHCP = DhcpMethod("dhcp", "routeros/edge-1", {"Home 20M": "5M/20M"}, suspended_list="suspended")
HOTSPOT = HotspotMethod("hotspot", "routeros/edge-1", {"Home 20M": "home20"}, "suspended")
METHODS = (PPP, STATIC, DHCP, HOTSPOT)


class Targets:
    """Sessions of routers by target; another one cannot be reached."""

    def __init__(self) -> None:
        self.sessions: dict[str, ReadSession] = {}

    async def dialed(self, target: str) -> ReadSession:
        await trio.lowlevel.checkpoint()
        if target not in self.sessions:
            raise UnreadableError(f"{target}: no connection", reason=TargetReason.UNREACHABLE)
        return self.sessions[target]


@asynccontextmanager
async def network(
    routers: Mapping[str, Router], methods: tuple[RouterMethod, ...], away: tuple[str, ...] = ()
) -> AsyncIterator[NetworkReader]:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        ends: dict[str, Endpoint] = {
            name: await nursery.start(partial(serve, router, tls=False)) for name, router in routers.items()
        }
        named = [RouterTarget(n, e.host, e.port, "ispagents", "api", insecure=True) for n, e in ends.items()]
        made = RouterosConnector(
            RouterosConfig(tuple(named), methods),
            {"api": b"api-password"}.__getitem__,
            lambda label, _: f"{len(label):064x}",
            clock=SystemClock(),
        )
        targets = Targets()
        for target in made.targets:
            if target.id not in away:
                targets.sessions[target.id] = await stack.enter_async_context(made.dial(target))
        yield NetworkReader(targets, made.access_methods)
        await stack.aclose()
        nursery.cancel_scope.cancel()


def exported(router: Router) -> list[str]:
    """Return the statements of a router's export, each with its menu."""
    found, path = list[str](), ""
    for line in export(router).splitlines():
        path = line if line.startswith("/") else path
        if not line.startswith(("/", "#")):
            found.append(f"{path} {line}")
    return found


async def readiness(
    routers: Mapping[str, Router],
    methods: tuple[RouterMethod, ...] = METHODS,
    services: tuple[Service, ...] = (),
    *,
    device: str = "",
    away: tuple[str, ...] = (),
) -> dict[tuple[str, str], Readiness]:
    before = {name: exported(router) for name, router in routers.items()}
    async with network(routers, methods, away) as reader:
        found = await ReadinessReader(reader, SystemClock()).read(services, device)
    assert {name: exported(router) for name, router in routers.items()} == before, "readiness wrote something"
    assert all(router.rows("/system/history") == [] for router in routers.values())
    return {(one.device.removeprefix("routeros/"), one.method): one for one in found}
