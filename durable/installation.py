"""Checks of an installation that both programs have: unit, key, disk, clock, database. Linux, with systemd and dpkg.

They need no running daemon, write nothing but one small file in the data directory (where that is allowed), and say
`not-checked` where this user may not look.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from durable import files

TOOL_S: Final = 20.0
"""How long systemctl, timedatectl and dpkg may take. Chosen arbitrarily."""
SYNC_SLOW_S: Final = 0.05
"""A disk that takes longer to make a write durable slows every step down."""
FREE_LEAST: Final = 256 << 20
"""Bytes: with less the log of a few days may not find room."""
CREDENTIALS: Final = Path("/etc/credstore.encrypted")
"""Where systemd finds the credentials that `ImportCredential=` names."""


@dataclass(frozen=True, slots=True)
class InstallationCheck:
    """One thing that was checked. `result`: ok, warning, fails, not-checked. `mend`: a command, "" if there is none."""

    about: str
    what: str
    result: str
    detail: str
    mend: str = ""


_IN_USE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Errors of a database that say nothing of its content: somebody else has it, or this user may not write beside it."""

OK, WARN, FAIL, NOT_CHECKED = "ok", "warning", "fails", "not-checked"


def unit_checks(unit: str, package: str) -> Iterator[InstallationCheck]:
    """Give systemd's facts on a unit, such as `ispagent.service`, and dpkg's on the files of its package."""
    shown = _tool("systemctl", "show", unit, "--property=LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths")
    if shown is None:
        yield InstallationCheck(unit, "unit", NOT_CHECKED, "systemd does not answer here")
        return
    said = dict(line.partition("=")[::2] for line in shown.splitlines())
    if (loaded := said.get("LoadState")) != "loaded":
        yield _not_loaded(unit, loaded)
        return
    yield _running(unit, said)
    if not said["FragmentPath"].startswith("/usr/lib/systemd/"):
        mend = f"compare it with /usr/lib/systemd/system/{unit}; use a drop-in: systemctl edit {unit}"
        text = f"{said['FragmentPath']} takes the place of the package's: an update of that does not reach this machine"
        yield InstallationCheck(unit, "as shipped", WARN, text, mend)
        return
    added = [path for path in said["DropInPaths"].split() if not path.startswith("/usr/lib/")]
    changed = _changed_files(package)
    if changed is None:
        yield InstallationCheck(unit, "as shipped", NOT_CHECKED, f"dpkg does not say it of the package {package}")
    elif changed:
        text = f"not as the package brought them: {', '.join(changed)}"
        yield InstallationCheck(unit, "as shipped", WARN, text, f"apt-get install --reinstall {package}")
    else:
        text = f"with your {', '.join(added)}" if added else "without a change"
        yield InstallationCheck(unit, "as shipped", OK, text)


def _not_loaded(unit: str, state: str | None) -> InstallationCheck:
    if state == "masked":
        return InstallationCheck(
            unit, "unit", FAIL, "it is masked: nothing can start it", f"systemctl unmask {unit}; systemctl start {unit}"
        )
    if state in (None, "", "not-found"):
        return InstallationCheck(unit, "unit", NOT_CHECKED, "no unit of this machine: not from a package")
    return InstallationCheck(
        unit, "unit", FAIL, f"systemd cannot use it: {state}", f"systemctl status {unit}; it names the line"
    )


def _running(unit: str, said: Mapping[str, str]) -> InstallationCheck:
    if said["ActiveState"] == "failed":
        mend = f"journalctl -u {unit} -n 50; then systemctl restart {unit}"
        return InstallationCheck(unit, "unit", FAIL, "it failed", mend)
    if said["ActiveState"] == "activating":
        return InstallationCheck(
            unit, "unit", WARN, "it is starting; if it stays so, it fails each time", f"journalctl -u {unit} -n 50"
        )
    if said["ActiveState"] not in ("active", "reloading", "refreshing"):
        return InstallationCheck(unit, "unit", FAIL, f"it is {said['ActiveState']}", f"systemctl start {unit}")
    if said["UnitFileState"] != "enabled":
        text = "it runs, and does not start with the machine"
        return InstallationCheck(unit, "unit", WARN, text, f"systemctl enable {unit}")
    return InstallationCheck(unit, "unit", OK, "it runs, and starts with the machine")


def _changed_files(package: str) -> list[str] | None:
    """Return the files of a package that are not as it brought them; its configuration files may be.

    None: dpkg does not say: it is missing, takes too long, or knows no such package.
    """
    said = _tool("dpkg", "--verify", package)
    if said is None or (not said and _tool("dpkg-query", "--show", package) is None):
        return None
    lines = [line.split(maxsplit=2) for line in said.splitlines()]
    return [words[-1] for words in lines if len(words) == 2]  # "??5?????? /path"; "c" stands between


