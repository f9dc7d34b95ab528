"""The access recipe: what is written, what is refused and why, and what proves that it holds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from types import MappingProxyType

import pytest

from agent.connectors.base import (
    CLOCK_SET,
    NONE_ENDED,
    AccessMethod,
    AccessPlan,
    CannotEnforce,
    Enforced,
    Judgment,
    NetworkState,
)
from agent.connectors.radius.access import RadiusAccess
from agent.connectors.radius.beginnings import CLOCKS_S
from agent.connectors.radius.ending import has_it
from agent.connectors.radius.evaluator import CannotTell, Rejected, effective_reply, may_reject
from agent.connectors.radius.rowset import Table, UserRow, to_value
from agent.connectors.radius.schema import Database, Method, NasPlaces, SqlTarget, TableSet
from agent.model import (
    ABSENT,
    Access,
    Address,
    Effect,
    Enforcement,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    Service,
    ServiceState,
    SuspensionReason,
    Value,
)
from tests.builders.expect import expect

Rows = tuple[tuple[str, tuple[str, ...]], ...]
NOW_S = 1_700_600_000
GARDEN = "100.127.0.0/16,2001:db8:ff00::/40"
METHOD = Method(
    name="pppoe",
    target="radius/main",
    suspended_reply={"Mikrotik-Address-List": "suspended"},
    tariffs={"Home 20M": "home20", "Home 50M": "home50"},
    garden4=(IPv4Network("100.127.0.0/16"),),
    garden6=(IPv6Network("2001:db8:ff00::/40"),),
    disconnect_within_s=20,
    redial_within_s=60,
)
SERVICE = Service("C-10482/home", "C-10482", "Amina Hassan", "home", "amina.h", "pppoe", "Home 20M")
SUSPEND = ServiceState(Access.SUSPENDED, "Home 20M")
RESTORE = ServiceState(Access.ACTIVE, "Home 20M")
USER: Value = {"check:Cleartext-Password": SecretRef("ab" * 32), "group:home20": "1"}
GROUPS: Mapping[str, Value] = {
    "home20": {"reply:Mikrotik-Rate-Limit": (":= 20M/20M",), "reply:Framed-Pool": (":= cgnat",)},
    "home50": {"reply:Mikrotik-Rate-Limit": (":= 50M/50M",)},
    "suspended": {"reply:Mikrotik-Address-List": (":= suspended",), "reply:Framed-Pool": (":= garden",)},
}
CLOCK = Address("radius/main/clock/now")
ONLINE: Value = {
    "u1": (
        "login=amina.h",
        "nas=10.0.0.2",
        "sid=81c0004f",
        "ip=100.64.12.9",
        "pd=2001:db8:4a00::/56",
        f"since={NOW_S - 6 * 86400}",
    )
}


def recipe(database: Database = Database.POSTGRESQL, method: Method = METHOD) -> RadiusAccess:
    return RadiusAccess(method, SqlTarget("main", database), {"10.0.0.1": "bng-1", "10.0.0.2": "bng-2"})


def at(kind: str, key: str) -> Address:
    return Address(f"radius/main/{kind}/{key}")


def gone(*uids: str) -> dict[Address, Seen]:
    """Return the sessions that a change set out to end, of which accounting told no time."""
    return {at("session", uid): Seen({}, 0) for uid in uids}


def seen_of(
    user: Value = USER,
    sessions: Value = ABSENT,
    groups: Mapping[str, Value] = GROUPS,
    accounted: Mapping[str, Value] = MappingProxyType({}),
) -> dict[Address, Seen]:
    found = {at("user", "amina.h"): Seen(user, NOW_S), at("sessions", "amina.h"): Seen(sessions, NOW_S)}
    told = {"u1": ABSENT, **dict.fromkeys(() if sessions is ABSENT else sessions, ABSENT), **accounted}
    found |= {at("accounted", uid): Seen(value, NOW_S) for uid, value in told.items()}
    return {**found, **{at("group", name): Seen(value, NOW_S) for name, value in groups.items()}}


def planned(
    wanted: ServiceState = SUSPEND,
    user: Value = USER,
    sessions: Value = ABSENT,
    groups: Mapping[str, Value] = GROUPS,
    database: Database = Database.POSTGRESQL,
    method: Method = METHOD,
) -> AccessPlan | CannotEnforce:
    return recipe(database, method).plan(wanted, SERVICE, seen_of(user, sessions, groups))


def after_of(plan: AccessPlan | CannotEnforce) -> Value:
    assert isinstance(plan, AccessPlan), plan
    write = expect(tuple, plan.steps[0].do)
    return write[0].after


def test_it_is_an_access_recipe() -> None:
    made: AccessMethod = recipe()
    assert made.target == "radius/main"


def test_reads_in_two_rounds() -> None:
    r, seen = recipe(), dict[Address, Seen]()
    first = r.reads(SERVICE, seen)
    assert list(first) == [at("user", "amina.h"), at("sessions", "amina.h")]
    seen |= {
        at("user", "amina.h"): Seen({**fields(USER), "group:vip": "3"}, 0),
        at("sessions", "amina.h"): Seen(ABSENT, 0),
    }
    second = r.reads(SERVICE, seen)
    groups = {at("group", g) for g in ("home20", "home50", "suspended", "vip")}
    assert set(second) == {*groups, at("privileges", "write"), at("privileges", "close")}
    seen |= {a: Seen(ABSENT, 0) for a in second}
    assert not r.reads(SERVICE, seen)
    gone = {at("user", "amina.h"): Seen(ABSENT, 0), at("sessions", "amina.h"): Seen(ABSENT, 0)}
    assert list(r.reads(SERVICE, gone)) == [at("user", "AMINA.H")]
    assert not r.reads(SERVICE, gone | {at("user", "AMINA.H"): Seen(ABSENT, 0)})


def fields(value: Value) -> dict[str, object]:
    assert value is not ABSENT
    return dict(value)


def test_suspension_adds_the_marker_and_ends_the_sessions() -> None:
    plan = expect(AccessPlan, planned(sessions=ONLINE))
    write, drop = plan.steps
    assert (write.n, write.after, drop.n, drop.after) == (1, (), 2, (1,))
    assert after_of(plan) == {**fields(USER), "group:suspended": "-1"}
    assert isinstance(drop.do, Effect)
    assert drop.do.address == at("sessions", "amina.h")
    assert (drop.do.verb, drop.do.replay, drop.do.proof, drop.do.within_s) == (
        "disconnect",
        Replay.IF_UNPROVEN,
        ProofKind.GONE,
        20,
    )
    assert drop.do.args == {"now": "81c0004f on bng-2", "not-in": GARDEN}
    (again,) = drop.on_revert
    assert (again.address, again.verb) == (drop.do.address, "disconnect")
    assert again.key != drop.do.key
    assert again.args == {"nas": "configured", "in": GARDEN}, "it makes a restore real"
    assert plan.enforce == Enforcement(
        "radius/main",
        at("sessions", "amina.h"),
        {
            "method": "pppoe",
            "state": "suspended",
            "read-at": str(NOW_S),
            "reply:Mikrotik-Address-List": "suspended",
            "garden4": "100.127.0.0/16",
            "garden6": "2001:db8:ff00::/40",
        },
        60,
    )
    assert plan.display["now"] == "online 6d on bng-2 · 100.64.12.9 · 2001:db8:4a00::/56"
    assert (plan.display["online"], plan.display["nas"], plan.display["sessions"]) == ("online", "bng-2", "1")
    assert plan.display["after"] == (
        "pay page only, v4+v6: Mikrotik-Address-List=suspended · Framed-Pool=garden (groups suspended)"
    )


def test_offline_has_the_same_steps_and_says_so() -> None:
    plan = expect(AccessPlan, planned())
    assert len(plan.steps) == 2
    assert (plan.display["now"], plan.display["online"]) == ("offline by accounting", "offline by accounting")
    assert plan.display["sessions"] == "0"
    assert "nas" not in plan.display


SUSPENDED: Value = {**fields(USER), "group:suspended": "-1"}  # type: ignore[dict-item]  # dict is invariant in its values


def test_restoring_takes_the_marker_away_and_nothing_else() -> None:
    plan = planned(RESTORE, SUSPENDED)
    assert after_of(plan) == USER
    assert isinstance(plan, AccessPlan)
    assert plan.enforce is not None
    assert plan.enforce.expect["state"] == "active"
    assert "tariff-group" not in plan.enforce.expect
    assert plan.display["after"] == "Mikrotik-Rate-Limit=20M/20M · Framed-Pool=cgnat (groups home20)"


@pytest.mark.parametrize(("wanted", "user"), [(SUSPEND, SUSPENDED), (RESTORE, USER)])
def test_what_is_so_already_has_no_steps(wanted: ServiceState, user: Value) -> None:
    plan = expect(AccessPlan, planned(wanted, user))
    assert (plan.steps, plan.enforce) == ((), None)


def test_a_marker_of_another_priority_is_brought_to_ours() -> None:
    assert after_of(planned(SUSPEND, {**fields(USER), "group:suspended": "0"})) == SUSPENDED  # type: ignore[dict-item]  # dict is invariant in its values


def test_tariff_change_replaces_tariffs_group_in_its_place() -> None:
    user: Value = {"check:Cleartext-Password": SecretRef("ab" * 32), "group:vip": "9", "group:home20": "4"}
    plan = planned(ServiceState(Access.ACTIVE, "Home 50M"), user, groups={**GROUPS, "vip": ABSENT})
    assert after_of(plan) == {"check:Cleartext-Password": SecretRef("ab" * 32), "group:vip": "9", "group:home50": "4"}
    assert isinstance(plan, AccessPlan)
    assert plan.enforce is not None
    assert plan.enforce.expect["tariff-group"] == "home50"


def test_tariff_change_of_suspended_service_keeps_it_suspended() -> None:
    after = after_of(planned(ServiceState(Access.SUSPENDED, "Home 50M"), SUSPENDED))
    assert fields(after).keys() == {"check:Cleartext-Password", "group:home50", "group:suspended"}


def test_a_user_without_a_tariffs_group_gets_one() -> None:
    user: Value = {"check:Cleartext-Password": SecretRef("ab" * 32)}
    assert fields(after_of(planned(ServiceState(Access.ACTIVE, "Home 50M"), user)))["group:home50"] == "1"


def test_group_names_are_compared_as_mariadb_compares_them() -> None:
    user: Value = {**fields(USER), "group:Suspended": "-1"}  # type: ignore[dict-item]  # dict is invariant in its values
    groups = {**GROUPS, "Suspended": GROUPS["suspended"]}
    same = expect(AccessPlan, planned(SUSPEND, user, groups=groups, database=Database.MARIADB))
    assert same.steps == ()
    assert after_of(planned(RESTORE, user, groups=groups, database=Database.MARIADB)) == USER
    user = {**fields(USER), "group:Suspended": "7"}  # type: ignore[dict-item]  # dict is invariant in its values
    other = after_of(planned(SUSPEND, user, groups=groups | {"Suspended": ABSENT}, database=Database.POSTGRESQL))
    assert {"group:Suspended", "group:suspended"} <= fields(other).keys()


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_login_in_another_spelling_is_named() -> None:
    service = replace(SERVICE, login="4C-5E-0C-AA-BB-01")
    seen: dict[Address, Seen] = {}
    while wanted := list(recipe().reads(service, seen)):
        seen |= dict.fromkeys(wanted, Seen(ABSENT, NOW_S))
    alone = expect(CannotEnforce, recipe().plan(SUSPEND, service, seen))
    assert alone.detail == "radius/main has no user 4C-5E-0C-AA-BB-01"
    seen[at("user", "4c5e.0caa.bb01")] = Seen(USER, NOW_S)
    named = expect(CannotEnforce, recipe().plan(SUSPEND, service, seen))
    assert named.detail == "radius/main has no user 4C-5E-0C-AA-BB-01; it has 4c5e.0caa.bb01: is that the one?"
    assert not [a for a in recipe().reads(SERVICE, seen_of()) if a.startswith(at("user", ""))]  # it is there


@pytest.mark.parametrize(
    ("reason", "told", "arguments"),
    [
        ("no-such-login", "has no user amina.h", {"user": ABSENT}),
        ("ambiguous-login", "amina.h and Amina.H", {"user": {**fields(USER), "same-as": ("Amina.H",)}}),
        ("no-such-group", "group suspended", {"groups": {**GROUPS, "suspended": ABSENT}}),
        (
            "no-such-group",
            "group home50",
            {"groups": {**GROUPS, "home50": ABSENT}, "wanted": ServiceState(Access.ACTIVE, "Home 50M")},
        ),
        ("unmapped-tariff", "Home 100M", {"wanted": ServiceState(Access.ACTIVE, "Home 100M")}),
        ("unknown-nas", "10.9.9.9", {"sessions": {"u1": ("nas=10.9.9.9", "sid=1", f"since={NOW_S - 3600}")}}),
        (
            "rejected",
            "by group home50",
            {
                "wanted": ServiceState(Access.ACTIVE, "Home 50M"),
                "groups": {**GROUPS, "home50": {"check:Auth-Type": (":= Reject",)}},
            },
        ),
        (
            "cannot-tell",
            "group night: Login-Time := Al2200-0600 may reject it today",
            {
                "user": {**fields(USER), "group:night": "0"},
                "groups": {**GROUPS, "night": {"check:Login-Time": (":= Al2200-0600",)}},
            },
        ),
        ("cannot-tell", "", {"user": {**fields(USER), "check:NAS-Identifier": ("=~ bng.*",)}}),
        (
            "marker-would-not-win",
            "group suspended is not applied",
            {"user": {**fields(USER), "reply:Fall-Through": ("= No",)}},
        ),
        (
            "marker-would-not-win",
            "Mikrotik-Address-List: suspended is wanted, the login would get business from user",
            {
                "user": {
                    **fields(USER),
                    "reply:Mikrotik-Address-List": ("+= business",),
                    "reply:Fall-Through": ("= No",),
                }
            },
        ),
        (
            "marker-would-not-win",
            "20M/20M from group home20",
            {
                "groups": {
                    **GROUPS,
                    "suspended": {
                        "reply:Mikrotik-Rate-Limit": (":= 64k/64k",),
                        "reply:Fall-Through": ("= Yes",),
                    },
                },
                "method": Method("pppoe", "radius/main", {"Mikrotik-Rate-Limit": "64k/64k"}, METHOD.tariffs),
            },
        ),
        (
            "active-would-not-hold",
            "20M/20M from group home20",
            {
                "wanted": RESTORE,
                "user": SUSPENDED,
                "method": Method("pppoe", "radius/main", {}, METHOD.tariffs, {"Mikrotik-Rate-Limit": "9M/9M"}),
            },
        ),
    ],
)
def test_refusals(reason: str, told: str, arguments: dict[str, object]) -> None:
    got = expect(CannotEnforce, planned(**arguments))  # type: ignore[arg-type]  # keywords are for the test to choose
    assert got.reason == reason
    assert told in got.detail


# --- kick -----------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_parsed_end_no_round_of_drift() -> None:
    found = expect(CannotEnforce, planned(user={**fields(SUSPENDED), "reply:Mikrotik-Group": "one text"}))  # type: ignore[dict-item]  # as above
    assert (found.reason, "reply:Mikrotik-Group" in found.detail) == ("cannot-tell", True)


def test_kick_is_one_effect_and_nothing_when_offline() -> None:
    online = expect(AccessPlan, recipe().disconnect(SERVICE, seen_of(sessions=ONLINE)))
    (step,) = online.steps
    assert isinstance(step.do, Effect)
    assert (step.n, step.on_revert, online.enforce) == (1, (), None)
    offline = expect(AccessPlan, recipe().disconnect(SERVICE, seen_of()))
    assert offline.steps == ()
    expect(CannotEnforce, recipe().disconnect(SERVICE, seen_of({**fields(USER), "same-as": ("Amina.H",)}, ONLINE)))  # type: ignore[dict-item]  # dict is invariant in its values
    gone = recipe().disconnect(SERVICE, seen_of(ABSENT, ONLINE))
    assert isinstance(gone, AccessPlan), "a session may outlive its user's rows"


# --- expiry ---------------------------------------------------------------------------------------------------------


def expiring(in_s: int, *, as_date: bool = False) -> Value:
    """Return the rows of a login that expires so many seconds after the reading, by our clock and in our zone."""
    at_s = NOW_S + in_s
    text = datetime.fromtimestamp(at_s, UTC).strftime("%d %b %Y %H:%M:%S") if as_date else str(at_s)
    return {**fields(USER), "check:Expiration": (f":= {text}",)}  # type: ignore[dict-item]  # dict is invariant in its values


HOUR_S = 3600


@pytest.mark.parametrize(
    ("in_s", "as_date", "ahead_s", "zone_s", "access"),
    [
        (CLOCKS_S + 1, False, 0, 0, Access.ACTIVE),
        (CLOCKS_S, False, 0, 0, None),
        (1 - CLOCKS_S, False, 0, 0, None),
        (-CLOCKS_S, False, 0, 0, "rejected"),
        (600, False, 600, 0, None),  # the server's clock is ahead: it has expired there
        (-600, False, -600, 0, None),
        (600, False, 0, 3 * HOUR_S, Access.ACTIVE),  # unix time is the same in each zone
        (600, True, 0, 0, Access.ACTIVE),
        (600, True, 0, 3 * HOUR_S, None),  # its date is three hours past there
        (-600, True, 0, -3 * HOUR_S, None),
        (4 * HOUR_S, True, 0, 3 * HOUR_S, Access.ACTIVE),
    ],
)
def test_an_expiry_counts_where_each_clock_agrees(
    in_s: int, as_date: bool, ahead_s: int, zone_s: int, access: Access | str | None
) -> None:
    user = expiring(in_s, as_date=as_date)
    seen = {**seen_of(user), CLOCK: Seen({"ahead": str(ahead_s), "zone": str(zone_s)}, NOW_S)}
    state = recipe().network_state(SERVICE, seen)
    assert (state.access, bool(state.refused)) == (None, True) if access == "rejected" else (access, False)
    if access is None:
        assert "whether its Expiration has passed is not certain" in state.unknown
        refused = expect(CannotEnforce, recipe().plan(SUSPEND, SERVICE, seen))
        assert refused.reason == "cannot-tell"
        assert expect(AccessPlan, recipe().plan(RESTORE, SERVICE, seen)).steps == ()


def test_the_servers_clock_is_read_where_an_expiry_is_near() -> None:
    def reads(user: Value) -> list[Address]:
        privileges = {at("privileges", key): Seen(ABSENT, NOW_S) for key in ("write", "close")}
        return [*recipe().reads(SERVICE, {**seen_of(user), **privileges})]

    assert reads(expiring(20 * HOUR_S)) == reads(expiring(-20 * HOUR_S, as_date=True)) == [CLOCK]
    assert reads(expiring(48 * HOUR_S)) == reads(USER) == []
    new = seen_of({**fields(SUSPENDED), **fields(expiring(600))}, session("u2", since=str(NOW_S)))  # type: ignore[dict-item]  # dict is invariant in its values
    assert [*recipe().enforcement_reads(enforcement(), new)] == [CLOCK]


def test_an_expiry_hidden_by_the_marker_is_not_let_in() -> None:
    """Where the group's Expiration may reject the login today, the marker group would let it in."""
    groups = {**GROUPS, "home20": {**fields(GROUPS["home20"]), "check:Expiration": (f":= {NOW_S + 30}",)}}
    refused = expect(CannotEnforce, planned(SUSPEND, USER, groups=groups))
    assert (refused.reason, "group home20: Expiration" in refused.detail) == ("cannot-tell", True)


