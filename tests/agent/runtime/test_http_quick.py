"""Plain requests: whatever is taken without h11, h11 reads as the same request; all else is left to it."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.runtime.errors import SlowError
from agent.runtime.http_quick import Quick, QuickHead, quick_head
from agent.runtime.http_wire import GONE, Wire, WireLimits
from tests.agent.runtime.wires import pair
from tests.builders.expect import present

MOST = 2000
PLAIN = (
    b"POST /acs?x=1 HTTP/1.1\r\nHost: x\r\nContent-Type:\ttext/xml \r\nCookie: a=b; c\r\nContent-Length: 3\r\n\r\nabc"
)
LIMITS = WireLimits(head_bytes=MOST, body_bytes=1000, idle_s=5, body_s=5, write_s=5, linger_s=2)
PIECES = (
    b"GET", b"POST", b"PUT", b"HEAD", b" ", b"/", b"/acs", b"*", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r",
    b"\r\n\r\n", b"\n\n", b"\n\r\n", b"Host: x", b"host:y", b"Host : x", b"Content-Length: 3", b"content-length:+3",
    b"Content-Length: 3, 3", b"Content-Length: 4", b"Content-Length: 0x3", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"\tfolded", b"Connection: close",
    b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: h2c", b"Expect: 100-continue", b"X:", b"X: \xe9",
    b"X: \x00", b"X: a\tb", b":", b"\x0b", b"abc", b"3\r\nabc\r\n0\r\n\r\n",
)  # fmt: skip
REQUESTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=24).map(b"".join)
LINES = st.lists(st.sampled_from([p for p in PIECES if b":" in p]), max_size=6).map(b"\r\n".join)
NEARLY = LINES.map(
    lambda lines: b"POST /acs HTTP/1.1\r\nHost: x\r\n" + (lines + b"\r\n" if lines else b"") + b"\r\nabcdef"
)


def by_h11(data: bytes) -> h11.Request | None:
    """Return the head as h11 reads it; None: it reads none."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def body_by_h11(data: bytes) -> tuple[bytes, bytes]:
    """Return the body and the rest, as h11 reads a request that came whole."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST)
    connection.receive_data(data)
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
    return body, bytes(connection.trailing_data[0])


# --- the head ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(REQUESTS | NEARLY)
@example(PLAIN)
def test_what_is_taken_h11_reads_as_the_same(data: bytes) -> None:
    if not data or data[:1] in (b"\r", b"\n"):
        return
    found = quick_head(data, MOST)
    if found is Quick.NEEDS_MORE:
        assert by_h11(data) is None, "h11 has a head already"
    if not isinstance(found, QuickHead):
        return
    head = present(by_h11(data))
    assert (found.method, found.target, list(found.headers)) == (head.method, head.target, list(head.headers))
    whole = data[: found.size] + (data[found.size :] + b"x" * found.length)[: found.length] + b"rest"
    assert body_by_h11(whole) == (whole[found.size : found.size + found.length], b"rest")


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3, 3",
        b"Content-Length: +3",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"X: a\r\n Transfer-Encoding: chunked",
        b"X: a\nTransfer-Encoding: chunked",
        b"Host: y",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Upgrade: h2c",
        b"X: \xe9",
        b"X: a\x00b",
        b"X : a",
        b"X",
    ],
)
def test_whatever_could_be_read_in_two_ways_is_left_to_h11(field: bytes) -> None:
    assert quick_head(b"POST / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\nabc", MOST) is Quick.FOR_H11


@pytest.mark.parametrize("size", [MOST, MOST + 1])
def test_a_long_head_is_left_to_h11(size: int) -> None:
    long = PLAIN.replace(b"a=b", b"a" * size)
    assert quick_head(long, MOST) is Quick.FOR_H11
    assert quick_head(long[:MOST], MOST) is Quick.FOR_H11
    assert quick_head(long[: MOST - 1], MOST) is Quick.NEEDS_MORE


# --- on a connection --------------------------------------------------------------------------------------------------


async def served(data: bytes, size: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the requests that a connection has, target and body, and all that it answers; `size`: of a piece."""
    near, wire = pair(LIMITS)
    found: list[tuple[bytes, bytes]] = []

    async def send() -> None:
        for at in range(0, len(data), size):
            await near.send_all(data[at : at + size])
        await near.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            while (head := await wire.head()) is not None:
                found.append((head.target, await wire.body()))
                await wire.answer(200, [("x", "y")], b"ok")
                if not wire.next_request():
                    break
        except h11.RemoteProtocolError:
            found.append((b"malformed", b""))
    await wire.stream.aclose()
    got = b""
    while part := await near.receive_some():
        got += part
    return found, got


