"""Routers to be measured with: the lab's, in processes of their own, some routers a process.

    python -m tests.bench.lab_routers FIRST ROUTERS SECRETS DELAY_S TLS

prints a line of JSON, one object a router (port, fingerprint), and serves until it is killed. Each answer is held back
by DELAY_S; commands that come together are late together, as on a long line. Logging in is not held back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import trio

from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.schema import RouterosConfig, RouterTarget
from agent.runtime.clock import SystemClock
from agent.store.vault import Vault
from lab.router.certificate import make_certificate
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.bench.processes import REPO, STOP_S, BenchError

USER = "bench"
PASSWORD = "k3Xq9pLm"
BEFORE = "home-20M"
AFTER = "home-50M"
_FOR_EVER = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RouterAt:
    """Where a router listens. `fingerprint`: of its certificate, hex; "" on plain TCP."""

    port: int
    fingerprint: str


def login(router: int, n: int) -> str:
    """Return the name of a router's n-th secret."""
    return f"subscriber-{router:03}-{n:05}"


def _router(number: int, secrets: int, delay_s: float) -> Router:
    router = Router(identity=f"bench-{number}", serial=f"BENCH{number:05}")
    router.add("/user", name=USER, password=PASSWORD, group="full")
    for profile in (BEFORE, AFTER):
        router.add("/ppp/profile", name=profile)
    for n in range(secrets):
        router.add("/ppp/secret", name=login(number, n), password=f"pw{n}", profile=BEFORE, service="pppoe")
    if delay_s:
        router.faults.inject(f"slow:{delay_s}", times=_FOR_EVER)
    return router


async def _serve(first: int, routers: int, secrets: int, delay_s: float, *, tls: bool) -> None:
    certificate = make_certificate("bench") if tls else None
    async with trio.open_nursery() as nursery:
        told = []
        for number in range(first, first + routers):
            router = _router(number, secrets, delay_s)
            at: Endpoint = await nursery.start(partial(serve, router, tls=tls, certificate=certificate))
            told.append({"port": at.port, "fingerprint": at.fingerprint})
        print(json.dumps(told), flush=True)


@contextmanager
def routers(
    count: int, *, processes: int, secrets: int = 0, delay_s: float = 0.0, tls: bool = False
) -> Iterator[Sequence[RouterAt]]:
    """Run so many routers for the block, in some processes; router n has the logins `login(n, ...)`."""
    shares = [len(range(n, count, processes)) for n in range(processes)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for n, share in enumerate(shares):
            words = [sum(shares[:n]), share, secrets, delay_s, int(tls)]
            command = [sys.executable, "-m", "tests.bench.lab_routers", *map(str, words)]
            started.append(subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE))
        yield [at for process in started for at in _told(process)]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait(STOP_S)
            if process.stdout is not None:
                process.stdout.close()


def _told(process: subprocess.Popen[bytes]) -> list[RouterAt]:
    if process.stdout is None or not (line := process.stdout.readline()):
        raise BenchError("the routers of the benchmark did not start")
    return [RouterAt(**at) for at in json.loads(line)]


def connector(at: Sequence[RouterAt], vault: Vault) -> RouterosConnector:
    """Return our connector with these routers as its targets, `routeros/r0` and so on."""
    targets = [
        RouterTarget(f"r{n}", "127.0.0.1", r.port, USER, "api", bytes.fromhex(r.fingerprint), not r.fingerprint)
        for n, r in enumerate(at)
    ]
    return RouterosConnector(
        RouterosConfig(tuple(targets)), {"api": PASSWORD.encode()}.__getitem__, vault.commit, clock=SystemClock()
    )


if __name__ == "__main__":
    trio.run(
        partial(
            _serve, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), tls=sys.argv[5] == "1"
        )
    )
