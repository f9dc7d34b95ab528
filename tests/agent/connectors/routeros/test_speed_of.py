"""Which speed an address has: the first queue that takes its packets counts."""

from __future__ import annotations

import pytest

from agent.connectors.routeros.queues import speed_of

PLACE, RATE = "10.1.0.50", "20000000/20000000"
OWN = {"name": "dhcp-ds<x>", "target": "10.1.0.50/32", "max-limit": RATE, "dynamic": "true", "parent": "none"}
STATIC = {"name": "hill", "target": "10.1.0.0/24", "max-limit": "100M/100M", "parent": "none"}


def found(*queues: dict[str, str], rate: str = RATE) -> str:
    return speed_of(queues, PLACE, rate)


def test_its_own_queue_says_its_speed() -> None:
    assert found(OWN) == ""
    assert found(OWN | {"max-limit": "20M/20M"}) == ""
    assert found(OWN, rate=f"{RATE} 40000000/40000000 {RATE} 1s/1s 8 {RATE}") == ""
    assert "no queue" in found()
    assert "no queue" in found(OWN | {"target": "10.1.0.51/32"})
    assert "no queue" in found(OWN | {"disabled": "true"})
    assert "no queue" in found(OWN | {"dynamic": "false"})
    assert "not 20000000/20000000 yet" in found(OWN | {"max-limit": "1M/1M"})
    assert found(OWN | {"target": "10.1.0.50/32,2001:db8:1::/64"}) == ""  # a queue of both families


def test_no_limit_is_no_queue() -> None:
    assert found(rate="") == ""
    assert found(STATIC, rate="") == ""
    assert "still has queue" in found(OWN, rate="")


@pytest.mark.parametrize(
    "before",
    [STATIC, STATIC | {"target": "bridge1"}, STATIC | {"target": ""}, STATIC | {"target": "10.9.0.0/24,10.1.0.50"}],
)
def test_a_queue_before_it_has_its_packets(before: dict[str, str]) -> None:
    assert "queue hill stands above" in found(before, OWN)
    assert found(OWN, before) == ""


@pytest.mark.parametrize(
    "before",
    [STATIC | {"disabled": "true"}, STATIC | {"invalid": "true"}, STATIC | {"target": "10.2.0.0/24"}],
)
def test_a_queue_before_it_that_has_nothing_of_it(before: dict[str, str]) -> None:
    assert found(before, OWN) == ""


def test_its_parents_stand_before_it_other_children_count() -> None:
    child = OWN | {"parent": "hill"}
    assert found(STATIC, child) == ""
    top = STATIC | {"name": "all", "target": ""}
    assert found(top, STATIC | {"parent": "all"}, child) == ""
    sibling = STATIC | {"name": "other", "parent": "hill"}
    assert "queue other" in found(STATIC, sibling, child)
    circle = STATIC | {"parent": "hill"}
    assert found(circle, child) == ""
