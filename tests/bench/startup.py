"""`cli_status`: how long a person waits for `ispagent status`, whole process, against Python doing nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from agent.runtime.http import HttpRequest, Response, serve_http
from agent.runtime.unix_socket import bind_unix
from tests.bench.processes import BenchError
from tests.bench.result import Result, stopwatch

STATUS: dict[str, object] = {
    "agent": "bench",
    "agent_id": "0" * 32,
    "words": "none",
    "trust_version": None,
    "trust_warning": "",
    "log": {"size": 0, "witnessed": False, "witnessed_text": "not witnessed", "vkey": ""},
    "changes": {},
    "services": 0,
    "targets": [],
    "condition": "fine",
    "sources": [],
    "disk": {"free": 10**11, "size": 10**12, "files": 10**7},
    "drift": None,
    "devices": {"configured": 0},
    "cpes": None,
    "reviews": {"open": 0, "oldest_s": None},
    "frozen": [],
    "clock_halt": None,
    "trust_doubt": "",
    "billing_problem": "",
    "standings": [],
    "cloud": {"enrolled": False},
}


async def _status(_: HttpRequest) -> Response:
    return Response(200, STATUS)


def _timed(command: list[str], env: dict[str, str]) -> float:
    with stopwatch() as watch:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BenchError(f"{command[1:]}: exit code {done.returncode}: {done.stderr[-500:]}")
    return watch.wall_s


async def _measure(folder: Path, rounds: int) -> tuple[float, float]:
    path = folder / "agent.sock"
    env = {**os.environ, "ISPAGENT_SOCKET": str(path)}
    status, nothing = [sys.executable, "-m", "agent", "status"], [sys.executable, "-c", "pass"]
    ours, bare = [], []
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_http, bind_unix(path), _status)
        for _ in range(rounds):
            bare.append(await trio.to_thread.run_sync(_timed, nothing, env))
            ours.append(await trio.to_thread.run_sync(_timed, status, env))
        nursery.cancel_scope.cancel()
    return statistics.median(ours), statistics.median(bare)


def bench(rounds: int = 15) -> list[Result]:
    """Return the median start-up; the agent's answer is a constant one, so that only the client is measured."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        ours, bare = trio.run(_measure, Path(home), rounds)
    return [Result("cli_status", "none", ours * 1000, "ms", "python -c pass", bare * 1000, ours / bare)]
