"""Drafts of the trust document: plain JSON that people edit by command, and sign in the end.

Pure: every function takes a document and returns another. A draft need not be consistent yet; signing checks that.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from control_plane.desk.decide import find_agent
from control_plane.errors import InputError, WrongFingerprintWordsError
from trust import checkpoint, keys, limits, policy, statements
from trust.document import (
    ED25519,
    EVERYWHERE,
    Person,
    PersonKey,
    Quorum,
    Root,
    RootKey,
    ServiceAccount,
    Trust,
    TrustedAgent,
    Witness,
    WitnessOperator,
)
from trust.errors import MalformedKeyError
from trust.policy import PolicyClass, Role, ServiceRequester
from trust.statements import Enroll
from trust.strict_json import read_object_untrusted

PRESETS: Final = ("default", "demo")
_DAY_S: Final = 86_400
_NO_PREVIOUS: Final = "0" * 64


def preset(name: str) -> tuple[PolicyClass, ...]:
    """Return a shipped policy: `default`, or `demo`, which is the same at any hour.

    Raises:
        InputError: another name.
    """
    match name:
        case "default":
            return policy.preset()
        case "demo":
            return tuple(replace(c, windows=()) for c in policy.preset())
        case _:
            raise InputError(f"expected a policy preset of {' or '.join(PRESETS)}, got {name!r}")


# --- the document as a whole ----------------------------------------------------------------------------------------


def new(trust_id: str, threshold: int, classes: tuple[PolicyClass, ...], now_s: int, days: int) -> Trust:
    """Return version 1 without anybody in it. `trust_id` is 128 random bits, hex; `days` at most 90."""
    return Trust(
        trust_id=trust_id,
        version=1,
        prev=_NO_PREVIOUS,
        issued=now_s,
        expires=now_s + days * _DAY_S,
        root=Root(threshold, ()),
        people=(),
        services=(),
        agents=(),
        policy=classes,
    )


def following(current: Trust, current_sha256: str, now_s: int, days: int) -> Trust:
    """Return the draft of the next version: only dates change, and each class states the needs of programs."""
    return replace(
        current,
        version=current.version + 1,
        prev=current_sha256,
        issued=now_s,
        expires=now_s + days * _DAY_S,
        policy=tuple(
            replace(c, service_requester=c.service_requester or ServiceRequester.RUN_BY) for c in current.policy
        ),
    )


def encode_draft(trust: Trust) -> bytes:
    """Return a draft's file.

    Raises:
        MalformedStatementError: a field cannot be: a handle with capitals, for example.
    """
    data = json.dumps(json.loads(statements.encode(trust)), indent=1, ensure_ascii=False).encode() + b"\n"
    decode_draft_untrusted(data)
    return data


def decode_draft_untrusted(data: bytes) -> Trust:
    """Read a draft, as strictly as a signed document.

    Raises:
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    draft = statements.decode_untrusted(statements.payload_type(Trust), data)
    if not isinstance(draft, Trust):
        raise InputError("expected a draft of a trust document")
    return draft


# --- people ---------------------------------------------------------------------------------------------------------


def check_public(pub: str) -> str:
    """Return a public key as it stands in documents.

    Raises:
        MalformedKeyError: not 64 hex digits, or not an acceptable key.
    """
    text = pub.strip().lower()
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise MalformedKeyError(f"expected a public key of 64 hex digits, got {len(text)} characters")
    keys.check_public_untrusted(bytes.fromhex(text))
    return text


def add_person(
    trust: Trust,
    handle: str,
    roles: Iterable[Role],
    pub: str,
    *,
    scope: Iterable[str] = (EVERYWHERE,),
    sees_subscribers: bool = False,
    root_pub: str | None = None,
) -> Trust:
    """Return the document with one more person.

    Args:
        trust: the draft.
        handle: `[a-z0-9-]{1,32}`.
        roles: at least one.
        pub: their signing key, hex.
        scope: `all`, or handles or ids of agents that the draft has.
        sees_subscribers: whether they may open the items of plans.
        root_pub: their root key, hex, which may be the same; None: they have none.

    Raises:
        InputError: the handle is taken, there is no role, or an agent is not there.
        MalformedKeyError: not an acceptable public key.
    """
    distinct = tuple(dict.fromkeys(roles))
    if not distinct:
        raise InputError("expected at least one role (owner, approver, requester, auditor), got none")
    _check_free(trust, handle)
    where = tuple(EVERYWHERE if s == EVERYWHERE else find_agent(trust, s).agent for s in scope)
    person = Person(handle, distinct, where, sees_subscribers, (PersonKey(ED25519, check_public(pub)),))
    trust = replace(trust, people=(*trust.people, person))
    return trust if root_pub is None else add_root_key(trust, handle, root_pub)


