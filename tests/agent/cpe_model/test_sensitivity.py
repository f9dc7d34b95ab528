"""Privacy classes: every path has one, and the standard's hidden parameters are secret."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model import profiles
from agent.cpe_model.sensitivity import Sensitivity, classify
from lab.tests.cpe import data
from tests.agent.connectors.cwmp import datamodel
from tests.agent.cpe_model import models

COMMANDS = {"Reset", "ForceSample"}
"""Hidden in the standard because they read false, not because they are secret."""
GUARDED = {"PersistentData", "ConfigFile", "ExamplePassword", "Key", "PrivateCredential"}
"""Last words that we guard and the standard does not hide: whole configurations, and what may be a password."""


@pytest.mark.parametrize("root", datamodel.FILES)
def test_what_the_standard_hides_is_secret_and_nothing_else(root: str) -> None:
    for path, said in datamodel.model(root).items():
        word = path.rsplit(".", 1)[-1]
        secret = classify(datamodel.concrete(path)) is Sensitivity.SECRET
        assert secret == (said.hidden and word not in COMMANDS) or (word in GUARDED and said.type != "table"), path


@pytest.mark.parametrize("root", datamodel.FILES)
def test_what_is_called_read_only_is_so_in_the_standard(root: str) -> None:
    classes = {path: classify(path) for path, said in datamodel.model(root).items() if said.type != "table"}
    wrong = [
        path
        for path, kind in classes.items()
        if kind in (Sensitivity.VOLATILE, Sensitivity.READ_ONLY) and datamodel.model(root)[path].writable
    ]
    assert wrong == []
    assert set(classes.values()) == set(Sensitivity)


@pytest.mark.parametrize("root", datamodel.FILES)
def test_hosts_and_addresses_are_personal_under_both_roots(root: str) -> None:
    for path, said in datamodel.model(root).items():
        if path.endswith((".SSID", ".BSSID", ".HostName", ".MACAddress", ".Username")) and said.type != "boolean":
            assert classify(path) is Sensitivity.PERSONAL, path


@pytest.mark.parametrize("profile", [pytest.param(each, id=each.name) for each in models.SHIPPED])
def test_secrets_of_the_profiles_are_secret(profile: profiles.CpeProfile) -> None:
    for mapped in profiles.bound(profile, models.whole(profile.root, ppp=True)).all():
        assert (classify(mapped.path) is Sensitivity.SECRET) == mapped.secret, mapped.path
        if mapped.name.endswith((".ssid", ".mac", ".ip", ".bssid", ".username")) or mapped.name == "wan.ip":
            assert classify(mapped.path) is Sensitivity.PERSONAL, mapped.path
        if mapped.writable:
            assert classify(mapped.path) not in (Sensitivity.READ_ONLY, Sensitivity.VOLATILE), mapped.path


IGD = "InternetGatewayDevice."
WIFI = f"{IGD}LANDevice.1.WLANConfiguration.1."


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"{WIFI}KeyPassphrase", Sensitivity.SECRET),
        (f"{WIFI}WEPKey.1.WEPKey", Sensitivity.SECRET),
        (f"{WIFI}WEPKeyIndex", Sensitivity.PLAIN),
        (f"{WIFI}X_TP_PreSharedKey", Sensitivity.SECRET),
        (f"{WIFI}X_HW_WPSPin", Sensitivity.SECRET),
        (f"{WIFI}X_HW_Shaping", Sensitivity.PLAIN),
        (f"{WIFI}X_HW_PingCount", Sensitivity.PLAIN),
        (f"{WIFI}WPS.PinPhrase", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Config.loginpasswd", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Config.BypassPassword", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Config.ByPasswd", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Config.UserPwd", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Snmp.RoCommunity", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_VoIP.1.SIP.AuthPassword", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_VoIP.1.SIP.AuthUserName", Sensitivity.PERSONAL),
        (f"{IGD}X_VENDOR_ConfigFile", Sensitivity.SECRET),
        (f"{IGD}X_VENDOR_Sum.ParameterKeyHash", Sensitivity.SECRET),
        (f"{IGD}DeviceConfig.ConfigFile", Sensitivity.SECRET),
        (f"{IGD}UserInterface.X_HUAWEI_Web.UserInfo.2.Userpassword", Sensitivity.SECRET),
        (f"{IGD}Services.VoiceService.1.VoiceProfile.1.Line.1.DirectoryNumber", Sensitivity.PERSONAL),
        (f"{IGD}DeviceInfo.DeviceLog", Sensitivity.PERSONAL),
        (f"{IGD}ManagementServer.ConnectionRequestURL", Sensitivity.PERSONAL),
        (f"{IGD}LANDevice.1.LANHostConfigManagement.DHCPConditionalServingPool.1.VendorClassID", Sensitivity.PLAIN),
        (f"{IGD}WANDevice.1.X_GponInterafceConfig.RXPower", Sensitivity.VOLATILE),
        (f"{IGD}DeviceInfo.UpTime", Sensitivity.VOLATILE),
        (f"{IGD}DeviceInfo.SoftwareVersion", Sensitivity.READ_ONLY),
        ("Device.IP.Interface.1.IPv6Prefix.1.Prefix", Sensitivity.PERSONAL),
        ("Device.WiFi.SSID.1.Stats.BytesSent", Sensitivity.VOLATILE),
        ("Device.WiFi.SSIDNumberOfEntries", Sensitivity.READ_ONLY),
        ("Device.ManagementServer.ParameterKey", Sensitivity.READ_ONLY),
        ("Device.ManagementServer.PeriodicInformInterval", Sensitivity.PLAIN),
        ("Device.Hosts.Host.1.", Sensitivity.PLAIN),
        ("Device.Bridging.Bridge.1.X_Bypass", Sensitivity.PLAIN),
        ("", Sensitivity.PLAIN),
    ],
)
def test_classes(path: str, kind: Sensitivity) -> None:
    assert classify(path) is kind


@given(path=st.text())
def test_every_text_has_a_class(path: str) -> None:
    assert isinstance(classify(path), Sensitivity)


@given(
    word=st.sampled_from(["Password", "Passphrase", "passwd", "Pwd", "Secret", "PSK", "Key", "PIN"]),
    before=st.from_regex(r"(X_[0-9A-F]{6}_)?([A-Z][a-z]{1,8}){0,2}", fullmatch=True),
    parents=st.lists(st.sampled_from(["X_V_Some", "1", "Table", "Device"]), max_size=4),
)
def test_a_vendors_secret_is_secret_wherever_it_is(word: str, before: str, parents: list[str]) -> None:
    assert classify(".".join(["InternetGatewayDevice", *parents, f"X_V_{before}{word}"])) is Sensitivity.SECRET


@given(row=st.integers(0, 1 << 32))
def test_instance_numbers_do_not_matter(row: int) -> None:
    for path in ("Device.Hosts.Host.{i}.HostName", "Device.PPP.Interface.{i}.Password", "Device.IP.Interface.{i}.MTU"):
        assert classify(path.replace("{i}", str(row))) is classify(path)


def test_what_may_be_shown() -> None:
    assert [kind for kind in Sensitivity if not kind.clear] == [Sensitivity.SECRET, Sensitivity.PERSONAL]


def test_a_recorded_cpe_has_nothing_of_a_person_in_clear() -> None:
    """Huawei BM632w, as genieacs-sim has it: names of people's telephones, MAC addresses, accounts."""
    with data.recorded("cpe-models/huawei-BM632w.genieacs-sim.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["Object"] == "false" and row["Value"]]
    clear = [row for row in rows if classify(row["Parameter"]).clear]
    assert len(clear) < len(rows) - 30
    shown = " ".join(row["Value"] for row in clear)
    for planted in ("Lena-PC", "Munas-iphone", "40:B0:FA", "192.168.1.7", "fanoostelecom", "69t0mkjya1", "FANOOSADMIN"):
        assert planted not in shown
    changed = [
        row["Parameter"] for row in rows if classify(row["Parameter"]) in (Sensitivity.VOLATILE, Sensitivity.READ_ONLY)
    ]
    assert [row["Parameter"] for row in rows if row["Writable"] == "true" and row["Parameter"] in changed] == []
