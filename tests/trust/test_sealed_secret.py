"""Secrets inside intents: only the agent opens them, for the intent and the parameter that they were sealed for."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust import seal
from trust.errors import MalformedError, MalformedSealError
from trust.seal import SealingKey
from trust.sealed_secret import open_secret_untrusted, seal_secret

KEY, OTHER = SealingKey(b"\1" * 32), SealingKey(b"\2" * 32)
ID = "0a" * 16


def opener(data: bytes) -> bytes:
    return seal.open_sealed_untrusted(data, [KEY])


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=300))
def test_it_opens_to_what_was_sealed(text: str) -> None:
    assert open_secret_untrusted(seal_secret(ID, "wifi.1.key", text, KEY.public), ID, "wifi.1.key", opener) == text


def test_its_length_tells_nothing() -> None:
    lengths = {len(seal_secret(ID, "wifi.1.key", "x" * n, KEY.public)) for n in (0, 8, 63, 300)}
    assert len(lengths) == 1


@pytest.mark.parametrize(("intent_id", "name"), [("0b" * 16, "wifi.1.key"), (ID, "wifi.2.key")])
def test_copied_into_another_place_it_is_refused(intent_id: str, name: str) -> None:
    sealed = seal_secret(ID, "wifi.1.key", "secret", KEY.public)
    with pytest.raises(MalformedSealError, match="got one for another"):
        open_secret_untrusted(sealed, intent_id, name, opener)


def test_sealed_to_another_key_or_no_seal_at_all_it_is_refused() -> None:
    for bad in (seal_secret(ID, "k", "secret", OTHER.public), "no base64!", "é", ""):
        with pytest.raises(MalformedSealError):
            open_secret_untrusted(bad, ID, "k", opener)


@given(st.binary(max_size=60) | st.just(b'{"intent":"","name":"k","secret":1}') | st.just(b'{"name":"k","more":1}'))
def test_any_body_is_a_secret_or_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        open_secret_untrusted(base64.b64encode(seal.seal(body, KEY.public)).decode(), ID, "k", opener)
