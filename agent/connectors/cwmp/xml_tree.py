"""Bytes to a small tree of elements, and back. Pure; the standard library's expat does the reading.

It takes documents that SOAP 1.1 section 3 allows: no document type declaration, and so no entities but the five and
character references. A tree is bounded in bytes, elements, depth, attributes and text (`limits`), and takes time in
proportion to its bytes. An element has text or children: blanks between children are layout, and other text beside
children is passed over.

Namespaces are resolved here and not by expat, for two reasons: a prefix that is nowhere declared is a defect that CPE
have, not an end; and `xsi:type="xsd:string"` needs the prefixes that hold where it stands.

UTF-8 and UTF-16 with or without a declaration, ISO-8859-1 and US-ASCII with one: those are expat's own. Other encodings
are refused, since pyexpat would look for a codec by the name that came.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar, cast
from xml.parsers import expat

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedXmlError
from agent.cpe_model.presentable import presentable

_ENCODINGS: Final = frozenset({"utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1", "us-ascii"})
_DECLARATIONS: Final = ("<!DOCTYPE", "<!ENTITY")
_FORBIDDEN: Final = tuple(
    word.encode(encoding) for word in _DECLARATIONS for encoding in ("ascii", "utf-16-le", "utf-16-be")
)

Name = tuple[str, str]
"""Namespace and local name. The namespace of a prefix that is declared nowhere is that prefix with a colon."""


@dataclass(slots=True)
class Element:
    """One element. Nobody changes it; not frozen, since that makes making one three times as slow.

    `namespace`: empty where it has none. `text`: all of its character data; empty where it has children.
    `scope`: prefix -> namespace where it stands, for names inside values.
    """

    namespace: str
    name: str
    text: str = ""
    children: tuple[Element, ...] = ()
    attributes: Mapping[Name, str] = field(default_factory=dict)
    scope: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def named(self, name: str) -> Iterator[Element]:
        """Give the children of this local name, in whatever namespace."""
        return (child for child in self.children if child.name == name)

    def attribute(self, namespace: str, name: str) -> str | None:
        """Return an attribute's value; where this namespace lacks it, that of any other; None: there is none."""
        exact = self.attributes.get((namespace, name))
        if exact is not None:
            return exact
        return next((value for (_, local), value in self.attributes.items() if local == name), None)


# --- in ---

_T = TypeVar("_T")
Slices = Generator[float, None, _T]
"""Reading in slices: gives the work of each slice once it is done, and returns the tree."""


def work_of(size: int, things: int) -> float:
    """Return the work of reading so many bytes and so many elements or tags: some 0.1 ms each."""
    return size / 1024 + things / 32


def in_one_go(slices: Slices[_T]) -> _T:
    """Return the tree that slices read, without a pause between them."""
    while True:
        try:
            next(slices)
        except StopIteration as over:
            return cast("_T", over.value)


_Open = tuple[Name, Mapping[Name, str], Mapping[str, str], list[Element]]
"""An element that is not closed yet: its name, attributes, scope, and its children so far."""
_NO_ATTRIBUTES: Final[Mapping[Name, str]] = MappingProxyType({})


