"""The work of a witness of logs, and the questions of a log's reader to witnesses (C2SP tlog-witness v1.0.0). No I/O.

    request     = "old " decimal-size LF (base64-hash LF)*63 LF note

A witness remembers one checkpoint of each log. `judge` returns the state that it must persist before it cosigns
(`checkpoint.cosign`); checking and persisting are one transaction of the caller's, or two requests at a time would roll
it back.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trust import checkpoint as _checkpoint
from trust import limits, merkle
from trust.checkpoint import Checkpoint, VerifierKey
from trust.document import Trust, Witness, WitnessOperator
from trust.errors import MalformedNoteError, MalformedProofError

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_REQUEST_BYTES: Final = limits.NOTE_BYTES + (limits.PROOF_HASHES_MAX + 1) * 64


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness last cosigned, the consistency proof from there, and the signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a checkpoint is not cosigned, as C2SP numbers it; with 409, `size` is the last size that the witness
    cosigned.

    400 not a request, or old > size · 403 not signed by the log's key · 404 no such log · 409 another size than `old`
    was cosigned last · 422 the proof does not prove it.
    """

    status: int
    size: int | None = None


def encode_request(request: AddCheckpoint) -> bytes:
    """Return the body of an add-checkpoint request."""
    lines = [f"old {request.old}", *(base64.b64encode(h).decode() for h in request.proof)]
    return ("\n".join(lines) + "\n\n").encode() + request.note


def decode_request_untrusted(data: bytes) -> AddCheckpoint:
    """Return the request that `data` is; its note is not looked at yet.

    Raises:
        MalformedNoteError: not that format, or over a limit.
    """
    if len(data) > _REQUEST_BYTES:
        raise MalformedNoteError(f"add-checkpoint: expected at most {_REQUEST_BYTES} bytes, got {len(data)}")
    head, separator, note = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as err:
        raise MalformedNoteError("add-checkpoint: expected ASCII before the checkpoint") from err
    old = _OLD.fullmatch(first)
    if not separator or old is None or int(old[1]) > limits.TREE_SIZE_MAX:
        raise MalformedNoteError("add-checkpoint: expected an old size, proof lines and an empty line")
    if len(lines) > limits.PROOF_HASHES_MAX:
        raise MalformedNoteError(
            f"add-checkpoint: expected at most {limits.PROOF_HASHES_MAX} proof lines, got {len(lines)}"
        )
    return AddCheckpoint(int(old[1]), tuple(map(_hash, lines)), note)


def _hash(line: str) -> bytes:
    value = _checkpoint.unb64_untrusted(line, "add-checkpoint")
    if len(value) != merkle.HASH_BYTES:
        raise MalformedNoteError(f"add-checkpoint: expected hashes of {merkle.HASH_BYTES} bytes, got {len(value)}")
    return value


def note_text(note: bytes) -> str:
    """Return the text of a note, which the cosignatures cover; nothing is verified.

    Raises:
        MalformedNoteError: not a note.
    """
    return _checkpoint.split_note_untrusted(note)[0]


def judge(request: AddCheckpoint, log_key: VerifierKey | None, known: Checkpoint | None) -> Checkpoint | Refusal:
    """Return the checkpoint to persist before cosigning, or why it is not cosigned. Never raises.

    The checkpoint that is known already is accepted again: its answer may have been lost.

    Args:
        request: of the log's operator.
        log_key: the key of the log with the note's origin; None: no such log.
        known: the last checkpoint of that log that this witness cosigned.
    """
    try:
        offered = _checkpoint.read_checkpoint_untrusted(note_text(request.note))
    except MalformedNoteError:
        return Refusal(400)
    if log_key is None or offered.origin != log_key.name:
        return Refusal(404)
    try:
        _checkpoint.open_note_untrusted(request.note, [log_key])
    except MalformedNoteError:
        return Refusal(403)
    if request.old > offered.size:
        return Refusal(400)
    size = 0 if known is None else known.size
    if request.old != size:
        return Refusal(409, size)
    return offered if _follows(request, offered, known) else Refusal(422)


def _follows(request: AddCheckpoint, offered: Checkpoint, known: Checkpoint | None) -> bool:
    if known is None or known.size == 0:
        return not request.proof and (offered.size > 0 or offered.root == merkle.EMPTY_ROOT)
    try:
        merkle.verify_consistency(known.size, offered.size, known.root, offered.root, request.proof)
    except MalformedProofError:
        return False
    return True


# --- did enough witnesses see it? -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WitnessResult:
    """Which witnesses of a trust document cosigned, and whether its quorum is met.

    `names` are distinct witnesses, `non_cloud` of them not run by the cloud; `need` and `need_non_cloud` is the quorum.
    """

    confirmed: bool
    names: tuple[str, ...]
    non_cloud: int
    need: int
    need_non_cloud: int


def get_witness_result(trust: Trust, note: bytes, lines: Sequence[str]) -> WitnessResult:
    """Return which witnesses cosigned this note, and whether they are enough. Never raises.

    Args:
        trust: names the witnesses, their keys and the quorum; with quorum 0 everything is confirmed, by nobody.
        note: the checkpoint's note; that its log signed it is the caller's.
        lines: signature lines from anywhere; a bad one, or one of no witness, is passed over.
    """
    try:
        text = note_text(note)
    except MalformedNoteError:
        text = None
    seen = [w for w in trust.witnesses if text is not None and _cosigned_by(w, text, lines)]
    non_cloud = sum(w.operated_by is not WitnessOperator.CLOUD for w in seen)
    quorum = trust.quorum
    confirmed = quorum.n == 0 or (len(seen) >= quorum.n and non_cloud >= quorum.non_cloud)
    return WitnessResult(confirmed, tuple(w.name for w in seen), non_cloud, quorum.n, quorum.non_cloud)


def _cosigned_by(witness: Witness, text: str, lines: Sequence[str]) -> bool:
    return any(_cosigned(vkey, text, line) for vkey in witness.vkeys for line in lines)


def _cosigned(vkey: str, text: str, line: str) -> bool:
    try:
        _checkpoint.verify_cosignature_untrusted(line, text, _checkpoint.parse_witness_vkey_untrusted(vkey))
    except MalformedNoteError:
        return False
    return True
