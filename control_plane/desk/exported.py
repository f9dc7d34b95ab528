"""An agent's export for an approver, verified against the approver's own trust document.

`ispagent change show ID --export DIR` writes: `plan.json` (the signed plan), `items.jsonl` (the head, then one item a
line: the exact documents), `trust.json` (the agent's trust document, compared only), `checkpoint.txt` (its log's signed
checkpoint) and `short` (the alias that people type; nobody signed it). Only `plan.json` must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.desk import remembered_checkpoints
from control_plane.desk.remembered_checkpoints import RememberedCheckpoints
from control_plane.errors import TamperedExportError
from trust import chain, checkpoint, statements, verify
from trust import envelope as envelopes
from trust import items as items_
from trust import short_id as short_ids
from trust.answer import ViewAnswer
from trust.checkpoint import Checkpoint
from trust.document import Trust, TrustedAgent
from trust.errors import MalformedError, MalformedStatementError, Reason, RefusedError
from trust.items import Items, Listed
from trust.statements import Plan, SeenLog


@dataclass(frozen=True, slots=True)
class ExportFiles:
    """The files of an export, as bytes; None: not there."""

    plan: bytes
    items: bytes | None = None
    trust: bytes | None = None
    checkpoint: bytes | None = None
    short: bytes | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A plan that its agent signed, and its items (None: summary only), which hash to the plan's root.

    An approval names `digest`, 32 bytes. `log` is the largest log head that the export proves; `seen` the heads that
    the approver has then seen; `warnings` are sentences for them.
    """

    plan: Plan
    digest: bytes
    agent: TrustedAgent
    items: Items | None
    log: SeenLog
    short: str
    seen: RememberedCheckpoints
    warnings: tuple[str, ...]

    @property
    def changing(self) -> int | None:
        """How many services would change; None: the items are not there."""
        return None if self.items is None else sum(1 for i in self.items.items if i.listed is Listed.CHANGE)


def open_export_untrusted(
    files: ExportFiles, trust: Trust, trust_sha256: str, seen: RememberedCheckpoints, *, opened: bool = True
) -> Exported:
    """Return the content of an export, once it proves to be the agent's.

    Args:
        files: the files' bytes.
        trust: the approver's own document, and `trust_sha256` its digest in hex.
        trust_sha256: its digest, hex.
        seen: the heads that the approver's tool has seen.
        opened: False: the items are not looked at.

    Raises:
        MalformedEnvelopeError: `plan.json` is no envelope.
        RefusedError: nobody known signed the plan, it was altered, or a head contradicts a seen one.
        TamperedExportError: items, checkpoint or trust document do not fit the plan.
    """
    plan, digest, agent = _open_plan(files.plan, trust)
    items = None if files.items is None or not opened else _open_items(files.items, plan)
    log, after = _check_log(files.checkpoint, plan, agent, seen)
    warnings = _compare_trust(files.trust, plan, trust, trust_sha256)
    if files.checkpoint is None:
        warnings += ("the export has no checkpoint: that the agent's log did not shrink cannot be seen",)
    short = (files.short or b"").decode("ascii", "replace").strip()
    return Exported(
        plan=plan,
        digest=digest,
        agent=agent,
        items=items,
        log=log,
        short=_short(short, plan),
        seen=after,
        warnings=warnings,
    )


def open_view_untrusted(plan_file: bytes, answer: ViewAnswer, trust: Trust, seen: RememberedCheckpoints) -> Exported:
    """Return an agent's answer to a view, once it proves to be signed by the agent and its log goes on.

    Args:
        plan_file: the plan's envelope, as the shared feed has it.
        answer: the content of the sealed pages; the pages prove no sender.
        trust: the approver's own document.
        seen: the heads that the approver's tool had seen when it asked.

    Raises:
        MalformedEnvelopeError: the plan is no envelope.
        RefusedError: nobody known signed the plan, or the log does not go on from the seen head.
        TamperedExportError: items or checkpoint do not fit the plan.
    """
    plan, digest, agent = _open_plan(plan_file, trust)
    items = _items_of(answer.documents, plan, "the agent's answer")
    head = _open_checkpoint(answer.checkpoint, plan, agent, "the answer's checkpoint")
    after = remembered_checkpoints.accept_proven_log(seen, agent.agent, head, answer.old_size, answer.consistency)
    _compare_trust(None, plan, trust, "")
    log = SeenLog(agent.agent, head.size, head.root.hex())
    return Exported(plan, digest, agent, items, log, _short(answer.short, plan), after, ())


