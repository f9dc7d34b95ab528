"""What rows come to: operators, priorities, Fall-Through (FreeRADIUS 3.2)."""

from __future__ import annotations

import pytest

from lab.errors import AttributeValueError, UnknownAttributeError
from lab.policy import GroupRows, Row, UserRows, decide, request_pairs

NOW = 1_795_000_000.0
RATE, LIST = "Mikrotik-Rate-Limit", "Mikrotik-Address-List"
PASSWORD = Row("Cleartext-Password", ":=", "pw")
PLAN = GroupRows("plan", (), (Row(RATE, ":=", "20M/20M"), Row("Framed-Pool", ":=", "cgnat")))
REQUEST = request_pairs([("User-Name", "alice"), ("NAS-Port", "10"), ("NAS-IP-Address", "10.0.0.1")])


def marker(*rows: Row) -> GroupRows:
    return GroupRows("suspended", (), (Row(LIST, ":=", "suspended"), Row(RATE, ":=", "64k/64k"), *rows))


def reply(rows: UserRows) -> list[tuple[str, str]]:
    return [(p.definition.name, p.text) for p in decide(rows, REQUEST, NOW).reply]


def test_the_marker_group_first_hides_the_plan():
    rows = UserRows((PASSWORD,), (), (marker(), PLAN))
    assert reply(rows) == [(LIST, "suspended"), (RATE, "64k/64k")]
    assert decide(rows, REQUEST, NOW).groups == ("suspended",)


def test_a_marker_that_falls_through_loses_its_rate_to_the_plan():
    rows = UserRows((PASSWORD,), (), (marker(Row("Fall-Through", "=", "Yes")), PLAN))
    assert reply(rows) == [(LIST, "suspended"), (RATE, "20M/20M"), ("Framed-Pool", "cgnat")]


def test_fall_through_no_in_radreply_hides_every_group():
    rows = UserRows((PASSWORD,), (Row("Fall-Through", ":=", "No"),), (marker(), PLAN))
    assert reply(rows) == []
    assert decide(rows, REQUEST, NOW).groups == ()


def test_groups_are_read_though_fall_through_is_not_set():
    rows = UserRows((PASSWORD,), (Row("Framed-IP-Address", ":=", "100.64.0.9"),), (PLAN,))
    assert reply(rows)[0] == ("Framed-IP-Address", "100.64.0.9")
    assert (RATE, "20M/20M") in reply(rows)


def test_a_group_whose_check_fails_is_passed_over():
    shut = GroupRows("shut", (Row("NAS-Port", "==", "11"),), (Row(RATE, ":=", "1M/1M"),))
    assert decide(UserRows((PASSWORD,), (), (shut, PLAN)), REQUEST, NOW).groups == ("plan",)


@pytest.mark.parametrize(
    ("op", "value", "matches"),
    [
        ("==", "10", True),
        ("=", "10", True),
        ("==", "11", False),
        ("!=", "11", True),
        ("!=", "10", False),
        ("<", "11", True),
        ("<", "10", False),
        ("<=", "10", True),
        (">", "9", True),
        (">", "10", False),
        (">=", "10", True),
        ("=~", "^1.$", True),
        ("=~", "^2", False),
        ("!~", "^2", True),
        ("=*", "x", True),
        ("!*", "x", False),
        (":=", "99", True),
        ("+=", "99", True),
    ],
)
def test_check_operators(op, value, matches):
    group = GroupRows("g", (Row("NAS-Port", op, value),), (Row(RATE, "=", "1M"),))
    assert bool(reply(UserRows((PASSWORD,), (), (group,)))) is matches


def test_an_absent_attribute_matches_only_its_absence():
    for op, matches in (("==", False), ("!=", False), ("=~", False), ("!*", True), ("=*", False)):
        group = GroupRows("g", (Row("Calling-Station-Id", op, "x"),), (Row(RATE, "=", "1M"),))
        assert bool(reply(UserRows((PASSWORD,), (), (group,)))) is matches, op


def test_a_failed_user_check_drops_user_rows_not_groups():
    rows = UserRows((PASSWORD, Row("NAS-Port", "==", "11")), (Row("Filter-Id", ":=", "f"),), (PLAN,))
    decision = decide(rows, REQUEST, NOW)
    assert decision.control_text("Cleartext-Password") is None
    assert reply(rows) == [(RATE, "20M/20M"), ("Framed-Pool", "cgnat")]


@pytest.mark.parametrize(
    ("op", "value", "timeouts"),
    [
        (":=", "60", ["60"]),
        ("=", "60", ["300"]),
        ("+=", "60", ["300", "60"]),
        ("-=", "300", []),
        ("-=", "60", ["300"]),
        ("==", "300", ["300"]),
        ("==", "60", []),
        ("<=", "60", ["60"]),
        ("<=", "600", ["300", "600"]),
        (">=", "600", ["600"]),
        (">=", "60", ["300", "60"]),
        ("!=", "60", ["300"]),
    ],
)
def test_reply_operators_on_what_was_there(op, value, timeouts):
    group = GroupRows("g", (), (Row("Session-Timeout", op, value),))
    rows = UserRows((PASSWORD,), (Row("Session-Timeout", ":=", "300"),), (group,))
    assert [text for name, text in reply(rows) if name == "Session-Timeout"] == timeouts


@pytest.mark.parametrize(("op", "added"), [(":=", True), ("=", True), ("+=", True), ("==", False), ("-=", False)])
def test_reply_operators_on_nothing(op, added):
    rows = UserRows((PASSWORD,), (Row(RATE, op, "1M"),))
    assert bool(reply(rows)) is added


def test_values_in_quotes_lose_them():
    assert reply(UserRows((PASSWORD,), (Row(RATE, ":=", '"1M/2M"'),))) == [(RATE, "1M/2M")]


def test_rows_that_cannot_be_read_are_an_error():
    with pytest.raises(UnknownAttributeError):
        reply(UserRows((PASSWORD,), (Row("No-Such", ":=", "1"),)))
    for row in (Row("Session-Timeout", ":=", "soon"), Row(RATE, ":", "1M"), Row("User-Name", "=~", "(")):
        with pytest.raises(AttributeValueError):
            reply(UserRows((PASSWORD, row), (row,)))


def test_expiration_compares_with_now_and_nobody_is_not_found():
    for date, found in (("01 Jan 2020 00:00:00", False), ("Jan 01 2030", True), ("1900000000", True)):
        rows = UserRows((PASSWORD, Row("Expiration", "==", date)), (Row(RATE, "=", "1M"),))
        assert bool(reply(rows)) is found
    with pytest.raises(AttributeValueError):
        reply(UserRows((Row("Expiration", "==", "tomorrow"),)))
    assert not decide(UserRows(), REQUEST, NOW).found
