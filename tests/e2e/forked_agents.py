"""Starts `ispagent run` again and again by forking a process that has imported all of it: a start costs a fork.

`python -m tests.e2e.forked_agents FOLDER CONFIG LOG`: each line `start` on its input begins a life, and each line
`kill` ends it with SIGKILL; it answers with a line each time. At the end of its input nothing of it runs any more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import agent.connectors.registry
import agent.daemon
from agent import cli
from tests.e2e.files import ROOT, Files

assert agent.connectors.registry
assert agent.daemon


class ForkedAgents:
    """One agent after the other on the same files. `kills`: how many were ended by SIGKILL."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.kills = 0

    def begin(self) -> None:
        """Start an agent; it has not listened yet."""
        self._ask("start")

    def kill(self) -> None:
        """End it by SIGKILL, at this instant."""
        status = int(self._ask("kill"))
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"it ended before by itself: {status}"
        self.kills += 1

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def forked_agents(files: Files) -> Iterator[ForkedAgents]:
    """Have a process ready that starts agents on an operator's files; none runs yet."""
    log = files.folder / "daemon.log"
    command = [sys.executable, "-m", "tests.e2e.forked_agents", str(files.folder), str(log)]
    with subprocess.Popen(
        command, cwd=ROOT, env=files.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield ForkedAgents(process)


def _live(folder: str, log: str) -> None:
    """Be the agent, in a process of its own."""
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["ispagent", "run"]
    cli.main()


def main(folder: str, log: str) -> None:
    """Obey until the input ends."""
    print("ready", flush=True)
    child = 0
    for line in sys.stdin:
        if line == "start\n":
            child = os.fork()
            if child == 0:
                try:
                    _live(folder, log)
                finally:
                    os._exit(1)
            print(child, flush=True)
        else:
            os.kill(child, signal.SIGKILL)
            print(os.waitpid(child, 0)[1], flush=True)
            child = 0
    if child:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
