"""`routeros_read`: a bulk read of PPP secrets through our session, against librouteros' own API on the same server.

The server is a process of its own that sends rows which were made before, so that only the client is measured.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import librouteros
import trio

from agent.connectors.routeros.api_session import Endpoint, connect
from tests.agent.connectors.routeros.fakes import sentence
from tests.bench.processes import BenchError, telling
from tests.bench.result import Result, stopwatch

AIM = 2.0
_PRINT = "/ppp/secret/print"
_TAG = b".tag="


def _rows(rows: int, *tag: str) -> bytes:
    """Return the answer to a print: ten properties a row, as of a router with so many subscribers."""
    made = bytearray()
    for n in range(rows):
        made += sentence(
            "!re", *tag, f"=.id=*{n + 1:X}", f"=name=subscriber-{n:06}", "=service=pppoe", f"=profile=home-{n % 7}M",
            "=password=k3Xq9pLm", f"=remote-address=100.64.{n >> 8 & 255}.{n & 255}", "=disabled=false",
            f"=comment=C-{n} Amina Hassan, Zoë Street {n % 90}", "=last-logged-out=2026-01-01 12:00:00",
            f"=caller-id=AA:BB:CC:00:{n >> 8 & 255:02X}:{n & 255:02X}",
        )  # fmt: skip
    return bytes(made + sentence("!done", *tag))


def serve(rows: int) -> None:
    """Answer every login and every print, with the rows, for ever: the parent ends it."""
    untagged, tagged = _rows(rows), _rows(rows, ".tag=1")  # the first command of a session of ours has tag 1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                while data := client.recv(65536):
                    if b"/login" in data:
                        client.sendall(sentence("!done"))
                    elif _PRINT.encode() in data:
                        client.sendall(tagged if _TAG in data else untagged)


@contextmanager
def _server(rows: int) -> Iterator[int]:
    with telling("tests.bench.routeros_read", rows) as (port, _):
        yield int(port)


def _theirs(port: int, rows: int) -> float:
    api = librouteros.connect("127.0.0.1", "admin", "x", port=port, encoding="utf-8", timeout=120)
    with stopwatch() as watch:
        got = tuple(api(_PRINT))
    api.close()
    if len(got) != rows:
        raise BenchError(f"librouteros: expected {rows} rows, got {len(got)}")
    return watch.wall_s


async def _ours(port: int, rows: int) -> float:
    async with connect(Endpoint("127.0.0.1", port, None, insecure=True), "admin", b"x", timeout_s=10) as api:
        with stopwatch() as watch:
            answer = await api.call(_PRINT, timeout_s=120)
    if len(answer.rows) != rows:
        raise BenchError(f"expected {rows} rows, got {len(answer.rows)}")
    return watch.wall_s


def bench(rows: int = 50_000, rounds: int = 3) -> list[Result]:
    """Return rows per second, the best of some rounds each, taken in turns."""
    ours, theirs = [], []
    with _server(rows) as port:
        for _ in range(rounds):
            theirs.append(rows / _theirs(port, rows))
            ours.append(rows / trio.run(_ours, port, rows))
    ratio = max(ours) / max(theirs)
    aim, reference = f"ratio >= {AIM:.0f}", "librouteros' own API, same server"
    name = f"routeros_read_{rows}"
    return [Result(name, aim, max(ours), "rows/s", reference, max(theirs), ratio, ratio >= AIM)]


if __name__ == "__main__":
    serve(int(sys.argv[1]))
