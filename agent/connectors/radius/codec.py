"""CoA- and Disconnect-Requests to bytes, with values encoded by pyrad, and their replies back.

pyrad decodes an attribute with a length past the packet's end, raises errors of many kinds for malformed values, and
does not care which packet code answers which; and of a reply only its authenticators and its Error-Cause matter here.
Its packet object encodes a request with a Message-Authenticator twice, in ten times as many calls.
RFC 5176 section 3, RFC 2869 section 5.14.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pyrad import tools
from pyrad.dictionary import Dictionary

from agent.connectors.radius.dictionary import IDENTIFICATION
from agent.connectors.radius.errors import MalformedReplyError, NotAuthenticReplyError, UnencodableRequestError

HEADER_BYTES: Final = 20
PACKET_BYTES_MAX: Final = 4096
"""RFC 5176 section 2.3: a packet is 20 to 4096 octets."""

_MESSAGE_AUTHENTICATOR: Final = 80
_ZEROS: Final = bytes(16)
"""In place of an authenticator while it is made."""
_SIGNATURE: Final = bytes((_MESSAGE_AUTHENTICATOR, 2 + len(_ZEROS)))
"""Before the value of a Message-Authenticator."""
_ERROR_CAUSE: Final = 101
_VENDOR_SPECIFIC: Final = 26


class PacketKind(enum.Enum):
    """The two requests of RFC 5176, by packet code."""

    DISCONNECT = 40
    COA = 43


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request's bytes, as they are sent and sent again, and the values that verify a reply to them."""

    kind: PacketKind
    identifier: int
    data: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """An authentic reply: ACK or NAK, and its Error-Cause (None: it has none)."""

    ack: bool
    cause: int | None


def encode_request(
    kind: PacketKind,
    identifier: int,
    attributes: Mapping[str, str],
    secret: bytes,
    dictionary: Dictionary,
    *,
    message_authenticator: bool,
    event_timestamp_s: int | None,
) -> Encoded:
    """Return the request's bytes, with its Request Authenticator (RFC 5176 section 2.3).

    Args:
        kind: CoA- or Disconnect-Request.
        identifier: 0 to 255, unused by this socket within the replay window.
        attributes: name to value as text; a Disconnect-Request takes identification attributes only.
        secret: the shared secret, any octets.
        dictionary: names and types of the attributes.
        message_authenticator: add one, as the first attribute.
        event_timestamp_s: seconds since 1970 of the Event-Timestamp, None for none.

    Raises:
        UnencodableRequestError: an attribute is unknown or not allowed here, a value does not fit its type, or the
            packet would be longer than 4096 octets.
    """
    if not secret:
        raise UnencodableRequestError("request: expected a shared secret, got an empty one")
    if kind is PacketKind.DISCONNECT and (other := sorted(attributes.keys() - IDENTIFICATION)):
        raise UnencodableRequestError(f"Disconnect-Request: expected identification attributes only, got {other}")
    try:
        parts = [_attribute(dictionary, name, value) for name, value in attributes.items()]
        if event_timestamp_s is not None:
            parts.append(_attribute(dictionary, "Event-Timestamp", event_timestamp_s))
    except Exception as err:  # the codec's border: pyrad raises what it likes
        # The message of pyrad's error may quote the value: only its class goes on.
        raise UnencodableRequestError(f"{kind.name} request: {type(err).__name__} in the codec") from err
    if message_authenticator:
        parts.insert(0, _SIGNATURE + _ZEROS)
    body = b"".join(parts)
    length = HEADER_BYTES + len(body)
    if length > PACKET_BYTES_MAX:
        raise UnencodableRequestError(f"request: expected at most {PACKET_BYTES_MAX} octets, got {length}")
    head = bytes((kind.value, identifier)) + length.to_bytes(2, "big")
    if message_authenticator:  # made with zeros in its own place and in the Request Authenticator's
        mac = hmac.digest(secret, head + _ZEROS + body, "md5")
        body = _SIGNATURE + mac + body[len(_SIGNATURE + mac) :]
    made = hashlib.md5(head + _ZEROS + body + secret, usedforsecurity=False).digest()
    return Encoded(kind, identifier, head + made + body, secret)


