"""What the CPE writes is what the schemas have; what ACS write is read, whatever their prefixes."""

from __future__ import annotations

import pytest

from lab.cpe import soap
from lab.cpe.device import Device
from lab.cpe.errors import MalformedSoapError, ParameterFault
from lab.cpe.soap import AutonomousTransfer, Finished
from lab.tests.cpe import acs
from lab.tests.cpe.data import V1_0, V1_1, V1_2, complaints

VERSIONS = {"1.0": V1_0, "1.1": V1_1, "1.2": V1_2, "1.4": V1_2}
WIFI = "Device.WiFi.SSID.1.SSID"


def everything(dev: Device, version: str) -> list[acs.Read]:
    """Sessions in which it says all that it can say."""
    names = "<ParameterNames><string>Device.WiFi.SSID.</string></ParameterNames>"
    window = (
        "<TimeWindowStruct><WindowStart>10</WindowStart><WindowEnd>20</WindowEnd><WindowMode>1 At Any Time</WindowMode>"
        "<UserMessage/><MaxRetries>0</MaxRetries></TimeWindowStruct>"
    )
    scheduled = "<CommandKey>s</CommandKey><FileType>2 Web Content</FileType><URL>http://x/</URL><TimeWindowList>"
    struct = (
        f"<ParameterList><SetParameterAttributesStruct><Name>{WIFI}</Name><NotificationChange>1</NotificationChange>"
        "<Notification>2</Notification><AccessListChange>1</AccessListChange><AccessList/>"
        "</SetParameterAttributesStruct></ParameterList>"
    )
    upload = (
        "<CommandKey>u</CommandKey><FileType>1 Vendor Configuration File</FileType><URL>http://x/</URL><Username/>"
        "<Password/><DelaySeconds>9</DelaySeconds>"
    )
    add = "<ObjectName>Device.NAT.PortMapping.</ObjectName><ParameterKey>k</ParameterKey>"
    delete = "<ObjectName>Device.NAT.PortMapping.1.</ObjectName><ParameterKey>k</ParameterKey>"
    said = acs.play(
        dev,
        acs.request("GetRPCMethods"),
        acs.get_values("Device."),
        acs.request("GetParameterNames", "<ParameterPath/><NextLevel>0</NextLevel>"),
        acs.set_values({WIFI: "<&>\"'"}, "k<1>"),
        acs.set_values({WIFI: "x" * 40, "Device.None": ""}),
        acs.request("SetParameterAttributes", struct),
        acs.request("GetParameterAttributes", names),
        acs.request("AddObject", add),
        acs.request("DeleteObject", delete),
        acs.download("http://x/fw", delay_s=5),
        acs.request("Upload", upload),
        acs.request("GetQueuedTransfers"),
        acs.request("GetAllQueuedTransfers"),
        acs.request("ScheduleInform", "<DelaySeconds>5</DelaySeconds><CommandKey>si</CommandKey>"),
        acs.request("ScheduleDownload", f"{scheduled}{window}</TimeWindowList>"),
        acs.request("CancelTransfer", "<CommandKey>s</CommandKey>"),
        acs.request("ChangeDUState"),
        acs.reboot("r"),
        acs.request("FactoryReset"),
    )
    dev.finish(ok=True)
    dev.boot()
    if version != "1.0":
        dev.transfers.by_itself(AutonomousTransfer("1 Firmware Upgrade Image", "http://x/"))
    dev.transfers.finished += [Finished("k", 9010, "", None, None), Finished("", 0, "", 1.0, 2.0)]
    return said + acs.play(dev)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_it_says_validates(version):
    dev = acs.device(version=version, serial="S&<1>")
    dev.boot()
    said = everything(dev, version)
    wrong = {one.method: complaints(one.data, VERSIONS[version]) for one in said}
    assert {method: found for method, found in wrong.items() if found} == {}
    methods = {one.method for one in said}
    assert {"Inform", "TransferComplete", "Fault", "DownloadResponse", "GetQueuedTransfersResponse"} <= methods
    assert ("AutonomousTransferComplete" in methods) == (version != "1.0")
    assert ("GetAllQueuedTransfersResponse" in methods) == (version != "1.0")
    assert ("ScheduleDownloadResponse" in methods) == (version in ("1.2", "1.4"))
    assert VERSIONS[version].rpartition(":")[2] in said[0].data.decode()
    assert ("SupportedCWMPVersions" in said[0].data.decode()) == (version == "1.4")


def test_quirks_break_the_schema_and_the_oracle_sees_it():
    from lab.cpe.quirks import Quirks

    dev = acs.device(quirks=Quirks(lower_oui=True))
    dev.boot()
    said = acs.play(dev)
    assert complaints(said[0].data, V1_2) != []


def test_a_fault_of_parameters():
    data = soap.envelope(soap.fault(9003, [ParameterFault("A&B", 9005)]), "1", "1.0")
    assert complaints(data, V1_0) == []
    read = acs.Read(data)
    assert (read.fault, read.faults, read.text("faultcode")) == ("9003", {"A&B": "9005"}, "soap-env:Client")
    assert acs.Read(soap.envelope(soap.fault(9002), None, "1.2")).text("faultcode") == "soap-env:Server"


@pytest.mark.parametrize("data", [b"", b"x", b"<a/>", b"<a><Body/></a>", b"<a><Body>", b"\xff\xfe", b"<a>\x00</a>"])
def test_what_is_no_envelope(data):
    with pytest.raises(MalformedSoapError):
        soap.read_untrusted(data)


def test_envelopes_of_any_prefix_and_namespace():
    read = soap.read_untrusted(
        b'<SOAP:Envelope xmlns:SOAP="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:dslforum-org:cwmp-1-1">'
        b"<SOAP:Header><ID>7</ID><HoldRequests>true</HoldRequests></SOAP:Header><SOAP:Body><Reboot><CommandKey>k"
        b"</CommandKey></Reboot></SOAP:Body></SOAP:Envelope>"
    )
    assert (read.method, read.id, read.hold, read.version, read.text("CommandKey")) == ("Reboot", "7", True, "1.1", "k")
    assert read.text("Nothing/AtAll", "-") == "-"
    assert soap.items(read.body, "ParameterList") == []
    fault = acs.envelope(
        "<s:Fault><faultcode>s:Server</faultcode><faultstring/><detail><cwmp:Fault><FaultCode>8005</FaultCode>"
        "</cwmp:Fault></detail></s:Fault>"
    )
    assert soap.fault_code(soap.read_untrusted(fault)) == "8005"
    assert soap.read_untrusted(fault).version == "1.2"
