"""Attacks on the ACS by somebody on the access network: each fails, for the reason given."""

from __future__ import annotations

import base64
import gzip
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from agent.connectors.base import LostError
from agent.connectors.cwmp import envelope, limits, reading
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import ParameterValue
from agent.connectors.cwmp.versions import CwmpVersion
from agent.runtime.http_wire import Wire
from tests.agent.connectors.cwmp.http_rig import (
    DEVICE,
    GET,
    INFORM,
    Caller,
    Desk,
    HungUpError,
    Site,
    acs,
    inform,
    inform_of,
    said,
    until,
)
from tests.builders.expect import expect

ATTACKER, OTHER, HONEST = "127.0.0.2", "127.0.0.3", "127.0.0.9"


async def is_served(at: Site, number: int = 900, host: str = HONEST) -> bool:
    """Tell whether an honest CPE is: let in, and let go as it should be."""
    cpe = await at.connect(host)
    try:
        return (await cpe.log_in(inform_of(number))).status == 200 and (await cpe.post()).status == 204
    except (HungUpError, trio.BrokenResourceError):
        return False


async def is_closed(stream: trio.SocketStream) -> bool:
    """Tell whether a connection is closed on the other side, in as far as that can be seen now."""
    with trio.move_on_after(0.05), suppress(trio.BrokenResourceError):
        return await stream.receive_some(1) == b""
    return False


# --- x20 a1: connections of who knows no password ---------------------------------------------------------------------


async def test_800_idle_connections_of_two_addresses_block_nobody() -> None:
    async with acs() as at:
        each = at.acs._config.sessions // limits.SHARE
        for host in (ATTACKER, OTHER):
            for _ in range(400):
                with suppress(OSError):
                    await at.dial(host)
        await until(lambda: len(at.acs._clients) <= 2 * each)
        assert await is_served(at)
        assert len(at.acs._clients) <= 2 * each + 1, "a few of each address, whoever holds them"


async def test_silence_gives_its_place_to_others_of_the_same_address() -> None:
    """Behind one address of a carrier-grade NAT: a neighbor who holds all its places, and a CPE."""
    async with acs(sessions=16) as at:
        for _ in range(limits.SHARE_LEAST):
            await at.dial(HONEST)
        await until(lambda: len(at.acs._clients) == limits.SHARE_LEAST)
        assert not await is_served(at), "they may still be logging in"
        with trio.fail_after(30):
            while not await is_served(at):  # noqa: ASYNC110  real sockets: each try takes its time
                await trio.sleep(0.2)


async def test_who_says_nothing_after_a_challenge_is_hung_up_on_soon(autojump_clock: trio.testing.MockClock) -> None:
    async with acs() as at:
        cpe = await at.connect()
        assert (await cpe.post()).status == 401
        start = trio.current_time()
        await cpe.rest()
        assert trio.current_time() - start == pytest.approx(limits.FIRST_HEAD_S, abs=3)


