"""One HTTP connection of a server: what `test_http` does not reach, over streams in memory."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

from agent.runtime.errors import MalformedRequestError, SlowError
from agent.runtime.http_wire import GONE, Wire
from tests.agent.runtime.wires import LIMITS, pair

POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"


async def test_an_answer_without_content_has_no_length() -> None:
    near, wire = pair()
    await near.send_all(POST % (0, b""))
    assert await wire.head() is not None
    assert await wire.body() == b""
    await wire.answer(204, [])
    assert b"content-length" not in await near.receive_some()
    assert wire.next_request()


async def test_less_than_the_limits_may_be_asked_for() -> None:
    near, wire = pair()
    await near.send_all(POST % (11, b"hello world"))
    await wire.head()
    with pytest.raises(MalformedRequestError, match="at most 10 bytes") as caught:
        await wire.body(10)
    assert caught.value.status == 413
    assert wire.may_answer
    await wire.answer(413, [], close=True)
    assert not wire.may_answer
    assert not wire.next_request()


async def test_the_client_closes() -> None:
    near, wire = pair()
    await near.aclose()
    assert await wire.head() is None


@pytest.mark.parametrize("junk", [b"\r\n", b"\n", b"\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
async def test_empty_lines_before_a_request(junk: bytes, together: bool) -> None:
    near, wire = pair()
    for number in range(3):
        for part in [junk + POST % (1, b"a") + junk] if together else [junk, POST % (1, b"a"), junk]:
            await near.send_all(part)
        assert await wire.head() is not None, number
        assert await wire.body() == b"a"
        await wire.answer(200, [])
        assert wire.next_request()
    await near.aclose()
    assert await wire.head() is None


async def test_empty_lines_alone_are_no_request(autojump_clock: trio.testing.MockClock) -> None:
    near, wire = pair()
    await near.send_all(b"\r\n")
    with pytest.raises(SlowError):
        await wire.head()


async def test_empty_lines_and_nothing_after_an_answer() -> None:
    near, wire = pair()
    await near.send_all(POST % (0, b"") + b"\r\n")
    await near.aclose()
    await wire.head()
    await wire.body()
    with pytest.raises(GONE):
        await wire.answer(200, [])


# --- a client that goes while its request is worked on


async def test_gone() -> None:
    near, wire = pair()
    await near.send_all(POST % (0, b""))
    await wire.head()
    await wire.body()
    await near.aclose()
    await wire.gone()
    with pytest.raises(GONE):
        await wire.answer(200, [])


async def test_what_comes_meanwhile_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    near, wire = pair()
    await near.send_all(POST % (0, b""))
    await wire.head()
    await wire.body()
    for byte in POST % (3, b"abc"):
        await near.send_all(bytes([byte]))
        with trio.move_on_after(1) as scope:
            await wire.gone()
        assert scope.cancelled_caught
    await wire.answer(200, [])
    assert wire.next_request()
    assert await wire.head() is not None
    assert await wire.body() == b"abc"


async def test_what_comes_without_end_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    near, wire = pair()
    await near.send_all(POST % (0, b""))
    await wire.head()
    await wire.body()
    for _ in range(100):
        await near.send_all(bytes(65536))
    with trio.move_on_after(1) as scope:
        await wire.gone()
    assert scope.cancelled_caught
    await wire.answer(200, [])
    assert wire.next_request()
    with pytest.raises(h11.RemoteProtocolError):
        await wire.head()


# --- a client that is refused


async def test_linger_reads_what_is_still_sent_and_ends_with_client() -> None:
    near, wire = pair()
    await near.send_all(POST % (2000, bytes(1500)))
    await wire.head()
    with pytest.raises(MalformedRequestError):
        await wire.body()
    await wire.answer(413, [], close=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.linger, 1 << 20)
        await near.send_all(bytes(500))
        await near.aclose()


async def test_linger_ends_in_time_and_in_size(autojump_clock: trio.testing.MockClock) -> None:
    near, wire = pair()
    start = trio.current_time()
    await wire.linger(1000)
    assert trio.current_time() - start == LIMITS.linger_s
    await near.send_all(bytes(1000))
    start = trio.current_time()
    await wire.linger(1000)
    assert trio.current_time() == start


BOTH = (
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    b"GET / HTTP/1.1\r\n\r\n"
)
LF_ALONE = (
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    b"POST / HTTP/1.1\nHost: x\nContent-Length: 5\n\nabcde",
)


@pytest.mark.parametrize(
    "data", [BOTH, BOTH.replace(b"Content-Length: 5\r\n", b"").replace(b"\r\n\r\n0", b"\r\nContent-Length: 5\r\n\r\n0")]
)
async def test_two_lengths_of_one_body_are_refused(data: bytes) -> None:
    ours, wire = pair()
    await ours.send_all(data)
    with pytest.raises(h11.RemoteProtocolError, match="got both"):
        await wire.head()
    assert wire.may_answer
    assert not wire.next_request()


@pytest.mark.parametrize("data", LF_ALONE)
@pytest.mark.parametrize("whole", [True, False])
async def test_lines_that_end_in_lf_alone_are_refused_where_asked_for(data: bytes, whole: bool) -> None:
    ours, wire = pair()
    wire.strict_lines = True

    async def send() -> None:
        for at in range(0, len(data), len(data) if whole else 1):
            await ours.send_all(data[at : at + (len(data) if whole else 1)])
        await ours.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with pytest.raises(h11.RemoteProtocolError):
            await wire.head()
        assert wire.may_answer
        nursery.cancel_scope.cancel()


async def test_a_body_may_have_lines_of_any_kind() -> None:
    ours, wire = pair()
    wire.strict_lines = True
    await ours.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: x\r\nContent-Length: 4\r\n\r\na\n\nb")
    assert await wire.head() is not None
    assert await wire.body() == b"a\n\nb"


async def test_a_hang_up_comes_at_once_or_at_the_next_wait(autojump_clock: trio.testing.MockClock) -> None:
    async def head(wire: Wire) -> None:
        with wire.one_deadline():
            await wire.head()

    async def hang_up(wire: Wire) -> None:
        await trio.sleep(1)
        wire.hang_up()

    _, wire = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up, wire)
        with pytest.raises(SlowError):
            await head(wire)
    assert trio.current_time() == 1
    with pytest.raises(SlowError):
        await head(wire)
    with pytest.raises(SlowError):
        await wire.answer(503, [])
