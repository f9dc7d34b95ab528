"""Sealed bodies: only their receiver opens them, and their length tells little. X25519 sealed boxes through PyNaCl.

    sealed      = hint[8] box(u32-big-endian-length body zeros)         plain length: a power of two >= smallest
    page        = hint[8] box(view-id[16] u32-number u32-count part)    numbers from 0
    whole view  = u64-big-endian-length content zeros                   a power of two >= 64 KiB, cut into parts
    hint        = SHA-256(public)[:8]
    box         = libsodium crypto_box_seal

A sealed box proves no sender and binds nothing: the content is signed, and names agent and ids.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final, final

import nacl.bindings
import nacl.exceptions
import nacl.public

from trust import chance, limits
from trust.errors import MalformedKeyError, MalformedSealError

KEY_BYTES: Final = 32
HINT_BYTES: Final = 8
SMALLEST: Final = 4096
VIEW_SMALLEST: Final = 64 << 10
VIEW_ID_BYTES: Final = 16

_OVERHEAD: Final = HINT_BYTES + nacl.bindings.crypto_box_SEALBYTES
_LENGTH: Final = struct.Struct(">I")
_WHOLE: Final = struct.Struct(">Q")
_PAGE: Final = struct.Struct(f">{VIEW_ID_BYTES}sII")


@final
class SealingKey:
    """An X25519 key pair. `repr` shows the public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        """Build the pair from its private half.

        Raises:
            MalformedKeyError: not 32 bytes.
        """
        if len(private) != KEY_BYTES:
            raise MalformedKeyError(f"expected a private key of {KEY_BYTES} bytes, got {len(private)}")
        self._key = nacl.public.PrivateKey(private)
        self.public: Final[bytes] = bytes(self._key.public_key)

    @classmethod
    def generate(cls) -> SealingKey:
        """Return a new random pair."""
        return cls(chance.token_bytes(KEY_BYTES))

    @property
    def private(self) -> bytes:
        """The secret half, 32 bytes: for sealing only."""
        return bytes(self._key)

    def open_box(self, box: bytes) -> bytes | None:
        """Return the content of a body that was sealed to this key; None: it was not, or was altered."""
        try:
            return bytes(nacl.public.SealedBox(self._key).decrypt(box))
        except (nacl.exceptions.CryptoError, nacl.exceptions.TypeError):
            return None

    def __repr__(self) -> str:
        return f"SealingKey({self.public.hex()})"


def check_sealing_public_untrusted(public: bytes) -> None:
    """Refuse a public key under which anybody could open a sealed body.

    Raises:
        MalformedKeyError: not 32 bytes, or of small order (RFC 7748 section 6.1: the shared secret would be zero).
    """
    if len(public) != KEY_BYTES:
        raise MalformedKeyError(f"expected a sealing key of {KEY_BYTES} bytes, got {len(public)}")
    try:
        # Any private half will do: with a point of small order each gives zero, which libsodium refuses
        nacl.bindings.crypto_scalarmult(chance.token_bytes(KEY_BYTES), public)
    except nacl.exceptions.RuntimeError as err:
        raise MalformedKeyError("expected a sealing key of large order, got one that hides nothing") from err


def hint(public: bytes) -> bytes:
    """Return the eight bytes by which a sealed body names its key."""
    return hashlib.sha256(public).digest()[:HINT_BYTES]


def _box(plain: bytes, public: bytes) -> bytes:
    """Return the same as `crypto_box_seal`, with a one-time key from `chance` and not from libsodium itself.

    box = one-time-public[32] crypto_box(plain), nonce = BLAKE2b-192(one-time-public public)
    """
    once = nacl.public.PrivateKey(chance.token_bytes(KEY_BYTES))
    once_public = bytes(once.public_key)
    nonce = hashlib.blake2b(once_public + public, digest_size=nacl.public.Box.NONCE_SIZE).digest()
    closed = nacl.public.Box(once, nacl.public.PublicKey(public)).encrypt(plain, nonce).ciphertext
    return hint(public) + once_public + closed


def _padded(length: bytes, body: bytes, smallest: int, most: int) -> bytes:
    size = len(length) + len(body)
    target = max(smallest, 1 << (size - 1).bit_length())
    if target > most:
        raise MalformedSealError(f"expected at most {most} bytes to seal, got {len(body)}")
    return length + body + bytes(target - size)


