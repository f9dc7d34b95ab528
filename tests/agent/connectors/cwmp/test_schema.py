"""What we write is what the Broadband Forum's schemas have, and is read again as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from agent.connectors.cwmp import envelope, fields, limits, methods
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.errors import LocalCwmpError
from agent.connectors.cwmp.faults import AcsFault, refusal
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import (
    DeviceId,
    InformEvent,
    InstallOperation,
    ParameterValue,
    SetParameterAttribute,
    TimeWindow,
)
from agent.connectors.cwmp.versions import CwmpVersion
from lab.tests.cpe import data as recordings
from tests.agent.connectors.cwmp import strategies
from tests.builders import reads
from tests.builders.expect import expect

EVERY = [(version, name) for version in CwmpVersion for name in [*strategies.names(version), "Fault"]]


@pytest.mark.parametrize(("version", "name"), EVERY)
@settings(max_examples=25)
@given(given=st.data())
def test_every_message_validates_and_is_read_as_it_was(version: CwmpVersion, name: str, given: st.DataObject) -> None:
    message = given.draw(strategies.message(name, version))
    identity = given.draw(st.text(strategies.CHARS, max_size=20))
    written = envelope.write(message, Header(identity), version)
    assert recordings.complaints(written, version.namespace) == []
    read = reads.read(written)
    assert (read.message, read.version) == (message, version)
    assert read.header == Header(identity)


@pytest.mark.parametrize("version", CwmpVersion)
def test_every_method_of_the_schema_is_known_and_no_other(version: CwmpVersion) -> None:
    """The schema's own list: its top-level elements but the headers."""
    files = {CwmpVersion.V1_0: "cwmp-1-0.xsd", CwmpVersion.V1_1: "cwmp-1-1.xsd", CwmpVersion.V1_2: "cwmp-1-2.xsd"}
    tree = etree.parse(str(recordings.recorded(f"xsd/{files[version]}")))
    elements = {element.get("name") for element in tree.getroot() if str(element.tag).endswith("}element")}
    assert elements - {"ID", "HoldRequests", "Fault"} == set(strategies.names(version))


def test_headers_of_later_versions_validate() -> None:
    header = Header("1", session_timeout_s=90, supported_versions=("1.0", "1.4"), use_version="1.4")
    written = envelope.write(m.InformResponse(), header, CwmpVersion.V1_2)
    assert recordings.complaints(written, CwmpVersion.V1_2.namespace) == []
    assert reads.read(written).header == header
    # The schema says in words alone which must be understood
    for name, must in (("ID", "1"), ("SessionTimeout", "0"), ("SupportedCWMPVersions", "0"), ("UseCWMPVersion", "1")):
        assert f'<cwmp:{name} soapenv:mustUnderstand="{must}">'.encode() in written


def test_soaps_own_refusal_is_an_envelope() -> None:
    written = envelope.write_not_understood(Header("7"), CwmpVersion.V1_0)
    assert recordings.complaints(written, CwmpVersion.V1_0.namespace) == []
    read = reads.read(written)
    assert read.message == m.Fault(None, "a header is not understood", soap_code="MustUnderstand")


def test_the_oracle_sees_what_is_wrong() -> None:
    written = envelope.write(m.Reboot("k"), Header("1"), CwmpVersion.V1_0)
    assert recordings.complaints(written.replace(b"CommandKey", b"CommandKeys"), CwmpVersion.V1_0.namespace) != []
    assert recordings.complaints(written.replace(b'soapenv:mustUnderstand="1"', b""), CwmpVersion.V1_0.namespace) != []
    assert recordings.complaints(written.replace(b"Reboot", b"Reboots"), CwmpVersion.V1_0.namespace) != []


