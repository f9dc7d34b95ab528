"""Rounds of drift: each difference within one round and nothing else; bounded, paced, and beside running changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio

from agent.changes import drifting
from agent.changes.drifting import PAUSE_S, SLICE, DriftTempo, DriftWatch, SourceFindings
from agent.connectors.base import LiveSession, NetworkState
from agent.connectors.spec import AccessMap
from agent.inventory import drift_book
from agent.inventory.drift_book import Difference, DriftRound, SaveRound, Unread
from agent.model import Access, Address, Seen, Service
from agent.reasons import DriftReason, ProofReason
from agent.runtime import redacting_log
from agent.services.network import NetworkReader
from agent.store.db import Tx
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.job import Rig, item
from tests.builders.store import AddServices
from tests.builders.world import FakeMethod, World

pytestmark = pytest.mark.virtual_time

ACCESS = (AccessMap("fake", "fake/d", frozenset({"20M", "50M"})),)
TEMPO = DriftTempo(3600, 5)
CUT = {"plan": "20M", "suspended": "yes"}


@pytest.fixture
def world() -> World:
    world = World()
    for n in range(8):
        world.add(f"u{n}", online=n % 2 == 0)
    return world


@pytest.fixture
async def rig(tmp_path: Path, world: World) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path, world, FakeClock())
    await rig.save_plan([item(1, "u0", world)])  # some event for reasons to stand on
    await rig.store.run(AddServices(tuple(f"u{n}" for n in range(8)), suspended=("u6", "u7")))
    for login in ("u6", "u7"):
        world.values[world.user(login)] = dict(CUT)
    yield rig
    rig.close()


@asynccontextmanager
async def watching(rig: Rig, tempo: DriftTempo = TEMPO, **more: Any) -> AsyncIterator[DriftWatch]:
    async with rig.parts() as parts:
        network = NetworkReader(parts.sessions, parts.access_methods)
        yield DriftWatch(parts, network, ACCESS, ZoneInfo("UTC"), tempo, **more)


async def one_round(rig: Rig, tempo: DriftTempo = TEMPO, **more: Any) -> DriftRound:
    async with watching(rig, tempo, **more) as watch:
        return await watch.round()


def listed(rig: Rig) -> dict[str, str]:
    return {one.difference.subject: one.difference.code for one in drift_book.differences(rig.store.query)}


async def test_a_clean_network_has_no_difference(rig: Rig) -> None:
    done = await one_round(rig)
    assert (done.services, done.checked, done.differ, done.unread, done.busy) == (8, 8, 0, 0, 0)
    assert not done.alarm
    assert listed(rig) == {}
    assert drift_book.last_round(rig.store.query) == replace(done, id=1)
    open_one = replace(done, ways_out=("DNS to any server",))
    await rig.store.run(SaveRound(open_one, (), ()))
    assert drift_book.last_round(rig.store.query) == replace(open_one, id=2)


async def test_each_difference_is_found_in_one_round_and_nothing_else(rig: Rig, world: World) -> None:
    world.values[world.user("u0")] = dict(CUT)  # suspended by hand
    world.values[world.user("u1")] = {"plan": "50M"}
    world.values[world.user("u2")] = {"plan": "20M", "rejected": "Auth-Type"}
    del world.values[world.user("u3")]
    world.values[world.user("u6")] = {"plan": "20M"}  # let in by hand
    done = await one_round(rig)
    assert listed(rig) == {
        "C-u0/home": DriftReason.SUSPENDED_UNRECORDED,
        "C-u1/home": DriftReason.TARIFF_DIFFERS,
        "C-u2/home": DriftReason.LOGIN_REJECTED,
        "C-u3/home": DriftReason.LOGIN_MISSING,
        "C-u6/home": DriftReason.SUSPENSION_GONE,
    }
    assert (done.checked, done.differ) == (8, 5)


async def test_nothing_is_sent_and_nothing_mends_itself(rig: Rig, world: World) -> None:
    world.values[world.user("u6")] = {"plan": "20M"}
    size = rig.store.size
    await one_round(rig)
    await one_round(rig)
    assert (world.writes, world.kicks, rig.store.size) == ([], [], size)
    assert listed(rig) == {"C-u6/home": DriftReason.SUSPENSION_GONE}


async def test_a_differences_begin_stays_and_what_is_mended_is_gone(rig: Rig, world: World) -> None:
    world.values[world.user("u6")] = {"plan": "20M"}
    await one_round(rig)
    first = drift_book.differences(rig.store.query)[0]
    await rig.clock.sleep(5000)
    world.values[world.user("u0")] = dict(CUT)
    await one_round(rig)
    by_subject = {one.difference.subject: one for one in drift_book.differences(rig.store.query)}
    assert by_subject["C-u6/home"].first_s == first.first_s
    assert by_subject["C-u6/home"].difference.read_s > first.difference.read_s + 4999
    assert by_subject["C-u0/home"].first_s == by_subject["C-u0/home"].difference.read_s
    world.values[world.user("u6")] = dict(CUT)
    await one_round(rig)
    assert list(listed(rig)) == ["C-u0/home"]


async def test_what_cannot_be_read_is_neither_different_nor_fine(rig: Rig, world: World) -> None:
    world.values[world.user("u6")] = {"plan": "20M"}
    world.dead.add("fake/d")
    done = await one_round(rig)
    assert (done.checked, done.differ, done.unread) == (0, 0, 8)
    assert listed(rig) == {}
    assert {one.why for one in drift_book.unread(rig.store.query)} == {"fake/d is dead"}


async def test_an_older_row_beside_a_newer_session_is_told_as_unread(rig: Rig) -> None:
    """Nobody asked its device whether that session is over: it is no difference, and not fine either."""

    class Rows(FakeMethod):
        def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
            state = super().network_state(service, seen)
            if service.login != "u6":
                return state
            row = LiveSession(
                "bng", "accounting", 200, "", {"sid": "2"}, state.access, ProofReason.NOT_TOLD, may_be_over=True
            )
            return replace(state, sessions=(replace(row, since_s=100, carries=Access.ACTIVE), row))

    rig.connector.access_methods = {"fake": Rows()}
    done = await one_round(rig)
    assert (done.checked, done.differ, done.unread) == (7, 0, 1)
    (one,) = drift_book.unread(rig.store.query)
    assert (one.subject, one.why.partition(" (")[0]) == ("C-u6/home", "whether an older session is over")


async def test_services_that_nobody_can_check_are_named(rig: Rig, world: World) -> None:
    await rig.store.run(AddServices(("away",), method="gone"))

    @dataclass(frozen=True)
    class Share:
        def run(self, tx: Tx) -> None:
            tx.run("UPDATE service SET login = 'u1' WHERE ref = 'C-u0/home'")

    await rig.store.run(Share())
    done = await one_round(rig)
    why = {one.subject: one.why for one in drift_book.unread(rig.store.query)}
    assert why == {
        "C-away/home": "no access mapping for method gone",
        "C-u0/home": "its login is that of another service too",
        "C-u1/home": "its login is that of another service too",
    }
    assert (done.checked, done.unread) == (6, 3)


# --- beside changes, and while rows are being edited ---


async def test_a_service_that_a_running_change_touches_is_not_judged(rig: Rig, world: World) -> None:
    for login in ("u1", "u3"):
        world.values[world.user(login)] = {"plan": "50M"}
    plan_id = await rig.save_plan([item(1, "u1", world)])
    done = await one_round(rig)
    assert (done.busy, len(listed(rig))) == (0, 2)  # it only waits for approval
    await rig.consume(plan_id)
    done = await one_round(rig)
    assert (done.busy, list(listed(rig))) == (1, ["C-u3/home"])


async def test_a_change_between_two_reads_is_no_difference(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u1", world)])
    async with watching(rig) as watch:
        read = watch._network.read_states

        async def suspended_meanwhile(services: Sequence[Any]) -> Any:
            watch._network.read_states = read  # type: ignore[method-assign]  # seen on its way
            await rig.apply(plan_id)
            return await read(services)

        watch._network.read_states = suspended_meanwhile  # type: ignore[method-assign]  # between snapshot and read
        done = await watch.round()
    assert (done.busy, listed(rig)) == (1, {})
    assert (await one_round(rig)).differ == 0


async def test_rows_that_are_just_being_edited_are_no_difference(rig: Rig, world: World) -> None:
    world.values[world.user("u1")] = {"plan": "50M"}  # deleted and written anew, in two transactions

    async with watching(rig) as watch, trio.open_nursery() as nursery:

        async def staff() -> None:
            await trio.sleep(PAUSE_S / 2)
            world.values[world.user("u1")] = {"plan": "20M"}

        nursery.start_soon(staff)
        done = await watch.round()
    assert (done.differ, listed(rig)) == (0, {})


# --- alarm ---


async def test_one_alarm_instead_of_thousands(rig: Rig, world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agent.drift")
    for n in range(6):
        world.values[world.user(f"u{n}")] = {"plan": "50M"}
    assert (await one_round(rig)).alarm
    assert (await one_round(rig)).alarm
    for n in range(6):
        world.values[world.user(f"u{n}")] = {"plan": "20M"}
    assert not (await one_round(rig)).alarm
    said = [(r.levelname, redacting_log._line(r, ours=True)) for r in caplog.records]
    assert [level for level, _ in said] == ["WARNING", "INFO", "INFO"]  # it begins, goes on, and is over
    assert '"count":6' in said[0][1]
    assert "u0" not in said[0][1]


async def test_a_few_services_are_no_alarm(rig: Rig, world: World) -> None:
    world.values[world.user("u0")] = {"plan": "50M"}  # 12 %
    assert not (await one_round(rig)).alarm


# --- other sources, unknown logins ---


async def test_logins_that_no_service_has(rig: Rig, world: World) -> None:
    rig.census = {"fake/d": Address("fake/d/online/all"), "fake/r": Address("fake/r/online/all")}
    world.sessions["Stranger"] = 1
    done = await one_round(rig)
    assert listed(rig) == {"login Stranger": DriftReason.UNKNOWN_LOGIN}
    assert (done.services, done.checked, done.differ) == (8, 9, 1)  # never more that differ than were looked at


async def test_logins_that_cannot_be_read_are_not_checked(rig: Rig, world: World) -> None:
    rig.census = {"fake/d": Address("fake/d/online/all")}
    world.dead.add("fake/d")
    done = await one_round(rig)
    assert drift_book.unread(rig.store.query)[-1] == Unread("logins online on fake/d", "fake/d is dead")
    assert done.unread == 9


async def test_strange_logins_that_are_not_listed_are_counted(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drifting, "LOGINS_MAX", 2)
    rig.census = {"fake/d": Address("fake/d/online/all")}
    world.sessions |= {f"stranger-{n}": 1 for n in range(5)}
    await one_round(rig)
    assert list(listed(rig)) == ["login stranger-0", "login stranger-1"]
    (rest,) = drift_book.unread(rig.store.query)
    assert rest == Unread("logins online on fake/d", "3 more have no service: they are not listed one by one")


async def test_a_service_is_compared_with_its_record_of_now(rig: Rig, world: World) -> None:
    """A round over thousands takes minutes: a change that ends within is in the record by its service's turn."""
    async with watching(rig) as watch:
        sleep = rig.clock.sleep

        async def suspended(seconds: float) -> None:
            if not rig.store.query("SELECT 1 FROM reason WHERE service = 'C-u5/home'"):
                await rig.store.run(AddServices((), suspended=("u5",)))
            await sleep(seconds)

        rig.clock.sleep = suspended  # type: ignore[method-assign]  # between two slices
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drifting, "SLICE", 4)
            await watch.round()
    assert listed(rig) == {"C-u5/home": DriftReason.SUSPENSION_GONE}


