"""Searches bytes for what must not be in them: tokens in every form that we know of, and digests that a guess confirms.

What is searched is opened first as far as anybody can open it: base64, hex, URL and JSON escapes, protobuf fields, one
inside the other. What is sealed stays closed, as it does for who carries it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote, quote_plus, unquote_to_bytes

from trust import envelope as envelopes
from trust import merkle

DEPTH = 6
WINDOW = 6
STRIDE = 4
"""Needles are looked up by six bytes, at every fourth place: no needle is shorter than both together."""
TOKEN_CHARS = 9
"""Shorter tokens would be found by chance."""
BARE_CHARS = 10
"""The same for tokens without their separators: in hex text there are only sixteen letters."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-f]{2}){8,}|(?:[0-9A-F]{2}){8,}")
_HEX_OF_ANY_CASE = re.compile(rb"[0-9A-Fa-f]{16,}")
_URL_LIKE = re.compile(rb"[A-Za-z0-9._~+%-]{8,}")
"""Any run of `_HEX` and of `_URL` is inside one of these, which are found five times as fast."""
_URL = re.compile(rb"(?:[A-Za-z0-9._~+-]|%[0-9A-Fa-f]{2}){8,}")
_PRINTABLE = re.compile(rb"[ -~]{8,}")
_JSON_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
_SHORT_HEX = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?![0-9A-Fa-f])")
_DECIMAL = re.compile(rb"(?<![0-9])[0-9]{7,10}(?![0-9])")
_PLAIN_HASHES = ("md5", "sha1", "sha256")


# --- opening ----------------------------------------------------------------------------------------------------------


def fields_of(data: bytes) -> list[int | bytes] | None:
    """Return the values of a protobuf message, numbers and bytes; None: it is none."""
    found: list[int | bytes] = []
    at = 0
    while at < len(data):
        tag = _varint(data, at)
        if tag is None or not tag[0] >> 3:
            return None
        at, kind = tag[1], tag[0] & 7
        if kind in (0, 2):
            number = _varint(data, at)
            if number is None:
                return None
            at = number[1]
            found.append(number[0])
            if kind == 2:
                found[-1] = data[at : at + number[0]]
                at += number[0]
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            found.append(int.from_bytes(data[at : at + size], "little"))
            at += size
        else:
            return None
    return found if at == len(data) else None


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = 0
    for n, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * n
        if byte < 128:
            return value, at + n + 1
    return None


def unbase64(run: bytes) -> bytes | None:
    """Return what base64 text holds, of either alphabet, padded or not; None: it is none."""
    text = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None


def opened(data: bytes, depth: int = DEPTH) -> Iterator[bytes]:
    """Yield what is inside, one layer at a time, and `data` itself first."""
    yield data
    if depth:
        for layer in layers_in(data):
            yield from opened(layer, depth - 1)


def layers_in(data: bytes) -> list[bytes]:
    """Return what anybody can open of `data`, one layer deep."""
    inside = [found for run in _BASE64.findall(data) if (found := unbase64(run)) is not None]
    inside += [bytes.fromhex(run.decode()) for text in _HEX_OF_ANY_CASE.findall(data) for run in _HEX.findall(text)]
    inside += [value for value in fields_of(data) or () if isinstance(value, bytes) and len(value) > 3]
    escaped = [text for text in _URL_LIKE.findall(data) if b"%" in text]
    inside += [unquote_to_bytes(run) for text in escaped for run in _URL.findall(text) if b"%" in run]
    inside += [_JSON_ESCAPE.sub(_unescaped, run) for run in _PRINTABLE.findall(data) if b"\\u" in run]
    return inside


def _unescaped(found: re.Match[bytes]) -> bytes:
    return chr(int(found[1], 16)).encode("utf-8", "replace")


# --- tokens -----------------------------------------------------------------------------------------------------------


def spellings(token: str) -> set[str]:
    """Return how else a token may be written: letter case, without separators, backwards, other normal forms."""
    bare = re.sub(r"[^0-9A-Za-z]", "", token)
    written = {token, *((bare,) if len(bare) >= BARE_CHARS and bare != token and token.isascii() else ())}
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", token):
        written |= {token.replace(":", "-"), token.replace("-", ":")}
    written |= {unicodedata.normalize(form, token) for form in ("NFC", "NFD", "NFKC")}
    written |= {change(w) for w in tuple(written) for change in (str.casefold, str.lower, str.upper)}
    return written | {w[::-1] for w in written}


