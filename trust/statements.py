"""The statements that people and agents sign, one payload type each, as strict JSON.

Common to all: `crit` (a list; an unknown name in it: refuse) and `ext` (ignored); any other unknown field: refuse. Ids
are 128 random bits, 32 hex digits; digests 64; people are handles. Times that the cloud may read are unix *minutes*; in
trust and intent they are unix seconds. A statement's digest is `envelope.digest_of`. Bytes are signed and kept as they
are: nothing is canonicalised.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from trust import envelope as _envelope
from trust import limits
from trust.document import EVERYWHERE, Trust, read_trust
from trust.envelope import Envelope
from trust.errors import NotUnderstoodError, Reason
from trust.items import EffectKind, GuardKind
from trust.keys import SigningKey
from trust.policy import Action, RiskClass
from trust.strict_json import (
    Reader,
    boolean,
    by,
    each,
    handle,
    hexed,
    integer,
    member,
    members,
    read_object_untrusted,
    record,
)

NO_PLAN: Final = "0" * 64
"""In the place of a plan's digest, where there is no plan."""

SERVICE: Final = "service"
"""`by` of an intent's subject that is one service."""
SUBSCRIBER: Final = "subscriber"
"""`by` of an intent's subject that means every service of a subscriber."""
LOGIN: Final = "login"
"""In the params of an intent of rename-login: the new one."""


class OnFailure(enum.Enum):
    """The reaction of a run to an item that fails: stop, go on, or take back its writes."""

    STOP = "stop"
    CONTINUE = "continue"
    REVERT = "revert"


class OnStale(enum.Enum):
    """The reaction of a run to an item that drifted: leave that item and go on, or stop."""

    SKIP = "skip"
    STOP = "stop"


class SizeBucket(enum.Enum):
    """How many, as the cloud may know it."""

    NONE = "0"
    ONE = "1"
    TO_10 = "2-10"
    TO_100 = "11-100"
    TO_1000 = "101-1000"
    TO_10000 = "1001-10000"
    MORE = "more"


class Decision(enum.Enum):
    """The decision of an approver."""

    APPROVE = "approve"
    REJECT = "reject"


class Saw(enum.Enum):
    """The text that an approver looked at: the items, or only the plan's own."""

    DETAIL = "detail"
    SUMMARY = "summary"


class ReasonCode(enum.Enum):
    """Why an approver decided so; a code, since free text would be a channel for names."""

    CHECKED = "checked"
    WRONG_SUBJECT = "wrong-subject"
    WRONG_TIME = "wrong-time"
    NOT_NEEDED = "not-needed"
    UNSAFE = "unsafe"
    OTHER = "other"


class ReceiptResult(enum.Enum):
    """Whether the agent took a statement."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class OutcomeState(enum.Enum):
    """How a change stands, for the cloud: a coarse fold of its items' states."""

    RUNNING = "running"
    DONE = "done"
    ACCEPTED = "accepted"
    """The targets took it, and part of it cannot be read back."""
    MIXED = "mixed"
    NOTHING_DONE = "nothing-done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    VOID = "void"
    EXPIRED = "expired"
    REVERTED = "reverted"
    NEEDS_A_PERSON = "needs-a-person"


class OutcomeBucket(enum.Enum):
    """The names under which an outcome counts items."""

    APPLIED = "applied"
    ACCEPTED = "accepted"
    NOT_APPLIED = "not-applied"
    DIVERGED = "diverged"
    UNKNOWN = "unknown"
    STALE = "stale"
    WAITING = "waiting"
    EXPIRED = "expired"
    REVERTED = "reverted"


class StandingEvidence(enum.Enum):
    """The evidence about a plan's subject that a standing authority needs to cover it."""

    PAYMENT_MATCHED = "payment-matched"
    BASELINE_DUE = "baseline-due"
    SUPPORT_ASKED = "support-asked"
    """One accepted CPE, of which support asks for a test or a reboot."""


class FreezeScope(enum.Enum):
    """The scope of a freeze."""

    ALL = "all"
    AGENT = "agent"
    PERSON = "person"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class IntentSubject:
    """The subjects of a change: `by` is `service`, `subscriber`, `tariff`…; `value` is the reference."""

    by: str
    value: str


@dataclass(frozen=True, slots=True)
class SeenLog:
    """An agent's log head that an approver has seen: agent id, tree size, root (hex)."""

    agent: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class SeenHeads:
    """The newest state that an approver's tool has seen: the trust version and its digest, and log heads."""

    trust_version: int
    trust_sha256: str
    logs: tuple[SeenLog, ...] = ()


