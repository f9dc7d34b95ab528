"""The memory of a program that holds keys: no core, no tracing, no look into it by the same user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HOLDS = """
import ctypes, os, resource, signal, sys
from durable.process import keep_memory_private
if sys.argv[2:]:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # another user: Linux made it private by itself
if sys.argv[1] == "private":
    keep_memory_private()
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
print(soft, hard, flush=True)
signal.pause()
"""


def dumps(folder: Path, how: str) -> tuple[str, bool, list[str]]:
    """Return what a process that crashed said, whether it says that it dumped core, and the files that it left."""
    wanted = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (2**30, 2**30)); "
    code = f"{wanted}exec({HOLDS!r})"
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", code, how],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        memory = os.stat(f"/proc/{process.pid}/mem")
        os.kill(process.pid, signal.SIGSEGV)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGSEGV
    assert memory.st_uid in (0, os.geteuid())
    return said, os.WCOREDUMP(status), [file.name for file in folder.iterdir()]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux'")
def test_R5_a_program_that_holds_keys_leaves_no_core(tmp_path: Path) -> None:
    assert dumps(tmp_path, "private") == ("0 0", False, [])


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux'")
@pytest.mark.parametrize(("how", "readable"), [("private", False), ("open", True)])
def test_R5_the_same_user_cannot_read_its_memory(how: str, readable: bool) -> None:
    root = os.geteuid() == 0
    user = 65534 if root else os.geteuid()
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, how, *(["as-nobody"] if root else [])],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            owner = os.stat(f"/proc/{process.pid}/environ").st_uid  # root's, where its own user may not look
            assert (owner == user) is readable
        finally:
            process.kill()


def test_loaded_objects_are_spared_by_the_collector_not_later() -> None:
    code = (
        "import gc, weakref\n"
        "from durable.process import NEW_OBJECTS, exempt_loaded_objects, put_off_collections\n"
        "class Knot: pass\n"
        "put_off_collections()\n"
        "assert not gc.isenabled()\n"
        "exempt_loaded_objects()\n"
        "assert gc.isenabled()\n"
        "kept = gc.get_freeze_count() > 1000\n"
        "knot = Knot(); knot.self = knot; seen = weakref.ref(knot); del knot\n"
        "held = [[] for _ in range(NEW_OBJECTS // 2)]\n"
        "early = seen() is None\n"
        "held += [[] for _ in range(NEW_OBJECTS)]\n"
        "print(kept, early, seen() is None)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]
