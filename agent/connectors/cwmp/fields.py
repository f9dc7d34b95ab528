"""How a message's fields stand in XML: read liberally, written exactly. Pure.

A message is a frozen dataclass with fields that are annotated with their kind, so that the dataclass *is* the schema:

    command_key: Annotated[str, Text(32)]

stands for `<CommandKey>`, a string of at most 32 characters. Reading takes fields in any order, in any namespace, and
passes over unknown ones (TR-069 section 3.5 allows it). A number out of its range and a text that is too long are the
device's words, and are kept. Writing refuses both: our messages follow the schema.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeVar, get_type_hints

from agent.connectors.cwmp import simple_types
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedMessageError
from agent.connectors.cwmp.versions import ENCODING, XSI, CwmpVersion
from agent.connectors.cwmp.xml_tree import Element, Name, is_char_data
from agent.cpe_model import values
from agent.cpe_model.presentable import presentable

T = TypeVar("T")

_ACRONYMS: Final = {"url": "URL", "uuid": "UUID", "oui": "OUI", "sn": "SN", "du": "DU"}


class _Required:
    """The value of an absent field, where it may not be absent."""


REQUIRED: Final = _Required()


class FieldKind(Protocol):
    """How a value of one kind stands in XML."""

    @property
    def absent(self) -> object:
        """The value where its element is not there; REQUIRED where that is an error."""
        ...

    def read_untrusted(self, element: Element) -> object:
        """Return the value of an element.

        Raises:
            MalformedMessageError: there is none of this kind.
        """
        ...

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        """Return a value's element.

        Raises:
            LocalCwmpError: the schema of that version does not have it.
        """
        ...


# --- simple kinds ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `most` characters (None: any number) that matches `pattern` whole.

    `old_pattern`: in versions before 1.2, where another holds. `absent`: an empty text, unless the schema says
    minOccurs="0": then None. CPE leave texts out that must be there, such as an event's CommandKey. `trim`: read
    without the blanks round it, which no name has. `for_people`: nothing rests on it, so it is read even where some of
    it cannot be decoded.
    """

    most: int | None = None
    pattern: str | None = None
    old_pattern: str | None = None
    absent: str | None = ""
    trim: bool = False
    for_people: bool = False

    def read_untrusted(self, element: Element) -> str:
        text = _leaf(element).text
        if values.UNREADABLE in text:
            if not self.for_people:
                raise MalformedMessageError("expected a text that can be decoded")
            text = values.shown_text(text)
        return text.strip() if self.trim else text

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        if not isinstance(value, str) or not _is_writable(value):
            raise LocalCwmpError(f"{name}: expected a string of characters that XML has")
        if self.most is not None and len(value) > self.most:
            raise LocalCwmpError(f"{name}: expected at most {self.most} characters, got {len(value)}")
        pattern = self.old_pattern if version is not CwmpVersion.V1_2 and self.old_pattern else self.pattern
        if pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None:
            raise LocalCwmpError(f"{name}: expected a text of the form {pattern}")
        return Element("", name, value)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number in one of the `ranges`, both ends included; in `old_ranges` before 1.2, where those differ."""

    ranges: tuple[tuple[int, int], ...]
    old_ranges: Mapping[CwmpVersion, tuple[tuple[int, int], ...]] = dataclasses.field(default_factory=dict)
    absent: object = REQUIRED

    def read_untrusted(self, element: Element) -> int:
        return simple_types.read_number_untrusted(_leaf(element).text)

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        ranges = self.old_ranges.get(version, self.ranges)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not any(least <= value <= most for least, most in ranges)
        ):
            shown = ", ".join(f"{least} to {most}" for least, most in ranges)
            raise LocalCwmpError(f"{name}: expected a number of {shown}")
        return Element("", name, str(int(value)))


@dataclass(frozen=True, slots=True)
class Boolean:
    """A boolean, written `1` or `0` as in TR-069's own examples."""

    absent: ClassVar[object] = REQUIRED

    def read_untrusted(self, element: Element) -> bool:
        return simple_types.read_boolean_untrusted(_leaf(element).text)

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:  # noqa: ARG002  the same in all
        if not isinstance(value, bool):
            raise LocalCwmpError(f"{name}: expected a boolean")
        return Element("", name, "1" if value else "0")