class _Builder:
    """The handlers that expat calls. It knows nothing of the parser, so that neither keeps the other alive."""

    def __init__(self, most: int) -> None:
        self.root: Element | None = None
        self.elements, self._most = 0, most
        self._stack: list[_Open] = []
        self._text: list[str] = []
        """Of the innermost element, since the last tag: beside children it is passed over."""
        self._chars = 0
        self._scope: Mapping[str, str] = {}
        """In which the names of `_names` were resolved."""
        self._names: dict[str, Name] = {}
        self._keys: dict[str, Name] = {}
        """In the same scope, of attributes."""

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise MalformedXmlError(f"XML: expected UTF-8, UTF-16 or ISO-8859-1, got {presentable(encoding)}")

    def doctype(self, *_: object) -> None:
        raise _declared()

    def start(self, name: str, attributes: list[str]) -> None:
        self.elements += 1
        if self.elements > self._most:
            raise MalformedXmlError(f"XML: expected at most {self._most} elements")
        if len(self._stack) >= limits.DEPTH:
            raise MalformedXmlError(f"XML: expected at most {limits.DEPTH} elements inside each other")
        scope: Mapping[str, str] = self._stack[-1][2] if self._stack else {}
        own = _NO_ATTRIBUTES
        if len(attributes) == 2 and not attributes[0].startswith("xmlns"):  # mostly xsi:type: nothing is declared
            key = attributes[0]
            if scope is not self._scope:
                self._scope, self._names, self._keys = scope, {}, {}
            known = self._keys.get(key)
            if known is None:
                _check_name(key)
                known = self._keys[key] = _resolve(key, scope, "")
            own = {known: attributes[1]}
        elif attributes:
            own, scope = _attributes(attributes, scope)
        if scope is not self._scope:
            self._scope, self._names, self._keys = scope, {}, {}
        resolved = self._names.get(name)
        if resolved is None:
            _check_name(name)
            resolved = self._names[name] = _resolve(name, scope, scope.get("", ""))
        self._stack.append((resolved, own, scope, []))
        self._text.clear()
        self._chars = 0

    def text(self, data: str) -> None:
        self._chars += len(data)
        if self._chars > limits.TEXT_CHARS:
            raise MalformedXmlError(f"XML: expected at most {limits.TEXT_CHARS} characters in an element")
        self._text.append(data)

    def end(self, _name: str) -> None:
        (namespace, name), attributes, scope, children = self._stack.pop()
        text = "" if children else "".join(self._text)
        self._text.clear()
        self._chars = 0
        element = Element(namespace, name, text, tuple(children), attributes, scope)
        if self._stack:
            self._stack[-1][3].append(element)
        else:
            self.root = element


def _attributes(listed: list[str], scope: Mapping[str, str]) -> tuple[Mapping[Name, str], Mapping[str, str]]:
    """Return an element's attributes, and the scope with the prefixes that it declares."""
    pairs = list(zip(listed[::2], listed[1::2], strict=True))
    if len(pairs) > limits.ATTRIBUTES:
        raise MalformedXmlError(f"XML: expected at most {limits.ATTRIBUTES} attributes, got {len(pairs)}")
    declared = {key[6:]: value for key, value in pairs if key == "xmlns" or key.startswith("xmlns:")}
    if declared:
        scope = {**scope, **declared}
        if len(scope) > limits.PREFIXES:
            raise MalformedXmlError(f"XML: expected at most {limits.PREFIXES} prefixes, got {len(scope)}")
    own: dict[Name, str] = {}
    for key, value in pairs:
        if key == "xmlns" or key.startswith("xmlns:"):
            continue
        _check_name(key)
        resolved = _resolve(key, scope, "")
        if resolved in own:
            raise MalformedXmlError(f"XML: expected one attribute {presentable(key)}, got two")
        own[resolved] = value
    return own, scope


def _check_name(name: str) -> None:
    if len(name) > limits.NAME_CHARS:
        raise MalformedXmlError(f"XML: expected names of at most {limits.NAME_CHARS}, got {len(name)} characters")


def parse_in_slices_untrusted(data: bytes, most: int = limits.ELEMENTS) -> Slices[Element]:
    """Return the root element of a document, after some slices of work.

    Blanks before a document, and blanks and NUL bytes after it, are passed over: CPE send both.

    Args:
        data: the body of one POST, decompressed; at most `limits.BODY_BYTES`.
        most: elements.

    Raises:
        MalformedXmlError: not well-formed, not of an encoding that is taken, a declaration, or a limit is passed.
    """
    data = trimmed_untrusted(data)
    builder, parser = _Builder(most), expat.ParserCreate()
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.XmlDeclHandler = builder.declaration
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    size, last = limits.SLICE_BYTES, len(data) - 1
    if last < limits.STRANGER_BODY_BYTES:  # in one piece: expat before 2.6 begins a token again with every piece of it
        size = limits.STRANGER_BODY_BYTES
    for at in range(0, max(last, 0) + 1, size):
        before = builder.elements
        try:
            _feed(parser, data[at : at + size], at + size > last)
        finally:  # what cannot be read is work all the same
            yield work_of(min(size, len(data) - at), builder.elements - before)
    if builder.root is None:  # expat refuses a document without one
        raise MalformedXmlError("XML: expected an element, got none")
    return builder.root


