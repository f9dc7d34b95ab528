"""`[drop-folder.NAME]`: a folder into which a billing system puts CSV files."""

from __future__ import annotations

import enum
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.billing_model.terms import SourceTerms, source_keys, terms_of
from agent.config_reader import ConfigReader
from agent.config_schema import PATH, REQUIRED, Key, Kind, choice, or_empty, text, whole

NAME: Final = "drop-folder"
_SECTION: Final = f"{NAME}.NAME"
_BEGINNING: Final = Kind(
    "the beginning of a file's name: 1 to 64 of letters, digits, . _ and -",
    text(re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)),
)
_USER: Final = Kind("a local user, or empty", or_empty(text(re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII))))


class WholeBy(enum.Enum):
    """How a file shows that it is whole."""

    RENAME = "rename"
    """It got its name, which ends in .csv, after it was written."""
    MANIFEST = "manifest"
    """NAME.csv.manifest has its SHA-256 and its number of rows."""


KEYS: Final = (
    Key(_SECTION, "folder", PATH, REQUIRED, "The folder. Nobody else may write in it (mode, owner)."),
    Key(_SECTION, "whole_by", choice(WholeBy), "rename", "How a file shows that it is whole: `rename` or `manifest`."),
    Key(
        _SECTION,
        "owner",
        _USER,
        "",
        "The local user whose files count beside root's and the agent's own, such as that of SFTP; none of `[people]`.",
    ),
    Key(_SECTION, "accounts", _BEGINNING, "accounts", "How names of files with accounts begin; the last one counts."),
    Key(_SECTION, "payments", _BEGINNING, "payments", "How names of files with payments begin; all of them count."),
    Key(_SECTION, "file_mib", whole(1, 1024), 16, "The largest file that is read, MiB."),
    *(
        key
        for key in source_keys(_SECTION, secret="", accounts=True, payments=True)
        if key.name != "secret"  # a folder has none
    ),
)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """One folder. `owner`: uid with files that count beside root's and our own; None: none."""

    terms: SourceTerms
    folder: Path
    whole_by: WholeBy
    owner: int | None
    accounts: str
    payments: str
    file_bytes: int


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """Everything that the connector is configured with."""

    sources: tuple[FolderSource, ...]


def parse(reader: ConfigReader) -> FolderConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""
    return FolderConfig(tuple(one for name, table in reader.named(NAME) if (one := _source(reader, name, table))))


def sources(config: FolderConfig) -> tuple[SourceTerms, ...]:
    """Return the settings of every source."""
    return tuple(source.terms for source in config.sources)


def _source(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> FolderSource | None:
    where, before = f"{NAME}.{name}", len(reader.problems)
    values = reader.section(_SECTION, where, table)
    owner = _uid(reader, f"{where}.owner", values.get("owner", ""))
    if not reader.problems[before:] and values["accounts"].startswith(values["payments"]):
        reader.problem(f"{where}.payments", "expected another beginning than that of `accounts`")
    if not reader.problems[before:] and values["payments"].startswith(values["accounts"]):
        reader.problem(f"{where}.accounts", "expected another beginning than that of `payments`")
    if len(reader.problems) > before:
        return None
    terms = terms_of(f"{NAME}/{name}", {"secret": "", **values})
    return FolderSource(
        terms,
        reader.path_of(values["folder"]),
        values["whole_by"],
        owner,
        values["accounts"],
        values["payments"],
        values["file_mib"] << 20,
    )


def _uid(reader: ConfigReader, where: str, user: str) -> int | None:
    """Return a user's uid; None: no user is named, or there is a problem with it."""
    if not user:
        return None
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        reader.problem(where, f"expected a local user, there is no {user} on this machine")
        return None
    if str(uid) in reader.top("people"):
        reader.problem(where, f"expected a user who may not ask for changes, {user} stands in [people]")
        return None
    return uid
