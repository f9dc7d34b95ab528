"""Standing authority: a permission by two people by day for the night, and its use.

A standing authority approves one kind of plan: the verb on one subject, where the evidence is there (a payment matched
after the suspension), so many in any hour. It is judged when the plan is made and again when it is consumed, each time
under today's trust, billing data and freezes. A plan that it does not cover waits for a person.

There is no revocation of its own: a freeze of one of its signers, or a trust document without them, stops it, and it
ends by its date.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import trio

from agent.changes.journal import plans
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.budget import HOUR_S, next_turn
from agent.changes.journal.commands import PlanRow, SavePlan, SetGate, plan_row
from agent.changes.journal.machine import Gate
from agent.changes.journal.request import RequestError
from agent.changes.journal.trust_state import NoteRefusal, Pinned, Query, TrustState, circumstances, freezes
from agent.inventory import book, facts
from agent.inventory.billing import BillingReader
from agent.inventory.book import Broken, RequirementTest
from agent.model import Item, ReasonChange, Requirement, SuspensionReason
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from trust import envelope as envelopes
from trust import verify
from trust.document import EVERYWHERE, Trust
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError, TrustError
from trust.leaf import STATEMENT, LeafKind
from trust.policy import BY_SIGHT, Action, RiskClass
from trust.statements import Standing, StandingEvidence
from trust.verify import BY_STANDING, VerificationResult

EvidenceTest = Callable[[Query, PlanRow], bool]
"""Returns whether the evidence for a plan is there now."""

AGAIN_S: Final = 60.0
"""How often an uncovered plan is tried again."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A standing authority that holds now, and its signers."""

    standing: Standing
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepStanding:
    """Keep a standing authority; one that is known already changes nothing."""

    standing: Standing
    digest: bytes
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> bool:
        """Return whether it is new."""
        standing_id = bytes.fromhex(self.standing.standing_id)
        if tx.one("SELECT 1 FROM standing WHERE standing_id = ?", (standing_id,)):
            return False
        seq = tx.append(Entry(LeafKind.STANDING, actor=standing_id, sealed=self.sealed))
        row = (standing_id, self.digest, self.envelope, self.standing.not_after * 60, seq)
        tx.run("INSERT INTO standing (standing_id, digest, envelope, not_after_s, seq) VALUES (?,?,?,?,?)", row)
        return True


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a plan by the standing authorities; `standing_id` is of the one that covers it."""

    result: VerificationResult
    standing_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class UseStanding:
    """Approve an open plan by a standing authority that covers it, in one transaction with the count of its uses."""

    plan_id: bytes
    judge: Callable[[Query, PlanRow], Judged]
    record: Callable[[bytes], Sealed]
    """Returns the record of the use of a standing authority, by its digest."""

    def run(self, tx: Tx) -> Judged | None:
        """Return how it was judged; None: the plan is not open any more."""
        row = plan_row(tx, self.plan_id)
        if row.gate is not Gate.OPEN:
            return None
        judged = self.judge(tx.all, row)
        if judged.standing_id is not None:
            kept = tx.all("SELECT digest FROM standing WHERE standing_id = ?", (judged.standing_id,))
            sealed = self.record(bytes(kept[0]["digest"]))
            entry = Entry(LeafKind.STANDING_USED, self.plan_id, row.digest, actor=judged.standing_id, sealed=sealed)
            seq = tx.append(entry)
            tx.run(
                "INSERT INTO standing_use (plan_id, standing_id, at_s) VALUES (?,?,?)",
                (self.plan_id, judged.standing_id, int(tx.now_s)),
            )
            tx.run("UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?", (Gate.APPROVED.value, seq, self.plan_id))
        return judged


@dataclass(frozen=True, slots=True)
class SaveCovered:
    """Save a plan and approve it by a standing authority that covers it, in one commit: nothing stands between."""

    save: SavePlan
    use: UseStanding

    def run(self, tx: Tx) -> Judged | None:
        """Return how the plan is judged; None: it is not saved, as `SavePlan` says."""
        return self.use.run(tx) if self.save.run(tx) else None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Command: void a plan that is open and that nobody paused; returns whether it was."""

    plan_id: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> bool:
        paused = tx.all("SELECT 1 FROM plan WHERE plan_id = ? AND paused_by IS NOT NULL", (self.plan_id,))
        if paused or plan_row(tx, self.plan_id).gate is not Gate.OPEN:
            return False
        SetGate(self.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID, self.sealed).run(tx)
        return True


