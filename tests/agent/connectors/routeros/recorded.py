"""What was recorded of RouterOS, in ../shared/data/mikrotik: its place, and readers of exports and of terse prints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

DATA: Final = Path(__file__).parents[5] / "shared/data/mikrotik"


def needed() -> None:
    """Skip the test where the recordings are absent; under CI that is a failure."""
    if DATA.exists():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("CI needs ../shared/data/mikrotik")
    pytest.skip("no ../shared/data here: nothing that was recorded of RouterOS is compared")


@dataclass(frozen=True, slots=True)
class Line:
    """A command of an export: `set` has what it looks for in `found` (`[ find default=yes ]`, `*0`, a name)."""

    path: str
    command: str
    found: str
    values: dict[str, str]
    unset: frozenset[str]


# token = name "=" ( quoted / bare ) / "!" name / "[" ... "]" / bare ; quoted text has \" \\ \$ \r \n \t \_ and \XX
_TOKEN: Final = re.compile(r'\[[^\]]*\]|!?[^\s="\[]+(?:=(?:"(?:\\.|[^"\\])*"|[^\s"]*))?', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:([0-9A-F]{2})|(.))", re.DOTALL)


def export(name: str) -> Iterator[Line]:
    """Yield the `add` and `set` commands of an export, with values as they were before they were quoted."""
    text = re.sub(r"\\\r?\n\s*", "", (DATA / "rsc" / name).read_text("utf-8"))
    path = ""
    for line in text.splitlines():
        if line.startswith("/"):
            path = "/" + "/".join(line[1:].split())
        elif line.startswith(("add", "set")):
            yield _line(path, line)


def _line(path: str, line: str) -> Line:
    command, *tokens = _TOKEN.findall(line)
    pairs = [token.partition("=") for token in tokens if not token.startswith("[")]
    chosen = [token for token in tokens if token.startswith("[")] + [name for name, is_pair, _ in pairs if not is_pair]
    return Line(
        path=path,
        command=command,
        found=" ".join(token for token in chosen if not token.startswith("!")),
        values={name: _unquoted(text) for name, is_pair, text in pairs if is_pair},
        unset=frozenset(token[1:] for token in chosen if token.startswith("!")),
    )


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    plain = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"_": b" "}
    raw = _ESCAPE.sub(
        lambda found: bytes.fromhex(found[1].decode()) if found[1] else plain.get(found[2], found[2]),
        text[1:-1].encode(),
    )
    return raw.decode("utf-8", "surrogateescape")


def terse(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a recorded `print terse`, of every file of that template: name -> text."""
    for file in sorted((DATA / "ntc-templates/mikrotik_routeros" / name).glob("*.raw")):
        for line in file.read_text("utf-8").splitlines():
            pairs = re.findall(r"(?<=\s)([a-z][a-z0-9-]*)=(.*?)(?=\s+[a-z][a-z0-9-]*=|\s*$)", line)
            if pairs:
                yield dict(pairs)
