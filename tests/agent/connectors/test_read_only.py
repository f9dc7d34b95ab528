"""A connector without a write half: handed out, read, and never sent anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from agent.changes.engine.sessions import Sessions
from agent.connectors.base import NotSentError, Reads, UnreadableError
from agent.connectors.roles import Connectors
from agent.model import ABSENT, Address, Direction, Effect, ProofKind, Replay, Seen, Service, Target, Ticket
from tests.builders.expect import expect

WHERE = Address("meter/a/uptime")


class MeterSession:
    def __init__(self, target: Target) -> None:
        self.target = target

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        await trio.lowlevel.checkpoint()
        return {a: Seen({"s": "7"} if a == WHERE else ABSENT, 1) for a in addresses}

    def notes(self) -> Sequence[str]:
        return ("its battery is low",)


class Meter:
    window = 3
    targets = (Target("meter/a", "meter"),)

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[MeterSession]:
        await trio.lowlevel.checkpoint()
        yield MeterSession(target)


async def test_its_sessions_read_and_refuse_to_send() -> None:
    meter = expect(Reads, Meter())
    connectors = Connectors({"meter": meter})
    assert (connectors.targets, dict(connectors.access_methods), dict(connectors.census)) == (("meter/a",), {}, {})
    sessions = Sessions(connectors.in_sessions)
    effect = Effect(WHERE, "reboot", {}, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 1)
    ticket = Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, "meter/a", effect, {}, float("inf"))
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        async with sessions.use("meter/a") as session:
            assert (await session.read([WHERE]))[WHERE].value == {"s": "7"}
            assert session.notes() == ("its battery is low",)
            assert await session.bind(effect) == {}
            assert await session.busy() is None
            with pytest.raises(NotSentError, match="meter/a is only read") as caught:
                await session.send(ticket)
            assert caught.value.reason == "unsupported"
            await session.settle()
        nursery.cancel_scope.cancel()


async def test_it_knows_no_password() -> None:
    service = Service("C-1/home", "C-1", "Amina", "home", "amina.h", "pppoe", "Home 20M")
    with pytest.raises(UnreadableError, match=r"C-1/home \(pppoe\): its password is kept where") as caught:
        await Connectors({"meter": Meter()}).password_of(service)
    assert caught.value.reason == "no-password"
