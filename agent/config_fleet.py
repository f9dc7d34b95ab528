"""One section of the configuration for many devices: a section is repeated for each line of a fleet's file. Pure.

`[fleet.NAME]` names a CSV file: a header, then a line for each device. A section `[SECTION."…{COLUMN}…"]` with
`each = "NAME"` stands for one section a line; `{COLUMN}` in its name and in its texts is that line's cell. The sections
that come of it are read as if somebody had written them: the connectors do not know of fleets.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.config_reader import ConfigReader, safe_name, shown
from agent.config_schema import HANDLE

EACH: Final = "each"
SECTION: Final = "fleet"
LINES_MAX: Final = 5000
"""Devices of one fleet; chosen arbitrarily."""
BYTES_MAX: Final = 4 * 1024 * 1024
_PLACE: Final = re.compile(r"\{([a-z_]{1,32})\}", re.ASCII)
_COLUMN: Final = re.compile(r"[a-z_]{1,32}", re.ASCII)

_PROBLEM: Final = re.compile(r" ([a-z_]+\.[a-z0-9-]+)[.:]", re.ASCII)
"""The section that a problem is about, behind the file's path."""

ReadFile = Callable[[Path], bytes]
"""Reads a file; raises OSError."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The devices of one file: each line's cells by column, and the lines' numbers in the file."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A document with a section for each device.

    `files`: the contents of the fleets' files, in order. `made`: the template of each section that was made,
    `routeros.edge-7` -> `routeros.{name}`.
    """

    document: Mapping[str, Any]
    files: tuple[bytes, ...]
    made: Mapping[str, str]


class MalformedFleetError(Exception):
    """The file does not list devices. The text names the line, the expected value and the given one."""


def parse_fleet_untrusted(data: bytes, file: Path) -> Fleet:
    """Return the devices of a fleet's file: CSV in UTF-8 with a header; the column `name` is required.

    Raises:
        MalformedFleetError: it is none.
    """
    if len(data) > BYTES_MAX:
        raise MalformedFleetError(f"{file}: expected at most {BYTES_MAX} bytes, got {len(data)}")
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        return _fleet(lines, file)
    except (UnicodeDecodeError, csv.Error) as err:
        raise MalformedFleetError(f"{file}: expected CSV in UTF-8: {err}") from err


