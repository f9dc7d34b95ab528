"""The document that says which package a channel offers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.update.errors import ChannelRefusedError
from agent.update.offers import OFFER_BYTES, encode_offer, offer_path, read_lowest_untrusted, read_offer_untrusted
from tests.builders.update import HERE, NEXT


def test_round_trip() -> None:
    assert read_offer_untrusted(encode_offer(NEXT), HERE) == NEXT
    assert NEXT.target == "pool/debian-13/ispagent_0.2.0_amd64.deb"
    assert offer_path("stable", "ispagent", "13", "amd64") == "channels/stable/ispagent/debian-13/amd64.json"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"{}", "product"),
        (b"[]", "object"),
        (encode_offer(NEXT) + b" " * OFFER_BYTES, "at most 4096 bytes"),
        (encode_offer(replace(NEXT, version="../../x")), "version: expected"),
        (encode_offer(replace(NEXT, version="1:2.0")), "version: expected"),
        (encode_offer(replace(NEXT, arch="")), "arch: expected"),
        (encode_offer(replace(NEXT, arch="arm64")), "on arm64; this machine has ispagent, Debian 13 and amd64"),
        (encode_offer(replace(NEXT, release="14")), "for Debian 14"),
        (encode_offer(NEXT)[:-1] + b', "more": "x"}', "more"),
    ],
)
def test_what_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(ChannelRefusedError, match=match):
        read_offer_untrusted(data, HERE)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ChannelRefusedError):
        read_offer_untrusted(data, HERE)


def test_the_version_in_a_path() -> None:
    assert HERE.version_of(NEXT.target) == "0.2.0"
    built = replace(HERE, version="0.1.0~git20261128.59abcb1aa-0ispagents1")
    assert HERE.version_of(built.target) == built.version
    for other in (replace(NEXT, arch="arm64"), replace(NEXT, product="ispcloud"), replace(NEXT, release="14")):
        assert HERE.version_of(other.target) == ""
    assert HERE.version_of(replace(NEXT, version="../../x").target) == ""
    assert HERE.version_of("pool/debian-13/ispagent_amd64.deb") == ""


@pytest.mark.parametrize("custom", [None, {}, [], {"lowest": 1}, {"lowest": ""}, {"lowest": "1:2"}, {"other": "0.1"}])
def test_a_package_of_which_nobody_judged_what_it_may_replace(custom: object) -> None:
    assert read_lowest_untrusted({"lowest": "0.1.0~"}, NEXT.target) == "0.1.0~"
    with pytest.raises(ChannelRefusedError, match=r"0\.2\.0_amd64\.deb: expected the oldest version that it may be"):
        read_lowest_untrusted(custom, NEXT.target)
