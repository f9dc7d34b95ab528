"""JSON without its traps: one meaning for each document, or none (RFC 8259, RFC 7493 "I-JSON").

Refused: duplicate names, NaN and Infinity, numbers that are not integers, lone surrogates, a byte order mark, nesting
above `limits.JSON_DEPTH`, anything but an object at the top, and (through `Reader.done`) any field that nobody read.

An object is read field by field (`Reader`), or as a whole by a declaration (`record`) of how each field is read.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, NoReturn, ParamSpec, TypeVar, cast, final

from trust import limits
from trust.errors import MalformedStatementError, NotUnderstoodError

_E = TypeVar("_E", bound=enum.Enum)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_U = TypeVar("_U")
_Json = object
"""Any JSON value. Spelled so because `Reader.object` hides the built-in inside the class."""

_BRACKET: Final = re.compile(r"[\[\]{}]")
_HEX: Final = re.compile(r"[0-9a-f]*", re.ASCII)
_HANDLE: Final = re.compile(rf"[a-z0-9-]{{1,{limits.HANDLE_CHARS}}}", re.ASCII)


def read_object_untrusted(data: bytes, max_bytes: int, what: str) -> Reader:
    """Return a reader over the one JSON object that `data` holds.

    Args:
        data: UTF-8 bytes.
        max_bytes: the longest acceptable `data`.
        what: the name of the document, for messages ("plan").

    Raises:
        MalformedStatementError: too long, not UTF-8, not strict JSON, or not an object.
    """
    if len(data) > max_bytes:
        raise MalformedStatementError(f"{what}: expected at most {max_bytes} bytes, got {len(data)}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise MalformedStatementError(f"{what}: not UTF-8 at byte {err.start}") from err
    if text.startswith("\ufeff"):
        raise MalformedStatementError(f"{what}: starts with a byte order mark")
    _check_depth(text, what)
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            # json accepts an escaped half of a surrogate pair; no UTF-8 can say it
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as err:
        # JSONDecodeError, UnicodeEncodeError and our own hooks. Never the text itself in the message: it may be secret
        raise MalformedStatementError(f"{what}: not strict JSON: {_short(err)}") from err
    if not isinstance(value, dict):
        raise MalformedStatementError(f"{what}: expected a JSON object, got {_kind(value)}")
    return Reader(value, what)


def _kind(value: object) -> str:
    """Return the type of a JSON value in JSON's words."""
    return "null" if value is None else _KINDS[type(value)]


def _short(err: ValueError) -> str:
    if isinstance(err, json.JSONDecodeError):
        return f"{err.msg} at character {err.pos}"
    return "a lone surrogate" if isinstance(err, UnicodeEncodeError) else str(err)


def _check_depth(text: str, what: str) -> None:
    if text.count("[") + text.count("{") <= limits.JSON_DEPTH:
        return  # even if all of them stood outside of strings and inside each other
    # Without escaped quotes every second piece lies outside of strings. Where the text is malformed before a bracket,
    # json stops there, however deep the rest looks; and nothing here takes longer than linear time in hostile text.
    pieces = text.replace("\\\\", "").replace('\\"', "").split('"')
    depth = 0
    for bracket in _BRACKET.findall("".join(pieces[::2])):
        if bracket in "[{":
            depth += 1
            if depth > limits.JSON_DEPTH:
                raise MalformedStatementError(f"{what}: nested deeper than {limits.JSON_DEPTH}")
        else:
            depth -= 1


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name twice in one object")
    return fields


def _integer(digits: str) -> int:
    if len(digits) > limits.DIGITS_MAX:
        raise ValueError(f"an integer of {len(digits)} characters")
    return int(digits)


def _no_float(_: str) -> NoReturn:
    raise ValueError("a number that is not an integer")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_no_float, parse_constant=_no_constant
)
_KINDS: Final = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "an integer"}
_CHARACTER_BYTES: Final = 4
"""UTF-8 bytes of a character at most: a text of few enough characters need not be encoded to be measured."""


