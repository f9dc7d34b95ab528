"""The recipe of hotspot users: what is written and forgotten, what is refused and why, what proves that it holds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from agent.connectors.base import AccessPlan, Enforced, KnowsClients, NetworkState
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.hotspot_access import HotspotAccess
from agent.connectors.routeros.schema import HotspotMethod
from agent.model import ABSENT, Access, Address, Effect, Enforcement, Seen, ServiceState, Value
from tests.agent.connectors.answers import effects_of, plan_of, refused
from tests.agent.connectors.routeros.hotspot_recipe import (
    BYPASS,
    COOKIE,
    DISABLE,
    FLOW,
    FLOWS,
    GARDEN,
    IN_GARDEN,
    MAC,
    OFF,
    OLD_KEY,
    ONLINE,
    OTHER_MAC,
    SESSION,
    SLOW,
    USER,
    Rows,
    planned,
    seen_of,
)
from tests.agent.connectors.routeros.ppp_recipe import (
    NOW_S,
    RESTORE,
    SERVICE,
    SUSPEND,
    UPGRADE,
    at,
)

PAY = [("tcp 10.5.50.7:50001 198.51.100.1:443", {"fasttrack": "true"})]


def verbs_of(plan: AccessPlan) -> list[str]:
    return [effect.verb for effect in effects_of(plan)]


@pytest.mark.parametrize(
    ("method", "rounds"),
    [(GARDEN, [[at("ip/members", "suspended")], [FLOWS]]), (DISABLE, [[FLOWS]])],
    ids=["profile", "disabled"],
)
def test_reads_in_rounds(method: HotspotMethod, rounds: list[list[Address]]) -> None:
    """Connections are read last, and only of somebody who is suspended and online."""
    recipe, seen = access_method_of(method), seen_of(sessions=ONLINE, user=IN_GARDEN if method is GARDEN else OFF)
    got = {where: seen[where] for where in recipe.reads(SERVICE, {})}
    for wanted in rounds:
        missing = list(recipe.reads(SERVICE, got))
        assert [where for where in missing if "/ways/" not in where] == wanted
        got |= {where: seen[where] for where in missing}
    assert list(recipe.reads(SERVICE, got)) == []
    for other in (seen_of(), seen_of(sessions=ONLINE)):
        assert FLOWS not in recipe.reads(SERVICE, {w: s for w, s in other.items() if "flows" not in w})


# --- what is written ---


def test_restoring_a_disabled_user_ends_only_older_sessions() -> None:
    """The simulation's seed 3003: the power failed between the two steps, and a good session was ended afterwards."""
    ends = [step.do for step in plan_of(planned(RESTORE, DISABLE, user=OFF)).steps if isinstance(step.do, Effect)]
    assert [end.args.get("since") for end in ends] == [str(NOW_S)]
    garden = plan_of(planned(RESTORE, user=IN_GARDEN, sessions=ONLINE))
    assert [step.do.args.get("since") for step in garden.steps if isinstance(step.do, Effect)] == [None]
    again = plan_of(planned(SUSPEND, DISABLE, user=OFF, sessions=ONLINE, cookies=COOKIE))
    assert {effect.args.get("since") for effect in effects_of(again)} == {None}, "a cookie may let it in meanwhile"


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_cookies_are_forgotten_before_the_session_ends(method: HotspotMethod) -> None:
    plan = plan_of(planned(SUSPEND, method, sessions=ONLINE, cookies=COOKIE))
    assert verbs_of(plan) == ["forget", "disconnect", "cut"]
    assert [step.after for step in plan.steps] == [(), (1,), (1,), (1,)]
    assert [[end.verb for end in step.on_revert] for step in plan.steps] == [[], [], ["disconnect"], []]
    keys = [effect.key for effect in effects_of(plan)]
    assert len(set(keys)) == 3
    assert effects_of(plan)[-1].args["now"] == f"connections of {MAC} on edge-1"


# --- judging ---