def _open_plan(data: bytes, trust: Trust) -> tuple[Plan, bytes, TrustedAgent]:
    envelope = envelopes.decode_untrusted(data)
    plan = verify.verify_plan(envelope, trust)
    agent = trust.agent(plan.agent)
    if agent is None:
        raise RefusedError(Reason.WRONG_AGENT, "your trust document does not know the plan's agent")
    return plan, envelopes.digest(envelope), agent


def _short(text: str, plan: Plan) -> str:
    """Return the plan's short id: the site's own word, where it has more letters and is of this plan."""
    plan_id = bytes.fromhex(plan.plan_id)
    return text if short_ids.names(text, plan_id) and text.isupper() else short_ids.short_id(plan_id)


def _open_items(data: bytes, plan: Plan) -> Items:
    # At newlines only: documents hold no raw newline, and other line ends in a name are its own
    *documents, rest = data.split(b"\n")
    if rest:
        raise TamperedExportError("items.jsonl: expected a newline at its end: the file is cut short")
    return _items_of(documents, plan, "items.jsonl")


def _items_of(documents: Sequence[bytes], plan: Plan, what: str) -> Items:
    try:
        return items_.open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id)
    except MalformedStatementError as err:
        raise TamperedExportError(f"{what} is not what the agent signed: {err}") from err


def _check_log(
    note: bytes | None, plan: Plan, agent: TrustedAgent, seen: RememberedCheckpoints
) -> tuple[SeenLog, RememberedCheckpoints]:
    """Return the largest log head that is proven, and the heads that are then seen."""
    remembered_checkpoints.check_root(seen, agent.agent, plan.log_size, plan.log_root)
    if note is None:
        return SeenLog(agent.agent, plan.log_size, plan.log_root), seen
    head = _open_checkpoint(note, plan, agent, "checkpoint.txt")
    after = remembered_checkpoints.accept_log(seen, agent.agent, head)
    return SeenLog(agent.agent, head.size, head.root.hex()), after


def _open_checkpoint(note: bytes, plan: Plan, agent: TrustedAgent, what: str) -> Checkpoint:
    try:
        vkey = checkpoint.parse_vkey_untrusted(agent.log_key)
        head = checkpoint.open_checkpoint_untrusted(note, vkey)
    except MalformedError as err:
        raise TamperedExportError(f"{what} is not the log of {agent.handle}: {err}") from err
    if plan.log_size > head.size:
        raise TamperedExportError(
            f"{what}: expected a log of at least {plan.log_size} entries, as the plan says, got {head.size}"
        )
    if plan.log_size == head.size and plan.log_root != head.root.hex():
        raise TamperedExportError(f"{what}: its {head.size} entries are not those that the plan names")
    return head


def _compare_trust(data: bytes | None, plan: Plan, trust: Trust, trust_sha256: str) -> tuple[str, ...]:
    """Compare versions only: the agent's document is not believed, and nothing is learned from it."""
    if plan.trust_version > trust.version:
        raise RefusedError(
            Reason.NEWER_TRUST,
            f"the plan was made under trust version {plan.trust_version}, yours is {trust.version}: "
            "get the newer one from your owners",
        )
    if data is None:
        return ()
    try:
        envelope = envelopes.decode_untrusted(data)
        theirs = statements.decode_as_untrusted(Trust, envelope)
    except MalformedError as err:
        raise TamperedExportError(f"trust.json of the export is no trust document: {err}") from err
    if chain.head_sha256(envelope) == trust_sha256:
        return ()
    if theirs.trust_id != trust.trust_id:
        raise RefusedError(Reason.WRONG_TRUST, "the agent's trust document belongs to another chain than yours")
    if theirs.version == trust.version:
        raise RefusedError(Reason.FORKED, f"the agent has another trust version {trust.version} than you: forked")
    if theirs.version > trust.version:
        return (f"the agent has trust version {theirs.version}, yours is {trust.version}: ask your owners for it",)
    versions = f"the agent has trust version {theirs.version}, yours is {trust.version}"
    return (f"{versions}: it refuses your approval until yours is installed there (ispagent trust install)",)
