"""Shares of peers: who gets in, who has to go for it, and that the books add up whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.admission import Allowances, Guests, Holdings, Regulars

# --- guests -----------------------------------------------------------------------------------------------------------


def test_the_most_silent_of_its_own_network_goes() -> None:
    guests: Guests[str] = Guests(10, 2)
    assert guests.enter("a1", "a", 0) == (True, None)
    assert guests.enter("a2", "a", 1) == (True, None)
    guests.seen("a1", 2)
    assert guests.enter("a3", "a", 3) == (True, "a2")
    assert guests.enter("b1", "b", 3) == (True, None)


def test_who_came_just_now_is_left_in_peace_by_its_network() -> None:
    guests: Guests[str] = Guests(10, 1, patience_s=2)
    guests.enter("a1", "a", 0)
    assert guests.enter("a2", "a", 1.9) == (False, None)
    assert guests.enter("a2", "a", 2) == (True, "a1")


def test_the_fullest_network_makes_room_and_gets_no_more() -> None:
    guests: Guests[str] = Guests(4, 3, patience_s=2)
    for number in range(3):
        guests.enter(f"a{number}", "a", number)
    guests.enter("b1", "b", 0)
    assert guests.enter("c1", "c", 3) == (True, "a0"), "in peace or not"
    assert guests.enter("a3", "a", 3) == (False, None)
    assert guests.oldest() == "a1"


def test_without_guests_nobody_can_go() -> None:
    guests: Guests[str] = Guests(0, 1)
    assert guests.oldest() is None
    assert guests.enter("a1", "a", 0) == (False, None)
    guests.leave("a1")
    guests.seen("a1", 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(("enter", "leave", "seen")), st.integers(0, 12), st.sampled_from("abc")), max_size=60
    )
)
def test_there_are_never_more_than_there_may_be(steps: list[tuple[str, int, str]]) -> None:
    guests: Guests[int] = Guests(5, 2, patience_s=3)
    inside: dict[int, str] = {}
    for now, (what, number, network) in enumerate(steps):
        if what == "seen":
            guests.seen(number, now)
        elif what == "leave":
            guests.leave(number)
            inside.pop(number, None)
        elif number not in inside:
            is_in, goes = guests.enter(number, network, now)
            if goes is not None:
                del inside[goes]
                assert is_in
            if is_in:
                inside[number] = network
        assert len(guests) == len(inside) <= 5
        assert all(list(inside.values()).count(each) <= 2 for each in "abc")
        assert (guests.oldest() in inside) == bool(inside)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_who_holds_most_goes() -> None:
    holdings: Holdings[str] = Holdings(100)
    assert holdings.take("a", 60) == []
    assert holdings.take("b", 30) == []
    assert holdings.take("c", 20) == ["a"]
    assert holdings.total == 50
    assert holdings.take("d", 101) == ["d"], "itself, where that is it"
    holdings.release("d")
    holdings.release("b")
    assert holdings.total == 20


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 80)), max_size=40))
def test_bytes_are_bounded_and_add_up(takes: list[tuple[int, int]]) -> None:
    holdings: Holdings[int] = Holdings(100)
    held: dict[int, int] = {}
    for holder, size in takes:
        held[holder] = held.get(holder, 0) + size
        for goes in holdings.take(holder, size):
            del held[goes]
        assert holdings.total == sum(held.values()) <= 100
    for holder in range(6):
        holdings.release(holder)
    assert holdings.total == 0


# --- work -------------------------------------------------------------------------------------------------------------


def test_who_used_up_its_work_waits_and_others_do_not() -> None:
    allowances = Allowances(100, 10)
    assert allowances.wait_s("a", 0) == 0
    allowances.spend("a", 130, 0)
    assert allowances.wait_s("a", 0) == pytest.approx(3)
    assert allowances.wait_s("b", 0) == 0
    assert allowances.wait_s("a", 2) == pytest.approx(1)
    assert allowances.wait_s("a", 3) == 0
    allowances.spend("a", 100, 1000)
    assert allowances.wait_s("a", 1000) == 0, "it had all that it can have, and no more"
    allowances.spend("a", 1, 1000)
    assert allowances.wait_s("a", 1000) == pytest.approx(0.1)


def test_peers_without_number_are_forgotten_from_the_oldest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS", 3)
    allowances = Allowances(1, 1)
    for peer in "abcd":
        allowances.spend(peer, 11, 0)
    assert [allowances.wait_s(peer, 0) for peer in "abcd"] == [0, 10, 10, 10]


# --- regulars ---------------------------------------------------------------------------------------------------------


def test_the_last_networks_of_accepted_cpe_are_remembered() -> None:
    regulars = Regulars(2)
    for network in ("a", "b", "a", "c"):
        regulars.add(network)
    assert [network in regulars for network in "abc"] == [True, False, True]