def _feed(parser: expat.XMLParserType, piece: bytes, is_last: bool) -> None:
    try:
        parser.Parse(piece, is_last)
    except expat.ExpatError as err:
        why = expat.ErrorString(err.code)
        raise MalformedXmlError(f"XML: line {err.lineno}, column {err.offset}: {why}") from err


def trimmed_untrusted(data: bytes) -> bytes:
    """Return a document without the blanks and NUL bytes round it.

    Raises:
        MalformedXmlError: it is too large, or has a declaration of types or entities.
    """
    if len(data) > limits.BODY_BYTES:
        raise MalformedXmlError(f"XML: expected at most {limits.BODY_BYTES} bytes, got {len(data)}")
    if any(word in data for word in _FORBIDDEN):
        # Before expat sees it: pyexpat cannot stop a parser, so entities would be expanded though nobody listens
        raise _declared()
    return data if is_utf16(data) else data.strip(b" \t\r\n").rstrip(b"\x00 \t\r\n")


def is_utf16(data: bytes) -> bool:
    """Return whether a document looks like UTF-16: by its mark, or by the NUL bytes of its first characters."""
    return b"\x00" in data[:4] or data.startswith((b"\xfe\xff", b"\xff\xfe"))


def _declared() -> MalformedXmlError:
    return MalformedXmlError("XML: expected no document type declaration (SOAP 1.1 section 3), got one")


def _resolve(qname: str, scope: Mapping[str, str], default: str) -> Name:
    prefix, colon, local = qname.partition(":")
    if not colon:
        return default, qname
    return scope.get(prefix, f"{prefix}:"), local


# --- out ---

_ESCAPES: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ATTRIBUTE_ESCAPES: Final = {**_ESCAPES, ord('"'): "&quot;", ord("\t"): "&#9;", ord("\n"): "&#10;"}


def is_char_data(text: str) -> bool:
    """Return whether XML 1.0 can hold a text: `Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | …`."""
    if text.isprintable():  # the common case, in C: no controls, surrogates or noncharacters
        return True
    return not any((c < " " and c not in "\t\n\r") or "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff" for c in text)


def write(root: Element, prefixes: Mapping[str, str]) -> bytes:
    """Return a tree as a document in UTF-8 with a declaration.

    Args:
        root: its elements' names must be XML names.
        prefixes: namespace -> prefix; all are declared at the root.

    Raises:
        LocalCwmpError: a namespace without a prefix, or a character that XML 1.0 does not have.
    """
    pieces = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    declared = "".join(f' xmlns:{p}="{ns.translate(_ATTRIBUTE_ESCAPES)}"' for ns, p in prefixes.items())
    _write(root, prefixes, declared, pieces)
    return "".join(pieces).encode()


def _write(element: Element, prefixes: Mapping[str, str], declared: str, pieces: list[str]) -> None:
    name = _qname((element.namespace, element.name), prefixes)
    attributes = "".join(
        f' {_qname(key, prefixes)}="{_checked(value).translate(_ATTRIBUTE_ESCAPES)}"'
        for key, value in element.attributes.items()
    )
    if not element.children and not element.text:
        pieces.append(f"<{name}{declared}{attributes}/>")
        return
    pieces.append(f"<{name}{declared}{attributes}>")
    if element.children:
        for child in element.children:
            _write(child, prefixes, "", pieces)
    else:
        pieces.append(_checked(element.text).translate(_ESCAPES))
    pieces.append(f"</{name}>")


def _qname(name: Name, prefixes: Mapping[str, str]) -> str:
    namespace, local = name
    if not namespace:
        return local
    if namespace not in prefixes:
        raise LocalCwmpError(f"XML: expected a prefix for the namespace of {local}")
    return f"{prefixes[namespace]}:{local}"


def _checked(text: str) -> str:
    if not is_char_data(text):
        raise LocalCwmpError("XML: expected characters of XML 1.0, got one that it does not have")
    return text
