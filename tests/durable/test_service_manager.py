"""What is told to systemd, on a socket that stands for its own; and the sockets that it passes."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable import service_manager
from durable.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET, and the socket behind it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ispagents-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind(name.replace("@", "\0", 1))
        yield name, sock


def lines(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_messages(systemd: tuple[str, socket.socket]) -> None:
    address, sock = systemd
    manager = ServiceManager(address)
    manager.ready("FINE\n· log 3 leaves")
    assert lines(sock) == ["READY=1", "STATUS=FINE · log 3 leaves"]
    manager.starting("copying", 90)
    assert lines(sock) == ["EXTEND_TIMEOUT_USEC=90000000", "STATUS=copying"]
    manager.status("a\nWATCHDOG=1")  # an error's text must not become a field
    assert lines(sock) == ["STATUS=a WATCHDOG=1"]
    manager.status("x" * 5000)
    assert lines(sock) == ["STATUS=" + "x" * service_manager.STATUS_CHARS]
    manager.status("half a character: \ud800")
    assert lines(sock) == ["STATUS=half a character: ?"]
    manager.alive()
    assert lines(sock) == ["WATCHDOG=1"]
    manager.stopping()
    assert lines(sock) == ["STOPPING=1", "STATUS=stopping"]


def test_a_reload_says_when_it_began(systemd: tuple[str, socket.socket]) -> None:
    address, sock = systemd
    ServiceManager(address).reloading()
    first, second = lines(sock)
    name, _, value = second.partition("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert int(value) > 0


def test_without_systemd_nothing_is_sent() -> None:
    manager = ServiceManager()
    manager.ready("FINE")
    manager.alive()
    assert (manager.address, manager.watchdog_s, manager.passed) == ("", 0.0, ())


def test_a_service_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("FINE")


def test_the_environment_is_emptied() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7", "HOME": "/"}
    manager = ServiceManager.take(environ, 7)
    assert (manager.address, manager.watchdog_s, manager.feed_s) == ("/run/notify", 60.0, 20.0)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "5000000"}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
        ({"WATCHDOG_USEC": "9" * 5000}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_of_another_process_is_not_ours(environ: dict[str, str], watchdog_s: float) -> None:
    assert ServiceManager.take(environ, 7).watchdog_s == watchdog_s


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", ""])
def test_an_address_that_is_no_unix_socket_is_none(address: str) -> None:
    assert ServiceManager.take({"NOTIFY_SOCKET": address}, 7).address == ""


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "8", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "many"},
    ],
)
def test_sockets_of_another_process_are_not_taken(environ: dict[str, str]) -> None:
    assert ServiceManager.take(environ, 7).passed == ()
    assert environ == {}


TAKES = """
import os, sys
from durable.service_manager import ServiceManager
os.environ["LISTEN_PID"] = str(os.getpid())
passed = ServiceManager.take(os.environ, os.getpid()).passed
print([(one.name, one.fd, os.get_inheritable(one.fd)) for one in passed], "LISTEN_FDS" in os.environ)
"""


@pytest.mark.parametrize(
    ("names", "expected"),
    [("api:other", "[('api', 3, False), ('other', 4, False)]"), ("", "[('', 3, False), ('', 4, False)]")],
)
def test_passed_sockets_have_names_and_are_not_inherited(names: str, expected: str) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        # As systemd does it: file descriptors 3 and 4 of the new program
        code = f"import os; os.dup2({one.fileno()}, 3); os.dup2({other.fileno()}, 4); "
        environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        command = f"import os, sys; os.execve(sys.executable, [sys.executable, '-c', {TAKES!r}], os.environ)"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}os.set_inheritable(3, True); os.set_inheritable(4, True); {command}"],
            pass_fds=(one.fileno(), other.fileno()),
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.strip() == f"{expected} False"


def test_a_socket_that_is_not_open_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "FIRST_FD", 100_000)
    with pytest.raises(OSError, match="Bad file descriptor"):
        ServiceManager.take({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, 7)
