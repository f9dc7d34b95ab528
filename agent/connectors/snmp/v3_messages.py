"""Messages of version 3: header, parameters of USM, scoped PDU (RFC 3412, section 6; RFC 3414, section 2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp import ber, messages, pdu
from agent.connectors.snmp.ber import SEQUENCE
from agent.connectors.snmp.credential import SnmpVersion
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.limits import BOOTS_MAX, ENGINE_ID_BYTES_MAX, MESSAGE_BYTES_MAX
from agent.connectors.snmp.pdu import Pdu, TrapV1
from agent.connectors.snmp.values import OCTET_STRING, Oid

AUTH_FLAG: Final = 1
PRIV_FLAG: Final = 2
REPORTABLE_FLAG: Final = 4
_USM: Final = 3
"""The security model (RFC 3414, section 2.4)."""


@dataclass(frozen=True, slots=True)
class V3Header:
    """Everything before the scoped PDU. `boots` and `time_s` are those of the authoritative engine."""

    message_id: int
    flags: int
    engine_id: bytes
    boots: int
    time_s: int
    user: bytes
    auth: bytes
    priv: bytes


@dataclass(frozen=True, slots=True)
class V3Message:
    """A message in its parts, none of which is verified.

    Args:
        header: header and security parameters.
        whole: the octets of the message.
        auth_at: where the authentication parameters stand in them.
        scoped: octets of the scoped PDU, or encrypted ones.
    """

    header: V3Header
    whole: bytes
    auth_at: int
    scoped: bytes


@dataclass(frozen=True, slots=True)
class ScopedPdu:
    """A PDU with the context that it is about."""

    engine_id: bytes
    context: bytes
    pdu: Pdu | TrapV1


def scoped(engine_id: bytes, context: bytes, body: bytes) -> bytes:
    """Return a scoped PDU around an encoded PDU."""
    return ber.element(SEQUENCE, ber.element(OCTET_STRING, engine_id) + ber.element(OCTET_STRING, context) + body)


def scoped_untrusted(data: bytes, columns: tuple[Oid, ...] = ()) -> ScopedPdu:
    """Return a scoped PDU; octets behind it are the padding of DES. `columns`: those whose rows it may have.

    Raises:
        MalformedSnmpError: it is none.
    """
    start, stop = ber.content_untrusted(data, 0, len(data), SEQUENCE)
    engine_id, start = ber.octets_untrusted(data, start, stop)
    context, start = ber.octets_untrusted(data, start, stop)
    return ScopedPdu(engine_id, context, pdu.pdu_untrusted(data, start, stop, columns))


def encode(header: V3Header, payload: bytes) -> tuple[bytes, int]:
    """Return a message around a payload (a scoped PDU, or the element of an encrypted one).

    The second value says where its authentication parameters stand.
    """
    general = (
        ber.integer(header.message_id)
        + ber.integer(MESSAGE_BYTES_MAX)
        + ber.element(OCTET_STRING, bytes((header.flags,)))
        + ber.integer(_USM)
    )
    priv = ber.element(OCTET_STRING, header.priv)
    parameters = (
        ber.element(OCTET_STRING, header.engine_id)
        + ber.integer(header.boots)
        + ber.integer(header.time_s)
        + ber.element(OCTET_STRING, header.user)
        + ber.element(OCTET_STRING, header.auth)
        + priv
    )
    behind = len(header.auth) + len(priv) + len(payload)
    security = ber.element(OCTET_STRING, ber.element(SEQUENCE, parameters))
    version = ber.integer(messages.WIRE_VERSION[SnmpVersion.V3])
    whole = ber.element(SEQUENCE, version + ber.element(SEQUENCE, general) + security + payload)
    return whole, len(whole) - behind


def message_untrusted(data: bytes) -> V3Message:
    """Return the parts of a message.

    Raises:
        MalformedSnmpError: it is none, or of another security model.
    """
    version, start, stop = messages.version_untrusted(data)
    if version is not SnmpVersion.V3:
        raise MalformedSnmpError(f"expected version 3, got {version.value}")
    at, end = ber.content_untrusted(data, start, stop, SEQUENCE)
    message_id, at = ber.integer_untrusted(data, at, end)
    _, at = ber.integer_untrusted(data, at, end)
    flags, at = ber.octets_untrusted(data, at, end)
    model, at = ber.integer_untrusted(data, at, end)
    if model != _USM or len(flags) != 1:
        raise MalformedSnmpError(f"expected security model {_USM} and one octet of flags, got {model} and {len(flags)}")
    if flags[0] & PRIV_FLAG and not flags[0] & AUTH_FLAG:
        raise MalformedSnmpError("expected authentication beside encryption, got encryption alone")
    at, security_end = ber.content_untrusted(data, end, stop, OCTET_STRING)
    at, end = ber.content_untrusted(data, at, security_end, SEQUENCE)
    engine_id, at = ber.octets_untrusted(data, at, end)
    boots, at = ber.integer_untrusted(data, at, end)
    time_s, at = ber.integer_untrusted(data, at, end)
    user, at = ber.octets_untrusted(data, at, end)
    auth_at, at = ber.content_untrusted(data, at, end, OCTET_STRING)
    auth = data[auth_at:at]
    priv, at = ber.octets_untrusted(data, at, end)
    if len(engine_id) > ENGINE_ID_BYTES_MAX or not 0 <= boots <= BOOTS_MAX or not 0 <= time_s <= BOOTS_MAX:
        raise MalformedSnmpError(
            f"expected an engine id of at most {ENGINE_ID_BYTES_MAX} octets, boots and time below 2**31, "
            f"got {len(engine_id)}, {boots}, {time_s}"
        )
    header = V3Header(message_id, flags[0], engine_id, boots, time_s, user, auth, priv)
    if flags[0] & PRIV_FLAG:
        payload, _ = ber.octets_untrusted(data, security_end, stop)
    else:
        ber.content_untrusted(data, security_end, stop, SEQUENCE)
        payload = data[security_end:stop]
    return V3Message(header, data[:stop], auth_at, payload)
