"""The protocols between a program and systemd: sd_notify(3), sd_listen_fds(3), the watchdog of systemd.service(5).

* Without systemd nothing is sent and nothing is taken over: the same program runs from a shell.
* The variables are removed from the environment: child processes must not use the sockets of this one.
* A message that cannot be sent is dropped: systemd notices silence by itself (TimeoutStartSec, WatchdogSec).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final, Self

FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START: the first file descriptor that systemd passes."""
SEND_S: Final = 1.0
"""How long a message may wait for room in systemd's queue. Chosen arbitrarily: it is full on a machine that hangs."""
DIGITS: Final = 18
"""Of a number in the environment: int() refuses thousands of them."""
SOCKETS: Final = 16
"""The most sockets that are looked at; each program of ours has one at most."""
STATUS_CHARS: Final = 400
"""The longest status. Chosen arbitrarily: `systemctl status` shows it in one line."""


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A socket that systemd opened for this program. `name`: its FileDescriptorName; `fd`: not inheritable."""

    name: str
    fd: int


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The service manager that started this program; by default there is none, and messages are dropped.

    `address`: the notification socket, with "@" first where it is abstract; "": none. `watchdog_s`: the longest time
    between two calls of `alive`, 0: no limit. `passed`: the sockets that systemd opened.
    """

    address: str = ""
    watchdog_s: float = 0.0
    passed: tuple[PassedSocket, ...] = ()

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int) -> Self:
        """Return the service manager that the environment of process `pid` names, and remove its variables.

        Variables that name another process (LISTEN_PID, WATCHDOG_PID) were inherited by mistake and count for nothing.

        Raises:
            OSError: a socket that should have been passed is not open.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        watched, microseconds = environ.pop("WATCHDOG_PID", str(pid)), environ.pop("WATCHDOG_USEC", "0")
        watchdog_s = _number(microseconds) / 1e6 if watched == str(pid) else 0.0
        return cls(address if address[:1] in ("/", "@") else "", watchdog_s, _passed(environ, pid))

    @property
    def feed_s(self) -> float:
        """The interval of `alive`, seconds: a third of the time that the watchdog waits."""
        return self.watchdog_s / 3

    def ready(self, status: str) -> None:
        """Say that the program serves, after its start or a reload; sets the status too."""
        self._send("READY=1", _status(status))

    def starting(self, status: str, more_s: float) -> None:
        """Say that the start goes on, and may take that much longer from now; sets the status too."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(more_s * 1e6)}", _status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows. Any user of the machine can read it."""
        self._send(_status(text))

    def alive(self) -> None:
        """Say that the program works: without it systemd kills the program after `watchdog_s`."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the program reads its configuration again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the program ends."""
        self._send("STOPPING=1", _status("stopping"))

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        where = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(SEND_S)
            try:
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), where)
            except OSError:
                pass  # systemd notices by itself that it hears nothing


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:STATUS_CHARS]}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else 0


def _passed(environ: MutableMapping[str, str], pid: int) -> tuple[PassedSocket, ...]:
    whose, count = environ.pop("LISTEN_PID", ""), _number(environ.pop("LISTEN_FDS", "0"))
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if whose != str(pid):
        return ()
    found = tuple(PassedSocket(names[n] if n < len(names) else "", FIRST_FD + n) for n in range(min(count, SOCKETS)))
    for one in found:
        os.set_inheritable(one.fd, False)
    return found