class Standings:
    """Keeps standing authorities and judges plans by them."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        trust: TrustState,
        clock: Clock,
        billing: BillingReader,
        evidence: Mapping[StandingEvidence, EvidenceTest] = MappingProxyType({}),
    ) -> None:
        """Judge by the store's content.

        Args:
            store: of the agent.
            recorder: of refusals and kept authorities.
            trust: with the keys and policy that count.
            clock: of dates and rates.
            billing: the facts on payments.
            evidence: tests of evidence beside that of payments, which others know.
        """
        self._store = store
        self._recorder = recorder
        self._trust = trust
        self._clock = clock
        self._tests = {StandingEvidence.PAYMENT_MATCHED: self._is_paid, **evidence}
        self._billing = billing
        self.waiting: dict[bytes, str] = {}
        """Why a plan that a standing authority might have approved waits for a person, or for its turn."""
        self._queued: dict[bytes, None] = {}
        """Plans that wait until the rate of a standing authority leaves room, the first to come first."""
        self._uncovered: dict[bytes, float] = {}
        """Plans that no standing authority covered, and when each is tried again, boot-time clock; `use_again` drops
        those that are open no more.
        """
        self._held = frozenset[str]()
        """The ids of the standing authorities that were in force at the last look."""

    async def take(self, envelope: Envelope, data: bytes) -> str:
        """Keep a standing authority that two people signed; return the answer.

        Raises:
            RefusedError: not signed by two people that count, for other agents, past its date.
        """
        standing, people = verify.verify_standing(envelope, self._pinned().trust, int(self._clock.wall_s()))
        if EVERYWHERE not in standing.scope and self._trust.agent not in standing.scope:
            raise RefusedError(Reason.WRONG_AGENT, "this standing authority is for other agents: nothing was kept")
        handles = [p.handle for p in people]
        fields: dict[str, Json] = {"what": "standing", "verb": standing.verb.value, "people": ", ".join(handles)}
        digest = envelopes.digest(envelope)
        record = self._recorder.record(None, {**fields, "rate": standing.rate_per_hour, STATEMENT: digest.hex()})
        if not await self._store.run(KeepStanding(standing, digest, data, record)):
            return "this standing authority was already recorded"
        rate = f"at most {standing.rate_per_hour} an hour"
        return f"standing authority for {standing.verb.value}, {rate}, by {', '.join(handles)}"

    def in_force(self, now_s: float) -> list[InForce]:
        """Return the authorities in force: enough people of today's trust document signed each, none of them frozen."""
        pinned = self._trust.pinned
        if pinned is None:
            return []
        return in_force(self._store.query, pinned.trust, self._trust.agent, now_s)

    def judge(self, query: Query, row: PlanRow, only: bytes | None = None) -> Judged:
        """Return whether a standing authority (of this id only) covers the plan now.

        `query` reads inside the transaction that acts on it, or on the read-only connection.
        """
        plan, pinned, now_s = plans.signed(row), self._pinned(), self._clock.wall_s()
        evidence = frozenset(kind for kind, holds in self._tests.items() if holds(query, row))
        c = circumstances(plan, row.plan_id, pinned, query, now_s)
        c = replace(c, from_cloud=frozenset({0}))  # it is not kept which way one came: a local class takes none
        best = Judged(VerificationResult(False, 0, (), Reason.NO_STANDING, "no standing authority is in force"))
        for kept in query("SELECT * FROM standing WHERE not_after_s >= ? ORDER BY seq", (int(now_s),)):
            standing_id = bytes(kept["standing_id"])
            if only not in (None, standing_id):
                continue
            result = verify.get_standing_result(
                plan,
                [(_envelope_in(bytes(kept["envelope"])), self._uses(query, standing_id, row, now_s))],
                pinned.trust,
                int(now_s),
                requester=row.requester,
                evidence=evidence,
                circumstances=c,
            )
            if result.approved:
                return Judged(result, standing_id)
            if best.result.reason is not Reason.OVER_BUDGET:
                best = Judged(result)
        return best

    def _uses(self, query: Query, standing_id: bytes, row: PlanRow, now_s: float) -> int:
        """Return how often it was used within the hour, by other plans."""
        counted = "SELECT count(*) AS n FROM standing_use WHERE standing_id = ? AND at_s > ? AND plan_id <> ?"
        return int(query(counted, (standing_id, int(now_s) - HOUR_S, row.plan_id))[0]["n"])

    def _is_paid(self, query: Query, row: PlanRow) -> bool:
        if row.lifts is not SuspensionReason.DEBT:
            return False
        quiet = "SELECT service FROM item WHERE plan_id = ? AND state NOT IN ('blocked', 'excluded')"
        services = [r["service"] for r in query(quiet, (row.plan_id,))]
        return len(services) == 1 and has_matched_payment(query, services[0], self._clock.wall_s(), self._billing)

    async def save(self, plan: SavePlan) -> bool:
        """Save a plan, approved if a standing authority covers it; return whether it is saved, as `SavePlan` says."""
        judged = await self._store.run(SaveCovered(plan, self._using(plan.plan_id)))
        if judged is not None:
            await self._used(plan.plan_id, judged)
        return judged is not None

    async def use(self, plan_id: bytes) -> bool:
        """Approve an open plan by a standing authority; False: it waits for a person, and says why."""
        return await self._used(plan_id, await self._store.run(self._using(plan_id)))

    def _using(self, plan_id: bytes) -> UseStanding:
        def record(digest: bytes) -> Sealed:
            return self._recorder.record(None, {"what": "standing-used", STATEMENT: digest.hex()})

        return UseStanding(plan_id, self.judge, record)

    async def _used(self, plan_id: bytes, judged: Judged | None) -> bool:
        """Take note of how a plan was judged (None: it was not open); return whether it is approved by that."""
        if judged is None or judged.standing_id is not None:
            self.waiting.pop(plan_id, None)
            self._queued.pop(plan_id, None)
            return judged is not None
        if judged.result.reason is Reason.OVER_BUDGET:
            self.queue(plan_id, judged.result.message)
            return False
        self._queued.pop(plan_id, None)
        await self.tell(plan_id, judged.result)
        return False

    def queue(self, plan_id: bytes, message: str) -> None:
        """Have a plan wait until the rate leaves room; meanwhile a person may approve it."""
        self._queued[plan_id] = None
        self.waiting[plan_id] = f"it waits its turn, or for a person: {message}"

    async def use_queued(self) -> bool:
        """Approve plans that wait for their turn, as far as rates leave room; return whether any was."""
        used = False
        for plan_id in list(self._queued):
            if await self.use(plan_id):
                used = True
            elif plan_id in self._queued:
                break  # first come, first served
        return used

    def lapse(self, plan_id: bytes, why: str) -> None:
        """Have a plan wait for a person, or until a standing authority that may cover it comes into force again."""
        self.waiting[plan_id] = why
        self._uncovered[plan_id] = self._clock.boot_s() + AGAIN_S

    async def use_again(self) -> bool:
        """Approve uncovered plans that a standing authority covers by now; return whether any was.

        All are tried when an authority comes into force (it is handed in, its time begins, a freeze of a signer ends),
        and each once a minute, since its evidence may be back: a payment does not count while its source is in doubt.
        """
        if not self._uncovered:
            return False
        held = frozenset(each.standing.standing_id for each in self.in_force(self._clock.wall_s()))
        gained, self._held = held - self._held, held
        now_s, used = self._clock.boot_s(), False
        for plan_id in [plan_id for plan_id, at_s in self._uncovered.items() if held and (gained or at_s <= now_s)]:
            self._uncovered[plan_id] = now_s + AGAIN_S
            row = plans.find(self._store.reader, plan_id.hex())
            if row.gate is not Gate.OPEN:
                del self._uncovered[plan_id]
            elif self.judge(self._store.query, row).standing_id is not None and await self.use(plan_id):
                used = True
            await trio.lowlevel.checkpoint()
        return used

    async def withdraw(self, plan_id: bytes) -> bool:
        """End an open plan of the agent's own that only people could approve, so that it may ask for it anew.

        Returns False, and changes nothing, where a person paused it or has decided on it.
        """
        record = self._recorder.record(None, {"what": "expired"})
        withdrawn = await self._store.run(Withdraw(plan_id, record))
        if withdrawn:
            self.waiting.pop(plan_id, None)
            self._uncovered.pop(plan_id, None)
        return withdrawn

    def turn_s(self, found: Sequence[InForce], action: Action, now_s: float, *, asking: int = 0) -> float:
        """Return when one more plan of a verb fits the rate of a standing authority, after those that wait for it.

        `asking`: plans that are being made just now, and come before.
        """
        turns = []
        for standing in (each.standing for each in found if each.standing.verb is action):
            rows = self._store.query(
                "SELECT at_s FROM standing_use WHERE standing_id = ? AND at_s > ?",
                (bytes.fromhex(standing.standing_id), int(now_s) - HOUR_S),
            )
            uses = [(float(r["at_s"]), 1) for r in rows]
            turns.append(next_turn(uses, [1] * (len(self._queued) + asking), 1, standing.rate_per_hour, now_s) or now_s)
        return min(turns, default=now_s)

    async def go_on(self) -> None:
        """Judge open plans again, once at a start: the queue of those that wait was in memory."""
        marks, sighted = ",".join("?" * len(BY_STANDING)), ",".join("?" * len(BY_SIGHT))
        found = self._store.reader.execute(
            f"SELECT plan_id FROM plan WHERE gate = ? AND risk IN ({marks})"  # noqa: S608  only question marks
            f" AND action NOT IN ({sighted})",
            (Gate.OPEN.value, *(risk.value for risk in BY_STANDING), *(action.value for action in BY_SIGHT)),
        ).fetchall()
        for row in found:
            await self.use(bytes(row["plan_id"]))

    async def tell(self, plan_id: bytes, result: VerificationResult) -> None:
        """Record that a standing authority does not cover a plan, and say so while it waits."""
        reason = result.reason or Reason.NO_STANDING
        self.lapse(plan_id, f"it waits for a person: {result.message}")
        record = self._recorder.record(None, {"what": "refused", "reason": reason.value, "claims": "standing"})
        row = plans.find(self._store.reader, plan_id.hex())
        await self._store.run(NoteRefusal(plan_id, row.digest, record))

    def _pinned(self) -> Pinned:
        if self._trust.pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        return self._trust.pinned


