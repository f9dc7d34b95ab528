"""One meaning, many spellings: what folds to the same, and what never may."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import Service
from agent.spelling import fold, mac_digits, mac_spellings, near_spellings, phone_of, search_key

MAC = "4c5e0caabb01"
FIVE = ("4c:5e:0c:aa:bb:01", "4C-5E-0C-AA-BB-01", "4c5e.0caa.bb01", "4C5E0CAABB01", "4c5e0c-aabb01")


@pytest.mark.parametrize("text", FIVE)
def test_a_mac_in_any_spelling(text: str) -> None:
    assert mac_digits(f" {text} ") == MAC
    assert text in mac_spellings(MAC)
    assert set(near_spellings(text)) == set(mac_spellings(MAC)) - {text}


@pytest.mark.parametrize("text", ["", "4c:5e:0c:aa:bb", "4c5e0caabb0g", "amina.h", "1" * 13])
def test_no_mac(text: str) -> None:
    assert mac_digits(text) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("АМИНА Хасан", "амина  хасан"),
        ("С-10482", "c-10482"),  # the first begins with a Cyrillic letter
        ("José", "JOSE"),
        ("Ёлкин", "елкин"),
        ("STRASSE", "straße"),
    ],
)
def test_folded_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_folding_keeps_different_names_apart() -> None:
    assert len({fold(n) for n in ("Иванов", "Иванова", "Петров", "Ivanov")}) == 4


@pytest.mark.parametrize(
    ("text", "digits"),
    [("+254 712 345-678", "254712345678"), ("0712345678", "712345678"), ("(071) 234.56.78", "712345678"),
     ("12", ""), ("C-10482", ""), ("100.64.13.7 ", "")],
)  # fmt: skip
def test_a_phone_number_is_its_digits(text: str, digits: str) -> None:
    assert phone_of(text) == digits


def test_near_spellings_of_a_name_are_other_cases() -> None:
    assert near_spellings("Amina.H") == ("amina.h", "AMINA.H")
    assert near_spellings("1234567") == ()


def test_the_keys_of_a_service() -> None:
    extra = {"phone": "0712 345 678", "address": "ул. Ленина 5", "cpe": "4C-5E-0C-AA-BB-01", "note": ""}
    service = Service("C-1/home", "C-1", "Амина", "home", "4c5e.0caa.bb02", "pppoe", "20M", extra=extra)
    assert search_key(service).split("\n") == [
        "c-1/home", "amиha", "4c5e.0caa.bb02", "0712 345 678", fold("ул. Ленина 5"), "4c-5e-0c-aa-bb-01",
        "mac=4c5e0caabb02", "mac=4c5e0caabb01", "tel=712345678",
    ]  # fmt: skip


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
