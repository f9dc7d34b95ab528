"""One HTTP connection of a server: what `test_http` does not reach, over streams in memory."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

from agent.runtime.errors import MalformedRequestError, SlowError
from agent.runtime.http_wire import GONE, Wire, WireLimits

LIMITS = WireLimits(head_bytes=2000, body_bytes=1000, idle_s=5, body_s=5, write_s=5, linger_s=2)
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"


def pair() -> tuple[trio.StapledStream, Wire]:  # type: ignore[type-arg]  # of two memory streams
    near, far = trio.testing.memory_stream_pair()
    return near, Wire(far, LIMITS)


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


async def test_linger_reads_what_is_still_sent_and_ends_with_the_client() -> None:
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
