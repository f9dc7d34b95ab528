"""The recipe of DHCP leases: what is written, what is refused and why, and when it is in effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import AccessPlan, Enforced, NetworkState
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.dhcp_access import DhcpAccess
from agent.connectors.routeros.schema import DhcpMethod
from agent.connectors.routeros.values import mac_of
from agent.connectors.routeros.ways_out import Way, way_at
from agent.model import ABSENT, Access, Address, Effect, Enforcement, Seen, ServiceState, Value
from tests.agent.connectors.answers import plan_of, refused, write_of
from tests.agent.connectors.routeros.dhcp_recipe import (
    BLOCKED,
    CLIENT,
    FAST,
    HELD,
    IN_BLOCK,
    IN_LIST,
    KEY,
    LEASE,
    LISTED,
    MAC,
    OFFLINE,
    PLACE,
    POOL,
    QUEUE,
    RESTORE,
    SERVICE,
    SLOW,
    STRICT,
    SUSPEND,
    UNLIMITED,
    UNSEEN,
    UPGRADE,
    Rows,
    planned,
    seen_of,
)
from tests.agent.connectors.routeros.ppp_recipe import RULES, at


def cuts_of(plan: AccessPlan) -> list[str]:
    return [step.do.address for step in plan.steps if isinstance(step.do, Effect)]


@pytest.mark.parametrize(
    "login", [MAC, MAC.lower(), "02-00-00-00-aa-01", "0200.0000.aa01", "02000000AA01", " 02:00:00:00:aa:01 "]
)
def test_a_mac_in_any_spelling(login: str) -> None:
    assert mac_of(login) == MAC


@pytest.mark.parametrize("login", ["", "amina.h", "1:2:0:0:0:aa:1", "02:00:00:00:AA", "02:00:00:00:AA:0G", MAC * 2])
def test_what_is_no_mac(login: str) -> None:
    assert mac_of(login) == ""
    stranger = replace(SERVICE, login=login)
    assert list(DhcpAccess(LISTED).reads(stranger, {})) == []
    refused(planned(service=stranger), "no-such-login", "MAC")
    refused(DhcpAccess(LISTED).disconnect(stranger, {}), "no-such-login")


@pytest.mark.parametrize("method", [LISTED, BLOCKED], ids=["list", "block"])
def test_connections_are_read_only_for_a_doubtful_suspension(method: DhcpMethod) -> None:
    recipe = access_method_of(method)
    for lease, more in ((LEASE, []), (IN_LIST if method is LISTED else IN_BLOCK, [at("ip/flows", PLACE)])):
        seen = seen_of(lease)
        got = {where: seen[where] for where in recipe.reads(SERVICE, {})}
        assert list(recipe.reads(SERVICE, got)) == more
        assert list(recipe.reads(SERVICE, seen)) == []


# --- judging ---


def enforce_of(wanted: ServiceState, method: DhcpMethod) -> Enforcement:
    before: Value = LEASE
    if wanted == RESTORE:
        before = IN_LIST if method is LISTED else IN_BLOCK
    found = plan_of(planned(wanted, method, lease=before)).enforce
    assert found is not None
    return found


def judged(
    wanted: ServiceState, method: DhcpMethod = LISTED, lease: Value | None = None, **now: object
) -> tuple[Enforced, str]:
    enforce, recipe = enforce_of(wanted, method), DhcpAccess(method)
    held = IN_LIST if method is LISTED else IN_BLOCK
    become = write_of(plan_of(planned(wanted, method, lease=held if wanted == RESTORE else LEASE))).after
    values = seen_of(become if lease is None else lease, **now)  # type: ignore[arg-type]  # as seen_of takes them
    seen: dict[Address, Seen] = {}
    while missing := recipe.enforcement_reads(enforce, seen):
        seen |= {where: values[where] for where in missing}
    found = recipe.judge(enforce, seen, [at("ip/flow", KEY)])
    return found.enforced, found.how


@pytest.mark.parametrize("off", ["block-access", "disabled"])
def test_a_lease_that_staff_let_in_again_is_waited_for(off: str) -> None:
    plan = plan_of(planned(RESTORE, lease={**IN_LIST, off: "true"}))
    assert plan.enforce is not None
    enabled = DhcpAccess(LISTED).judge(plan.enforce, seen_of(LEASE, client=OFFLINE), [])
    assert (enabled.enforced, enabled.how) == (Enforced.PENDING, "offline")


@pytest.mark.parametrize(("method", "lease"), [(LISTED, IN_LIST), (BLOCKED, LEASE)], ids=["list", "block"])
def test_a_restore_says_that_staff_block_the_lease(method: DhcpMethod, lease: Mapping[str, str]) -> None:
    """Seed 11000136 of the simulation: a restore named the address, and not that it ends with the lease."""
    plan = plan_of(planned(RESTORE, method, lease={**lease, "block-access": "true"}))
    assert plan.enforce is not None
    found = DhcpAccess(method).judge(plan.enforce, seen_of({**LEASE, "block-access": "true"}), [])
    assert (found.enforced, found.how) == (Enforced.YES, "stays-rejected")
    assert "10.1.0.50 meanwhile" in found.detail
    assert "9m" in found.detail


def test_a_list_is_judged_for_the_address_that_the_client_has() -> None:
    assert judged(SUSPEND, listed=HELD) == (Enforced.YES, "seen")
    assert judged(SUSPEND) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, listed={"10.1.0.60": "dynamic"}) == (Enforced.NO, "not-in-effect")
    moved = CLIENT | {"active-address": "10.1.0.60"}
    assert judged(SUSPEND, listed=HELD, client=moved) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, listed={"10.1.0.60": "dynamic"}, client=moved) == (Enforced.YES, "seen")
    assert judged(SUSPEND, listed=HELD, rules=[]) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, client=OFFLINE) == (Enforced.PENDING, "offline")
    assert judged(SUSPEND, client=OFFLINE, rules=[]) == (Enforced.NO, "not-in-effect")


@pytest.mark.parametrize("client", [CLIENT, OFFLINE])
def test_what_passes_by_the_firewall_is_at_large(client: dict[str, str]) -> None:
    expected = (Enforced.YES, "seen") if client is CLIENT else (Enforced.PENDING, "offline")
    assert judged(SUSPEND, listed=HELD, client=client, flows=SLOW) == expected
    assert judged(SUSPEND, listed=HELD, client=client, flows=FAST) == (Enforced.NO, "still-online")
    assert judged(SUSPEND, listed=HELD, client=client, flows=[(KEY, {})]) == (Enforced.NO, "still-online")


@pytest.mark.parametrize("action", ["accept", "fasttrack-connection"])
def test_e1_what_carries_on_above_the_drop_is_cut_to_the_last(action: str) -> None:
    """MikroTik's default configuration, with the drop below it."""
    above = {"chain": "forward", "action": action, "connection-state": "established,related"}
    rules: Rows = [("1", above), ("2", RULES[0][1])]
    plan = plan_of(planned(rules=rules, flows=SLOW))
    assert "open connections are cut: rule 0" in plan.display["after"]
    assert cuts_of(plan) == [at("ip/flows", PLACE)]
    assert judged(SUSPEND, listed=HELD, rules=rules) == (Enforced.YES, "seen")
    assert judged(SUSPEND, listed=HELD, rules=rules, flows=SLOW) == (Enforced.NO, "still-online")
    unanswered = [(KEY, {"fasttrack": "false", "seen-reply": "false"})]
    assert judged(SUSPEND, listed=HELD, rules=rules, flows=unanswered) == (Enforced.YES, "seen")
    again = plan_of(planned(lease=IN_LIST, listed=HELD, rules=rules, flows=SLOW))
    assert cuts_of(again) == [at("ip/flows", PLACE)]


