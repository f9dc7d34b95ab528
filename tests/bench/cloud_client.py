"""Many agents' connections in one process, driven over stdin: one JSON object a line, one line back for each.

    {"authority": PEM, "members": [{"agent", "certificate", "private_key"}…]}     first, without an answer
    {"do": "submit", "address", "requests": [[base64…] of each member]}           {"wall_s", "replies": {base64: count}}
    {"do": "watch", "address", "at_once": N}                                      {"connected"} once all are
    {"do": "state"}                                                               {"connected", "last_at", "dials"}

Each member has a connection of its own with the agent's channel options. A member that watches and loses its stream
comes back as `agent.uplink.link` does: with that module's backoff, and a pause that the server asked for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio

from agent.uplink import limits
from agent.uplink.link import BACKOFF
from protos import channel as channels
from protos import limits as protocol_limits
from protos import message_pb2 as pb

_METHOD = "/ispagents.v0.AgentCloud/"
_LINE_BYTES = 1 << 28


class Member:
    """One agent's side of a connection. `connected_at`: unix seconds of the first event; None: it is not."""

    def __init__(self, authority: str, of: dict[str, str]) -> None:
        key, certificate = of["private_key"].encode(), of["certificate"].encode()
        self._credentials = grpc.ssl_channel_credentials(authority.encode(), key, certificate)
        self.connected_at: float | None = None
        self.greeted = asyncio.Event()
        self.dials = 0

    def channel(self, address: str) -> grpc.aio.Channel:
        options = channels.options()
        return grpc.aio.secure_channel(channels.target(address), self._credentials, options=options)

    async def watch(self, address: str) -> None:
        """Stay connected."""
        failures = 0
        while True:
            began, retry_after_s = time.monotonic(), 0
            try:
                await self._connection(address)
            except TimeoutError:
                pass
            except grpc.aio.AioRpcError as err:
                retry_after_s = _retry_after_s(err)
            finally:
                self.connected_at = None
            steady = time.monotonic() - began >= BACKOFF.steady_s
            failures = 1 if steady else failures + 1
            pause_s = BACKOFF.pause_s(failures, _dice())
            await asyncio.sleep(max(pause_s, retry_after_s * (1 + _dice()) / 2))

    async def _connection(self, address: str) -> None:
        async with self.channel(address) as channel:
            self.dials += 1
            call: Any = channel.unary_stream(_METHOD + "Watch")
            stream = call(pb.WatchRequest().SerializeToString())
            await asyncio.wait_for(stream.read(), limits.HELLO_S)
            self.connected_at = time.time()
            self.greeted.set()
            while await stream.read() is not grpc.aio.EOF:
                pass


def _dice() -> float:
    return secrets.randbelow(1 << 20) / (1 << 20)


def _retry_after_s(error: grpc.aio.AioRpcError) -> int:
    for key, value in error.trailing_metadata() or ():
        if key == "problem-bin" and isinstance(value, bytes):
            return min(pb.Problem.FromString(value).retry_after_s, protocol_limits.RETRY_AFTER_S_MAX)
    return 0


async def _submit(members: list[Member], address: str, requests: list[list[str]]) -> dict[str, object]:
    """Let each member send its requests, one after the other; all members at once."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(m.channel(address)) for m in members[: len(requests)]]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        decoded = [[base64.b64decode(r) for r in of_one] for of_one in requests]
        replies: Counter[bytes] = Counter()

        async def one(channel: grpc.aio.Channel, mine: list[bytes]) -> None:
            call: Any = channel.unary_unary(_METHOD + "Submit")
            for request in mine:
                replies[await call(request, timeout=limits.CALL_S)] += 1

        began = time.perf_counter()
        await asyncio.gather(*map(one, channels, decoded))
        wall_s = time.perf_counter() - began
    counts = {base64.b64encode(reply).decode(): n for reply, n in replies.items()}
    return {"wall_s": wall_s, "replies": counts}


async def _watch(members: list[Member], address: str, at_once: int, tasks: list[asyncio.Task[None]]) -> None:
    """Connect all members, so many at a time; they stay."""
    waiting = iter(members)

    async def some() -> None:
        for member in waiting:
            tasks.append(asyncio.create_task(member.watch(address)))
            await member.greeted.wait()

    await asyncio.gather(*(some() for _ in range(at_once)))


def _state(members: list[Member]) -> dict[str, object]:
    at = [m.connected_at for m in members if m.connected_at is not None]
    return {"connected": len(at), "last_at": max(at, default=0.0), "dials": sum(m.dials for m in members)}


async def _main() -> None:
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    first = json.loads(await reader.readline())
    members = [Member(first["authority"], of) for of in first["members"]]
    tasks: list[asyncio.Task[None]] = []
    while line := await reader.readline():
        command = json.loads(line)
        match command["do"]:
            case "submit":
                answer = await _submit(members, command["address"], command["requests"])
            case "watch":
                await _watch(members, command["address"], command["at_once"], tasks)
                answer = _state(members)
            case _:
                answer = _state(members)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
