"""Views: a person asks to see a plan's items, and is answered in pages sealed to the key of that one request.

The request is judged under today's trust, whatever was true when the plan was made. That it was answered is a leaf,
durable in the transaction that puts the pages into the outbox: before it, no page can leave. The pages are dropped when
the request is over; no key that anybody still holds opens a copy of them later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.changes.auditlog.evidence import Evidence
from agent.changes.journal import commands
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.trust_state import Pinned, freezes
from agent.reasons import RefusalReason
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.mail import Done, Post
from trust import answer as answers
from trust import checkpoint, seal, verify
from trust import envelope as envelopes
from trust.answer import ViewAnswer
from trust.envelope import Envelope
from trust.errors import MalformedSealError, Reason, RefusedError
from trust.leaf import LeafKind
from trust.statements import View

HOUR_S: Final = 3600
VIEWS_PER_HOUR: Final = 120
"""Views of one person that are answered in an hour: more than an approver reads. Chosen arbitrarily."""
_RECEIPTS: Final[Mapping[str, Reason]] = {
    RefusalReason.REPLAYED_VIEW: Reason.CONSUMED,
    RefusalReason.RATE_LIMITED: Reason.RATE_LIMITED,
}
"""The receipt's reason for each refusal of a view."""
CONTENT_BYTES: Final = 64 << 20
"""The most documents of one view: one transaction writes them into the outbox in under a second."""


@dataclass(frozen=True, slots=True)
class Disclose:
    """Answer a view, once: write its leaf, its pages and the end of its message in one transaction."""

    plan_id: bytes
    plan_digest: bytes
    view_id: bytes
    person: str
    expires_s: int
    row_id: int
    pages: tuple[Post, ...] = field(repr=False)
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event.

        Raises:
            RefusedCommandError: `replayed-view` or `rate-limited`; nothing is disclosed.
        """
        now_s = int(tx.now_s)
        tx.run("DELETE FROM view WHERE expires_s < ? AND at_s < ?", (now_s, now_s - HOUR_S))
        if tx.one("SELECT 1 FROM view WHERE view_id = ?", (self.view_id,)):
            raise RefusedCommandError(RefusalReason.REPLAYED_VIEW, "this view was answered already")
        asked = tx.all("SELECT count(*) AS n FROM view WHERE person = ? AND at_s > ?", (self.person, now_s - HOUR_S))
        if asked[0]["n"] >= VIEWS_PER_HOUR:
            raise RefusedCommandError(
                RefusalReason.RATE_LIMITED, f"{self.person} was shown {VIEWS_PER_HOUR} plans within the hour"
            )
        seq = tx.append(Entry(LeafKind.DISCLOSED, self.plan_id, self.plan_digest, sealed=self.sealed))
        tx.run(
            "INSERT INTO view (view_id, person, at_s, expires_s) VALUES (?,?,?,?)",
            (self.view_id, self.person, now_s, self.expires_s),
        )
        Done(self.row_id, self.pages).run(tx)
        return seq


@dataclass(frozen=True, slots=True)
class Views:
    """Answers views. `agent`: our id, hex."""

    store: Store
    recorder: Recorder
    evidence: Evidence
    clock: Clock
    agent: str

    async def answer(self, envelope: Envelope, ref: bytes, row_id: int, pinned: Pinned) -> None:
        """Disclose the plan's items to a person that may see them now; the message `row_id` with the ref `ref` is then
        done.

        Raises:
            RefusedError: not a person that may see, too late, of another agent or plan, answered already, too many.
        """
        view, person = verify.verify_view(envelope, pinned.trust, int(self.clock.wall_s()))
        if view.agent != self.agent:
            raise RefusedError(Reason.WRONG_AGENT, "this view is for another agent")
        self._refuse_frozen(envelope, person.handle)
        row = self.store.reader.execute(
            "SELECT * FROM plan WHERE digest = ?", (bytes.fromhex(view.plan_sha256),)
        ).fetchone()
        if row is None:
            raise RefusedError(Reason.OTHER_PLAN, "this view is for no plan of this agent")
        if self.store.reader.execute("SELECT 1 FROM view WHERE view_id = ?", (bytes.fromhex(view.view_id),)).fetchone():
            raise RefusedError(Reason.CONSUMED, "this view was answered already")
        plan = commands.read_plan_row(row)
        pages = self._pages(view, await self._answer(view, plan, pinned), ref)
        record = self.recorder.record(None, {"what": "disclosed", "to": person.handle, "view": view.view_id})
        command = Disclose(
            plan_id=plan.plan_id,
            plan_digest=plan.digest,
            view_id=bytes.fromhex(view.view_id),
            person=person.handle,
            expires_s=view.expires * 60,
            row_id=row_id,
            pages=pages,
            sealed=record,
        )
        try:
            await self.store.run(command)
        except RefusedCommandError as err:
            reason = _RECEIPTS.get(err.reason)
            if reason is None:
                raise
            raise RefusedError(reason, str(err)) from err

    def _refuse_frozen(self, envelope: Envelope, person: str) -> None:
        frozen = freezes(self.store.query, self.clock.wall_s())
        if person in frozen.people or envelopes.signed_by(envelope, frozen.keys):
            raise RefusedError(Reason.FROZEN, f"{person} or the key is frozen")

    async def _answer(self, view: View, plan: PlanRow, pinned: Pinned) -> bytes:
        try:
            documents = tuple(self.evidence.documents(plan))
        except LogCorruptError as err:  # a subscriber of it was erased: that, too, is not told
            raise RefusedError(Reason.NOT_TAKEN, "the plan cannot be shown") from err
        newest = self.store.reader.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        note = await self.evidence.checkpoint() if newest is None else bytes(newest["note"])
        size = checkpoint.read_checkpoint_untrusted(checkpoint.split_note_untrusted(note)[0]).size
        seen = next((log.size for log in view.seen.logs if log.agent == self.agent and log.size <= size), 0)
        kept = self.store.reader.execute(
            "SELECT person, decision FROM approval WHERE plan_id = ? ORDER BY seq", (plan.plan_id,)
        ).fetchall()
        links = self.store.reader.execute(
            "SELECT envelope FROM trust WHERE version > ? AND version <= ? ORDER BY version",
            (view.seen.trust_version, pinned.trust.version),
        ).fetchall()
        return answers.encode(
            ViewAnswer(
                short=plan.short,
                documents=documents,
                checkpoint=note,
                old_size=seen,
                consistency=self.evidence.consistency(seen, size),
                links=tuple(bytes(r["envelope"]) for r in links),
                approvals=tuple((r["person"], r["decision"]) for r in kept),
            )
        )

    def _pages(self, view: View, content: bytes, ref: bytes) -> tuple[Post, ...]:
        if len(content) > CONTENT_BYTES:
            raise RefusedError(Reason.TOO_MANY_ITEMS, "the plan is too large to be shown through the cloud")
        try:
            pages = seal.seal_pages(bytes.fromhex(view.view_id), bytes.fromhex(view.eph_pub), content)
        except MalformedSealError as err:
            raise RefusedError(Reason.MALFORMED, str(err)) from err
        return tuple(
            Post("view-page", page, answers=ref, last=n == len(pages), expires_s=view.expires * 60)
            for n, page in enumerate(pages, start=1)
        )
