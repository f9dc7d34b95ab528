"""A CPE that runs: HTTP, retries, connection requests, transfers, power cuts. In memory on a virtual clock."""

from __future__ import annotations

import gzip
import itertools
import ssl

import h11
import pytest
import trio
import trio.testing

from lab.cpe.auth import Server
from lab.cpe.caller import Caller
from lab.cpe.client import Cpe
from lab.cpe.errors import HttpError, NotLoopbackError
from lab.cpe.http import HttpSession, Network, connect_loopback
from lab.cpe.quirks import Quirks
from lab.cpe.records import Booted, SessionBegun, SessionOver, Transferred, Woken
from lab.cpe.transfers import firmware
from lab.router.certificate import make_certificate
from lab.tests.cpe import acs
from lab.tests.cpe.acs import Acs, device, listening, running

SSID = "Device.WiFi.SSID.1.SSID"


def kinds(cpe: Cpe, kind: type) -> list:
    return [one for one in cpe.log if isinstance(one, kind)]


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_over_one_connection_with_its_cookies(autojump_clock):
    server = Acs(queue=[])
    server.queue = acs.deque([acs.get_values("Device.DeviceInfo."), acs.set_values({SSID: "x"})])
    async with running(server) as cpe:
        await cpe.wait_sessions(1)
    assert [one.method for one in server.got] == ["Inform", "GetParameterValuesResponse", "SetParameterValuesResponse"]
    first, empty, *_ = [headers for headers, _ in server.requests]
    assert first["content-type"] == 'text/xml; charset="utf-8"'
    assert first["soapaction"] == ""
    assert "cookie" not in first
    assert empty["cookie"] == "session=1"
    assert (empty["content-length"], "soapaction" in empty) == ("0", False)
    assert cpe.executed("SetParameterValues")[0].fault == 0
    assert len(cpe.executed()) == 2
    assert kinds(cpe, SessionBegun)[0].codes == ("0 BOOTSTRAP", "1 BOOT")


async def test_cookies_of_a_session_are_not_the_next_ones(autojump_clock):
    server = Acs()
    async with running(server) as cpe:
        await cpe.wait_sessions(1)
        await cpe.call_in()
        assert "cookie" not in server.requests[2][0]
        cpe.device.quirks = Quirks(no_cookies=True)
        await cpe.call_in()
        assert "cookie" not in server.requests[-1][0]
        # a cookie that the ACS ends is not sent
        cpe.device.quirks = Quirks()
        server.cookie = "session=; Max-Age=0"
        await cpe.call_in()
        assert "cookie" not in server.requests[-1][0]


async def test_periodic_informs_by_the_clock(autojump_clock):
    server = Acs()
    async with running(server, device(interval_s=3600), within_s=1e6) as cpe:
        await cpe.wait_sessions(25)
    times = [one.at for one in kinds(cpe, SessionBegun)]
    assert times[-1] - times[0] == pytest.approx(24 * 3600)
    assert server.informs[-1].codes == ["2 PERIODIC"]


async def test_a_wait_too_short_for_the_clock_ends(autojump_clock):
    server = Acs()
    autojump_clock.jump(2.0**20)
    async with running(server, device(interval_s=60, clock=lambda: 0.0)) as cpe:
        await cpe.wait_sessions(1)
        due, began, looks = cpe._caller.due(), trio.current_time(), 0

        def clock() -> float:
            nonlocal looks
            looks += 1
            assert looks < 10_000, "it goes round in a circle"
            return due - 2.0**-40 + (trio.current_time() - began)

        assert began + 2.0**-40 == began
        assert due - 2.0**-40 < due
        cpe.device.clock = clock
        cpe._news()
        await cpe.wait_sessions(2)


async def test_calling_in(autojump_clock):
    server = Acs()
    async with running(server) as cpe:
        over = await cpe.call_in("6 CONNECTION REQUEST")
        assert (over.ok, over.reason, over.informed) == (True, "", True)
        assert [one.codes for one in server.informs] == [["0 BOOTSTRAP", "1 BOOT"], ["6 CONNECTION REQUEST"]]
        cpe.device.put("Device.DeviceInfo.ProvisioningCode", "x")
        await cpe.wait_sessions(3)
        assert server.informs[2].codes == ["4 VALUE CHANGE"]


