"""What is made of a router's own words: facts, findings, and silence where it says nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.health import PRINTS, Health, Printed, cpu_load, examine, serials, sessions_max
from agent.connectors.routeros.policies import Rights
from agent.connectors.routeros.schema import RouterTarget, Use
from agent.connectors.routeros.versions import Version

AT_S = datetime(2026, 11, 25, 13, 53, 55, tzinfo=UTC).timestamp()
OURS = RouterTarget("edge-1", "10.9.0.21", 8729, "ispagents", "edge-1", fingerprint=bytes(32), serial="HFG09ABCDEF")
SEVEN_20 = Version(7, 20, 8)
ENOUGH = {Use.SERVICE: Rights("ispagents", "ispagents", frozenset({"read", "write", "api"}))}
GOOD: dict[str, list[dict[str, str]]] = {
    "/system/resource": [
        {"version": "7.20.8 (stable)", "uptime": "3w2d", "cpu-load": "7", "free-memory": "3500000000",
         "total-memory": "4294967296", "board-name": "CCR2004"},
    ],
    "/system/identity": [{"name": "edge-1"}],
    "/system/routerboard": [{"serial-number": "HFG09ABCDEF", "model": "CCR2004-1G-12S+2XS"}],
    "/system/license": [{"software-id": "ABCD-EF12"}],
    "/system/clock": [{"date": "2026-11-25", "time": "16:53:55", "gmt-offset": "+03:00"}],
    "/system/ntp/client": [{"enabled": "true", "status": "synchronized"}],
    "/system/device-mode": [{"mode": "advanced", "scheduler": "true", "flagged": "false"}],
    "/ip/service": [
        {"name": "api", "disabled": "true", "address": "", "max-sessions": "20"},
        {"name": "api-ssl", "disabled": "false", "address": "10.9.0.5/32", "max-sessions": "20"},
    ],
    "/user": [{"name": "ispagents", "group": "ispagents"}],
    "/user/group": [{"name": "ispagents", "policy": "read,write,api"}],
    "/user/active": [{"name": "ispagents", "via": "api", "group": "ispagents"}],
    "/ppp/aaa": [{"use-radius": "false"}],
    "/radius": [],
    "/radius/incoming": [{"accept": "false", "port": "3799"}],
}  # fmt: skip


def printed(**changed: Any) -> Printed:
    """The good router, with menus (`_` for `/`, `__` for `-`) changed: a row's properties, rows, or None."""
    menus: dict[str, Any] = {menu: [dict(row) for row in rows] for menu, rows in GOOD.items()}
    for name, value in changed.items():
        menu = "/" + name.replace("__", "-").replace("_", "/")
        assert menu in PRINTS
        menus[menu] = value if value is None or isinstance(value, list) else [{**menus[menu][0], **value}]
    return Printed(menus, AT_S)


def codes(found: Health) -> list[str]:
    return [finding.code for finding in found.findings]


def look(found: Printed, config: RouterTarget = OURS, version: Version = SEVEN_20) -> Health:
    return examine(found, config, version, ENOUGH)


def test_a_good_router_has_facts_and_no_finding() -> None:
    found = look(printed())
    assert codes(found) == []
    assert dict(found.facts) == {
        "version": "7.20.8 (stable)",
        "identity": "edge-1",
        "model": "CCR2004-1G-12S+2XS",
        "serial": "HFG09ABCDEF",
        "software id": "ABCD-EF12",
        "certificate": "00" * 32,
        "device-mode": "advanced, scheduler allowed",
        "service user": "ispagents (group ispagents): api, read, write",
        "clock": "2026-11-25 16:53:55 +03:00, +0 s of ours, NTP on, synchronized",
        "uptime": "3w2d",
        "cpu": "7 %",
        "memory": "3337 of 4096 MiB free",
        "api sessions": "1 in use of 20",
        "radius": "PPP logins by secrets only, no CoA",
    }


@pytest.mark.assumed("routeros-api-ssl-via")
@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"system_clock": {"time": "16:56:00"}}, "clock", "its clock is 125 s ahead of ours"),
        ({"system_clock": {"time": "16:50:00"}}, "clock", "235 s behind ours"),
        ({"system_clock": {"date": "1970-01-02"}}, "clock", "behind ours"),
        ({"system_ntp_client": {"enabled": "false"}}, "ntp-off", "NTP client is off"),
        ({"system_device__mode": {"mode": "home", "scheduler": "false"}}, "no-scheduler", "device-mode home forbids"),
        ({"system_device__mode": {"flagged": "true"}}, "flagged", "suspicious configuration"),
        ({"system_resource": {"cpu-load": "80"}}, "cpu", "CPU at 80 %"),
        ({"system_resource": {"free-memory": "200000000"}}, "memory", "190 of 4096 MiB"),
        ({"ip_service": [{"name": "api-ssl", "disabled": "false", "address": ""}]}, "api-open", "set api-ssl address="),
        ({"ip_service": [*GOOD["/ip/service"][1:], {"name": "api", "disabled": "false"}]}, "api-plain", "api is on"),
        ({"user_active": [{"via": "api"}] * 16}, "api-sessions", "16 of 20 API sessions"),
        ({"ppp_aaa": {"use-radius": "true"}, "radius_incoming": {"accept": "true"}}, "radius-no-server", "no enabled"),
        (
            {"ppp_aaa": {"use-radius": "true"}, "radius": [{"service": "ppp,login", "address": "10.0.0.9"}]},
            "radius-no-coa",
            "accepts no CoA",
        ),
    ],
)  # fmt: skip
def test_a_finding(changed: dict[str, Any], code: str, says: str) -> None:
    found = look(printed(**changed))
    assert codes(found) == [code]
    assert says in found.findings[0].text


