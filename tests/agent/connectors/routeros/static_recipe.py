"""Fixed addresses as a router reads them, and what their access method plans."""

from __future__ import annotations

from collections.abc import Mapping

from agent.connectors.base import AccessPlan, CannotEnforce, Enforced
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.schema import StaticMethod
from agent.connectors.routeros.static_access import StaticAccess
from agent.model import ABSENT, Access, Address, Effect, Seen, Service, ServiceState, Transition, Value
from tests.agent.connectors.routeros.ways import closed_ways

NOW_S = 1_700_600_000
TARIFFS = {"Home 20M": "5M/20M", "Home 50M": "10M/50M", "Radio": ""}
LISTED = StaticMethod("static", "routeros/edge-1", TARIFFS, suspended_list="suspended")
SLOWED = StaticMethod("static", "routeros/edge-1", TARIFFS, suspended_limit="64k/64k")
V4, V6 = "192.0.2.7", "2001:db8:7::/56"
SERVICE = Service("C-10482/home", "C-10482", "Amina Hassan", "home", f"{V4},{V6}", "static", "Home 20M")
SUSPEND = ServiceState(Access.SUSPENDED, "Home 20M")
RESTORE = ServiceState(Access.ACTIVE, "Home 20M")
UPGRADE = ServiceState(Access.ACTIVE, "Home 50M")

DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}
FAST = {"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"}
QUEUE = {"name": "home", "target": "192.0.2.7/32,2001:db8:7::/56", "max-limit": "5000000/20000000", "disabled": "false"}
SLOW = {**QUEUE, "max-limit": "64000/64000", "comment": "isp:suspended"}
FLOW = "tcp 192.0.2.7:50000 203.0.113.80:443"


def at(resource: str, key: str) -> Address:
    return Address(f"routeros/edge-1/{resource}/{key}")


ENTRY, ENTRY6 = at("ip/list", f"{V4} suspended"), at("ipv6/list", f"{V6} suspended")


def entry(address: str, comment: str = "isp:suspended", **more: str) -> dict[str, str]:
    row = {"address": address, "list": "suspended", "disabled": "false", "dynamic": "false"} | more
    return row | ({"comment": comment} if comment else {})


OURS: Mapping[Address, Value] = {ENTRY: entry(V4), ENTRY6: entry(V6)}


class World:
    """What a router's resources read; `flows`: of the IPv4 address, key -> fasttrack."""

    def __init__(self) -> None:
        self.rules: list[dict[str, str]] = [DROP]
        self.rules6: list[dict[str, str]] = [DROP]
        self.queues: list[dict[str, str]] = [QUEUE]
        self.entries: dict[Address, Value] = {}
        self.other: dict[str, dict[str, str]] = {}
        self.flows: dict[str, str] = {}
        self.more: dict[Address, Value] = {}

    def value(self, where: Address) -> Value:
        resource, _, key = where.split("/", 2)[2].partition("/")
        word, _, key = key.partition("/")
        if where in self.more:
            return self.more[where]
        match f"{resource}/{word}":
            case "ip/filter":
                return rows_value((str(n), row) for n, row in enumerate(self.rules))
            case "ipv6/filter":
                return rows_value((str(n), row) for n, row in enumerate(self.rules6))
            case "queue/order":
                return rows_value((str(n), row) for n, row in enumerate(self.queues))
            case "queue/simple":
                rows = [row for row in self.queues if row["name"] == key]
                return dict(rows[0]) if rows else ABSENT
            case "ip/list" | "ipv6/list":
                return self.entries.get(where, ABSENT)
            case "ip/listed" | "ipv6/listed":
                return self._listed(resource, key)
            case "ip/members" | "ipv6/members":
                return self._members("/".join(where.split("/", 2)[:2]), resource, key)
            case "ip/flows" if key == V4:
                return rows_value((key, {"fasttrack": fast} if fast else {}) for key, fast in self.flows.items())
            case "ip/flows" | "ipv6/flows" | "ip/pools" | "ip/held" | "ipv6/pools" | "ipv6/held":
                return ABSENT
        target = "/".join(where.split("/", 2)[:2])
        return closed_ways(NOW_S, target)[where].value

    def _listed(self, family: str, key: str) -> Value:
        rows = [row for where, row in self.entries.items() if f"/{family}/list/{key} " in where]
        names = {str(r["list"]): "static" for r in rows if isinstance(r, Mapping) and r.get("disabled") == "false"}
        return names or ABSENT

    def _members(self, target: str, family: str, name: str) -> Value:
        own = {
            str(row["address"]): "dynamic" if row["dynamic"] == "true" else "static"
            for where, row in self.entries.items()
            if where.startswith(f"{target}/{family}/list") and isinstance(row, Mapping) and "address" in row
            if row["disabled"] == "false" and row["list"] == name
        }
        return own | self.other.get(f"{family} {name}", {}) or ABSENT

    def seen(self, recipe: StaticAccess, service: Service) -> dict[Address, Seen]:
        seen: dict[Address, Seen] = {}
        while missing := recipe.reads(service, seen):
            assert len(missing) == len(set(missing))
            seen |= {where: Seen(self.value(where), NOW_S) for where in missing}
        return seen

    def plan(
        self, wanted: ServiceState, method: StaticMethod = LISTED, service: Service = SERVICE
    ) -> AccessPlan | CannotEnforce:
        recipe = StaticAccess(method)
        return recipe.plan(wanted, service, self.seen(recipe, service))

    def write(self, plan: AccessPlan) -> None:
        """Let the plan's writes take effect."""
        for change in writes(plan):
            if change.address.split("/")[2:4] == ["queue", "simple"]:
                assert isinstance(change.after, Mapping)
                new = {k: str(v) for k, v in change.after.items()}
                self.queues = [new if queue["name"] == new["name"] else queue for queue in self.queues]
            elif change.after is ABSENT:
                del self.entries[change.address]
            else:
                self.entries[change.address] = change.after

    def judged(self, plan: AccessPlan, *ended: str, method: StaticMethod = LISTED) -> tuple[Enforced, str, str]:
        recipe, enforce = StaticAccess(method), plan.enforce
        assert enforce is not None
        seen: dict[Address, Seen] = {enforce.address: Seen(self.value(enforce.address), NOW_S)}
        while missing := recipe.enforcement_reads(enforce, seen):
            seen |= {where: Seen(self.value(where), NOW_S) for where in missing}
        found = recipe.judge(enforce, seen, [at("ip/flow", key) for key in ended])
        return found.enforced, found.how, found.detail


def writes(plan: AccessPlan) -> list[Transition]:
    return [change for step in plan.steps if not isinstance(step.do, Effect) for change in step.do]
