"""Rows in order, found by `.id` or by the property that must be unique among them. Pure; every write takes constant
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from lab.router.limits import DYNAMIC_ID

_FIRST: Final = 1


class Row:
    """A row: its settings (`props`), the router's own values (`state`), and its place.

    `dynamic`: made by the router, gone at a reboot; `builtin`: neither renamed away nor removed; `expires_at`: when it
    goes, by the router's clock.
    """

    __slots__ = ("after", "before", "builtin", "dynamic", "expires_at", "id", "props", "state")

    def __init__(self, row_id: str, props: dict[str, str], *, dynamic: bool = False, builtin: bool = False) -> None:
        self.id = row_id
        self.props = props
        self.state: dict[str, str] = {}
        self.dynamic = dynamic
        self.builtin = builtin
        self.expires_at: float | None = None
        self.before: Row | None = None
        self.after: Row | None = None


class Table:
    """A menu's rows. `unique`: sets of properties of which no two rows may have all alike.

    With `reuse_ids` a new row gets the `.id` that was freed last, as RouterOS may do after a restart: whoever remembers
    an `.id` then writes to another row.
    """

    def __init__(self, unique: tuple[tuple[str, ...], ...] = ()) -> None:
        self.unique = unique
        self.reuse_ids = False
        self._rows: dict[str, Row] = {}
        self._head: Row | None = None
        self._tail: Row | None = None
        self._by: list[dict[tuple[str, ...], dict[str, Row]]] = [{} for _ in unique]
        self._next = _FIRST
        self._next_dynamic = DYNAMIC_ID
        self._freed: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        row = self._head
        while row is not None:
            # a row may be removed while its turn lasts
            following = row.after
            yield row
            row = following

    def get(self, row_id: str) -> Row | None:
        """The row of an `.id`."""
        return self._rows.get(row_id)

    def find(self, keys: tuple[str, ...], props: Mapping[str, str]) -> Iterator[Row]:
        """Rows that have the same values of `keys`, one of the sets of `unique`."""
        value = tuple(props.get(k, "") for k in keys)
        yield from tuple(self._by[self.unique.index(keys)].get(value, {}).values())

    def new_id(self, *, dynamic: bool) -> str:
        """The `.id` that the next row gets."""
        if self.reuse_ids and self._freed and not dynamic:
            return self._freed.pop()
        while True:
            number = self._next_dynamic if dynamic else self._next
            if dynamic:
                self._next_dynamic += 1
            else:
                self._next += 1
            if (row_id := f"*{number:X}") not in self._rows:
                return row_id

    def insert(self, row: Row, before: Row | None = None) -> None:
        """Put a row in, before another or last."""
        self._rows[row.id] = row
        self._link(row, before)
        self._index(row)

    def remove(self, row: Row) -> None:
        """Take a row out."""
        del self._rows[row.id]
        self._unlink(row)
        self._unindex(row)
        if not row.dynamic:
            self._freed.append(row.id)

    def move(self, row: Row, before: Row | None) -> None:
        """Move a row before another, or to the end."""
        if before is not row:
            self._unlink(row)
            self._link(row, before)

    def change(self, row: Row, props: dict[str, str]) -> None:
        """Give a row other properties; every one that it keeps is among them."""
        self._unindex(row)
        row.props = props
        self._index(row)

    def renumber(self) -> None:
        """The effect of a restart: dynamic numbers begin anew, numbers of rows since removed are given out again."""
        self._next = max((int(i[1:], 16) for i in self._rows if int(i[1:], 16) < DYNAMIC_ID), default=0) + 1
        self._next_dynamic = DYNAMIC_ID
        self._freed.clear()

    def _link(self, row: Row, before: Row | None) -> None:
        row.after = before
        row.before = before.before if before else self._tail
        if row.before:
            row.before.after = row
        else:
            self._head = row
        if before:
            before.before = row
        else:
            self._tail = row

    def _unlink(self, row: Row) -> None:
        if row.before:
            row.before.after = row.after
        else:
            self._head = row.after
        if row.after:
            row.after.before = row.before
        else:
            self._tail = row.before
        row.before = row.after = None

    def _index(self, row: Row) -> None:
        for keys, index in zip(self.unique, self._by, strict=True):
            index.setdefault(tuple(row.props.get(k, "") for k in keys), {})[row.id] = row

    def _unindex(self, row: Row) -> None:
        for keys, index in zip(self.unique, self._by, strict=True):
            value = tuple(row.props.get(k, "") for k in keys)
            index[value].pop(row.id, None)
            if not index[value]:
                del index[value]
