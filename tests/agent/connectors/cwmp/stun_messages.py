"""STUN requests, written from RFC 5389 and TR-111."""

from __future__ import annotations

COOKIE = "2112a442"


TRANSACTION = bytes(range(100, 116))
"""Of classic STUN; no cookie at its start."""


LISTENS = b"dslforum.org/TR-111 "


def attribute(kind: int, value: bytes = b"", *, padding: bytes = b"\0") -> bytes:
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + padding * (-len(value) % 4)


def message(*attributes: bytes, kind: int = 1, transaction: bytes = TRANSACTION) -> bytes:
    body = b"".join(attributes)
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + transaction + body


REQUEST = bytes.fromhex(
    "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff"
    "80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004 e57a3bcf"
)


MODERN_CLAIM = message(
    attribute(0xC001, LISTENS), attribute(6, b"cpe-1"), transaction=bytes.fromhex(COOKIE) + bytes(12)
)
