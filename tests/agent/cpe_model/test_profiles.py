"""Which profile a CPE gets, and that the standard agrees with what the profiles say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model import profiles, values
from agent.cpe_model.profiles import CpeProfile, ProfileError
from tests.agent.connectors.cwmp import datamodel
from tests.agent.cpe_model import models
from tests.builders.expect import present

IGD = "InternetGatewayDevice."
SHIPPED = {profile.name: profile for profile in models.SHIPPED}
NOT_WRITTEN = {
    "wan.ip": "of a static address alone",
    "wan.gateway": "of a static address alone",
    "wan.dns": "of a static address alone",
    "wan.type": "a bridge ends the subscriber's access",
    "wan.nat": "without it nobody in the house has access",
    "wifi.{n}.band": "the channels of one band are not those of the other",
    "wan.ipoe.ip": "of a static address alone",
    "wan.mac": "where MACAddressOverride says so alone",
}
"""What the standard lets an ACS write and we never do."""


def numberless(name: str) -> str:
    return re.sub(r"(?<=\.)[0-9]+(?=\.)", "{n}", name)


@pytest.mark.parametrize(
    ("oui", "product_class", "root", "name"),
    [
        ("00259E", "HG8245H", IGD, "huawei-hg8245"),
        ("00259e", "hg8245q2 ", "InternetGatewayDevice", "huawei-hg8245"),
        ("00259E", "HG8546M", IGD, "tr098"),
        ("001122", "HG8245H", IGD, "tr098"),
        ("00259E", "HG8245H", "Device.", "tr181"),
        ("C006C3", "TD-W9970", IGD, "tplink-td-w9970"),
        ("C006C3", "TD-W9970B", IGD, "tplink-td-w9970"),
        ("00507F", "Vigor2860Ln", IGD, "draytek-vigor2860"),
        ("00507F", "Vigor 2860", IGD, "draytek-vigor2860"),
        ("00507F", "Vigor2862", IGD, "tr098"),
        ("02AC15", "LAB098", IGD, "lab098"),
        ("02AC15", "LAB181", "Device.", "lab181"),
        ("02AC15", "LAB181", IGD, "tr098"),
        ("02ac5f", "LabGate", IGD, "lab098"),
        ("02AC5F", "LabGate", "Device.", "lab181"),
        ("02AC15", "LAB0981", IGD, "tr098"),
        ("", "", "Device", "tr181"),
    ],
)
def test_the_profile_of_a_cpe(oui: str, product_class: str, root: str, name: str) -> None:
    assert profiles.SHIPPED.of(oui, product_class, "V1", root).name == name


@given(oui=st.text(), product_class=st.text(), software=st.text(), root=st.sampled_from(["Device.", IGD]))
def test_every_cpe_has_a_profile_of_its_root(oui: str, product_class: str, software: str, root: str) -> None:
    assert profiles.SHIPPED.of(oui, product_class, software, root).root == root


def test_an_unknown_root_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"expected a root of Device\., InternetGatewayDevice\., got Gateway\."):
        profiles.SHIPPED.of("", "", "", "Gateway")


def test_the_quirks_that_were_reported() -> None:
    huawei = SHIPPED["huawei-hg8245"]
    assert huawei.download_reports is profiles.Reports.NEVER
    assert huawei.fixed["wifi.2"] == f"{IGD}LANDevice.1.WLANConfiguration.5."
    rx = present(huawei.mapped("optical.rx"))
    assert (rx.path, rx.unit) == (f"{IGD}WANDevice.1.X_GponInterafceConfig.RXPower", "dBm")
    assert SHIPPED["tplink-td-w9970"].boolean is profiles.BooleanStyle.DIGITS
    assert SHIPPED["tr098"].boolean is profiles.BooleanStyle.WORDS
    assert not SHIPPED["draytek-vigor2860"].get_by_path


@pytest.mark.parametrize("profile", [pytest.param(each, id=each.name) for each in models.SHIPPED])
def test_standard_has_every_path_with_its_type_and_writability(profile: CpeProfile) -> None:
    standard = datamodel.model(profile.root)
    wrong = []
    on_ppp, on_ip = (profiles.bound(profile, models.whole(profile.root, ppp=ppp)) for ppp in (True, False))
    placed = {mapped.name for mapped in (*on_ppp.all(), *on_ip.all())}
    assert {name.name.replace("{n}", "1") for name in profile.placed} - placed == set()
    for mapped in {(mapped.name, mapped.path): mapped for mapped in (*on_ppp.all(), *on_ip.all())}.values():
        if ".X_" in mapped.path or ".Services." in mapped.path:  # a vendor's own, or of TR-104
            continue
        said = standard.get(datamodel.generic(mapped.path))
        if said is None:
            wrong.append(f"{mapped.name}: {mapped.path} is not in the standard")
        elif said.type != mapped.kind:
            wrong.append(f"{mapped.name}: {said.type}, not {mapped.kind}")
        elif said.writable != mapped.writable and said.type != "table":
            if not (said.writable and numberless(mapped.name) in NOT_WRITTEN):
                wrong.append(f"{mapped.name}: writable is {said.writable}")
        elif said.hidden != mapped.secret:
            wrong.append(f"{mapped.name}: hidden is {said.hidden}")
    assert wrong == []


def test_the_states_of_a_diagnostic_are_of_a_text_type() -> None:
    assert {diagnostic.state.kind for profile in models.SHIPPED for diagnostic in profile.diagnostics} == {"string"}
    assert {mapped.kind for profile in models.SHIPPED for mapped in profile.all()} <= {*values.TYPES, "table"}
