"""American spelling, in identifiers and in text: one spelling for each word, so that a search finds all of it."""

from __future__ import annotations

import re

import pytest

from tests.repo import tree

BRITISH = re.compile(
    r"(?:normal|recogn|neutral|author|serial|organ|summar|initial|optim|priorit|synchron)is(?:e|ed|es|ing|ation)\b"
    r"|behaviour|colour|favour|neighbour|judgement|diall(?:ed|ing)|labelled|travell(?:ed|ing)",
    re.IGNORECASE,
)
FOREIGN = {
    "agent/cpe_model/sensitivity.py": "names of parameters as vendors write them",
    "tests/repo/test_spelling.py": "the words themselves",
    "CHANGELOG.md": "names from before",
}
FOLDERS = (
    "agent",
    "backups",
    "control_plane",
    "docs",
    "durable",
    "lab",
    "packaging",
    "protos",
    "systemd",
    "tests",
    "trust",
)


def british(text: str) -> list[str]:
    """Return the words of a text that are spelled the British way."""
    return [found.group().lower() for found in BRITISH.finditer(text)]


def test_spelling_is_american() -> None:
    places = [
        path for folder in FOLDERS for path in (tree.ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".toml")
    ]
    assert len(places) > 1000, "expected the whole repository"
    found = {
        tree.name(path): words
        for path in [*places, *tree.ROOT.glob("*.md")]
        if tree.name(path) not in FOREIGN and (words := british(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def normalise(x): ...", ["normalise"]),
        ("The Neighbours' colours", ["neighbour", "colour"]),
        ("a judgment; a license; a dialer that dialed; a promise", []),
        ("exercise, otherwise, cancelled", []),
    ],
)
def test_british_words_are_seen(text: str, words: list[str]) -> None:
    assert british(text) == words
