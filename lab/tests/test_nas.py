"""The BNG, plain or a router: CoA and Disconnect, each fault as a raw client sees it, redials, accounting."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest
import trio

from lab import isp as isp_module
from lab import radius_codec
from lab.errors import LabError, UnknownFaultError
from lab.faults import FaultBook, FaultKind, parse_fault
from lab.isp import Isp
from lab.radius_codec import Code
from lab.sessions import Pool, Session
from lab.tests import labs
from lab.tests.labs import QUIET_S, client, dac, named, small_isp, somebody, suspend

DISCONNECT, COA = Code.DISCONNECT_REQUEST, Code.COA_REQUEST


@pytest.fixture(autouse=True, params=[False, True], ids=["plain", "router"])
def kind(request, monkeypatch):
    """Every test has both kinds of BNG."""
    monkeypatch.setitem(labs.BASE, "routers", request.param)


async def again(isp: Isp, session: Session) -> Session:
    """Wait for the login's next session."""
    nas = isp.nas_of(session.login)
    with trio.fail_after(60):
        await nas.wait_for(lambda: any(s.session_id != session.session_id for s in nas.sessions(session.login)))
    return next(s for s in nas.sessions(session.login) if s.session_id != session.session_id)


async def acct(isp: Isp, session: Session) -> tuple[object, ...]:
    rows = await isp.database.fetch(
        "SELECT acctstoptime, acctterminatecause FROM radacct WHERE acctsessionid = ? AND username = ?",
        (session.session_id, session.login),
    )
    assert len(rows) == 1
    return rows[0]


async def closed(isp: Isp, session: Session) -> str:
    with trio.fail_after(60):
        while (await acct(isp, session))[0] is None:  # noqa: ASYNC110 (the database tells nobody)
            await trio.sleep(0.01)
    return str((await acct(isp, session))[1])


async def test_disconnect_ends_the_session_and_the_cpe_comes_back(tmp_path):
    async with small_isp(tmp_path) as isp:
        old = somebody(isp)
        with dac(isp.nas_of(old.login)) as c:
            reply = await c.ask(DISCONNECT, *named(old))
        assert reply.code == Code.DISCONNECT_ACK
        new = await again(isp, old)
        # a router's pool gives a client the same address again, the plain NAS's another one
        assert (new.lease.address4 == old.lease.address4) == bool(isp.routers)
        assert new.reaches_internet()
        assert await closed(isp, old) == "Admin-Reset"
        assert isp.sessions(old.login) == (new,)


async def test_after_the_marker_row_the_redial_lands_in_the_garden(tmp_path):
    async with small_isp(tmp_path) as isp:
        old = somebody(isp)
        await suspend(isp, old.login)
        assert isp.sessions(old.login)[0].reaches_internet()  # a row alone enforces nothing
        with dac(isp.nas_of(old.login)) as c:
            await c.ask(DISCONNECT, *named(old))
        new = await again(isp, old)
        assert not new.reaches_internet()
        assert (new.policy.address_list, new.policy.rate_limit) == ("suspended", "64k/64k")
        assert any(new.lease.address4 in net for net in isp_module.GARDEN4)
        prefixes = [p for p in (new.lease.framed6, new.lease.delegated6) if p is not None]
        assert len(prefixes) == (0 if isp.routers else 2)  # the router's sessions have no IPv6
        for prefix in prefixes:
            assert any(prefix.subnet_of(net) for net in isp_module.GARDEN6)
        await isp.database.execute("DELETE FROM radusergroup WHERE groupname = 'suspended'")
        with dac(isp.nas_of(old.login)) as c:
            await c.ask(DISCONNECT, *named(new))
        back = await again(isp, new)
        assert back.reaches_internet()
        assert back.policy.rate_limit == old.policy.rate_limit


async def test_a_walled_list_may_leave_the_address_in_the_normal_pool(tmp_path):
    async with small_isp(tmp_path, list_moves_pool=False) as isp:
        old = somebody(isp)
        await suspend(isp, old.login)
        with dac(isp.nas_of(old.login)) as c:
            await c.ask(DISCONNECT, *named(old))
        new = await again(isp, old)
        assert new.lease.pool == "normal"
        assert not new.reaches_internet()


