"""Which simple queue takes a subscriber's traffic: its own, or one that stands above."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.queues import Queue, Unfit, limit_of, own

MINE = [ip_network("192.0.2.7"), ip_network("2001:db8:7::/56")]
HOME = "name=home target=192.0.2.7/32,2001:db8:7::/56 max-limit=5000000/20000000"


def queues(*lines: str) -> list[Queue]:
    return [dict(word.split("=", 1) for word in line.split()) for line in lines]


@pytest.mark.parametrize(
    "lines",
    [
        (HOME,),
        ("name=home target=2001:db8:7::/56,192.0.2.7 parent=none",),
        ("name=next target=192.0.2.8/32", HOME),
        ("name=off target=192.0.2.0/24 disabled=true", HOME),
        ("name=odd target=192.0.2.0/24 invalid=true", HOME),
        (HOME, "name=all target=0.0.0.0/0"),
        ("name=town target=192.0.2.0/24,2001:db8::/32", f"{HOME} parent=town"),
        (f"{HOME} parent=town", "name=town target=192.0.2.0/24,2001:db8::/32"),
        ("name=town", f"{HOME} parent=town"),
        ("name=tv target=192.0.2.7/32 parent=home", HOME),
        ("name=tv target=192.0.2.7/32 parent=games", "name=games target=192.0.2.7/32 parent=home", HOME),
        (f"{HOME} parent=away",),
        (f"{HOME} parent=home",),
    ],
)
def test_its_own(lines: tuple[str, ...]) -> None:
    found = own(queues(*lines), MINE)
    assert not isinstance(found, Unfit), found
    assert found["name"] == "home"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "no-queue"),
        (("name=v4 target=192.0.2.7/32",), "no-queue"),
        (("name=wide target=192.0.2.0/24,2001:db8:7::/56",), "no-queue"),
        (("name=more target=192.0.2.7/32,2001:db8:7::/56,192.0.2.8/32",), "no-queue"),
        (("name=wire target=ether5",), "no-queue"),
        (("name=every",), "no-queue"),
        ((HOME, HOME.replace("home", "again")), "several-queues"),
        ((HOME, f"{HOME} disabled=true".replace("home", "again")), "several-queues"),
        ((f"{HOME} dynamic=true",), "dynamic-queue"),
        ((f"{HOME} disabled=true",), "disabled-queue"),
        ((f"{HOME} invalid=true",), "invalid-queue"),
        ((f"{HOME} time=8h-17h,mon",), "queue-in-part"),
        ((f"{HOME} dst=ether1",), "queue-in-part"),
        ((f"{HOME} packet-marks=voip",), "queue-in-part"),
        (("name=all target=0.0.0.0/0", HOME), "queue-behind"),
        (("name=every", HOME), "queue-behind"),
        (("name=part target=2001:db8:7::1/128", HOME), "queue-behind"),
        (("name=dyn target=192.0.2.0/24 dynamic=true", HOME), "queue-behind"),
        (("name=<pppoe-a> target=<pppoe-a> dynamic=true", HOME), "queue-behind"),
        (("name=night target=192.0.2.0/24 time=0s-6h", HOME), "queue-behind"),
        (("name=marked target=192.0.2.0/24 packet-marks=p2p", HOME), "queue-behind"),
        (("name=wan target=192.0.2.0/24 dst=ether1", HOME), "queue-behind"),
        ((f"{HOME} parent=town", "name=all", "name=town target=0.0.0.0/0,::/0"), "queue-behind"),
        (("name=town target=192.0.2.0/24", f"{HOME} parent=town"), "queue-parent"),
        (("name=town target=ether5", f"{HOME} parent=town"), "queue-parent"),
        (("name=town disabled=true", f"{HOME} parent=town"), "queue-parent"),
        (("name=town time=8h-17h", f"{HOME} parent=town"), "queue-parent"),
        (("name=top target=192.0.2.7/32", "name=town parent=top", f"{HOME} parent=town"), "queue-parent"),
    ],
)
def test_none_to_work_with(lines: tuple[str, ...], reason: str) -> None:
    """E20: a queue above, a parent that is none, one that holds only in part."""
    found = own(queues(*lines), MINE)
    assert isinstance(found, Unfit), found
    assert found.reason == reason
    assert found.detail


def test_its_limit() -> None:
    assert limit_of({"max-limit": "5M/20M"}) == "5000000/20000000"
    assert limit_of({}) == "0/0"


ANY = st.sampled_from(["home", "town", "", "192.0.2.7/32", "192.0.2.7/32,2001:db8:7::/56", "ether5", "true", "!x"])
NAMES = st.sampled_from(["name", "target", "parent", "disabled", "dst", "time", "max-limit"])


@given(st.lists(st.dictionaries(NAMES, ANY), max_size=6))
def test_any_queues_give_an_answer(found: list[dict[str, str]]) -> None:
    answer = own(found, MINE)
    if not isinstance(answer, Unfit):
        assert set(answer["target"].split(",")) == {"192.0.2.7/32", "2001:db8:7::/56"}
