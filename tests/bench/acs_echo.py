"""The reference of the benchmarks of the ACS: bare h11 on trio, that answers what the ACS answered, in the same order.

    python -m tests.bench.acs_echo

It reads a line of JSON, the answers of one session of the real ACS, prints its port, and serves until its input ends.
Each request is read whole and looked at by nobody; a connection's first answer is the session's first.
"""

from __future__ import annotations

import base64
import json
import sys

import h11
import trio

from tests.bench.cloud import raise_nofile

_READ_BYTES = 65_536
Script = list[tuple[h11.Response, bytes]]
_OF_H11 = (b"content-length", b"connection", b"transfer-encoding")


def _script(told: list[list[str]]) -> Script:
    script = []
    for status, head, body in told:
        clear = base64.b64decode(body)
        pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        fields = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in pairs if k.lower().encode() not in _OF_H11]
        if int(status) != 204:
            fields.append((b"content-length", str(len(clear)).encode()))
        script.append((h11.Response(status_code=int(status), headers=fields), clear))
    return script


async def _serve_one(script: Script, stream: trio.SocketStream) -> None:
    http, number = h11.Connection(h11.SERVER), 0
    async with stream:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                try:
                    http.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
                except trio.BrokenResourceError:
                    return
            elif isinstance(event, h11.EndOfMessage):
                head, body = script[number % len(script)]
                number += 1
                await stream.send_all(
                    b"".join(http.send(e) or b"" for e in (head, h11.Data(data=body), h11.EndOfMessage()))
                )
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return


async def _serve(script: Script) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(json.dumps({"port": listener.socket.getsockname()[1]}), flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, lambda stream: _serve_one(script, stream), [listener])
        await trio.to_thread.run_sync(sys.stdin.readline)  # the end of it
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    raise_nofile()
    trio.run(_serve, _script(json.loads(sys.stdin.readline())["script"]))
