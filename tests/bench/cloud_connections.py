"""`cloud_connections` and `cloud_storm`: thousands of agents that only stay, and all of them coming back at once.

An agent here is a connection of its own with the agent's channel options (keepalive among them) and an open `Watch`;
some client processes hold all of them. The reference for staying is a bare grpc.aio server with the same TLS, options
and clients. For coming back it is as many TLS handshakes as there are agents, one after the other, and nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane import certificates
from control_plane.config import DataDir
from tests.bench.cloud import (
    Client,
    Member,
    Server,
    clients,
    create,
    enrol_agents,
    raise_nofile,
    rss_kib,
    serving,
    serving_bare,
)
from tests.bench.processes import BenchError, cpu_s
from tests.bench.result import Result, stopwatch

PROCESSES = 4
AT_ONCE = 16
"""Connections that each client process opens at a time, where no storm is wanted."""
MEMORY_AIM_KIB = 120
IDLE_AIM_PERCENT = 2
PING_S = 15.0
"""The agents' keepalive: from then on they ping, and idling is what it will always be."""
STORM_S = 300.0
_EVERY_S = 0.1
_WINDOW = 5

Serving = Callable[[DataDir, Path], AbstractContextManager[Server]]


def _connect(to: Server, by: Sequence[Client]) -> float:
    """Let all agents connect; return how many did in a second."""
    _connected(by)  # the client processes are up
    with stopwatch() as watch:
        for client in by:
            client.send(do="watch", address=to.address, at_once=AT_ONCE)
        connected = sum(int(client.answer()["connected"]) for client in by)
    return connected / watch.wall_s


def _connected(by: Sequence[Client]) -> tuple[int, float, int]:
    """Return how many agents are connected, when the last of them came (unix seconds), and how often they dialed."""
    states = [client.ask(do="state") for client in by]
    return (
        sum(s["connected"] for s in states),
        max(s["last_at"] for s in states),
        sum(s["dials"] for s in states),
    )


# --- staying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """What a server needs for agents that stay: memory for each, CPU for all; how many connected in a second."""

    kib_each: float
    idle_percent: float
    per_s: float


def _hold(serve: Serving, data: DataDir, members: Sequence[Member], log: Path, settle_s: float, idle_s: float) -> Held:
    with serve(data, log) as server, clients(data, members, PROCESSES, log.with_suffix(".clients")) as by:
        before = rss_kib(server.pid)
        per_s = _connect(server, by)
        time.sleep(settle_s)
        used = cpu_s(server.pid)
        time.sleep(idle_s)
        idle_percent = (cpu_s(server.pid) - used) / idle_s * 100
        kib_each = (rss_kib(server.pid) - before) / len(members)
        still, _, dials = _connected(by)
        if (still, dials) != (len(members), len(members)):
            raise BenchError(f"expected {len(members)} agents to stay, got {still} after {dials} dials")
    return Held(kib_each, idle_percent, per_s)


def bench(agents: int = 2000, settle_s: float = PING_S + 1, idle_s: float = 10) -> list[Result]:
    """Return memory for each connection, and CPU while nothing happens, with so many agents."""
    nofile = raise_nofile()
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        data = create(folder / "cloud")
        members = enrol_agents(data, agents)
        bare = _hold(serving_bare, data, members, folder / "bare.log", settle_s, idle_s)
        ours = _hold(serving, data, members, folder / "cloud.log", settle_s, idle_s)
    reference = "bare grpc.aio, one stream each over mTLS"
    more = {
        "connected in a second": ours.per_s,
        "the same, bare": bare.per_s,
        "client processes": PROCESSES,
        "RLIMIT_NOFILE": nofile,
    }
    return [
        Result(
            f"cloud_connections_{agents}",
            f"<= {MEMORY_AIM_KIB} KiB",
            ours.kib_each,
            "KiB each",
            reference,
            bare.kib_each,
            ours.kib_each / bare.kib_each,
            ours.kib_each <= MEMORY_AIM_KIB,
            more,
        ),
        Result(
            f"cloud_connections_{agents}_idle",
            f"<= {IDLE_AIM_PERCENT} %",
            ours.idle_percent,
            "% CPU",
            reference,
            bare.idle_percent,
            ours.idle_percent / bare.idle_percent if bare.idle_percent else None,
            ours.idle_percent <= IDLE_AIM_PERCENT,
            {"seconds": idle_s},
        ),
    ]


