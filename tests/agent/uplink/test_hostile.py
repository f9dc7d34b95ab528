"""A control plane that is taken over: nothing is applied, nothing piles up, and an honest one is found again."""

from __future__ import annotations

import itertools
import os
import secrets
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import trio

from agent.store.mail import Post
from agent.uplink import limits
from agent.uplink.receiving import ReceivePace
from protos import message_pb2 as pb
from tests.agent.uplink.rig import Rig, rigged
from tests.builders.cloud import (
    NASTY,
    Authority,
    Cloud,
    Script,
    abort,
    delivery,
    hello,
    message,
    server_context,
    serving,
    until,
)
from tests.builders.store import STORE_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1 << 20
GROWTH_BYTES = 200 * MIB
"""Both sides are in this process, and gRPC's own buffers; what piles up without end passes it within seconds."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def honest_again(rig: Rig, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """An honest control plane takes over: what it has comes in, and nothing else ever did."""
    cloud.script = None
    cloud.deliver(message(pb.KIND_APPROVAL, 10**6, b"honest"))
    await rig.post(Post("outcome", b"told"))
    await until(lambda: ("approval", b"honest") in rig.inbox() and not rig.outbox())
    assert rig.inbox() == [("approval", b"honest")]
    assert [m.body for m in cloud.taken.values()] == [b"told"]
    logged = "".join(f"{r.getMessage()} {r.__dict__}" for r in caplog.records if r.name.startswith("agent"))
    assert "canary" not in logged
    assert "\x1b" not in logged


# --- in the protocol's own words ---


def no_hello(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield delivery(1, message(pb.KIND_INTENT, 1, b"evil"))


def ends_at_once(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    return iter(())


def ends_by_a_deadline_of_its_own(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    """As our own after an hour: we must not call again at once, and for ever."""
    yield hello()
    context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, NASTY)


def two_hellos(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    yield hello()
    yield delivery(1, message(pb.KIND_INTENT, 1, b"evil"))


def bad_epoch(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello(b"short")
    yield delivery(1, message(pb.KIND_INTENT, 1, b"evil"))


def other_epochs(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello(secrets.token_bytes(16))


def backwards(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    yield delivery(7, message(99, 1))
    yield delivery(7, message(pb.KIND_INTENT, 1, b"evil"))


def number_zero(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    yield delivery(0, message(pb.KIND_INTENT, 1, b"evil"))


def number_huge(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    yield delivery(2**64 - 1, message(pb.KIND_INTENT, 1, b"evil"))


def crafted_error(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    abort(context, pb.REFUSAL_REVOKED, grpc.StatusCode.UNAUTHENTICATED, details=NASTY)


def unknown_refusal(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    abort(context, 4711, retry_after_s=0)


def oversized(_: pb.WatchRequest, __: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    yield delivery(1, message(pb.KIND_INTENT, 1, bytes(5 * MIB)))


def inflated(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    context.set_compression(grpc.Compression.Gzip)
    yield hello()
    yield delivery(1, message(pb.KIND_INTENT, 1, bytes(64 * MIB)))


@pytest.mark.parametrize(
    "script",
    [
        no_hello,
        ends_at_once,
        ends_by_a_deadline_of_its_own,
        two_hellos,
        bad_epoch,
        other_epochs,
        backwards,
        number_zero,
        number_huge,
        crafted_error,
        unknown_refusal,
        oversized,
        inflated,
    ],
)
async def test_what_breaks_the_protocol_is_hung_up_on(
    tmp_path: Path, authority: Authority, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = Cloud(authority)
    cloud.script = script
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked() as uplink:
            await until(lambda: len(cloud.watches) >= 4)
            await until(lambda: uplink.status().problem)
            assert rig.inbox() == []
            cloud.epoch = b"h" * 16
            await honest_again(rig, cloud, caplog)


def unknown_kinds(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    for n in itertools.count(1):
        if not context.is_active():
            return
        yield delivery(n, message(1000 + n % 50, n))


def unknown_events(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    while context.is_active():
        yield pb.WatchEvent()


def large_junk(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    junk = message(99, 1, bytes(3 * MIB))
    for n in itertools.count(1):
        if not context.is_active():
            return
        yield delivery(n, junk)


def million_links(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
    yield hello()
    junk = message(pb.KIND_TRUST, 1, b"t", links=[b""] * 500_000)
    for n in itertools.count(1):
        if not context.is_active():
            return
        yield delivery(n, junk)


@pytest.mark.parametrize(
    ("script", "some"), [(unknown_kinds, 60), (unknown_events, 60), (large_junk, 6), (million_links, 12)]
)
async def test_C8_an_endless_stream_is_taken_at_a_bounded_pace(
    tmp_path: Path,
    authority: Authority,
    script: Script,
    some: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The agent goes on with its own work, takes a bounded share of it, and keeps nothing."""
    monkeypatch.setattr(limits, "BURST", 50)
    cloud = Cloud(authority)
    cloud.script = script
    before = resident_bytes()
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked() as uplink:
            await until(lambda: uplink.status().passed_over >= some)
            assert uplink.status().connected
            await rig.post(Post("outcome", b"told"))
            await until(lambda: not rig.outbox())  # the other direction is not starved
            assert resident_bytes() - before < GROWTH_BYTES
            assert rig.inbox() == []
    assert len([r for r in caplog.records if r.getMessage() == "a message was passed over"]) < 20


