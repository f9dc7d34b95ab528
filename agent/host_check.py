"""The requirements of the daemon on its machine: its directories, its user, the socket's group.

The configuration file alone cannot say it. `ispagent run`, `init` and `config check` ask, so a mistake is named with
the command that mends it before anything is made.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.config import STORE_KEYS, AgentConfig
from agent.runtime.clock import SystemClock
from agent.store import schema
from agent.store.last_backup import BackupAge
from durable import installation
from durable.installation import FAIL, NOT_CHECKED, OK, WARN, InstallationCheck


def user_name(uid: int) -> str:
    """Return the name of a uid here, or `uid N`."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def owner_problem(state_dir: Path, uid: int) -> str:
    """Return why a user must not make files in the state directory; "": they may.

    The daemon can only read its own files, so whoever makes them must be the user that it runs as. That user is the
    owner of the directory, which root therefore has to make first.

    Args:
        state_dir: the directory.
        uid: of the user that would make files there.
    """
    try:
        owner = state_dir.stat().st_uid
    except FileNotFoundError:
        if uid != 0:
            return ""
        made = f"install -d -o ispagent -m 0700 {state_dir}"
        return f"{state_dir}: expected a directory of the user that the daemon runs as, got none: {made}"
    except OSError as err:
        return f"{state_dir}: cannot be looked at by {user_name(uid)}: {err.strerror}: run this as the daemon's user"
    if owner == uid:
        return ""
    name = user_name(owner)
    return (
        f"{state_dir} belongs to {name}, and this is {user_name(uid)}: the daemon could not read what would be made: "
        f"run this as {name}: sudo -u {name} ispagent …"
    )


def problems(config: AgentConfig, uid: int, *, socket_passed: bool = False) -> Iterator[str]:
    """Give each reason why the daemon cannot run here as a user, each with its remedy.

    Args:
        config: its configuration.
        uid: the user that it is to run as.
        socket_passed: whether systemd opened the socket: the daemon makes none then, and needs no group for it.
    """
    if problem := owner_problem(config.state_dir, uid):
        yield problem
    if config.mark_file is not None:
        yield from _mark_problems(config.mark_file.parent, uid)
    yield from _uid_problems(config.people, Path("/proc/self/uid_map").read_text())
    if socket_passed:
        return
    if config.socket_group is not None:
        yield from _group_problems(config.socket_group, uid)
    folder = config.socket.parent
    if folder != config.state_dir and not folder.is_dir():
        name = user_name(uid)
        yield (
            f"agent.socket: expected the directory {folder}, got none: install -d -o {name} -m 0755 {folder} "
            f"(below /run: RuntimeDirectory={folder.name} in the unit)"
        )


def _uid_problems(people: Iterable[int], uid_map: str) -> Iterator[str]:
    """Give the people with uids that this process cannot see: every peer of another uid would look like nobody (65534).

    Args:
        people: their uids.
        uid_map: of its user namespace, user_namespaces(7): `PrivateUsers=identity` of systemd maps 65,536 uids.
    """
    seen = [(int(first), int(count)) for first, _, count in (line.split() for line in uid_map.splitlines())]
    for uid in people:
        if not any(first <= uid < first + count for first, count in seen):
            yield (
                f"people.{uid}: the service's user namespace has no such uid, so nobody would be known by it: "
                "systemctl edit ispagent.service, with PrivateUsers=no"
            )


def _mark_problems(folder: Path, uid: int) -> Iterator[str]:
    """Give the reason why the directory of the mark file is none that the daemon can write, asked as its user."""
    made = folder.is_dir()
    if uid == os.geteuid() and not os.access(folder if made else folder.parent, os.W_OK | os.X_OK):
        name = user_name(uid)
        yield (
            f"agent.mark_file: expected the directory {folder} of {name}, got {'another' if made else 'none'}:"
            f" install -d -o {name} -m 0700 {folder} (below /var/lib: StateDirectory={folder.name} in the unit)"
        )


def _group_problems(group: str, uid: int) -> Iterator[str]:
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        yield f"agent.socket_group: expected a group of this machine, there is no {group}: groupadd --system {group}"
        return
    mine = os.getgroups() + [os.getegid()] if uid == os.geteuid() else []
    name = user_name(uid)
    if uid != 0 and entry.gr_gid not in mine and name not in entry.gr_mem:
        yield (
            f"agent.socket_group: {name} is not a member of {group}, so it cannot give it the socket: "
            f"usermod --append --groups {group} {name}"
        )