@pytest.mark.parametrize("kinds", ["pp", "pc", "cp", "pcpcp", "pd", "pxp", "p1p", "pj"])
async def test_plain_requests_and_others_take_turns(kinds: str) -> None:
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    closing = b"POST /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    old = b"POST /1 HTTP/1.0\r\nContent-Length: 1\r\n\r\nz"
    by = {"p": PLAIN, "c": chunked, "d": closing, "x": b"\r\n\r\n", "1": old, "j": b"junk\r\n\r\n"}
    data = b"".join(by[kind] for kind in kinds)
    whole = await served(data, len(data))
    assert await served(data, 1) == whole
    targets = {"p": b"/acs?x=1", "c": b"/c", "d": b"/d", "1": b"/1", "j": b"malformed"}
    expected = [targets[kind] for kind in kinds if kind != "x"]
    if "1" in kinds:
        expected = expected[: kinds.index("1") + 1]  # HTTP/1.0 closes
    assert [target for target, _ in whole[0]] == expected
    assert whole[1].count(b"HTTP/1.1 200 \r\nx: y\r\ncontent-length: 2\r\n") == len(
        [t for t in expected if t != b"malformed"]
    )


@pytest.mark.parametrize("read", ["the head", "the body"])
async def test_an_answer_in_parts_is_h11s(read: str) -> None:
    near, wire = pair(LIMITS)
    await near.send_all(PLAIN + PLAIN)
    await wire.head()
    if read == "the body":
        assert await wire.body() == b"abc"
    headers = [("transfer-encoding", "chunked")]
    await wire.send(h11.Response(status_code=200, headers=headers), h11.Data(data=b"hello"), h11.EndOfMessage())
    assert not wire.may_answer
    assert b"5\r\nhello\r\n0\r\n\r\n" in await near.receive_some()
    assert wire.next_request() is (read == "the body"), "a body that nobody read ends the connection"
    if read == "the body":
        assert await wire.head() is not None
        assert await wire.body() == b"abc"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\r", "é", "a\x00"])
async def test_no_field_of_ours_begins_another(value: str) -> None:
    near, wire = pair(LIMITS)
    await near.send_all(PLAIN)
    await wire.head()
    await wire.body()
    with pytest.raises((h11.LocalProtocolError, UnicodeEncodeError)):
        await wire.answer(200, [("x", value), ("y", "z")])


# --- one deadline a connection ----------------------------------------------------------------------------------------


async def test_one_deadline_is_moved(autojump_clock: trio.testing.MockClock) -> None:
    near, wire = pair(LIMITS)
    start = trio.current_time()

    async def requests() -> None:
        with wire.one_deadline():
            for _ in range(3):
                await near.send_all(PLAIN)
                assert await wire.head() is not None
                assert await wire.body() == b"abc"
                await trio.sleep(100)  # our own work is under no deadline
                await wire.answer(200, [])
                assert wire.next_request()
            await near.send_all(PLAIN[:-1])
            assert await wire.head() is not None
            await wire.body()

    with pytest.raises(SlowError):
        await requests()
    assert trio.current_time() - start == 300 + LIMITS.body_s
    with pytest.raises(SlowError):
        await wire.body()


async def test_a_client_that_takes_no_answer_is_too_slow(autojump_clock: trio.testing.MockClock) -> None:
    class Stuck(trio.abc.SendStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    _, far = trio.testing.memory_stream_pair()
    wire = Wire(trio.StapledStream(Stuck(), far), LIMITS)
    with pytest.raises(SlowError), wire.one_deadline():
        await wire.answer(200, [])
    with pytest.raises(GONE):
        await wire.answer(200, [], b"x")
