"""The items of a plan: one document per subject with the agent's steps, and the tree that the plan signs.

These types are the agent's working model *and* the signed document: the agent applies the very bytes that hash to
`items_root`, so an approved document is the one that runs. A plan carries no subscriber; the items do, and they travel
only to people that asked to see them.

Tree (RFC 6962 section 2.1): leaf 0 is the head document, leaf `n` (1-based) is item `n`. Each document holds a random
128-bit salt, so that a leaf hash tells nothing about a guessed subscriber.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NewType, TypeVar

from trust import limits, merkle
from trust.errors import MalformedStatementError
from trust.strict_json import (
    Reader,
    boolean,
    by,
    called,
    each,
    either,
    hexed,
    if_null,
    if_present,
    integer,
    integer_map,
    integers,
    member,
    read_record_untrusted,
    record,
    text,
    text_map,
    texts,
    values,
)

Address = NewType("Address", str)
"""Natural key of a resource: `radius/main/user/alice`. Never a remembered `.id`."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A device's secret, as a keyed commitment: 64 hex digits of HMAC-SHA256 under a key of the agent's own."""

    commit: str


class Absent(enum.Enum):
    """The resource is not there."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
Field = str | tuple[str, ...] | SecretRef
Value = Mapping[str, Field] | Absent
"""A resource's fields in the device's own strings and order, or ABSENT."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that was read: when (unix seconds), and whether live from the device or last known."""

    value: Value
    at_s: int
    live: bool = True


@dataclass(frozen=True, slots=True)
class Transition:
    """If `address` still reads `before`, make it `after`. Fields in `unprovable` cannot be read back (secrets)."""

    address: Address
    before: Seen
    after: Value
    unprovable: frozenset[str] = frozenset()


class ProofKind(enum.Enum):
    """How an effect is proven."""

    EQUAL = "equal"
    GONE = "gone"
    CHANGED = "changed"


class Replay(enum.Enum):
    """May an effect of unknown fate be sent again?"""

    SAFE = "safe"
    IF_UNPROVEN = "if-unproven"
    NEVER = "never"


class EffectKind(enum.Enum):
    """The kind of an effect, as a plan names it to people without access to its items."""

    DISCONNECT = "disconnect"
    CHANGE_OF_AUTHORIZATION = "change-of-authorization"
    CUT_CONNECTIONS = "cut-connections"
    FORGET_COOKIES = "forget-cookies"
    REBOOT = "reboot"
    FACTORY_RESET = "factory-reset"
    FIRMWARE = "firmware"
    DIAGNOSTIC = "diagnostic"
    MESSAGE = "message"
    OTHER = "other"


class GuardKind(enum.Enum):
    """How a device undoes writes by itself when they cut the management path."""

    NONE = "none"
    CONFIRMED_COMMIT = "confirmed-commit"
    """RFC 6241 section 8.4: the device goes back unless the writes are confirmed in time."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A step that has no *before* to go back to: disconnect a session, reboot, send a message.

    `address` names the resource; the exact targets (which sessions) are bound when it runs, and `proof` then holds for
    each bound resource within `within_s` seconds. `key` is the idempotency key; `proof` None: not provable.
    """

    address: Address
    verb: str
    args: Mapping[str, str]
    key: str
    replay: Replay
    proof: ProofKind | None
    within_s: int


@dataclass(frozen=True, slots=True)
class Step:
    """Atomic unit: transitions on one target, or one effect. `after` lists steps that must have been applied first.

    `fallback_for` makes an effect a fallback for the earlier effects that it names: it runs if none of them worked. An
    effect without a proof worked if the item's enforcement is seen to hold. The field's signed name is `unless`.
    """

    n: int
    target: str
    do: tuple[Transition, ...] | Effect
    after: tuple[int, ...] = ()
    on_revert: tuple[Effect, ...] = ()
    fallback_for: tuple[int, ...] = ()
    guard: GuardKind = GuardKind.NONE
    """Of its transitions; an effect cannot be taken back, so it has none."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A fact that must still hold at each about-to: `test` is `owes` (balance above zero and no payment since)."""

    address: Address
    test: str
    shown: str


@dataclass(frozen=True, slots=True)
class Enforcement:
    """A condition that must be true of the subscriber after the steps; the connector that wrote `expect` judges it."""

    target: str
    address: Address
    expect: Mapping[str, str]
    within_s: int


