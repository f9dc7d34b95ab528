"""The real FreeRADIUS on the very database that the agent changes: what it answers is what the preview said.

Every login goes to FreeRADIUS by PAP and by CHAP before, while suspended and after the revert, and once by radclient.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.connectors.radius.schema import Database, TableSet
from lab.isp import Isp
from lab.population import LabService
from lab.radius_codec import Attribute, Code
from tests.e2e.files import ordinary, ref_of
from tests.e2e.real_site import Login, Pairs, Start, dump, real_site
from tests.e2e.site import ApiRefusedError, Json, Site, item_states, items_of, state_of
from tests.servers import Cluster, MariaDB, PostgreSQL, RadiusDatabase

pytestmark = pytest.mark.servers


def texts(attributes: tuple[Attribute, ...]) -> Pairs:
    return sorted((a.name, a.text()) for a in attributes)


def previewed(change: Json) -> Pairs:
    """Return the reply that the only item's preview says its router would get."""
    (item,) = items_of(change)
    after = item.display["after"].removeprefix("pay page only, v4+v6: ")
    listed = re.sub(r" \(groups? [^()]*\)$", "", after)
    assert listed != after
    return sorted((name, value) for name, _, value in (pair.partition("=") for pair in listed.split(" · ")))


async def one_life(isp: Isp, site: Site, login: Login, database: RadiusDatabase) -> None:
    """Suspend, set another tariff, take both back: the router gets each time what the preview said."""
    service = next(s for s in ordinary(isp, 8) if s.tariff.name != "Home 50M")
    name, password, rows = service.login, service.password, dump(database)
    before = await login.both(name, password)
    assert sorted(await login.radclient(name, password)) == texts(before)
    (old,) = isp.sessions(name)

    suspend = await site.ask("suspend", ref_of(service))
    assert await login.both(name, password) == before, "asking changes nothing"
    suspended = await site.apply(suspend)
    assert state_of(suspended) == ("applied", "garden")
    during = await login.both(name, password)
    assert texts(during) == previewed(suspend)
    assert ("Mikrotik-Address-List", "suspended") in texts(during)
    assert sorted(await login.radclient(name, password)) == previewed(suspend)
    (new,) = isp.sessions(name)
    assert (new is not old, new.walled, new.policy.address_list) == (True, True, "suspended")

    back = await site.ask("revert", change=suspend["id"])
    assert state_of(await site.apply(back))[0] == "applied"
    after = await login.both(name, password)
    assert texts(after) == previewed(back)
    assert [(a.vendor, a.code, a.data) for a in after] == [(a.vendor, a.code, a.data) for a in before]
    assert sorted(await login.radclient(name, password)) == previewed(back)
    assert dump(database) == rows
    assert not isp.sessions(name)[0].walled

    faster = await site.ask("set-plan", ref_of(service), tariff="Home 50M")
    assert ("Mikrotik-Rate-Limit", "25M/50M") in previewed(faster)
    assert state_of(await site.apply(faster))[0] == "applied"
    assert texts(await login.both(name, password)) == previewed(faster)
    assert isp.sessions(name)[0].policy.rate_limit == "25M/50M"
    slower = await site.do("revert", change=faster["id"])
    assert state_of(slower)[0] == "applied"
    assert await login.both(name, password) == before
    assert dump(database) == rows


async def test_freeradius_answers_what_the_preview_said(tmp_path: Path, cluster: Cluster, freeradius: Start) -> None:
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        await one_life(isp, site, login, database)


async def test_daloradius_tables(tmp_path: Path, cluster: Cluster, freeradius: Start) -> None:
    database = cluster.fresh(TableSet.DALORADIUS)
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        await one_life(isp, site, login, database)


async def test_rows_of_a_subscribers_own_are_kept(tmp_path: Path, cluster: Cluster, freeradius: Start) -> None:
    """An own reply row, a second group and another operator: computed, shown, and as FreeRADIUS has it."""
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius) as (isp, site, login):
        service, other = ordinary(isp, 2)
        database.add_group(
            "extras", [("Framed-Route", "+=", "10.9.0.0/24 0.0.0.0 1"), ("Session-Timeout", "=", "86400")]
        )
        for row in ("('Framed-Pool', ':=', 'pool-7')", "('Reply-Message', '+=', 'hello')"):
            database.run(
                f"INSERT INTO radreply (username, attribute, op, value) SELECT '{service.login}', v.* FROM "
                f"(SELECT {row[1:-1]}) AS v"
            )
        database.run("INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, 'extras', 9)", service.login)
        rows, before = dump(database), await login.both(service.login, service.password)
        asked = await site.ask("suspend", ref_of(service), reason="request")
        done = await site.apply(asked)
        assert state_of(done)[0] == "applied"
        during = texts(await login.both(service.login, service.password))
        assert during == previewed(asked)
        assert {("Framed-Pool", "pool-7"), ("Reply-Message", "hello")} <= set(during)
        assert state_of(await site.do("revert", change=done["id"]))[0] == "applied"
        assert await login.both(service.login, service.password) == before
        assert dump(database) == rows

        # A tariff's group that is asked before the marker and does not fall through: the marker would not win
        database.run("UPDATE radusergroup SET priority = -5 WHERE username = %s", other.login)
        with pytest.raises(ApiRefusedError, match="suspended is not applied"):
            await site.ask("suspend", ref_of(other))


# --- Alice and alice --------------------------------------------------------------------------------------------------


def add_named(database: RadiusDatabase, *logins: str) -> None:
    for login in logins:
        database.add_user(login, "wonder-9", {"home-20m": 1})