def _unpadded(plain: bytes, prefix: struct.Struct) -> bytes:
    if len(plain) < prefix.size:
        raise MalformedSealError("sealed: too short for its length")
    end = prefix.size + int.from_bytes(plain[: prefix.size], "big")
    # Padding of other bytes would be a second encoding of one body, and a place to carry bytes that nobody reads
    if end > len(plain) or plain[end:].count(0) != len(plain) - end:
        raise MalformedSealError("sealed: a length that does not fit, or padding that is not zeros")
    return plain[prefix.size : end]


def seal(body: bytes, public: bytes, smallest: int = SMALLEST) -> bytes:
    """Return `body` so that only the holder of `public`'s private half can read it, padded.

    Args:
        body: any bytes; with 4 for its length at most `limits.SEALED_BYTES`.
        public: X25519, 32 bytes.
        smallest: the least padded length, a power of two: bodies below it cannot be told apart by length.

    Raises:
        MalformedKeyError: a bad public key.
        MalformedSealError: the body is too long.
    """
    check_sealing_public_untrusted(public)
    return _box(_padded(_LENGTH.pack(len(body)), body, smallest, limits.SEALED_BYTES), public)


def open_sealed_untrusted(data: bytes, keys: Sequence[SealingKey]) -> bytes:
    """Return the body that was sealed to one of `keys`.

    Raises:
        MalformedSealError: too long, sealed to none of the keys, altered, or badly padded.
    """
    if len(data) > limits.SEALED_BYTES + _OVERHEAD:
        raise MalformedSealError(f"sealed: expected at most {limits.SEALED_BYTES + _OVERHEAD} bytes, got {len(data)}")
    # The hint only saves trying each key of the last weeks; that the box opens is the proof
    for key in keys:
        plain = _open(data, key)
        if plain is not None:
            return _unpadded(plain, _LENGTH)
    raise MalformedSealError("sealed: none of the keys opens it")


def _open(data: bytes, key: SealingKey) -> bytes | None:
    return key.open_box(data[HINT_BYTES:]) if data[:HINT_BYTES] == hint(key.public) else None


# --- pages of a view ------------------------------------------------------------------------------------------------


def seal_pages(view_id: bytes, public: bytes, content: bytes) -> list[bytes]:
    """Return the content of a view as sealed pages, each under 1 MiB; their number and lengths tell a power of two.

    Args:
        view_id: of the view that they answer, 16 bytes.
        public: its one-time key, X25519, 32 bytes.
        content: with 8 for its length at most `limits.VIEW_BYTES`.

    Raises:
        MalformedKeyError: a bad public key.
        MalformedSealError: the content is too long, or the id is not 16 bytes.
    """
    check_sealing_public_untrusted(public)
    _check_view_id(view_id)
    whole = _padded(_WHOLE.pack(len(content)), content, VIEW_SMALLEST, limits.VIEW_BYTES)
    parts = [whole[at : at + limits.PAGE_BYTES] for at in range(0, len(whole), limits.PAGE_BYTES)]
    # Each page names view, place and count: the control plane carries them, and may drop, double or swap none unseen
    return [_box(_PAGE.pack(view_id, number, len(parts)) + part, public) for number, part in enumerate(parts)]


def _check_view_id(view_id: bytes) -> None:
    if len(view_id) != VIEW_ID_BYTES:
        raise MalformedSealError(f"expected a view id of {VIEW_ID_BYTES} bytes, got {len(view_id)}")


def open_pages_untrusted(view_id: bytes, key: SealingKey, pages: Sequence[bytes]) -> bytes:
    """Return the content of a view out of all its pages, in order.

    Raises:
        MalformedSealError: too much, a page of another view or key, altered, missing, doubled or out of its place.
    """
    _check_view_id(view_id)
    most = limits.VIEW_BYTES // limits.PAGE_BYTES
    if not 0 < len(pages) <= most or any(len(p) > limits.PAGE_BYTES + _PAGE.size + _OVERHEAD for p in pages):
        raise MalformedSealError(f"view: expected 1 to {most} pages of at most {limits.PAGE_BYTES} bytes, got others")
    parts = []
    for number, page in enumerate(pages):
        plain = _open(page, key) or b""
        if plain[: _PAGE.size] != _PAGE.pack(view_id, number, len(pages)):
            raise MalformedSealError(f"view: page {number + 1} is not page {number + 1} of {len(pages)} of this view")
        parts.append(plain[_PAGE.size :])
    return _unpadded(b"".join(parts), _WHOLE)
