"""`hooks_forged`: what forged webhooks over TLS cost, each from another address, and how long a real one takes.

10,000 forged calls a minute know the source's path, so that the agent looks at their signature. The listener is a
process of its own; its share of a core is its processor time. A real sender calls twice a second meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from agent.billing.hooks_listener import HooksListener, HookWay
from agent.billing_model.hmac_hooks import HmacScheme, HmacStyle, HookHash
from agent.billing_model.hooks import Heard
from agent.config import HooksConfig
from agent.runtime.clock import SystemClock
from lab.router.certificate import make_certificate
from tests.bench.processes import BenchError, telling
from tests.bench.result import Result, compared

CORE_AIM, DELAY_AIM_S = 0.25, 1.0
A_MINUTE = 10_000
TOKEN, SECRET = "cd" * 20, b"a secret"
REAL_EVERY_S = 0.5
AT_ONCE = 64


async def serve(certificate: str, key: str) -> None:
    """Listen; at the end of the input print the processor time that was used since the first line of it."""

    async def keep(source: str, heard: Heard) -> bool:
        del source, heard
        await trio.lowlevel.checkpoint()
        return True

    style = HmacStyle("x-signature", HookHash.SHA256)
    way = HookWay("main", TOKEN, (), lambda: HmacScheme(style, [SECRET]))
    config = HooksConfig("127.0.0.1", 0, certificate, key, "", "", 0)
    listener = HooksListener(config, [way], keep, lambda: None, SystemClock())
    async with trio.open_nursery() as nursery:
        print(await nursery.start(listener.serve), flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        began_s = time.process_time()
        await trio.to_thread.run_sync(sys.stdin.readline)
        print(time.process_time() - began_s, flush=True)
        nursery.cancel_scope.cancel()


def _body(secret: bytes) -> bytes:
    signed = hmac.new(secret, b"{}", hashlib.sha256).hexdigest()
    head = f"POST /hook/main/{TOKEN} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed}\r\nContent-Length: 2\r\n\r\n"
    return head.encode() + b"{}"


async def _call(port: int, context: ssl.SSLContext, secret: bytes, local: str) -> int:
    """Return the status of a call; 0: it was closed at the door."""
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        socket = await trio.open_tcp_stream("127.0.0.1", port, local_address=local)
        stream = trio.SSLStream(socket, context, server_hostname="localhost", https_compatible=True)
        try:
            await stream.send_all(_body(secret))
            answer = bytes(await stream.receive_some(4096))
            return int(answer.split()[1]) if answer else 0
        finally:
            await trio.aclose_forcefully(stream)
    return 0


async def _flood(port: int, context: ssl.SSLContext, seconds: float) -> tuple[Counter[int], list[float]]:
    """Return the statuses of forged calls, and the seconds that real ones took."""
    statuses: Counter[int] = Counter()
    took: list[float] = []
    room = trio.CapacityLimiter(AT_ONCE)

    async def forged(n: int) -> None:
        async with room:
            local = f"127.{1 + n % 200}.{n // 200 % 250}.{1 + n // 50_000}"
            statuses[await _call(port, context, b"other", local)] += 1

    async def real() -> None:
        while True:
            began_s = trio.current_time()
            if await _call(port, context, SECRET, "127.0.0.1") != 200:
                raise BenchError("a real call was not answered with 200")
            took.append(trio.current_time() - began_s)
            await trio.sleep(REAL_EVERY_S)

    async with trio.open_nursery() as reals:
        reals.start_soon(real)
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(int(A_MINUTE / 60 * seconds)):
                await trio.sleep_until(began_s + n * 60 / A_MINUTE)
                nursery.start_soon(forged, n)
        reals.cancel_scope.cancel()
    return statuses, took


@contextmanager
def _listener(folder: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    made = make_certificate("hooks")
    (folder / "hooks.pem").write_bytes(made.pem)
    (folder / "hooks.key").write_bytes(made.key_pem)
    pair = folder / "hooks.pem", folder / "hooks.key"
    with telling("tests.bench.hooks_forged", *pair, with_input=True) as (port, process):
        yield int(port), process


def _line(process: subprocess.Popen[str]) -> None:
    if process.stdin is None:
        raise BenchError("the listener has no input")
    process.stdin.write("\n")
    process.stdin.flush()


def bench(seconds: float = 60.0) -> list[Result]:
    """Measure a flood of so many seconds."""
    with tempfile.TemporaryDirectory() as name, _listener(Path(name)) as (port, process):
        context = ssl.create_default_context(cafile=Path(name) / "hooks.pem")
        _line(process)
        began_s = time.monotonic()
        statuses, took = trio.run(_flood, port, context, seconds)
        wall_s = time.monotonic() - began_s
        _line(process)
        if process.stdout is None:
            raise BenchError("the listener has no output")
        share = float(process.stdout.readline()) / wall_s
    return _results(share, statuses, sorted(took), wall_s)


def _results(share: float, statuses: Counter[int], took: Sequence[float], wall_s: float) -> list[Result]:
    calls = statuses.total()
    if statuses[200]:
        raise BenchError("a forged call was answered with 200")
    more = {"calls a minute": calls / wall_s * 60, "closed at the door": statuses[0], "refused": calls - statuses[0]}
    real = {"median": statistics.median(took), "real calls": len(took)}
    return [
        compared("hooks_forged", f"<= {CORE_AIM} of a core", share, "cores", ("aim", CORE_AIM), limit=1.0, more=more),
        compared("hooks_forged_real", f"<= {DELAY_AIM_S} s", took[-1], "s", ("aim", DELAY_AIM_S), limit=1.0, more=real),
    ]


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], sys.argv[2])
