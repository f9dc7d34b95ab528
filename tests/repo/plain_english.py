"""Free relatives ("what is…", "who…") in docstrings and help texts, and the length of sentences in documents."""

from __future__ import annotations

import ast
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.repo import tree
from tests.repo.ratchet import Figure, Figures, Ratchet

FOLDERS = ("agent", "backups", "control_plane", "durable", "lab", "protos", "trust")
NEW = 6.0
"""Free relatives per 1,000 words that a new folder may have."""


_RELATIVE = re.compile(r"\b(what|who|whom|whose|that which)\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][\w'’-]*")
_CODE = re.compile(r"`[^`]*`")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Prose:
    """One text in the code that people read."""

    line: int
    text: str


def prose(module: ast.Module) -> Iterator[Prose]:
    """Yield docstrings and help texts."""
    for node in ast.walk(module):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield Prose(node.lineno, text)
            case ast.keyword(arg="help", value=ast.Constant(value=str(text))):
                yield Prose(node.lineno, text)


def count(text: str) -> Figure:
    """Return how many free relatives, in how many words."""
    plain = _CODE.sub(" ", text)
    return Figure(len(_RELATIVE.findall(plain)), len(_WORD.findall(plain)))


def texts() -> dict[str, list[tuple[Path, Prose]]]:
    """Return what people read in each folder."""
    found: dict[str, list[tuple[Path, Prose]]] = defaultdict(list)
    for path in tree.python_files(*FOLDERS):
        found[tree.name(path.parent)] += [(path, p) for p in prose(tree.parsed(path))]
    return found


def measured() -> Figures:
    """Return each folder's figure."""
    figures = {}
    for folder, found in texts().items():
        counts = [count(p.text) for _, p in found]
        figures[folder] = Figure(sum(c.count for c in counts), sum(c.words for c in counts))
    return {folder: figure for folder, figure in figures.items() if figure.words}


def worst(folder: str) -> str:
    """Return the sentences of a folder that most need to be written anew."""
    ranked = []
    for path, found in texts()[folder]:
        for sentence in _SENTENCE_END.split(found.text):
            figure = count(sentence)
            if figure.count:
                ranked.append((-figure.count, figure.words, f"    {tree.name(path)}:{found.line}: {sentence.strip()}"))
    return "\n".join(line for _, _, line in sorted(ranked)[:8])


RIDDLES = Ratchet(
    "plain_english",
    'Free relatives ("what is…", "who…") and words of docstrings and help texts. Write: subject, verb, object.',
    measured,
    new=NEW,
    slack=2.0,
)


GENERATED = {"docs/cli.md", "docs/reasons.md", "docs/spec/plan-life.md"}


MEAN_NEW, LONGEST_NEW = 18, 40
"""Words that a sentence of a new page may have: on average, and at most."""


_FENCED = re.compile(r"(?ms)^ *```.*?^ *```$")
_NO_PROSE = re.compile(r"^( {4}|\t|\s*\||\s*#|\s*<|\s*\[[^\]]+\]: )")
_ITEM = re.compile(r"^\s*([-*+]|\d+\.) +")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ENDS = re.compile(r"(?<=[.!?])[\"”*)]*\s+(?=[^a-z])")


def sentences(page: str) -> list[str]:
    """Return the sentences of a page in Markdown: no headings, tables and code. An item of a list ends one."""
    paragraphs: list[list[str]] = [[]]
    in_item = False
    for line in _FENCED.sub("", page).splitlines():
        item = _ITEM.match(line)
        in_item = bool(item) or (in_item and line.startswith(" "))
        if item or not line.strip() or (_NO_PROSE.match(line) and not in_item):
            paragraphs.append([])
        if in_item or (line.strip() and not _NO_PROSE.match(line)):
            paragraphs[-1].append(line[item.end() :] if item else line)
    texts = [_LINK.sub(r"\1", _CODE.sub("CODE", " ".join(" ".join(lines).split()))) for lines in paragraphs]
    return [one for text in texts for one in _ENDS.split(text) if _WORD.search(one)]


@cache
def pages() -> dict[str, list[str]]:
    """Return the sentences of each page that people wrote."""
    paths = [p for p in tree.files() if p.suffix == ".md" and tree.name(p).startswith(("docs/", "README", "CONTRIB"))]
    found = {tree.name(p): sentences(p.read_text(encoding="utf-8")) for p in paths if tree.name(p) not in GENERATED}
    return {name: each for name, each in found.items() if each}


def words(sentence: str) -> int:
    """Return how many words a sentence has; code counts as one."""
    return len(_WORD.findall(sentence))


def longest(page: str) -> str:
    """Return the longest sentences of a page, to be parted."""
    ranked = sorted(pages()[page], key=words, reverse=True)[:5]
    return "\n".join(f"    {words(one)} words: {one}" for one in ranked)


MEAN = Ratchet(
    "sentence_means",
    "Words of a sentence of each page on average, rounded up. Part long sentences.",
    lambda: {page: Figure(math.ceil(sum(map(words, found)) / len(found))) for page, found in pages().items()},
    new=MEAN_NEW,
    slack=1,
    adds_up=False,
)


LONGEST = Ratchet(
    "sentence_lengths",
    "Words of the longest sentence of each page. Part it.",
    lambda: {page: Figure(max(map(words, found))) for page, found in pages().items()},
    new=LONGEST_NEW,
    slack=3,
    adds_up=False,
)