@pytest.mark.parametrize("in_s", [30, -30])
def test_a_near_expiry_proves_neither_restore_nor_reject(in_s: int) -> None:
    user, new = expiring(in_s), session("u2", ip="100.64.0.9", since=str(NOW_S))
    restored = recipe().judge(enforcement(RESTORE, SUSPENDED), seen_of(user, new), {})
    assert (restored.enforced, restored.how) == (Enforced.UNPROVEN, "not-proven")
    assert "whether its Expiration has passed is not certain" in restored.detail
    marked: Value = {**fields(user), "group:suspended": "-1"}  # type: ignore[dict-item]  # dict is invariant in its values
    walled = recipe().judge(enforcement(), seen_of(marked, session("u2", ip="100.127.0.9")), {})
    assert (walled.enforced, walled.how) == (Enforced.YES, "garden"), "rejected or in the garden, it is held back"


# --- judging --------------------------------------------------------------------------------------------------------


def enforcement(wanted: ServiceState = SUSPEND, user: Value = USER) -> Enforcement:
    plan = expect(AccessPlan, planned(wanted, user))
    assert plan.enforce is not None
    return plan.enforce


def session(uid: str, **known: str) -> dict[str, tuple[str, ...]]:
    return {uid: tuple(f"{k}={v}" for k, v in {"nas": "10.0.0.1", **known}.items())}


def judged(sessions: Value, user: Value = SUSPENDED, wanted: ServiceState = SUSPEND) -> tuple[Enforced, str, str]:
    enforce = enforcement(wanted, USER if wanted.access is Access.SUSPENDED else SUSPENDED)
    got = recipe().judge(enforce, seen_of(user, sessions), gone("u1"))
    return got.enforced, got.how, got.detail


def test_B10_ended_session_that_is_still_open_is_not_enforced() -> None:
    new_and_old = {**session("u2", ip="100.127.0.9"), **session("u1", ip="100.64.0.9")}
    assert judged(new_and_old)[:2] == (Enforced.NO, "still-online")
    walled = {**session("u2", ip="100.64.0.9"), **session("u1", ip="100.127.0.9")}
    assert judged(walled, user=USER, wanted=RESTORE)[:2] == (Enforced.NO, "still-online")


OVER = {"may-be-over": str(NOW_S - 180), "ip": "100.127.3.4"}
"""In the garden; its NAS was asked to end it, and accounting does not show that it goes on."""


