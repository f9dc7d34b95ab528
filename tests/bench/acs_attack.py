"""`acs_attack`: what 200 customers who attack the ACS do to everybody else: API calls, a freeze, accepted CPE, memory.

The agent is the program that an operator starts, with an ACS; the attackers are a process of their own
(`acs_attackers`). Beside them one client asks for the status again and again, five accepted CPE call in, each half a
second after its last session, and a person freezes all changes in the middle. What is measured includes what a machine
of few cores gives the agent.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from agent.runtime import http_client
from agent.runtime.errors import ClientError
from tests.bench import acs_cpe, acs_site
from tests.bench.acs_cpe import Said, TurnedAway, said, take_answer
from tests.bench.cloud import rss_kib
from tests.bench.processes import BenchError, cpu_s, peak_mb
from tests.bench.result import Result
from tests.e2e.cpe_site import acs_files, free_port
from tests.e2e.files import Files
from tests.e2e.site import AgentProgram, Office

PEERS = 200
SECONDS = 60.0
P99_MS, FREEZE_S, MEMORY_MB, SERVED_MS = 250.0, 1.0, 150.0, 2000.0
HONEST = 5
_PAUSE_S, _HONEST_PAUSE_S = 0.05, 0.5
_ANSWER_S = 120.0
"""So long an API call is waited for: it counts as that if no answer comes."""
_GIVE_UP_S = 30.0
"""A CPE waits so long for an answer (TR-069 section 3.4.1)."""


@dataclass
class _Seen:
    """What others had of the agent meanwhile. Times in milliseconds."""

    status: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    not_served: list[str] = field(default_factory=list)


def _every(pause_s: float, over: threading.Event, do: Callable[[], None]) -> None:
    while not over.wait(pause_s):
        do()


@contextmanager
def _beside(*ways: tuple[float, Callable[[], None]]) -> Iterator[None]:
    """Do things again and again during the block, each in a thread of its own, after a pause."""
    over = threading.Event()
    threads = [threading.Thread(target=_every, args=(pause_s, over, do), daemon=True) for pause_s, do in ways]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask_status(files: Files, seen: _Seen) -> None:
    began = time.perf_counter()
    with contextlib.suppress(ClientError):
        http_client.request(files.socket, "GET", "/v1/status", timeout_s=_ANSWER_S)
    seen.status.append((time.perf_counter() - began) * 1000)


def call_in(port: int, what: Said, number: int, host: str) -> str:
    """Have a CPE call in once; return why it was not served, "": it was."""
    steps = acs_cpe.session(what, number)
    try:
        with socket.create_connection(("127.0.0.1", port), _GIVE_UP_S, (host, 0)) as sock:
            got, request = bytearray(), next(steps)
            while True:
                sock.sendall(request)
                while (answer := take_answer(got)) is None:
                    data = sock.recv(65_536)
                    if not data:
                        return "hung up on"
                    got += data
                request = steps.send(answer)
    except StopIteration as over:
        return "503" if isinstance(over.value, TurnedAway) else ""
    except OSError as err:
        return type(err).__name__
    except BenchError as err:
        return str(err)[:80]


async def _opened(files: Files, port: int, what: Said) -> None:
    office = Office(files)
    await office.install()
    for number in range(HONEST):
        if why := await trio.to_thread.run_sync(call_in, port, what, number, "127.0.9.1"):
            raise BenchError(f"expected a new CPE to be let in, got {why}")
        await office.call("POST", f"/v1/cpes/{acs_cpe.name(number)}/decide", {"trust": "accepted", "forget": False})


def _freeze(files: Files) -> float:
    """Return how long it takes until a freeze is in force, in seconds; it is not asked for for ever."""
    envelope = base64.b64encode(files.people.freeze("joseph")).decode()
    began = time.perf_counter()
    statement = {"envelope": envelope, "change": ""}
    with contextlib.suppress(ClientError):
        http_client.request(files.socket, "POST", "/v1/statements", statement, timeout_s=_ANSWER_S)
    while (took := time.perf_counter() - began) < _ANSWER_S:
        with contextlib.suppress(ClientError):
            found: Any = http_client.request(files.socket, "GET", "/v1/status", timeout_s=_ANSWER_S).json
            if found["frozen"]:
                return took
        time.sleep(0.001)
    return took


class _Honest:
    """An accepted CPE that calls in again and again."""

    def __init__(self, port: int, what: Said, number: int, seen: _Seen) -> None:
        self._port, self._what, self._number, self._seen = port, what, number, seen

    def call(self) -> None:
        """Call in once."""
        began = time.perf_counter()
        why = call_in(self._port, self._what, self._number, f"127.0.9.{1 + self._number}")
        if why:
            self._seen.not_served.append(why)
        else:
            self._seen.served.append((time.perf_counter() - began) * 1000)


def _is_listed(files: Files, number: int) -> bool:
    with contextlib.suppress(ClientError):
        answer = http_client.request(files.socket, "GET", f"/v1/cpes/{acs_cpe.name(number)}", timeout_s=_ANSWER_S)
        return answer.status == 200
    return False


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[-1] if len(times) > 1 else max(times, default=0.0)


def bench(peers: int = PEERS, seconds: float = SECONDS) -> list[Result]:
    """Return what was seen under attack."""
    what, seen = said(), _Seen()
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder, port = Path(home), free_port()
        files = acs_files(folder, port=port)
        agent = AgentProgram(files)
        try:
            agent.wait_ready()
            pid = agent._process.pid
            trio.run(_opened, files, port, what)
            calls = [(_HONEST_PAUSE_S, _Honest(port, what, number, seen).call) for number in range(HONEST)]
            with _beside((_PAUSE_S, lambda: _ask_status(files, seen))):
                time.sleep(min(3.0, seconds))
            quiet = _p99(seen.status)
            seen.status.clear()
            before, used = rss_kib(pid) / 1024, cpu_s(pid)
            log, began = folder / "attackers.log", time.perf_counter()
            with acs_site.program(
                "tests.bench.acs_attackers", log, port=port, peers=peers, seconds=seconds
            ) as attackers:
                attackers.answer()
                with _beside((_PAUSE_S, lambda: _ask_status(files, seen)), *calls):
                    time.sleep(seconds / 2)
                    freeze_s = _freeze(files)
                    did = attackers.answer()
            wall_s, used = time.perf_counter() - began, cpu_s(pid) - used
            peak = peak_mb(pid)
            after = call_in(port, what, 900, "127.0.8.1")
            listed = _is_listed(files, 900)
        finally:
            agent.kill()  # what it would still write is nobody's
            agent.wait_exit()
    did = {f"attackers, {name}": float(count) for name, count in sorted(did.items())}
    status, served = _p99(seen.status), _p99(seen.served)
    return [
        Result(
            f"acs_attack_{peers}_status",
            f"p99 <= {P99_MS:.0f} ms",
            status,
            "ms, p99",
            "the same agent before",
            quiet,
            status / quiet,
            status <= P99_MS,
            {
                "median ms": statistics.median(seen.status),
                "most ms": max(seen.status),
                "calls": len(seen.status),
                "% of a core, the agent": used / wall_s * 100,
                **did,
            },
        ),
        Result(f"acs_attack_{peers}_freeze", f"<= {FREEZE_S:.0f} s", freeze_s, "s", "none", met=freeze_s <= FREEZE_S),
        Result(
            f"acs_attack_{peers}_served",
            f"all, p99 <= {SERVED_MS:.0f} ms",
            served,
            "ms, p99, a session of an accepted CPE",
            "none",
            met=bool(seen.served) and not seen.not_served and served <= SERVED_MS,
            more={
                "served": len(seen.served),
                "% of all": 100 * len(seen.served) / max(1, len(seen.served) + len(seen.not_served)),
                "median ms": statistics.median(seen.served or [0.0]),
                "most ms": max(seen.served, default=0.0),
                **{why: float(seen.not_served.count(why)) for why in sorted(set(seen.not_served))},
                "a new CPE is let in afterwards": float(not after),
                "and listed": float(listed),
            },
        ),
        Result(
            f"acs_attack_{peers}_memory",
            f"<= {MEMORY_MB:.0f} MB",
            peak - before,
            "MB more at most",
            "the same agent before",
            before,
            met=peak - before <= MEMORY_MB,
        ),
    ]
