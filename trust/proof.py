"""Evidence files: one leaf with its proof, or a whole export, and the verdict of a reader that trusts nobody.

A proof file is C2SP's `c2sp.org/tlog-proof@v1`; its `extra` line holds our leaf (JSON in base64). An export is JSON
lines. Both are in `docs/spec/proof-file.md`. A file names the log's key; whether that is the operator's, only a key
or the words of a trust head that the reader has from elsewhere can say: without either, nothing is proven.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from trust import chain, limits, merkle, statements, verify, witness
from trust import envelope as _envelope
from trust import leaf as _leaf
from trust.checkpoint import (
    Checkpoint,
    VerifierKey,
    open_checkpoint_untrusted,
    parse_vkey_untrusted,
    split_note_untrusted,
)
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import (
    MalformedEnvelopeError,
    MalformedError,
    MalformedProofError,
    MalformedStatementError,
    Reason,
    RefusedError,
    TrustError,
)
from trust.items import Items, open_items_untrusted
from trust.leaf import Leaf, LeafKind
from trust.leaf_text import minute_text
from trust.life import StoryFault
from trust.plural import counted
from trust.statements import Approval, Freeze, Outcome, Pause, Plan, Resume, Standing, Unfreeze
from trust.story import (
    NOT_JUDGED,
    Behind,
    Case,
    Log,
    LogLeaf,
    Named,
    StoryLine,
    get_log_findings,
    get_plan_findings,
    read_record_untrusted,
)
from trust.strict_json import Reader, read_object_untrusted

PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
EXPORT_FORMAT: Final = "ispagents-export-v0"
_S = TypeVar("_S")
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf, where it is, and how that is proven. `record` and `salt` open it; both None: it stays closed."""

    leaf: bytes
    index: int
    proof: tuple[bytes, ...]
    record: bytes | None = None
    salt: bytes | None = None


@dataclass(frozen=True, slots=True)
class ProofFile:
    """One entry under a signed checkpoint. `vkey` is the log's verifier key, as the file says."""

    entry: ProvenLeaf
    note: bytes
    vkey: str


@dataclass(frozen=True, slots=True)
class Export:
    """Many entries under one checkpoint, and statements that they speak of.

    Entries without a proof are accepted where all leaves are there: then their root is computed. `items` maps a plan's
    digest (hex) to the documents of its head and items.
    """

    vkey: str
    note: bytes
    entries: tuple[ProvenLeaf, ...]
    envelopes: tuple[Envelope, ...] = ()
    items: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)


# --- bytes ----------------------------------------------------------------------------------------------------------


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MalformedProofError(f"{what}: not base64") from err


