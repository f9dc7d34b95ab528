"""STUN, the server's side that Annex G of TR-069 needs: which public address a CPE behind NAT has now. Pure.

    header     = type (2) length (2) [cookie (4)] transaction (12, or 16 without cookie)      RFC 5389 section 6
    attribute  = type (2) length (2) value, padded to a multiple of 4                         RFC 5389 section 15

Annex G is of classic STUN (RFC 3489), which has no cookie; a request with one is answered as RFC 5389 has it. A CPE
puts CONNECTION-REQUEST-BINDING into each request from the port where it listens for UDP connection requests; only such
a request gives a `Binding`. BINDING-CHANGE says that its address is another than before.

Where the server knows passwords, that request must prove itself: it is answered with 401, and the CPE comes again with
USERNAME and MESSAGE-INTEGRITY (STUNUsername, STUNPassword). Without, anybody can claim a CPE's name: its wake-up calls
then go astray, which is all that is lost. A proven message can still be replayed from another address by somebody that
reads it off the wire; a wake-up call is signed, so that an attacker that draws it to himself learns nothing but a user
name. The source of a datagram can be forged, so a binding is used only within the CPE's reach
(`connection_request.way`).

Nothing is remembered. A reply is at most `limits.STUN_AMPLIFICATION` times its request and goes to where that came
from: RESPONSE-ADDRESS, by which a classic server could be made to send to anyone, is ignored. So a CPE cannot measure
how long its binding lives, as Annex G has it do, and takes STUNMinimumKeepAlivePeriod. CHANGE-REQUEST needs a server
of two addresses: where it asks for something, it is answered with 420. SOURCE-ADDRESS and CHANGED-ADDRESS are left out.

* RemoteCwmpError
  + MalformedStunError: no STUN message
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.connection_request import IpAddress, unmapped
from agent.connectors.cwmp.errors import RemoteCwmpError

COOKIE: Final = bytes.fromhex("2112a442")
_HEADER_BYTES: Final = 20
_ATTRIBUTE_BYTES: Final = 4
_MAC_BYTES: Final = 20
_BLOCK_BYTES: Final = 64

_BINDING_REQUEST: Final = 0x0001
_BINDING_RESPONSE: Final = 0x0101
_BINDING_ERROR: Final = 0x0111

_MAPPED_ADDRESS: Final = 0x0001
_RESPONSE_ADDRESS: Final = 0x0002
_CHANGE_REQUEST: Final = 0x0003
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_REALM: Final = 0x0014
_NONCE: Final = 0x0015
_XOR_MAPPED_ADDRESS: Final = 0x0020
_CONNECTION_REQUEST_BINDING: Final = 0xC001
_BINDING_CHANGE: Final = 0xC002

_MUST_BE_KNOWN: Final = 0x8000
"""Attributes below must be understood (RFC 5389 section 15; RFC 3489 section 11.2 has 0x7fff as the last)."""
_KNOWN: Final = frozenset({_RESPONSE_ADDRESS, _CHANGE_REQUEST, _USERNAME, _MESSAGE_INTEGRITY, _REALM, _NONCE})

_BINDING_VALUE: Final = b"dslforum.org/TR-111"
"""Of CONNECTION-REQUEST-BINDING, with a blank after it to make 20 bytes; some leave that out, or end it with NUL."""

Source = tuple[str, int]
"""IP address and port, as a socket gives them."""


class MalformedStunError(RemoteCwmpError):
    """No STUN message."""


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StunAttribute:
    """One attribute; `at`: its offset in the message, `value`: without padding."""

    type: int
    value: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `attributes`: up to MESSAGE-INTEGRITY, itself included: it covers nothing after it."""

    data: bytes
    type: int
    attributes: tuple[StunAttribute, ...]

    @property
    def classic(self) -> bool:
        """Whether it is of RFC 3489, without the cookie."""
        return self.data[4:8] != COOKIE

    def first(self, type_: int) -> StunAttribute | None:
        """Return the first attribute of a type: later ones are ignored (RFC 5389 section 15)."""
        return next((each for each in self.attributes if each.type == type_), None)