@dataclass(frozen=True, slots=True)
class Enroll:
    """An agent names its keys and proves to hold both: signed by each. `log_key` is a vkey, `nonce` 16 bytes."""

    agent: str
    handle: str
    plan_key: str
    log_key: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Intent:
    """The wanted change; it gives no authority. `expires` is unix seconds; `supersedes` an intent id, or empty.

    `secrets`: name -> a secret value to be set, sealed by itself (`trust.sealed_secret`); left out of the
    document where there are none.
    """

    trust_id: str
    intent_id: str
    salt: str
    agent: str
    requester: str
    verb: Action
    params: Mapping[str, str]
    subjects: tuple[IntentSubject, ...]
    exclude: tuple[str, ...]
    on_failure: OnFailure
    on_stale: OnStale
    canary: int
    expires: int
    reason: str
    supersedes: str = ""
    secrets: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata={"optional": True})


@dataclass(frozen=True, slots=True)
class Plan:
    """The change as the agent would do it, without any subscriber in it.

    `made`, `start_by` and `run_until` are unix minutes. `requester` is a handle or `unknown`. `items_root` is the root
    over head and items (`trust.items`); `log_size` and `log_root` are the agent's log when it was made.
    """

    trust_id: str
    plan_id: str
    agent: str
    trust_version: int
    intent_sha256: str
    requester: str
    risk_class: RiskClass
    action: Action
    made: int
    start_by: int
    run_until: int
    size_bucket: SizeBucket
    effect_kinds: tuple[EffectKind, ...]
    guard_kind: GuardKind
    cannot_enforce: bool
    on_failure: OnFailure
    on_stale: OnStale
    items_root: str
    build_sha256: str
    log_size: int
    log_root: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision on plans, by digest. `not_before` and `not_after` are unix minutes."""

    trust_id: str
    plans: tuple[str, ...]
    decision: Decision
    person: str
    saw: Saw
    not_before: int
    not_after: int
    reason_code: ReasonCode
    seen: SeenHeads


@dataclass(frozen=True, slots=True)
class Receipt:
    """The agent took a statement or refused it, and why; `at` is unix minutes.

    `plan_sha256`: the plan that it is about, zeros where it is about none; of that, `have` of `need` people approve.
    """

    trust_id: str
    agent: str
    of_type: str
    of_sha256: str
    result: ReceiptResult
    reason: Reason | None
    have: int
    need: int
    trust_version: int
    log_size: int
    log_root: str
    at: int
    plan_sha256: str = NO_PLAN


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, counted in buckets. `seq` grows with each outcome of a plan; `final` ends them; `at` is unix
    minutes.

    `results_sha256` is the root over the salted per-item results, which stay with the agent.
    """

    trust_id: str
    agent: str
    plan_sha256: str
    seq: int
    final: bool
    state: OutcomeState
    buckets: Mapping[OutcomeBucket, SizeBucket]
    results_sha256: str
    log_size: int
    log_root: str
    at: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """A person takes plans back, by digest, started or not. `at` is unix minutes."""

    trust_id: str
    cancel_id: str
    plans: tuple[str, ...]
    person: str
    at: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A person pauses a plan, by digest: nothing more of it is begun until it is resumed. `at` is unix minutes."""

    trust_id: str
    pause_id: str
    plan_sha256: str
    person: str
    at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A person lets a paused plan go on, by digest, under the approval and deadline that it had. `at`: unix minutes.

    It lifts no pause that is younger than it is.
    """

    trust_id: str
    resume_id: str
    plan_sha256: str
    person: str
    at: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """A person stops everything, an agent (id), a person (handle) or a key (hex): `target`, empty for all.

    `at` and `expires` are unix minutes; `expires` 0: until it is lifted.
    """

    trust_id: str
    freeze_id: str
    scope: FreezeScope
    target: str
    person: str
    at: int
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """People lift freezes, by their digests; two signatures in one envelope. `person` made it; `at` is unix minutes.

    `also`: the freezes beside the first one; left out of the document where there are none.
    """

    trust_id: str
    freeze_sha256: str
    person: str
    at: int
    also: tuple[str, ...] = dataclasses.field(default=(), metadata={"optional": True})

    @property
    def freezes(self) -> tuple[str, ...]:
        """The digests, hex, of all freezes that it lifts."""
        return (self.freeze_sha256, *self.also)


@dataclass(frozen=True, slots=True)
class SealKey:
    """An agent names the key that intents to it are sealed to (X25519, hex), for at most a week; unix minutes."""

    trust_id: str
    agent: str
    x25519: str
    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True)