async def test_strangers_displace_nobody_who_fetches_a_file() -> None:
    asked, go_on = trio.Event(), trio.Event()

    async def slow(_target: str, wire: Wire) -> None:
        asked.set()
        await go_on.wait()
        await wire.answer(200, [], b"image", close=True)

    async with acs(sessions=16, files_by=slow) as at:
        cpe = await at.connect(HONEST)
        await cpe.send(b"GET /files/x HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        for _ in range(3 * limits.SHARE_LEAST):
            await at.dial(HONEST)
        await until(lambda: len(at.acs._clients) == 1 + limits.SHARE_LEAST)
        go_on.set()
        assert (await cpe.answer()).body == b"image"


async def test_strangers_places_are_no_places_of_accepted_cpe() -> None:
    async with acs(Desk(holds=True), sessions=4) as at:
        inside = await at.connect(HONEST)
        await inside.log_in(INFORM)
        for host in range(20, 60):
            await at.dial(f"127.0.0.{host}")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(at.acs._clients) == 2 * 4 + 1
        assert (await inside.post(said(m.GetRPCMethods()))).status == 200, "who is in goes on"
        at.desk.accepts = False
        assert (await (await at.connect("127.0.0.99")).post(INFORM)).status == 401, (
            "and who comes takes another's place"
        )


async def test_who_connects_too_often_is_hung_up_on_at_the_door(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ARRIVALS", 5.0)
    monkeypatch.setattr(limits, "ARRIVALS_PER_S", 0.001)
    async with acs(Desk(accepts=False)) as at:
        served = [await is_served(at, number, ATTACKER) for number in range(10)]
        assert served == [True] * 6 + [False] * 4, "the last one may go beyond"
        assert at.acs.refused == 4
        assert await is_served(at)
        await trio.sleep(1500)
        assert [await is_served(at, number, ATTACKER) for number in range(3)] == [True, False, False]


async def test_connection_that_became_accepted_cpes_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A street behind one address of a carrier-grade NAT, and a proxy before the ACS."""
    monkeypatch.setattr(limits, "ARRIVALS", 3.0)
    monkeypatch.setattr(limits, "ARRIVALS_PER_S", 0.001)
    monkeypatch.setattr(limits, "REGULAR_ARRIVAL", 1.0)
    async with acs() as at:
        assert [await is_served(at, number) for number in range(20)] == [True] * 20
        at.desk.accepts = False
        assert [await is_served(at, number) for number in range(5)] == [True] * 4 + [False]


async def test_accepted_cpes_networks_keep_places_from_strangers() -> None:
    async with acs(Desk(known=[HONEST]), sessions=4) as at:
        at.acs._strangers._most = 1000  # more than there may be of all together
        for host in range(20, 60):
            await at.dial(f"127.0.0.{host}")
        await until(lambda: len(at.acs._clients) == 3 * 4)
        assert not await is_served(at, host=OTHER)
        assert await is_served(at), "it called before the agent was started"
        assert len(at.acs._returning) == 0


async def test_who_lost_its_place_before_an_answer_has_not_called() -> None:
    """Its Inform would be taken to have booted the CPE, and it would send it again."""
    async with acs(Desk(accepts=False)) as at:
        cpe = await at.connect(ATTACKER)
        turns = at.acs._stranger_turns

        async def log_in() -> None:
            with pytest.raises(HungUpError):
                await cpe.log_in()

        async with trio.open_nursery() as nursery:
            turns._most = turns._left = -1.0  # no pass has room
            nursery.start_soon(log_in)
            for _ in range(2):  # for its connection, and for its first POST
                await until(lambda: len(turns._line) == 1)
                turns._line.unpark()
            await until(lambda: len(turns._line) == 1)
            (client,) = at.acs._clients
            client.hang_up()
            turns._most = limits.STRANGER_PASS_WORK
        assert at.desk.informs == []


async def test_who_lost_its_place_before_its_turn_is_gone_at_once() -> None:
    async with acs(Desk(accepts=False)) as at:
        turns = at.acs._stranger_turns
        turns._most = turns._left = -1.0  # no pass has room
        stream = await at.dial(ATTACKER)
        await until(lambda: len(turns._line) == 1)
        (client,) = at.acs._clients
        client.hang_up()
        with trio.fail_after(60):
            assert await stream.receive_some(1) == b""
        await until(lambda: not at.acs._clients)


async def test_who_is_being_answered_keeps_its_place() -> None:
    places: list[int] = []
    desk = Desk(accepts=False, on_inform=lambda _call, _informed: places.append(len(at.acs._strangers)))
    async with acs(desk) as at:
        cpe = await at.connect(ATTACKER)
        assert (await cpe.log_in()).status == 200
        assert places == [0], "nobody can take it meanwhile"
        await until(lambda: len(at.acs._strangers) == 1)


# --- x20 a2: sessions of who knows the password of all ----------------------------------------------------------------


def silent(number: int) -> bytes:
    """Return an Inform that asks for ten minutes of silence."""
    device = replace(DEVICE, serial_number=f"S{number}")
    return envelope.write(inform(device=device), Header("c1", session_timeout_s=600), CwmpVersion.V1_2)


async def test_200_sessions_of_one_address_shut_nobody_out(autojump_clock: trio.testing.MockClock) -> None:
    async with acs(Desk(accepts=False)) as at:
        for number in range(205):
            cpe = await at.connect(ATTACKER)
            assert (await cpe.log_in(silent(number))).status == 200
            await trio.sleep(1 / limits.ARRIVALS_PER_S)
        assert at.acs.sessions == limits.STRANGER_SESSIONS_EACH
        assert await is_served(at)
        await trio.sleep(limits.TIMEOUT_S + 3)
        assert at.acs.sessions == 0, "no stranger is granted ten minutes"


async def test_sessions_of_strangers_leave_most_places_to_ours() -> None:
    async with acs(Desk(accepts=False), sessions=8) as at:
        for host in range(20, 40):
            assert (await (await at.connect(f"127.0.0.{host}")).log_in(inform_of(host))).status == 200
        assert at.acs.sessions == 8 // limits.STRANGER_SESSIONS
        at.desk.accepts, at.desk.holds = True, True
        for number in range(8):
            assert (await (await at.connect(HONEST)).log_in(inform_of(number))).status == 200
        assert at.acs.sessions == 8
        assert (await (await at.connect(HONEST)).post(INFORM)).status == 503, "strangers went, accepted CPE do not"


async def test_an_accepted_cpe_has_one_session_and_not_all_of_them() -> None:
    async with acs(Desk(holds=True), sessions=4) as at:
        for host in range(20, 30):
            assert (await (await at.connect(f"127.0.0.{host}")).log_in()).status == 200
        assert at.acs.sessions == 1
        assert [call.over.is_set() for call, _, _ in at.desk.informs] == [True] * 9 + [False]


async def test_a_session_on_many_connections_has_one_accepted_place() -> None:
    async with acs(Desk(holds=True), sessions=16) as at:
        first = await at.connect(ATTACKER)
        await first.log_in()
        for _ in range(12):
            other = await at.connect(ATTACKER)
            other.cookie = first.cookie
            with suppress(HungUpError, trio.BrokenResourceError):
                await other.post(said(m.GetRPCMethods()))
        assert sum(client.is_member for client in at.acs._clients) <= 1
        assert len(at.acs._clients) <= 1 + limits.SHARE_LEAST


# --- x20 a3: work -----------------------------------------------------------------------------------------------------


def many(count: int, identity: str = "x") -> bytes:
    """Return an answer with so many values."""
    value = ParameterValue("Device.A.B", Value("x", "string"))
    one = envelope.write(m.GetParameterValuesResponse((value,)), Header(identity), CwmpVersion.V1_0)
    start, end = one.index(b"<ParameterValueStruct>"), one.index(b"</ParameterList>")
    return one[:start] + one[start:end] * count + one[end:]


def packed(body: bytes) -> bytes:
    """Return it in gzip, with random text that keeps it from being called a bomb."""
    noise = base64.b64encode(random.Random(1).randbytes(20_000))
    return gzip.compress(body.replace(b"<soapenv:Body>", b"<!--%b--><soapenv:Body>" % noise))


@pytest.mark.parametrize("accepts", [False, True])
async def test_a_small_post_that_inflates_is_not_read(accepts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """45 kB on the wire, 9 MB of 65,000 values: it was asked by nobody, of a stranger or of an accepted CPE."""
    read: list[int] = []
    slices = reading.read_in_slices_untrusted
    monkeypatch.setattr(
        reading, "read_in_slices_untrusted", lambda body, most: read.append(len(body)) or slices(body, most)
    )
    async with acs(Desk(holds=True, accepts=accepts)) as at:
        cpe = await at.logged_in()
        read.clear()
        answer = await cpe.post(packed(many(65_000)), [("Content-Encoding", "gzip")])
        assert answer.status == 400
        assert read == []
        assert at.acs.sessions == 0


@pytest.mark.parametrize("accepts", [False, True])
async def test_elements_of_a_small_body_are_bounded(accepts: bool) -> None:
    async with acs(Desk(holds=True, accepts=accepts)) as at:
        cpe = await at.logged_in()
        body = said(m.GetRPCMethods()).replace(
            b"</soapenv:Body>", b"<a/>" * limits.STRANGER_ELEMENTS + b"</soapenv:Body>"
        )
        assert len(body) < limits.STRANGER_BODY_BYTES
        answer = await cpe.post(body)
        assert isinstance(answer.message, m.Fault)
        assert f"at most {limits.STRANGER_ELEMENTS} elements" in (answer.message.fault_string or "")


async def test_a_large_answer_is_read_in_slices_between_others() -> None:
    async with acs(Desk(holds=True)) as at:
        cpe = await at.logged_in()
        turns = 0

        async def ask() -> None:
            answer = expect(m.GetParameterValuesResponse, await at.desk.call.ask(GET))
            assert len(answer.parameter_list) == 6000
            at.desk.call.release()

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            asked = await cpe.post()
            body = many(6000, asked.id)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as beside:
                    beside.start_soon(others)
                    before = turns
                    assert (await cpe.post(body)).status == 204
                    scope.cancel()
        assert turns - before >= len(body) // limits.SLICE_BYTES


async def test_who_causes_too_much_work_is_told_to_come_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ARRIVALS", 1000.0)
    async with acs(Desk(accepts=False)) as at:
        heavy = said(m.GetRPCMethods()).replace(b"</soapenv:Body>", b"<a/>" * 1900 + b"</soapenv:Body>")
        told: list[int] = []
        for number in range(100):
            cpe = await at.connect(ATTACKER)
            told.append((await cpe.log_in(inform_of(number))).status)
            if told[-1] == 503:
                break
            before = trio.current_time()
            await cpe.post(heavy)
            await trio.aclose_forcefully(cpe.stream)
            if trio.current_time() > before + 0.01:
                break  # it waited for its next work
        assert len(told) < 60, "2,000 units are some 30 of these"
        assert await is_served(at)
        await trio.sleep(60)
        assert await is_served(at, host=ATTACKER), "it is given more in time"


async def test_a_cpe_that_causes_too_much_work_waits_alone(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CPE_WORK", 50.0)
    monkeypatch.setattr(limits, "CPE_WORK_PER_S", 10.0)
    async with acs(Desk(holds=True)) as at:
        cpe = await at.logged_in()
        start = trio.current_time()
        for number in range(100):
            assert (await cpe.post(said(m.GetRPCMethods(), f"i{number}"))).status == 200
        assert trio.current_time() > start + 5
        start = trio.current_time()
        at.desk.holds = False
        assert await is_served(at)
        assert trio.current_time() < start + 1


# --- x20 a5: memory ---------------------------------------------------------------------------------------------------


async def test_an_authorization_header_lifts_no_limit() -> None:
    async with acs() as at:
        head = b"POST /acs HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nContent-Length: 1048576\r\n\r\n"
        cpe = await at.connect()
        with suppress(trio.BrokenResourceError):
            await cpe.send(head + bytes(1_048_000))
        assert (await cpe.rest())[:12] in (b"HTTP/1.1 413", b"")


async def test_bodies_in_memory_are_bounded_and_the_largest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STRANGER_BYTES", 300_000)
    head = b"POST /acs HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n"
    async with acs() as at:
        held = [await at.dial(f"127.0.0.{host}") for host in range(20, 40)]
        for stream in held:
            await stream.send_all(head + bytes(60_000))
        await until(lambda: len(at.acs._clients) == 4)
        assert at.acs._stranger_bytes.total <= 300_000
        assert await is_served(at)
        for stream in held:
            await trio.aclose_forcefully(stream)
        await until(lambda: at.acs._stranger_bytes.total == 0)


async def test_large_bodies_of_accepted_cpe_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGE_BYTES", 3 * limits.BODY_BYTES)
    async with acs(Desk(holds=True)) as at:
        sent = []
        for number in range(3):
            cpe = await at.connect()
            await cpe.log_in(inform_of(number))
            call = at.desk.call

            async def ask(call: CwmpSession = call) -> None:
                with suppress(LostError):
                    await call.ask(GET)

            at.nursery.start_soon(ask)
            await cpe.post()
            head = (
                f"POST /acs HTTP/1.1\r\nHost: a\r\nCookie: {cpe.cookie}\r\nContent-Length: {limits.BODY_BYTES}\r\n\r\n"
            )
            await cpe.send(head.encode() + bytes(1000))
            sent.append(cpe)
        await until(lambda: 0 < at.acs._large_bytes.total <= 3 * limits.BODY_BYTES)
        at.desk.holds = False
        assert await is_served(at)


# --- x21: HTTP that two servers read differently ----------------------------------------------------------------------

H = b"POST /acs HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /files/x HTTP/1.1\r\nHost: a\r\n\r\n"
ONE_ANSWER = {
    "CL+TE": (H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, 400),
    "TE+CL": (H + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT, 400),
    "two CL": (H + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + NEXT, 400),
    "CL +5": (H + b"Content-Length: +5\r\n\r\nabcde" + NEXT, 400),
    "TE xchunked": (H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT, 501),
    "TE space": (H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT, 400),
    "bare LF": (H.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + NEXT, 400),
    "one bare LF": (H + b"X: y\nContent-Length: 0\r\n\r\n" + NEXT, 400),
    "huge chunk": (H + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFF\r\nabc" + NEXT, 400),
    "NUL": (H + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n" + NEXT, 400),
}


@pytest.mark.parametrize("name", ONE_ANSWER)
async def test_what_two_servers_read_differently_ends_the_connection(name: str) -> None:
    data, status = ONE_ANSWER[name]
    async with acs() as at:
        cpe = await at.connect()
        await cpe.send(data)
        got = await cpe.rest()
        assert got.startswith(b"HTTP/1.1 %d" % status)
        assert got.count(b"HTTP/1.1 ") == 1


async def test_lines_that_end_in_lf_alone_are_taken_from_accepted_cpe() -> None:
    async with acs() as at:
        cpe = await at.logged_in()
        await cpe.send(b"POST /acs HTTP/1.1\nHost: a\nCookie: %b\nContent-Length: 0\n\n" % cpe.cookie.encode())
        assert (await cpe.rest()).startswith(b"HTTP/1.1 204")


# --- all of it at once ------------------------------------------------------------------------------------------------


async def churn(at: Site, hosts: Sequence[str], stop: trio.Event) -> None:
    """Connect again and again, with all that a stranger can do."""
    dice = random.Random(hosts[0])
    while not stop.is_set():
        stream = await trio.open_tcp_stream("127.0.0.1", at.port, local_address=dice.choice(hosts))
        with suppress(HungUpError, trio.BrokenResourceError, trio.ClosedResourceError, AssertionError):
            with trio.move_on_after(dice.random() / 20):
                cpe = Caller(stream)
                if dice.random() < 0.5:
                    await cpe.log_in(silent(dice.randrange(10_000)))
                    await cpe.post(many(600))
                else:
                    await cpe.send(H + b"Content-Length: 60000\r\n\r\n" + bytes(dice.randrange(60_000)))
                    await trio.sleep(1)
        await trio.aclose_forcefully(stream)


async def test_after_a_flood_nothing_is_left_of_it() -> None:
    async with acs(Desk(accepts=False)) as at:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(partial(churn, at, [f"127.0.2.{number + 1}", f"127.0.3.{number + 1}"], stop))
            with trio.move_on_after(1.0):
                await trio.sleep_forever()
            assert at.acs._stranger_bytes.total <= limits.STRANGER_BYTES
            assert await is_served(at)
            stop.set()
        await until(lambda: not at.acs._clients)
        assert at.acs._stranger_bytes.total == at.acs._small_bytes.total == at.acs._large_bytes.total == 0
        assert len(at.acs._strangers) == len(at.acs._fetching) == 0
        assert len(at.acs._visitors) == at.acs.sessions
