"""Envelopes that CPE of the field send, and those that are none."""

from __future__ import annotations

import pytest

from agent.connectors.cwmp import limits, soap
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.errors import (
    HeaderNotUnderstoodError,
    MalformedMessageError,
    MalformedSoapError,
    UnknownMethodError,
)
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import (
    Argument,
    InformEvent,
    InstallOperation,
    ParameterFault,
    ParameterInfo,
    ParameterValue,
    UninstallOperation,
    UpdateOperation,
)
from agent.connectors.cwmp.versions import CwmpVersion, version_of
from tests.builders import reads
from tests.builders.expect import expect

read = reads.read


def wrap(body: str, header: str = "", prefix: str = "soapenv", cwmp: str = "urn:dslforum-org:cwmp-1-0") -> bytes:
    """An envelope as a CPE would print it."""
    return (
        f'<{prefix}:Envelope xmlns:{prefix}="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:cwmp="{cwmp}">'
        f"<{prefix}:Header>{header}</{prefix}:Header><{prefix}:Body>{body}</{prefix}:Body></{prefix}:Envelope>"
    ).encode()


REBOOTED = "<cwmp:RebootResponse/>"
FAULT_OF_1_2 = (
    "<soapenv:Fault><detail><c:Fault xmlns:c='urn:dslforum-org:cwmp-1-2'><FaultCode>9002</FaultCode></c:Fault>"
    "</detail></soapenv:Fault>"
)

# --- quirks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["SOAP-ENV", "soapenv", "soap_env", "soap-env", "SOAP", "s"])
def test_prefixes(prefix: str) -> None:
    got = read(wrap(REBOOTED, f'<cwmp:ID {prefix}:mustUnderstand="1">7</cwmp:ID>', prefix))
    assert (got.message, got.id) == (m.RebootResponse(), "7")


def test_no_header_and_no_id() -> None:
    bare = b'<Envelope><Body><RebootResponse xmlns="urn:dslforum-org:cwmp-1-1"/></Body></Envelope>'
    assert read(bare) == reads.EnvelopeRead(m.RebootResponse(), Header(), CwmpVersion.V1_1)
    assert read(wrap(REBOOTED)).id is None
    assert read(b"<Envelope><Body><RebootResponse/></Body></Envelope>").version is CwmpVersion.V1_0


def test_blanks_round_an_id_are_repeated_and_do_not_count() -> None:
    got = read(wrap(REBOOTED, '<cwmp:ID soapenv:mustUnderstand="1">\n  a-1 \n</cwmp:ID>'))
    assert got.id == "\n  a-1 \n"
    assert soap.same_id(got.id, "a-1")
    assert not soap.same_id(got.id, "a-2")
    assert not soap.same_id(None, None)


def test_must_understand_in_words() -> None:
    header = (
        '<cwmp:ID soapenv:mustUnderstand="true">7</cwmp:ID>'
        '<cwmp:HoldRequests mustUnderstand=" 1">true</cwmp:HoldRequests>'
    )
    assert read(wrap(REBOOTED, header)).header == Header("7")


def test_headers_that_need_not_be_understood_are_passed_over() -> None:
    header = (
        '<x:Trace xmlns:x="urn:x" soapenv:mustUnderstand="0">1</x:Trace><cwmp:NoMoreRequests>1</cwmp:NoMoreRequests>'
    )
    assert read(wrap(REBOOTED, header)).header == Header(no_more_requests=True)


def test_headers_of_1_4() -> None:
    header = (
        "<cwmp:SessionTimeout> 90 </cwmp:SessionTimeout>"
        "<cwmp:SupportedCWMPVersions>1.0, 1.4,</cwmp:SupportedCWMPVersions>"
        "<cwmp:UseCWMPVersion>1.4</cwmp:UseCWMPVersion>"
    )
    got = read(wrap(REBOOTED, header, cwmp="urn:dslforum-org:cwmp-1-2"))
    assert got.header == Header(session_timeout_s=90, supported_versions=("1.0", "1.4"), use_version="1.4")


@pytest.mark.parametrize(
    ("body", "header", "version"),
    [
        (REBOOTED, "", CwmpVersion.V1_0),
        ('<c:RebootResponse xmlns:c="urn:dslforum-org:cwmp-1-2"/>', "<cwmp:ID>1</cwmp:ID>", CwmpVersion.V1_2),
        ("<RebootResponse/>", '<c:ID xmlns:c="urn:dslforum-org:cwmp-1-1">1</c:ID>', CwmpVersion.V1_1),
        ("<RebootResponse/>", "", CwmpVersion.V1_0),
        ('<c:RebootResponse xmlns:c="urn:dslforum-org:cwmp-1-4"/>', "", CwmpVersion.V1_2),
        (FAULT_OF_1_2, "", CwmpVersion.V1_2),
    ],
)
def test_mixed_namespaces(body: str, header: str, version: CwmpVersion) -> None:
    assert read(wrap(body, header)).version is version


def test_version_of() -> None:
    assert version_of("urn:dslforum-org:cwmp-1-1") is CwmpVersion.V1_1
    assert version_of("urn:dslforum-org:cwmp-2-0") is None
    assert version_of("") is None


