"""A DHCP lease as a router reads it, and what its access method plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.connectors.base import AccessPlan, CannotEnforce
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.dhcp_access import DhcpAccess
from agent.connectors.routeros.schema import DhcpMethod
from agent.connectors.routeros.ways_out import Way, way_at
from agent.model import ABSENT, Access, Address, Seen, Service, ServiceState, Value
from tests.agent.connectors.routeros.ppp_recipe import NOW_S, RULES, at
from tests.agent.connectors.routeros.ways import closed_ways, way_value

MAC = "02:00:00:00:AA:01"
PLACE = "10.1.0.50"
LISTED = DhcpMethod("dhcp", "routeros/edge-1", {"20M": "20M/20M", "50M": "50M", "Free": ""}, "suspended")
BLOCKED = replace(LISTED, suspended_list="")
SERVICE = Service("C-1/home", "C-1", "Amina Hassan", "home", "02-00-00-00-aa-01", "dhcp", "20M")
SUSPEND, RESTORE = ServiceState(Access.SUSPENDED, "20M"), ServiceState(Access.ACTIVE, "20M")
UPGRADE, UNLIMITED = ServiceState(Access.ACTIVE, "50M"), ServiceState(Access.ACTIVE, "Free")
LEASE: Mapping[str, str] = {
    "mac-address": MAC,
    "address": PLACE,
    "address-lists": "shops",
    "rate-limit": "20000000/20000000",
    "block-access": "false",
    "disabled": "false",
    "dynamic": "false",
    "comment": "house 4",
}
IN_LIST = {**LEASE, "address-lists": "shops,suspended", "comment": "house 4 isp:suspended"}
IN_BLOCK = {**LEASE, "block-access": "true", "comment": "house 4 isp:suspended"}
CLIENT = {"status": "bound", "active-address": PLACE, "expires-after": "9m"}
KEY = "tcp 10.1.0.50:50000 203.0.113.80:443"
FAST, SLOW = [(KEY, {"fasttrack": "true"})], [(KEY, {"fasttrack": "false"})]
QUEUE = {"name": "dhcp-ds<x>", "target": f"{PLACE}/32", "max-limit": "50000000/50000000", "dynamic": "true"}

Rows = list[tuple[str, dict[str, str]]]


def seen_of(
    lease: Value = LEASE,
    client: dict[str, str] | None = None,
    listed: Mapping[str, str] | None = None,
    rules: Rows | None = None,
    flows: Rows | None = None,
    queues: Rows | None = None,
    servers: Rows | None = None,
) -> dict[Address, Seen]:
    values: dict[Address, Value] = {
        at("dhcp/lease", MAC): lease,
        at("dhcp/leased", MAC): rows_value([("0", CLIENT if client is None else client)]),
        at("ip/filter", "all"): rows_value(RULES if rules is None else rules),
        at("ip/members", "suspended"): dict(listed or {}) or ABSENT,
        at("ip/flows", PLACE): rows_value(flows or []),
        at("ip/flows", "10.1.0.60"): rows_value(flows or []),
        at("queue/order", "all"): rows_value(queues or []),
        way_at("routeros/edge-1", Way.LEASES_FOR_ALL): way_value(
            {"/ip/dhcp-server": [row for _, row in servers or [("0", STRICT)]]}
        ),
    }
    return closed_ways(NOW_S) | {where: Seen(value, NOW_S) for where, value in values.items()}


STRICT = {"name": "d1", "address-pool": "static-only"}
POOL = {"name": "d1", "address-pool": "lan"}
"""DHCP servers: with static leases only, and with a pool for everybody else."""


OFFLINE = {"status": "waiting", "last-seen": "20m"}
UNSEEN = {"status": "waiting", "last-seen": "never"}
"""Of a lease that was removed and made again: its client may go on with the address that it had."""
HELD = {PLACE: "dynamic"}


def planned(
    wanted: ServiceState = SUSPEND, method: DhcpMethod = LISTED, service: Service = SERVICE, **seen: object
) -> AccessPlan | CannotEnforce:
    return DhcpAccess(method).plan(wanted, service, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


RECIPE, ROW = DhcpAccess, at("dhcp/lease", MAC)
METHODS = {"list": LISTED, "blocked": BLOCKED}
