"""The reply from a user's rows: check items, operators, groups by priority, Fall-Through, as FreeRADIUS 3.2 reads them.

The walk (rlm_sql, in its documentation's words): the user's check items are compared; where they match, the assigning
ones are merged into the control list and the user's reply items into the reply. Then the groups follow, by priority, as
long as the last reply rows said `Fall-Through = Yes` (the first group is read unless the user's said No). A group with
check items that do not match is passed over. At each merge: `:=` replaces the first one that was there before, `=` adds
only missing ones, `+=` always adds, `-=` takes out, `==` removes differing ones; `<=` and `>=` replace the first value
that is beyond theirs, and where none is, add it (seen in 3.2.7; its documentation says otherwise).

Not done: expansions (`%{...}`), profiles, Simultaneous-Use, MS-CHAP, hashed passwords.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lab import dictionary
from lab.dictionary import Definition
from lab.errors import AttributeValueError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of radcheck, radreply, radgroupcheck or radgroupreply."""

    attribute: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class GroupRows:
    """A group that the user is in, with its rows by id."""

    name: str
    check: tuple[Row, ...]
    reply: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class UserRows:
    """A user's rows by id, and groups by priority."""

    check: tuple[Row, ...] = ()
    reply: tuple[Row, ...] = ()
    groups: tuple[GroupRows, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """An attribute with a value, as text and as octets (by which values are compared)."""

    definition: Definition
    text: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """The reply from the rows. `found`: the user is in the tables; `groups`: those that were merged, in order."""

    found: bool
    control: tuple[Pair, ...]
    reply: tuple[Pair, ...]
    groups: tuple[str, ...]

    def control_text(self, name: str) -> str | None:
        """Value of the first control attribute of that name."""
        return next((p.text for p in self.control if p.definition.name == name), None)


class _FallThrough(enum.Enum):
    NO = "No"
    YES = "Yes"
    UNSAID = ""


_OPERATORS: Final = frozenset({":=", "=", "==", "+=", "-=", "!=", "<", "<=", ">", ">=", "=~", "!~", "=*", "!*"})
_SKIPPED_CHECKS: Final = frozenset({"Auth-Type", "Crypt-Password"})
"""Server check items that are never compared with the request."""


@dataclass(frozen=True, slots=True)
class _Item:
    pair: Pair
    op: str


def _parse(row: Row) -> _Item:
    op = row.op.strip() or "=="
    if op not in _OPERATORS:
        raise AttributeValueError(f"{row.attribute}: expected an operator, got {op!r}")
    d = dictionary.definition(row.attribute)
    text = row.value
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1]
    if op in ("=~", "!~", "=*", "!*"):
        return _Item(Pair(d, text, text.encode()), op)
    return _Item(Pair(d, text, dictionary.pack(d, text)), op)


def request_pairs(values: Iterable[tuple[str, str]]) -> tuple[Pair, ...]:
    """Return a request's attributes in the form that check items are compared with; unknown names are left out."""
    return tuple(
        Pair(d, text, dictionary.pack(d, text))
        for name, text in values
        if (d := dictionary.BY_NAME.get(name.lower())) is not None
    )


# --- comparing -------------------------------------------------------------------------------------------------------

_COMPARE: Final[Mapping[str, Callable[[bytes, bytes], bool]]] = {
    "=": lambda a, b: a == b,  # "=" makes no sense in a check: FreeRADIUS warns and takes it as "=="
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=*": lambda a, b: True,
    "-=": lambda a, b: a == b,
}


def _one_matches(item: _Item, seen: Pair) -> bool:
    if item.op in ("=~", "!~"):
        try:
            found = re.search(item.pair.text, seen.text) is not None
        except re.error as err:
            raise AttributeValueError(f"{item.pair.definition.name}: expected a regular expression") from err
        return found is (item.op == "=~")
    return _COMPARE[item.op](seen.data, item.pair.data)


