"""`routeros_held`: many routers held open and idle: memory and CPU of the process that holds them, time to open all.

    python -m tests.bench.routeros_held HOLDER IDLE_S

is that process. It reads where the routers are (a line of JSON) and prints what it took (another). They are held over
TLS: `agent` is our connector as the main job has it (connected, the router recognized, a row read), `librouteros` the
library's own API, logged in. The routers are the lab's, in other processes.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import librouteros
import trio

from agent.changes.engine.sessions import Sessions
from agent.connectors.routeros.addresses import RouterResource, address
from agent.model import ABSENT
from agent.store.vault import Vault
from tests.bench.cloud import raise_nofile, rss_kib
from tests.bench.lab_routers import PASSWORD, USER, RouterAt, connector, login, routers
from tests.bench.processes import REPO, BenchError
from tests.bench.result import Result, stopwatch

ROUTERS = 500
PROCESSES = 5
AT_ONCE = 16
"""Routers that we connect to at a time; the library goes one by one."""
IDLE_S = 30.0
ANSWER_S = 300.0
_STORE_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Held:
    """What it took: seconds and CPU to open all but the first, memory for each of them, CPU while nothing happens."""

    open_s: float
    open_cpu_s: float
    kib_each: float
    idle_percent: float


def _memory_kib() -> int:
    return rss_kib(os.getpid())


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _idle_percent(idle_s: float) -> float:
    """Return the CPU of this process over so many seconds, in percent of one core."""
    files, began, used_s = _files(), time.perf_counter(), time.process_time()
    await trio.sleep(idle_s)
    percent = (time.process_time() - used_s) / (time.perf_counter() - began) * 100
    if _files() != files:
        raise BenchError(f"expected {files} files to stay open, got {_files()}")
    return percent


# --- the holders ----------------------------------------------------------------------------------------------------


async def _agent(at: Sequence[RouterAt], idle_s: float, folder: Path) -> Held:
    with closing(Vault(_STORE_KEY, folder / "keys.db")) as vault:
        sessions = Sessions({"routeros": connector(at, vault)})
        turns = trio.CapacityLimiter(AT_ONCE)

        async def open_one(number: int) -> None:
            where = address(f"routeros/r{number}", RouterResource.SECRET, login(number, 0))
            async with turns:
                seen = await (await sessions.dialed(f"routeros/r{number}")).read([where])
            if seen[where].value is ABSENT:
                raise BenchError(f"router {number} has not its secret")

        async with trio.open_nursery() as nursery:
            await sessions.host(nursery)
            await open_one(0)  # what all of them share is loaded with the first
            before_kib, used_s = _memory_kib(), time.process_time()
            with stopwatch() as opened:
                async with trio.open_nursery() as opening:
                    for number in range(1, len(at)):
                        opening.start_soon(open_one, number)
            used_s = time.process_time() - used_s
            kib_each = (_memory_kib() - before_kib) / (len(at) - 1)
            held = Held(opened.wall_s, used_s, kib_each, await _idle_percent(idle_s))
            nursery.cancel_scope.cancel()
    return held


async def _library(at: Sequence[RouterAt], idle_s: float, _: Path) -> Held:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def open_one(router: RouterAt) -> librouteros.api.Api:
        wrap = context.wrap_socket
        return librouteros.connect("127.0.0.1", USER, PASSWORD, port=router.port, ssl_wrapper=wrap, timeout=60)

    held = [open_one(at[0])]
    before_kib, used_s = _memory_kib(), time.process_time()
    with stopwatch() as opened:
        held += map(open_one, at[1:])
    used_s = time.process_time() - used_s
    kib_each = (_memory_kib() - before_kib) / (len(at) - 1)
    idle_percent = await _idle_percent(idle_s)
    for api in held:
        api.close()
    return Held(opened.wall_s, used_s, kib_each, idle_percent)


_HOLDERS = {"agent": _agent, "librouteros": _library}


def hold(holder: str, idle_s: float) -> None:
    """Hold the routers that the parent names, and print what it took."""
    at = [RouterAt(**router) for router in json.loads(sys.stdin.readline())]
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as folder:
        held = trio.run(_HOLDERS[holder], at, idle_s, Path(folder))
    print(json.dumps(asdict(held)))


# --- the benchmark --------------------------------------------------------------------------------------------------


def _held(holder: str, at: Sequence[RouterAt], idle_s: float) -> Held:
    command = [sys.executable, "-m", "tests.bench.routeros_held", holder, str(idle_s)]
    told = json.dumps([asdict(router) for router in at])
    done = subprocess.run(command, cwd=REPO, input=told, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    if done.returncode:
        raise BenchError(f"{holder} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Held(**json.loads(done.stdout))


def bench(count: int = ROUTERS, processes: int = PROCESSES, idle_s: float = IDLE_S) -> list[Result]:
    """Return memory for each router, CPU while they are idle, and seconds to open all, beside the library's own."""
    raise_nofile()
    with routers(count, processes=processes, secrets=1, tls=True) as at:
        theirs = _held("librouteros", at, idle_s)
        ours = _held("agent", at, idle_s)
    name, reference = f"routeros_held_{count}", "librouteros over TLS, one connection each"
    return [
        Result(
            name,
            "none",
            ours.kib_each,
            "KiB each",
            reference,
            theirs.kib_each,
            ours.kib_each / theirs.kib_each if theirs.kib_each else None,
        ),
        Result(f"{name}_idle", "none", ours.idle_percent, "% CPU", "agent alone", more={"seconds": idle_s}),
        Result(
            f"{name}_open",
            "none",
            ours.open_s,
            "s",
            "librouteros, one after the other",
            theirs.open_s,
            ours.open_s / theirs.open_s,
            more={"at once": AT_ONCE, "CPU s": ours.open_cpu_s, "the same, librouteros": theirs.open_cpu_s},
        ),
    ]


if __name__ == "__main__":
    hold(sys.argv[1], float(sys.argv[2]))