async def test_other_sources_are_listed_beside(rig: Rig) -> None:
    cpe = Difference("cpe 1", "cpe-differs", "a", "b", "acs", 1, "c")

    async def source() -> SourceFindings:
        return SourceFindings((cpe,), (drift_book.Unread("cpe 2", "never read"),), 5)

    done = await one_round(rig, sources=[source])
    assert (done.checked, done.differ, done.unread) == (13, 1, 1)
    assert listed(rig) == {"cpe 1": "cpe-differs"}


async def test_sessions_that_a_round_sees_are_told_of(rig: Rig) -> None:
    told: list[str] = []

    async def seen(sessions: Iterable[tuple[str, LiveSession]]) -> None:
        told.extend(service for service, _ in sessions)

    await one_round(rig, seen=seen)
    assert told == ["C-u0/home", "C-u2/home", "C-u4/home", "C-u6/home"]


async def test_a_service_that_is_removed_takes_its_difference_along(rig: Rig, world: World) -> None:
    world.values[world.user("u6")] = {"plan": "20M"}
    await one_round(rig)

    @dataclass(frozen=True)
    class Remove:
        def run(self, tx: Tx) -> None:
            tx.run("DELETE FROM service WHERE ref = 'C-u6/home'")

    await rig.store.run(Remove())
    assert listed(rig) == {}


