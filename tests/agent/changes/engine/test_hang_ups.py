"""A device that calls in and hangs up before anything was sent is waited for again; nothing is held meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.authority import stops
from agent.connectors.base import Busy, LostError, NotSentError, Reach, Reply, Session, UnreadableError
from agent.model import Address, ItemState, Seen, Target, Ticket
from agent.reasons import TargetReason
from agent.services.network import as_read
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import FakeSession, World
from trust.statements import Freeze, FreezeScope, Unfreeze

pytestmark = pytest.mark.virtual_time

S = ItemState
READ_S = 600.0
"""How long a read waits for a device that is not on the line."""


class ShortCall(FakeSession):
    """A session that its device ends at the first call of `until`: `busy`, `read` or `send`."""

    def __init__(self, world: World, target: Target, until: str) -> None:
        super().__init__(world, target)
        self._until, self._over = until, False

    def _ends(self, call: str) -> bool:
        self._over = self._over or call == self._until
        return self._over

    async def busy(self) -> Busy | None:
        over = self._ends("busy")
        return Busy(TargetReason.NOT_ON_THE_LINE, "it is not on the line") if over else await super().busy()

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        if self._over:
            await trio.sleep(READ_S)
        if self._ends("read"):
            raise UnreadableError("it ended its session", reason=TargetReason.SESSION_ENDED)
        return await super().read(addresses)

    async def send(self, ticket: Ticket) -> Reply:
        if self._ends("send"):
            raise NotSentError("it ended its session", reason=TargetReason.SESSION_ENDED)
        return await super().send(ticket)


def calls_in(rig: Rig, until: str) -> None:
    """Let the device call in each minute; its first session ends at `until`."""

    async def serve(arrived: Callable[[Session], Awaitable[None]]) -> None:
        target = rig.connector.targets[0]
        await trio.sleep(60)
        await arrived(ShortCall(rig.world, target, until))
        while True:
            await trio.sleep(60)
            await arrived(FakeSession(rig.world, target))

    rig.connector.serve = serve  # type: ignore[method-assign]  # a stand-in of the test


@pytest.mark.parametrize(
    ("until", "rests"), [("busy", False), ("busy", True), ("read", True), ("send", False), ("send", True)]
)
async def test_hung_up_before_the_first_byte_is_waited_for(
    tmp_path: Path, world: World, until: str, rests: bool
) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    one = item(1, "u0", world)
    if rests:
        other = world.user("u1")
        one = replace(one, requires=(as_read(other, world.values[other]),))
    calls_in(rig, until)
    plan_id = await rig.consumed([one])
    seen: list[object] = []

    async def look() -> None:
        await trio.sleep(90)
        held = rig.store.query("SELECT 1 FROM address_lock")
        seen.extend((len(held), len(world.writes)))

    began = trio.current_time()
    assert await rig.apply(plan_id, look) == ""
    assert (rig.states(plan_id), len(world.writes), world.kicks) == ([S.APPLIED], 1, ["u0"])
    assert seen == [0, 0]
    assert trio.current_time() - began < READ_S, "nobody waited for a line that was dead"
    rig.close()


class LosesFirst(FakeSession):
    """A session that loses the first request. Its device is off the line for a minute before the next one."""

    sends, back_s = 0, 0.0

    async def busy(self) -> Busy | None:
        off = trio.current_time() < self.back_s
        return Busy(TargetReason.NOT_ON_THE_LINE, "it is not on the line") if off else await super().busy()

    async def send(self, ticket: Ticket) -> Reply:
        self.sends += 1
        if self.sends == 1:
            raise LostError("no answer came", reason=TargetReason.TIMEOUT)
        if self.sends == 2:
            self.back_s = trio.current_time() + 60
            raise NotSentError("it ended its session", reason=TargetReason.SESSION_ENDED)
        return await super().send(ticket)


async def test_hung_up_after_a_lost_try_is_waited_for_as_begun(tmp_path: Path, world: World) -> None:
    """Its addresses stay its own: something was sent."""
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    plan_id = await rig.consumed([item(1, "u0", world)])
    seen: list[object] = []

    async def serve(arrived: Callable[[Session], Awaitable[None]]) -> None:
        await trio.sleep(60)
        await arrived(LosesFirst(world, rig.connector.targets[0]))

    async def look() -> None:
        await trio.sleep(90)
        seen.extend((rig.states(plan_id)[0], len(rig.store.query("SELECT 1 FROM address_lock"))))

    rig.connector.serve = serve  # type: ignore[method-assign]  # a stand-in of the test
    assert await rig.apply(plan_id, look) == ""
    assert (rig.states(plan_id), len(world.writes), world.kicks) == ([S.APPLIED], 1, ["u0"])
    assert seen == [S.UNKNOWN, 3]
    rig.close()


async def test_who_hangs_up_in_a_freeze_is_waited_for(tmp_path: Path, world: World) -> None:
    """Its session of then was kept, and each later call went unseen until the freeze was lifted."""
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    calls_in(rig, "busy")
    plan_id = await rig.consumed([item(1, "u0", world)])
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)
    await rig.store.run(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))

    async def look() -> None:
        await trio.sleep(100)
        (held,) = rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()
        assert (rig.states(plan_id), held) == ([S.WAITING], 0)
        unfreeze = Unfreeze("1" * 32, bytes(32).hex(), "joseph", 0)
        await rig.store.run(stops.RecordUnfreeze(unfreeze, b"e", rig.recorder.record(None, {})))
        await trio.sleep(25)
        assert rig.states(plan_id) == [S.APPLIED], "at its second call"

    await rig.apply(plan_id, look)
    assert rig.states(plan_id) == [S.APPLIED]
    rig.close()
