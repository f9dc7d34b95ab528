"""RADIUS packets by hand, from RFC 2865 section 3, RFC 2866 section 3, RFC 3579 section 3.2 and RFC 5176 section 2.3.

    0                   1                   2                   3
    |     Code      |  Identifier   |            Length             |
    |                       Authenticator (16)                      |
    |  Attributes: Type (1), Length (1), Value ...

Pure: bytes in, values out. A packet keeps its attributes in the order of the wire.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lab import dictionary
from lab.errors import AttributeValueError, MalformedPacketError

HEADER_BYTES: Final = 20
PACKET_BYTES_MAX: Final = 4096  # RFC 2865 section 3
VENDOR_SPECIFIC: Final = 26
MESSAGE_AUTHENTICATOR: Final = 80
PASSWORD_BYTES_MAX: Final = 128  # RFC 2865 section 5.2


class Code(enum.IntEnum):
    """Packet codes (RFC 2865 section 3, RFC 2866 section 3, RFC 5176 section 2.3)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: vendor 0 for the standard space, type 0..255, at most 253 octets (247 with a vendor)."""

    vendor: int
    code: int
    data: bytes

    @property
    def name(self) -> str:
        """The dictionary's name, or `Attr-26.VENDOR.CODE` / `Attr-CODE`."""
        found = dictionary.BY_CODE.get((self.vendor, self.code))
        if found is not None:
            return found.name
        return f"Attr-26.{self.vendor}.{self.code}" if self.vendor else f"Attr-{self.code}"

    def text(self) -> str:
        """The value as FreeRADIUS prints it; octets of an unknown attribute in hex.

        Raises:
            AttributeValueError: the octets do not fit the attribute.
        """
        found = dictionary.BY_CODE.get((self.vendor, self.code))
        return "0x" + self.data.hex() if found is None else dictionary.unpack(found, self.data)


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet; `authenticator` is 16 octets. `wire` holds the received bytes, over which signatures are checked."""

    code: int
    id: int
    authenticator: bytes
    attributes: tuple[Attribute, ...] = ()
    wire: bytes = field(default=b"", compare=False, repr=False)

    def all(self, name: str) -> list[Attribute]:
        """The attributes of that name, in order."""
        d = dictionary.definition(name)
        return [a for a in self.attributes if (a.vendor, a.code) == (d.vendor, d.code)]

    def data(self, name: str) -> bytes | None:
        """Octets of the first attribute of that name."""
        found = self.all(name)
        return found[0].data if found else None

    def text(self, name: str) -> str | None:
        """Text of the first attribute of that name; raises AttributeValueError where its octets do not fit."""
        found = self.all(name)
        return found[0].text() if found else None


def attribute(name: str, value: str | int | bytes) -> Attribute:
    """Return an attribute by name; text is written as in SQL, bytes go as they are.

    Raises:
        UnknownAttributeError: no such name.
        AttributeValueError: the value does not fit, or the attribute never travels.
    """
    d = dictionary.definition(name)
    if not d.code:
        raise AttributeValueError(f"expected an attribute that travels, got {d.name}")
    return Attribute(d.vendor, d.code, value if isinstance(value, bytes) else dictionary.pack(d, str(value)))


def _pack_attribute(a: Attribute) -> bytes:
    if not a.vendor:
        if len(a.data) > 253:
            raise AttributeValueError(f"{a.name}: expected at most 253 octets, got {len(a.data)}")
        return bytes((a.code, len(a.data) + 2)) + a.data
    if len(a.data) > 247:
        raise AttributeValueError(f"{a.name}: expected at most 247 octets, got {len(a.data)}")
    # RFC 2865 section 5.26, in the recommended vendor type / vendor length form
    return struct.pack("!BBIBB", VENDOR_SPECIFIC, len(a.data) + 8, a.vendor, a.code, len(a.data) + 2) + a.data


def encode(packet: Packet) -> bytes:
    """Return the packet's octets as it stands; nothing is signed.

    Raises:
        AttributeValueError: an attribute or the packet is too long, or a field is out of range.
    """
    body = b"".join(_pack_attribute(a) for a in packet.attributes)
    length = HEADER_BYTES + len(body)
    if length > PACKET_BYTES_MAX or len(packet.authenticator) != 16:
        raise AttributeValueError(f"expected a packet of at most {PACKET_BYTES_MAX} octets, got {length}")
    return struct.pack("!BBH", packet.code, packet.id, length) + packet.authenticator + body


def _vendor_attributes(data: bytes) -> list[Attribute]:
    """Read a Vendor-Specific value. One that is not in type/length form is kept whole, as type 26 (RFC 2865 5.26)."""
    whole = [Attribute(0, VENDOR_SPECIFIC, data)]
    if len(data) < 4:
        return whole
    vendor, rest, found = int.from_bytes(data[:4], "big"), data[4:], []
    while rest:
        if len(rest) < 2 or not 2 <= rest[1] <= len(rest):
            return whole
        found.append(Attribute(vendor, rest[0], rest[2 : rest[1]]))
        rest = rest[rest[1] :]
    return found if vendor and found else whole


def decode_untrusted(datagram: bytes) -> Packet:
    """Read one datagram; octets beyond the Length field are padding (RFC 2865 section 3). Verifies no signature.

    Raises:
        MalformedPacketError: shorter than its Length, Length out of 20..4096, or an attribute overruns.
    """
    if len(datagram) < HEADER_BYTES:
        raise MalformedPacketError(f"expected at least {HEADER_BYTES} octets, got {len(datagram)}")
    code, ident, length = struct.unpack("!BBH", datagram[:4])
    if not HEADER_BYTES <= length <= PACKET_BYTES_MAX or length > len(datagram):
        raise MalformedPacketError(
            f"expected a length of 20..{PACKET_BYTES_MAX}, got {length} in {len(datagram)} octets"
        )
    rest, attributes = datagram[HEADER_BYTES:length], []
    while rest:
        if len(rest) < 2 or not 2 <= rest[1] <= len(rest):
            raise MalformedPacketError(f"expected an attribute of 2..{len(rest)} octets, got a length beyond it")
        kind, value = rest[0], rest[2 : rest[1]]
        attributes += _vendor_attributes(value) if kind == VENDOR_SPECIFIC else [Attribute(0, kind, value)]
        rest = rest[rest[1] :]
    return Packet(code, ident, datagram[4:HEADER_BYTES], tuple(attributes), datagram[:length])


# --- passwords -------------------------------------------------------------------------------------------------------


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return User-Password's octets (RFC 2865 section 5.2).

    Raises:
        AttributeValueError: over 128 octets.
    """
    if len(password) > PASSWORD_BYTES_MAX:
        raise AttributeValueError(f"User-Password: expected at most {PASSWORD_BYTES_MAX} octets, got {len(password)}")
    padded = password + bytes(-len(password) % 16) or bytes(16)
    hidden, last = b"", authenticator
    for i in range(0, len(padded), 16):
        last = bytes(p ^ k for p, k in zip(padded[i : i + 16], hashlib.md5(secret + last).digest(), strict=True))
        hidden += last
    return hidden


