"""Row sets: value and rows are two views of one thing, and changes are few, exact and never touch a secret."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.radius.rowset import (
    ChangeKind,
    MalformedRowSetError,
    RowChange,
    RowsMovedError,
    SecretChangeError,
    Table,
    UserRow,
    bind,
    changes,
    fields_of,
    rows_of,
    to_value,
)
from agent.model import ABSENT, SecretRef, Value
from tests.builders.connector import commit

ALICE = (
    UserRow(Table.CHECK, "Cleartext-Password", ":=", "wonder", 7),
    UserRow(Table.CHECK, "Simultaneous-Use", ":=", "1", 8),
    UserRow(Table.REPLY, "Framed-IP-Address", ":=", "100.64.1.7", 3),
    UserRow(Table.REPLY, "Framed-Route", "+=", "10.1.0.0/24 100.64.1.7 1", 4),
    UserRow(Table.REPLY, "Framed-Route", "+=", "10.2.0.0/24 100.64.1.7 1", 5),
    UserRow(Table.GROUP, "home20", "", "1", 9),
)
VALUE: Value = {
    "check:Cleartext-Password": SecretRef(commit("check:Cleartext-Password :=", "wonder")),
    "check:Simultaneous-Use": (":= 1",),
    "reply:Framed-IP-Address": (":= 100.64.1.7",),
    "reply:Framed-Route": ("+= 10.1.0.0/24 100.64.1.7 1", "+= 10.2.0.0/24 100.64.1.7 1"),
    "group:home20": "1",
}


def apply(rows: tuple[UserRow, ...], wanted: Iterable[RowChange]) -> tuple[UserRow, ...]:
    """Return the rows as a database has them after the changes; inserted rows have id 0."""
    bound = bind(rows, wanted)
    touched = {(b.change.table, b.id): b.change for b in bound if b.id is not None}
    after: list[UserRow] = []
    for row in rows:
        change = touched.get((row.table, row.id))
        if change is None:
            after.append(row)
        elif change.kind is ChangeKind.UPDATE:
            after.append(replace(row, op=change.op, value=change.value))
    inserted = [b.change for b in bound if b.id is None]
    return (*after, *(UserRow(c.table, c.name, c.op, c.value) for c in inserted))


def test_value_is_the_rows_in_their_order() -> None:
    value = to_value(ALICE, commit)
    assert value == VALUE
    assert list(fields_of(value)) == list(fields_of(VALUE))
    assert to_value(iter(reversed(ALICE)), commit) != VALUE, "the order of an attribute's rows has a meaning"


def test_no_rows_is_absent() -> None:
    assert to_value((), commit) is ABSENT
    assert changes(ABSENT, {}) == changes({}, ABSENT) == ()


def test_suspension_is_one_row() -> None:
    after = {**fields_of(VALUE), "group:suspended": "-1"}
    added = RowChange(ChangeKind.INSERT, Table.GROUP, "suspended", "", "-1")
    assert changes(VALUE, after) == (added,)
    removed = RowChange(ChangeKind.DELETE, Table.GROUP, "suspended", "", "-1", 0)
    assert changes(after, VALUE) == (removed,)
    rows = (*ALICE, UserRow(Table.GROUP, "suspended", "", "-1", 21))
    assert [b.id for b in bind(rows, changes(after, VALUE))] == [21]
    assert apply(rows, changes(after, VALUE)) == ALICE


def test_priority_and_tariff() -> None:
    assert changes({"group:home20": "1"}, {"group:home20": "5"}) == (
        RowChange(ChangeKind.UPDATE, Table.GROUP, "home20", "", "5", 0, "", "1"),
    )
    assert [c.kind for c in changes({"group:home20": "1"}, {"group:home50": "1"})] == [
        ChangeKind.DELETE,
        ChangeKind.INSERT,
    ]


def test_duplicate_membership_is_a_tuple() -> None:
    rows = (UserRow(Table.GROUP, "home20", "", "1", 4), UserRow(Table.GROUP, "home20", "", "8", 5))
    value = to_value(rows, commit)
    assert value == {"group:home20": ("1", "8")}
    assert [b.id for b in bind(rows, changes(value, {"group:home20": "8"}))] == [4]


def test_a_row_cannot_come_before_one_that_exists() -> None:
    before: Value = {"reply:Framed-Route": ("+= b",)}
    after: Value = {"reply:Framed-Route": ("+= a", "+= b")}
    assert [(c.kind, c.value) for c in changes(before, after)] == [(ChangeKind.UPDATE, "a"), (ChangeKind.INSERT, "b")]


def test_blanks_round_an_operator_do_not_count() -> None:
    rows = (UserRow(Table.REPLY, "Framed-Pool", "= ", " x", 1),)
    value = to_value(rows, commit)
    assert value == {"reply:Framed-Pool": ("=  x",)}
    assert [b.id for b in bind(rows, changes(value, ABSENT))] == [1]


@pytest.mark.parametrize(
    "attribute", ["Cleartext-Password", "cleartext-PASSWORD", "SSHA2-512-Password", "Tunnel-Password:1"]
)
@pytest.mark.parametrize("table", [Table.CHECK, Table.REPLY])
def test_secrets_are_commitments_whatever_their_case(attribute: str, table: Table) -> None:
    rows = (UserRow(table, attribute, ":=", "hunter2", 1),)
    value = to_value(rows, commit)
    label = f"{table.value}:{attribute} :="
    assert value == {f"{table.value}:{attribute}": SecretRef(commit(label, "hunter2"))}
    both = to_value((*rows, UserRow(table, attribute, "==", "x", 2)), commit)
    assert both == {f"{table.value}:{attribute}": SecretRef(commit(f"{label},==", '["hunter2", "x"]'))}


def test_a_secret_is_never_changed() -> None:
    kept = {k: v for k, v in fields_of(VALUE).items() if k != "check:Cleartext-Password"}
    other = {**kept, "check:Cleartext-Password": SecretRef("00" * 32)}
    in_clear: Value = {**kept, "check:Cleartext-Password": (":= hunter2",)}
    for after in (kept, other, in_clear, ABSENT):
        for pair in ((VALUE, after), (after, VALUE)):
            with pytest.raises(SecretChangeError, match="check:Cleartext-Password") as caught:
                changes(*pair)
            assert "hunter2" not in str(caught.value)
    assert changes({"group:User-Password": "1"}, ABSENT), "a group may be called anything"


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("address", ("= x",)),
        ("check:", ("= x",)),
        ("reply:Framed-Pool", "= x"),
        ("reply:Framed-Pool", ("nospace",)),
        ("group:home20", "one"),
        ("group:home20", "٣"),
        ("group:home20", ("1", "")),
    ],
)
def test_what_no_row_set_has(key: str, field: str | tuple[str, ...]) -> None:
    with pytest.raises(MalformedRowSetError):
        changes({key: field}, ABSENT)


@pytest.mark.parametrize(
    "rows",
    [(), (UserRow(Table.GROUP, "a", "", "2", 1),), (UserRow(Table.GROUP, "b", "", "1", 1),)],
    ids=["gone", "another priority", "another group"],
)
def test_a_change_is_bound_to_the_row_that_was_read(rows: tuple[UserRow, ...]) -> None:
    with pytest.raises(RowsMovedError):
        bind(rows, changes({"group:a": "1"}, ABSENT))


_names = st.sampled_from(["Framed-Pool", "Framed-Route", "Mikrotik-Rate-Limit"])
_texts = st.text(st.characters(codec="utf-8"), max_size=3)
_attributes = st.builds(
    lambda table, name, op, value: UserRow(table, name, op, value),
    st.sampled_from([Table.CHECK, Table.REPLY]),
    _names,
    st.sampled_from(["=", ":=", "+=", "=="]),
    st.one_of(st.sampled_from(["a", "b", "a b"]), _texts),
)
_groups = st.builds(
    lambda name, priority: UserRow(Table.GROUP, name, "", str(priority)),
    st.sampled_from(["home", "suspended", "a group: with a name"]),
    st.integers(-2, 2),
)
_rows = st.lists(st.one_of(_attributes, _groups), max_size=8)


def stored(rows: list[UserRow]) -> tuple[UserRow, ...]:
    """Rows as a database has them: each table numbers its own."""
    ids = {table: itertools.count(1) for table in Table}
    return tuple(UserRow(r.table, r.name, r.op, r.value, next(ids[r.table])) for r in rows)


@given(_rows, _rows)
def test_changes_lead_from_before_to_after(before_rows: list[UserRow], after_rows: list[UserRow]) -> None:
    rows = stored(before_rows)
    before, after = to_value(rows, commit), to_value(after_rows, commit)
    wanted = changes(before, after)
    result = apply(rows, wanted)
    assert to_value(result, commit) == after
    touched = {(b.change.table, b.id) for b in bind(rows, wanted) if b.id is not None}
    untouched = [r for r in rows if (r.table, r.id) not in touched]
    assert [r for r in result if (r.table, r.id) in {(u.table, u.id) for u in untouched}] == untouched
    assert changes(after, after) == ()


@given(_rows, _rows)
def test_changes_are_the_fewest(before_rows: list[UserRow], after_rows: list[UserRow]) -> None:
    """Against a search through every way to keep, rewrite or delete the rows of a key in order and then insert."""
    before, after = to_value(before_rows, commit), to_value(after_rows, commit)
    least = 0
    for key in {*fields_of(before), *fields_of(after)}:
        old = rows_of(key, fields_of(before).get(key, ()))
        new = rows_of(key, fields_of(after).get(key, ()))
        least += min(
            sum(a != b for a, b in zip(kept, new, strict=False)) + len(old) + len(new) - 2 * size
            for size in range(min(len(old), len(new)) + 1)
            for kept in itertools.combinations(old, size)
        )
    assert len(changes(before, after)) == least


@given(_rows)
def test_fields_are_rows(rows: list[UserRow]) -> None:
    value = to_value(rows, commit)
    again = [row for key, field in fields_of(value).items() for row in rows_of(key, field)]
    assert to_value(again, commit) == value
    assert sorted(again, key=repr) == sorted(rows, key=repr)


@pytest.mark.parametrize(
    ("attribute", "value", "secret"),
    [
        ("Cisco-AVPair", "psk=hunter2", True),
        ("cisco-avpair:1", "ipsec:tunnel-password=hunter2", True),
        ("H3C-Av-Pair", "wpa:pre-shared-key*hunter2", True),
        ("Huawei-AVpair", "PASSWORD = hunter2", True),
        ("Cisco-AVPair", "ip:addr-pool=cgnat", False),
        ("Cisco-AVPair", "psk-mode=ascii", False),
        ("Reply-Message", "psk=hunter2", False),
        ("Tunnel-Password:1", "x", True),
        ("MS-MPPE-Recv-Key", "x", True),
        ("MS-CHAP-MPPE-Keys", "x", True),
        ("Ruckus-DPSK", "x", True),
        ("Aruba-MPSK", "x", True),
        ("Vendor-Shared-Secret", "x", True),
        ("Keyboard", "x", False),
    ],
)
@pytest.mark.parametrize("table", [Table.CHECK, Table.REPLY])
def test_secrets_by_name_and_inside_of_pairs(table: Table, attribute: str, value: str, secret: bool) -> None:
    labels: list[str] = []

    def keep(label: str, text: str) -> str:
        labels.append(label)
        return commit(label, text)

    made = to_value([UserRow(table, attribute, "+=", value)], keep)
    assert made is not ABSENT
    (field,) = made.values()
    assert isinstance(field, SecretRef) is secret
    assert labels == ([f"{table.value}:{attribute} +="] if secret else [])


def test_a_secret_pair_hides_its_attribute_but_not_anothers() -> None:
    rows = [UserRow(Table.REPLY, "Cisco-AVPair", "+=", v) for v in ("ip:addr-pool=cgnat", "psk=hunter2")]
    first = to_value(rows, commit)
    other = to_value([rows[0], UserRow(Table.REPLY, "Cisco-AVPair", "+=", "psk=hunter3")], commit)
    assert "hunter" not in repr(first)
    assert "cgnat" not in repr(first)
    assert first != other
    with pytest.raises(SecretChangeError):
        changes(first, other)