def installation_checks(config: AgentConfig, uid: int) -> Iterator[InstallationCheck]:
    """Give the checks of this installation that need no daemon.

    Args:
        config: the agent's configuration.
        uid: the user that the daemon runs as.
    """
    yield from installation.unit_checks("ispagent.service", "ispagent")
    yield socket_check(config.socket)
    yield installation.key_check("store key", config.state_dir / "store.key", STORE_KEYS[0])
    yield installation.database_check(config.state_dir / "agent.db", len(schema.MIGRATIONS), schema.WRITERS_FROM)
    yield installation.clock_check()
    yield backup_check(config)
    for problem in problems(config, uid):
        yield InstallationCheck("configuration", "machine", FAIL, problem)
    for note in notes(config):
        yield InstallationCheck("configuration", "machine", WARN, note)


def backup_check(config: AgentConfig) -> InstallationCheck:
    """Return how old the newest backup is, as the daemon would say it; the state directory must be open to us."""
    if not os.access(config.state_dir, os.X_OK):
        return InstallationCheck("agent", "backup", NOT_CHECKED, f"{config.state_dir} is not ours", "run this as root")
    terms = config.backup
    age = BackupAge(config.state_dir, terms.max_age_h, SystemClock().wall_s, wanted=bool(terms.recipients))
    return InstallationCheck("agent", "backup", *age.check())


def socket_check(path: Path) -> InstallationCheck:
    """Return the users that may connect to the local API."""
    try:
        info = path.stat()
    except PermissionError as err:
        return InstallationCheck("socket", "people", NOT_CHECKED, f"{path}: {err.strerror}", "run this as root")
    except OSError as err:
        text = f"expected the socket {path}, and it cannot be reached: {err.strerror}"
        return InstallationCheck("socket", "people", FAIL, text, "systemctl start ispagent.socket")
    if info.st_mode & 0o006:  # connecting takes the right to write; the right to read is a sign of a wrong mode
        text = f"{path}: expected mode 0660, got {stat.S_IMODE(info.st_mode):04o}: everybody here may connect"
        return InstallationCheck("socket", "people", FAIL, text, f"chmod 0660 {path}")
    try:
        group = grp.getgrgid(info.st_gid)
    except KeyError:
        return InstallationCheck("socket", "people", NOT_CHECKED, f"{path}: its group {info.st_gid} has no name here")
    owner = user_name(info.st_uid)
    if not info.st_mode & 0o020:
        text = f"{path}: expected mode 0660, got {stat.S_IMODE(info.st_mode):04o}: only {owner} may connect"
        return InstallationCheck("socket", "people", FAIL, text, f"chmod 0660 {path}")
    members = sorted({*group.gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == info.st_gid)} - {owner})
    if not members:
        text = f"only {owner} may connect: no user is a member of {group.gr_name}"
        return InstallationCheck("socket", "people", WARN, text, f"usermod --append --groups {group.gr_name} USER")
    text = f"{', '.join(members)} ({group.gr_name}) and {owner} may connect"
    return InstallationCheck("socket", "people", OK, text)


def daemon_uid(state_dir: Path) -> int:
    """Return the uid that the daemon runs as: the owner of its state directory; ours where there is none yet."""
    try:
        return state_dir.stat().st_uid
    except OSError:
        return os.geteuid()


def notes(config: AgentConfig) -> Iterator[str]:
    """Give notes for a person on a configuration with which the daemon runs all the same."""
    for uid, handle in config.people.items():
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            yield f"people.{uid}: {handle} has no user on this machine"
            continue
        if uid == 0 or config.socket_group is None:
            continue
        if not _is_member(entry, config.socket_group):
            yield (
                f"people.{uid}: {handle} ({entry.pw_name}) is not a member of {config.socket_group}: "
                f"usermod --append --groups {config.socket_group} {entry.pw_name}, and a new login"
            )
    if config.billing.file is not None and not config.billing.file.exists():
        yield f"billing.file: there is no {config.billing.file} yet: suspensions for debt are blocked until it is there"


def _is_member(entry: pwd.struct_passwd, group: str) -> bool:
    try:
        found = grp.getgrnam(group)
    except KeyError:
        return False
    return entry.pw_gid == found.gr_gid or entry.pw_name in found.gr_mem