# --- coming back ----------------------------------------------------------------------------------------------------


@contextmanager
def _handshaking(data: DataDir) -> Iterator[int]:
    """Answer TLS handshakes, one after the other, with a byte; give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(data.path / "server.pem")
    context.load_verify_locations(data.path / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                sock, _ = listener.accept()
                with closing(sock):
                    if not sock.recv(1, socket.MSG_PEEK):  # nothing but a goodbye
                        return
                    with context.wrap_socket(sock, server_side=True) as tls:
                        tls.sendall(b".")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def _handshakes_s(data: DataDir, members: Sequence[Member], folder: Path) -> float:
    """Return how many seconds a bare loop of mutual TLS handshakes takes, one for each member."""
    contexts = []
    for member in members:
        path = folder / "member.pem"
        path.write_text(member.certificate + member.private_key)
        context = ssl.create_default_context(cafile=str(data.path / "authority.pem"))
        context.load_cert_chain(path)
        contexts.append(context)
    with _handshaking(data) as port, stopwatch() as watch:
        for context in contexts:
            with (
                closing(socket.create_connection(("127.0.0.1", port))) as sock,
                context.wrap_socket(sock, server_hostname=certificates.SERVER_NAME) as tls,
            ):
                if tls.recv(1) != b".":
                    raise BenchError("expected a byte after the handshake, got none")
    return watch.wall_s


@dataclass(frozen=True, slots=True)
class Storm:
    """How long a server was away, seconds until all were back from when it listened, its CPU, dials of each agent."""

    away_s: float
    back_s: float
    peak_percent: float
    cpu_s: float
    dials_each: float


def _storm(data: DataDir, members: Sequence[Member], folder: Path, how: signal.Signals) -> Storm:
    with clients(data, members, PROCESSES, folder / "clients.log") as by:
        with serving(data, folder / "first.log") as server:
            _connect(server, by)
            os.kill(server.pid, how)
            ended_at = time.time()
        with serving(data, folder / "second.log") as server:
            listening_at = time.time()
            samples = [(time.monotonic(), cpu_s(server.pid))]
            until = samples[0][0] + STORM_S
            while (state := _connected(by))[0] < len(members):
                if time.monotonic() > until:
                    raise BenchError(f"expected {len(members)} agents back in {STORM_S:.0f} s, got {state[0]}")
                time.sleep(_EVERY_S)
                samples.append((time.monotonic(), cpu_s(server.pid)))
            used_s = cpu_s(server.pid) - samples[0][1]
    _, last_at, dials = state
    back_s = max(0.0, last_at - listening_at)
    return Storm(listening_at - ended_at, back_s, _peak_percent(samples), used_s, (dials - len(members)) / len(members))


def _peak_percent(samples: Sequence[tuple[float, float]]) -> float:
    """Return the most of one core that was used over some samples in a row."""
    pairs = list(zip(samples, samples[_WINDOW:], strict=False)) or [(samples[0], samples[-1])]
    return max((used - before) / max(to - since, _EVERY_S) * 100 for (since, before), (to, used) in pairs)


def bench_storm(agents: int = 500) -> list[Result]:
    """Return how long it takes until all agents are back after a server was killed, and after it drained."""
    raise_nofile()
    results = []
    for name, how in (("killed", signal.SIGKILL), ("drained", signal.SIGTERM)):
        with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
            folder = Path(home)
            data = create(folder / "cloud")
            members = enrol_agents(data, agents)
            storm = _storm(data, members, folder, how)
            bare_s = _handshakes_s(data, members, folder)
        more = {
            "seconds away": storm.away_s,
            "server's peak % CPU": storm.peak_percent,
            "server's CPU ms an agent": storm.cpu_s / agents * 1000,
            "dials an agent": storm.dials_each,
        }
        reference = "as many bare TLS handshakes, one by one"
        value = max(storm.back_s, 1e-3)
        results.append(
            Result(f"cloud_storm_{agents}_{name}", "none", value, "s", reference, bare_s, value / bare_s, more=more)
        )
    return results
