"""A key unlocked for a shift: a process of the person's own that signs our statements, and ends by itself.

`ispcloud keys unlock` starts `python -m control_plane.desk.unlock`, hands it the secret through a pipe, and goes. The
secret is in that process's memory only. It listens on a unix socket of mode 0600 in a folder of mode 0700, answers the
same uid only, and signs nothing but DSSE PAE bytes of people's daily statements; never a trust document, a checkpoint
or an agent's statement.

A request is a length (4 bytes, big endian) and a body: `S` and PAE bytes, `L` to lock, `?` for how long is left. The
answer is a length and a body: a signature, nothing for a refusal, or seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import stat
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.errors import InputError, LocalFailureError, RefusedHereError
from durable.process import keep_memory_private
from trust import keys, limits, statements
from trust.keys import SigningKey
from trust.statements import Approval, Cancel, Freeze, Intent, Pause, Resume, Standing, Unfreeze, View

HOURS_MAX: Final = 24
_REQUEST_BYTES: Final = limits.STATEMENT_BYTES + 1024
_PATIENCE_S: Final = 5.0
_START_S: Final = 20.0
_PATH_BYTES_MAX: Final = 107
"""Linux's sockaddr_un has 108 bytes, and the last one is zero."""

_LENGTH: Final = struct.Struct(">I")
_PEER: Final = struct.Struct("3i")
_PAE: Final = re.compile(rb"DSSEv1 ([0-9]{1,3}) ([ -~]{1,200}?) ([0-9]{1,8}) ", re.ASCII)
_SIGNED: Final = frozenset(
    statements.payload_type(kind).encode()
    for kind in (Approval, Cancel, Freeze, Intent, Pause, Resume, Standing, Unfreeze, View)
)


def folder() -> Path:
    """Return the private runtime folder: under XDG_RUNTIME_DIR, else beside the person's own files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "ispcloud"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ispcloud" / "run"


def _socket_path(public: bytes) -> Path:
    return folder() / f"{keys.key_id(public)[:16]}.sock"


def is_ours(message: bytes) -> bool:
    """Return whether these are the PAE bytes, exact to the last, of a statement that people sign day by day."""
    found = _PAE.match(message)
    if found is None:
        return False
    type_bytes, kind, body_bytes = found.groups()
    exact = b"DSSEv1 %d %b %d " % (int(type_bytes), kind, int(body_bytes)) == found.group()
    return exact and len(kind) == int(type_bytes) and len(message) - found.end() == int(body_bytes) and kind in _SIGNED


# --- the socket -----------------------------------------------------------------------------------------------------


def _peer_uid(connection: socket.socket) -> int:
    return int(_PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1])


def _send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(body)) + body)


def _receive(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _REQUEST_BYTES:
        raise ConnectionError(f"expected at most {_REQUEST_BYTES} bytes, got {length}")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(65_536, size - len(data)))
        if not part:
            raise ConnectionError(f"expected {size} bytes, got {len(data)}")
        data += part
    return bytes(data)


# --- who asks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A key in the process that `ispcloud keys unlock` started."""

    public: bytes
    path: Path

    def sign(self, message: bytes) -> bytes:
        """Return the signature of PAE bytes, 64 bytes.

        Raises:
            LocalFailureError: the process is gone.
            RefusedHereError: it does not sign that.
        """
        signature = self._ask(b"S" + message)
        if not keys.verify(self.public, message, signature):
            raise RefusedHereError("expected the unlocked key to sign, it refused: it signs day-to-day statements only")
        return signature

    def lock(self) -> None:
        """End the process.

        Raises:
            LocalFailureError: it is gone already.
        """
        self._ask(b"L")

    def left_s(self) -> int:
        """Return for how long the key stays unlocked.

        Raises:
            LocalFailureError: the process is gone.
        """
        return int(self._ask(b"?") or b"0")

    def _ask(self, body: bytes) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_PATIENCE_S)
                connection.connect(str(self.path))
                if _peer_uid(connection) != os.getuid():
                    raise RefusedHereError(f"{self.path}: expected a process of your own, it is another user's")
                _send(connection, body)
                return _receive(connection)
        except (OSError, ValueError) as err:
            raise LocalFailureError("the unlocked key does not answer: ispcloud keys unlock") from err


