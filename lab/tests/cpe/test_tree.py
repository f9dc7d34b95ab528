"""The parameter tree: names, values, instances, attributes."""

from __future__ import annotations

import pytest

from lab.cpe.errors import CpeModelError, CwmpFault
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from lab.cpe.tree import Tree
from lab.cpe.values import canonical

MAPPINGS = "Device.NAT.PortMapping."


def tree(model=tr181, **factory) -> Tree:
    return Tree(model(), factory, lambda: 1000.0)


def code(act, *args, **options) -> int:
    with pytest.raises(CwmpFault) as caught:
        act(*args, **options)
    return caught.value.code


def test_names():
    t = tree()
    assert t.names("", next_level=True) == [("Device.", False)]
    level = dict(t.names("Device.", next_level=True))
    assert level["Device.RootDataModelVersion"] is False
    assert level["Device.NAT."] is False
    assert t.names(MAPPINGS, next_level=True) == [(f"{MAPPINGS}1.", True)]
    assert dict(t.names("Device.NAT.", next_level=True))[MAPPINGS] is True
    assert dict(t.names("Device.Hosts.", next_level=True))["Device.Hosts.Host."] is False
    deep = dict(t.names("Device.NAT."))
    assert deep["Device.NAT."] is False
    assert deep[f"{MAPPINGS}1.ExternalPort"] is True
    assert deep[f"{MAPPINGS}1.Status"] is False
    assert t.names("Device.DeviceInfo.UpTime") == [("Device.DeviceInfo.UpTime", False)]
    assert code(t.names, "Device.DeviceInfo.UpTime", next_level=True) == 9003
    for wrong in ("Device", "Gateway.", "Device.Nat.", f"{MAPPINGS}2.", f"{MAPPINGS}x.", "Device..", "Device.NAT"):
        assert code(t.names, wrong) == 9005
    assert [n for n, _ in t.names("")][:2] == ["Device.", "Device.RootDataModelVersion"]


def test_values_and_secrets():
    t = tree(**{"Device.ManagementServer.Password": "s3cret"})
    assert t.show("Device.ManagementServer.Password") == [("Device.ManagementServer.Password", "string", "")]
    assert t.get("Device.ManagementServer.Password") == "s3cret"
    assert t.show("Device.Hosts.HostNumberOfEntries")[0][1:] == ("unsignedInt", "4")
    assert t.show("Device.Time.CurrentLocalTime")[0][2] == "1970-01-01T00:16:40Z"
    secrets = [n for n, _, v in t.show("") if n.endswith(("Password", "KeyPassphrase", "PreSharedKey")) and v]
    assert secrets == []
    t.truth = ("true", "false")
    assert t.show("Device.WiFi.SSID.1.Enable")[0][2] == "true"
    t.empty_tables = ("Device.Hosts.Host.",)
    assert t.parameters("Device.Hosts.") == ["Device.Hosts.HostNumberOfEntries"]
    with pytest.raises(CpeModelError):
        t.get("Device.Nothing")


CHECKS = [
    ("Device.Nothing", "", "x", 9005),
    ("Device.WiFi.SSID.", "", "x", 9005),
    ("Device.DeviceInfo.UpTime", "", "1", 9008),
    ("Device.WiFi.SSID.1.SSID", "unsignedInt", "1", 9006),
    ("Device.WiFi.SSID.1.SSID", "string", "x" * 33, 9007),
    ("Device.WiFi.SSID.1.SSID", "", "x" * 32, 0),
    ("Device.WiFi.AccessPoint.1.Security.KeyPassphrase", "string", "short", 9007),
    ("Device.WiFi.Radio.1.Channel", "unsignedInt", "256", 9007),
    ("Device.WiFi.Radio.1.Channel", "unsignedInt", "eleven", 9007),
    ("Device.WiFi.Radio.1.Channel", "unsignedInt", " 11 ", 0),
    ("Device.WiFi.Radio.1.Enable", "boolean", "yes", 9007),
    ("Device.WiFi.Radio.1.Enable", "boolean", "true", 0),
    (f"{MAPPINGS}1.Protocol", "string", "SCTP", 9007),
    ("Device.ManagementServer.PeriodicInformTime", "dateTime", "yesterday", 9007),
    ("Device.ManagementServer.PeriodicInformTime", "dateTime", "2026-01-01T00:00:00Z", 0),
    ("Device.IP.Interface.1.IPv4Address.1.IPAddress", "string", "10.0.0.300", 9007),
    ("Device.WiFi.AccessPoint.1.Security.PreSharedKey", "hexBinary", "0g", 9007),
]


