"""The shared feed as one person may believe it: messages that known agents signed, folded into changes.

Pure. Every message is verified against the person's own trust document; a message that does not verify is counted and
named, never shown as a change. The control plane may leave messages out, repeat them or change their order: a plan is
the same plan, a receipt or outcome of an older state of the log never takes the place of a newer one.

An agent that was put back from a backup numbers outcomes anew from where the backup stood. Outcomes that contradict
each other are all kept and told, and the one of the latest time is taken for the present one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Final

from control_plane.desk.memory import Memory, Sent
from control_plane.desk.remembered_checkpoints import RememberedCheckpoints
from control_plane.errors import InputError
from protos.message_pb2 import Kind
from trust import chain, statements, verify
from trust import envelope as envelopes
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import MalformedError, Reason, RefusedError, TrustError
from trust.moments import moment_text
from trust.short_id import SHORT_CHARS_MIN, apart, names
from trust.statements import Freeze, Outcome, OutcomeState, Plan, Receipt, ReceiptResult, SealKey, Standing, Unfreeze
from trust.verify import people_more

RECEIPT_S: Final = 60
"""How long a receipt may take before somebody should ask why."""

MISSED_S: Final = 86_400
"""For how long a receipt that did not come is told."""

CLOCK_MINUTES: Final = 5
"""By how much an agent's clock may be set back while it goes on."""

