"""A stage for `make demo`: a folder, people that type commands in it, programs that run, and the expected answers."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WAIT_S = 60.0
"""How long to wait for a state. Chosen arbitrarily: on two busy cores everything comes within a tenth of it."""


class DemoError(Exception):
    """Something answered otherwise than it should."""


@dataclass(slots=True)
class Program:
    """A program that stays, and the file with its output."""

    command: str
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Return its output so far."""
        return self.log.read_text(errors="replace")

    def wait(self, text: str) -> str:
        """Return its output, once `text` is in it.

        Raises:
            DemoError: it ended, or does not say so.
        """
        until = time.monotonic() + WAIT_S
        while text not in self.said():
            if self.process.poll() is not None or time.monotonic() > until:
                raise DemoError(f"expected {text!r} from: {self.command}; it said: {self.said()[-2000:]}")
            time.sleep(0.05)
        return self.said()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(slots=True)
class Stage:
    """A folder, the programs that run in it, and the people that type. `unlocked`: the person with an unlocked key, for
    a shift.
    """

    folder: Path
    running: list[Program] = field(default_factory=list)
    unlocked: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        """Explain the next part."""
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}")

    def home(self, who: str) -> Path:
        """Return a person's own folder, made when it is not there: their desk's files."""
        path = self.folder / who / ".config" / "ispcloud"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _env(self, who: str) -> dict[str, str]:
        dropped = ("ISPAGENT_", "ISPCLOUD_", "XDG_", "CREDENTIALS_")
        env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        env |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(self.folder / who),
            "ISPAGENT_CONFIG": "agent.toml",
            "ISPCLOUD_DIR": "cloud",
            "ISPCLOUD_KEY": f"{who}.key",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
        }
        if who not in self.unlocked:
            env["ISPCLOUD_PASSPHRASE_FILE"] = "passphrase"
        return env

    def _words(self, who: str, command: str) -> list[str]:
        home = f"{self.folder / who}/"
        return [home + word[2:] if word.startswith("~/") else word for word in shlex.split(command)]

    def type(self, who: str, command: str, *, exits: Sequence[int] = (0,), text: str = "", show: bool = True) -> str:
        """Type a command as `who`; print its output; return it.

        Raises:
            DemoError: it ended with another exit code.
        """
        print(f"{who}$ {command}{f'   < {len(text)} bytes' if text else ''}", flush=True)
        done = self._run(who, command, text)
        out = (done.stdout + done.stderr).replace(f"{self.folder / who}/", "~/")
        if (show or done.returncode not in exits) and out.strip():
            print(out.rstrip())
        if done.returncode not in exits:
            raise DemoError(f"expected exit code {' or '.join(map(str, exits))}, got {done.returncode}: {command}")
        if done.returncode:
            print(f"(exit code {done.returncode})")
        return out

    def ask(self, who: str, command: str) -> str:
        """Return a command's standard output, without telling: to wait for a state."""
        return self._run(who, command, "").stdout

    def _run(self, who: str, command: str, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._words(who, command),
            cwd=self.folder,
            env=self._env(who),
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, who: str, command: str, ready: str) -> Program:
        """Start a program and wait until it prints that it is ready.

        Raises:
            DemoError: it does not.
        """
        print(f"{who}$ {command} &", flush=True)
        path = self.folder / f"{who}-{len(self.running)}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                self._words(who, command),
                cwd=self.folder,
                env=self._env(who),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        program = Program(command, process, path)
        self.running.append(program)
        program.wait(ready)
        return program

    def stop(self) -> None:
        """End the started programs, last first, and lock unlocked keys."""
        for who in sorted(self.unlocked):
            self.ask(who, "ispcloud keys lock")
        for program in reversed(self.running):
            program.end()


class Lab:
    """The lab's own view: the sessions online, and its faults. Not the agent's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.services = json.loads((folder / "lab.json").read_text())["services"]
        self.secrets = json.loads((folder / "lab.json").read_text())["secrets"]

    def ask(self, **command: str) -> dict[str, object]:
        """Return the answer of the lab's control socket.

        Raises:
            DemoError: it refuses.
        """
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(os.path.relpath(self._folder / "lab.sock"))
            sock.sendall(json.dumps(command).encode() + b"\n")
            answer: dict[str, object] = json.loads(sock.makefile().readline())
        if not answer.get("ok"):
            raise DemoError(f"the lab refuses {command}: {answer}")
        return answer

    def session(self, login: str) -> str:
        """Return the login's session in one line, as the BNG sees it."""
        found = self.ask(do="sessions", login=login)["sessions"]
        return json.dumps(found[0]) if isinstance(found, list) and found else "offline"

    def about(self, row: dict[str, str]) -> dict[str, object]:
        """Return the lab's view of a row's service."""
        return next(s for s in self.services if s["login"] == row["login"])


def find(pattern: str, text: str, what: str) -> str:
    """Return the match of a pattern's group in a text.

    Raises:
        DemoError: nothing.
    """
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise DemoError(f"expected {what} in the answer above")
    return found[1]


def change_id(preview: str) -> str:
    """Return the change's id out of its preview's first line."""
    return find(r"· ([0-9A-Z]{5}) ·", preview.partition("\n")[0], "a change id")


def expect(text: str, *wanted: str) -> None:
    """Stop the demo when a text lacks an expected part.

    Raises:
        DemoError: it lacks it.
    """
    for part in wanted:
        if part not in text:
            raise DemoError(f"expected {part!r} in the answer above")


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for a state.

    Raises:
        DemoError: it does not come.
    """
    until = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > until:
            raise DemoError(f"expected {what} within {WAIT_S:g} s")
        time.sleep(0.1)


# --- the subscribers' file, as billing keeps it ---------------------------------------------------------------------


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def owing(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of overdue subscribers."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return [r for r in rows if float(r["balance"]) > 0 and r["due"] < today]


def pays(path: Path, subscriber: str) -> str:
    """Have a subscriber pay their debt; return when."""
    rows, now = read_rows(path), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Replaced whole: the agent may be reading it
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            paid = row["subscriber"] == subscriber and row["balance"]
            writer.writerow({**row, "balance": "0.00", "paid_at": now} if paid else row)
    new.replace(path)
    return now