class View:
    """A person asks to see a plan's items, sealed to `eph_pub` (X25519, hex): a key made for this and then forgotten.

    `expires` is unix minutes.
    """

    trust_id: str
    view_id: str
    agent: str
    plan_sha256: str
    person: str
    eph_pub: str
    seen: SeenHeads
    expires: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A permission in advance: a verb on one subject, where the evidence is there; two people sign.

    `person` began it. `scope` lists agent ids, or `all`. `rate_per_hour` is uses in any hour. Dates are unix minutes.
    """

    trust_id: str
    standing_id: str
    verb: Action
    person: str
    scope: tuple[str, ...]
    evidence: StandingEvidence
    rate_per_hour: int
    not_before: int
    not_after: int


Statement = (
    Trust
    | Enroll
    | Intent
    | Plan
    | Approval
    | Receipt
    | Outcome
    | Cancel
    | Pause
    | Resume
    | Freeze
    | Unfreeze
    | SealKey
    | View
    | Standing
)
_S = TypeVar("_S")


def size_bucket(n: int) -> SizeBucket:
    """Return the bucket of a count."""
    for most, bucket in (
        (0, SizeBucket.NONE),
        (1, SizeBucket.ONE),
        (10, SizeBucket.TO_10),
        (100, SizeBucket.TO_100),
        (1000, SizeBucket.TO_1000),
        (10_000, SizeBucket.TO_10000),
    ):
        if n <= most:
            return bucket
    return SizeBucket.MORE


# --- writing --------------------------------------------------------------------------------------------------------


def encode(statement: Statement) -> bytes:
    """Return the statement as JSON; field names are those of the class."""
    return json.dumps(_plain(statement), ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    match value:
        case enum.Enum():
            return value.value
        case tuple():
            return [_plain(v) for v in value]
        case Mapping():
            return {_plain(k): _plain(v) for k, v in value.items()}
        case _ if dataclasses.is_dataclass(value):
            named = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
            return {f.name: _plain(v) for f, v in named if v or not f.metadata}
        case _:
            return value


def sign(statement: Statement, keys: Sequence[SigningKey]) -> Envelope:
    """Return the statement's envelope, signed by each of `keys`."""
    return _envelope.sign(payload_type(type(statement)), encode(statement), keys)


# --- reading --------------------------------------------------------------------------------------------------------


def _log(r: Reader) -> tuple[int, str]:
    return r.integer("log_size", 0, limits.TREE_SIZE_MAX), r.hex("log_root", 32)


def _minutes(r: Reader, name: str) -> int:
    return r.integer(name, 0, limits.MINUTES_MAX)


def _plans(r: Reader, name: str) -> tuple[str, ...]:
    plans = tuple(r.hexes(name, 32))
    if not 1 <= len(plans) <= limits.PLANS_MAX or len(set(plans)) != len(plans):
        raise r.error(name, f"should hold 1 to {limits.PLANS_MAX} different digests")
    return plans


def _enroll(r: Reader) -> Enroll:
    return Enroll(r.hex("agent", 16), r.handle("handle"), r.hex("plan_key", 32), r.text("log_key"), r.hex("nonce", 16))


def _subject(r: Reader) -> IntentSubject:
    subject = IntentSubject(r.handle("by"), r.text("value"))
    r.done()
    return subject


def _intent(r: Reader) -> Intent:
    return Intent(
        trust_id=r.hex("trust_id", 16),
        intent_id=r.hex("intent_id", 16),
        salt=r.hex("salt", 16),
        agent=r.hex("agent", 16),
        requester=r.handle("requester"),
        verb=r.enum("verb", Action),
        params=r.text_map("params"),
        subjects=tuple(map(_subject, r.objects("subjects"))),
        exclude=tuple(r.texts("exclude")),
        on_failure=r.enum("on_failure", OnFailure),
        on_stale=r.enum("on_stale", OnStale),
        canary=r.integer("canary", 0, limits.ITEMS_MAX),
        expires=r.integer("expires", 0, limits.SECONDS_MAX),
        reason=r.text("reason"),
        supersedes="" if r.text("supersedes") == "" else r.hex("supersedes", 16),
        secrets=r.text_map("secrets") if r.has("secrets") else {},
    )