def read_untrusted(data: bytes) -> Message:
    """Return the message of a datagram.

    Raises:
        MalformedStunError: no STUN, another length than it says, or a limit is passed.
    """
    if not _HEADER_BYTES <= len(data) <= limits.STUN_BYTES:
        raise MalformedStunError(f"STUN: expected {_HEADER_BYTES} to {limits.STUN_BYTES} bytes, got {len(data)}")
    type_, length = int.from_bytes(data[:2]), int.from_bytes(data[2:4])
    if type_ >> 14:
        raise MalformedStunError("STUN: expected a message that starts with two zero bits")
    if length != len(data) - _HEADER_BYTES:
        raise MalformedStunError(f"STUN: expected {length} bytes after the header, got {len(data) - _HEADER_BYTES}")
    attributes: list[StunAttribute] = []
    at, covered, count = _HEADER_BYTES, True, 0
    while at < len(data):
        start = at + _ATTRIBUTE_BYTES
        kind, size = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : start])
        count += 1
        if start + size > len(data) or count > limits.STUN_ATTRIBUTES:
            raise MalformedStunError(f"STUN: expected at most {limits.STUN_ATTRIBUTES} attributes within the message")
        if covered:
            attributes.append(StunAttribute(kind, data[start : start + size], at))
        covered = covered and kind != _MESSAGE_INTEGRITY
        at = start + size + -size % 4  # the last one may lack its padding, in classic STUN
    return Message(data, type_, tuple(attributes))


def _username_untrusted(message: Message) -> str:
    """Return USERNAME without its padding, "" where there is none.

    Raises:
        MalformedStunError: too long, or no UTF-8.
    """
    attribute = message.first(_USERNAME)
    if attribute is None:
        return ""
    if len(attribute.value) > limits.STUN_USERNAME_BYTES:
        size = len(attribute.value)
        raise MalformedStunError(f"STUN: expected a USERNAME of at most {limits.STUN_USERNAME_BYTES} bytes, got {size}")
    try:
        # RFC 3489 wants a multiple of four: CPE fill up with NUL or blanks, and count them
        return attribute.value.decode().rstrip("\0 ")
    except UnicodeDecodeError as err:
        raise MalformedStunError("STUN: expected a USERNAME in UTF-8") from err


# --- MESSAGE-INTEGRITY ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """How MESSAGE-INTEGRITY is computed, of which the standards and the CPE have several.

    `counted`: the header's length counts the attribute itself, else it ends before. `padded`: with zeros, to a multiple
    of 64 bytes, as RFC 3489 section 11.2.8 has it.
    """

    counted: bool
    padded: bool


MODERN: Final = Form(counted=True, padded=False)
"""RFC 5389 section 15.4; CPE with classic STUN do it as well."""
CLASSIC: Final = (MODERN, Form(counted=True, padded=True), Form(counted=False, padded=True), Form(False, False))
"""Those that are taken without a cookie: RFC 3489 does not say the length, and CPE differ."""


def integrity(message: bytes, key: bytes, form: Form = MODERN) -> bytes:
    """Return the MESSAGE-INTEGRITY of a message.

    Args:
        message: header and all attributes before; its length field does not matter.
        key: the password, or of RFC 5389's long-term credentials MD5(user:realm:password), which Annex G does not use.
        form: of the computation.
    """
    length = len(message) - _HEADER_BYTES + (_ATTRIBUTE_BYTES + _MAC_BYTES if form.counted else 0)
    text = message[:2] + length.to_bytes(2) + message[4:]
    if form.padded:
        text += bytes(-len(text) % _BLOCK_BYTES)
    return hmac.digest(key, text, "sha1")


def proven_untrusted(message: Message, key: bytes) -> Form | None:
    """Return the form in which MESSAGE-INTEGRITY is right, None where it is not, or not there."""
    given = message.first(_MESSAGE_INTEGRITY)
    if given is None or len(given.value) != _MAC_BYTES:
        return None
    for form in CLASSIC if message.classic else (MODERN,):
        if hmac.compare_digest(given.value, integrity(message.data[: given.at], key, form)):
            return form
    return None


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a CPE listens for UDP connection requests now, as seen from here.

    `username`: "" where it gave none. `changed`: it says that this is another place than before. `proven`: it knew the
    password; else anybody may have said so. `at`: the `now` of `receive_untrusted`.
    """

    username: str
    address: IpAddress
    port: int
    changed: bool
    proven: bool
    at: float