def base64_forms(raw: bytes) -> set[bytes]:
    """Return the parts of base64 text that depend on `raw` alone, wherever in what is encoded it begins."""
    found = set()
    for shift in range(3):
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + raw)[first:last])
    return found


def forms(token: str) -> dict[bytes, str]:
    """Return every form of a token that is searched for, with its name."""
    assert len(token) >= TOKEN_CHARS, f"{token!r} would be found by chance"
    found: dict[bytes, str] = {}
    for text in spellings(token):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            raw = text.encode(encoding)
            found |= {raw: encoding, raw.hex().encode(): "hex", raw.hex().upper().encode(): "hex"}
            found |= dict.fromkeys(base64_forms(raw), "base64")
        for url in (quote(text, safe=""), quote_plus(text), quote(text, safe="").lower()):
            found.setdefault(url.encode(), "url")
        found.setdefault(json.dumps(text)[1:-1].encode(), "json")
        for name in _PLAIN_HASHES:
            digest = hashlib.new(name, text.encode()).digest()
            found |= {digest: name, digest.hex().encode(): name, digest.hex().upper().encode(): name}
            found |= dict.fromkeys(base64_forms(digest), name)
    return found


def small_forms(token: str) -> dict[int, str]:
    """Return the 32-bit forms of a token: found by chance in long bytes, so that only whole values are compared."""
    found = {zlib.crc32(text.encode()): "crc32" for text in spellings(token)}
    try:
        address = ip_address(token)
    except ValueError:
        return found
    return found | ({int(address): "packed address"} if address.version == 4 else {})


def small_values(layer: bytes) -> set[int]:
    """Return the 32-bit values that a layer holds as values of their own: numbers, hex, fields."""
    found = {int(run, 16) for run in _SHORT_HEX.findall(layer)} | {int(run) for run in _DECIMAL.findall(layer)}
    values: list[int | bytes] = [*(fields_of(layer) or ()), layer]
    for value in values:
        if isinstance(value, int):
            found.add(value)
        elif len(value) == 4:
            found |= {int.from_bytes(value, "big"), int.from_bytes(value, "little")}
    return found


@dataclass
class Sweep:
    """Looks for tokens (by what they are) in pieces (by where they came from)."""

    tokens: Mapping[str, str]
    _by_window: dict[bytes, list[tuple[int, bytes, str]]] = field(init=False, repr=False)
    _small: dict[int, str] = field(init=False, repr=False)
    _known: dict[bytes, frozenset[str]] = field(init=False, repr=False, default_factory=dict)
    """The findings of one layer itself."""
    _opened: dict[tuple[bytes, int], frozenset[str]] = field(init=False, repr=False, default_factory=dict)
    """The findings of a layer and of those inside it, by the depth to which it is opened."""

    def __post_init__(self) -> None:
        self._by_window, self._small = {}, {}
        for what, token in self.tokens.items():
            for needle, form in forms(token).items():
                assert len(needle) >= WINDOW + STRIDE - 1, (token, form)
                for at in range(STRIDE):
                    found = at, needle, f"{what} in {form}"
                    self._by_window.setdefault(needle[at : at + WINDOW], []).append(found)
            self._small |= {value: f"{what} in {form}" for value, form in small_forms(token).items()}

    def leaks(self, pieces: Mapping[str, bytes], *, sealed: bool = False) -> list[str]:
        """Return what is found where. `sealed`: the pieces are ciphertext: nothing in them is opened."""
        found: set[str] = set()
        for name, piece in pieces.items():
            leaks = self._of(piece, sealed=True) if sealed else self._below(piece, DEPTH)
            found |= {f"{leak}: {name}" for leak in leaks}
        return sorted(found)

    def _below(self, layer: bytes, depth: int) -> frozenset[str]:
        """Return the findings of a layer and of all layers inside it. Nineteen of twenty layers were seen before."""
        if (known := self._opened.get((layer, depth))) is None:
            inside = layers_in(layer) if depth else ()
            known = self._of(layer).union(*(self._below(one, depth - 1) for one in inside))
            self._opened[layer, depth] = known
        return known

    def _of(self, layer: bytes, *, sealed: bool = False) -> frozenset[str]:
        if layer not in self._known:
            whole = () if sealed else small_values(layer)
            leaks = {*self._in(layer, sealed=sealed), *(self._small[v] for v in whole if v in self._small)}
            self._known[layer] = frozenset(leaks)
        return self._known[layer]

    def _in(self, layer: bytes, *, sealed: bool) -> Iterator[str]:
        windows = self._by_window
        folded = layer.decode("utf-8", "surrogateescape").casefold().encode("utf-8", "surrogateescape")
        for data in (layer,) if sealed or folded == layer else (layer, folded):
            hits = [at for at in range(0, len(data) - WINDOW + 1, STRIDE) if data[at : at + WINDOW] in windows]
            for at in hits:
                for before, needle, what in windows[data[at : at + WINDOW]]:
                    if at >= before and data.startswith(needle, at - before):
                        yield what