_LOG_SIZE: Final = integer(0, limits.TREE_SIZE_MAX)
_MINUTES: Final = integer(0, limits.MINUTES_MAX)
_PLAN: Final = record(Plan)(
    log_size=_LOG_SIZE,
    log_root=hexed(32),
    trust_id=hexed(16),
    plan_id=hexed(16),
    agent=hexed(16),
    trust_version=integer(1, limits.SECONDS_MAX),
    intent_sha256=hexed(32),
    requester=handle(),
    risk_class=member(RiskClass),
    action=member(Action),
    made=_MINUTES,
    start_by=_MINUTES,
    run_until=_MINUTES,
    size_bucket=member(SizeBucket),
    effect_kinds=members(EffectKind),
    guard_kind=member(GuardKind),
    cannot_enforce=boolean(),
    on_failure=member(OnFailure),
    on_stale=member(OnStale),
    items_root=hexed(32),
    build_sha256=hexed(32),
)


def _plan(r: Reader) -> Plan:
    plan = r.whole(_PLAN)
    if not plan.made <= plan.start_by <= plan.run_until:
        raise r.error("start_by", "should lie between made and run_until")
    return plan


_SEEN: Final = record(SeenHeads)(
    trust_version=integer(1, limits.SECONDS_MAX),
    trust_sha256=hexed(32),
    logs=each(record(SeenLog)(agent=hexed(16), size=_LOG_SIZE, root=hexed(32))),
)
_APPROVAL: Final = record(Approval)(
    trust_id=hexed(16),
    plans=by(_plans),
    decision=member(Decision),
    person=handle(),
    saw=member(Saw),
    not_before=_MINUTES,
    not_after=_MINUTES,
    reason_code=member(ReasonCode),
    seen=_SEEN,
)


def _approval(r: Reader) -> Approval:
    return r.whole(_APPROVAL)


def _receipt(r: Reader) -> Receipt:
    log_size, log_root = _log(r)
    return Receipt(
        trust_id=r.hex("trust_id", 16),
        agent=r.hex("agent", 16),
        of_type=r.handle("of_type"),
        of_sha256=r.hex("of_sha256", 32),
        result=r.enum("result", ReceiptResult),
        reason=None if r.text_or_none("reason") is None else r.enum("reason", Reason),
        have=r.integer("have", 0, limits.PEOPLE_MAX),
        need=r.integer("need", 0, limits.PEOPLE_MAX),
        trust_version=r.integer("trust_version", 1, limits.SECONDS_MAX),
        log_size=log_size,
        log_root=log_root,
        at=_minutes(r, "at"),
        plan_sha256=r.hex("plan_sha256", 32),
    )


def _outcome(r: Reader) -> Outcome:
    log_size, log_root = _log(r)
    sub = r.object("buckets")
    buckets = {b: sub.enum(b.value, SizeBucket) for b in OutcomeBucket if sub.has(b.value)}
    sub.done()
    return Outcome(
        trust_id=r.hex("trust_id", 16),
        agent=r.hex("agent", 16),
        plan_sha256=r.hex("plan_sha256", 32),
        seq=r.integer("seq", 1, limits.SECONDS_MAX),
        final=r.boolean("final"),
        state=r.enum("state", OutcomeState),
        buckets=buckets,
        results_sha256=r.hex("results_sha256", 32),
        log_size=log_size,
        log_root=log_root,
        at=_minutes(r, "at"),
    )


def _cancel(r: Reader) -> Cancel:
    return Cancel(*_ids(r, "cancel_id"), _plans(r, "plans"), r.handle("person"), _minutes(r, "at"))


def _pause(r: Reader) -> Pause:
    return Pause(*_ids(r, "pause_id"), r.hex("plan_sha256", 32), r.handle("person"), _minutes(r, "at"))


def _resume(r: Reader) -> Resume:
    return Resume(*_ids(r, "resume_id"), r.hex("plan_sha256", 32), r.handle("person"), _minutes(r, "at"))


def _ids(r: Reader, own: str) -> tuple[str, str]:
    return r.hex("trust_id", 16), r.hex(own, 16)


def _freeze(r: Reader) -> Freeze:
    scope = r.enum("scope", FreezeScope)
    return Freeze(
        trust_id=r.hex("trust_id", 16),
        freeze_id=r.hex("freeze_id", 16),
        scope=scope,
        target=_freeze_target(r, scope),
        person=r.handle("person"),
        at=_minutes(r, "at"),
        expires=_minutes(r, "expires"),
    )


def _freeze_target(r: Reader, scope: FreezeScope) -> str:
    match scope:
        case FreezeScope.AGENT:
            return r.hex("target", 16)
        case FreezeScope.PERSON:
            return r.handle("target")
        case FreezeScope.KEY:
            return r.hex("target", 32)
        case _:  # all: empty
            return r.hex("target", 0)


