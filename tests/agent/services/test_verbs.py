"""What each verb wants of a service: the table of decisions, reasons as a set, and taking back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations, permutations

import pytest

from agent.inventory.book import opposite
from agent.inventory.facts import Billing, BillingTerms
from agent.model import (
    Access,
    DesiredChange,
    ReasonChange,
    Service,
    ServiceState,
    SuspensionReason,
    TariffChange,
)
from agent.services.verbs import OWES, Leave, Params, Wish, decide, enforces_again, suspends, take_back
from tests.builders.expect import expect
from tests.builders.facts import billing
from trust.items import read_changes_untrusted, write_changes
from trust.policy import Action

REASONS = tuple(SuspensionReason)

NOW_S = datetime(2026, 10, 15, 9, 0, tzinfo=UTC).timestamp()
SERVICE = Service("C-10482/home", "C-10482", "Amina Hassan", "home", "amina.h", "pppoe", "Home 20M")
DEBTOR = billing("34.00", as_of="2026-10-15T08:00:00Z", now="2026-10-15T09:00:00Z")
NOTHING = Billing(None, (), BillingTerms(), NOW_S)
PAID = billing("0.00", paid_at="2026-10-14", as_of="2026-10-15T08:00:00Z", now="2026-10-15T09:00:00Z")
ACTIVE, SUSPENDED = (ServiceState(a, "Home 20M") for a in (Access.ACTIVE, Access.SUSPENDED))


def with_reasons(*reasons: str) -> Service:
    return replace(SERVICE, reasons=frozenset(map(SuspensionReason, reasons)))


def suspend(reason: str = "debt") -> Params:
    return Params(Action.SUSPEND, NOW_S, reason=SuspensionReason(reason))


def restore(reason: str = "debt") -> Params:
    return Params(Action.RESTORE, NOW_S, reason=SuspensionReason(reason))


@pytest.mark.parametrize(
    ("params", "service", "known", "code", "blocked"),
    [
        (suspend(), with_reasons("debt"), PAID, "paid", False),
        (suspend("abuse"), replace(with_reasons("abuse"), protected="hospital"), None, "protected", False),
        (suspend(), replace(SERVICE, protected="hospital"), DEBTOR, "protected", False),
        (suspend("abuse"), replace(SERVICE, protected="hospital"), None, "protected", False),
        (suspend(), replace(SERVICE, feeds=12), DEBTOR, "protected", False),
        (suspend(), SERVICE, None, "no-billing-data", True),
        (suspend(), SERVICE, PAID, "paid", False),
        (suspend(), replace(SERVICE, extra={"promise_until": "2026-10-15"}), DEBTOR, "promised", False),
        (suspend(), replace(SERVICE, extra={"promise_until": "2026-10-20T10:00:00Z"}), DEBTOR, "promised", False),
        (restore(), with_reasons("abuse"), PAID, "other-reason", False),
        (restore("request"), with_reasons("abuse", "debt"), PAID, "other-reason", False),
    ],
)
def test_left_alone(params: Params, service: Service, known: Billing | None, code: str, blocked: bool) -> None:
    left = expect(Leave, decide(params, service, known or NOTHING))
    assert (left.code, left.blocked) == (code, blocked)
    assert left.why


@pytest.mark.parametrize(
    ("params", "service", "known", "state", "desired"),
    [
        (suspend(), SERVICE, DEBTOR, SUSPENDED, ("+debt",)),
        (suspend(), replace(SERVICE, extra={"promise_until": "2026-10-14"}), DEBTOR, SUSPENDED, ("+debt",)),
        (suspend("abuse"), SERVICE, None, SUSPENDED, ("+abuse",)),
        (suspend("request"), SERVICE, PAID, SUSPENDED, ("+request",)),
        (restore(), with_reasons("debt"), PAID, ACTIVE, ("-debt",)),
        (restore(), with_reasons("debt"), None, ACTIVE, ("-debt",)),
        (restore(), SERVICE, PAID, ACTIVE, ()),  # the network may still say otherwise
        (suspend(), with_reasons("debt"), DEBTOR, SUSPENDED, ()),  # as above
        (suspend("abuse"), with_reasons("abuse", "debt"), None, SUSPENDED, ()),
        (suspend("abuse"), with_reasons("debt"), None, SUSPENDED, ("+abuse",)),
        (restore(), with_reasons("abuse", "debt"), PAID, SUSPENDED, ("-debt",)),
        (Params(Action.SET_PLAN, NOW_S, tariff="Home 20M"), SERVICE, None, ACTIVE, ()),
        (Params(Action.SET_PLAN, NOW_S, tariff="Home 20M"), with_reasons("debt"), None, SUSPENDED, ()),
        (
            Params(Action.SET_PLAN, NOW_S, tariff="Home 50M"), SERVICE, None,
            ServiceState(Access.ACTIVE, "Home 50M"), ("was=Home 20M", "tariff=Home 50M"),
        ),
        (
            Params(Action.SET_PLAN, NOW_S, tariff="Home 50M"), with_reasons("debt"), None,
            ServiceState(Access.SUSPENDED, "Home 50M"), ("was=Home 20M", "tariff=Home 50M"),
        ),
        (Params(Action.DISCONNECT, NOW_S), SERVICE, None, None, ()),
    ],
)  # fmt: skip
def test_wanted(
    params: Params, service: Service, known: Billing | None, state: ServiceState | None, desired: tuple[str, ...]
) -> None:
    wish = expect(Wish, decide(params, service, known or NOTHING))
    assert (wish.state, tuple(write_changes(wish.desired))) == (state, desired)


def test_only_a_suspension_for_debt_requires_that_it_still_owes() -> None:
    wish = expect(Wish, decide(suspend(), SERVICE, DEBTOR))
    [required] = wish.requires
    assert (required.address, required.test) == ("billing/file/C-10482", OWES)
    for params in (suspend("abuse"), suspend("request"), restore("request")):
        other = expect(Wish, decide(params, SERVICE, DEBTOR))
        assert other.requires == ()


def test_a_revert_is_not_decided_here() -> None:
    with pytest.raises(ValueError, match="take_back"):
        decide(Params(Action.REVERT, NOW_S), SERVICE, NOTHING)


# --- reasons are a set ---


def record(service: Service, desired: tuple[DesiredChange, ...]) -> Service:
    """Do as the journal does with the desired state of an applied item."""
    reasons = set(service.reasons)
    for change in desired:
        match change:
            case ReasonChange(reason, added=True):
                reasons.add(reason)
            case ReasonChange(reason):
                reasons.discard(reason)
            case TariffChange(after=after):
                service = replace(service, tariff=after)
    return replace(service, reasons=frozenset(reasons))


def changes(*texts: str) -> tuple[DesiredChange, ...]:
    return read_changes_untrusted(texts)


@pytest.mark.parametrize("order", list(permutations(REASONS)), ids=str)
@pytest.mark.parametrize("lifted", list(permutations(REASONS)), ids=str)
def test_service_returns_when_the_last_reason_is_lifted(order: tuple[str, ...], lifted: tuple[str, ...]) -> None:
    service = SERVICE
    for reason in order:
        wish = expect(Wish, decide(suspend(reason), service, DEBTOR))
        assert wish.state == SUSPENDED
        service = record(service, wish.desired)
    assert service.reasons == set(REASONS)
    for n, reason in enumerate(lifted):
        wish = expect(Wish, decide(restore(reason), service, PAID))
        assert wish.state == (ACTIVE if n == 2 else SUSPENDED)
        service = record(service, wish.desired)
    assert service.reasons == frozenset()


def test_a_second_reason_says_what_happens() -> None:
    wish = expect(Wish, decide(suspend("abuse"), with_reasons("debt"), NOTHING))
    assert wish.why == "already suspended for debt: abuse is added to it"
    wish = expect(Wish, decide(restore("debt"), with_reasons("debt", "abuse"), NOTHING))
    assert wish.why == "stays suspended for abuse: only debt is lifted"


def test_what_is_said_where_the_network_reads_so_already() -> None:
    wish = expect(Wish, decide(suspend(), with_reasons("debt"), DEBTOR))
    assert wish.already == "already suspended for debt, and the network reads so"
    wish = expect(Wish, decide(Params(Action.SET_PLAN, NOW_S, tariff="Home 20M"), SERVICE, NOTHING))
    assert wish.already == "already on Home 20M, and the network does not read otherwise"
    assert wish.same_tariff


def test_which_wishes_enforce_recorded_reasons_again() -> None:
    for params, service, again in [
        (suspend(), SERVICE, False),
        (suspend(), with_reasons("debt"), True),
        (suspend("abuse"), with_reasons("debt"), True),
        (restore(), with_reasons("debt", "abuse"), True),
        (restore(), with_reasons("debt"), False),
        (Params(Action.SET_PLAN, NOW_S, tariff="Home 20M"), with_reasons("debt"), True),
        (Params(Action.DISCONNECT, NOW_S), with_reasons("debt"), False),
    ]:
        wish = expect(Wish, decide(params, service, DEBTOR))
        assert enforces_again(wish, service) is again


# --- taking back ---


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("others", [c for n in range(3) for c in combinations(REASONS, n)], ids=str)
def test_taking_back_undoes_what_was_recorded(reason: str, others: tuple[str, ...]) -> None:
    before = with_reasons(*(r for r in others if r != reason))
    wish = expect(Wish, decide(suspend(reason), before, DEBTOR))
    now = record(before, wish.desired)
    back = expect(Wish, take_back(opposite(wish.desired), now, NOTHING))
    assert record(now, back.desired) == before
    assert back.state == (SUSPENDED if before.reasons else ACTIVE)


OWING = DEBTOR


def test_taking_back_restore_suspends_again_while_it_still_owes() -> None:
    back = expect(Wish, take_back(opposite(changes("-debt")), SERVICE, OWING))
    assert (back.state, back.desired) == (SUSPENDED, changes("+debt"))
    assert [(r.address, r.test) for r in back.requires] == [("billing/file/C-10482", OWES)]
    assert "34.00 due 2026-10-03" in back.why
    assert suspends(back)
    abuse = expect(Wish, take_back(changes("+abuse"), SERVICE, NOTHING))
    assert (abuse.state, abuse.requires, suspends(abuse)) == (SUSPENDED, (), True)


@pytest.mark.parametrize(
    ("desired", "service", "known", "code"),
    [
        (("+debt",), SERVICE, PAID, "paid"),
        (("+debt",), SERVICE, NOTHING, "no-billing-data"),
        (("+debt",), SERVICE, replace(DEBTOR, doubt="the file is broken"), "billing-in-doubt"),
        (("+debt",), replace(SERVICE, protected="hospital"), OWING, "protected"),
        (("+abuse",), replace(SERVICE, feeds=31), OWING, "protected"),
        (("+debt",), replace(SERVICE, extra={"promise_until": "2026-12-01"}), OWING, "promised"),
    ],
)
def test_a_revert_that_would_suspend_is_checked_as_a_suspension(
    desired: tuple[str, ...], service: Service, known: Billing, code: str
) -> None:
    for reasons in (frozenset[SuspensionReason](), frozenset({SuspensionReason.REQUEST})):
        left = expect(Leave, take_back(changes(*desired), replace(service, reasons=reasons), known))
        assert left.code == code
        assert not suspends(left)


def test_taking_back_a_tariff() -> None:
    now = replace(SERVICE, tariff="Home 50M")
    back = expect(Wish, take_back(opposite(changes("was=Home 20M", "tariff=Home 50M")), now, NOTHING))
    assert back.state == ACTIVE
    assert record(now, back.desired) == SERVICE


@pytest.mark.parametrize(
    ("desired", "service", "code"),
    [
        ((), SERVICE, "irreversible"),
        (("-debt",), SERVICE, "changed-since"),  # somebody lifted it already
        (("+debt",), with_reasons("debt"), "changed-since"),
        (("was=Home 50M", "tariff=Home 20M"), SERVICE, "changed-since"),
    ],
)
def test_P21_what_changed_since_is_left_alone(desired: tuple[str, ...], service: Service, code: str) -> None:
    left = expect(Leave, take_back(changes(*desired), service, NOTHING))
    assert left.code == code


def test_todays_reasons_decide_not_an_old_picture() -> None:
    """Suspended for debt; meanwhile for abuse too: taking the first back leaves the line down."""
    back = expect(Wish, take_back(changes("-debt"), with_reasons("debt", "abuse"), NOTHING))
    assert (back.state, back.desired) == (SUSPENDED, changes("-debt"))
    assert back.why == "it stays suspended: reasons left: abuse"


# --- what is left alone in doubt ---


@pytest.mark.parametrize("promise", ["15/12/2026", "next friday", "2026-13-45", "soon"])
def test_promise_that_nobody_can_read_as_date_is_still_promise(promise: str) -> None:
    left = expect(Leave, decide(suspend(), replace(SERVICE, extra={"promise_until": promise}), DEBTOR))
    assert left.code == "promised"
    assert f"{promise}, which is no date" in left.why


def test_billing_data_in_doubt_or_from_future_suspends_nobody() -> None:
    left = expect(Leave, decide(suspend(), SERVICE, replace(DEBTOR, doubt="the billing file has 1 broken line")))
    assert (left.code, left.blocked) == ("billing-in-doubt", True)
    assert "1 broken line" in left.why
    left = expect(
        Leave, decide(suspend(), SERVICE, billing("34.00", as_of="2099-01-01T00:00:00Z", now="2026-10-15T09:00:00Z"))
    )
    assert left.code == "billing-in-doubt"
    assert "in the future" in left.why
    assert isinstance(decide(suspend("abuse"), SERVICE, replace(NOTHING, doubt="broken")), Wish)


def test_a_second_reason_for_debt_still_requires_the_debt() -> None:
    wish = expect(Wish, decide(suspend(), with_reasons("abuse"), DEBTOR))
    assert [r.test for r in wish.requires] == [OWES]


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (replace(SERVICE, protected="hospital"), "protected: hospital"),
        (replace(SERVICE, feeds=31), "feeds 31 other subscribers"),
        (replace(SERVICE, protected="relay", feeds=1), "protected: relay · feeds 1 other subscriber"),
    ],
)
def test_what_hangs_on_a_service_is_said_or_it_is_left_alone(service: Service, says: str) -> None:
    left = expect(Leave, decide(Params(Action.DISCONNECT, NOW_S), service, NOTHING))
    assert (left.code, left.why) == ("protected", says)
    wish = expect(Wish, decide(Params(Action.SET_PLAN, NOW_S, tariff="Home 50M"), service, NOTHING))
    assert wish.why == f"Home 20M to Home 50M · {says}"
    back = expect(Wish, take_back(changes("was=Home 20M", "tariff=Home 10M"), service, NOTHING))
    assert back.why == says
