"""Messages of v3 (RFC 3412 section 6, RFC 3414 section 2.4). Pure.

SNMPv3Message ::= SEQUENCE { msgVersion, SEQUENCE { msgID, msgMaxSize, msgFlags, msgSecurityModel },
msgSecurityParameters OCTET STRING, msgData }
UsmSecurityParameters ::= SEQUENCE { engine id, boots, time, user name, digest, salt }
msgData ::= ScopedPDU | OCTET STRING (the ScopedPDU, encrypted)
ScopedPDU ::= SEQUENCE { contextEngineID, contextName, PDU }
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, NamedTuple

from lab.snmp import ber, usm
from lab.snmp.errors import MalformedSnmpError
from lab.snmp.messages import DATAGRAM_BYTES_MAX, Pdu, Version, pdu_untrusted
from lab.snmp.usm import User

AUTH: Final = 1
PRIV: Final = 2
REPORTABLE: Final = 4
USM: Final = 3
OVERHEAD_BYTES_MAX: Final = 200
"""Of a message with names of 32 octets around its PDU."""
_NUMBER_MAX: Final = 0x7FFFFFFF

_salts = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A message as it came: nothing in it is proven.

    `digest_at`: where its digest is; `data_at`: where msgData is.
    """

    datagram: bytes
    message_id: int
    bytes_max: int
    flags: int
    model: int
    engine_id: bytes
    boots: int
    time: int
    user: str
    digest_at: tuple[int, int]
    salt: bytes
    data_at: tuple[int, int]


class Scoped(NamedTuple):
    """A scoped PDU."""

    engine_id: bytes
    context: str
    pdu: Pdu


def read_untrusted(datagram: bytes) -> Sealed:
    """Read the outside of a message.

    Raises:
        MalformedSnmpError: it is no message of v3, or its security parameters are none of USM.
    """
    at, end = ber.expect_untrusted(datagram, 0, len(datagram), ber.SEQUENCE)
    version, at = ber.integer_untrusted(datagram, at, end)
    if version != Version.V3:
        raise MalformedSnmpError(f"expected version 3, got {version}")
    head, head_end = ber.expect_untrusted(datagram, at, end, ber.SEQUENCE)
    message_id, head = ber.integer_untrusted(datagram, head, head_end)
    bytes_max, head = ber.integer_untrusted(datagram, head, head_end)
    flags, head = ber.octets_untrusted(datagram, head, head_end)
    model, _ = ber.integer_untrusted(datagram, head, head_end)
    usm_at, data_at = ber.expect_untrusted(datagram, head_end, end, ber.OCTET_STRING)
    at, stop = ber.expect_untrusted(datagram, usm_at, data_at, ber.SEQUENCE)
    engine_id, at = ber.octets_untrusted(datagram, at, stop)
    boots, at = ber.integer_untrusted(datagram, at, stop)
    time, at = ber.integer_untrusted(datagram, at, stop)
    user, at = ber.octets_untrusted(datagram, at, stop)
    digest_start, digest_stop = ber.expect_untrusted(datagram, at, stop, ber.OCTET_STRING)
    salt, _ = ber.octets_untrusted(datagram, digest_stop, stop)
    if len(flags) != 1 or not (0 <= boots <= _NUMBER_MAX and 0 <= time <= _NUMBER_MAX):
        raise MalformedSnmpError("expected one octet of flags, and boots and time of 0 to 2147483647, got others")
    return Sealed(
        datagram=datagram[:end],
        message_id=message_id,
        bytes_max=bytes_max,
        flags=flags[0],
        model=model,
        engine_id=engine_id,
        boots=boots,
        time=time,
        user=user.decode("utf-8", "backslashreplace"),
        digest_at=(digest_start, digest_stop),
        salt=salt,
        data_at=(data_at, end),
    )


def open_untrusted(sealed: Sealed, user: User | None) -> Scoped:
    """Read the inside of a message; decrypt it with the user's key where it is encrypted.

    Raises:
        MalformedSnmpError: it is none, or the key is another.
    """
    data, (at, end) = sealed.datagram, sealed.data_at
    if sealed.flags & PRIV:
        if user is None or not user.priv or len(sealed.salt) != 8:
            raise MalformedSnmpError("expected a key and a salt of 8 octets for an encrypted message, got none")
        hidden, _ = ber.octets_untrusted(data, at, end)
        data = usm.decrypt(user, sealed.engine_id, sealed.boots, sealed.time, sealed.salt, hidden)
        at, end = 0, len(data)
    at, end = ber.expect_untrusted(data, at, end, ber.SEQUENCE)
    engine_id, at = ber.octets_untrusted(data, at, end)
    context, at = ber.octets_untrusted(data, at, end)
    return Scoped(engine_id, context.decode("utf-8", "backslashreplace"), pdu_untrusted(data, at, end))


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outside of a message to send.

    `engine_id`, `boots`, `time`: of the authoritative engine; `user` None: noAuthNoPriv under `user_name`; `flags`:
    AUTH, PRIV, REPORTABLE.
    """

    message_id: int
    flags: int
    engine_id: bytes
    boots: int
    time: int
    user: User | None = None
    user_name: str = ""


def seal(envelope: Envelope, context_engine_id: bytes, context: str, pdu: bytes) -> bytes:
    """Return a message around an encoded PDU, encrypted and signed as its flags say."""
    e, user = envelope, envelope.user
    data = ber.tlv(ber.SEQUENCE, ber.octets(context_engine_id) + ber.octets(context.encode()) + pdu)
    digest, salt = b"", b""
    if user is not None and e.flags & AUTH:
        digest = bytes(user.digest_bytes)
        if e.flags & PRIV:
            salt = next(_salts).to_bytes(8, "big")
            data = ber.octets(usm.encrypt(user, e.engine_id, e.boots, e.time, salt, data))
    name = user.name if user is not None else e.user_name
    head = ber.integer(e.message_id) + ber.integer(DATAGRAM_BYTES_MAX) + ber.octets(bytes((e.flags,)))
    salted = ber.octets(salt)
    security = ber.octets(e.engine_id) + ber.integer(e.boots) + ber.integer(e.time) + ber.octets(name.encode())
    security = ber.octets(ber.tlv(ber.SEQUENCE, security + ber.octets(digest) + salted))
    parts = ber.integer(Version.V3) + ber.tlv(ber.SEQUENCE, head + ber.integer(USM)) + security + data
    message = ber.tlv(ber.SEQUENCE, parts)
    if digest and user is not None:
        stop = len(message) - len(data) - len(salted)
        signed = usm.digest(user, e.engine_id, message)
        message = message[: stop - len(digest)] + signed + message[stop:]
    return message
