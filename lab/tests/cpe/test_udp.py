"""STUN as annex G has it, and connection requests over UDP. The STUN server here is written from RFC 3489 too."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lab.cpe.client import Cpe
from lab.cpe.errors import MalformedStunError
from lab.cpe.records import Woken
from lab.cpe.udp import (
    BINDING_ERROR,
    BINDING_REQUEST,
    BINDING_RESPONSE,
    Stun,
    UdpRequests,
    mapped_address,
    read_stun_untrusted,
    signature,
    write_stun,
)
from lab.tests.cpe.acs import Acs, booted, device, listening

MAPPED, USERNAME, INTEGRITY, ERROR, BINDING, CHANGE = 1, 6, 8, 9, 0xC001, 0xC002
SERVER = "Device.ManagementServer."


# --- messages ---------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 0xFFFF),
    st.binary(min_size=16, max_size=16),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=5),
)
def test_what_is_written_is_read(kind, transaction, attributes):
    message = Stun(kind, transaction, tuple(attributes))
    assert read_stun_untrusted(write_stun(message)) == message


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_malformed(data):
    try:
        read_stun_untrusted(data)
    except MalformedStunError:
        pass


def test_lengths_that_are_not_so():
    data = write_stun(Stun(1, bytes(16), ((6, b"abcd"),)))
    for cut in (0, 19, 20, 27):
        with pytest.raises(MalformedStunError):
            read_stun_untrusted(data[:cut])
    for body in (b"\0\6\0", b"\0\6\0\5abcd"):
        with pytest.raises(MalformedStunError):
            read_stun_untrusted(struct.pack("!HH16s", 1, len(body), b"") + body)


def test_integrity_is_over_all_that_is_before_it():
    message = Stun(BINDING_REQUEST, b"t" * 16, ((USERNAME, b"user"), (BINDING, b"dslforum.org/TR-111 ")))
    data = write_stun(message, "secret")
    read = read_stun_untrusted(data)
    assert [kind for kind, _ in read.attributes] == [USERNAME, BINDING, INTEGRITY]
    assert integrity_is_right(data, "secret")
    assert not integrity_is_right(data, "other")


def integrity_is_right(data: bytes, password: str) -> bool:
    """RFC 3489 section 11.2.8: the text is everything up to the attribute, padded with zeros to a multiple of 64."""
    text = data[:-24]
    return hmac.digest(password.encode(), text + b"\0" * (-len(text) % 64), hashlib.sha1) == data[-20:]


def test_mapped_address():
    def response(value: bytes) -> Stun:
        return Stun(BINDING_RESPONSE, bytes(16), ((MAPPED, value),))

    assert mapped_address(response(b"\0\x01\x1f\x90\xc0\0\2\1")) == ("192.0.2.1", 8080)
    for wrong in (b"", b"\0\x02\x1f\x90\xc0\0\2\1", b"\0\x01\x1f\x90"):
        assert mapped_address(response(wrong)) is None
    assert mapped_address(Stun(BINDING_RESPONSE, bytes(16))) is None


# --- requests ---------------------------------------------------------------------------------------------------------


def request(ts="1000", request_id="1", un="cr", cn="C0FFEE", key="pw", sig=None, host="127.0.0.1:7547") -> bytes:
    signed = signature(key, ts, request_id, un, cn) if sig is None else sig
    return f"GET http://{host}?ts={ts}&id={request_id}&un={un}&cn={cn}&sig={signed} HTTP/1.1\r\n\r\n".encode()


def test_the_signature_is_over_the_four_put_together():
    wanted = hmac.new(b"pw", b"11206737001234CPE57689XTGRWIPC6D3IPXS3", hashlib.sha1).hexdigest()
    assert signature("pw", "1120673700", "1234", "CPE57689", "XTGRWIPC6D3IPXS3").lower() == wanted


def test_what_is_taken_and_what_is_ignored():
    dev, _ = booted(cr_username="cr", cr_password="pw")
    requests = UdpRequests(dev)
    taken = requests.accepts_untrusted
    for wrong in (
        b"",
        b"\x00\x01",
        b"POST http://x?ts=1&id=1&un=cr&cn=1&sig=1 HTTP/1.1\r\n",
        b"GET http://[x?ts=1 HTTP/1.1\r\n",
        b"GET http://x HTTP/1.1\r\n",
        request(key="other"),
        request(un="other"),
        request(sig=""),
        request(sig="é"),
        request(ts="now"),
        request(ts="1" * 30),
        request().replace(b"cn=C0FFEE", b"cn=C0FFE0"),
        request().replace(b"HTTP/1.1", b"ICY"),
    ):
        assert not taken(wrong)
    assert taken(request())
    assert not taken(request())  # the copy that is sent to be sure
    assert taken(request(request_id="2"))
    assert not taken(request(ts="999", request_id="3"))
    assert taken(request(ts="1001", request_id="4").replace(b"sig=", b"x=1&sig="))
    assert taken(request(ts="1002", request_id="5", sig=signature("pw", "1002", "5", "cr", "C0FFEE").lower()))


# --- sockets ----------------------------------------------------------------------------------------------------------


class StunServer:
    """Answers binding requests; `asks_integrity`: 401 to those without it; `shift`: what a NAT added to the port."""

    def __init__(self, sock, *, asks_integrity=False):
        self.sock, self.asks_integrity, self.shift, self.drop, self.seen = sock, asks_integrity, 0, 0, []

    @property
    def port(self) -> int:
        return self.sock.getsockname()[1]

    async def serve(self):
        while True:
            data, where = await self.sock.recvfrom(2048)
            message = read_stun_untrusted(data)
            self.seen.append((message, data))
            if self.drop:
                self.drop -= 1
                continue
            await self.sock.sendto(b"nonsense", where)
            if self.asks_integrity and message.get(INTEGRITY) is None:
                answer = Stun(BINDING_ERROR, message.transaction, ((ERROR, b"\0\0\x04\x01Unauthorized"),))
            else:
                value = struct.pack("!BBH4B", 0, 1, where[1] + self.shift, 127, 0, 0, 1)
                answer = Stun(BINDING_RESPONSE, message.transaction, ((MAPPED, value),))
            await self.sock.sendto(write_stun(answer), where)


async def bound_cpe(nursery, base, server, **options):
    values = {
        f"{SERVER}STUNEnable": "1",
        f"{SERVER}STUNServerAddress": "127.0.0.1",
        f"{SERVER}STUNServerPort": str(server.port),
        f"{SERVER}STUNUsername": "stun-user",
        f"{SERVER}STUNPassword": "stun-pw",
        f"{SERVER}STUNMinimumKeepAlivePeriod": "1",
    }
    dev = device(url=f"{base}/acs", cr_username="cr", cr_password="pw", interval_s=0, values=values)
    cpe = Cpe(dev, udp=True)
    cpe.udp.keep_alive_s = 0.05
    nursery.start_soon(server.serve)
    await nursery.start(lambda task_status: cpe.run(task_status=task_status))
    await cpe.wait_for(lambda: dev.server("UDPConnectionRequestAddress") != "")
    return cpe


async def test_a_binding_and_a_connection_request_over_it():
    acs = Acs()
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        server = StunServer(sock, asks_integrity=True)
        async with listening(acs) as base, trio.open_nursery() as nursery:
            cpe = await bound_cpe(nursery, base, server)
            assert cpe.device.server("UDPConnectionRequestAddress") == f"127.0.0.1:{cpe.udp.port}"
            assert cpe.device.server("NATDetected") == "1"
            (first, _), (second, raw) = server.seen[:2]
            assert (first.get(BINDING), first.get(USERNAME)) == (b"dslforum.org/TR-111 ", b"stun-user   ")
            assert first.get(INTEGRITY) is None
            assert second.get(INTEGRITY) is not None
            assert integrity_is_right(raw, "stun-pw")
            await cpe.wait_sessions(1)
            where = ("127.0.0.1", cpe.udp.port)
            await sock.sendto(request(key="wrong"), where)
            for _ in range(2):
                await sock.sendto(request(), where)
            await cpe.wait_for(lambda: len([r for r in cpe.log if isinstance(r, Woken)]) == 3)
            await cpe.wait_sessions(2)
            assert acs.informs[-1].codes == ["6 CONNECTION REQUEST"]
            assert [(r.how, r.status) for r in cpe.log if isinstance(r, Woken)] == [
                ("udp", 0),
                ("udp", 200),
                ("udp", 0),
            ]
            nursery.cancel_scope.cancel()


async def test_a_changed_binding_is_told_and_a_lost_request_repeated():
    acs = Acs()
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        server = StunServer(sock)
        server.drop = 1
        async with listening(acs) as base, trio.open_nursery() as nursery:
            cpe = await bound_cpe(nursery, base, server)
            assert server.seen[0][0].transaction == server.seen[1][0].transaction
            server.shift = 1
            changed = f"127.0.0.1:{cpe.udp.port + 1}"
            await cpe.wait_for(lambda: cpe.device.server("UDPConnectionRequestAddress") == changed)
            while not any(message.get(CHANGE) is not None for message, _ in server.seen):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_without_stun_the_address_is_where_it_listens():
    dev, _ = booted()
    cpe = Cpe(dev, udp=True, listens=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(cpe.udp.run)
        await trio.testing.wait_all_tasks_blocked()
        assert dev.server("UDPConnectionRequestAddress") == f"127.0.0.1:{cpe.udp.port}"
        assert (dev.server("NATDetected"), cpe.udp.bindings) == ("0", 0)
        nursery.cancel_scope.cancel()


async def test_no_server_outside_of_this_machine_is_asked(autojump_clock):
    dev, _ = booted(values={f"{SERVER}STUNEnable": "1", f"{SERVER}STUNServerAddress": "192.0.2.1"})
    cpe = Cpe(dev, udp=True, listens=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(cpe.udp.run)
        await trio.testing.wait_all_tasks_blocked()
        assert cpe.udp.bindings == 0
        nursery.cancel_scope.cancel()
