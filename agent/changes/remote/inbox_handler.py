"""Handles messages through the cloud, in order, exactly once in effect.

Whoever carried a message is nobody: it is judged by the signature inside, as if it had come by file. A message is done
in the transaction that posts its receipt; a crash before that handles it again, and then an effect that it had already
is accepted again without a second one.

Three lanes, so that a stop never waits for a preview: statements; intents, some at once, since a restore may wait for a
suspension to come to rest; views. An intent's refusal says nothing of
subscribers: unknown, ambiguous, nothing to do, too many, unreadable are one answer, `not-taken`; each leaves a leaf,
    and a requester that is refused too often is not looked at for a while.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from agent.changes.auditlog.witnesses import Witnesses
from agent.changes.authority.approval import Approvals, StatementAnswer
from agent.changes.journal import commands, request
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.request import RequestError
from agent.changes.journal.signing import Signer
from agent.changes.journal.trust_state import Pinned, TrustState
from agent.changes.planning.intake import Intake
from agent.changes.remote.sealing import Sealing
from agent.changes.remote.views import Views
from agent.connectors.base import UnreadableError
from agent.runtime.clock import Clock
from agent.runtime.notifier import Notifier
from agent.runtime.supervise import Crash, contain
from agent.store import mail
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.log_store import ZERO32, Entry, Sealed
from agent.store.mail import Done, Inbox, MailBells, Post
from trust import envelope as envelopes
from trust import statements, verify
from trust.document import ED25519, Trust
from trust.envelope import Envelope
from trust.errors import MalformedSealError, NotUnderstoodError, Reason, RefusedError, TrustError
from trust.leaf import LeafKind
from trust.statements import Approval, Cancel, Decision, Freeze, Pause, Resume, Standing, Unfreeze

_log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often the inbox is looked at without a ring; the uplink rings."""
HOUR_S: Final = 3600
REFUSED_PER_HOUR: Final = 60
"""Refused statements of one requester in an hour after which nothing more of theirs is looked at: it bounds guessing.

Each counts once, however often it comes: whoever carries old statements can have them refused again and again.
Intents are handled side by side and count when they are refused: at most `INTENTS_AT_ONCE` − 1 more may be looked at.
"""
REPEATS_PER_HOUR: Final = 10
"""Refusals of one statement in an hour after which that one is passed over: each leaves a leaf. Chosen arbitrarily."""
INTENTS_AT_ONCE: Final = 16
"""Intents that are handled side by side, so that one that waits for a device holds up no other. Chosen arbitrarily."""
PLANS_PER_HOUR: Final = 1000
"""Plans of one requester in an hour after which no more of their intents is taken: a preview reads devices and is kept.
Chosen arbitrarily: more than a billing system has payments."""
STRANGER: Final = ""
"""Whoever signed with no key that the trust document knows."""

