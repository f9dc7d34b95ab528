"""FreeRADIUS' own `coa` listener in the place of a NAS: a second implementation of RFC 5176 takes what we send.

That listener answers and changes nothing: radacct keeps the session open. So an ACK from it proves nothing, and the
agent must say so.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agent.connectors.radius.codec import PacketKind
from agent.connectors.radius.dictionary import load, profile
from agent.connectors.radius.dynauth import DynAuthAnswer, DynAuthClient, Silence
from agent.connectors.radius.dynauth_session import DynAuths
from agent.connectors.radius.schema import Nas
from agent.connectors.radius.session import NOBODY
from lab import population
from lab.population import LabService
from tests.e2e.files import make_files, ref_of
from tests.e2e.site import Site, check_log, item_states, open_site, state_of
from tests.servers import Cluster, FreeRadius, PostgreSQL, RadiusDatabase

pytestmark = pytest.mark.servers

Start = Callable[..., FreeRadius]
NAS_ADDRESS = "10.255.0.1"
TARIFF = population.TARIFFS[0]


def subscriber(n: int, login: str) -> LabService:
    return LabService(
        subscriber=f"C-{n}",
        name="Amina Okafor",
        service="home",
        login=login,
        password="wonder-9",
        mac="02:00:00:00:00:01",
        chap=False,
        tariff=TARIFF,
        nas=0,
        mapped=True,
        online=True,
        protected="",
        feeds=0,
        balance="34.00",
        due="",
        paid_at="",
        static4="",
    )


def mapping(database: RadiusDatabase, server: FreeRadius) -> str:
    replies = "\n".join(f'{name} = "{value}"' for name, value in population.SUSPENDED_REPLY.items())
    return f"""
[radius.main]
database = "{database.kind.value}"
host = "{database.host}"
port = {database.port}
dbname = "{database.dbname}"
user = "{database.user}"
secret = "radius/main"

[nas.bng-1]
accounting = "{NAS_ADDRESS}"
dynauth_host = "{server.host}"
dynauth_port = {server.coa_port}
secret = "nas/bng-1"

[method.pppoe]
target = "radius/main"
garden4 = ["10.99.0.0/16"]
disconnect_within_s = 1
redial_within_s = 1

[method.pppoe.suspended_reply]
{replies}

[method.pppoe.tariffs]
"{TARIFF.name}" = "{TARIFF.group}"
"""


def fill(database: RadiusDatabase, server: FreeRadius, *logins: str) -> None:
    """Write the users and let them come online, told by radclient's accounting."""
    database.add_group(TARIFF.group, [("Mikrotik-Rate-Limit", ":=", TARIFF.rate)])
    database.add_group("suspended", [(n, ":=", v) for n, v in population.SUSPENDED_REPLY.items()])
    for n, login in enumerate(logins, 1):
        database.add_user(login, "wonder-9", {TARIFF.group: 1})
        reply = server.radclient(
            "acct",
            ("User-Name", login),
            ("Acct-Status-Type", "Start"),
            ("Acct-Session-Id", f"8100000{n}"),
            ("NAS-IP-Address", NAS_ADDRESS),
            ("Framed-IP-Address", f"100.64.0.{n}"),
            ("Calling-Station-Id", "02:00:00:00:00:01"),
        )
        assert reply is not None
        assert reply.code == "Accounting-Response"


@asynccontextmanager
async def site_at_listener(
    folder: Path, database: RadiusDatabase, start: Start, *logins: str, require_ma: bool = True
) -> AsyncIterator[tuple[Site, FreeRadius, list[str]]]:
    server = start(database, coa=True, require_message_authenticator=require_ma)
    fill(database, server, *logins)
    services = [subscriber(n, login) for n, login in enumerate(logins, 10_001)]
    secrets = {"radius/main": database.password, "nas/bng-1": server.secret}
    files = make_files(folder, mapping(database, server), services, secrets)
    async with open_site(files) as site:
        yield site, server, [ref_of(s) for s in services]
        await check_log(site)


def open_sessions(database: RadiusDatabase) -> int:
    return int(database.run("SELECT count(*) FROM radacct WHERE acctstoptime IS NULL")[0][0])


