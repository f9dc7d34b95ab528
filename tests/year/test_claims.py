"""The year's oracle: which claims are false, given what was so."""

from __future__ import annotations

import pytest

from lab.policy import GroupRows, UserRows
from lab.truth import LineState, NextLogin, OnlineSession
from tests.year.claims import ItemFact, Recorded, Wanted, differences, false_already, false_at_end, opened

FREE, GARDEN, REJECT = NextLogin(True, False, "5M/10M"), NextLogin(True, True, "64k/64k"), NextLogin(False)


def state(following: NextLogin, *sessions: str) -> LineState:
    """Return a line with sessions `free` or `garden`, at a rate of their own."""
    made = tuple(
        OnlineSession("bng-1", f"s{n}", "192.0.2.1", what == "garden", "5M/10M" if what == "free" else "64k/64k", 0.0)
        for n, what in enumerate(sessions)
    )
    return LineState(made, following)


SUSPENDED, ACTIVE = Wanted(True), Wanted(False)
APPLIED, LATER = ItemFact("applied", "garden", ""), ItemFact("set-at-next-login", "offline", "no session: it holds")
NONE_KNOWN = ItemFact("set-at-next-login", "none-known", "its old session is gone, and accounting has no other")
UNASKED = ItemFact("set-at-next-login", "none-known", f"{NONE_KNOWN.detail}; not proven: bng-1 was not asked")
OVERTAKEN = ItemFact("set-at-next-login", "overtaken", "change ABCDE acted on the service since: no longer judged")
RECORDED = ItemFact("applied", "recorded", "")
CARRIES_ON = ItemFact("set-not-enforced", "nak-503", "1 session carries on as before")
REJECTED = ItemFact("applied", "stays-rejected", "the login stays rejected: disabled")
UNPROVEN = ItemFact("set-not-enforced", "timeout", "no answer: not proven")


@pytest.mark.parametrize(
    ("item", "wanted", "so", "false"),
    [
        (APPLIED, SUSPENDED, state(GARDEN, "garden"), False),
        (APPLIED, SUSPENDED, state(REJECT), False),
        (APPLIED, SUSPENDED, state(GARDEN, "free"), True),
        (APPLIED, SUSPENDED, state(FREE, "garden"), True),
        (APPLIED, ACTIVE, state(FREE, "free"), False),
        (APPLIED, ACTIVE, state(FREE, "garden"), True),
        (APPLIED, ACTIVE, state(REJECT, "free"), True),
        (APPLIED, Wanted(False, frozenset({"9M/9M"})), state(FREE, "free"), True),
        (REJECTED, ACTIVE, state(REJECT, "free"), False),
        (REJECTED, ACTIVE, state(FREE), True),
        (LATER, SUSPENDED, state(GARDEN), False),
        (LATER, SUSPENDED, state(GARDEN, "free"), True),
        (LATER, SUSPENDED, state(FREE), True),
        (LATER, SUSPENDED, state(GARDEN, "garden"), True),
        (OVERTAKEN, SUSPENDED, state(FREE), False),
        (NONE_KNOWN, SUSPENDED, state(GARDEN, "garden"), False),
        (NONE_KNOWN, SUSPENDED, state(GARDEN, "free"), True),
        (NONE_KNOWN, SUSPENDED, state(FREE), True),
        (NONE_KNOWN, ACTIVE, state(FREE, "garden"), True),
        (UNASKED, SUSPENDED, state(GARDEN, "free"), False),
        (UNASKED, SUSPENDED, state(FREE), True),
        (RECORDED, SUSPENDED, state(GARDEN, "free"), False),
        (RECORDED, SUSPENDED, state(FREE), True),
        (CARRIES_ON, SUSPENDED, state(GARDEN, "free"), False),
        (CARRIES_ON, SUSPENDED, state(GARDEN, "garden"), True),
        (UNPROVEN, SUSPENDED, state(GARDEN, "garden"), False),
        (ItemFact("not-applied", "drifted", ""), SUSPENDED, state(FREE, "free"), False),
    ],
)
def test_a_claim_is_false_where_the_line_was_never_so(item, wanted, so, false):
    assert bool(false_at_end(item, wanted, [so], [so])) is false


