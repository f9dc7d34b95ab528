"""The requirements of the daemon on its machine: its directories, its user, the socket's group.

The configuration file alone cannot say it. `ispagent run`, `init` and `config check` ask, so a mistake is named with
the command that mends it before anything is made.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from agent.config import AgentConfig


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


def problems(config: AgentConfig, uid: int) -> Iterator[str]:
    """Give each reason why the daemon cannot run here as a user, each with its remedy.

    Args:
        config: its configuration.
        uid: the user that it is to run as.
    """
    if problem := owner_problem(config.state_dir, uid):
        yield problem
    if config.mark_file is not None:
        yield from _mark_problems(config.mark_file.parent, uid)
    if config.socket_group is not None:
        yield from _group_problems(config.socket_group, uid)
    folder = config.socket.parent
    if folder != config.state_dir and not folder.is_dir():
        name = user_name(uid)
        yield (
            f"agent.socket: expected the directory {folder}, got none: install -d -o {name} -m 0755 {folder} "
            f"(below /run: RuntimeDirectory={folder.name} in the unit)"
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