WINDOW = TimeWindow(0, 60, "1 At Any Time", "", -1)
WRONG = {
    "text too long": (m.Reboot("k" * 33), CwmpVersion.V1_2),
    "control character": (m.Reboot("k\x00"), CwmpVersion.V1_2),
    "surrogate": (m.Reboot("k\ud800"), CwmpVersion.V1_2),
    "no string": (m.Reboot(7), CwmpVersion.V1_2),
    "object without a dot": (m.AddObject("Device.Users", ""), CwmpVersion.V1_2),
    "number too large": (m.ScheduleInform(1 << 32, ""), CwmpVersion.V1_2),
    "number below": (m.ScheduleInform(-1, ""), CwmpVersion.V1_2),
    "a boolean for a number": (m.ScheduleInform(True, ""), CwmpVersion.V1_2),
    "no boolean": (m.GetParameterNames("Device.", 1), CwmpVersion.V1_2),
    "no name": (m.GetParameterValues(()), CwmpVersion.V1_2),
    "no tuple": (m.GetParameterValues(["Device."]), CwmpVersion.V1_2),
    "no struct": (m.SetParameterValues(("x",), ""), CwmpVersion.V1_2),
    "type unknown": (m.SetParameterValues((ParameterValue("a", Value("1", "object")),), ""), CwmpVersion.V1_2),
    "no value": (m.SetParameterValues((ParameterValue("a", "1"),), ""), CwmpVersion.V1_2),
    "not of its type": (m.SetParameterValues((ParameterValue("a", Value("yes", "boolean")),), ""), CwmpVersion.V1_2),
    "no time": (m.DownloadResponse(0, "0000-00-00T00:00:00", "0001-01-01T00:00:00Z"), CwmpVersion.V1_2),
    "three windows": (m.ScheduleDownload("", "2 Web Content", "", "", "", 0, "", (WINDOW,) * 3), CwmpVersion.V1_2),
    "65 events": (
        m.Inform(DeviceId("", "000000", "", ""), (InformEvent("1 BOOT", ""),) * 65, 1, "2026-01-01T00:00:00Z", 0, ()),
        CwmpVersion.V1_2,
    ),
    "no operation": (m.ChangeDUState((), ""), CwmpVersion.V1_2),
    "operation of no kind": (m.ChangeDUState((WINDOW,), ""), CwmpVersion.V1_2),
    "no URL": (m.ChangeDUState((InstallOperation("http://[x]/"),), ""), CwmpVersion.V1_2),
    "file type of 1.2": (m.Upload("", "3 Vendor Configuration File 1", "", "", "", 0), CwmpVersion.V1_1),
    "notification of 1.2": (
        m.SetParameterAttributes((SetParameterAttribute("a", True, 3, False, ()),)),
        CwmpVersion.V1_1,
    ),
    "fault of 1.1": (refusal(AcsFault.VERSION_INCOMPATIBLE, ""), CwmpVersion.V1_0),
    "fault without a code": (m.Fault(None, "x"), CwmpVersion.V1_2),
    "fault of nobody": (m.Fault(8003, "x", soap_code="Sender"), CwmpVersion.V1_2),
    "method of 1.1": (m.GetAllQueuedTransfers(), CwmpVersion.V1_0),
    "method of 1.2": (m.CancelTransfer(""), CwmpVersion.V1_1),
    "no message": (WINDOW, CwmpVersion.V1_2),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_the_schema_does_not_have_is_not_written(what: str) -> None:
    message, version = WRONG[what]
    with pytest.raises(LocalCwmpError):
        envelope.write(message, Header("1"), version)


def test_wrong_headers_are_not_written() -> None:
    for header, version in [
        (Header("1", use_version="1.4"), CwmpVersion.V1_1),
        (Header("1", session_timeout_s=-1), CwmpVersion.V1_2),
        (Header("\x01"), CwmpVersion.V1_2),
    ]:
        with pytest.raises(LocalCwmpError):
            envelope.write(m.InformResponse(), header, version)


def test_a_value_is_never_in_an_error() -> None:
    secret = "s3cret-canary"
    for message in (
        m.Download("", "no type", "", "", secret, 0, "", 0, "", ""),
        m.Reboot(secret * 9),
        m.SetParameterValues((ParameterValue("Device.WiFi.Key", Value(secret, "unsignedInt")),), ""),
        m.SetParameterValues((ParameterValue("Device.WiFi.Key", Value(f"{secret}\x00", "string")),), ""),
    ):
        with pytest.raises(LocalCwmpError) as caught:
            envelope.write(message, Header("1"), CwmpVersion.V1_2)
        assert secret not in str(caught.value)


def test_standard_answers_are_of_the_version() -> None:
    old = expect(m.GetRPCMethodsResponse, methods.standard_answer(m.GetRPCMethods(), CwmpVersion.V1_0))
    assert "Inform" in old.method_list
    assert "DUStateChangeComplete" not in old.method_list
    new = expect(m.GetRPCMethodsResponse, methods.standard_answer(m.GetRPCMethods(), CwmpVersion.V1_2))
    assert set(new.method_list) - set(old.method_list) == {
        "AutonomousTransferComplete", "DUStateChangeComplete", "AutonomousDUStateChangeComplete",
    }  # fmt: skip
    kicked = methods.standard_answer(m.Kicked("", "", "", "http://x/" * 200), CwmpVersion.V1_0)
    assert kicked == m.KickedResponse(("http://x/" * 200)[:1024])
    assert all(isinstance(envelope.write(a, Header("1"), CwmpVersion.V1_2), bytes) for a in (old, new, kicked))


@pytest.mark.parametrize("name", [cls.__name__ for cls in methods.ANSWERS_OF_ACS])
@settings(max_examples=5)
@given(given=st.data())
def test_every_request_of_a_cpe_has_its_standard_answer(name: str, given: st.DataObject) -> None:
    request = given.draw(strategies.message(name, CwmpVersion.V1_2))
    newest = CwmpVersion.V1_2
    answer = methods.standard_answer(request, newest)  # of a CPE's requests alone
    assert type(answer) is methods.ANSWERS_OF_ACS[type(request)]
    assert recordings.complaints(envelope.write(answer, Header("1"), newest), newest.namespace) == []


def test_names_of_fields_are_the_schemas() -> None:
    assert fields.element_name("success_url") == "SuccessURL"
    assert fields.element_name("voucher_sn") == "VoucherSN"
    assert fields.element_name("set_parameter_values_fault") == "SetParameterValuesFault"
    assert limits.DEPTH > 8
