"""Names, paths, values: what a profile answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.cpe_model import profiles, values
from agent.cpe_model.profile_files import load
from agent.cpe_model.profiles import CpeProfile, Mapped, UnknownNameError, normalize
from tests.agent.cpe_model import models
from tests.builders.expect import present

IGD = "InternetGatewayDevice."
SHIPPED = {profile.name: profiles.bound(profile, models.whole(profile.root, ppp=True)) for profile in models.SHIPPED}
TR098 = SHIPPED["tr098"]
TR181 = SHIPPED["tr181"]
EVERY = [pytest.param(profile, id=name) for name, profile in SHIPPED.items()]

WANTED = [
    "wan.ppp.username", "wan.ppp.password", "wan.ip", "wan.status", "wan.uptime", "wifi.1.ssid", "wifi.1.key",
    "wifi.1.channel", "wifi.1.enabled", "wifi.2.ssid", "wifi.2.key", "wifi.2.channel", "wifi.2.enabled", "hosts",
    "hosts.1.name", "hosts.1.mac", "hosts.1.ip", "software", "hardware", "uptime", "inform.interval", "inform.enabled",
    "acs.url", "acs.username", "acs.password", "request.url", "request.username", "request.password", "udp.address",
    "nat.detected", "stun.enabled", "stun.server", "stun.port", "stun.username", "stun.password",
    "ping.state", "ping.host", "ping.count", "ping.size", "ping.timeout", "ping.success", "ping.average",
    "traceroute.host", "traceroute.hops", "traceroute.hops.1.host", "download.url", "download.received", "upload.url",
    "upload.size", "upload.total",
]  # fmt: skip
SECRETS = [
    "wan.ppp.password",
    "voip.1.password",
    "wifi.1.key",
    "wifi.2.key",
    "acs.password",
    "request.password",
    "stun.password",
]


@pytest.mark.parametrize("profile", EVERY)
def test_every_profile_has_the_whole_vocabulary(profile: CpeProfile) -> None:
    assert [name for name in WANTED if profile.path(name) is None] == []
    assert {mapped.name for mapped in profile.all() if mapped.secret} - {"wifi.3.key"} == set(SECRETS)


def test_what_a_model_lacks_is_none() -> None:
    assert TR098.path("optical.rx") is None
    assert TR098.diagnostic("wifi-scan") is None
    assert TR181.path("optical.rx") == "Device.Optical.Interface.1.OpticalSignalLevel"
    assert TR181.diagnostic("wifi-scan") is not None
    assert TR098.name_of(f"{IGD}Nowhere.1.X") is None
    assert TR098.name_of("") is None


@pytest.mark.parametrize("profile", EVERY)
def test_names_and_paths_are_one_to_one(profile: CpeProfile) -> None:
    for mapped in profile.all():
        one = mapped.at("7") if "{i}" in mapped.name else mapped
        assert profile.path(one.name) == one.path
        assert profile.name_of(one.path) == one.name
        assert profile.resolve(one.name) == profile.resolve(one.path) == one.path
        assert one.path.startswith(profile.root)
        assert "{i}" not in one.path


def test_a_row_is_named_and_a_column_alone_is_not() -> None:
    path = f"{IGD}LANDevice.1.Hosts.Host.12.MACAddress"
    assert TR098.path("hosts.12.mac") == path
    assert TR098.name_of(path) == "hosts.12.mac"
    assert TR098.mapped_at(path) == Mapped("hosts.12.mac", path, "string")
    assert TR098.path("hosts.{i}.mac") is None
    assert TR098.path("hosts.x.mac") is None
    with pytest.raises(UnknownNameError):
        TR098.resolve("hosts.{i}.mac")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wifi.1.sid", "near: wifi.1.ssid"),
        ("Device.WiFi.SSID.1.SSID", "a path below InternetGatewayDevice."),
        ("zzzz", "got zzzz"),
        ("", "a name of its vocabulary"),
        ("x" * 500, "got xxx"),
    ],
)
def test_what_is_no_name_is_said(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match="profile tr098: ") as caught:
        TR098.resolve(name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_path_below_the_root_is_taken_as_it_is() -> None:
    assert TR098.resolve(f"{IGD}X_VENDOR_Thing.4.Odd") == f"{IGD}X_VENDOR_Thing.4.Odd"
    assert TR098.resolve(IGD) == IGD


@pytest.mark.parametrize("diagnostic", TR181.diagnostics, ids=lambda diagnostic: diagnostic.name)
def test_diagnostics(diagnostic: profiles.Diagnostic) -> None:
    assert diagnostic.state.path == f"{diagnostic.path}DiagnosticsState"
    assert diagnostic.state.writable
    assert all(mapped.writable for mapped in diagnostic.arguments)
    assert not any(mapped.writable for mapped in diagnostic.results)
    assert all(mapped.path.startswith(diagnostic.path) for mapped in (*diagnostic.arguments, *diagnostic.results))
    assert diagnostic.results
    assert diagnostic.argument("color") is None


def test_an_argument_is_found_by_its_word() -> None:
    ping = present(TR098.diagnostic("ping"))
    assert ping.complete == ("Complete",)
    host = present(ping.argument("host"))
    assert (host.name, host.path, host.kind) == ("ping.host", f"{IGD}IPPingDiagnostics.Host", "string")


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "normal"),
    [
        ("boolean", "true", "true"), ("boolean", "TRUE", "true"), ("boolean", "1", "true"), ("boolean", " 1\n", "true"),
        ("xsd:boolean", "False", "false"), ("Boolean", "0", "false"), ("boolean", "30", "30"), ("boolean", "", ""),
        ("boolean", "yes", "yes"), ("unsignedInt", "007", "7"), ("unsignedInt", "+7", "7"), ("int", "-007", "-7"),
        ("int", "-0", "0"), ("int", "0000", "0"), ("int", " 5 ", "5"), ("long", "1.0", "1.0"), ("int", "٣", "٣"),
        ("unsignedLong", "9" * 9000, "9" * 9000), ("string", "007", "007"), ("string", "TRUE", "TRUE"),
        ("dateTime", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"), ("odd", "01", "01"),
    ],
)  # fmt: skip
def test_normal_forms(kind: str, text: str, normal: str) -> None:
    assert normalize(kind, text) == normal


LEXICAL = st.from_regex(r"[ \n]?[+-]?[0-9]{1,9}[ ]?", fullmatch=True) | st.sampled_from(["true", "False", "1", "0", ""])


@given(kind=st.sampled_from([*values.TYPES, "xsd:int", "odd", ""]), text=st.text() | LEXICAL)
@example(kind="boolean", text="İ")
def test_normalizing_is_idempotent_and_keeps_the_type(kind: str, text: str) -> None:
    normal = normalize(kind, text)
    assert normalize(kind, normal) == normal
    known = values.TYPES.get(values.read_type(kind))
    if known is not None and known(text):
        assert known(normal)


@given(number=st.integers(-(1 << 63), 1 << 64))
def test_numbers_are_compared_by_what_they_count(number: int) -> None:
    assert normalize("long", f"{number:+030d}") == str(number)


def test_booleans_are_written_in_the_profiles_style() -> None:
    odd = SHIPPED["tplink-td-w9970"]
    for text in ("true", "1", "TRUE"):
        assert TR098.write_value("boolean", text) == "true"
        assert odd.write_value("xsd:boolean", text) == "1"
    assert (TR098.write_value("boolean", "0"), odd.write_value("boolean", "False")) == ("false", "0")
    assert odd.write_value("boolean", "maybe") == "maybe"
    assert odd.write_value("string", "true") == "true"
    assert odd.write_value("int", "+7") == "+7"


@pytest.mark.parametrize(
    ("kind", "unit", "text", "shown"),
    [
        ("int", "0.001 dBm", "-21500", "-21.5 dBm"), ("int", "0.001 dBm", "2000", "2 dBm"),
        ("int", "0.001 dBm", "0", "0 dBm"), ("string", "dBm", "-23.10", "-23.10 dBm"),
        ("string", "dBm", "-23 dBm", "-23 dBm"), ("string", "dBm", "--", "--"), ("unsignedInt", "s", "0300", "300 s"),
        ("unsignedInt", "", "0300", "300"), ("boolean", "", "1", "true"), ("string", "", "x", "x"),
        ("int", "ms", "9" * 99, "9" * 99),
    ],
)  # fmt: skip
def test_values_for_people(kind: str, unit: str, text: str, shown: str) -> None:
    assert Mapped("a", "b", kind, unit=unit).shown(text) == shown


@given(kind=st.sampled_from(["int", "string"]), unit=st.sampled_from(["", "s", "0.001 dBm"]), text=st.text() | LEXICAL)
def test_anything_can_be_shown(kind: str, unit: str, text: str) -> None:
    assert isinstance(Mapped("a", "b", kind, unit=unit).shown(text), str)


# --- quirks ---------------------------------------------------------------------------------------------------------


def test_unsafe_calls() -> None:
    vigor = SHIPPED["draytek-vigor2860"]
    assert not vigor.get_by_path
    for path in ("", IGD):
        assert "78" in str(vigor.unsafe_call("GetParameterNames", path))
        assert "78" in str(vigor.unsafe_call("GetParameterValues", path))
    assert vigor.unsafe_call("GetParameterValues", f"{IGD}DeviceInfo.UpTime") is None
    assert vigor.unsafe_call("SetParameterValues", IGD) is None
    assert TR098.unsafe_call("Reboot") is None


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_lists_the_vocabulary_and_its_places() -> None:
    """`docs/cpe-names.md` has a row for each name of the two generic profiles, with its place."""
    page = (Path(__file__).parents[3] / "docs" / "cpe-names.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip(" `"): cells for line in page.splitlines() if (cells := line.split("|"))[1:] and "`" in cells[1]
    }
    generic = {
        entry.profile.root: entry.profile for entry in load() if not entry.match.ouis and not entry.match.prefixes
    }
    names: set[str] = set()
    for column, root in ((2, "Device."), (3, IGD)):
        profile = generic[root]
        here = {m.name: f"`{m.path.removeprefix(root)}`" for m in profile.parameters}
        here |= {p.name: " or ".join(f"`{s.path}` at {s.at}" for s in p.spots) for p in profile.placed}
        assert {name: cells[column].strip() for name, cells in rows.items() if cells[column].strip() != "-"} == here
        names |= set(here)
    assert rows.keys() == names
