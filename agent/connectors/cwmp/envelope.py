"""Messages of CWMP out of bytes and into bytes. Pure.

Reading is liberal, writing exact: docs/connectors/cwmp.md lists the mistakes of CPE that are accepted.
"""

from __future__ import annotations

from typing import Final

from agent.connectors.cwmp import soap
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedMessageError, UnknownMethodError
from agent.connectors.cwmp.fields import read_struct_untrusted, write_fields
from agent.connectors.cwmp.messages import Fault, FaultDetail
from agent.connectors.cwmp.methods import MESSAGES, Message, is_in
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.versions import SOAP, CwmpVersion
from agent.connectors.cwmp.xml_tree import Element
from agent.cpe_model.presentable import presentable

# --- in ---


def read_message_untrusted(element: Element) -> Message:
    """Return the message of an element in a SOAP body.

    Raises:
        UnknownMethodError: no method of CWMP.
        MalformedMessageError: a method, and not its arguments.
    """
    try:
        if element.name == "Fault":
            return _fault_untrusted(element)
        cls = MESSAGES.get(element.name)
        if cls is None:
            raise UnknownMethodError(f"expected a method of CWMP, got {presentable(element.name)}")
        return read_struct_untrusted(cls, element)
    except MalformedMessageError as err:
        raise MalformedMessageError(f"{element.name}: {err}") from err


def _fault_untrusted(element: Element) -> Fault:
    """Return a SOAP fault, or CWMP's own where it stands alone in the body."""
    details = [child for detail in element.named("detail") for child in detail.named("Fault")]
    if any(element.named("FaultCode")):
        details.append(element)
    if len(details) > 1:
        raise MalformedMessageError(f"expected one Fault in the detail, got {len(details)}")
    soap_code = next((child.text.strip().rpartition(":")[2] for child in element.named("faultcode")), "Server")
    if not details:
        text = next((child.text for child in element.named("faultstring")), None)
        return Fault(None, text, (), soap_code)
    detail = read_struct_untrusted(FaultDetail, details[0])
    return Fault(detail.fault_code, detail.fault_string, detail.set_parameter_values_fault, soap_code)


# --- out ---

_SOAP_CODES: Final = ("Client", "Server")


def write(message: Message, header: Header, version: CwmpVersion) -> bytes:
    """Return the envelope of a message, as the schema of that version has it.

    Raises:
        LocalCwmpError: the version does not have the message, or its schema does not have a value in it.
    """
    return soap.close(header, element_of(message, version), version)


def element_of(message: Message, version: CwmpVersion) -> Element:
    """Return a message's element: `write` puts it into an envelope.

    Raises:
        LocalCwmpError: as of `write`.
    """
    if isinstance(message, Fault):
        return _fault_element(message, version)
    name = type(message).__name__
    if MESSAGES.get(name) is not type(message) or not is_in(type(message), version):
        raise LocalCwmpError(f"expected a message of {version.namespace}, got {name}")
    return Element(version.namespace, name, children=write_fields(message, version))


def _fault_element(fault: Fault, version: CwmpVersion) -> Element:
    """Return a SOAP fault; TR-069 section 3.5 gives faultstring its text."""
    if fault.fault_code is None or fault.soap_code not in _SOAP_CODES:
        raise LocalCwmpError("Fault: expected a code, and Client or Server")
    detail = FaultDetail(fault.fault_code, fault.fault_string, fault.parameters)
    children = (
        Element("", "faultcode", fault.soap_code),
        Element("", "faultstring", "CWMP fault"),
        Element("", "detail", children=(Element(version.namespace, "Fault", children=write_fields(detail, version)),)),
    )
    return Element(SOAP, "Fault", children=children)


def write_not_understood(header: Header, version: CwmpVersion) -> bytes:
    """Return SOAP's own refusal of a header that is not understood (SOAP 1.1 section 4.4.1)."""
    children = (
        Element("", "faultcode", "soapenv:MustUnderstand"),
        Element("", "faultstring", "a header is not understood"),
    )
    return soap.close(header, Element(SOAP, "Fault", children=children), version)
