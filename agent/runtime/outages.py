"""Everything that the agent depends on, and whether it answers: each outage has a first and a last log line.

A dependency is a target, a device behind one (a NAS), or the billing file. Its causes are composed of the
configuration and of codes, so they may be logged: whoever reports one names no subscriber in it.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_log = logging.getLogger("agent.outages")


class SourceState(enum.Enum):
    """Whether a dependency answers."""

    NOT_ASKED = "not-asked"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One dependency: its state since when, and its last error. Times are unix seconds; None: never."""

    name: str
    state: SourceState = SourceState.NOT_ASKED
    since_s: float | None = None
    ok_s: float | None = None
    error: str = ""
    error_s: float | None = None


class Outages:
    """Keeps the state of each dependency. Used by one thread."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        """Take the clock of the times that people see."""
        self._wall_s = wall_s
        self._reports: dict[str, SourceReport] = {}

    def expect(self, name: str) -> None:
        """Have a dependency listed before it was asked."""
        self._reports.setdefault(name, SourceReport(name))

    def note(self, name: str, cause: str) -> None:
        """Note how a dependency answered just now.

        Args:
            name: such as a target's id.
            cause: why it does not answer, without anything about a subscriber; "": it does.
        """
        if cause:
            self._down(name, cause)
        else:
            self._up(name)

    def _up(self, name: str) -> None:
        now_s, before = self._wall_s(), self._reports.get(name, SourceReport(name))
        if before.state is SourceState.DOWN:
            elapsed_s = round(now_s - (before.since_s or now_s), 1)
            _log.info("an outage is over", extra={"target": name, "elapsed_s": elapsed_s})
        since_s = before.since_s if before.state is SourceState.UP else now_s
        self._reports[name] = replace(before, state=SourceState.UP, since_s=since_s, ok_s=now_s)

    def _down(self, name: str, cause: str) -> None:
        now_s, before = self._wall_s(), self._reports.get(name, SourceReport(name))
        if before.state is not SourceState.DOWN:
            _log.warning("an outage begins", extra={"target": name, "cause": cause})
        since_s = before.since_s if before.state is SourceState.DOWN else now_s
        self._reports[name] = replace(before, state=SourceState.DOWN, since_s=since_s, error=cause, error_s=now_s)

    def reports(self) -> Sequence[SourceReport]:
        """Return every dependency, by name."""
        return [self._reports[name] for name in sorted(self._reports)]