def key_check(what: str, clear: Path, credential: str) -> InstallationCheck:
    """Return whether a key is sealed, or lies about in a file.

    Args:
        what: the name of the key, for people.
        clear: the file in which it stands where it is not sealed.
        credential: the name under which `systemd-creds` seals it.
    """
    sealed = CREDENTIALS / credential
    seal = f"systemd-creds encrypt --name={credential} {clear} {sealed}"
    try:
        is_sealed = _exists(sealed)
    except OSError as err:
        return InstallationCheck("key", what, NOT_CHECKED, f"{sealed}: {err.strerror}", "run this as root")
    try:
        mode = stat.S_IMODE(clear.stat().st_mode)
    except FileNotFoundError:
        if is_sealed:
            return InstallationCheck("key", what, OK, f"sealed in {sealed}; it opens on this machine only")
        return InstallationCheck("key", what, FAIL, f"expected {clear}, or {sealed}; got neither")
    except OSError as err:
        return InstallationCheck("key", what, NOT_CHECKED, f"{clear}: {err.strerror}", "run this as root")
    if mode & 0o077:
        text = f"{clear}: expected mode 0600, got {mode:04o}: others can read it"
        return InstallationCheck(
            "key", what, FAIL, text, f"chmod 0600 {clear}; it may have been read: think of a new one"
        )
    if is_sealed:
        text = f"sealed in {sealed}, and in the clear in {clear} too"
        return InstallationCheck("key", what, WARN, text, f"after a restart that went well: shred -u {clear}")
    return InstallationCheck("key", what, WARN, f"{clear} holds it in the clear: so does each copy of the disk", seal)


def _exists(path: Path) -> bool:
    """Return whether there is a file; `Path.exists` of some releases says no where this user may not look.

    Raises:
        OSError: this user may not look.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def disk_checks(folder: Path) -> Iterator[InstallationCheck]:
    """Give the room in a data directory, and how long a write takes to be durable there."""
    try:
        room = shutil.disk_usage(folder)
    except OSError as err:
        yield InstallationCheck("disk", "room", NOT_CHECKED, f"{folder}: {err.strerror}", "run this as root")
        return
    text = f"{room.free >> 20} MiB of {room.total >> 20} MiB are free in {folder}"
    if room.free < FREE_LEAST:
        yield InstallationCheck("disk", "room", FAIL, f"{text}, expected {FREE_LEAST >> 20} MiB", "make room there")
    else:
        yield InstallationCheck("disk", "room", OK, text)
    try:
        took_s = _sync_s(folder)
    except PermissionError:
        yield InstallationCheck(
            "disk", "fsync", NOT_CHECKED, f"this user may not write in {folder}", "run this as root"
        )
    except OSError as err:
        yield InstallationCheck("disk", "fsync", FAIL, f"{folder} takes no write: {err.strerror}", "check the disk")
    else:
        slow = took_s > SYNC_SLOW_S
        text = f"a write is durable in {took_s * 1000:.1f} ms" + (
            f", expected {SYNC_SLOW_S * 1000:.0f} ms" if slow else ""
        )
        yield InstallationCheck("disk", "fsync", WARN if slow else OK, text, "a faster disk" if slow else "")


def _sync_s(folder: Path) -> float:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        began = time.monotonic()
        os.fsync(file.fileno())
        return time.monotonic() - began


def clock_check() -> InstallationCheck:
    """Return whether the clock is kept by a time service: deadlines, certificates and trust documents rest on it."""
    said = _tool("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if said is None:
        return InstallationCheck("clock", "synchronized", NOT_CHECKED, "timedatectl does not answer here")
    if said.strip() == "yes":
        return InstallationCheck("clock", "synchronized", OK, "by a time service")
    text = "by no time service: a clock that jumps halts all changes"
    return InstallationCheck("clock", "synchronized", WARN, text, "apt-get install systemd-timesyncd, or chrony")


def database_check(path: Path, known: int, writers_from: int) -> InstallationCheck:
    """Return whether this program may write to a database, and the meaning of an upgrade of it.

    Args:
        path: the database.
        known: the version that this program makes of it.
        writers_from: the oldest version with a program that may write to that.
    """
    try:
        version, oldest = files.versions(path)
    except FileNotFoundError:
        return InstallationCheck("database", path.name, NOT_CHECKED, "there is none yet: it was never started")
    except PermissionError as err:
        return InstallationCheck("database", path.name, NOT_CHECKED, f"{path}: {err.strerror}", "run this as root")
    except sqlite3.Error as err:
        if getattr(err, "sqlite_errorcode", 0) & 0xFF in _IN_USE:
            return InstallationCheck("database", path.name, NOT_CHECKED, f"{path}: {err}", "try again, as root")
        return InstallationCheck("database", path.name, FAIL, f"it cannot be read: {err}", "restore a backup")
    if oldest > known:
        text = f"version {version}, to which programs of version {oldest} or newer may write; this one is of {known}"
        return InstallationCheck("database", path.name, FAIL, text, "install the newer package again")
    if version > known:
        return InstallationCheck(
            "database", path.name, OK, f"version {version} of a newer program; this one may write to it"
        )
    if version < known:
        text = (
            f"version {version}; the next start makes {known} of it, to which programs from {writers_from} on may write"
        )
        return InstallationCheck("database", path.name, OK, text)
    return InstallationCheck("database", path.name, OK, f"version {version}, of this program")


def _tool(*command: str) -> str | None:
    """Return the output of a tool of the system; None: it is missing, fails or hangs."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=TOOL_S,
            check=False,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin")},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # dpkg --verify exits with 1 where a file differs
    return done.stdout if done.returncode == 0 or command[0] == "dpkg" else None