# --- authentication ---------------------------------------------------------------------------------------------------


def asks_for(challenges: list[str], seen: list):
    def check(headers, body):
        seen.append(headers.get("authorization", ""))
        if not headers.get("authorization"):
            return 401, [("WWW-Authenticate", one) for one in challenges], b""
        return None

    return check


@pytest.mark.parametrize(
    ("challenges", "quirks", "starts"),
    [
        (['Digest realm="r", nonce="n", qop="auth", algorithm=MD5'], Quirks(), "Digest"),
        (['Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'], Quirks(), "Digest"),
        (['Digest realm="r", nonce="n"'], Quirks(), "Digest"),
        (["Basic realm=x"], Quirks(), "Basic"),
        (["Basic realm=x"], Quirks(preemptive_basic=True), "Basic"),
        (['Digest realm="r", nonce="n", qop="auth"'], Quirks(no_qop=True), "Digest"),
    ],
)
async def test_only_the_first_request_is_challenged_and_answered(challenges, quirks, starts, autojump_clock):
    seen = []
    server = Acs(before=[asks_for(challenges, seen)])
    async with running(server, device(username="u", password="p", quirks=quirks)) as cpe:
        await cpe.wait_sessions(1)
    assert kinds(cpe, SessionOver)[0].ok
    expected = 2 if quirks.preemptive_basic else 3
    assert len(seen) == expected
    assert seen[-1].startswith(starts)
    assert ("qop" in seen[-1]) == ("qop" in challenges[0] and not quirks.no_qop)


async def test_a_real_digest_is_right():
    """Checked by the lab's own verifier, which has RFC 7616's examples."""
    verifier = Server("cpe")

    def check(headers, body):
        said = headers.get("authorization", "")
        if not verifier.accepts_untrusted(said, "POST", "/acs", "u", "p"):
            return 401, [("WWW-Authenticate", verifier.challenge())], b""
        return None

    server = Acs(before=[check])
    async with running(server, device(username="u", password="p")) as cpe:
        await cpe.wait_sessions(1)
        assert kinds(cpe, SessionOver)[0].ok
    server = Acs(before=[check])
    async with running(server, device(username="u", password="wrong")) as cpe:
        await cpe.wait_sessions(1)
        over = kinds(cpe, SessionOver)[0]
        assert (over.ok, over.reason) == (False, "expected status 200 or 204, got 401")
    assert len(server.requests) == 3


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_retries_wait_as_the_standard_says(autojump_clock):
    server = Acs(before=[lambda headers, body: (500, [], b"")])
    async with running(server, device(interval_s=0), within_s=1e6) as cpe:
        await cpe.wait_sessions(13)
    begun = [one.at for one in kinds(cpe, SessionBegun)]
    waits = [b - a for a, b in itertools.pairwise(begun)]
    for n, wait in enumerate(waits, 1):
        k = min(n, 10)
        assert 5 * 2 ** (k - 1) - 0.01 <= wait <= 5 * 2**k + 0.01
    assert [one.retry_count for one in kinds(cpe, SessionBegun)] == list(range(13))


async def test_waits_can_be_scaled_and_a_call_does_not_wait(autojump_clock):
    server = Acs(before=[lambda headers, body: (500, [], b"")])
    async with running(server, device(interval_s=0), backoff_scale=0.001) as cpe:
        before = trio.current_time()
        await cpe.wait_sessions(5)
        assert trio.current_time() - before < 0.2
    async with running(server, device(interval_s=0)) as cpe:
        await cpe.wait_sessions(2)
        server.before.clear()
        before = trio.current_time()
        assert (await cpe.call_in()).ok
        assert trio.current_time() == before
        assert server.informs[-1].text("RetryCount") == "2"
        assert cpe.device.retry_count == 0


