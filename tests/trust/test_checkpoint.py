import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trust.helpers import key
from trust import checkpoint, limits, merkle
from trust.checkpoint import Checkpoint, VerifierKey
from trust.errors import MalformedNoteError

VECTOR = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
ORIGIN = "isp.example/agent/1"
VKEY = VerifierKey(ORIGIN, key("log").public)
CP = Checkpoint(ORIGIN, 3, merkle.leaf_hash(b"x"))
NOTE = checkpoint.sign_checkpoint(CP, key("log"), ORIGIN)


def b64(data):
    return base64.b64encode(data).decode()


def test_the_vkey_of_the_specification():
    vkey = checkpoint.parse_vkey_untrusted(VECTOR)
    assert (vkey.name, str(vkey)) == ("example.com/foo", VECTOR)
    assert checkpoint.encode_vkey(vkey.name, vkey.public) == VECTOR


def test_checkpoint_round_trip():
    assert checkpoint.open_checkpoint_untrusted(NOTE, VKEY) == CP
    assert NOTE.decode().split("\n")[:2] == [ORIGIN, "3"]
    empty = Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
    assert checkpoint.open_checkpoint_untrusted(checkpoint.sign_checkpoint(empty, key("log"), ORIGIN), VKEY) == empty


def test_the_text_is_split_at_the_last_empty_line():
    note = checkpoint.sign_note("one\n\ntwo\n", ORIGIN, key("log"))
    assert checkpoint.open_note_untrusted(note, [VKEY]).text == "one\n\ntwo\n"


def test_unknown_keys_are_passed_over_and_known_ones_listed_once():
    second = VerifierKey("witness.example", key("w").public)
    line = checkpoint.sign_note(CP.text(), second.name, key("w")).rpartition(b"\n\n")[2]
    mine = NOTE.rpartition(b"\n\n")[2]
    assert checkpoint.open_note_untrusted(NOTE + line, [VKEY]).signers == (VKEY,)
    assert checkpoint.open_note_untrusted(NOTE + line + mine, [second, VKEY]).signers == (VKEY, second)
    with pytest.raises(MalformedNoteError, match="none of the known keys"):
        checkpoint.open_note_untrusted(NOTE, [second])


def test_a_bad_signature_by_a_known_key_voids_the_note():
    bad = f"— {ORIGIN} {b64(VKEY.key_id + bytes(64))}\n".encode()
    with pytest.raises(MalformedNoteError, match="is bad"):
        checkpoint.open_note_untrusted(NOTE + bad, [VKEY])


def test_another_origin_is_refused():
    other = checkpoint.sign_checkpoint(Checkpoint("other.example", 3, CP.root), key("log"), ORIGIN)
    with pytest.raises(MalformedNoteError, match="origin"):
        checkpoint.open_checkpoint_untrusted(other, VKEY)


BAD_NOTES = {
    "too long": b"x" * (limits.NOTE_BYTES + 1),
    "not utf-8": b"\xff\n\n",
    "no separator": b"text\n",
    "no newline at its end": NOTE[:-1],
    "control character": NOTE.replace(b"\n3\n", b"\n3\r\n"),
    "hyphen for dash": NOTE.replace("—".encode(), b"-"),
    "no name": "t\n\n— \n".encode(),
    "name with plus": f"t\n\n— a+b {b64(bytes(68))}\n".encode(),
    "stray bits": "t\n\n— a AB==\n".encode(),
    "not base64": "t\n\n— a é\n".encode(),
    "short signature": f"t\n\n— a {b64(bytes(4))}\n".encode(),
    "101 signatures": NOTE + NOTE.rpartition(b"\n\n")[2] * 100,
    "altered text": NOTE.replace(b"\n3\n", b"\n4\n"),
}


@pytest.mark.parametrize("note", BAD_NOTES.values(), ids=BAD_NOTES.keys())
def test_malformed_notes(note):
    with pytest.raises(MalformedNoteError):
        checkpoint.open_note_untrusted(note, [VKEY])


ROOT = b64(CP.root)
BAD_CHECKPOINTS = {
    "no origin": f"\n3\n{ROOT}\n",
    "leading zero": f"o\n03\n{ROOT}\n",
    "negative": f"o\n-3\n{ROOT}\n",
    "not ascii": f"o\n٣\n{ROOT}\n",
    "too large": f"o\n{2**63}\n{ROOT}\n",
    "extension line": f"o\n3\n{ROOT}\nmore\n",
    "short root": f"o\n3\n{b64(bytes(31))}\n",
    "L3 size 0 with a root": f"o\n0\n{ROOT}\n",
    "two lines": "o\n3\n",
}


@pytest.mark.parametrize("text", BAD_CHECKPOINTS.values(), ids=BAD_CHECKPOINTS.keys())
def test_malformed_checkpoints(text):
    with pytest.raises(MalformedNoteError):
        checkpoint.parse_checkpoint_untrusted(text)


BAD_VKEYS = {
    "empty": "",
    "no name": VECTOR.removeprefix("example.com/foo"),
    "space": VECTOR.replace(".", " "),
    "key id": VECTOR.replace("530d903a", "530d903b"),
    "type": "n+00000000+" + b64(b"\x04" + bytes(32)),
    "length": "n+00000000+" + b64(b"\x01" + bytes(31)),
    "base64": "n+00000000+*",
}


@pytest.mark.parametrize("text", BAD_VKEYS.values(), ids=BAD_VKEYS.keys())
def test_malformed_vkeys(text):
    with pytest.raises(MalformedNoteError):
        checkpoint.parse_vkey_untrusted(text)


def test_what_cannot_be_signed():
    for text in ("no newline", "tab\t\n"):
        with pytest.raises(MalformedNoteError):
            checkpoint.sign_note(text, ORIGIN, key("log"))
    for name in ("", "a b", "a+b", "a\x01"):
        with pytest.raises(MalformedNoteError):
            checkpoint.encode_vkey(name, VKEY.public)
        with pytest.raises(MalformedNoteError):
            checkpoint.sign_note("x\n", name, key("log"))


@given(st.binary() | st.text().map(lambda t: t.encode() + b"\n\n" + NOTE.rpartition(b"\n\n")[2]))
def test_notes_total_on_any_bytes(data):
    try:
        checkpoint.open_note_untrusted(data, [VKEY])
    except MalformedNoteError:
        pass


@given(st.text() | st.text().map(lambda t: "name+" + t))
def test_texts_total(text):
    for parse in (checkpoint.parse_vkey_untrusted, checkpoint.parse_checkpoint_untrusted):
        try:
            parse(text)
        except MalformedNoteError:
            pass
