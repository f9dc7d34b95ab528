"""SOAP of the CPE's side: reads an ACS' messages, liberal; writes a CPE's messages, as the schemas have it.

Namespaces are dropped when reading: ACS mix versions and prefixes. CWMP 1.2 to 1.4 share one namespace (TR-069 A.1).
"""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from lab.cpe.errors import MalformedSoapError, ParameterFault
from lab.cpe.tree import Attributes
from lab.cpe.values import UNKNOWN_TIME

_FAULTS: Final = {
    9000: "Method not supported",
    9001: "Request denied",
    9002: "Internal error",
    9003: "Invalid arguments",
    9004: "Resources exceeded",
    9005: "Invalid parameter name",
    9006: "Invalid parameter type",
    9007: "Invalid parameter value",
    9008: "Attempt to set a non-writable parameter",
    9009: "Notification request rejected",
    9010: "File transfer failure",
    9011: "Upload failure",
    9012: "File transfer server authentication failure",
    9013: "Unsupported protocol for file transfer",
    9015: "File transfer failure: unable to contact file server",
    9016: "File transfer failure: unable to access file",
    9017: "File transfer failure: unable to complete download",
    9018: "File transfer failure: file corrupted",
    9020: "File transfer failure: unable to complete download within specified time windows",
    9021: "Cancelation of file transfer not permitted in current transfer state",
}
# TR-069 A.5.1: whose fault it is in SOAP's words
_CLIENTS: Final = frozenset((9000, 9003, 9005, 9006, 9007, 9008))


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message of an ACS. `method`: the element's name, `Fault` for a fault; `version`: of CWMP, by the namespace."""

    method: str
    body: ET.Element
    id: str = ""
    hold: bool = False
    version: str = ""
    use_version: str = ""

    def text(self, path: str, default: str = "") -> str:
        """The text of an element below the method's, by names without namespaces."""
        return text_of(self.body, path, default)


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def child(element: ET.Element, name: str) -> ET.Element | None:
    """The first child of that local name."""
    return next((found for found in element if _local(found.tag) == name), None)


def text_of(element: ET.Element, path: str, default: str = "") -> str:
    """The text of an element below this one, by local names with `/` between."""
    found: ET.Element | None = element
    for name in path.split("/"):
        found = None if found is None else child(found, name)
    return default if found is None else found.text or ""


def items(element: ET.Element, name: str) -> list[ET.Element]:
    """The members of an array."""
    found = child(element, name)
    return [] if found is None else list(found)


def kind_of(element: ET.Element) -> str:
    """The local name of `xsi:type`, empty without one."""
    for name, value in element.attrib.items():
        if _local(name) == "type":
            return value.rpartition(":")[2]
    return ""


def is_true(text: str) -> bool:
    """A boolean as ACS write it."""
    return text.strip().lower() in ("1", "true")


def _version(body: ET.Element) -> str:
    for element in itertools.islice(body.iter(), 8):  # a fault's own is the fifth
        space = element.tag.partition("}")[0] if isinstance(element.tag, str) else ""
        if space.startswith("{urn:dslforum-org:cwmp-1-"):
            return f"1.{space[-1]}"
    return ""


def read_untrusted(data: bytes) -> Envelope:
    """A message of an ACS.

    Raises:
        MalformedSoapError: it is no envelope with one method in its body.
    """
    try:
        root = ET.fromstring(data)  # noqa: S314 # an ACS under test, on this machine
    except (ET.ParseError, ValueError, LookupError) as err:
        raise MalformedSoapError(f"expected XML, got {len(data)} bytes that are none") from err
    body = child(root, "Body")
    if body is None or len(body) == 0:
        raise MalformedSoapError(f"expected an envelope with a body, got <{_local(root.tag)}>")
    header = child(root, "Header")
    head = ET.Element("none") if header is None else header
    return Envelope(
        _local(body[0].tag),
        body[0],
        text_of(head, "ID"),
        is_true(text_of(head, "HoldRequests")),
        _version(body),
        text_of(head, "UseCWMPVersion").strip(),
    )


