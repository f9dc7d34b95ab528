"""BNG that are routers: the router's API and RADIUS tell the same of every session, whoever changes what."""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
import trio

from lab import files, radius_codec, routers
from lab.datagrams import bound_socket, port_of
from lab.errors import LabError, NoAnswerError
from lab.isp import Isp
from lab.radius_client import Endpoint
from lab.radius_codec import Code
from lab.router.device import Router
from lab.router.errors import UnknownVersionError
from lab.router.words import SentenceReader, encode_sentence
from lab.router_nas import INCOMING, accepted_of
from lab.routers import PAY_PAGE
from lab.sessions import Policy, Session
from lab.tests.labs import QUIET_S, dac, named, small_isp, somebody, suspend
from lab.tests.router.routers import logged_in, row_of
from lab.tests.test_databases import dsn
from tests.servers import FreeRadius, RadiusDatabase

DISCONNECT, COA = Code.DISCONNECT_REQUEST, Code.COA_REQUEST
LISTS = "/ip/firewall/address-list"
QUEUES = "/queue/simple"


def isp_of(folder, **options):
    return small_isp(folder, **({"routers": True} | options))


def router_of(isp: Isp, login: str) -> Router:
    return isp.routers[isp.nas_of(login).options.name]


def active(router: Router, login: str) -> dict[str, str]:
    (row,) = [r for r in router.rows("/ppp/active") if r["name"] == login]
    return row


def brought(router: Router, path: str, login: str) -> list[dict[str, str]]:
    """The dynamic rows of a login's queue or address."""
    address = active(router, login)["address"]
    return [
        r
        for r in router.rows(path)
        if r["dynamic"] == "true" and (r.get("address") == address or r.get("target") == f"<pppoe-{login}>")
    ]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110 (the router tells nobody)
            await trio.sleep(0.01)


async def again(isp: Isp, old: Session) -> Session:
    """Wait for the login's next session."""
    await until(lambda: any(s.session_id != old.session_id for s in isp.sessions(old.login)))
    return next(s for s in isp.sessions(old.login) if s.session_id != old.session_id)


async def acct(isp: Isp, session: Session, columns: str = "acctterminatecause") -> str:
    """What radacct says of a session once it is closed."""
    sql = f"SELECT acctstoptime, {columns} FROM radacct WHERE acctsessionid = ? AND username = ?"
    with trio.fail_after(60):
        while True:
            rows = await isp.database.fetch(sql, (session.session_id, session.login))
            if len(rows) == 1 and rows[0][0] is not None:
                return str(rows[0][1])
            await trio.sleep(0.01)


async def open_ids(isp: Isp) -> set[tuple[str, str]]:
    rows = await isp.database.fetch("SELECT username, acctsessionid FROM radacct WHERE acctstoptime IS NULL")
    return {(str(u), str(i)) for u, i in rows}


async def until_open(isp: Isp, session: Session) -> None:
    """Wait until radacct has the session, which is after the router has it."""
    with trio.fail_after(60):
        while (session.login, session.session_id) not in await open_ids(isp):  # noqa: ASYNC110 (the database tells nobody)
            await trio.sleep(0.01)


def a_logout(router: Router, login: str) -> None:
    """Another admin ends a session by the API."""
    client = logged_in(router, routers.API_USER, router.password(routers.API_USER))
    assert client.ask("/ppp/active/remove", f"=.id={active(router, login)['.id']}") == [["!done"]]


# --- what is seen -----------------------------------------------------------------------------------------------------


