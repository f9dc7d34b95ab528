"""Sessions, whatever accounting says: packets that get lost, rows of sessions that are over, rows edited by hand.

What the agent says is compared with the BNG itself, never with the tables. Each case runs on the lab's own RADIUS
server, and on the real one with PostgreSQL and MariaDB.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agent.connectors.radius import answers
from lab.isp import Isp
from lab.population import LabService
from lab.radius_codec import Code
from lab.sessions import Session
from tests.e2e.accounting import add_ghost, dial_unknown, mark, unmark, until_known
from tests.e2e.files import dsn_of, ordinary, real_radius, ref_of
from tests.e2e.site import END_S, ApiRefusedError, Json, Site, at_work, item_states, items_of, state_of
from tests.marks import slow_unless
from tests.servers import Cluster, FreeRadius

Case = Callable[[Isp, Site], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Add a case to those that run on each server."""
    CASES[function.__name__] = function
    return function


# --- what is there --------------------------------------------------------------------------------------------------


def only(isp: Isp, service: LabService) -> Session:
    (session,) = isp.sessions(service.login)
    return session


def asked(isp: Isp, service: LabService, since: int = 0) -> list[tuple[str, str]]:
    """Return session id and outcome of the Disconnect-Requests about a login, at all BNG."""
    found = [r for nas in isp.nas.values() for r in nas.received if r.login == service.login]
    return [(r.session_id, r.outcome) for r in found if r.code == Code.DISCONNECT_REQUEST][since:]


def detail(change: Json) -> str:
    (only_one,) = change["items"]
    return str(only_one["detail"])


# --- sessions that accounting does not know ---------------------------------------------------------------------------


