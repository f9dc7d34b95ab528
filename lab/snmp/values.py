"""Values of managed objects (RFC 3416 section 3, RFC 2578 section 7.1). Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final, NamedTuple

from lab.snmp import ber
from lab.snmp.errors import SnmpValueError

IP_ADDRESS: Final = 0x40
COUNTER32: Final = 0x41
GAUGE32: Final = 0x42
TIME_TICKS: Final = 0x43
OPAQUE: Final = 0x44
COUNTER64: Final = 0x46
NO_SUCH_OBJECT: Final = 0x80
NO_SUCH_INSTANCE: Final = 0x81
END_OF_MIB_VIEW: Final = 0x82

_BITS: Final = {ber.INTEGER: 32, COUNTER32: 32, GAUGE32: 32, TIME_TICKS: 32, COUNTER64: 64}


class Value(NamedTuple):
    """A tag and the content octets behind it."""

    tag: int
    content: bytes

    def element(self) -> bytes:
        """Return it encoded."""
        return ber.tlv(self.tag, self.content)

    def number(self) -> int:
        """Return the number of a numeric value.

        Raises:
            SnmpValueError: it is no numeric one.
        """
        if self.tag not in _BITS:
            raise SnmpValueError(f"expected a numeric value, got tag {self.tag:#04x}")
        return int.from_bytes(self.content, "big", signed=True)

    def text(self) -> str:
        """Return its octets as UTF-8."""
        return self.content.decode("utf-8", "backslashreplace")


END: Final = Value(END_OF_MIB_VIEW, b"")
ABSENT_OBJECT: Final = Value(NO_SUCH_OBJECT, b"")
ABSENT_INSTANCE: Final = Value(NO_SUCH_INSTANCE, b"")
NOTHING: Final = Value(ber.NULL, b"")


def number(tag: int, value: int) -> Value:
    """Return a numeric value.

    Raises:
        SnmpValueError: no numeric tag, or a number that it cannot hold.
    """
    bits = _BITS.get(tag, 0)
    lowest, beyond = (-(1 << 31), 1 << 31) if tag == ber.INTEGER else (0, 1 << bits)
    if not bits or not lowest <= value < beyond:
        raise SnmpValueError(f"expected a numeric tag and {lowest} to {beyond - 1}, got tag {tag:#04x} and {value}")
    return Value(tag, ber.signed(value))


def integer(value: int) -> Value:
    """Return an INTEGER. Raises as `number` does."""
    return number(ber.INTEGER, value)


def gauge(value: int) -> Value:
    """Return a Gauge32. Raises as `number` does."""
    return number(GAUGE32, value)


def counter32(value: int) -> Value:
    """Return a Counter32. Raises as `number` does."""
    return number(COUNTER32, value)


def counter64(value: int) -> Value:
    """Return a Counter64. Raises as `number` does."""
    return number(COUNTER64, value)


def ticks(value: int) -> Value:
    """Return TimeTicks, in hundredths of a second. Raises as `number` does."""
    return number(TIME_TICKS, value)


def string(value: str | bytes) -> Value:
    """Return an OCTET STRING; text goes as UTF-8."""
    return Value(ber.OCTET_STRING, value.encode() if isinstance(value, str) else value)


def mac(text: str) -> Value:
    """Return the six octets of a MAC address that is written with colons.

    Raises:
        SnmpValueError: it is none.
    """
    try:
        content = bytes(int(word, 16) for word in text.split(":"))
    except ValueError as err:
        raise SnmpValueError(f"expected a MAC address such as 02:00:00:00:00:01, got {text!r}") from err
    if len(content) != 6:
        raise SnmpValueError(f"expected six octets, got {text!r}")
    return string(content)


def oid(text: str) -> Value:
    """Return an OBJECT IDENTIFIER. Raises SnmpValueError where the text is none."""
    return Value(ber.OID, ber.oid(text))


def ip(text: str) -> Value:
    """Return an IpAddress.

    Raises:
        SnmpValueError: the text is no IPv4 address.
    """
    try:
        return Value(IP_ADDRESS, IPv4Address(text).packed)
    except ValueError as err:
        raise SnmpValueError(f"expected an IPv4 address, got {text!r}") from err