class StunServer:
    """Answers Binding Requests. Remembers nothing."""

    def __init__(self, password_of: Callable[[str], str | None] | None = None) -> None:
        """Take the credentials of peers that may report a CPE's place.

        Args:
            password_of: STUNUsername -> STUNPassword, None where there is no such user; its time should not depend on
                the user. None for a server that asks for no proof.
        """
        self._password_of = password_of

    def receive_untrusted(self, data: bytes, source: Source, now: float) -> tuple[bytes | None, Binding | None]:
        """Return the reply to a datagram, and its report on a CPE's place.

        Args:
            data: the datagram.
            source: that it came from.
            now: for `Binding.at`.

        Raises:
            MalformedStunError: no STUN message; it is not answered.
        """
        message = read_untrusted(data)
        if message.type != _BINDING_REQUEST:
            return None, None
        address = _address_untrusted(source[0])
        if unknown := _not_understood(message):
            return _within(_error(message, 420, "Unknown Attribute", unknown), data), None
        username = _username_untrusted(message)
        listens = message.first(_CONNECTION_REQUEST_BINDING)
        is_place = listens is not None and listens.value.startswith(_BINDING_VALUE)
        key, form = b"", None
        if self._password_of is not None and is_place:
            if not username or message.first(_MESSAGE_INTEGRITY) is None:
                return _within(_error(message, 401, "Unauthorized"), data), None
            password = self._password_of(username)
            key = (password or "").encode("utf-8", "surrogatepass")
            # Computed for an unknown user as well, so that the time tells nothing; "" is no password
            form = proven_untrusted(message, key)
            if form is None or not password:
                # RFC 3489 section 8.1 has a code of its own, RFC 5389 section 10.1.2 asks once more
                code, reason = (431, "Integrity Check Failure") if message.classic else (401, "Unauthorized")
                return _within(_error(message, code, reason), data), None
        reply = _within(_response(message, address, source[1], key, form), data)
        if not is_place:
            return reply, None
        changed = message.first(_BINDING_CHANGE) is not None
        return reply, Binding(username, address, source[1], changed, form is not None, now)


def _address_untrusted(host: str) -> IpAddress:
    try:
        return unmapped(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError as err:
        raise MalformedStunError("STUN: expected an IP address as source") from err


def _not_understood(message: Message) -> tuple[int, ...]:
    """Return the attributes without which a request cannot be answered, a few at most (RFC 5389 section 7.3.1)."""
    found = dict.fromkeys(
        each.type
        for each in message.attributes
        if each.type < _MUST_BE_KNOWN
        and (each.type not in _KNOWN or (each.type == _CHANGE_REQUEST and any(each.value)))
    )
    return tuple(found)[: limits.STUN_UNKNOWN]


# --- writing ----------------------------------------------------------------------------------------------------------


def _response(message: Message, address: IpAddress, port: int, key: bytes, form: Form | None) -> bytes:
    # XOR-MAPPED-ADDRESS is unknown to RFC 3489, and of the kind for which it has the response thrown away
    attributes = b"" if message.classic else _attribute(_XOR_MAPPED_ADDRESS, _xor(_mapped(address, port), message.data))
    mapped = _attribute(_MAPPED_ADDRESS, _mapped(address, port))
    proof_bytes = 0 if form is None else _ATTRIBUTE_BYTES + _MAC_BYTES
    most = limits.STUN_AMPLIFICATION * len(message.data)
    # RFC 5389 has it for old clients alone: left out where a short request over IPv6 does not allow for both
    if message.classic or _HEADER_BYTES + len(attributes) + len(mapped) + proof_bytes <= most:
        attributes += mapped
    reply = _message(_BINDING_RESPONSE, message, attributes)
    if form is None:
        return reply
    proof = _attribute(_MESSAGE_INTEGRITY, integrity(reply, key, form))
    return _message(_BINDING_RESPONSE, message, attributes + proof)


def _error(message: Message, code: int, reason: str, unknown: tuple[int, ...] = ()) -> bytes:
    text = reason.encode()
    if message.classic:
        text += b" " * (-len(text) % 4)  # RFC 3489 section 11.2.9: a multiple of four
        unknown += unknown[-1:] * (len(unknown) % 2)  # section 11.2.10: the last one twice
    attributes = _attribute(_ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + text)
    if unknown:
        attributes += _attribute(_UNKNOWN_ATTRIBUTES, b"".join(each.to_bytes(2) for each in unknown))
    return _message(_BINDING_ERROR, message, attributes)


def _message(type_: int, request: Message, attributes: bytes) -> bytes:
    return type_.to_bytes(2) + len(attributes).to_bytes(2) + request.data[4:_HEADER_BYTES] + attributes


def _attribute(type_: int, value: bytes) -> bytes:
    return type_.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4)


def _mapped(address: IpAddress, port: int) -> bytes:
    return bytes((0, 1 if address.version == 4 else 2)) + port.to_bytes(2) + address.packed


def _xor(mapped: bytes, message: bytes) -> bytes:
    """Return the value of XOR-MAPPED-ADDRESS (RFC 5389 section 15.2): the port by the cookie's half, then all of it."""
    mask = bytes(2) + message[4:6] + message[4:_HEADER_BYTES]
    return bytes(a ^ b for a, b in zip(mapped, mask, strict=False))


def _within(reply: bytes, request: bytes) -> bytes | None:
    """Return a reply, None where it is too large for its request."""
    return reply if len(reply) <= limits.STUN_AMPLIFICATION * len(request) else None
