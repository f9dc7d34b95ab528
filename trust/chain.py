"""The `trust` chain: the first document by its typed head, and each next one by the one before.

The rules are TUF's for root metadata (specification 5.3: version N+1 exactly, a threshold of the old *and* of the new
root keys), counted in distinct people, with the digest of the document before, and a life of at most 90 days.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator

from trust import envelope as _envelope
from trust import keys as _keys
from trust import limits, statements
from trust.checkpoint import parse_vkey_untrusted, parse_witness_vkey_untrusted
from trust.document import ED25519, EVERYWHERE, UNKNOWN, Root, Trust, WitnessOperator
from trust.envelope import Envelope
from trust.errors import MalformedKeyError, MalformedNoteError, Reason, RefusedError

_DAY_S = 86_400


def head_sha256(envelope: Envelope) -> str:
    """Return the digest of a trust document, 64 hex digits: the `prev` of the next one."""
    return _envelope.digest(envelope).hex()


def head_words(envelope: Envelope) -> str:
    """Return the head's words, as an agent's console asks for them: the first 128 bits of its digest."""
    return _keys.words_of(_envelope.digest(envelope)[: _keys.FINGERPRINT_BYTES])


def verify_first(envelope: Envelope, head: str) -> Trust:
    """Return the document that `head` pins, of any version, once its own root keys' threshold signed it.

    Args:
        envelope: the trust document, from anywhere.
        head: the digest in 64 hex digits, or the eight words, as a person typed it.

    Raises:
        MalformedKeyError: `head` is neither.
        RefusedError: another document (`wrong-head`), signatures missing or bad, or it contradicts itself.
        MalformedStatementError: not a trust document, or one that needs more than we know.
    """
    _check_type(envelope)
    _check_head(_envelope.digest(envelope), head)
    trust = statements.decode_as_untrusted(Trust, envelope)
    _check_threshold(envelope, trust.root, "its own")
    check_document(trust, None)
    return trust


def _check_type(envelope: Envelope) -> None:
    if envelope.payload_type != statements.payload_type(Trust):
        raise RefusedError(Reason.WRONG_TYPE, "expected a trust document, got another payload type")


def _check_head(digest: bytes, head: str) -> None:
    typed = head.strip().lower()
    if len(typed) == 64 and all(c in "0123456789abcdef" for c in typed):
        pinned = bytes.fromhex(typed)
    else:
        pinned = _keys.parse_words_untrusted(typed)
    if not hmac.compare_digest(digest[: len(pinned)], pinned):
        raise RefusedError(Reason.WRONG_HEAD, "the trust document is not the one whose head was given")


def verify_next(current: Trust, current_sha256: str, envelope: Envelope) -> Trust:
    """Return the document that follows `current`.

    Args:
        current: the document in force.
        current_sha256: its digest (`head_sha256`).
        envelope: the candidate.

    Raises:
        RefusedError: too few people of the old or new root signed, the version is not the next one (`version-skipped`,
            `version-old`), another document of the same version (`forked`), another `prev` or `trust_id`, or it
            contradicts itself.
        MalformedStatementError: not a trust document, or one that needs more than we know: then keep the current one.
    """
    _check_type(envelope)
    # Before it is parsed: the old root is all that vouches for these bytes
    _check_threshold(envelope, current.root, "the current")
    following = statements.decode_as_untrusted(Trust, envelope)
    if following.trust_id != current.trust_id:
        raise RefusedError(Reason.WRONG_TRUST, "the document belongs to another trust chain")
    if following.version == current.version:
        same = hmac.compare_digest(head_sha256(envelope), current_sha256)
        reason = Reason.VERSION_OLD if same else Reason.FORKED
        problem = "is in force already" if same else "exists with other content: the chain was forked"
        raise RefusedError(reason, f"trust version {current.version} {problem}")
    if following.version != current.version + 1:
        reason = Reason.VERSION_OLD if following.version < current.version else Reason.VERSION_SKIPPED
        raise RefusedError(reason, f"expected trust version {current.version + 1}, got {following.version}")
    if not hmac.compare_digest(following.prev, current_sha256):
        raise RefusedError(Reason.WRONG_PREVIOUS, f"trust version {following.version} does not follow ours")
    # The new root too (TUF 5.3.4): people hold its keys, which is proven before the old ones count no more
    _check_threshold(envelope, following.root, "the new")
    check_document(following, current)
    return following


def root_signers(envelope: Envelope, root: Root) -> frozenset[str]:
    """Return the distinct people by the root keys that signed: one person with two keys counts once.

    Raises:
        RefusedError: a signature that names a root key is bad.
    """
    people = {bytes.fromhex(k.pub): k.person for k in root.keys}
    return frozenset(people[public] for public in _envelope.signed_by(envelope, people))


def _check_threshold(envelope: Envelope, root: Root, whose: str) -> None:
    have = len(root_signers(envelope, root))
    if have < root.threshold:
        raise RefusedError(Reason.THRESHOLD, f"expected {root.threshold} people of {whose} root to sign, got {have}")


def verify_not_expired(trust: Trust, now_s: int) -> None:
    """Refuse to act under a document past its `expires`.

    Raises:
        RefusedError: `trust-expired`.
    """
    if now_s > trust.expires:
        raise RefusedError(Reason.TRUST_EXPIRED, f"trust version {trust.version} expired: its owners sign a new one")


# --- what must hold inside one document -----------------------------------------------------------------------------


def check_document(trust: Trust, previous: Trust | None) -> None:
    """Refuse a document that contradicts itself, whoever signed it.

    Args:
        trust: the document.
        previous: the one before; a list that is over its limit there may stay or shrink, so that removing always works.

    Raises:
        RefusedError: `trust-invalid`.
    """
    for problem in _problems(trust, previous):
        raise RefusedError(Reason.TRUST_INVALID, f"trust version {trust.version}: {problem}")


def _problems(trust: Trust, previous: Trust | None) -> Iterator[str]:
    life_s = trust.expires - trust.issued
    if not 0 < life_s <= limits.TRUST_DAYS_MAX * _DAY_S:
        yield f"expected a life of at most {limits.TRUST_DAYS_MAX} days, got {life_s // _DAY_S}"
    if previous is None and (trust.version == 1) != (trust.prev == "0" * 64):
        yield "expected `prev` to be zeros in version 1 and only there"
    handles = [p.handle for p in trust.people] + [s.service for s in trust.services]
    if UNKNOWN in handles:
        yield f"nobody may have the handle {UNKNOWN!r}"
    yield from _twice("handle", handles)
    yield from _twice("agent", [a.agent for a in trust.agents])
    yield from _twice("agent handle", [a.handle for a in trust.agents])
    yield from _twice("policy class", [c.risk_class.value for c in trust.policy])
    yield from _twice("witness", [w.name for w in trust.witnesses])
    for person in trust.people:
        if any(s != EVERYWHERE and (len(s) != 32 or s.strip("0123456789abcdef")) for s in person.scope):
            yield f"{person.handle}: the scope holds what is no agent id"
    yield from _quorum_problems(trust)
    yield from _root_problems(trust)
    yield from _key_problems(trust)
    yield from _limit_problems(trust, previous)


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    seen = set()
    for name in names:
        if name in seen:
            yield f"{what} {name} is there twice"
        seen.add(name)


def _quorum_problems(trust: Trust) -> Iterator[str]:
    """A quorum that cannot be met would hold the agents for ever."""
    usable = [w for w in trust.witnesses if w.vkeys]
    own = sum(w.operated_by is not WitnessOperator.CLOUD for w in usable)
    n, non_cloud = trust.quorum.n, trust.quorum.non_cloud
    if n > len(usable) or non_cloud > min(n, own):
        yield f"expected a quorum that {len(usable)} witnesses ({own} not of the cloud) can meet, got {n} ({non_cloud})"


def _root_problems(trust: Trust) -> Iterator[str]:
    people = {k.person for k in trust.root.keys}
    if not 1 <= trust.root.threshold <= len(people):
        yield f"expected a root threshold of 1 to {len(people)} (people with root keys), got {trust.root.threshold}"
    for handle in sorted(people):
        if trust.person(handle) is None:
            yield f"{handle} has a root key and is none of the people"


def _key_problems(trust: Trust) -> Iterator[str]:
    """Each key is there once. A root key may also be its person's own signing key: counting is by people."""
    yield from _twice("root key", [k.pub for k in trust.root.keys])
    owned = [(k.pub, p.handle) for p in trust.people for k in p.keys if k.kind == ED25519]
    owned += [(k.pub, s.service) for s in trust.services for k in s.keys if k.kind == ED25519]
    owned += [(a.plan_key, f"agent {a.handle}") for a in trust.agents]
    for agent in trust.agents:
        try:
            owned.append((parse_vkey_untrusted(agent.log_key).public.hex(), f"log of {agent.handle}"))
        except MalformedNoteError as err:
            yield f"agent {agent.handle}: {err}"
    for witness in trust.witnesses:
        try:
            owned += [(parse_witness_vkey_untrusted(v).public.hex(), f"witness {witness.name}") for v in witness.vkeys]
        except MalformedNoteError as err:
            yield f"witness {witness.name}: {err}"
    yield from _twice("key", [pub for pub, _ in owned])
    owners = dict(owned)
    for key in trust.root.keys:
        if owners.get(key.pub, key.person) != key.person:
            yield f"the root key of {key.person} also belongs to {owners[key.pub]}"
    for pub, owner in [*owned, *((k.pub, k.person) for k in trust.root.keys)]:
        try:
            _keys.check_public_untrusted(bytes.fromhex(pub))
        except MalformedKeyError as err:
            yield f"{owner}: {err}"


def _limit_problems(trust: Trust, previous: Trust | None) -> Iterator[str]:
    for what, limit, count, before in (
        ("people", limits.PEOPLE_MAX, len(trust.people), len(previous.people) if previous else 0),
        ("services", limits.PEOPLE_MAX, len(trust.services), len(previous.services) if previous else 0),
        ("agents", limits.AGENTS_MAX, len(trust.agents), len(previous.agents) if previous else 0),
        ("root keys", limits.PEOPLE_MAX, len(trust.root.keys), len(previous.root.keys) if previous else 0),
    ):
        if count > max(limit, before):
            yield f"expected at most {limit} {what}, got {count}"
    for person in trust.people:
        old = previous.person(person.handle) if previous else None
        if len(person.keys) > max(limits.KEYS_MAX, len(old.keys) if old else 0):
            yield f"{person.handle}: expected at most {limits.KEYS_MAX} keys, got {len(person.keys)}"
