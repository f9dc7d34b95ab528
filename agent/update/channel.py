"""update.toml: which repository and which channel updates come from, and by which root keys. Nothing is guessed.

It is a file of its own: the user that fetches updates reads it, and must not read the agent's configuration.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.config_reader import ConfigReader
from agent.config_schema import PATH, REQUIRED, Key, Kind, text
from agent.update.errors import ChannelConfigError

FILE: Final = Path("/etc/ispagent/update.toml")
BYTES_MOST: Final = 64 << 10
CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_WEB: Final = re.compile(r"https?://[A-Za-z0-9\[][A-Za-z0-9._:\[\]/~-]{0,500}", re.ASCII)


def _source(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return text(longest=4096)(value)
    return text(_WEB, 512)(value)


_SOURCE: Final = Kind("a web address (https://…) or the path of a folder (/…)", _source)

KEYS: Final[tuple[Key, ...]] = (
    Key(
        "update", "source", _SOURCE, REQUIRED, "The repository: a web address, or a folder such as a mounted USB stick."
    ),
    Key(
        "update",
        "channel",
        Kind("a channel's name: 1 to 32 of a-z, 0-9 and -", text(CHANNEL)),
        REQUIRED,
        "The channel of the repository, such as `stable`.",
    ),
    Key(
        "update",
        "root",
        PATH,
        "update-root.json",
        "The first root document that this machine trusts, as the signers handed it over; later ones are proven by it.",
    ),
    Key(
        "update",
        "folder",
        PATH,
        "/var/lib/ispagent-update",
        "Where updates are fetched to; only the user that fetches can write there.",
    ),
    Key(
        "update",
        "applied",
        PATH,
        "/var/lib/ispagent-update-applied",
        "Where root verifies them once more, and keeps the packages that it installed; only root can write there.",
    ),
)


@dataclass(frozen=True, slots=True)
class UpdateChannel:
    """Where updates come from. `source`: a web address, or the absolute path of a folder; `file`: its origin."""

    source: str
    name: str
    root: Path
    folder: Path
    applied: Path
    file: Path


def load_channel(path: Path = FILE) -> UpdateChannel:
    """Return the channel that a file names.

    Raises:
        ChannelConfigError: it is missing, no TOML, or a key of it is wrong; all that is wrong is told at once.
    """
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MOST + 1)
    except OSError as err:
        raise ChannelConfigError(
            f"{path}: cannot be read: {err.strerror}; it names the repository of updates (docs/install.md)"
        ) from err
    if len(data) > BYTES_MOST:
        raise ChannelConfigError(f"{path}: expected at most {BYTES_MOST} bytes, got more")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as err:
        raise ChannelConfigError(f"{path}: expected TOML in UTF-8: {err}") from err
    reader = ConfigReader(path.absolute(), document, KEYS)
    reader.unknown("", document, ("update",))
    values = reader.section("update", "update", reader.top("update"))
    if reader.problems:
        raise ChannelConfigError("\n".join(reader.problems))
    return UpdateChannel(
        values["source"],
        values["channel"],
        reader.path_of(values["root"]),
        reader.path_of(values["folder"]),
        reader.path_of(values["applied"]),
        path,
    )
