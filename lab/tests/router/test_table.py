"""Ordered rows against a plain list, by a state machine; ids; constant time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lab.router.limits import DYNAMIC_ID
from lab.router.table import Row, Table

NAMES = st.sampled_from("abcd")


class Tables(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.table = Table((("name",), ("name", "list")))
        self.model: list[Row] = []

    @rule(name=NAMES, place=st.integers(0, 10), dynamic=st.booleans())
    def insert(self, name, place, dynamic):
        before = self.model[place] if place < len(self.model) else None
        row = Row(self.table.new_id(dynamic=dynamic), {"name": name, "list": name * 2}, dynamic=dynamic)
        self.table.insert(row, before)
        self.model.insert(place if before else len(self.model), row)

    @precondition(lambda self: self.model)
    @rule(place=st.integers(0, 10))
    def remove(self, place):
        row = self.model.pop(place % len(self.model))
        self.table.remove(row)

    @precondition(lambda self: self.model)
    @rule(one=st.integers(0, 10), other=st.integers(0, 10))
    def move(self, one, other):
        row = self.model[one % len(self.model)]
        before = self.model[other] if other < len(self.model) else None
        self.table.move(row, before)
        if before is not row:
            self.model.remove(row)
            self.model.insert(self.model.index(before) if before else len(self.model), row)

    @precondition(lambda self: self.model)
    @rule(place=st.integers(0, 10), name=NAMES)
    def change(self, place, name):
        row = self.model[place % len(self.model)]
        self.table.change(row, {"name": name, "list": "x"})

    @invariant()
    def agrees(self):
        assert list(self.table) == self.model
        assert len(self.table) == len(self.model)
        for name in "abcd":
            expected = {r.id for r in self.model if r.props["name"] == name}
            assert {r.id for r in self.table.find(("name",), {"name": name})} == expected
        assert all(self.table.get(r.id) is r for r in self.model)


Tables.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTables = Tables.TestCase


def insert(table: Table, *, dynamic: bool = False) -> Row:
    row = Row(table.new_id(dynamic=dynamic), {}, dynamic=dynamic)
    table.insert(row)
    return row


def test_ids_go_up_and_are_not_given_out_twice():
    table = Table()
    first, second = insert(table), insert(table)
    assert (first.id, second.id) == ("*1", "*2")
    table.remove(second)
    assert insert(table).id == "*3"
    assert insert(table, dynamic=True).id == f"*{DYNAMIC_ID:X}"


def test_a_freed_id_comes_back_after_a_restart_or_when_told_so():
    table = Table()
    insert(table)
    gone = insert(table)
    table.remove(gone)
    table.reuse_ids = True
    assert insert(table).id == gone.id
    table.reuse_ids = False
    table.remove(table.get(gone.id))
    table.renumber()
    assert insert(table).id == gone.id


def test_removing_while_reading():
    table = Table()
    for _ in range(5):
        insert(table)
    for row in table:
        table.remove(row)
    assert len(table) == 0
