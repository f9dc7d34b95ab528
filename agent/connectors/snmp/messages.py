"""Messages of versions 1 and 2c: a version, a community, a PDU (RFC 1157, section 4; RFC 1901, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp import ber, pdu
from agent.connectors.snmp.ber import SEQUENCE
from agent.connectors.snmp.credential import SnmpVersion
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.pdu import Pdu, PduKind, TrapV1
from agent.connectors.snmp.values import Oid

WIRE_VERSION: Final = {SnmpVersion.V1: 0, SnmpVersion.V2C: 1, SnmpVersion.V3: 3}
_BY_WIRE: Final = {number: version for version, number in WIRE_VERSION.items()}


@dataclass(frozen=True, slots=True)
class CommunityMessage:
    """A message of version 1 or 2c. The community is a secret of sorts: it stands in no text."""

    version: SnmpVersion
    community: bytes
    pdu: Pdu | TrapV1

    def __repr__(self) -> str:
        return f"CommunityMessage({self.version.value}, {self.pdu!r})"


def encode(version: SnmpVersion, community: bytes, body: bytes) -> bytes:
    """Return a message around an encoded PDU."""
    return ber.element(SEQUENCE, ber.integer(WIRE_VERSION[version]) + ber.element(4, community) + body)


def version_untrusted(data: bytes) -> tuple[SnmpVersion, int, int]:
    """Return the version of any message, and the indexes between which the rest stands.

    Octets behind the message are ignored: some devices fill up.

    Raises:
        MalformedSnmpError: it is none of 1, 2c and 3.
    """
    start, stop = ber.content_untrusted(data, 0, len(data), SEQUENCE)
    number, start = ber.integer_untrusted(data, start, stop)
    version = _BY_WIRE.get(number)
    if version is None:
        raise MalformedSnmpError(f"expected version 0, 1 or 3, got {number}")
    return version, start, stop


def message_untrusted(data: bytes, columns: tuple[Oid, ...] = ()) -> CommunityMessage:
    """Return a message of version 1 or 2c. `columns`: it may have rows of these.

    Raises:
        MalformedSnmpError: it is none.
    """
    version, start, stop = version_untrusted(data)
    if version is SnmpVersion.V3:
        raise MalformedSnmpError("expected a message of version 1 or 2c, got version 3")
    community, start = ber.octets_untrusted(data, start, stop)
    found = pdu.pdu_untrusted(data, start, stop, columns)
    if (version is SnmpVersion.V1 and getattr(found, "kind", 0) >= PduKind.GET_BULK) or (
        version is SnmpVersion.V2C and isinstance(found, TrapV1)
    ):
        raise MalformedSnmpError(f"expected a PDU of version {version.value}, got {type(found).__name__}")
    return CommunityMessage(version, community, found)
