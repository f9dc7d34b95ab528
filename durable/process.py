"""Keeps the memory of a process that holds secrets away from other processes, dumps and swap. Linux."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""prctl(2) and mlockall(2), from Linux' headers. On fault: untouched pages take no memory."""

NEW_OBJECTS: Final = 25_000
"""Objects, more made than freed, after which the new ones are looked through. Python's own 700 are fewer than the tasks
of one busy second hold: the same live objects were gone through again and again. Chosen by measuring.
"""
OLDER_OBJECTS: Final = 2, 5
"""Every third look takes in the objects that outlived one look, every 18th takes in all. Python's own 10 and 10 would
leave three million objects of garbage at worst; these leave 450,000, some 50 MB.
"""

THREAD_NAME_BYTES: Final = 15
"""TASK_COMM_LEN less its NUL: Linux cuts a longer name off."""


def keep_memory_private() -> None:
    """Forbid core dumps and tracing by other processes of the same user, and lock the memory where that is allowed.

    Secrets, the store key and a person's signing key are in the memory of these programs. Memory is locked only
    where no limit holds (root, or systemd's LimitMEMLOCK=infinity): under a limit a later allocation would fail.

    Raises:
        OSError: the system refuses a call that needs no privilege.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    if os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)  # a container may forbid it even to root


def put_off_collections() -> None:
    """Stop Python's garbage collector until `exempt_loaded_objects`. Call this before a program imports its modules.

    Imported modules stay for ever. Collections that looked through them again and again took an eighth of the agent's
    start.
    """
    gc.disable()


def exempt_loaded_objects() -> None:
    """Exempt all objects that exist now from Python's garbage collector, for ever, and let it run from now on.

    A full collection goes through all objects in one go: modules and tables that are never garbage take 70 ms of it,
    and no call is answered meanwhile. New objects are looked through once there are `NEW_OBJECTS` more of them. Call
    this once, when a program has started.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *OLDER_OBJECTS)
    gc.enable()


def name_this_thread(name: str) -> None:
    """Give the calling thread a name that `ps -L` and `top -H` show; Python itself does so from 3.14 on."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:THREAD_NAME_BYTES], 0, 0, 0)