Handle = Callable[[Inbox], Awaitable[None]]
_INTENTS: Final = ("intent",)
_VIEWS: Final = ("view",)
_KINDS: Final = {
    statements.payload_type(kind): statements.kind_of(kind)
    for kind in (Approval, Cancel, Freeze, Unfreeze, Pause, Resume, Trust, Standing)
}


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a message: its leaf, its place in the count, and its receipt in one transaction."""

    requester: str
    what: str
    digest: bytes
    sealed: Sealed | None
    done: Done

    def run(self, tx: Tx) -> None:
        """Append the leaf, unless `sealed` is None: then it was appended already."""
        now_s = int(tx.now_s)
        tx.run("DELETE FROM cloud_refusal WHERE at_s < ?", (now_s - HOUR_S,))
        tx.run(
            "INSERT INTO cloud_refusal (requester, what, digest, at_s) VALUES (?,?,?,?)",
            (self.requester, self.what, self.digest, now_s),
        )
        if self.sealed is not None:
            tx.append(Entry(LeafKind.REFUSED, plan_digest=ZERO32, sealed=self.sealed))
        self.done.run(tx)


@dataclass(frozen=True, slots=True)
class InboxParts:
    """The parts that the inbox handler works with. `agent` is our id, hex; `wake` makes the worker look."""

    store: Store
    recorder: Recorder
    clock: Clock
    trust: TrustState
    approvals: Approvals
    intake: Intake
    views: Views
    sealing: Sealing
    witnesses: Witnesses
    signer: Callable[[], Signer]
    bells: MailBells
    changed: Notifier
    wake: Callable[[], None]
    refresh_facts: Callable[[Collection[str]], Awaitable[object]]
    agent: str


class InboxHandler:
    """Handles the messages of the inbox: each once, ended by a signed receipt."""

    def __init__(self, parts: InboxParts) -> None:
        self._p = parts
        self._empty: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[int, int]] = {}
        """After which message, and how many commits of the store, a lane found nothing: it looks every few seconds."""

    async def run(self) -> None:
        """Handle messages until cancelled.

        Raises:
            StoreFailedError: nothing can be recorded any more.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lane, self.statement, (), (*_INTENTS, *_VIEWS), 1)
            nursery.start_soon(self._lane, self.intent, _INTENTS, (), INTENTS_AT_ONCE)
            nursery.start_soon(self._lane, self.view, _VIEWS, (), 1)

    async def _lane(self, handle: Handle, only: tuple[str, ...], but: tuple[str, ...], at_once: int) -> None:
        begun, room = 0, trio.Semaphore(at_once)

        async def one(row: Inbox) -> None:
            await self._contained(row, handle)
            room.release()

        async with trio.open_nursery() as nursery:
            while True:
                await room.acquire()
                while (row := self._next(only, but, begun)) is None:
                    with trio.move_on_after(LOOK_S):
                        await self._p.bells.inbox.wait()
                begun = row.id
                nursery.start_soon(one, row)

    def _next(self, only: tuple[str, ...], but: tuple[str, ...], after: int) -> Inbox | None:
        """Return the next message; before there is a trust document nobody can be believed: messages wait."""
        if self._p.trust.pinned is None:
            return None
        lane, now = (only, but), (after, self._p.store.commits)
        if self._empty.get(lane) == now:
            return None
        row = mail.next_in(self._p.store.reader, only, but, after)
        if row is None:
            self._empty[lane] = now
        return row

    async def _contained(self, row: Inbox, handle: Handle) -> None:
        """A fault of ours in one message must not keep the next ones (a freeze) from being handled."""

        async def handle_it() -> None:
            await handle(row)

        done = await contain(f"mail {row.kind}", handle_it, log=_log)
        if isinstance(done, Crash):
            await contain("mail given up", lambda: self._end(row), log=_log)

    # --- statements ---

    async def statement(self, row: Inbox) -> None:
        """Handle an approval, stop, trust document or standing authority; or a witness's answer."""
        if row.kind == "cosignature":
            await self._p.witnesses.take(row.witness, row.body)
            await self._end(row)
            return
        await self._p.approvals.follow(row.links)
        pinned, envelope = self._pinned(), _envelope_untrusted(row.body)
        if envelope is None:
            await self._end(row)  # nobody whom an answer would help
            return
        who, what = signer_of(envelope, pinned.trust), _KINDS.get(envelope.payload_type, "statement")
        # By kind: a person's old statements must not silence their approvals. Never a stop, for the same reason; but a
        # rejection that was refused, and comes again and again, leaves no more leaves.
        stop = is_stop(row.body, pinned.trust, int(self._p.clock.wall_s()))
        limited = self._limited(who, what, envelopes.digest(envelope), spared=stop)
        if limited and not (stop and what != "approval"):
            await self._limit(row, who, envelope)
            return
        if (kept := self._kept(envelope, row.body, pinned)) is not None:
            await self._end(row, *kept)
            return
        try:
            answers = await self._p.approvals.submit(row.body, from_cloud=True)
        except (RequestError, RefusedCommandError) as err:
            await self._refuse(row, what, who, envelope, reason_of(err), leaf=False)
        else:
            await self._answered(row, who, what, envelope, answers)
        self._p.wake()
        self._p.changed.ring()

    async def _answered(
        self, row: Inbox, who: str, what: str, envelope: Envelope, answers: Sequence[StatementAnswer]
    ) -> None:
        done = Done(row.id, tuple(Post("receipt", a.receipt) for a in answers if a.receipt))
        refused = any(not a.accepted for a in answers)
        await self._p.store.run(Refuse(who, what, envelopes.digest(envelope), None, done) if refused else done)

    def _kept(self, envelope: Envelope, data: bytes, pinned: Pinned) -> Sequence[Post] | None:
        """Return the receipts of a statement that took effect already; None: it did not.

        It came again, or we died between its effect and its receipt. An approval is known by its digest: whoever
        carries it can write the envelope around it in other bytes without end.
        """
        reader, kind = self._p.store.reader, envelope.payload_type
        if kind == statements.payload_type(Approval):
            plans = [row for digest in _plans_named(envelope) if (row := self._plan(digest)) is not None]
            if not plans or not all(self._is_kept(envelope, row) for row in plans):
                return None
            return [self._approved(envelope, row, pinned) for row in plans]
        if kind == statements.payload_type(Unfreeze):
            lifted = reader.execute("SELECT 1 FROM freeze WHERE lifted_by = ?", (data,)).fetchone()
            return None if lifted is None else [self._receipt(envelope, "unfreeze", None, pinned)]
        if kind == statements.payload_type(Trust) and envelopes.digest(envelope) == pinned.sha256:
            return [self._receipt(envelope, "trust", None, pinned)]
        return None

    def _is_kept(self, envelope: Envelope, row: PlanRow) -> bool:
        kept = self._p.store.reader.execute("SELECT envelope FROM approval WHERE plan_id = ?", (row.plan_id,))
        digest = envelopes.digest(envelope)
        return any(envelopes.digest(envelopes.decode_untrusted(bytes(r["envelope"]))) == digest for r in kept)

    def _plan(self, digest: bytes) -> PlanRow | None:
        row = self._p.store.reader.execute("SELECT * FROM plan WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else commands.read_plan_row(row)

    # --- intents ---

    async def intent(self, row: Inbox) -> None:
        """Handle a sealed intent."""
        try:
            envelope = envelopes.decode_untrusted(self._p.sealing.open_untrusted(row.body))
        except TrustError as err:
            if isinstance(err, MalformedSealError):
                await self._p.sealing.renew()
            await self._unopened(row, reason_of(err))
            return
        await self._p.approvals.follow(row.links)
        pinned = self._pinned()
        who = signer_of(envelope, pinned.trust)
        if self._limited(who, "intent", envelopes.digest(envelope)):
            await self._limit(row, who, envelope)
            return
        try:
            now_s = self._p.clock.wall_s()
            trust, opener = self._p.trust.current(now_s).trust, self._p.sealing.open_untrusted
            asked = request.signed(envelope, trust, self._p.agent, now_s, opener)
        except RequestError as err:
            await self._refuse(row, "intent", who, envelope, reason_of(err))
            return
        if self._asks_too_much(asked):
            await self._limit(row, who, envelope)
            return
        if await self._planned(asked):
            await self._end(row, self._receipt(envelope, "intent", None, pinned))
        else:
            await self._refuse(row, "intent", who, envelope, Reason.NOT_TAKEN)
        self._p.wake()
        self._p.changed.ring()

    def _asks_too_much(self, asked: request.Request) -> bool:
        """Return whether this would be one plan too many of its requester; one that has its plan is not counted."""
        since_s = int(self._p.clock.wall_s()) - HOUR_S
        counted = "SELECT count(*) FROM plan WHERE requester = ? AND made_s > ?"
        made: int = self._p.store.reader.execute(counted, (asked.requester, since_s)).fetchone()[0]
        return made >= PLANS_PER_HOUR and self._answered_with(bytes.fromhex(asked.intent.intent_id)) is None

    async def _planned(self, asked: request.Request) -> bool:
        """Return whether the intent has its plan, made now or before."""
        intent_id = bytes.fromhex(asked.intent.intent_id)
        if (answered := self._answered_with(intent_id)) is not None:
            return answered == asked.digest
        try:
            await self._p.refresh_facts(())
            await self._p.intake.plan(asked, self._pinned())
        except RefusedCommandError:  # the same intent came in by the local socket meanwhile
            return self._answered_with(intent_id) == asked.digest
        except (RequestError, UnreadableError, LogCorruptError):
            return False
        return True

    def _answered_with(self, intent_id: bytes) -> bytes | None:
        row = self._p.store.reader.execute("SELECT digest FROM intent WHERE intent_id = ?", (intent_id,)).fetchone()
        return None if row is None else bytes(row["digest"])

    async def _unopened(self, row: Inbox, reason: Reason) -> None:
        """Refuse a body that opens with no key, or holds no envelope; its receipt has the sealed digest."""
        digest = hashlib.sha256(row.body).digest()
        if self._limited(STRANGER, "intent", digest):
            await self._end(row)
            return
        receipt = self._receipt_of(digest, "intent", reason, self._pinned())
        await self._p.store.run(
            Refuse(STRANGER, "intent", digest, self._record("intent", reason, STRANGER), Done(row.id, (receipt,)))
        )

    # --- views ---

    async def view(self, row: Inbox) -> None:
        """Handle a person's request to see a plan's items."""
        envelope = _envelope_untrusted(row.body)
        await self._p.approvals.follow(row.links)
        pinned = self._pinned()
        if envelope is None:
            await self._end(row)
            return
        who = signer_of(envelope, pinned.trust)
        if self._limited(who, "view", envelopes.digest(envelope)):
            await self._limit(row, who, envelope)
            return
        try:
            await self._p.views.answer(envelope, row.ref, row.id, pinned)
        except RefusedError as err:
            await self._refuse(row, "view", who, envelope, err.reason)

    # --- ends ---

    async def _end(self, row: Inbox, *posts: Post) -> None:
        await self._p.store.run(Done(row.id, posts))

    async def _refuse(
        self, row: Inbox, what: str, who: str, envelope: Envelope, reason: Reason, *, leaf: bool = True
    ) -> None:
        receipt = self._receipt(envelope, row.kind, reason, self._pinned())
        sealed = self._record(row.kind, reason, who) if leaf else None
        await self._p.store.run(Refuse(who, what, envelopes.digest(envelope), sealed, Done(row.id, (receipt,))))

    async def _limit(self, row: Inbox, who: str, envelope: Envelope) -> None:
        """Pass it over; a signer with a key that we know is told so."""
        posts = (self._receipt(envelope, row.kind, Reason.RATE_LIMITED, self._pinned()),) if who else ()
        await self._end(row, *posts)

    def _limited(self, who: str, what: str, digest: bytes, *, spared: bool = False) -> bool:
        """Return whether this statement was refused too often within the hour, or too many of its requester.

        `spared`: the others of its requester do not matter.
        """
        since_s = int(self._p.clock.wall_s()) - HOUR_S
        counted = (
            "SELECT count(DISTINCT digest), coalesce(sum(digest = ?), 0) FROM cloud_refusal"
            " WHERE requester = ? AND what = ? AND at_s > ?"
        )
        refused, again = self._p.store.reader.execute(counted, (digest, who, what, since_s)).fetchone()
        return bool((refused >= REFUSED_PER_HOUR and not spared) or again >= REPEATS_PER_HOUR)

    def _record(self, kind: str, reason: Reason, who: str) -> Sealed:
        return self._p.recorder.record(
            None, {"what": "refused", "kind": kind, "reason": reason.value, "claims": who, "by": "cloud"}
        )

    def _approved(self, envelope: Envelope, row: PlanRow, pinned: Pinned) -> Post:
        people, now_s = self._p.approvals.count(row), self._p.clock.wall_s()
        digest, version = envelopes.digest(envelope), pinned.trust.version
        body = self._p.signer().receipt("approval", digest, None, people, version, now_s, row.digest)
        return Post("receipt", body)

    def _receipt(
        self, envelope: Envelope, kind: str, reason: Reason | None, pinned: Pinned, people: tuple[int, int] = (0, 0)
    ) -> Post:
        return self._receipt_of(envelopes.digest(envelope), kind, reason, pinned, people)

    def _receipt_of(
        self, digest: bytes, kind: str, reason: Reason | None, pinned: Pinned, people: tuple[int, int] = (0, 0)
    ) -> Post:
        now_s = self._p.clock.wall_s()
        return Post("receipt", self._p.signer().receipt(kind, digest, reason, people, pinned.trust.version, now_s))

    def _pinned(self) -> Pinned:
        if self._p.trust.pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        return self._p.trust.pinned


def signer_of(envelope: Envelope, trust: Trust) -> str:
    """Return the handle of the person or service with the key that signed, in force or not; `STRANGER`: none has it."""
    owners = {bytes.fromhex(k.pub): s.service for s in trust.services for k in s.keys if k.kind == ED25519}
    owners |= {bytes.fromhex(k.pub): k.person for k in trust.root.keys}
    owners |= {public: person.handle for public, person in trust.people_by_key().items()}
    try:
        found = envelopes.signed_by(envelope, owners)
    except TrustError:
        return STRANGER
    return min((owners[public] for public in found), default=STRANGER)


def is_stop(data: bytes, trust: Trust, now_s: int) -> bool:
    """Return whether this is a cancel, a freeze or a rejection that a person signed and that is in date."""
    envelope = _envelope_untrusted(data)
    if envelope is None:
        return False
    if envelope.payload_type == statements.payload_type(Approval):
        return _is_rejection(envelope, trust)
    judges = {Cancel: verify.verify_cancel, Freeze: verify.verify_freeze}
    for kind, judge in judges.items():
        if envelope.payload_type == statements.payload_type(kind):
            try:
                judge(envelope, trust, now_s)
            except TrustError:
                return False
            return True
    return False


def _is_rejection(envelope: Envelope, trust: Trust) -> bool:
    try:
        approval = statements.decode_as_untrusted(Approval, envelope)
    except TrustError:
        return False
    return approval.decision is Decision.REJECT and signer_of(envelope, trust) == approval.person


def reason_of(error: BaseException) -> Reason:
    """Return why, in a code: that of the refusal behind an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedError):
            return cause.reason
        if isinstance(cause, NotUnderstoodError):
            return Reason.NOT_UNDERSTOOD
        if isinstance(cause, TrustError):
            return Reason.MALFORMED
        cause = cause.__cause__
    return Reason.NOT_TAKEN


def _envelope_untrusted(data: bytes) -> Envelope | None:
    try:
        return envelopes.decode_untrusted(data)
    except TrustError:
        return None


def _plans_named(envelope: Envelope) -> Sequence[bytes]:
    """Return the digests that an approval names; none, when it is malformed."""
    try:
        return [bytes.fromhex(p) for p in statements.decode_as_untrusted(Approval, envelope).plans]
    except TrustError:
        return ()
