"""Signed outcomes and receipts, in enums and buckets; they leave the agent, the per-item results stay here.

Each says where the log stood at its last signed checkpoint: those sizes are padded, so that they tell no volume.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.changes.journal.machine import ChangeState
from agent.changes.journal.trust_state import TrustState
from agent.inventory.ledger import Query
from agent.model import ItemState
from agent.store.identity import Identity
from trust import chance, life, merkle, statements
from trust import envelope as envelopes
from trust.errors import Reason
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.statements import Outcome, OutcomeBucket, OutcomeState, Receipt, ReceiptResult, SealKey, size_bucket

S = ItemState

BUCKETS: Mapping[ItemState, OutcomeBucket] = {S(word): bucket for word, bucket in life.BUCKETS.items()}
"""Blocked and excluded items were never part of the work."""

STATES: Mapping[ChangeState, OutcomeState] = {
    ChangeState.DONE: OutcomeState.DONE,
    ChangeState.ACCEPTED: OutcomeState.ACCEPTED,
    ChangeState.NEEDS_YOU: OutcomeState.NEEDS_A_PERSON,
    ChangeState.DONE_IN_PART: OutcomeState.MIXED,
    ChangeState.NOTHING_CHANGED: OutcomeState.NOTHING_DONE,
    ChangeState.REVERTED: OutcomeState.REVERTED,
    ChangeState.CANCELLED: OutcomeState.CANCELLED,
    ChangeState.REJECTED: OutcomeState.REJECTED,
    ChangeState.VOID: OutcomeState.VOID,
    ChangeState.EXPIRED: OutcomeState.EXPIRED,
    ChangeState.STALE: OutcomeState.NOTHING_DONE,
}


def outcome_number(query: Query, plan_id: bytes) -> int:
    """Return the number of a change's next outcome, from 1: a run that goes on, and later judging, have one each."""
    told = "SELECT count(*) AS n FROM event WHERE plan = ? AND kind = ?"
    return 1 + int(query(told, (plan_id, LeafKind.CHANGE_FINISHED.value))[0]["n"])


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs outcomes, receipts and sealing keys. `log_head` returns (size, root) of the newest signed checkpoint."""

    trust_id: str
    agent: str
    plan_key: SigningKey
    log_head: Callable[[], tuple[int, bytes]]

    def outcome(
        self, plan_digest: bytes, seq: int, state: ChangeState, items: Mapping[int, ItemState], now_s: float
    ) -> bytes:
        """Return the signed outcome envelope of a change that is over."""
        counts = Counter(BUCKETS[s] for s in items.values() if s in BUCKETS)
        salt = chance.token_hex(16)
        leaves = [merkle.leaf_hash(json.dumps([salt, n, s.value]).encode()) for n, s in sorted(items.items())]
        size, root = self.log_head()
        statement = Outcome(
            trust_id=self.trust_id,
            agent=self.agent,
            plan_sha256=plan_digest.hex(),
            seq=seq,
            final=True,
            state=STATES.get(state, OutcomeState.MIXED),
            buckets={bucket: size_bucket(count) for bucket, count in counts.items()},
            results_sha256=merkle.root(leaves).hex(),
            log_size=size,
            log_root=root.hex(),
            at=int(now_s) // 60,
        )
        return envelopes.encode(statements.sign(statement, [self.plan_key]))

    def receipt(
        self,
        of_type: str,
        of_digest: bytes,
        reason: Reason | None,
        people: tuple[int, int],
        trust_version: int,
        now_s: float,
        plan_digest: bytes = bytes(32),
    ) -> bytes:
        """Return the signed receipt: taken (reason None) or refused.

        `people`: how many approve, and how many must, the plan of `plan_digest` (zeros: it is about none).
        """
        size, root = self.log_head()
        statement = Receipt(
            trust_id=self.trust_id,
            agent=self.agent,
            of_type=of_type,
            of_sha256=of_digest.hex(),
            result=ReceiptResult.ACCEPTED if reason is None else ReceiptResult.REFUSED,
            reason=reason,
            have=people[0],
            need=people[1],
            trust_version=trust_version,
            log_size=size,
            log_root=root.hex(),
            at=int(now_s) // 60,
            plan_sha256=plan_digest.hex(),
        )
        return envelopes.encode(statements.sign(statement, [self.plan_key]))

    def sealkey(self, public: bytes, not_before_s: int, not_after_s: int) -> bytes:
        """Return the signed statement that names a sealing key (X25519, 32 bytes) of this agent."""
        statement = SealKey(self.trust_id, self.agent, public.hex(), not_before_s // 60, not_after_s // 60)
        return envelopes.encode(statements.sign(statement, [self.plan_key]))


def signer_now(trust: TrustState, identity: Identity, log_head: Callable[[], tuple[int, bytes]]) -> Signer:
    """Return the signer by the trust in force. `log_head`: as in `Signer`."""
    trust_id = trust.pinned.trust.trust_id if trust.pinned else "0" * 32
    return Signer(trust_id, identity.agent, identity.plan_key, log_head)
