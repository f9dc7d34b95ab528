"""Commands that the documents show, found and looked up in the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.repo.cli_reference import Command, Parameter, commands

PROGRAMS = ("ispagent", "ispcloud")
_PROMPT = re.compile(r"^\s*(?:[a-z0-9-]*[$#] )?(?=(?:ispagent|ispcloud|make|python3?|\.venv/bin/python) |ispagent$)")
_SPAN = re.compile(r"(?<!`)`((?:ispagent|ispcloud)(?: [^`]*)?)`(?!`)")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command in a document. `whole`: typed in a code block, not named in a sentence."""

    line: int
    text: str
    whole: bool


def shown(text: str) -> Iterator[Shown]:
    """Yield the commands of a Markdown document: those in code blocks, and `ispagent …` named in sentences."""
    fenced, pending, begun = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if pending or fenced or line.startswith("    "):
            typed = pending or _PROMPT.search(line)
            if typed is None:
                continue
            begun = begun if pending else number
            pending += _PROMPT.sub("", line) if not pending else f" {line.strip()}"
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            yield Shown(begun, pending, whole=True)
            pending = ""
        else:
            for span in _SPAN.findall(line):
                yield Shown(number, span, whole=False)


def _needed(parameter: Parameter) -> bool:
    """Return whether a command does nothing without it; what a variable can say need not be typed."""
    return parameter.option and parameter.required and not parameter.env


def problem(text: str, *, whole: bool, known: list[Command]) -> str | None:
    """Return what is wrong with a command of ours as it is shown, or None.

    Args:
        text: the command line; it may be followed by a comment.
        whole: it is typed as it stands: a full command with the options that it needs.
        known: every command there is.
    """
    words = [w for w in shlex.split(text, comments=True) if w not in ("…", "&")]
    for end in ("|", ">", "<", ";", "&&"):
        words = words[: words.index(end)] if end in words else words
    fits = [c for c in known if tuple(words[: len(c.words)]) == c.words]
    called = max(fits, key=lambda c: len(c.words), default=None)
    if called is None:
        plain = _leading_words(words)
        if not whole and any(c.words[: len(plain)] == plain for c in known):
            return None
        return f"there is no command {' '.join(words)!r}"
    given = {w.split("=")[0] for w in words[len(called.words) :] if w.startswith("--") and w != "--"}
    if unknown := given - called.options - {"--help"}:
        return f"{' '.join(called.words)} has no {', '.join(sorted(unknown))}"
    missing = [p.names[0] for p in called.parameters if _needed(p) and not given & set(p.names)]
    if whole and missing and "--help" not in given:
        return f"{' '.join(called.words)} needs {', '.join(missing)}"
    return None


def _leading_words(words: list[str]) -> tuple[str, ...]:
    found = []
    for word in words:
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            break
        found.append(word)
    return tuple(found)


def problems(path: Path) -> list[str]:
    """Return what is wrong with the commands of a document."""
    known = commands()
    found = []
    for s in shown(path.read_text(encoding="utf-8")):
        if s.text.split(" ", 1)[0] in PROGRAMS and (wrong := problem(s.text, whole=s.whole, known=known)):
            found.append(f"{path.name}:{s.line}: {wrong}")
    return found


def rows(text: str, heading: str) -> list[tuple[str, ...]]:
    """Return the cells of the tables under headings that begin with `heading`, without their header rows."""
    found: list[tuple[str, ...]] = []
    inside = header = False
    for line in text.splitlines():
        if line.startswith("#"):
            inside, header = line.startswith(heading), True
        elif inside and line.startswith("|"):
            if not header and not re.fullmatch(r"[|: -]+", line):
                found.append(tuple(c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]))
            header = False
        else:
            header = True
    return found


def shown_keys(text: str) -> list[tuple[str, ...]]:
    """Return (section, key, default, meaning) of every key under the headings ``## `[SECTION]` `` of a document."""
    sections = re.findall(r"(?m)^## `\[(.+)\]`$", text)
    return [(s, row[0].strip("`"), *row[1:]) for s in sections for row in rows(text, f"## `[{s}]`")]
