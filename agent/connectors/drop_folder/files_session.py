"""Files of a folder: whether they are whole, their writers, and their content. Blocking, for threads.

* A file counts under its last name only, or when its manifest agrees; a name that begins with a dot never does.
* It counts when its owner is root, the agent's user or the configured one, and nobody else can write it or replace it.
* It is the file that was looked at that is read, whatever takes its name meanwhile, and it must not change under us.

Nothing is written, renamed or deleted here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import BillingState, SourceError
from agent.connectors.drop_folder.configuration import FolderSource, WholeBy

_CSV: Final = ".csv"
_MANIFEST: Final = ".manifest"
_FILES_MOST: Final = 10_000
"""In a folder. More of them take longer to list than a reading should."""
_MANIFEST_BYTES: Final = 4096
_LINE: Final = re.compile(r"(sha256|rows)\s*[=:]\s*([0-9A-Fa-f]{64}|[0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A complete CSV file. `changed_s`: when it, or its name, changed last, unix seconds."""

    name: str
    changed_s: float
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class FolderFiles:
    """The CSV files of one source: those that are whole, and that a permitted user wrote."""

    def __init__(self, source: FolderSource) -> None:
        """Take the source; nothing is opened."""
        self._source, self._id = source, source.terms.target

    def last(self, beginning: str) -> CsvTable:
        """Return the last file, by name, that is whole.

        Raises:
            SourceError: there is none, or it may not count.
        """
        for name in reversed(self._names(beginning)):
            if (table := self._table(name)) is not None:
                return table
        text = f"{self._id}: expected a whole file {beginning}*{_CSV} in the folder, got none"
        raise SourceError(text, state=BillingState.UNREACHABLE)

    def since(self, beginning: str, since_s: float) -> list[CsvTable]:
        """Return the whole files that were written or renamed since a moment, by name.

        Raises:
            SourceError: one of them may not count.
        """
        found = []
        for name in self._names(beginning):
            if self._changed_s(name) >= since_s and (table := self._table(name)) is not None:
                found.append(table)
        return found

    def _names(self, beginning: str) -> list[str]:
        folder = self._source.folder
        try:
            info = folder.stat()
            names = os.listdir(folder)
        except OSError as err:
            raise self._unreadable("the folder", err) from err
        self._check_writer("the folder", info)
        if len(names) > _FILES_MOST:
            text = f"{self._id}: expected at most {_FILES_MOST} files in the folder, got {len(names)}"
            raise SourceError(text, state=BillingState.UNREACHABLE)
        return sorted(name for name in names if name.startswith(beginning) and name.endswith(_CSV))

    def _changed_s(self, name: str) -> float:
        try:
            info = (self._source.folder / name).stat()
        except OSError as err:
            raise self._unreadable("a file", err) from err
        return max(info.st_mtime, info.st_ctime)  # a rename changes the latter alone

    def _table(self, name: str) -> CsvTable | None:
        """Return a file; None: it is not whole yet."""
        data, info = self._read(name, self._source.file_bytes)
        columns, rows = self._parsed(name, data)
        if self._source.whole_by is WholeBy.MANIFEST and not self._is_named(name, data, len(rows)):
            return None
        return CsvTable(name, max(info.st_mtime, info.st_ctime), columns, rows)

    def _is_named(self, name: str, data: bytes, rows: int) -> bool:
        """Return whether a file's manifest is there and agrees with it."""
        try:
            manifest, _ = self._read(name + _MANIFEST, _MANIFEST_BYTES)
        except FileNotFoundError:
            return False
        told = dict(_LINE.findall(manifest.decode("ascii", "replace")))
        return told.get("sha256", "").lower() == hashlib.sha256(data).hexdigest() and told.get("rows") == str(rows)

    def _read(self, name: str, most: int) -> tuple[bytes, os.stat_result]:
        """Return a file's bytes, and how it is.

        Raises:
            FileNotFoundError: it is not there (a manifest).
            SourceError: it cannot be read, may not count, is too large, or changed meanwhile.
        """
        try:
            with open(self._source.folder / name, "rb", opener=_no_link) as file:
                info = os.fstat(file.fileno())
                self._check_writer("a file", info)
                data = file.read(most + 1)
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            if name.endswith(_MANIFEST):
                raise
            raise self._not_whole("a file went away while it was read") from None
        except OSError as err:
            raise self._unreadable("a file", err) from err
        if len(data) > most:
            text = f"{self._id}: expected a file of at most {most} bytes, got a larger one"
            raise SourceError(text, state=BillingState.UNREACHABLE)
        if (info.st_mtime_ns, info.st_size) != (after.st_mtime_ns, after.st_size) or len(data) != info.st_size:
            raise self._not_whole("a file changed while it was read: expected it to be renamed when it is whole")
        return data, info

    def _check_writer(self, what: str, info: os.stat_result) -> None:
        """Return unless a writer without evidence can write a file, or put another one in its place.

        Raises:
            SourceError: somebody can.
        """
        mode = stat.S_IMODE(info.st_mode)
        why = ""
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            why = "expected a file, got a device or a pipe"
        elif mode & (stat.S_IWGRP | stat.S_IWOTH):
            why = f"expected that only its owner can write it, got mode {mode:04o}"
        elif info.st_uid not in {0, os.geteuid(), self._source.owner}:
            why = f"expected root, the agent or `owner` to own it, got uid {info.st_uid}"
        if why:
            raise SourceError(f"{self._id}: {what} is no evidence: {why}", state=BillingState.REFUSED)

    def _parsed(self, name: str, data: bytes) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
        """Return columns and rows; lines that are empty are none."""
        try:
            lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
            rows = [tuple(row) for row in lines if row]
        except (UnicodeDecodeError, csv.Error) as err:
            text = f"{self._id}: {_told(name)}: expected CSV in UTF-8, got something else"
            raise SourceError(text, state=BillingState.UNREACHABLE) from err
        if not rows:
            text = f"{self._id}: {_told(name)}: expected a line of column names, got nothing"
            raise SourceError(text, state=BillingState.UNREACHABLE)
        return rows[0], rows[1:]

    def _unreadable(self, what: str, err: OSError) -> SourceError:
        refused = isinstance(err, PermissionError)
        state = BillingState.REFUSED if refused else BillingState.UNREACHABLE
        return SourceError(f"{self._id}: {what} cannot be read: {err.strerror or type(err).__name__}", state=state)

    def _not_whole(self, why: str) -> SourceError:
        return SourceError(f"{self._id}: {why}", state=BillingState.PARTIAL)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _told(name: str) -> str:
    """Return a file's name as a message may show it."""
    return ascii(name[:80])
