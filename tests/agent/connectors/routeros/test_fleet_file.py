"""The file of a fleet of routers: what comes from lists, what is added, and that nothing pinned is ever changed."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.errors import FleetFileError
from agent.connectors.routeros.fleet_file import (
    FleetRouter,
    merged,
    pinned,
    read_list_untrusted,
    read_uisp_untrusted,
    written,
)

PIN, OTHER = "ab" * 32, "cd" * 32
EDGE = FleetRouter("edge-1", "10.0.1.1", 8729, PIN, "HFG09")


def test_a_list_has_name_and_host_and_what_else_there_is() -> None:
    (one, two) = read_list_untrusted(b"\xef\xbb\xbfname,host,note\nedge-1,10.0.1.1,roof\nedge-2,fe80::2,\n")
    assert (one, two) == (FleetRouter("edge-1", "10.0.1.1"), FleetRouter("edge-2", "fe80::2"))
    assert read_list_untrusted(written([EDGE]).encode()) == (EDGE,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host\n10.0.0.1\n", "line 1: expected a header with name and host, got 'host'"),
        ("name,host\nEdge,10.0.0.1\n", "line 2: expected a name of 1 to 32 of a-z, 0-9 and -, got 'Edge'"),
        ("name,host\nedge\n", "line 2: expected as many cells as the header has"),
        ("name,host,port\nedge,h,0\n", "line 2: expected a port, 1 to 65535, got '0'"),
        ("name,host,fingerprint\nedge,h,abc\n", "line 2: expected a fingerprint of 64 hex digits, got 'abc'"),
        ("name,host\nedge,two words\n", "line 2: expected a host, got 'two words'"),
    ],
)
def test_mistakes_of_a_list(text: str, told: str) -> None:
    with pytest.raises(FleetFileError, match=told.replace("'", ".")) as caught:
        read_list_untrusted(text.encode())
    assert str(caught.value) == told


def test_devices_of_uisp() -> None:
    devices = [
        {"identification": {"name": "Tower 7 / Ntinda", "vendor": "MikroTik"}, "ipAddress": "10.7.0.1/24"},
        {"identification": {"name": "ONU of Amina", "vendor": "Ubiquiti"}, "ipAddress": "10.7.0.9/24"},
        {"identification": {"name": None, "hostname": "edge-8", "vendor": "mikrotik"}, "ipAddress": "10.8.0.1"},
        {"identification": {"name": "no address", "vendor": "MikroTik"}, "ipAddress": None},
    ]
    found = read_uisp_untrusted(json.dumps(devices).encode(), "mikrotik")
    assert found == (FleetRouter("tower-7-ntinda", "10.7.0.1"), FleetRouter("edge-8", "10.8.0.1"))
    for wrong in (b"{}", b"[1]", b"[", b'[{"identification": 1}]'):
        with pytest.raises(FleetFileError):
            read_uisp_untrusted(wrong)


def test_what_stands_in_the_file_is_never_changed() -> None:
    new = FleetRouter("edge-2", "10.0.2.1")
    moved = FleetRouter("edge-1", "10.0.9.9")
    renamed = FleetRouter("edge-one", "10.0.1.1")
    other = FleetRouter("edge-1", "10.0.1.1", fingerprint=OTHER)
    found = merged([EDGE], [FleetRouter("edge-1", "10.0.1.1"), new, moved, renamed, other, new])
    assert found.routers == (EDGE, new)
    assert (found.added, found.known) == ((new,), 2)
    assert [text.partition(":")[0] for text in found.refused] == ["edge-1", "edge-one", "edge-1"]
    assert pinned(found.routers, {"edge-1": OTHER, "edge-2": OTHER}) == (
        EDGE,
        FleetRouter("edge-2", "10.0.2.1", fingerprint=OTHER),
    )


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"name,host\n{text}".encode()))
def test_any_bytes_are_a_list_or_none(data: bytes) -> None:
    for read in (read_list_untrusted, read_uisp_untrusted):
        with contextlib.suppress(FleetFileError):
            assert all(router.name and router.host for router in read(data))
