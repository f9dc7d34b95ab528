"""Ed25519 keys as bytes: signing, verifying, fingerprints as words, sealed key documents. Files belong to the callers.

RFC 8032 (Ed25519) through PyNaCl; its libsodium refuses small-order keys and points R, non-canonical keys and
S >= L; the Wycheproof and CCTV vectors pin that in `tests/trust/test_keys.py`. Words are proquints (arXiv 0901.4016).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import re
from typing import Final, final

import nacl.bindings
import nacl.exceptions
import nacl.pwhash.argon2id as argon2id
import nacl.secret
import nacl.signing

from trust import chance, limits
from trust.errors import MalformedKeyError, MalformedStatementError, WrongPassphraseError
from trust.strict_json import read_object_untrusted

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
FINGERPRINT_BYTES: Final = 16
"""128 bits, 8 words: short enough for a person to type once at a console. A second key with the same words costs 2**128
tries.
"""

OPS_MODERATE: Final[int] = argon2id.OPSLIMIT_MODERATE
MEM_MODERATE: Final[int] = argon2id.MEMLIMIT_MODERATE

_FORMAT: Final = "ispagents-key-v0"
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"
_WORD: Final = re.compile(rf"[{_CONSONANTS}][{_VOWELS}][{_CONSONANTS}][{_VOWELS}][{_CONSONANTS}]", re.ASCII)


@final
class SigningKey:
    """An Ed25519 key pair. `repr` shows the public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """Build the pair from its 32-byte seed.

        Raises:
            MalformedKeyError: the seed has another length.
        """
        if len(seed) != SEED_BYTES:
            raise MalformedKeyError(f"expected a seed of {SEED_BYTES} bytes, got {len(seed)}")
        self._key = nacl.signing.SigningKey(seed)
        self.public: Final[bytes] = bytes(self._key.verify_key)

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new random pair."""
        return cls(chance.token_bytes(SEED_BYTES))

    @property
    def seed(self) -> bytes:
        """The secret half, 32 bytes: for sealing only."""
        return bytes(self._key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes (RFC 8032 section 5.1.6)."""
        return bytes(self._key.sign(message).signature)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()})"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is `public`'s over `message` (RFC 8032 section 5.1.7). Never raises on bad input."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    fits = _fits_again if len(message) <= _AGAIN_BYTES else _fits
    return fits(public, message, signature)


