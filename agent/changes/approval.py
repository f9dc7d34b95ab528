"""Approval: has policy been met, by people and keys that this agent's trust document knows? And what stops a change.

Whatever arrives is an envelope, by file or later by the cloud; this file never holds a person's key. Each approval is
judged under today's trust, kept, and judged again when the plan is consumed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.changes import commands, plans, stops
from agent.changes.audit import Recorder
from agent.changes.commands import PlanRow
from agent.changes.digest import Signer
from agent.changes.machine import Gate
from agent.changes.request import RequestError
from agent.changes.trust_state import Pinned, TrustState
from agent.model import ItemState
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from trust import envelope as envelopes
from trust import statements, verify
from trust.document import ED25519, Trust
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError, TrustError
from trust.leaf import LeafKind
from trust.policy import WEEK_MINUTES, in_windows
from trust.statements import Approval, Cancel, Freeze, FreezeScope, Plan, Unfreeze
from trust.verify import Circumstances, VerificationResult

Query = Callable[[str, Sequence[object]], list[sqlite3.Row]]
"""Runs a query and returns its rows: on the read-only connection, or inside a command's transaction."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a statement that was handed in. `receipt` is signed by this agent."""

    short: str
    accepted: bool
    reason: str
    message: str
    have: int = 0
    need: int = 0
    gate: str = ""
    receipt: bytes = b""


@dataclass(frozen=True, slots=True)
class NoteRefusal:
    """A statement that was refused leaves a leaf as well."""

    plan_id: bytes | None
    plan_digest: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        return tx.append(Entry(LeafKind.REFUSED, self.plan_id, self.plan_digest, sealed=self.sealed))