def _unfreeze(r: Reader) -> Unfreeze:
    also = tuple(r.hexes("also", 32)) if r.has("also") else ()
    unfreeze = Unfreeze(r.hex("trust_id", 16), r.hex("freeze_sha256", 32), r.handle("person"), _minutes(r, "at"), also)
    if len(set(unfreeze.freezes)) != len(unfreeze.freezes) or len(unfreeze.freezes) > limits.FREEZES_OF_UNFREEZE:
        raise r.error(
            "also", f"should name other freezes, each once, {limits.FREEZES_OF_UNFREEZE} with the first at most"
        )
    return unfreeze


def _dates(r: Reader, minutes_max: int) -> tuple[int, int]:
    not_before, not_after = _minutes(r, "not_before"), _minutes(r, "not_after")
    if not 0 < not_after - not_before <= minutes_max:
        raise r.error("not_after", f"should be 1 to {minutes_max} minutes after not_before")
    return not_before, not_after


def _sealkey(r: Reader) -> SealKey:
    dates = _dates(r, limits.SEALKEY_MINUTES_MAX)
    return SealKey(r.hex("trust_id", 16), r.hex("agent", 16), r.hex("x25519", 32), *dates)


def _view(r: Reader) -> View:
    return View(
        trust_id=r.hex("trust_id", 16),
        view_id=r.hex("view_id", 16),
        agent=r.hex("agent", 16),
        plan_sha256=r.hex("plan_sha256", 32),
        person=r.handle("person"),
        eph_pub=r.hex("eph_pub", 32),
        seen=r.object("seen").whole(_SEEN),
        expires=_minutes(r, "expires"),
    )


def _scope(r: Reader) -> tuple[str, ...]:
    scope = tuple(r.texts("scope"))
    if scope != (EVERYWHERE,):
        scope = tuple(r.hexes("scope", 16))
    if not 1 <= len(scope) <= limits.AGENTS_MAX or len(set(scope)) != len(scope):
        raise r.error("scope", f"should be {EVERYWHERE!r}, or 1 to {limits.AGENTS_MAX} different agents")
    return scope


def _standing(r: Reader) -> Standing:
    not_before, not_after = _dates(r, limits.STANDING_MINUTES_MAX)
    return Standing(
        trust_id=r.hex("trust_id", 16),
        standing_id=r.hex("standing_id", 16),
        verb=r.enum("verb", Action),
        person=r.handle("person"),
        scope=_scope(r),
        evidence=r.enum("evidence", StandingEvidence),
        rate_per_hour=r.integer("rate_per_hour", 1, limits.STANDING_RATE_MAX),
        not_before=not_before,
        not_after=not_after,
    )


_READERS: Final[Mapping[type[Statement], Callable[[Reader], Statement]]] = {
    Trust: read_trust,
    Enroll: _enroll,
    Intent: _intent,
    Plan: _plan,
    Approval: _approval,
    Receipt: _receipt,
    Outcome: _outcome,
    Cancel: _cancel,
    Pause: _pause,
    Resume: _resume,
    Freeze: _freeze,
    Unfreeze: _unfreeze,
    SealKey: _sealkey,
    View: _view,
    Standing: _standing,
}


def kind_of(statement: type[object]) -> str:
    """Return a statement class's word in its payload type: `plan`."""
    return statement.__name__.lower()


def payload_type(statement: type[object]) -> str:
    """Return the payload type of a statement class: `application/vnd.ispagents.plan.v0+json`."""
    return f"application/vnd.ispagents.{kind_of(statement)}.v0+json"


_TYPES: Final = {payload_type(statement): statement for statement in _READERS}


def decode_untrusted(payload_type: str, payload: bytes) -> Statement:
    """Return the statement of this payload type. Call it on bytes with verified signatures.

    Raises:
        NotUnderstoodError: the payload type, or something in `crit`, is not known.
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    statement = _TYPES.get(payload_type)
    if statement is None:
        raise NotUnderstoodError(f"unknown payload type {payload_type[:80]!r}")
    r = read_object_untrusted(payload, limits.STATEMENT_BYTES, kind_of(statement))
    r.extensions()
    value = _READERS[statement](r)
    r.done()
    return value


def decode_as_untrusted(kind: type[_S], envelope: Envelope) -> _S:
    """Return the envelope's statement, which must be of class `kind`. Signatures are the caller's.

    Raises:
        NotUnderstoodError: another payload type, or something in `crit` is not known.
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    value = decode_untrusted(envelope.payload_type, envelope.payload)
    if not isinstance(value, kind):
        raise NotUnderstoodError(f"expected {kind_of(kind)}, got {kind_of(type(value))}")
    return value