def fault_code(envelope: Envelope) -> str:
    """The code of an ACS's fault, empty when it is none of CWMP's."""
    return envelope.text("detail/Fault/FaultCode").strip()


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finished:
    """A transfer that is over, for TransferComplete. Times are seconds since 1970, None when it never began."""

    command_key: str
    code: int = 0
    text: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class AutonomousTransfer:
    """A transfer that nobody asked for, for AutonomousTransferComplete."""

    file_type: str
    url: str
    announce_url: str = ""
    is_download: bool = True
    size_bytes: int = 0
    target: str = ""
    outcome: Finished = field(default_factory=lambda: Finished(""))


def time_text(at: float | None) -> str:
    """A dateTime; the unknown time for None."""
    return UNKNOWN_TIME if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def element(name: str, value: object) -> str:
    """Return an element with a text."""
    return f"<{name}>{escape(str(value))}</{name}>"


def _array(name: str, kind: str, members: Sequence[str]) -> str:
    return f'<{name} soap-enc:arrayType="{kind}[{len(members)}]">{"".join(members)}</{name}>'


def _value_structs(values: Iterable[tuple[str, str, str]]) -> str:
    structs = [
        f"<ParameterValueStruct><Name>{escape(name)}</Name>"
        f'<Value xsi:type="xsd:{kind}">{escape(value)}</Value></ParameterValueStruct>'
        for name, kind, value in values
    ]
    return _array("ParameterList", "cwmp:ParameterValueStruct", structs)


def inform(
    device_id: tuple[str, str, str, str],
    events: Sequence[tuple[str, str]],
    values: Sequence[tuple[str, str, str]],
    now: float,
    retry_count: int,
) -> str:
    """An Inform. `device_id`: manufacturer, OUI, product class, serial; `events`: code and command key."""
    names = ("Manufacturer", "OUI", "ProductClass", "SerialNumber")
    identity = "".join(element(name, value) for name, value in zip(names, device_id, strict=True))
    structs = [
        f"<EventStruct>{element('EventCode', code)}{element('CommandKey', key)}</EventStruct>" for code, key in events
    ]
    return (
        f"<cwmp:Inform><DeviceId>{identity}</DeviceId>{_array('Event', 'cwmp:EventStruct', structs)}"
        f"<MaxEnvelopes>1</MaxEnvelopes><CurrentTime>{time_text(now)}</CurrentTime>"
        f"<RetryCount>{retry_count}</RetryCount>{_value_structs(values)}</cwmp:Inform>"
    )


def _fault_struct(finished: Finished) -> str:
    code, text = finished.code, finished.text or _FAULTS.get(finished.code, "")
    return f"<FaultStruct>{element('FaultCode', code)}{element('FaultString', text[:256])}</FaultStruct>"


def transfer_complete(finished: Finished) -> str:
    """A TransferComplete."""
    return (
        f"<cwmp:TransferComplete>{element('CommandKey', finished.command_key)}{_fault_struct(finished)}"
        f"<StartTime>{time_text(finished.started)}</StartTime><CompleteTime>{time_text(finished.ended)}</CompleteTime>"
        "</cwmp:TransferComplete>"
    )


def autonomous_transfer_complete(transfer: AutonomousTransfer) -> str:
    """An AutonomousTransferComplete (CWMP 1.1 and later)."""
    return (
        f"<cwmp:AutonomousTransferComplete>{element('AnnounceURL', transfer.announce_url)}"
        f"{element('TransferURL', transfer.url)}{element('IsDownload', int(transfer.is_download))}"
        f"{element('FileType', transfer.file_type)}{element('FileSize', transfer.size_bytes)}"
        f"{element('TargetFileName', transfer.target)}{_fault_struct(transfer.outcome)}"
        f"<StartTime>{time_text(transfer.outcome.started)}</StartTime>"
        f"<CompleteTime>{time_text(transfer.outcome.ended)}</CompleteTime></cwmp:AutonomousTransferComplete>"
    )


