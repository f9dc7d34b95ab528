"""Where the local API's socket is, without the rest of the configuration: a command needs nothing else of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of a configuration file."""
CONFIG: Final = Path("/etc/ispagent/agent.toml")
"""The configuration file where none is named."""
STATE_DIR: Final = Path("/var/lib/ispagent")
SOCKET: Final = Path("/run/ispagent/agent.sock")
"""Outside the state directory: that is for the daemon's user alone, and people have to reach the socket."""


def socket_of(folder: Path, socket: str, state_dir: Path) -> Path:
    """Return the socket's path.

    Args:
        folder: the configuration file's, absolute.
        socket: as configured, perhaps relative to the folder; "": the usual one.
        state_dir: absolute.
    """
    if socket:
        return folder / socket
    return SOCKET if state_dir == STATE_DIR else state_dir / "agent.sock"


def find_socket(config: Path) -> Path | None:
    """Return the socket that a configuration file names; None: read the file as a whole, which tells the fault."""
    try:
        with config.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        agent = tomllib.loads(data.decode("utf-8")).get("agent") if len(data) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(agent, dict):
        return None
    socket, state_dir = agent.get("socket", ""), agent.get("state_dir", str(STATE_DIR))
    if not all(isinstance(text, str) and text.isprintable() for text in (socket, state_dir)) or not state_dir:
        return None
    folder = config.absolute().parent
    return socket_of(folder, socket, folder / state_dir)