# --- digests ----------------------------------------------------------------------------------------------------------

DIGEST_SIZES = frozenset({16, 20, 28, 32, 48, 64})


def observed(pieces: Iterable[bytes]) -> set[bytes]:
    """Return every value that could be a digest, a key, an id or a signature, cut out of what it stands in."""
    layers = {layer for piece in pieces for layer in opened(piece) if len(layer) <= 128}
    found = {layer for layer in layers if len(layer) in DIGEST_SIZES}
    for layer in layers:
        if 32 < len(layer) <= 128:  # behind a key id, a time or a kind
            found |= {layer[at : at + 32] for at in range(len(layer) - 31)}
            found |= {layer[at : at + 64] for at in range(len(layer) - 63)}
    return found


PLAIN = ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b", "blake2s")


def plain_digests(data: bytes) -> Iterator[bytes]:
    """Yield what common hash functions make of `data`, and of it as the leaf of a tree."""
    for name in PLAIN:
        yield hashlib.new(name, data).digest()
    yield hashlib.blake2b(data, digest_size=32).digest()
    yield merkle.leaf_hash(data)


def keyed_digests(data: bytes, key: bytes) -> Iterator[bytes]:
    """Yield what SHA-256 makes of `data` together with something that is known, as key, before it or behind it."""
    for known in (key, key.hex().encode()):
        yield hmac.digest(known, data, "sha256")
        for between in (b"", b"\0", b":", b"|"):
            yield hashlib.sha256(known + between + data).digest()
            yield hashlib.sha256(data + between + known).digest()


@dataclass
class Dictionary:
    """An attacker's list: words that may be in there, documents that may be signed, and what they can see."""

    seen: set[bytes]
    known: Sequence[bytes]
    tried: int = 0

    def confirmed(
        self,
        words: Iterable[str],
        documents: Iterable[bytes] = (),
        types: Sequence[str] = (),
        digests: Iterable[bytes] = (),
    ) -> list[str]:
        """Return which guesses a value that was seen confirms: whole, or the first 16 or 20 bytes of it.

        Args:
            words: names, logins, references.
            documents: what may have been hashed as it is.
            types: payload types under which a document may have been signed.
            digests: guesses that are hashed already: roots of trees.
        """
        found = []
        for word in words:
            for spelling in {word, word.casefold(), word.upper()}:
                data = spelling.encode()
                if self._any(self._of_word(data)):
                    found.append(word)
        for document in documents:
            if self._any([*plain_digests(document), *(envelopes.digest_of(t, document) for t in types)]):
                found.append(document.decode("utf-8", "replace"))
        return found + [digest.hex() for digest in digests if self._any([digest])]

    def _of_word(self, data: bytes) -> Iterator[bytes]:
        yield from plain_digests(data)
        yield from plain_digests(data + b"\n")
        for key in self.known:
            yield from keyed_digests(data, key)

    def _any(self, digests: Iterable[bytes]) -> bool:
        seen = self.seen
        hit = False
        for digest in digests:
            self.tried += 1
            hit = hit or digest in seen or digest[:32] in seen or digest[:16] in seen or digest[:20] in seen
        return hit