_envelope_in = functools.lru_cache(maxsize=16)(envelopes.decode_untrusted)
"""Returns a kept envelope, by its bytes: each look for payers asks for the same few."""


def in_force(query: Query, trust: Trust, agent: str, now_s: float) -> list[InForce]:
    """Return the standing authorities that hold for an agent (id, hex) now."""
    frozen = freezes(query, now_s)
    found = []
    for row in query("SELECT envelope FROM standing WHERE not_after_s >= ? ORDER BY seq", (int(now_s),)):
        envelope = _envelope_in(bytes(row["envelope"]))
        try:
            standing, signers = verify.verify_standing(envelope, trust, int(now_s))
            by_frozen = any(person.handle in frozen.people for person in signers)
            stopped = by_frozen or envelopes.signed_by(envelope, frozen.keys)
        except TrustError:
            continue  # a signer left, or their key is past its date
        covers = EVERYWHERE in standing.scope or agent in standing.scope
        if covers and standing.not_before * 60 <= now_s and not stopped:
            found.append(InForce(standing, tuple(p.handle for p in signers)))
    return found


def may_cover(found: Sequence[InForce], trust: Trust, action: Action, risk: RiskClass) -> bool:
    """Return whether a standing authority may approve a plan of this verb and class now, if its evidence is there."""
    return trust.policy_class(risk) is not None and any(i.standing.verb is action for i in found)


