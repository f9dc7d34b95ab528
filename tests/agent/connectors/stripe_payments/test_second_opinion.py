"""Signatures: Stripe's own library takes what we sign, we take what it signs, and both refuse the same calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
import stripe
from hypothesis import example, given
from hypothesis import strategies as st

from agent.billing_model.errors import ForgedHookError
from agent.billing_model.hmac_hooks import HmacStyle, HookHash, signature
from agent.billing_model.hooks import HookCall
from agent.connectors.stripe_payments.hooks import HEADER, TOLERANCE_S, StripeScheme

NOW = 1_795_000_000
SECRET, OLD, OTHER = "whsec_now", "whsec_before", "whsec_of another"
KNOWN = (SECRET, OLD)
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "charge.succeeded"})
LIBRARY = sys.modules[stripe.WebhookSignature.__module__]

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip())
DATA = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4))


@pytest.fixture(autouse=True, scope="module")
def _stripes_clock() -> Iterator[None]:
    """Have the library ask this clock; its other functions have no use of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LIBRARY, "time", SimpleNamespace(time=lambda: float(NOW)))
        yield


def ours(header: str, body: bytes, secrets: Sequence[str] = (SECRET,)) -> bool:
    """Return whether we take a call; a body that is no event fails the test."""
    scheme = StripeScheme([secret.encode() for secret in secrets])
    try:
        scheme.hear_untrusted(HookCall({HEADER: header}, body, "192.0.2.1"), NOW)
    except ForgedHookError:
        return False
    return True


def theirs(header: str, body: bytes, secrets: Sequence[str] = (SECRET,)) -> bool:
    """Return whether Stripe's library takes a call under one of the secrets, of which it knows one at a time."""
    return any(_takes(header, body, secret) for secret in secrets)


def _takes(header: str, body: bytes, secret: str) -> bool:
    try:
        stripe.Webhook.construct_event(body, header, secret, TOLERANCE_S)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):  # the latter: it reads the body before it verifies
        return False
    return True


def signed(body: str, secret: str = SECRET, at: int = NOW) -> str:
    """Return the header that Stripe's library writes."""
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, at))


def v1(body: str = BODY, secret: str = SECRET, at: str = str(NOW)) -> str:
    """Return the HMAC that we work out, under a time as it is written."""
    return signature(HmacStyle(HEADER, HookHash.SHA256), secret.encode(), f"{at}.{body}".encode())


@given(SECRETS, DATA, st.integers(NOW - TOLERANCE_S, NOW))
@example("whsec_é\n", "é\u2028\0", NOW - TOLERANCE_S)
def test_each_takes_what_the_other_signs(secret: str, data: object, at: int) -> None:
    event = {"id": "evt_1", "object": "event", "type": "charge.updated", "data": data}
    for body in (
        json.dumps(event, indent=2),
        json.dumps(event, ensure_ascii=True),
        json.dumps({**event, "name": "Zoë"}),
    ):
        assert ours(signed(body, secret, at), body.encode(), [secret])
        assert theirs(f"t={at},v1={v1(body, secret, str(at))}", body.encode(), [secret])


def test_a_body_of_raw_utf_8_is_signed_alike() -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "type": "a", "name": "Zoë 中\u2028"}, ensure_ascii=False)
    assert signed(body) == f"t={NOW},v1={v1(body)}"
    assert ours(signed(body), body.encode())
    assert theirs(signed(body), body.encode())


PARTS = {
    "good": f"v1={v1()}",
    "before": f"v1={v1(secret=OLD)}",
    "another": f"v1={v1(secret=OTHER)}",
    "other body": f"v1={v1(BODY + ' ')}",
    "short": f"v1={v1()[:-1]}",
    "no digits": "v1=",
    "test mode": f"v0={v1()}",
    "later scheme": f"v2={v1()}",
    "other time": f"v1={v1(at=str(NOW - 1))}",
    "no pair": "v",
    "nothing": "",
}
TIMES = st.sampled_from([[], ["t="], ["t=x"], [f"t={NOW - 1}"]]) | st.just([f"t={NOW}"])
ROTATIONS = st.sampled_from([(SECRET,), (OLD,), KNOWN, (OTHER,)])


