"""Rows of the API: both forms that releases write, every field of another form, and anything at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.librenms import rows
from agent.connectors.librenms.errors import MalformedLibrenmsError
from agent.connectors.librenms.rows import ApiRow, list_untrusted

KAMPALA = ZoneInfo("Africa/Kampala")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "device_id", "hostname", "sysName", "ip", "port", "sysObjectID", "status", "ignore", "disabled", "uptime",
    "last_polled", "port_id", "ifIndex", "ifName", "ifAlias", "ifSpeed", "poll_time", "ifInOctets", "ifPhysAddress",
    "sensor_id", "sensor_class", "sensor_current", "sensor_index", "entPhysicalIndex", "entPhysicalIndex_measured",
    "lastupdate", "mac_address", "vlan_id", "updated_at", "ipv4_address", "active", "local_port_id", "going_down",
)  # fmt: skip
READERS: tuple[Callable[[ApiRow], object], ...] = (
    lambda row: rows.device_untrusted(row, UTC),
    rows.port_untrusted,
    lambda row: rows.sensor_untrusted(row, UTC),
    lambda row: rows.bridge_mac_untrusted(row, UTC),
    rows.arp_mac_untrusted,
    rows.link_untrusted,
    lambda row: rows.down_since_untrusted([row]),
)


def row(**fields: Any) -> ApiRow:
    return ApiRow("GET /devices, row 1", fields)


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=12))
def test_any_row_is_read_or_malformed(fields: dict[str, object]) -> None:
    for read in READERS:
        try:
            read(ApiRow("a row", fields))
        except MalformedLibrenmsError as err:
            assert "expected" in str(err)  # noqa: PT017  either is right


@given(ANYTHING)
def test_any_answer_is_a_list_or_malformed(answer: object) -> None:
    try:
        found = list_untrusted(answer, "ports", "GET /ports")
    except MalformedLibrenmsError as err:
        assert str(err).startswith("GET /ports: expected")  # noqa: PT017  either is right
    else:
        assert isinstance(found, list)


@pytest.mark.parametrize(
    "answer", [None, [], {"ports": None}, {"ports": "x"}, {"ports": [1]}, {"ports": [None]}, {"status": "ok"}]
)
def test_an_answer_without_the_list_is_malformed(answer: object) -> None:
    with pytest.raises(MalformedLibrenmsError, match=r"GET /ports: expected .* ports"):
        list_untrusted(answer, "ports", "GET /ports")


def test_a_list_has_a_bound() -> None:
    with pytest.raises(MalformedLibrenmsError, match="at most 50000 rows"):
        list_untrusted({"ports": [{}] * (rows.ROWS_MOST + 1)}, "ports", "GET /ports")


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (lambda r: r.whole("x"), "42", 42),
        (lambda r: r.whole("x"), Decimal("42.0"), 42),
        (lambda r: r.whole("x"), "", None),
        (lambda r: r.number("x"), "-61.5", -61.5),
        (lambda r: r.number("x"), Decimal("1e3"), 1000.0),
        (lambda r: r.number("x"), None, None),
        (lambda r: r.flag("x"), "1", True),
        (lambda r: r.flag("x"), False, False),
        (lambda r: r.flag("x"), None, False),
        (lambda r: r.text("x"), " a\r\n b ", "a b"),
        (lambda r: r.text("x"), 7, "7"),
        (lambda r: r.mac("x"), "84BF20853E00", "84:bf:20:85:3e:00"),
        (lambda r: r.mac("x"), "84:bf:20:85:3e:00", "84:bf:20:85:3e:00"),
        (lambda r: r.mac("x"), "none", ""),
        (lambda r: r.moment_s("x", UTC), "2026-11-28 10:00:00", 1_795_860_000),
        (lambda r: r.moment_s("x", KAMPALA), "2026-11-28 13:00:00", 1_795_860_000),
        (lambda r: r.moment_s("x", KAMPALA), "2026-11-28T10:00:00.000000Z", 1_795_860_000),
        (lambda r: r.moment_s("x", UTC), "0000-00-00 00:00:00", None),
    ],
)
def test_each_form_of_a_field(read: Callable[[ApiRow], object], value: object, found: object) -> None:
    assert read(row(x=value)) == found


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda r: r.whole("x"), "4.5", "a whole number"),
        (lambda r: r.whole("x"), True, "a whole number"),
        (lambda r: r.whole("x"), 1 << 64, "a whole number"),
        (lambda r: r.number("x"), "nan", "a number"),
        (lambda r: r.number("x"), [], "a number"),
        (lambda r: r.flag("x"), 2, "0 or 1"),
        (lambda r: r.text("x"), {}, "a text"),
        (lambda r: r.id("x"), None, "an id"),
        (lambda r: r.id("x"), -1, "an id"),
        (lambda r: r.moment_s("x", UTC), "2026-13-28 10:00:00", "a time such as 2026-11-28 10:15:00"),
        (lambda r: r.moment_s("x", UTC), "yesterday", "a time such as 2026-11-28 10:15:00"),
    ],
)
def test_a_field_of_another_form_is_named(read: Callable[[ApiRow], object], value: object, expected: str) -> None:
    with pytest.raises(MalformedLibrenmsError) as found:
        read(row(x=value))
    assert str(found.value) == f"GET /devices, row 1: expected {expected} in x, got something else"


@pytest.mark.parametrize(
    ("told", "object_id"),
    [
        (".1.3.6.1.4.1.10002.1", "1.3.6.1.4.1.10002.1"),
        ("enterprises.8072.3.2.10", "1.3.6.1.4.1.8072.3.2.10"),
        ("SNMPv2-SMI::enterprises.9.1.1", "1.3.6.1.4.1.9.1.1"),
        (None, ""),
    ],
)
def test_kinds_of_devices_are_written_as_we_write_them(told: str | None, object_id: str) -> None:
    found = rows.device_untrusted(row(device_id=1, hostname="h", sysObjectID=told), UTC)
    assert found.object_id == object_id


@pytest.mark.assumed("librenms-outage-open")
def test_the_outage_that_is_not_over_counts() -> None:
    assert rows.down_since_untrusted([row(going_down=50, up_again=60), row(going_down="90", up_again=None)]) == 90
    assert rows.down_since_untrusted([row(going_down=50, up_again=60)]) is None


def test_an_unheard_neighbor_and_a_deleted_sensor_are_none() -> None:
    assert rows.link_untrusted(row(active=0, remote_hostname="ap-1")) is None
    assert rows.sensor_untrusted(row(sensor_id=1, device_id=1, sensor_deleted=1), UTC) is None
