"""Privacy classes: every path has one, and the standard's hidden parameters are secret."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model import profiles
from agent.cpe_model.kinds import Class, classify
from tests.agent.connectors.cwmp import data, datamodel

COMMANDS = {"Reset", "ForceSample"}
"""Hidden in the standard because they read false, not because they are secret."""
GUARDED = {"PersistentData", "ConfigFile", "ExamplePassword", "Key", "PrivateCredential"}
"""Last words that we guard and the standard does not hide: whole configurations, and what may be a password."""


@pytest.mark.parametrize("root", datamodel.FILES)
def test_what_the_standard_hides_is_secret_and_nothing_else(root: str) -> None:
    for path, said in datamodel.model(root).items():
        word = path.rsplit(".", 1)[-1]
        secret = classify(datamodel.concrete(path)) is Class.SECRET
        assert secret == (said.hidden and word not in COMMANDS) or (word in GUARDED and said.type != "table"), path


@pytest.mark.parametrize("root", datamodel.FILES)
def test_what_is_called_read_only_or_volatile_is_read_only_in_the_standard(root: str) -> None:
    classes = {path: classify(path) for path, said in datamodel.model(root).items() if said.type != "table"}
    wrong = [
        path
        for path, kind in classes.items()
        if kind in (Class.VOLATILE, Class.READ_ONLY) and datamodel.model(root)[path].writable
    ]
    assert wrong == []
    assert set(classes.values()) == set(Class)


@pytest.mark.parametrize("root", datamodel.FILES)
def test_hosts_and_addresses_are_personal_under_both_roots(root: str) -> None:
    for path, said in datamodel.model(root).items():
        if path.endswith((".SSID", ".BSSID", ".HostName", ".MACAddress", ".Username")) and said.type != "boolean":
            assert classify(path) is Class.PERSONAL, path


@pytest.mark.parametrize("profile", [pytest.param(each, id=each.name) for each in profiles.profiles()])
def test_secrets_of_the_profiles_are_secret(profile: profiles.Profile) -> None:
    for mapped in profile.all():
        assert (classify(mapped.path) is Class.SECRET) == mapped.secret, mapped.path
        if mapped.name.endswith((".ssid", ".mac", ".ip", ".bssid", ".username")) or mapped.name == "wan.ip":
            assert classify(mapped.path) is Class.PERSONAL, mapped.path
        if mapped.writable:
            assert classify(mapped.path) not in (Class.READ_ONLY, Class.VOLATILE), mapped.path


IGD = "InternetGatewayDevice."
WIFI = f"{IGD}LANDevice.1.WLANConfiguration.1."


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"{WIFI}KeyPassphrase", Class.SECRET),
        (f"{WIFI}WEPKey.1.WEPKey", Class.SECRET),
        (f"{WIFI}WEPKeyIndex", Class.PLAIN),
        (f"{WIFI}X_TP_PreSharedKey", Class.SECRET),
        (f"{WIFI}X_HW_WPSPin", Class.SECRET),
        (f"{WIFI}X_HW_Shaping", Class.PLAIN),
        (f"{WIFI}X_HW_PingCount", Class.PLAIN),
        (f"{WIFI}WPS.PinPhrase", Class.SECRET),
        (f"{IGD}X_VENDOR_Config.loginpasswd", Class.SECRET),
        (f"{IGD}X_VENDOR_Config.BypassPassword", Class.SECRET),
        (f"{IGD}X_VENDOR_Config.ByPasswd", Class.SECRET),
        (f"{IGD}X_VENDOR_Config.UserPwd", Class.SECRET),
        (f"{IGD}X_VENDOR_Snmp.RoCommunity", Class.SECRET),
        (f"{IGD}X_VENDOR_VoIP.1.SIP.AuthPassword", Class.SECRET),
        (f"{IGD}X_VENDOR_VoIP.1.SIP.AuthUserName", Class.PERSONAL),
        (f"{IGD}X_VENDOR_ConfigFile", Class.SECRET),
        (f"{IGD}X_VENDOR_Sum.ParameterKeyHash", Class.SECRET),
        (f"{IGD}DeviceConfig.ConfigFile", Class.SECRET),
        (f"{IGD}UserInterface.X_HUAWEI_Web.UserInfo.2.Userpassword", Class.SECRET),
        (f"{IGD}Services.VoiceService.1.VoiceProfile.1.Line.1.DirectoryNumber", Class.PERSONAL),
        (f"{IGD}DeviceInfo.DeviceLog", Class.PERSONAL),
        (f"{IGD}ManagementServer.ConnectionRequestURL", Class.PERSONAL),
        (f"{IGD}LANDevice.1.LANHostConfigManagement.DHCPConditionalServingPool.1.VendorClassID", Class.PLAIN),
        (f"{IGD}WANDevice.1.X_GponInterafceConfig.RXPower", Class.VOLATILE),
        (f"{IGD}DeviceInfo.UpTime", Class.VOLATILE),
        (f"{IGD}DeviceInfo.SoftwareVersion", Class.READ_ONLY),
        ("Device.IP.Interface.1.IPv6Prefix.1.Prefix", Class.PERSONAL),
        ("Device.WiFi.SSID.1.Stats.BytesSent", Class.VOLATILE),
        ("Device.WiFi.SSIDNumberOfEntries", Class.READ_ONLY),
        ("Device.ManagementServer.ParameterKey", Class.READ_ONLY),
        ("Device.ManagementServer.PeriodicInformInterval", Class.PLAIN),
        ("Device.Hosts.Host.1.", Class.PLAIN),
        ("Device.Bridging.Bridge.1.X_Bypass", Class.PLAIN),
        ("", Class.PLAIN),
    ],
)
def test_classes(path: str, kind: Class) -> None:
    assert classify(path) is kind


@given(path=st.text())
def test_every_text_has_a_class(path: str) -> None:
    assert isinstance(classify(path), Class)


@given(
    word=st.sampled_from(["Password", "Passphrase", "passwd", "Pwd", "Secret", "PSK", "Key", "PIN"]),
    before=st.from_regex(r"(X_[0-9A-F]{6}_)?([A-Z][a-z]{1,8}){0,2}", fullmatch=True),
    parents=st.lists(st.sampled_from(["X_V_Some", "1", "Table", "Device"]), max_size=4),
)
def test_a_vendors_secret_is_secret_wherever_it_is(word: str, before: str, parents: list[str]) -> None:
    assert classify(".".join(["InternetGatewayDevice", *parents, f"X_V_{before}{word}"])) is Class.SECRET


@given(row=st.integers(0, 1 << 32))
def test_instance_numbers_do_not_matter(row: int) -> None:
    for path in ("Device.Hosts.Host.{i}.HostName", "Device.PPP.Interface.{i}.Password", "Device.IP.Interface.{i}.MTU"):
        assert classify(path.replace("{i}", str(row))) is classify(path)


def test_what_may_be_shown() -> None:
    assert [kind for kind in Class if not kind.clear] == [Class.SECRET, Class.PERSONAL]


def test_a_recorded_cpe_has_nothing_of_a_person_in_clear() -> None:
    """Huawei BM632w, as genieacs-sim has it: names of people's telephones, MAC addresses, accounts."""
    with data.recorded("cpe-models/huawei-BM632w.genieacs-sim.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["Object"] == "false" and row["Value"]]
    clear = [row for row in rows if classify(row["Parameter"]).clear]
    assert len(clear) < len(rows) - 30
    shown = " ".join(row["Value"] for row in clear)
    for planted in ("Lena-PC", "Munas-iphone", "40:B0:FA", "192.168.1.7", "fanoostelecom", "69t0mkjya1", "FANOOSADMIN"):
        assert planted not in shown
    changed = [row["Parameter"] for row in rows if classify(row["Parameter"]) in (Class.VOLATILE, Class.READ_ONLY)]
    assert [row["Parameter"] for row in rows if row["Writable"] == "true" and row["Parameter"] in changed] == []