class SuspensionReason(enum.StrEnum):
    """Why a service may be suspended. Each reason is lifted by itself."""

    DEBT = "debt"
    ABUSE = "abuse"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class ReasonChange:
    """A suspension reason that is recorded for a service (`added`), or lifted from it."""

    reason: SuspensionReason
    added: bool

    def __str__(self) -> str:
        """Return the text that documents hold: `+debt`, `-debt`."""
        return f"{'+' if self.added else '-'}{self.reason.value}"

    def inverse(self) -> ReasonChange:
        """Return the change that takes this one back."""
        return ReasonChange(self.reason, not self.added)


@dataclass(frozen=True, slots=True)
class TariffChange:
    """A service's tariff that is replaced by another."""

    before: str
    after: str

    def inverse(self) -> TariffChange:
        """Return the change that takes this one back."""
        return TariffChange(self.after, self.before)


ENTRY_FIELDS: Final = ("login", "method", "protected", "feeds")
"""Fields of a service's inventory entry that decide whether a change reaches the service, and whether it may."""


@dataclass(frozen=True, slots=True)
class EntryFieldChange:
    """A field of a service's inventory entry, out of `ENTRY_FIELDS`, that is replaced. The network is not touched."""

    name: str
    before: str
    after: str

    def inverse(self) -> EntryFieldChange:
        """Return the change that takes this one back."""
        return EntryFieldChange(self.name, self.after, self.before)


@dataclass(frozen=True, slots=True)
class EntryChange:
    """A service that is taken into the inventory (`added`) or out of it. `entry`: all that is known of it, as JSON."""

    entry: str
    added: bool

    def inverse(self) -> EntryChange:
        """Return the change that takes this one back."""
        return EntryChange(self.entry, not self.added)


@dataclass(frozen=True, slots=True)
class CpeChange:
    """A CPE, by its name, that is accepted for the service (`added`), or no longer is. Secrets may then go into it."""

    cpe: str
    added: bool

    def inverse(self) -> CpeChange:
        """Return the change that takes this one back."""
        return CpeChange(self.cpe, not self.added)


DesiredChange = ReasonChange | TariffChange | EntryFieldChange | EntryChange | CpeChange
"""The change that an applied item records about its service."""


_ENTRY: Final = "entry="
_CPE: Final = "cpe="
_ENTRY_FIELD_PAIRS: Final = tuple({name, f"was-{name}"} for name in ENTRY_FIELDS)


def write_changes(changes: Sequence[DesiredChange]) -> list[str]:
    """Return changes as an item's document holds them.

    `+debt`, `-debt`; `was=Home 20M` and `tariff=Home 50M`; `was-login=amina` and `login=amina.h`, and likewise of
    each field in `ENTRY_FIELDS`; `+entry={…}`, `-entry={…}`; `+cpe=NAME`, `-cpe=NAME`.
    """
    texts: list[str] = []
    for change in changes:
        match change:
            case ReasonChange():
                texts.append(str(change))
            case TariffChange():
                texts += [f"was={change.before}", f"tariff={change.after}"]
            case EntryFieldChange(name, before, after):
                texts += [f"was-{name}={before}", f"{name}={after}"]
            case EntryChange():
                texts.append(f"{'+' if change.added else '-'}{_ENTRY}{change.entry}")
            case CpeChange():
                texts.append(f"{'+' if change.added else '-'}{_CPE}{change.cpe}")
    return texts


def read_changes_untrusted(texts: Sequence[str]) -> tuple[DesiredChange, ...]:
    """Return the changes that a document's texts name.

    The two texts of a tariff may come in either order: earlier agents wrote `tariff=` first when they reverted one.

    Raises:
        MalformedStatementError: a text of another form, a reason that is not known, or half of a tariff's pair.
    """
    changes: list[DesiredChange] = []
    rest = iter(texts)
    for one in rest:
        if one[:1] in ("+", "-"):
            changes.append(_read_signed(one[1:], added=one[0] == "+"))
            continue
        pair = dict(part.split("=", 1) for part in (one, next(rest, "")) if "=" in part)
        if pair.keys() == {"was", "tariff"}:
            changes.append(TariffChange(pair["was"], pair["tariff"]))
        elif pair.keys() in _ENTRY_FIELD_PAIRS:
            name = next(iter(pair.keys() & set(ENTRY_FIELDS)))
            changes.append(EntryFieldChange(name, pair[f"was-{name}"], pair[name]))
        else:
            raise MalformedStatementError(
                "item: desired: expected +REASON, -REASON, +entry=, -entry=, +cpe=, -cpe=, or a pair of was=TARIFF"
                f" and tariff=TARIFF, or of was-FIELD=TEXT and FIELD=TEXT with a field out of {', '.join(ENTRY_FIELDS)}"
            )
    return tuple(changes)