def _attribute(dictionary: Dictionary, name: str, value: str | int) -> bytes:
    """Return an attribute's octets (RFC 2865 section 5, and 5.26 where it is a vendor's); any error: it has none."""
    attribute = dictionary.attributes[name]
    data: bytes
    if isinstance(value, str) and attribute.type == "octets":
        data = value.encode()  # pyrad reads "65" as the octet 0x41 and "0x..." as hexadecimal
    elif attribute.values.HasForward(value):
        data = attribute.values.GetForward(value)
    else:
        number = attribute.type == "integer" and isinstance(value, str) and value.isdecimal()
        data = tools.EncodeAttr(attribute.type, int(value) if number else value)  # type: ignore[no-untyped-call]  # pyrad has no types
    octets = bytes((attribute.code, 2 + len(data))) + data
    if not attribute.vendor:
        return octets
    vendor: int = dictionary.vendors.GetForward(attribute.vendor)  # type: ignore[no-untyped-call]  # pyrad has no types
    return bytes((_VENDOR_SPECIFIC, 6 + len(octets))) + vendor.to_bytes(4, "big") + octets


def decode_reply_untrusted(request: Encoded, data: bytes) -> Decoded:
    """Return the content of an authentic reply to `request`; octets after its Length field are padding.

    A NAK with an Error-Cause of 2xx or an ACK with one of 4xx or 5xx contradicts itself (RFC 5176 section 3.5) and
    counts as malformed.

    Raises:
        MalformedReplyError: not a reply to this request's kind and identifier, or its attributes do not parse.
        NotAuthenticReplyError: the Response Authenticator or the Message-Authenticator does not match.
    """
    whole = _whole(data)
    ack, nak = request.kind.value + 1, request.kind.value + 2
    if whole[0] not in (ack, nak) or whole[1] != request.identifier:
        raise MalformedReplyError(
            f"reply: expected code {ack} or {nak} with identifier {request.identifier}, got {whole[0]} and {whole[1]}"
        )
    attributes = list(_attributes(whole))
    if sum(code == _MESSAGE_AUTHENTICATOR for code, _ in attributes) > 1:
        raise MalformedReplyError("reply: expected at most one Message-Authenticator, got more")
    if not _authentic(request, whole):
        raise NotAuthenticReplyError("reply: its authenticator is not made with our secret for this request")
    return Decoded(whole[0] == ack, _cause(whole[0] == ack, attributes))


def identifier_untrusted(data: bytes) -> int:
    """Return a datagram's identifier.

    Raises:
        MalformedReplyError: it is not as long as its header says, or not 20 to 4096 octets.
    """
    return _whole(data)[1]


def _whole(data: bytes) -> bytes:
    length = int.from_bytes(data[2:4], "big")
    if not HEADER_BYTES <= length <= min(len(data), PACKET_BYTES_MAX):
        raise MalformedReplyError(f"reply: expected {HEADER_BYTES} to {PACKET_BYTES_MAX} octets, got {len(data)}")
    return data[:length]


def _attributes(whole: bytes) -> Iterator[tuple[int, bytes]]:
    at = HEADER_BYTES
    while at < len(whole):
        length = whole[at + 1] if at + 1 < len(whole) else 0
        if length < 2 or at + length > len(whole):
            raise MalformedReplyError(f"reply: attribute at octet {at} has length {length} of {len(whole) - at} left")
        if whole[at] == _VENDOR_SPECIFIC and length < 7:
            raise MalformedReplyError(f"reply: expected a vendor's number and value at octet {at}, got {length - 2}")
        yield whole[at], whole[at + 2 : at + length]
        at += length


def _authentic(request: Encoded, whole: bytes) -> bool:
    """Tell whether a reply is made with the secret: RFC 5176 section 2.3, RFC 2869 section 5.14."""
    asked = whole[:4] + request.data[4:HEADER_BYTES] + whole[HEADER_BYTES:]
    made = hashlib.md5(asked + request.secret, usedforsecurity=False).digest()  # the protocol knows no other
    if not hmac.compare_digest(made, whole[4:HEADER_BYTES]):
        return False
    at = HEADER_BYTES
    for code, value in _attributes(whole):
        at += 2 + len(value)
        if code == _MESSAGE_AUTHENTICATOR:
            unsigned = asked[: at - len(value)] + bytes(len(value)) + asked[at:]
            return hmac.compare_digest(hmac.digest(request.secret, unsigned, "md5"), value)
    return True


def _cause(ack: bool, attributes: list[tuple[int, bytes]]) -> int | None:
    causes = [value for code, value in attributes if code == _ERROR_CAUSE]
    if not causes:
        return None
    if len(causes) > 1 or len(causes[0]) != 4:
        raise MalformedReplyError(f"reply: expected one Error-Cause of 4 octets, got {len(causes)}")
    cause = int.from_bytes(causes[0], "big")
    if (200 <= cause <= 299) is not ack:
        raise MalformedReplyError(f"reply: Error-Cause {cause} does not belong in {'an ACK' if ack else 'a NAK'}")
    return cause
