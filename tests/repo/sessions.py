"""Terminal sessions in documents: which commands they show, who types each, and whether an answer is as shown.

A session is a block that is fenced as `console`:

    maria$ ispagent change suspend C-10018/home
    SUSPEND 1 service · K7QF2 · asked by maria 14:05
    …

- `USER$ COMMAND` or `root# COMMAND`; it goes on after a `\\` at the end of a line, and until `END` after `<<END`.
- What follows is the answer, with any line breaks. `…` stands for any text, also for none.
- `PROMPT: [ANSWER]` in an answer: the program asks, and the person types what stands between the brackets.
- `(exit code N)` as the last line: the command ends with N; otherwise with 0.

Numbers, times and short hexadecimal names may differ from those shown. Change ids, keys and fingerprint
words differ too: whatever came where the page has one, stands for it from then on, in commands as well
(`Names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TYPED = re.compile(r"([a-z][a-z0-9-]*)([$#]) (.*)")
_EXIT = re.compile(r"\(exit code (\d+)\)")
_ANSWER = re.compile(r"(?<=: )\[([^\]]*)\]")
_WORDS = r"(?:[a-z]{5}-){7}[a-z]{5}"
_KEY = r"[0-9a-f]{64}"
_LOG_KEY = r"[a-z0-9./-]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+"
_ID = "[0-9A-Z]{5}"
_ASKED = re.compile(rf"^[A-Z-]+ .*· ({_ID}) · asked by", re.MULTILINE)
_TIME = r"(?<![:\w])\d\d:\d\d(?::\d\d)?(?![:\w])"
_VARIES = re.compile(
    rf" ?… ?|{_LOG_KEY}|{_KEY}|{_WORDS}|{_TIME}|\b\d+[smhd]\b|\b[0-9a-f]*[0-9][0-9a-f]*\b|\b\d[\d.:TZ-]*"
)


class SessionError(Exception):
    """A page that is no session, or an answer that is not as a page shows."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command of a page, the answers that the person types, and what the page shows after it."""

    line: int
    who: str
    command: str
    shown: str = ""
    exit_code: int = 0

    @property
    def answers(self) -> tuple[str, ...]:
        """What is typed where the program asks, in order."""
        return tuple(_ANSWER.findall(self.shown))


def sessions(text: str) -> Iterator[Typed]:
    """Yield the commands of all sessions in a Markdown document.

    Raises:
        SessionError: a block that does not begin with a command.
    """
    block: list[tuple[int, str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if block is None:
            block = [] if line == "```console" else None
        elif line == "```":
            yield from _commands(block)
            block = None
        else:
            block.append((number, line))


def _commands(lines: list[tuple[int, str]]) -> Iterator[Typed]:
    rest = list(reversed(lines))
    while rest:
        number, line = rest.pop()
        begun = _TYPED.fullmatch(line)
        if begun is None:
            raise SessionError(f"line {number}: expected USER$ COMMAND, got {line!r}")
        command = begun[3]
        while command.endswith("\\") and rest:
            command = f"{command[:-1].rstrip()} {rest.pop()[1].strip()}"
        if command.endswith("<<END"):
            document: list[str] = []
            while rest and (not document or document[-1] != "END"):
                document.append(rest.pop()[1])
            command = "\n".join([command, *document, ""])
        shown: list[str] = []
        while rest and not _TYPED.fullmatch(rest[-1][1]):
            shown.append(rest.pop()[1])
        ended = _EXIT.fullmatch(shown[-1]) if shown else None
        text = "\n".join(shown[:-1] if ended else shown)
        yield Typed(number, begun[1], command, text, int(ended[1]) if ended else 0)


@dataclass(slots=True)
class Names:
    """What stands for the ids, keys and words of the pages in a run. `ids`: every change id that the pages show."""

    ids: frozenset[str] = frozenset()
    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *pages: str) -> Names:
        """Return names for pages, with nothing known yet."""
        return cls(frozenset(one for page in pages for one in _ASKED.findall(page)))

    def filled(self, text: str) -> str:
        """Return a command or an answer with what came in this run in place of what the page shows."""
        for shown, real in self.known.items():
            text = text.replace(shown, real)
        return text

    def check(self, typed: Typed, answer: str) -> None:
        """Compare an answer with what the page shows, and keep the ids, keys and words that came in it.

        Raises:
            SessionError: it differs.
        """
        shown = " ".join(_ANSWER.sub("", typed.shown).split())
        came = " ".join(answer.split())
        new: list[str] = []
        pattern = "".join(self._pattern(part, new) for part in self._parts(shown))
        found = re.fullmatch(pattern, came)
        if found is None:
            raise SessionError(f"line {typed.line}: {typed.who}$ {typed.command}\nexpected\n{shown}\n\ngot\n{came}")
        self.known |= dict(zip(new, found.groups(), strict=True))

    def _parts(self, shown: str) -> list[str]:
        ids = "".join(f"|\\b{one}\\b" for one in sorted(self.ids))
        return re.split(f"({_VARIES.pattern}{ids})", shown)

    def _pattern(self, part: str, new: list[str]) -> str:
        """Return the pattern of one part of what is shown; `new` takes the names that it captures."""
        if part.strip() == "…":
            return ".*"
        kinds = (_LOG_KEY, _KEY, _WORDS, *((_ID,) if part in self.ids else ()))
        kind = next((k for k in kinds if re.fullmatch(k, part)), None)
        if kind is not None and part in self.known:
            return re.escape(self.known[part])
        if kind is not None and part in new:
            return rf"(?:\{new.index(part) + 1})"
        if kind is not None:
            new.append(part)
            return f"({kind})"
        if re.fullmatch(r"\d+[smhd]", part):
            return r"\d+[smhd]"
        if re.fullmatch(_TIME, part):  # of another day with its date: a session may be typed at night
            return r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d(?::\d\d)?"
        return r"[0-9a-f.:TZ-]+" if _VARIES.fullmatch(part) else re.escape(part)
