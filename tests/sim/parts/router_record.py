"""A router of the lab that records changes of its rows: what was before and after, and whose command made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.router.device import Router
from lab.router.faults import Fault, Faults
from lab.router.store import INTERFACES, Event
from lab.router.table import Row
from lab.router.verbs import Command, User
from tests.sim.sockets import CLIENT, Process

AGENT: Final = "ispagents"
"""The user by which the agent logs in."""
_OF_OTHERS: Final = frozenset({"/system/history", "/user/active", INTERFACES})
"""Menus that follow from others: what happens in them is no deed."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that changed. `before`, `after`: its properties, empty where it was not there."""

    path: str
    row: Row
    event: Event
    before: dict[str, str]
    after: dict[str, str]


class _Arrivals(Faults[Router]):
    """A router's faults, which each command meets first, with a record of when commands came."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.came: dict[str, list[float]] = {}
        self._now = now

    def take(self, command: str) -> list[Fault[Router]]:
        self.came.setdefault(command, []).append(self._now())
        return super().take(command)


class RecordedRouter(Router):
    """A router with a record. `told`: called with changes and the user and text of their command; "", "": nobody's.

    `printed`: when each menu was last read by a command of a program, by `passed_s`. `dirty`: whether a row changed
    since somebody set it back.
    """

    def __init__(self, version: str, name: str, clock: Callable[[], float], passed_s: Callable[[], float]) -> None:
        self.told: Callable[[list[RowChange], str, str], None] = lambda changes, user, command: None
        self.printed: dict[tuple[str, Process | None], float] = {}
        self.dirty = True
        self._passed_s = passed_s
        self._shadow: dict[tuple[str, str], dict[str, str]] = {}
        self._pending: list[RowChange] = []
        super().__init__(version, name, f"SERIAL-{name}", clock)
        self.faults = self._arrivals = _Arrivals(passed_s)
        for path, table in self.store.tables():
            for row in table:
                self._shadow[path, row.id] = dict(row.props)
        self.store.watchers.append(self._record)

    def _record(self, path: str, row: Row, event: Event) -> None:
        if path in _OF_OTHERS:
            return
        before = self._shadow.pop((path, row.id), {})
        after = {} if event == "removed" else dict(row.props)
        if event != "removed":
            self._shadow[path, row.id] = after
        self.dirty = True
        if before != after:
            self._pending.append(RowChange(path, row, event, before, after))

    def came(self, command: str, since: float, until: float) -> bool:
        """Tell whether somebody gave a command in that time, whatever became of it."""
        return any(since <= at <= until for at in self._arrivals.came.get(command, ()))

    def flush(self, user: str = "", command: str = "") -> None:
        """Tell what changed since the last time, as done by a user's command."""
        if self._pending:
            changes, self._pending = self._pending, []
            self.told(changes, user, command)

    def handle_timer(self, now: float | None = None) -> None:
        """Do what is due; no command does that."""
        self.flush()
        super().handle_timer(now)
        self.flush()

    def user(self, name: str) -> User | None:
        """Return a user, as each command asks before it does anything: changes until then are not its own."""
        self.flush()
        return super().user(name)

    def note(self, command: Command, user: User) -> None:
        """Take note of a command that changed something, and tell what."""
        self.flush(user.name, command.text)
        super().note(command, user)

    def refresh(self, path: str) -> None:
        """Make a menu show what is so now, to a command that reads it."""
        self.printed[path, CLIENT.get()] = self._passed_s()
        super().refresh(path)