async def test_the_api_and_radacct_show_the_same_sessions(tmp_path):
    async with isp_of(tmp_path, services=60, nas=3) as isp:
        assert {s.login for s in isp.sessions()} == {s.login for s in isp.services if s.mapped and s.online}
        shown = {
            (row["name"], row["session-id"], row["radius"], row["address"], row["caller-id"])
            for router in isp.routers.values()
            for row in router.rows("/ppp/active")
        }
        assert shown == {
            (s.login, f"0x{s.session_id}", "true", str(s.lease.address4), s.subscription.mac) for s in isp.sessions()
        }
        assert await open_ids(isp) == {(s.login, s.session_id) for s in isp.sessions()}
        assert all(router.rows("/ppp/secret") == [] for router in isp.routers.values())
        fixed = {s.login: s.static4 for s in isp.services if s.static4 and s.online and s.mapped}
        assert fixed
        assert all(str(isp.sessions(login)[0].lease.address4) == address for login, address in fixed.items())
        rows = await isp.database.fetch("SELECT DISTINCT nasportid, calledstationid, nasipaddress FROM radacct")
        assert {tuple(r) for r in rows} == {("ether2", "pppoe", f"10.255.0.{n}") for n in (1, 2, 3)}


async def test_a_suspended_session_may_pay_and_nothing_else(tmp_path):
    async with isp_of(tmp_path) as isp:
        old = somebody(isp)
        router = router_of(isp, old.login)
        before = router.gets_out(old.login)
        assert (before.out, before.lingers, before.fasttracked) == (True, True, True)
        await suspend(isp, old.login)
        a_logout(router, old.login)
        new = await again(isp, old)
        assert await acct(isp, old) == "Admin-Reset"
        await until_open(isp, new)
        verdict = router.gets_out(old.login)
        assert (verdict.out, verdict.lingers, verdict.action, verdict.unsure) == (False, False, "drop", ())
        assert router.gets_out(old.login, destination=PAY_PAGE).out
        assert not new.reaches_internet()
        assert str(new.lease.address4).startswith("10.99.")
        assert [(e["list"], e["address"]) for e in brought(router, LISTS, old.login)] == [
            ("suspended", str(new.lease.address4))
        ]
        assert [q["max-limit"] for q in brought(router, QUEUES, old.login)] == ["64000/64000"]
        # what holds is the rule, not what RADIUS meant
        drop = next(r for r in router.rows("/ip/firewall/filter") if r["action"] == "drop")
        router.remove("/ip/firewall/filter", drop[".id"])
        assert new.reaches_internet()


async def test_what_an_accept_says_is_what_the_router_makes(tmp_path):
    async with isp_of(tmp_path) as isp:
        login = somebody(isp).login
        router = router_of(isp, login)
        router.add("/ppp/profile", name="vip", local_address="100.64.0.1", remote_address="normal")
        insert = "INSERT INTO radreply (username, attribute, op, value) VALUES (?, ?, ?, ?)"
        for name, op, value in (
            ("Mikrotik-Address-List", "+=", "one"),
            ("Mikrotik-Address-List", "+=", "two"),
            ("Mikrotik-Group", ":=", "vip"),
            ("Framed-Pool", ":=", "garden"),
            ("Session-Timeout", ":=", "1"),
        ):
            await isp.database.execute(insert, (login, name, op, value))
        a_logout(router, login)
        await until(lambda: len(isp.sessions(login)) == 1)
        (session,) = isp.sessions(login)
        assert session.lease.pool == "garden"
        assert [e["list"] for e in brought(router, LISTS, login)] == ["one", "two"]
        assert await acct(isp, session) == "Session-Timeout"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", ""),
        ("240.0.0.1", ""),
    ],
)
def test_addresses_that_mean_a_pool(said, address):
    assert accepted_of(Policy(static4=IPv4Address(said))).address == address


# --- who is asked -----------------------------------------------------------------------------------------------------