async def test_duplicates_without_end_are_kept_once(tmp_path: Path, authority: Authority) -> None:
    def script(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
        yield hello()
        for n in itertools.count(1):
            if not context.is_active():
                return
            sent.append(n)
            yield delivery(n, message(pb.KIND_INTENT, 5, b"the same"))

    sent: list[int] = []
    cloud = Cloud(authority)
    cloud.script = script
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked():
            await until(lambda: len(sent) > 500 and rig.inbox() != [])
            assert rig.inbox() == [("intent", b"the same")]


async def test_valid_messages_without_end_stop_at_a_full_inbox(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody handles them here: the stream stands still, and the sender is held by flow control."""

    def script(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
        yield hello()
        for n in itertools.count(1):
            if not context.is_active():
                return
            yield delivery(n, message(pb.KIND_INTENT, n, bytes(100_000)))
            sent.append(n)

    monkeypatch.setattr(limits, "INBOX_ROWS", 20)
    sent: list[int] = []
    cloud = Cloud(authority)
    cloud.script = script
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked() as uplink:
            await until(lambda: len(rig.inbox()) == 20)
            for _ in range(50):  # the other way goes on, for long enough to be sent thousands
                await rig.post(Post("outcome", b"told"))
                await until(lambda: not rig.outbox())
            assert len(rig.inbox()) == 20
            assert len(sent) < 500  # what gRPC's windows hold, on both sides
            assert uplink.status().connected


# --- below the protocol ---

PREFACE = 24
FRAME = struct.Struct(">I")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", size: int | None = None) -> bytes:
    """Return an HTTP/2 frame (RFC 9113 section 4.1); `size` lies about its length."""
    length = len(payload) if size is None else size
    return FRAME.pack(length << 8 | kind)[:4] + bytes([flags]) + stream.to_bytes(4, "big") + payload


SETTINGS = frame(4, 0, 0)
HELLO_HEADERS = b"\x88" + b"\x00\x0ccontent-type\x10application/grpc"
"""HPACK: `:status: 200` from the static table, and a literal."""

Behavior = Callable[[trio.abc.Stream], Awaitable[None]]


async def _send(stream: trio.abc.Stream, *parts: bytes) -> None:
    for part in parts:
        await stream.send_all(part)
    while await stream.receive_some(65536):
        pass


async def _request(stream: trio.abc.Stream) -> None:
    """Shake hands as a server does, and wait until the client has opened its first stream."""
    await stream.send_all(SETTINGS)
    came = b""
    while True:
        at = PREFACE
        while len(came) >= at + 9:
            if came[at + 3] == 1:  # HEADERS
                return
            at += 9 + int.from_bytes(came[at : at + 3], "big")
        data = await stream.receive_some(65536)
        if not data:
            raise trio.BrokenResourceError("hung up")
        came += data


async def garbage(s: trio.abc.Stream) -> None:
    await _send(s, secrets.token_bytes(4096))


async def http1(s: trio.abc.Stream) -> None:
    await _send(s, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


async def closes(s: trio.abc.Stream) -> None:
    await s.receive_some(PREFACE)


async def giant_frame(s: trio.abc.Stream) -> None:
    await _request(s)
    await _send(s, frame(0, 0, 1, b"x" * 10_000, size=2**24 - 1))


async def frame_of_unknown_stream(s: trio.abc.Stream) -> None:
    await _request(s)
    await _send(s, frame(0, 0, 4711, b"x"), frame(1, 4, 2, HELLO_HEADERS))


async def bad_hpack(s: trio.abc.Stream) -> None:
    await _request(s)
    await _send(s, frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"))


async def rst_flood(s: trio.abc.Stream) -> None:
    await _request(s)
    for n in range(20_000):
        await s.send_all(frame(3, 0, 1 + 2 * n, b"\x00\x00\x00\x08"))


async def settings_flood(s: trio.abc.Stream) -> None:
    for _ in range(20_000):
        await s.send_all(SETTINGS)


async def ping_flood(s: trio.abc.Stream) -> None:
    await s.send_all(SETTINGS)
    for _ in range(20_000):
        await s.send_all(frame(6, 0, 0, bytes(8)))


async def endless_headers(s: trio.abc.Stream) -> None:
    await _request(s)
    await s.send_all(frame(1, 0, 1, HELLO_HEADERS))
    for _ in range(5_000):
        await s.send_all(frame(9, 0, 1, b"\x00\x01a\x7f\x80\x07" + bytes(1000)))


async def goaway_with_text(s: trio.abc.Stream) -> None:
    await _request(s)
    await _send(s, frame(7, 0, 0, bytes(4) + b"\x00\x00\x00\x0b" + NASTY.encode()))


async def status_with_text(s: trio.abc.Stream) -> None:
    text = NASTY.encode()
    trailers = HELLO_HEADERS + b"\x00\x0bgrpc-status\x0216" + b"\x00\x0cgrpc-message" + bytes([len(text)]) + text
    await _request(s)
    await _send(s, frame(1, 5, 1, trailers))


BEHAVIORS: list[Behavior] = [
    garbage,
    http1,
    closes,
    giant_frame,
    frame_of_unknown_stream,
    bad_hpack,
    rst_flood,
    settings_flood,
    ping_flood,
    endless_headers,
    goaway_with_text,
    status_with_text,
]


@asynccontextmanager
async def raw_server(
    behavior: Behavior, authority: Authority, folder: Path, *, tls: bool
) -> AsyncIterator[tuple[int, list[int]]]:
    """Serve bytes; gives the port and a list that grows by each connection that was served to its end."""
    served: list[int] = []

    async def handle(stream: trio.abc.Stream) -> None:
        try:
            await behavior(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # hung up on: that is what is hoped for
        served.append(1)

    async with trio.open_nursery() as nursery:
        if tls:
            context = server_context(authority, folder)
            listeners = await nursery.start(trio.serve_ssl_over_tcp, handle, 0, context)
            port = listeners[0].transport_listener.socket.getsockname()[1]
        else:
            listeners = await nursery.start(trio.serve_tcp, handle, 0)
            port = listeners[0].socket.getsockname()[1]
        yield port, served
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "tcp"])
@pytest.mark.parametrize("behavior", BEHAVIORS)
async def test_C8_bytes_that_are_no_control_plane(
    tmp_path: Path,
    authority: Authority,
    behavior: Behavior,
    tls: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.5)
    before = resident_bytes()
    async with (
        raw_server(behavior, authority, tmp_path, tls=tls) as (port, served),
        rigged(tmp_path, authority, port) as rig,
        rig.linked() as uplink,
    ):
        await until(lambda: rig.proxy.accepted >= 3 and served)
        await until(lambda: uplink.status().problem)
        if tls and behavior is status_with_text:  # what a status says is understood, but for its text
            await until(lambda: uplink.status().problem == "unauthenticated")
        assert not uplink.status().connected
        assert resident_bytes() - before < GROWTH_BYTES
        cloud = Cloud(authority)
        with serving(cloud) as honest:
            rig.proxy.target = honest
            await honest_again(rig, cloud, caplog)
            assert uplink.status().connected


GRPC_ALONE = """
import sys, trio
from pathlib import Path
from agent.store.vault import Vault
from agent.uplink.client import CloudClient
from agent.uplink.errors import RemoteUplinkError
from agent.uplink.identity import load
from protos.message_pb2 import Message

async def main():
    found = load(Path(sys.argv[1]), Vault(bytes.fromhex(sys.argv[2]), Path(sys.argv[1]) / "keys.db"))
    try:
        await CloudClient(found).submit(Message(body=b"x"))
    except RemoteUplinkError as err:
        print("error:", err)

trio.run(main)
"""


@pytest.mark.parametrize("quiet", [True, False])
async def test_grpc_itself_prints_nothing_that_a_peer_wrote(tmp_path: Path, authority: Authority, quiet: bool) -> None:
    """Its core logs GOAWAY's text raw, with escape sequences, past our log handler; unless it is silenced in time."""
    environ = {k: v for k, v in os.environ.items() if k != "GRPC_VERBOSITY"}
    if not quiet:  # shows that this test sees what it looks for
        environ["GRPC_VERBOSITY"] = "INFO"
    async with (
        raw_server(goaway_with_text, authority, tmp_path, tls=True) as (port, _),
        rigged(tmp_path, authority, port),
    ):
        command = [sys.executable, "-c", GRPC_ALONE, str(tmp_path), STORE_KEY.hex()]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, env=environ)
    assert done.stdout.startswith(b"error: expected an answer of the control plane")
    assert b"canary" not in done.stdout
    assert (b"canary" in done.stderr) is not quiet


async def test_a_server_that_says_nothing_is_hung_up_on(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.3)

    def silent(_: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
        context.add_callback(ended.set)
        ended.wait(20)
        return iter(())

    ended = threading.Event()
    cloud = Cloud(authority)
    cloud.script = silent
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked() as uplink:
            await until(lambda: uplink.status().problem == "no-hello")
            await until(ended.is_set)
            await honest_again(rig, cloud, caplog)


async def test_a_stream_that_trickles_holds_up_nothing_else(tmp_path: Path, authority: Authority) -> None:
    """One byte at a time through the proxy: the connection lives, and the outbox is drained all the same."""
    cloud = Cloud(authority)
    with serving(cloud) as port:
        async with rigged(tmp_path, authority, port) as rig:
            rig.proxy.chunk = 1
            async with rig.linked() as uplink:
                await until(lambda: uplink.status().connected)
                cloud.deliver(message(pb.KIND_INTENT, 1, bytes(2000)))
                await rig.post(Post("outcome", b"told"))
                await until(lambda: not rig.outbox() and rig.inbox() == [("intent", bytes(2000))])


# --- who it is ---


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: Authority().server_pair(),
        lambda a: a.server_pair(host="elsewhere.example"),
        lambda a: a.server_pair(ends=timedelta(days=-1)),
    ],
    ids=["authority", "name", "expired"],
)
async def test_a_server_with_a_wrong_certificate_gets_nothing(
    tmp_path: Path,
    authority: Authority,
    wrong: Callable[[Authority], tuple[bytes, bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    impostor = Cloud(authority)
    impostor.deliver(message(pb.KIND_INTENT, 1, b"evil"))
    with serving(impostor, pair=wrong(authority)) as port:
        async with rigged(tmp_path, authority, port) as rig, rig.linked() as uplink:
            await rig.post(Post("outcome", b"secret"))
            await until(lambda: rig.proxy.accepted >= 3 and uplink.status().problem == "unavailable")
            assert impostor.watches == []
            assert impostor.taken == {}
            rig.proxy.target = 0
            cloud = Cloud(authority)
            with serving(cloud) as honest:
                rig.proxy.target = honest
                cloud.deliver(message(pb.KIND_INTENT, 1, b"honest"))
                await until(lambda: rig.inbox() == [("intent", b"honest")])
    assert impostor.taken == {}


def test_pace_spends_a_burst_and_then_what_comes_back() -> None:
    pace = ReceivePace(10, 2)
    assert [pace.wait_s(1, 100.0) for _ in range(10)] == [0.0] * 10
    assert pace.wait_s(4, 100.0) == 2.0
    assert pace.wait_s(1, 103.0) == 0.0
    assert pace.wait_s(1, 1000.0) == 0.0
    assert pace.wait_s(10, 1000.0) == 0.5  # never more than a burst is saved up