def _fleet(lines: Iterator[list[str]], file: Path) -> Fleet:
    columns = tuple(cell.strip() for cell in next(lines, []))
    wrong = [c for c in columns if not _COLUMN.fullmatch(c)]
    if wrong or "name" not in columns or len(set(columns)) < len(columns):
        got = f"got {shown(','.join(columns))}"
        raise MalformedFleetError(f"{file} line 1: expected a header of different columns (a-z, _) with `name`, {got}")
    rows: list[Mapping[str, str]] = []
    numbers: list[int] = []
    names: dict[str, int] = {}
    for number, cells in enumerate(lines, 2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{file} line {number}"
        if len(cells) != len(columns):
            raise MalformedFleetError(f"{where}: expected {len(columns)} cells as in the header, got {len(cells)}")
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        name = row["name"]
        if not HANDLE.fullmatch(name):
            raise MalformedFleetError(f"{where}: expected a name of 1 to 32 of a-z, 0-9 and -, got {shown(name)}")
        if name in names:
            raise MalformedFleetError(f"{where}: expected each name once, {name} stands in line {names[name]} too")
        if len(rows) == LINES_MAX:
            raise MalformedFleetError(f"{where}: expected at most {LINES_MAX} devices")
        names[name] = number
        rows.append(row)
        numbers.append(number)
    return Fleet(file, columns, tuple(rows), tuple(numbers))


def expanded(reader: ConfigReader, read: ReadFile) -> Expanded:
    """Return the document with a section for each device. Problems go to the reader."""
    fleets: dict[str, Fleet] = {}
    contents: list[bytes] = []
    for name, table in reader.named(SECTION):
        where = f"{SECTION}.{name}"
        values = reader.section(f"{SECTION}.NAME", where, table)
        if "file" not in values:
            continue
        file = reader.path_of(values["file"])
        try:
            contents.append(read(file))
            fleets[name] = parse_fleet_untrusted(contents[-1], file)
        except OSError as err:
            reader.problem(f"{where}.file", f"cannot be read: {file}: {err.strerror or err}")
        except MalformedFleetError as err:
            reader.problems.append(str(err))
    expansion = _Expansion(reader, fleets)
    return Expanded(expansion.document(), tuple(contents), expansion.made)


def told_once(reader: ConfigReader, fleets: Expanded) -> tuple[str, ...]:
    """Return the problems; one that many sections of one template have is told once, with their number."""
    first: dict[str, str] = {}
    count: Counter[str] = Counter()
    for problem in reader.problems:
        found = _PROBLEM.match(problem, len(str(reader.path)))
        template = fleets.made.get(found[1]) if found else None
        alike = problem if found is None or template is None else problem.replace(found[1], template)
        first.setdefault(alike, problem)
        count[alike] += 1
    return tuple(
        f"{text} (and {n - 1} more like it)" if (n := count[alike]) > 1 else text for alike, text in first.items()
    )


class _Expansion:
    """One reading of the sections of one document."""

    def __init__(self, reader: ConfigReader, fleets: Mapping[str, Fleet]) -> None:
        self._reader, self._fleets = reader, fleets
        self.made: dict[str, str] = {}

    def document(self) -> Mapping[str, Any]:
        """Return the document without fleets and templates, with the sections made of them."""
        found: dict[str, Any] = {}
        for section, value in self._reader.document.items():
            if section != SECTION:
                found[section] = self._tables(section, value) if isinstance(value, dict) else value
        return found

    def _tables(self, section: str, tables: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, table in tables.items():
            if isinstance(table, dict) and EACH in table:
                found |= self._repeated(section, name, table, {**tables, **found})
            else:
                found[name] = table
        return found

    def _repeated(
        self, section: str, name: str, table: Mapping[str, Any], taken: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        where, fleet = f"{section}.{safe_name(name)}", self._fleets.get(str(table[EACH]))
        if fleet is None:
            known = ", ".join(self._reader.declared(SECTION)) or f"none, there is no [{SECTION}.NAME]"
            if table[EACH] not in self._reader.declared(SECTION):
                self._reader.problem(f"{where}.{EACH}", f"expected one of {known}, got {shown(table[EACH])}")
            return {}
        body = {key: value for key, value in table.items() if key != EACH}
        lacking = sorted({c for text in _texts([name, body]) for c in _PLACE.findall(text)} - set(fleet.columns))
        if lacking or not _PLACE.search(name):
            said = f"{fleet.file} has no column {lacking[0]}" if lacking else "expected {name} in the section's name"
            self._reader.problem(where, f"{said}; its columns are {', '.join(fleet.columns)}")
            return {}
        kinds = self._reader.keys_of(f"{section}.NAME")
        found: dict[str, dict[str, Any]] = {}
        for row, number in zip(fleet.rows, fleet.numbers, strict=True):
            made = _filled(name, row)
            if made in taken or made in found:
                self._reader.problem(where, f"{fleet.file} line {number} makes a second [{section}.{safe_name(made)}]")
                return {}
            self.made[f"{section}.{made}"] = f"{section}.{name}"
            found[made] = {
                key: _typed(_filled(value, row), kinds[key].kind.read if key in kinds else None)
                for key, value in body.items()
            }
        return found


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, Iterable):
        for one in value:
            yield from _texts(one)


def _filled(value: Any, row: Mapping[str, str]) -> Any:
    """Return a value with the line's cells in place of `{COLUMN}`."""
    if isinstance(value, str):
        return _PLACE.sub(lambda found: row[found[1]], value)
    if isinstance(value, dict):
        return {_filled(key, row): _filled(inner, row) for key, inner in value.items()}
    return [_filled(inner, row) for inner in value] if isinstance(value, list) else value


def _typed(value: Any, read: Callable[[Any], Any] | None) -> Any:
    """Return a cell as the number that its key expects; every other value as it is."""
    if read is None or not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        return value
    try:
        read(value)
    except (ValueError, TypeError):
        return int(value)
    return value