def test_a_garden_session_that_may_be_over_proves_no_suspension() -> None:
    text = "not proven: the end of 100.127.3.4 was asked for, and accounting does not show that it goes on"
    assert judged(session("u1", **OVER)) == (Enforced.UNPROVEN, "not-proven", text), "it was ended again"
    assert judged(session("u2", **OVER)) == (Enforced.UNPROVEN, "not-proven", text), "it was not"
    beside = {**session("u1", **OVER), **session("u2", ip="100.127.0.9")}
    assert judged(beside) == (Enforced.UNPROVEN, "not-proven", text)
    assert judged({**session("u1", **OVER), **session("u2", ip="100.64.0.9")})[:2] == (Enforced.NO, "outside-garden")
    heard = session("u1", ip="100.127.3.4", heard=str(NOW_S))
    assert judged(heard)[:2] == (Enforced.YES, "garden"), "accounting heard of it: its NAS did nothing"
    beside = {**heard, **session("u2", since=str(NOW_S - 86400))}
    seen = seen_of(SUSPENDED, beside, accounted={"u2": {"lasted": "86400", "nas": "10.0.0.1"}})
    assert recipe().judge(enforcement(), seen, gone("u1")).how == "old-session"


def test_an_id_that_is_used_again_carries_nothing_on() -> None:
    """Its NAS restarted: accounting has the new session in the row of the one that was ended."""
    ended = {at("session", "u1"): Seen({"nas": "10.0.0.1", "since": str(NOW_S - 900), "heard": str(NOW_S - 100)}, 0)}
    new = recipe().judge(enforcement(), seen_of(SUSPENDED, session("u1", since=str(NOW_S + 5))), ended)
    assert (new.enforced, new.how) == (Enforced.YES, "inferred")
    for since_s in (NOW_S - 900, NOW_S - 110, NOW_S - 50):  # a Start that came late, or twice
        same = recipe().judge(enforcement(), seen_of(SUSPENDED, session("u1", since=str(since_s))), ended)
        assert (same.enforced, same.how) == (Enforced.NO, "still-online")


def test_a_garden_session_that_may_be_over_is_ended_again() -> None:
    plan = expect(AccessPlan, planned(SUSPEND, USER))
    effect = expect(Effect, plan.steps[-1].do)
    for uid in ("u1", "u2"):
        got = recipe().judge(enforcement(), seen_of(SUSPENDED, session(uid, **OVER)), gone("u1"))
        assert got.again == (effect.address,)


def test_beside_one_maybe_over_the_age_of_another_is_read() -> None:
    both = {**session("u1", **OVER), **session("u2", since=str(NOW_S - 86400))}
    seen = seen_of(SUSPENDED, both, accounted={"u2": {"lasted": "86400", "nas": "10.0.0.1"}})
    ended = gone("u1")
    first = {a: seen[a] for a in (at("sessions", "amina.h"), at("user", "amina.h"))}
    missing = recipe().enforcement_reads(enforcement(), first, ended)
    assert set(missing) == {at("accounted", "u1"), at("accounted", "u2")}
    got = recipe().judge(enforcement(), seen, ended)
    assert (got.enforced, got.how) == (Enforced.NO, "old-session")


OUT: Mapping[str, str] = {**OVER, "ip": "100.64.3.4"}
"""As `OVER`, outside of the garden."""


def test_an_end_that_its_nas_did_not_answer_is_not_proven() -> None:
    """Its NAS may have ended it, and the Stop may be lost: nobody knows that it carries on."""
    text = "not proven: the end of {} was asked for, and accounting does not show that it goes on"
    lost = session("u1", **OUT)
    assert judged(lost) == (Enforced.NO, "not-proven", text.format("100.64.3.4"))
    assert recipe().judge(enforcement(), seen_of(SUSPENDED, lost), gone("u1")).again
    walled = session("u1", **OVER)
    assert judged(walled, user=USER, wanted=RESTORE) == (Enforced.NO, "not-proven", text.format("100.127.3.4"))
    acked = judged(session("u1", **OUT))
    assert acked == (Enforced.NO, "not-proven", text.format("100.64.3.4")), "some acknowledge whatever they are asked"
    unasked = session("u1", unasked=str(NOW_S - 180), ip="100.64.3.4")
    assert judged(unasked) == (Enforced.NO, "not-proven", text.format("100.64.3.4").replace("was", "could not be"))
    both = {**lost, **session("u2", ip="100.64.0.9")}
    got = recipe().judge(enforcement(), seen_of(SUSPENDED, both), gone("u1", "u2"))
    assert (got.how, got.detail) == ("still-online", "1 session carries on as before")


def test_a_session_that_may_be_over_proves_no_restore() -> None:
    text = (
        "not proven: the end of 100.64.3.4 was asked for, and accounting does not show that it goes on; the"
        " next login gets what is wanted"
    )
    plan = expect(AccessPlan, planned(RESTORE, SUSPENDED, session("u1", **OUT)))
    assert spared(plan)["spared"] == "u1", "its NAS may have done nothing: nobody is thrown out for it"
    assert plan.enforce is not None
    got = recipe().judge(plan.enforce, seen_of(USER, session("u1", **OUT)), {})
    assert (got.enforced, got.how, got.detail, got.again) == (Enforced.UNPROVEN, "not-proven", text, ())
    assert recipe().judge(plan.enforce, seen_of(SUSPENDED, session("u1", **OUT)), {}).how == "not-in-effect"
    heard = session("u1", ip="100.64.3.4", heard=str(NOW_S))
    assert recipe().judge(plan.enforce, seen_of(USER, heard), {}).how == "inferred", "its NAS did nothing"
    beside = {**session("u1", **OUT), **session("u2", ip="100.64.0.9")}
    assert recipe().judge(plan.enforce, seen_of(USER, beside), {}).how == "inferred", "accounting knows what followed"
    assert judged(session("u2", **OVER), user=USER, wanted=RESTORE)[:2] == (Enforced.NO, "garden")


def test_an_end_that_the_database_forgot_is_asked_for_again() -> None:
    """A failover brought the row of an ended session back: only its NAS can say that there is no such session."""
    enforce = enforcement()
    plan = expect(AccessPlan, planned(SUSPEND, USER))
    effect = expect(Effect, plan.steps[-1].do)
    back = {**session("u2", ip="100.127.0.9"), **session("u1", ip="10.0.0.9")}
    assert recipe().judge(enforce, seen_of(SUSPENDED, back), gone("u1")).again == (effect.address,)
    assert recipe().judge(enforce, seen_of(SUSPENDED, session("u1")), {}).again == ()


def test_no_session_is_at_the_next_login() -> None:
    assert judged(ABSENT)[:2] == (Enforced.PENDING, "none-known")


@pytest.mark.parametrize(
    "known",
    [
        {"ip": "100.127.3.4"},
        {"ip": "100.127.3.4", "pd": "2001:db8:ff12::/56"},
        {"ip6": "2001:db8:ff12:1::/64"},
        {"address6": "2001:db8:ff12::5"},
    ],
)
def test_an_address_in_the_garden_proves_a_suspension(known: dict[str, str]) -> None:
    assert judged(session("u2", **known))[:2] == (Enforced.YES, "garden")
    assert judged(session("u2", **known), user=USER, wanted=RESTORE)[:2] == (Enforced.NO, "garden")


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"ip": "rubbish"},
        {"since": str(NOW_S + 5)},
    ],
)
def test_else_it_is_inferred_from_a_new_session_and_its_reply(known: dict[str, str]) -> None:
    assert judged(session("u2", **known))[:2] == (Enforced.YES, "inferred")
    refused = judged(session("u2", **known), user=USER)
    assert refused[:2] == (Enforced.NO, "not-in-effect")
    assert "Mikrotik-Address-List: suspended is wanted, the login would get nothing" in refused[2]


@pytest.mark.parametrize(
    ("known", "out"),
    [
        ({"ip": "100.64.3.4"}, "100.64.3.4"),
        ({"ip": "100.127.3.4", "pd": "2001:db8:4a00::/56"}, "2001:db8:4a00::/56"),  # v4 in, v6 out
        ({"ip": "100.127.3.4", "address6": "2001:db8:4a00::5"}, "2001:db8:4a00::5"),
        ({"pd": "2001:db8::/32"}, "2001:db8::/32"),  # a prefix around the garden is not in it
    ],
)
def test_an_address_outside_the_garden_disproves_a_suspension(known: dict[str, str], out: str) -> None:
    assert judged(session("u2", **known)) == (Enforced.NO, "outside-garden", f"{out} is outside of the garden")


HALF = {"ip": "100.127.3.4", "pd": "2001:db8:4a00::/56"}
"""A suspended session of a subscriber with a prefix of its own, which is outside of the garden at every login."""


def test_one_address_in_the_garden_disproves_a_restore() -> None:
    own: Value = {**fields(USER), "reply:Delegated-IPv6-Prefix": (":= 2001:db8:4a00::/56",)}  # type: ignore[dict-item]  # dict is invariant in its values
    got = judged(session("u2", **HALF), user=own, wanted=RESTORE)
    assert got == (Enforced.NO, "garden", "100.127.3.4 still in the garden")
    (step,) = expect(AccessPlan, planned(RESTORE, own, session("u1", **HALF))).steps
    drop = expect(Effect, step.do)
    assert not has_it(drop, "u1", HALF), "active by its rows and its record, and it is not"


def test_one_of_two_new_sessions_outside_the_garden_is_enough() -> None:
    both = {**session("u2", ip="100.127.0.9"), **session("u3", ip="100.64.0.9")}
    assert judged(both) == (Enforced.NO, "outside-garden", "100.64.0.9 is outside of the garden")


def test_address_of_family_without_garden_disproves_nothing() -> None:
    only4 = replace(METHOD, garden6=())
    plan = expect(AccessPlan, planned(method=only4))
    assert plan.enforce is not None
    half = recipe(method=only4).judge(plan.enforce, seen_of(SUSPENDED, session("u2", **HALF)), {})
    assert half.detail == "100.127.3.4 in the garden; no garden is configured for 2001:db8:4a00::/56"
    seen = seen_of(SUSPENDED, session("u2", pd="2001:db8:4a00::/56"))
    assert recipe(method=only4).judge(plan.enforce, seen, {}).how == "inferred"


@pytest.mark.parametrize(
    ("attribute", "value", "known"),
    [
        ("Framed-IP-Address", "100.64.3.4", {"ip": "100.64.3.4"}),
        ("Framed-IPv6-Address", "2001:db8:9:9::5", {"address6": "2001:db8:9:9::5"}),
        ("Framed-IPv6-Prefix", "2001:db8:1:2::/64", {"ip6": "2001:db8:1:2::/64"}),
        ("Delegated-IPv6-Prefix", "2001:db8:4a00::/56", {"pd": "2001:db8:4a00::/56"}),
    ],
)
def test_a_static_address_cannot_be_in_the_garden_and_is_told(
    attribute: str, value: str, known: dict[str, str]
) -> None:
    user: Value = {**fields(SUSPENDED), f"reply:{attribute}": (f":= {value}",)}  # type: ignore[dict-item]  # dict is invariant in its values
    enforced, how, detail = judged(session("u2", **known), user)
    assert (enforced, how) == (Enforced.YES, "inferred")
    assert f"({value} is static, by its login's reply" in detail
    other = {name: "100.64.9.9" if name == "ip" else "2001:db8:9:9::/64" for name in known}
    assert judged(session("u2", **other), user)[:2] == (Enforced.NO, "outside-garden"), "pinned to another one"


# --- sessions from before --------------------------------------------------------------------------------------------


