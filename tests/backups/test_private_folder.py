"""Clear data is gone however a program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from backups.errors import BackupStorageError
from backups.private_folder import private_folder

WAITS = """
import signal, sys, time
# A program in the background of a shell is started without the one, and under nohup without the other
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from backups.private_folder import private_folder
with private_folder("clear-") as folder:
    (folder / "file").write_text("clear")
    print("there", flush=True)
    time.sleep(60)
"""


def test_it_is_ours_alone_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    with private_folder("clear-") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ZeroDivisionError), private_folder("clear-"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(BackupStorageError, match="no folder can be made"), private_folder("clear-"):
        pass


def test_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found: list[bool] = []

    def work() -> None:
        with private_folder("clear-") as folder:
            found.append(folder.exists())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found, list(tmp_path.iterdir())) == ([True], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_ends_the_program(tmp_path: Path, number: signal.Signals) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"there\n"
        assert len(list(tmp_path.iterdir())) == 1
        run.send_signal(number)
        run.communicate(timeout=60)
    assert list(tmp_path.iterdir()) == []
