"""Stripe's signatures: the given vectors, the window both ways, several v1, events of Stripe's own fixtures."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hooks import Heard, HookCall
from agent.connectors.stripe_payments.hooks import StripeScheme
from tests.shared_data import shared_json

NOW, SECRET = 1_700_000_000, b"whsec_a"


def sign(body: bytes, secret: bytes = SECRET, at: int = NOW) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def hear(header: str, body: bytes, now: float = NOW, secrets: tuple[bytes, ...] = (SECRET,)) -> Heard:
    return StripeScheme(secrets).hear_untrusted(HookCall({"stripe-signature": header}, body, "192.0.2.1"), now)


def event(kind: str, thing: dict[str, object]) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": {"object": thing}}).encode()


BODY = event("charge.succeeded", {"object": "charge", "id": "ch_1"})


def test_given_vectors() -> None:
    """The payload of the vectors has no type, which real events have: a good signature is then no event."""
    vectors = shared_json("billing/stripe-signature-vectors.json")
    assert {one["valid"] for one in vectors} == {True, False}
    for one in vectors:
        assert one["tolerance"] == 300
        with pytest.raises(MalformedHookError if one["valid"] else ForgedHookError):
            hear(one["header"], one["payload"].encode(), one["now"], (one["secret"].encode(),))


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_within_the_window(off: int) -> None:
    assert hear(f"t={NOW},v1={sign(BODY)}", BODY, NOW + off) == Heard("evt_1", "charge.succeeded", (), ("ch_1",))


@pytest.mark.parametrize("off", [-301, 301, 10**9])
def test_late_and_early_are_refused(off: int) -> None:
    with pytest.raises(ForgedHookError, match="300 s"):
        hear(f"t={NOW},v1={sign(BODY)}", BODY, NOW + off)


def test_the_signed_time_cannot_be_moved() -> None:
    with pytest.raises(ForgedHookError):
        hear(f"t={NOW + 1000},v1={sign(BODY)}", BODY, NOW + 1000)


def test_one_of_several_signatures_is_enough() -> None:
    header = f"t={NOW}, v1={sign(BODY, b'whsec_old')},v1={sign(BODY)},v0={'0' * 64}"
    assert hear(header, BODY).event_id == "evt_1"
    assert hear(f"t={NOW},v1={sign(BODY, b'whsec_old')}", BODY, secrets=(SECRET, b"whsec_old")).event_id == "evt_1"


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"v1={sign(BODY)}",
        f"t={NOW}",
        f"t={NOW},t={NOW},v1={sign(BODY)}",
        f"t={NOW},v0={sign(BODY)}",
        f"t=+{NOW},v1={sign(BODY)}",
        f"t=,v1={sign(BODY)}",
        f"t={NOW},v1={sign(BODY)[:-1]}",
        f"t={NOW},v1=" + "é" * 64,
        f"t={'9' * 4000},v1={sign(BODY)}",
        f"t={NOW}" + f",v1={'0' * 64}" * 40 + f",v1={sign(BODY)}",
    ],
)
def test_other_headers_are_refused(header: str) -> None:
    with pytest.raises(ForgedHookError):
        hear(header, BODY)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no", b'{"id": 1, "type": "a"}', b'{"id": "evt/1", "type": "a"}'])
def test_signed_and_no_event(body: bytes) -> None:
    with pytest.raises(MalformedHookError):
        hear(f"t={NOW},v1={sign(body)}", body)


@pytest.mark.parametrize(("kind", "field"), [("charge", "id"), ("refund", "charge"), ("dispute", "charge")])
def test_objects_of_stripes_own_fixtures(kind: str, field: str) -> None:
    thing = shared_json("billing/stripe-fixtures3.json")["resources"][kind]
    body = event(f"{kind}.updated", thing)
    assert hear(f"t={NOW},v1={sign(body)}", body).payment_ids == (thing[field],)


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        ({"object": "payment_intent", "latest_charge": "ch_9"}, ("ch_9",)),
        ({"object": "payment_intent", "latest_charge": None}, ()),
        ({"object": "payment_intent", "latest_charge": {"id": "ch_9"}}, ()),
        ({"object": "customer", "id": "cus_1"}, ()),
        ({"object": ["charge"], "id": "ch_1"}, ()),
        ({}, ()),
    ],
)
def test_other_objects(thing: dict[str, object], found: tuple[str, ...]) -> None:
    body = event("it.happened", thing)
    assert hear(f"t={NOW},v1={sign(body)}", body).payment_ids == found