class Approvals:
    """Takes approvals, rejections, cancels, freezes and unfreezes."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        recorder: Recorder,
        trust: TrustState,
        clock: Clock,
        signer: Callable[[], Signer],
    ) -> None:
        self._store = store
        self._vault = vault
        self._recorder = recorder
        self._trust = trust
        self._clock = clock
        self._signer = signer

    async def submit(self, data: bytes, only: PlanRow | None = None) -> list[Answer]:
        """Take a signed statement of a person; return an answer for each plan that it names.

        `only`: the plan that it is handed in for; an approval that does not name it is refused, whatever else it names.

        Raises:
            RequestError: malformed, or of a kind that is not handed in.
        """
        try:
            envelope = envelopes.decode_untrusted(data)
        except TrustError as err:
            raise RequestError(f"expected a signed envelope: {err}") from err
        pinned = self._pinned()
        if envelope.payload_type == statements.payload_type(Approval):
            return await self._approve(envelope, data, pinned, only)
        stop_kinds: tuple[type[Cancel | Freeze | Unfreeze], ...] = (Cancel, Freeze, Unfreeze)
        kind = next((k for k in stop_kinds if envelope.payload_type == statements.payload_type(k)), None)
        if kind is None:
            raise RequestError(
                f"expected an approval, cancel, freeze or unfreeze, got {envelope.payload_type}", refused=True
            )
        return [await self._stop(kind, envelope, data, pinned, only)]

    def _pinned(self) -> Pinned:
        if self._trust.pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        return self._trust.pinned

    # --- approvals ---

    async def _approve(self, envelope: Envelope, data: bytes, pinned: Pinned, only: PlanRow | None) -> list[Answer]:
        try:
            approval = statements.decode_as_untrusted(Approval, envelope)
        except TrustError as err:
            raise RequestError(f"approval: {err}", refused=True) from err
        if only is not None and only.digest.hex() not in approval.plans:
            await self._refusal(only.plan_id, only.digest, Reason.OTHER_PLAN, approval.person)
            result = VerificationResult(False, 0, (), Reason.OTHER_PLAN, "")
            told = "the approval is for another plan: nothing was approved"
            return [self._answer(only, Reason.OTHER_PLAN, told, result, envelope, only.gate.value)]
        rows = [row for digest in approval.plans if (row := self._plan_by_digest(bytes.fromhex(digest))) is not None]
        if not rows:
            await self._refusal(None, bytes(32), Reason.OTHER_PLAN, approval.person)
            raise RequestError("this approval is for no plan of this agent", refused=True)
        return [await self._approve_one(row, approval, envelope, data, pinned) for row in rows]

    def _plan_by_digest(self, digest: bytes) -> PlanRow | None:
        row = self._store.reader.execute("SELECT * FROM plan WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else commands.read_plan_row(row)

    async def _approve_one(
        self, row: PlanRow, approval: Approval, envelope: Envelope, data: bytes, pinned: Pinned
    ) -> Answer:
        plan = plans.signed(row)
        judged: list[VerificationResult] = []

        def judge(tx: Tx, others: Sequence[bytes]) -> Gate:
            kept = [envelopes.decode_untrusted(data) for data in others]
            result = self._judge(plan, row, [*kept, envelope], pinned, tx.all)
            judged.append(result)
            refused = next((n for n in result.not_counted if n.index == len(kept)), None)
            if refused is not None:
                raise RefusedCommandError(refused.reason.value, refused.message)
            if result.reason not in (None, Reason.THRESHOLD, Reason.OWNER_MISSING, Reason.REJECTED):
                raise RefusedCommandError(result.reason.value, result.message)
            return Gate.APPROVED if result.approved else Gate.REJECTED if result.rejected_by else Gate.OPEN

        record = self._recorder.record(None, {"what": approval.decision.value, "person": approval.person})
        key = self._key_of(approval.person, envelope, pinned)
        command = commands.AddApproval(row.plan_id, approval.person, key, approval.decision.value, data, judge, record)
        try:
            gate = await self._store.run(command)
        except RefusedCommandError as err:
            reason = Reason.CONSUMED if err.reason == "closed" else Reason(err.reason)
            await self._refusal(row.plan_id, row.digest, reason, approval.person)
            result = judged[-1] if judged else VerificationResult(False, 0, (), reason, str(err))
            return self._answer(row, reason, str(err), result, envelope, row.gate.value)
        return self._answer(row, None, judged[-1].message, judged[-1], envelope, gate.value)

    def _key_of(self, handle: str, envelope: Envelope, pinned: Pinned) -> str:
        """Return which of a person's keys signed, hex; empty when none did (and the approval will be refused)."""
        person = pinned.trust.person(handle)
        keys = [bytes.fromhex(k.pub) for k in person.keys if k.kind == ED25519] if person else []
        try:
            return next((key.hex() for key in envelopes.signed_by(envelope, keys)), "")
        except TrustError:
            return ""

    def count(self, row: PlanRow) -> tuple[int, int]:
        """Return how many people approve a plan now, and how many must."""
        rows = self._query("SELECT envelope FROM approval WHERE plan_id = ? ORDER BY seq", (row.plan_id,))
        kept = [envelopes.decode_untrusted(bytes(r["envelope"])) for r in rows]
        result = self._judge(plans.signed(row), row, kept, self._pinned(), self._query)
        return result.have, result.need

    def _answer(
        self,
        row: PlanRow,
        reason: Reason | None,
        message: str,
        result: VerificationResult,
        envelope: Envelope,
        gate: str,
    ) -> Answer:
        pinned = self._pinned()
        receipt = self._signer().receipt(
            statements.kind_of(Approval),
            envelopes.digest(envelope),
            reason,
            (result.have, result.need),
            pinned.trust.version,
            self._clock.wall_s(),
        )
        code = "" if reason is None else reason.value
        return Answer(row.short, reason is None, code, message, result.have, result.need, gate, receipt)

    def _judge(
        self, plan: Plan, row: PlanRow, approvals: Sequence[Envelope], pinned: Pinned, query: Query
    ) -> VerificationResult:
        return verify.get_approval_result(
            plan,
            row.digest,
            approvals,
            pinned.trust,
            int(self._clock.wall_s()),
            requester=row.requester,
            circumstances=self._circumstances(plan, row, pinned, query),
        )

    def _circumstances(self, plan: Plan, row: PlanRow, pinned: Pinned, query: Query) -> Circumstances:
        now_s = self._clock.wall_s()
        quiet = (ItemState.BLOCKED.value, ItemState.EXCLUDED.value)
        counted = "SELECT count(*) FROM item WHERE plan_id = ? AND state NOT IN (?, ?)"
        frozen = query(
            "SELECT scope, target FROM freeze WHERE lifted_seq IS NULL AND coalesce(expires_s > ?, 1)", (now_s,)
        )
        return Circumstances(
            then=self._trust_version(plan.trust_version, query),
            trust_sha256=pinned.sha256.hex(),
            items=query(counted, (row.plan_id, *quiet))[0][0],
            frozen_people=frozenset(r["target"] for r in frozen if r["scope"] == "person"),
            frozen_keys=frozenset(bytes.fromhex(r["target"]) for r in frozen if r["scope"] == "key"),
        )

    def _query(self, sql: str, args: Sequence[object]) -> list[sqlite3.Row]:
        return self._store.reader.execute(sql, args).fetchall()

    def _trust_version(self, version: int, query: Query) -> Trust | None:
        rows = query("SELECT envelope FROM trust WHERE version = ?", (version,))
        if not rows:
            return None
        envelope = envelopes.decode_untrusted(bytes(rows[0]["envelope"]))
        return statements.decode_as_untrusted(Trust, envelope)

    def still_approved(self, query: Query, plan: Plan, row: PlanRow, kept: Sequence[bytes]) -> None:
        """Judge the kept approvals again, at the moment of consumption, under the stricter policy of then and now.

        `query` reads inside the transaction that consumes, so that a freeze of the same batch counts.

        Raises:
            RefusedCommandError: policy is no longer met.
        """
        pinned = self._pinned()
        result = self._judge(plan, row, [envelopes.decode_untrusted(data) for data in kept], pinned, query)
        if result.reason is not None:
            raise RefusedCommandError(result.reason.value, result.message)

    def budget(self, plan: Plan) -> int:
        """Return how many services the plan's class may change in an hour, by the stricter policy of then and now."""
        policy = verify.policy_for(plan, self._pinned().trust, self._trust_version(plan.trust_version, self._query))
        return 0 if policy is None else policy.budget_per_hour

    def may_start(self, plan: Plan, minute_of_week: int) -> bool:
        """Return whether the policy's window for the plan's class is open."""
        policy = verify.policy_for(plan, self._pinned().trust, self._trust_version(plan.trust_version, self._query))
        return policy is not None and in_windows(policy.windows, minute_of_week % WEEK_MINUTES)

    # --- stops ---

    async def _stop(
        self,
        kind: type[Cancel | Freeze | Unfreeze],
        envelope: Envelope,
        data: bytes,
        pinned: Pinned,
        only: PlanRow | None,
    ) -> Answer:
        now_s = int(self._clock.wall_s())
        digest = envelopes.digest(envelope)
        try:
            if kind is Cancel:
                message = await self._cancel(verify.verify_cancel(envelope, pinned.trust, now_s), data, only)
            elif kind is Freeze:
                message = await self._freeze(verify.verify_freeze(envelope, pinned.trust, now_s), digest, data)
            else:
                unfreeze = verify.verify_unfreeze(envelope, pinned.trust, now_s)
                record = self._recorder.record(None, {"what": "unfreeze", "person": unfreeze.person})
                await self._store.run(stops.RecordUnfreeze(unfreeze, data, record))
                message = "the freeze is lifted"
        except TrustError as err:
            reason = getattr(err, "reason", Reason.MALFORMED)
            await self._refusal(None, bytes(32), reason, "")
            return self._stop_answer(kind, envelope, reason, str(err), pinned)
        return self._stop_answer(kind, envelope, None, message, pinned)

    def _stop_answer(
        self,
        kind: type[Cancel | Freeze | Unfreeze],
        envelope: Envelope,
        reason: Reason | None,
        message: str,
        pinned: Pinned,
    ) -> Answer:
        receipt = self._signer().receipt(
            statements.kind_of(kind),
            envelopes.digest(envelope),
            reason,
            (0, 0),
            pinned.trust.version,
            self._clock.wall_s(),
        )
        return Answer("", reason is None, "" if reason is None else reason.value, message, receipt=receipt)

    async def _cancel(self, cancel: Cancel, data: bytes, only: PlanRow | None) -> str:
        if only is not None and only.digest.hex() not in cancel.plans:
            raise RefusedError(Reason.OTHER_PLAN, "the cancel is for another plan: nothing was cancelled")
        record = self._recorder.record(None, {"what": "cancel", "person": cancel.person, "plans": len(cancel.plans)})
        stopped = await self._store.run(stops.RecordCancel(cancel, data, record))
        if stopped:
            return f"cancelled before the start: {', '.join(stopped)}"
        return "recorded: what runs stops before its next step; what has not arrived is void when it does"

    async def _freeze(self, freeze: Freeze, digest: bytes, data: bytes) -> str:
        record = self._recorder.record(
            None, {"what": "freeze", "person": freeze.person, "scope": freeze.scope.value, "target": freeze.target}
        )
        if freeze.scope is FreezeScope.AGENT and freeze.target != self._signer().agent:
            raise RefusedError(Reason.WRONG_AGENT, "this freeze is for another agent: nothing was frozen")
        new = await self._store.run(stops.RecordFreeze(freeze, digest, data, record))
        return "frozen: nothing is sent until two people lift it" if new else "this freeze was already recorded"

    async def _refusal(self, plan_id: bytes | None, digest: bytes, reason: Reason, person: str) -> None:
        record = self._recorder.record(None, {"what": "refused", "reason": reason.value, "claims": person})
        await self._store.run(NoteRefusal(plan_id, digest, record))
