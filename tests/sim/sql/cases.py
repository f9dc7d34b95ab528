"""The conformance table: histories of two or three sessions, and what each server must answer.

The simulated server and the real one play the same text, from `cases.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.connectors.radius.schema import Database

BOTH: Final = (Database.POSTGRESQL, Database.MARIADB)
_TAGS: Final = {"pg": Database.POSTGRESQL, "my": Database.MARIADB}


@dataclass(frozen=True, slots=True)
class SqlCase:
    """One history. `whole`: the tables are read whole. `timeout_s`: of locks and statements."""

    name: str
    kinds: tuple[Database, ...]
    steps: tuple[str, ...]
    whole: bool = False
    timeout_s: float = 30.0

    def lines(self, kind: Database) -> Sequence[str]:
        """Return the lines for one kind of server."""
        tagged = [(_TAGS.get(line[:2]), line) for line in self.steps]
        return [line if of is None else line[3:] for of, line in tagged if of in (None, kind)]


def _cases() -> Iterator[SqlCase]:
    for block in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").split("\n## ")[1:]:
        name, *lines = filter(None, block.splitlines())
        about = dict(line[2:].split(": ") for line in lines if line.startswith("# "))
        kinds = (_TAGS[about["only"]],) if "only" in about else BOTH
        steps = tuple(line for line in lines if not line.startswith("# "))
        yield SqlCase(name, kinds, steps, "whole" in about, float(about.get("timeout_s", "30")))


CASES: Final = tuple(_cases())
"""Every history in which the servers and the simulated one agree."""
