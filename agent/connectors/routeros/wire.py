"""Sentences to bytes, and bytes to replies: the RouterOS API's framing. Pure.

From the manual ("API", section Protocol): a word is its length and its content, a sentence is words up to a word of no
length, and a length is written

    0 <= len <= 0x7F              1 byte     len
    0x80 <= len <= 0x3FFF         2 bytes    len | 0x8000
    0x4000 <= len <= 0x1FFFFF     3 bytes    len | 0xC00000
    0x200000 <= len <= 0xFFFFFFF  4 bytes    len | 0xE0000000
    len >= 0x10000000             5 bytes    0xF0, then len in four bytes
    (first byte >= 0xF8: a control byte; "API client cannot proceed")

librouteros computes the long lengths. The rest of its codec is not for us: it drops bytes that are not ASCII, makes
`comment=true` into True and `name=007` into 7, takes words of 256 MiB and logs passwords at DEBUG. Here a value stays
the device's own string: UTF-8, and a byte that is none becomes a lone surrogate (PEP 383), so that a value that was
read goes back as the same bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from librouteros.exceptions import ProtocolError
from librouteros.protocol import decode_length, determine_length, encode_length

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import LocalRouterError, MalformedRouterReplyError

_END: Final = b"\x00"
_EQUALS: Final = ord("=")
_TAG: Final = b".tag="
_TAG_BYTES: Final = len(_TAG)
_SHORTEST: Final = (0, 0x80, 0x4000, 0x200000)
"""By how many bytes follow the first: the smallest length that is written so."""


class ReplyWord(enum.Enum):
    """The first word of a reply. `!empty` (since 7.18) says that there are no rows; it may stand anywhere."""

    RE = "!re"
    DONE = "!done"
    TRAP = "!trap"
    FATAL = "!fatal"
    EMPTY = "!empty"


class WireReply(NamedTuple):
    """One sentence from the router. A tuple: there is one for each row of a read, and it is made four times as fast.

    `tag`: of the command that it belongs to, None where it has none. `values`: its attributes; of two with one name
    the last (as every client does). `texts`: other words, of a `!fatal`. `size_bytes`: of all its words.
    """

    word: ReplyWord
    tag: str | None
    values: Mapping[str, str]
    texts: Sequence[str]
    size_bytes: int

    @property
    def text(self) -> str:
        """Why the router refuses, or ends the connection."""
        return " ".join(self.texts) or self.values.get("message", "")


# --- out ---


def encode_sentence(words: Sequence[str], tag: str = "") -> bytes:
    """Return the bytes of one command.

    Args:
        words: the command (`/ppp/secret/print`), then attributes (`=name=x`) and queries (`?name=x`).
        tag: the command's tag, ASCII; "": it has none.

    Raises:
        LocalRouterError: there is no command, a word is empty, begins otherwise or has a NUL, a character has no
            bytes, or a limit is passed. A NUL would end a string inside RouterOS: it would write another value than
            it was given.
    """
    if not words or not words[0].startswith("/"):
        raise LocalRouterError("command: expected its first word to begin with a slash")
    data = bytearray()
    for number, word in enumerate(words):
        if number and not word.startswith(("=", "?")):
            raise LocalRouterError(f"{words[0]}: expected word {number} to begin with = or ?")
        try:
            content = word.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # Its message quotes the word, which may be a password
            raise LocalRouterError(f"{words[0]}: word {number} has a character that is none") from None
        if b"\x00" in content:
            raise LocalRouterError(f"{words[0]}: word {number} has a NUL")
        size = len(content)
        if size > limits.COMMAND_WORD_BYTES:
            raise LocalRouterError(
                f"{words[0]}: expected at most {limits.COMMAND_WORD_BYTES} bytes in word {number}, got {size}"
            )
        if size < _SHORTEST[1]:
            data.append(size)
        else:
            data += encode_length(size)
        data += content
    if tag:
        content = _TAG + tag.encode()
        data += encode_length(len(content)) + content
    if len(data) > limits.COMMAND_BYTES:
        raise LocalRouterError(f"{words[0]}: expected at most {limits.COMMAND_BYTES} bytes, got {len(data)}")
    return bytes(data + _END)


# --- in ---


_Begun = tuple[ReplyWord | None, str | None, dict[str, str], list[str], int, int]
"""A sentence that has begun: its first word, tag, attributes, other words, the number of its words and their bytes."""


class ReplyReader:
    """Bytes of one connection in, replies out. Holds at most one sentence that is not complete."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._need = 0
        self._begun: _Begun = None, None, {}, [], 0, 0
        self._names: dict[bytes, str] = {}
        self._broken = False

    @property
    def unfinished(self) -> bool:
        """Whether a sentence has begun and not ended."""
        word, *_ = self._begun
        return bool(self._rest) or word is not None

    def receive_untrusted(self, data: bytes) -> Iterator[WireReply]:
        """Give the replies that are complete with `data`. To be exhausted before more is given.

        Raises:
            MalformedRouterReplyError: this is not the protocol, or a limit is passed. Replies before that place have
                been given; nothing after it can be read, now or later.
        """
        if self._broken:
            raise MalformedRouterReplyError("reply: nothing can be read after what could not be")
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._broken = True  # until the end is reached
        at, size, names = 0, len(data), self._names
        word, tag, values, texts, count, size_bytes = self._begun
        while at < size:
            length = data[at]
            start = at + 1
            if length >= 0x80:
                start, length = _long_length_untrusted(data, at)
            stop = start + length
            if stop > size:
                if not count and length > _REPLY_WORD_BYTES:
                    raise _no_reply_word()  # seen at once, not after it was waited for: a port of something else
                self._need = stop - at
                break
            if length:
                size_bytes += length
                count += 1
                if count == 1:
                    word = _REPLY_WORDS.get(data[start:stop])
                    if word is None:
                        raise _no_reply_word()
                elif data[start] == _EQUALS:
                    name, _, value = data[start + 1 : stop].partition(b"=")
                    values[names.get(name) or self._name(name)] = value.decode("utf-8", "surrogateescape")
                elif data.startswith(_TAG, start, stop):
                    if tag is not None:
                        raise MalformedRouterReplyError("reply: expected one tag, got a second one")
                    tag = data[start + _TAG_BYTES : stop].decode("utf-8", "surrogateescape")
                elif word is ReplyWord.FATAL:
                    texts.append(data[start:stop].decode("utf-8", "surrogateescape"))
                else:
                    raise MalformedRouterReplyError("reply: expected an attribute or a tag, got another word")
                if size_bytes > limits.SENTENCE_BYTES or count > limits.SENTENCE_WORDS:
                    raise MalformedRouterReplyError(
                        f"reply: expected at most {limits.SENTENCE_WORDS} words of {limits.SENTENCE_BYTES} bytes, "
                        f"got {count} of {size_bytes} and no end"
                    )
            elif word is not None:  # "Empty sentences are ignored."
                yield WireReply(word, tag, values, texts, size_bytes)
                word, tag, values, texts, count, size_bytes = None, None, {}, [], 0, 0
            at = stop
        self._begun = word, tag, values, texts, count, size_bytes
        self._rest += data[at:]
        self._broken = False

    def _name(self, name: bytes) -> str:
        """Return a property's name; rows repeat them, so one copy of each is kept."""
        if not name:
            raise MalformedRouterReplyError("reply: expected an attribute's name, got an empty one")
        text = name.decode("utf-8", "surrogateescape")
        if len(self._names) < limits.NAMES_KNOWN:
            self._names[name] = text
        return text


