"""Approval: has policy been met, by people and keys that this agent's trust document knows? And the stops of a change.

* Whatever arrives is an envelope, by file or by the cloud; this file never holds a person's key.
* Each approval is judged three times: as it comes, under today's trust (which the links that it carries may bring up to
  date); when a new trust version is pinned; and when the plan is consumed.
* A cancel or a freeze may come before its plan: the plan is void, or waits, when it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from agent.changes.authority import pauses, reviews, stops
from agent.changes.authority.pauses import Paused
from agent.changes.authority.standings import Standings
from agent.changes.journal import commands, plans
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.commands import Kept, PlanRow, kept_approvals, plan_row
from agent.changes.journal.machine import Gate
from agent.changes.journal.moments import SendWindow, send_window
from agent.changes.journal.request import RequestError
from agent.changes.journal.signing import Signer
from agent.changes.journal.trust_state import (
    NoteRefusal,
    Pinned,
    Query,
    TrustState,
    cannot_lift,
    circumstances,
    freezes,
    split_envelopes,
    trust_of,
)
from agent.reasons import RefusalReason
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from trust import envelope as envelopes
from trust import statements, verify
from trust.document import ED25519, Person, Trust
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError, TrustError
from trust.leaf import STATEMENT, LeafKind
from trust.moments import moment_text
from trust.policy import Window
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Freeze,
    FreezeScope,
    Pause,
    Plan,
    Resume,
    Standing,
    Statement,
    Unfreeze,
)
from trust.verify import VerificationResult

LOST = (Reason.THRESHOLD, Reason.OWNER_MISSING, Reason.NO_STANDING, Reason.OVER_BUDGET)
"""Why an approved plan is open again: its approvers do not suffice any more."""
CLOSED = {
    Gate.REJECTED: Reason.REJECTED,
    Gate.CANCELLED: Reason.CANCELLED,
    Gate.EXPIRED: Reason.EXPIRED,
    Gate.VOID: Reason.VOID,
}
"""The answer to an approval that comes too late, where the plan was not used: it never will be."""
WINDOWS_KEPT = 256
"""Plans to remember the windows of. Chosen arbitrarily."""
LINKS_MAX = 100
"""Trust documents that one statement may carry. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class StatementAnswer:
    """The result of a statement that was handed in. `receipt` is signed by this agent."""

    short: str
    accepted: bool
    reason: str
    message: str
    have: int = 0
    need: int = 0
    gate: str = ""
    receipt: bytes = b""


