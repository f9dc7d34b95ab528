"""Docstrings and help texts are plain sentences: few of them hang on "what", "who", "whose" or "that which".

What counts: every docstring (of modules, classes and functions, and the strings below attributes and constants) and
every `help=` of a command line. Names in backticks are no words. Sentences of documents are short: their mean and the
longest of each page may only fall.
"""

from __future__ import annotations

import ast

import pytest

from tests.repo.plain_english import (
    LONGEST,
    MEAN,
    RIDDLES,
    count,
    longest,
    prose,
    sentences,
    worst,
)
from tests.repo.ratchet import Ratchet


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


# --- sentences of the documents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratchet", [MEAN, LONGEST], ids=lambda r: r.name)
def test_sentences_of_the_documents_are_short(ratchet: Ratchet) -> None:
    ratchet.check(longest)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (
            "# A title\n\nOne is\nhere. Two are there! And e.g. this\n",
            ["One is here.", "Two are there!", "And e.g. this"],
        ),
        (
            "- one item\n- another,\n  of two lines. Two sentences.\n",
            ["one item", "another, of two lines.", "Two sentences."],
        ),
        ("Type this:\n\n    make it. So.\n\n```\nno. No.\n```\n| a. | B. |\n", ["Type this:"]),
        ("Read [this. Page](there.md) and `a.b. C`.", ["Read this.", "Page and CODE."]),
    ],
)
def test_sentences_are_found(page: str, found: list[str]) -> None:
    assert sentences(page) == found
