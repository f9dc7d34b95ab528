"""A program as systemd starts it: its notification socket, and the sockets that it is passed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.cli import local

WAIT_S = 60.0


PROGRAM = "from agent.cli import main; main()"


STARTED = f"import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.dup2(int(sys.argv.pop(1)), 3); {PROGRAM}"
"""As systemd starts a program: file descriptor 3 is the first socket that it passes."""


class Unit:
    """What systemd has of a service: the notification socket, and the socket that it opened for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.settimeout(WAIT_S)
        self.notified.bind(str(folder / "notify"))
        self.api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.api.bind(str(folder / "agent.sock"))
        self.api.listen(8)
        self.config = folder / "agent.toml"
        self.write("")
        for name in ("state", "state-mark"):
            (folder / name).mkdir(mode=0o700)
        local.init(self.config, folder / "enroll.json")

    def write(self, more: str) -> None:
        where = f'state_dir = "{self.folder / "state"}"\nsocket = "{self.folder / "agent.sock"}"\n'
        self.config.write_text(f'[agent]\nname = "noc-1"\n{where}{more}')

    @contextmanager
    def started(self, *, passed: int, before: str = "", **environ: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-c", f"{before}{STARTED}", str(passed), "run", "--config", str(self.config)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "NOTIFY_SOCKET": str(self.folder / "notify"),
                "LISTEN_FDS": "1",
                **environ,
            },
            pass_fds=(passed,),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def told(self, wanted: str) -> list[str]:
        """Return the message that has the line `wanted`, once it came; those before it are dropped."""
        while wanted not in (lines := self.notified.recv(4096).decode().split("\n")):
            pass
        return lines

    def close(self) -> None:
        self.notified.close()
        self.api.close()