def reveal_password_untrusted(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the password inside User-Password's octets, without its padding.

    Raises:
        MalformedPacketError: not 1..8 blocks of 16.
    """
    if not hidden or len(hidden) % 16 or len(hidden) > PASSWORD_BYTES_MAX:
        raise MalformedPacketError(f"User-Password: expected 16..128 octets in blocks of 16, got {len(hidden)}")
    clear, last = b"", authenticator
    for i in range(0, len(hidden), 16):
        block = hidden[i : i + 16]
        clear += bytes(c ^ k for c, k in zip(block, hashlib.md5(secret + last).digest(), strict=True))
        last = block
    return clear.rstrip(b"\0")


def chap_password(ident: int, password: bytes, challenge: bytes) -> bytes:
    """Return CHAP-Password's octets: identifier, then MD5(identifier, password, challenge) (RFC 2865 section 5.3)."""
    return bytes((ident,)) + hashlib.md5(bytes((ident,)) + password + challenge).digest()


# --- signing ---------------------------------------------------------------------------------------------------------

_ZERO: Final = bytes(16)
_KEYED_REQUESTS: Final = (Code.ACCOUNTING_REQUEST, Code.DISCONNECT_REQUEST, Code.COA_REQUEST)


def _with_ma(attributes: Iterable[Attribute], value: bytes) -> tuple[Attribute, ...]:
    return tuple(replace(a, data=value) if (a.vendor, a.code) == (0, MESSAGE_AUTHENTICATOR) else a for a in attributes)


def _sign_ma(packet: Packet, secret: bytes) -> Packet:
    """Fill in the Message-Authenticator: HMAC-MD5 over the packet with that field zero (RFC 3579 section 3.2)."""
    if not packet.all("Message-Authenticator"):
        return packet
    zero = replace(packet, attributes=_with_ma(packet.attributes, _ZERO))
    return replace(packet, attributes=_with_ma(packet.attributes, hmac.new(secret, encode(zero), "md5").digest()))


def _first_ma(attributes: Sequence[Attribute], message_authenticator: bool) -> tuple[Attribute, ...]:
    # First, so that nothing an attacker chose stands before it (CVE-2024-3596)
    first = (Attribute(0, MESSAGE_AUTHENTICATOR, _ZERO),) if message_authenticator else ()
    return (*first, *attributes)


def encode_request(
    code: int,
    ident: int,
    attributes: Sequence[Attribute],
    secret: bytes,
    *,
    authenticator: bytes = _ZERO,
    message_authenticator: bool = False,
) -> bytes:
    """Return a signed request. `authenticator` (16 random octets) is for Access-Request and Status-Server only."""
    keyed = code in _KEYED_REQUESTS
    bare = Packet(code, ident, _ZERO if keyed else authenticator, _first_ma(attributes, message_authenticator))
    signed = _sign_ma(bare, secret)
    if not keyed:
        return encode(signed)
    # RFC 2866 section 3: MD5 over code, identifier, length, sixteen zero octets, attributes, secret
    return encode(replace(signed, authenticator=hashlib.md5(encode(signed) + secret).digest()))


def encode_reply(
    code: int, request: Packet, attributes: Sequence[Attribute], secret: bytes, *, message_authenticator: bool = False
) -> bytes:
    """Return a signed reply: MD5 over code, identifier, length, the request's authenticator, attributes, secret."""
    bare = Packet(code, request.id, request.authenticator, _first_ma(attributes, message_authenticator))
    signed = _sign_ma(bare, secret)
    return encode(replace(signed, authenticator=hashlib.md5(encode(signed) + secret).digest()))


def _wire(packet: Packet, authenticator: bytes) -> bytes:
    return packet.wire[:4] + authenticator + packet.wire[HEADER_BYTES:]


def request_is_authentic(packet: Packet, secret: bytes) -> bool:
    """Tell whether the Request Authenticator of a received Accounting-, CoA- or Disconnect-Request fits the secret."""
    expected = hashlib.md5(_wire(packet, _ZERO) + secret).digest()
    return hmac.compare_digest(expected, packet.authenticator)


def reply_is_authentic(reply: Packet, request: Packet, secret: bytes) -> bool:
    """Tell whether a received reply's authenticator, and its Message-Authenticator if any, fit request and secret."""
    expected = hashlib.md5(_wire(reply, request.authenticator) + secret).digest()
    if reply.id != request.id or not hmac.compare_digest(expected, reply.authenticator):
        return False
    return _ma_fits(reply, request.authenticator, secret) is not False


def message_authenticator_fits(packet: Packet, secret: bytes) -> bool | None:
    """Tell whether a received request's Message-Authenticator is right; None when there is none.

    The authenticator field counts as zero in an Accounting-, CoA- or Disconnect-Request (RFC 5176 section 3.6). Two
    Message-Authenticators, or one that is not 16 octets, are wrong.
    """
    return _ma_fits(packet, _ZERO if packet.code in _KEYED_REQUESTS else packet.authenticator, secret)


def _ma_fits(packet: Packet, authenticator: bytes, secret: bytes) -> bool | None:
    data, at, found = bytearray(_wire(packet, authenticator)), HEADER_BYTES, []
    while at < len(data):
        if data[at] == MESSAGE_AUTHENTICATOR:
            found.append(bytes(data[at + 2 : at + data[at + 1]]))
            data[at + 2 : at + data[at + 1]] = bytes(data[at + 1] - 2)
        at += data[at + 1]
    if not found:
        return None
    if len(found) > 1 or len(found[0]) != 16:
        return False
    return hmac.compare_digest(hmac.new(secret, bytes(data), "md5").digest(), found[0])


def random_octets() -> bytes:
    """Return sixteen octets that nobody can foresee: a request authenticator, a CHAP challenge."""
    return secrets.token_bytes(16)
