"""The router on the network: TLS, sessions, redials in real time, cuts."""

from __future__ import annotations

import contextlib
import hashlib
import ssl

import pytest
import trio

from lab.router.device import Router
from lab.router.errors import Trap
from lab.router.server import Endpoint, RouterThread, serve
from lab.router.words import SentenceReader, encode_sentence


async def say(stream, *words):
    await stream.send_all(encode_sentence(words))


class Reader:
    def __init__(self, stream):
        self._stream, self._reader, self._sentences = stream, SentenceReader(), []

    async def next(self):
        while not self._sentences:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return None
            self._sentences += self._reader.feed_untrusted(bytes(data))
        return self._sentences.pop(0)


USERS = [("bot", "pw", "full")]


class Network:
    """A served router and the connections to it; all are closed with it."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        self.streams = []

    async def dial(self):
        stream = await trio.open_tcp_stream(self.endpoint.host, self.endpoint.port)
        self.streams.append(stream)
        return stream


@contextlib.asynccontextmanager
async def served(router, **options):
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            endpoint = await nursery.start(
                lambda task_status: serve(router, users=USERS, task_status=task_status, **options)
            )
            network = Network(endpoint)
            try:
                yield network
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    for stream in network.streams:
                        await trio.aclose_forcefully(stream)


async def logged_in(network: Network):
    stream = await network.dial()
    reader = Reader(stream)
    await say(stream, "/login", "=name=bot", "=password=pw")
    assert await reader.next() == ("!done",)
    return stream, reader


async def test_tls_with_a_certificate_to_pin():
    router = Router()
    async with served(router, tls=True) as network:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = await network.dial()
        stream = trio.SSLStream(plain, context, https_compatible=True)
        await stream.do_handshake()
        assert hashlib.sha256(stream.getpeercert(binary_form=True)).hexdigest() == network.endpoint.fingerprint
        reader = Reader(stream)
        await say(stream, "/login", "=name=bot", "=password=pw")
        assert await reader.next() == ("!done",)
        # somebody who speaks no TLS is dropped, and the router goes on
        rude = await network.dial()
        await rude.send_all(b"/login\0" * 20)
        with contextlib.suppress(trio.BrokenResourceError):
            while await rude.receive_some():  # an alert, then the end
                pass
        await say(stream, "/system/identity/print")
        assert await reader.next() == ("!re", "=name=edge-1")


async def test_sessions_are_shared_given_back_and_cut_by_a_reboot():
    router = Router()
    router.set("/ip/service", "api", max_sessions="2")
    async with served(router) as network:
        one, _ = await logged_in(network)
        _, reader = await logged_in(network)
        third = await network.dial()
        assert await Reader(third).next() is None
        assert len(router.rows("/user/active")) == 2
        await one.aclose()
        while len(router.rows("/user/active")) == 2:
            await trio.lowlevel.checkpoint()
        await logged_in(network)
        router.reboot()
        assert await reader.next() is None
        assert router.rows("/user/active") == []
        await logged_in(network)


async def test_cpe_redials_by_servers_clock_and_listener_hears_it():
    router = Router()
    router.add("/ip/pool", name="p", ranges="100.64.0.2-100.64.0.9")
    router.add("/ppp/profile", name="plan", remote_address="p")
    router.add("/ppp/secret", name="alice", password="pw", profile="plan")
    router.plug_in("alice", "pw", redial_s=0.05)
    async with served(router) as network:
        stream, reader = await logged_in(network)
        (active,) = router.rows("/ppp/active")
        await say(stream, "/ppp/active/listen", "=.proplist=.id,name", ".tag=L")
        await say(stream, "/ppp/active/remove", f"=.id={active['.id']}", ".tag=r")
        heard = [await reader.next() for _ in range(3)]
        assert heard[0] == ("!re", f"=.id={active['.id']}", "=.dead=true", ".tag=L")
        assert heard[1] == ("!done", ".tag=r")
        assert heard[2][2:] == ("=name=alice", ".tag=L")
        assert heard[2][1] != f"=.id={active['.id']}"


async def test_slow_and_cut():
    router = Router()
    async with served(router) as network:
        stream, reader = await logged_in(network)
        router.faults.inject("slow:0.2", match="/ppp/secret/add")
        before = trio.current_time()
        await say(stream, "/ppp/secret/add", "=name=a")
        assert await reader.next() == ("!done", "=ret=*1")
        assert trio.current_time() - before >= 0.19
        router.faults.inject("cut-after", match="/ppp/secret/add")
        await say(stream, "/ppp/secret/add", "=name=b")
        assert await reader.next() is None
        assert [r["name"] for r in router.rows("/ppp/secret")] == ["a", "b"]


async def test_bytes_that_are_none_of_ours_close_the_connection_only():
    router = Router()
    async with served(router) as network:
        rude = await network.dial()
        await rude.send_all(b"\xffGET / HTTP/1.1\r\n\r\n")
        assert await Reader(rude).next() is None
        await logged_in(network)


def test_a_thread_hands_out_what_went_wrong():
    with pytest.raises(BaseExceptionGroup) as failed, RouterThread(Router(), users=[("admin", "x", "full")]):
        raise AssertionError("expected the second admin to be refused")
    assert failed.group_contains(Trap, match="already exists")
