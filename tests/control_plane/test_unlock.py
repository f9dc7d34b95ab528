"""A key that is unlocked for a shift: what it signs, for whom, and how it ends."""

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.desk import signing, unlock
from control_plane.errors import InputError, LocalFailureError, RefusedHereError
from tests.builders.expect import present
from tests.control_plane.conftest import TRUST_ID, key, sign_trust, trust_document
from trust import envelope, keys, statements
from trust.statements import Approval, Cancel, Decision, ReasonCode, Saw, SeenHeads

CANCEL = Cancel(TRUST_ID, "12" * 16, ("ab" * 32,), "joseph", 5)
PUBLIC = key("joseph").public


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def started(runtime: Path) -> Iterator[unlock.Unlocked]:
    unlock.start(key("joseph"), 1)
    found = present(unlock.find(PUBLIC))
    yield found
    again = unlock.find(PUBLIC)
    if again is not None:
        again.lock()


def pae(statement: object) -> bytes:
    return envelope.pae(statements.payload_type(type(statement)), statements.encode(statement))


def test_it_signs_what_people_sign(started: unlock.Unlocked) -> None:
    signed = signing.sign(CANCEL, started)
    assert envelope.signed_by(signed, [PUBLIC]) == {PUBLIC}
    approval = Approval(
        TRUST_ID, ("ab" * 32,), Decision.APPROVE, "joseph", Saw.DETAIL, 1, 2, ReasonCode.CHECKED, SeenHeads(1, "0" * 64)
    )
    assert keys.verify(PUBLIC, pae(approval), started.sign(pae(approval)))
    assert 3500 < started.left_s() <= 3600


def test_its_files_are_its_persons_own(started: unlock.Unlocked) -> None:
    assert stat.S_IMODE(started.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(started.path.parent.stat().st_mode) == 0o700
    (process,) = processes(started.path)
    assert key("joseph").seed not in Path(f"/proc/{process}/cmdline").read_bytes()
    assert key("joseph").seed.hex().encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
    assert key("joseph").seed not in Path(f"/proc/{process}/environ").read_bytes()


def processes(path: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(path) in words:
                found.append(int(entry.name))
    return found


def test_it_signs_nothing_else(started: unlock.Unlocked) -> None:
    trust = sign_trust(trust_document(1_700_000_000))
    good = pae(CANCEL)
    for message in (
        b"",
        b"anything",
        b"cosignature/v1\ntime 1\nlog\n1\n",
        envelope.pae(trust.payload_type, trust.payload),
        envelope.pae("application/vnd.ispagents.plan.v0+json", b"{}"),
        envelope.pae("text/plain", b"{}"),
        good + b" ",
        good[:-1],
        good.replace(b"DSSEv1 ", b"DSSEv1 0", 1),
    ):
        with pytest.raises(RefusedHereError):
            started.sign(message)
    assert started.sign(good)


@given(st.binary(max_size=200))
def test_what_is_ours_is_total(data: bytes) -> None:
    assert unlock.is_ours(data) is False
    assert unlock.is_ours(b"DSSEv1 " + data) is False


@given(st.binary(max_size=50))
def test_what_is_ours_is_exact(body: bytes) -> None:
    kind = statements.payload_type(Cancel)
    assert unlock.is_ours(envelope.pae(kind, body))
    assert not unlock.is_ours(envelope.pae(kind, body) + b"x")


def test_locking_ends_the_process(started: unlock.Unlocked) -> None:
    (process,) = processes(started.path)
    started.lock()
    # It is this process's child: wait for it itself, not for a time
    os.waitpid(process, 0)
    assert not started.path.exists()
    assert unlock.find(PUBLIC) is None
    with pytest.raises(LocalFailureError):
        started.sign(pae(CANCEL))


def test_one_at_a_time_and_all_at_once(started: unlock.Unlocked) -> None:
    with pytest.raises(InputError, match="unlocked already"):
        unlock.start(key("joseph"), 1)
    unlock.start(key("lena"), 1)
    found = unlock.find_all()
    assert len(found) == 2
    for one in found:
        one.lock()
    assert unlock.find_all() == []


def test_what_a_process_that_died_left_behind(runtime: Path) -> None:
    folder = runtime / "ispcloud"
    folder.mkdir(mode=0o700)
    left = folder / f"{keys.key_id(PUBLIC)[:16]}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(left))
    assert unlock.find(PUBLIC) is None
    unlock.start(key("joseph"), 1)
    found = present(unlock.find(PUBLIC))
    found.lock()


def test_folders_that_are_not_private(runtime: Path) -> None:
    (runtime / "ispcloud").mkdir()
    (runtime / "ispcloud").chmod(0o755)
    with pytest.raises(LocalFailureError, match="mode 0700"):
        unlock.start(key("joseph"), 1)


def test_a_path_that_is_too_long(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / ("x" * 100)))
    with pytest.raises(LocalFailureError, match="at most 107 bytes"):
        unlock.start(key("joseph"), 1)


# --- the socket itself, in this process -----------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        ends = time.clock_gettime(time.CLOCK_BOOTTIME) + 60
        thread = threading.Thread(target=unlock.serve, args=(listener, key("joseph"), ends))
        thread.start()
        yield path
        unlock.Unlocked(PUBLIC, path).lock()
        thread.join()


def ask(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
        except OSError:  # closed with the request unread
            return b""


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xff\xff\xff", struct.pack(">I", 9) + b"S", struct.pack(">I", 0)])
def test_requests_that_are_none(served: Path, data: bytes) -> None:
    assert ask(served, data) in (b"", struct.pack(">I", 0))
    assert unlock.Unlocked(PUBLIC, served).left_s() > 0


def test_another_users_requests_are_passed_over(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: real + 1)
    assert ask(served, struct.pack(">I", 1) + b"?") == b""
    with pytest.raises(RefusedHereError, match="another user's"):
        unlock.Unlocked(PUBLIC, served).left_s()
    monkeypatch.undo()
    assert unlock.Unlocked(PUBLIC, served).left_s() > 0


def test_it_ends_by_itself(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        unlock.serve(listener, key("joseph"), time.clock_gettime(time.CLOCK_BOOTTIME) + 0.05)
