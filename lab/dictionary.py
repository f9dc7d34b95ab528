"""Names, numbers and value formats of the RADIUS attributes that the lab speaks, and of some of the server only.

Numbers: RFC 2865 section 5, 2866 section 5, 2869 section 5, 3162 section 2, 4818 section 3, 5176 section 3.5/3.6, 6911
section 3, and MikroTik's vendor space (14988). Values print as FreeRADIUS prints them: so they stand in SQL.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lab.errors import AttributeValueError, UnknownAttributeError

MIKROTIK: Final = 14988


class Kind(enum.Enum):
    """Format of a value (RFC 2865 section 5, "text", "string", "address", "integer", "time"; RFC 3162)."""

    TEXT = "text"
    OCTETS = "octets"
    ADDRESS = "address"
    INTEGER = "integer"
    TIME = "time"
    ADDRESS6 = "address6"
    PREFIX6 = "prefix6"
    INTERFACE_ID = "interface-id"


@dataclass(frozen=True, slots=True)
class Definition:
    """One attribute. `vendor` 0 is the standard space; `code` 0 marks one that never travels (Fall-Through)."""

    name: str
    vendor: int
    code: int
    kind: Kind
    names: Mapping[int, str] = field(default_factory=dict)


_SERVICE_TYPES = {1: "Login-User", 2: "Framed-User", 8: "Authenticate-Only", 10: "Call-Check", 17: "Authorize-Only"}
_STATUS_TYPES = {1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off"}
_TERMINATE = {
    1: "User-Request",
    2: "Lost-Carrier",
    3: "Lost-Service",
    4: "Idle-Timeout",
    5: "Session-Timeout",
    6: "Admin-Reset",
    7: "Admin-Reboot",
    9: "NAS-Error",
    10: "NAS-Request",
}
_PORT_TYPES = {0: "Async", 5: "Virtual", 15: "Ethernet", 19: "Wireless-802.11", 32: "PPPoEoE"}
_ERROR_CAUSES = {
    201: "Residual-Context-Removed",
    202: "Invalid-EAP-Packet",
    401: "Unsupported-Attribute",
    402: "Missing-Attribute",
    403: "NAS-Identification-Mismatch",
    404: "Invalid-Request",
    405: "Unsupported-Service",
    406: "Unsupported-Extension",
    407: "Invalid-Attribute-Value",
    501: "Administratively-Prohibited",
    502: "Proxy-Request-Not-Routable",
    503: "Session-Context-Not-Found",
    504: "Session-Context-Not-Removable",
    505: "Proxy-Processing-Error",
    506: "Resources-Unavailable",
    507: "Request-Initiated",
    508: "Multiple-Session-Selection-Unsupported",
}
_AUTH_TYPES = {0: "Local", 4: "Reject", 254: "Accept"}

_D = Definition
_K = Kind
DEFINITIONS: Final = (
    _D("User-Name", 0, 1, _K.TEXT),
    _D("User-Password", 0, 2, _K.OCTETS),
    _D("CHAP-Password", 0, 3, _K.OCTETS),
    _D("NAS-IP-Address", 0, 4, _K.ADDRESS),
    _D("NAS-Port", 0, 5, _K.INTEGER),
    _D("Service-Type", 0, 6, _K.INTEGER, _SERVICE_TYPES),
    _D("Framed-Protocol", 0, 7, _K.INTEGER, {1: "PPP", 2: "SLIP"}),
    _D("Framed-IP-Address", 0, 8, _K.ADDRESS),
    _D("Framed-IP-Netmask", 0, 9, _K.ADDRESS),
    _D("Framed-Routing", 0, 10, _K.INTEGER),
    _D("Filter-Id", 0, 11, _K.TEXT),
    _D("Framed-MTU", 0, 12, _K.INTEGER),
    _D("Framed-Compression", 0, 13, _K.INTEGER, {0: "None", 1: "Van-Jacobson-TCP-IP"}),
    _D("Login-IP-Host", 0, 14, _K.ADDRESS),
    _D("Login-Service", 0, 15, _K.INTEGER),
    _D("Reply-Message", 0, 18, _K.TEXT),
    _D("Framed-Route", 0, 22, _K.TEXT),
    _D("State", 0, 24, _K.OCTETS),
    _D("Class", 0, 25, _K.OCTETS),
    _D("Session-Timeout", 0, 27, _K.INTEGER),
    _D("Idle-Timeout", 0, 28, _K.INTEGER),
    _D("Termination-Action", 0, 29, _K.INTEGER),
    _D("Called-Station-Id", 0, 30, _K.TEXT),
    _D("Calling-Station-Id", 0, 31, _K.TEXT),
    _D("NAS-Identifier", 0, 32, _K.TEXT),
    _D("Proxy-State", 0, 33, _K.OCTETS),
    _D("Acct-Status-Type", 0, 40, _K.INTEGER, _STATUS_TYPES),
    _D("Acct-Delay-Time", 0, 41, _K.INTEGER),
    _D("Acct-Input-Octets", 0, 42, _K.INTEGER),
    _D("Acct-Output-Octets", 0, 43, _K.INTEGER),
    _D("Acct-Session-Id", 0, 44, _K.TEXT),
    _D("Acct-Authentic", 0, 45, _K.INTEGER, {1: "RADIUS", 2: "Local", 3: "Remote"}),
    _D("Acct-Session-Time", 0, 46, _K.INTEGER),
    _D("Acct-Input-Packets", 0, 47, _K.INTEGER),
    _D("Acct-Output-Packets", 0, 48, _K.INTEGER),
    _D("Acct-Terminate-Cause", 0, 49, _K.INTEGER, _TERMINATE),
    _D("Acct-Multi-Session-Id", 0, 50, _K.TEXT),
    _D("Acct-Input-Gigawords", 0, 52, _K.INTEGER),
    _D("Acct-Output-Gigawords", 0, 53, _K.INTEGER),
    _D("Event-Timestamp", 0, 55, _K.TIME),
    _D("CHAP-Challenge", 0, 60, _K.OCTETS),
    _D("NAS-Port-Type", 0, 61, _K.INTEGER, _PORT_TYPES),
    _D("Port-Limit", 0, 62, _K.INTEGER),
    _D("Connect-Info", 0, 77, _K.TEXT),
    _D("Message-Authenticator", 0, 80, _K.OCTETS),
    _D("Acct-Interim-Interval", 0, 85, _K.INTEGER),
    _D("NAS-Port-Id", 0, 87, _K.TEXT),
    _D("Framed-Pool", 0, 88, _K.TEXT),
    _D("Chargeable-User-Identity", 0, 89, _K.OCTETS),
    _D("NAS-IPv6-Address", 0, 95, _K.ADDRESS6),
    _D("Framed-Interface-Id", 0, 96, _K.INTERFACE_ID),
    _D("Framed-IPv6-Prefix", 0, 97, _K.PREFIX6),
    _D("Framed-IPv6-Route", 0, 99, _K.TEXT),
    _D("Framed-IPv6-Pool", 0, 100, _K.TEXT),
    _D("Error-Cause", 0, 101, _K.INTEGER, _ERROR_CAUSES),
    _D("Delegated-IPv6-Prefix", 0, 123, _K.PREFIX6),
    _D("Framed-IPv6-Address", 0, 168, _K.ADDRESS6),
    _D("Delegated-IPv6-Prefix-Pool", 0, 171, _K.TEXT),
    _D("Mikrotik-Recv-Limit", MIKROTIK, 1, _K.INTEGER),
    _D("Mikrotik-Xmit-Limit", MIKROTIK, 2, _K.INTEGER),
    _D("Mikrotik-Group", MIKROTIK, 3, _K.TEXT),
    _D("Mikrotik-Rate-Limit", MIKROTIK, 8, _K.TEXT),
    _D("Mikrotik-Realm", MIKROTIK, 9, _K.TEXT),
    _D("Mikrotik-Host-IP", MIKROTIK, 10, _K.ADDRESS),
    _D("Mikrotik-Mark-Id", MIKROTIK, 11, _K.TEXT),
    _D("Mikrotik-Advertise-URL", MIKROTIK, 12, _K.TEXT),
    _D("Mikrotik-Advertise-Interval", MIKROTIK, 13, _K.INTEGER),
    _D("Mikrotik-Total-Limit", MIKROTIK, 17, _K.INTEGER),
    _D("Mikrotik-Address-List", MIKROTIK, 19, _K.TEXT),
    _D("Mikrotik-Delegated-IPv6-Pool", MIKROTIK, 22, _K.TEXT),
    # Server-internal: they stand in SQL rows and never travel.
    _D("Fall-Through", 0, 0, _K.INTEGER, {0: "No", 1: "Yes"}),
    _D("Cleartext-Password", 0, 0, _K.TEXT),
    _D("Auth-Type", 0, 0, _K.INTEGER, _AUTH_TYPES),
    _D("Expiration", 0, 0, _K.TEXT),
    _D("Simultaneous-Use", 0, 0, _K.INTEGER),
    _D("Crypt-Password", 0, 0, _K.TEXT),
    _D("MD5-Password", 0, 0, _K.TEXT),
    _D("NT-Password", 0, 0, _K.TEXT),
)

BY_NAME: Final = {d.name.lower(): d for d in DEFINITIONS}
BY_CODE: Final = {(d.vendor, d.code): d for d in DEFINITIONS if d.code}


def definition(name: str) -> Definition:
    """Return the attribute of that name, without regard to case.

    Raises:
        UnknownAttributeError: there is none.
    """
    found = BY_NAME.get(name.lower())
    if found is None:
        raise UnknownAttributeError(f"expected an attribute of the lab's dictionary, got {name!r}")
    return found


def _integer(d: Definition, text: str) -> bytes:
    for number, name in d.names.items():
        if name.lower() == text.lower():
            return struct.pack("!I", number)
    # int() would take blanks, underscores and other scripts' digits
    if re.fullmatch(r"[0-9]{1,10}|0[xX][0-9a-fA-F]{1,8}", text) is None:
        raise ValueError(text)
    return struct.pack("!I", int(text, 0 if text[1:2] in ("x", "X") else 10))


@functools.lru_cache(4096)
def _prefix6(text: str) -> bytes:
    network = ipaddress.IPv6Network(text, strict=False)
    octets = (network.prefixlen + 7) // 8
    return bytes((0, network.prefixlen)) + network.network_address.packed[:octets]


def _octets(text: str) -> bytes:
    return bytes.fromhex(text[2:]) if text[:2] in ("0x", "0X") else text.encode()


def _interface_id(text: str) -> bytes:
    return b"".join(int(group, 16).to_bytes(2, "big") for group in text.split(":")).rjust(8, b"\0")


def pack(d: Definition, text: str) -> bytes:
    """Return the octets of a value that is written as in SQL (`20M/20M`, `100.64.0.7`, `2001:db8::/56`, `Framed-User`).

    Raises:
        AttributeValueError: the text does not fit, or the value is over 253 octets (247 in a vendor attribute).
    """
    try:
        match d.kind:
            case Kind.TEXT:
                data = text.encode()
            case Kind.OCTETS:
                data = _octets(text)
            case Kind.ADDRESS:
                data = ipaddress.IPv4Address(text).packed
            case Kind.INTEGER:
                data = _integer(d, text)
            case Kind.TIME:
                data = struct.pack("!I", int(text))
            case Kind.ADDRESS6:
                data = ipaddress.IPv6Address(text).packed
            case Kind.PREFIX6:
                data = _prefix6(text)
            case Kind.INTERFACE_ID:
                data = _interface_id(text)
    except (ValueError, OverflowError, struct.error) as err:
        raise AttributeValueError(
            f"{d.name}: expected {d.kind.value}, got {len(text)} characters of something else"
        ) from err
    limit = 247 if d.vendor else 253
    if len(data) > limit:
        raise AttributeValueError(f"{d.name}: expected at most {limit} octets, got {len(data)}")
    return data


def _fixed(d: Definition, data: bytes, size: int) -> None:
    if len(data) != size:
        raise AttributeValueError(f"{d.name}: expected {size} octets, got {len(data)}")


def _unpack_prefix6(d: Definition, data: bytes) -> str:
    # RFC 3162 section 2.3: reserved, prefix length, then as many octets as the sender liked, bits beyond it zero
    if not 2 <= len(data) <= 18 or data[1] > 128 or len(data) - 2 < (data[1] + 7) // 8:
        raise AttributeValueError(f"{d.name}: expected an IPv6 prefix, got {len(data)} octets")
    return _network6(data[2:].ljust(16, b"\0"), data[1])


@functools.lru_cache(4096)
def _network6(address: bytes, prefix_length: int) -> str:
    return str(ipaddress.IPv6Network((address, prefix_length), strict=False))


def unpack(d: Definition, data: bytes) -> str:
    """Return a value as FreeRADIUS prints it.

    Raises:
        AttributeValueError: the octets are not a value of this kind.
    """
    match d.kind:
        case Kind.TEXT:
            try:
                return data.decode()
            except UnicodeDecodeError as err:
                raise AttributeValueError(f"{d.name}: expected UTF-8, got something else") from err
        case Kind.OCTETS:
            return "0x" + data.hex()
        case Kind.ADDRESS:
            _fixed(d, data, 4)
            return str(ipaddress.IPv4Address(data))
        case Kind.INTEGER:
            _fixed(d, data, 4)
            number = int.from_bytes(data, "big")
            return d.names.get(number, str(number))
        case Kind.TIME:
            _fixed(d, data, 4)
            return str(int.from_bytes(data, "big"))
        case Kind.ADDRESS6:
            _fixed(d, data, 16)
            return str(ipaddress.IPv6Address(data))
        case Kind.PREFIX6:
            return _unpack_prefix6(d, data)
        case Kind.INTERFACE_ID:
            _fixed(d, data, 8)
            return ":".join(f"{int.from_bytes(data[i : i + 2], 'big'):x}" for i in range(0, 8, 2))


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def expiration_at(text: str) -> datetime:
    """Return the instant of an Expiration check item (`01 Jan 2030 00:00:00`, `Jan 01 2030`, or unix seconds), as UTC.

    Raises:
        AttributeValueError: not such a date.
    """
    words = text.replace(",", " ").split()
    try:
        if len(words) == 1:
            return datetime.fromtimestamp(int(words[0]), UTC)
        clock = words[3].split(":") if len(words) > 3 else []
        day, month = (words[0], words[1]) if words[0].isdigit() else (words[1], words[0])
        hour, minute, second = (*(int(c) for c in clock), 0, 0, 0)[:3]
        return datetime(int(words[2]), _MONTHS.index(month[:3].lower()) + 1, int(day), hour, minute, second, tzinfo=UTC)
    except (ValueError, IndexError, OverflowError, OSError) as err:
        raise AttributeValueError(f"Expiration: expected a date such as 01 Jan 2030 00:00:00, got {text!r}") from err
