"""Queries of CPE, as people type them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe.query import (
    CONDITIONS_MAX,
    BadQueryError,
    Condition,
    KnownCpe,
    Op,
    fits,
    is_own_mac,
    parse_condition,
    parse_query,
    parse_tag,
)
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe

KNOWN = KnownCpe(
    Cpe(
        "02AC5F-LabGate-LAB0001", "02AC5F", "LabGate", "LAB0001", software="1.0.10", trust=Acceptance.ACCEPTED,
        service="C-1/home", address="10.0.0.7",
    ),
    login="amina@ppp",
    tags=("fiber", "north"),
    values={
        "wifi.1.ssid": CachedParameter("Home of Amina", "string", 0),
        "optical.rx": CachedParameter("-27500", "int", 0),
        "wifi.1.key": CachedParameter(None, "string", 0),
        "wifi.2.ssid": CachedParameter("Home of Amina", "string", 0, before_reset=True),
    },
    macs=("00:25:9E:AA:BB:0C",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("login=amina@ppp", True),
        ("login=AMINA@ppp", True),
        ("login!=amina@ppp", False),
        ("mac=0025.9eaa.bb0c", True),
        ("mac~9e:aa", True),
        ("mac=00:25:9E:AA:BB:0D", False),
        ("model=labgate", True),
        ("model=Lab", False),
        ("model=Lab*", True),
        ("model~abg", True),
        ("firmware=1.0.1", False),
        ("firmware=1.0.*", True),
        ("firmware=1x0.*", False),
        ("firmware!=2.0.0", True),
        ("tag=fiber", True),
        ("tag=north", True),
        ("tag!=fiber", False),
        ("tag!=copper", True),
        ("state=accepted", True),
        ("service=C-1/*", True),
        ("serial=lab0001", True),
        ("address=10.0.0.7", True),
        ("any~lab0001", True),
        ("any~9eaabb", True),
        ("any~accepted", False),
        ("wifi.1.ssid~amina", True),
        ("wifi.1.ssid=Home of Amina", True),
        ("optical.rx<-27000", True),
        ("optical.rx > -27000", False),
        ("wifi.1.ssid<5", False),
        # never read, a secret, or of before a reset: fits nothing, not even !=
        ("wifi.3.ssid!=x", False),
        ("wifi.1.key!=x", False),
        ("wifi.2.ssid=Home of Amina", False),
    ],
)
def test_a_condition(text: str, holds: bool) -> None:
    """By login, MAC, model, firmware, tag, and any parameter that was read."""
    assert fits(KNOWN, [parse_condition(text)]) is holds


def test_all_conditions_must_hold() -> None:
    assert fits(KNOWN, parse_query(["tag=fiber", "model=LabGate"]))
    assert not fits(KNOWN, parse_query(["tag=fiber", "model=Other"]))
    assert fits(KNOWN, ())


@pytest.mark.parametrize("text", ["", "login", "=x", "login=", "nonsense=1", "wifi.=x", "optical.rx<weak", "a b.c=1"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(BadQueryError, match="expected"):
        parse_condition(text)


def test_too_many_conditions() -> None:
    with pytest.raises(BadQueryError, match="at most"):
        parse_query(["tag=a"] * (CONDITIONS_MAX + 1))


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        found = parse_condition(text)
    except BadQueryError:
        return
    assert isinstance(found, Condition)
    assert isinstance(fits(KNOWN, [found]), bool)


def test_a_value_may_hold_operators() -> None:
    assert parse_condition("wifi.1.ssid=a=b<c") == Condition("wifi.1.ssid", Op.IS, "a=b<c")


def test_a_tag() -> None:
    assert parse_tag("fiber-2.north") == "fiber-2.north"
    for wrong in ("", "Fiber", "-x", "a b", "x" * 33, "é"):
        with pytest.raises(BadQueryError, match="tag"):
            parse_tag(wrong)


def test_macs_of_devices_in_the_house_are_not_its_own() -> None:
    assert is_own_mac("Device.Ethernet.Interface.1.MACAddress")
    assert not is_own_mac("InternetGatewayDevice.LANDevice.1.Hosts.Host.1.MACAddress")
    assert not is_own_mac("Device.WiFi.AccessPoint.1.AssociatedDevice.1.MACAddress")
    assert not is_own_mac("Device.WiFi.SSID.1.SSID")


def test_many_stars_take_no_time() -> None:
    """An operator types the stars, and the CPE says its serial number: neither may stop the agent."""
    name = "0" * 250
    known = replace(KNOWN, cpe=replace(KNOWN.cpe, serial=name))
    assert not fits(known, parse_query([f"serial={'*0' * 60}*1"]))
    assert fits(known, parse_query([f"serial={'*0' * 60}*"]))


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [("a*a", "a", False), ("a*a", "aa", True), ("*", "", True), ("a*b*b", "ab", False), ("*b", "abcb", True),
     ("a*", "ba", False), ("**", "x\ny", True), ("a*bc*c", "abc", False)],
)  # fmt: skip
def test_stars(pattern: str, value: str, holds: bool) -> None:
    known = replace(KNOWN, cpe=replace(KNOWN.cpe, serial=value))
    assert fits(known, parse_query([f"serial={pattern}"])) == holds


def test_separators_alone_are_part_of_no_address() -> None:
    assert not fits(KNOWN, parse_query(["mac~-"])), "it is spelled with colons"
    assert fits(KNOWN, parse_query(["mac~:"]))