def test_an_address_that_nobody_is_said_to_have_may_be_used() -> None:
    """The router has lost the lease, and so the list's entry; the client knows nothing of it and goes on."""
    assert judged(SUSPEND, client=OFFLINE, flows=SLOW) == (Enforced.NO, "still-online")
    assert cuts_of(plan_of(planned(lease=IN_LIST, client=OFFLINE, flows=SLOW))) == [at("ip/flows", PLACE)]
    # What others open to it says nothing of whether it is there
    probe = [("tcp 198.51.100.9:40000 10.1.0.50:22", {"fasttrack": "false"})]
    assert judged(SUSPEND, client=OFFLINE, flows=probe) == (Enforced.PENDING, "offline")


@pytest.mark.parametrize("client", [UNSEEN, {"status": "waiting"}])
@pytest.mark.parametrize(("method", "held"), [(LISTED, IN_LIST), (BLOCKED, IN_BLOCK)])
def test_a_lease_whose_client_was_never_seen_proves_nothing(
    method: DhcpMethod, held: Mapping[str, str], client: dict[str, str]
) -> None:
    """The simulation's seed 30202: staff removed a lease and made it again, and its client went on without a list."""
    assert judged(SUSPEND, method, client=client) == (Enforced.UNPROVEN, "not-proven")
    assert judged(RESTORE, method, client=client) == (Enforced.UNPROVEN, "not-proven")
    assert judged(SUSPEND, method, client=client, flows=SLOW) == (Enforced.NO, "still-online")
    enforce = enforce_of(SUSPEND, method)
    text = DhcpAccess(method).judge(enforce, seen_of(held, client=client), []).detail
    assert text.startswith("not proven: edge-1 has not seen its client since the lease was made")
    # Nor is it suspended already, or without a connection to end
    assert plan_of(planned(SUSPEND, method, lease=held, client=client)).enforce is not None
    assert plan_of(DhcpAccess(method).disconnect(SERVICE, seen_of(client=client))).steps


