"""Many reads become few: who shares, who leads, and that nobody is left waiting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agent.changes.engine import sessions as engine_sessions
from agent.changes.engine.sessions import CoalescedSession
from agent.connectors.base import NOTHING_EARLIER, Busy, Earlier, ReadAddresses, Reply, UnreadableError
from agent.model import Address, Effect, Replay, Seen, Target, Ticket

pytestmark = pytest.mark.virtual_time


class SlowSession:
    """Answers a read a second later with its number; unreadable on demand."""

    target = Target("slow/d", "slow")

    def __init__(self) -> None:
        self.reads: list[list[Address]] = []
        self.broken = False
        self.at_once = 0

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        self.reads.append(list(addresses))
        number = len(self.reads)
        self.at_once += 1
        assert self.at_once == 1, "two bulk reads at once"
        await trio.sleep(1)
        self.at_once -= 1
        if self.broken:
            raise UnreadableError("no", reason="unreachable")
        return {a: Seen({"read": str(number)}, 0) for a in addresses}

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        return {effect.address: Seen({}, 7)}

    async def send(self, ticket: Ticket) -> Reply:
        return Reply(True, ticket.plan_id)

    async def settle(self) -> None:
        self.broken = True

    async def busy(self) -> Busy | None:
        return Busy("busy-cpu", "slow")

    def notes(self) -> Sequence[str]:
        return ("slow",)


A, B, C = Address("a"), Address("b"), Address("c")


async def test_a_lone_reader_waits_for_nothing() -> None:
    inner = SlowSession()
    session = CoalescedSession(inner)
    started = trio.current_time()
    assert set(await session.read([A, B])) == {A, B}
    assert trio.current_time() - started == pytest.approx(1)
    assert inner.reads == [[A, B]]


async def test_those_who_come_meanwhile_share_the_next_read() -> None:
    inner = SlowSession()
    session = CoalescedSession(inner)
    got: list[str] = []

    async def reader(address: Address) -> None:
        seen = await session.read([address])
        assert list(seen) == [address]
        got.append(str(dict(seen[address].value)["read"]))  # type: ignore[arg-type]  # a stand-in of the test

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, A)
        await trio.sleep(0.5)
        for n in range(50):
            nursery.start_soon(reader, Address(f"x{n}"))
        nursery.start_soon(reader, A)
    assert [len(r) for r in inner.reads] == [1, 51]
    assert sorted(got) == ["1"] + ["2"] * 51  # never a value that was read before it asked


async def test_a_reader_that_shares_waits_once() -> None:
    class Steps(trio.abc.Instrument):
        def __init__(self) -> None:
            self.count: dict[str, int] = {}

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count[task.name] = self.count.get(task.name, 0) + 1

    session, steps = CoalescedSession(SlowSession()), Steps()

    async def reader() -> None:
        await session.read([A])

    trio.lowlevel.add_instrument(steps)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, name="first")
        await trio.sleep(0.5)
        nursery.start_soon(reader, name="leader")
        await trio.sleep(0.1)
        for n in range(3):
            nursery.start_soon(reader, name=f"other {n}")
    trio.lowlevel.remove_instrument(steps)
    assert [steps.count[f"other {n}"] for n in range(3)] == [2, 2, 2]  # begin, and end


async def test_read_after_read_sees_a_fresh_value() -> None:
    session = CoalescedSession(SlowSession())
    assert (await session.read([A]))[A].value == {"read": "1"}
    assert (await session.read([A]))[A].value == {"read": "2"}


async def test_large_rounds_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_sessions, "BULK_MAX", 10)
    inner = SlowSession()
    wanted = [Address(str(n)) for n in range(25)]
    seen = await CoalescedSession(inner).read(wanted)
    assert [len(r) for r in inner.reads] == [10, 10, 5]
    assert list(seen) == wanted


async def test_an_unreadable_target_is_told_to_all_and_read_again() -> None:
    inner = SlowSession()
    session = CoalescedSession(inner)
    inner.broken = True
    failed: list[str] = []

    async def reader() -> None:
        try:
            await session.read([A])
        except UnreadableError as err:
            failed.append(err.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.sleep(0.5)
        for _ in range(5):
            nursery.start_soon(reader)
    assert failed == ["unreachable"] * 6
    assert len(inner.reads) == 2
    inner.broken, inner.at_once = False, 0
    assert (await session.read([A]))[A].value == {"read": "3"}


async def test_a_cancelled_leader_finishes_for_the_others() -> None:
    inner = SlowSession()
    session = CoalescedSession(inner)
    got: list[Address] = []

    async def follower() -> None:
        got.extend(await session.read([B]))

    async def leader(scope: trio.CancelScope) -> None:
        with scope:
            await session.read([A])

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader, scope)
        await wait_all_tasks_blocked()
        nursery.start_soon(follower)
        await wait_all_tasks_blocked()
        scope.cancel()
    assert got == [B]


async def test_cancelled_waiters_leave_the_round_to_the_next() -> None:
    inner = SlowSession()
    session = CoalescedSession(inner)

    async def reader(scope: trio.CancelScope, address: Address) -> None:
        with scope:
            await session.read([address])

    first, second = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, first, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(reader, second, B)
        await wait_all_tasks_blocked()
        second.cancel()
    with trio.fail_after(60):
        assert set(await session.read([C])) == {C}


async def test_the_rest_passes_through() -> None:
    from agent.model import Direction, ProofKind, Replay

    inner = SlowSession()
    session = CoalescedSession(inner)
    effect = Effect(A, "disconnect", {}, "k", Replay.NEVER, ProofKind.GONE, 1)
    ticket = Ticket("p", 1, 1, Direction.FORWARD, 1, "slow/d", effect, {}, 0)
    assert session.target is inner.target
    assert await session.bind(effect) == {A: Seen({}, 7)}
    assert (await session.send(ticket)).reason == "p"
    await session.settle()
    assert inner.broken


class BindsByReading(SlowSession):
    """Reads the address of an effect to bind it."""

    def read_through(self, read: ReadAddresses) -> None:
        self.shared = read

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        return await self.shared([effect.address])


async def test_effects_that_bind_at_once_share_a_read() -> None:
    inner = BindsByReading()
    session = CoalescedSession(inner)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.read, [A])
        await wait_all_tasks_blocked()
        for where in (B, C):
            effect = Effect(where, "disconnect", {}, "k", Replay.NEVER, None, 0)
            nursery.start_soon(session.bind, effect)
    assert [sorted(read) for read in inner.reads] == [[A], [B, C]]