def enforce_of(wanted: ServiceState, method: HotspotMethod, **seen: object) -> Enforcement:
    user: Value = USER if wanted is SUSPEND else IN_GARDEN if method is GARDEN else OFF
    found = plan_of(planned(wanted, method, **({"user": user, "sessions": ONLINE} | seen))).enforce
    assert found is not None
    return found


def judged(
    wanted: ServiceState,
    method: HotspotMethod = GARDEN,
    *,
    began_s: int = NOW_S + 27,
    before: dict[str, object] | None = None,
    ended: Collection[str] = (OLD_KEY,),
    client: str = MAC,
    online: bool = True,
    **now: object,
) -> tuple[Enforced, str]:
    enforce, recipe = enforce_of(wanted, method, **(before or {})), HotspotAccess(method)
    become: Value = USER if wanted is RESTORE else IN_GARDEN if method is GARDEN else OFF
    sessions = [(f"amina.h 10.5.50.7@{began_s}", SESSION)] if online else []
    values = seen_of(**({"user": become, "sessions": sessions} | now))  # type: ignore[arg-type]  # as seen_of takes them
    seen: dict[Address, Seen] = {}
    row = Seen(SESSION | {"mac-address": client}, NOW_S)
    gone = {at("ip/flow" if "tcp" in key else "hotspot/session", key): row for key in ended}
    while missing := recipe.enforcement_reads(enforce, seen, gone):
        seen |= {where: replace(values[where], at_s=NOW_S + 30) for where in missing}
    found = recipe.judge(enforce, seen, gone)
    return found.enforced, found.how


def test_a_suspended_profile_is_judged_by_the_routers_lists() -> None:
    assert judged(SUSPEND, lists=("suspended",)) == (Enforced.YES, "seen")
    assert judged(SUSPEND) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, lists=("suspended",), rules=[]) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, lists=("suspended",), user=USER) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, online=False) == (Enforced.PENDING, "offline")
    assert judged(RESTORE) == (Enforced.YES, "seen")
    assert judged(RESTORE, lists=("suspended",)) == (Enforced.NO, "garden")


def test_a_session_from_before_is_no_proof() -> None:
    old = NOW_S - 6 * 86_400
    assert judged(SUSPEND, began_s=old, lists=("suspended",)) == (Enforced.NO, "still-online")
    assert judged(SUSPEND, began_s=old, lists=("suspended",), ended=()) == (Enforced.NO, "old-session")
    in_garden = {"lists": ("suspended",)}
    assert judged(RESTORE, began_s=old, ended=(), before=in_garden) == (Enforced.NO, "old-session")
    assert judged(RESTORE, began_s=old, before=in_garden) == (Enforced.NO, "still-online")


def test_a_disabled_user_is_out_once_nothing_is_left_of_it() -> None:
    assert judged(SUSPEND, DISABLE, online=False) == (Enforced.YES, "seen")
    assert judged(SUSPEND, DISABLE, online=False, cookies=COOKIE) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, DISABLE) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, DISABLE, began_s=NOW_S - 6 * 86_400) == (Enforced.NO, "still-online")
    assert judged(SUSPEND, DISABLE, online=False, user=USER) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, DISABLE, online=False, user={"copies": "2"}) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, DISABLE, online=False, user=ABSENT) == (Enforced.NO, "not-in-effect")


def test_garden_session_that_outlasted_a_restore_is_held() -> None:
    """Its end was refused at the restore, and again at the next suspension; a disabled user has no session at all."""
    old, garden = NOW_S - 6 * 86_400, {"lists": ("suspended",)}
    assert judged(SUSPEND, began_s=old, lists=("suspended",), before=garden) == (Enforced.YES, "seen")
    assert judged(SUSPEND, began_s=old, before=garden) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, DISABLE, began_s=old, lists=("suspended",), before=garden) == (Enforced.NO, "still-online")


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_where_no_hotspot_is_on_nobody_needs_a_login(method: HotspotMethod) -> None:
    """Nor does anybody have a session then, whose address a list could hold."""
    refused(planned(SUSPEND, method, logins=ABSENT), "no-hotspot", "no hotspot is on")
    assert judged(SUSPEND, method, online=False, logins=ABSENT) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, method, online=False, logins=ABSENT) == (Enforced.PENDING, "offline")


