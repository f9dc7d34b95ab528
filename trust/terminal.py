"""How the two command lines write to people and to programs: colors, width, lists, errors as JSON. Pure.

Whether there is a terminal, and the environment, are parameters.
"""

from __future__ import annotations

import enum
import json
import re
import unicodedata
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
"""Left as they are by `json.dumps`: controls above ASCII, line ends, and characters that hide or reorder text."""


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON that is safe on a terminal: readers get the same value, no character acts there."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def error_json(code: str, message: str, exit_code: int) -> str:
    """Return an error for programs, in one line: `{"error": {"code": …, "message": …, "exit": …}}`."""
    return json_text({"error": {"code": code, "message": message, "exit": exit_code}})


CODES: Final[Mapping[int, str]] = {1: "failed", 2: "usage", 3: "refused", 4: "mixed"}
"""The code of an error that has no reason code of its own, by its exit code."""


# --- text of others -------------------------------------------------------------------------------------------------

_MIXED: Final = " [mixed scripts]"
_SCRIPTS: Final = ("LATIN", "CYRILLIC", "GREEK")
# Letters and marks that show nothing, though their category is not "format"
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_WORD: Final = re.compile(r"\w+")


def neutralize(text: str) -> str:
    r"""Return text that can neither move the cursor, reorder later text, nor hide characters.

    Control, bidirectional, zero-width and other format characters, and spaces but U+0020, become escapes such as
    `\u202e`. A word that mixes Latin, Cyrillic and Greek letters is a likely forgery: the text ends with a mark.
    """
    if text.isascii() and text.isprintable():
        return text  # most text: it hides nothing, and is in one script
    shown = "".join(_visible(c) for c in text)
    return shown + _MIXED if any(_is_mixed(word) for word in _WORD.findall(text)) else shown


def _visible(c: str) -> str:
    category = unicodedata.category(c)
    hidden = category in _HIDDEN_CATEGORIES or c in _INVISIBLE or (category == "Zs" and c != " ")
    if not hidden:
        return c
    return f"\\u{ord(c):04x}" if ord(c) <= 0xFFFF else f"\\U{ord(c):08x}"


def _is_mixed(word: str) -> bool:
    if word.isascii():
        return False
    names = [unicodedata.name(c, "") for c in word]
    return sum(any(n.startswith(script) for n in names) for script in _SCRIPTS) > 1


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


CHECKED: Final = {"ok": "ok", "warning": "LOOK", "fails": "FAILS", "not-checked": "not checked"}
"""Results of checks, and how people read them."""


def check_lines(checks: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a line for each check of `doctor`, and one below it with its remedy."""
    width = max((len(str(c["about"])) for c in checks), default=0)
    lines = []
    for c in checks:
        word = CHECKED[str(c["result"])]
        lines.append(f"{word:<11}  {c['about']:<{width}}  {c['what']}: {neutralize(str(c['detail']))}")
        if c["mend"] and c["result"] != "ok":
            lines.append(f"{'':<11}  > {neutralize(str(c['mend']))}")
    return lines


def check_counts(checks: Sequence[Mapping[str, object]]) -> str:
    """Return how many checks have each result, in one line."""
    counts = {word: sum(CHECKED[str(c["result"])] == word for c in checks) for word in CHECKED.values()}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n)