def test_a_declared_encoding_style_may_stand_anywhere() -> None:
    data = wrap(REBOOTED).replace(b"<soapenv:Body>", b'<soapenv:Body soapenv:encodingStyle="urn:x">')
    assert read(data).message == m.RebootResponse()


def values_of(*values: str) -> tuple[ParameterValue, ...]:
    items = "".join(f"<ParameterValueStruct><Name>N</Name>{v}</ParameterValueStruct>" for v in values)
    body = f"<cwmp:GetParameterValuesResponse><ParameterList>{items}</ParameterList></cwmp:GetParameterValuesResponse>"
    message = expect(m.GetParameterValuesResponse, read(wrap(body)).message)
    return message.parameter_list


def test_types_spelled_otherwise() -> None:
    got = values_of(
        '<Value xsi:type="xsd:string"> a </Value>',
        '<Value xsi:type="xs:unsignedint">1</Value>',
        '<Value type="string"/>',
        '<Value xsd:type="xsi:Boolean">30</Value>',
        '<Value xsi:type="soapenc:base64">QQ==</Value>',
        '<Value xsi:type="x:vendorType">v</Value>',
        "<Value>bare</Value>",
    )
    assert [each.value for each in got] == [
        Value(" a ", "string"), Value("1", "unsignedInt"), Value("", "string"), Value("30", "boolean"),
        Value("QQ==", "base64"), Value("v", "x:vendorType"), Value("bare", ""),
    ]  # fmt: skip


def test_arrays_by_what_is_there() -> None:
    body = (
        '<cwmp:GetParameterNamesResponse><ParameterList xsi:type="soapenc:Array" soapenc:arrayType="cwmp:Wrong[0009]">'
        "<item><Writable>30</Writable><Name>A.</Name></item><item><Name>B</Name><Writable>False</Writable><Own/></item>"
        "</ParameterList></cwmp:GetParameterNamesResponse>"
    )
    assert read(wrap(body)).message == m.GetParameterNamesResponse(
        (ParameterInfo("A.", True), ParameterInfo("B", False))
    )


def test_an_inform_of_what_is_left() -> None:
    """No RetryCount, MaxEnvelopes, CurrentTime, ParameterList; a key longer than 32; a vendor's event."""
    body = (
        "<cwmp:Inform><Event><EventStruct><CommandKey>"
        + "k" * 40
        + "</CommandKey><EventCode>1  boot</EventCode></EventStruct>"
        "<EventStruct><EventCode>X 00256D OWN</EventCode></EventStruct></Event><DeviceId><OUI>00256d</OUI>"
        "<SerialNumber>S</SerialNumber></DeviceId></cwmp:Inform>"
    )
    got = expect(m.Inform, read(wrap(body)).message)
    assert got.event == (InformEvent("1  boot", "k" * 40), InformEvent("X 00256D OWN", ""))
    assert [event.code for event in got.event] == ["1 BOOT", "X 00256D OWN"]
    assert (got.max_envelopes, got.retry_count, got.current_time, got.parameter_list) == (1, 0, "", ())
    assert got.device_id.key == ("00256D", "", "S")


def test_operations_by_their_type() -> None:
    body = (
        '<cwmp:ChangeDUState><Operations xsi:type="cwmp:InstallOpStruct"><URL>http://x/</URL></Operations>'
        "<CommandKey>k</CommandKey>"
        '<Operations xsi:type="UpdateOpStruct"/>'
        '<Operations xsi:type="cwmp:UninstallOpStruct"><UUID>u</UUID></Operations></cwmp:ChangeDUState>'
    )
    assert read(wrap(body)).message == m.ChangeDUState(
        (InstallOperation("http://x/"), UpdateOperation(), UninstallOperation("u")), "k"
    )


def test_an_argument_list() -> None:
    body = (
        "<cwmp:RequestDownload><FileType>2 Web Content</FileType><FileTypeArg><ArgStruct><Name>CwmpVersion</Name>"
        "<Value>v2</Value></ArgStruct></FileTypeArg></cwmp:RequestDownload>"
    )
    assert read(wrap(body)).message == m.RequestDownload("2 Web Content", (Argument("CwmpVersion", "v2"),))


# --- faults -----------------------------------------------------------------------------------------------------------

DETAIL = (
    "<cwmp:Fault><FaultCode> 9003 </FaultCode><SetParameterValuesFault><ParameterName>A.B</ParameterName>"
    "<FaultCode>9007</FaultCode><FaultString>bad</FaultString></SetParameterValuesFault><SetParameterValuesFault>"
    "<ParameterName>C</ParameterName><FaultCode>9008</FaultCode></SetParameterValuesFault></cwmp:Fault>"
)
FAULT = m.Fault(9003, None, (ParameterFault("A.B", 9007, "bad"), ParameterFault("C", 9008, None)), "Client")


def test_faults_of_parameters() -> None:
    body = (
        "<soapenv:Fault><faultcode>soapenv:Client</faultcode><faultstring>CWMP fault</faultstring>"
        f"<detail>{DETAIL}</detail></soapenv:Fault>"
    )
    assert read(wrap(body)).message == FAULT


