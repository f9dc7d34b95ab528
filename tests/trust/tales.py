"""Logs in the making: an agent that tells the truth, or lies, with the test operator's keys."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tests.builders.operator import (
    AGENT,
    MINUTE,
    ORIGIN,
    TRUST_ID,
    approval,
    digest,
    documents,
    key,
    plan,
    signed_trust,
    trust,
)
from trust import checkpoint, leaf, life, merkle, proof, statements
from trust import envelope as envelopes
from trust.checkpoint import Checkpoint
from trust.envelope import Envelope
from trust.leaf import ITEM_STATE_CODES, PLAN_LEAVES, STATEMENT, VERDICT_CODES, Leaf, LeafKind
from trust.proof import Export, ProvenLeaf
from trust.statements import Cancel, Freeze, FreezeScope, Outcome, OutcomeState, Plan, Unfreeze

K = LeafKind
VKEY = checkpoint.encode_vkey(ORIGIN, key("agent-log").public)
TRUST = signed_trust(trust())


def sha_of(envelope: Envelope) -> str:
    return envelopes.digest(envelope).hex()


@dataclass(slots=True)
class Written:
    """A leaf as the agent wrote it."""

    leaf: Leaf
    data: bytes
    record: bytes
    salt: bytes


@dataclass(slots=True)
class Tale:
    """What an agent wrote of one plan. It writes whatever it is told to: honesty is the caller's."""

    plan: Plan = field(default_factory=plan)
    log: list[Written] = field(default_factory=list)
    statements: list[Envelope] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)
    freezes: list[Envelope] = field(default_factory=list)
    mine: int = 0
    minute: int = MINUTE
    names: bool = True
    """Its leaves name their statements, as they do since there are names."""
    sha256: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.statements += [TRUST, statements.sign(self.plan, [key("agent-plan")])]
        self.sha256 = digest(self.plan)

    def write(
        self,
        kind: LeafKind,
        item: int = 0,
        step: int = 0,
        code: int = 0,
        *,
        of_plan: bool = True,
        record: dict[str, object] | None = None,
        actor: bytes = leaf.NO_ACTOR,
    ) -> Tale:
        """Write a leaf."""
        said = json.dumps({"what": kind.word, **(record if record and self.names else {})}).encode()
        salt = hashlib.sha256(b"salt%d" % len(self.log)).digest()
        plan_ = self.sha256 if of_plan else leaf.NO_PLAN
        one = Leaf(kind, self.minute, leaf.commitment(salt, said), plan_, 1, item, step, code, actor)
        self.log.append(Written(one, leaf.encode(one), said, salt))
        self.mine += of_plan
        return self

    def tell(self, kind: LeafKind, statement: Envelope, *, of_plan: bool = True, actor: bytes = leaf.NO_ACTOR) -> Tale:
        """Keep a statement and write its leaf."""
        self.statements.append(statement)
        return self.write(kind, of_plan=of_plan, record={STATEMENT: sha_of(statement)}, actor=actor)

    def begin(self) -> Tale:
        self.write(K.START, of_plan=False)
        self.write(K.PLAN)
        return self

    def approve(self, who: str = "joseph", **changes: object) -> Tale:
        self.tell(K.APPROVAL, approval(self.plan, who, **changes))
        return self

    def consume(self) -> Tale:
        self.write(K.CONSUMED)
        return self

    def move(self, state: str, item: int = 1) -> Tale:
        self.states[item] = state
        self.write(K.ITEM_STATE, item, code=ITEM_STATE_CODES[state])
        return self

    def send(self, step: int = 1, item: int = 1, state: str = "") -> Tale:
        """Begin a step, and with a state its item as well."""
        if state:
            self.states[item] = state
        self.write(K.ABOUT_TO, item, step, ITEM_STATE_CODES.get(state, 0))
        return self

    def sent(self, verdict: str = "applied", step: int = 1, item: int = 1) -> Tale:
        self.write(K.STEP_OUTCOME, item, step, VERDICT_CODES[verdict])
        return self

    def apply(self, item: int = 1) -> Tale:
        self.send(item=item, state="running")
        self.sent(item=item)
        self.move("applied", item)
        return self

    def cancel(self, person: str = "maria") -> Tale:
        told = Cancel(TRUST_ID, "01" * 16, (self.sha256.hex(),), person, self.minute)
        self.tell(K.CANCEL, statements.sign(told, [key(person)]))
        return self

    def freeze(
        self, scope: FreezeScope = FreezeScope.ALL, target: str = "", person: str = "maria", expires: int = 0
    ) -> Tale:
        told = statements.sign(Freeze(TRUST_ID, "02" * 16, scope, target, person, self.minute, expires), [key(person)])
        self.freezes.append(told)
        return self.tell(K.FREEZE, told, of_plan=False)

    def unfreeze(self, *people: str, lifts: Envelope | None = None, also: Sequence[Envelope] = ()) -> Tale:
        """Lift freezes: the newest one, or those that are named."""
        who = people or ("maria", "lena")
        told = Unfreeze(TRUST_ID, sha_of(lifts or self.freezes[-1]), who[0], self.minute, tuple(map(sha_of, also)))
        self.tell(K.UNFREEZE, statements.sign(told, [key(p) for p in who]), of_plan=False)
        return self

    def outcome(self, seq: int = 1, **changes: object) -> Envelope:
        items = Counter(self.states.values())
        told = Outcome(
            TRUST_ID, AGENT, self.sha256.hex(), seq, True, life.outcome_of(items), life.buckets_of(items), "cd" * 32,
            len(self.log), "ef" * 32, self.minute,
        )  # fmt: skip
        return statements.sign(replace(told, **changes), [key("agent-plan")])

    def end(self, seq: int = 1, leaves: int | None = None, **changes: object) -> Tale:
        told = self.outcome(seq, **changes)
        self.statements.append(told)
        count = self.mine + 1 if leaves is None else leaves
        self.write(K.CHANGE_FINISHED, record={STATEMENT: sha_of(told), PLAN_LEAVES: count})
        return self

    def close(self, state: OutcomeState) -> Tale:
        """End what never started."""
        self.end(state=state, buckets={})
        return self

    def nodes(self) -> merkle.Nodes:
        store: dict[tuple[int, int], bytes] = {}
        for size, one in enumerate(self.log):
            for level, index, value in merkle.appended(size, merkle.leaf_hash(one.data), lambda lv, i: store[lv, i]):
                store[level, index] = value
        return lambda level, index: store[level, index]

    def note(self) -> bytes:
        root = merkle.root([merkle.leaf_hash(one.data) for one in self.log])
        return checkpoint.sign_checkpoint(Checkpoint(ORIGIN, len(self.log), root), key("agent-log"), ORIGIN)

    def export(
        self,
        *,
        whole: bool = False,
        without: Collection[int] = (),
        statements_: Collection[Envelope] | None = None,
        opened: bool = True,
        items: bool = False,
    ) -> Export:
        """Return the file: all leaves, or those that are not `without`, each with its proof unless it is `whole`."""
        nodes, size = self.nodes(), len(self.log)
        entries = tuple(
            ProvenLeaf(
                one.data, n, () if whole else merkle.inclusion(n, size, nodes),
                one.record if opened else None, one.salt if opened else None,
            )
            for n, one in enumerate(self.log)
            if n not in without
        )  # fmt: skip
        found = tuple(self.statements if statements_ is None else statements_)
        return Export(VKEY, self.note(), entries, found, {self.sha256.hex(): documents()} if items else {})


def honest() -> Tale:
    """One suspension, from its preview to its outcome."""
    return Tale().begin().approve().consume().apply().end()


def bytes_of(export: Export) -> bytes:
    return proof.encode_export(export)
