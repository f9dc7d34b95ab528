"""What the agent's log announced, against what was done: the rules `unannounced` and `twice`, for every scenario."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import trio

from tests.torture.agent_file import Announced
from tests.torture.audit import TWIN_MARK
from tests.torture.rounds import Round

SLACK_S = 1.6
"""The log dates its leaves to the second, and its file is looked at a moment later."""


class Announcements:
    """The steps of a log; each announces one write of a row, or ends of sessions, while it is open."""

    def __init__(self, about: Round, steps: Sequence[Announced]) -> None:
        self._round = about
        self._wall_s = time.time() - trio.current_time()
        self._used: set[tuple[str, int]] = set()
        self._steps: dict[str, list[Announced]] = {}
        for step in steps:
            self._steps.setdefault(step.service, []).append(step)

    def _open(self, service: str, at: float, *, effect: bool, mark: str = "") -> list[Announced]:
        wall = at + self._wall_s
        return [
            step
            for step in self._steps.get(service, ())
            if (effect or step.change.endswith(TWIN_MARK) is bool(mark))
            and step.effect is effect
            and step.about_s - SLACK_S <= wall <= step.outcome_s + SLACK_S
        ]

    def write(
        self, service: str, at: float, fits: Callable[[Announced], bool], text: str, mark: str = ""
    ) -> Announced | None:
        """Judge a write of a row at an instant of trio's clock; return the step that announced it.

        A step announces one such write. `fits`: whether it is that one. `mark`: at the names of its author's changes.
        """
        found = [step for step in self._open(service, at, effect=False, mark=mark) if fits(step)]
        if not found:
            self._round.wrong("unannounced", f"{text}: no step of the log announces it", service)
            return None
        # Of several, the one that is over first: a later write may still be another one's
        for step in sorted(found, key=lambda step: (step.outcome_s, step.leaf)):
            used = step.change, step.leaf
            if used not in self._used:
                self._used.add(used)
                return step
        said = f"{text}: for the second time by one step of {found[0].change}"
        self._round.wrong("twice", said, service, leaf=found[0].leaf)
        return None

    def effects(self, service: str, at: float, text: str) -> list[Announced]:
        """Judge the end of a session at an instant; return the steps of which one announced it."""
        found = self._open(service, at, effect=True)
        if not found:
            self._round.wrong("unannounced", f"{text}: no step of the log announces it", service)
        return found
