"""`[backup]`: the recipients that backups are sealed to, where they go, and how many are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.config_reader import ConfigReader
from agent.config_schema import PATH_OR_EMPTY, YES_NO, Key, Kind, whole

RECIPIENTS_MAX: Final = 16
_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}", re.ASCII)


def _recipients(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > RECIPIENTS_MAX:
        raise ValueError
    if not all(isinstance(text, str) and _RECIPIENT.fullmatch(text) for text in value):
        raise ValueError
    return tuple(value)


KEYS: Final[tuple[Key, ...]] = (
    Key(
        "backup",
        "recipients",
        # Not shown: somebody may have written the secret half here
        Kind("a list of at most 16 public keys of age-keygen, age1…", _recipients, shown=False),
        [],
        "To whom backups are sealed; empty: no backups are made by themselves.",
    ),
    Key("backup", "to", PATH_OR_EMPTY, "", "The folder for the data of backups."),
    Key(
        "backup",
        "keys_to",
        PATH_OR_EMPTY,
        "",
        "The folder for their keys, best on another machine's disk.",
        "that of the data",
    ),
    Key("backup", "keep", whole(1, 1000), 14, "How many backups are kept in the folder; the oldest go."),
    Key(
        "backup",
        "keys_days",
        whole(1, 30),
        30,
        "How long keys are kept, days: so long the data of somebody who was erased can be opened. The newest stay.",
    ),
    Key(
        "backup",
        "max_age_h",
        whole(0, 8760),
        48,
        "How old the newest backup may be before `status` and `doctor` warn, hours; 0: they never do.",
    ),
    Key("backup", "series", YES_NO, False, "Whether `series.db`, which holds plots alone, is backed up too."),
)


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """`[backup]`. `to` and `keys_to` None: the command names the files."""

    recipients: tuple[str, ...]
    to: Path | None
    keys_to: Path | None
    keep: int
    keys_days: int
    max_age_h: int
    series: bool


def backup_of(reader: ConfigReader, values: Mapping[str, Any]) -> BackupConfig:
    """Return the section as it was read; `keys_to` without `to` is a problem."""
    to = reader.path_of(values["to"]) if values["to"] else None
    keys_to = reader.path_of(values["keys_to"]) if values["keys_to"] else to
    if to is None and keys_to is not None:
        reader.problem("backup.to", "missing; expected a folder for the data, since keys_to names one for the keys")
    return BackupConfig(**{**values, "to": to, "keys_to": keys_to})
