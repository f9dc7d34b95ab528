"""The operator's own file of lines, read when it changes: CSV with the columns `service`, `device` and `part`.

A part is written by its key (`port/ge-0-0-7`), by the device's own name of it (`ge-0/0/7`), by its serial number, or by
a MAC address that is registered or learned there. With a MAC address the device may be empty: the subscriber's CPE is
known, and its part is found by it, wherever it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.spelling import mac_digits

COLUMNS: Final = ("service", "device", "part")
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_ROWS: Final = 500_000
PROBLEMS_MAX: Final = 20
"""So many mistakes are named; more are counted."""


@dataclass(frozen=True, slots=True)
class MappedPart:
    """Where a service is, by the file. `device` "": `part` is a MAC address, on any device. `line`: of the file."""

    device: str
    part: str
    line: int


@dataclass(frozen=True, slots=True)
class LineMap:
    """A file as it was read. A service may stand in it several times: then its line is not told by it alone."""

    parts: Mapping[str, tuple[MappedPart, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


NO_MAP: Final = LineMap()


def read_map_untrusted(data: bytes, name: str) -> LineMap:
    """Return the mapping that a file holds; a line with a mistake is left out and named.

    Args:
        data: the file's bytes.
        name: of the file, for messages.
    """
    if len(data) > MAX_BYTES:
        return LineMap(problems=(f"{name}: expected at most {MAX_BYTES} bytes, got {len(data)}",))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        return LineMap(problems=(f"{name}: expected UTF-8, got byte 0x{data[err.start]:02x} at {err.start}",))
    rows = csv.reader(io.StringIO(text, newline=""))
    found: dict[str, dict[tuple[str, str], MappedPart]] = {}
    problems: list[str] = []
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if any(header.count(column) != 1 for column in COLUMNS):
            return LineMap(problems=(f"{name}: line 1: expected the columns {', '.join(COLUMNS)}, got {header[:6]}",))
        at = [header.index(column) for column in COLUMNS]
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if rows.line_num > MAX_ROWS:
                problems.append(f"{name}: expected at most {MAX_ROWS} lines; the rest was not read")
                break
            service, device, part = (row[n].strip() if n < len(row) else "" for n in at)
            if not (service and part and (device or mac_digits(part))):
                problems.append(f"{name}: line {rows.line_num}: expected service, device and part, one is empty")
                continue
            found.setdefault(service, {}).setdefault((device, part), MappedPart(device, part, rows.line_num))
    except csv.Error as err:
        problems.append(f"{name}: line {rows.line_num}: expected CSV: {err}; the rest was not read")
    if len(problems) > PROBLEMS_MAX:
        problems = [*problems[:PROBLEMS_MAX], f"{name}: and {len(problems) - PROBLEMS_MAX} more lines with mistakes"]
    return LineMap({service: tuple(parts.values()) for service, parts in found.items()}, tuple(problems))


class MappingFile:
    """The file on disk."""

    def __init__(self, path: Path | None) -> None:
        """Take its path; None: there is none. Nothing is read yet."""
        self._path = path
        self._read: tuple[int, int, int] | None = None
        self._map = NO_MAP

    def current(self) -> LineMap:
        """Return the mapping as the file holds it now. A file that cannot be read leaves the last one standing."""
        if self._path is None:
            return NO_MAP
        try:
            stat = self._path.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state != self._read:
                with self._path.open("rb") as file:
                    self._map = read_map_untrusted(file.read(MAX_BYTES + 1), self._path.name)
                self._read = state
        except OSError as err:
            why = f"{self._path.name}: cannot be read: {err.strerror}: what was read of it before counts"
            return LineMap(self._map.parts, (why,))
        return self._map