@pytest.mark.parametrize(
    ("after", "wait_s"), [("120", 120.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 5.0), ("soon", 5.0), ("", 5.0)]
)
async def test_retry_after_is_obeyed(after, wait_s, autojump_clock):
    answers = acs.deque([(503, [("Retry-After", after)], b"")])
    server = Acs(answers=answers)
    async with running(server, device(interval_s=0)) as cpe:
        await cpe.wait_sessions(2)
    first, second = (one.at for one in kinds(cpe, SessionBegun))
    assert wait_s - 0.01 <= second - first <= max(wait_s, 10) + 0.01
    assert [(one.ok, one.reason) for one in kinds(cpe, SessionOver)] == [(False, "503"), (True, "")]
    assert server.informs[-1].codes == ["0 BOOTSTRAP", "1 BOOT"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, [], b"<html>"),
        (404, [], b""),
        (200, [("Content-Encoding", "gzip")], b"no gzip"),
        (200, [], acs.envelope("<cwmp:RebootResponse/>")),
        (307, [("Location", "ftp://x/")], b""),
        (302, [("Location", "http://[x/")], b""),
        (302, [("Location", "/acs")], b"again and again"),
    ],
)
async def test_answers_that_make_no_sense_end_the_session(answer, autojump_clock):
    server = Acs(before=[lambda headers, body: answer])
    async with running(server) as cpe:
        await cpe.wait_sessions(1)
    assert not kinds(cpe, SessionOver)[0].ok


async def test_a_redirect_and_a_gzip_answer(autojump_clock):
    def moved(headers, body):
        if headers[":path"] == "/acs":
            return 307, [("Location", "http://other.test/here")], b""
        if body:
            packed = gzip.compress(acs.envelope(acs.INFORM_RESPONSE))
            return 200, [("Content-Encoding", "gzip")], packed
        return None

    server = Acs(before=[moved])
    async with running(server) as cpe:
        await cpe.wait_sessions(1)
    assert kinds(cpe, SessionOver)[0].ok
    assert [headers["host"] for headers, _ in server.requests] == ["acs.test", "other.test", "other.test"]


async def test_an_acs_that_says_nothing_or_closes(autojump_clock):
    far_ends = []

    async def silent(host, port):
        return trio.testing.memory_stream_pair()[0]

    async def closing(host, port):
        near, far = trio.testing.memory_stream_pair()
        await far.aclose()
        return near

    async def ending(host, port):
        near, far = trio.testing.memory_stream_pair()
        far_ends.append(far)
        await far.send_stream.aclose()
        return near

    async def refusing(host, port):
        raise HttpError("nobody there", connected=False)

    reasons = {silent: "within 30 s", closing: "Broken", ending: "RemoteProtocolError", refusing: "nobody"}
    for connect, reason in reasons.items():
        cpe = Cpe(device(), network=Network(connect), listens=False)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
            await cpe.wait_sessions(1)
            nursery.cancel_scope.cancel()
        over = kinds(cpe, SessionOver)[0]
        assert not over.ok
        assert reason in over.reason


async def test_an_acs_that_keeps_no_connection(autojump_clock):
    def close(headers, body):
        return (200, [("Connection", "close")], acs.envelope(acs.INFORM_RESPONSE)) if body else None

    server = Acs(before=[close])
    async with running(server) as cpe:
        await cpe.wait_sessions(1)
    assert kinds(cpe, SessionOver)[0].ok


@pytest.mark.parametrize("url", ["nonsense", "", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http:///acs"])
async def test_an_address_that_is_none(url, autojump_clock):
    async with running(Acs(), device(url="http://acs.test/acs")) as cpe:
        await cpe.wait_sessions(1)
        cpe.device.set_server("URL", url)
        await cpe.wait_sessions(2)
    assert kinds(cpe, SessionOver)[1].reason == "expected an http URL, got something else"


async def test_nobody_is_called_outside_of_this_machine():
    for host in ("192.0.2.1", "acs.example.net", ""):
        with pytest.raises(NotLoopbackError):
            await connect_loopback(host, 80)
    cpe = Cpe(device(url="http://192.0.2.1/acs"), listens=False)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: cpe.run(task_status=task_status))
            await cpe.wait_sessions(1)
            nursery.cancel_scope.cancel()
    assert "of this machine" in kinds(cpe, SessionOver)[0].reason


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [Quirks(chunked=True), Quirks(gzip=True), Quirks(chunked=True, gzip=True)])
async def test_bodies_chunked_and_packed(quirks, autojump_clock):
    server = Acs()
    server.queue.append(acs.get_values("Device."))
    async with running(server, device(quirks=quirks)) as cpe:
        await cpe.wait_sessions(1)
    assert kinds(cpe, SessionOver)[0].ok
    headers = server.requests[0][0]
    assert (headers.get("transfer-encoding") == "chunked") == quirks.chunked
    assert (headers.get("content-encoding") == "gzip") == quirks.gzip
    assert len(server.last("GetParameterValuesResponse").values) > 100


