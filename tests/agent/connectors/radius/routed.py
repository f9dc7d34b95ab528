"""RADIUS with its routers: a recipe that plans and judges as it is told, and what the routers read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.connectors.base import AccessMethod, AccessPlan, Enforced, Judgment, LiveSession, NetworkState
from agent.connectors.radius.addresses import sessions_of
from agent.connectors.radius.routed_access import RoutedAccess
from agent.connectors.radius.schema import Method
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.hosting import RouterHost
from agent.model import (
    ABSENT,
    Access,
    Address,
    Effect,
    Enforcement,
    ProofKind,
    Replay,
    Seen,
    Service,
    ServiceState,
    Step,
    Transition,
    Value,
)

LOGIN = "amina.h"


SERVICE = Service("C-1/home", "C-1", "Amina", "home", LOGIN, "pppoe", "Home 20M")


SUSPENDED_ONE = replace(SERVICE, reasons=frozenset({"debt"}))


SUSPEND, RESTORE = ServiceState(Access.SUSPENDED, "Home 20M"), ServiceState(Access.ACTIVE, "Home 20M")


METHOD = Method("pppoe", "radius/main", {"Mikrotik-Address-List": "suspended"}, {"Home 20M": "home20"})


ROUTERS = {"10.0.0.1": "routeros/bng-1", "10.0.0.2": "routeros/bng-2"}


HOSTS = {"routeros": RouterHost()}


WHERE = Address(f"radius/main/sessions/{LOGIN}")


DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}


FAST = {"chain": "forward", "action": "fasttrack-connection"}


SESSION = {"login": LOGIN, "nas": "10.0.0.1", "ip": "100.64.0.9", "sid": "81000001"}


class Inner:
    """A RADIUS recipe that always plans a write and a disconnect, and judges as it is told."""

    target = "radius/main"

    def __init__(self, verdict: Judgment | None = None, *, coa: bool = False) -> None:
        self.verdict = verdict or Judgment(Enforced.YES, "inferred", "new session")
        self.coa = coa
        self.as_wanted = False

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return [a for a in (WHERE,) if a not in seen]

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        told = [
            LiveSession(s["nas"], "accounting", None, s["ip"], s, None, "not-told")
            for s in sessions_of(seen[WHERE].value).values()
        ]
        return NetworkState(Access.ACTIVE, tariff="Home 20M", sessions=tuple(told))

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        if self.as_wanted:
            return AccessPlan((), None, {"after": "pay page only"}, (WHERE,))
        write = Step(1, self.target, (Transition(Address("radius/main/user/x"), Seen(ABSENT, 0), {"a": "b"}),))
        rungs = [Step(2, self.target, effect("coa", None), (1,))] if self.coa else []
        n = len(rungs) + 2
        drop = Step(n, self.target, effect("disconnect"), (1,), (effect("disconnect"),), tuple(range(2, n)))
        enforce = Enforcement(self.target, WHERE, {"method": "pppoe", "state": wanted.access.value}, 60)
        return AccessPlan((write, *rungs, drop), enforce, {"after": "pay page only"})

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        return AccessPlan((Step(1, self.target, effect("disconnect")),), None, {})

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        return self.verdict

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address] = ()
    ) -> Collection[Address]:
        return [a for a in (WHERE,) if a not in seen]


def effect(verb: str, proof: ProofKind | None = ProofKind.GONE) -> Effect:
    return Effect(WHERE, verb, {}, f"C-1/home:{verb}", Replay.IF_UNPROVEN, proof, 20)


def recipe(inner: Inner | None = None, method: Method = METHOD) -> AccessMethod:
    return RoutedAccess(inner or Inner(), method, ROUTERS, HOSTS)


def seen_of(
    sessions: Sequence[Mapping[str, str]] = (),
    *,
    rules: Sequence[Mapping[str, str]] = (DROP, FAST),
    secret_on: str = "",
    listed: Sequence[str] = (),
    queues: Sequence[Mapping[str, str]] = (),
    only_here: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]] = MappingProxyType({}),
) -> dict[Address, Seen]:
    found: Value = {f"u{n}": tuple(f"{k}={v}" for k, v in s.items()) for n, s in enumerate(sessions)} or ABSENT
    values: dict[str, Value] = {WHERE: found}
    for router in ("bng-1", "bng-2"):
        base = f"routeros/{router}"
        values[f"{base}/ip/filter/all"] = rows_value((str(n), rule) for n, rule in enumerate(rules))
        values[f"{base}/ppp/secret/{LOGIN}"] = {"name": LOGIN} if secret_on == router else ABSENT
        values[f"{base}/ppp/active/{LOGIN}"] = rows_value(only_here.get(router, ()))
        values[f"{base}/ppp/flows/{LOGIN}"] = ABSENT
        values[f"{base}/ip/members/suspended"] = dict.fromkeys(listed, "dynamic") or ABSENT
        values[f"{base}/queue/order/all"] = rows_value((str(n), queue) for n, queue in enumerate(queues))
    return {Address(a): Seen(v, 1_700_000_000) for a, v in values.items()}
