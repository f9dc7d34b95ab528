"""DSSE envelopes: signatures over the exact bytes of a payload and its type.

The DSSE protocol and envelope, version 1.0.2 (secure-systems-lab/dsse). A key id decides which known key is tried
and nothing else: it can make a signature not count, never make it count.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trust import keys as _keys
from trust import limits
from trust.errors import MalformedEnvelopeError, MalformedStatementError, Reason, RefusedError
from trust.keys import SigningKey
from trust.strict_json import Reader, read_object_untrusted


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: `keyid` is a hint, `sig` is read as the kind of the trusted key says."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and its signatures. `payload` is the exact bytes that were signed."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the signed bytes: the DSSE pre-authentication encoding.

    `PAE = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, LEN in ASCII decimal of *bytes*.
    """
    # Lengths count encoded bytes: an earlier pae() of securesystemslib took len() of the text
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def digest_of(payload_type: str, payload: bytes) -> bytes:
    """Return a statement's digest: SHA-256 over its PAE, 32 bytes."""
    return hashlib.sha256(pae(payload_type, payload)).digest()


def digest(envelope: Envelope) -> bytes:
    """Return the digest of the envelope's statement, 32 bytes; signatures are not part of it."""
    return digest_of(envelope.payload_type, envelope.payload)


def sign(payload_type: str, payload: bytes, keys: Sequence[SigningKey]) -> Envelope:
    """Return an envelope with one signature by each of `keys`."""
    envelope = Envelope(payload_type, payload, ())
    for key in keys:
        envelope = add_signature(envelope, key)
    return envelope


def add_signature(envelope: Envelope, key: SigningKey) -> Envelope:
    """Return the envelope with one more signature."""
    sig = key.sign(pae(envelope.payload_type, envelope.payload))
    added = Signature(_keys.key_id(key.public), sig)
    return Envelope(envelope.payload_type, envelope.payload, (*envelope.signatures, added))


def signed_by(envelope: Envelope, keys: Iterable[bytes]) -> frozenset[bytes]:
    """Return the distinct public keys, out of the known `keys`, that signed the envelope.

    Args:
        envelope: as received.
        keys: known public keys, 32 bytes each; they come from the trust document, never from the message.

    Raises:
        RefusedError: a signature that names a known key is not by that key: the whole envelope is void.
    """
    known = {_keys.key_id(public): public for public in keys}
    message = pae(envelope.payload_type, envelope.payload)
    signers = set()
    for signature in envelope.signatures:
        public = known.get(signature.keyid)
        if public is None:
            continue
        if not _keys.verify(public, message, signature.sig):
            raise RefusedError(
                Reason.BAD_SIGNATURE, f"the signature that names key {signature.keyid} is not by that key"
            )
        signers.add(public)
    return frozenset(signers)


# --- bytes ----------------------------------------------------------------------------------------------------------


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as DSSE JSON, with standard base64."""
    document = {
        "payload": _b64(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": s.keyid, "sig": _b64(s.sig)} for s in envelope.signatures],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode_untrusted(data: bytes) -> Envelope:
    """Return the envelope that `data` holds. Unknown fields are ignored, as DSSE says; nothing is verified yet.

    Raises:
        MalformedEnvelopeError: not strict JSON, a field missing or of another type, not base64, over a limit.
    """
    try:
        r = read_object_untrusted(data, limits.ENVELOPE_BYTES, "envelope")
        payload_type = r.text("payloadType")
        payload = _unb64("payload", r.text("payload", limits.ENVELOPE_BYTES), limits.STATEMENT_BYTES)
        signatures = r.objects("signatures")
        if not 0 < len(payload_type.encode()) <= limits.PAYLOAD_TYPE_BYTES:
            raise MalformedEnvelopeError(f"expected a payload type of 1 to {limits.PAYLOAD_TYPE_BYTES} bytes")
        if not 0 < len(signatures) <= limits.SIGNATURES_MAX:
            raise MalformedEnvelopeError(f"expected 1 to {limits.SIGNATURES_MAX} signatures, got {len(signatures)}")
        return Envelope(payload_type, payload, tuple(_signature(s) for s in signatures))
    except MalformedStatementError as err:
        raise MalformedEnvelopeError(str(err)) from err


def _signature(r: Reader) -> Signature:
    keyid = r.text_if_present("keyid")
    if len(keyid) > limits.KEYID_CHARS:
        raise MalformedEnvelopeError(f"expected a keyid of at most {limits.KEYID_CHARS} characters, got {len(keyid)}")
    return Signature(keyid, _unb64("sig", r.text("sig"), limits.TEXT_BYTES))


def _unb64(name: str, text: str, max_bytes: int) -> bytes:
    """Decode standard or URL-safe base64; the one encoding of its bytes only (no stray bits, no missing padding)."""
    standard = text.replace("-", "+").replace("_", "/") if "+" not in text and "/" not in text else text
    try:
        data = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MalformedEnvelopeError(f"{name}: not base64") from err
    # b64decode ignores the last bits of an incomplete group: two texts would then be one envelope
    if _b64(data) != standard:
        raise MalformedEnvelopeError(f"{name}: base64 with stray bits at its end")
    if len(data) > max_bytes:
        raise MalformedEnvelopeError(f"{name}: expected at most {max_bytes} bytes, got {len(data)}")
    return data