def add_key(trust: Trust, handle: str, pub: str) -> Trust:
    """Return the document with one more key of a person.

    Raises:
        InputError: there is no such person.
        MalformedKeyError: not an acceptable public key.
    """
    key = PersonKey(ED25519, check_public(pub))
    if trust.person(handle) is None:
        raise InputError(f"expected a person of the draft, got {handle!r}")
    people = tuple(replace(p, keys=(*p.keys, key)) if p.handle == handle else p for p in trust.people)
    return replace(trust, people=people)


def add_root_key(trust: Trust, handle: str, pub: str) -> Trust:
    """Return the document with one more root key of a person.

    Raises:
        InputError: there is no such person.
        MalformedKeyError: not an acceptable public key.
    """
    if trust.person(handle) is None:
        raise InputError(f"expected a person of the draft, got {handle!r}")
    return replace(trust, root=replace(trust.root, keys=(*trust.root.keys, RootKey(handle, check_public(pub)))))


def add_service(trust: Trust, handle: str, pub: str, run_by: str = "") -> Trust:
    """Return the document with one more program that may request.

    Args:
        trust: the draft.
        handle: its name.
        pub: its key, hex.
        run_by: the person that runs it and so approves nothing that it asks for; empty: nobody is named.

    Raises:
        InputError: the handle is taken, or there is no such person.
        MalformedKeyError: not an acceptable public key.
    """
    _check_free(trust, handle)
    if run_by and trust.person(run_by) is None:
        raise InputError(f"expected a person of the draft who runs {handle}, got {run_by!r}")
    service = ServiceAccount(handle, (PersonKey(ED25519, check_public(pub)),), run_by)
    return replace(trust, services=(*trust.services, service))


def _check_free(trust: Trust, handle: str) -> None:
    if trust.person(handle) is not None or any(s.service == handle for s in trust.services):
        raise InputError(f"{handle!r} is in the draft already: remove it first, or add a key to it")


def named(trust: Trust, handle: str) -> list[str]:
    """Return the entries that a handle names in the document: a person and a witness may have the same."""
    names = {
        "a person": [p.handle for p in trust.people],
        "a service": [s.service for s in trust.services],
        "an agent": [a.handle for a in trust.agents],
        "a witness": [w.name for w in trust.witnesses],
    }
    return [word for word, handles in names.items() if handle in handles]


def remove(trust: Trust, handle: str) -> Trust:
    """Return the document without a person (with their root keys), service, agent or witness.

    Raises:
        InputError: nobody has this handle, or the quorum needs this witness.
    """
    after = replace(
        trust,
        people=tuple(p for p in trust.people if p.handle != handle),
        services=tuple(
            replace(s, run_by="") if s.run_by == handle else s for s in trust.services if s.service != handle
        ),
        agents=tuple(a for a in trust.agents if a.handle != handle),
        witnesses=tuple(w for w in trust.witnesses if w.name != handle),
        root=replace(trust.root, keys=tuple(k for k in trust.root.keys if k.person != handle)),
    )
    if after == trust:
        raise InputError(f"expected a handle of the draft to remove, got {handle!r}")
    # A quorum that nobody can meet would stop every agent at its next start
    return with_quorum(after, after.quorum.n, after.quorum.non_cloud)


# --- agents ---------------------------------------------------------------------------------------------------------


