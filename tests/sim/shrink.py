"""Cuts a failing seed to what it takes: the fewest parts, faults and asks with which the same rule is broken.

What is left out changes the order of tasks, so that a smaller world is another one: it counts where its first verdict
is by the same rule. Nothing that is tried is ever tried again, and after `TRIES` worlds what is left stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.sim.part import Part, WorldFault
from tests.sim.run import Told

TRIES: Final = 60
ALWAYS: Final = "radius"


@dataclass(frozen=True, slots=True)
class Case:
    """A seed with its faults and parts. `without`: events that do not happen: asks, and faults' single occurrences."""

    seed: int
    faults: tuple[WorldFault, ...]
    parts: tuple[type[Part], ...]
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest case that was found, what it showed, and how many worlds that took."""

    case: Case
    told: Told
    tried: int

    def text(self) -> str:
        """Return it for people: what it takes, what is false first, and how it is played again."""
        case, left = self.case, [name for name in self.told.events if name not in self.case.without]
        faults = ",".join(fault.name for fault in case.faults) or "none"
        acts = f' --acts "{",".join(self.told.acts)}"' if self.told.acts else " --acts none"
        without = f' --without "{",".join(sorted(case.without))}"' if case.without else ""
        return (
            f"it takes: {', '.join(left) or 'nothing'} (found with {self.tried} worlds)\n"
            f"  first false: {self.told.wrong[0].text()}\n"
            f"  replay: python -m tests.sim {case.seed} --faults {faults} "
            f"--parts {','.join(part.name for part in case.parts)} --size {self.told.size:g}{acts}{without}"
        )


def shrink(case: Case, told: Told, play: Callable[[Case], Told], tries: int = TRIES) -> Shrunk:
    """Return the smallest case found that breaks the rule which `told` says was broken first."""
    return _Shrinking(case, told, play, tries).run()


class _Shrinking:
    def __init__(self, case: Case, told: Told, play: Callable[[Case], Told], tries: int) -> None:
        self._rule = told.wrong[0].rule
        self._case, self._told, self._play, self._left = case, told, play, tries
        self._tries = tries

    def run(self) -> Shrunk:
        for fault in self._case.faults:
            self._try(replace(self._case, faults=tuple(f for f in self._case.faults if f is not fault)))
        needed = {ALWAYS, *(fault.part for fault in self._case.faults)}
        for part in self._case.parts:
            if part.name not in needed:
                self._try(replace(self._case, parts=tuple(p for p in self._case.parts if p is not part)))
        self._cut_events()
        return Shrunk(self._case, self._told, self._tries - self._left)

    def _cut_events(self) -> None:
        """Leave out ever smaller groups of events, as delta debugging does."""
        size = max(1, len(self._events()) // 2)
        while self._left:
            before = len(self._events())
            for group in _groups(self._events(), size):
                self._try(replace(self._case, without=self._case.without | {*group}))
            if size == 1 and len(self._events()) == before:
                return
            size = max(1, min(size // 2, len(self._events()) // 2))

    def _events(self) -> list[str]:
        return [name for name in self._told.events if name not in self._case.without]

    def _try(self, case: Case) -> None:
        """Play a smaller case, and go on with it where the same rule is broken first."""
        if not self._left:
            return
        self._left -= 1
        told = self._play(case)
        if told.wrong and told.wrong[0].rule == self._rule:
            self._case, self._told = case, told


def _groups(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[n : n + size] for n in range(0, len(names), size)]