def test_a_blocked_one_is_out_once_lease_and_flows_are_gone() -> None:
    assert judged(SUSPEND, BLOCKED) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, BLOCKED, client=OFFLINE) == (Enforced.YES, "inferred")
    assert judged(SUSPEND, BLOCKED, client=OFFLINE, flows=SLOW) == (Enforced.NO, "still-online")
    assert judged(RESTORE, BLOCKED) == (Enforced.YES, "seen")
    assert judged(RESTORE, BLOCKED, client=OFFLINE) == (Enforced.PENDING, "offline")


def test_a_restore_is_judged_by_the_list_too() -> None:
    assert judged(RESTORE) == (Enforced.YES, "seen")
    assert judged(RESTORE, rules=[]) == (Enforced.YES, "seen")
    assert judged(RESTORE, listed=HELD) == (Enforced.NO, "garden")
    assert judged(RESTORE, client=OFFLINE) == (Enforced.PENDING, "offline")


@pytest.mark.parametrize(
    "change",
    [
        {"address-lists": "shops"},
        {"disabled": "true"},
        {"dynamic": "true"},
        {"rate-limit": "1000000/1000000"},
        {"copies": "2"},
    ],
)
def test_a_lease_that_somebody_changed_since(change: dict[str, str]) -> None:
    lease: Value = change if "copies" in change else IN_LIST | change
    assert judged(SUSPEND, lease=lease, listed=HELD) == (Enforced.NO, "not-in-effect")


def test_a_restore_of_a_lease_that_is_gone_or_blocked_since() -> None:
    assert judged(RESTORE, lease=ABSENT) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, lease=LEASE | {"block-access": "true"}) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, lease=IN_LIST) == (Enforced.NO, "not-in-effect")


def test_a_speed_is_seen_in_the_routers_queue() -> None:
    assert judged(UPGRADE, queues=[("0", QUEUE)]) == (Enforced.YES, "seen")
    assert judged(UPGRADE) == (Enforced.NO, "not-in-effect")
    old = QUEUE | {"max-limit": "20000000/20000000"}
    assert judged(UPGRADE, queues=[("0", old)]) == (Enforced.NO, "not-in-effect")
    assert judged(UNLIMITED) == (Enforced.YES, "seen")
    assert judged(UNLIMITED, queues=[("0", old)]) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, queues=[("0", old)]) == (Enforced.YES, "seen")  # whose speed nobody changed


# --- what the router reads now ---