def _dump(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _opened(entry: ProvenLeaf) -> dict[str, object]:
    if entry.record is None or entry.salt is None:
        return {}
    return {"record": _b64(entry.record), "salt": entry.salt.hex()}


def _read_opened(r: Reader) -> tuple[bytes | None, bytes | None]:
    if not r.has("record"):
        return None, None
    record = _unb64(r.text("record", 2 * limits.RECORD_BYTES), "record")
    return record, bytes.fromhex(r.hex("salt", _leaf.SALT_BYTES))


def encode(file: ProofFile) -> bytes:
    """Return the proof file's text."""
    extra = {"leaf": _b64(file.entry.leaf), "vkey": file.vkey, **_opened(file.entry)}
    lines = [PROOF_HEADER, f"extra {_b64(_dump(extra))}", f"index {file.entry.index}", *map(_b64, file.entry.proof)]
    return ("\n".join(lines) + "\n\n").encode() + file.note


def decode_untrusted(data: bytes) -> ProofFile:
    """Return the proof file that `data` is; nothing is verified yet.

    Raises:
        MalformedProofError: not that format, or over a limit.
    """
    if len(data) > limits.PROOF_FILE_BYTES:
        raise MalformedProofError(f"proof file: expected at most {limits.PROOF_FILE_BYTES} bytes, got {len(data)}")
    head, separator, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as err:
        raise MalformedProofError("proof file: expected ASCII before the checkpoint") from err
    if not separator or len(lines) < 3 or lines[0] != PROOF_HEADER or not lines[1].startswith("extra "):
        raise MalformedProofError(f"proof file: expected {PROOF_HEADER}, an extra line and an index line")
    index = _INDEX.fullmatch(lines[2])
    if index is None or len(lines) - 3 > limits.PROOF_HASHES_MAX:
        raise MalformedProofError(f"proof file: expected an index and at most {limits.PROOF_HASHES_MAX} hashes")
    extra = _unb64(lines[1].removeprefix("extra "), "extra")
    try:
        r = read_object_untrusted(extra, limits.PROOF_FILE_BYTES, "extra")
        leaf, vkey, opened = _unb64(r.text("leaf"), "leaf"), r.text("vkey"), _read_opened(r)
        r.done()
    except MalformedStatementError as err:
        raise MalformedProofError(f"proof file: {err}") from err
    proof = tuple(_unb64(line, "proof") for line in lines[3:])
    return ProofFile(ProvenLeaf(leaf, int(index[1]), proof, *opened), note, vkey)


def encode_export(export: Export) -> bytes:
    """Return the export as JSON lines: a head, then entries, envelopes and item documents."""
    lines = [_dump({"format": EXPORT_FORMAT, "vkey": export.vkey, "checkpoint": export.note.decode()})]
    for entry in export.entries:
        proof = {"proof": [_b64(h) for h in entry.proof]}
        lines.append(_dump({"index": entry.index, "leaf": _b64(entry.leaf), **proof, **_opened(entry)}))
    lines += [_dump({"envelope": _b64(_envelope.encode(e))}) for e in export.envelopes]
    lines += [_dump({"plan": plan, "document": _b64(d)}) for plan, ds in export.items.items() for d in ds]
    return b"\n".join(lines) + b"\n"


def decode_export_untrusted(data: bytes) -> Export:
    """Return the export that `data` is; nothing is verified yet.

    Raises:
        MalformedProofError: not that format, or over a limit.
    """
    if len(data) > limits.EXPORT_BYTES or data.count(b"\n") > limits.EXPORT_LINES_MAX:
        raise MalformedProofError("export: larger than this tool reads")
    first, *lines = data.removesuffix(b"\n").split(b"\n")
    entries: list[ProvenLeaf] = []
    envelopes: list[Envelope] = []
    items: dict[str, list[bytes]] = {}
    try:
        r = read_object_untrusted(first, limits.NOTE_BYTES, "export head")
        if r.text("format") != EXPORT_FORMAT:
            raise MalformedProofError(f"export: expected format {EXPORT_FORMAT}, got another")
        vkey, note = r.text("vkey"), r.text("checkpoint").encode()
        r.done()
        for number, line in enumerate(lines, start=2):
            r = read_object_untrusted(line, limits.PROOF_FILE_BYTES, f"line {number}")
            _export_line(r, entries, envelopes, items)
    except (MalformedStatementError, MalformedEnvelopeError) as err:
        raise MalformedProofError(f"export: {err}") from err
    return Export(vkey, note, tuple(entries), tuple(envelopes), {plan: tuple(ds) for plan, ds in items.items()})


def _export_line(
    r: Reader, entries: list[ProvenLeaf], envelopes: list[Envelope], items: dict[str, list[bytes]]
) -> None:
    if r.has("leaf"):
        leaf, index = _unb64(r.text("leaf"), "leaf"), r.integer("index", 0, limits.TREE_SIZE_MAX)
        proof = tuple(_unb64(h, "proof") for h in r.texts("proof"))
        entries.append(ProvenLeaf(leaf, index, proof, *_read_opened(r)))
    elif r.has("envelope"):
        text = r.text("envelope", 2 * limits.ENVELOPE_BYTES)
        envelopes.append(_envelope.decode_untrusted(_unb64(text, "envelope")))
    else:
        document = _unb64(r.text("document", 2 * limits.ITEM_BYTES), "document")
        items.setdefault(r.hex("plan", 32), []).append(document)
    r.done()


# --- what a file proves ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One thing that was checked. `fault`: why it is refused. `part`: the file does not show enough to judge it."""

    ok: bool
    text: str
    fault: StoryFault | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """All that was checked, in order. `pinned`: the log's key is the reader's, not only the file's own word."""

    lines: tuple[ReportLine, ...]
    pinned: bool

    @property
    def ok(self) -> bool:
        """Everything that was judged holds, and under a key that the reader knows from elsewhere."""
        return self.pinned and all(line.ok for line in self.lines)

    @property
    def whole(self) -> bool:
        """Nothing had to be left open for want of leaves or of the statements that they name."""
        return not any(line.part for line in self.lines)

    @property
    def faults(self) -> tuple[StoryFault, ...]:
        """Why it is refused, each reason once, in the order in which they were found."""
        return tuple(dict.fromkeys(line.fault for line in self.lines if line.fault is not None))


def verify_entry(entry: ProvenLeaf, checkpoint: Checkpoint) -> Leaf:
    """Return the entry's leaf once it is proven to be in the log, and the record to be the one it commits to.

    Raises:
        MalformedLeafError: not a leaf.
        MalformedProofError: the leaf is not where the entry says, or commits to another record.
    """
    leaf = _open_leaf(entry)
    merkle.verify_inclusion(merkle.leaf_hash(entry.leaf), entry.index, checkpoint.size, entry.proof, checkpoint.root)
    return leaf


def _open_leaf(entry: ProvenLeaf) -> Leaf:
    leaf = _leaf.decode_untrusted(entry.leaf)
    opened = entry.record is not None and entry.salt is not None
    if opened and _leaf.commitment(entry.salt or b"", entry.record or b"") != leaf.commitment:
        raise MalformedProofError(f"leaf {entry.index}: it commits to another record")
    return leaf


def verify_file_untrusted(data: bytes, vkey: str | None = None, head: str | None = None) -> Report:
    """Return the facts that a proof file or an export proves.

    Args:
        data: the file.
        vkey: the log's verifier key, as the reader knows it from elsewhere.
        head: digest (hex) or words of a trust document in the export, as the reader knows it from elsewhere.

    Raises:
        MalformedProofError: neither format.
    """
    if data.startswith(PROOF_HEADER.encode()):
        file = decode_untrusted(data)
        return verify_export(Export(file.vkey, file.note, (file.entry,)), vkey, head)
    return verify_export_untrusted(data, vkey, head)


def verify_export_untrusted(data: bytes, vkey: str | None = None, head: str | None = None) -> Report:
    """Return the facts that an export proves; arguments as for `verify_file_untrusted`.

    Raises:
        MalformedProofError: not an export.
    """
    return verify_export(decode_export_untrusted(data), vkey, head)


def verify_export(export: Export, vkey: str | None = None, head: str | None = None) -> Report:
    """Return the facts that a decoded export proves; arguments as for `verify_file_untrusted`."""
    check = _Check()
    trusts = _check_trust(check, export, head)
    pinned = _check_key(check, export, trusts, vkey, head)
    log = _check_log(check, export, trusts)
    plans = dict(_check_plans(check, export, trusts))
    outcomes: dict[bytes, list[tuple[Outcome, bytes]]] = {}
    for outcome, sha256 in _check_outcomes(check, export, trusts, plans):
        outcomes.setdefault(bytes.fromhex(outcome.plan_sha256), []).append((outcome, sha256))
    check.take(get_log_findings(log, plans))
    behind = Behind(export.envelopes)
    for digest, plan in plans.items():
        items = _check_items(check, export, plan, digest)
        mine = outcomes.get(digest, [])
        check.take(get_plan_findings(Case(plan, digest, log, trusts, behind, mine, items)))
    pauses = sum(1 for _ in _check_pauses(check, export, trusts, plans, log))
    _check_rest(check, export, {digest.hex() for digest in plans}, pauses)
    return Report(tuple(check.lines), pinned)


@dataclass(slots=True)
class _Check:
    lines: list[ReportLine] = field(default_factory=list)

    def good(self, text: str) -> None:
        self.lines.append(ReportLine(True, text))

    def bad(self, fault: StoryFault, text: str) -> None:
        self.lines.append(ReportLine(False, text, fault))

    def expect(self, holds: bool, fault: StoryFault, text: str) -> None:
        self.lines.append(ReportLine(holds, text, None if holds else fault))

    def take(self, findings: Iterable[StoryLine]) -> None:
        self.lines += [ReportLine(f.fault is None, f.text, f.fault, f.part) for f in findings]


def _of_type(export: Export, kind: type[object]) -> Iterator[Envelope]:
    wanted = statements.payload_type(kind)
    return (e for e in export.envelopes if e.payload_type == wanted)


def _check_trust(check: _Check, export: Export, head: str | None) -> dict[int, Trust]:
    """Follow the trust documents of the file from the pinned one (or its first) on, by version."""
    trusts: dict[int, Trust] = {}
    current: Trust | None = None
    digest = ""
    for envelope in _of_type(export, Trust):
        try:
            if current is None:
                current = chain.verify_first(envelope, head or chain.head_sha256(envelope))
            else:
                current = chain.verify_next(current, digest, envelope)
        except TrustError as err:
            check.bad(StoryFault.BAD_TRUST, f"trust document: {err}")
            return {}
        digest = chain.head_sha256(envelope)
        trusts[current.version] = current
        check.good(f"trust version {current.version}: signed by {current.root.threshold} people or more of its root")
    return trusts


def _check_key(check: _Check, export: Export, trusts: Mapping[int, Trust], vkey: str | None, head: str | None) -> bool:
    trusted = {agent.log_key for trust in trusts.values() for agent in trust.agents}
    if vkey is not None:
        check.expect(vkey == export.vkey, StoryFault.BAD_KEY, "the log's key is the one that you gave")
    if head is not None:
        text = "the log's key is in the trust document that you gave"
        check.expect(export.vkey in trusted, StoryFault.BAD_KEY, text)
    if vkey is None and head is None:
        check.good("the log's key is named by the file alone: give the key or a trust head that you know")
        return False
    if head is None and trusts:
        check.good("who the people are, and what they may, the file alone says: give a trust head that you know")
    return True


def _check_witnesses(check: _Check, export: Export, trusts: Mapping[int, Trust]) -> None:
    """Say "witnessed" only where somebody else than the cloud cosigned; it is told, and fails nothing."""
    names: tuple[str, ...] = ()
    if trusts:
        lines = split_note_untrusted(export.note)[1]
        result = witness.get_witness_result(trusts[max(trusts)], export.note, lines)
        names = result.names
        if result.non_cloud:
            check.good("witnessed by " + ", ".join(names))
            return
    only = f": only {', '.join(names)} cosigned, which the cloud runs" if names else ""
    check.good(f"not witnessed{only}")


def _check_log(check: _Check, export: Export, trusts: Mapping[int, Trust]) -> Log:
    try:
        key: VerifierKey = parse_vkey_untrusted(export.vkey)
        checkpoint = open_checkpoint_untrusted(export.note, key)
    except MalformedError as err:
        check.bad(StoryFault.BAD_LOG, f"checkpoint: {err}")
        return Log((), whole=False)
    check.good(f"checkpoint of {checkpoint.origin}: {checkpoint.size} leaves, signed by its key")
    _check_witnesses(check, export, trusts)
    try:
        log = _verify_entries(export.entries, checkpoint)
    except MalformedError as err:
        check.bad(StoryFault.BAD_LOG, str(err))
        return Log((), whole=False)
    opened = sum(1 for entry in log.leaves if entry.named is not None)
    check.good(f"{len(log.leaves)} leaves are in that log, {opened} of them opened and as committed to")
    for index, leaf in ((e.index, e.leaf) for e in log.leaves) if len(log.leaves) <= 20 else ():
        words = (leaf.kind.word, leaf.code_word, f"at {minute_text(leaf.minute)}")
        check.good(f"leaf {index}: " + " ".join(filter(None, words)))
    return log


def _verify_entries(entries: Sequence[ProvenLeaf], checkpoint: Checkpoint) -> Log:
    """Return the leaves in the order of the log, whatever order the file has them in."""
    entries = sorted(entries, key=lambda e: e.index)
    indexes = [e.index for e in entries]
    if len(set(indexes)) != len(indexes):
        raise MalformedProofError("a leaf is in the file twice")
    whole = indexes == list(range(checkpoint.size))
    if whole and not any(e.proof for e in entries):
        if merkle.root([merkle.leaf_hash(e.leaf) for e in entries]) != checkpoint.root:
            raise MalformedProofError("the leaves do not hash to the checkpoint's root")
        leaves = [_open_leaf(e) for e in entries]
    else:
        leaves = [verify_entry(e, checkpoint) for e in entries]
    return Log(tuple(LogLeaf(e.index, lf, _named(e, lf)) for e, lf in zip(entries, leaves, strict=True)), whole)


def _named(entry: ProvenLeaf, leaf: Leaf) -> Named | None:
    return None if entry.record is None else read_record_untrusted(leaf.kind, entry.record)


def _verified(envelope: Envelope, trusts: Mapping[int, Trust], judge: Callable[[Envelope, Trust], _S]) -> _S:
    """Return the statement under the first trust document of the file that knows its signer."""
    problem = RefusedError(Reason.UNKNOWN_SIGNER, "the file has no trust document that knows its signer")
    for trust in trusts.values():
        try:
            return judge(envelope, trust)
        except RefusedError as err:
            problem = err
    raise problem


def _check_plans(check: _Check, export: Export, trusts: Mapping[int, Trust]) -> Iterator[tuple[bytes, Plan]]:
    for envelope in _of_type(export, Plan):
        try:
            plan = _verified(envelope, trusts, verify.verify_plan)
        except RefusedError as err:
            check.bad(StoryFault.BAD_STATEMENT, f"plan: {err}")
            continue
        agents = [trust.agent(plan.agent) for trust in trusts.values()]
        if not any(agent is not None and agent.log_key == export.vkey for agent in agents):
            check.bad(StoryFault.OTHER_LOG, f"plan {plan.plan_id}: the log is another agent's")
        check.good(f"plan {plan.plan_id}: {plan.action.value}, class {plan.risk_class.value}, signed by its agent")
        yield _envelope.digest(envelope), plan


def _check_outcomes(
    check: _Check, export: Export, trusts: Mapping[int, Trust], plans: Mapping[bytes, Plan]
) -> Iterator[tuple[Outcome, bytes]]:
    for envelope in _of_type(export, Outcome):
        try:
            outcome = _verified(envelope, trusts, verify.verify_outcome)
        except RefusedError as err:
            check.bad(StoryFault.BAD_STATEMENT, f"outcome: {err}")
            continue
        plan = plans.get(bytes.fromhex(outcome.plan_sha256))
        known = plan is not None and plan.agent == outcome.agent
        text = f"outcome {outcome.seq}: {outcome.state.value}, signed by the agent, of a plan in this file"
        check.expect(known, StoryFault.OUTCOME_OF_NONE, text)
        yield outcome, _envelope.digest(envelope)


def _check_pauses(
    check: _Check, export: Export, trusts: Mapping[int, Trust], plans: Mapping[bytes, Plan], log: Log
) -> Iterator[Envelope]:
    """Yield the signed pauses and resumes of plans of the file, each once it was judged.

    A resume is judged by the signer of the pause before it, if that pause was signed and both records are open.
    """
    kinds: tuple[tuple[type[Pause | Resume], str], ...] = ((Pause, "pause"), (Resume, "resume"))
    paused_by = _paused_by(export, log)
    for kind, word in kinds:
        for envelope in _of_type(export, kind):
            try:
                told = statements.decode_as_untrusted(kind, envelope)
            except MalformedStatementError as err:
                check.bad(StoryFault.BAD_STATEMENT, f"{word}: {err}")
                yield envelope
                continue
            plan = plans.get(bytes.fromhex(told.plan_sha256))
            if plan is None:
                continue
            by = paused_by.get(_envelope.digest(envelope).hex(), told.person)
            try:
                _verified(envelope, trusts, partial(_judge_pause, told=told, agent=plan.agent, paused_by=by))
            except RefusedError as err:
                check.bad(StoryFault.BAD_STATEMENT, f"{word}: {err}")
            else:
                check.good(f"{word} of plan {plan.plan_id}, signed by {told.person}")
            yield envelope


def _paused_by(export: Export, log: Log) -> dict[str, str]:
    """Return, by the digest of a resume, the handle of the person that signed the pause before it: of open records."""
    people: dict[str, str] = {}
    for envelope in _of_type(export, Pause):
        with contextlib.suppress(MalformedStatementError):
            people[_envelope.digest(envelope).hex()] = statements.decode_as_untrusted(Pause, envelope).person
    found = {}
    for leaves in log.of_plan.values():
        by = None
        for entry in leaves:
            statement = "" if entry.named is None else entry.named.statement
            if entry.leaf.kind is LeafKind.PAUSED:
                by = people.get(statement)
            elif entry.leaf.kind is LeafKind.RESUMED and by is not None and statement:
                found[statement] = by
    return found


def _judge_pause(
    envelope: Envelope, trust: Trust, *, told: Pause | Resume, agent: str, paused_by: str
) -> Pause | Resume:
    if isinstance(told, Pause):
        return verify.verify_pause(envelope, trust, told.at * 60, agent)
    return verify.verify_resume(envelope, trust, told.at * 60, agent, paused_by)


def _check_items(check: _Check, export: Export, plan: Plan, digest: bytes) -> Items | None:
    if digest.hex() not in export.items:
        return None
    try:
        items = open_items_untrusted(export.items[digest.hex()], bytes.fromhex(plan.items_root), plan.plan_id)
    except MalformedStatementError as err:
        check.bad(StoryFault.BAD_ITEMS, str(err))
        return None
    check.good(f"{counted(len(items.items), 'item is the one', 'items are the ones')} that the plan signs")
    return items


def _check_rest(check: _Check, export: Export, plans: set[str], pauses: int) -> None:
    """Nothing in a file that was not looked at may hide behind "verified". `pauses`: how many of them were."""
    for _ in set(export.items) - plans:
        check.bad(StoryFault.BAD_ITEMS, "items of a plan that is not in the file, or not its agent's")
    judged = {statements.payload_type(kind) for kind in (Trust, Plan, Approval, Standing, Outcome, Freeze, Unfreeze)}
    others = sum(e.payload_type not in judged for e in export.envelopes) - pauses
    if others:
        check.good(f"{others} other statements: {NOT_JUDGED}")