def test_session_from_before_preview_not_ended_is_old_one() -> None:
    old, lasted = session("u7", since=str(NOW_S - 86400)), {"u7": {"nas": "10.0.0.1", "lasted": "86000"}}
    told = "1 session carries on from before the change"
    for ended in ({}, gone("u1")):
        got = recipe().judge(enforcement(), seen_of(SUSPENDED, old, accounted=lasted), ended)
        assert (got.enforced, got.how, got.detail) == (Enforced.NO, "old-session", told)
        got = recipe().judge(enforcement(RESTORE, SUSPENDED), seen_of(USER, old, accounted=lasted), ended)
        assert (got.enforced, got.how) == (Enforced.NO, "old-session")


@pytest.mark.parametrize(
    ("ahead_s", "told", "how"),
    [
        (100, {"u1": {"nas": "10.0.0.1", "stopped": str(NOW_S - 90)}}, "inferred"),
        (100, {"u1": {"nas": "10.0.0.2", "stopped": str(NOW_S - 90)}}, "age-not-certain"),  # another NAS' clock
        (100, {}, "age-not-certain"),  # nobody heard of the end of the one that was ended
        (100, {"u7": {"nas": "10.0.0.1", "lasted": "9"}}, "age-not-certain"),  # its last report may be older
        (0, {}, "inferred"),
    ],
)
def test_our_clock_ahead_makes_no_session_old(ahead_s: int, told: Mapping[str, Value], how: str) -> None:
    """Seed 6000092: from before the preview on. It began 11 s after that, and 1 s after the end of the one before."""
    new = session("u7", since=str(NOW_S + 11 - ahead_s))
    seen = {a: replace(s, at_s=NOW_S + 20) for a, s in seen_of(SUSPENDED, new, accounted=told).items()}
    got = recipe().judge(enforcement(), seen, gone("u1"))
    assert got.how == how
    if how == "age-not-certain":
        assert got.detail == "accounting dates 1 session before the change, by a clock that is not ours"


def test_accounting_is_asked_of_sessions_that_seem_old_alone() -> None:
    enforce, ended = enforcement(), gone("u1")

    def read(sessions: Value, seen: Mapping[Address, Seen]) -> set[Address]:
        left = {a: s for a, s in {**seen_of(SUSPENDED, sessions), **seen}.items() if "/accounted/" not in a}
        return set(recipe().enforcement_reads(enforce, left, ended))

    old = str(NOW_S - 86400)
    assert read(session("u7", since=old), {}) == {at("accounted", "u7"), at("accounted", "u1")}
    assert not read(session("u7", since=str(NOW_S + 1)), {})
    assert not read(session("u7", since=old, ip="100.127.0.9"), {}), "its address says that it is suspended"
    assert not read({**session("u7", since=old), **session("u1", since=old)}, {}), "one that was ended is there still"


def test_an_old_session_in_the_garden_is_where_it_should_be() -> None:
    old = session("u7", ip="100.127.0.9", since=str(NOW_S - 86400))
    assert judged(old)[:2] == (Enforced.YES, "garden")


@pytest.mark.parametrize(
    ("age_s", "ended", "how"),
    [
        (20 + 60 + 60, {}, "inferred"),
        (20 + 60 + 61, {}, "age-not-certain"),
        (20 + 60 + 61, gone("u1"), "inferred"),  # judged late, after a crash: it redialed long ago
    ],
)
def test_if_nothing_was_ended_accounting_was_late(age_s: int, ended: Mapping[Address, Seen], how: str) -> None:
    judged_s = NOW_S + 7200
    late = {"u7": ("nas=10.0.0.1", f"since={judged_s - age_s}")}
    seen = {a: replace(s, at_s=judged_s) for a, s in seen_of(SUSPENDED, late).items()}
    assert recipe().judge(enforcement(), seen, ended).how == how


@pytest.mark.parametrize("ended", [(), ("u1",)])
@pytest.mark.parametrize(("clock_set", "right_s"), [(-400, 0), (-400, -400), (86_400, 0)])
def test_our_clock_set_meanwhile_makes_no_session_old(clock_set: int, right_s: int, ended: Sequence[str]) -> None:
    """Seed 5000090: ours was ahead at the preview. Accounting tells a beginning by the clock of another machine.

    `right_s`: how far that one was from ours at the preview.
    """
    told = enforcement()
    told = replace(told, expect={**told.expect, CLOCK_SET: str(clock_set)})
    for since_s, how in ((NOW_S + right_s + 20, "inferred"), (NOW_S - 600, "age-not-certain")):
        late = {"u7": ("nas=10.0.0.1", f"since={since_s}")}
        seen = {a: replace(s, at_s=NOW_S + 30 + clock_set) for a, s in seen_of(SUSPENDED, late).items()}
        assert recipe().judge(told, seen, gone(*ended)).how == how


# --- sessions that a restore spares -----------------------------------------------------------------------------------

GARDENED: Value = {"u1": ("login=amina.h", "nas=10.0.0.1", "sid=81c0004f", f"since={NOW_S - 60}", "ip=100.127.3.4")}
BACK: Value = {"u2": ("login=amina.h", "nas=10.0.0.1", "sid=81c00050", f"since={NOW_S - 1}", "ip=100.64.9.9")}


def spared(plan: AccessPlan | CannotEnforce) -> dict[str, str]:
    assert isinstance(plan, AccessPlan), plan
    drop = expect(Effect, plan.steps[-1].do)
    return {name: drop.args[name] for name in ("outside", "right-since", "known", "spared") if name in drop.args}


def test_a_restore_spares_logins_since_the_hand_edit() -> None:
    both = {**fields(GARDENED), **fields(BACK)}
    plan = planned(RESTORE, USER, both)  # type: ignore[arg-type]  # dict is invariant in its values
    now = str(NOW_S)
    assert spared(plan) == {"outside": now, "right-since": now, "known": "u1", "spared": "u2"}, "under right rows"
    assert spared(planned(RESTORE, SUSPENDED, both)) == {"outside": now, "known": "u1", "spared": "u2"}  # type: ignore[arg-type]  # dict is invariant in its values


def test_a_restore_spares_a_session_that_never_was_suspended() -> None:
    """A NAS acknowledged the suspension's disconnect and did nothing."""
    plan = expect(AccessPlan, planned(RESTORE, SUSPENDED, ONLINE))
    drop = expect(Effect, plan.steps[-1].do)
    assert "now" not in drop.args, "no session ends by it"
    assert plan.enforce is not None
    got = recipe().judge(plan.enforce, seen_of(USER, ONLINE), {})
    assert (got.enforced, got.how) == (Enforced.YES, "inferred")
    assert "which never was suspended" in got.detail
    came_later = {**fields(ONLINE), **session("u8", ip="100.64.3.3", since=str(NOW_S - 86400))}
    assert recipe().judge(plan.enforce, seen_of(USER, came_later), {}).how == "age-not-certain"  # type: ignore[arg-type]  # dict is invariant in its values


def test_a_restore_spares_no_session_with_more_than_its_address() -> None:
    target, names = SqlTarget("main", Database.POSTGRESQL), {"10.0.0.2": "bng-2"}
    shown = RadiusAccess(METHOD, target, names, watched=["10.0.0.2"])
    assert spared(shown.plan(RESTORE, SERVICE, seen_of(SUSPENDED, ONLINE))) == {"outside": str(NOW_S), "known": "u1"}


def test_an_address_that_the_reply_pins_spares_nobody() -> None:
    pinned = {**fields(SUSPENDED), "reply:Framed-IP-Address": (":= 100.64.9.9",)}
    assert spared(planned(RESTORE, pinned, ONLINE)) == {}  # type: ignore[arg-type]  # dict is invariant in its values


# --- sessions that are not the login's, or out of reach --------------------------------------------------------------

STALE: Value = {"u0": ("login=amina.h", "nas=10.9.9.9", "sid=dead", f"since={NOW_S - 7200}")}


def test_restore_leaves_out_sessions_on_unknown_nas_and_says_so() -> None:
    plan = expect(AccessPlan, planned(RESTORE, SUSPENDED, {**fields(ONLINE), **fields(STALE)}))  # type: ignore[dict-item]  # dict is invariant in its values
    assert plan.display["now"] == (
        "online 6d on bng-2 · 100.64.12.9 · 2001:db8:4a00::/56; "
        "not checked, since on no configured NAS: online 2h on 10.9.9.9"
    )
    assert (plan.display["nas"], plan.display["sessions"]) == ("bng-2", "1")
    drop = expect(Effect, plan.steps[1].do)
    assert drop.args == {
        "nas": "configured",
        "in": GARDEN,
        "outside": str(NOW_S),
        "known": "u0",
        "spared": "u1",
    }
    (again,) = plan.steps[1].on_revert
    assert again.args == {"not-in": GARDEN}, "back to suspended, nobody may be left online"
    alone = expect(AccessPlan, planned(RESTORE, SUSPENDED, STALE))
    assert alone.display["online"] == "offline by accounting"
    assert alone.display["now"].startswith("offline by accounting; not checked, since on no configured NAS")


def test_a_session_on_a_nas_without_an_address_is_named_so() -> None:
    """FreeRADIUS' queries for MariaDB write the NAS-IP-Address of a NAS, and one with IPv6 alone has none."""
    nowhere: Value = {"u0": ("login=amina.h", "sid=dead", f"since={NOW_S - 7200}")}
    refused = expect(CannotEnforce, planned(SUSPEND, USER, nowhere))
    assert "a session on a NAS without an address less than" in refused.detail
    plan = expect(AccessPlan, planned(RESTORE, SUSPENDED, nowhere))
    assert plan.display["now"].endswith("on no configured NAS: online 2h on a NAS without an address")


def test_beside_a_session_on_no_known_nas_none_is_proven() -> None:
    """It may be in the garden, and nobody can ask about it; it was said that accounting has none."""
    enforce, new = enforcement(RESTORE, SUSPENDED), session("u2", ip="100.64.0.9", since=str(NOW_S))
    text = "not proven: not checked, since on no configured NAS: online 2h on 10.9.9.9"
    walled = {"u0": (*fields(STALE)["u0"], "ip=100.127.0.7")}
    for stray, told in ((STALE, text), (walled, f"{text} · 100.127.0.7")):
        for beside in ({}, new):
            got = recipe().judge(enforce, seen_of(USER, {**fields(stray), **beside}), gone("u1"))  # type: ignore[dict-item]  # dict is invariant in its values
            assert (got.enforced, got.how, got.detail) == (Enforced.UNPROVEN, "not-proven", told)
    out = {"u0": (*fields(STALE)["u0"], "ip=100.64.0.7")}
    got = recipe().judge(enforce, seen_of(USER, {**out, **new}), gone("u1"))
    assert (got.enforced, got.how) == (Enforced.YES, "inferred"), "it never was suspended, or no longer is"
    silent = {"u0": ("login=amina.h", "nas=10.9.9.9", f"since={NOW_S - 3 * 86400}")}
    got = recipe().judge(enforce, seen_of(USER, silent), gone("u1"))
    assert (got.enforced, got.how) == (Enforced.PENDING, "none-known")
    assert got.detail.endswith("; not checked, since on no configured NAS: online 3d on 10.9.9.9")


def test_a_suspension_and_a_kick_do_not_leave_out_anybody() -> None:
    for got in (planned(SUSPEND, USER, STALE), recipe().disconnect(SERVICE, seen_of(USER, STALE))):
        assert isinstance(got, CannotEnforce)
        assert got.reason == "unknown-nas"
    assert judged(STALE)[0] is Enforced.NO


