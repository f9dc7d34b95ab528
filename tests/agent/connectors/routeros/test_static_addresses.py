"""Logins that are addresses: what is one, and what is somebody else's tomorrow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.base import CannotEnforce
from agent.connectors.routeros.static_addresses import addresses_of, refuse_moving, spelt
from agent.model import ABSENT, Address, Seen, Value


@pytest.mark.parametrize(
    ("login", "spelt_as"),
    [
        ("192.0.2.7", ["192.0.2.7"]),
        ("192.0.2.7/32", ["192.0.2.7"]),
        ("192.0.2.8/29, 2001:DB8:7::/56", ["192.0.2.8/29", "2001:db8:7::/56"]),
        ("2001:db8::1", ["2001:db8::1/128"]),
        ("192.0.2.0/24,2001:db8::/32", ["192.0.2.0/24", "2001:db8::/32"]),
    ],
)
def test_addresses(login: str, spelt_as: list[str]) -> None:
    found = addresses_of(login)
    assert not isinstance(found, CannotEnforce), found
    assert [spelt(one) for one in found] == spelt_as


@pytest.mark.parametrize(
    "login",
    [
        "",
        "amina.h",
        "192.0.2.7,",
        "192.0.2.7/29",  # may be meant as one address, and is not the start of the /29
        "192.0.2",
        "192.0.2.007",
        "192.0.2.7-192.0.2.9",
        "192.0.2.7%ether1",
        "0.0.0.0/0",
        "::/0",
        "192.0.0.0/23",
        "2001:db8::/31",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "fe80::1",
        "192.0.2.7,192.0.2.7",
        "192.0.2.0/24,192.0.2.7",
        "192.0.2.7 192.0.2.8",
        ",".join(f"192.0.2.{n}" for n in range(17)),
    ],
)
def test_none_that_can_be_told(login: str) -> None:
    found = addresses_of(login)
    assert isinstance(found, CannotEnforce)
    assert found.reason == "not-an-address"


@given(st.text(max_size=40) | st.text("0123456789./:,abcdef", max_size=40))
def test_any_login_gives_an_answer(login: str) -> None:
    found = addresses_of(login)
    assert isinstance(found, tuple | CannotEnforce)


def moving(login: str, **values: Value) -> CannotEnforce | None:
    mine = addresses_of(login)
    assert not isinstance(mine, CannotEnforce)
    where = {"pools": "ip/pools", "held": "ip/held", "pools6": "ipv6/pools", "held6": "ipv6/held"}
    seen = {Address(f"routeros/edge-1/{text}/all"): Seen(values.get(name, ABSENT), 0) for name, text in where.items()}
    return refuse_moving("routeros/edge-1", mine, seen)


@pytest.mark.parametrize(
    ("login", "values"),
    [
        ("192.0.2.7", {"pools": {"home": "10.0.0.2-10.0.0.9,192.0.2.5-192.0.2.9"}}),
        ("192.0.2.7", {"pools": {"home": "192.0.2.0/24"}}),
        ("192.0.2.0/29", {"pools": {"home": "192.0.2.7"}}),
        ("192.0.2.7", {"held": {"192.0.2.7": "PPP session of amina.h"}}),
        ("192.0.2.0/29", {"held": {"192.0.2.7": "DHCP lease of AA"}}),
        ("192.0.2.200,2001:db8:7::/56", {"pools6": {"pd": "2001:db8::/40"}}),
        ("2001:db8:7::1", {"held6": {"2001:db8:7::/56": "DHCPv6 binding of x"}}),
    ],
)
def test_somebody_elses_tomorrow(login: str, values: dict[str, Value]) -> None:
    found = moving(login, **values)
    assert found is not None
    assert found.reason == "pool-address"


def test_for_good() -> None:
    values: dict[str, Value] = {
        "pools": {"home": "192.0.2.8-192.0.2.20", "odd": "", "named": "next"},
        "held": {"192.0.2.8": "PPP session of bob", "": "PPP session of eve"},
        "pools6": {"pd": "2001:db8:7::/56"},
    }
    assert moving("192.0.2.7", **values) is None
    assert moving("192.0.2.0/29,2001:db8:8::/56", **values) is None
