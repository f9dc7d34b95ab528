import base64
import hashlib
import struct

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import key
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


def test_unknown_keys_are_passed_over_known_ones_listed_once():
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


# --- cosignatures ---------------------------------------------------------------------------------------------------

WITNESS = VerifierKey("witness.example/w1", key("w").public, 4)
TIME = 1679315147
LINE = checkpoint.cosign(CP.text(), WITNESS.name, key("w"), TIME)
# The example of C2SP tlog-cosignature, whose key is not given there
EXAMPLE = "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="


def test_a_cosignature_is_the_bytes_of_the_specification():
    """Made here from the text of C2SP tlog-cosignature v1.0.1, without our code."""
    name, seed = "witness.example/w1", hashlib.sha256(b"w").digest()
    signer = nacl.signing.SigningKey(seed)
    key_id = hashlib.sha256(name.encode() + b"\n\x04" + bytes(signer.verify_key)).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + CP.text().encode()
    raw = key_id + struct.pack(">Q", TIME) + signer.sign(message).signature
    assert f"— {name} {b64(raw)}\n" == LINE
    example = base64.b64decode(EXAMPLE)
    assert (len(raw), raw[4:12]) == (len(example), example[4:12])


def test_cosignatures_round_trip():
    for time_s in (0, TIME, 2**63 - 1):
        line = checkpoint.cosign(CP.text(), WITNESS.name, key("w"), time_s)
        assert checkpoint.verify_cosignature_untrusted(line, CP.text(), WITNESS) == time_s
        assert checkpoint.verify_cosignature_untrusted(line.rstrip("\n"), CP.text(), WITNESS) == time_s
    vkey = checkpoint.encode_witness_vkey(WITNESS.name, WITNESS.public)
    assert checkpoint.parse_witness_vkey_untrusted(vkey) == WITNESS
    assert WITNESS.key_id != VerifierKey(WITNESS.name, WITNESS.public).key_id


def test_L6_a_cosignature_is_for_one_text_time_and_witness():
    def bad(line=LINE, cosigned=CP, vkey=WITNESS):
        with pytest.raises(MalformedNoteError):
            checkpoint.verify_cosignature_untrusted(line, cosigned.text(), vkey)

    raw = base64.b64decode(LINE.split()[2])
    bad(cosigned=Checkpoint(ORIGIN, 4, CP.root))
    bad(f"— {WITNESS.name} {b64(raw[:4] + struct.pack('>Q', TIME + 1) + raw[12:])}\n")
    bad(f"— {WITNESS.name} {b64(raw[:-1])}\n")
    bad(f"— {WITNESS.name} {b64(raw[:6])}\n")
    bad(f"— other {LINE.split()[2]}\n")
    bad(LINE + LINE)
    bad(vkey=VerifierKey(WITNESS.name, key("eve").public, 4))
    bad(vkey=VerifierKey(WITNESS.name, key("w").public))
    far = 2**63
    message = f"cosignature/v1\ntime {far}\n{CP.text()}".encode()
    bad(f"— {WITNESS.name} {b64(WITNESS.key_id + struct.pack('>Q', far) + key('w').sign(message))}\n")


def test_T14_a_cosignature_never_counts_as_a_logs_signature():
    log_line = checkpoint.sign_note(CP.text(), WITNESS.name, key("w")).decode().rpartition("\n\n")[2]
    with pytest.raises(MalformedNoteError, match="another key"):
        checkpoint.verify_cosignature_untrusted(log_line, CP.text(), WITNESS)
    with pytest.raises(MalformedNoteError, match="none of the known keys"):
        checkpoint.open_note_untrusted(f"{CP.text()}\n{LINE}".encode(), [WITNESS])
    assert checkpoint.open_note_untrusted(NOTE + LINE.encode(), [VKEY, WITNESS]).signers == (VKEY,)
    for text, parse in (
        (str(VKEY), checkpoint.parse_witness_vkey_untrusted),
        (str(WITNESS), checkpoint.parse_vkey_untrusted),
    ):
        with pytest.raises(MalformedNoteError, match="type"):
            parse(text)


def test_what_is_not_cosigned():
    for text, name, time_s in (
        (CP.text(), "a b", 1),
        ("no newline", "w", 1),
        (CP.text(), "w", -1),
        (CP.text(), "w", 2**63),
    ):
        with pytest.raises(MalformedNoteError):
            checkpoint.cosign(text, name, key("w"), time_s)


@given(st.text())
def test_any_cosignature_line_is_refused_or_ours(line):
    with pytest.raises(MalformedNoteError):
        checkpoint.verify_cosignature_untrusted(line, CP.text(), WITNESS)


def test_a_note_has_so_many_signatures_at_most() -> None:
    lines = [f"\u2014 name{n} AAAA" for n in range(limits.SIGNATURES_MAX + 1)]
    assert checkpoint.split_note_untrusted("\n".join(["text", "", *lines[1:], ""]).encode()) == ("text\n", lines[1:])
    with pytest.raises(MalformedNoteError, match="at most 100 signatures, got 101"):
        checkpoint.split_note_untrusted("\n".join(["text", "", *lines, ""]).encode())
