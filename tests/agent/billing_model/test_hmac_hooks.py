"""HMAC over raw bodies: the given vectors, styles, two secrets, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hmac_hooks import (
    HmacScheme,
    HmacStyle,
    HookEncoding,
    HookHash,
    event_of,
    object_untrusted,
    style_of,
)
from agent.billing_model.hooks import HookCall
from tests.shared_data import shared_json

SHA1_HEX = HmacStyle("x-splynx-signature", HookHash.SHA1)


def hear(style: HmacStyle, secrets: list[bytes], header: str, body: bytes) -> str:
    call = HookCall({style.header: header}, body, "192.0.2.1")
    return HmacScheme(style, secrets).hear_untrusted(call, 0.0).event_id


def test_vectors_of_splynx() -> None:
    vectors = shared_json("billing/splynx-webhook-vectors.json")
    assert {one["valid"] for one in vectors} == {True, False}
    for one in vectors:
        args = (SHA1_HEX, [one["secret"].encode()], one["header"], one["body"].encode())
        if one["valid"]:
            hear(*args)
        else:
            with pytest.raises(ForgedHookError):
                hear(*args)


def test_rfc_4231_case_2_in_both_encodings() -> None:
    """RFC 4231 section 4.3."""
    key, data = b"Jefe", b"what do ya want for nothing?"
    hexed = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hear(HmacStyle("x", HookHash.SHA256), [key], hexed, data) == event_of(data)
    based = base64.b64encode(bytes.fromhex(hexed)).decode()
    assert hear(HmacStyle("x", HookHash.SHA256, HookEncoding.BASE64), [key], based, data)
    longer = (
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b"
        "4b636e070a38bce737"
    )
    assert hear(HmacStyle("x", HookHash.SHA512, prefix="sha512="), [key], f"sha512={longer}", data)


@given(st.sampled_from(HookHash), st.sampled_from(HookEncoding), st.binary(min_size=1), st.binary(max_size=200))
def test_it_agrees_with_the_standard_library(hash_: HookHash, encoding: HookEncoding, key: bytes, body: bytes) -> None:
    mac = hmac.new(key, body, getattr(hashlib, hash_.value)).digest()
    written = mac.hex() if encoding is HookEncoding.HEX else base64.b64encode(mac).decode()
    style = HmacStyle("x", hash_, encoding)
    assert hear(style, [key], written, body) == event_of(body)
    with pytest.raises(ForgedHookError):
        hear(style, [key], written, body + b" ")
    with pytest.raises(ForgedHookError):
        hear(style, [key + b"x"], written, body)


def test_two_secrets_hold_while_one_replaces_the_other() -> None:
    old = hmac.new(b"old", b"body", hashlib.sha1).hexdigest()
    assert hear(SHA1_HEX, [b"new", b"old"], old, b"body")
    with pytest.raises(ForgedHookError):
        hear(SHA1_HEX, [b"new"], old, b"body")


@pytest.mark.parametrize("header", ["", " ", "é" * 40, "0" * 5000, "sha1="])
def test_other_headers_are_refused(header: str) -> None:
    with pytest.raises(ForgedHookError):
        hear(SHA1_HEX, [b"s"], header, b"body")


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(ForgedHookError):
        hear(SHA1_HEX, [b""], hmac.new(b"", b"body", hashlib.sha1).hexdigest(), b"body")


def test_a_missing_prefix_is_refused() -> None:
    style = HmacStyle("x", HookHash.SHA1, prefix="sha1=")
    with pytest.raises(ForgedHookError, match="begins with sha1="):
        hear(style, [b"s"], hmac.new(b"s", b"body", hashlib.sha1).hexdigest(), b"body")


def test_numbers_with_a_point_are_exact() -> None:
    assert object_untrusted(b'{"a": 0.1}') == {"a": Decimal("0.1")}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nul", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 40 + b"]" * 40, b"[" * 100_000]
    + [b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1e99999999999999999999}'],
)
def test_other_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedHookError):
        object_untrusted(body)


def test_a_style_is_taken_out_of_what_was_read() -> None:
    values = {
        "hook_header": "X-Sig",
        "hook_hash": HookHash.SHA512,
        "hook_encoding": HookEncoding.BASE64,
        "hook_prefix": "v1=",
        "own": 1,
    }
    assert style_of(values) == HmacStyle("x-sig", HookHash.SHA512, HookEncoding.BASE64, "v1=")
    assert values == {"own": 1}
