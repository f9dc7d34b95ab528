"""A payment system's API of one test: each request goes to a function of the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

from agent.billing_model.errors import SourceError

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A request. `query`: without repeated names."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, Any]
"""Status, and what the body holds as JSON."""


@dataclass
class PayServer:
    """The server; `asked` are the requests that came."""

    answer: Callable[[Asked], Answer]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            while (one := await _request(stream)) is not None:
                self.asked.append(one)
                status, value = self.answer(one)
                body = json.dumps(value).encode()
                head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                await stream.send_all(head.encode() + body)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


async def _request(stream: trio.SocketStream) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some(65536)
        if not piece:
            return None
        data += bytes(piece)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += bytes(await stream.receive_some(65536))
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    return Asked(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)


async def outcome(work: Awaitable[T]) -> T | SourceError:
    """Return what some work gives, or why a source could not be read: inside a nursery it would become a group."""
    try:
        return await work
    except SourceError as err:
        return err


def told(found: T | SourceError) -> T:
    """Return what `outcome` gave, or raise it."""
    if isinstance(found, SourceError):
        raise found
    return found


@asynccontextmanager
async def pay_server(answer: Callable[[Asked], Answer]) -> AsyncIterator[PayServer]:
    server = PayServer(answer)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server._serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


@dataclass
class Naps:
    """A clock on which every sleep is over at once."""

    now_s: float = 1_795_000_000.0
    boot_id: str = ""

    def wall_s(self) -> float:
        return self.now_s

    def boot_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.now_s += seconds

    async def sleep_until_boot(self, boot_s: float) -> None:
        await self.sleep(max(0.0, boot_s - self.now_s))
