"""Notifications as messages: traps of v1, traps and informs of v2c and v3 (RFC 1157 section 4.1.6, RFC 3416 section
4.2.6 and 4.2.7, RFC 3584 section 3.2). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.snmp import ber, v3, values
from lab.snmp.errors import SnmpValueError
from lab.snmp.messages import Kind, Version, encode_message, encode_pdu
from lab.snmp.mib import varbind
from lab.snmp.usm import User
from lab.snmp.v3 import AUTH, PRIV, REPORTABLE, Envelope
from lab.snmp.values import Value

Told = Sequence[tuple[str, Value]]
SYS_UPTIME: Final = "1.3.6.1.2.1.1.3.0"
TRAP_OID: Final = "1.3.6.1.6.3.1.1.4.1.0"
_STANDARD_TRAPS: Final = "1.3.6.1.6.3.1.1.5"
_ENTERPRISE_SPECIFIC: Final = 6
_NO_ADDRESS: Final = Value(values.IP_ADDRESS, bytes(4))


@dataclass(frozen=True, slots=True)
class Sink:
    """A receiver of notifications, and how it is told.

    Args:
        host: its address.
        port: its UDP port.
        version: of the messages.
        community: of v1 and v2c.
        user: of v3.
        inform: ask for acknowledgments (v2c and v3).
        resend_s: after which an inform is sent again.
        attempts_max: how often an inform is sent.
    """

    host: str
    port: int
    version: Version = Version.V2C
    community: str = "public"
    user: User | None = None
    inform: bool = False
    resend_s: float = 0.5
    attempts_max: int = 100

    def __post_init__(self) -> None:
        if (self.version is Version.V3) != (self.user is not None) or (self.inform and self.version is Version.V1):
            raise SnmpValueError(f"expected a user for v3 alone, and no inform of v1, got {self!r}")

    @property
    def flags(self) -> int:
        """Flags of its messages of v3."""
        private = PRIV if self.user is not None and self.user.priv else 0
        return AUTH | private | (REPORTABLE if self.inform else 0)


@dataclass(frozen=True, slots=True)
class EngineTime:
    """The authoritative engine of a message: the sender's of a trap, the receiver's of an inform."""

    engine_id: bytes = b""
    boots: int = 0
    time: int = 0


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell: its OID, sysUpTime in hundredths of a second, values by OID, and its number."""

    oid: str
    uptime: int
    told: tuple[tuple[str, Value], ...]
    number: int


def message(sink: Sink, note: Notification, sender: EngineTime, receiver: EngineTime, address: str) -> bytes:
    """Return the datagram that tells a sink.

    Args:
        sink: the receiver.
        note: the notification.
        sender: the device's own engine.
        receiver: the receiver's engine, for informs of v3.
        address: IPv4 address of the device, for v1.
    """
    if sink.version is Version.V1:
        return encode_message(Version.V1, sink.community.encode(), _trap_v1(note, address))
    binds = [
        varbind(ber.oid(SYS_UPTIME), values.ticks(note.uptime)),
        varbind(ber.oid(TRAP_OID), values.oid(note.oid)),
        *(varbind(ber.oid(oid), value) for oid, value in note.told),
    ]
    pdu = encode_pdu(Kind.INFORM if sink.inform else Kind.TRAP, note.number, 0, 0, binds)
    if sink.version is Version.V2C:
        return encode_message(Version.V2C, sink.community.encode(), pdu)
    engine = receiver if sink.inform else sender
    envelope = Envelope(note.number, sink.flags, engine.engine_id, engine.boots, engine.time, sink.user)
    return v3.seal(envelope, sender.engine_id, "", pdu)


def discovery(number: int) -> bytes:
    """Return a message that makes the receiver report its engine id (RFC 3414 section 4)."""
    return v3.seal(Envelope(number, REPORTABLE, b"", 0, 0), b"", "", encode_pdu(Kind.GET, number, 0, 0, []))


def _trap_v1(note: Notification, address: str) -> bytes:
    """Return a v1 trap of a notification (RFC 3584 section 3.2)."""
    parent, _, last = note.oid.rpartition(".")
    if parent == _STANDARD_TRAPS and 1 <= int(last) <= _ENTERPRISE_SPECIFIC:
        enterprise, generic, specific = _STANDARD_TRAPS, int(last) - 1, 0
    else:
        enterprise, generic, specific = parent.removesuffix(".0"), _ENTERPRISE_SPECIFIC, int(last)
    content = (
        values.oid(enterprise).element()
        + (values.ip(address) if "." in address else _NO_ADDRESS).element()
        + ber.integer(generic)
        + ber.integer(specific)
        + values.ticks(note.uptime).element()
        + ber.tlv(ber.SEQUENCE, b"".join(varbind(ber.oid(oid), value) for oid, value in note.told))
    )
    return ber.tlv(Kind.TRAP_V1, content)