def person(site: Site, subscriber: str, login: str) -> str:
    """Let billing know a subscriber who writes her login so; return her reference."""
    rows = site.files.billing.rows
    rows[f"{subscriber}/home"] = {
        **next(iter(rows.values())),
        "subscriber": subscriber,
        "name": "Alice",
        "service": "home",
        "login": login,
        "tariff": "Home 20M",
        "protected": "",
        "feeds": "0",
    }
    site.files.billing.write()
    return f"{subscriber}/home"


async def test_login_in_another_case_is_what_database_holds_it_to_be(
    tmp_path: Path, cluster: Cluster, freeradius: Start
) -> None:
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius) as (_, site, login):
        add_named(database, "Alice")
        ref = person(site, "C-777", "alice")
        await site.import_csv()
        if database.kind is Database.POSTGRESQL:
            assert (await login.by("pap", "alice", "wonder-9"))[0] == Code.ACCESS_REJECT
            with pytest.raises(ApiRefusedError, match="has no user alice"):
                await site.ask("suspend", ref)
            return
        before, rows = await login.both("alice", "wonder-9"), dump(database)
        asked = await site.ask("suspend", ref)
        done = await site.apply(asked)
        assert state_of(done) == ("set-at-next-login", "none-known")
        for written in ("alice", "Alice", "ALICE"):
            assert texts(await login.both(written, "wonder-9")) == previewed(asked)
        assert state_of(await site.do("revert", change=done["id"]))[0] == "set-at-next-login"
        assert await login.both("alice", "wonder-9") == before
        assert dump(database) == rows


async def test_two_people_of_logins_equal_in_mariadb_are_blocked(
    tmp_path: Path, mariadb: MariaDB, freeradius: Start
) -> None:
    database = mariadb.fresh()
    async with real_site(tmp_path, database, freeradius) as (_, site, _login):
        add_named(database, "Alice", "alice")
        refs = [person(site, "C-777", "alice"), person(site, "C-778", "Alice")]
        imported = await site.import_csv()
        assert any("share the login" in line for line in imported["cannot_enforce"])
        rows = dump(database)
        for ref, other in (refs, refs[::-1]):
            with pytest.raises(ApiRefusedError, match=f"is also that of {other}"):
                await site.ask("suspend", ref)
        assert dump(database) == rows


async def test_two_spellings_of_one_person_are_one_user_on_mariadb(
    tmp_path: Path, mariadb: MariaDB, freeradius: Start
) -> None:
    database = mariadb.fresh()
    async with real_site(tmp_path, database, freeradius) as (_, site, login):
        add_named(database, "Alice")
        database.run("INSERT INTO radreply (username, attribute, op, value) VALUES ('ALICE', 'Class', ':=', 'gold')")
        ref = person(site, "C-777", "alice")
        await site.import_csv()
        rows = dump(database)
        asked = await site.ask("suspend", ref)
        assert state_of(await site.apply(asked)) == ("set-at-next-login", "none-known")
        got = [await login.both(spelling, "wonder-9") for spelling in ("alice", "Alice")]
        assert got[0] == got[1]
        assert texts(got[0]) == previewed(asked)
        assert state_of(await site.do("revert", change=asked["id"]))[0] == "set-at-next-login"
        assert dump(database) == rows


async def test_two_logins_are_two_people_on_postgresql(
    tmp_path: Path, postgresql: PostgreSQL, freeradius: Start
) -> None:
    database = postgresql.fresh()
    async with real_site(tmp_path, database, freeradius) as (_, site, login):
        add_named(database, "Alice", "alice")
        ref = person(site, "C-777", "alice")
        await site.import_csv()
        other = await login.both("Alice", "wonder-9")
        asked = await site.ask("suspend", ref)
        assert state_of(await site.apply(asked)) == ("set-at-next-login", "none-known")
        assert texts(await login.both("alice", "wonder-9")) == previewed(asked)
        assert await login.both("Alice", "wonder-9") == other


# --- a batch on a real database ---------------------------------------------------------------------------------------


async def test_a_batch_beside_its_neighbors(tmp_path: Path, cluster: Cluster, freeradius: Start) -> None:
    database = cluster.fresh()
    async with real_site(tmp_path, database, freeradius, services=24) as (isp, site, login):
        chosen: list[LabService] = ordinary(isp, 14)
        others = [s for s in isp.services if s.mapped and s not in chosen]
        rows = dump(database)
        before = {s.login: (await login.by("pap", s.login, s.password))[1] for s in (*chosen, *others)}
        asked = await site.ask("suspend", *map(ref_of, chosen))
        done = await site.apply(asked, "joseph", "lena")
        assert set(item_states(done).values()) == {("applied", "garden")}
        said = {i.display["login"]: i for i in items_of(done)}
        for service in chosen:
            code, got = await login.by("chap" if service.chap else "pap", service.login, service.password)
            assert code == Code.ACCESS_ACCEPT
            listed = " · ".join(f"{a.name}={a.text()}" for a in got)
            assert sorted(listed.split(" · ")) == sorted(
                said[service.login].display["after"].split(": ", 1)[1].rsplit(" (", 1)[0].split(" · ")
            )
        for service in others:
            assert (await login.by("pap", service.login, service.password))[1] == before[service.login]
        back = await site.apply(await site.ask("revert", change=done["id"]), "joseph", "lena")
        assert {state for state, _ in item_states(back).values()} == {"applied"}
        assert dump(database) == rows
        for service in chosen:
            assert (await login.by("pap", service.login, service.password))[1] == before[service.login]