@final
class Reader:
    """Reads the fields of one JSON object by name and type; `done` refuses fields that were not read.

    Every method raises MalformedStatementError where the field is missing, of another type or out of range.
    """

    __slots__ = ("_fields", "_unread", "_what")

    def __init__(self, fields: dict[str, _Json], what: str) -> None:
        self._fields = fields
        self._unread = set(fields)
        self._what = what

    def _get(self, name: str) -> _Json:
        try:
            value = self._fields[name]
        except KeyError:
            raise self.error(name, "is missing") from None
        self._unread.discard(name)
        return value

    def error(self, name: str, problem: str) -> MalformedStatementError:
        """Return (not raise) an error about field `name`."""
        return MalformedStatementError(f"{self._what}: field {name[:40]!r} {problem}")

    def has(self, name: str) -> bool:
        """Return whether the field is there (reading it not)."""
        return name in self._fields

    def is_null(self, name: str) -> bool:
        """Return whether the value is null, which then is read."""
        return self._get(name) is None

    def names(self) -> tuple[str, ...]:
        """Return the names of all fields, in their order."""
        if _CHARACTER_BYTES * max(map(len, self._fields), default=0) > limits.NAME_BYTES:
            for name in self._fields:
                if len(name.encode()) > limits.NAME_BYTES:
                    raise self.error(name, f"has a name of more than {limits.NAME_BYTES} bytes")
        return tuple(self._fields)

    def object(self, name: str) -> Reader:
        value = self._get(name)
        if not isinstance(value, dict):
            raise self.error(name, f"should be an object, is {_kind(value)}")
        return Reader(value, f"{self._what}.{name[:40]}")

    def object_if_present(self, name: str) -> Reader | None:
        """Return a reader, or None where the field is missing."""
        return self.object(name) if self.has(name) else None

    def _list(self, name: str) -> list[_Json]:
        value = self._get(name)
        if not isinstance(value, list):
            raise self.error(name, f"should be a list, is {_kind(value)}")
        return value

    def objects(self, name: str) -> list[Reader]:
        """Return a reader for each object of a list."""
        readers = []
        for index, value in enumerate(self._list(name)):
            if not isinstance(value, dict):
                raise self.error(name, f"should hold objects, holds {_kind(value)}")
            readers.append(Reader(value, f"{self._what}.{name[:40]}[{index}]"))
        return readers

    def _text(self, name: str, value: _Json, max_bytes: int = limits.TEXT_BYTES) -> str:
        if not isinstance(value, str):
            raise self.error(name, f"should be text, is {_kind(value)}")
        if _CHARACTER_BYTES * len(value) > max_bytes and (len(value) > max_bytes or len(value.encode()) > max_bytes):
            raise self.error(name, f"is longer than {max_bytes} bytes")
        return value

    def text(self, name: str, max_bytes: int = limits.TEXT_BYTES) -> str:
        """Return text of at most `max_bytes` UTF-8 bytes; it may be empty."""
        return self._text(name, self._get(name), max_bytes)

    def texts_of(self, *names: str) -> tuple[str, ...]:
        """Return the texts of these fields, in the order of their names here."""
        return tuple(self.text(name) for name in names)

    def only_texts(self, *names: str) -> tuple[str, ...]:
        """Return the texts of these fields, and refuse any other field: the object consists of them."""
        found = self.texts_of(*names)
        self.done()
        return found

    def text_if_present(self, name: str) -> str:
        """Return text, "" where the field is missing."""
        return self.text(name) if self.has(name) else ""

    def text_or_none(self, name: str) -> str | None:
        """Return text, or None where the value is null."""
        value = self._get(name)
        return None if value is None else self._text(name, value)

    def texts(self, name: str, max_bytes: int = limits.TEXT_BYTES) -> list[str]:
        return [self._text(name, value, max_bytes) for value in self._list(name)]

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object with text values only, in its order."""
        return self.object(name).all_texts()

    def all_texts(self) -> dict[str, str]:
        """Return all values, each of which is a text, in their order."""
        return {name: self._text(name, self._fields[name]) for name in self.names()}

    def all_values(self, of_object: Callable[[Reader], _T]) -> dict[str, str | tuple[str, ...] | _T]:
        """Return all values, each a text, a list of texts or an object that `of_object` reads, in their order."""
        found: dict[str, str | tuple[str, ...] | _T] = {}
        for name in self.names():
            value = self._fields[name]
            if isinstance(value, str):
                found[name] = self._text(name, value)
            elif isinstance(value, list):
                found[name] = tuple(self.texts(name))
            else:
                found[name] = of_object(self.object(name))
        return found

    def _integer(self, name: str, value: _Json, lo: int, hi: int) -> int:
        # bool is an int in Python: `true` as a threshold is T6 of the attack list
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(name, f"should be an integer, is {_kind(value)}")
        if not lo <= value <= hi:
            raise self.error(name, f"should be {lo} to {hi}, is {value}")
        return value

    def integer(self, name: str, lo: int, hi: int) -> int:
        """Return an integer, lo <= it <= hi."""
        return self._integer(name, self._get(name), lo, hi)

    def integers(self, name: str, lo: int, hi: int) -> list[int]:
        return [self._integer(name, value, lo, hi) for value in self._list(name)]

    def integer_map(self, name: str, lo: int, hi: int) -> dict[str, int]:
        """Return an object with integer values only, in its order."""
        sub = self.object(name)
        return {key: sub.integer(key, lo, hi) for key in sub.names()}

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise self.error(name, f"should be true or false, is {_kind(value)}")
        return value

    def _hex(self, name: str, value: str, nbytes: int) -> str:
        if len(value) != 2 * nbytes or not _HEX.fullmatch(value):
            raise self.error(name, f"should be {2 * nbytes} lower-case hex digits")
        return value

    def hex(self, name: str, nbytes: int) -> str:
        """Return the lower-case hex of exactly `nbytes` bytes."""
        return self._hex(name, self.text(name), nbytes)

    def hexes(self, name: str, nbytes: int) -> list[str]:
        return [self._hex(name, value, nbytes) for value in self.texts(name)]

    def handle(self, name: str) -> str:
        """Return a handle, `[a-z0-9-]{1,32}`."""
        value = self.text(name)
        if not _HANDLE.fullmatch(value):
            raise self.error(name, f"should be a handle [a-z0-9-]{{1,{limits.HANDLE_CHARS}}}")
        return value

    def _enum(self, name: str, value: str, kind: type[_E]) -> _E:
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in kind)
            raise self.error(name, f"should be one of {known}, is {value[:40]!a}") from None

    def enum(self, name: str, kind: type[_E]) -> _E:
        """Return the member of `kind` that has the field's text as its value."""
        return self._enum(name, self.text(name), kind)

    def enums(self, name: str, kind: type[_E]) -> tuple[_E, ...]:
        return tuple(self._enum(name, value, kind) for value in self.texts(name))

    def extensions(self, understood: Sequence[str] = ()) -> None:
        """Read `crit` and `ext`, both optional: a field of `ext` is ignored unless `crit` names it.

        Raises:
            NotUnderstoodError: `crit` names an extension that is not in `understood`.
        """
        for name in self.texts("crit") if self.has("crit") else ():
            if name not in understood:
                raise NotUnderstoodError(f"{self._what}: demands {name[:40]!r}, which this version does not know")
        self.object_if_present("ext")

    def whole(self, declared: _T) -> _T:
        """Return the whole object, read as declared by `record`; fields that were read before it are let be."""
        return cast("_Record[_T]", declared).whole(self)

    def done(self) -> None:
        """Refuse fields that were not read."""
        if self._unread:
            name = next(name for name in self._fields if name in self._unread)
            raise MalformedStatementError(f"{self._what}: unknown field {name[:40]!r}")