def _fits(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


_AGAIN_BYTES: Final = 4096
_fits_again = functools.lru_cache(maxsize=256)(_fits)
"""Remembers the verdict on small messages, which depends on these bytes alone: an approval is judged three times, a
standing authority at each look.
"""


def check_public_untrusted(public: bytes) -> None:
    """Refuse a key of small order: a signature under it may fit every message.

    Raises:
        MalformedKeyError: not 32 bytes, not a point, encoded non-canonically, or not in the prime-order subgroup.
    """
    if len(public) != PUBLIC_BYTES:
        raise MalformedKeyError(f"expected a public key of {PUBLIC_BYTES} bytes, got {len(public)}")
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(public):
        raise MalformedKeyError("expected an Ed25519 point of prime order in canonical form, got another")


@functools.lru_cache(maxsize=1024)
def key_id(public: bytes) -> str:
    """Return the hint that envelopes carry for a key: 32 hex digits of its SHA-256. It proves nothing."""
    return hashlib.sha256(public).hexdigest()[:32]


# --- words ----------------------------------------------------------------------------------------------------------


def words(data: bytes) -> str:
    """Return the fingerprint of `data` as eight words: the first 128 bits of its SHA-256 as proquints.

    A proquint is 16 bits: consonant (4 bits), vowel (2), consonant (4), vowel (2), consonant (4).
    """
    return words_of(hashlib.sha256(data).digest()[:FINGERPRINT_BYTES])


def words_of(digest: bytes) -> str:
    """Return bytes of even length as proquints, joined by hyphens."""
    return "-".join(_word(int.from_bytes(digest[i : i + 2], "big")) for i in range(0, len(digest), 2))


def _word(value: int) -> str:
    return (
        _CONSONANTS[value >> 12]
        + _VOWELS[value >> 10 & 3]
        + _CONSONANTS[value >> 6 & 15]
        + _VOWELS[value >> 4 & 3]
        + _CONSONANTS[value & 15]
    )


def fingerprint(*publics: bytes) -> str:
    """Return the words of one or several public keys together, in the order given (an agent: plan key, log key)."""
    return words(b"".join(publics))


def parse_words_untrusted(text: str) -> bytes:
    """Return the 16 bytes that eight typed words stand for; case, spaces, commas and hyphens do not matter.

    Raises:
        MalformedKeyError: not eight words, or one of them is no proquint.
    """
    typed = [word for word in re.split(r"[\s,-]+", text.lower()) if word]
    if len(typed) != FINGERPRINT_BYTES // 2:
        raise MalformedKeyError(f"expected {FINGERPRINT_BYTES // 2} words, got {len(typed)}")
    value = b""
    for position, word in enumerate(typed, start=1):
        if not _WORD.fullmatch(word):
            raise MalformedKeyError(f"word {position} is misspelled")
        value += _parse_word(word).to_bytes(2, "big")
    return value


def _parse_word(word: str) -> int:
    value = _CONSONANTS.index(word[0]) << 12 | _VOWELS.index(word[1]) << 10 | _CONSONANTS.index(word[2]) << 6
    return value | _VOWELS.index(word[3]) << 4 | _CONSONANTS.index(word[4])


# --- sealed key documents -------------------------------------------------------------------------------------------


def seal_key(seed: bytes, passphrase: bytes, ops: int = OPS_MODERATE, mem: int = MEM_MODERATE) -> bytes:
    """Return a JSON document that holds the seed under a passphrase (argon2id, then XSalsa20-Poly1305).

    Args:
        seed: 32 bytes.
        passphrase: any bytes.
        ops: argon2id passes.
        mem: argon2id memory in bytes.

    Raises:
        MalformedKeyError: the seed has another length.
    """
    public = SigningKey(seed).public
    salt = chance.token_bytes(argon2id.SALTBYTES)
    box = nacl.secret.SecretBox(_kdf(passphrase, salt, ops, mem))
    document = {
        "format": _FORMAT,
        "public": public.hex(),
        "kdf": "argon2id",
        "ops": ops,
        "mem": mem,
        "salt": salt.hex(),
        "box": base64.b64encode(bytes(box.encrypt(seed, chance.token_bytes(box.NONCE_SIZE)))).decode(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _kdf(passphrase: bytes, salt: bytes, ops: int, mem: int) -> bytes:
    return bytes(argon2id.kdf(nacl.secret.SecretBox.KEY_SIZE, passphrase, salt, opslimit=ops, memlimit=mem))


def sealed_public_untrusted(data: bytes) -> bytes:
    """Return the public key that a sealed key document names, without opening it.

    Raises:
        MalformedKeyError: not such a document.
    """
    return _read_sealed(data)[0]


def _read_sealed(data: bytes) -> tuple[bytes, int, int, bytes, bytes]:
    try:
        r = read_object_untrusted(data, limits.KEY_FILE_BYTES, "key file")
        if r.text("format") != _FORMAT or r.text("kdf") != "argon2id":
            raise MalformedKeyError(f"key file: expected format {_FORMAT} with argon2id, got another")
        public = bytes.fromhex(r.hex("public", PUBLIC_BYTES))
        ops = r.integer("ops", argon2id.OPSLIMIT_MIN, limits.SEAL_OPS_MAX)
        mem = r.integer("mem", argon2id.MEMLIMIT_MIN, limits.SEAL_MEM_BYTES_MAX)
        salt = bytes.fromhex(r.hex("salt", argon2id.SALTBYTES))
        box = base64.b64decode(r.text("box"), validate=True)
        r.done()
    except (MalformedStatementError, binascii.Error, ValueError) as err:
        raise MalformedKeyError(f"not a key file: {err}") from err
    return public, ops, mem, salt, box


def open_key_untrusted(data: bytes, passphrase: bytes) -> SigningKey:
    """Return the key that a sealed key document holds.

    Raises:
        MalformedKeyError: not such a document, or it names another public key than it holds.
        WrongPassphraseError: the passphrase does not open it.
    """
    public, ops, mem, salt, box = _read_sealed(data)
    try:
        seed = bytes(nacl.secret.SecretBox(_kdf(passphrase, salt, ops, mem)).decrypt(box))
    except (nacl.exceptions.CryptoError, ValueError) as err:
        raise WrongPassphraseError("the passphrase does not open this key file") from err
    key = SigningKey(seed)
    if key.public != public:
        raise MalformedKeyError("key file: it names another public key than it holds")
    return key
