"""SOAP 1.1 envelopes as CWMP has them (TR-069 section 3.5): a header, and one message in the body. Pure.

Read liberally: prefixes and namespaces of SOAP's own elements do not matter, `encodingStyle` may stand anywhere,
`mustUnderstand` may be `true`, and the namespaces of CWMP may be mixed. A header that *must* be understood and is not
known is an error all the same: SOAP 1.1 section 4.2.3 says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.connectors.cwmp import limits, simple_types, xml_tree
from agent.connectors.cwmp.errors import (
    HeaderNotUnderstoodError,
    LocalCwmpError,
    MalformedMessageError,
    MalformedSoapError,
)
from agent.connectors.cwmp.versions import ENCODING, SOAP, XSD, XSI, CwmpVersion, version_of
from agent.connectors.cwmp.xml_tree import Element, Name
from agent.cpe_model import values
from agent.cpe_model.presentable import presentable

_PREFIXES: Final = {SOAP: "soapenv", ENCODING: "soapenc", XSD: "xsd", XSI: "xsi"}


@dataclass(frozen=True, slots=True)
class Header:
    """The content of an envelope's header.

    `id`: as it came, blanks and all, since it is to be repeated so; None where there is none. `no_more_requests`: from
    a CPE of 1.0, it has none; nothing rests on it. `session_timeout_s`: from a CPE since 1.3. `supported_versions`:
    from a CPE since 1.4. `use_version`: from an ACS since 1.4.
    """

    id: str | None = None
    no_more_requests: bool = False
    session_timeout_s: int | None = None
    supported_versions: tuple[str, ...] = ()
    use_version: str | None = None


def same_id(one: str | None, other: str | None) -> bool:
    """Return whether two IDs are one: CPE that lay their XML out put blanks round it."""
    return one is not None and other is not None and one.strip() == other.strip()


# --- in ---


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope that was read, and its message, which was not yet. `version`: None where no namespace says."""

    header: Header
    version: CwmpVersion | None
    message: Element


def opened_untrusted(root: Element) -> Opened:
    """Return the content of a tree's envelope.

    Raises:
        MalformedSoapError: no envelope, or not one message in its body, or a header that is none.
        HeaderNotUnderstoodError: a header must be understood and is not known.
    """
    if root.name != "Envelope":
        raise MalformedSoapError(f"SOAP: expected an Envelope, got {presentable(root.name)}")
    bodies, headers = list(root.named("Body")), list(root.named("Header"))
    if len(bodies) != 1 or len(headers) > 1:
        raise MalformedSoapError(
            f"SOAP: expected one Body and at most one Header, got {len(bodies)} and {len(headers)}"
        )
    messages = bodies[0].children
    if len(messages) != 1:
        raise MalformedSoapError(f"SOAP: expected one message in the Body, got {len(messages)}")
    entries = headers[0].children if headers else ()
    return Opened(_header_untrusted(entries), _version(messages[0], entries), messages[0])


def _version(message: Element, entries: tuple[Element, ...]) -> CwmpVersion | None:
    """Return the version by the message's namespace, else by a header's, else by a fault's detail, else by a prefix."""
    for namespace in _namespaces(message, entries):
        version = version_of(namespace)
        if version is not None:
            return version
    return None


def _namespaces(message: Element, entries: tuple[Element, ...]) -> Iterator[str]:
    yield message.namespace
    yield from (entry.namespace for entry in entries)
    for detail in message.named("detail"):
        yield from (child.namespace for child in detail.children)
    yield from message.scope.values()


def _header_untrusted(entries: tuple[Element, ...]) -> Header:
    found: dict[str, str] = {}
    for entry in entries:
        if entry.name not in _KNOWN:
            if _must(entry):
                raise HeaderNotUnderstoodError(
                    f"SOAP: the header {presentable(entry.name)} must be understood, and is not"
                )
            continue
        if entry.name in found:
            raise MalformedSoapError(f"SOAP: expected one header {entry.name}, got two")
        if values.UNREADABLE in entry.text:
            raise MalformedSoapError(f"SOAP: expected a header {entry.name} that can be decoded")
        found[entry.name] = entry.text
    identity = found.get("ID")
    if identity is not None and len(identity) > limits.ID_CHARS:
        raise MalformedSoapError(f"SOAP: expected an ID of at most {limits.ID_CHARS}, got {len(identity)} characters")
    versions = found.get("SupportedCWMPVersions", "")
    if len(versions) > limits.VERSIONS_CHARS:
        raise MalformedSoapError(f"SOAP: expected at most {limits.VERSIONS_CHARS} characters of versions")
    try:
        timeout = found.get("SessionTimeout")
        return Header(
            id=identity,
            no_more_requests="NoMoreRequests" in found and simple_types.read_boolean_untrusted(found["NoMoreRequests"]),
            session_timeout_s=None if timeout is None else simple_types.read_number_untrusted(timeout),
            supported_versions=tuple(v for each in versions.split(",") if (v := each.strip())),
            use_version=found["UseCWMPVersion"].strip() if "UseCWMPVersion" in found else None,
        )
    except MalformedMessageError as err:
        raise MalformedSoapError(f"SOAP: a header: {err}") from err


_KNOWN: Final = frozenset(
    {"ID", "HoldRequests", "NoMoreRequests", "SessionTimeout", "SupportedCWMPVersions", "UseCWMPVersion"}
)


def _must(entry: Element) -> bool:
    return (entry.attribute(SOAP, "mustUnderstand") or "").strip().lower() in ("1", "true")


# --- out ---


def close(header: Header, message: Element, version: CwmpVersion) -> bytes:
    """Return the envelope of a message.

    Args:
        header: `no_more_requests` is of no schema and not written.
        message: its element; that of CWMP's in the version's namespace.
        version: of the header's elements; headers since 1.3 and 1.4 need 1.2's namespace.

    Raises:
        LocalCwmpError: a header that the version does not have, or a character that XML does not have.
    """
    namespace = version.namespace
    later = header.session_timeout_s is not None or header.supported_versions or header.use_version is not None
    if later and version is not CwmpVersion.V1_2:
        raise LocalCwmpError(f"SOAP: expected no header of a later version in one of {namespace}")
    entries = []
    if header.id is not None:
        entries.append(_entry(namespace, "ID", header.id, must=True))
    if header.session_timeout_s is not None:
        if not 0 <= header.session_timeout_s <= values.UNSIGNED_INT:
            raise LocalCwmpError("SOAP: expected a SessionTimeout of 0 to 4,294,967,295")
        entries.append(_entry(namespace, "SessionTimeout", str(header.session_timeout_s), must=False))
    if header.supported_versions:
        entries.append(_entry(namespace, "SupportedCWMPVersions", ",".join(header.supported_versions), must=False))
    if header.use_version is not None:
        entries.append(_entry(namespace, "UseCWMPVersion", header.use_version, must=True))
    parts = [Element(SOAP, "Header", children=tuple(entries))] if entries else []
    envelope = Element(SOAP, "Envelope", children=(*parts, Element(SOAP, "Body", children=(message,))))
    return xml_tree.write(envelope, {**_PREFIXES, namespace: "cwmp"})


def _entry(namespace: str, name: str, text: str, *, must: bool) -> Element:
    attributes: dict[Name, str] = {(SOAP, "mustUnderstand"): "1" if must else "0"}
    return Element(namespace, name, text, attributes=attributes)
