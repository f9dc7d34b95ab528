import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as Oracle

from tests.builders.operator import key
from trust import envelope, limits
from trust.envelope import Envelope, Signature
from trust.errors import MalformedEnvelopeError, Reason, RefusedError

TYPE = "application/vnd.ispagents.plan.v0+json"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def as_json(**changes: object) -> bytes:
    base = {"payload": b64(b"hello"), "payloadType": TYPE, "signatures": [{"keyid": "", "sig": b64(b"s" * 64)}]}
    return json.dumps({**base, **changes}).encode()


def test_pae_of_the_protocol():
    assert envelope.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.text(min_size=1), st.binary())
def test_E1_pae_counts_bytes_as_securesystemslib_does(kind, payload):
    assert envelope.pae(kind, payload) == Oracle(payload, kind, {}).pae()


def test_E1_one_reading_of_a_non_ascii_type():
    assert envelope.pae("é", b"x") == b"DSSEv1 2 \xc3\xa9 1 x"


def test_the_oracle_reads_ours_and_we_read_its():
    env = envelope.sign(TYPE, b'{"a":1}', [key("maria"), key("joseph")])
    theirs = Oracle.from_dict(json.loads(envelope.encode(env)))
    assert (theirs.payload, theirs.payload_type, len(theirs.signatures)) == (b'{"a":1}', TYPE, 2)
    assert envelope.decode_untrusted(json.dumps(theirs.to_dict()).encode()) == env


payloads = st.binary(max_size=200)


@given(payloads, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4))
def test_round_trip(payload, names):
    env = envelope.sign(TYPE, payload, [key(n) for n in names])
    again = envelope.decode_untrusted(envelope.encode(env))
    assert again == env
    assert envelope.signed_by(again, {key(n).public for n in "abc"}) == {key(n).public for n in names}


def test_digest_covers_type_and_payload_and_no_signature():
    env = envelope.sign(TYPE, b"x", [key("maria")])
    assert envelope.digest(env) == envelope.digest(envelope.add_signature(env, key("joseph")))
    assert envelope.digest(env) == envelope.digest_of(TYPE, b"x")
    assert len({envelope.digest_of(TYPE, b"x"), envelope.digest_of(TYPE, b"y"), envelope.digest_of("t", b"x")}) == 3


def test_T3_one_key_twice_is_one_key():
    env = envelope.sign(TYPE, b"x", [key("maria"), key("maria")])
    assert envelope.signed_by(env, [key("maria").public]) == {key("maria").public}


def test_T4_one_key_under_another_id_is_not_two():
    env = envelope.sign(TYPE, b"x", [key("maria")])
    twice = dataclasses.replace(env, signatures=(*env.signatures, Signature("ff" * 16, env.signatures[0].sig)))
    assert envelope.signed_by(twice, [key("maria").public]) == {key("maria").public}


def test_E2_another_payload_under_the_same_signature():
    env = envelope.sign(TYPE, b"x", [key("maria")])
    with pytest.raises(RefusedError) as err:
        envelope.signed_by(dataclasses.replace(env, payload=b"y"), [key("maria").public])
    assert err.value.reason is Reason.BAD_SIGNATURE


def test_E4_another_type_under_the_same_signature():
    env = envelope.sign(TYPE, b"x", [key("maria")])
    with pytest.raises(RefusedError):
        envelope.signed_by(
            dataclasses.replace(env, payload_type=TYPE.replace("plan", "approval")), [key("maria").public]
        )


def test_E5_a_bad_signature_by_a_known_key_voids_the_good_one():
    env = envelope.sign(TYPE, b"x", [key("maria"), key("joseph")])
    bad = Signature(env.signatures[1].keyid, bytes(64))
    with pytest.raises(RefusedError) as err:
        envelope.signed_by(
            dataclasses.replace(env, signatures=(env.signatures[0], bad)), [key("maria").public, key("joseph").public]
        )
    assert err.value.reason is Reason.BAD_SIGNATURE


def test_E7_unknown_keys_do_not_count():
    assert envelope.signed_by(envelope.sign(TYPE, b"x", [key("eve")]), [key("maria").public]) == frozenset()


def test_E8_a_key_id_that_lies_makes_nothing_count():
    good = envelope.sign(TYPE, b"x", [key("eve")]).signatures[0]
    lie = Envelope(TYPE, b"x", (Signature(envelope.sign(TYPE, b"x", [key("maria")]).signatures[0].keyid, good.sig),))
    with pytest.raises(RefusedError):
        envelope.signed_by(lie, [key("maria").public])
    assert envelope.signed_by(Envelope(TYPE, b"x", (Signature("", good.sig),)), [key("eve").public]) == frozenset()


def test_E3_both_alphabets_are_read_and_mean_the_same():
    payload = bytes([0xFB, 0xFF, 0xFE])
    for text in ("+//+", "-__-"):
        assert envelope.decode_untrusted(as_json(payload=text)).payload == payload


def test_unknown_fields_are_ignored_and_keyid_is_optional():
    data = as_json(extra={"x": [1]}, signatures=[{"sig": b64(b"s"), "later": 1}])
    assert envelope.decode_untrusted(data).signatures == (Signature("", b"s"),)


def test_a_large_payload_is_read():
    payload = b"x" * limits.STATEMENT_BYTES
    assert envelope.decode_untrusted(as_json(payload=b64(payload))).payload == payload


BAD = {
    "E3 mixed alphabets": as_json(payload="+_/-"),
    "E3 stray bits": as_json(payload="aGVsbG9="[:-2] + "p="),
    "E3 no padding": as_json(payload="aGVsbG8"),
    "E3 white space": as_json(payload="aGVs\nbG8="),
    "not base64": as_json(payload="é"),
    "E6 101 signatures": as_json(signatures=[{"sig": b64(b"s")}] * 101),
    "no signatures": as_json(signatures=[]),
    "type empty": as_json(payloadType=""),
    "type too long": as_json(payloadType="é" * 128),
    "type missing": json.dumps({"payload": "", "signatures": []}).encode(),
    "keyid too long": as_json(signatures=[{"keyid": "k" * 129, "sig": ""}]),
    "payload too long": as_json(payload=b64(b"x" * (limits.STATEMENT_BYTES + 1))),
    "T16 too large": b" " * (limits.ENVELOPE_BYTES + 1),
    "not json": b"DSSEv1",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_E3_E6_T16_malformed_envelopes(data):
    with pytest.raises(MalformedEnvelopeError):
        envelope.decode_untrusted(data)


@given(st.binary() | st.builds(lambda p, t: as_json(payload=p, payloadType=t), st.text(), st.text()))
def test_total_on_any_bytes(data):
    try:
        envelope.decode_untrusted(data)
    except MalformedEnvelopeError:
        pass
