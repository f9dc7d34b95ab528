"""Paystack's signatures and events."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hooks import Heard, HookCall
from agent.connectors.paystack.hooks import PaystackScheme

KEY = b"sk_test_1"


def hear(body: bytes, header: str | None = None, keys: tuple[bytes, ...] = (KEY,)) -> Heard:
    signed = hmac.new(KEY, body, hashlib.sha512).hexdigest() if header is None else header
    return PaystackScheme(keys).hear_untrusted(HookCall({"x-paystack-signature": signed}, body, "192.0.2.1"), 0.0)


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"event": "charge.success", "data": {"id": 1, "reference": "re4lyvq3s3"}}, ("re4lyvq3s3",)),
        ({"event": "refund.processed", "data": {"transaction_reference": "a-1", "reference": None}}, ("a-1",)),
        ({"event": "charge.dispute.create", "data": {"transaction": {"reference": "b=2"}}}, ("b=2",)),
        ({"event": "charge.success", "data": {"reference": "../x"}}, ()),
        ({"event": "customer.x", "data": []}, ()),
    ],
)
def test_which_transaction(event: dict[str, object], found: tuple[str, ...]) -> None:
    heard = hear(json.dumps(event).encode())
    assert (heard.kind, heard.payment_ids) == (event["event"], found)


def test_the_same_bytes_are_the_same_event() -> None:
    one, two = b'{"event":"a"}', b'{"event":"a" }'
    assert hear(one).event_id == hear(one).event_id != hear(two).event_id


def test_forged_ones_are_refused() -> None:
    body = b'{"event":"charge.success"}'
    for header in ("", "0" * 128, hmac.new(KEY, body, hashlib.sha256).hexdigest()):
        with pytest.raises(ForgedHookError):
            hear(body, header)
    with pytest.raises(ForgedHookError):
        hear(body, keys=(b"other",))
    assert hear(body, keys=(b"other", KEY)).kind == "charge.success"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"event": 1}'])
def test_signed_and_no_event(body: bytes) -> None:
    with pytest.raises(MalformedHookError):
        hear(body)
