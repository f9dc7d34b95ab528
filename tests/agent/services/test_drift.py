"""How a service differs between the record and the network: each kind of difference, and nothing that is none."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.base import LiveSession, NetworkState
from agent.inventory.drift_book import Difference, RecordedReason
from agent.model import Access, Service, SuspensionReason
from agent.reasons import DriftReason, ProofReason
from agent.services.drift import ServiceReading, cannot_tell, compare, lost_hold, passed_over, passed_text

R = SuspensionReason
ACTIVE = Service("C-1/home", "C-1", "Amina", "home", "amina", "ppp", "Home 20M")
SUSPENDED = replace(ACTIVE, reasons=frozenset({R.DEBT}))
FULL = NetworkState(Access.ACTIVE, tariff="Home 20M", groups=("home20",))
CUT = NetworkState(Access.SUSPENDED, tariff="Home 20M", groups=("suspended", "home20"))
BY_MARIA = [RecordedReason(R.DEBT, 1_767_225_600, "maria", "K7QF2")]
KAMPALA = ZoneInfo("Africa/Kampala")


def found(service: Service, state: NetworkState, *, has_tariffs: bool = True) -> tuple[Difference, ...]:
    return compare(service, ServiceReading(state, "radius/main", 1000, has_tariffs), BY_MARIA, KAMPALA)


def codes(service: Service, state: NetworkState, **more: bool) -> list[str]:
    return [one.code for one in found(service, state, **more)]


def session(carries: Access | None, address: str = "100.99.0.7") -> LiveSession:
    how = ProofReason.NOT_TOLD if carries is None else ProofReason.GARDEN
    return LiveSession("bng-2", "accounting", 500, address, {"sid": "8001"}, carries, how)


@pytest.mark.parametrize(
    ("service", "state", "expected"),
    [
        (ACTIVE, FULL, []),
        (SUSPENDED, CUT, []),
        (SUSPENDED, FULL, [DriftReason.SUSPENSION_GONE]),
        (ACTIVE, CUT, [DriftReason.SUSPENDED_UNRECORDED]),
        (ACTIVE, replace(FULL, tariff="Home 50M"), [DriftReason.TARIFF_DIFFERS]),
        (ACTIVE, replace(FULL, tariff="", groups=()), [DriftReason.TARIFF_DIFFERS]),
        (SUSPENDED, replace(CUT, tariff=""), []),  # a suspended login may hide its tariff
        (SUSPENDED, replace(CUT, tariff="Home 50M"), [DriftReason.TARIFF_DIFFERS]),
        (SUSPENDED, replace(FULL, tariff="Home 50M"), [DriftReason.SUSPENSION_GONE, DriftReason.TARIFF_DIFFERS]),
        (ACTIVE, NetworkState(None, refused="Auth-Type"), [DriftReason.LOGIN_REJECTED]),
        (SUSPENDED, NetworkState(None, refused="Auth-Type"), [DriftReason.LOGIN_REJECTED]),
        (ACTIVE, NetworkState(None, unknown="no such user", absent=True), [DriftReason.LOGIN_MISSING]),
        (SUSPENDED, replace(CUT, sessions=(session(Access.ACTIVE),)), [DriftReason.SESSION_AT_LARGE]),
        (SUSPENDED, replace(CUT, sessions=(session(Access.SUSPENDED), session(None))), []),
        (ACTIVE, replace(FULL, sessions=(session(Access.SUSPENDED),)), [DriftReason.SESSION_SUSPENDED]),
        (ACTIVE, replace(FULL, sessions=(session(None),)), []),
        # the next login differs already: of its session nothing more is to be said
        (SUSPENDED, replace(FULL, sessions=(session(Access.ACTIVE),)), [DriftReason.SUSPENSION_GONE]),
    ],
)
def test_kinds(service: Service, state: NetworkState, expected: list[DriftReason]) -> None:
    assert codes(service, state) == [code.value for code in expected]
    assert not cannot_tell(state)


def row(carries: Access, since_s: int, place: str = "bng-2", *, may_be_over: bool = True) -> LiveSession:
    return replace(session(carries), since_s=since_s, place=place, may_be_over=may_be_over)


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        # the router restarted and told nobody: its old row stays open beside the new session's
        ((row(Access.ACTIVE, 100), row(Access.SUSPENDED, 200)), []),
        ((row(Access.SUSPENDED, 200), row(Access.ACTIVE, 100)), []),
        ((row(Access.ACTIVE, 300), row(Access.SUSPENDED, 200)), [DriftReason.SESSION_AT_LARGE]),
        ((row(Access.ACTIVE, 100), row(Access.ACTIVE, 200)), [DriftReason.SESSION_AT_LARGE]),
        ((row(Access.ACTIVE, 100), row(Access.SUSPENDED, 200, "bng-3")), [DriftReason.SESSION_AT_LARGE]),
        # a router's own list holds no session that is over
        ((row(Access.ACTIVE, 100, may_be_over=False), row(Access.SUSPENDED, 200)), [DriftReason.SESSION_AT_LARGE]),
    ],
)
def test_nothing_is_claimed_of_older_row_beside_newer_session(
    sessions: tuple[LiveSession, ...], expected: list[DriftReason]
) -> None:
    state = replace(CUT, sessions=sessions)
    assert codes(SUSPENDED, state) == [code.value for code in expected]
    assert bool(passed_text(passed_over(state))) is not bool(expected)


def test_a_tariff_that_the_method_does_not_map_is_not_compared() -> None:
    assert codes(ACTIVE, replace(FULL, tariff="", groups=("x",)), has_tariffs=False) == []


def test_a_suspension_no_rule_holds_is_a_difference() -> None:
    """Its row says suspended, and it gets out: neither *gone* nor *cannot be told*."""
    loose = NetworkState(None, unknown="no rule drops it", not_held="no rule drops it")
    (one,) = found(SUSPENDED, loose)
    assert (one.code, one.reads) == (DriftReason.SUSPENSION_NOT_HELD, "suspended, and let out: no rule drops it")
    assert lost_hold(SUSPENDED, loose)
    assert not lost_hold(ACTIVE, loose)
    assert not lost_hold(SUSPENDED, CUT)
    assert codes(ACTIVE, loose) == []
    (one,) = found(SUSPENDED, replace(loose, mend="Add a rule."))
    assert one.known.endswith("the network was changed since. Add a rule.")
    assert cannot_tell(loose)


def test_session_that_nobody_can_end_is_not_to_be_disconnected() -> None:
    """A DHCP client keeps what it has until it renews, however often its connections are cut."""
    until = "its lease runs out in 9m unless it renews"
    (one,) = found(SUSPENDED, replace(CUT, sessions=(replace(session(Access.ACTIVE), until=until),)))
    assert (one.code, one.asks) == (DriftReason.SESSION_AT_LARGE, ())
    assert one.known.endswith(f"nobody can end it: {until}")
    both = (replace(session(Access.ACTIVE), until=until), session(Access.ACTIVE))
    (one,) = found(SUSPENDED, replace(CUT, sessions=both))
    assert one.asks == ((f"ispagent change disconnect {ACTIVE.ref}", "end it: it logs in again as recorded"),)


def test_what_cannot_be_told_says_why() -> None:
    assert cannot_tell(NetworkState(None, unknown="two rows differ in case")) == "two rows differ in case"
    assert cannot_tell(NetworkState(None))
    assert codes(SUSPENDED, NetworkState(None, unknown="two rows differ in case")) == []


def test_a_suspension_that_is_gone_names_its_author_and_asks() -> None:
    (one,) = found(SUSPENDED, FULL)
    assert (one.subject, one.where, one.read_s) == ("C-1/home", "radius/main", 1000)
    assert (one.wanted, one.reads) == ("suspended for debt", "full service at the next login")
    assert one.known == (
        "network differs from the recorded suspension for debt of 2026-01-01 03:00 EAT by maria (change K7QF2)"
    )
    assert [command for command, _ in one.asks] == [
        "ispagent change suspend C-1/home --reason debt",
        "ispagent change adopt C-1/home",
    ]


def test_a_marker_without_a_reason_may_be_adopted_or_lifted() -> None:
    (one,) = found(ACTIVE, CUT)
    assert one.known == "suspended in the network, no reason recorded"
    assert [command for command, _ in one.asks] == [
        "ispagent change adopt C-1/home --reason request",
        "ispagent change restore C-1/home",
    ]


def test_a_rejected_login_is_left_to_those_who_rejected_it() -> None:
    (one,) = found(ACTIVE, NetworkState(None, refused="disabled in daloRADIUS"))
    assert one.reads == "the login is rejected: disabled in daloRADIUS"
    assert one.asks == ()


def test_every_difference_has_commands_a_shell_takes() -> None:
    (one,) = found(replace(ACTIVE, tariff="Home 10M"), FULL)
    assert [command for command, _ in one.asks] == [
        "ispagent change adopt C-1/home",
        "ispagent change set-plan C-1/home --tariff 'Home 10M'",
    ]


STATES = st.builds(
    NetworkState,
    access=st.sampled_from([None, *Access]),
    refused=st.sampled_from(["", "Auth-Type"]),
    unknown=st.sampled_from(["", "no such user"]),
    tariff=st.sampled_from(["", "Home 20M", "Home 50M"]),
    sessions=st.lists(st.sampled_from([session(None), *map(session, Access)]), max_size=2).map(tuple),
    absent=st.booleans(),
)


@given(STATES, st.sampled_from([ACTIVE, SUSPENDED]), st.booleans())
def test_any_state_gives_each_kind_at_most_once(state: NetworkState, service: Service, has_tariffs: bool) -> None:
    ones = found(service, state, has_tariffs=has_tariffs)
    assert len({one.code for one in ones}) == len(ones)
    as_recorded = (
        state.access is (Access.SUSPENDED if service.reasons else Access.ACTIVE)
        and not state.refused
        and not state.absent
        and state.tariff == service.tariff
        and all(s.carries in (None, state.access) for s in state.sessions)
    )
    if as_recorded:
        assert ones == ()