# --- the loop ---


async def test_rounds_begin_by_themselves_and_by_hand(rig: Rig) -> None:
    async with watching(rig) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(59)
        assert watch.last() is None
        await trio.sleep(10)
        assert watch.last() is not None
        await trio.sleep(1800)
        watch.start()
        assert watch.running
        watch.start()  # one is enough
        await trio.sleep(1)
        last = present(watch.last())
        assert (last.id, watch.running) == (2, False)
        await trio.sleep(3000)
        assert watch.last() == last
        await trio.sleep(700)
        now = present(watch.last())
        assert now.id == 3
        nursery.cancel_scope.cancel()


async def test_without_a_pace_there_are_rounds_by_hand_only(rig: Rig) -> None:
    async with watching(rig, DriftTempo(0, 5)) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(10**6)
        assert watch.last() is None
        watch.start()
        await trio.sleep(10)
        assert watch.last() is not None
        nursery.cancel_scope.cancel()


async def test_a_round_over_many_is_read_in_slices(tmp_path: Path) -> None:
    world = World()
    logins = tuple(f"m{n:04}" for n in range(SLICE * 3 + 1))
    for login in logins:
        world.add(login, online=False)
    rig = Rig(tmp_path, world, FakeClock())
    rig.without_fsync()
    await rig.store.run(AddServices(logins))
    world.values[world.user("m0500")] = {"plan": "50M"}
    async with watching(rig) as watch:
        sizes: list[int] = []
        read = watch._network.read_states

        async def counted(services: Sequence[Any]) -> Any:
            sizes.append(len(services))
            return await read(services)

        watch._network.read_states = counted  # type: ignore[method-assign]  # seen on its way
        began = trio.current_time()
        done = await watch.round()
        assert trio.current_time() - began >= 4 * PAUSE_S
    assert sizes == [SLICE, SLICE, SLICE, 1, 1]
    assert (done.checked, list(listed(rig))) == (len(logins), ["C-m0500/home"])
    rig.close()