def test_base64():
    assert canonical("base64", "QUI=", None, None, ()) == "QUI="
    assert canonical("base64", "Q!", None, None, ()) is None


@pytest.mark.parametrize(("name", "kind", "value", "fault"), CHECKS)
def test_what_can_be_written(name, kind, value, fault):
    t = tree()
    assert t.check(name, kind, value) == fault
    before = [one for one in t.show("") if one[0] == name]
    t.write(name, value)
    assert fault or t.get(name) == {"true": "1", " 11 ": "11"}.get(value, value)
    if fault and fault not in (9006, 9008):
        assert [one for one in t.show("") if one[0] == name] == before


def test_instance_numbers_are_never_used_again():
    t = tree()
    assert [t.add(MAPPINGS), t.add(MAPPINGS)] == [2, 3]
    t.write(f"{MAPPINGS}3.Description", "web")
    t.delete(f"{MAPPINGS}3.")
    assert t.instances(MAPPINGS) == (1, 2)
    assert t.add(MAPPINGS) == 4
    t.delete(f"{MAPPINGS}4.")
    t.delete(f"{MAPPINGS}2.")
    t.delete(f"{MAPPINGS}1.")
    assert t.get("Device.NAT.PortMappingNumberOfEntries") == "0"
    assert t.add(MAPPINGS) == 5
    assert t.get(f"{MAPPINGS}5.Description") == ""
    assert t.get(f"{MAPPINGS}5.Enable") == "0"


def test_what_is_below_a_deleted_instance_goes_with_it():
    t = tree()
    number = t.add("Device.IP.Interface.")
    address = t.add(f"Device.IP.Interface.{number}.IPv4Address.")
    t.write(f"Device.IP.Interface.{number}.IPv4Address.{address}.IPAddress", "10.0.0.1")
    t.delete(f"Device.IP.Interface.{number}.")
    assert code(t.names, f"Device.IP.Interface.{number}.") == 9005
    t.reset()
    assert t.add("Device.IP.Interface.") == number
    assert t.instances(f"Device.IP.Interface.{number}.IPv4Address.") == ()


def test_what_cannot_be_added_or_deleted():
    t = tree()
    for table in ("Device.Hosts.Host.", "Device.NAT.", f"{MAPPINGS}1.", "Device.None.", "Device.NAT.PortMapping"):
        assert code(t.add, table) == 9005
    for path in ("Device.Hosts.Host.1.", MAPPINGS, f"{MAPPINGS}9.", f"{MAPPINGS}1.Enable", "Device.NAT."):
        assert code(t.delete, path) == 9005
    with pytest.raises(CpeModelError):
        t.plug("Device.NAT.")
    # the CPE itself learns of a host
    assert t.plug("Device.Hosts.Host.", {"HostName": "console", "Active": "1"}) == 5
    t.unplug("Device.Hosts.Host.1.")
    assert t.instances("Device.Hosts.Host.") == (2, 3, 4, 5)


def test_notification():
    t = tree(tr098)
    name = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.SSID"
    t.put(name, "a")
    assert list(t.noticed) == []
    t.set_attributes(name, 1, None)
    t.put(name, "a")
    assert list(t.noticed) == []
    t.put(name, "b")
    t.write(name, "c")
    assert list(t.noticed) == [name]
    assert t.attributes(name).access == ("Subscriber",)
    t.set_attributes(name, None, ())
    assert (t.attributes(name).notification, t.attributes(name).access) == (1, ())
    software = "InternetGatewayDevice.DeviceInfo.SoftwareVersion"
    t.set_attributes(software, 0, None)
    assert t.attributes(software).notification == 2
    assert not t.may_notify("InternetGatewayDevice.DeviceInfo.UpTime", 2)
    with pytest.raises(CpeModelError):
        t.put(name, "x" * 40)


def test_reset_brings_back_what_the_factory_gave():
    t = tree(**{"Device.WiFi.SSID.1.SSID": "factory"})
    t.write("Device.WiFi.SSID.1.SSID", "mine")
    t.set_attributes("Device.WiFi.SSID.1.SSID", 2, ())
    t.make("DeviceInfo.SoftwareVersion", "9")
    t.reset()
    assert t.get("Device.WiFi.SSID.1.SSID") == "factory"
    assert t.attributes("Device.WiFi.SSID.1.SSID").notification == 0
    assert t.get("Device.DeviceInfo.SoftwareVersion") == "9"
