"""Customers who attack an ACS, a process of its own: all that `acs_attack` is about, at once.

    python -m tests.bench.acs_attackers

It takes a line of JSON, `port`, `peers` and `seconds`, and prints one with what became of it. Each peer has an address
of its own, knows the password that all CPE share, and does five things at the same time, again and again:

* idle: four connections that ask for a challenge, and then say nothing;
* silence: a session that asks for ten minutes of it;
* work: 45 kB in gzip, which are 9 MB of 65,000 parameters, that nobody asked for;
* names: a session under a serial number that it invents;
* bytes: 1 MB before any login, of a body that never ends.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from tests.bench.acs_cpe import Answer, Said, post, proof, said, take_answer
from tests.bench.cloud import raise_nofile

IDLE_EACH = 4
HELD_S = 30.0
_READ_BYTES = 65_536
_VALUE = b'<ParameterValueStruct><Name>Device.A.B</Name><Value xsi:type="xsd:string">x</Value></ParameterValueStruct>'
_HEAD = (
    b'<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
    b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    b' xmlns:cwmp="urn:dslforum-org:cwmp-1-0"><e:Header><cwmp:ID>x</cwmp:ID></e:Header><e:Body>'
)


def heavy() -> bytes:
    """Return an answer of 65,000 values in gzip; random text keeps it within the ratio that a packed body may have."""
    noise = base64.b64encode(random.Random(1).randbytes(20_000))
    body = b"<cwmp:GetParameterValuesResponse><ParameterList>%b</ParameterList></cwmp:GetParameterValuesResponse>"
    return gzip.compress(_HEAD + b"<!--" + noise + b"-->" + body % (_VALUE * 65_000) + b"</e:Body></e:Envelope>", 9)


def silent(inform: bytes) -> bytes:
    """Return an Inform with a SessionTimeout of ten minutes."""
    end = inform.index(b"Header>", inform.index(b"Header>") + 1)
    start = inform.rindex(b"</", 0, end)
    timeout = b'<c:SessionTimeout xmlns:c="urn:dslforum-org:cwmp-1-2">600</c:SessionTimeout>'
    return inform[:start] + timeout + inform[start:]


@dataclass
class Attack:
    """All peers."""

    port: int
    what: Said
    packed: bytes
    dice: random.Random = field(default_factory=lambda: random.Random("attack"))
    did: Counter[str] = field(default_factory=Counter)

    async def peer(self, number: int) -> None:
        """Do all of it, until cancelled."""
        host = f"127.0.{20 + number // 250}.{1 + number % 250}"
        async with trio.open_nursery() as nursery:
            for _ in range(IDLE_EACH):
                nursery.start_soon(self._again, "idle", host, self._idle)
            for name, way in (
                ("silence", self._silence),
                ("work", self._work),
                ("names", self._names),
                ("bytes", self._bytes),
            ):
                nursery.start_soon(self._again, name, host, way)

    async def _again(self, name: str, host: str, way: Callable[[trio.SocketStream], Awaitable[str]]) -> None:
        while True:
            await trio.sleep(self.dice.uniform(0.05, 0.5))
            came = "not let in"
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=host)
                async with stream:
                    came = "hung up on"
                    with trio.move_on_after(HELD_S):
                        came = await way(stream)
            self.did[f"{name}: {came}"] += 1

    async def _answer(self, stream: trio.SocketStream, request: bytes) -> Answer:
        await stream.send_all(request)
        got = bytearray()
        while (answer := take_answer(got)) is None:
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError
            got += data
        return answer

    async def _log_in(self, stream: trio.SocketStream, inform: bytes) -> Answer:
        answer = await self._answer(stream, post(inform))
        return await self._answer(stream, post(inform, proof(answer.head))) if answer.status == 401 else answer

    def _inform(self) -> bytes:
        return self.what.inform(self.dice.randrange(1_000_000, 9_000_000), booted=False)

    async def _idle(self, stream: trio.SocketStream) -> str:
        answer = await self._answer(stream, post(b""))
        await stream.receive_some(1)
        return str(answer.status)

    async def _silence(self, stream: trio.SocketStream) -> str:
        answer = await self._log_in(stream, silent(self._inform()))
        await stream.receive_some(1)
        return str(answer.status)

    async def _work(self, stream: trio.SocketStream) -> str:
        answer = await self._log_in(stream, self._inform())
        if answer.status != 200:
            return str(answer.status)
        return str((await self._answer(stream, post(self.packed, b"Content-Encoding: gzip\r\n"))).status)

    async def _names(self, stream: trio.SocketStream) -> str:
        answer = await self._log_in(stream, self._inform())
        return str((await self._answer(stream, post(b""))).status if answer.status == 200 else answer.status)

    async def _bytes(self, stream: trio.SocketStream) -> str:
        head = b"POST /acs HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nContent-Length: 1048576\r\n\r\n"
        await stream.send_all(head + b"a" * 1_048_000)
        await stream.receive_some(1)
        return "held"


async def _run(port: int, peers: int, seconds: float) -> None:
    attack = Attack(port, said(), heavy())
    print(json.dumps({"packed_bytes": len(attack.packed)}), flush=True)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(peers):
                nursery.start_soon(attack.peer, number)
    print(json.dumps(dict(attack.did)), flush=True)


def main() -> None:
    raise_nofile()
    first = json.loads(sys.stdin.readline())
    trio.run(_run, first["port"], first["peers"], first["seconds"])


if __name__ == "__main__":
    main()