NAMED_MAX: Final = 8
"""Changes that are named where one word means several; chosen arbitrarily."""
_OPEN: Final = frozenset(
    {"waiting", "approved", "paused", OutcomeState.RUNNING.value, OutcomeState.NEEDS_A_PERSON.value}
)
KINDS: Final = (
    Kind.KIND_PLAN,
    Kind.KIND_RECEIPT,
    Kind.KIND_OUTCOME,
    Kind.KIND_SEALKEY,
    Kind.KIND_TRUST,
    Kind.KIND_FREEZE,
    Kind.KIND_UNFREEZE,
    Kind.KIND_STANDING,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the shared feed, as it came; nothing of it is verified. `agent` is an id in hex."""

    number: int
    kind: int
    agent: str
    body: bytes
    minute: int
    witness: bytes = b""


@dataclass(frozen=True, slots=True)
class NotVerified:
    """A message that nobody known signed as it stands: its number on the shared feed, its kind, and why."""

    number: int
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """A plan that its agent signed, and where it stands as far as signed messages tell.

    `sha256` is its digest (hex), `agent` a handle, `body` the envelope's bytes. `have` of `need` people approve, as the
    agent's newest receipt about this plan says; before one, `need` is the policy's. `short` is the id that people type,
    the same as at the site; it has more letters where changes of two sites begin alike.
    """

    sha256: str
    plan: Plan
    agent: str
    body: bytes
    short: str
    state: str
    have: int
    need: int
    outcome: Outcome | None

    @property
    def is_open(self) -> bool:
        """Whether something may still happen, or somebody is needed."""
        return self.state in _OPEN


@dataclass(frozen=True, slots=True)
class Missing:
    """A statement that was sent and has no receipt of these agents (handles), for longer than `RECEIPT_S`."""

    sent: Sent
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """A standing authority that holds, its digest (hex), and its signers (handles)."""

    sha256: str
    standing: Standing
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SharedFeed:
    """The content of a shared feed.

    `receipts` by (agent id, digest of the sent statement); `alarms` are sentences about lies; `versions` the newest
    trust version that each agent (id) spoke of; `freezes` those that nobody lifted here.
    """

    changes: tuple[Change, ...]
    receipts: dict[tuple[str, str], Receipt]
    sealkeys: dict[str, SealKey]
    not_verified: tuple[NotVerified, ...]
    alarms: tuple[str, ...]
    missing: tuple[Missing, ...]
    versions: dict[str, int]
    freezes: tuple[Freeze, ...]
    standings: tuple[Allowed, ...]

    def about(self, sent: Sent) -> str:
        """Return a sent statement for people: `approve of K7QF2`; else the beginning of its digest."""
        short = next((c.short for c in self.changes if c.sha256 == sent.plan), "")
        return f"{sent.what} of {short}" if short else f"{sent.what} {sent.sha256[:8]}"

    def find(self, name: str) -> Change:
        """Return the change that a person named: by the beginning of its short id, or of its plan's id or digest.

        Raises:
            InputError: none, or several.
        """
        lower = name.strip().lower()
        if len(lower) < SHORT_CHARS_MIN:
            raise InputError(f"expected at least {SHORT_CHARS_MIN} characters of an id, got {len(lower)}")
        found = [c for c in self.changes if c.short.lower() == lower]
        found = found or [
            c
            for c in self.changes
            if names(lower, bytes.fromhex(c.plan.plan_id))
            or c.plan.plan_id.startswith(lower)
            or c.sha256.startswith(lower)
        ]
        if not found:
            raise InputError(f"no change on the shared feed begins with {name[:64]!r}: see ispcloud changes list --all")
        if len(found) > 1:
            several = ", ".join(f"{c.short} at {c.agent}" for c in found[:NAMED_MAX])
            raise InputError(f"expected the id of one change, {len(found)} begin with {name[:64]!r}: {several}")
        return found[0]


@dataclass(slots=True)
class Fold:
    """The messages read of a shared feed so far, as the holder of one trust document may believe them.

    `outcomes` by agent and plan digest, distinct ones. `seen` are log heads that this desk saw: another root of the
    same size is an alarm. `since`: the trust version that gave an agent's log a new key; before it, it was another log.
    """

    trust: Trust
    seen: InitVar[RememberedCheckpoints]
    plans: dict[str, tuple[Plan, bytes]] = field(default_factory=dict)
    receipts: dict[tuple[str, str], Receipt] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    sealkeys: dict[str, SealKey] = field(default_factory=dict)
    not_verified: list[NotVerified] = field(default_factory=list)
    roots: dict[tuple[str, int], str] = field(default_factory=dict)
    forked: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    freezes: dict[str, Freeze] = field(default_factory=dict)
    lifted: set[str] = field(default_factory=set)
    standings: dict[str, Allowed] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)

    def __post_init__(self, seen: RememberedCheckpoints) -> None:
        self.since = {k.agent: k.version for k in seen.log_keys}
        self.roots = {(log.agent, log.size): log.root for log in seen.logs}

    def take(self, message: Received, now_s: int) -> None:
        """Add one message; in any order, and again does no harm. Never raises."""
        try:
            _take(message, self.trust, now_s, self)
        except TrustError as err:
            self.not_verified.append(NotVerified(message.number, _kind_word(message.kind), str(err)))

    def held(self) -> dict[str, Freeze]:
        """Return the freezes that nobody lifted here, by digest (hex)."""
        return {sha256: freeze for sha256, freeze in self.freezes.items() if sha256 not in self.lifted}

    def feed(self, memory: Memory, now_s: int) -> SharedFeed:
        """Return the present content; `memory` holds this desk's sent messages."""
        handles = {a.agent: a.handle for a in self.trust.agents}
        alarms = [
            f"the log of {handles.get(agent, agent)} FORKED: two different trees of {size} entries"
            for agent, size in self.forked.items()
        ]
        sent, counted = _by_plan(memory.sent), _counted(self.receipts.values())
        shorts = apart([bytes.fromhex(plan.plan_id) for plan, _ in self.plans.values()])
        changes = [_change(sha256, self, shorts, sent, counted, now_s) for sha256 in self.plans]
        return SharedFeed(
            changes=tuple(sorted(changes, key=lambda c: (c.plan.made, c.sha256))),
            receipts=dict(self.receipts),
            sealkeys=dict(self.sealkeys),
            not_verified=tuple(self.not_verified),
            alarms=(*alarms, *_contradictions(self, changes)),
            missing=tuple(_missing(memory, self, handles, now_s)),
            versions=dict(self.versions),
            freezes=tuple(self.held().values()),
            standings=tuple(self.standings.values()),
        )


def _kind_word(kind: int) -> str:
    try:
        return Kind.Name(kind).removeprefix("KIND_").lower().replace("_", "-")
    except ValueError:
        return "unknown"


def _take(message: Received, trust: Trust, now_s: int, found: Fold) -> None:
    match message.kind:
        case Kind.KIND_PLAN:
            envelope = envelopes.decode_untrusted(message.body)
            plan = verify.verify_plan(envelope, trust)
            found.plans.setdefault(envelopes.digest(envelope).hex(), (plan, message.body))
            _note_head(found, plan.agent, plan.log_size, plan.log_root, plan.trust_version)
        case Kind.KIND_RECEIPT:
            receipt = verify.verify_receipt(envelopes.decode_untrusted(message.body), trust)
            _note_head(found, receipt.agent, receipt.log_size, receipt.log_root, receipt.trust_version)
            key = receipt.agent, receipt.of_sha256
            before = found.receipts.get(key)
            if before is None or (before.log_size, before.at) <= (receipt.log_size, receipt.at):
                found.receipts[key] = receipt
        case Kind.KIND_OUTCOME:
            outcome = verify.verify_outcome(envelopes.decode_untrusted(message.body), trust)
            of = found.plans.get(outcome.plan_sha256)
            version = 0 if of is None else of[0].trust_version
            _note_head(found, outcome.agent, outcome.log_size, outcome.log_root, version)
            told = found.outcomes.setdefault((outcome.agent, outcome.plan_sha256), [])
            if outcome not in told:
                told.append(outcome)
        case Kind.KIND_SEALKEY | Kind.KIND_FREEZE | Kind.KIND_UNFREEZE | Kind.KIND_STANDING:
            _take_dated(message, trust, now_s, found)
        case Kind.KIND_TRUST | Kind.KIND_CHECKPOINT:
            pass  # `followed` judges the one, a witness the other
        case _:
            raise RefusedError(Reason.WRONG_TYPE, "a shared feed holds no such message")


def _take_dated(message: Received, trust: Trust, now_s: int, found: Fold) -> None:
    """Take a document that holds between two dates: last week's and tomorrow's are no lies."""
    envelope = envelopes.decode_untrusted(message.body)
    sha256 = envelopes.digest(envelope).hex()
    try:
        match message.kind:
            case Kind.KIND_FREEZE:
                found.freezes[sha256] = verify.verify_freeze(envelope, trust, now_s)
            case Kind.KIND_UNFREEZE:
                # It must reach agents within a day, and counts for ever; when it came is the control plane's word
                came_s = min(now_s, message.minute * 60)
                lifts = statements.decode_as_untrusted(Unfreeze, envelope).freezes
                stops = {s: (f.scope, f.target) for s, f in found.freezes.items() if s not in found.lifted}
                but = verify.cannot_lift([stops[s] for s in lifts if s in stops], stops.values())
                found.lifted.update(verify.verify_unfreeze(envelope, trust, came_s, but=but).freezes)
            case Kind.KIND_STANDING:
                standing, people = verify.verify_standing(envelope, trust, now_s)
                found.standings[sha256] = Allowed(sha256, standing, tuple(p.handle for p in people))
            case _:
                key = verify.verify_sealkey(envelope, trust, now_s)
                before = found.sealkeys.get(key.agent)
                if before is None or before.not_after <= key.not_after:
                    found.sealkeys[key.agent] = key
    except RefusedError as err:
        if err.reason not in (Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.TRUST_EXPIRED):
            raise


def _note_head(found: Fold, agent: str, size: int, root: str, trust_version: int) -> None:
    if trust_version >= found.since.get(agent, 0) and found.roots.setdefault((agent, size), root) != root:
        found.forked[agent] = size
    found.versions[agent] = max(found.versions.get(agent, 0), trust_version)


def _by_plan(sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = {}
    for one in sent:
        found.setdefault(one.plan, []).append(one)
    return found


def _counted(receipts: Iterable[Receipt]) -> dict[tuple[str, str], Receipt]:
    """Return each agent's newest receipt that counts people of a plan, by agent and plan: a feed has thousands."""
    newest: dict[tuple[str, str], Receipt] = {}
    for r in receipts:
        last = newest.get((r.agent, r.plan_sha256))
        if r.need and (last is None or (last.log_size, last.at, last.have) < (r.log_size, r.at, r.have)):
            newest[r.agent, r.plan_sha256] = r
    return newest


def _change(
    sha256: str,
    found: Fold,
    shorts: Mapping[bytes, str],
    sent_about: dict[str, list[Sent]],
    counted: dict[tuple[str, str], Receipt],
    now_s: int,
) -> Change:
    plan, body = found.plans[sha256]
    agent = found.trust.agent(plan.agent)
    outcome = _present(found.outcomes.get((plan.agent, sha256), []))
    about = [
        (sent, receipt)
        for sent in sent_about.get(sha256, ())
        if (receipt := found.receipts.get((plan.agent, sent.sha256))) is not None
    ]
    policy = found.trust.policy_class(plan.risk_class)
    have, need = 0, 0 if policy is None else policy.approvals + people_more(policy, plan.requester, [found.trust])
    newest = counted.get((plan.agent, sha256))
    if newest is not None:
        have, need = newest.have, newest.need
    return Change(
        sha256=sha256,
        plan=plan,
        agent=plan.agent if agent is None else agent.handle,
        body=body,
        short=shorts[bytes.fromhex(plan.plan_id)],
        state=_state(plan, outcome, about, have, need, now_s),
        have=have,
        need=need,
        outcome=outcome,
    )


def _contradict(told: Sequence[Outcome]) -> bool:
    """Return whether outcomes, by number, are of two lives of an agent's log, or its clock was set back in between."""
    pairs = itertools.pairwise(told)
    return any(one.seq == other.seq or one.at > other.at + CLOCK_MINUTES for one, other in pairs)


def _by_number(outcome: Outcome) -> tuple[int, int]:
    return outcome.seq, outcome.at


def _present(told: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome that holds now. Numbers say nothing any more once one was given twice."""
    twice = len({outcome.seq for outcome in told}) < len(told)
    # Of two in one minute, the one for which a person looks
    key = (lambda o: (o.at, o.state is OutcomeState.NEEDS_A_PERSON, o.seq)) if twice else _by_number
    return max(told, key=key, default=None)


def _contradictions(found: Fold, changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        told = sorted(found.outcomes.get((change.plan.agent, change.sha256), []), key=_by_number)
        if _contradict(told):
            said = ", ".join(f"{o.seq} {o.state.value} at {moment_text(o.at * 60)}" for o in told)
            yield (
                f"outcomes of {change.short} at {change.agent} contradict each other: {said}: its database was put"
                f" back, or its clock set back: see there (ispagent change show {change.short})"
            )


def _state(
    plan: Plan, outcome: Outcome | None, about: Sequence[tuple[Sent, Receipt]], have: int, need: int, now_s: int
) -> str:
    if outcome is not None:
        return outcome.state.value
    taken = {sent.what for sent, receipt in about if receipt.result is ReceiptResult.ACCEPTED}
    if "cancel" in taken:
        return "cancelled"
    if "reject" in taken:
        return "rejected"
    if _is_paused(about):
        return "paused"
    if need and have >= need:
        return "approved"
    return "expired" if now_s > plan.start_by * 60 else "waiting"


def _is_paused(about: Sequence[tuple[Sent, Receipt]]) -> bool:
    """Tell whether a plan is paused, as far as this person's own statements tell."""
    words = ("pause", "resume")
    taken = [sent for sent, r in about if sent.what in words and r.result is ReceiptResult.ACCEPTED]
    return bool(taken) and taken[-1].what == "pause"


def _missing(memory: Memory, found: Fold, handles: dict[str, str], now_s: int) -> Iterator[Missing]:
    for sent in memory.sent:
        answered = {agent for agent, sha256 in found.receipts if sha256 in sent.digests}
        silent = tuple(handles.get(a, a) for a in sent.agents if a not in answered)
        if silent and RECEIPT_S <= now_s - sent.at_s <= MISSED_S:
            yield Missing(sent, silent)


# --- the trust chain ------------------------------------------------------------------------------------------------


def envelopes_of(kind: type[Trust | Freeze], messages: Iterable[Received]) -> list[Envelope]:
    """Return the envelopes that say to be trust documents, or freezes; nothing of them is verified."""
    found, sent_as = [], Kind.KIND_TRUST if kind is Trust else Kind.KIND_FREEZE
    for message in messages:
        if message.kind == sent_as:
            try:
                envelope = envelopes.decode_untrusted(message.body)
            except MalformedError:
                continue
            if envelope.payload_type == statements.payload_type(kind):
                found.append(envelope)
    return found


def followed(trust: Trust, envelope: Envelope, candidates: Sequence[Envelope]) -> list[tuple[Trust, Envelope]]:
    """Return the versions that follow from one's own, one after the other, as far as the chain reaches.

    Args:
        trust: one's own document.
        envelope: its envelope.
        candidates: envelopes from anywhere; one that does not follow is passed over.
    """
    links: list[tuple[Trust, Envelope]] = []
    while (link := _next(trust, chain.head_sha256(envelope), candidates)) is not None:
        trust, envelope = link
        links.append(link)
    return links


def _next(trust: Trust, sha256: str, candidates: Sequence[Envelope]) -> tuple[Trust, Envelope] | None:
    for candidate in candidates:
        try:
            return chain.verify_next(trust, sha256, candidate), candidate
        except TrustError:
            continue
    return None


@dataclass(frozen=True, slots=True)
class Links:
    """Trust documents for an agent that has an older version, oldest first; `complete`: none between is missing."""

    envelopes: tuple[Envelope, ...]
    complete: bool


def links_since(version: int, trust: Trust, envelope: Envelope, candidates: Sequence[Envelope]) -> Links:
    """Return the documents after `version` up to one's own, found by each one's digest of the one before."""
    by_digest = {chain.head_sha256(c): c for c in candidates}
    found: list[Envelope] = []
    current, at = trust, envelope
    while current.version > version:
        found.insert(0, at)
        if current.version == version + 1:
            break
        before = by_digest.get(current.prev)
        if before is None:
            return Links(tuple(found), complete=False)
        current, at = statements.decode_as_untrusted(Trust, before), before
    return Links(tuple(found), complete=True)
