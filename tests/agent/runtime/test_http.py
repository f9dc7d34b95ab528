"""The local HTTP server and its client, over real unix sockets; and clients that behave badly."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.runtime import http_client
from agent.runtime.errors import HttpError, MalformedAnswerError, NoAnswerError, NotRunningError
from agent.runtime.http import DRAIN_S, App, HttpRequest, Limits, Response, StreamResponse, serve_http
from agent.runtime.unix_socket import bind_unix

SMALL = Limits(head_bytes=2000, body_bytes=1000, idle_s=5, body_s=5, write_s=5, connections=6, connections_per_uid=4)


@asynccontextmanager
async def serving(app: App, limits: Limits | None = None, *, path: Path) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_http, bind_unix(path), app, limits=limits))
        yield path
        nursery.cancel_scope.cancel()


async def echo(request: HttpRequest) -> Response:
    return Response(200, {"path": list(request.segments), "query": dict(request.query), "uid": request.peer_uid})


async def ask(
    path: Path, method: str, target: str, body: object = None, timeout_s: float = 10
) -> http_client.HttpAnswer:
    return await trio.to_thread.run_sync(partial(http_client.request, path, method, target, body, timeout_s=timeout_s))


async def raw(path: Path, data: bytes) -> bytes:
    """Send bytes, then return all that comes until the server closes."""
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(data)
        got = b""
        with trio.fail_after(30):
            while more := await stream.receive_some():
                got += more
        return got


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


async def test_request_and_answer(path: Path) -> None:
    async def app(request: HttpRequest) -> Response:
        assert request.peer_pid == os.getpid()
        return Response(201, [request.method, list(request.segments), dict(request.query), request.json()])

    async with serving(app, path=path):
        answer = await ask(path, "POST", "/v1/service/C-1%2Fhome?seq=3&tariff=Home+20M%C3%A9", {"who": "Ämina"})
    assert answer == http_client.HttpAnswer(
        201, ["POST", ["v1", "service", "C-1/home"], {"seq": "3", "tariff": "Home 20Mé"}, {"who": "Ämina"}]
    )


async def test_one_connection_many_requests_also_pipelined(path: Path) -> None:
    one = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(echo, path=path):
        got = await raw(path, one * 3 + last)
    assert got.count(b"HTTP/1.1 200") == 4
    assert got.count(b'["a"]') == 3


async def test_bytes_one_at_a_time(path: Path) -> None:
    data = b'POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 7\r\n\r\n{"a":1}'

    async def app(request: HttpRequest) -> Response:
        return Response(200, request.json())

    async with serving(app, path=path), await trio.open_unix_socket(path) as stream:
        for byte in data:
            await stream.send_all(bytes([byte]))
        got = b"".join([part async for part in stream])
    assert got.endswith(b'{"a":1}')


async def test_a_refusal_of_the_application(path: Path) -> None:
    async def app(request: HttpRequest) -> Response:
        raise HttpError(409, "busy", "busy with change K7QF")

    async with serving(app, path=path):
        answer = await ask(path, "GET", "/")
    assert answer == http_client.HttpAnswer(409, {"error": {"code": "busy", "message": "busy with change K7QF"}})


async def test_a_crash_answers_500_and_the_next_request_works(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def app(request: HttpRequest) -> Response:
        if request.path == "/crash":
            raise KeyError("amina.h")
        return Response(200, {1, 2} if request.path == "/unencodable" else "fine")

    async with serving(app, path=path):
        assert (await ask(path, "GET", "/crash")).status == 500
        assert (await ask(path, "GET", "/unencodable")).status == 500
        assert (await ask(path, "GET", "/")).json == "fine"
    assert [r.getMessage() for r in caplog.records] == ["a task crashed", "a task crashed"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host: h11 wants one
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: " + b"y" * 3000, 431),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n" + b"z" * 1001, 413),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /j HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\nconnection: close\r\n\r\n" + b'{"a":1,"a":2}', 400),
        (b"GET /?a=1&a=2 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET /?a HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    ],
)
async def test_malformed(path: Path, data: bytes, status: int) -> None:
    async def app(request: HttpRequest) -> Response:
        return Response(200, request.json() if request.path == "/j" else None)

    async with serving(app, SMALL, path=path):
        got = await raw(path, data)
        assert (await ask(path, "GET", "/")).status == 200
    assert got.startswith(f"HTTP/1.1 {status} ".encode()), got


@settings(max_examples=25)
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda b: b"POST / HTTP/1.1\r\nhost: x\r\n" + b))
async def test_any_bytes_and_then_an_honest_client(path: Path, data: bytes) -> None:
    async with serving(echo, path=path):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(data)
        assert (await ask(path, "GET", "/")).status == 200


async def test_expect_100(path: Path) -> None:
    async def app(request: HttpRequest) -> Response:
        return Response(200, request.json())

    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
    async with serving(app, path=path), await trio.open_unix_socket(path) as stream:
        await stream.send_all(head)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"7")
        assert b"".join([part async for part in stream]).endswith(b"7")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"])
async def test_a_slow_client_is_dropped(path: Path, sent: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, SMALL, path=path):
        start = trio.current_time()
        assert await raw(path, sent) == b""
        assert trio.current_time() - start == pytest.approx(5)


async def test_a_trickle_does_not_prolong(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, SMALL, path=path), await trio.open_unix_socket(path) as stream:
        start = trio.current_time()
        try:
            while trio.current_time() - start < 60:
                await stream.send_all(b"G")
                await trio.sleep(0.9)
        except trio.BrokenResourceError:
            pass
        assert trio.current_time() - start < 8


async def test_who_does_not_read_is_dropped_and_hurts_nobody(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def app(request: HttpRequest) -> Response:
        return Response(200, "x" * (4_000_000 if request.path == "/big" else 1))

    async with serving(app, SMALL, path=path), await trio.open_unix_socket(path) as deaf:
        await deaf.send_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        got = await raw(path, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert got.endswith(b'"x"')
        await trio.sleep(6)
        taken = sum([len(part) async for part in deaf])
        assert taken < 4_000_000


async def test_one_user_cannot_hold_all_connections(path: Path) -> None:
    async with serving(echo, SMALL, path=path):
        held = [await trio.open_unix_socket(path) for _ in range(SMALL.connections_per_uid)]
        for stream in held:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await stream.receive_some()
        assert (await ask(path, "GET", "/")).status == 503
        for stream in held:
            await stream.aclose()
        with trio.fail_after(60):
            while (await ask(path, "GET", "/")).status == 503:
                await trio.lowlevel.checkpoint()


async def counting(upto: int, closed: trio.Event, more: Callable[[], Awaitable[None]]) -> AsyncGenerator[object, None]:
    try:
        for n in range(upto):
            yield {"seq": n}
        await more()
    finally:
        closed.set()


def read_lines(path: Path, most: int) -> list[object]:
    with http_client.stream(path, "GET", "/watch", timeout_s=10) as (status, lines):
        assert status == 200
        return list(islice(lines, most))


async def test_a_stream_to_its_end(path: Path) -> None:
    closed = trio.Event()

    async def app(request: HttpRequest) -> StreamResponse:
        return StreamResponse(counting(500, closed, trio.lowlevel.checkpoint))

    async with serving(app, path=path):
        lines = await trio.to_thread.run_sync(read_lines, path, 1000)
    assert lines == [{"seq": n} for n in range(500)]
    assert closed.is_set()


async def rest_of(stream: trio.SocketStream) -> bytes:
    got = b""
    with trio.fail_after(30):
        while more := await stream.receive_some():
            got += more
    return got


async def test_a_daemon_that_ends_answers_what_it_was_asked(path: Path) -> None:
    draining, asked, go, ended, closed = (trio.Event() for _ in range(5))

    async def app(request: HttpRequest) -> Response | StreamResponse:
        if request.path == "/slow":
            asked.set()
            await go.wait()
        if request.path == "/watch":
            return StreamResponse(counting(1, closed, trio.sleep_forever))
        return Response(200, request.path)

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_http(bind_unix(path), app, draining=draining, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        slow, idle, watch, silent = [await trio.open_unix_socket(path) for _ in range(4)]
        async with slow, idle, watch, silent:
            await slow.send_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            await idle.send_all(b"GET /idle HTTP/1.1\r\nhost: x\r\n\r\n")
            await watch.send_all(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b'"/idle"' in await idle.receive_some()
            assert b"200" in await watch.receive_some()
            await asked.wait()
            draining.set()
            assert await rest_of(idle) == b""
            await rest_of(watch)  # endless: it ends at once
            assert not ended.is_set()
            with pytest.raises(OSError):
                await trio.open_unix_socket(path)
            await silent.send_all(b"GET /late HTTP/1.1\r\nhost: x\r\n\r\n")  # it was connected in time
            assert b'"/late"' in await rest_of(silent)
            go.set()
            assert b'"/slow"' in await rest_of(slow)
            with trio.fail_after(30):
                await ended.wait()


async def test_a_daemon_that_ends_waits_for_no_answer_for_ever(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    draining, asked = trio.Event(), trio.Event()

    async def app(request: HttpRequest) -> Response:
        asked.set()
        await trio.sleep_forever()
        return Response(200, None)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_http, bind_unix(path), app, draining=draining))
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await asked.wait()
            at = trio.current_time()
            draining.set()
            assert await rest_of(stream) == b""
            assert trio.current_time() - at == pytest.approx(DRAIN_S)


async def test_a_client_that_leaves_ends_a_silent_stream(path: Path) -> None:
    closed = trio.Event()

    async def app(request: HttpRequest) -> StreamResponse:
        return StreamResponse(counting(3, closed, trio.sleep_forever))

    async with serving(app, path=path):
        assert len(await trio.to_thread.run_sync(read_lines, path, 3)) == 3
        with trio.fail_after(60):
            await closed.wait()


async def test_a_reader_that_stops_ends_its_stream(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    closed = trio.Event()

    async def app(request: HttpRequest) -> StreamResponse:
        return StreamResponse(counting(10**9, closed, trio.sleep_forever))

    async with serving(app, SMALL, path=path), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        with trio.fail_after(30):
            await closed.wait()


async def test_a_stream_that_crashes_breaks_off_visibly(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        raise KeyError("amina.h")

    async def app(request: HttpRequest) -> StreamResponse:
        return StreamResponse(counting(2, trio.Event(), crash))

    async with serving(app, path=path):
        with pytest.raises(NoAnswerError, match="closed the connection"):
            await trio.to_thread.run_sync(read_lines, path, 1000)
    assert [r.getMessage() for r in caplog.records] == ["a task crashed"]


async def test_a_refused_stream_is_one_line(path: Path) -> None:
    async def app(request: HttpRequest) -> StreamResponse:
        raise HttpError(404, "unknown", "no such change")

    def read() -> tuple[int, list[object]]:
        with http_client.stream(path, "GET", "/watch") as (status, lines):
            return status, list(lines)

    async with serving(app, path=path):
        assert await trio.to_thread.run_sync(read) == (
            404,
            [{"error": {"code": "unknown", "message": "no such change"}}],
        )


# --- the client against a server that misbehaves


@asynccontextmanager
async def answering(path: Path, data: bytes, *, hold: bool = False) -> AsyncIterator[None]:
    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(data)
            if hold:
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [bind_unix(path)])
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", NoAnswerError, "closed the connection before"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", NoAnswerError, "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", MalformedAnswerError, "expected an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{,", MalformedAnswerError, "expected strict JSON"),
    ],
)
async def test_answers_that_are_none(path: Path, data: bytes, error: type[Exception], says: str) -> None:
    async with answering(path, data):
        with pytest.raises(error, match=says):
            await ask(path, "GET", "/")


async def test_no_answer_in_time(path: Path) -> None:
    async with answering(path, b"HTTP/1.1 200 OK\r\n", hold=True):
        with pytest.raises(NoAnswerError, match="in time"):
            await ask(path, "GET", "/", timeout_s=0.05)


async def test_nobody_listens(path: Path) -> None:
    with pytest.raises(NotRunningError, match="no agent listens"):
        http_client.request(path, "GET", "/")


async def test_an_answer_that_is_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "ANSWER_BYTES", 5)
    monkeypatch.setattr(http_client, "LINE_BYTES", 5)
    async with answering(path, b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n12345678"):
        with pytest.raises(MalformedAnswerError, match="at most 5 bytes"):
            await ask(path, "GET", "/")
        with pytest.raises(MalformedAnswerError, match="at most 5 bytes"):
            await trio.to_thread.run_sync(read_lines, path, 9)
