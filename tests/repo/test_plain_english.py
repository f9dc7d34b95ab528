"""Docstrings and help texts are plain sentences: few of them hang on "what", "who", "whose" or "that which".

What counts: every docstring (of modules, classes and functions, and the strings below attributes and constants) and
every `help=` of a command line. Names in backticks are no words.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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


def test_docstrings_and_help_are_plain() -> None:
    RIDDLES.check(worst)


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ('"""Return what is to be read back of writes."""', [(1, 9)]),
        ('def f():\n  """That which holds, and whose it is."""', [(2, 7)]),
        ('X = 1\n"""Of whom."""\ny = "what"', [(1, 2)]),
        ('app = typer.Typer(help="What they are; who they are")', [(2, 6)]),
        ('"""Read `what` and somewhat more."""', [(0, 4)]),
    ],
)
def test_free_relatives_are_counted(source: str, counts: list[tuple[int, int]]) -> None:
    found = [count(p.text) for p in prose(ast.parse(source))]
    assert [(f.count, f.words) for f in found] == counts


def test_the_worst_sentences_come_first() -> None:
    assert worst("agent/cli").startswith("    agent/cli/")
