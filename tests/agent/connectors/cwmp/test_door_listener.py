"""The door: who stands in the queue is taken at once, and who is not let in costs no task."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.lowlevel
import trio.testing

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.door_listener import listening, take_connections


@dataclass
class Door:
    """A door on loopback: to whom it was opened, and which connections were served until they were closed."""

    port: int
    asked: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)

    async def dial(self, host: str) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port, local_address=host)


@asynccontextmanager
async def door(
    lets_in: Callable[[str], bool], wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock
) -> AsyncIterator[Door]:
    """Keep a door for the block."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with wrap(listening(listener)) as sock:
        at = Door(sock.getsockname()[1])

        def let_in(address: str) -> str | None:
            at.asked.append(address)
            return address if lets_in(address) else None

        async def serve(stream: trio.SocketStream, address: str) -> None:
            async with stream:
                at.served.append(address)
                await stream.send_all(b"hello")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_connections, sock, let_in, serve, nursery)
            yield at
            nursery.cancel_scope.cancel()


async def heard(stream: trio.SocketStream) -> bytes:
    """Return all that comes until the door closes."""
    got = b""
    with trio.fail_after(30):
        try:
            while data := await stream.receive_some(100):
                got += data
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    return got


async def test_who_is_not_let_in_is_closed_without_a_task_or_word() -> None:
    async with door(lambda address: address == "127.0.0.9") as at:
        assert await heard(await at.dial("127.0.0.2")) == b""
        assert await heard(await at.dial("127.0.0.9")) == b"hello"
        assert at.asked == ["127.0.0.2", "127.0.0.9"]
        assert at.served == ["127.0.0.9"]


async def test_all_that_wait_are_taken_and_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ARRIVALS_AT_ONCE", 4)
    most = 0

    def lets_in(_: str) -> bool:
        nonlocal since
        since += 1
        return False

    since = 0
    async with door(lets_in) as at:
        waiting = [socket.create_connection(("127.0.0.1", at.port), 30) for _ in range(30)]  # before the door looks
        while len(at.asked) < 30:
            since = 0
            await trio.lowlevel.checkpoint()
            most = max(most, since)
        for sock in waiting:
            sock.close()
    assert 4 <= most <= 8, "the door may have two turns between two looks"


class Bad(socket.socket):
    """A listening socket on which accept(2) fails at first."""

    def __init__(self, sock: socket.socket, *errors: int) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.errors:
            raise OSError(self.errors.pop(0), "made up")
        return super().accept()


async def test_a_gone_connection_and_a_full_file_table_end_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    errors = (errno.ECONNABORTED, errno.EPROTO, errno.EMFILE)
    async with door(lambda _: True, lambda sock: Bad(sock, *errors)) as at:
        assert await heard(await at.dial("127.0.0.1")) == b"hello"
    assert [record.getMessage() for record in caplog.records] == ["acs-no-room"]


async def test_a_socket_that_does_not_listen_any_more_is_said() -> None:
    async def run() -> None:
        async with door(lambda _: True, lambda sock: Bad(sock, errno.EINVAL)) as at:
            await at.dial("127.0.0.1")
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.group_contains(OSError, match="made up")