@pytest.mark.parametrize(("kind", "require_ma"), [("postgresql", True), ("mariadb", False)])
async def test_B10_an_ack_that_ends_nothing_is_not_enforced(
    tmp_path: Path, request: pytest.FixtureRequest, freeradius: Start, kind: str, require_ma: bool
) -> None:
    cluster: Cluster = request.getfixturevalue(kind)
    database, options = cluster.fresh(), {"require_ma": require_ma}
    async with site_at_listener(tmp_path, database, freeradius, "amina", **options) as (site, server, refs):
        done = await site.do("suspend", *refs)
        assert (state_of(done), done["exit"]) == (("set-not-enforced", "ack-without-effect"), 4)
        assert open_sessions(database) == 1
        assert ("suspended", -1) in database.run("SELECT groupname, priority FROM radusergroup")
        nobody, taken, again = server.dynauth_requests()
        assert (nobody["user"], again["session"]) == (
            NOBODY,
            taken["session"],
        )  # an ACK without an effect is asked about
        assert {k: taken[k] for k in ("type", "user", "session", "address")} == {
            "type": "Disconnect-Request",
            "user": "amina",
            "session": "81000001",
            "address": "100.64.0.1",
        }
        assert taken["message_authenticator"].startswith("0x")
        assert int(taken["event_timestamp"]) > 1_600_000_000
        kick = await site.do("disconnect", *refs)
        assert (state_of(kick), kick["exit"]) == (("not-applied", "ack-without-effect"), 1)


@pytest.mark.slow
async def test_a_nak_is_named_and_silence_is_not_an_answer(
    tmp_path: Path, postgresql: PostgreSQL, freeradius: Start
) -> None:
    logins = ("nak-503@isp", "nak-504@isp", "drop@isp")
    async with site_at_listener(tmp_path, postgresql.fresh(), freeradius, *logins) as (site, server, refs):
        done = await site.apply(await site.ask("suspend", *refs, on_failure="continue"))
        assert item_states(done) == {
            refs[0]: ("set-at-next-login", "none-known"),  # its NAS denies the session, and any other of the login
            refs[1]: ("set-not-enforced", "nak-504"),
            refs[2]: ("set-not-enforced", "lost-timeout"),
        }
        details = {i["service"]: i["detail"] for i in done["items"]}
        assert "no session on bng-1" in details[refs[0]]
        assert "Session Context Not Removable" in details[refs[1]].replace("-", " ")
        assert "accounting does not show that it goes on" in details[refs[2]]
        told = {s["item"]: s["reason"] for s in done["steps"] if s["bound"]}
        assert set(told.values()) == {"no-session", "nak-504", "lost-timeout"}
        assert {r["user"] for r in server.dynauth_requests()} == {NOBODY, *logins}


@pytest.mark.parametrize("require_ma", [True, False], ids=["message-authenticator required", "lenient"])
async def test_a_coa_request_is_taken(sqlite_radius: RadiusDatabase, freeradius: Start, require_ma: bool) -> None:
    server = freeradius(sqlite_radius, coa=True, require_message_authenticator=require_ma)
    session = {"User-Name": "amina", "Acct-Session-Id": "81000001", "Framed-IP-Address": "100.64.0.1"}

    def client(_: Nas, learned: frozenset[str]) -> DynAuthClient:
        return DynAuthClient(profile("mikrotik"), server.secret.encode(), load(), learned=learned)

    nas = Nas("bng-1", NAS_ADDRESS, server.host, server.coa_port, "nas/bng-1")
    async with DynAuths(client, {}, time.time) as dynauths:

        async def ask(user: str, within_s: float) -> DynAuthAnswer | Silence:
            attributes = {**session, "User-Name": user, "Mikrotik-Rate-Limit": "20M/20M"}
            return await dynauths.get(nas).exchange(PacketKind.COA, attributes, trio.current_time() + within_s)

        taken = await ask("amina", 5)
        refused = await ask("nak-401@isp", 1.5)
    assert isinstance(taken, DynAuthAnswer)
    assert (taken.ack, taken.cause) == (True, None)
    # A NAK 401 makes the client leave out what the NAS may not know: a listener that demands it then says nothing
    if require_ma:
        assert isinstance(refused, Silence)
        assert refused.attempts > 1
    else:
        assert isinstance(refused, DynAuthAnswer)
        assert (refused.ack, refused.cause) == (False, 401)
    seen = server.dynauth_requests()
    assert (seen[0]["type"], seen[0]["rate"], seen[0]["user"]) == ("CoA-Request", "20M/20M", "amina")
    assert seen[0]["message_authenticator"].startswith("0x")
    second = await trio.to_thread.run_sync(
        lambda: server.radclient("coa", ("User-Name", "amina"), ("Mikrotik-Rate-Limit", "20M/20M"))
    )
    assert second is not None
    assert second.code == "CoA-ACK"
    assert server.dynauth_requests()[-1]["rate"] == seen[0]["rate"]