@case
async def suspended_though_accounting_knows_no_session(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    old = await dial_unknown(isp, service)
    change = await site.ask("suspend", ref_of(service))
    assert "by-user-name=bng-1,bng-2" in str(items_of(change)[0].steps[1].do) or "by-user-name" in str(
        items_of(change)[0].steps[1].do
    )
    done = await site.apply(change)
    assert state_of(done) == ("applied", "garden")
    assert only(isp, service) is not old
    assert only(isp, service).walled


@case
async def restored_though_accounting_knows_no_session(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await site.do("suspend", ref_of(service), reason="request")
    old = await dial_unknown(isp, service)
    assert old.walled
    done = await site.do("restore", ref_of(service), reason="request")
    assert state_of(done)[0] == "applied"
    assert not only(isp, service).walled


@case
async def offline_is_proven_by_every_nas(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await isp.hang_up(service.login)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("set-at-next-login", "none-known")
    assert "bng-1, bng-2" in detail(done)
    assert asked(isp, service) == [("", "nak:503")] * 2


@case
async def a_nas_that_does_not_answer_leaves_it_unproven(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    old = await dial_unknown(isp, service)
    isp.set_fault("silence", service.login)
    done = await site.do("suspend", ref_of(service))
    assert (state_of(done), done["exit"]) == (("set-not-enforced", "not-proven"), 4)
    home = isp.nas_of(service.login).options.name
    assert detail(done).startswith("not proven: accounting has no session and ")
    assert f"{home} did not answer" in detail(done)
    assert only(isp, service) is old
    isp.clear_faults()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "SILENT_S", 0)  # a NAS that was silent is left alone for a while
        await site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        assert state_of(await site.wait_end(done)) == ("applied", "garden")
    assert only(isp, service).walled


@case
async def another_reason_asks_for_what_nobody_saw_ended(isp: Isp, site: Site) -> None:
    """The record of an unproven suspension vouches for no session; simulated seed 29480425 was believed by it."""
    (service,) = ordinary(isp, 1)
    old = await dial_unknown(isp, service)
    isp.set_fault("nak:508", service.login)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("set-not-enforced", "not-proven")
    assert only(isp, service) is old
    isp.clear_faults()
    told = await site.ask("suspend", ref_of(service), reason="request")
    assert f"change {done['id']} is set-not-enforced for it" in items_of(told)[0].display["why"]
    assert state_of(await site.apply(told)) == ("applied", "garden")
    assert only(isp, service).walled
    lifted = await site.do("restore", ref_of(service), reason="request")
    assert state_of(lifted) == ("applied", "recorded")


@case
async def a_disconnect_ends_a_session_that_accounting_does_not_know(isp: Isp, site: Site) -> None:
    service, away = ordinary(isp, 2)
    old = await dial_unknown(isp, service)
    done = await site.do("disconnect", ref_of(service))
    assert state_of(done) == ("applied", "ack")
    assert old not in isp.sessions(service.login)
    await isp.hang_up(away.login)
    assert state_of(await site.do("disconnect", ref_of(away))) == ("applied", "no-session")


@case
async def a_redial_that_accounting_does_not_know_is_not_ended_again(isp: Isp, site: Site) -> None:
    """The Start of the garden session is lost too: it is said that nothing more is known, and nobody is thrown out."""
    (service,) = ordinary(isp, 1)
    await dial_unknown(isp, service)
    isp.set_fault("start-lost", service.login)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("set-not-enforced", "not-proven")
    assert "acknowledged the end of one, which nothing shows" in detail(done)
    assert [outcome for _, outcome in asked(isp, service)].count("ack") == 1
    assert only(isp, service).walled


# --- rows of sessions that are over -----------------------------------------------------------------------------------


@case
async def a_ghost_neither_fails_an_item_nor_stops_a_batch(isp: Isp, site: Site) -> None:
    chosen = ordinary(isp, 4)
    for service in chosen[:2]:
        await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
    done = await site.do("suspend", *map(ref_of, chosen))
    assert set(item_states(done).values()) == {("applied", "garden")}
    assert all(only(isp, service).walled for service in chosen)
    assert not any(words in str(done["items"]) for words in ("carry on", "carries on"))


@case
async def a_ghost_of_somebody_offline(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await isp.hang_up(service.login)
    await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("set-at-next-login", "none-known")
    assert sorted(asked(isp, service)) == [("", "nak:503")] * 2 + [("ghost", "nak:503")]


@case
async def a_ghost_hides_no_session_that_accounting_does_not_know(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    old = await dial_unknown(isp, service)
    await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("applied", "garden")
    assert only(isp, service) is not old
    assert only(isp, service).walled


@case
async def a_row_on_a_nas_that_is_gone_is_not_checked_and_refuses_nothing(isp: Isp, site: Site) -> None:
    service, fresh = ordinary(isp, 2)
    await add_ghost(isp, service, "10.77.0.1")
    change = await site.ask("suspend", ref_of(service))
    assert "not checked, since on no configured NAS: online 3d on 10.77.0.1" in items_of(change)[0].display["now"]
    done = await site.apply(change)
    assert state_of(done) == ("applied", "garden")
    assert "not checked" in detail(done)
    assert only(isp, service).walled
    # One that accounting heard of an hour ago may well be online, where nobody can end it
    await add_ghost(isp, fresh, "10.77.0.1", age_s=3600)
    refused = await site.ask("suspend", ref_of(fresh), ref_of(service), reason="abuse")
    found = {i["service"]: (i["state"], i["reason"]) for i in refused["items"]}
    assert found[ref_of(fresh)] == ("blocked", "unknown-nas")


# --- what a second attempt ends ---------------------------------------------------------------------------------------


@case
async def a_lost_stop_is_asked_about_and_the_new_session_left_alone(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    old = only(isp, service)
    isp.set_fault("stop-lost", service.login)
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("applied", "garden")
    assert asked(isp, service) == [(old.session_id, "ack"), (old.session_id, "nak:503")]
    assert only(isp, service).walled


@case
async def a_lost_reply_and_a_lost_stop_end_the_new_session_of_nobody(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    old = only(isp, service)
    isp.set_fault("stop-lost", service.login)
    isp.set_fault("reply-lost", service.login)
    change = await site.ask("suspend", ref_of(service))
    await site.approve(change, "joseph")
    with trio.fail_after(END_S):
        while only_id(isp, service) in ("", old.session_id):  # noqa: ASYNC110  a BNG is watched
            await trio.sleep(0.01)
    new = only(isp, service)
    done = await site.wait_end(change)
    assert {sid for sid, _ in asked(isp, service)} == {old.session_id}
    assert only(isp, service) is new
    assert new.walled
    isp.clear_faults()
    # A retry asks about the old one only: its NAS denies it, and the new one is right
    if state_of(done)[0] == "set-not-enforced":
        await site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        done = await site.wait_end(done)
    assert state_of(done) == ("applied", "garden")
    assert {sid for sid, _ in asked(isp, service)} == {old.session_id}
    assert only(isp, service) is new


def only_id(isp: Isp, service: LabService) -> str:
    return "".join(s.session_id for s in isp.sessions(service.login))


# --- what is wanted, compared with the session ------------------------------------------------------------------------


@case
async def restored_where_the_row_was_removed_by_hand(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await site.do("suspend", ref_of(service), reason="request")
    await unmark(isp, service)
    assert only(isp, service).walled
    await until_known(isp, service)
    change = await site.ask("restore", ref_of(service), reason="request")
    (step,) = items_of(change)[0].steps
    assert step.do.verb == "disconnect"  # type: ignore[union-attr]  # no row changes: it is the effect
    done = await site.apply(change)
    assert state_of(done)[0] == "applied"
    assert not only(isp, service).walled


@case
async def suspended_where_the_row_was_added_by_hand(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await mark(isp, service)
    assert not only(isp, service).walled
    done = await site.do("suspend", ref_of(service))
    assert state_of(done) == ("applied", "garden")
    assert only(isp, service).walled


# --- closing rows of sessions that are over ---------------------------------------------------------------------------

STALE_ROW = "SELECT acctstoptime IS NULL, acctterminatecause FROM radacct WHERE username = ? ORDER BY radacctid"


async def rows_of(isp: Isp, service: LabService) -> list[tuple[bool, str]]:
    """Return of each row of a login whether it is open, and its cause."""
    return [(bool(still), str(cause or "")) for still, cause in await isp.database.fetch(STALE_ROW, (service.login,))]


@case
async def ghosts_are_closed_as_a_change_and_opened_again(isp: Isp, site: Site) -> None:
    service, gone, online = ordinary(isp, 3)
    await isp.hang_up(service.login)
    await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
    await add_ghost(isp, gone, "10.77.0.1")
    live = only(isp, online)
    before = [await rows_of(isp, s) for s in (service, gone, online)]
    refs = [ref_of(s) for s in (service, gone, online)]
    change = await site.ask("disconnect", *refs, on_failure="continue", settings={"silent-h": "24"})
    assert item_states(change)[ref_of(online)] == ("excluded", "already"), "accounting heard of it today"
    first = next(i for i in items_of(change) if i.subject == ref_of(service))
    assert "closed where the NAS denies it, ended where it does not (" in first.display["after"]
    done = await site.apply(change)
    assert item_states(done)[ref_of(service)][0] == item_states(done)[ref_of(gone)][0] == "applied"
    assert asked(isp, service) == [("ghost", "nak:503")]
    assert (await rows_of(isp, service))[-1] == (False, "Stale-Session")
    assert (await rows_of(isp, gone))[-1] == (False, "Stale-Session")
    assert only(isp, online) is live
    assert only(isp, gone).reaches_internet(), "its session is no ghost"
    # And back: what was closed here is open as it was
    back = await site.do("revert", change=done["id"])
    assert {state for state, _ in item_states(back).values()} == {"applied"}
    assert [await rows_of(isp, s) for s in (service, gone, online)] == before


@case
async def a_row_whose_session_lives_is_not_closed_as_stale(isp: Isp, site: Site) -> None:
    """Accounting is silent on it, and its NAS has it: the NAS ends it and tells accounting; nothing is made up."""
    (service,) = ordinary(isp, 1)
    await until_known(isp, service)
    long_ago = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3 * 86400))
    sql = "UPDATE radacct SET acctstarttime = ?, acctupdatetime = ? WHERE username = ? AND acctstoptime IS NULL"
    await isp.database.execute(sql, (long_ago, long_ago, service.login))
    old = only(isp, service)
    done = await site.do("disconnect", ref_of(service), settings={"silent-h": "24"})
    assert state_of(done)[0] == "applied"
    assert asked(isp, service) == [(old.session_id, "ack")]
    assert "Stale-Session" not in {cause for _, cause in await rows_of(isp, service)}


@case
async def a_row_whose_nas_does_not_answer_stays_open(isp: Isp, site: Site) -> None:
    (service,) = ordinary(isp, 1)
    await isp.hang_up(service.login)
    await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
    isp.set_fault("silence", service.login)
    done = await site.do("disconnect", ref_of(service), settings={"silent-h": "24"})
    assert state_of(done)[0] == "not-applied"
    assert (await rows_of(isp, service))[-1] == (True, "")
    isp.clear_faults()
    # Asked again without its hours it would be a plain disconnect, which ends sessions that live
    with pytest.raises(ApiRefusedError, match="ask for it by its own verb, ispagent session close-stale"):
        await site.ask("disconnect", change=done["id"])


# --- the servers ------------------------------------------------------------------------------------------------------

ISP = {"services": 12, "nas": 2}
WAITS = {"within_s": (3, 5)}


WAITING = {
    "a_lost_reply_and_a_lost_stop_end_the_new_session_of_nobody",
    "a_nas_that_does_not_answer_leaves_it_unproven",
    "a_row_whose_nas_does_not_answer_stays_open",
}
"""They wait half a minute for answers that do not come."""


@pytest.mark.parametrize("name", slow_unless(lambda name: name not in WAITING, CASES))
async def test_on_the_lab(tmp_path: Path, name: str) -> None:
    async with at_work(tmp_path, isp=ISP, **WAITS) as (isp, site):
        await CASES[name](isp, site)


async def test_close_stale_as_it_is_typed(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ISP, **WAITS) as (isp, site):
        (service,) = ordinary(isp, 1)
        await add_ghost(isp, service, isp.nas_of(service.login).options.accounting)
        typed = await site.files.type("session", "close-stale", ref_of(service), "--silent-hours", "48")
        assert typed.code == 0, typed.err
        assert "! disconnect radius/main/session/ghost-" in typed.out
        assert "closed where the NAS denies it" in typed.out
        none = await site.files.type("session", "close-stale", ref_of(service), "--silent-hours", "8000")
        assert "nothing would change" in none.err + none.out


@asynccontextmanager
async def on_freeradius(
    folder: Path, cluster: Cluster, freeradius: Callable[..., FreeRadius]
) -> AsyncIterator[tuple[Isp, Site]]:
    database = cluster.fresh()
    options = {**ISP, "dsn": dsn_of(database), "radius": real_radius(freeradius(database))}
    async with at_work(folder, isp=options, **WAITS) as (isp, site):
        yield isp, site


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("name", CASES)
async def test_on_freeradius(
    tmp_path: Path, cluster: Cluster, freeradius: Callable[..., FreeRadius], name: str
) -> None:
    async with on_freeradius(tmp_path, cluster, freeradius) as (isp, site):
        await CASES[name](isp, site)
