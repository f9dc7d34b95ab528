"""The trust document: people, their keys and roles at one operator, and the needs of each risk class.

Payload type `application/vnd.ispagents.trust.v0+json`. This module defines its shape; `chain` judges one document after
another, and each by itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from trust import limits
from trust.policy import (
    WEEK_MINUTES,
    Action,
    Channel,
    PolicyClass,
    RiskClass,
    Role,
    ServiceRequester,
    UnknownRequester,
    Window,
)
from trust.strict_json import Reader

ED25519: Final = "ed25519"
"""The one key kind that is counted; keys of kinds that we do not know are kept and never counted."""

EVERYWHERE: Final = "all"
"""The scope of a person who may act on every agent."""

UNKNOWN: Final = "unknown"
"""The requester of a plan whose requester is unknown; no person may have this handle."""


class WitnessOperator(enum.Enum):
    """The operator of a witness: "witnessed" is said only with one that the cloud does not run."""

    CLOUD = "cloud"
    OWN = "own"
    THIRD = "third"


@dataclass(frozen=True, slots=True)
class RootKey:
    """A key that signs trust documents, and its owner. `pub` is hex."""

    person: str
    pub: str


@dataclass(frozen=True, slots=True)
class Root:
    """The keys that may change the document: those of `threshold` distinct people."""

    threshold: int
    keys: tuple[RootKey, ...]


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A key of a person or service. `pub` is hex; `not_after` unix seconds, 0: as long as the document."""

    kind: str
    pub: str
    not_after: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A person by handle. `scope` lists agent ids, or `all`; empty is nowhere."""

    handle: str
    roles: tuple[Role, ...]
    scope: tuple[str, ...]
    sees_subscribers: bool
    keys: tuple[PersonKey, ...]


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A program that may request (billing), never approve. `run_by`: handle of the person that runs it; empty: unknown.

    That person approves nothing that it asks for. Once they are none of the people any more, it is run by nobody known.
    """

    service: str
    keys: tuple[PersonKey, ...]
    run_by: str = field(default="", metadata={"optional": True})


