import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust import policy
from trust.policy import Action, Channel, PolicyClass, RiskClass, Role, ServiceRequester, UnknownRequester, Window

S, R, V = Action.SUSPEND, Action.RESTORE, Action.REVERT
HOUR = 3600

TABLE = [
    # action, items, active, extra, class
    (S, 0, 900, {}, RiskClass.LOW),
    (S, 1, 900, {}, RiskClass.LOW),
    (S, 10, 900, {}, RiskClass.LOW),
    (S, 11, 900, {}, RiskClass.BATCH),
    (S, 50, 900, {}, RiskClass.BATCH),
    (S, 51, 900, {}, RiskClass.LARGE),
    (S, 51, 1020, {}, RiskClass.BATCH),
    (S, 52, 1020, {}, RiskClass.LARGE),
    (S, 312, 10_000, {}, RiskClass.BATCH),
    (S, 501, 10_000, {}, RiskClass.LARGE),
    (S, 50, 0, {}, RiskClass.BATCH),
    (S, 40, 900, {"usual": 20}, RiskClass.BATCH),
    (S, 41, 900, {"usual": 20}, RiskClass.LARGE),
    (S, 3, 900, {"usual": 1}, RiskClass.LOW),
    (S, 1, 900, {"facts_empty": True}, RiskClass.LARGE),
    (S, 1, 900, {"facts_age_s": 2 * HOUR}, RiskClass.LOW),
    (S, 1, 900, {"facts_age_s": 2 * HOUR + 1}, RiskClass.LARGE),
    (Action.DISCONNECT, 10, 900, {}, RiskClass.LOW),
    (Action.SET_PLAN, 11, 900, {}, RiskClass.BATCH),
    (R, 1, 900, {"matched_payment": True, "standing": True}, RiskClass.RESTORE),
    (R, 1, 900, {"matched_payment": True}, RiskClass.LOW),
    (R, 1, 900, {"standing": True}, RiskClass.LOW),
    (R, 2, 900, {"matched_payment": True, "standing": True}, RiskClass.LOW),
    (S, 1, 900, {"matched_payment": True, "standing": True}, RiskClass.LOW),
    (R, 10, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.LOW),
    (R, 11, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.RESTORE),
    (R, 300, 900, {"matched_payment": True, "restore_most": 1000, "usual": 1}, RiskClass.RESTORE),
    (R, 1000, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.RESTORE),
    (R, 1001, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.LARGE),
    (R, 300, 900, {"restore_most": 1000}, RiskClass.LARGE),
    (R, 11, 900, {"matched_payment": True}, RiskClass.BATCH),
    (R, 300, 900, {"matched_payment": True, "standing": True}, RiskClass.LARGE),
    (S, 300, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.LARGE),
    (V, 300, 900, {"matched_payment": True, "restore_most": 1000}, RiskClass.LARGE),
    (R, 1, 900, {"alone": True}, RiskClass.ALONE),
    (R, 10, 900, {"alone": True, "facts_age_s": 9 * HOUR}, RiskClass.ALONE),
    (R, 11, 900, {"alone": True}, RiskClass.BATCH),
    (S, 1, 900, {"alone": True}, RiskClass.LOW),
    (V, 312, 10_000, {"alone": True, "own_revert_age_s": 2 * HOUR}, RiskClass.ALONE),
    (V, 312, 10_000, {"alone": True, "own_revert_age_s": 2 * HOUR + 1}, RiskClass.BATCH),
    (V, 312, 10_000, {"alone": True}, RiskClass.BATCH),
    (V, 312, 10_000, {"own_revert_age_s": 60}, RiskClass.BATCH),
    (S, 1, 900, {"alone": True, "own_revert_age_s": 60}, RiskClass.LOW),
    (S, 1, 900, {"device_config": True}, RiskClass.CONFIG),
    (S, 1, 900, {"device_config": True, "guarded": False}, RiskClass.UNGUARDED),
    (R, 1, 900, {"device_config": True, "guarded": False, "alone": True}, RiskClass.UNGUARDED),
    # what support does with one CPE, where a standing authority is in force for it
    (Action.CPE_DIAGNOSE, 1, 900, {"standing": True}, RiskClass.SUPPORT),
    (Action.CPE_ACCEPT, 1, 900, {}, RiskClass.PROVISION),
    (Action.CPE_ACCEPT, 9000, 900, {"usual": 1}, RiskClass.PROVISION),
    (Action.CPE_REBOOT, 1, 900, {"standing": True}, RiskClass.SUPPORT),
    (Action.CPE_REBOOT, 1, 900, {}, RiskClass.LOW),
    (Action.CPE_REBOOT, 2, 900, {"standing": True}, RiskClass.LOW),
    (Action.CPE_SET, 1, 900, {"standing": True}, RiskClass.LOW),
    (Action.CPE_SET, 1, 900, {"standing": True, "baseline_due": True}, RiskClass.PROVISION),
    (Action.CPE_SET, 1, 900, {"baseline_due": True}, RiskClass.LOW),
    (Action.CPE_SET, 2, 900, {"standing": True, "baseline_due": True}, RiskClass.LOW),
    (Action.CPE_REBOOT, 1, 900, {"standing": True, "baseline_due": True}, RiskClass.SUPPORT),
    (Action.CPE_RESET, 1, 900, {"standing": True, "device_config": True}, RiskClass.CONFIG),
]


