"""PostgreSQL's serializable snapshot isolation: who must give way among transactions that read what others write.

Written from the rules that PostgreSQL's README-SSI gives. A *conflict* runs from a transaction that read to one that
wrote what it did not see. One with conflicts on both sides is dangerous when the one at the end committed first.

A table here is one page, and so is each index: with three rows of a table read, all are (max_pred_locks_per_page = 2),
and a row that is inserted meets everybody who looked into one of the table's indexes. Larger tables conflict less.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from typing import Final

ROWS_PER_PAGE: Final = 2
"""Rows of a table that are remembered one by one."""


class SerializationFailure(Exception):
    """This transaction has to be rolled back for another's sake."""


class Serializable:
    """One serializable transaction: what it read, and its conflicts."""

    def __init__(self, snapshot: int) -> None:
        self.snapshot = snapshot
        self.committed_at = math.inf
        self.doomed = False
        self.read_only = False
        self.earliest_out = math.inf
        """When the first of those committed that it has a conflict with; infinite: none did before it."""
        self.into: dict[Serializable, None] = {}
        """Transactions that read what this one wrote."""
        self.out: dict[Serializable, None] = {}
        """Transactions that wrote what this one read."""
        self.rows: dict[str, set[Hashable]] = {}
        self.whole: set[str] = set()
        self.gaps: set[str] = set()

    @property
    def is_committed(self) -> bool:
        return self.committed_at < math.inf

    def reads(self, table: str, rows: Collection[Hashable], *, whole: bool) -> None:
        """Remember what was read. `whole`: the table was read from end to end, not by an index."""
        self.check()
        self.gaps.add(table)
        known = self.rows.setdefault(table, set())
        known.update(rows)
        if whole or len(known) > ROWS_PER_PAGE:
            self.whole.add(table)

    def check(self) -> None:
        """Raise when another transaction has decided that this one has to go."""
        if self.doomed:
            raise SerializationFailure

    def meets(self, table: str, row: Hashable | None) -> bool:
        """Tell whether it read a row that is written, or the place of one that is inserted (None)."""
        if row is None:
            return table in self.gaps
        return table in self.whole or row in self.rows.get(table, ())


class Conflicts:
    """All serializable transactions that matter still."""

    def __init__(self) -> None:
        self._all: list[Serializable] = []

    def begin(self, snapshot: int) -> Serializable:
        """Return a new transaction that reads the state of `snapshot`."""
        one = Serializable(snapshot)
        self._all.append(one)
        return one

    def read_past(self, me: Serializable, writer: Serializable) -> None:
        """Say that `me` read a row and did not see what `writer` did to it.

        Raises:
            SerializationFailure: `me` has to be rolled back.
        """
        me.check()
        overlaps = writer.committed_at > me.snapshot
        if writer is me or writer.doomed or not overlaps or writer in me.out:
            return
        self._flag(me, writer, me)

    def writes(self, me: Serializable, table: str, row: Hashable | None) -> None:
        """Say that `me` writes a row, or inserts one (None).

        Raises:
            SerializationFailure: `me` has to be rolled back.
        """
        me.check()
        for reader in list(self._all):
            overlaps = reader.committed_at > me.snapshot
            if (
                reader is not me
                and not reader.doomed
                and overlaps
                and reader not in me.into
                and reader.meets(table, row)
            ):
                self._flag(reader, me, me)

    def _flag(self, reader: Serializable, writer: Serializable, me: Serializable) -> None:
        if self._is_dangerous(reader, writer):
            if me is writer or writer.is_committed:
                raise SerializationFailure
            writer.doomed = True
        reader.out[writer] = None
        writer.into[reader] = None

    def _is_dangerous(self, reader: Serializable, writer: Serializable) -> bool:
        if writer.is_committed and writer.earliest_out < math.inf:
            return True
        for far in writer.out:
            first = (
                far.is_committed
                and far.committed_at <= reader.committed_at
                and far.committed_at <= writer.committed_at
                and (not reader.read_only or far.committed_at <= reader.snapshot)
            )
            if first:
                return True
        if writer.is_committed and not reader.read_only:
            for near in reader.into:
                if (
                    not near.doomed
                    and near.committed_at >= writer.committed_at
                    and (not near.read_only or near.snapshot >= writer.committed_at)
                ):
                    return True
        return False

    def commit(self, me: Serializable, at: int, *, wrote: bool) -> None:
        """Commit `me`, or raise.

        Raises:
            SerializationFailure: `me` has to be rolled back.
        """
        me.check()
        for near in me.into:
            if near.is_committed or near.doomed:
                continue
            for far in near.into:
                if far is me or (not far.is_committed and not far.read_only and not far.doomed):
                    near.doomed = True
                    break
        me.read_only = me.read_only or not wrote
        if not me.read_only:
            me.earliest_out = min((o.committed_at for o in me.out if o.is_committed), default=math.inf)
        me.committed_at = at
        self._forget()

    def abort(self, me: Serializable) -> None:
        """Forget a transaction that was rolled back."""
        for other in me.out:
            other.into.pop(me, None)
        for other in me.into:
            other.out.pop(me, None)
        self._all.remove(me)
        self._forget()

    def _forget(self) -> None:
        """Forget the committed ones that no running one overlaps."""
        oldest = min((one.snapshot for one in self._all if not one.is_committed), default=math.inf)
        for one in [one for one in self._all if one.is_committed and one.committed_at <= oldest]:
            self._all.remove(one)
