"""What a person may ask of a device's preparation. The preparation itself: `test_prepare` and e2e `test_devices`."""

from __future__ import annotations

import pytest

from agent.changes.journal.request import Ask, RequestError, check_ask
from agent.changes.planning.preparation import _ready_text, terms_of
from trust.policy import Action, PolicyClass, RiskClass, preset, risk_class


def ask(*refs: str, **settings: str) -> Ask:
    return Ask(Action.PREPARE, refs or ("edge-1",), settings=settings)


def test_terms_are_a_list_a_garden_and_resolvers() -> None:
    found = terms_of(ask(list="held", garden="198.51.100.80, 2001:db8::/64", resolvers="198.51.100.53"))
    assert (found.list_name, found.resolvers) == ("held", ("198.51.100.53",))
    assert found.garden == ("198.51.100.80", "2001:db8::/64")
    assert terms_of(ask()).list_name == "suspended"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"garden": "example.net"}, "expected addresses or networks"),
        ({"garden": "198.51.100.80/24"}, "expected addresses or networks"),
        ({"resolvers": "198.51.100.0/24"}, "expected addresses, got a network"),
        ({"list": "a,b"}, "expected the name of an address list"),
        ({"chain": "input"}, "expected settings out of garden, list, resolvers"),
    ],
)
def test_other_settings_are_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        terms_of(ask(**settings))


@pytest.mark.parametrize(
    "wrong",
    [
        Ask(Action.PREPARE, ("edge-1", "edge-2")),
        Ask(Action.PREPARE, ("edge-1",), on_tariff="Home 20M"),
        Ask(Action.PREPARE, ("edge-1",), secrets={"list": "x"}),
    ],
)
def test_one_router_is_asked_for_at_a_time(wrong: Ask) -> None:
    with pytest.raises(RequestError, match="expected one router"):
        check_ask(wrong)
    check_ask(ask(list="held"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, ""), ({"garden": "198.51.100.80", "resolvers": "198.51.100.53"}, "; --garden and --resolver would add to")],
)
def test_of_ready_router_it_is_said_what_was_asked_for_in_vain(settings: dict[str, str], told: str) -> None:
    said = _ready_text(terms_of(ask(**settings)))
    assert said.startswith(
        f"nothing is missing: it has the profile, lists and rules that its access methods need{told}"
    )


def test_by_preset_it_is_of_class_config_and_needs_two_people() -> None:
    assert risk_class(Action.PREPARE, 1, 500, device_config=True) is RiskClass.CONFIG
    (config,) = [one for one in preset() if one.risk_class is RiskClass.CONFIG]
    assert isinstance(config, PolicyClass)
    assert config.approvals == 2
    assert Action.PREPARE in config.actions
