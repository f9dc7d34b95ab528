"""The parameters by which a CPE's objects refer to one another, taken out of all that was read of it. Pure.

Data models stack interfaces: instance numbers are a CPE's own choice, references are not. `places` follows them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from agent.cpe_model.known import CachedParameter
from agent.cpe_model.values import UNREADABLE

_NUMBER: Final = re.compile(r"(?<=\.)[0-9]+(?=\.)", re.ASCII)
_FALSE: Final = frozenset({"false", "0"})
_TRUE: Final = frozenset({"true", "1"})


def generic(path: str) -> str:
    """Return a path with `{i}` in place of every instance number."""
    return _NUMBER.sub("{i}", path)


@dataclass(frozen=True, slots=True)
class Structure:
    """References, flags and counters of one CPE.

    `root` ends in a dot. `texts`: full name -> text. `tables`: path that ends in a dot -> its instance numbers.
    """

    root: str
    texts: Mapping[str, str]
    tables: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, root: str, values: Mapping[str, CachedParameter], wanted: Collection[str]) -> Structure:
        """Return the structure of a CPE.

        Args:
            root: `Device.` or `InternetGatewayDevice.`.
            values: read of it.
            wanted: which parameters are references, flags or counters: below the root, with `{i}` for instances.
        """
        texts: dict[str, str] = {}
        tables: dict[str, set[int]] = {}
        last_words = {path.rpartition(".")[2] for path in wanted}
        for path, known in values.items():
            if path.rpartition(".")[2] not in last_words:  # most are none: this spares them the search below
                continue
            if known.value is None or not path.startswith(root) or generic(path)[len(root) :] not in wanted:
                continue
            if UNREADABLE not in known.value:  # its row is there; its text says nothing
                texts[path] = known.value.strip()
            for number in _NUMBER.finditer(path):
                tables.setdefault(path[: number.start()], set()).add(int(number[0]))
        return cls(root, texts, {table: tuple(sorted(numbers)) for table, numbers in tables.items()})

    def rows(self, table: str) -> tuple[str, ...]:
        """Return the rows of a table, by their numbers: `Device.IP.Interface.1.`. `table`: full, ends in a dot."""
        return tuple(f"{table}{number}." for number in self.tables.get(table, ()))

    def text(self, path: str) -> str:
        """Return a parameter's text without blanks round it; empty where it was not read."""
        return self.texts.get(path, "")

    def flag(self, path: str) -> bool | None:
        """Return a boolean, or None where it was not read or says neither."""
        word = self.text(path).lower()
        return True if word in _TRUE else False if word in _FALSE else None

    def count(self, path: str) -> int | None:
        """Return a counter of rows, or None where it was not read."""
        text = self.text(path)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None

    def references(self, path: str) -> tuple[str, ...]:
        """Return the objects that a parameter refers to, each with its dot; some CPE leave the dot out."""
        every = (part.strip().rstrip(".") for part in self.text(path).split(","))
        return tuple(f"{part}." for part in every if part.startswith(self.root))