# --- declarations ---------------------------------------------------------------------------------------------------
#
# Each of these functions returns how a field is read, typed as the value that is read (as `dataclasses.field` does it):
# so mypy compares a record's declaration with the class that it makes, field by field.


def by(read: Callable[[Reader, str], _T]) -> _T:
    """Declare a field that `read` reads: it is given the object's reader and the field's name."""
    return cast("_T", read)


def _reading(declared: _T) -> Callable[[Reader, str], _T]:
    """Return how a declared field is read."""
    return cast("Callable[[Reader, str], _T]", declared)


class _Record(Generic[_T]):
    """How an object is read: its fields in the order of their declaration, and no other field."""

    __slots__ = ("_fields", "_make")

    def __init__(self, make: Callable[..., _T], fields: Mapping[str, object]) -> None:
        self._make = make
        self._fields = tuple((name, _reading(declared)) for name, declared in fields.items())

    def __call__(self, r: Reader, name: str) -> _T:
        return self.whole(r.object(name))

    def whole(self, r: Reader) -> _T:
        value = self._make(**{name: read(r, name) for name, read in self._fields})
        r.done()
        return value


def record(make: Callable[_P, _T]) -> Callable[_P, _T]:
    """Declare an object: call the result with the declaration of each field, by the names that `make` has for them."""

    def declared(*_: _P.args, **fields: _P.kwargs) -> _T:
        return cast("_T", _Record(make, fields))

    return declared