def test_a_user_that_is_no_longer_disabled() -> None:
    assert judged(RESTORE, DISABLE) == (Enforced.YES, "seen")
    assert judged(RESTORE, DISABLE, online=False) == (Enforced.PENDING, "offline")
    assert judged(RESTORE, DISABLE, user=OFF) == (Enforced.NO, "not-in-effect")


def test_session_that_outlasted_a_suspension_is_good() -> None:
    """The simulation's seed 740032: its end was refused at the suspension, and again at the restore."""
    old = NOW_S - 6 * 86_400
    assert judged(RESTORE, began_s=old) == (Enforced.YES, "seen")
    assert judged(RESTORE, began_s=old, lists=("suspended",)) == (Enforced.NO, "garden")
    assert judged(RESTORE, DISABLE, began_s=old) == (Enforced.YES, "seen")
    assert judged(RESTORE, DISABLE, began_s=old, ended=()) == (Enforced.YES, "seen")
    assert judged(RESTORE, DISABLE, began_s=old, user=OFF) == (Enforced.NO, "not-in-effect")
    proof = plan_of(planned(RESTORE, DISABLE, user=OFF, sessions=ONLINE)).display["proof"]
    assert proof.startswith("not disabled; an open session, or none yet")
    slow = {"user": USER, "sessions": ONLINE}
    enforce = plan_of(planned(UPGRADE, DISABLE, **slow)).enforce
    assert enforce is not None
    now = seen_of({**USER, "profile": "home50"}, ONLINE)
    found = HotspotAccess(DISABLE).judge(enforce, now, {})
    assert (found.enforced, found.how) == (Enforced.NO, "old-session"), "it has the speed of its former tariff"


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
@pytest.mark.parametrize("before", [{"sessions": ONLINE}, {"sessions": [], "cookies": COOKIE}])
def test_a_binding_that_came_meanwhile_lets_it_out(method: HotspotMethod, before: dict[str, object]) -> None:
    """Whoever is bypassed has no session to be seen."""
    now = {"online": False, "bindings": [("0", BYPASS)]}
    assert judged(SUSPEND, method, before=before, **now) == (Enforced.NO, "not-in-effect")  # type: ignore[arg-type]  # as judged takes them
    assert judged(RESTORE, method, before=before, **now) == (Enforced.PENDING, "offline")  # type: ignore[arg-type]  # as judged takes them


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
@pytest.mark.parametrize(("place", "lets_out"), [("10.5.50.0/24", True), ("10.5.51.0/24", False)])
def test_a_binding_of_an_address_that_came_meanwhile(method: HotspotMethod, place: str, lets_out: bool) -> None:
    by_address = [("0", {"address": place, "type": "bypassed"})]
    found, _ = judged(SUSPEND, method, online=False, bindings=by_address)
    assert (found is Enforced.NO) is lets_out


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_connections_from_before_must_be_gone(method: HotspotMethod) -> None:
    def found(flows: Rows, before: Rows, ended: Collection[str] = (OLD_KEY,)) -> tuple[Enforced, str]:
        lists = ("suspended",) if method is GARDEN else ()
        known = {"before": {"flows": before}, "ended": ended, "lists": lists, "flows": flows}
        return judged(SUSPEND, method, online=method is GARDEN, **known)  # type: ignore[arg-type]  # as judged takes them

    assert found([], FLOW) == (Enforced.YES, "seen")
    assert found(FLOW, FLOW, (OLD_KEY, FLOW[0][0])) == (Enforced.NO, "still-online")
    assert found(PAY, FLOW, (OLD_KEY, FLOW[0][0])) == (Enforced.NO, "still-online")  # no rule leads there
    # It did not come to the cut: the time was over, or there were too many to read
    assert found(FLOW, FLOW) == (Enforced.NO, "still-online")
    assert found(FLOW, FLOW, (OLD_KEY, "tcp 10.5.50.70:50000 203.0.113.80:443")) == (Enforced.NO, "still-online")
    # Where none was open at the preview: one that FastTrack carries now may be from before all the same
    assert found(FLOW, []) == (Enforced.NO, "still-online")
    assert found(SLOW, []) == (Enforced.YES, "seen")


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_connections_of_a_client_that_came_after_the_preview(method: HotspotMethod) -> None:
    """Its session has ended: the record of the step knows the client, and the router its connections."""

    def found(flows: Rows, client: str = MAC) -> tuple[Enforced, str]:
        later = ("amina.h 10.5.50.9@1700600010",)
        return judged(SUSPEND, method, before={"sessions": []}, online=False, ended=later, client=client, flows=flows)

    assert found([])[0] is (Enforced.PENDING if method is GARDEN else Enforced.YES), "seed 29210039: none is left"
    assert found(FLOW) == (Enforced.NO, "still-online")
    assert found([], client="") == (Enforced.NO, "not-in-effect"), "the router did not tell who it was"


