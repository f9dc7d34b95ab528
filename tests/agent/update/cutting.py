"""Ends a process before one of its steps on the file system, as a power cut would, without a hook in the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

_STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "ctypes.dlsym"}
_CUT, _ENDED = 9, 0


def cut_before(step: int, folder: Path, work: Callable[[], object]) -> bool:
    """Run `work` in a process of its own that dies before its step number `step`; return whether it came so far.

    Steps are calls that change files below `folder`, and calls of the C library. A child process shares no memory with
    this one, so nothing is tidied up behind it.

    Raises:
        AssertionError: `work` failed.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            _cut_this_process(step, str(folder))
            work()
            code = _ENDED
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (_CUT, _ENDED), f"exit code {code}"
    return code == _CUT


def _cut_this_process(step: int, folder: str) -> None:
    left = step

    def look(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if event not in _STEPS or not _changes(event, args, folder):
            return
        if left == 0:
            os._exit(_CUT)
        left -= 1

    sys.addaudithook(look)


def _changes(event: str, args: tuple[object, ...], folder: str) -> bool:
    if event == "ctypes.dlsym":
        return True
    if event == "open" and isinstance(args[2], int) and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return False
    paths = [os.fsdecode(one) for one in args if isinstance(one, str | bytes | os.PathLike)]
    relative = any(not path.startswith("/") for path in paths[:1])  # shutil.rmtree names files by their folder
    return relative or any(path.startswith(folder) for path in paths)
