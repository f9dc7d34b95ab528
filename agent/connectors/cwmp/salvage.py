"""The second reading of an answer that is no XML because of a few values that cannot be decoded. Pure.

Phones choose their own names, and firmware hands these on in Latin-1, in GBK, cut in the middle of a character, with
control characters or with a bare `&`. One such value must not make a CPE unreadable. So each place that cannot be
decoded is replaced by a mark (`values.UNREADABLE`), and the rest is read as ever.

* This is for messages that only report: an Inform, the answer to a reading request. The answer to a write is read
  once, strictly.
* A mark may stand in the text of an element, nowhere else: markup, attributes and names must be readable.
* Nothing is guessed: a surrogate pair written as two references could be put together, and is marked all the same.
* Time is in proportion to the bytes, and both are bounded (`limits.SALVAGE_BYTES` and its like).
"""

from __future__ import annotations

import re
from typing import Final

from agent.connectors.cwmp import envelope, limits, soap, xml_tree
from agent.connectors.cwmp.errors import MalformedXmlError
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.xml_tree import Element, Slices, work_of
from agent.cpe_model.values import UNREADABLE

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_.:-]*+"
TAG: Final = rf"""</?+{_NAME}(?:\s++{_NAME}\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'))*+\s*+/?+>"""
_TOKEN: Final = re.compile(
    TAG + r"|<|]]>"
    r"|&(?:\#[0-9]{1,7}+;|\#x[0-9A-Fa-f]{1,6}+;|(?:amp|lt|gt|quot|apos);)?+",
    re.ASCII,
)
"""Possessive throughout: a tag that is none costs one look, as far as the next `<`."""
_NO_CHAR: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All but XML 1.0's `Char`."""
_LATIN_1: Final = re.compile(rb"""<\?xml\s[^>]{0,300}encoding\s*=\s*["']iso-8859-1["']""", re.IGNORECASE)
_SECTIONS: Final = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_ESCAPES: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_REPLACEMENT: Final = "\ufffd"
"""Python's codecs put it in the place of bytes that they cannot decode. One that came so is marked as well."""


def read_in_slices_untrusted(data: bytes, most: int = limits.ELEMENTS) -> Slices[tuple[soap.Opened, Message]]:
    """Return the envelope and the message of a body with unreadable values, after some slices of work.

    Args:
        data: the body.
        most: elements.

    Raises:
        RemoteCwmpError: it cannot be read so either.
    """
    clear = yield from mended_in_slices_untrusted(data, most)
    root = yield from xml_tree.parse_in_slices_untrusted(clear.encode(), most)
    opened = soap.opened_untrusted(root)
    if _marks(opened.message) != clear.count(UNREADABLE):
        raise MalformedXmlError("XML: expected all that cannot be decoded to be in values")
    return opened, envelope.read_message_untrusted(opened.message)


def _marks(element: Element) -> int:
    return element.text.count(UNREADABLE) + sum(map(_marks, element.children))


def mended_in_slices_untrusted(data: bytes, most: int = limits.ELEMENTS) -> Slices[str]:
    """Return a document with a mark for each thing that cannot be decoded; whether it is well-formed is not said.

    Args:
        data: the document.
        most: elements that may be in it; of tags and references three times as many.

    Raises:
        MalformedXmlError: it is too large, in UTF-16, has a declaration, or too much of it cannot be decoded.
    """
    data = xml_tree.trimmed_untrusted(data)
    if len(data) > limits.SALVAGE_BYTES or xml_tree.is_utf16(data):
        raise MalformedXmlError(f"XML: expected at most {limits.SALVAGE_BYTES} bytes, and no UTF-16")
    encoding = "iso-8859-1" if _LATIN_1.match(data) else "utf-8-sig"
    text = _NO_CHAR.sub(UNREADABLE, data.decode(encoding, "replace").replace(_REPLACEMENT, UNREADABLE))
    pieces: list[str] = []
    at, tokens, marks = 0, 0, text.count(UNREADABLE)
    while (found := _TOKEN.search(text, at)) is not None:
        tokens += 1
        if tokens % limits.SLICE_TOKENS == 0:
            yield work_of(0, limits.SLICE_TOKENS)
        if tokens > 3 * most or marks > limits.SALVAGE_MARKS:
            raise MalformedXmlError(
                f"XML: expected at most {limits.SALVAGE_MARKS} places that cannot be decoded, "
                f"and {3 * most} tags and references"
            )
        pieces.append(text[at : found.start()])
        piece, at = found[0], found.end()
        if piece == "<" and (section := _section(text, found.start())) is not None:
            piece, at = section
        elif piece in ("<", "&", "]]>") or (piece[1] == "#" and not _is_char(piece)):
            marks += 1
            piece = UNREADABLE if piece[:2] == "&#" else piece.translate(_ESCAPES) + UNREADABLE
        elif UNREADABLE in piece:
            raise MalformedXmlError("XML: expected markup that can be decoded")
        pieces.append(piece)
    yield work_of(len(data), tokens % limits.SLICE_TOKENS)
    pieces.append(text[at:])
    return "".join(pieces)


def _section(text: str, at: int) -> tuple[str, int] | None:
    """Return the text of a CDATA section, "" for a comment or an instruction, and its end; None: none begins here."""
    opening = next((each for each in _SECTIONS if text.startswith(each, at)), None)
    if opening is None:
        return None
    end = text.find(_SECTIONS[opening], at + len(opening))
    if end < 0:
        raise MalformedXmlError(f"XML: expected {_SECTIONS[opening]} after {opening}")
    inside = text[at + len(opening) : end]
    return inside.translate(_ESCAPES) if opening == "<![CDATA[" else "", end + len(_SECTIONS[opening])


def _is_char(reference: str) -> bool:
    """Return whether a character reference is of one that XML has."""
    digits = reference[2:-1]
    code = int(digits[1:], 16) if digits[0] == "x" else int(digits)
    return code <= 0x10FFFF and _NO_CHAR.match(chr(code)) is None
