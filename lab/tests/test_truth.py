"""The ground truth of lines, and the staff, CPE and NAS that change it behind everybody's back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from lab.errors import UnknownFaultError
from lab.faults import parse_fault
from lab.isp import Isp
from lab.nas import Nas
from lab.population import TARIFFS
from lab.radius_codec import Code
from lab.staff import ACTS, Staff, write_disabled_group
from lab.tests.labs import dac, named, small_isp, somebody, suspend
from lab.truth import History, LineState


@asynccontextmanager
async def stage(folder: Path, **options: Any) -> AsyncIterator[tuple[Isp, History, Staff]]:
    """An ISP with daloRADIUS' group, its history and its staff."""
    async with small_isp(folder, **options) as isp:
        await write_disabled_group(isp)
        yield isp, History(isp), Staff(isp, 7)


async def next_of(history: History, login: str) -> tuple[bool, bool]:
    """Return whether the login is accepted now, and into the garden."""
    found = (await history.sample(login)).next
    return found.accepted, found.walled


async def open_rows(isp: Isp, login: str) -> int:
    sql = "SELECT COUNT(*) FROM radacct WHERE username = ? AND acctstoptime IS NULL"
    return int((await isp.database.fetch(sql, (login,)))[0][0])


async def test_each_act_of_staff_shows_in_the_next_login(tmp_path):
    async with stage(tmp_path) as (isp, history, staff):
        login = somebody(isp).login
        assert await next_of(history, login) == (True, False)
        for act in (staff.disable, staff.expire, staff.reject):
            await act(login)
            assert await next_of(history, login) == (False, False)
            await staff.enable(login)
            assert await next_of(history, login) == (True, False)
        await suspend(isp, login)
        assert await next_of(history, login) == (True, True)
        await staff.disable(login)
        assert await next_of(history, login) == (True, True), "the marker goes first, and falls through to nothing"
        await staff.unmark(login)
        assert await next_of(history, login) == (False, False)


async def test_rates_follow_groups_and_tariffs(tmp_path):
    async with stage(tmp_path) as (isp, history, staff):
        login = somebody(isp).login
        await staff.move(login)
        await staff.edit_tariff()
        rates = {t.group: staff.rates[t.name] for t in TARIFFS}
        rows = (await history.sample(login)).rows
        assert (await history.sample(login)).next.rate == rates[rows.groups[0].name]


@pytest.mark.parametrize(("exact", "walled"), [(False, {True, False}), (True, {False})])
async def test_rows_of_an_exact_history_hold_from_when_they_are_noted(exact: bool, walled: set[bool], tmp_path: Path):
    async with small_isp(tmp_path) as isp:
        history, login = History(isp, exact=exact), somebody(isp).login
        began = trio.current_time()
        await history.sample(login)
        await trio.sleep(0.01)
        before = trio.current_time()
        await suspend(isp, login)
        await history.sample(login)
        assert {state.next.walled for state in history.during(login, began, before)} == walled
        now = trio.current_time()
        assert {state.next.walled for state in history.during(login, now, now)} == {True}


async def test_every_stretch_of_time_has_what_was_so_then(tmp_path):
    async with stage(tmp_path) as (isp, history, _):
        old = somebody(isp)
        began = trio.current_time()
        await history.sample(old.login)
        await suspend(isp, old.login)
        await history.sample(old.login)
        written = trio.current_time()
        nas = isp.nas_of(old.login)
        with dac(nas) as c:
            await c.ask(Code.DISCONNECT_REQUEST, *named(old))
        with trio.fail_after(60):
            await nas.wait_for(lambda: any(s.walled for s in nas.sessions(old.login)))
        await history.sample(old.login)
        await trio.sleep(0.01)
        now = trio.current_time()

        def seen(start: float, end: float) -> set[tuple[tuple[bool, ...], bool]]:
            return {(tuple(s.walled for s in x.sessions), x.next.walled) for x in history.during(old.login, start, end)}

        assert seen(now, now) == {((True,), True)}
        assert seen(written, written) == {((False,), True)}
        assert seen(began, written) == {((False,), False), ((False,), True)}
        assert seen(began, now) == {((False,), False), ((False,), True), ((), True), ((True,), True)}
        latest = next(history.during(old.login, began, now))
        assert isinstance(latest, LineState)
        assert "garden" in latest.text()


async def test_lost_accounting_leaves_sessions_unknown_and_ghosts(tmp_path):
    async with stage(tmp_path) as (isp, _, staff):
        login = somebody(isp).login
        isp.set_fault("accounting-lost:100", login)
        await staff.power_cycle(login)
        (new,) = isp.sessions(login)
        assert await open_rows(isp, login) == 1, "the old session's Stop was lost"
        known = await isp.database.fetch("SELECT 1 FROM radacct WHERE acctsessionid = ?", (new.session_id,))
        assert known == [], "and the new one's Start"
        isp.clear_faults()
        await isp.nas_of(login).report(login)
        assert await open_rows(isp, login) == 2, "until its next Interim-Update"


@pytest.mark.parametrize("announced", [False, True])
async def test_a_nas_that_reboots_leaves_ghosts_unless_it_says_so(tmp_path, announced):
    async with stage(tmp_path, nas=1) as (isp, _, staff):
        nas: Nas = next(iter(isp.nas.values()))
        before = {s.session_id for s in isp.sessions()}
        await staff.reboot(nas.options.name, announced=announced)
        after = {s.session_id for s in isp.sessions()}
        assert len(after) == len(before)
        assert not after & before
        rows = await isp.database.fetch("SELECT COUNT(*) FROM radacct WHERE acctstoptime IS NULL")
        assert int(rows[0][0]) == len(after) + (0 if announced else len(before))


async def test_a_cpe_that_dialed_in_after_a_reboot_dials_no_more(tmp_path):
    async with stage(tmp_path, nas=1) as (isp, _, _staff):
        nas: Nas = next(iter(isp.nas.values()))
        lost = await nas.reboot(announced=False)
        await nas.dial(lost[0])
        await nas.dial_all([*lost, "a login of before"])
        assert {login: len(nas.sessions(login)) for login in lost} == dict.fromkeys(lost, 1)


async def test_a_changed_login_is_dialed_by_the_same_cpe(tmp_path):
    async with stage(tmp_path) as (isp, history, staff):
        login = somebody(isp).login
        await staff.rename(login)
        new = staff.current[login]
        assert new != login
        assert [s.login for s in isp.sessions(new)] == [new]
        assert isp.sessions(login) == ()
        assert await next_of(history, login) == (False, False)
        assert await next_of(history, new) == (True, False)
        await staff.rename(login)
        assert staff.current[login] == login
        assert isp.sessions(login)


async def test_the_same_dice_give_the_same_deeds(tmp_path):
    async def lived(name: str) -> list[tuple[str, str]]:
        (tmp_path / name).mkdir()
        async with stage(tmp_path / name) as (isp, _, staff):
            login = min(s.login for s in isp.sessions())
            for _ in range(12):
                await staff.act(login)
            return [(d.login, d.what.partition(" dialed")[0]) for d in staff.of(login, 12)]

    first = await lived("a")
    assert first == await lived("b")
    assert len({what for _, what in first}) > 3
    assert len(ACTS) > 10


@pytest.mark.parametrize("text", ["accounting-lost", "accounting-lost:101", "accounting-lost:x"])
def test_a_share_of_lost_packets_is_a_per_cent(text):
    with pytest.raises(UnknownFaultError, match=r"accounting-lost:0\.\.100"):
        parse_fault(text)
