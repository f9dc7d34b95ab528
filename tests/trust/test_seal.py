import base64
import dataclasses
import hashlib
import json
import struct

import nacl.public
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.operator import AGENT, MINUTE, NOW, TRUST_ID, digest, documents, key, plan
from tests.builders.people import People
from trust import answer, envelope, items, limits, seal, statements
from trust.answer import ViewAnswer
from trust.errors import MalformedKeyError, MalformedSealError, MalformedStatementError
from trust.policy import Action
from trust.seal import SealingKey
from trust.statements import Intent, IntentSubject, OnFailure, OnStale, Receipt, ReceiptResult, SealKey, Standing, View

KEY, OTHER = SealingKey(b"k" * 32), SealingKey(b"o" * 32)
VIEW = b"v" * 16


def box(plain, key_=KEY):
    """Made with PyNaCl, without our padding."""
    return seal.hint(key_.public) + nacl.public.SealedBox(nacl.public.PublicKey(key_.public)).encrypt(plain)


# --- keys -----------------------------------------------------------------------------------------------------------

# RFC 7748 section 6.1: Bob's pair
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"

# All points of small order on Curve25519 and its twist, as X25519 reads them (also above the prime)
SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
]


def test_keys():
    bob = SealingKey(bytes.fromhex(BOB))
    assert bob.public.hex() == BOB_PUBLIC
    assert bob.private.hex() == BOB
    assert SealingKey.generate().public != SealingKey.generate().public
    assert repr(bob) == f"SealingKey({BOB_PUBLIC})"
    for bad in (b"", bytes(31), bytes(33)):
        with pytest.raises(MalformedKeyError, match="32 bytes"):
            SealingKey(bad)


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_T13_keys_of_small_order_hide_nothing(public):
    for call in (
        lambda: seal.check_sealing_public_untrusted(bytes.fromhex(public)),
        lambda: seal.seal(b"amina.h", bytes.fromhex(public)),
        lambda: seal.seal_pages(VIEW, bytes.fromhex(public), b"amina.h"),
    ):
        with pytest.raises(MalformedKeyError, match="hides nothing"):
            call()


def test_keys_of_another_length_are_refused():
    for public in (b"", bytes(31), b"k" * 33):
        with pytest.raises(MalformedKeyError, match="32 bytes"):
            seal.seal(b"", public)


# --- bodies ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=9000))
@settings(max_examples=30)
def test_bodies_round_trip(body):
    sealed = seal.seal(body, KEY.public)
    assert seal.open_sealed_untrusted(sealed, [OTHER, KEY]) == body
    assert sealed[:8] == seal.hint(KEY.public)
    assert len(sealed) - 56 in {4096, 8192, 16_384}


def test_C18_all_bodies_of_a_bucket_have_one_length():
    assert {len(seal.seal(b"x" * n, KEY.public)) for n in (0, 1, 17, 4091, 4092)} == {4096 + 56}
    assert len(seal.seal(b"x" * 4093, KEY.public)) == 8192 + 56
    assert {len(seal.seal(b"x" * n, KEY.public, smallest=65_536)) for n in (0, 4093, 65_532)} == {65_536 + 56}


def test_C11_the_same_body_never_looks_the_same():
    assert seal.seal(b"x", KEY.public)[8:] != seal.seal(b"x", KEY.public)[8:]


def test_the_longest_body():
    body = bytes(limits.SEALED_BYTES - 4)
    assert seal.open_sealed_untrusted(seal.seal(body, KEY.public), [KEY]) == body
    with pytest.raises(MalformedSealError, match="at most"):
        seal.seal(body + b"x", KEY.public)
    with pytest.raises(MalformedSealError, match="at most"):
        seal.open_sealed_untrusted(bytes(limits.SEALED_BYTES + 57), [KEY])


def test_E10_C16_only_the_key_of_today_opens():
    sealed = seal.seal(b"amina.h", KEY.public)
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    redirected = seal.hint(OTHER.public) + sealed[8:]
    for data, keys in ((sealed, []), (sealed, [OTHER]), (altered, [KEY]), (sealed[:60], [KEY]), (redirected, [OTHER])):
        with pytest.raises(MalformedSealError, match="none of the keys"):
            seal.open_sealed_untrusted(data, keys)
    for short in (b"", sealed[:8], sealed[:40]):
        with pytest.raises(MalformedSealError, match="none of the keys"):
            seal.open_sealed_untrusted(short, [KEY])


def test_padding_is_zeros_and_lengths_fit():
    assert seal.open_sealed_untrusted(box(struct.pack(">I", 2) + b"hi" + bytes(9)), [KEY]) == b"hi"
    for plain in (b"", b"\0\0\0", struct.pack(">I", 3) + b"hi", struct.pack(">I", 1) + b"hi", b"\xff" * 40):
        with pytest.raises(MalformedSealError):
            seal.open_sealed_untrusted(box(plain), [KEY])


