"""Sessions that are dialed and held, and devices that call in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agent.changes.engine.sessions import CoalescedSession, Sessions
from agent.connectors.base import Reach, Session, UnreadableError
from agent.model import Address, Effect, ProofKind, Replay, Seen, Target
from tests.builders.world import FakeConnector, FakeSession, World


class CountingConnector(FakeConnector):
    def __init__(self, *, fails: int = 0, kind: type[FakeSession] = FakeSession) -> None:
        super().__init__(World())
        self.kind = kind
        self.open, self.dialed, self.fails = 0, 0, fails
        self.opened: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[Session]:
        await trio.sleep(1)
        self.dialed += 1
        if self.fails:
            self.fails -= 1
            raise UnreadableError("no route", reason="unreachable")
        self.open += 1
        self.opened()
        try:
            yield self.kind(self.world, target)
        finally:
            self.open -= 1


async def test_a_dialed_session_is_opened_once_and_shared(autojump_clock: MockClock) -> None:
    connector = CountingConnector()
    sessions = Sessions({"fake": connector})
    got: list[object] = []

    async def use() -> None:
        async with sessions.use("fake/d") as session:
            got.append(session)
            got.append(await sessions.places("fake/d"))

    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        async with trio.open_nursery() as users:
            for _ in range(5):
                users.start_soon(use)
        assert connector.dialed == connector.open == 1
        assert len(set(map(id, got))) == 2
        places = await sessions.places("fake/d")
        assert places.value == places.max_value == connector.traits.window
        assert isinstance(await sessions.dialed("fake/d"), CoalescedSession)
        nursery.cancel_scope.cancel()
    assert connector.open == 0


async def test_a_failed_dial_is_unreadable_and_tried_again(autojump_clock: MockClock) -> None:
    sessions = Sessions({"fake": CountingConnector(fails=1)})
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        with pytest.raises(UnreadableError, match="no route"):
            await sessions.dialed("fake/d")
        await sessions.dialed("fake/d")
        nursery.cancel_scope.cancel()


async def test_unknown_targets_and_a_stopped_agent(autojump_clock: MockClock) -> None:
    sessions = Sessions({"fake": CountingConnector()})
    with pytest.raises(UnreadableError) as caught:
        sessions.arrives("fake/other")
    assert caught.value.reason == "unknown-target"
    with pytest.raises(UnreadableError) as caught:
        await sessions.dialed("fake/d")
    assert caught.value.reason == "stopped"


async def test_a_session_that_is_kept_outlives_the_stop(autojump_clock: MockClock) -> None:
    connector = CountingConnector()
    sessions = Sessions({"fake": connector})
    log: list[str] = []

    async def step(task_status: trio.TaskStatus[None]) -> None:
        await sessions.dialed("fake/d")
        async with sessions.kept("fake/d"):
            with trio.CancelScope(shield=True):
                task_status.started()
                await trio.sleep(5)
                log.append(f"{connector.open} open, {await sessions.dialed('fake/d') is not None}")
        with pytest.raises(trio.Cancelled):
            async with sessions.kept("fake/d"):
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        await nursery.start(step)
        nursery.cancel_scope.cancel()
    assert log == ["1 open, True"]
    assert connector.open == 0
    with pytest.raises(UnreadableError) as caught:
        async with sessions.kept("fake/d"):
            pytest.fail("it is closed")
    assert caught.value.reason == "stopped"


@pytest.mark.parametrize("stopped", [True, False])
async def test_a_session_that_closes_under_a_read_is_unreadable(stopped: bool, autojump_clock: MockClock) -> None:
    """Reads are shielded, so that a stop closes sessions under them; what fails then is no crash. Else it is one."""

    class Failing(FakeSession):
        async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
            await trio.sleep(5)
            raise RuntimeError("Nursery is closed to new arrivals")

    sessions = Sessions({"fake": CountingConnector(kind=Failing)})
    caught: list[Exception] = []

    async def read(session: Session) -> None:
        with trio.CancelScope(shield=True):
            try:
                await session.read(["fake/d/a"])
            except Exception as err:  # noqa: BLE001  # whichever it is
                caught.append(err)

    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        session = await sessions.dialed("fake/d")
        nursery.start_soon(read, session)
        await trio.sleep(1)
        if stopped:
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        nursery.cancel_scope.cancel()
    (err,) = caught
    if stopped:
        assert isinstance(err, UnreadableError)
        assert (err.reason, str(err)) == ("stopped", "the session of fake/d is closed")
    else:
        assert isinstance(err, RuntimeError)


async def test_who_is_cancelled_while_opening_leaves_nothing_open(autojump_clock: MockClock) -> None:
    """Also at the very moment at which it is open: trio then leaves it with whoever is cancelled."""
    connector = CountingConnector()
    sessions = Sessions({"fake": connector})
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        with trio.CancelScope() as caller:
            connector.opened = caller.cancel
            await sessions.dialed("fake/d")
        assert caller.cancelled_caught
        assert connector.open == 0
        connector.opened = lambda: None
        await sessions.dialed("fake/d")
        assert connector.open == 1
        nursery.cancel_scope.cancel()
    assert connector.open == 0


class Line:
    """Sessions that arrive when told to, each held by a task of its own."""

    def __init__(self) -> None:
        self.connector = FakeConnector(World(), Reach.ARRIVE)
        self.connector.serve = self._serve  # type: ignore[method-assign]  # a stand-in of the test
        self.sessions = Sessions({"fake": self.connector})
        self.arrived: Callable[[Session], Awaitable[None]] | None = None
        self.hung_up: list[Session] = []
        self.make: type[FakeSession] = FakeSession

    async def _serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        self.arrived = arrived

    async def call_in(self, nursery: trio.Nursery) -> Session:
        session = self.make(self.connector.world, self.connector.targets[0])

        async def line() -> None:
            assert self.arrived is not None
            await self.arrived(session)
            self.hung_up.append(session)

        nursery.start_soon(line)
        await wait_all_tasks_blocked()
        return session


@asynccontextmanager
async def lines() -> AsyncIterator[tuple[Line, trio.Nursery]]:
    line = Line()
    async with trio.open_nursery() as nursery:
        await line.sessions.host(nursery)
        await wait_all_tasks_blocked()
        yield line, nursery
        nursery.cancel_scope.cancel()


async def test_nobody_wants_it_so_it_hangs_up() -> None:
    async with lines() as (line, nursery):
        assert line.hung_up == [await line.call_in(nursery)]


async def test_it_is_lent_to_all_who_wait_and_ends_with_the_last() -> None:
    async with lines() as (line, nursery):
        assert line.sessions.arrives("fake/d")
        got: list[Session] = []
        leave = [trio.Event(), trio.Event()]

        async def work(event: trio.Event) -> None:
            async with line.sessions.use("fake/d") as session:
                got.append(session)
                await event.wait()

        for event in leave:
            nursery.start_soon(work, event)
        await wait_all_tasks_blocked()
        assert got == []
        session = await line.call_in(nursery)
        assert got == [session, session]
        leave[0].set()
        await wait_all_tasks_blocked()
        assert line.hung_up == []
        leave[1].set()
        await wait_all_tasks_blocked()
        assert line.hung_up == [session]


async def test_who_gives_up_waiting_does_not_hold_the_next_session(autojump_clock: MockClock) -> None:
    async with lines() as (line, nursery):
        with trio.move_on_after(60) as scope:
            async with line.sessions.use("fake/d"):
                pytest.fail("nobody called in")
        assert scope.cancelled_caught
        assert line.hung_up == [await line.call_in(nursery)]


async def test_a_device_that_calls_in_twice() -> None:
    async with lines() as (line, nursery):
        leave = trio.Event()

        async def work() -> None:
            async with line.sessions.use("fake/d"):
                await leave.wait()

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        first = await line.call_in(nursery)
        second = await line.call_in(nursery)
        leave.set()
        await wait_all_tasks_blocked()
        assert sorted(map(id, line.hung_up)) == sorted(map(id, [first, second]))
        assert line.hung_up[2:] == []
        third = await line.call_in(nursery)
        assert line.hung_up[2:] == [third]


class TellingSession(FakeSession):
    """A device whose effects, but for one kind, prove themselves by what it tells when it calls in."""

    def tells(self, effect: Effect) -> bool:
        return effect.verb != "diagnose"


@pytest.mark.parametrize(("made", "verb", "held"), [
    (TellingSession, "firmware", False),
    (TellingSession, "diagnose", True),
    (FakeSession, "firmware", True),
])  # fmt: skip
async def test_d6_a_device_that_tells_its_proof_by_itself_is_not_held(
    made: type[FakeSession], verb: str, held: bool
) -> None:
    """Each of its sessions is let go, also those that it opens while its proof is awaited."""
    async with lines() as (line, nursery):
        line.make = made
        leave = trio.Event()

        async def work() -> None:
            async with line.sessions.for_item("fake/d") as lent:
                lent.let_go(Effect(Address("fake/d/@it"), verb, {}, "key", Replay.NEVER, ProofKind.EQUAL, 60))
                await leave.wait()
                assert (await lent.at("fake/d")).target.id == "fake/d", "it is read by the item still"

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        first = await line.call_in(nursery)
        assert (first not in line.hung_up) is held
        second = await line.call_in(nursery)
        assert (second not in line.hung_up) is held
        leave.set()
        await wait_all_tasks_blocked()
        assert first in line.hung_up