def test_session_of_another_login_that_database_holds_equal() -> None:
    foreign = {"u9": ("login=amína.h", "nas=10.0.0.1", "sid=9", "ip=100.64.7.7")}
    for got in (
        planned(SUSPEND, USER, foreign),
        planned(RESTORE, SUSPENDED, foreign),
        recipe().disconnect(SERVICE, seen_of(USER, foreign)),
    ):
        assert isinstance(got, CannotEnforce)
        assert (got.reason, "amina.h and amína.h" in got.detail) == ("ambiguous-login", True)
    assert judged(foreign)[:2] == (Enforced.PENDING, "none-known"), "it came after the preview, and is not this login's"
    cased = {"u9": ("login=AMINA.H ", "nas=10.0.0.1", "sid=9")}
    assert isinstance(planned(SUSPEND, USER, cased), AccessPlan)


def test_rows_that_came_to_be_mixed_prove_nothing() -> None:
    mixed: Value = {**fields(SUSPENDED), "same-as": ("amína.h",)}  # type: ignore[dict-item]  # dict is invariant in its values
    enforced, how, detail = judged(session("u2"), mixed)
    assert (enforced, how) == (Enforced.NO, "not-in-effect")
    assert "amina.h and amína.h to be the same login" in detail


# --- suspended already -----------------------------------------------------------------------------------------------

PINNED: Value = {**fields(SUSPENDED), "reply:Framed-IP-Address": (":= 100.64.3.4",)}  # type: ignore[dict-item]  # dict is invariant in its values


@pytest.mark.parametrize(
    ("known", "user"),
    [
        ({"ip": "100.64.3.4"}, SUSPENDED),
        ({"ip": "100.127.3.4", "pd": "2001:db8:4a00::/56"}, SUSPENDED),
        ({}, SUSPENDED),  # no address is known: nothing says that it is in the garden
        ({"ip": "100.64.3.4", "pd": "2001:db8:4a00::/56"}, PINNED),
    ],
)
def test_marked_but_online_outside_the_garden_is_ended(known: dict[str, str], user: Value) -> None:
    plan = expect(AccessPlan, planned(SUSPEND, user, session("u1", sid="s1", **known)))
    (step,) = plan.steps
    assert isinstance(step.do, Effect)
    assert (step.n, step.after, step.on_revert, step.do.args) == (
        1,
        (),
        (),
        {"now": "s1 on bng-1", "not-in": GARDEN},
    )
    own = {"own-address": "100.64.3.4"} if user is PINNED else {}
    assert plan.enforce == replace(enforcement(), expect={**enforcement().expect, **own})


@pytest.mark.parametrize(
    ("sessions", "user", "method"),
    [
        (session("u1", ip="100.127.3.4"), SUSPENDED, METHOD),
        (session("u1", ip="100.64.3.4"), PINNED, METHOD),
        (session("u1", pd="2001:db8:4a00::/56"), SUSPENDED, replace(METHOD, garden6=())),
        (session("u1", ip="100.64.3.4"), SUSPENDED, replace(METHOD, garden4=(), garden6=())),
    ],
    ids=["in the garden", "static", "a family without a garden", "no garden"],
)
def test_marked_already_and_where_it_can_be_has_no_steps(sessions: Value, user: Value, method: Method) -> None:
    known = replace(SERVICE, reasons=frozenset({SuspensionReason.DEBT}))
    plan = expect(AccessPlan, recipe(method=method).plan(SUSPEND, known, seen_of(user, sessions)))
    assert (plan.steps, plan.enforce) == ((), None)
    by_hand = expect(AccessPlan, planned(SUSPEND, user, sessions, method=method))
    in_the_garden = user is SUSPENDED and method is METHOD
    assert bool(by_hand.steps) is not in_the_garden, "a marker that we did not set: the session may be from before it"


def test_suspended_with_a_session_maybe_over_is_not_already() -> None:
    """Its NAS was asked to end it, and the Start of the session that followed may be lost."""
    known = replace(SERVICE, reasons=frozenset({SuspensionReason.DEBT}))
    for service in (SERVICE, known):
        plan = expect(AccessPlan, recipe().plan(SUSPEND, service, seen_of(SUSPENDED, session("u1", sid="s1", **OVER))))
        (step,) = plan.steps
        drop = expect(Effect, step.do)
        assert drop.args == {"now": "s1 on bng-1", "not-in": GARDEN}
        assert plan.display["now"] == "online on bng-1 · 100.127.3.4 · may be over: its end was asked for 3m ago"


@pytest.mark.parametrize("watched", [[], ["10.0.0.1"]])
def test_active_with_a_session_maybe_over_is_judged_if_recorded(watched: list[str]) -> None:
    known = replace(SERVICE, reasons=frozenset({SuspensionReason.DEBT}))
    method = RadiusAccess(METHOD, SqlTarget("main", Database.POSTGRESQL), {"10.0.0.1": "bng-1"}, watched=watched)
    seen = seen_of(USER, session("u1", **OUT))
    plan = expect(AccessPlan, method.plan(RESTORE, known, seen))
    (step,) = plan.steps
    drop = expect(Effect, step.do)
    assert has_it(drop, "u1", OUT), "it is not ended for that"
    assert plan.enforce is not None
    assert method.judge(plan.enforce, seen, {}).enforced is Enforced.UNPROVEN
    assert expect(AccessPlan, method.plan(RESTORE, SERVICE, seen)).steps == (), "nothing would change"
    both = seen_of(USER, {**session("u1", **OUT), **session("u2", ip="100.64.0.9")})
    assert expect(AccessPlan, method.plan(RESTORE, known, both)).steps == (), "accounting knows what followed"


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_in_replies_are_masked_in_what_people_read() -> None:
    groups = {
        **GROUPS,
        "home20": to_value(
            [
                UserRow(Table.REPLY, "Mikrotik-Rate-Limit", ":=", "20M/20M"),
                UserRow(Table.REPLY, "Cisco-AVPair", "+=", "psk=hunter2"),
                UserRow(Table.REPLY, "MS-MPPE-Send-Key", ":=", "0xhunter3"),
            ],
            lambda label, value: "cd" * 32,
        ),
    }
    plan = expect(AccessPlan, planned(RESTORE, SUSPENDED, groups=groups))
    assert plan.display["after"] == (
        "Mikrotik-Rate-Limit=20M/20M · Cisco-AVPair=*** · MS-MPPE-Send-Key=*** (groups home20)"
    )
    assert "hunter" not in repr(plan)


def test_a_wanted_secret_is_masked_in_a_refusal() -> None:
    wants = replace(METHOD, suspended_reply={"Cisco-AVPair": "ip:psk=hunter2"})
    got = expect(CannotEnforce, planned(method=wants))
    assert got.detail.startswith("Cisco-AVPair: *** is wanted")


def test_restored_is_inferred_unless_the_marker_is_back() -> None:
    assert judged(session("u2", ip="100.64.3.4"), USER, RESTORE)[:2] == (Enforced.YES, "inferred")
    got = judged(session("u2", ip="100.64.3.4"), SUSPENDED, RESTORE)
    assert got == (Enforced.NO, "not-in-effect", "group suspended is applied")


def test_a_changed_tariff_must_be_applied() -> None:
    fifty = ServiceState(Access.ACTIVE, "Home 50M")
    enforce = enforcement(fifty)
    user: Value = {"check:Cleartext-Password": SecretRef("ab" * 32), "group:home50": "1"}
    for rows, wanted in ((user, Enforced.YES), (USER, Enforced.NO)):
        got = recipe().judge(enforce, seen_of(rows, session("u2", ip="100.64.3.4")), {})
        assert got.enforced is wanted


def test_a_user_that_is_gone_is_not_inferred() -> None:
    assert judged(session("u2"), user=ABSENT)[:2] == (Enforced.NO, "not-in-effect")


def test_enforcement_reads_no_more_than_it_needs() -> None:
    r, enforce = recipe(), enforcement()
    where = at("sessions", "amina.h")
    together = [where, at("user", "amina.h")]
    assert list(r.enforcement_reads(enforce, {})) == together, "one read for both, since both are always needed"
    none = {where: Seen(ABSENT, 0)}
    assert list(r.enforcement_reads(enforce, none)) == [at("user", "amina.h")], "staff may have edited the rows since"
    online = {where: Seen(ONLINE, 0)}
    assert list(r.enforcement_reads(enforce, online)) == [at("user", "amina.h")]
    rows = {**online, at("user", "amina.h"): Seen(SUSPENDED, 0), at("accounted", "u1"): Seen(ABSENT, 0)}
    groups = r.enforcement_reads(enforce, rows)
    assert set(groups) == {at("group", "home20"), at("group", "suspended")}
    assert not r.enforcement_reads(enforce, {**rows, **{g: Seen(ABSENT, 0) for g in groups}})


# --- a change while the session goes on ---


FASTER = {
    "home20": {"reply:Mikrotik-Rate-Limit": (":= 20M/20M",)},
    "home50": {"reply:Mikrotik-Rate-Limit": (":= 50M/50M",)},
}


def effects(
    of: Mapping[str, Mapping[str, tuple[str, ...]]], *coa: str, nas: str = "10.0.0.2"
) -> list[tuple[str, object]]:
    method = replace(METHOD, coa=coa)
    made = RadiusAccess(method, SqlTarget("main", Database.POSTGRESQL), {"10.0.0.1": "", "10.0.0.2": ""}, watched=[nas])
    plan = expect(AccessPlan, made.plan(ServiceState(Access.ACTIVE, "Home 50M"), SERVICE, seen_of(USER, ONLINE, of)))
    return [(step.do.verb, dict(step.do.args)) for step in plan.steps if isinstance(step.do, Effect)][:1]


def test_a_speed_is_changed_while_the_session_goes_on() -> None:
    assert effects(FASTER, "Mikrotik-Rate-Limit") == [("coa", {"Mikrotik-Rate-Limit": "50M/50M"})]
    assert effects(FASTER)[0][0] == "disconnect"
    assert effects(FASTER, "Mikrotik-Rate-Limit", nas="10.0.0.1")[0][0] == "disconnect"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("Session-Timeout", "3600", "7200"),
        ("Mikrotik-Address-List", "basic", "gold"),
        ("Mikrotik-Rate-Limit", "20M/20M", "20M/20M 40M/40M 15M/15M 8/8"),
    ],
)
def test_what_no_router_shows_is_not_changed_by_coa(name: str, before: str, after: str) -> None:
    """Its queue has the speed that it is to have, with the CoA and without it: that would prove what was not done."""
    of = {"home20": {f"reply:{name}": (f":= {before}",)}, "home50": {f"reply:{name}": (f":= {after}",)}}
    alike = {"reply:Mikrotik-Rate-Limit": (":= 20M/20M",)}
    groups = {group: {**alike, **rows} for group, rows in of.items()}
    assert effects(groups, "Mikrotik-Rate-Limit", name)[0][0] == "disconnect"


# --- what the network reads now ---

DISABLED_GROUP = "daloRADIUS-Disabled-Users"
REJECTING: Mapping[str, Value] = {**GROUPS, DISABLED_GROUP: {"check:Auth-Type": (":= Reject",)}}


