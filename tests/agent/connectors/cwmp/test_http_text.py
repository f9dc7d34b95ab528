"""What an ACS reads of HTTP: cookies, coded bodies, targets, names in certificates."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.errors import MalformedXmlError
from agent.connectors.cwmp.http_text import (
    COOKIE,
    body_untrusted,
    common_name,
    cookie_untrusted,
    names_cpe,
    path_untrusted,
    set_cookie,
)

MOST = 1 << 20


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("", None),
        ("ispagent-session=abc", "abc"),
        ('ispagent-session="abc"', "abc"),
        ("a=b; ispagent-session=abc; c=d", "abc"),
        ("a=b;ispagent-session=abc", "abc"),
        ('$Version=1; ispagent-session="abc"; $Path="/"', "abc"),
        ("ispagent-session=", None),
        ("ispagent-session", None),
        ("ispagent-sessions=abc", None),
        ("x-ispagent-session=abc", None),
        ("ISPAGENT-SESSION=abc", None),
        ("a=ispagent-session=abc", None),
        ("; " * 40 + "ispagent-session=abc", None),
        ("a" * limits.HEADER_CHARS + "; ispagent-session=abc", None),
    ],
)
def test_cookies(header: str, token: str | None) -> None:
    assert cookie_untrusted(header) == token


@given(st.text(max_size=300))
def test_any_cookie_field(header: str) -> None:
    cookie_untrusted(header)


@given(st.text("abcdefghijklmnopqrstuvwxyzABC0123456789_-", min_size=1))
def test_a_cookie_that_was_set_comes_back(token: str) -> None:
    for secure in (False, True):
        pair, *attributes = set_cookie(token, secure=secure).split("; ")
        assert pair == f"{COOKIE}={token}"
        assert attributes == ["HttpOnly", *(["Secure"] if secure else [])]
        assert cookie_untrusted(pair) == token


@given(st.binary(max_size=2000), st.sampled_from(["", "identity", " Identity "]))
def test_in_clear(data: bytes, coding: str) -> None:
    assert body_untrusted(data, coding, MOST) == data


@given(st.binary(max_size=2000))
def test_coded_and_back(data: bytes) -> None:
    assert body_untrusted(gzip.compress(data), "gzip", MOST) == data
    assert body_untrusted(gzip.compress(data), " X-GZIP ", MOST) == data
    assert body_untrusted(zlib.compress(data), "deflate", MOST) == data
    raw = zlib.compress(data, wbits=-zlib.MAX_WBITS)
    assert body_untrusted(raw, "deflate", MOST) == data, "no head of zlib: RFC 9110 8.4.1.2"


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_as_coded(data: bytes, coding: str) -> None:
    try:
        assert len(body_untrusted(data, coding, MOST)) <= MOST
    except MalformedXmlError:
        pass


def test_an_empty_body_stays_empty() -> None:
    assert body_untrusted(b"", "gzip", MOST) == b""


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "zstd"])
def test_codings_that_are_not_taken(coding: str) -> None:
    with pytest.raises(MalformedXmlError, match="expected a body in clear"):
        body_untrusted(b"x", coding, MOST)


PACKED = gzip.compress(b"<xml/>", mtime=0)


@pytest.mark.parametrize(
    "data",
    [b"<xml/>", PACKED[:-1], PACKED[:-9], PACKED + b"more", PACKED + PACKED, PACKED[:-8] + bytes(8)],
    ids=["clear", "cut", "cut-more", "trailing", "twice", "checksum"],
)
def test_what_is_not_wholly_gzip(data: bytes) -> None:
    with pytest.raises(MalformedXmlError):
        body_untrusted(data, "gzip", MOST)


def test_bombs() -> None:
    with pytest.raises(MalformedXmlError, match="at most 1000 bytes"):
        body_untrusted(gzip.compress(bytes(range(256)) * 4), "gzip", 1000)
    bomb = gzip.compress(bytes(10 << 20))
    with pytest.raises(MalformedXmlError, match=f"at most {len(bomb) * limits.INFLATED_RATIO} bytes"):
        body_untrusted(bomb, "gzip", 100 << 20)
    assert len(body_untrusted(gzip.compress(bytes(1000)), "gzip", 1000)) == 1000, "as large as it may be"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/acs", "/acs"),
        ("/acs?a=b", "/acs?a=b"),
        ("http://acs:7547/acs?a=b", "/acs?a=b"),
        ("https://acs", "/"),
        ("/redirect?to=http://acs/other", "/redirect?to=http://acs/other"),
        ("*", "*"),
        ("acs:443", "acs:443"),
    ],
)
def test_paths(target: str, path: str) -> None:
    assert path_untrusted(target) == path


def test_common_names() -> None:
    assert common_name(None) is None
    assert common_name({}) is None
    assert common_name({"subject": ((("countryName", "DE"),), (("commonName", "02AC5F-Box-S1"),))}) == "02AC5F-Box-S1"
    assert common_name({"subject": ((("countryName", "DE"),),)}) is None


@pytest.mark.parametrize(
    ("name", "product_class", "serial", "names"),
    [
        ("02AC5F-Box-S1", "Box", "S1", True),
        ("02ac5f-box-s1", "Box", "S1", True),
        (" 02AC5F-Box-S1 ", "Box", "S1", True),
        ("02AC5F-S1", "Box", "S1", True),
        ("02AC5F-S1", "", "S1", True),
        ("02AC5F-Box%20A-S1", "Box A", "S1", True),
        ("02AC5F-Box A-S1", "Box A", "S1", True),
        ("02AC5F-Box%2DA-S1", "Box-A", "S1", True),
        ("02AC5F-Box-S2", "Box", "S1", False),
        ("02AC5F-Other-S1", "Box", "S1", False),
        ("000000-Box-S1", "Box", "S1", False),
        ("02AC5F-Box", "Box", "", False),
        ("", "Box", "S1", False),
        ("S1", "Box", "S1", False),
        # One that could be of several CPE is of none
        ("02AC5F-A-B-C", "A-B", "C", False),
        ("02AC5F-A-B-C", "A", "B-C", False),
        ("02AC5F-Box-S1", "Other", "Box-S1", False),
        ("02AC5F-Box-S1", "", "Box-S1", False),
    ],
)
def test_certificates_that_name_a_cpe(name: str, product_class: str, serial: str, names: bool) -> None:
    assert names_cpe(name, "02AC5F", product_class, serial) is names