def verify_fingerprint_words(enroll: Enroll, typed: str) -> None:
    """Refuse an enrolment with keys other than those that the agent's own console showed as words (T20).

    Raises:
        MalformedKeyError: not eight words.
        WrongFingerprintWordsError: the words of other keys.
    """
    log_key = checkpoint.parse_vkey_untrusted(enroll.log_key)
    expected = keys.parse_words_untrusted(keys.fingerprint(bytes.fromhex(enroll.plan_key), log_key.public))
    if not hmac.compare_digest(keys.parse_words_untrusted(typed), expected):
        raise WrongFingerprintWordsError(
            f"the typed words are not those of the keys in this enrolment of {enroll.handle}: expected what "
            "`ispagent init` printed on the agent itself, so these keys may be somebody else's"
        )


def add_agent(trust: Trust, enroll: Enroll) -> Trust:
    """Return the document with one more agent; its words were compared.

    Raises:
        InputError: its handle or id is there already.
    """
    if any(enroll.handle == a.handle or enroll.agent == a.agent for a in trust.agents):
        raise InputError(f"agent {enroll.handle!r} is in the draft already: remove it first")
    agent = TrustedAgent(enroll.agent, enroll.handle, enroll.plan_key, enroll.log_key)
    return replace(trust, agents=(*trust.agents, agent))


# --- witnesses ------------------------------------------------------------------------------------------------------


def add_witness(trust: Trust, name: str, vkey: str, operated_by: WitnessOperator) -> Trust:
    """Return the document with one more witness, or one more key of it.

    Args:
        trust: the draft.
        name: `[a-z0-9-]{1,32}`.
        vkey: its verifier key, of cosignatures (C2SP tlog-cosignature).
        operated_by: cloud or operator.

    Raises:
        MalformedNoteError: not a witness's verifier key.
        InputError: the witness has this key already, or somebody else runs it.
    """
    text = str(checkpoint.parse_witness_vkey_untrusted(vkey.strip()))
    for witness in trust.witnesses:
        if text in witness.vkeys:
            raise InputError(f"witness {witness.name!r} has this key already")
    known = next((w for w in trust.witnesses if w.name == name), None)
    if known is None:
        return replace(trust, witnesses=(*trust.witnesses, Witness(name, (text,), operated_by)))
    if known.operated_by is not operated_by:
        raise InputError(
            f"witness {name!r} is run by {known.operated_by.value}, expected that, got {operated_by.value}"
        )
    more = replace(known, vkeys=(*known.vkeys, text))
    return replace(trust, witnesses=tuple(more if w.name == name else w for w in trust.witnesses))


def with_quorum(trust: Trust, n: int, non_cloud: int) -> Trust:
    """Return the document with another quorum of witnesses.

    Raises:
        InputError: more than the document has witnesses, or more of them not run by the cloud than all.
    """
    own = sum(w.operated_by is not WitnessOperator.CLOUD for w in trust.witnesses)
    if n > len(trust.witnesses) or non_cloud > min(n, own):
        raise InputError(
            f"expected a quorum that the witnesses can meet ({len(trust.witnesses)}, of them {own} not run by the "
            f"cloud), got {n} and {non_cloud}"
        )
    return replace(trust, quorum=Quorum(n, non_cloud))


# --- policy ---------------------------------------------------------------------------------------------------------


def replace_policy_untrusted(trust: Trust, data: bytes) -> Trust:
    """Return the document with the classes of a policy file in place of its own; other classes stay.

    Args:
        trust: the draft.
        data: `{"policy": [CLASS…]}`, each as `ispcloud trust show --json` prints it.

    Raises:
        MalformedStatementError: not such a file.
    """
    r = read_object_untrusted(data, limits.STATEMENT_BYTES, "policy file")
    r.objects("policy")
    r.done()
    document = json.loads(statements.encode(trust))
    document["policy"] = json.loads(data)["policy"]
    classes = decode_draft_untrusted(json.dumps(document).encode()).policy
    names = [c.risk_class for c in classes]
    if len(set(names)) != len(names):
        raise r.error("policy", "has a class twice")
    kept = tuple(c for c in trust.policy if c.risk_class not in names)
    return replace(trust, policy=(*kept, *classes))


def with_policy(trust: Trust, classes: tuple[PolicyClass, ...]) -> Trust:
    """Return the document with another policy."""
    return replace(trust, policy=classes)


def with_threshold(trust: Trust, threshold: int) -> Trust:
    """Return the document with another root threshold."""
    return replace(trust, root=replace(trust.root, threshold=threshold))
