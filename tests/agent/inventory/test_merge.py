"""Merging a list: adds, changes field by field, keeps what is left out and our reasons."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.inventory.merge import Changed, FieldChange, merge
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
    (change,) = merge({old.ref: old}, rows(new)).changed
    assert change == Changed(
        replace(new, reasons=frozenset({"abuse"}), extra={"zone": "south", "note": "x", "mast": "7"}),
        (
            FieldChange("tariff", "Home 20M", "Home 50M"),
            FieldChange("feeds", "0", "3"),
            FieldChange("extra.zone", "north", "south"),
            FieldChange("extra.mast", "", "7"),
        ),
    )


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