def state_of(
    user: Value = USER,
    sessions: Value = ABSENT,
    groups: Mapping[str, Value] = GROUPS,
    tables: TableSet = TableSet.STOCK,
    method: Method = METHOD,
) -> NetworkState:
    target = SqlTarget("main", Database.POSTGRESQL, tables=tables)
    made = RadiusAccess(method, target, {"10.0.0.1": "bng-1", "10.0.0.2": "bng-2"})
    return made.network_state(SERVICE, seen_of(user, sessions, groups))


def test_an_active_login_and_its_session() -> None:
    state = state_of(sessions=ONLINE)
    assert (state.access, state.refused, state.unknown, state.absent) == (Access.ACTIVE, "", "", False)
    assert (state.tariff, state.groups) == ("Home 20M", ("home20",))
    assert state.reply == {"Mikrotik-Rate-Limit": "20M/20M", "Framed-Pool": "cgnat"}
    (session,) = state.sessions
    assert (session.place, session.source, session.since_s) == ("bng-2", "accounting", NOW_S - 6 * 86400)
    assert session.address == "100.64.12.9 · 2001:db8:4a00::/56"
    assert session.facts["sid"] == "81c0004f"
    assert (session.carries, session.how) == (Access.ACTIVE, "outside-garden")
    assert "as accounting has them" in state.not_checked[0]


def test_our_marker_is_a_suspension_a_garden_session_carries_it() -> None:
    inside: Value = {"u2": ("login=amina.h", "nas=10.0.0.9", "ip=100.127.0.5")}
    state = state_of({**fields(USER), "group:suspended": "-1"}, inside)
    assert (state.access, state.tariff, state.groups) == (Access.SUSPENDED, "Home 20M", ("suspended", "home20"))
    (session,) = state.sessions
    assert (session.place, session.since_s, session.carries) == ("10.0.0.9", None, Access.SUSPENDED)


def test_a_garden_session_maybe_over_carries_no_suspension() -> None:
    (session,) = state_of(SUSPENDED, {"u2": ("nas=10.0.0.1", "ip=100.127.0.5", f"may-be-over={NOW_S}")}).sessions
    assert (session.carries, session.how, session.facts) == (None, "not-told", {"nas": "10.0.0.1", "ip": "100.127.0.5"})
    (session,) = state_of(USER, {"u2": ("nas=10.0.0.1", "ip=100.127.0.5", f"may-be-over={NOW_S}")}).sessions
    assert session.carries is Access.SUSPENDED, "its login is active: whether it is still there is for its NAS to say"
    (session,) = state_of(USER, {"u2": ("nas=10.0.0.1", "ip=100.64.0.5", f"may-be-over={NOW_S}")}).sessions
    assert session.unsure == "the end of 100.64.0.5 was asked for, and accounting does not show that it goes on"


def test_without_a_garden_a_sessions_policy_cannot_be_told() -> None:
    (session,) = state_of(sessions=ONLINE, method=replace(METHOD, garden4=(), garden6=())).sessions
    assert (session.carries, session.how) == (None, "not-told")


@pytest.mark.parametrize(
    ("user", "tables", "says"),
    [
        ({"group:" + DISABLED_GROUP: "0"}, TableSet.DALORADIUS, "disabled in daloRADIUS (group daloRADIUS-Disabled-"),
        ({"group:" + DISABLED_GROUP: "0"}, TableSet.STOCK, "(Auth-Type), by group daloRADIUS-Disabled-Users"),
        ({"check:Auth-Type": (":= Reject",)}, TableSet.DALORADIUS, "the login is rejected (Auth-Type), by the user's"),
        (
            {"check:Expiration": (":= 01 Jan 2020",)},
            TableSet.STOCK,
            "the account has expired (Expiration), by the user",
        ),
        ({"check:Cleartext-Password": ()}, TableSet.STOCK, "there is no password"),
    ],
)
def test_a_login_that_staff_disabled_is_refused_today(user: dict[str, Value], tables: TableSet, says: str) -> None:
    state = state_of({**fields(USER), **user}, groups=REJECTING, tables=tables)
    assert says in state.refused
    assert (state.access, state.unknown, state.reply, state.tariff) == (None, "", {}, "Home 20M")


def test_a_disabled_login_with_our_marker_gets_the_markers() -> None:
    """The marker at -1 is read first and does not fall through: this login is accepted, into the garden."""
    state = state_of(
        {**fields(USER), "group:suspended": "-1", f"group:{DISABLED_GROUP}": "0"},
        groups=REJECTING,
        tables=TableSet.DALORADIUS,
    )
    assert (state.access, state.refused) == (Access.SUSPENDED, "")


@pytest.mark.parametrize(
    ("user", "groups", "says"),
    [
        (USER, {"home20": {"check:NAS-Port-Type": ("== Virtual",)}}, "whether the router sends NAS-Port-Type"),
        ({**fields(USER), "group:unpaid": "-5"}, {"unpaid": {"reply:Framed-Pool": (":= pay",)}}, "home20 is not appl"),
        ({**fields(USER), "group:stop": "-5"}, {"stop": {"reply:Mikrotik-Address-List": (":= suspended",)}}, "without"),
        ({**fields(USER), "group:suspended": "-1"}, {"suspended": {"reply:Framed-Pool": (":= x",)}}, "does not get"),
        ({**fields(USER), "same-as": ("amína.h",)}, {}, "to be the same login"),
        ({**fields(USER), "group:home20": "first"}, {}, "expected a whole number as priority"),
        ({**fields(USER), "check:Pool-Sname": (":= x",)}, {}, "Pool-Sname"),
    ],
)
def test_what_cannot_be_told_is_said(user: Value, groups: Mapping[str, Value], says: str) -> None:
    state = state_of(user, groups={**GROUPS, **groups})
    assert (state.access, state.refused) == (None, "")
    assert says in state.unknown


def test_a_user_without_rows_is_absent() -> None:
    state = state_of(ABSENT, ONLINE)
    assert (state.absent, state.access, state.groups) == (True, None, ())
    assert "has no user amina.h" in state.unknown
    assert [one.place for one in state.sessions] == ["bng-2"]


def test_the_tariff_that_the_rows_map_to() -> None:
    assert state_of({**fields(USER), "group:home50": "2"}).tariff == ""
    moved = {"check:Cleartext-Password": SecretRef("ab" * 32), "group:home50": "1"}
    assert state_of(moved).tariff == "Home 50M"
    shared = replace(METHOD, tariffs={"Home 20M": "home20", "Old 20M": "home20"})
    assert state_of(method=shared).tariff == "Home 20M"
    assert state_of(method=replace(METHOD, tariffs={"A": "home20", "B": "home20"})).tariff == ""


# --- sessions that accounting does not know, and rows of sessions that are over ---------------------------------------

PLACES = NasPlaces(("bng-1", "bng-2"))
HELD = [at("held", f"bng-{n}/amina.h") for n in (1, 2)]
SINCE_BEFORE = f"since={NOW_S - 6 * 86400}"


def placed(places: NasPlaces = PLACES) -> RadiusAccess:
    nas = {"10.0.0.1": "bng-1", "10.0.0.2": "bng-2"}
    return RadiusAccess(METHOD, SqlTarget("main", Database.POSTGRESQL), nas, places=places)


def judged_none(
    *said: str | None, sessions: Value = ABSENT, places: NasPlaces = PLACES, ended: Mapping[Address, Seen] = NONE_ENDED
) -> Judgment:
    """Judge a suspension where accounting has no session, by no more than is asked for.

    `said`: why it is not known of each NAS, None where it said so, `ACK` where it acknowledged an end; nothing: no NAS
    is asked for.
    """
    made = placed(places)
    plan = expect(AccessPlan, made.plan(SUSPEND, SERVICE, seen_of(USER, sessions)))
    assert plan.enforce is not None
    seen = seen_of({**fields(USER), "group:suspended": "-1"}, sessions)  # type: ignore[dict-item]  # dict is invariant in its values
    wanted = made.enforcement_reads(plan.enforce, seen, ended)
    held = [a for a in wanted if a in HELD]
    assert held == (HELD[: len(places.asked)] if said else [])
    for where, why in zip(held, said, strict=True):
        acked = at("acked", where.removeprefix(at("held", "")))
        assert acked in wanted
        seen[where] = Seen(ABSENT if why in (None, "ACK") else {"why": why}, NOW_S + 1)
        seen[acked] = Seen({"at": str(NOW_S + 1)} if why == "ACK" else ABSENT, NOW_S + 1)
    return made.judge(plan.enforce, seen, ended)


def test_the_preview_names_the_nas_that_are_asked() -> None:
    plan = expect(AccessPlan, placed(NasPlaces(("bng-1",), ("bng-2",))).plan(SUSPEND, SERVICE, seen_of()))
    drop = expect(Effect, plan.steps[1].do)
    assert drop.args == {"not-in": GARDEN, "by-user-name": "bng-1"}
    assert [again.args for again in plan.steps[1].on_revert] == [
        {"nas": "configured", "in": GARDEN, "by-user-name": "bng-1"}
    ]
    assert "where accounting has none, bng-1 asked by User-Name" in plan.display["proof"]
    assert "not checked: whether bng-2 has one that accounting has not" in plan.display["proof"]
    assert plan.display["online"] == "offline by accounting (asked by User-Name: bng-1)"


def test_offline_once_every_nas_said_so() -> None:
    assert judged_none(None, None) == Judgment(
        Enforced.PENDING,
        "none-known",
        "no session on bng-1, bng-2 when asked 0s ago, and none by accounting: it holds at the next login",
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((None, "did not answer"), "bng-2 did not answer"),
        (("was not asked", "did not answer"), "bng-1 was not asked, bng-2 did not answer"),
        (("ACK", None), "bng-1 acknowledged the end of one, which nothing shows"),  # some acknowledge and do nothing
    ],
)
def test_not_proven_while_a_nas_did_not(said: tuple[str | None, ...], told: str) -> None:
    text = f"not proven: accounting has no session and {told}"
    assert judged_none(*said) == Judgment(Enforced.UNPROVEN, "not-proven", text)


@pytest.mark.parametrize(("clock_set", "how"), [(-100, "none-known"), (0, "not-proven"), (100, "not-proven")])
def test_a_nas_said_so_since_the_preview_whoever_set_our_clock(clock_set: int, how: str) -> None:
    """Its answer is 50 s older than the preview by the clock of now."""
    made = placed(NasPlaces(("bng-1",)))
    plan = expect(AccessPlan, made.plan(SUSPEND, SERVICE, seen_of()))
    assert plan.enforce is not None
    told = replace(plan.enforce, expect={**plan.enforce.expect, CLOCK_SET: str(clock_set)})
    seen = seen_of(SUSPENDED)
    seen[HELD[0]] = Seen(ABSENT, NOW_S - 50)
    seen[at("acked", "bng-1/amina.h")] = Seen(ABSENT, NOW_S)
    assert made.judge(told, seen, {}).how == how


def test_a_nas_that_nobody_asks_leaves_it_unproven() -> None:
    got = judged_none(None, places=NasPlaces(("bng-1",), ("bng-3",)))
    assert (got.enforced, got.detail) == (
        Enforced.UNPROVEN,
        "not proven: accounting has no session and bng-3 was not asked",
    )


