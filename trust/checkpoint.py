"""Signed notes and checkpoints: a log's statement of its size and root (C2SP signed-note v1.0.0, tlog-checkpoint
v1.0.0).

    note        = text LF signature-line+
    signature   = "— " name " " base64(key-id[4] signature) LF
    key-id      = SHA-256(name LF type public-key)[:4]
    vkey        = name "+" hex(key-id) "+" base64(type public-key)
    checkpoint  = origin LF decimal-size LF base64(root) LF        (the text of its note)

Of the types, 0x01 (Ed25519) signs our notes. Witnesses' lines have type 0x04 (C2SP tlog-cosignature v1.0.1):

    signature   = u64-big-endian-time ed25519("cosignature/v1" LF "time " decimal-time LF text)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trust import keys as _keys
from trust import limits, merkle
from trust.errors import MalformedNoteError
from trust.keys import SigningKey

_LOG: Final = 1
_WITNESS: Final = 4
_DASH: Final = "— "
_TIME: Final = struct.Struct(">Q")
_TIME_MAX: Final = 2**63 - 1
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 key, as a C2SP vkey states it. `kind` is 1 for a log, 4 for a witness (cosignature/v1)."""

    name: str
    public: bytes
    kind: int = _LOG

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signature lines name the key."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed()).digest()[:4]

    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.public

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_b64(self._typed())}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: its name, the number of its leaves, their root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text of the checkpoint's note."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note with its text, signed by `signers`, each of them a known key."""

    text: str
    signers: tuple[VerifierKey, ...]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64_untrusted(text: str, what: str) -> bytes:
    """Return the bytes of standard base64; `what` is it for messages.

    Raises:
        MalformedNoteError: not base64, or not the one encoding of its bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MalformedNoteError(f"{what}: not base64") from err
    if _b64(data) != text:
        raise MalformedNoteError(f"{what}: base64 with stray bits at its end")
    return data


def _check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() or ord(c) < 0x20 for c in name):
        raise MalformedNoteError("expected a key name without spaces and +, got another")


def encode_vkey(name: str, public: bytes) -> str:
    """Return the verifier key of a log, for people and trust documents.

    Raises:
        MalformedNoteError: the name is empty or has a space, a control character or `+`.
    """
    _check_name(name)
    return str(VerifierKey(name, public))


def parse_vkey_untrusted(text: str) -> VerifierKey:
    """Return the key that a vkey names.

    Raises:
        MalformedNoteError: not a vkey, not of type 0x01 (Ed25519), or its key id does not fit.
    """
    return _parse_vkey(text, _LOG)


def encode_witness_vkey(name: str, public: bytes) -> str:
    """Return the verifier key of a witness, for people and trust documents.

    Raises:
        MalformedNoteError: the name is empty or has a space, a control character or `+`.
    """
    _check_name(name)
    return str(VerifierKey(name, public, _WITNESS))


def parse_witness_vkey_untrusted(text: str) -> VerifierKey:
    """Return the key that a witness's vkey names.

    Raises:
        MalformedNoteError: not a vkey, not of type 0x04 (cosignature/v1), or its key id does not fit.
    """
    return _parse_vkey(text, _WITNESS)


def _parse_vkey(text: str, kind: int) -> VerifierKey:
    name, key_id, data = (text.split("+", 2) + ["", ""])[:3]
    _check_name(name)
    raw = unb64_untrusted(data, "vkey")
    if raw[:1] != bytes([kind]) or len(raw) != 1 + _keys.PUBLIC_BYTES:
        raise MalformedNoteError(f"vkey: expected an Ed25519 key (type {kind}, 32 bytes), got another")
    vkey = VerifierKey(name, raw[1:], kind)
    if vkey.key_id.hex() != key_id:
        raise MalformedNoteError("vkey: its key id does not fit its name and key")
    return vkey


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """Return the note of `text` (it ends with a newline) with one signature.

    Raises:
        MalformedNoteError: no newline at its end, control characters, or a bad name.
    """
    _check_name(name)
    _check_text(text)
    key_id = VerifierKey(name, key.public).key_id
    return f"{text}\n{_DASH}{name} {_b64(key_id + key.sign(text.encode()))}\n".encode()


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise MalformedNoteError("note: expected text that ends with a newline and has no control characters")


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey, name: str) -> bytes:
    """Return the checkpoint as a signed note; `name` is the log's key name, which is its origin."""
    return sign_note(checkpoint.text(), name, key)


def split_note_untrusted(note: bytes) -> tuple[str, list[str]]:
    """Return a note's text and its signature lines, without newlines; nothing is verified.

    Raises:
        MalformedNoteError: not a note.
    """
    if len(note) > limits.NOTE_BYTES:
        raise MalformedNoteError(f"note: expected at most {limits.NOTE_BYTES} bytes, got {len(note)}")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as err:
        raise MalformedNoteError("note: not UTF-8") from err
    # At the last empty line: what is signed may hold empty lines of its own
    text, separator, tail = whole.rpartition("\n\n")
    text += "\n"
    if not separator or not tail.endswith("\n"):
        raise MalformedNoteError("note: expected text, an empty line and signature lines")
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > limits.SIGNATURES_MAX:
        raise MalformedNoteError(f"note: expected at most {limits.SIGNATURES_MAX} signatures, got {len(lines)}")
    return text, lines


