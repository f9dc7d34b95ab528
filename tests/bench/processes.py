"""Programs that a benchmark starts, and what the kernel says of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
WAIT_S = 120.0
STOP_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A benchmark did not do what it measures; its numbers would mean nothing."""


def wait_until(done: Callable[[], bool], what: str, *, within_s: float = WAIT_S, every_s: float = 0.02) -> None:
    """Return once `done` says so.

    Raises:
        BenchError: it did not in time.
    """
    until = time.monotonic() + within_s
    while not done():
        if time.monotonic() > until:
            raise BenchError(f"expected {what} within {within_s:.0f} s")
        time.sleep(every_s)


@contextmanager
def running(arguments: list[str], ready: Callable[[], bool], log: Path) -> Iterator[int]:
    """Run `python ARGUMENTS` for the block; give its process id once `ready` says that it is."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *arguments], cwd=REPO, stdout=out, stderr=out)

    def is_ready() -> bool:
        if process.poll() is not None:
            raise BenchError(f"{arguments[1]} ended with {process.returncode}: {log.read_text()[-2000:]}")
        return ready()

    try:
        wait_until(is_ready, f"{arguments[1]} to be ready")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def telling(*arguments: object, with_input: bool = False) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `python -m ARGUMENTS` for the block; give the first line that it prints, its port as a rule, and the process.

    Raises:
        BenchError: it ended without a line.
    """
    command = [sys.executable, "-m", *map(str, arguments)]
    stdin = subprocess.PIPE if with_input else None
    with subprocess.Popen(command, cwd=REPO, stdin=stdin, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or not (line := process.stdout.readline()):
                raise BenchError(f"{arguments[0]} did not start")
            yield line, process
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process used, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def peak_mb(pid: int) -> float:
    """Return the most memory that a process had resident, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchError("the kernel tells no VmHWM")