def test_a_claim_that_was_so_for_an_instant_is_not_false():
    during = [state(FREE, "free"), state(GARDEN, "garden")]
    assert false_at_end(APPLIED, SUSPENDED, during, during) == ""
    assert false_at_end(CARRIES_ON, SUSPENDED, during, during) == ""


def test_where_nothing_is_known_no_claim_is_called_false():
    assert false_at_end(REJECTED, ACTIVE, [], []) == ""


def test_already_is_judged_by_the_network_too():
    assert false_already("suspend", SUSPENDED, [state(FREE, "free")])
    assert false_already("suspend", SUSPENDED, [state(GARDEN, "garden")]) == ""
    assert false_already("restore", ACTIVE, [state(FREE, "garden")])
    assert false_already("disconnect", ACTIVE, [state(FREE, "free")])
    assert false_already("disconnect", ACTIVE, [state(FREE)]) == ""
    untold = "already suspended for debt; what holds cannot be told: its PPP secret is disabled"
    assert false_already("suspend", SUSPENDED, [state(GARDEN, "free")], untold) == ""
    assert false_already("suspend", SUSPENDED, [state(GARDEN, "free")], "already suspended for debt")


def test_already_that_is_not_proven_is_of_the_next_login():
    words = (
        "already suspended for debt, as far as was read; not proven: no session by accounting, and bng-1 was not asked"
    )
    assert false_already("suspend", SUSPENDED, [state(GARDEN, "free")], words) == ""
    assert false_already("suspend", SUSPENDED, [state(FREE, "garden")], words)
    assert false_already("disconnect", ACTIVE, [state(FREE, "free")], words), "nobody was asked, and it says: nobody"


TARIFF, OTHER, MARKER = GroupRows("home-10m", (), ()), GroupRows("home-20m", (), ()), GroupRows("suspended", (), ())
GROUPS = {"Home 10M": "home-10m", "Home 20M": "home-20m"}
NORMAL = UserRows(groups=(TARIFF,))


@pytest.mark.parametrize(
    ("suspended", "so", "rows", "found"),
    [
        (False, state(FREE, "free"), NORMAL, set()),
        (True, state(GARDEN, "garden"), UserRows(groups=(MARKER, TARIFF)), set()),
        (False, state(REJECT), UserRows(), {"login-missing"}),
        (True, state(REJECT, "free"), NORMAL, {"login-rejected"}),
        (True, state(FREE, "garden"), NORMAL, {"suspension-gone"}),
        (False, state(GARDEN, "free"), UserRows(groups=(MARKER, TARIFF)), {"suspended-unrecorded"}),
        (True, state(GARDEN, "free"), UserRows(groups=(MARKER, TARIFF)), {"session-at-large"}),
        (False, state(FREE, "garden"), NORMAL, {"session-suspended"}),
        (False, state(FREE), UserRows(groups=(OTHER,)), {"tariff-differs"}),
        (False, state(FREE), UserRows(groups=(TARIFF, OTHER)), {"tariff-differs"}),
        (True, state(FREE), UserRows(groups=(OTHER,)), {"suspension-gone", "tariff-differs"}),
        (True, state(GARDEN), UserRows(groups=(MARKER, OTHER)), {"tariff-differs"}),
        (True, state(GARDEN), UserRows(groups=(MARKER,)), set()),
    ],
)
def test_drift_is_each_difference_and_no_other(suspended, so, rows, found):
    recorded = Recorded(suspended, "Home 10M", GROUPS)
    assert differences(recorded, so, rows, {"s0"}) == found
    if found <= {"session-at-large", "session-suspended"}:
        assert differences(recorded, so, rows, ()) == set(), "accounting does not know the session"


def test_nobody_is_let_in_by_a_suspension():
    assert opened([state(REJECT)], state(GARDEN, "garden"))
    assert not opened([state(FREE)], state(GARDEN, "garden"))
    assert not opened([state(REJECT)], state(REJECT))