@pytest.mark.parametrize("action", ["accept", "fasttrack-connection"])
def test_e1_what_carries_on_above_the_drop_is_cut_to_the_last(action: str) -> None:
    """MikroTik's default configuration, with the drop below it. A user who is disabled is dropped by the hotspot."""
    above = {"chain": "forward", "action": action, "connection-state": "established,related"}
    rules = [("1", above), ("2", {"chain": "forward", "action": "drop", "src-address-list": "suspended"})]
    plan = plan_of(planned(sessions=ONLINE, rules=rules))
    assert "open connections are cut: rule 0" in plan.display["after"]
    assert verbs_of(plan)[-1] == "cut"

    def found(flows: Rows, method: HotspotMethod = GARDEN) -> tuple[Enforced, str]:
        lists = ("suspended",) if method is GARDEN else ()
        known = {"before": {"rules": rules}, "rules": rules, "lists": lists, "flows": flows}
        return judged(SUSPEND, method, online=method is GARDEN, **known)  # type: ignore[arg-type]  # as judged takes them

    assert found([]) == (Enforced.YES, "seen")
    assert found(SLOW) == (Enforced.NO, "still-online")
    assert found([(SLOW[0][0], {"fasttrack": "false", "seen-reply": "false"})]) == (Enforced.YES, "seen")
    assert found(SLOW, DISABLE) == (Enforced.YES, "seen")
    garden = {"user": IN_GARDEN, "sessions": ONLINE, "lists": ("suspended",), "rules": rules}
    again = plan_of(planned(**garden, flows=SLOW))
    assert (verbs_of(again), "read-at" in (again.enforce or enforce_of(SUSPEND, GARDEN)).expect) == (["cut"], False)
    assert plan_of(planned(**garden)).steps == ()


def test_an_offline_subscribers_connections_count_too() -> None:
    assert judged(SUSPEND, online=False, flows=FLOW) == (Enforced.NO, "still-online")
    assert judged(RESTORE, online=False, flows=FLOW) == (Enforced.PENDING, "offline")


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_a_check_looks_for_clients_of_an_earlier_suspension(method: HotspotMethod) -> None:
    before, user = enforce_of(SUSPEND, method), IN_GARDEN if method is GARDEN else OFF
    enforce = enforce_of(SUSPEND, method, sessions=[])
    assert (before.expect["clients"], enforce.expect["clients"]) == (MAC, "")
    later = replace(enforce, expect={**enforce.expect, "clients": MAC})
    found = [HotspotAccess(method).judge(one, seen_of(user, flows=FLOW), {}).how for one in (enforce, later)]
    assert found == ["offline" if method is GARDEN else "seen", "still-online"]