def _read_signed(text: str, *, added: bool) -> DesiredChange:
    """Return the change of a text that began with a sign."""
    if text.startswith(_ENTRY):
        return EntryChange(text.removeprefix(_ENTRY), added)
    if text.startswith(_CPE):
        return CpeChange(text.removeprefix(_CPE), added)
    try:
        return ReasonChange(SuspensionReason(text), added)
    except ValueError as err:
        known = ", ".join(reason.value for reason in SuspensionReason)
        raise MalformedStatementError(f"item: desired: expected one of the reasons {known}") from err


class Listed(enum.Enum):
    """Why an item is in the list: it would change, or it would not and says why."""

    CHANGE = "change"
    EXCLUDED = "excluded"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Item:
    """One subject of a change. `subject` is a service (`C-10482/home`), or None for a device change.

    `display` is text for people; `desired` is recorded about the service once the item is applied.
    `reason` says why an item is blocked or excluded (a short code; `display["why_not"]` explains).
    """

    n: int
    salt: str
    subject: str | None
    listed: Listed
    reason: str
    display: Mapping[str, str]
    requires: tuple[Requirement, ...] = ()
    steps: tuple[Step, ...] = ()
    enforce: Enforcement | None = None
    desired: tuple[DesiredChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Wave:
    """Items `first` to `last` (numbers, inclusive), then a soak of `soak_s` seconds and the health test."""

    first: int
    last: int
    soak_s: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and when to stop by itself: starts per second and target, percent of failed items, lost sessions."""

    per_target_per_s: int
    stop_failed_percent: int
    stop_lost_sessions: int
    stop_failed_least: int = 1
    """Fewer failed items than this never stop a run. It is written only where it is more than one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Leaf 0: the fields that all items have in common. `counts` are exact and stay with the items; the plan has
    buckets.
    """

    plan_id: str
    salt: str
    items_n: int
    counts: Mapping[str, int]
    waves: tuple[Wave, ...]
    pace: Pace
    config_sha256: str
    display: Mapping[str, str] = field(default_factory=dict)


# --- documents ------------------------------------------------------------------------------------------------------


FieldJson = str | list[str] | dict[str, str]


def value_json(value: Value) -> dict[str, FieldJson] | None:
    """Return the JSON of `encode_value` before it is bytes: a value that becomes a part of a larger document."""
    if isinstance(value, Absent):
        return None
    return {k: f if isinstance(f, str) else _field_json(f) for k, f in value.items()}


def _field_json(f: SecretRef | tuple[str, ...]) -> FieldJson:
    return {"secret": f.commit} if isinstance(f, SecretRef) else list(f)


def _effect_json(e: Effect) -> object:
    return {
        "address": e.address,
        "verb": e.verb,
        "args": dict(e.args),
        "key": e.key,
        "replay": e.replay.value,
        "proof": e.proof.value if e.proof else None,
        "within_s": e.within_s,
    }


def _transition_json(t: Transition) -> object:
    return {
        "address": t.address,
        "before": value_json(t.before.value),
        "at_s": t.before.at_s,
        "live": t.before.live,
        "after": value_json(t.after),
        "unprovable": sorted(t.unprovable),
    }


def _step_json(s: Step) -> object:
    do: dict[str, object] = (
        {"effect": _effect_json(s.do)}
        if isinstance(s.do, Effect)
        else {"transitions": [_transition_json(t) for t in s.do]}
    )
    return {
        "n": s.n,
        "target": s.target,
        **do,
        "after": list(s.after),
        "on_revert": [_effect_json(e) for e in s.on_revert],
        **({"unless": list(s.fallback_for)} if s.fallback_for else {}),
        **({} if s.guard is GuardKind.NONE else {"guard": s.guard.value}),
    }


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _dump(document: object) -> bytes:
    # Key order is kept: the order of a row set's fields has a meaning (FreeRADIUS reads rows in order).
    return _ENCODER.encode(document).encode()


def encode_item(item: Item) -> bytes:
    """Return the item's document, UTF-8 JSON on one line. Not canonical: sign and keep these very bytes."""
    return _dump(
        {
            "n": item.n,
            "salt": item.salt,
            "subject": item.subject,
            "listed": item.listed.value,
            "reason": item.reason,
            "display": dict(item.display),
            "requires": [{"address": r.address, "test": r.test, "shown": r.shown} for r in item.requires],
            "steps": [_step_json(s) for s in item.steps],
            "enforce": None
            if item.enforce is None
            else {
                "target": item.enforce.target,
                "address": item.enforce.address,
                "expect": dict(item.enforce.expect),
                "within_s": item.enforce.within_s,
            },
            "desired": write_changes(item.desired),
        }
    )


def encode_head(head: Head) -> bytes:
    """Return the head's document, UTF-8 JSON on one line."""
    return _dump(
        {
            "plan_id": head.plan_id,
            "salt": head.salt,
            "items_n": head.items_n,
            "counts": dict(head.counts),
            "waves": [{"first": w.first, "last": w.last, "soak_s": w.soak_s} for w in head.waves],
            "pace": {
                "per_target_per_s": head.pace.per_target_per_s,
                "stop_failed_percent": head.pace.stop_failed_percent,
                "stop_lost_sessions": head.pace.stop_lost_sessions,
                **({"stop_failed_least": head.pace.stop_failed_least} if head.pace.stop_failed_least != 1 else {}),
            },
            "config_sha256": head.config_sha256,
            "display": dict(head.display),
        }
    )


_T = TypeVar("_T")


def encode_value(value: Value) -> bytes:
    """Return a value's document: a JSON object of fields, or `null` for ABSENT."""
    return _dump(value_json(value))


_SECRET: Final = record(SecretRef)(commit=called("secret", hexed(32)))
_VALUE: Final[Value] = if_null(values(_SECRET), ABSENT)
_ADDRESS: Final = Address(text())


def _alone(v: Value) -> Value:
    return v


_ALONE: Final = record(_alone)(v=_VALUE)


def decode_value_untrusted(data: bytes) -> Value:
    """Read the output of `encode_value`.

    Raises:
        MalformedStatementError: not that document.
    """
    return read_record_untrusted(_ALONE, b'{"v":' + data + b"}", limits.ITEM_BYTES, "value")


def _guard(r: Reader, key: str) -> GuardKind:
    """Return the guard. "None" has one spelling, its absence: documents from before guards keep their bytes."""
    guard = r.enum(key, GuardKind)
    if guard is GuardKind.NONE:
        raise r.error(key, "should be left out where there is none")
    return guard


_EFFECT: Final = record(Effect)(
    address=_ADDRESS,
    verb=text(),
    args=text_map(),
    key=text(),
    replay=member(Replay),
    proof=if_null(member(ProofKind), None),
    within_s=integer(0, limits.SECONDS_MAX),
)


def _transition(
    address: Address, before: Value, at_s: int, *, live: bool, after: Value, unprovable: tuple[str, ...]
) -> Transition:
    return Transition(address, Seen(before, at_s, live), after, frozenset(unprovable))


_TRANSITION: Final = record(_transition)(
    address=_ADDRESS,
    before=_VALUE,
    at_s=integer(0, limits.SECONDS_MAX),
    live=boolean(),
    after=_VALUE,
    unprovable=texts(),
)
_STEP: Final = record(Step)(
    n=integer(1, limits.STEPS_MAX),
    target=text(),
    do=either("effect", _EFFECT, called("transitions", each(_TRANSITION))),
    after=integers(1, limits.STEPS_MAX),
    on_revert=each(_EFFECT),
    fallback_for=called("unless", if_present(integers(1, limits.STEPS_MAX), ())),
    guard=if_present(by(_guard), GuardKind.NONE),
)
_ENFORCEMENT: Final = record(Enforcement)(
    target=text(), address=_ADDRESS, expect=text_map(), within_s=integer(0, limits.SECONDS_MAX)
)
_ITEM: Final = record(Item)(
    n=integer(1, limits.ITEMS_MAX),
    salt=hexed(16),
    subject=if_null(text(), None),
    listed=member(Listed),
    reason=text(),
    display=text_map(),
    requires=each(record(Requirement)(address=_ADDRESS, test=text(), shown=text())),
    steps=each(_STEP),
    enforce=if_null(_ENFORCEMENT, None),
    desired=by(lambda r, name: read_changes_untrusted(r.texts(name))),
)
_HEAD: Final = record(Head)(
    plan_id=hexed(16),
    salt=hexed(16),
    items_n=integer(0, limits.ITEMS_MAX),
    counts=integer_map(0, limits.ITEMS_MAX),
    waves=each(
        record(Wave)(
            first=integer(1, limits.ITEMS_MAX),
            last=integer(0, limits.ITEMS_MAX),
            soak_s=integer(0, limits.SECONDS_MAX),
        )
    ),
    pace=record(Pace)(
        per_target_per_s=integer(0, limits.SECONDS_MAX),
        stop_failed_percent=integer(0, 100),
        stop_lost_sessions=integer(0, limits.ITEMS_MAX),
        stop_failed_least=if_present(integer(2, limits.ITEMS_MAX), 1),
    ),
    config_sha256=hexed(32),
    display=text_map(),
)


def decode_item_untrusted(data: bytes) -> Item:
    """Read one item document.

    Raises:
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    item = read_record_untrusted(_ITEM, data, limits.ITEM_BYTES, "item")
    for index, step in enumerate(item.steps, start=1):
        if step.n != index or any(a >= step.n for a in step.after):
            raise MalformedStatementError(f"item: expected steps 1..n that follow earlier ones, got step {step.n}")
        earlier = [n for n in step.fallback_for if n < step.n and isinstance(item.steps[n - 1].do, Effect)]
        if step.fallback_for and (len(earlier) < len(step.fallback_for) or not isinstance(step.do, Effect)):
            raise MalformedStatementError(f"item: expected a fallback for earlier effects, got step {step.n}")
        if step.guard is not GuardKind.NONE and isinstance(step.do, Effect):
            raise MalformedStatementError(f"item: expected a guard on transitions only, got step {step.n}")
    return item


def decode_head_untrusted(data: bytes) -> Head:
    """Read the head document (leaf 0).

    Raises:
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    return read_record_untrusted(_HEAD, data, limits.ITEM_BYTES, "items head")


def guard_of(found: Iterable[Item]) -> GuardKind:
    """Return the guard of a plan: that of its writes if each has it, else none.

    One write without a guard can lose the device.
    """
    guards = {step.guard for item in found for step in item.steps if not isinstance(step.do, Effect)}
    return guards.pop() if len(guards) == 1 else GuardKind.NONE


# --- the tree -------------------------------------------------------------------------------------------------------


def items_root(documents: Sequence[bytes]) -> bytes:
    """Return the root over head and items, in that order, 32 bytes (RFC 6962 section 2.1)."""
    return merkle.root([merkle.leaf_hash(d) for d in documents])


@dataclass(frozen=True, slots=True)
class ErasedDocument:
    """An item's document that nobody can open any more. `leaf`: its leaf hash, 32 bytes, by which others are proven."""

    leaf: bytes


@dataclass(frozen=True, slots=True)
class Items:
    """A plan's head and items, decoded from the documents that hash to its `items_root`.

    `erased`: the numbers of items with a document that cannot be opened any more; they stand there as items without
    subject and steps, and their documents as empty bytes.
    """

    head: Head
    items: tuple[Item, ...]
    documents: tuple[bytes, ...]
    erased: frozenset[int] = frozenset()


def open_items_untrusted(documents: Sequence[bytes | ErasedDocument], root: bytes, plan_id: str) -> Items:
    """Return head and items once the documents prove to be the ones that the plan signed.

    Raises:
        MalformedStatementError: the root differs, the head belongs to another plan, or a document is malformed.
    """
    erased = frozenset(i for i, d in enumerate(documents) if isinstance(d, ErasedDocument))
    leaves = [d.leaf if isinstance(d, ErasedDocument) else merkle.leaf_hash(d) for d in documents]
    if not documents or 0 in erased or merkle.root(leaves) != root:
        raise MalformedStatementError("items: the documents do not hash to the plan's items_root")
    there = tuple(b"" if isinstance(d, ErasedDocument) else d for d in documents)
    head = _in_document(0, decode_head_untrusted, there[0])
    items = tuple(
        _erased_item(i) if i in erased else _in_document(i, decode_item_untrusted, d) for i, d in enumerate(there) if i
    )
    if head.plan_id != plan_id or head.items_n != len(items):
        raise MalformedStatementError(
            f"items: expected plan {plan_id} with {head.items_n} items, got plan {head.plan_id} with {len(items)}"
        )
    for index, item in enumerate(items, start=1):
        if item.n != index:
            raise MalformedStatementError(f"items: expected item {index} at leaf {index}, got item {item.n}")
    return Items(head, items, there, erased)


def _erased_item(n: int) -> Item:
    return Item(n, "", None, Listed.EXCLUDED, "erased", {})


def _in_document(index: int, decode: Callable[[bytes], _T], data: bytes) -> _T:
    try:
        return decode(data)
    except MalformedStatementError as err:
        raise MalformedStatementError(f"items: document {index}: {err}") from err