@pytest.mark.assumed("routeros-gmt-offset")
@pytest.mark.parametrize(
    "clock",
    [
        {"date": "2026-11-25", "time": "13:53:00", "gmt-offset": "+00:00"},
        {"date": "nov/25/2026", "time": "16:53:30", "gmt-offset": "+03:00"},
        {"date": "2026-11-25", "time": "10:54:20", "gmt-offset": "-03:00"},
        {"date": "2026-11-25", "time": "16:53:55", "gmt-offset": "10800"},
        {"date": "2026-11-25", "time": "10:53:55", "gmt-offset": str((1 << 32) - 10800)},
        {"date": "2026-11-25", "time": "16:53:55", "gmt-offset": "3h"},
        {"date": "2026-11-26", "time": "00:53:55", "gmt-offset": "+11:00"},
    ],
)
def test_a_clock_within_a_minute_is_right_in_any_zone(clock: dict[str, str]) -> None:
    assert codes(look(printed(system_clock=[clock]))) == []


@pytest.mark.parametrize(
    "clock",
    [
        {},
        {"date": "2026-11-25", "time": "00:00:00"},
        {"date": "2026-13-45", "time": "00:00:00", "gmt-offset": "+00:00"},
        {"date": "xyz/25/2026", "time": "00:00:00", "gmt-offset": "+00:00"},
        {"date": "2026-11-25", "time": "25:00:00", "gmt-offset": "+00:00"},
        {"date": "0001-01-01", "time": "00:00:00", "gmt-offset": "+14:00"},
        {"date": "2026-11-25", "time": "00:00:00", "gmt-offset": "Kampala"},
    ],
)
def test_a_clock_that_cannot_be_read_is_not_judged(clock: dict[str, str]) -> None:
    found = look(printed(system_clock=[clock]))
    assert codes(found) == []
    assert "of ours" not in found.facts.get("clock", "")


def test_what_is_not_printed_is_no_finding() -> None:
    found = look(Printed(dict.fromkeys(PRINTS), AT_S))
    assert codes(found) == []
    assert set(found.facts) == {"version", "certificate", "service user"}


def test_users_that_may_too_much_or_too_little() -> None:
    rights = {
        Use.READ: Rights("viewer", "full", frozenset({"read", "api", "write", "policy"})),
        Use.SERVICE: Rights("ispagents", "read", frozenset({"read", "api"})),
        Use.CONFIG: Rights("by-radius", "", None),
    }
    found = examine(printed(), OURS, Version(7, 20, 8), rights)
    assert {f.code: f.text for f in found.findings} == {
        "read-policies-superfluous": "user viewer (group full) may more than it needs: policy, write",
        "service-policies-missing": "user ispagents (group read) lacks policy write, which a service change needs",
        "config-policies-unknown": (
            "the router does not say what user by-radius may: what it may not is refused when it is tried"
        ),
    }


@pytest.mark.parametrize("version", [Version(7, 26), Version(7, 17)])
def test_a_version_that_is_not_known(version: Version) -> None:
    (finding,) = look(printed(), version=version).findings
    assert finding.code == "version-unknown"
    assert finding.text.endswith("only service changes")


def test_plain_api_is_finding_and_its_own_service_is_looked_at() -> None:
    config = RouterTarget("edge-1", "h", 8728, "u", "s", insecure=True, serial="HFG09ABCDEF")
    services = [{"name": "api", "disabled": "false", "address": "", "max-sessions": "5"}]
    found = look(printed(ip_service=services), config)
    assert codes(found) == ["insecure", "api-open"]
    assert found.facts["api sessions"] == "1 in use of 5"


def test_without_a_configured_serial_it_is_shown_what_to_set() -> None:
    config = RouterTarget("edge-1", "h", 8729, "u", "s", fingerprint=bytes(32))
    (finding,) = look(printed(), config).findings
    assert (finding.code, finding.text.endswith("one of ABCD-EF12, HFG09ABCDEF")) == ("serial-unset", True)


def test_connections_in_the_list_of_services_are_no_services() -> None:
    """From 7.24 on the list has a row for each connection, and `address` is called available-from."""
    services = [
        {"name": "api-ssl", "dynamic": "true"},
        {"name": "api-ssl", "dynamic": "false", "available-from": "10.9.0.5/32", "max-sessions": "20"},
    ]
    assert codes(look(printed(ip_service=services))) == []


def test_a_cpu_limit_of_zero_is_none() -> None:
    config = RouterTarget("e", "h", 1, "u", "s", fingerprint=bytes(32), serial="HFG09ABCDEF", cpu_limit=0)
    assert codes(look(printed(system_resource={"cpu-load": "100"}), config)) == []


def test_a_hostile_router_does_not_act_on_the_terminal() -> None:
    found = look(printed(system_identity={"name": "\x1b[2J" + "x" * 5000}))
    assert "\x1b" not in found.facts["identity"]
    assert len(found.facts["identity"]) <= 300


rows = st.none() | st.lists(
    st.dictionaries(st.sampled_from(sorted({n for p in PRINTS.values() for n in p.split(",")})), st.text(max_size=12)),
    max_size=3,
)


@given(st.fixed_dictionaries(dict.fromkeys(PRINTS, rows)))
def test_any_rows_are_examined(menus: dict[str, list[dict[str, str]] | None]) -> None:
    found = Printed(menus, AT_S)
    health = look(found)
    assert all(text.isprintable() for text in health.facts.values())
    assert (cpu_load(found) or 0) >= 0
    assert (sessions_max(found, tls=True) or 0) >= 0
    assert all(serials(found))
