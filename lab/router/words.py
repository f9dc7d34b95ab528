"""Words and sentences of the RouterOS API, to and from bytes. Pure.

A word is its length and that many bytes; a sentence is words up to an empty one. The length takes, by its first bits:

    0xxxxxxx                      7 bits
    10xxxxxx  + 1 byte           14 bits
    110xxxxx  + 2 bytes          21 bits
    1110xxxx  + 3 bytes          28 bits
    11110000  + 4 bytes          32 bits
    11111xxx                     a control byte: no meaning, the connection cannot go on

Values are bytes to RouterOS. Here they are strings, UTF-8, with other bytes kept by surrogate escapes.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.router.errors import MalformedWordsError
from lab.router.limits import SENTENCE_BYTES_MAX, SENTENCE_WORDS_MAX, WORD_BYTES_MAX


def encode_length(size_bytes: int) -> bytes:
    """Return a word's length as it stands before the word; 0 <= size_bytes < 2**32."""
    if size_bytes < 0x80:
        return bytes((size_bytes,))
    if size_bytes < 0x4000:
        return (size_bytes | 0x8000).to_bytes(2, "big")
    if size_bytes < 0x200000:
        return (size_bytes | 0xC00000).to_bytes(3, "big")
    if size_bytes < 0x10000000:
        return (size_bytes | 0xE0000000).to_bytes(4, "big")
    return b"\xf0" + size_bytes.to_bytes(4, "big")


def encode_sentence(words: Iterable[str]) -> bytes:
    """Return a sentence as it goes over the wire, with its closing empty word."""
    out = bytearray()
    for word in words:
        data = word.encode("utf-8", "surrogateescape")
        out += encode_length(len(data))
        out += data
    out.append(0)
    return bytes(out)


def _header(first: int) -> tuple[int, int]:
    """How many bytes follow a length's first byte, and that byte's share of the value."""
    if first < 0x80:
        return 0, first
    if first < 0xC0:
        return 1, first & 0x3F
    if first < 0xE0:
        return 2, first & 0x1F
    if first < 0xF0:
        return 3, first & 0x0F
    if first == 0xF0:
        return 4, 0
    raise MalformedWordsError(f"expected a length, got the control byte {first:#04x}")


class SentenceReader:
    """Bytes in, sentences out. After a MalformedWordsError the connection is out of step: give it up."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._words: list[str] = []
        self._size = 0

    def feed_untrusted(self, data: bytes) -> list[tuple[str, ...]]:
        """Take bytes and return the sentences that they complete; an empty sentence is none.

        Raises:
            MalformedWordsError: a control byte, or a word or sentence beyond the limits.
        """
        buffer = self._buffer
        buffer += data
        sentences: list[tuple[str, ...]] = []
        at = 0
        while at < len(buffer):
            more, value = _header(buffer[at])
            start = at + 1 + more
            if start > len(buffer):
                break
            size = value << (8 * more) | int.from_bytes(buffer[at + 1 : start], "big")
            if size > WORD_BYTES_MAX:
                raise MalformedWordsError(f"expected a word of at most {WORD_BYTES_MAX} bytes, got {size}")
            if start + size > len(buffer):
                break
            at = start + size
            if size:
                self._take(bytes(buffer[start:at]))
            elif self._words:
                sentences.append(tuple(self._words))
                self._words, self._size = [], 0
        del buffer[:at]
        return sentences

    def _take(self, word: bytes) -> None:
        self._size += len(word)
        if self._size > SENTENCE_BYTES_MAX or len(self._words) >= SENTENCE_WORDS_MAX:
            raise MalformedWordsError(
                f"expected a sentence of at most {SENTENCE_BYTES_MAX} bytes and {SENTENCE_WORDS_MAX} words, got more"
            )
        self._words.append(word.decode("utf-8", "surrogateescape"))
