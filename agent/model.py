"""The words of the main job: the parts of a change.

The signed half (transitions, effects, steps, items, waves) lives in `trust.items`, since the approved document is the
one that runs; this module re-exports it and adds parts that never leave the agent: services, targets, verdicts, item
states.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trust.items import (
    ABSENT,
    ENTRY_FIELDS,
    Absent,
    Address,
    CpeChange,
    DesiredChange,
    Effect,
    EffectKind,
    Enforcement,
    EntryChange,
    EntryFieldChange,
    Field,
    GuardKind,
    Head,
    Item,
    Items,
    Listed,
    Pace,
    ProofKind,
    ReasonChange,
    Replay,
    Requirement,
    SecretRef,
    Seen,
    Step,
    SuspensionReason,
    TariffChange,
    Transition,
    Value,
    Wave,
    write_changes,
)

__all__ = [
    "ABSENT",
    "ENTRY_FIELDS",
    "Absent",
    "Access",
    "Address",
    "CpeChange",
    "DesiredChange",
    "Direction",
    "Effect",
    "EffectKind",
    "Enforcement",
    "EntryChange",
    "EntryFieldChange",
    "Field",
    "GuardKind",
    "Head",
    "Item",
    "ItemState",
    "Items",
    "Listed",
    "Pace",
    "ProofKind",
    "ReasonChange",
    "Replay",
    "Requirement",
    "SecretRef",
    "Seen",
    "Service",
    "ServiceState",
    "Step",
    "StepOutcome",
    "SuspensionReason",
    "Target",
    "TariffChange",
    "Ticket",
    "Transition",
    "Value",
    "Verdict",
    "Wave",
    "by_target",
    "target_of",
    "write_changes",
]


@dataclass(frozen=True, slots=True)
class Target:
    """A system that changes are made on. `id` is CONNECTOR/NAME; `identity` pins which one it is (may be empty)."""

    id: str
    kind: str
    identity: bytes = b""


def target_of(address: Address) -> str:
    """Return the id of the target that an address belongs to: its first two words, CONNECTOR/NAME."""
    return "/".join(address.split("/", 2)[:2])


def by_target(addresses: Collection[Address]) -> Mapping[str, list[Address]]:
    """Return the addresses by the target that they belong to, each once."""
    found: dict[str, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        found.setdefault(target_of(address), []).append(address)
    return found


class Access(enum.Enum):
    """The wanted state of a subscriber's service."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state wanted of a service."""

    access: Access
    tariff: str


@dataclass(frozen=True, slots=True)
class Service:
    """A subscriber's service as the inventory knows it: the subject of changes.

    `reasons` are why it is suspended by us (empty: active). `extra` holds the columns of
    the import that have no meaning here.
    """

    ref: str
    subscriber: str
    name: str
    service: str
    login: str
    method: str
    tariff: str
    protected: str = ""
    feeds: int = 0
    reasons: frozenset[SuspensionReason] = frozenset()
    extra: Mapping[str, str] | None = None


class Verdict(enum.Enum):
    """The verdict on a step, from reading the device again."""

    APPLIED = "applied"
    NOT_APPLIED = "not-applied"
    DIVERGED = "diverged"
    UNKNOWN = "unknown"


class Direction(enum.Enum):
    """A step as planned, or its declared inverse."""

    FORWARD = "forward"
    REVERT = "revert"

    __hash__ = object.__hash__
    """Each member is one object; Enum's own hash is that of a name, two calls for each look into a table."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to perform one step once: given by the journal when "about to" is durable, void after its outcome.

    `do` is sent: the step's transitions (inverted for a revert), or its effect. `bound` holds the sessions that the
    effect was found to act on just before (address of each -> value read); empty for transitions.
    """

    plan_id: str
    item: int
    step: int
    direction: Direction
    attempt: int
    target: str
    do: tuple[Transition, ...] | Effect
    bound: Mapping[Address, Seen]
    deadline_s: float
    """Monotonic (boot-time) clock: nothing is sent at or after it."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The result of a ticket. `observed` holds the values read back, by address."""

    verdict: Verdict
    reason: str
    detail: str = ""
    observed: Mapping[Address, Seen] | None = None


class ItemState(enum.Enum):
    """The one list of item states. `agent.changes.journal.machine` holds every way from one to another."""

    PLANNED = "planned"
    BLOCKED = "blocked"
    EXCLUDED = "excluded"
    WAITING = "waiting"
    RUNNING = "running"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    STALE = "stale"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NOT_APPLIED = "not-applied"
    APPLIED = "applied"
    ACCEPTED = "accepted"
    SET_AT_NEXT_LOGIN = "set-at-next-login"
    SET_NOT_ENFORCED = "set-not-enforced"
    DIVERGED = "diverged"
    REVERTED = "reverted"
    NEEDS_A_PERSON = "needs-a-person"

    __hash__ = object.__hash__  # as of Direction
