"""Figures that may only go down: what was measured last stands in `tests/repo/held/NAME.toml`.

A check fails when a figure is above the one that is held, and when it is clearly below, so that the gain is held. A
rate is above only when its count is too: deleting good text makes nothing worse. `python -m tests.repo.ratchet` writes
every file anew. It refuses a file whose total would go up; moving or renaming code changes no total.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.repo import tree

HELD = tree.ROOT / "tests" / "repo" / "held"
COMMAND = "python -m tests.repo.ratchet"


@dataclass(frozen=True, slots=True)
class Figure:
    """A count; with `words`, a count per 1,000 words."""

    count: int
    words: int = 0

    @property
    def value(self) -> float:
        """Return the figure that is compared."""
        return round(1000 * self.count / self.words, 1) if self.words else self.count

    def exceeds(self, other: Figure) -> bool:
        """Return whether this is worse than the other."""
        return self.value > other.value and self.count > other.count

    def text(self) -> str:
        """Return the figure as it is written."""
        return f"[{self.count}, {self.words}] # {self.value}" if self.words else str(self.count)


Figures = Mapping[str, Figure]


def total(figures: Figures) -> Figure:
    """Return the figure of all together."""
    return Figure(sum(f.count for f in figures.values()), sum(f.words for f in figures.values()))


@dataclass(frozen=True, slots=True)
class Ratchet:
    """One check: `measure` reads the code. `new`: most for what is not held yet; `slack`: how far below is no gain.

    `adds_up`: what moved is written as long as the total does not grow; without it, nothing that got worse is.
    """

    name: str
    says: str
    measure: Callable[[], Figures]
    new: float = 0.0
    slack: float = 0.0
    adds_up: bool = True

    def held(self) -> Figures:
        """Return the figures of last time."""
        found = tomllib.loads((HELD / f"{self.name}.toml").read_text(encoding="utf-8"))
        return {key: Figure(*entry) if isinstance(entry, list) else Figure(entry) for key, entry in found.items()}

    def above(self, measured: Figures, held: Figures) -> list[str]:
        """Return what got worse."""
        known = [key for key in measured if key in held and measured[key].exceeds(held[key])]
        return known + [key for key in measured if key not in held and measured[key].value > self.new]

    def below(self, measured: Figures, held: Figures) -> list[str]:
        """Return what got better by more than the slack, and what is gone."""
        gone = [key for key in held if key not in measured]
        return gone + [k for k, f in measured.items() if k in held and f.value < held[k].value - self.slack]

    def check(self, worst: Callable[[str], str]) -> None:
        """Compare the code with what is held. `worst` says what to mend.

        Raises:
            AssertionError: a figure is above or clearly below the one that is held.
        """
        measured, held = self.measure(), self.held()
        lines = []
        for key in self.above(measured, held):
            most = held[key].value if key in held else self.new
            lines.append(f"{key}: {measured[key].value}, expected at most {most}\n{worst(key)}")
        if lines:
            raise AssertionError(f"{self.says}\n" + "\n".join(lines) + f"\nOnly moved or renamed? Run: {COMMAND}")
        if better := self.below(measured, held):
            raise AssertionError(f"{self.name}: better than what is held: {', '.join(better)}. Run: {COMMAND}")

    def write(self) -> str:
        """Hold what is measured now; return what was done."""
        measured, path = self.measure(), HELD / f"{self.name}.toml"
        held = self.held() if path.exists() else {}
        if not self.adds_up and held and (worse := self.above(measured, held)):
            return f"{self.name}: refused: worse than what is held: {', '.join(worse)}"
        if self.adds_up and held and total(measured).exceeds(total(held)):
            return f"{self.name}: refused: the total is {total(measured).value}, and {total(held).value} is held"
        changed = {*self.above(measured, held), *self.below(measured, held)}
        # A line that still holds stays as it is, so that few lines are written by two people at once
        figures = {key: held[key] if key in held and key not in changed else measured[key] for key in measured}
        lines = [f'"{key}" = {figure.text()}' for key, figure in sorted(figures.items())]
        path.write_text("\n".join([f"# Written by `{COMMAND}`. {self.says}", *lines, ""]), encoding="utf-8")
        return f"{self.name}: {total(measured).value if self.adds_up else len(figures)} is held"


def main() -> None:
    """Write all files."""
    from tests.repo.class_names import SHARED
    from tests.repo.connector_names import NAMED
    from tests.repo.plain_english import LONGEST, MEAN, RIDDLES

    done = [ratchet.write() for ratchet in (SHARED, NAMED, RIDDLES, MEAN, LONGEST)]
    print("\n".join(done))
    sys.exit(any("refused" in line for line in done))


if __name__ == "__main__":
    main()