def response(method: str, inner: str = "") -> str:
    """The response of a method."""
    return f"<cwmp:{method}Response>{inner}</cwmp:{method}Response>"


def value_list(values: Sequence[tuple[str, str, str]]) -> str:
    """A ParameterList of values: name, XML Schema type, value."""
    return _value_structs(values)


def name_list(names: Sequence[tuple[str, bool]]) -> str:
    """A ParameterList of names."""
    structs = [
        f"<ParameterInfoStruct><Name>{escape(name)}</Name><Writable>{int(writable)}</Writable></ParameterInfoStruct>"
        for name, writable in names
    ]
    return _array("ParameterList", "cwmp:ParameterInfoStruct", structs)


def attribute_list(attributes: Sequence[tuple[str, Attributes]]) -> str:
    """A ParameterList of attributes."""
    structs = [
        f"<ParameterAttributeStruct><Name>{escape(name)}</Name>{element('Notification', held.notification)}"
        f"{_array('AccessList', 'xsd:string', [element('string', who) for who in held.access])}"
        "</ParameterAttributeStruct>"
        for name, held in attributes
    ]
    return _array("ParameterList", "cwmp:ParameterAttributeStruct", structs)


def method_list(methods: Sequence[str]) -> str:
    """A MethodList."""
    return _array("MethodList", "xsd:string", [element("string", name) for name in methods])


def transfer_list(kind: str, members: Sequence[Sequence[tuple[str, object]]]) -> str:
    """A TransferList; `kind` is QueuedTransferStruct or AllQueuedTransferStruct."""
    structs = [f"<{kind}>{''.join(element(name, value) for name, value in fields)}</{kind}>" for fields in members]
    return _array("TransferList", f"cwmp:{kind}", structs)


def fault(code: int, parameters: Sequence[ParameterFault] = ()) -> str:
    """A fault, with the parameters that SetParameterValues could not set."""
    listed = "".join(
        f"<SetParameterValuesFault>{element('ParameterName', one.name)}{element('FaultCode', one.code)}"
        f"{element('FaultString', _FAULTS.get(one.code, ''))}</SetParameterValuesFault>"
        for one in parameters
    )
    whose = "Client" if code in _CLIENTS else "Server"
    return (
        f"<soap-env:Fault><faultcode>soap-env:{whose}</faultcode><faultstring>CWMP fault</faultstring><detail>"
        f"<cwmp:Fault>{element('FaultCode', code)}{element('FaultString', _FAULTS.get(code, 'Vendor fault'))}{listed}"
        "</cwmp:Fault></detail></soap-env:Fault>"
    )


def envelope(inner: str, identity: str | None, version: str, *, supported: Sequence[str] = ()) -> bytes:
    """The bytes of an envelope.

    Args:
        inner: the element in its body.
        identity: of the header `ID`, None for no such header.
        version: of CWMP: "1.0" to "1.4".
        supported: the versions that an Inform offers (CWMP 1.4); none for any other message.
    """
    headers = "" if identity is None else f'<cwmp:ID soap-env:mustUnderstand="1">{escape(identity)}</cwmp:ID>'
    if supported:
        offered = ",".join(supported)
        headers += f'<cwmp:SupportedCWMPVersions soap-env:mustUnderstand="0">{offered}</cwmp:SupportedCWMPVersions>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<soap-env:Envelope xmlns:soap-env="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:soap-enc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xmlns:cwmp="urn:dslforum-org:cwmp-1-{min(int(version[-1]), 2)}">'
        f"<soap-env:Header>{headers}</soap-env:Header><soap-env:Body>{inner}</soap-env:Body></soap-env:Envelope>"
    ).encode()