def test_a_session_of_accounting_that_ended_needs_no_nas() -> None:
    got = judged_none(ended=gone("u1"))
    text = (
        "its old session is gone, and accounting has no other: it holds at the next login; "
        "not proven: bng-1, bng-2 were not asked"
    )
    assert got == Judgment(Enforced.PENDING, "none-known", text), "nobody knows whether another began, its Start lost"


def test_where_its_nas_denied_old_session_answers_by_name_count() -> None:
    """Its row was closed meanwhile (an Accounting-On): the NAS was asked for the login once it denied the session."""
    ended = {**gone("u1"), HELD[0]: Seen({}, 0)}
    assert judged_none(None, "did not answer", ended=ended).enforced is Enforced.UNPROVEN
    assert judged_none(None, None, ended=ended).detail.startswith("no session on bng-1, bng-2 when asked")


REJECTED_NOW = {**fields(USER), f"group:{DISABLED_GROUP}": "0"}


@pytest.mark.parametrize("sessions", [ABSENT, session("u2", ip="100.64.3.4")], ids=["offline", "online"])
def test_a_login_rejected_right_after_a_restore_is_not_active(sessions: Value) -> None:
    seen = seen_of(REJECTED_NOW, sessions, groups=REJECTING)  # type: ignore[arg-type]  # dict is invariant in its values
    got = recipe().judge(enforcement(RESTORE, SUSPENDED), seen, gone("u1"))
    assert (got.enforced, got.how) == (Enforced.NO, "not-in-effect")
    assert "the login is rejected (Auth-Type)" in got.detail


@pytest.mark.parametrize("sessions", [ABSENT, session("u2", ip="100.127.3.4")], ids=["offline", "in the garden"])
def test_a_suspension_without_its_marker_is_not_enforced(sessions: Value) -> None:
    got = recipe().judge(enforcement(), seen_of(USER, sessions), gone("u1"))
    assert (got.enforced, got.how) == (Enforced.NO, "not-in-effect")
    assert "the next login does not get it" in got.detail


def test_suspended_login_that_staff_reject_too_stays_suspended() -> None:
    rows: Value = {**fields(SUSPENDED), "check:Auth-Type": (":= Reject",)}  # type: ignore[dict-item]  # dict is invariant
    got = recipe().judge(enforcement(), seen_of(rows), gone("u1"))
    assert (got.enforced, got.how) == (Enforced.PENDING, "none-known")
    assert "its login is rejected now" in got.detail


def test_a_restored_login_whose_reply_is_not_certain_says_so() -> None:
    rows: Value = {**fields(USER), "check:NAS-Port-Type": ("== Virtual",)}  # type: ignore[dict-item]  # dict is invariant
    got = recipe().judge(enforcement(RESTORE, SUSPENDED), seen_of(rows), gone("u1"))
    assert (got.enforced, got.how) == (Enforced.PENDING, "none-known")
    assert "what the login gets is not certain" in got.detail


GHOST: Value = {"u1": ("login=amina.h", "nas=10.0.0.2", "sid=s1", SINCE_BEFORE, f"denied={NOW_S}")}


def test_a_ghost_is_no_session_and_carries_nothing_on() -> None:
    got = judged_none(None, None, sessions=GHOST, ended={**gone("u1"), **dict.fromkeys(HELD, Seen({}, 0))})
    assert (got.enforced, got.how) == (Enforced.PENDING, "none-known")
    unasked = judged_none("was not asked", None, sessions=GHOST, ended=gone("u1"))
    assert unasked.enforced is Enforced.UNPROVEN, "a ghost that ended says nothing of who is online"


def test_a_ghost_beside_a_session_in_the_garden() -> None:
    both = {**fields(GHOST), "u2": ("login=amina.h", "nas=10.0.0.1", "ip=100.127.3.4", f"since={NOW_S + 5}")}
    made, seen = placed(), seen_of({**fields(USER), "group:suspended": "-1"}, both)  # type: ignore[dict-item,arg-type]  # dict is invariant
    plan = expect(AccessPlan, made.plan(SUSPEND, SERVICE, seen_of(USER, GHOST)))
    assert plan.display["now"] == "offline by accounting; open in accounting, and denied by its NAS: s1 on bng-2"
    assert plan.enforce is not None
    got = made.judge(plan.enforce, seen, gone("u1"))
    assert (got.enforced, got.how) == (Enforced.YES, "garden")


def test_a_long_silent_row_of_no_configured_nas_refuses_nothing() -> None:
    old: Value = {"u1": ("login=amina.h", "nas=10.9.9.9", "sid=s1", SINCE_BEFORE)}
    plan = expect(AccessPlan, placed().plan(SUSPEND, SERVICE, seen_of(USER, old)))
    assert plan.display["now"].endswith("not checked, since on no configured NAS: online 6d on 10.9.9.9")
    got = judged_none(None, None, sessions=old)
    assert got.enforced is Enforced.PENDING
    assert "not checked, since on no configured NAS" in got.detail
    heard: Value = {"u1": ("login=amina.h", "nas=10.9.9.9", "sid=s1", SINCE_BEFORE, f"heard={NOW_S - 600}")}
    refused = expect(CannotEnforce, placed().plan(SUSPEND, SERVICE, seen_of(USER, heard)))
    assert "heard of a session on 10.9.9.9 less than 24 h ago" in refused.detail


@pytest.mark.parametrize(
    ("ip", "ends"),
    [("100.127.3.4", True), ("100.64.3.4", False), ("", True)],
    ids=["in the garden", "outside of it", "nobody can tell"],
)
def test_a_restore_ends_a_garden_session_after_a_hand_edit(ip: str, ends: bool) -> None:
    suspended = replace(SERVICE, reasons=frozenset({SuspensionReason.DEBT}))
    open_one: Value = {"u1": ("login=amina.h", "nas=10.0.0.1", "sid=s1", f"ip={ip}", SINCE_BEFORE)}
    plan = expect(AccessPlan, placed().plan(RESTORE, suspended, seen_of(USER, open_one)))
    assert [s.do.verb for s in plan.steps if isinstance(s.do, Effect)] == ["disconnect"] * ends
    assert len(plan.steps) == ends
    assert (plan.enforce is not None) is ends


def test_rows_as_wanted_without_a_session_ask_the_nas_in_doubt() -> None:
    suspended = replace(SERVICE, reasons=frozenset({SuspensionReason.DEBT}))
    marked: Value = {**fields(USER), "group:suspended": "-1"}  # type: ignore[dict-item]  # dict is invariant in its values
    for wanted, service, user, steps in (
        (RESTORE, suspended, USER, 1),
        (RESTORE, SERVICE, USER, 0),
        (SUSPEND, SERVICE, marked, 1),
        (SUSPEND, suspended, marked, 0),
    ):
        plan = expect(AccessPlan, placed().plan(wanted, service, seen_of(user)))
        assert len(plan.steps) == steps, (wanted, service.reasons)


def test_rows_to_close_are_asked_about_where_their_nas_is_there() -> None:
    rows: Value = {
        **fields(GHOST),
        "u2": ("login=amina.h", "nas=10.9.9.9", "sid=s2", SINCE_BEFORE),
        "u3": ("login=amina.h", "nas=10.0.0.1", "sid=s3", SINCE_BEFORE, f"heard={NOW_S - 60}"),
        "u4": ("login=amina.h", "nas=10.0.0.1", "sid=s4", SINCE_BEFORE, f"may-be-over={NOW_S - 60}"),
    }  # type: ignore[dict-item]  # dict is invariant in its values
    plan = expect(AccessPlan, placed().close_ghosts(SERVICE, seen_of(USER, rows), 24))
    ask, close, alone, _, over = plan.steps
    assert isinstance(ask.do, Effect)
    assert (ask.do.address, ask.do.args, ask.after) == (at("session", "u1"), {"now": "s1 on bng-2"}, ())
    assert not isinstance(close.do, Effect)
    assert (close.do[0].address, close.do[0].after, close.after) == (at("open-row", "u1"), ABSENT, (1,))
    assert "denied" not in fields(close.do[0].before.value), "what its NAS said is not in the row"
    assert not isinstance(over.do, Effect)
    assert "may-be-over" not in fields(over.do[0].before.value)
    assert not isinstance(alone.do, Effect)
    assert (alone.do[0].address, alone.after) == (at("open-row", "u2"), ())
    assert plan.enforce is None
    assert "the row stays in radacct, with a stop time and the cause Stale-Session" in plan.display["after"]
    none = expect(AccessPlan, placed().close_ghosts(SERVICE, seen_of(USER, rows), 8000))
    assert none.steps == ()


def test_a_nas_without_updates_is_named_in_its_own_warning() -> None:
    updated: Value = {"u1": ("login=amina.h", "nas=10.0.0.1", "sid=s1", SINCE_BEFORE, f"heard={NOW_S - 3 * 86400}")}
    plan = expect(AccessPlan, placed().close_ghosts(SERVICE, seen_of(USER, updated), 24))
    assert "warning" not in plan.display
    for heard in ((), (f"heard={NOW_S - 6 * 86400}",)):
        never: Value = {"u1": ("login=amina.h", "nas=10.0.0.1", "sid=s1", SINCE_BEFORE, *heard)}
        plan = expect(AccessPlan, placed().close_ghosts(SERVICE, seen_of(USER, never), 24))
        assert plan.display["warning"] == (
            "accounting got no update of a session on bng-1 since it began: if that NAS sends none, the session may be"
            " alive, and the question ENDS it"
        )
    gone: Value = {"u1": ("login=amina.h", "nas=10.9.9.9", "sid=s1", SINCE_BEFORE)}
    plan = expect(AccessPlan, placed().close_ghosts(SERVICE, seen_of(USER, gone), 24))
    assert "warning" not in plan.display, "nobody is asked about it, so nobody is disconnected"


def test_rows_that_agent_may_not_close_are_refused_at_preview() -> None:
    lacks: Value = {"user ispagent has no privilege UPDATE on radacct": ("GRANT UPDATE ON radacct TO ispagent",)}
    seen = {**seen_of(USER, GHOST), at("privileges", "close"): Seen(lacks, NOW_S)}
    refused = expect(CannotEnforce, placed().close_ghosts(SERVICE, seen, 24))
    assert (refused.reason, "GRANT UPDATE ON radacct" in refused.detail) == ("no-privilege", True)
    assert isinstance(placed().plan(SUSPEND, SERVICE, seen), AccessPlan), "no suspension needs that privilege"


def test_a_kick_asks_the_nas_where_accounting_has_no_session() -> None:
    plan = expect(AccessPlan, placed().disconnect(SERVICE, seen_of()))
    (step,) = plan.steps
    assert isinstance(step.do, Effect)
    assert step.do.args == {"by-user-name": "bng-1,bng-2", "each-answers": "yes"}, "nothing is judged afterwards"
    alone = expect(AccessPlan, recipe().disconnect(SERVICE, seen_of()))
    assert alone.steps == (), "there is nobody to ask"
    nobody = expect(CannotEnforce, recipe().disconnect(SERVICE, seen_of(ABSENT)))
    assert nobody.reason == "no-such-login"