# --- boots and files --------------------------------------------------------------------------------------------------


async def test_a_reboot_takes_its_time(autojump_clock):
    server = Acs()
    async with running(server, device(interval_s=0), boot_s=90) as cpe:
        await cpe.wait_sessions(1)
        server.queue.append(acs.reboot("key"))
        await cpe.call_in()
        await cpe.wait_sessions(3)
    over, begun = kinds(cpe, SessionOver)[1].at, kinds(cpe, SessionBegun)[2].at
    assert begun - over == pytest.approx(90)
    assert server.informs[-1].events == [("1 BOOT", ""), ("M Reboot", "key")]


async def test_firmware_from_the_download_to_transfer_complete(autojump_clock):
    server = Acs(files={"/files/fw": firmware("2.0", 100_000)})
    async with running(server, device(interval_s=0), boot_s=60) as cpe:
        await cpe.wait_sessions(1)
        server.queue.append(acs.download("http://acs.test/files/fw", "key", size=100_000))
        await cpe.call_in()
        await cpe.wait_for(lambda: cpe.device.software == "2.0")
        await cpe.wait_sessions(3)
    assert kinds(cpe, Transferred)[0].fault == 0
    assert [one.version for one in kinds(cpe, Booted)] == ["1.0.0", "2.0"]
    complete = server.last("TransferComplete")
    assert (complete.text("CommandKey"), complete.text("FaultStruct/FaultCode")) == ("key", "0")
    assert [one.codes for one in server.informs][-1] == [
        "1 BOOT",
        "4 VALUE CHANGE",
        "7 TRANSFER COMPLETE",
        "M Download",
    ]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://acs.test/files/none", "9016"),
        ("http://acs.test/other", "9010"),
        ("http://acs.test/login", "9012"),
        ("http://192.0.2.1/away", "9015"),
    ],
)
async def test_downloads_that_fail(url, code, autojump_clock):
    def check(headers, body):
        if headers[":path"] == "/acs":
            return None
        return (401 if headers[":path"] == "/login" else 500), [], b""

    server = Acs(before=[check])
    async with running(server, device(interval_s=0)) as cpe:
        await cpe.wait_sessions(1)
        server.queue.append(acs.download(url, "key"))
        await cpe.call_in()
        await cpe.wait_sessions(3)
    assert server.last("TransferComplete").text("FaultStruct/FaultCode") == code


@pytest.mark.parametrize(("connected", "code"), [(False, "9015"), (True, "9017")])
async def test_a_file_server_that_is_not_there_or_hangs_up(connected, code, autojump_clock):
    server = Acs()
    async with running(server, device(interval_s=0)) as cpe:
        await cpe.wait_sessions(1)
        reach = cpe._caller._network.connect

        async def connect(host: str, port: int):
            if host == "files.test" and not connected:
                raise HttpError("nobody there", connected=False)
            if host == "files.test":
                near, far = trio.testing.memory_stream_pair()
                await far.aclose()
                return near
            return await reach(host, port)

        cpe._caller = Caller(cpe.device, Network(connect))
        server.queue.append(acs.download("http://files.test/x", "key"))
        await cpe.call_in()
        await cpe.wait_sessions(3)
    assert server.last("TransferComplete").text("FaultStruct/FaultCode") == code


async def test_an_upload(autojump_clock):
    server = Acs()
    asked = (
        "<CommandKey>u</CommandKey><FileType>1 Vendor Configuration File</FileType><URL>http://acs.test/files/up</URL>"
        "<Username/><Password/><DelaySeconds>30</DelaySeconds>"
    )
    async with running(server, device(interval_s=0)) as cpe:
        await cpe.wait_sessions(1)
        server.queue.append(acs.request("Upload", asked))
        await cpe.call_in()
        await cpe.wait_sessions(3)
    assert b"SSID.1.SSID=home" in server.sent["/files/up"]
    assert server.informs[-1].events == [("7 TRANSFER COMPLETE", ""), ("M Upload", "u")]