async def test_a_garden_pool_walls_too(tmp_path):
    async with small_isp(tmp_path) as isp:
        old = somebody(isp)
        sql = "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Framed-Pool', ':=', 'garden')"
        await isp.database.execute(sql, (old.login,))
        with dac(isp.nas_of(old.login)) as c:
            await c.ask(DISCONNECT, *named(old))
        new = await again(isp, old)
        # a plain BNG knows the pool; of a router's firewall only a list keeps anybody in
        assert (new.lease.pool, new.reaches_internet()) == ("garden", bool(isp.routers))


async def test_coa_changes_the_rate_and_keeps_the_session(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.ask(COA, *named(session), ("Mikrotik-Rate-Limit", "1M/2M"))
            assert reply.code == Code.COA_ACK
            assert isp.sessions(session.login) == (session,)
            assert session.policy.rate_limit == "1M/2M"
            # as documented, an address list cannot be changed in flight
            reply = await c.ask(COA, *named(session), ("Mikrotik-Address-List", "suspended"))
            assert (reply.code, reply.data("Error-Cause")) == (Code.COA_NAK, (401).to_bytes(4, "big"))
            assert session.reaches_internet()


async def test_coa_of_an_address_list_where_the_router_takes_it(tmp_path):
    async with small_isp(tmp_path, coa_address_list=True) as isp:
        session = somebody(isp)
        with dac(isp.nas_of(session.login)) as c:
            for value, out in (("suspended", False), ("active", True)):
                reply = await c.ask(COA, *named(session), ("Mikrotik-Address-List", value))
                assert (reply.code, session.reaches_internet()) == (Code.COA_ACK, out)


async def test_one_walled_list_among_several_is_enough(tmp_path):
    async with small_isp(tmp_path, coa_address_list=True) as isp:
        session = somebody(isp)
        two = (("Mikrotik-Address-List", "vip"), ("Mikrotik-Address-List", "suspended"))
        with dac(isp.nas_of(session.login)) as c:
            assert (await c.ask(COA, *named(session), *two)).code == Code.COA_ACK
        assert session.policy.address_lists == ("vip", "suspended")
        assert not session.reaches_internet()


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (("User-Name", "nobody"), 503),
        (("Acct-Session-Id", "deadbeef"), 503),
        (("Framed-IP-Address", "100.64.15.200"), 503),
        (("NAS-IP-Address", "10.9.9.9"), 403),
        (("NAS-Identifier", "bng-9"), 403),
        (("Filter-Id", "x"), 401),
        (("Mikrotik-Rate-Limit", "1M/1M"), 401),
        (("Framed-IP-Address", b"abc"), 407),
        (("Service-Type", "Authorize-Only"), 405),
    ],
)
async def test_a_disconnect_that_names_no_session_is_refused(tmp_path, changed, cause):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        pairs = dict(named(session)) | dict([changed])
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.ask(DISCONNECT, *pairs.items())
        assert (reply.code, int.from_bytes(reply.data("Error-Cause"), "big")) == (Code.DISCONNECT_NAK, cause)
        assert isp.sessions(session.login) == (session,)