def find(public: bytes) -> Unlocked | None:
    """Return the unlocked key, or None where it is not unlocked (a process that died is none)."""
    found = Unlocked(public, _socket_path(public))
    try:
        if not stat.S_ISSOCK(found.path.lstat().st_mode):
            return None
        return found if found.left_s() > 0 else None
    except (OSError, LocalFailureError, RefusedHereError, ValueError):
        return None


def find_all() -> list[Unlocked]:
    """Return every key that is unlocked."""
    found = []
    for path in sorted(folder().glob("*.sock")):
        # Its public half is not needed to lock it
        one = Unlocked(b"", path)
        with contextlib.suppress(LocalFailureError, RefusedHereError, ValueError):
            if one.left_s() > 0:
                found.append(one)
    return found


def start(key: SigningKey, hours: int) -> None:
    """Start the process that holds a key, and return when it answers.

    Raises:
        InputError: the key is unlocked already.
        LocalFailureError: it does not start.
    """
    if find(key.public) is not None:
        raise InputError("this key is unlocked already: ispcloud keys lock")
    _make_folder()
    path = _socket_path(key.public)
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise LocalFailureError(f"{path}: expected a socket's path of at most {_PATH_BYTES_MAX} bytes: XDG_RUNTIME_DIR")
    # Without -P a folder named control_plane in the current one would get the key
    command = [sys.executable, "-P", "-m", "control_plane.desk.unlock", str(path), str(hours * 3600)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    if _hand_over(process, key.seed) != b"ready\n":
        process.kill()
        process.wait()
        raise LocalFailureError(f"{path}: the process that holds the key did not start")
    # It goes on by itself: init is its parent when this command ends
    process.returncode = 0


def _hand_over(process: subprocess.Popen[bytes], seed: bytes) -> bytes:
    """Give the process its key, and return the line that it answers; nothing: it failed, or took too long."""
    if process.stdin is None or process.stdout is None:
        return b""
    with process.stdin as stdin, process.stdout as stdout:
        with contextlib.suppress(BrokenPipeError):
            stdin.write(seed)
            stdin.close()
        readable, _, _ = select.select([stdout], [], [], _START_S)
        return stdout.readline() if readable else b""


def _make_folder() -> None:
    path = folder()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as err:
        raise LocalFailureError(f"{path}: cannot be made: {err.strerror}") from err
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LocalFailureError(f"{path}: expected a folder of your own with mode 0700, it is another")


# --- who holds the key ----------------------------------------------------------------------------------------------


def _boot_s() -> float:
    # A laptop that sleeps does not lengthen the shift
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def serve(listener: socket.socket, key: SigningKey, ends_s: float) -> None:
    """Answer until `ends_s` (boot-time clock) or until somebody of this uid locks."""
    while (left_s := ends_s - _boot_s()) > 0:
        # In small waits: the socket's clock stands still while the machine sleeps
        listener.settimeout(min(left_s, 30.0))
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(_PATIENCE_S)
            # A peer that goes or stalls is its own problem
            with contextlib.suppress(OSError):
                if not _answer(connection, key, ends_s):
                    return


def _answer(connection: socket.socket, key: SigningKey, ends_s: float) -> bool:
    """Answer one request; return whether to go on."""
    if _peer_uid(connection) != os.getuid():
        return True
    request = _receive(connection)
    match request[:1]:
        case b"S":
            message = request[1:]
            _send(connection, key.sign(message) if is_ours(message) else b"")
        case b"?":
            _send(connection, b"%d" % max(0, int(ends_s - _boot_s())))
        case b"L":
            _send(connection, b"locked")
            return False
        case _:
            _send(connection, b"")
    return True


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(8)
    return listener


def main() -> int:
    """Hold the key that comes on standard input; arguments: the socket's path, seconds."""
    path, seconds = Path(sys.argv[1]), int(sys.argv[2])
    keep_memory_private()
    key = SigningKey(sys.stdin.buffer.read())
    with _listen(path) as listener:
        mine = path.stat().st_ino
        sys.stdout.buffer.write(b"ready\n")
        sys.stdout.flush()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        try:
            serve(listener, key, _boot_s() + seconds)
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
