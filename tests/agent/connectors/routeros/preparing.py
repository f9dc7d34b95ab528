"""Prepare a router of the lab, step by step."""

from __future__ import annotations

from collections.abc import Mapping

from agent.connectors.base import CannotEnforce, OnDevices, Preparation, PrepareTerms, Session
from agent.connectors.routeros import prepare
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.schema import DhcpMethod, PppMethod, RouterMethod, StaticMethod
from agent.model import Address, Direction, Effect, Seen, Service, Step, Ticket, Transition

TARGET = "routeros/edge-1"
HOST, NEIGHBOR, SIX = "198.18.7.7", "198.18.7.8", "2001:db8:77::7"
RESOLVER, PAY_PAGE, ELSEWHERE = "198.51.100.53", "198.51.100.80", "203.0.113.99"
TERMS = PrepareTerms("suspended", (PAY_PAGE,), (RESOLVER,))
PPP = PppMethod("ppp", TARGET, "held-back", {"Home 20M": "home20"})
STATIC = StaticMethod("static", TARGET, {"Home 20M": ""}, suspended_list="suspended")
DHCP = DhcpMethod("dhcp", TARGET, {"Home 20M": ""}, suspended_list="suspended")
METHODS: tuple[RouterMethod, ...] = (PPP, STATIC, DHCP)
BOTH = Service("C-7/home", "C-7", "Amina", "home", f"{HOST},{SIX}", "static", "Home 20M")


def needs_of(methods: tuple[RouterMethod, ...], services: tuple[Service, ...] = (BOTH,)) -> list[prepare.DeviceNeeds]:
    made = [access_method_of(method) for method in methods]
    return [one.on_devices()[TARGET].needs(services) for one in made if isinstance(one, OnDevices)]


async def prepared(
    session: Session, methods: tuple[RouterMethod, ...] = METHODS, terms: PrepareTerms = TERMS
) -> Preparation | CannotEnforce:
    seen, needs = dict[Address, Seen](), needs_of(methods)
    while missing := prepare.reads(TARGET, needs, terms, seen):
        seen |= await session.read(missing)
    return prepare.preparation(TARGET, needs, terms, seen)


async def send(session: Session, do: tuple[Transition, ...] | Effect) -> None:
    bound: Mapping[Address, Seen] = await session.bind(do) if isinstance(do, Effect) else {}
    ticket = Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, TARGET, do, bound, float("inf"))
    reply = await session.send(ticket)
    assert reply.accepted, reply


async def apply(session: Session, steps: tuple[Step, ...]) -> None:
    """Send the steps, and read each write back."""
    for step in steps:
        await send(session, step.do)
        if not isinstance(step.do, Effect):
            for write in step.do:
                assert (await session.read([write.address]))[write.address].value == write.after
