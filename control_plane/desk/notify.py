"""`watch --exec`: a command of the person's own for each event, bounded, with nothing but enums and ids in hand."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from control_plane.errors import InputError

RUN_S: Final = 30
"""How long the command may take, and then it is killed. Chosen arbitrarily."""

_KEPT: Final = (
    "PATH",
    "HOME",
    "LANG",
    "USER",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event: `change`, `alarm` or `no-receipt`; a change's short id or a statement's digest; a state and a class."""

    event: str
    id: str
    state: str
    risk_class: str


def command(text: str) -> tuple[str, ...]:
    """Return a command's words; no shell reads them.

    Raises:
        InputError: no words, or quotes that do not end.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as err:
        raise InputError(f"expected a command after --exec, got one with unbalanced quotes: {err}") from err
    if not words:
        raise InputError("expected a command after --exec, got none")
    return words


def run(words: tuple[str, ...], event: FeedEvent, environment: Mapping[str, str]) -> str | None:
    """Run the command for an event, and return its error, if any.

    Args:
        words: of `command`.
        event: it finds this as ISPCLOUD_EVENT, ISPCLOUD_ID, ISPCLOUD_STATE and ISPCLOUD_CLASS.
        environment: of this process; passphrases and key files in it are not handed on.
    """
    given = {name: environment[name] for name in _KEPT if name in environment}
    given |= {
        "ISPCLOUD_EVENT": event.event,
        "ISPCLOUD_ID": event.id,
        "ISPCLOUD_STATE": event.state,
        "ISPCLOUD_CLASS": event.risk_class,
    }
    try:
        done = subprocess.run(
            words, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"--exec: expected it to end within {RUN_S} s, it was killed"
    except OSError as err:
        return f"--exec: {words[0]} cannot be run: {err.strerror}"
    return None if done.returncode == 0 else f"--exec: expected exit code 0, got {done.returncode}"
