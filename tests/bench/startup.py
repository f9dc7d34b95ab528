"""How long a person waits for a command, against Python doing nothing.

`cli_status`: wall time of `ispagent status`, whole process, which the agent answers at once. `cli_startup`: CPU of the
start of a command, to the answer that no agent runs, and of the imports of both daemons.
"""

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
from tests.bench.processes import REPO, BenchError
from tests.bench.result import Result, compared, stopwatch

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
    "series_crowded": [],
    "silent_credentials": [],
    "cpes": None,
    "reviews": {"open": 0, "oldest_at": None},
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


NO_AGENT = '[agent]\nname = "bench"\nsocket = "none.sock"\n'
AGENT, CLOUD = (sys.executable, "-m", "agent"), (sys.executable, "-m", "control_plane.cli")
STARTS = {
    "status": ((*AGENT, "status"), 8.0),
    "outage": ((*AGENT, "outage"), 8.0),
    "subscriber show": ((*AGENT, "subscriber", "show", "C-10482"), 8.0),
    "device show": ((*AGENT, "device", "show", "edge-1"), 8.0),
    "ispagent --help": ((*AGENT, "--help"), 20.0),
    "ispcloud keys show": ((*CLOUD, "keys", "show", "--key", "none.key"), 12.0),
    "ispcloud changes list": ((*CLOUD, "changes", "list"), 25.0),
    "ispagent run (imports)": ((sys.executable, "-c", "import agent.daemon"), 60.0),
    "ispcloud serve (imports)": ((sys.executable, "-c", "import control_plane.server"), 30.0),
}
"""Each with how often Python's own start it may cost, with some room for other machines."""


def _cpu_s(command: tuple[str, ...], env: dict[str, str], folder: Path) -> float:
    """Return the CPU seconds of a program, whatever its exit code."""
    process = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        raise BenchError(f"{command[1:]}: ended by signal {-process.returncode}")
    return usage.ru_utime + usage.ru_stime


def bench_starts(rounds: int = 9) -> list[Result]:
    """Return the least CPU of each start, in turns: a busy machine adds to it and never takes away."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ISP")}
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        (folder / "agent.toml").write_text(NO_AGENT, encoding="utf-8")
        env |= {"ISPAGENT_CONFIG": str(folder / "agent.toml"), "PYTHONPATH": str(REPO), "HOME": home}
        commands = {
            "pass": (sys.executable, "-c", "pass"),
            "typer": (sys.executable, "-c", "import typer"),
            **{name: command for name, (command, _) in STARTS.items()},
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                taken[name].append(_cpu_s(command, env, folder))
    least = {name: min(of) * 1000 for name, of in taken.items()}
    return [
        compared(
            f"cli_startup: {name}",
            f"<= {limit:.0f} x",
            least[name],
            "ms CPU",
            ("python -c pass", least["pass"]),
            limit=limit,
            more={"times import typer": least[name] / least["typer"]},
        )
        for name, (_, limit) in STARTS.items()
    ]