@given(st.binary())
def test_bodies_total_on_any_bytes(data):
    for one in (data, seal.hint(KEY.public) + data, box(data)):
        try:
            assert seal.open_sealed_untrusted(one, [KEY]) in data
        except MalformedSealError:
            continue


# --- pages ----------------------------------------------------------------------------------------------------------

PAGES = seal.seal_pages(VIEW, KEY.public, b"amina.h" * 200_000)


@pytest.mark.parametrize(
    ("size", "pages"), [(0, 1), (65_528, 1), (65_529, 1), (600_000, 2), (1_048_568, 2), (1_048_569, 4)]
)
def test_pages_round_trip(size, pages):
    content = (b"%d" % size * (size // 2 + 1))[:size]
    sealed = seal.seal_pages(VIEW, KEY.public, content)
    assert len(sealed) == pages
    assert max(map(len, sealed)) < 1 << 20
    assert seal.open_pages_untrusted(VIEW, KEY, sealed) == content


def test_C18_number_and_lengths_of_pages_tell_power_of_two():
    def shape(n):
        return list(map(len, seal.seal_pages(VIEW, KEY.public, bytes(n))))

    assert shape(0) == shape(1) == shape(65_528) == [65_536 + 24 + 56]
    assert shape(700_000) == shape(1_000_000) == [limits.PAGE_BYTES + 24 + 56] * 2


def test_E11_a_page_missing_doubled_or_out_of_its_place():
    assert len(PAGES) == 4
    for pages in ([], PAGES[:-1], PAGES[1:], [*PAGES, PAGES[-1]], PAGES[::-1], [PAGES[0], PAGES[0], *PAGES[2:]]):
        with pytest.raises(MalformedSealError):
            seal.open_pages_untrusted(VIEW, KEY, pages)


def test_E10_E11_a_page_of_another_view_key_or_answer():
    for foreign in (
        seal.seal_pages(b"w" * 16, KEY.public, bytes(2_000_000))[1],
        seal.seal_pages(VIEW, OTHER.public, bytes(2_000_000))[1],
        seal.seal_pages(VIEW, KEY.public, bytes(1_000_000))[1],
        PAGES[1][:-1] + bytes([PAGES[1][-1] ^ 1]),
        PAGES[1][:70],
        PAGES[1] + bytes(100),
        b"",
    ):
        with pytest.raises(MalformedSealError):
            seal.open_pages_untrusted(VIEW, KEY, [PAGES[0], foreign, *PAGES[2:]])
    with pytest.raises(MalformedSealError, match="of this view"):
        seal.open_pages_untrusted(b"w" * 16, KEY, PAGES)


def test_view_ids_and_sizes(monkeypatch):
    for call in (
        lambda: seal.seal_pages(b"short", KEY.public, b""),
        lambda: seal.open_pages_untrusted(b"short", KEY, PAGES),
        lambda: seal.open_pages_untrusted(VIEW, KEY, PAGES * 200),
    ):
        with pytest.raises(MalformedSealError, match="expected"):
            call()
    monkeypatch.setattr(limits, "VIEW_BYTES", 1 << 20)
    with pytest.raises(MalformedSealError, match="at most"):
        seal.seal_pages(VIEW, KEY.public, bytes(1 << 20))


# --- what an agent answers ------------------------------------------------------------------------------------------

ANSWER = ViewAnswer(
    "K7QF", (b"head", b"item" * 50_000), b"note", 3, (b"h" * 32,), (b"link" * 50_000,), (("joseph", "approve"),)
)


def test_answers_round_trip_through_their_pages():
    for one in (ANSWER, ViewAnswer("", (), b"", 0, (), (), ())):
        pages = seal.seal_pages(VIEW, KEY.public, answer.encode(one))
        assert answer.decode_untrusted(seal.open_pages_untrusted(VIEW, KEY, pages)) == one


BASE = json.loads(answer.encode(dataclasses.replace(ANSWER, documents=(b"head",), links=(b"link",))))
BAD_ANSWERS = [
    *({k: v for k, v in BASE.items() if k != name} for name in BASE),
    *({**BASE, name: [{"surprise": 1}]} for name in BASE),
    {**BASE, "surprise": 1},
    {**BASE, "crit": ["later"]},
    {**BASE, "checkpoint": "*"},
    {**BASE, "documents": ["AAA"]},
    {**BASE, "old_size": -1},
    {**BASE, "approvals": [{"person": "Amina Hassan", "decision": "approve"}]},
    {**BASE, "approvals": [{"person": "joseph", "decision": "approve", "x": 1}]},
]


@pytest.mark.parametrize("fields", BAD_ANSWERS)
def test_malformed_answers(fields):
    with pytest.raises(MalformedStatementError):
        answer.decode_untrusted(json.dumps(fields).encode())


def test_unknown_extensions_of_an_answer_are_ignored():
    assert answer.decode_untrusted(json.dumps({**BASE, "ext": {"later": 1}}).encode()).short == "K7QF"


LONGEST = {
    "checkpoint": 2 * limits.NOTE_BYTES,
    "documents": 2 * limits.ITEM_BYTES,
    "consistency": limits.TEXT_BYTES,
    "links": 2 * limits.ENVELOPE_BYTES,
}
"""Characters of base64 of each field, or of each member of a list."""


@pytest.mark.parametrize("name", LONGEST)
def test_a_text_of_an_answer_is_as_long_as_its_limit(name):
    """And not longer: an agent that sends more is not read."""
    for more in (0, 4):
        text = base64.b64encode(bytes((LONGEST[name] + more) // 4 * 3)).decode()
        data = json.dumps({**BASE, name: text if isinstance(BASE[name], str) else [text]}).encode()
        if not more:
            answer.decode_untrusted(data)
            continue
        with pytest.raises(MalformedStatementError, match=f"{name}.*longer than {LONGEST[name]} bytes"):
            answer.decode_untrusted(data)


@given(st.binary())
def test_answers_total_on_any_bytes(data):
    with pytest.raises(MalformedStatementError):
        answer.decode_untrusted(data)


# --- E9: what the cloud can try -------------------------------------------------------------------------------------

NAMES = ["amina.h", "C-10482", "C-10481", "0712345678", "48:8F:5A:00:11:22", "juma"]


def text_fields(kind):
    """The fields of a statement that are text, and no id, digest, key or handle by their reader."""
    fixed = "trust_id agent view_id standing_id person x25519 eph_pub plan_sha256 of_type of_sha256 log_root"
    return {f.name for f in dataclasses.fields(kind) if f.type == "str"} - set(fixed.split())


def test_E9_views_and_receipts_have_no_room_for_a_subscriber():
    for kind in (SealKey, View, Standing, Receipt):
        assert text_fields(kind) == set()
    people, one_time = People(now_s=NOW), SealingKey(b"1" * 32)
    plans = [statements.sign(plan(items_root=r * 32), [key("agent-plan")]) for r in ("01", "02")]
    views = [
        json.loads(envelope.decode_untrusted(people.view(p, "lena", one_time, view_id="00" * 16)).payload)
        for p in plans
    ]
    assert {name for name in views[0] if views[0][name] != views[1][name]} == {"plan_sha256"}


def guessed_plan(name, salt):
    """The plan that an attacker expects who knows everything but the salts."""
    head, item = documents()
    item = json.loads(item) | {"subject": name, "salt": salt}
    head = json.loads(head) | {"salt": salt}
    made = [json.dumps(d, ensure_ascii=False, separators=(",", ":")).encode() for d in (head, item)]
    return plan(items_root=items.items_root(made).hex())


def guessed_intent(name, salt):
    base = Intent(
        TRUST_ID, "01" * 16, salt, AGENT, "maria", Action.SUSPEND, {}, (IntentSubject("service", name),), (),
        OnFailure.STOP, OnStale.SKIP, 0, NOW, "",
    )  # fmt: skip
    return envelope.digest_of(statements.payload_type(Intent), statements.encode(base))


def test_E9_dictionary_confirms_no_name_in_what_cloud_sees():
    """A view names a plan's digest, a receipt an intent's: with the salt a guess is confirmed, without it none is."""
    secret, wrong = "c3" * 16, ["00" * 16, "5a" * 16, TRUST_ID]
    people, one_time = People(now_s=NOW), SealingKey(b"1" * 32)
    signed = statements.sign(guessed_plan("C-10482", secret), [key("agent-plan")])
    view = json.loads(envelope.decode_untrusted(people.view(signed, "lena", one_time)).payload)
    receipt = Receipt(
        TRUST_ID, AGENT, "intent", guessed_intent("C-10482", secret).hex(), ReceiptResult.ACCEPTED, None, 0, 0, 1, 0,
        "00" * 32, MINUTE,
    )  # fmt: skip
    digests = {name: {digest(guessed_plan(name, secret)).hex(), guessed_intent(name, secret).hex()} for name in NAMES}
    assert {name for name in NAMES if digests[name] & {view["plan_sha256"], receipt.of_sha256}} == {"C-10482"}
    for name in NAMES:
        for salt in wrong:
            guesses = {digest(guessed_plan(name, salt)).hex(), guessed_intent(name, salt).hex()}
            guesses |= {hashlib.sha256(name.encode()).hexdigest()}
            assert not guesses & {view["plan_sha256"], receipt.of_sha256, receipt.log_root}