@given(TIMES, st.lists(st.sampled_from(sorted(PARTS)), max_size=6), ROTATIONS, st.integers(0, 6))
@example([f"t={NOW}"], ["another", "good"], KNOWN, 0)
@example([f"t={NOW}"], ["before"], KNOWN, 1)
@example([f"t={NOW}"], ["before"], (SECRET,), 0)
@example([], ["good"], KNOWN, 0)
def test_headers_are_refused_alike(time: list[str], names: list[str], secrets: tuple[str, ...], place: int) -> None:
    parts = [PARTS[name] for name in names]
    header, body = ",".join([*parts[:place], *time, *parts[place:]]), BODY.encode()
    taken = ours(header, body, secrets)
    assert taken == theirs(header, body, secrets)
    fitting = {name for name, secret in (("good", SECRET), ("before", OLD), ("another", OTHER)) if secret in secrets}
    is_now, is_before = time == [f"t={NOW}"], time == [f"t={NOW - 1}"]
    assert taken == bool((is_now and fitting & {*names}) or (is_before and "other time" in names and SECRET in secrets))


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_an_altered_body_is_refused_alike(place: int, change: int) -> None:
    body = bytearray(BODY.encode())
    body[place] ^= change
    assert not ours(signed(BODY), bytes(body))
    assert not theirs(signed(BODY), bytes(body))


@given(st.integers(0, len(signed(BODY)) - 1), st.sampled_from("0123456789abcdefg"))
def test_an_altered_header_is_refused_alike(place: int, digit: str) -> None:
    given_header = signed(BODY)
    header = given_header[:place] + digit + given_header[place + 1 :]
    assert ours(header, BODY.encode()) == theirs(header, BODY.encode()) == (header == given_header)


@pytest.mark.parametrize(
    ("late_s", "taken"), [(0, True), (TOLERANCE_S, True), (TOLERANCE_S + 1, False), (86_400, False), (NOW, False)]
)
def test_late_calls_are_refused_alike(late_s: int, taken: bool) -> None:
    header = signed(BODY, at=NOW - late_s)
    assert (ours(header, BODY.encode()), theirs(header, BODY.encode())) == (taken, taken)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        pytest.param(signed(BODY, at=NOW + TOLERANCE_S + 1), False, id="early: it would count the longer"),
        pytest.param(f"t={NOW},t=1,v1={v1()}", False, id="two times: they take the first"),
        pytest.param(f"t={NOW}=1,v1={v1()}", False, id="more than a time"),
        pytest.param(f"t=+{NOW},v1={v1()}", False, id="a time with a sign"),
        pytest.param(f"t=0{NOW},v1={v1()}", False, id="a time with a zero: they sign it without"),
        pytest.param(f"t=1_795_000_000,v1={v1()}", False, id="a time in groups"),
        pytest.param(f"t={NOW},v1={v1()}=1", False, id="more than a signature"),
        pytest.param(f"t={NOW}" + ",v1=0" * 16 + f",v1={v1()}", False, id="more than 16 signatures"),
        pytest.param(f"t={NOW}, v1={v1()}", True, id="a space, as of a proxy that joins fields"),
        pytest.param(f"t={NOW},v1={v1().upper()}", True, id="digits in capitals"),
        pytest.param(f"t={NOW},v1,v1={v1()}", True, id="a v1 without a value before the good one"),
        pytest.param(f"t=0{NOW},v1={v1(at=f'0{NOW}')}", True, id="a time with a zero, signed so"),
    ],
)
def test_where_we_differ_on_purpose(header: str, taken: bool) -> None:
    """Each that we take and they refuse is signed under the secret: nobody without it can make one."""
    assert (ours(header, BODY.encode()), theirs(header, BODY.encode())) == (taken, not taken)
    assert not ours(header, BODY.encode(), [OTHER])


def test_without_a_secret_all_is_refused() -> None:
    header = f"t={NOW},v1={v1(secret='')}"
    assert not ours(header, BODY.encode(), [""])
    assert not theirs(header, BODY.encode(), [""])
