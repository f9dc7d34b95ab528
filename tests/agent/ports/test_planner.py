"""What may be asked of ports; what becomes of an ask is shown end to end (`tests/e2e/test_ports.py`)."""

from __future__ import annotations

from itertools import product

import pytest

from agent.changes.journal.machine import Event, StepFact, settle
from agent.changes.journal.request import Ask, RequestError, check_ask
from agent.connectors.base import PortChange, PortWish
from agent.model import Address, Item, Listed, Requirement, Verdict
from agent.ports.planner import NO_UPLINK, requirement_tests, wish_of
from trust.policy import Action, RiskClass, preset, risk_class

SET, CYCLE = Action.PORT_SET, Action.PORT_CYCLE


@pytest.mark.parametrize(
    ("ask", "wish"),
    [
        (Ask(SET, ("sw-1/1",), settings={"admin": "down"}), PortWish(PortChange.ADMIN, "down")),
        (Ask(SET, ("sw-1/1",), settings={"alias": ""}), PortWish(PortChange.ALIAS, "")),
        (Ask(CYCLE, ("sw-1/1",)), PortWish(PortChange.POWER_CYCLE, "")),
        (Ask(CYCLE, ("sw-1/1",), settings={"off-s": "9"}), PortWish(PortChange.POWER_CYCLE, "9")),
    ],
)
def test_an_ask_is_a_wish(ask: Ask, wish: PortWish) -> None:
    check_ask(ask)
    assert wish_of(ask) == wish


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Ask(SET, ("sw-1/1",)), "expected admin or alias, got nothing"),
        (Ask(SET, ("sw-1/1",), settings={"admin": "up", "alias": "x"}), "got admin, alias"),
        (Ask(SET, ("sw-1/1",), settings={"vlan": "7"}), "got vlan"),
        (Ask(CYCLE, ("sw-1/1",), settings={"admin": "up"}), "no setting but off-s"),
        (Ask(SET, ("sw-1/1",), settings={"admin": "up"}, secrets={"x": "y"}), "ports as DEVICE/PORT alone"),
        (Ask(SET, ("sw-1/1",), on_tariff="Home", settings={"admin": "up"}), "ports as DEVICE/PORT alone"),
        (Ask(SET, ("sw-1/1",), all_services=True, settings={"admin": "up"}), "ports as DEVICE/PORT alone"),
        (Ask(SET, (), settings={"admin": "up"}), "expected at least one"),
        (Ask(SET, (), change="ab", settings={"admin": "up"}), "asked as it was, without admin"),
        (Ask(SET, ("sw-1/1",), change="ab"), "services or ports by name, or the rest of a change; got both"),
    ],
)
def test_another_ask_is_refused(wrong: Ask, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        check_ask(wrong)


def test_an_ask_for_the_rest_names_the_change_alone() -> None:
    for action in (SET, CYCLE):
        check_ask(Ask(action, (), change="ab"))


@pytest.mark.parametrize("effect", [False, True], ids=["a write", "a power cycle"])
def test_no_item_of_a_port_ends_as_set_and_not_enforced(effect: bool) -> None:
    """It has one step and nothing to judge after it: it was done, or is asked for anew, and never retried."""
    ends: set[Event] = set()
    for verdict in (None, *Verdict):
        for drifted, acted, stopped in product((False, True), (False, True), (None, Event.CANCEL, Event.EXPIRE)):
            fact = StepFact(verdict, effect, drifted=drifted, acted=effect and acted)
            ends.add(settle([fact], None, stopped))
    assert Event.SET_UNENFORCED not in ends
    assert {Event.FAIL, Event.PROVE, Event.LOSE} <= ends


def test_a_port_that_became_an_uplink_is_stale() -> None:
    uplinks = {("a/sw-1", "port/ge-1"): "core-1 is at its other end"}
    test = requirement_tests(lambda _, target, part: uplinks.get((target, part), ""))[NO_UPLINK]
    item = Item(1, "", None, Listed.CHANGE, "", {})

    def broken(where: str) -> object:
        return test(_Tx(), item, Requirement(Address(where), NO_UPLINK, ""), False)  # type: ignore[arg-type]  # of the test

    assert broken("lines/a/sw-1/port/ge-2") is None
    found = broken("lines/a/sw-1/port/ge-1")
    assert "became an uplink since the preview: core-1" in str(found)
    assert "stale=True" in str(found)


class _Tx:
    """A transaction that is not asked."""

    all = None


def test_the_preset_allows_both_verbs_where_they_may_be_asked() -> None:
    assert risk_class(SET, 1, 500, device_config=True, guarded=False) is RiskClass.UNGUARDED
    assert risk_class(CYCLE, 1, 500) is RiskClass.LOW
    for one in preset():
        if one.risk_class in (RiskClass.LOW, RiskClass.CONFIG, RiskClass.UNGUARDED):
            assert {SET, CYCLE} <= set(one.actions)