def read_record_untrusted(declared: _T, data: bytes, max_bytes: int, what: str) -> _T:
    """Return the one JSON object that `data` holds, read as declared by `record`.

    Args:
        declared: by `record`.
        data: UTF-8 bytes.
        max_bytes: the longest acceptable `data`.
        what: the name of the document, for messages ("plan").

    Raises:
        MalformedStatementError: too long, not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    return read_object_untrusted(data, max_bytes, what).whole(declared)


def each(declared: _T) -> tuple[_T, ...]:
    """Declare a list of objects, each as declared by `record`."""
    whole = cast("_Record[_T]", declared).whole
    return by(lambda r, name: tuple(map(whole, r.objects(name))))


def if_null(declared: _T, otherwise: _U) -> _T | _U:
    """Declare a field that may be null, and its value then."""
    read = _reading(declared)
    return by(lambda r, name: otherwise if r.is_null(name) else read(r, name))


def if_present(declared: _T, otherwise: _T) -> _T:
    """Declare a field that may be missing, and its value then."""
    read = _reading(declared)
    return by(lambda r, name: read(r, name) if r.has(name) else otherwise)


def called(name: str, declared: _T) -> _T:
    """Declare a field that has another name in the document than in the class."""
    read = _reading(declared)
    return by(lambda r, _: read(r, name))


def either(name: str, declared: _T, other: _U) -> _T | _U:
    """Declare a field that the document has by this name, or else as `other` declares."""
    read, read_other = _reading(declared), _reading(other)
    return by(lambda r, own: read(r, name) if r.has(name) else read_other(r, own))


def text() -> str:
    """Declare text of at most `limits.TEXT_BYTES`."""
    return by(Reader.text)


def texts() -> tuple[str, ...]:
    """Declare a list of texts."""
    return by(lambda r, name: tuple(r.texts(name)))


def text_map() -> Mapping[str, str]:
    """Declare an object with text values only."""
    return by(Reader.text_map)


def values(objects: _T) -> Mapping[str, str | tuple[str, ...] | _T]:
    """Declare an object with values that are each a text, a list of texts or an object, as declared by `record`."""
    whole = cast("_Record[_T]", objects).whole
    return by(lambda r, name: r.object(name).all_values(whole))


def boolean() -> bool:
    """Declare true or false."""
    return by(Reader.boolean)


def hexed(nbytes: int) -> str:
    """Declare the lower-case hex of exactly `nbytes` bytes."""
    return by(lambda r, name: r.hex(name, nbytes))


def handle() -> str:
    """Declare a handle, `[a-z0-9-]{1,32}`."""
    return by(Reader.handle)


def integer(lo: int, hi: int) -> int:
    """Declare an integer, lo <= it <= hi."""
    return by(lambda r, name: r.integer(name, lo, hi))


def integers(lo: int, hi: int) -> tuple[int, ...]:
    """Declare a list of integers, lo <= each <= hi."""
    return by(lambda r, name: tuple(r.integers(name, lo, hi)))


def integer_map(lo: int, hi: int) -> Mapping[str, int]:
    """Declare an object with integer values only, lo <= each <= hi."""
    return by(lambda r, name: r.integer_map(name, lo, hi))


def member(kind: type[_E]) -> _E:
    """Declare a text that is the value of a member of `kind`."""
    return by(lambda r, name: r.enum(name, kind))


def members(kind: type[_E]) -> tuple[_E, ...]:
    """Declare a list of texts, each the value of a member of `kind`."""
    return by(lambda r, name: r.enums(name, kind))