@pytest.mark.parametrize(("action", "items", "active", "extra", "expected"), TABLE, ids=str)
def test_risk_class(action, items, active, extra, expected):
    assert policy.risk_class(action, items, active, **extra) is expected


SIZE_ORDER = [RiskClass.LOW, RiskClass.BATCH, RiskClass.LARGE]


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 50_000))
def test_more_items_are_never_a_lower_class(a, b, active):
    few, many = sorted([a, b])
    assert SIZE_ORDER.index(policy.risk_class(S, few, active)) <= SIZE_ORDER.index(policy.risk_class(S, many, active))


def test_the_presets_are_the_table_of_the_design():
    by_class = {c.risk_class: c for c in policy.preset()}
    assert set(by_class) == set(RiskClass)
    assert {c: p.approvals for c, p in by_class.items()} == {
        RiskClass.RESTORE: 1, RiskClass.LOW: 1, RiskClass.BATCH: 2, RiskClass.LARGE: 2,
        RiskClass.CONFIG: 2, RiskClass.UNGUARDED: 2, RiskClass.ALONE: 1, RiskClass.PROVISION: 1,
        RiskClass.SUPPORT: 1,
    }  # fmt: skip
    assert by_class[RiskClass.LOW].max_items == 10
    assert [c for c, p in by_class.items() if p.owner_required] == [RiskClass.LARGE]
    assert [c for c, p in by_class.items() if p.channel is Channel.LOCAL] == [RiskClass.UNGUARDED, RiskClass.ALONE]
    restores = by_class[RiskClass.RESTORE]
    assert (restores.max_items, restores.budget_per_hour, restores.windows) == (1000, 1000, ())
    assert by_class[RiskClass.ALONE].actions == (R, V)


def test_windows():
    office = policy.daily(0, 4, 9, 16)
    assert policy.in_windows((), 0)
    assert not policy.in_windows(office, 8 * 60 + 59)
    assert policy.in_windows(office, 9 * 60)
    assert not policy.in_windows(office, 16 * 60)
    assert not policy.in_windows(office, 5 * 1440 + 10 * 60)


@pytest.mark.parametrize(
    ("minute", "opens_in"),
    [(9 * 60, 0), (8 * 60, 60), (16 * 60, 17 * 60), (4 * 1440 + 20 * 60, 2 * 1440 + 13 * 60), (6 * 1440, 1440 + 540)],
)
def test_how_long_a_window_stays_closed(minute, opens_in):
    assert policy.minutes_until_open(policy.daily(0, 4, 9, 16), minute) == opens_in


def test_no_windows_are_always_open_an_empty_one_never():
    assert policy.minutes_until_open((), 77) == 0
    assert policy.minutes_until_open((Window(0, 0),), 77) is None


windows = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda p: Window(min(p), max(p) + 1)), max_size=3
).map(tuple)
classes = st.builds(
    PolicyClass,
    st.just(RiskClass.LOW),
    st.lists(st.sampled_from(Action), unique=True).map(tuple),
    st.integers(1, 5),
    st.lists(st.sampled_from(Role), unique=True).map(tuple),
    st.booleans(),
    st.sampled_from(UnknownRequester),
    st.integers(60, 9999),
    st.integers(1, 99),
    st.integers(1, 99),
    windows,
    st.sampled_from(Channel),
    st.booleans(),
    st.sampled_from([None, *ServiceRequester]),
)


_AS_STRICT = [None, ServiceRequester.RUN_BY, ServiceRequester.ONE_MORE]


@given(classes, classes, st.integers(0, 310))
def test_stricter_satisfies_both(a, b, minute):
    both = policy.stricter(a, b)
    for one in (a, b):
        assert both.approvals >= one.approvals
        assert set(both.actions) <= set(one.actions)
        assert set(both.roles) <= set(one.roles)
        assert (both.needs_detail, both.owner_required) >= (one.needs_detail, False)
        assert both.max_ttl_s <= one.max_ttl_s
        assert both.max_items <= one.max_items
        assert both.budget_per_hour <= one.budget_per_hour
        assert both.channel is Channel.LOCAL or one.channel is Channel.ANY
        assert both.unknown_requester is UnknownRequester.REFUSE or one.unknown_requester is UnknownRequester.ONE_MORE
        assert _AS_STRICT.index(both.service_requester) >= _AS_STRICT.index(one.service_requester)
    expected = policy.in_windows(a.windows, minute) and policy.in_windows(b.windows, minute)
    assert policy.in_windows(both.windows, minute) == expected
    assert both.owner_required == (a.owner_required or b.owner_required)


@given(classes)
def test_stricter_than_itself_is_itself(a):
    assert policy.stricter(a, dataclasses.replace(a)) == a
