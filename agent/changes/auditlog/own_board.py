"""The agent's own receipts and outcomes on the control plane's board: they may contradict its log, and confirm nothing.

A copy of the whole machine brings the mark file along, and without witnesses nothing here says how old the copy is. The
control plane holds documents that this agent signed since. On each connection the newest of that are compared with the
log:

* A receipt that names a newer trust version than the pinned one, a log that is longer than ours or another, an outcome
  that our log does not have, or more accepted approvals of a plan than it has: this agent had come further. Unused
  plans are void, and the trust is in doubt. The log that a receipt names is the last signed checkpoint, often an older
  one: without its approvals a plan that runs, or ran, would be approved by them again.
* Only statements under this agent's own keys count. A document that is forged, another agent's or malformed is passed
  over.
* Silence, and statements that fit, mean nothing: a control plane can withhold the newest and show the oldest. So a
  doubt that the board raised ends by typed words alone: neither a version that it named nor witnesses end it.
* A statement is judged once: of those signed until then a log that is gone has no more to say.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from agent.changes.auditlog.recovery import MarksVerdict, VoidUnconsumed, older_than
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.trust_state import TrustState, stored_doubt
from agent.runtime.notifier import Notifier
from agent.store import mail
from agent.store.db import Store
from agent.store.mark_file import BOARD_JUDGED, TRUST_ACCEPTED
from trust import envelope as envelopes
from trust import statements
from trust.errors import TrustError
from trust.leaf import LeafKind
from trust.statements import Approval, Outcome, Receipt

STATEMENTS_MAX: Final = 100
"""Most statements in an answer of the control plane; a longer answer is discarded whole."""
STATEMENT_BYTES: Final = 4096
"""A receipt or an outcome in its envelope has some 1 KiB; no control plane keeps a larger one."""
WAIT_S: Final = 10.0
"""How long a start waits for the board. An agent starts after it when its control plane is away."""

_APPROVAL: Final = statements.kind_of(Approval)

_log = logging.getLogger("agent.board")

Own: TypeAlias = Receipt | Outcome


class Odd(enum.Enum):
    """Why something on the board is passed over; a word for the log."""

    TOO_MANY = "too-many"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    NOT_OURS = "not-ours"


def own_statement_untrusted(data: bytes, agent: str, plan_key: bytes) -> Own | Odd:
    """Return the receipt or outcome that this agent signed, or why it is passed over. Total.

    Args:
        data: a DSSE envelope; any bytes.
        agent: this agent's id, 32 hex digits.
        plan_key: its public plan key, 32 bytes.
    """
    if len(data) > STATEMENT_BYTES:
        return Odd.TOO_LARGE
    try:
        envelope = envelopes.decode_untrusted(data)
        if not envelopes.signed_by(envelope, [plan_key]):
            return Odd.NOT_OURS
        found = statements.decode_untrusted(envelope.payload_type, envelope.payload)
    except TrustError:
        return Odd.MALFORMED
    return found if isinstance(found, Receipt | Outcome) and found.agent == agent else Odd.NOT_OURS


@dataclass(frozen=True, slots=True)
class BoardVerdict:
    """A contradiction between the board and this agent's log or trust version.

    `until`: unix minute of the newest statement that shows it.
    """

    marks: MarksVerdict
    named: int
    """The newest trust version that a receipt names above the pinned one; 0: none does."""
    until: int


class OwnBoard:
    """Compares the board with the log. `bell` is rung when plans became void."""

    def __init__(self, store: Store, recorder: Recorder, trust: TrustState, bell: Notifier, plan_key: bytes) -> None:
        """Nothing is asked yet. `plan_key`: this agent's public one, 32 bytes."""
        self._store, self._recorder, self._trust, self._bell = store, recorder, trust, bell
        self._plan_key = plan_key
        self._asked = trio.Event()
        self._working = False

    async def start_rule(self, wait_s: float) -> None:
        """Return once the board was asked, after `wait_s` at most, or at once where there is no control plane.

        To be called before anything is consumed. Runs go on afterwards, so a later verdict does not end them.
        """
        if self._store.query("SELECT 1 FROM meta WHERE key = ?", (mail.CLOUD,)):
            with trio.move_on_after(wait_s):
                await self._asked.wait()
        self._working = True

    def pass_over(self, why: str) -> None:
        """Take note that the board could not be asked. `why`: a code that is safe to print."""
        _log.warning("the board was not read", extra={"code": why})
        self._asked.set()

    async def compare_untrusted(self, answered: Sequence[bytes]) -> int | None:
        """Compare the control plane's answer, newest first; return how many plans became void.

        None: nothing speaks against the log.

        Raises:
            LogCorruptError: the tree lacks nodes.
            StoreFailedError: the store cannot be written.
        """
        try:
            verdict = self._judge(self._read_untrusted(answered))
            return None if verdict is None else await self._contradicted(verdict)
        finally:
            self._asked.set()

    def _read_untrusted(self, answered: Sequence[bytes]) -> list[Own]:
        if len(answered) > STATEMENTS_MAX:
            self.pass_over(Odd.TOO_MANY.value)
            return []
        found = [own_statement_untrusted(data, self._trust.agent, self._plan_key) for data in answered]
        odd = Counter(one.value for one in found if isinstance(one, Odd))
        for why, count in odd.items():
            _log.warning("statements on the board were passed over", extra={"reason": why, "count": count})
        return [one for one in found if not isinstance(one, Odd)]

    def _judge(self, found: Iterable[Own]) -> BoardVerdict | None:
        own = list(found)
        judged, accepted = self._minute(BOARD_JUDGED), self._minute(TRUST_ACCEPTED)
        since = [one for one in own if one.at > judged]
        longer = [one for one in since if self._is_unknown(one)] + self._lost_approvals(since)
        pinned, doubt = self._trust.pinned, stored_doubt(self._store.query)
        named = [
            one
            for one in own
            if isinstance(one, Receipt)
            and pinned is not None
            and one.trust_id == pinned.trust.trust_id
            and one.trust_version > max(pinned.trust.version, doubt or 0)
            and one.at > accepted
        ]
        if not longer and (not named or doubt == 0):
            return None
        against = [*longer, *named]
        expected = max(one.log_size for one in against)
        marks = MarksVerdict(
            (self._store.size, expected if expected > self._store.size else 0),
            doubt=None if pinned is None or (doubt is not None and not named) else 0,
        )
        newest = max((one.trust_version for one in named), default=0)
        return BoardVerdict(marks, newest, max(one.at for one in against))

    def _is_unknown(self, one: Own) -> bool:
        """Tell whether our log is not the one in which a statement was made."""
        if older_than(self._store, one.log_size, bytes.fromhex(one.log_root)) is not None:
            return True
        return isinstance(one, Outcome) and one.seq > self._outcomes(bytes.fromhex(one.plan_sha256))

    def _outcomes(self, plan_digest: bytes) -> int:
        return self._leaves(plan_digest, LeafKind.CHANGE_FINISHED)

    def _lost_approvals(self, found: Iterable[Own]) -> list[Receipt]:
        """Return the receipts of plans of which more approvals and rejections were accepted than the log has."""
        plans: dict[str, dict[str, Receipt]] = {}
        for one in found:
            # Those of a review have counted nobody
            if isinstance(one, Receipt) and one.of_type == _APPROVAL and one.need and one.reason is None:
                plans.setdefault(one.plan_sha256, {})[one.of_sha256] = one
        return [
            receipt
            for plan, accepted in plans.items()
            if len(accepted) > self._leaves(bytes.fromhex(plan), LeafKind.APPROVAL, LeafKind.REJECTION)
            for receipt in accepted.values()
        ]

    def _leaves(self, plan_digest: bytes, *kinds: LeafKind) -> int:
        marks = ",".join("?" * len(kinds))
        sql = f"SELECT count(*) AS n FROM event JOIN plan ON plan = plan_id WHERE digest = ? AND kind IN ({marks})"  # noqa: S608  # only question marks
        return int(self._store.query(sql, (plan_digest, *(kind.value for kind in kinds)))[0]["n"])

    def _minute(self, key: str) -> int:
        rows = self._store.query("SELECT value FROM meta WHERE key = ?", (key,))
        return int(rows[0]["value"]) if rows else -1

    async def _contradicted(self, verdict: BoardVerdict) -> int:
        had, expected = verdict.marks.older or (0, 0)
        fields: dict[str, Json] = {
            "what": "board-contradicts",
            "leaves": had,
            "expected": expected,
            "trust_version": verdict.named,
        }
        record = self._recorder.record(None, fields)
        command = VoidUnconsumed(verdict.marks, record, board_until=verdict.until, running=self._working)
        voided = await self._store.run(command)
        _log.error("board-contradicts", extra={"ours": had, "has": expected, "voided": voided})
        self._bell.ring()
        return voided
