"""Nothing about a subscriber reaches the control plane: not in a call, a connection, a file, a log or a hash.

One long day goes through a control plane that writes down all that it is given; then that is searched for every word of
the day, and every digest in it for what could be guessed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import pytest
import trio

from agent.model import ItemState
from protos import message_pb2 as pb
from tests.e2e import sweep
from tests.e2e.canaries import Canaries
from tests.e2e.days import Day, messages_of
from tests.e2e.long_day import Captured, long_day
from tests.e2e.recording_cloud import recording_cloud
from tests.e2e.sweep import Dictionary, Sweep
from trust import envelope as envelopes
from trust import merkle, statements
from trust.items import items_root
from trust.keys import verify
from trust.policy import Action
from trust.statements import (
    Intent,
    Plan,
    Receipt,
    Statement,
)

S = TypeVar("S", bound=Statement)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    canaries = Canaries()
    with recording_cloud(tmp_path_factory.mktemp("captured")) as cloud, pytest.MonkeyPatch.context() as patch:
        canaries.put_into(patch)
        return trio.run(long_day, tmp_path_factory.mktemp("site"), cloud, canaries, patch)


def test_the_capture_holds_everything(captured: Captured) -> None:
    methods = {call.method.rpartition("/")[2] for call in captured.calls}
    assert methods >= {"Submit", "Watch", "AddCheckpoint", "Board", "List", "View", "Enroll", "Renew", "Agents"}
    kinds = {m.kind for call in captured.calls for m, _ in messages_of(call)}
    assert kinds == set(pb.Kind.values()) - {pb.KIND_UNSPECIFIED, pb.KIND_CHECKPOINT, pb.KIND_COSIGNATURE}
    refusals_told = {pb.Problem.FromString(v).refusal for c in captured.calls for k, v in c.trailing if "problem" in k}
    assert refusals_told >= {pb.REFUSAL_MALFORMED, pb.REFUSAL_WRONG_KIND, pb.REFUSAL_REVOKED, pb.REFUSAL_BAD_TOKEN}
    assert {"file cloud.db", "file cloud.db-wal", "file cloud.db at the end", "backup"} <= set(captured.files)
    assert captured.log
    reasons = {r.reason.value for r in statements_of_kind(captured, Receipt) if r.reason}
    assert reasons >= {"not-taken", "rate-limited", "malformed", "may-not-see", "unknown-signer", "requester-approves"}
    search = Sweep(captured.canaries.tokens)
    in_play = {leak.split(" ")[0] for leak in search.leaks({"documents": b"\n".join(sum(captured.day.documents, ()))})}
    assert in_play >= {"name", "login", "reference", "tariff", "group", "database"}, "the canaries are in the changes"
    billing = captured.day.here.billing.text().encode()
    in_play = {leak.split(" ")[0] for leak in search.leaks({"billing": billing})}
    assert in_play >= {"phone", "address", "cpe", "mail", "comment", "ticket", "protected"}


def statements_of_kind(captured: Captured, kind: type[S]) -> list[S]:
    found = []
    for body in bodies(captured):
        envelope = envelopes.decode_untrusted(body)
        if envelope.payload_type == statements.payload_type(kind):
            found.append(statements.decode_as_untrusted(kind, envelope))
    return found


def bodies(captured: Captured) -> list[bytes]:
    """Return every envelope that passed, once, those that the control plane refused as well."""
    found = {m.body: None for call in captured.calls for m, _ in messages_of(call) if m.body.startswith(b'{"p')}
    return list(found)


def test_R1_no_canary_reaches_the_cloud(captured: Captured) -> None:
    search = Sweep(captured.canaries.tokens)
    assert search.leaks(captured.clear()) == []
    assert search.leaks(captured.raw, sealed=True) == []


def test_R3_calls_say_enums_beside_their_bodies(captured: Captured) -> None:
    for call in captured.calls:
        assert call.details in {"", *pb.Refusal.keys()}
        assert {key for key, _ in call.metadata} == {"user-agent"}
        assert {key for key, _ in call.trailing} <= {"problem-bin"}
        assert all(re.fullmatch(rb"[a-z0-9./ ();,-]{1,80}", value) for _, value in call.metadata)


def test_connections_name_nobody(captured: Captured) -> None:
    hellos = [data for name, data in captured.raw.items() if name.endswith(".sent")]
    assert len(hellos) >= 8
    assert all(b"ispcloud" in data[:600] for data in hellos if data)
    handles = [w.encode() for w in (*captured.here.desks, captured.here.operator, captured.here.files.enrolled.handle)]
    # Longer than a few letters: those come by chance in so many encrypted bytes
    ids = [captured.here.operator_id, captured.here.operator_id.hex().encode(), captured.here.agent.encode()]
    everything = b"".join(captured.raw.values())
    assert [w for w in (*handles, *ids) if len(w) >= 6 and w in everything] == []


# --- digests and signatures -------------------------------------------------------------------------------------------


def instead_of_salt(day: Day) -> tuple[str, ...]:
    """Return what a careless program might take as salt."""
    return ("", "0" * 32, day.here.files.people.trust_id, day.here.agent)


def unsalted(day: Day) -> Iterator[bytes]:
    """Yield what was signed or hashed in secret, as somebody would guess it who knows all of it but the salt."""
    for intent in day.intents:
        for salt in instead_of_salt(day):
            yield statements.encode(replace(intent, salt=salt))
            yield statements.encode(replace(intent, salt=salt, intent_id=salt))
        fields = json.loads(statements.encode(intent))
        for drop in (("salt",), ("salt", "intent_id"), ("salt", "intent_id", "expires")):
            yield compact({k: v for k, v in fields.items() if k not in drop})
        yield compact(fields["subjects"])
    for document in sum(day.documents, ()):
        for salt in instead_of_salt(day):
            yield salted(document, salt)
        yield compact({k: v for k, v in json.loads(document).items() if k != "salt"})


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def salted(document: bytes, salt: str) -> bytes:
    return re.sub(rb'"salt":"[0-9a-f]*"', b'"salt":"' + salt.encode() + b'"', document)


def unsalted_roots(day: Day) -> Iterator[bytes]:
    """Yield the roots of plans and results, as somebody would guess them who knows all items but their salts."""
    for salt in instead_of_salt(day):
        for documents in day.documents:
            guesses = [salted(d, salt) for d in documents]
            yield items_root(guesses)
            yield from (merkle.leaf_hash(g) for g in guesses)
            yield items_root(guesses[1:])
        for count in range(1, 13):
            for state in ItemState:
                for text in (json.dumps, compact):
                    leaves = [text([salt, n, state.value]) for n in range(1, count + 1)]
                    yield merkle.root([merkle.leaf_hash(v.encode() if isinstance(v, str) else v) for v in leaves])


def dictionary(captured: Captured, seen: set[bytes]) -> Dictionary:
    """Return an attacker with what was seen, who knows every id that went through by its name."""
    known: dict[bytes, None] = {captured.here.operator_id: None}
    for body in bodies(captured):
        for name, value in json.loads(envelopes.decode_untrusted(body).payload).items():
            if name in ("trust_id", "agent", "plan_id", "intent_sha256", "plan_sha256", "of_sha256", "x25519"):
                known[bytes.fromhex(value)] = None
    return Dictionary(seen, list(known))


TYPES = [statements.payload_type(kind) for kind in (Intent, Plan, Receipt)]


def test_no_digest_can_be_guessed(captured: Captured) -> None:
    attacker = dictionary(captured, sweep.observed(captured.clear().values()))
    assert any(intent.requester == "lena" for intent in captured.day.intents)
    taken = [i for i in captured.day.intents if i.verb is not Action.SET_PLAN]
    for intent in (taken[0], taken[-1]):
        digest = envelopes.digest_of(statements.payload_type(Intent), statements.encode(intent))
        assert digest in attacker.seen, "with its salt it is there: the attacker looks in the right place"
    for documents in captured.day.documents:
        assert items_root(documents) in attacker.seen
    words = list(captured.canaries.tokens.values())
    assert attacker.confirmed(words, unsalted(captured.day), TYPES, unsalted_roots(captured.day)) == []
    assert attacker.tried > 500_000


def planted_digests(captured: Captured) -> dict[str, bytes]:
    tokens, day = captured.canaries.tokens, captured.day
    agent = bytes.fromhex(captured.here.agent)
    return {
        "hash of a phone": hashlib.sha256(tokens["phone 3"].encode()).digest(),
        "hash of a name in capitals": hashlib.sha1(tokens["name 1"].upper().encode()).digest(),
        "keyed by the agent's id": hmac.digest(agent, tokens["login 2"].encode(), "sha256"),
        "keyed by it, cut": hmac.digest(agent, tokens["mac 2"].encode(), "sha256")[:16],
        "behind an id": hashlib.sha256(agent + b"|" + tokens["reference 0"].encode()).digest(),
        "unsalted intent": envelopes.digest_of(TYPES[0], statements.encode(replace(day.intents[0], salt=""))),
        "unsalted plan": items_root([salted(d, "0" * 32) for d in day.documents[0]]),
        "unsalted results": merkle.root([merkle.leaf_hash(b'["", 1, "applied"]')]),
    }


def test_the_dictionary_finds_what_can_be_guessed(captured: Captured) -> None:
    words = [captured.canaries.tokens[w] for w in ("phone 3", "name 1", "login 2", "mac 2", "reference 0")]
    roots = set(unsalted_roots(captured.day))
    for what, digest in planted_digests(captured).items():
        for form in (digest.hex().encode(), b'{"x":"' + base64.b64encode(digest) + b'"}', b"\x0a" + digest):
            piece = form if form[0] != 10 else form[:1] + bytes([len(digest)]) + digest
            attacker = dictionary(captured, sweep.observed([b"{}", piece]))
            found = attacker.confirmed(words, list(unsalted(captured.day))[:8], TYPES, roots)
            assert len(found) == 1, what


def test_signatures_are_of_what_everybody_sees(captured: Captured) -> None:
    people, agent = captured.here.files.people, captured.here.files.enrolled
    keys = [key.public for key in people.keys.values()] + [bytes.fromhex(agent.plan_key)]
    signatures = 0
    for body in bodies(captured):
        envelope = envelopes.decode_untrusted(body)
        assert len(envelopes.signed_by(envelope, keys)) == len(envelope.signatures), "it says nothing that is not there"
        signatures += len(envelope.signatures)
    assert signatures > 40
    guesses = [envelopes.pae(t, document) for document in list(unsalted(captured.day))[:20] for t in TYPES[:1]]
    seen = {s.sig for body in bodies(captured) for s in envelopes.decode_untrusted(body).signatures}
    assert not [sig for sig in seen for key in keys for guess in guesses if verify(key, guess, sig)]


# --- metrics and log --------------------------------------------------------------------------------------------------


def test_R4_metrics_and_log_name_nobody(captured: Captured) -> None:
    text = captured.metrics + captured.log
    assert b"ispcloud_calls_total" in captured.metrics
    events = [json.loads(line) for line in captured.log.splitlines()]
    assert {e["event"] for e in events} >= {"started", "call-refused", "stopped"}
    for handle in (*captured.here.desks, captured.here.files.enrolled.handle, captured.here.operator, "op-"):
        assert handle.encode() not in text
    text = re.sub(rb" [0-9.]+(?:e[+-][0-9]+)?\n", b"\n", text)  # a metric's value
    assert re.findall(rb"(?<![0-9a-zA-Z])[0-9a-fA-F]{12,}(?![0-9a-zA-Z])", text) == [], "an id or a digest"
    assert not [run for run in re.findall(rb"[A-Za-z0-9+/]{22,}", text) if re.search(rb"[0-9]", run)]
    assert not re.findall(rb"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", text), "an address"
