"""How the two command lines write to people and to programs: colors, width, lists, errors as JSON. Pure.

Whether there is a terminal, and the environment, are parameters.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

NO_WRAP: Final = 0
"""The width of a pipe: a line of a preview stays one line, so that programs can read it."""
_COLUMNS: Final = (60, 120)
_BOLD_RED: Final = "\x1b[1;31m"
_END: Final = "\x1b[0m"
_ALARMING: Final = re.compile(
    r"\b(?:(?:SOME )?CANNOT (?:BE )?ENFORCED?|NOT APPLIED|SET, NOT ENFORCED|NEEDS? A PERSON|NEEDS? YOU|DIVERGED|UNKNOWN"
    r"|REFUSED|HALTED|FROZEN|DEGRADED|DOWN|BILLING|NOT CONNECTED|NOT VERIFIED|NONE INSTALLED)\b"
)
"""Words in capitals by which a line says that somebody has to look."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where text goes. `width`: columns for previews, `NO_WRAP` where nobody reads it on a screen."""

    is_screen: bool
    color: bool
    width: int

    def emphasize(self, text: str) -> str:
        """Return text in which CANNOT ENFORCE, NOT APPLIED and the like stand out, where colors are shown."""
        return _ALARMING.sub(f"{_BOLD_RED}\\g<0>{_END}", text) if self.color else text


def terminal(*, is_screen: bool, environment: Mapping[str, str], columns: int) -> Terminal:
    """Return how to write.

    Args:
        is_screen: whether a terminal is there.
        environment: NO_COLOR (https://no-color.org: set, and not empty) and TERM=dumb turn colors off.
        columns: of the terminal.
    """
    color = is_screen and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    least, most = _COLUMNS
    return Terminal(is_screen, color, max(least, min(most, columns)) if is_screen else NO_WRAP)


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON: by `--json`, or `-o json` in any of its spellings."""
    return any(_outputs(arguments))


def _outputs(arguments: Sequence[str]) -> Iterator[bool]:
    before = ""
    for argument in arguments:
        if argument == "--":
            return
        yield argument in ("--json", "-ojson", "--output=json") or (argument == "json" and before in ("-o", "--output"))
        before = argument


_UNSAFE: Final = re.compile(
    "[\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Left as they are by `json.dumps`: controls above ASCII, line ends, and what hides or reorders text."""


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON that is safe on a terminal: readers get the same value, no character acts there."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def error_json(code: str, message: str, exit_code: int) -> str:
    """Return an error for programs, in one line: `{"error": {"code": …, "message": …, "exit": …}}`."""
    return json_text({"error": {"code": code, "message": message, "exit": exit_code}})


CODES: Final[Mapping[int, str]] = {1: "failed", 2: "usage", 3: "refused", 4: "mixed"}
"""The code of an error that has no reason code of its own, by its exit code."""


# --- lists ------------------------------------------------------------------------------------------------------------


class Output(enum.Enum):
    """How a list is printed; without one, as a table of the usual columns."""

    NAME = "name"
    WIDE = "wide"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. `wide`: in a wide table only."""

    title: str
    wide: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], output: Output | None) -> str:
    """Return rows as a table under its titles, or with `Output.NAME` the first cell of each.

    Args:
        columns: as many as each row has cells.
        rows: cells, safe to print.
        output: which columns; `Output.JSON` is the caller's.
    """
    if output is Output.NAME:
        return "\n".join(row[0] for row in rows)
    shown = [n for n, column in enumerate(columns) if output is Output.WIDE or not column.wide]
    cells = [[columns[n].title for n in shown], *([row[n] or "-" for n in shown] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(shown))]
    return "\n".join("  ".join(f"{cell:<{widths[n]}}" for n, cell in enumerate(line)).rstrip() for line in cells)