@dataclass(frozen=True, slots=True)
class Time:
    """A dateTime, as the device's own string; `values.moment` says which moment it names, if any."""

    absent: str | None = ""

    def read_untrusted(self, element: Element) -> str:
        text = _leaf(element).text
        if values.UNREADABLE in text:
            raise MalformedMessageError("expected a time that can be decoded")
        return text

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:  # noqa: ARG002  the same in all
        if not isinstance(value, str) or not values.is_time(value):
            raise LocalCwmpError(f"{name}: expected a dateTime of XML Schema")
        return Element("", name, value)


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter's value: the device's own string, and its type (`values.TYPES`; another's spelling where unknown).

    A value that could not be decoded stands in it as `values.UNREADABLE`.
    """

    text: str
    type: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A `Value` with its `xsi:type`."""

    absent: ClassVar[object] = REQUIRED

    def read_untrusted(self, element: Element) -> Value:
        return Value(_leaf(element).text, values.read_type(element.attribute(XSI, "type") or ""))

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:  # noqa: ARG002  the same in all
        if not isinstance(value, Value) or (check := values.TYPES.get(value.type)) is None:
            raise LocalCwmpError(f"{name}: expected a value of one of the types {', '.join(values.TYPES)}")
        if not check(value.text) or not _is_writable(value.text):
            raise LocalCwmpError(f"{name}: expected the text of a value to be {value.type}")
        prefix = "soapenc" if value.type == "base64" else "xsd"
        return Element("", name, value.text, attributes={(XSI, "type"): f"{prefix}:{value.type}"})


# --- kinds of several -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Struct:
    """A structure: a dataclass with annotated fields."""

    cls: type[object]
    absent: ClassVar[object] = REQUIRED

    def read_untrusted(self, element: Element) -> object:
        return read_struct_untrusted(self.cls, element)

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        if type(value) is not self.cls:
            raise LocalCwmpError(f"{name}: expected {self.cls.__name__}, got {type(value).__name__}")
        return Element("", name, children=write_fields(value, version))


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several structures; `xsi:type` says which: `cwmp:InstallOpStruct`."""

    classes: Mapping[str, type[object]]
    absent: ClassVar[object] = REQUIRED

    def read_untrusted(self, element: Element) -> object:
        named = (element.attribute(XSI, "type") or "").strip().rpartition(":")[2]
        cls = self.classes.get(named)
        if cls is None:
            raise MalformedMessageError(f"expected xsi:type to be one of {', '.join(self.classes)}")
        return read_struct_untrusted(cls, element)

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        for type_name, cls in self.classes.items():
            if type(value) is cls:
                attributes: dict[Name, str] = {(XSI, "type"): f"cwmp:{type_name}"}
                return Element("", name, children=write_fields(value, version), attributes=attributes)
        raise LocalCwmpError(f"{name}: expected one of {', '.join(self.classes)}, got {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Array:
    """A SOAP array (SOAP 1.1 section 5.4.2): `least` to `most` elements `item` of one kind.

    Read by the elements that are there: neither their names mean anything by that section, nor does the count of
    `arrayType`, which CPE get wrong, leave out, or write as `[0008]`. `type`: of an element, prefixed.
    """

    item: str
    kind: FieldKind
    type: str
    least: int = 0
    most: int | None = None
    absent: object = REQUIRED

    def read_untrusted(self, element: Element) -> tuple[object, ...]:
        found = []
        for number, child in enumerate(element.children, 1):
            try:
                found.append(self.kind.read_untrusted(child))
            except MalformedMessageError as err:
                raise MalformedMessageError(f"element {number}: {err}") from err
        return tuple(found)

    def write(self, name: str, value: object, version: CwmpVersion) -> Element:
        if not isinstance(value, tuple) or len(value) < self.least or len(value) > (self.most or len(value)):
            most = "" if self.most is None else f" to {self.most}"
            raise LocalCwmpError(f"{name}: expected a tuple of {self.least}{most} or more elements")
        children = tuple(self.kind.write(self.item, each, version) for each in value)
        return Element("", name, children=children, attributes={(ENCODING, "arrayType"): f"{self.type}[{len(value)}]"})


@dataclass(frozen=True, slots=True)
class Repeated:
    """Elements of one name and kind, `least` or more, beside the other fields."""

    kind: FieldKind
    least: int = 1


# --- structures -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """`attribute`: in Python. `element`: in XML."""

    attribute: str
    element: str
    kind: FieldKind | Repeated


_FIELDS: Final[dict[type[object], tuple[_Field, ...]]] = {}


def fields_of(cls: type[object]) -> tuple[_Field, ...]:
    """Return the fields of a message or structure, in the schema's order."""
    known = _FIELDS.get(cls)
    if known is None:
        known = _FIELDS[cls] = _fields_of(cls)
    return known


def _fields_of(cls: type[object]) -> tuple[_Field, ...]:
    hints: Mapping[str, object] = get_type_hints(cls, include_extras=True)
    fields: Callable[[object], tuple[dataclasses.Field[object], ...]] = dataclasses.fields  # type: ignore[assignment]  # of any class
    return tuple(
        _Field(each.name, element_name(each.name), hints[each.name].__metadata__[0])  # type: ignore[attr-defined]  # Annotated
        for each in fields(cls)
    )


def element_name(attribute: str) -> str:
    """Return a field's name in XML: `success_url` -> `SuccessURL`."""
    return "".join(_ACRONYMS.get(word, word.capitalize()) for word in attribute.split("_"))


def read_struct_untrusted(cls: type[T], element: Element) -> T:
    """Return a message or structure; the order of its fields does not matter, and unknown ones are passed over.

    Raises:
        MalformedMessageError: a field is missing, is there twice, or is not of its kind.
    """
    found: dict[str, list[Element]] = {}
    for child in element.children:
        found.setdefault(child.name, []).append(child)
    arguments: dict[str, object] = {}
    for field in fields_of(cls):
        here = found.get(field.element, [])
        try:
            arguments[field.attribute] = _read(field.kind, here)
        except MalformedMessageError as err:
            raise MalformedMessageError(f"{field.element}: {err}") from err
    return cls(**arguments)


def _read(kind: FieldKind | Repeated, elements: list[Element]) -> object:
    if isinstance(kind, Repeated):
        return tuple(kind.kind.read_untrusted(each) for each in elements)
    if len(elements) > 1:
        raise MalformedMessageError(f"expected it once, got it {len(elements)} times")
    if elements:
        return kind.read_untrusted(elements[0])
    if kind.absent is REQUIRED:
        raise MalformedMessageError("expected it, got nothing")
    return kind.absent


def write_fields(value: object, version: CwmpVersion) -> tuple[Element, ...]:
    """Return the elements of a message's or structure's fields; one that is None is left out.

    Raises:
        LocalCwmpError: the schema of that version does not have it.
    """
    written: list[Element] = []
    for field in fields_of(type(value)):
        here = getattr(value, field.attribute)
        if isinstance(field.kind, Repeated):
            if not isinstance(here, tuple) or len(here) < field.kind.least:
                raise LocalCwmpError(f"{field.element}: expected {field.kind.least} or more in a tuple")
            written.extend(field.kind.kind.write(field.element, each, version) for each in here)
        elif here is not None or field.kind.absent is not None:
            written.append(field.kind.write(field.element, here, version))
    return tuple(written)


def _is_writable(text: str) -> bool:
    """Return whether a text may go out: XML has its characters, and none stands for an undecoded value."""
    return is_char_data(text) and values.UNREADABLE not in text


def _leaf(element: Element) -> Element:
    if element.children:
        raise MalformedMessageError(f"expected text, got an element {presentable(element.children[0].name)}")
    return element
