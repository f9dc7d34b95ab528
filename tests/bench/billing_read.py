"""`billing_read`: a full reading of a UISP CRM, against a bare loop of httpx over the same pages of the same server.

Server and readers are processes of their own. The server answers from pages that were made before, so that only the
client is measured. Peak memory is that of the reader's whole process.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import trio

from durable.process import exempt_loaded_objects
from lab.billing.server import WebRequest
from lab.billing.uisp import Uisp
from tests.bench.processes import BenchError, telling
from tests.bench.result import Result, compared

AIM = 2.0
MEMORY_MIB = 150.0
_KEY = "lab-app-key"
_TARGETS = "/targets"


def books(accounts: int, invoices: int) -> Uisp:
    """Return books with open invoices, spread over the accounts."""
    made, now = Uisp(), datetime(2026, 11, 1, tzinfo=UTC)
    clients = [made.add_client(f"C-{number}") for number in range(accounts)]
    for number in range(invoices):
        made.add_invoice(clients[number % accounts].id, "34.00", date(2026, 11, 1 + number % 28), now)
    return made


async def serve(accounts: int, invoices: int) -> None:
    """Answer from pages that are made once; the first reading makes them. `/targets` lists them in their order."""
    made, pages, order = books(accounts, invoices), dict[str, bytes](), list[str]()

    def answer(target: str) -> bytes:
        if target == _TARGETS:
            return _reply(order)
        if "?" not in target:
            order.clear()  # a reading begins with the options
        order.append(target)
        if target not in pages:
            parts = urlsplit(target)
            request = WebRequest("GET", parts.path, tuple(parse_qsl(parts.query)), {"x-auth-app-key": _KEY}, b"")
            pages[target] = _reply(made.answer(request).json)
        return pages[target]

    async def one(stream: trio.SocketStream) -> None:
        got = b""
        while True:
            while b"\r\n\r\n" not in got:
                if not (piece := await stream.receive_some(65536)):
                    return
                got += piece
            head, _, got = got.partition(b"\r\n\r\n")
            await stream.send_all(answer(head.split(b" ", 2)[1].decode()))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(one, [listener])


def _reply(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def ours(port: int) -> dict[str, float]:
    """Read everything by the connector."""
    from agent.connectors.uisp_crm import SPEC
    from tests.builders.web import made

    table = {"url": f"http://127.0.0.1:{port}/crm/api/v1.0", "secret": "key", "reading_mib": 256}
    connector = made(SPEC, table, {"key": _KEY.encode()})
    importlib.import_module("httpcore")  # httpx loads it with its first client: an agent does so once, when it starts
    exempt_loaded_objects()  # as the daemon does once it has started
    began, cpu_s = time.perf_counter(), time.process_time()
    reading = await connector.accounts("uisp-crm/main")
    spent = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
    return {**spent, "rows": len(reading.accounts) + sum(len(a.invoices) for a in reading.accounts)}


async def bare(port: int) -> dict[str, float]:
    """Read the same pages by httpx alone. Its client is made inside of the clock, as the connector's is."""
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        targets = (await client.get(_TARGETS)).json()
    began, cpu_s, rows = time.perf_counter(), time.process_time(), set[tuple[str, int]]()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for target in targets:
            for row in (await client.get(target)).json() if "?" in target else ():
                rows.add((target.partition("?")[0], row["id"]))
    spent = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
    return {**spent, "rows": len(rows)}


def peak_mib() -> float:
    """Return this process' peak. `ru_maxrss` would have what its parent had before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def _server(accounts: int, invoices: int) -> Iterator[int]:
    with telling("tests.bench.billing_read", "serve", accounts, invoices) as (port, _):
        yield int(port)


def _reader(name: str, port: int, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.billing_read", name, str(port)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if found["rows"] != rows:
        raise BenchError(f"{name}: expected {rows} rows, got {found['rows']:.0f}")
    return found


def bench(accounts: int = 9_000, invoices: int = 40_000, rounds: int = 3) -> list[Result]:
    """Return the time of a full reading and its peak memory, the best of some rounds, taken in turns."""
    rows, mine, theirs = accounts + invoices, list[dict[str, float]](), list[dict[str, float]]()
    with _server(accounts, invoices) as port:
        _reader("ours", port, rows)  # the server makes its pages
        for _ in range(rounds):
            theirs.append(_reader("bare", port, rows))
            mine.append(_reader("ours", port, rows))
    name = f"billing_read_{accounts}"
    best, other = min(m["wall_s"] for m in mine), min(t["wall_s"] for t in theirs)
    cpu = {"cpu_s": min(m["cpu_s"] for m in mine), "bare_cpu_s": min(t["cpu_s"] for t in theirs)}
    peak, more = max(m["peak_mib"] for m in mine), {"bare_mib": max(t["peak_mib"] for t in theirs)}
    return [
        compared(name, f"ratio <= {AIM:.0f}", best, "s", ("httpx alone, same pages", other), limit=AIM, more=cpu),
        Result(f"{name}_memory", f"<= {MEMORY_MIB:.0f} MiB", peak, "MiB", "", met=peak <= MEMORY_MIB, more=more),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve, int(sys.argv[2]), int(sys.argv[3]))
    else:
        measured = trio.run(ours if sys.argv[1] == "ours" else bare, int(sys.argv[2]))
        measured["peak_mib"] = peak_mib()
        print(json.dumps(measured))