async def test_a_local_secret_goes_first_and_radius_hears_nothing(tmp_path):
    async with isp_of(tmp_path) as isp:
        old = somebody(isp)
        nas, router = isp.nas_of(old.login), router_of(isp, old.login)
        router.add("/ppp/secret", name=old.login, password="another", service="pppoe")
        a_logout(router, old.login)
        assert await acct(isp, old) == "Admin-Reset"
        cpe = router.access.of_login(old.login)[0]
        await until(lambda: cpe.refused == "wrong password")
        with pytest.raises(LabError, match="wrong password"):
            await isp.dial(old.login)
        router.set("/ppp/secret", old.login, password=old.subscription.password, profile="subscribers")
        assert await isp.dial(old.login) is None
        assert active(router, old.login)["radius"] == "false"
        assert isp.sessions(old.login) == ()
        with dac(nas) as c:
            reply = await c.ask(DISCONNECT, ("User-Name", old.login))
        assert int.from_bytes(reply.data("Error-Cause"), "big") == 503
        assert old.login not in {login for login, _ in await open_ids(isp)}


async def test_a_cpe_plugged_into_the_router_is_asked_about_too(tmp_path):
    async with isp_of(tmp_path) as isp:
        service = next(s for s in isp.services if s.mapped and not s.online)
        await isp.hang_up(service.login)
        (other,) = [r for name, r in isp.routers.items() if name != isp.nas_of(service.login).options.name]
        cpe = other.plug_in(service.login, service.password)
        wrong = other.plug_in(service.login, "wrong", mac="02:00:00:00:00:99")
        await until(lambda: cpe.online and bool(wrong.refused))
        assert wrong.refused == "RADIUS rejects the login"
        assert active(other, service.login)["session-id"] in {f"0x{s.session_id}" for s in isp.sessions(service.login)}
        assert other.gets_out(service.login).out


async def test_the_next_server_is_asked_and_none_is_no_answer(tmp_path):
    async with isp_of(tmp_path) as isp:
        login = somebody(isp).login
        nas, router = isp.nas_of(login), router_of(isp, login)
        (good,) = [r[".id"] for r in router.rows("/radius") if r["service"] == "ppp"]
        # one that is somewhere else is not asked; one that does not answer is waited for
        dead = str(nas.dynauth_port)
        for address in ("192.0.2.1", "127.0.0.1"):
            router.add(
                "/radius", service="ppp", address=address, authentication_port=dead, accounting_port=dead,
                secret="x", timeout="20ms", place_before=good,
            )  # fmt: skip
        await isp.hang_up(login)
        assert (await isp.dial(login)).login == login
        await isp.hang_up(login)
        router.set("/radius", good, disabled="yes")
        with pytest.raises(NoAnswerError, match="does not answer"):
            await isp.dial(login)
        await isp.hang_up(login)
        for row in router.rows("/radius"):
            router.set("/radius", row[".id"], disabled="yes")
        with pytest.raises(LabError, match="no enabled /radius row"):
            await isp.dial(login)


async def test_accounting_may_be_off_and_interim_updates_routers_own(tmp_path):
    async with isp_of(tmp_path, services=2, nas=1) as isp:
        (router,), session = isp.routers.values(), somebody(isp)
        await isp.database.execute("DELETE FROM radgroupreply WHERE attribute = 'Acct-Interim-Interval'")
        router.set("/ppp/aaa", interim_update="1s")
        a_logout(router, session.login)
        new = await again(isp, session)
        sql = "SELECT acctsessiontime FROM radacct WHERE acctsessionid = ?"
        with trio.fail_after(60):
            while not (await isp.database.fetch(sql, (new.session_id,)))[0][0]:  # noqa: ASYNC110 (as above)
                await trio.sleep(0.05)
        await isp.hang_up(new.login)
        router.set("/ppp/aaa", accounting="no")
        silent = await isp.dial(new.login)
        assert active(router, silent.login)["session-id"] == f"0x{silent.session_id}"
        assert (silent.login, silent.session_id) not in await open_ids(isp)