def test_a_fault_that_stands_alone() -> None:
    assert read(wrap(DETAIL)).message == m.Fault(9003, None, FAULT.parameters, "Server")


def test_a_fault_of_soap_alone() -> None:
    body = "<soapenv:Fault><faultcode>soapenv:VersionMismatch</faultcode><faultstring>no</faultstring></soapenv:Fault>"
    assert read(wrap(body)).message == m.Fault(None, "no", (), "VersionMismatch")


# --- what is none -----------------------------------------------------------------------------------------------------

WRONG = {
    "no envelope": (b"<html/>", MalformedSoapError, "expected an Envelope, got html"),
    "no body": (b"<Envelope/>", MalformedSoapError, "expected one Body"),
    "two bodies": (b"<Envelope><Body><a/></Body><Body><a/></Body></Envelope>", MalformedSoapError, "expected one Body"),
    "two headers": (b"<Envelope><Header/><Header/><Body><a/></Body></Envelope>", MalformedSoapError, "got 1 and 2"),
    "empty body": (wrap(""), MalformedSoapError, "one message in the Body, got 0"),
    "two messages": (wrap(REBOOTED * 2), MalformedSoapError, "one message in the Body, got 2"),
    "two IDs": (wrap(REBOOTED, "<cwmp:ID>1</cwmp:ID><cwmp:ID>2</cwmp:ID>"), MalformedSoapError, "one header ID"),
    "a long ID": (wrap(REBOOTED, f"<cwmp:ID>{'1' * (limits.ID_CHARS + 1)}</cwmp:ID>"), MalformedSoapError, "an ID of"),
    "long versions": (
        wrap(REBOOTED, f"<cwmp:SupportedCWMPVersions>{'1,' * 200}</cwmp:SupportedCWMPVersions>"),
        MalformedSoapError, "characters of versions",
    ),
    "no timeout": (wrap(REBOOTED, "<cwmp:SessionTimeout>x</cwmp:SessionTimeout>"), MalformedSoapError, "whole number"),
    "no boolean": (wrap(REBOOTED, "<cwmp:NoMoreRequests>x</cwmp:NoMoreRequests>"), MalformedSoapError, "a boolean"),
    "a header that must": (
        wrap(REBOOTED, '<x:Own xmlns:x="u" soapenv:mustUnderstand="1"/>'), HeaderNotUnderstoodError, "the header Own",
    ),
    "an unknown method": (wrap("<cwmp:Explode/>"), UnknownMethodError, "got Explode"),
    "a field is missing": (wrap("<cwmp:SetParameterValuesResponse/>"), MalformedMessageError, "Status: expected it"),
    "a field is there twice": (
        wrap("<cwmp:DeleteObjectResponse><Status>0</Status><Status>1</Status></cwmp:DeleteObjectResponse>"),
        MalformedMessageError, "got it 2 times",
    ),
    "no number": (
        wrap("<cwmp:SetParameterValuesResponse><Status>ok</Status></cwmp:SetParameterValuesResponse>"),
        MalformedMessageError, "SetParameterValuesResponse: Status: expected a whole number, got 2 characters",
    ),
    "a huge number": (
        wrap(f"<cwmp:SetParameterValuesResponse><Status>{'9' * 21}</Status></cwmp:SetParameterValuesResponse>"),
        MalformedMessageError, "got 21 characters",
    ),
    "elements for text": (
        wrap("<cwmp:Reboot><CommandKey><x/></CommandKey></cwmp:Reboot>"), MalformedMessageError, "expected text",
    ),
    "in an array": (
        wrap("<cwmp:GetParameterNamesResponse><ParameterList><a><Name>A</Name><Writable>1</Writable></a>"
             "<a><Name>A</Name><Writable>maybe</Writable></a></ParameterList></cwmp:GetParameterNamesResponse>"),
        MalformedMessageError, "ParameterList: element 2: Writable: expected a boolean",
    ),
    "no operation": (
        wrap('<cwmp:ChangeDUState><Operations xsi:type="cwmp:Own"/></cwmp:ChangeDUState>'),
        MalformedMessageError, "expected xsi:type",
    ),
    "two details": (
        wrap(f"<soapenv:Fault><detail>{DETAIL * 2}</detail></soapenv:Fault>"), MalformedMessageError, "one Fault",
    ),
    "a fault without a code": (
        wrap("<soapenv:Fault><detail><cwmp:Fault/></detail></soapenv:Fault>"), MalformedMessageError, "FaultCode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_malformed_ones_have_a_named_error(what: str) -> None:
    data, error, why = WRONG[what]
    with pytest.raises(error, match=why):
        read(data)


def test_errors_show_no_values() -> None:
    for text in (
        "<cwmp:Inform><DeviceId/><RetryCount>s3cret-canary</RetryCount></cwmp:Inform>",
        "<cwmp:SetParameterValuesResponse><Status>s3cret-canary</Status></cwmp:SetParameterValuesResponse>",
    ):
        with pytest.raises(MalformedMessageError) as caught:
            read(wrap(text))
        assert "canary" not in str(caught.value)