@dataclass(frozen=True, slots=True)
class TrustedAgent:
    """An agent. `agent` is its id, 32 hex digits; `plan_key` hex; `log_key` a verifier key (C2SP vkey)."""

    agent: str
    handle: str
    plan_key: str
    log_key: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of agents' logs: its verifier keys, and its operator."""

    name: str
    vkeys: tuple[str, ...]
    operated_by: WitnessOperator


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many witnesses must confirm, and how many of them the cloud does not run. 0: the rule is off."""

    n: int
    non_cloud: int


@dataclass(frozen=True, slots=True)
class Trust:
    """One version of the document.

    `prev` is the digest of the version before (64 zeros in version 1); `issued` and `expires` are unix seconds.
    """

    trust_id: str
    version: int
    prev: str
    issued: int
    expires: int
    root: Root
    people: tuple[Person, ...]
    services: tuple[ServiceAccount, ...]
    agents: tuple[TrustedAgent, ...]
    policy: tuple[PolicyClass, ...]
    witnesses: tuple[Witness, ...] = ()
    quorum: Quorum = Quorum(0, 0)

    def person(self, handle: str) -> Person | None:
        """Return the person with this handle."""
        return next((p for p in self.people if p.handle == handle), None)

    def program(self, handle: str) -> ServiceAccount | None:
        """Return the program that may request under this handle."""
        return next((s for s in self.services if s.service == handle), None)

    def agent(self, agent_id: str) -> TrustedAgent | None:
        """Return the agent with this id."""
        return next((a for a in self.agents if a.agent == agent_id), None)

    def policy_class(self, risk_class: RiskClass) -> PolicyClass | None:
        """Return the needs of the class; None: such plans are refused."""
        return next((c for c in self.policy if c.risk_class is risk_class), None)

    def people_by_key(self) -> dict[bytes, Person]:
        """Return the person behind each Ed25519 key, expired keys too: so that their signatures can be named."""
        return {bytes.fromhex(k.pub): p for p in self.people for k in p.keys if k.kind == ED25519}


def key_in_force(keys: tuple[PersonKey, ...], public: bytes, now_s: int) -> bool:
    """Return whether `public` is one of `keys` and not past its `not_after`."""
    return any(k.pub == public.hex() and k.kind == ED25519 and (not k.not_after or now_s <= k.not_after) for k in keys)


# --- reading --------------------------------------------------------------------------------------------------------


def read_trust(r: Reader) -> Trust:
    """Return the document that `r` holds; `crit` and `done` are the caller's.

    Raises:
        MalformedStatementError: a field missing, unknown, of the wrong type or out of range.
    """
    root, quorum = r.object("root"), r.object("quorum")
    trust = Trust(
        trust_id=r.hex("trust_id", 16),
        version=r.integer("version", 1, limits.SECONDS_MAX),
        prev=r.hex("prev", 32),
        issued=r.integer("issued", 0, limits.SECONDS_MAX),
        expires=r.integer("expires", 0, limits.SECONDS_MAX),
        root=Root(root.integer("threshold", 1, limits.PEOPLE_MAX), tuple(map(_root_key, root.objects("keys")))),
        people=tuple(map(_person, r.objects("people"))),
        services=tuple(map(_service, r.objects("services"))),
        agents=tuple(map(_agent, r.objects("agents"))),
        policy=tuple(map(_policy_class, r.objects("policy"))),
        witnesses=tuple(map(_witness, r.objects("witnesses"))),
        quorum=Quorum(quorum.integer("n", 0, limits.KEYS_MAX), quorum.integer("non_cloud", 0, limits.KEYS_MAX)),
    )
    root.done()
    quorum.done()
    return trust


def _root_key(r: Reader) -> RootKey:
    key = RootKey(r.handle("person"), r.hex("pub", 32))
    r.done()
    return key


def _key(r: Reader) -> PersonKey:
    kind = r.handle("kind")
    # Of kinds that we do not know, the bytes are somebody else's business: kept, not judged
    pub = r.hex("pub", 32) if kind == ED25519 else r.text("pub")
    key = PersonKey(kind, pub, r.integer("not_after", 0, limits.SECONDS_MAX))
    r.done()
    return key


def _person(r: Reader) -> Person:
    person = Person(
        handle=r.handle("handle"),
        roles=r.enums("roles", Role),
        scope=tuple(r.texts("scope")),
        sees_subscribers=r.boolean("sees_subscribers"),
        keys=tuple(map(_key, r.objects("keys"))),
    )
    r.done()
    return person


def _service(r: Reader) -> ServiceAccount:
    run_by = r.handle("run_by") if r.has("run_by") else ""
    service = ServiceAccount(r.handle("service"), tuple(map(_key, r.objects("keys"))), run_by)
    r.done()
    return service


def _agent(r: Reader) -> TrustedAgent:
    agent = TrustedAgent(r.hex("agent", 16), r.handle("handle"), r.hex("plan_key", 32), r.text("log_key"))
    r.done()
    return agent


def _witness(r: Reader) -> Witness:
    witness = Witness(r.handle("name"), tuple(r.texts("vkeys")), r.enum("operated_by", WitnessOperator))
    r.done()
    return witness


def _window(r: Reader) -> Window:
    window = Window(r.integer("start", 0, WEEK_MINUTES), r.integer("end", 0, WEEK_MINUTES))
    r.done()
    return window


def _policy_class(r: Reader) -> PolicyClass:
    entry = PolicyClass(
        risk_class=r.enum("risk_class", RiskClass),
        actions=r.enums("actions", Action),
        # At least 1: a class that nobody need approve would be a standing authority, which is another statement (T6)
        approvals=r.integer("approvals", 1, limits.PEOPLE_MAX),
        roles=r.enums("roles", Role),
        needs_detail=r.boolean("needs_detail"),
        unknown_requester=r.enum("unknown_requester", UnknownRequester),
        max_ttl_s=r.integer("max_ttl_s", 60, 86_400),
        max_items=r.integer("max_items", 1, limits.ITEMS_MAX),
        budget_per_hour=r.integer("budget_per_hour", 1, limits.ITEMS_MAX),
        windows=tuple(map(_window, r.objects("windows"))),
        channel=r.enum("channel", Channel),
        owner_required=r.boolean("owner_required"),
        service_requester=r.enum("service_requester", ServiceRequester) if r.has("service_requester") else None,
    )
    r.done()
    return entry
