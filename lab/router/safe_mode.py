"""Safe mode: changes of every session are undone if the session that holds it ends. Pure.

By MikroTik's manual ("Configuration Management") and measurements of its API from 7.18 on: it belongs to one session;
every session's changes are undone, some two seconds after the holder is gone; any session may release it, and then they
stay; more than a hundred changes put it out of force, and nothing is undone. The history marks the changes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lab.router.errors import Trap
from lab.router.limits import HISTORY_MAX, SAFE_MODE_UNDO_S
from lab.router.state import RouterState
from lab.router.store import INTERFACES
from lab.router.table import Row

HISTORY: Final = "/system/history"
_NOT_UNDONE: Final = frozenset((HISTORY, INTERFACES, "/user/active"))
"""Menus that hold no configuration of their own."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The configuration when safe mode was taken: a menu's rows by `.id`, and settings."""

    rows: Mapping[str, Mapping[str, Mapping[str, str]]]
    settings: Mapping[str, Mapping[str, str]]


class SafeMode:
    """The safe mode of one router. `take_away` removes a row; `held_by`: the session that holds it."""

    def __init__(self, state: RouterState, take_away: Callable[[str, Row], None]) -> None:
        self._state, self._store, self._take_away = state, state.store, take_away
        self.held_by = ""
        self._kept = _Kept({}, {})
        self._changes = 0

    def take(self, session: str) -> None:
        """Let a session hold it.

        Raises:
            Trap: another one does.
        """
        if self.held_by and self.held_by != session:
            raise Trap("failure: safe mode is taken by another session")
        if not self.held_by:
            self.held_by, self._changes, self._kept = session, 0, self._now()

    def release(self) -> None:
        """End it and keep the changes; any session may ask."""
        self.held_by = ""
        for row in self._store.table(HISTORY):
            row.props.pop("floating-undo", None)

    def unroll(self) -> None:
        """End it and undo the changes of every session."""
        if not self.held_by:
            return
        self.release()
        for path, _ in self._store.tables():
            if path not in _NOT_UNDONE:
                self._undo(path, self._kept.rows.get(path, {}))
        for path, props in self._kept.settings.items():
            self._put_back(path, self._store.single(path), props)
        self._state.tell_change()

    def ended(self, session: str) -> None:
        """Undo the changes, after a while, if this session held it."""
        if session and session == self.held_by:
            self._state.schedule(self._state.now() + SAFE_MODE_UNDO_S, self.unroll)

    def changed(self, entry: Row) -> None:
        """Take note of a change by its line in the history."""
        if not self.held_by:
            return
        self._changes += 1
        entry.props["floating-undo"] = "true"
        if self._changes > HISTORY_MAX:
            self.release()

    def _now(self) -> _Kept:
        rows = {
            path: {row.id: dict(row.props) for row in table if not row.dynamic}
            for path, table in self._store.tables()
            if path not in _NOT_UNDONE
        }
        return _Kept(rows, {path: dict(row.props) for path, row in self._store.singles()})

    def _undo(self, path: str, kept: Mapping[str, Mapping[str, str]]) -> None:
        table = self._store.table(path)
        for row in list(table):
            if not row.dynamic and row.id not in kept:
                self._take_away(path, row)
        for row_id, props in kept.items():
            if (there := table.get(row_id)) is None:
                self._store.insert(path, dict(props), row_id=row_id)
            else:
                self._put_back(path, there, props)

    def _put_back(self, path: str, row: Row, props: Mapping[str, str]) -> None:
        if row.props != props:
            gone = {f"!{name}": "" for name in row.props if name not in props}
            self._store.change(path, row, {**props, **gone}, lenient=True)