@dataclass(frozen=True, slots=True)
class ReopenPlan:
    """Reopen a plan that is no longer approved: it waits for people again. `judge`: returns why; None: it still is."""

    plan_id: bytes
    judge: Callable[[Query, PlanRow, Sequence[Kept]], Reason | None]
    sealed: Sealed

    def run(self, tx: Tx) -> bool:
        """Return whether it is open again."""
        row = plan_row(tx, self.plan_id)
        if row.gate is not Gate.APPROVED or self.judge(tx.all, row, kept_approvals(tx, self.plan_id)) not in LOST:
            return False
        seq = tx.append(Entry(LeafKind.REFUSED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("DELETE FROM standing_use WHERE plan_id = ?", (self.plan_id,))
        tx.run("UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?", (Gate.OPEN.value, seq, self.plan_id))
        return True


class Approvals:
    """Takes approvals, rejections, reviews, cancels, freezes, unfreezes, trust documents and standing authorities."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        trust: TrustState,
        clock: Clock,
        signer: Callable[[], Signer],
        timezone: ZoneInfo,
        standings: Standings,
    ) -> None:
        self.standings = standings
        self._timezone = timezone
        self._store = store
        self._recorder = recorder
        self._trust = trust
        self._clock = clock
        self._signer = signer
        self._judged_windows: dict[tuple[bytes, int], tuple[Window, ...] | None] = {}
        """By the digest of a plan and the version of the trust document: each send asks for them."""
        self._paused: dict[bytes, Paused] | None = None
        """The pauses in force, for the same reason; None: to be read. The writer judges each start by its own."""

    async def submit(
        self, data: bytes, only: PlanRow | None = None, *, links: Sequence[bytes] = (), from_cloud: bool = False
    ) -> list[StatementAnswer]:
        """Take a signed statement; return an answer for each plan that it names, or one.

        Args:
            data: the envelope; before it, one a line, trust documents that this agent may lack, oldest first.
            only: the plan that it is handed in for; an approval that does not name it is refused, whatever else it
                names.
            links: such trust documents, carried beside it.
            from_cloud: it came by the control plane.

        Raises:
            RequestError: malformed, or of a kind that is not handed in.
        """
        *before, statement = split_envelopes(data)
        try:
            envelope = envelopes.decode_untrusted(statement)
        except TrustError as err:
            raise RequestError(f"expected a signed envelope: {err}") from err
        problem = await self.follow([*links, *before])
        answers = await self._take(envelope, statement, only, from_cloud=from_cloud)
        if problem:
            answers = [a if a.accepted else replace(a, message=f"{a.message} ({problem})") for a in answers]
        return answers

    async def follow(self, links: Sequence[bytes]) -> str:
        """Pin a message's part of the chain; return its fault: the statement may do without."""
        if len(links) > LINKS_MAX:
            return f"expected at most {LINKS_MAX} trust documents with it, got {len(links)}"
        before = self._trust.pinned
        problem = ""
        for link in links:
            try:
                await self._trust.follow(link, self._clock.wall_s())
            except (RequestError, RefusedCommandError) as err:
                problem = str(err)
                break
        if before is not self._trust.pinned:
            await self.rejudge()
        return problem

    async def _take(
        self, envelope: Envelope, data: bytes, only: PlanRow | None, *, from_cloud: bool
    ) -> list[StatementAnswer]:
        pinned = self._pinned()
        kinds: tuple[type[Statement], ...] = (Approval, Cancel, Freeze, Unfreeze, Pause, Resume, Trust, Standing)
        kind = next((k for k in kinds if envelope.payload_type == statements.payload_type(k)), None)
        if kind is None:
            raise RequestError(
                "expected an approval, cancel, freeze, unfreeze, pause, resume, trust document or standing authority, "
                "got " + repr(envelope.payload_type[:80]),  # escaped: who made the file chose it
                refused=True,
            )
        if kind in (
            Approval,
            Unfreeze,
            Resume,
            Standing,
        ):  # a freeze, a cancel and a newer document only stop, or mend it
            self._trust.refuse_in_doubt()
        if kind is Approval:
            return await self._approve(envelope, data, only, from_cloud=from_cloud)
        try:
            message = await self._stated(kind, envelope, data, pinned, only)
        except TrustError as err:
            reason = getattr(err, "reason", Reason.MALFORMED)
            await self._refusal(None, bytes(32), reason, "")
            return [self._stop_answer(kind, envelope, reason, str(err))]
        return [self._stop_answer(kind, envelope, None, message)]

    async def _stated(
        self, kind: type[Statement], envelope: Envelope, data: bytes, pinned: Pinned, only: PlanRow | None
    ) -> str:
        """Carry out a statement that is no approval; return the answer."""
        now_s = int(self._clock.wall_s())
        if kind is Trust:
            return await self._new_trust(data)
        if kind is Standing:
            return await self.standings.take(envelope, data)
        if kind is Cancel:
            cancel = verify.verify_cancel(envelope, pinned.trust, now_s)
            return await self._cancel(cancel, envelopes.digest(envelope), data, only)
        if kind is Pause:
            return await self._stated_pause(envelope, data, pinned, only)
        if kind is Resume:
            return await self._stated_resume(envelope, data, pinned, only)
        if kind is Freeze:
            freeze = verify.verify_freeze(envelope, pinned.trust, now_s)
            return await self._freeze(freeze, envelopes.digest(envelope), data)
        lifts = statements.decode_as_untrusted(Unfreeze, envelope).freezes
        but = cannot_lift(self._store.query, lifts, now_s)
        unfreeze = verify.verify_unfreeze(envelope, pinned.trust, now_s, self._signer().agent, but)
        digest = envelopes.digest(envelope).hex()
        record = self._recorder.record(None, {"what": "unfreeze", "person": unfreeze.person, STATEMENT: digest})
        lifted = await self._store.run(stops.RecordUnfreeze(unfreeze, data, record))
        return "the freeze is lifted" if len(unfreeze.freezes) == 1 else f"{lifted} freezes are lifted"

    async def _new_trust(self, data: bytes) -> str:
        try:
            pinned = await self._trust.follow(data, self._clock.wall_s())
        except RequestError as err:
            raise RefusedError(getattr(err.__cause__, "reason", Reason.TRUST_INVALID), str(err)) from err
        await self.rejudge()
        return f"trust version {pinned.trust.version} is pinned"

    def _pinned(self) -> Pinned:
        if self._trust.pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        return self._trust.pinned

    def trust_version(self) -> int:
        """Return which trust version is pinned; 0: none."""
        return 0 if self._trust.pinned is None else self._trust.pinned.trust.version

    # --- approvals ---

    async def _approve(
        self, envelope: Envelope, data: bytes, only: PlanRow | None, *, from_cloud: bool
    ) -> list[StatementAnswer]:
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
            told = "this approval is for no plan of this agent: it was signed for another agent, or its plan is gone"
            raise RequestError(told, refused=True) from RefusedError(Reason.OTHER_PLAN, told)  # for its receipt
        return [
            await self._review(row, envelope, data)
            if reviews.is_open(self._store.reader, row)
            else await self._approve_one(row, approval, envelope, data, from_cloud=from_cloud)
            for row in rows
        ]

    async def _review(self, row: PlanRow, envelope: Envelope, data: bytes) -> StatementAnswer:
        """Close the review of a change that one person made alone, by another person's decision on it."""
        plan, pinned, now_s = plans.signed(row), self._pinned(), self._clock.wall_s()
        nobody = VerificationResult(False, 0, (), None, "")
        try:
            decided = verify.verify_review(
                envelope,
                plan,
                row.digest,
                pinned.trust,
                int(now_s),
                requester=row.requester,
                since_s=reviews.ended_s(self._store.reader, row),
                circumstances=circumstances(plan, row.plan_id, pinned, self._store.query, now_s),
            )
            record = self._recorder.record(
                None,
                {
                    "what": "review",
                    "person": decided.person,
                    "verdict": decided.decision.value,
                    "code": decided.reason_code.value,
                    STATEMENT: envelopes.digest(envelope).hex(),
                },
            )
            command = reviews.CloseReview(row.plan_id, decided.person, decided.decision.value, data, record)
            await self._store.run(command)
        except (TrustError, RefusedCommandError) as err:
            found = getattr(err, "reason", Reason.MALFORMED)
            reason = found if isinstance(found, Reason) else Reason.CONSUMED
            await self._refusal(row.plan_id, row.digest, reason, "")
            return self._answer(row, reason, str(err), nobody, envelope, row.gate.value)
        verdict = "in order" if decided.decision is Decision.APPROVE else "NOT IN ORDER"
        said = f"review closed by {decided.person}: {verdict}"
        return self._answer(row, None, said, nobody, envelope, row.gate.value)

    def _plan_by_digest(self, digest: bytes) -> PlanRow | None:
        row = self._store.reader.execute("SELECT * FROM plan WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else commands.read_plan_row(row)

    async def _approve_one(
        self, row: PlanRow, approval: Approval, envelope: Envelope, data: bytes, *, from_cloud: bool
    ) -> StatementAnswer:
        plan, pinned = plans.signed(row), self._pinned()
        judged: list[VerificationResult] = []

        def judge(tx: Tx, others: Sequence[Kept], mine: Kept) -> Gate:
            result = self._count(plan, row, [*others, mine], pinned, tx.all)
            judged.append(result)
            refused = next((n for n in result.not_counted if n.index == len(others)), None)
            if refused is not None:
                raise RefusedCommandError(refused.reason, refused.message)
            if result.reason not in (None, Reason.THRESHOLD, Reason.OWNER_MISSING, Reason.REJECTED):
                raise RefusedCommandError(result.reason, result.message)
            if result.rejected_by and not result.approved:
                return Gate.REJECTED
            standing = None if result.approved else self._by_standing(row, tx.all)
            return Gate.APPROVED if result.approved or (standing and standing.approved) else Gate.OPEN

        digest = envelopes.digest(envelope).hex()
        fields = {"what": approval.decision.value, "person": approval.person, STATEMENT: digest}
        record = self._recorder.record(None, fields)
        key = self._key_of(approval.person, envelope, pinned)
        command = commands.AddApproval(
            row.plan_id, approval.person, key, approval.decision.value, data, judge, record, from_cloud
        )
        try:
            gate = await self._store.run(command)
        except RefusedCommandError as err:
            reason = self._closed(row) if err.reason == "closed" else Reason(err.reason)
            await self._refusal(row.plan_id, row.digest, reason, approval.person)
            result = judged[-1] if judged else VerificationResult(False, 0, (), reason, str(err))
            return self._answer(row, reason, str(err), result, envelope, row.gate.value)
        return self._answer(row, None, judged[-1].message, judged[-1], envelope, gate.value)

    def _closed(self, row: PlanRow) -> Reason:
        """Return why a plan takes no approvals any more: an approver in vain must not think that it was done."""
        return CLOSED.get(plans.find(self._store.reader, row.plan_id.hex()).gate, Reason.CONSUMED)

    def _key_of(self, handle: str, envelope: Envelope, pinned: Pinned) -> str:
        """Return which of a person's keys signed, hex; empty when none did (and the approval will be refused)."""
        person = pinned.trust.person(handle)
        keys = [bytes.fromhex(k.pub) for k in person.keys if k.kind == ED25519] if person else []
        try:
            signed = envelopes.signed_by(envelope, keys)
            return next((key.hex() for key in keys if key in signed), "")
        except TrustError:
            return ""

    def count(self, row: PlanRow) -> tuple[int, int]:
        """Return how many people approve a plan now, and how many must."""
        result = self._count(plans.signed(row), row, self._kept(row), self._pinned(), self._store.query)
        return result.have, result.need

    def _kept(self, row: PlanRow) -> list[Kept]:
        rows = self._store.query(
            "SELECT envelope, from_cloud FROM approval WHERE plan_id = ? ORDER BY seq", (row.plan_id,)
        )
        return [Kept(bytes(r["envelope"]), bool(r["from_cloud"])) for r in rows]

    def _answer(
        self,
        row: PlanRow,
        reason: Reason | None,
        message: str,
        result: VerificationResult,
        envelope: Envelope,
        gate: str,
    ) -> StatementAnswer:
        pinned = self._pinned()
        receipt = self._signer().receipt(
            statements.kind_of(Approval),
            envelopes.digest(envelope),
            reason,
            (result.have, result.need),
            pinned.trust.version,
            self._clock.wall_s(),
            row.digest,
        )
        code = "" if reason is None else reason.value
        return StatementAnswer(row.short, reason is None, code, message, result.have, result.need, gate, receipt)

    def _count(
        self, plan: Plan, row: PlanRow, approvals: Sequence[Kept], pinned: Pinned, query: Query
    ) -> VerificationResult:
        """Return the verdict on these people's approvals."""
        now_s = self._clock.wall_s()
        by_cloud = frozenset(n for n, kept in enumerate(approvals) if kept.from_cloud)
        return verify.get_approval_result(
            plan,
            row.digest,
            [envelopes.decode_untrusted(kept.envelope) for kept in approvals],
            pinned.trust,
            int(now_s),
            requester=row.requester,
            circumstances=replace(circumstances(plan, row.plan_id, pinned, query, now_s), from_cloud=by_cloud),
        )

    def _by_standing(self, row: PlanRow, query: Query) -> VerificationResult | None:
        """Return how the standing authority that approved the plan is judged now; None: none did."""
        used = query("SELECT standing_id FROM standing_use WHERE plan_id = ?", (row.plan_id,))
        return self.standings.judge(query, row, bytes(used[0]["standing_id"])).result if used else None

    def _judge(self, row: PlanRow, approvals: Sequence[Kept], query: Query) -> VerificationResult:
        """Return whether the plan is approved: by people, or by a standing authority that nobody contradicted."""
        result = self._count(plans.signed(row), row, approvals, self._pinned(), query)
        if result.approved or result.rejected_by:
            return result
        return self._by_standing(row, query) or result

    def still_approved(self, query: Query, row: PlanRow, kept: Sequence[Kept]) -> None:
        """Judge the kept approvals again, at the moment of consumption, under the stricter policy of then and now.

        `query` reads inside the transaction that consumes, so that a freeze of the same batch counts.

        Raises:
            RefusedCommandError: policy is no longer met, or a newer trust version was written a moment ago.
        """
        if query("SELECT max(version) AS v FROM trust", ())[0]["v"] != self.trust_version():
            raise RefusedCommandError(
                RefusalReason.TRUST_MOVED, "a new trust version is being pinned: it is judged by that"
            )
        result = self._judge(row, kept, query)
        if result.reason is not None:
            raise RefusedCommandError(result.reason, result.message)

    async def rejudge(self) -> None:
        """Judge approved plans under the trust that is pinned now: people that a new version removed do not count."""
        for row in self._store.query("SELECT * FROM plan WHERE gate = ?", (Gate.APPROVED.value,)):
            await self.reopen(commands.read_plan_row(row))

    async def reopen(self, row: PlanRow) -> bool:
        """Have an approved plan wait for people again if its approvers do not suffice any more."""
        result = self._judge(row, self._kept(row), self._store.query)
        if result.reason not in LOST:
            return False
        record = self._recorder.record(None, {"what": "refused", "reason": result.reason.value, "claims": ""})
        command = ReopenPlan(row.plan_id, lambda query, row, kept: self._judge(row, kept, query).reason, record)
        if not await self._store.run(command):
            return False
        if result.reason is Reason.OVER_BUDGET:
            self.standings.queue(row.plan_id, result.message)
        else:
            self.standings.lapse(row.plan_id, f"it is not approved any more: {result.message}")
        return True

    def _then(self, plan: Plan) -> Trust | None:
        return trust_of(plan, self._pinned(), self._store.query)

    def budget(self, plan: Plan) -> int:
        """Return how many services the plan's class may change in an hour, by the stricter policy of then and now."""
        policy = verify.policy_for(plan, self._pinned().trust, self._then(plan))
        return 0 if policy is None else policy.budget_per_hour

    def send_window(self, row: PlanRow) -> SendWindow:
        """Return whether a plan may send now: nobody paused it, and the stricter policy's window is open."""
        now_s = self._clock.wall_s()
        if self._paused is None:
            self._paused = pauses.paused(self._store.query)
        if (paused := self._paused.get(row.plan_id)) is not None:
            at, until = (moment_text(s, self._timezone, now_s) for s in (paused.at_s, row.run_until.wall_s))
            how = f"ispagent change resume {row.short}"
            text = f"paused by {paused.by} at {at}: {how}; what is not sent by {until} never will be"
            return SendWindow(None, text, RefusalReason.PAUSED)
        if (windows := self._windows(row)) is None:
            return SendWindow(None, f"waits for a policy of class {row.risk}: the trust document has none now")
        return send_window(windows, now_s, row.run_until.wall_s, self._timezone)

    def _windows(self, row: PlanRow) -> tuple[Window, ...] | None:
        """Return the windows of a plan's policy, None where it has no policy; judged once for each trust version."""
        pinned = self._pinned()
        at = (row.digest, pinned.trust.version)
        if at not in self._judged_windows:
            plan = plans.signed(row)
            policy = verify.policy_for(plan, pinned.trust, self._then(plan))
            if len(self._judged_windows) >= WINDOWS_KEPT:
                self._judged_windows.clear()
            self._judged_windows[at] = None if policy is None else policy.windows
        return self._judged_windows[at]

    # --- stops ---

    async def pause(self, row: PlanRow, who: str, person: Person | None) -> None:
        """Pause a change. `person`: as the trust document knows them; None: root, or there is no document yet.

        Raises:
            RefusedCommandError: it is over, or the person may not.
        """
        if person is not None and (why := verify.pause_problem(person, self._signer().agent)):
            raise RefusedCommandError(why.reason, str(why))
        await self._paused_or_not(pauses.PauseChange(row.plan_id, who, self._noted("paused", who)))

    async def resume(self, row: PlanRow, who: str, person: Person | None) -> None:
        """Let a paused change go on. `person`: as for `pause`.

        Raises:
            RefusedCommandError: it is over, or not paused, or the person may not.
            RequestError: the trust is in doubt.
        """
        self._trust.refuse_in_doubt()

        def judge(paused: Paused) -> None:
            if person is None:
                return
            if why := verify.resume_problem(person, self._signer().agent, paused.by):
                raise RefusedCommandError(why.reason, str(why))
            if person.handle in freezes(self._store.query, self._clock.wall_s()).people:
                raise RefusedCommandError(
                    Reason.FROZEN,
                    f"{person.handle} is frozen: another person resumes it, or two people lift the freeze"
                    " (ispcloud changes unfreeze)",
                )

        await self._paused_or_not(pauses.ResumeChange(row.plan_id, judge, self._noted("resumed", who)))

    async def _paused_or_not(self, command: pauses.PauseChange | pauses.ResumeChange) -> bool:
        try:
            return await self._store.run(command)
        finally:
            self._paused = None

    def _noted(self, what: str, by: str, digest: bytes = b"") -> Sealed:
        return self._recorder.record(None, {"what": what, "by": by, **({STATEMENT: digest.hex()} if digest else {})})

    async def _stated_pause(self, envelope: Envelope, data: bytes, pinned: Pinned, only: PlanRow | None) -> str:
        pause = verify.verify_pause(envelope, pinned.trust, int(self._clock.wall_s()), self._signer().agent)
        row, stated = self._plan_named(pause.plan_sha256, only), pauses.Stated(envelopes.digest(envelope), data)
        record = self._noted("paused", pause.person, stated.digest)
        done = await self._run_stated(row, pauses.PauseChange(row.plan_id, pause.person, record, stated))
        return f"{row.short} is paused" if done else f"{row.short} was paused already: nothing was changed"

    async def _stated_resume(self, envelope: Envelope, data: bytes, pinned: Pinned, only: PlanRow | None) -> str:
        now_s, frozen = int(self._clock.wall_s()), freezes(self._store.query, self._clock.wall_s())

        def verified(paused_by: str) -> Resume:
            return verify.verify_resume(
                envelope,
                pinned.trust,
                now_s,
                self._signer().agent,
                paused_by,
                frozen_people=frozen.people,
                frozen_keys=frozen.keys,
            )

        def judge(paused: Paused) -> None:
            try:
                at_s = verified(paused.by).at * 60
            except RefusedError as err:
                raise RefusedCommandError(err.reason, str(err)) from err
            if at_s + 59 < paused.at_s:
                raise RefusedCommandError(Reason.EXPIRED, "it was signed before the change was paused: sign a new one")

        resume = statements.decode_as_untrusted(Resume, envelope)
        row, stated = self._plan_named(resume.plan_sha256, only), pauses.Stated(envelopes.digest(envelope), data)
        verified(row.paused_by or resume.person)  # whoever nobody knows learns nothing of the change
        record = self._noted("resumed", resume.person, stated.digest)
        done = await self._run_stated(row, pauses.ResumeChange(row.plan_id, judge, record, stated))
        return f"{row.short} goes on" if done else f"{row.short} was resumed by this before: nothing was changed"

    def _plan_named(self, digest: str, only: PlanRow | None) -> PlanRow:
        row = self._plan_by_digest(bytes.fromhex(digest))
        if row is None or (only is not None and only.plan_id != row.plan_id):
            told = "no plan of this agent" if only is None else "another plan"
            raise RefusedError(Reason.OTHER_PLAN, f"it is for {told}: nothing was changed")
        return row

    async def _run_stated(self, row: PlanRow, command: pauses.PauseChange | pauses.ResumeChange) -> bool:
        try:
            return await self._paused_or_not(command)
        except RefusedCommandError as err:
            known = {reason.value: reason for reason in Reason}
            raise RefusedError(known.get(err.reason, self._closed(row)), str(err)) from err

    def _stop_answer(
        self, kind: type[Statement], envelope: Envelope, reason: Reason | None, message: str
    ) -> StatementAnswer:
        receipt = self._signer().receipt(
            statements.kind_of(kind),
            envelopes.digest(envelope),
            reason,
            (0, 0),
            self._pinned().trust.version,
            self._clock.wall_s(),
        )
        return StatementAnswer("", reason is None, "" if reason is None else reason.value, message, receipt=receipt)

    async def _cancel(self, cancel: Cancel, digest: bytes, data: bytes, only: PlanRow | None) -> str:
        if only is not None and only.digest.hex() not in cancel.plans:
            raise RefusedError(Reason.OTHER_PLAN, "the cancel is for another plan: nothing was cancelled")
        fields: dict[str, Json] = {"what": "cancel", "person": cancel.person, "plans": len(cancel.plans)}
        record = self._recorder.record(None, {**fields, STATEMENT: digest.hex()})
        stopped = await self._store.run(stops.RecordCancel(cancel, data, record))
        if stopped:
            return f"cancelled before the start: {', '.join(stopped)}"
        return "recorded: what runs stops before its next step; what has not arrived is void when it does"

    async def _freeze(self, freeze: Freeze, digest: bytes, data: bytes) -> str:
        fields = {"what": "freeze", "person": freeze.person, "scope": freeze.scope.value, "target": freeze.target}
        record = self._recorder.record(None, {**fields, STATEMENT: digest.hex()})
        if freeze.scope is FreezeScope.AGENT and freeze.target != self._signer().agent:
            raise RefusedError(Reason.WRONG_AGENT, "this freeze is for another agent: nothing was frozen")
        new = await self._store.run(stops.RecordFreeze(freeze, digest, data, record))
        return "frozen: nothing is sent until two people lift it" if new else "this freeze was already recorded"

    async def _refusal(self, plan_id: bytes | None, digest: bytes, reason: Reason, person: str) -> None:
        record = self._recorder.record(None, {"what": "refused", "reason": reason.value, "claims": person})
        await self._store.run(NoteRefusal(plan_id, digest, record))