def has_matched_payment(query: Query, service: str, now_s: float, billing: BillingReader) -> bool:
    """Return whether billing tells now of a payment that the suspension of a service for debt did not know of."""
    rows = query(
        "SELECT s.subscriber, coalesce(r.looked_s, e.at_s) AS looked_s FROM reason r JOIN event e ON e.seq = r.seq"
        " JOIN service s ON s.ref = r.service WHERE r.service = ? AND r.reason = 'debt'",
        (service,),
    )
    return bool(rows) and facts.paid_since(billing.of(query, rows[0]["subscriber"], now_s), rows[0]["looked_s"])


def requirement_tests(billing: BillingReader) -> Mapping[str, RequirementTest]:
    """Return the test of the requirement that a payment is matched. `billing`: the facts on payments."""

    def paid(tx: Tx, item: Item, _requirement: Requirement, begun: bool) -> Broken | None:
        if begun or has_matched_payment(tx.all, item.subject or "", tx.now_s, billing):
            return None
        return Broken("no payment is matched any more: ask for it with office hours")

    return {book.PAID: paid}


def unmet(tx: Tx, plan_id: bytes, item: Item, billing: BillingReader) -> Broken | None:
    """Return why a standing authority's restore of a payer may not be begun: its payment is matched no more; or None.

    Half a restore is finished. An approval by people besides rests on a preview with that payment.

    Args:
        tx: the transaction of the item's first about-to.
        plan_id: of the item's plan.
        item: the item.
        billing: the facts on payments.
    """
    lifts = ReasonChange(SuspensionReason.DEBT, added=False) in item.desired
    if not lifts or not used_by(tx.all, plan_id) or has_matched_payment(tx.all, item.subject or "", tx.now_s, billing):
        return None
    applied = "SELECT 1 FROM step WHERE plan_id = ? AND item = ? AND verdict = 'applied'"
    half_done = tx.one(applied, (plan_id, item.n)) is not None
    return None if half_done else Broken("no payment is matched now, by which a standing authority restores")


def used_by(query: Query, plan_id: bytes) -> str:
    """Return the id of the standing authority that approved a plan, hex; "" where people did, or nobody."""
    rows = query("SELECT standing_id FROM standing_use WHERE plan_id = ?", (plan_id,))
    return bytes(rows[0]["standing_id"]).hex() if rows else ""
