"""Signing with a key that is here, or in the process that `ispcloud keys unlock` started."""

from __future__ import annotations

from typing import Protocol

from trust import envelope as envelopes
from trust import keys, statements
from trust.envelope import Envelope, Signature
from trust.statements import Statement


class DeskSigner(Protocol):
    """An Ed25519 key that signs, wherever its secret half is."""

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        ...


def sign(statement: Statement, signer: DeskSigner) -> Envelope:
    """Return the statement's envelope with one signature."""
    unsigned = Envelope(statements.payload_type(type(statement)), statements.encode(statement), ())
    return add_signature(unsigned, signer)


def add_signature(envelope: Envelope, signer: DeskSigner) -> Envelope:
    """Return the envelope with one more signature."""
    signature = signer.sign(envelopes.pae(envelope.payload_type, envelope.payload))
    added = Signature(keys.key_id(signer.public), signature)
    return Envelope(envelope.payload_type, envelope.payload, (*envelope.signatures, added))
