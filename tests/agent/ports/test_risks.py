"""The risk of a change of ports: each row of the table of `agent.ports.risks`."""

from __future__ import annotations

import pytest

from agent.connectors.base import PortChange, PortPlan, PortWish
from agent.lines.port_use import PortUse
from agent.ports.risks import PortRisk, hanging_text, open_text, risk_of, together

DOWN, UP = PortWish(PortChange.ADMIN, "down"), PortWish(PortChange.ADMIN, "up")
ALIAS, CYCLE = PortWish(PortChange.ALIAS, "x"), PortWish(PortChange.POWER_CYCLE, "5")
PLAN = PortPlan("port/ge-1", (), {})
UNSURE = PortPlan("port/ge-1", (), {}, not_checked=("the agent's own way: unknown",))
MANY = tuple(f"C-{n}" for n in range(11))


@pytest.mark.parametrize(
    ("wish", "plan", "use", "config", "guarded"),
    [
        (ALIAS, PLAN, PortUse(), False, True),
        (ALIAS, UNSURE, PortUse(not_checked=("the uplink",)), False, True),
        (ALIAS, PLAN, PortUse(uplink="core-1 is there"), True, True),
        (UP, UNSURE, PortUse(uplink="core-1 is there"), False, True),
        (DOWN, PLAN, PortUse(services=("C-1",)), False, True),
        (CYCLE, PLAN, PortUse(macs=8), False, True),
        (CYCLE, PLAN, PortUse(macs=9), True, True),
        (DOWN, PLAN, PortUse(devices=("tower-1",)), True, True),
        (DOWN, UNSURE, PortUse(), True, False),
        (CYCLE, PLAN, PortUse(not_checked=("the uplink",)), True, False),
    ],
)
def test_a_class_for_each_row(wish: PortWish, plan: PortPlan, use: PortUse, config: bool, guarded: bool) -> None:
    risk = risk_of(wish, plan, use)
    assert (risk.config, risk.guarded) == (config, guarded)


def test_many_subscribers_together_are_configuration() -> None:
    ten = [PortRisk(False, True, frozenset({ref})) for ref in MANY[:10]]
    assert together(ten) == (False, True)
    assert together([*ten, PortRisk(False, True, frozenset({MANY[10]}))]) == (True, True)
    assert together([*ten, PortRisk(True, False, frozenset())]) == (True, False)
    assert together([]) == (False, True)


def test_the_preview_names_who_is_cut_off_and_what_is_not_known() -> None:
    use = PortUse(services=MANY, devices=("tower-1",), heard=("cpe",), macs=12, not_checked=("the uplink",))
    assert hanging_text(DOWN, use) == (
        "11 subscribers hang on it and are cut off: C-0, C-1, C-2, C-3, C-4 and 6 more · behind it: tower-1"
        " · hears cpe, which the agent does not know · 12 MAC addresses are learned there"
    )
    assert hanging_text(UP, PortUse(services=("C-1",))) == "1 subscriber hangs on it: C-1"
    assert hanging_text(DOWN, PortUse()) == "no subscriber is known to hang on it"
    assert open_text(UNSURE, use) == "not checked: the agent's own way: unknown; not checked: the uplink"
    assert open_text(PLAN, PortUse()) == ""