async def test_a_power_cut_in_the_midst_of_a_session(autojump_clock):
    hanging = trio.Event()

    class Slow(Acs):
        async def serve(self, stream):
            if len(self.informs) == 1 and not hanging.is_set():
                hanging.set()
                await trio.sleep_forever()
            await super().serve(stream)

    server = Slow()
    async with running(server, device(interval_s=0), boot_s=5) as cpe:
        await cpe.wait_sessions(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cpe.call_in)
            await hanging.wait()
            cpe.power_cut()
            cpe.power_cut()
        await cpe.wait_sessions(3)
    overs = kinds(cpe, SessionOver)
    assert [(one.ok, one.reason) for one in overs] == [(True, ""), (False, "cancelled"), (True, "")]
    assert server.informs[-1].codes == ["1 BOOT"]
    assert kinds(cpe, Booted)[-1].boots == 2


async def test_an_answer_that_is_lost_is_asked_again(autojump_clock):
    server = Acs()
    quirks = Quirks(loses_answer_on=("SetParameterValues",))
    async with running(server, device(interval_s=0, quirks=quirks)) as cpe:
        await cpe.wait_sessions(1)
        server.queue.append(acs.set_values({SSID: "done"}))
        over = await cpe.call_in()
        assert (over.ok, over.executed) == (False, 1)
        assert cpe.device.tree.get(SSID) == "done"
        assert [one.answered for one in cpe.executed("SetParameterValues")] == [False]
        await cpe.call_in()
        # the Inform was answered before the line was cut: nothing is left to be said of it
        assert server.informs[-1].codes == ["2 PERIODIC"]


# --- real sockets -----------------------------------------------------------------------------------------------------


async def ring(url: str, username: str = "cr", password: str = "pw") -> int:
    http = HttpSession(url, username, password, Network())
    answer = await http.request("GET", [], b"")
    await http.aclose()
    return answer.status


async def test_connection_requests():
    server = Acs()
    async with listening(server) as base, trio.open_nursery() as nursery:
        dev = device("098", url=f"{base}/acs", cr_username="cr", cr_password="pw", interval_s=0)
        cpe = Cpe(dev, boot_s=3600)
        await nursery.start(lambda task_status: cpe.run(task_status=task_status))
        await cpe.wait_sessions(1)
        url = dev.server("ConnectionRequestURL")
        assert server.informs[0].values["InternetGatewayDevice.ManagementServer.ConnectionRequestURL"] == url
        assert await ring(url) == 200
        await cpe.wait_sessions(2)
        assert server.informs[-1].codes == ["6 CONNECTION REQUEST"]
        assert await ring(url, password="wrong") == 401
        assert await ring(f"{url}x") == 404
        dev.quirks = Quirks(busy=True)
        assert await ring(url) == 503
        dev.quirks = Quirks()
        assert await raw(url, b"POST /LAB0001 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") == 405
        assert await raw(url, b"nonsense\r\n\r\n") is None
        assert await raw(url, b"GET /LAB0001 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxx") == 401
        cpe.power_cut()
        assert await raw(url, b"GET /LAB0001 HTTP/1.1\r\nHost: x\r\n\r\n") is None
        assert [one.status for one in kinds(cpe, Woken)] == [401, 200, 401, 401, 401, 401, 503, 401]
        nursery.cancel_scope.cancel()


async def raw(url: str, data: bytes) -> int | None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    async with stream:
        try:
            await stream.send_all(data)
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            return None
    return event.status_code if isinstance(event, h11.Response) else None


async def test_tls():
    certificate = make_certificate("localhost")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    server = Acs()

    async def secured(stream):
        try:
            await server.serve(trio.SSLStream(stream, certificate.server_context(), server_side=True))
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, secured, listeners)
            url = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}/acs"
            trusting = Cpe(device(url=url), network=Network(ssl_context=context), listens=False)
            careful = Cpe(device(url=url), listens=False)
            for cpe in (trusting, careful):
                await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
                await cpe.wait_sessions(1)
            nursery.cancel_scope.cancel()
    assert kinds(trusting, SessionOver)[0].ok
    assert "expected TLS" in kinds(careful, SessionOver)[0].reason


async def test_nobody_listens():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(HttpError) as caught:
        await connect_loopback("127.0.0.1", port)
    assert not caught.value.connected