def _matches(item: _Item, request: Sequence[Pair], now: datetime) -> bool:
    name = item.pair.definition.name
    if item.op in (":=", "+=") or name in _SKIPPED_CHECKS:
        return True
    if name == "Expiration":
        return now <= dictionary.expiration_at(item.pair.text)
    candidates = [p for p in request if p.definition is item.pair.definition]
    if name == "User-Password" and not candidates:
        return True  # CHAP: nothing to compare with
    if item.op == "!*":
        return not candidates
    return any(_one_matches(item, seen) for seen in candidates)


# --- merging ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Merge:
    """One merge of rows into a list. Only former entries of the list can be replaced, each once."""

    before: list[Pair | None]
    added: list[Pair] = field(default_factory=list)
    edited: set[int] = field(default_factory=set)

    def _slots(self, pair: Pair) -> list[int]:
        return [
            i
            for i, p in enumerate(self.before)
            if p is not None and i not in self.edited and p.definition is pair.definition
        ]

    def _same(self, i: int, pair: Pair) -> bool:
        there = self.before[i]
        return there is not None and there.data == pair.data

    def _beyond(self, i: int, item: _Item) -> bool:
        there = self.before[i]
        if there is None:
            return False
        return there.data > item.pair.data if item.op == "<=" else there.data < item.pair.data

    def take(self, item: _Item) -> None:
        """Merge one row."""
        slots = self._slots(item.pair)
        match item.op:
            case "+=":
                self.added.append(item.pair)
            case ":=" if slots:
                self.before[slots[0]] = item.pair
                self.edited.add(slots[0])
            case "=" if slots:
                pass
            case "-=" | "==":
                for i in slots:
                    if self._same(i, item.pair) is (item.op == "-="):
                        self.before[i] = None
            case "<=" | ">=" if beyond := [i for i in slots if self._beyond(i, item)]:
                self.before[beyond[0]] = item.pair
                self.edited.add(beyond[0])
            case ":=" | "=" | "<=" | ">=":
                self.added.append(item.pair)
            case _:
                pass  # comparisons add nothing

    def result(self) -> list[Pair]:
        """The list after the merge."""
        return [p for p in self.before if p is not None] + self.added


def _merged(into: Sequence[Pair], items: Sequence[_Item]) -> list[Pair]:
    merge = _Merge(list(into))
    for item in items:
        merge.take(item)
    return merge.result()


def _fall_through(items: Sequence[_Item]) -> _FallThrough:
    for item in items:
        if item.pair.definition.name == "Fall-Through":
            return _FallThrough.YES if item.pair.data == b"\0\0\0\1" else _FallThrough.NO
    return _FallThrough.UNSAID


@dataclass(slots=True)
class _Walk:
    """The lists as they grow."""

    request: Sequence[Pair]
    now: datetime
    control: list[Pair] = field(default_factory=list)
    reply: list[Pair] = field(default_factory=list)

    def check(self, rows: Sequence[Row]) -> bool:
        """Compare check rows and merge the assigning ones; False where one does not match."""
        items = [_parse(r) for r in rows]
        if not all(_matches(i, self.request, self.now) for i in items):
            return False
        self.control = _merged(self.control, items)
        return True

    def answer(self, rows: Sequence[Row]) -> _FallThrough:
        """Merge reply rows; returns their word on falling through."""
        items = [_parse(r) for r in rows]
        self.reply = _merged(self.reply, items)
        return _fall_through(items)


def decide(rows: UserRows, request: Sequence[Pair], now_s: float) -> Decision:
    """Return the reply from the rows to a request at `now_s` (unix seconds).

    Raises:
        UnknownAttributeError: a row names an attribute that the dictionary lacks (FreeRADIUS fails the request too).
        AttributeValueError: a row's value or operator is not one.
    """
    walk = _Walk(request, datetime.fromtimestamp(now_s, UTC))
    fall = _FallThrough.UNSAID
    if walk.check(rows.check) and rows.reply:
        fall = walk.answer(rows.reply)
    merged: list[str] = []
    if fall is not _FallThrough.NO:
        for group in rows.groups:
            if not walk.check(group.check):
                continue
            merged.append(group.name)
            if walk.answer(group.reply) is not _FallThrough.YES:
                break
    found = bool(rows.check or rows.reply or rows.groups)
    reply = tuple(p for p in walk.reply if p.definition.code)
    return Decision(found, tuple(walk.control), reply, tuple(merged))
