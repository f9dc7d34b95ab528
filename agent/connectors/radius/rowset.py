"""A user's rows in radcheck, radreply and radusergroup as one value, and the fewest row changes from one to another.

The value of `radius/main/user/alice` is a mapping: `check:ATTRIBUTE` and `reply:ATTRIBUTE` to a tuple of "op value" in
database order, `group:NAME` to the priority, or a tuple of priorities where the membership stands more than once.
Attribute and group names, operators and values are the database's own strings.

* Order. FreeRADIUS reads rows `ORDER BY id`, and an operator acts only on rows of the same attribute: the order within
  a key has a meaning and is kept; the order between keys has none, so two values with the same keys in another order
  are equal. A row cannot be put before one that exists, since ids only grow: `changes` then rewrites rows in place.
* Priority. Groups are applied from the lowest number up. Equal priorities come in an order that SQL leaves open.
* Secrets. The rows of a secret attribute, or of an AVPair with a secret in one of them, become one `SecretRef`. It can
  be kept, never changed, added or removed here.

Errors:

* RowSetError, a RadiusError
  x MalformedRowSetError: the value is not one that a row set has
  x SecretChangeError: the change would touch a secret
  x RowsMovedError: the rows are not the ones that the change was made for
"""

from __future__ import annotations

import enum
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.connectors.radius.attributes import untagged
from agent.connectors.radius.errors import RadiusError
from agent.connectors.radius.schema import SECRET_CHECKS
from agent.model import ABSENT, Absent, Field, SecretRef, Value

_SECRET = frozenset(name.lower() for name in SECRET_CHECKS)
_SECRET_NAME = re.compile(r"(?:.*-)?(?:password|[a-z]*psk|secret|keys?)")
_SECRET_IN_PAIR = re.compile(r"(?:psk|pass(?:word|wd|phrase)?|secret|key)\s*[=*]", re.IGNORECASE)
"""In `Cisco-AVPair += "psk=..."`: an attribute of the vendor's own language, with `=` or `*` behind its name."""

Commit = Callable[[str, str], str]
"""`commit(label, value)` -> 64 hex digits: the caller's keyed commitment, bound to its address by the caller.

`label` is `check:Cleartext-Password :=`; for several rows of one attribute, operators are joined by commas and `value`
is the JSON list of the values.
"""


class RowSetError(RadiusError):
    """Anything that this module raises."""


class MalformedRowSetError(RowSetError):
    """The value has a field that no row set has."""


class SecretChangeError(RowSetError):
    """The change would add, remove or replace a secret."""


class RowsMovedError(RowSetError):
    """A change names a row that is not there, or that reads otherwise."""


class Table(enum.StrEnum):
    """Which of a user's tables: radcheck, radreply, radusergroup."""

    CHECK = "check"
    REPLY = "reply"
    GROUP = "group"


_PLACE = {table: place for place, table in enumerate(Table)}
_BY_WORD = {table.value: table for table in Table}


@dataclass(frozen=True, slots=True)
class UserRow:
    """One row. `name` is the attribute or the group; for a group `op` is empty and `value` the priority.

    `id` is the database's, 0 for a row that it does not have yet. `spelled` is the login (or the row's group) as the
    database has it, which may be another spelling than the one asked for.
    """

    table: Table
    name: str
    op: str
    value: str
    id: int = 0
    spelled: str = ""

    @property
    def key(self) -> str:
        """The value's field that holds this row."""
        return f"{self.table}:{self.name}"


class ChangeKind(enum.Enum):
    """The change of a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row inserted, updated or deleted.

    `op` and `value` are the row's afterwards (for a deleted row: its former ones), `old_op` and `old_value` the former
    ones of an updated row. `index` is its place among the key's rows before any change, -1 for an inserted one.
    """

    kind: ChangeKind
    table: Table
    name: str
    op: str
    value: str
    index: int = -1
    old_op: str = ""
    old_value: str = ""

    @property
    def key(self) -> str:
        """The value's field that holds this row."""
        return f"{self.table}:{self.name}"


@dataclass(frozen=True, slots=True)
class BoundChange:
    """A change and the id of the row it is for, None for an insert."""

    change: RowChange
    id: int | None


@functools.lru_cache(maxsize=1024)
def is_secret(attribute: str) -> bool:
    """Tell whether an attribute's value is a secret, whatever the case of its name and its tag (Tunnel-Password:1)."""
    name = untagged(attribute)
    return name in _SECRET or _SECRET_NAME.fullmatch(name) is not None


def holds_secret(attribute: str, value: str) -> bool:
    """Tell whether a row has a secret: by its attribute, or inside the value of a vendor's AVPair."""
    return is_secret(attribute) or (_is_avpair(attribute) and _SECRET_IN_PAIR.search(value) is not None)


@functools.lru_cache(maxsize=1024)
def _is_avpair(attribute: str) -> bool:
    return untagged(attribute).replace("-", "").endswith("avpair")


def to_value(rows: Iterable[UserRow], commit: Commit) -> Value:
    """Return the value of a user's rows, ABSENT when there are none.

    Args:
        rows: in database order (by id) within each table; the three tables in any order.
        commit: gives a secret's commitment.
    """
    by_key: dict[str, list[UserRow]] = {}
    for row in sorted(rows, key=lambda row: _PLACE[row.table]):
        by_key.setdefault(row.key, []).append(row)
    return {key: _field(key, found, commit) for key, found in by_key.items()} or ABSENT