async def test_another_cpe_of_the_same_login(tmp_path):
    async with isp_of(tmp_path) as isp:
        first = somebody(isp)
        second = await isp.dial(first.login)
        assert isp.sessions(first.login) == (first, second)
        assert first.subscription.mac != second.subscription.mac
        assert await isp.hang_up(first.login) == 2
        assert await acct(isp, second) == "User-Request"
        await trio.sleep(QUIET_S)
        assert isp.sessions(first.login) == ()


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["stopped", "cut off"])
async def test_after_a_restart_no_row_of_before_is_open(tmp_path, lost):
    async with isp_of(tmp_path) as isp:
        nas, router = isp.nas["bng-1"], isp.routers["bng-1"]
        before, others = {s.login: s for s in nas.sessions()}, isp.nas["bng-2"].sessions()
        if lost:
            nas.set_fault("stop-lost")
        router.reboot()
        assert nas.sessions() == ()
        await until(lambda: {s.login for s in nas.sessions()} == before.keys())
        causes = {await acct(isp, s) for s in before.values()}
        assert causes == ({""} if lost else {"Admin-Reboot"})
        expected = {(s.login, s.session_id) for s in (*nas.sessions(), *others)}
        with trio.fail_after(60):
            while await open_ids(isp) != expected:  # noqa: ASYNC110 (the database tells nobody)
                await trio.sleep(0.01)
        assert {s.session_id for s in nas.sessions()}.isdisjoint(s.session_id for s in before.values())
        assert isp.nas["bng-2"].sessions() == others


async def test_no_login_is_asked_about_before_accounting_on_is_over(tmp_path):
    secret, seen, hold = b"secret-of-a-slow-server", [], trio.Event()

    async def answer(udp: trio.socket.SocketType) -> None:
        while True:
            wire, peer = await udp.recvfrom(4096)
            request = radius_codec.decode_untrusted(wire)
            asked = request.code == Code.ACCESS_REQUEST
            seen.append("Access-Request" if asked else request.text("Acct-Status-Type"))
            if seen[-1] == "Accounting-On":
                await hold.wait()
            code = Code.ACCESS_ACCEPT if asked else Code.ACCOUNTING_RESPONSE
            await udp.sendto(radius_codec.encode_reply(code, request, (), secret, message_authenticator=asked), peer)

    async with trio.open_nursery() as nursery:
        with await bound_socket("127.0.0.1") as auth, await bound_socket("127.0.0.1") as acct_udp:
            nursery.start_soon(answer, auth)
            nursery.start_soon(answer, acct_udp)
            radius = Endpoint("127.0.0.1", port_of(auth), port_of(acct_udp), secret)
            async with isp_of(tmp_path, services=1, nas=1, radius=radius, dial=False) as isp:
                (router,), login = isp.routers.values(), isp.services[0].login
                assert await isp.dial(login)
                isp.set_fault("stop-lost")
                router.reboot()
                await until(lambda: router.access.of_login(login)[0].asking is not None)
                await trio.sleep(QUIET_S)
                assert seen == ["Access-Request", "Start", "Accounting-On"]
                assert isp.sessions() == ()
                hold.set()
                await until(lambda: len(seen) > 4)
                assert seen[3:] == ["Access-Request", "Start"]
            nursery.cancel_scope.cancel()


# --- CoA and Disconnect -----------------------------------------------------------------------------------------------