def state_of(method: DhcpMethod = LISTED, **seen: object) -> NetworkState:
    return DhcpAccess(method).network_state(SERVICE, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


def test_an_active_lease_and_its_client() -> None:
    state = state_of()
    assert (state.access, state.refused, state.unknown, state.tariff) == (Access.ACTIVE, "", "", "20M")
    assert state.groups == ("shops",)
    (client,) = state.sessions
    assert (client.place, client.address, client.carries, client.since_s) == ("edge-1", PLACE, Access.ACTIVE, None)
    assert state_of(client=OFFLINE).sessions == ()


def test_a_listed_lease_counts_once_the_router_has_its_client() -> None:
    state = state_of(lease=IN_LIST)
    assert (state.access, [one.carries for one in state.sessions]) == (Access.SUSPENDED, [Access.ACTIVE])
    state = state_of(lease=IN_LIST, listed=HELD)
    assert [one.carries for one in state.sessions] == [Access.SUSPENDED]
    loose = state_of(lease=IN_LIST, listed=HELD, rules=[])
    assert (loose.access, [one.carries for one in loose.sessions]) == (Access.SUSPENDED, [None])


@pytest.mark.parametrize(
    ("method", "lease", "says"),
    [
        (LISTED, {**LEASE, "disabled": "true"}, "its lease is disabled"),
        (LISTED, {**LEASE, "block-access": "true"}, "its lease has block-access"),
        (LISTED, IN_BLOCK, "its lease has block-access"),
        (BLOCKED, {**LEASE, "block-access": "true"}, "its lease has block-access"),
    ],
)
def test_a_lease_that_staff_blocked_is_refused(method: DhcpMethod, lease: Value, says: str) -> None:
    state = state_of(method, lease=lease)
    assert (state.access, state.refused) == (None, says)


@pytest.mark.parametrize(
    ("lease", "servers", "says"),
    [
        ({}, [{**STRICT, "use-radius": "yes"}], "DHCP server d1 asks RADIUS for another address"),
        ({}, [STRICT, {**POOL, "name": "d2"}], "DHCP server d2 gives its client another address, of pool lan"),
        ({"server": "d1"}, [STRICT, {**POOL, "name": "d2"}], ""),
        ({"server": "gone"}, [POOL], "of pool lan"),
        ({}, [{**POOL, "disabled": "true"}, {**STRICT, "use-radius": "accounting"}], "asks RADIUS"),
        ({}, [{"unread": "not permitted"}], "whether it gets another address is not known: /ip/dhcp-server: not perm"),
        ({}, [STRICT], ""),
    ],
)
def test_whether_the_client_of_a_disabled_lease_gets_an_address(
    lease: Mapping[str, str], servers: list[dict[str, str]], says: str
) -> None:
    state = state_of(lease={**LEASE, **lease, "disabled": "true"}, servers=[("", row) for row in servers])
    assert (state.access, state.refused) == (None, "" if says else "its lease is disabled")
    assert says in state.unknown
    assert bool(state.unknown) is bool(says)


def test_servers_are_read_only_for_a_disabled_lease() -> None:
    disabled: Value = {**IN_LIST, "disabled": "true"}
    recipe, where = DhcpAccess(LISTED), way_at("routeros/edge-1", Way.LEASES_FOR_ALL)
    enforce = plan_of(planned(RESTORE, lease=disabled)).enforce
    assert enforce is not None
    for lease, more in ((LEASE, []), (disabled, [where])):
        seen = {at_: one for at_, one in seen_of(lease).items() if at_ != where}
        assert list(recipe.reads(SERVICE, seen)) == more
        assert list(recipe.enforcement_reads(enforce, seen)) == more


def test_block_access_with_our_mark_is_our_suspension() -> None:
    assert (state_of(BLOCKED, lease=IN_BLOCK).access, state_of(BLOCKED, lease=IN_BLOCK).refused) == (
        Access.SUSPENDED,
        "",
    )


def test_of_which_lease_nothing_can_be_told() -> None:
    assert state_of(lease=ABSENT).absent
    assert "has 2 DHCP leases" in state_of(lease={**LEASE, "copies": "2"}).unknown
    assert "is dynamic" in state_of(lease={**LEASE, "dynamic": "true"}).unknown
    other = replace(SERVICE, login="amina")
    assert "amina is none" in DhcpAccess(LISTED).network_state(other, seen_of()).unknown
    assert state_of(lease={**LEASE, "rate-limit": "1/1"}).tariff == ""