async def test_requests_without_a_name_or_change_miss_an_attribute(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        with dac(isp.nas_of(session.login)) as c:
            nobody = await c.ask(DISCONNECT)
            nothing = await c.ask(COA, *named(session))
        assert [int.from_bytes(r.data("Error-Cause"), "big") for r in (nobody, nothing)] == [402, 402]


async def test_all_sessions_that_match_are_ended(tmp_path):
    async with small_isp(tmp_path) as isp:
        login = somebody(isp).login
        await isp.dial(login)
        both = isp.sessions(login)
        assert len(both) == 2
        isp.set_fault("no-redial", login)
        with dac(isp.nas_of(login)) as c:
            assert (await c.ask(DISCONNECT, ("User-Name", login))).code == Code.DISCONNECT_ACK
        assert isp.sessions(login) == ()
        assert [await closed(isp, s) for s in both] == ["Admin-Reset"] * 2


# --- what gets no answer ---------------------------------------------------------------------------------------------


async def test_forged_stale_and_foreign_datagrams_get_no_answer(tmp_path):
    async with small_isp(tmp_path, timestamp_window_s=60) as isp:
        session = somebody(isp)
        nas = isp.nas_of(session.login)
        with dac(nas) as c:
            good = c.request(DISCONNECT, *named(session))
            forged = radius_codec.encode_request(
                DISCONNECT,
                9,
                [radius_codec.attribute("User-Name", session.login)],
                b"guess",
                message_authenticator=True,
            )
            bad_ma = bytearray(c.request(DISCONNECT, *named(session), ma=True))
            bad_ma[22] ^= 1
            stale = c.request(DISCONNECT, *named(session), ("Event-Timestamp", int(time.time()) - 61))
            foreign = c.request(Code.ACCOUNTING_REQUEST, *named(session))
            for wire in (b"", b"junk", good[:-1], forged, bytes(bad_ma), stale, foreign):
                await c.udp.sendto(wire, c.to)
            assert await c.receive(QUIET_S) is None
            assert [r.outcome for r in nas.received] == ["unauthentic"] * 2 + ["stale-timestamp", "wrong-code"]
            fresh = await c.ask(DISCONNECT, *named(session), ("Event-Timestamp", int(time.time()) - 50))
            assert fresh.code == Code.DISCONNECT_ACK


async def test_message_authenticator_may_be_demanded(tmp_path):
    async with small_isp(tmp_path, require_message_authenticator=True) as isp:
        session = somebody(isp)
        with dac(isp.nas_of(session.login)) as c:
            assert await c.ask(DISCONNECT, *named(session), timeout_s=QUIET_S) is None
            reply = await c.exchange(c.request(DISCONNECT, *named(session), ma=True))
        assert reply.code == Code.DISCONNECT_ACK


async def test_a_retransmission_gets_the_same_reply_and_acts_once(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        nas = isp.nas_of(session.login)
        with dac(nas) as c:
            wire = c.request(DISCONNECT, *named(session))
            first = await c.exchange(wire)
            new = await again(isp, session)
            second = await c.exchange(wire)
            assert first.wire == second.wire
            assert isp.sessions(session.login) == (new,)
            assert [r.outcome for r in nas.received] == ["ack", "duplicate"]
            other = await c.ask(DISCONNECT, *named(session))
            assert other.code == Code.DISCONNECT_NAK
        with dac(nas) as elsewhere:  # another source port: another request
            assert (await elsewhere.exchange(wire)).code == Code.DISCONNECT_NAK


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [401, 406, 503, 504, 506])
async def test_nak(tmp_path, cause):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault(f"nak:{cause}", session.login)
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.ask(DISCONNECT, *named(session))
            assert (reply.code, int.from_bytes(reply.data("Error-Cause"), "big")) == (Code.DISCONNECT_NAK, cause)
            assert isp.sessions(session.login) == (session,)
            other = next(s for s in isp.nas_of(session.login).sessions() if s.login != session.login)
            assert (await c.ask(DISCONNECT, *named(other))).code == Code.DISCONNECT_ACK
            isp.clear_faults(session.login)
            assert (await c.ask(DISCONNECT, *named(session))).code == Code.DISCONNECT_ACK


async def test_a_session_that_is_gone_is_never_called_not_removable(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        nas = isp.nas_of(session.login)
        isp.set_fault("nak:504", session.login)
        isp.set_fault("stale-session", session.login)
        with dac(nas) as c:
            reply = await c.ask(DISCONNECT, *named(session))
        assert (reply.code, int.from_bytes(reply.data("Error-Cause"), "big")) == (Code.DISCONNECT_NAK, 503)


async def test_silence_for_all(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("silence")
        with dac(isp.nas_of(session.login)) as c:
            assert await c.ask(DISCONNECT, *named(session), timeout_s=QUIET_S) is None
        assert isp.sessions(session.login) == (session,)
        assert isp.nas_of(session.login).received[-1].outcome == "silence"


async def test_reply_lost(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("reply-lost", session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert await c.ask(DISCONNECT, *named(session), timeout_s=QUIET_S) is None
        await again(isp, session)
        assert await closed(isp, session) == "Admin-Reset"


async def test_ack_without_effect(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("ack-without-effect", session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert (await c.ask(DISCONNECT, *named(session))).code == Code.DISCONNECT_ACK
            assert (await c.ask(COA, *named(session), ("Mikrotik-Rate-Limit", "1M/1M"))).code == Code.COA_ACK
        assert isp.sessions(session.login) == (session,)
        assert session.policy.rate_limit != "1M/1M"
        assert (await acct(isp, session))[0] is None


async def test_slow_and_latency(tmp_path):
    async with small_isp(tmp_path, latency_s=0.1) as isp:
        session = somebody(isp)
        isp.set_fault("slow:0.2", session.login)
        with dac(isp.nas_of(session.login)) as c:
            begun = trio.current_time()
            wire = c.request(DISCONNECT, *named(session))
            assert await c.exchange(wire, timeout_s=0.05) is None
            assert await c.exchange(wire, timeout_s=0.05) is None  # a copy while the first is in hand
            assert isp.sessions(session.login) == (session,)
            reply = radius_codec.decode_untrusted(await c.receive(5))
            assert reply.code == Code.DISCONNECT_ACK
            assert trio.current_time() - begun >= 0.3
        await again(isp, session)
        assert [r.outcome for r in isp.nas_of(session.login).received] == ["duplicate", "ack"]


async def test_duplicate_replies(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("duplicate-replies", session.login)
        with dac(isp.nas_of(session.login)) as c:
            first = await c.ask(DISCONNECT, *named(session))
            assert await c.receive(5) == first.wire


async def test_wrong_secret(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("wrong-secret", session.login)
        with dac(isp.nas_of(session.login)) as c:
            wire = c.request(DISCONNECT, *named(session))
            await c.udp.sendto(wire, c.to)
            reply = radius_codec.decode_untrusted(await c.receive(5))
            assert reply.code == Code.DISCONNECT_ACK
            assert not radius_codec.reply_is_authentic(reply, radius_codec.decode_untrusted(wire), c.secret)
        await again(isp, session)


async def test_stale_session(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("stale-session", session.login)
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.ask(DISCONNECT, *named(session))
        assert int.from_bytes(reply.data("Error-Cause"), "big") == 503
        assert isp.sessions(session.login) == ()
        assert (await acct(isp, session))[0] is None


async def test_no_redial_and_stop_lost(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault("no-redial", session.login)
        isp.set_fault("stop-lost", session.login)
        with dac(isp.nas_of(session.login)) as c:
            assert (await c.ask(DISCONNECT, *named(session))).code == Code.DISCONNECT_ACK
        await trio.sleep(QUIET_S)
        assert isp.sessions(session.login) == ()
        assert (await acct(isp, session))[0] is None
        isp.clear_faults()
        assert await isp.dial(session.login) is not None


@pytest.mark.parametrize(
    ("fault", "ma", "stamp", "naks"),
    [
        ("reject-401", True, False, True),
        ("reject-401", False, True, True),
        ("reject-401", False, False, False),
        ("reject-401:message-authenticator", True, False, True),
        ("reject-401:message-authenticator", False, True, False),
        ("reject-401:event-timestamp", False, True, True),
        ("reject-401:event-timestamp", True, False, False),
    ],
)
async def test_reject_401(tmp_path, fault, ma, stamp, naks):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        isp.set_fault(fault)
        extra = (("Event-Timestamp", int(time.time())),) if stamp else ()
        with dac(isp.nas_of(session.login)) as c:
            reply = await c.exchange(c.request(DISCONNECT, *named(session), *extra, ma=ma))
        assert reply.code == (Code.DISCONNECT_NAK if naks else Code.DISCONNECT_ACK)
        assert reply.text("Error-Cause") == ("Unsupported-Attribute" if naks else None)


@pytest.mark.parametrize(
    "text", ["nak", "nak:200", "nak:600", "slow", "slow:-1", "slow:x", "silence:1", "reject-401:x", "?"]
)
def test_unknown_faults_are_refused(text):
    with pytest.raises(UnknownFaultError):
        parse_fault(text)


def test_a_logins_own_fault_goes_before_the_general_one():
    book = FaultBook()
    book.set(parse_fault("nak:503"))
    book.set(parse_fault("nak:504"), "alice")
    assert [book.get(FaultKind.NAK, who).value for who in ("alice", "bob")] == [504, 503]
    book.clear("alice")
    assert book.get(FaultKind.NAK, "alice").value == 503
    book.clear()
    assert book.get(FaultKind.NAK, "alice") is None


# --- sessions and accounting -----------------------------------------------------------------------------------------


async def test_hang_up_is_for_good_and_a_rejected_cpe_gets_nothing(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        assert await isp.hang_up(session.login) == 1
        assert await closed(isp, session) == "User-Request"
        unmapped = next(s for s in isp.services if not s.mapped)
        assert await isp.dial(unmapped.login) is None
        await trio.sleep(QUIET_S)
        assert isp.sessions(session.login) == isp.sessions(unmapped.login) == ()
        with pytest.raises(LabError, match="login"):
            await isp.dial("nobody")


async def test_a_rejected_redial_is_tried_until_radius_accepts(tmp_path):
    async with small_isp(tmp_path) as isp:
        session = somebody(isp)
        await isp.database.execute("UPDATE radcheck SET value = 'other' WHERE username = ?", (session.login,))
        with dac(isp.nas_of(session.login)) as c:
            await c.ask(DISCONNECT, *named(session))
        await trio.sleep(QUIET_S)
        assert isp.sessions(session.login) == ()
        password = next(s.password for s in isp.services if s.login == session.login)
        await isp.database.execute("UPDATE radcheck SET value = ? WHERE username = ?", (password, session.login))
        await again(isp, session)


async def test_interim_updates_move_the_row(tmp_path):
    async with small_isp(tmp_path, services=2, nas=1, interim_s=1) as isp:
        session = somebody(isp)
        columns = "acctinputoctets, acctoutputoctets, acctsessiontime, acctinterval"
        sql = f"SELECT {columns} FROM radacct WHERE acctsessionid = ?"
        with trio.fail_after(60):
            while not (row := (await isp.database.fetch(sql, (session.session_id,)))[0])[0]:  # noqa: ASYNC110 (as above)
                await trio.sleep(0.05)
        assert row[1] > row[0] > 0
        assert row[2] >= 1
        assert row[3] == 0


async def test_accounting_on_closes_what_was_open_before(tmp_path):
    async with small_isp(tmp_path) as isp:
        before = {s.session_id for s in isp.sessions()}
    async with small_isp(tmp_path) as isp:
        open_now = await isp.database.fetch("SELECT acctsessionid FROM radacct WHERE acctstoptime IS NULL")
        assert {r[0] for r in open_now} == {s.session_id for s in isp.sessions()}
        assert before.isdisjoint(r[0] for r in open_now)


def test_pools_hand_out_every_address_once_and_reuse_the_oldest(tmp_path):
    plan = isp_module._plans(0)[0]
    pool = Pool(plan)
    leases = [pool.take() for _ in range(4093)]
    assert len({x.address4 for x in leases}) == len({x.delegated6 for x in leases}) == 4093
    assert all(x.address4 in plan.network4 and x.framed6.subnet_of(plan.framed6) for x in leases)
    assert all(x.delegated6.subnet_of(plan.delegated6) for x in leases)
    with pytest.raises(LabError, match="free address"):
        pool.take()
    pool.give_back(leases[5])
    assert pool.take() == leases[5]


def test_no_two_bng_share_a_prefix_and_every_garden_is_declared():
    plans = [isp_module._plans(n) for n in range(isp_module.NAS_MAX)]
    nets = [ip_network(n) for pair in plans for p in pair for n in (p.network4, p.framed6, p.delegated6)]
    for i, a in enumerate(nets):
        assert not any(a.version == b.version and a.overlaps(b) for b in nets[i + 1 :])
    for _, garden in plans:
        assert any(garden.network4.subnet_of(n) for n in isp_module.GARDEN4)
        assert all(any(x.subnet_of(n) for n in isp_module.GARDEN6) for x in (garden.framed6, garden.delegated6))


async def test_the_accounting_port_is_not_a_dynauth_port(tmp_path):
    async with small_isp(tmp_path) as isp:
        with client(isp.radius.acct_port, isp.radius.secret) as c:
            assert await c.ask(DISCONNECT, ("User-Name", "x"), timeout_s=QUIET_S) is None