async def test_coa_changes_the_queue_and_the_lists_that_the_api_shows(tmp_path):
    async with isp_of(tmp_path, coa_address_list=True) as isp:
        session = somebody(isp)
        router = router_of(isp, session.login)
        row = active(router, session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert (await c.ask(COA, *named(session), ("Mikrotik-Rate-Limit", "1M/2M"))).code == Code.COA_ACK
            assert [q["max-limit"] for q in brought(router, QUEUES, session.login)] == ["1000000/2000000"]
            assert brought(router, LISTS, session.login) == []
            both = (("Mikrotik-Address-List", "suspended"), ("Mikrotik-Address-List", "vip"))
            assert (await c.ask(COA, *named(session), *both)).code == Code.COA_ACK
            assert [e["list"] for e in brought(router, LISTS, session.login)] == ["suspended", "vip"]
            verdict = router.gets_out(session.login)
            # what was fasttracked before flows on: no CoA empties the connection table
            assert (verdict.out, verdict.lingers, verdict.fasttracked) == (False, True, True)
        assert {**active(router, session.login), "uptime": ""} == {**row, "uptime": ""}


async def test_without_option_list_is_refused_and_nothing_changes(tmp_path):
    async with isp_of(tmp_path) as isp:
        session = somebody(isp)
        router = router_of(isp, session.login)
        asked = (("Mikrotik-Address-List", "suspended"), ("Mikrotik-Rate-Limit", "1M/2M"))
        before = brought(router, QUEUES, session.login)
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.ask(COA, *named(session), *asked)
        assert (reply.code, int.from_bytes(reply.data("Error-Cause"), "big")) == (Code.COA_NAK, 401)
        assert brought(router, QUEUES, session.login) == before
        assert brought(router, LISTS, session.login) == []


async def test_an_ack_without_effect_leaves_the_routers_rows_alone(tmp_path):
    async with isp_of(tmp_path) as isp:
        session = somebody(isp)
        router = router_of(isp, session.login)
        before = {**active(router, session.login), "uptime": ""}
        isp.set_fault("ack-without-effect", session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert (await c.ask(DISCONNECT, *named(session))).code == Code.DISCONNECT_ACK
        assert {**active(router, session.login), "uptime": ""} == before


async def test_a_disconnect_whose_reply_is_lost_took_the_row_away(tmp_path):
    async with isp_of(tmp_path) as isp:
        session = somebody(isp)
        router = router_of(isp, session.login)
        isp.set_fault("reply-lost", session.login)
        isp.set_fault("no-redial", session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert await c.ask(DISCONNECT, *named(session), timeout_s=QUIET_S) is None
        assert session.login not in {r["name"] for r in router.rows("/ppp/active")}
        assert f"<pppoe-{session.login}>" not in {q["name"] for q in router.rows(QUEUES)}
        assert await acct(isp, session) == "Admin-Reset"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.set(INCOMING, accept="no"),
        lambda r: r.set(INCOMING, port="3799"),
        lambda r: r.set("/radius", "*2", disabled="yes"),
        lambda r: r.set("/radius", "*2", secret="rotated-by-an-admin"),
        lambda r: r.set("/radius", "*2", address="192.0.2.1"),
    ],
    ids=["accept", "port", "disabled", "secret", "address"],
)
async def test_routers_configuration_says_whether_disconnect_is_heard(tmp_path, change):
    async with isp_of(tmp_path) as isp:
        session = somebody(isp)
        nas, router = isp.nas_of(session.login), router_of(isp, session.login)
        assert router.rows(INCOMING)[0]["port"] == str(nas.dynauth_port)
        change(router)
        with dac(nas) as c:
            assert await c.ask(DISCONNECT, *named(session), timeout_s=QUIET_S) is None
        assert nas.received[0].outcome in ("not-accepted", "unauthentic")
        assert isp.sessions(session.login) == (session,)


async def test_the_nas_is_called_as_the_router_is(tmp_path):
    async with isp_of(tmp_path) as isp:
        session = somebody(isp)
        router_of(isp, session.login).set("/system/identity", name="renamed")
        with dac(isp.nas_of(session.login)) as c:
            wrong = await c.ask(DISCONNECT, *named(session), ("NAS-Identifier", "bng-1"))
            assert int.from_bytes(wrong.data("Error-Cause"), "big") == 403
            right = await c.ask(DISCONNECT, *named(session), ("NAS-Identifier", "renamed"))
        assert right.code == Code.DISCONNECT_ACK


# --- the files and the API's door -------------------------------------------------------------------------------------


async def test_the_files_lead_to_each_routers_api(tmp_path):
    schema = pytest.importorskip("agent.connectors.routeros.schema")
    async with isp_of(tmp_path) as isp:
        mapping = tomllib.loads(files.mapping_toml(isp))
        secrets = {name: isp.api_password(name) for name in isp.routers}
        assert mapping["routeros"].keys() == isp.routers.keys() == mapping["nas"].keys()
        for name, section in mapping["routeros"].items():
            assert section.keys() <= set(schema.RouterTarget.__dataclass_fields__)
            assert section["secret"] == f"routeros/{name}"
            assert section["serial"] == isp.routers[name].rows("/system/routerboard")[0]["serial-number"]
            assert secrets[name] in files.lab_json(isp)
            assert secrets[name] not in files.mapping_toml(isp)
            said = await talk(section, "ispagents", secrets[name], "/ppp/active/print")
            assert {row_of(s)["session-id"] for s in said if s[0] == "!re"} == {
                f"0x{s.session_id}" for s in isp.nas[name].sessions()
            }
            # read, write, api: no passwords, no users
            shown = await talk(section, "ispagents", secrets[name], "/radius/print")
            assert {row_of(s)["secret"] for s in shown if s[0] == "!re"} == {"*****"}
            refused = await talk(section, "ispagents", secrets[name], "/user/add", "=name=x", "=group=full")
            assert refused[0][0] == "!trap"
    async with small_isp(tmp_path) as plain:
        assert "routeros" not in tomllib.loads(files.mapping_toml(plain))
        assert plain.routers == {}


async def talk(section: dict, user: str, password: str, *words: str) -> list[tuple[str, ...]]:
    """Log in over TLS, ask one thing, return what was said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = await trio.open_tcp_stream(section["host"], section["port"])
    reader, said = SentenceReader(), []
    async with trio.SSLStream(raw, context, https_compatible=True) as stream:
        for sentence in (("/login", f"=name={user}", f"=password={password}"), words):
            said = []
            await stream.send_all(encode_sentence(sentence))
            with trio.fail_after(60):
                while not any(s[0] in ("!done", "!fatal") for s in said):
                    said += reader.feed_untrusted(bytes(await stream.receive_some(65536)))
    return said


async def test_versions_and_a_second_start(tmp_path):
    async with isp_of(tmp_path, router_version="6.49.18") as isp:
        before = {s.session_id for s in isp.sessions()}
        assert before
    async with isp_of(tmp_path, router_version="7.15.3") as isp:
        assert await open_ids(isp) == {(s.login, s.session_id) for s in isp.sessions()}
        assert before.isdisjoint(s.session_id for s in isp.sessions())
    with pytest.raises(UnknownVersionError, match="seven"):
        async with isp_of(tmp_path, router_version="seven"):
            pass


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.mark.servers
async def test_beside_a_real_freeradius(tmp_path, sqlite_radius: RadiusDatabase, freeradius: Callable[..., FreeRadius]):
    server = freeradius(sqlite_radius)
    radius = Endpoint(server.host, server.auth_port, server.acct_port, server.secret.encode())
    async with isp_of(tmp_path, services=6, nas=1, dsn=dsn(sqlite_radius), radius=radius) as isp:
        ((name, router),) = isp.routers.items()
        old = somebody(isp)
        await suspend(isp, old.login)
        a_logout(router, old.login)
        new = await again(isp, old)
        assert await acct(isp, old) == "Admin-Reset"
        assert (new.lease.pool, router.gets_out(old.login).out) == ("garden", False)
        with dac(isp.nas[name]) as c:
            assert (await c.ask(DISCONNECT, *named(new))).code == Code.DISCONNECT_ACK
        last = await again(isp, new)
        assert await acct(isp, new) == "Admin-Reset"
        router.reboot()
        back = await again(isp, last)
        assert await acct(isp, last) == "Admin-Reboot"
        assert active(router, back.login)["session-id"] == f"0x{back.session_id}"
