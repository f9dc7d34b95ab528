"""Merging a list: adds, changes field by field, keeps what is left out and our reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.inventory.merge import Changed, Edit, FieldChange, merge, with_claims
from agent.inventory.subscribers_csv import SubscriberRow
from agent.model import Service

HOME = Service("C-1/home", "C-1", "Amina", "home", "amina.h", "pppoe", "Home 20M", extra={"zone": "north", "note": "x"})


def rows(*services: Service) -> list[SubscriberRow]:
    return [SubscriberRow(n, service, None) for n, service in enumerate(services, 2)]


def test_added() -> None:
    result = merge({}, rows(replace(HOME, reasons=frozenset({"debt"}))))
    assert result.added == (replace(HOME, reasons=frozenset()),)
    assert result.to_write == result.added


def test_unchanged_and_left_out() -> None:
    other = replace(HOME, ref="C-2/home", subscriber="C-2")
    result = merge({HOME.ref: HOME, other.ref: other}, rows(HOME))
    assert (result.added, result.changed, result.unchanged) == ((), (), ("C-1/home",))
    assert result.untouched_by_omission == ("C-2/home",)
    assert result.to_write == ()


def test_changed_names_each_field_and_keeps_reasons_and_columns() -> None:
    old = replace(HOME, reasons=frozenset({"abuse"}))
    new = replace(HOME, tariff="Home 50M", feeds=3, extra={"zone": "south", "mast": "7"})
    merged = merge({old.ref: old}, rows(new))
    wanted = replace(new, reasons=frozenset({"abuse"}), extra={"zone": "south", "note": "x", "mast": "7"})
    (change,) = merged.changed
    assert change == Changed(
        replace(wanted, feeds=0),
        (
            FieldChange("tariff", "Home 20M", "Home 50M"),
            FieldChange("extra.zone", "north", "south"),
            FieldChange("extra.mast", "", "7"),
        ),
    )
    assert merged.edits == (Edit(wanted, (FieldChange("feeds", "0", "3"),)),), "somebody approves it first"


@pytest.mark.parametrize(
    ("field", "value"), [("login", "amina.x"), ("method", "dhcp"), ("protected", "clinic"), ("feeds", 12)]
)
def test_what_decides_whom_a_change_reaches_is_not_stored(field: str, value: str | int) -> None:
    wanted = replace(HOME, **{field: value})
    merged = merge({HOME.ref: HOME}, rows(wanted))
    assert (merged.to_write, merged.unchanged) == ((), ())
    assert [edit.service for edit in merged.edits] == [wanted]


def test_a_new_service_with_a_known_ones_login_is_an_edit() -> None:
    other, third = replace(HOME, ref="C-9/home", subscriber="C-9"), replace(HOME, ref="C-10/home", login="u10")
    merged = with_claims(merge({HOME.ref: HOME}, rows(other, third)), {"C-9/home": ["C-1/home"]})
    assert merged.added == (third,)
    assert merged.edits == (Edit(other, (FieldChange("login", "that of C-1/home", "amina.h"),)),)


def test_no_extra_columns_at_all() -> None:
    plain = replace(HOME, extra=None)
    assert merge({plain.ref: plain}, rows(plain)).unchanged == ("C-1/home",)
    assert merge({HOME.ref: HOME}, rows(plain)).unchanged == ("C-1/home",)


SERVICES = st.builds(
    lambda n, tariff, zone: replace(HOME, ref=f"C-{n}/home", subscriber=f"C-{n}", tariff=tariff, extra={"zone": zone}),
    st.integers(0, 5),
    st.sampled_from(["A", "B"]),
    st.sampled_from(["n", "s"]),
)
BY_REF = st.lists(SERVICES, unique_by=lambda s: s.ref).map(lambda found: {s.ref: s for s in found})


@given(BY_REF, BY_REF)
def test_a_second_import_of_the_same_list_changes_nothing(
    known: dict[str, Service], listed: dict[str, Service]
) -> None:
    once = merge(known, rows(*listed.values()))
    after = known | {s.ref: s for s in once.to_write}
    assert after.keys() == known.keys() | listed.keys()
    assert all(after[ref] == known[ref] for ref in once.untouched_by_omission)
    twice = merge(after, rows(*listed.values()))
    assert twice.to_write == ()
    assert set(twice.unchanged) == set(listed)
