"""`snmp_read`: processor time a value of 22-column tables, through our client, gufo-snmp alone, and pysnmp's API.

One responder, a process of its own with answers that were made before, so that only the client is measured. In turns;
of each the best round counts. gufo-snmp walks a column after the other, which is all that its API does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from agent.connectors.snmp import ber, messages
from agent.connectors.snmp.client_session import open_client
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.values import COUNTER32, COUNTER64, INTEGER, OCTET_STRING, Oid, Value, dotted, oid, suffix
from tests.bench.processes import BenchError, telling
from tests.bench.result import Result, compared

COLUMNS = tuple(oid(f"1.3.6.1.2.1.2.2.1.{n}") for n in range(1, 23))
COMMUNITY = b"public"
AT_ONCE = 20
REPETITIONS = 25
GUFO_AIM, PYSNMP_AIM = 1.5, 20.0
_KINDS: tuple[Callable[[int], Value], ...] = (
    lambda n: (INTEGER, n),
    lambda n: (OCTET_STRING, f"ge-0/0/{n}".encode()),
    lambda n: (COUNTER32, 1_234_567 * n),
    lambda n: (COUNTER64, 987_654_321_012 + n),
)


def _values(rows: int) -> list[tuple[Oid, Value]]:
    """Return the table in the order of a walk, and one value behind it."""
    found = [
        (Oid(column + suffix((n,))), _KINDS[place % 4](n))
        for place, column in enumerate(COLUMNS)
        for n in range(1, rows + 1)
    ]
    return [*found, (oid("1.3.6.1.2.1.3.1.0"), (INTEGER, 1))]


class Responder:
    """Answers GETBULK by a chain from each name to the next."""

    def __init__(self, rows: int) -> None:
        values = _values(rows)
        names = [name for name, _ in values]
        encoded = [ber.varbind_element(name, value) for name, value in values]
        end = (names[-1], ber.varbind_element(names[-1], (0x82, b"")))
        self._next = dict(zip(names, [*zip(names[1:], encoded[1:], strict=True), end], strict=True))
        for column in COLUMNS:
            at = names.index(Oid(column + b"\x01"))
            self._next[column] = (names[at], encoded[at])

    def answer(self, data: bytes) -> bytes:
        asked = messages.message_untrusted(data).pdu
        if not isinstance(asked, Pdu):
            raise BenchError("expected a request, got a trap")
        names, found = [name for name, _ in asked.varbinds], []
        for _ in range(asked.index):
            row = [self._next[name] for name in names]
            found += [encoded for _, encoded in row]
            names = [name for name, _ in row]
        numbers = ber.integer(asked.request_id) + ber.integer(0) + ber.integer(0)
        body = ber.element(PduKind.RESPONSE, numbers + ber.element(ber.SEQUENCE, b"".join(found)))
        return messages.encode(SnmpVersion.V2C, COMMUNITY, body)


def serve(rows: int) -> None:
    """Answer for ever: the parent ends it. An answer is made once and sent again with another request id."""
    responder = Responder(rows)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", 0))
        print(sock.getsockname()[1], flush=True)
        while True:
            data, source = sock.recvfrom(65_535)
            with contextlib.suppress(OSError):
                sock.sendto(responder.answer(data), source)


@contextmanager
def _responder(rows: int) -> Iterator[int]:
    with telling("tests.bench.snmp_read", rows) as (port, _):
        yield int(port)


async def _ours(port: int, devices: int) -> int:
    found = 0
    limits = SnmpLimits(timeout_s=20, repetitions=REPETITIONS)

    async def read(turn: trio.CapacityLimiter) -> None:
        nonlocal found
        async with turn, open_client("127.0.0.1", port, SnmpCredential(SnmpVersion.V2C, COMMUNITY), limits) as client:
            columns = await client.table(COLUMNS)
            found += sum(map(len, columns.values()))

    turn = trio.CapacityLimiter(AT_ONCE)
    async with trio.open_nursery() as nursery:
        for _ in range(devices):
            nursery.start_soon(read, turn)
    return found


async def _gathered(devices: int, read: Callable[[], Awaitable[int]]) -> int:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one() -> int:
        async with turn:
            return await read()

    return sum(await asyncio.gather(*(one() for _ in range(devices))))


async def _gufo(port: int, devices: int) -> int:
    from gufo.snmp.aio import SnmpSession

    async def read() -> int:
        found = 0
        async with SnmpSession(
            "127.0.0.1", port=port, community="public", timeout=20, max_repetitions=REPETITIONS
        ) as session:
            for column in COLUMNS:
                async for _ in session.getbulk(dotted(column)):
                    found += 1
        return found

    return await _gathered(devices, read)


async def _pysnmp(port: int, devices: int) -> int:
    from pysnmp.hlapi.v3arch import asyncio as hlapi

    engine = hlapi.SnmpEngine()
    prefixes = [tuple(map(int, dotted(column).split("."))) for column in COLUMNS]
    context, community = hlapi.ContextData(), hlapi.CommunityData("public", mpModel=1)

    async def read() -> int:
        target = await hlapi.UdpTransportTarget.create(("127.0.0.1", port), timeout=20, retries=0)
        found, cursors = 0, list(prefixes)
        while True:
            asked = [hlapi.ObjectType(hlapi.ObjectIdentity(name)) for name in cursors]
            error, status, _, bound = await hlapi.bulk_cmd(
                engine, community, target, context, 0, REPETITIONS, *asked, lookupMib=False
            )
            if error or status:
                raise BenchError(f"pysnmp: {error or status}")
            for place, (name, _) in enumerate(bound):
                column = place % len(prefixes)
                if tuple(name)[: len(prefixes[column])] == prefixes[column]:
                    found += 1
                    cursors[column] = tuple(name)
                elif column == len(prefixes) - 1:
                    return found

    try:
        return await _gathered(devices, read)
    finally:
        engine.close_dispatcher()


def _cpu_us(run: Callable[[], int], values: int, name: str) -> float:
    began = time.process_time()
    found = run()
    spent_s = time.process_time() - began
    if found != values:
        raise BenchError(f"{name}: expected {values} values, got {found}")
    return spent_s / values * 1e6


def bench(devices: int = 60, rows: int = 48, rounds: int = 4) -> list[Result]:
    """Return microseconds of processor time a value."""
    few = max(1, devices // 10)
    spent: dict[str, list[float]] = {"ours": [], "gufo": [], "pysnmp": []}
    size = rows * len(COLUMNS)
    with _responder(rows) as port:
        for _ in range(rounds):
            spent["gufo"].append(_cpu_us(lambda: asyncio.run(_gufo(port, devices)), devices * size, "gufo-snmp"))
            spent["ours"].append(_cpu_us(partial(trio.run, _ours, port, devices), devices * size, "ours"))
            spent["pysnmp"].append(_cpu_us(lambda: asyncio.run(_pysnmp(port, few)), few * size, "pysnmp"))
    ours, gufo, theirs = (min(values) for values in spent.values())
    ratio = theirs / ours
    return [
        compared(
            f"snmp_read_{devices}", f"ratio <= {GUFO_AIM}", ours, "us/value", ("gufo-snmp alone", gufo), limit=GUFO_AIM,
            more={"worst round": max(spent["ours"]), "worst round of gufo-snmp": max(spent["gufo"])},
        ),
        Result(
            f"snmp_read_{devices}_pysnmp", f"ratio >= {PYSNMP_AIM:.0f}", ours, "us/value", "pysnmp's API", theirs,
            ratio, ratio >= PYSNMP_AIM,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    serve(int(sys.argv[1]))
