"""Plan and carry out on a router of the lab."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.connectors.base import AccessPlan, CannotEnforce, Enforced, Session
from agent.connectors.routeros.schema import StaticMethod
from agent.connectors.routeros.static_access import StaticAccess
from agent.model import Access, Address, Direction, Effect, Seen, Service, ServiceState, Step, Ticket
from lab.router.device import Router
from tests.agent.connectors.routeros.sessions import opened

V4, V6 = "192.0.2.7", "2001:db8:7::/56"
TARIFFS = {"Home 20M": "5M/20M", "Home 50M": "10M/50M"}
LISTED = StaticMethod("static", "routeros/edge-1", TARIFFS, suspended_list="suspended")
SERVICE = Service("C-10482/home", "C-10482", "Amina Hassan", "home", f"{V4},{V6}", "static", "Home 20M")


@dataclass
class Site:
    router: Router
    session: Session

    async def plan(
        self, access: Access, method: StaticMethod = LISTED, service: Service = SERVICE, tariff: str = "Home 20M"
    ) -> AccessPlan | CannotEnforce:
        recipe, seen = StaticAccess(method), dict[Address, Seen]()
        while missing := recipe.reads(service, seen):
            seen |= await self.session.read(missing)
        return recipe.plan(ServiceState(access, tariff), service, seen)

    async def do(
        self, access: Access, method: StaticMethod = LISTED, service: Service = SERVICE, tariff: str = "Home 20M"
    ) -> Enforced | None:
        """Plan, send every step, read back each write, and judge; None: there was nothing to do, nor to look at."""
        plan = await self.plan(access, method, service, tariff)
        assert isinstance(plan, AccessPlan), plan
        ended = [where for step in plan.steps for where in await self._send(step)]
        recipe, enforce = StaticAccess(method), plan.enforce
        if enforce is None:
            assert plan.steps == ()
            return None
        seen = dict(await self.session.read([enforce.address]))
        while missing := recipe.enforcement_reads(enforce, seen):
            seen |= await self.session.read(missing)
        again = await self.plan(access, method, service, tariff)
        assert isinstance(again, AccessPlan)
        assert again.steps == (), "a plan of what is already so"
        return recipe.judge(enforce, seen, ended).enforced

    async def _send(self, step: Step) -> list[Address]:
        bound: Mapping[Address, Seen] = {}
        if isinstance(step.do, Effect):
            bound = await self.session.bind(step.do)
        ticket = Ticket("0" * 32, 1, step.n, Direction.FORWARD, 1, step.target, step.do, bound, float("inf"))
        assert (await self.session.send(ticket)).accepted
        if not isinstance(step.do, Effect):
            for change in step.do:
                there = (await self.session.read([change.address]))[change.address].value
                assert there == change.after
        return list(bound)


@asynccontextmanager
async def site(router: Router) -> AsyncIterator[Site]:
    async with opened(router, tls=False) as session:
        yield Site(router, session)