def _long_length_untrusted(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the word at `at` begins, and its length; bytes that are not here yet count as
    content.
    """
    try:
        more = determine_length(data[at : at + 1])
        start = at + 1 + more
        if start > len(data):
            return start, 0
        length = decode_length(data[at:start])
    except ProtocolError as err:
        # 0xF0 begins lengths from 256 MiB; 0xF1 to 0xF7 are not defined, and 0xF8 and above are control bytes
        raise MalformedRouterReplyError(f"reply: expected the length of a word, got byte 0x{data[at]:02x}") from err
    if length < _SHORTEST[more]:
        raise MalformedRouterReplyError(
            f"reply: expected the shortest form of a length, got {length} in {more + 1} bytes"
        )
    if length > limits.WORD_BYTES:
        raise MalformedRouterReplyError(f"reply: expected a word of at most {limits.WORD_BYTES} bytes, got {length}")
    return start, length


def _no_reply_word() -> MalformedRouterReplyError:
    # Also one that begins with "!" but is not known: it may say what we would miss, as `!empty` was new once
    return MalformedRouterReplyError(
        f"reply: expected one of {', '.join(w.value for w in ReplyWord)} as its first word"
    )


_REPLY_WORDS: Final = {word.value.encode(): word for word in ReplyWord}
_REPLY_WORD_BYTES: Final = max(map(len, _REPLY_WORDS))
