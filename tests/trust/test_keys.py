import json

import nacl.pwhash.argon2id as argon2id
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import data_file, key
from trust import keys
from trust.errors import MalformedKeyError, WrongPassphraseError

MIN = (argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)


def test_wycheproof():
    groups = json.loads(data_file("vectors/ed25519/wycheproof.json").read_text())["testGroups"]
    tried = 0
    for group in groups:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            got = keys.verify(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert got == (case["result"] == "valid"), case["comment"]
            tried += 1
    assert tried == 151


def test_T13_small_order_keys_are_never_enrolled_nor_verify():
    cases = json.loads(data_file("vectors/ed25519/cctv.json").read_text())
    small_order = {"low_order_A", "non_canonical_A"}
    refused = verified = 0
    for case in cases:
        public, sig = bytes.fromhex(case["key"]), bytes.fromhex(case["sig"])
        flags = set(case["flags"] or ())
        ok = keys.verify(public, case["msg"].encode(), sig)
        verified += ok
        # libsodium's answers, pinned: no small-order or non-canonical A, no small-order or non-canonical R
        assert ok == (
            not flags & (small_order | {"low_order_R", "non_canonical_R"}) and "low_order_residue" not in flags
        )
        if flags & small_order:
            with pytest.raises(MalformedKeyError):
                keys.check_public_untrusted(public)
            refused += 1
    assert refused > 300
    assert verified > 0


def test_T13_the_identity_point_signs_nothing_here():
    identity, constant = b"\x01" + bytes(31), b"\x01" + bytes(63)
    for message in (b"one", b"two", b"three"):
        assert not keys.verify(identity, message, constant)
    with pytest.raises(MalformedKeyError):
        keys.check_public_untrusted(identity)


def test_good_keys_are_accepted():
    for n in range(20):
        keys.check_public_untrusted(key(str(n)).public)
    with pytest.raises(MalformedKeyError, match="32 bytes"):
        keys.check_public_untrusted(b"short")


def test_sign_and_verify():
    pair = keys.SigningKey.generate()
    signature = pair.sign(b"message")
    assert len(signature) == keys.SIGNATURE_BYTES
    assert keys.verify(pair.public, b"message", signature)
    assert not keys.verify(pair.public, b"massage", signature)
    assert not keys.verify(pair.public, b"message", signature[:-1])
    assert not keys.verify(pair.public[:-1], b"message", signature)
    assert keys.SigningKey(pair.seed).public == pair.public
    assert pair.seed.hex() not in repr(pair)
    assert pair.public.hex() in repr(pair)
    with pytest.raises(MalformedKeyError, match="32 bytes"):
        keys.SigningKey(b"short")


@pytest.mark.parametrize("size", [0, 4096, 4097, 100_000])
def test_a_verdict_is_that_of_all_three_also_when_asked_again(size):
    one, other, message = keys.SigningKey.generate(), keys.SigningKey.generate(), bytes(size)
    signature = one.sign(message)
    for _ in range(3):
        assert keys.verify(one.public, message, signature)
        assert not keys.verify(other.public, message, signature)
        assert not keys.verify(one.public, message + b"x", signature)
        assert not keys.verify(one.public, message, bytes(64))


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_verify_never_raises(public, signature):
    assert not keys.verify(public, b"m", signature)


def test_proquints_of_the_paper():
    # arXiv 0901.4016: 127.0.0.1 is lusab-babad, 63.84.220.193 is gutih-tugad
    assert keys.words_of(bytes([127, 0, 0, 1])) == "lusab-babad"
    assert keys.words_of(bytes([63, 84, 220, 193])) == "gutih-tugad"


@given(st.binary(min_size=16, max_size=16), st.sampled_from([" ", "-", ", ", " - ", "\n"]))
def test_words_survive_how_people_type(value, between):
    text = keys.words_of(value)
    assert len(text.split("-")) == 8
    assert keys.parse_words_untrusted("  " + text.upper().replace("-", between) + " ") == value


@given(st.text())
def test_words_total_on_any_text(text):
    try:
        assert len(keys.parse_words_untrusted(text)) == 16
    except MalformedKeyError:
        pass


def test_misspelled_words_are_named():
    good = keys.words(b"anything").split("-")
    with pytest.raises(MalformedKeyError, match="word 3 is misspelled"):
        keys.parse_words_untrusted(" ".join([*good[:2], "hello", *good[3:]]))
    with pytest.raises(MalformedKeyError, match="8 words, got 7"):
        keys.parse_words_untrusted(" ".join(good[:7]))


def test_T20_another_key_has_other_words():
    plan, log, other = (key(n).public for n in ("plan", "log", "other"))
    assert keys.fingerprint(plan, log) == keys.words(plan + log)
    assert len({keys.fingerprint(plan, log), keys.fingerprint(other, log), keys.fingerprint(log, plan)}) == 3


def test_sealed_keys_open_with_their_passphrase_only():
    pair = key("maria")
    sealed = keys.seal_key(pair.seed, b"correct horse", *MIN)
    assert pair.seed.hex().encode() not in sealed
    assert keys.open_key_untrusted(sealed, b"correct horse").public == pair.public
    assert keys.sealed_public_untrusted(sealed) == pair.public
    with pytest.raises(WrongPassphraseError):
        keys.open_key_untrusted(sealed, b"correct house")
    with pytest.raises(MalformedKeyError):
        keys.seal_key(b"short", b"", *MIN)


def altered(**changes):
    document = json.loads(keys.seal_key(key("maria").seed, b"pw", *MIN))
    document.update(changes)
    return json.dumps(document).encode()


BAD_FILES = {
    "format": altered(format="other"),
    "kdf": altered(kdf="scrypt"),
    "ops": altered(ops=10_000),
    "mem": altered(mem=1 << 40),
    "salt": altered(salt="00"),
    "box": altered(box="***"),
    "unknown field": altered(extra=1),
    "not json": b"-----BEGIN KEY-----",
    "another public": altered(public=key("joseph").public.hex()),
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_altered_key_files_are_refused(data):
    with pytest.raises(MalformedKeyError):
        keys.open_key_untrusted(data, b"pw")


def test_a_box_too_short_is_a_wrong_passphrase():
    with pytest.raises(WrongPassphraseError):
        keys.open_key_untrusted(altered(box="AAAA"), b"pw")


@given(st.binary())
def test_key_files_total_on_any_bytes(data):
    with pytest.raises(MalformedKeyError):
        keys.open_key_untrusted(data, b"pw")
