"""Binding the local socket, and who is at the other end."""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from agent.runtime import http_client
from agent.runtime.errors import AlreadyRunningError, BindError
from agent.runtime.unix_socket import adopt, bind_unix, peer_of, turn_away
from durable.service_manager import PassedSocket
from tests.builders.expect import present


async def test_binds_with_its_mode_and_names_its_peer(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with bind_unix(path, 0o640) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        client = await trio.open_unix_socket(path)
        async with client, await listener.accept() as server:
            peer = peer_of(server.socket)
            assert (peer.uid, peer.pid) == (os.getuid(), os.getpid())


async def test_group(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    name = __import__("grp").getgrgid(os.getgid()).gr_name
    async with bind_unix(path, group=name):
        assert path.stat().st_gid == os.getgid()
    with pytest.raises(BindError, match="group 'no-such-group' does not exist"):
        bind_unix(path, group="no-such-group")


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with bind_unix(path):
        pass
    assert path.exists()  # as a killed daemon leaves it
    async with bind_unix(path):
        await (await trio.open_unix_socket(path)).aclose()


async def test_a_living_daemon_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with bind_unix(path):
        inode = path.stat().st_ino
        with pytest.raises(AlreadyRunningError, match="another daemon listens"):
            bind_unix(path)
        assert path.stat().st_ino == inode


async def test_a_daemon_too_busy_to_accept_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(os.fspath(path))
        busy.listen(0)
        waiting.connect(os.fspath(path))  # the backlog is full now
        with pytest.raises(AlreadyRunningError):
            bind_unix(path)


async def test_two_that_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with (tmp_path / "agent.sock.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError, match="right now"):
            bind_unix(path)


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_text("precious")
    with pytest.raises(BindError, match="not a socket"):
        bind_unix(path)
    assert path.read_text() == "precious"


async def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="at most 107 bytes, got 1"):
        bind_unix(tmp_path / ("x" * 120))
    with pytest.raises(BindError, match="No such file"):
        bind_unix(tmp_path / "missing" / "agent.sock")


# --- a socket that systemd opened ---


@pytest.fixture
def passed(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
        sock.listen(1)
        yield path, sock


def as_passed(sock: socket.socket) -> list[PassedSocket]:
    return [PassedSocket("api", os.dup(sock.fileno()))]


async def test_a_passed_socket_is_taken_over_and_names_its_peer(passed: tuple[Path, socket.socket]) -> None:
    path, sock = passed
    name = grp.getgrgid(os.getgid()).gr_name
    adopted = present(adopt(as_passed(sock), path, name))
    async with trio.SocketListener(trio.socket.from_stdlib_socket(adopted)) as listener:
        client = await trio.open_unix_socket(path)
        async with client, await listener.accept() as server:
            assert peer_of(server.socket).pid == os.getpid()
    assert path.exists()


def test_without_systemd_no_socket_is_taken_over(tmp_path: Path) -> None:
    assert adopt([], tmp_path / "agent.sock") is None


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("two", "expected one socket of systemd, got 2"),
        ("closed", "cannot be used: Bad file descriptor"),
        ("file", "cannot be used: Socket operation on non-socket"),
        ("datagrams", "expected a listening unix stream socket"),
        ("not listening", "expected a listening unix stream socket"),
        ("tcp", "expected a listening unix stream socket"),
        ("gone", "is gone, though systemd listens on it: restart ispagent.socket"),
        ("elsewhere", r"systemd listens on .*agent\.sock"),
    ],
)
def test_another_socket_of_systemd_is_refused(passed: tuple[Path, socket.socket], kind: str, says: str) -> None:
    path, sock = passed
    wanted = path.with_name("configured.sock") if kind == "elsewhere" else path
    with ExitStack() as opened:
        if kind == "gone":
            path.unlink()
        elif kind == "elsewhere":
            opened.enter_context(socket.socket(socket.AF_UNIX)).bind(os.fspath(wanted))
        others = {
            "datagrams": (socket.AF_UNIX, socket.SOCK_DGRAM),
            "not listening": (socket.AF_UNIX, socket.SOCK_STREAM),
            "tcp": (socket.AF_INET, socket.SOCK_STREAM),
        }
        if kind in others:
            sock = opened.enter_context(socket.socket(*others[kind]))
        found = as_passed(sock)
        if kind == "two":
            found = [*found, *as_passed(sock)]
        elif kind == "closed":
            os.close(found[0].fd)
        elif kind == "file":
            os.close(found[0].fd)
            found = [PassedSocket("api", os.open("/dev/null", os.O_RDONLY))]
        with pytest.raises(BindError, match=says):
            adopt(found, wanted)
        for one in found if kind == "two" else []:
            os.close(one.fd)


def test_a_socket_for_another_group_is_refused(
    passed: tuple[Path, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sock = passed
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group(("noc", "x", 4711, [])))
    with pytest.raises(BindError, match=f"noc is configured, and systemd gave the socket to gid {path.stat().st_gid}"):
        adopt(as_passed(sock), path, "noc")


async def test_who_waits_for_an_agent_that_does_not_start_is_told(passed: tuple[Path, socket.socket]) -> None:
    path, sock = passed
    sock.listen(8)

    def ask() -> http_client.HttpAnswer:
        return http_client.request(path, "GET", "/v1/status", timeout_s=60)

    async with trio.open_nursery() as nursery:
        answers: list[http_client.HttpAnswer] = []

        async def one() -> None:
            answers.append(await trio.to_thread.run_sync(ask))

        for _ in range(3):
            nursery.start_soon(one)
        with trio.fail_after(60):
            while len(answers) < 3:
                turn_away([PassedSocket("api", sock.fileno()), PassedSocket("gone", 100_000)])
                await trio.lowlevel.checkpoint()
    assert {answer.status for answer in answers} == {503}
    assert "there is a mistake in its configuration" in str(answers[0].json)
    turn_away([PassedSocket("api", sock.fileno())])  # nobody waits: nothing happens