def open_note_untrusted(note: bytes, vkeys: Sequence[VerifierKey]) -> SignedNote:
    """Return the text of a note that at least one of `vkeys` signed; unknown keys are passed over, as C2SP says.

    Raises:
        MalformedNoteError: not a note, a known key's signature is bad, or no known key signed.
    """
    text, lines = split_note_untrusted(note)
    known = {(v.name, v.key_id): v for v in vkeys if v.kind == _LOG}
    signers: dict[VerifierKey, None] = {}
    for line in lines:
        name, key_id, signature = _signature_line(line)
        vkey = known.get((name, key_id))
        if vkey is None:
            continue
        # C2SP signed-note: a bad signature by a known key spoils the note; only those by unknown keys are passed over
        if not _keys.verify(vkey.public, text.encode(), signature):
            raise MalformedNoteError(f"note: the signature by the known key {vkey.name} is bad")
        signers[vkey] = None
    if not signers:
        raise MalformedNoteError("note: none of the known keys signed it")
    return SignedNote(text, tuple(signers))


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    name, space, data = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise MalformedNoteError("note: a signature line does not begin with a dash, a name and a space")
    _check_name(name)
    raw = unb64_untrusted(data, "note signature")
    if len(raw) < 5:
        raise MalformedNoteError("note: a signature is shorter than its key id")
    return name, raw[:4], raw[4:]


def parse_checkpoint_untrusted(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is. Extension lines are refused: ours have none.

    Raises:
        MalformedNoteError: not three lines, a bad size or root, or a root that cannot be the empty tree's.
    """
    checkpoint = read_checkpoint_untrusted(text)
    if checkpoint.size == 0 and checkpoint.root != merkle.EMPTY_ROOT:
        raise MalformedNoteError("checkpoint: size 0 with a root that is not the empty tree's")
    return checkpoint


def read_checkpoint_untrusted(text: str) -> Checkpoint:
    """Return the content of a checkpoint's three lines, also of an empty tree with an impossible root (a witness
    answers it).

    Raises:
        MalformedNoteError: not three lines, or a bad size or root.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise MalformedNoteError("checkpoint: expected origin, size and root, a line each")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > limits.TREE_SIZE_MAX:
        raise MalformedNoteError("checkpoint: expected a decimal size without leading zeros")
    root = unb64_untrusted(lines[2], "checkpoint root")
    if len(root) != merkle.HASH_BYTES:
        raise MalformedNoteError(f"checkpoint: expected a root of {merkle.HASH_BYTES} bytes, got {len(root)}")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_checkpoint_untrusted(note: bytes, vkey: VerifierKey) -> Checkpoint:
    """Return the checkpoint that the log of `vkey` signed.

    Raises:
        MalformedNoteError: not a note, not signed by that key, not a checkpoint, or of another origin.
    """
    checkpoint = parse_checkpoint_untrusted(open_note_untrusted(note, [vkey]).text)
    # A key signs for one log: under another origin its checkpoints would pass for those of another tree
    if checkpoint.origin != vkey.name:
        raise MalformedNoteError("checkpoint: its origin is not the log whose key signed it")
    return checkpoint


# --- cosignatures ---------------------------------------------------------------------------------------------------


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(note_text: str, name: str, key: SigningKey, time_s: int) -> str:
    """Return a witness's signature line over a checkpoint's text, with its newline.

    It says: at that time this was the largest tree of this log that the witness had seen, and it is consistent with
    all before. So persist the result of `witness.judge` first.

    Args:
        note_text: the text of the checkpoint's note, its last newline included.
        name: the witness's key name.
        key: its key, used for cosignatures alone: the signed bytes do not name the witness.
        time_s: unix seconds, 0 <= time_s < 2**63.

    Raises:
        MalformedNoteError: text that is no note's, a bad name, or a time out of range.
    """
    _check_name(name)
    _check_text(note_text)
    if not 0 <= time_s <= _TIME_MAX:
        raise MalformedNoteError(f"cosignature: expected a time of 0 to {_TIME_MAX}, got {time_s}")
    key_id = VerifierKey(name, key.public, _WITNESS).key_id
    return f"{_DASH}{name} {_b64(key_id + _TIME.pack(time_s) + key.sign(_cosigned(note_text, time_s)))}\n"


def verify_cosignature_untrusted(line: str, note_text: str, vkey: VerifierKey) -> int:
    """Return the time, unix seconds, at which the witness of `vkey` cosigned this text; how old is too old, you say.

    Args:
        line: one signature line, with or without its newline.
        note_text: the text of the checkpoint's note.
        vkey: the witness's key, of kind 4.

    Raises:
        MalformedNoteError: not a signature line, by another key, or a bad signature.
    """
    name, key_id, signature = _signature_line(line.removesuffix("\n"))
    if (name, key_id, vkey.kind) != (vkey.name, vkey.key_id, _WITNESS):
        raise MalformedNoteError("cosignature: by another key than the given one")
    time_s = int.from_bytes(signature[: _TIME.size], "big")
    good = _keys.verify(vkey.public, _cosigned(note_text, time_s), signature[_TIME.size :])
    if not good or time_s > _TIME_MAX:
        raise MalformedNoteError(f"cosignature: the signature by {vkey.name} is bad")
    return time_s
