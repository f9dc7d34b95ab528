"""Staff disable a login or take a marker away in another tool, beside the agent: on a real FreeRADIUS and its database.

What FreeRADIUS answers is the measure: no suspension turns a reject into an accept, and none that is recorded is taken
for one that holds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.connectors.radius.schema import TableSet
from lab.isp import Isp
from lab.population import LabService
from lab.radius_codec import Code
from tests.e2e.cpe_site import until
from tests.e2e.files import ordinary, ref_of
from tests.e2e.real_site import Login, Start, dump, real_site
from tests.e2e.site import ApiRefusedError, Json, Site, item_states, items_of, state_of
from tests.servers import Cluster, RadiusDatabase

pytestmark = [pytest.mark.servers, pytest.mark.slow]

DISABLED = "daloRADIUS-Disabled-Users"


def disable(database: RadiusDatabase, login: str) -> None:
    """Do as daloRADIUS does: put the user into its group, whose check items reject."""
    database.run("INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, 0)", login, DISABLED)


def enable(database: RadiusDatabase, login: str) -> None:
    database.run("DELETE FROM radusergroup WHERE username = %s AND groupname = %s", login, DISABLED)


def take_marker(database: RadiusDatabase, login: str) -> None:
    database.run("DELETE FROM radusergroup WHERE username = %s AND groupname = 'suspended'", login)


async def code_of(login: Login, service: LabService) -> int:
    """Return what FreeRADIUS answers, which PAP and CHAP are told alike."""
    pap = await login.by("pap", service.login, service.password)
    assert pap == await login.by("chap", service.login, service.password)
    return pap[0]


async def offline(isp: Isp, login: str) -> None:
    await until(lambda: not isp.sessions(login))


async def walled(isp: Isp, login: str, inside: bool) -> None:
    """Wait until its only session is in the walled garden, or is not."""
    await until(lambda: [session.walled for session in isp.sessions(login)] == [inside])


async def reasons_of(site: Site, ref: str) -> list[str]:
    shown = await site.call("GET", f"/v1/subscribers/{ref.replace('/', '%2F')}")
    return list(shown["services"][0]["suspended_for"])


def shown(change: Json) -> dict[str, str]:
    (item,) = items_of(change)
    return dict(item.display)


async def test_suspension_does_not_let_in_login_that_staff_disabled(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    """Suspended, restored, suspended and reverted, and rejected all the while."""
    database = cluster.fresh(TableSet.DALORADIUS)
    database.add_group(DISABLED, (), [("Auth-Type", ":=", "Reject")])
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        service = ordinary(isp, 1)[0]
        ref, rows = ref_of(service), dump(database)
        assert await code_of(login, service) == Code.ACCESS_ACCEPT
        disable(database, service.login)
        disabled = dump(database)
        assert await code_of(login, service) == Code.ACCESS_REJECT
        assert isp.sessions(service.login), "daloRADIUS ends no session"

        asked = await site.ask("suspend", ref)
        told = shown(asked)
        assert told["now"].startswith(f"login is rejected today: disabled in daloRADIUS (group {DISABLED}) · online")
        assert "group suspended is not written, since it would let the login in" in told["after"]
        done = await site.apply(asked)
        assert state_of(done) == ("applied", "stays-rejected")
        await offline(isp, service.login)
        assert await code_of(login, service) == Code.ACCESS_REJECT
        assert (dump(database), await reasons_of(site, ref)) == (disabled, ["debt"])

        again = await site.do("suspend", ref, reason="abuse")
        assert state_of(again) == ("applied", "stays-rejected")
        for change in (again, done):  # the last one asks the NAS for a session
            back = await site.do("revert", change=change["id"])
            assert state_of(back) == ("applied", "stays-rejected")
            assert back["items"][0]["detail"].startswith("the login stays rejected: disabled in daloRADIUS")
        assert await reasons_of(site, ref) == []
        assert await code_of(login, service) == Code.ACCESS_REJECT
        assert dump(database) == disabled
        enable(database, service.login)
        assert await code_of(login, service) == Code.ACCESS_ACCEPT
        assert dump(database) == rows


async def test_our_marker_comes_off_a_login_disabled_by_staff(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    database = cluster.fresh(TableSet.DALORADIUS)
    database.add_group(DISABLED, (), [("Auth-Type", ":=", "Reject")])
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        first, second = ordinary(isp, 2)
        done = await site.do("suspend", ref_of(first), ref_of(second))
        for service in (first, second):
            await walled(isp, service.login, inside=True)
            disable(database, service.login)
            assert await code_of(login, service) == Code.ACCESS_ACCEPT, "the marker is read first"
        restored = await site.do("restore", ref_of(first))
        assert state_of(restored) == ("applied", "stays-rejected")
        assert "disabled in daloRADIUS" in restored["items"][0]["detail"]
        back = await site.do("revert", change=done["id"])
        assert item_states(back)[ref_of(second)] == ("applied", "stays-rejected")
        for service in (first, second):
            await offline(isp, service.login)
            assert await code_of(login, service) == Code.ACCESS_REJECT
            assert await reasons_of(site, ref_of(service)) == []
            enable(database, service.login)
            assert await code_of(login, service) == Code.ACCESS_ACCEPT
        assert not [row for row in dump(database)["radusergroup"] if "suspended" in row]


async def test_an_expired_account_is_suspended_once_it_is_extended(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    """Its own rows reject it, whatever its groups are: the marker is written, and holds it when they no longer do."""
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        service = ordinary(isp, 1)[0]
        database.run(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (%s, 'Expiration', ':=', '01 Jan 2020')",
            service.login,
        )
        assert await code_of(login, service) == Code.ACCESS_REJECT
        asked = await site.ask("suspend", ref_of(service))
        assert "login is rejected today: the account has expired (Expiration), by the user's own" in shown(asked)["now"]
        assert state_of(await site.apply(asked)) == ("applied", "stays-rejected")
        assert await code_of(login, service) == Code.ACCESS_REJECT
        await offline(isp, service.login)
        database.run("DELETE FROM radcheck WHERE username = %s AND attribute = 'Expiration'", service.login)
        code, attributes = await login.by("pap", service.login, service.password)
        assert code == Code.ACCESS_ACCEPT
        assert ("Mikrotik-Address-List", "suspended") in [(a.name, a.text()) for a in attributes]


async def test_a_suspension_that_somebody_took_away_is_enforced_again(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    """For the same reason, for a second one, and when one of two is lifted."""
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        service = ordinary(isp, 1)[0]
        ref = ref_of(service)

        async def by_hand() -> None:
            """Take the marker away and let the subscriber redial, to the full internet."""
            take_marker(database, service.login)
            assert state_of(await site.do("disconnect", ref))[0] == "applied"
            await walled(isp, service.login, inside=False)

        await site.do("suspend", ref)
        suspended = dump(database)
        for action, reason, left in (
            ("suspend", "debt", ["debt"]),
            ("suspend", "abuse", ["abuse", "debt"]),
            ("restore", "debt", ["abuse"]),
        ):
            await by_hand()
            asked = await site.ask(action, ref, reason=reason)
            assert shown(asked)["why"].endswith("the network does not read so, and it is enforced again")
            done = await site.apply(asked)
            assert state_of(done) == ("applied", "garden"), (action, reason)
            await walled(isp, service.login, inside=True)
            _, attributes = await login.by("pap", service.login, service.password)
            assert ("Mikrotik-Address-List", "suspended") in [(a.name, a.text()) for a in attributes]
            assert (dump(database), await reasons_of(site, ref)) == (suspended, left)
        with pytest.raises(ApiRefusedError, match="already suspended for abuse, and the network reads so"):
            await site.ask("suspend", ref, reason="abuse")
        second = await site.do("suspend", ref, reason="request")
        assert state_of(second) == ("applied", "recorded")
        await by_hand()
        assert state_of(await site.do("revert", change=second["id"])) == ("applied", "garden")
        assert (dump(database), await reasons_of(site, ref)) == (suspended, ["abuse"])


async def test_staff_edits_after_the_preview_make_the_item_stale(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    """Whether they edit the user, its tariff's group, or take the marker away of an item that only records."""
    database = cluster.fresh()
    database.add_group(DISABLED, (), [("Auth-Type", ":=", "Reject")])
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        one, other, third = ordinary(isp, 3)
        asked = await site.ask("suspend", ref_of(one))
        disable(database, one.login)
        rows = dump(database)
        assert state_of(await site.apply(asked))[0] == "stale"
        assert (dump(database), await code_of(login, one)) == (rows, Code.ACCESS_REJECT)

        (group,) = database.run("SELECT groupname FROM radusergroup WHERE username = %s", other.login)
        asked = await site.ask("suspend", ref_of(other))
        database.run(
            "INSERT INTO radgroupcheck (groupname, attribute, op, value) VALUES (%s, 'Auth-Type', ':=', 'Reject')",
            group[0],
        )
        rows = dump(database)
        stale = await site.apply(asked)
        assert state_of(stale)[0] == "stale"
        assert f"group/{group[0]} no longer reads as in the preview" in stale["items"][0]["detail"]
        assert (dump(database), await code_of(login, other)) == (rows, Code.ACCESS_REJECT)
        database.run("DELETE FROM radgroupcheck WHERE groupname = %s", group[0])

        await site.do("suspend", ref_of(third))
        asked = await site.ask("suspend", ref_of(third), reason="abuse")
        take_marker(database, third.login)
        assert state_of(await site.apply(asked))[0] == "stale"
        assert await reasons_of(site, ref_of(third)) == ["debt"]
        await walled(isp, third.login, inside=True)
