"""Reads an operator's folder of CPE profiles: part of loading the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.cpe_model.profile_files import ProfileEntry, read_own

_FILES: Final = 500
_FILE_BYTES: Final = 256 * 1024
"""Chosen arbitrarily, far above the needs of a profile."""


def read_folder(folder: Path) -> tuple[tuple[ProfileEntry, ...], tuple[str, ...]]:
    """Return the profiles of a folder's `*.toml`, and its faults, a sentence each."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except OSError as err:
        return (), (f"expected a folder of profiles, got {folder}: {err.strerror or err}",)
    if len(files) > _FILES:
        return (), (f"expected at most {_FILES} files in {folder}, got {len(files)}",)
    for path in files:
        try:
            texts[path.stem] = read_file(path)
        except ValueError as err:
            problems.append(str(err))
    entries, wrong = read_own(texts)
    return entries, (*problems, *wrong)


def read_file(path: Path) -> str:
    """Return the text of a profile file.

    Raises:
        ValueError: it cannot be read, is too large, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except OSError as err:
        raise ValueError(f"profile {path.name}: expected a file that can be read: {err.strerror or err}") from err
    if len(content) > _FILE_BYTES:
        raise ValueError(f"profile {path.name}: expected at most {_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise ValueError(f"profile {path.name}: expected UTF-8, got another byte at {err.start}") from err
