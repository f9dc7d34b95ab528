"""A hotspot user as a router reads it, and what its access method plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from agent.connectors.base import AccessPlan, CannotEnforce
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.hotspot_access import HotspotAccess
from agent.connectors.routeros.schema import HotspotMethod
from agent.model import ABSENT, Address, SecretRef, Seen, ServiceState, Value
from tests.agent.connectors.routeros.ppp_recipe import (
    NOW_S,
    PROFILES,
    RULES,
    SERVICE,
    SUSPEND,
    at,
    members,
)
from tests.agent.connectors.routeros.ways import closed_ways

GARDEN = HotspotMethod("hotspot", "routeros/edge-1", {"Home 20M": "home20", "Home 50M": "home50"}, "suspended")
DISABLE = replace(GARDEN, suspended_profile="")
USER: Mapping[str, str | SecretRef] = {
    "name": "amina.h",
    "profile": "home20",
    "disabled": "false",
    "default": "false",
    "mac-address": "00:00:00:00:00:00",
    "password": SecretRef("ab" * 32),
    "comment": "roof of block 4",
}
MARK = {"comment": "roof of block 4 isp:suspended"}
IN_GARDEN = {**USER, "profile": "suspended", **MARK}
OFF = {**USER, "disabled": "true", **MARK}
MAC, OTHER_MAC = "02:00:00:00:00:07", "02:00:00:00:00:08"
SESSION = {"login": "amina.h", "address": "10.5.50.7", "mac-address": MAC, "login-by": "http-chap"}
FLOWS = at("hotspot/flows", f"{MAC} amina.h")
OLD_KEY = f"amina.h 10.5.50.7@{NOW_S - 6 * 86_400}"
ONLINE = [(OLD_KEY, SESSION)]
FLOW = [("tcp 10.5.50.7:50000 203.0.113.80:443", {"fasttrack": "true"})]
SLOW = [("tcp 10.5.50.7:50000 203.0.113.80:443", {"fasttrack": "false"})]
COOKIE = [(f"amina.h {MAC}", {"login": "amina.h", "mac-address": MAC})]
LOGINS = {"hsprof1": "cookie,http-chap"}

Rows = list[tuple[str, dict[str, str]]]


def seen_of(
    user: Value = USER,
    sessions: Rows | None = None,
    cookies: Rows | None = None,
    bindings: Rows | None = None,
    profiles: Mapping[str, Value] = PROFILES,
    rules: Rows | None = None,
    lists: Collection[str] = (),
    logins: Value = LOGINS,
    flows: Rows | None = None,
) -> dict[Address, Seen]:
    online = sessions or []
    values: dict[Address, Value] = {
        at("hotspot/user", "amina.h"): user,
        at("hotspot/active", "amina.h"): rows_value(online),
        at("hotspot/began", "amina.h"): {key: key.rpartition("@")[2] for key, _ in online} or ABSENT,
        at("hotspot/cookies", "amina.h"): rows_value(cookies or []),
        at("hotspot/binding", "all"): rows_value(bindings or []),
        at("hotspot/logins", "all"): logins,
        FLOWS: rows_value(flows or []),
        at("ip/filter", "all"): rows_value(RULES if rules is None else rules),
        **members(lists, [row["address"] for _, row in online]),
        **{at("hotspot/profile", name): value for name, value in profiles.items()},
    }
    return {where: Seen(value, NOW_S) for where, value in values.items()} | closed_ways(NOW_S)


def planned(
    wanted: ServiceState = SUSPEND, method: HotspotMethod = GARDEN, **seen: object
) -> AccessPlan | CannotEnforce:
    return HotspotAccess(method).plan(wanted, SERVICE, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


BYPASS = {"mac-address": MAC, "type": "bypassed", "disabled": "false"}


BY_RADIUS = [(OLD_KEY, SESSION | {"radius": "true"})]
BYPASSED = [("0", BYPASS)]
BYPASSED_NET = [*BYPASSED, ("1", {"address": "10.5.50.0/24", "type": "bypassed"})]
PINNED = {**USER, "mac-address": MAC}

RECIPE, ROW = HotspotAccess, at("hotspot/user", "amina.h")
METHODS = {"profile": GARDEN, "disabled": DISABLE}