def test_clients_of_ended_sessions_are_known_by_router() -> None:
    """The record of a step has the session, whose client no read names once it is offline."""
    session, elsewhere = at("hotspot/session", OLD_KEY), Address(f"routeros/edge-2/hotspot/session/{OLD_KEY}")
    cookie = at("hotspot/cookie", f"amina.h {OTHER_MAC}")
    ended = {session: Seen(SESSION, NOW_S), elsewhere: Seen(SESSION | {"mac-address": OTHER_MAC}, NOW_S)}
    ended[cookie] = Seen({"login": "amina.h", "mac-address": OTHER_MAC}, NOW_S)
    (cut,) = [effect for effect in effects_of(plan_of(planned(sessions=ONLINE))) if effect.verb == "cut"]
    both = access_method_of(replace(GARDEN, also_on=("routeros/edge-2",)))
    assert isinstance(both, KnowsClients)
    found = both.ends_of_clients(SERVICE, ended)
    assert found[0] == (MAC, cut)
    assert [effect.address for _, effect in found[1:]] == [f"routeros/edge-2/hotspot/flows/{OTHER_MAC} amina.h"]


# --- what the router reads now ---


def state_of(method: HotspotMethod = GARDEN, **seen: object) -> NetworkState:
    return HotspotAccess(method).network_state(SERVICE, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_an_active_user_and_its_session(method: HotspotMethod) -> None:
    state = state_of(method, sessions=ONLINE)
    assert (state.access, state.refused, state.unknown, state.tariff) == (Access.ACTIVE, "", "", "Home 20M")
    (session,) = state.sessions
    assert (session.address, session.since_s) == ("10.5.50.7", NOW_S - 6 * 86_400)
    assert session.carries is (Access.ACTIVE if method is GARDEN else None)


def test_a_user_that_we_suspended() -> None:
    assert state_of(user=IN_GARDEN).access is Access.SUSPENDED
    state = state_of(DISABLE, user=OFF)
    assert (state.access, state.refused, state.tariff) == (Access.SUSPENDED, "", "Home 20M")


@pytest.mark.parametrize("method", [GARDEN, DISABLE], ids=["profile", "disabled"])
def test_a_user_that_staff_disabled_is_refused(method: HotspotMethod) -> None:
    state = state_of(method, user={**USER, "disabled": "true"})
    assert (state.access, state.refused) == (None, "its hotspot user is disabled")


def test_a_client_that_an_ip_binding_blocks_is_refused() -> None:
    binding = [("0", {"mac-address": MAC, "type": "blocked", "disabled": "false"})]
    state = state_of(sessions=ONLINE, bindings=binding)
    assert (state.access, state.refused) == (None, f"an ip-binding blocks {MAC}")


BLOCK = {"mac-address": MAC, "type": "blocked", "disabled": "false"}


@pytest.mark.parametrize(
    ("bindings", "seen"),
    [
        ([{**BLOCK, "type": "regular"}, BLOCK], {}),  # the first one counts
        ([{"address": "10.5.50.0/24", "type": "bypassed"}, BLOCK], {}),
        ([{**BLOCK, "server": "hs2"}], {}),
        ([BLOCK], {"cookies": [(f"amina.h {OTHER_MAC}", {"login": "amina.h", "mac-address": OTHER_MAC})]}),
        ([BLOCK], {"user": {**USER, "mac-address": OTHER_MAC}}),
        ([BLOCK], {"sessions": []}),
    ],
    ids=["regular above", "bypassed above", "another hotspot's", "another client", "pinned to another", "nobody"],
)
def test_bindings_that_reject_no_login(bindings: list[dict[str, str]], seen: dict[str, object]) -> None:
    rows = [(str(n), row) for n, row in enumerate(bindings)]
    state = state_of(**{"sessions": ONLINE, **seen}, bindings=rows)
    assert (state.access, state.refused) == (Access.ACTIVE, "")
