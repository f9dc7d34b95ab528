"""Signing the trust document: k of n people, one after another, each on their own workstation."""

from __future__ import annotations

from dataclasses import dataclass

from trust import chain, statements
from trust import envelope as envelopes
from trust.document import Root, Trust
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError
from trust.keys import SigningKey


@dataclass(frozen=True, slots=True)
class Count:
    """How a root's threshold stands: `have` signed out of `need`; `others` could still sign."""

    need: int
    have: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many people are missing."""
        return max(0, self.need - len(self.have))


@dataclass(frozen=True, slots=True)
class Signatures:
    """How a document's signatures stand: of its own root, and of the root before it (None: not compared)."""

    own: Count
    previous: Count | None

    @property
    def missing(self) -> int:
        """How many people are missing at least."""
        return max(self.own.missing, self.previous.missing if self.previous else 0)


@dataclass(frozen=True, slots=True)
class Previous:
    """The version before, verified, and its digest (hex)."""

    trust: Trust
    sha256: str


def open_previous(envelope: Envelope) -> Previous:
    """Return the previous version of a trust document, from a person's own file.

    Raises:
        MalformedStatementError: not a trust document.
        RefusedError: too few people of its root signed, or it contradicts itself.
    """
    digest = chain.head_sha256(envelope)
    return Previous(chain.verify_first(envelope, digest), digest)


def begin(draft: Trust) -> Envelope:
    """Return the envelope that people sign, without a signature yet."""
    return envelopes.sign(statements.payload_type(Trust), statements.encode(draft), ())


def open_begun(envelope: Envelope) -> Trust:
    """Return the document of an envelope that lacks signatures perhaps.

    Raises:
        NotUnderstoodError: another payload type, or more than we know.
        MalformedStatementError: malformed.
    """
    return statements.decode_as_untrusted(Trust, envelope)


def count(envelope: Envelope, trust: Trust, previous: Trust | None) -> Signatures:
    """Return how the signatures stand.

    Raises:
        RefusedError: a signature that names a root key is bad.
    """
    return Signatures(
        _count(envelope, trust.root),
        None if previous is None else _count(envelope, previous.root),
    )


def _count(envelope: Envelope, root: Root) -> Count:
    have = chain.root_signers(envelope, root) if root.keys else frozenset()
    people = {k.person for k in root.keys}
    return Count(root.threshold, tuple(sorted(have)), tuple(sorted(people - have)))


def verify_signable(trust: Trust, previous: Previous | None, key: SigningKey, envelope: Envelope) -> str:
    """Return the signing person, once their signature would count.

    Raises:
        RefusedError: the document contradicts itself or does not follow from the one before, the key is no root key, or
            this person has signed already.
    """
    chain.check_document(trust, previous.trust if previous else None)
    if previous is not None:
        _check_follows(trust, previous)
    roots = [trust.root] + ([previous.trust.root] if previous else [])
    owners = {k.pub: k.person for root in roots for k in root.keys}
    person = owners.get(key.public.hex())
    if person is None:
        raise RefusedError(Reason.UNKNOWN_SIGNER, f"expected a root key, {key.public.hex()} is none of this document's")
    if envelopes.signed_by(envelope, [key.public]):
        raise RefusedError(Reason.DUPLICATE_PERSON, f"{person} signed this already: another person must")
    return person


def _check_follows(trust: Trust, previous: Previous) -> None:
    before = previous.trust
    if trust.trust_id != before.trust_id:
        raise RefusedError(Reason.WRONG_TRUST, "the document belongs to another chain than the previous one")
    if trust.version != before.version + 1:
        raise RefusedError(Reason.VERSION_SKIPPED, f"expected version {before.version + 1}, got {trust.version}")
    if trust.prev != previous.sha256:
        raise RefusedError(Reason.WRONG_PREVIOUS, f"version {trust.version} was not begun from this previous one")


def verify_complete(envelope: Envelope, previous: Previous | None) -> Trust:
    """Return the document once enough people have signed it, as an agent would judge it.

    Raises:
        RefusedError: too few people, or it does not follow.
    """
    if previous is None:
        return chain.verify_first(envelope, chain.head_sha256(envelope))
    return chain.verify_next(previous.trust, previous.sha256, envelope)
