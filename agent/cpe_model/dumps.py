"""Parameters of a CPE as a file has them: `cpe get --json`, an export of GenieACS, a model of genieacs-sim. Pure.

    [{"path": …, "value": …, "type": …}, …]                 `ispagent cpe get NAME --json`
    {"Device.DeviceInfo.SoftwareVersion": "1.0", …}         path -> text
    {"Device": {"DeviceInfo": {"X": {"_value": "1"}}}}      a device of GenieACS
    Parameter,Object,Writable,Value,Value type              a data model of genieacs-sim, as CSV

* CpeModelError
  x BadDumpError: a text that is none of these
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Final

from agent.cpe_model.errors import CpeModelError
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.sensitivity import Sensitivity, classify

_COLUMNS: Final = ("Parameter", "Value")
_EXPECTED: Final = "what `cpe get --json` prints, path -> text, a device of GenieACS, or genieacs-sim's CSV"
_DEEP: Final = 40
"""How deep an export of GenieACS may be nested; data models have a dozen levels."""


class BadDumpError(CpeModelError):
    """A text that is no dump of parameters."""


def read_dump(text: str) -> dict[str, CachedParameter]:
    """Return the parameters of a dump by their full names; values of secrets are left out.

    Raises:
        BadDumpError: it is none, or it has no parameters.
    """
    text = text.removeprefix("\ufeff")  # spreadsheets, and editors of Windows, write a byte order mark before all
    found = dict(_json(text) if text.lstrip()[:1] in ("{", "[") else _csv(text))
    if not found:
        raise BadDumpError(f"expected {_EXPECTED}; got a file without parameters")
    return found


def _json(text: str) -> Iterator[tuple[str, CachedParameter]]:
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadDumpError(f"expected {_EXPECTED}; got {err}") from err
    if isinstance(document, list):
        for at, row in enumerate(document):
            if not isinstance(row, dict) or not isinstance(path := row.get("path"), str):
                raise BadDumpError(f"entry {at + 1}: expected an object with a path")
            if not row.get("before_reset"):
                yield path, _parameter(path, row.get("value"), row.get("type"), row.get("writable"))
    elif isinstance(document, dict):
        yield from _nested(document, "", 0)


def _nested(table: Mapping[str, object], above: str, depth: int) -> Iterator[tuple[str, CachedParameter]]:
    if depth > _DEEP:
        raise BadDumpError(f"expected at most {_DEEP} objects inside each other")
    for name, value in table.items():
        path = f"{above}{name}"
        if name.startswith("_"):
            continue
        if not isinstance(value, dict):
            yield path, _parameter(path, value, None, None)
        elif "_value" in value:
            yield path, _parameter(path, value["_value"], value.get("_type"), value.get("_writable"))
        else:
            yield from _nested(value, f"{path}.", depth + 1)


def _csv(text: str) -> Iterator[tuple[str, CachedParameter]]:
    # Not `splitlines`: it splits at U+0085 and U+2028 too, and takes the line ends out of a value in quotes
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        lacks = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
        if lacks:
            raise BadDumpError(f"expected {_EXPECTED}; got a first line without the column {lacks[0]}")
        for row in rows:
            path = row["Parameter"] or ""
            if path and row.get("Object", "false") != "true" and not path.endswith("."):
                writable = {"true": True, "false": False}.get(row.get("Writable") or "")
                yield path, _parameter(path, row["Value"], row.get("Value type"), writable)
    except csv.Error as err:
        raise BadDumpError(f"line {rows.line_num + 1}: expected CSV: {err}") from err


def _parameter(path: str, value: object, kind: object, writable: object) -> CachedParameter:
    text: str | None = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    if classify(path) is Sensitivity.SECRET:
        text = None
    word = kind.removeprefix("xsd:") if isinstance(kind, str) and kind else "string"
    return CachedParameter(text, word, 0, writable if isinstance(writable, bool) else None)
