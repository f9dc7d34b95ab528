"""The local socket, bound by us or opened by systemd, and the credentials of its peers."""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from agent.reasons import HttpReason
from agent.runtime import json_text
from agent.runtime.errors import AlreadyRunningError, BindError
from durable.service_manager import PassedSocket

PATH_BYTES: Final = 107
"""sockaddr_un.sun_path less its NUL, unix(7)."""
BACKLOG: Final = 64
"""Connections that wait for accept. Chosen arbitrarily, above the clients of a busy NOC."""


_NOT_STARTED: Final = (
    "the agent does not start: there is a mistake in its configuration, which its log names: journalctl -u ispagent"
)


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer, as the kernel saw it at connect (SO_PEERCRED, unix(7))."""

    uid: int
    pid: int


def peer_of(sock: socket.socket | trio.socket.SocketType) -> Peer:
    """Return the peer at the other end of a connected unix socket."""
    pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return Peer(uid=uid, pid=pid)


def bind_unix(path: Path, mode: int = 0o660, group: str | None = None) -> trio.SocketListener:
    """Return a listener on the unix socket `path`; a stale socket is removed first.

    Two daemons that start at once are kept apart by a lock on `PATH.lock`, held while binding. The socket never has
    a wider mode than `mode`, not even for a moment. Call it before the nursery: it blocks for a moment.

    Args:
        path: at most 107 bytes, in a directory that exists.
        mode: of the socket's file (connecting takes write permission).
        group: the group that owns the socket; None leaves it.

    Raises:
        AlreadyRunningError: somebody listens there.
        BindError: the path is too long, taken by something else, not ours to write; no such group.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise BindError(f"expected a socket path of at most {PATH_BYTES} bytes, got {len(os.fsencode(path))}: {path}")
    gid = _gid_of(group)
    try:
        lock_fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as err:
        raise BindError(f"cannot make the socket {path}: {err.strerror}") from err
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_stale(path)
        return trio.SocketListener(trio.socket.from_stdlib_socket(_bind(path, mode, gid)))
    except BlockingIOError as err:
        raise AlreadyRunningError(f"another daemon is binding {path} right now") from err
    except OSError as err:
        raise BindError(f"cannot make the socket {path}: {err.strerror}") from err
    finally:
        os.close(lock_fd)


def adopt(passed: Sequence[PassedSocket], path: Path, group: str | None = None) -> socket.socket | None:
    """Return a duplicate of the listening socket that systemd opened (`ispagent.socket`), or None: there is none.

    Systemd decides on the users that may connect (SocketGroup, SocketMode). The path must be the configured one, which
    the commands of people use.

    Args:
        passed: the socket that systemd opened.
        path: the configured socket.
        group: the configured group; None: none is configured.

    Raises:
        BindError: it opened several sockets, or one that listens nowhere, elsewhere, or for another group.
    """
    if not passed:
        return None
    unit = "ispagent.socket: systemctl edit ispagent.socket"
    if len(passed) != 1:
        raise BindError(f"expected one socket of systemd, got {len(passed)} (LISTEN_FDS); look at {unit}")
    with ExitStack() as undo:
        try:
            sock = undo.enter_context(socket.socket(fileno=os.dup(passed[0].fd)))
        except OSError as err:
            raise BindError(f"the socket of systemd cannot be used: {err.strerror}; look at {unit}") from err
        if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM) or not _listens(sock):
            raise BindError(f"expected a listening unix stream socket of systemd, got another; look at {unit}")
        if (bound := sock.getsockname()) != os.fspath(path):
            raise BindError(f"agent.socket: {path} is configured, and systemd listens on {bound}; look at {unit}")
        if not path.exists():
            raise BindError(f"agent.socket: {path} is gone, though systemd listens on it: restart ispagent.socket")
        owner = path.stat().st_gid
        if group is not None and _gid_of(group) != owner:
            raise BindError(
                f"agent.socket_group: {group} is configured, and systemd gave the socket to gid {owner}: leave"
                f" socket_group out, or SocketGroup={group} in {unit}"
            )
        undo.pop_all()
    return sock


def turn_away(passed: Sequence[PassedSocket]) -> None:
    """Answer 503 on every waiting connection of the sockets that systemd opened, since the agent does not start.

    For a connection without an answer, systemd would start the agent again and again.
    """
    said = {"error": {"code": HttpReason.NOT_STARTED, "message": _NOT_STARTED}}
    body = json_text.encode(said)
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    for one in passed:
        with suppress(OSError), socket.socket(fileno=os.dup(one.fd)) as sock:
            if sock.family != socket.AF_UNIX or not _listens(sock):
                continue
            sock.setblocking(False)
            for _ in range(BACKLOG + 1):
                connection, _address = sock.accept()  # BlockingIOError: nobody waits any more
                with connection, suppress(OSError):
                    connection.setblocking(False)
                    connection.send(head.encode() + b"connection: close\r\n\r\n" + body)


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _gid_of(group: str | None) -> int:
    if group is None:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as err:
        raise BindError(f"the socket's group {group!r} does not exist on this machine") from err


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(f"{path} exists and is not a socket; it is left as it is")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody alive: EAGAIN, not a wait
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise AlreadyRunningError(f"another daemon listens on {path}")


def _bind(path: Path, mode: int, gid: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Linux makes the file with the mode of the socket's own inode: nobody else can connect before chown and chmod.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(os.fspath(path))
        if gid != -1:
            os.chown(path, -1, gid)
        path.chmod(mode)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
