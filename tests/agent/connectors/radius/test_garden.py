"""Addresses in and outside of the walled garden: the same answer as Python's own `ipaddress` gives, for any text."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.radius.garden import in_garden, is_outside

GARDENS = {"garden4": "10.99.0.0/16,100.64.0.0/10", "garden6": "fd00:98::/32,2001:db8:8000::/33"}
WITHIN = [ipaddress.ip_network(text) for prefixes in GARDENS.values() for text in prefixes.split(",")]


def by_ipaddress(text: str) -> bool | None:
    """Return whether an address or a prefix is in the garden; None: it is none."""
    try:
        net = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return any(
        garden.version == net.version and garden.prefixlen <= net.prefixlen and net.network_address in garden
        for garden in WITHIN
    )


addresses = st.one_of(
    st.ip_addresses(network="10.98.0.0/15"), st.ip_addresses(network="2001:db8::/32"), st.ip_addresses()
)
prefixes = st.builds("{}/{}".format, addresses, st.integers(0, 130))


@given(st.one_of(addresses.map(str), prefixes, st.text(alphabet="0123456789abcdef:./% \0٣")))
@example("10.99.0.1")
@example("100.127.255.255/32")
@example("10.99.0.0/15")
@example("fd00:98::1/64")
@example("2001:db8:7fff::/33")
@example("2001:db8:8000::/32")
@example("fd00:98::1%eth0")
@example("10.99.1.1/255.255.255.0")
@example("10.99.1.1/0.0.0.255")
@example("::ffff:10.99.0.1")
@example("010.99.0.1")
@example("10.99.0.1/")
@example("10.99.0.1/08")
@example("10.99.0.1/٣")
@example("10.99.0.1\0")
@example("0.0.0.0/0")
@example("::/0")
@example("")
def test_any_text_stands_where_ipaddress_says(text: str) -> None:
    inside = by_ipaddress(text)
    assert in_garden({"ip": text}, GARDENS) is (inside is True)
    assert is_outside({"ip": text}, GARDENS) is (inside is False)


@pytest.mark.parametrize("text", ["10.99.0.1", "fd00:98::1"])
def test_a_family_without_a_garden_says_nothing(text: str) -> None:
    assert not in_garden({"ip": text}, {})
    assert not is_outside({"ip": text}, {})
