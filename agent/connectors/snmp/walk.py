"""Walks of tables by GETBULK (by GETNEXT in version 1): many columns at once, each at its own pace.

* A device is asked for fewer rows where it cuts answers, says tooBig, sends something malformed or falls silent.
* A name that comes twice in one column is a loop, and ends the walk with an error. Names out of order are accepted:
  each is new, and their number is bounded.
* A column ends at the first name outside of it, whatever follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from agent.connectors.snmp import pdu
from agent.connectors.snmp.ber import Varbind
from agent.connectors.snmp.errors import AgentFaultError
from agent.connectors.snmp.limits import GROW_AFTER, SnmpLimits
from agent.connectors.snmp.pdu import NO_SUCH_NAME, Pdu, PduKind
from agent.connectors.snmp.questions import refused
from agent.connectors.snmp.values import END_OF_MIB_VIEW, NO_SUCH_INSTANCE, NO_SUCH_OBJECT, Oid, Value, dotted

_ENDS: Final = frozenset({END_OF_MIB_VIEW, NO_SUCH_OBJECT, NO_SUCH_INSTANCE})
_EXPECTED_MAX: Final = 512
"""Tables of a device of which it is remembered how many rows they have."""


class Sizes:
    """How much of a device fits into one answer, learned by asking, and how long its tables were the last time."""

    def __init__(self, limits: SnmpLimits) -> None:
        self._limits = limits
        self._repetitions = limits.repetitions
        self._whole = 0
        self._rows: dict[Oid, int] = {}

    def repetitions(self, columns: int) -> int:
        """Return the rows to ask for, for so many columns."""
        return max(1, min(self._repetitions, self._limits.varbinds // columns))

    def shrink(self, asked: int) -> bool:
        """Ask for half; return whether so many were more than one."""
        self._whole = 0
        self._repetitions = max(1, asked // 2)
        return asked > 1

    def note(self, asked: int, came: int) -> None:
        """Take note of an answer with so many whole rows."""
        if came < asked:
            # It cut the answer to what fits: a larger request would be cut again, or lost in fragments
            self._whole, self._repetitions = 0, max(1, came)
            return
        self._whole += 1
        if self._whole >= GROW_AFTER:
            self._whole = 0
            self._repetitions = min(self._limits.repetitions, self._repetitions * 2)

    def expected(self, column: Oid) -> int | None:
        """Return the rows that a column had the last time."""
        return self._rows.get(column)

    def remember(self, column: Oid, rows: int) -> None:
        """Keep the number of rows of a column for the next walk."""
        if len(self._rows) < _EXPECTED_MAX or column in self._rows:
            self._rows[column] = rows


class _Column:
    __slots__ = ("cursor", "root", "rows")

    def __init__(self, root: Oid) -> None:
        self.root, self.cursor = root, root
        self.rows: dict[bytes, Value] = {}

    def take_rows(self, indexes: Sequence[bytes], found: Sequence[Value]) -> None:
        """Take the values of whole rows.

        Raises:
            AgentFaultError: an index comes twice.
        """
        rows, before = self.rows, len(self.rows)
        rows.update(zip(indexes, found, strict=True))
        if len(rows) != before + len(indexes):
            known = set(islice(rows, before))
            for index in indexes:
                if index in known:
                    raise self._loops(Oid(self.root + index))
                known.add(index)
        self.cursor = Oid(self.root + indexes[-1])

    def take(self, found: Sequence[Varbind]) -> bool:
        """Take the next values; return whether the column goes on behind them."""
        root, rows = self.root, self.rows
        cut = len(root)
        name = self.cursor
        try:
            for name, value in found:
                if not name.startswith(root) or value[0] in _ENDS:
                    return False
                tail = name[cut:]
                # Without a tail it is the root, which no answer to GETNEXT of the root may be (RFC 3416 section 4.2.2)
                if tail in rows or not tail:
                    raise self._loops(name)
                rows[tail] = value
        finally:
            self.cursor = name
        return True

    def _loops(self, name: Oid) -> AgentFaultError:
        return AgentFaultError(
            f"the device loops below {dotted(self.root)}: asked for what follows {dotted(self.cursor)}, "
            f"it answered {dotted(name)} again"
        )


class TableWalk:
    """One walk of some columns."""

    once = False

    def __init__(self, columns: Sequence[Oid], sizes: Sizes, limits: SnmpLimits, *, bulk: bool) -> None:
        self._columns = [_Column(root) for root in dict.fromkeys(columns)]
        self._active = list(self._columns)
        self._sizes, self._limits, self._bulk = sizes, limits, bulk
        self._width = limits.varbinds
        self._asked: list[_Column] = []
        self._roots = tuple(column.root for column in self._columns)
        self._repetitions = 1

    @property
    def done(self) -> bool:
        return not self._active

    @property
    def columns(self) -> tuple[Oid, ...]:
        """All columns, while all of them were asked: each set of columns costs a pattern."""
        return self._roots if len(self._asked) == len(self._roots) else ()

    def result(self) -> Mapping[Oid, Mapping[bytes, Value]]:
        """Return the values by column and by the rest of their names."""
        return {column.root: column.rows for column in self._columns}

    def body(self, request_id: int) -> bytes:
        self._asked = self._active[: self._width]
        names = [column.cursor for column in self._asked]
        if not self._bulk:
            return pdu.encode_question(PduKind.GET_NEXT, request_id, names)
        self._repetitions = self._sizes.repetitions(len(names))
        if (rows := self._sizes.expected(self._asked[0].root)) is not None:
            # One more shows the end. A table that grew meanwhile goes on at full size
            left = rows - len(self._asked[0].rows) + 1
            if left > 0:
                self._repetitions = min(self._repetitions, left)
        return pdu.encode_question(PduKind.GET_BULK, request_id, names, self._repetitions)

    def shrink(self) -> bool:
        if self._bulk and self._sizes.shrink(self._repetitions):
            return True
        self._width = max(1, len(self._asked) // 2)
        return len(self._asked) > 1

    def receive(self, answer: Pdu) -> int:
        """Take the answer to the last request; return how many of its varbinds are new rows of the first column.

        Raises:
            RequestRefusedError: it is an error that a smaller request does not cure.
            AgentFaultError: the device loops, or does not end.
        """
        asked, found = self._asked, answer.varbinds
        if answer.status == NO_SUCH_NAME:
            # Version 1 says so where the whole tree ends
            if 1 <= answer.index <= len(asked):
                self._finish(asked[answer.index - 1])
            elif not self.shrink():
                self._finish(asked[0])
            return 0
        indexes = answer.rows.indexes
        if answer.status or not (found or indexes):
            if self.shrink():
                return 0
            if answer.status:
                raise refused(answer, [column.cursor for column in asked])
            raise AgentFaultError(
                f"asked for what follows {dotted(asked[0].cursor)}, the device answered without a value"
            )
        width, before = len(asked), len(asked[0].rows)
        for place, column in enumerate(asked):
            if indexes:
                column.take_rows(indexes, answer.rows.columns[place])
            if not column.take(found[place::width]):
                self._finish(column)
        if self._bulk and self._active:
            self._sizes.note(self._repetitions, len(indexes) + len(found) // width)
        if sum(len(column.rows) for column in self._columns) > self._limits.walked:
            raise AgentFaultError(
                f"more than {self._limits.walked} values below {dotted(asked[0].root)}: no end in sight"
            )
        return len(asked[0].rows) - before

    def _finish(self, column: _Column) -> None:
        self._active.remove(column)
        self._sizes.remember(column.root, len(column.rows))
