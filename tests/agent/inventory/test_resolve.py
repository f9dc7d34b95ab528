"""What a person means; and batches."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.inventory.resolve import Ambiguous, Index, Unknown, select
from agent.model import Service
from tests.builders.expect import expect


def service(ref: str, login: str, tariff: str = "Home 20M") -> Service:
    subscriber, _, name = ref.partition("/")
    return Service(ref, subscriber, "Amina", name, login, "pppoe", tariff)


ALL = {
    s.ref: s
    for s in (
        service("C-10482/home", "amina.h"),
        service("C-10482/office", "amina.o", "Business 100M"),
        service("C-20000/home", "Joseph"),
        service("C-30000/home", "joseph"),
        service("C-40000/home", "C-20000"),
        service("C-50000/home", "shared"),
        service("C-60000/home", "shared"),
    )
}


@pytest.mark.parametrize(
    ("ref", "means"),
    [
        ("C-10482/home", "C-10482/home"),
        (" c-10482/HOME ", "C-10482/home"),
        ("C-30000", "C-30000/home"),
        ("c-30000", "C-30000/home"),
        ("amina.o", "C-10482/office"),
        ("AMINA.O", "C-10482/office"),
        ("Joseph", "C-20000/home"),  # exact beats the other one
        ("joseph", "C-30000/home"),
    ],
)
def test_one(ref: str, means: str) -> None:
    assert Index(ALL).resolve(ref) == ALL[means]


@pytest.mark.parametrize(
    ("ref", "refs"),
    [
        ("C-10482", ["C-10482/home", "C-10482/office"]),
        ("JOSEPH", ["C-20000/home", "C-30000/home"]),
        ("C-20000", ["C-20000/home", "C-40000/home"]),  # a subscriber, and somebody's login
        ("shared", ["C-50000/home", "C-60000/home"]),
    ],
)
def test_several_are_never_guessed(ref: str, refs: list[str]) -> None:
    found = expect(Ambiguous, Index(ALL).resolve(ref))
    assert sorted(s.ref for s in found.services) == refs


@pytest.mark.parametrize(
    ("ref", "suggestions"),
    [
        ("amina.x", {"C-10482/home", "C-10482/office"}),
        ("amin.h", {"C-10482/home"}),
        ("maina.h", {"C-10482/home"}),
        ("C-10482/hom", {"C-10482/home", "C-10482/office"}),
        ("C-30001/home", {"C-30000/home"}),
        ("entirely else", set()),
        ("", set()),
        ("x" * 5000, set()),
    ],
)
def test_unknown_with_suggestions(ref: str, suggestions: set[str]) -> None:
    found = expect(Unknown, Index(ALL).resolve(ref))
    assert set(found.suggestions) == suggestions


def test_nobody_is_known() -> None:
    assert Index({}).resolve("C-1") == Unknown(())


@given(st.text(max_size=20))
def test_total(ref: str) -> None:
    assert isinstance(Index(ALL).resolve(ref), (Service, Unknown, Ambiguous))


def test_thousands_of_wrong_references_are_quick() -> None:
    many = {s.ref: s for s in (service(f"C-{n}/home", f"user{n}") for n in range(10_000))}
    index, start = Index(many), time.process_time()
    for n in range(200):
        assert isinstance(index.resolve(f"D_{n}/office"), Unknown)
    assert time.process_time() - start < 2  # comparing each with all took seconds apiece


def test_select_from_a_list_and_a_tariff_less_the_excluded() -> None:
    got = select(ALL, ["C-30000", "amina.o", "C-30000/home"], on_tariff="Home 20M", exclude=["C-40000", "shared"])
    assert [s.ref for s in got.services] == [
        "C-30000/home", "C-10482/office", "C-10482/home", "C-20000/home", "C-50000/home", "C-60000/home",
    ]  # fmt: skip
    assert got.problems == ("exclude shared: 2 services: name one of C-50000/home, C-60000/home",)


def test_select_names_every_problem() -> None:
    got = select(ALL, ["amin.h", "C-10482"], on_tariff="Home 20", exclude=["nobody-at-all"])
    assert got.services == ()
    assert got.problems == (
        "amin.h: no such service (did you mean C-10482/home?)",
        "C-10482: 2 services: name one of C-10482/home, C-10482/office, or take all with --all-services",
        "tariff Home 20: no service is on it (known: Business 100M, Home 20M)",
        "exclude nobody-at-all: no such service: ispagent subscriber find nobody-at-all",
    )