def _field(key: str, rows: Sequence[UserRow], commit: Commit) -> Field:
    if len(rows) == 1 and not holds_secret((row := rows[0]).name, row.value):  # nearly always
        return row.value if row.table is Table.GROUP else (f"{row.op.strip()} {row.value}",)
    if rows[0].table is Table.GROUP:
        priorities = tuple(row.value for row in rows)
        return priorities[0] if len(priorities) == 1 else priorities
    if any(holds_secret(row.name, row.value) for row in rows):
        value = rows[0].value if len(rows) == 1 else json.dumps([row.value for row in rows])
        return SecretRef(commit(f"{key} {','.join(row.op.strip() for row in rows)}", value))
    # FreeRADIUS skips blanks round an operator; a fixed-width column may have them.
    return tuple(f"{row.op.strip()} {row.value}" for row in rows)


def fields_of(value: Value) -> Mapping[str, Field]:
    """Return the fields, none when the user is absent."""
    return {} if isinstance(value, Absent) else value


def rows_of(key: str, field: Field) -> tuple[UserRow, ...]:
    """Return the rows that a field stands for, without ids.

    Raises:
        MalformedRowSetError: not a row set's field, or a secret without known rows.
    """
    kind, _, name = key.partition(":")
    if (table := _BY_WORD.get(kind)) is None:
        raise MalformedRowSetError(f"row set: expected check:, reply: or group:, got field {key!r}")
    if not name or isinstance(field, SecretRef) or (isinstance(field, str) and table is not Table.GROUP):
        raise MalformedRowSetError(f"row set: expected a name, and rows as text, in field {key!r}")
    texts = (field,) if isinstance(field, str) else field
    return tuple(_row(table, name, text) for text in texts)


def _row(table: Table, name: str, text: str) -> UserRow:
    if table is not Table.GROUP:
        op, space, value = text.partition(" ")
        if not space:
            raise MalformedRowSetError(f"row set: expected 'op value' in field {table.value}:{name}")
        return UserRow(table, name, op, value)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise MalformedRowSetError(f"row set: expected a whole number as priority of group {name!r}")
    return UserRow(table, name, "", text)


def changes(before: Value, after: Value) -> tuple[RowChange, ...]:
    """Return the fewest row changes that turn `before` into `after`; none when they are equal.

    Raises:
        SecretChangeError: a secret would be added, removed or replaced.
        MalformedRowSetError: one of the values is not a row set.
    """
    old, new = fields_of(before), fields_of(after)
    found: list[RowChange] = []
    for key in [*old, *(key for key in new if key not in old)]:
        had, wanted = old.get(key, ()), new.get(key, ())
        if had == wanted:
            continue
        kind, _, name = key.partition(":")
        secret = kind != Table.GROUP.value and is_secret(name)
        if secret or isinstance(had, SecretRef) or isinstance(wanted, SecretRef):
            raise SecretChangeError(f"row set: {key} is a secret, and a row set change leaves secrets as they are")
        found += _key_changes(rows_of(key, had), rows_of(key, wanted))
    return tuple(found)


def _key_changes(old: tuple[UserRow, ...], new: tuple[UserRow, ...]) -> list[RowChange]:
    """Return the fewest changes between the rows of one key: keep, rewrite or delete old rows in order, then insert."""
    # cost[i][j]: fewest changes from old[i:] to new[j:].
    n, m = len(old), len(new)
    cost = [[n - i + m - j for j in range(m + 1)] for i in range(n + 1)]
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            cost[i][j] = min((old[i] != new[j]) + cost[i + 1][j + 1], 1 + cost[i + 1][j])
    found: list[RowChange] = []
    j = 0
    for i, row in enumerate(old):
        if j < m and cost[i][j] == (row != new[j]) + cost[i + 1][j + 1]:
            if row != new[j]:
                to = new[j]
                found.append(RowChange(ChangeKind.UPDATE, row.table, row.name, to.op, to.value, i, row.op, row.value))
            j += 1
        else:
            found.append(RowChange(ChangeKind.DELETE, row.table, row.name, row.op, row.value, i))
    return found + [RowChange(ChangeKind.INSERT, row.table, row.name, row.op, row.value) for row in new[j:]]


def bind(rows: Iterable[UserRow], wanted: Iterable[RowChange]) -> tuple[BoundChange, ...]:
    """Return each change with the id of its row among `rows`, in database order as `to_value` takes them.

    Raises:
        RowsMovedError: a row to be updated or deleted is not there, or reads otherwise.
    """
    by_key: dict[str, list[UserRow]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    bound: list[BoundChange] = []
    for change in wanted:
        if change.kind is ChangeKind.INSERT:
            bound.append(BoundChange(change, None))
            continue
        was = (change.op, change.value) if change.kind is ChangeKind.DELETE else (change.old_op, change.old_value)
        found = by_key.get(change.key, [])[change.index : change.index + 1]
        if not found or (found[0].op.strip(), found[0].value) != was:
            raise RowsMovedError(f"row set: row {change.index} of {change.key} is not the one that was read")
        bound.append(BoundChange(change, found[0].id))
    return tuple(bound)
