"""A subscriber's PPP secret as a router reads it, and what an access method answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from agent.connectors.base import AccessPlan, CannotEnforce
from agent.connectors.routeros.access import PppAccess
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.schema import PppMethod
from agent.model import ABSENT, Access, Address, SecretRef, Seen, Service, ServiceState, Value

NOW_S = 1_700_600_000
METHOD = PppMethod(
    "ppp", "routeros/edge-1", "suspended", {"Home 20M": "home20", "Home 50M": "home50"}, disconnect_within_s=20
)
SERVICE = Service("C-10482/home", "C-10482", "Amina Hassan", "home", "amina.h", "ppp", "Home 20M")
SUSPEND = ServiceState(Access.SUSPENDED, "Home 20M")
RESTORE = ServiceState(Access.ACTIVE, "Home 20M")
UPGRADE = ServiceState(Access.ACTIVE, "Home 50M")
SECRET: Mapping[str, str | SecretRef] = {
    "name": "amina.h",
    "profile": "home20",
    "disabled": "false",
    "password": SecretRef("ab" * 32),
}
SUSPENDED = {**SECRET, "profile": "suspended", "comment": "isp:suspended"}
PROFILES: Mapping[str, Value] = {
    "home20": {"name": "home20", "rate-limit": "20M/20M"},
    "home50": {"name": "home50", "rate-limit": "50M/50M"},
    "suspended": {"name": "suspended", "address-list": "suspended"},
}
RULES = [("1", {"chain": "forward", "action": "drop", "src-address-list": "suspended"})]
ESTABLISHED = {"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"}
FASTTRACK = [("0", ESTABLISHED), *RULES]
FLOW = [("tcp 100.64.12.9:50001 198.51.100.1:443", {"fasttrack": "true"})]
SESSION = {"login": "amina.h", "address": "100.64.12.9", "caller-id": "AA:BB"}
ONLINE = [("0x81", SESSION)]


def at(resource: str, key: str) -> Address:
    return Address(f"routeros/edge-1/{resource}/{key}")


def members(lists: Collection[str], addresses: Collection[str]) -> dict[Address, Value]:
    """Every list that the tests' profiles name, with the addresses in those of `lists`."""
    return {
        at("ip/members", name): (dict.fromkeys(addresses, "dynamic") if name in lists else {}) or ABSENT
        for name in ("suspended", "other", "shaped", "blocked")
    }


def seen_of(
    secret: Value = SECRET,
    sessions: list[tuple[str, dict[str, str]]] | None = None,
    profiles: Mapping[str, Value] = PROFILES,
    rules: list[tuple[str, dict[str, str]]] | None = None,
    lists: tuple[str, ...] = (),
    flows: list[tuple[str, dict[str, str]]] | None = None,
    radius: str = "false",
) -> dict[Address, Seen]:
    online = sessions or []
    values: dict[Address, Value] = {
        at("ppp/secret", "amina.h"): secret,
        at("ppp/active", "amina.h"): rows_value(online),
        at("ppp/began", "amina.h"): {sid: str(NOW_S - 6 * 86_400) for sid, _ in online} or ABSENT,
        at("ppp/flows", "amina.h"): rows_value(flows or []),
        at("ppp/aaa", "all"): {"use-radius": radius},
        at("ip/filter", "all"): rows_value(RULES if rules is None else rules),
        **members(lists, [row["address"] for _, row in online]),
        **{at("ppp/profile", name): value for name, value in profiles.items()},
    }
    return {where: Seen(value, NOW_S) for where, value in values.items()}


def planned(
    wanted: ServiceState = SUSPEND, method: PppMethod = METHOD, service: Service = SERVICE, **seen: object
) -> AccessPlan | CannotEnforce:
    return PppAccess(method).plan(wanted, service, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


RECIPE, ROW = PppAccess, at("ppp/secret", "amina.h")
ALIKE = replace(METHOD, tariffs={**METHOD.tariffs, "Home 20M again": "home20"})
METHODS = {"profile": METHOD, "alike": ALIKE}
