"""Bounds of the vocabulary's values: what fits, and what is said of the others. Total on any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model import bounds


@pytest.mark.parametrize(
    ("name", "text", "band", "fits"),
    [
        ("wifi.2.ssid", "home", "", True),
        ("wifi.2.ssid", "x" * 33, "", False),
        ("wifi.12.channel", "13", "2.4GHz", True),
        ("wifi.1.channel", "0", "2.4GHz", False),
        ("wifi.1.channel", "0", "", True),
        ("wifi.1.channel", "165", "5GHz", True),
        ("wifi.1.channel", "38", "5GHz", False),
        ("wifi.1.channel", "1", "5GHz", False),
        ("wifi.1.channel", "233", "6GHz", True),
        ("wifi.1.channel", "1e1", "", False),
        ("wifi.1.key", "1234567", "", False),
        ("wifi.1.key", "a" * 64, "", True),
        ("wifi.1.key", "z" * 64, "", False),
        ("lan.ip", "192.168.1.1", "", True),
        ("lan.ip", "192.168.1", "", False),
        ("lan.mask", "255.255.255.0", "", True),
        ("lan.mask", "255.0.255.0", "", False),
        ("lan.mask", "24", "", False),
        ("lan.dhcp.dns", "192.0.2.1, 192.0.2.2", "", True),
        ("lan.dhcp.dns", "", "", True),
        ("lan.dhcp.dns", "resolver", "", False),
        ("dns.3.server", "2001:db8::1", "", True),
        ("dns.3.server", "x", "", False),
        ("wan.vlan", "4094", "", True),
        ("wan.vlan", "4095", "", False),
        ("acs.url", "acs.example", "", False),
        ("wifi.1.enabled", "anything: its type says", "", True),
        ("Device.X.Y", "anything", "", True),
    ],
)
def test_bounds(name: str, text: str, band: str, fits: bool) -> None:
    told = bounds.problem(name, text, band)
    assert (told == "") is fits, told
    assert fits or told.startswith("expected ")


@given(st.sampled_from(sorted(bounds._CHECKS)), st.text(), st.sampled_from(["", "2.4GHz", "5GHz", "6GHz", "x"]))
def test_any_text_fits_or_has_a_sentence(name: str, text: str, band: str) -> None:
    bounds.problem(name.replace("N", "1"), text, band)
