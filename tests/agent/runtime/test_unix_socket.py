"""Binding the local socket, and who is at the other end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from agent.runtime.errors import AlreadyRunningError, BindError
from agent.runtime.unix_socket import bind_unix, peer_of


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
    with pytest.raises(BindError, match="at most 107 bytes expected, got 1"):
        bind_unix(tmp_path / ("x" * 120))
    with pytest.raises(BindError, match="No such file"):
        bind_unix(tmp_path / "missing" / "agent.sock")