def test_tariff_that_only_rows_have_is_not_recorded_of_session() -> None:
    moved: Value = {"check:Cleartext-Password": SecretRef("ab" * 32), "group:home50": "1"}
    faster = ServiceState(Access.ACTIVE, "Home 50M")
    plan = expect(AccessPlan, recipe().plan(faster, SERVICE, seen_of(moved, ONLINE)))
    (step,) = plan.steps
    assert isinstance(step.do, Effect), "staff moved the user: its session logged in before or after, nobody can tell"
    offline = expect(AccessPlan, recipe().plan(faster, SERVICE, seen_of(moved)))
    assert offline.steps == ()
    asked = expect(AccessPlan, placed().plan(faster, SERVICE, seen_of(moved)))
    assert len(asked.steps) == 1


# --- a login that something else rejects ---

IN_DISABLED: Value = {**fields(USER), f"group:{DISABLED_GROUP}": "0"}
EXPIRED: Value = {**fields(USER), "check:Expiration": (":= 01 Jan 2020",)}
WITH_MARKER: Value = {**fields(IN_DISABLED), "group:suspended": "-1"}


def rejected_plan(wanted: ServiceState = SUSPEND, user: Value = IN_DISABLED, sessions: Value = ABSENT) -> AccessPlan:
    return expect(AccessPlan, planned(wanted, user, sessions, REJECTING))


def test_a_suspension_never_lets_a_rejected_login_in() -> None:
    """Staff put it into daloRADIUS' disabled group; the marker, read first, would have it accepted into the garden."""
    plan = rejected_plan()
    assert plan.steps == ()
    assert plan.enforce is not None
    assert recipe().judge(plan.enforce, seen_of(IN_DISABLED, groups=REJECTING), {}).how == "stays-rejected"
    assert (
        "stays rejected: the login is rejected (Auth-Type), by group daloRADIUS-Disabled-Users" in plan.display["after"]
    )
    assert "group suspended is not written, since it would let the login in" in plan.display["after"]
    assert plan.rests_on == (
        at("user", "amina.h"),
        at("group", DISABLED_GROUP),
        at("group", "home20"),
    )


def test_what_a_rejected_login_has_open_is_ended_all_the_same() -> None:
    plan = rejected_plan(sessions=ONLINE)
    (drop,) = plan.steps
    assert isinstance(drop.do, Effect)
    assert plan.enforce is not None
    over = seen_of(IN_DISABLED, groups=REJECTING)
    judged = recipe().judge(plan.enforce, over, gone("u1"))
    assert (judged.enforced, judged.how) == (Enforced.YES, "stays-rejected")
    assert not recipe().enforcement_reads(plan.enforce, over)
    assert recipe().enforcement_reads(plan.enforce, {a: over[a] for a in (at("sessions", "amina.h"),)})
    again = recipe().judge(plan.enforce, seen_of(IN_DISABLED, ONLINE, REJECTING), {})
    assert (again.enforced, again.how) == (Enforced.NO, "old-session")


def test_a_garden_session_stays_suspended_though_rejected() -> None:
    plan = rejected_plan(sessions=ONLINE)
    assert plan.enforce is not None
    inside = session("u2", ip="100.127.3.4")
    found = recipe().judge(plan.enforce, seen_of(IN_DISABLED, inside, REJECTING), {})
    assert (found.enforced, found.how) == (Enforced.YES, "garden")
    outside = session("u3", ip="100.64.12.9")
    found = recipe().judge(plan.enforce, seen_of(IN_DISABLED, {**inside, **outside}, REJECTING), {})
    assert (found.enforced, found.detail) == (Enforced.NO, "2 sessions carry on though the login is rejected")


@pytest.mark.parametrize(
    ("ip", "expected"),
    [("100.64.12.9", (Enforced.YES, "stays-rejected")), ("100.127.3.4", (Enforced.NO, "old-session"))],
    ids=["outside", "in the garden"],
)
def test_a_restored_rejected_login_may_go_on_outside_the_garden(ip: str, expected: tuple[Enforced, str]) -> None:
    plan = rejected_plan(RESTORE, WITH_MARKER, session("u1", ip=ip))
    assert plan.enforce is not None
    found = recipe().judge(plan.enforce, seen_of(IN_DISABLED, session("u1", ip=ip), REJECTING), {})
    assert (found.enforced, found.how) == expected


def test_a_login_enabled_by_staff_is_not_called_rejected() -> None:
    plan = rejected_plan(sessions=ONLINE)
    assert plan.enforce is not None
    judged = recipe().judge(plan.enforce, seen_of(USER), gone("u1"))
    assert (judged.enforced, judged.how) == (Enforced.NO, "not-in-effect")
    assert "the login is no longer rejected, and group suspended was not written" in judged.detail
    undecided = recipe().judge(plan.enforce, seen_of({**fields(USER), "same-as": ("amína.h",)}), {})  # type: ignore[dict-item]  # dict is invariant in its values
    assert undecided.enforced is Enforced.NO
    marked = recipe().judge(plan.enforce, seen_of({**fields(USER), "group:suspended": "-1"}), {})
    assert marked.enforced is Enforced.PENDING, "somebody wrote the marker: it is judged as any other"


@pytest.mark.parametrize("user", [EXPIRED, {"group:home20": "1"}], ids=["expired", "no password"])
def test_the_marker_is_written_where_own_rows_keep_rejecting(user: Value) -> None:
    """Once staff take the rejection away, the suspension holds."""
    plan = rejected_plan(user=user)
    assert after_of(plan) == {**fields(user), "group:suspended": "-1"}
    assert "group suspended holds it once that ends" in plan.display["after"]
    assert plan.enforce is not None
    after = {**fields(user), "group:suspended": "-1"}
    assert recipe().judge(plan.enforce, seen_of(after), {}).how == "stays-rejected"  # type: ignore[arg-type]  # as above
    held = recipe().judge(plan.enforce, seen_of({**fields(USER), "group:suspended": "-1"}), {})
    assert held.enforced is Enforced.PENDING, "enabled meanwhile: it is suspended at the next login"
    again = rejected_plan(user=after)  # type: ignore[arg-type]  # as above
    assert again.steps == ()
    assert rejected_plan(user=after, sessions=ONLINE).steps, "no session may carry on"  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("user", [WITH_MARKER, {**fields(EXPIRED), "group:suspended": "-1"}], ids=["group", "expired"])
def test_our_marker_can_always_be_taken_back(user: Value) -> None:
    """Staff disabled the login before or after the suspension: what we set goes, and what they set stays."""
    plan = rejected_plan(RESTORE, user, ONLINE)
    assert after_of(plan) == {name: field for name, field in fields(user).items() if name != "group:suspended"}
    assert "the login stays rejected: " in plan.display["after"]
    assert plan.enforce is not None
    left = {name: field for name, field in fields(user).items() if name != "group:suspended"}
    judged = recipe().judge(plan.enforce, seen_of(left, groups=REJECTING), gone("u1"))  # type: ignore[arg-type]  # as above
    assert (judged.enforced, judged.how) == (Enforced.YES, "stays-rejected")
    assert "the login stays rejected: " in judged.detail
    enabled = recipe().judge(plan.enforce, seen_of(USER), {})
    assert enabled.enforced is Enforced.PENDING, "staff enabled it meanwhile: it is judged as any other"


def test_a_reason_without_our_marker_is_lifted_when_rejected() -> None:
    plan = rejected_plan(RESTORE)
    assert plan.steps == ()
    assert "group suspended is in no row of it; the login stays rejected: " in plan.display["after"]


def test_our_marker_is_taken_back_where_nobody_can_tell_reply() -> None:
    user: Value = {**fields(USER), "group:suspended": "-1", "group:odd": "0"}  # type: ignore[dict-item]  # as above
    found = planned(RESTORE, user, groups={**GROUPS, "odd": {"check:Login-Time": (":= Al0800-1800",)}})
    assert "group:suspended" not in fields(after_of(found))
    assert isinstance(found, AccessPlan)
    assert "what the login gets is not certain: " in found.display["after"]


def test_a_tariff_is_changed_of_a_login_that_stays_rejected() -> None:
    plan = rejected_plan(ServiceState(Access.ACTIVE, "Home 50M"))
    assert fields(after_of(plan))["group:home50"] == "1"
    assert "the login stays rejected: " in plan.display["after"]


def test_a_comparison_that_nobody_can_decide_rejects_nobody() -> None:
    """It leaves a tariff's group out at most: such a subscriber can be suspended."""
    groups = {**GROUPS, "home20": {"check:NAS-Port-Type": ("== Virtual",), "reply:Framed-Pool": (":= cgnat",)}}
    found = expect(AccessPlan, planned(groups=groups))
    assert fields(after_of(found))["group:suspended"] == "-1"


def test_a_suspension_rests_on_the_groups_that_were_read() -> None:
    """Whoever changes what a group does between preview and apply is not surprised by it."""
    found = expect(AccessPlan, planned())
    assert found.rests_on == (at("group", "home20"), at("group", "suspended"))
    restored = expect(AccessPlan, planned(RESTORE, {**fields(USER), "group:suspended": "-1"}))  # type: ignore[dict-item]  # as above
    assert restored.rests_on == (), "a restore is held up by no group"


CHECKS: tuple[Rows, ...] = (
    (),
    (("check:Auth-Type", (":= Reject",)),),
    (("check:Auth-Type", (":= Accept",)),),
    (("check:Expiration", (":= 01 Jan 2020",)),),
    (("check:Login-Time", (":= Never",)),),
    (("check:NAS-Port-Type", ("== Virtual",)),),
)
OWN, OF_TARIFFS, OF_STAFF = CHECKS[:4], (CHECKS[0], CHECKS[1], CHECKS[5]), CHECKS
FALLS: tuple[Rows, ...] = ((), (("reply:Fall-Through", ("= Yes",)),))


def test_whatever_rows_are_suspension_lets_no_rejected_login_in() -> None:
    """And what it wrote can be taken back, to the letter. All combinations of rows that reject, or may."""
    now, met = datetime.fromtimestamp(NOW_S, UTC), Counter[str]()
    for own, group, staff, falls in product(OWN, OF_TARIFFS, OF_STAFF, FALLS):
        groups: dict[str, Value] = {
            **GROUPS,
            "home20": {**fields(GROUPS["home20"]), **dict(group)},  # type: ignore[dict-item]  # rows of a value
            "staff": dict(staff) or ABSENT,
            "suspended": {**fields(GROUPS["suspended"]), **dict(falls)},  # type: ignore[dict-item]  # as above
        }
        for priority in ("0", "2"):
            user: Value = {**fields(USER), **dict(own), "group:staff": priority}  # type: ignore[dict-item]  # as above
            found = planned(user=user, groups=groups)
            today = effective_reply(user, groups, {"User-Name": "amina.h"}, now=now)
            met[f"{type(today).__name__} {type(found).__name__}"] += 1
            if isinstance(found, CannotEnforce) or not found.steps or not isinstance(found.steps[0].do, tuple):
                continue
            after = after_of(found)
            then = effective_reply(after, groups, {"User-Name": "amina.h"}, now=now)
            assert isinstance(then, Rejected) or not isinstance(today, Rejected)
            assert not (isinstance(today, CannotTell) and may_reject(user, groups, now=now))
            back = planned(RESTORE, after, groups=groups)
            assert after_of(back) == user
    assert min(met[which] for which in ("Rejected AccessPlan", "CannotTell AccessPlan", "CannotTell CannotEnforce")) > 9
