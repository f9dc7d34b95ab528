"""Keys of the configuration file and kinds of values. Each part of the agent declares its own sections with them.

`agent.config` has the agent's sections, each connector's `configuration` module its own. `docs/config.md` is compared
with all of them by a test. A section with `NAME` in it stands once for each name.
"""

from __future__ import annotations

import enum
import re
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

E = TypeVar("E", bound=enum.Enum)

HANDLE: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
"""Names of people, agents and sections. The control plane may read such a name; it can hold no subscriber's."""
HOST: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9._:/-]{0,252}", re.ASCII)
_SECRET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._/-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `read` returns it as the agent keeps it, or raises ValueError or TypeError.

    `expected` completes "expected …". `shown`: whether a wrong value may be repeated in the message (one that may be
    a secret may not).
    """

    expected: str
    read: Callable[[Any], Any]
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Required:
    """The default of a key that must be given."""


REQUIRED: Final = Required()


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one section. `default_text` says in words a default that is worked out."""

    section: str
    name: str
    kind: Kind
    default: object
    doc: str
    default_text: str = ""


def text(pattern: re.Pattern[str] | None = None, longest: int = 200) -> Callable[[Any], str]:
    """Return a reader of printable text of at most `longest` characters that matches `pattern` whole."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
            raise ValueError
        if pattern is not None and not pattern.fullmatch(value):
            raise ValueError
        return value

    return read


def or_empty(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a reader that takes the empty text too."""
    return lambda value: "" if value == "" else read(value)


def whole(least: int, most: int) -> Kind:
    """Return the kind of whole numbers from `least` to `most`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return Kind(f"a whole number from {least} to {most}", read)


def number(least: float, most: float) -> Kind:
    """Return the kind of numbers from `least` to `most`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise ValueError
        return float(value)

    return Kind(f"a number from {least:g} to {most:g}", read)


def choice(members: type[E]) -> Kind:
    """Return the kind that takes one of the members' values."""

    def read(value: Any) -> E:
        return members(value)

    return Kind("one of " + ", ".join(str(member.value) for member in members), read)


def address(value: Any) -> str:
    """Return an IP address as it is written shortest."""
    if not isinstance(value, str):  # ip_address(1) is 0.0.0.1
        raise TypeError
    return str(ip_address(value))


def networks(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return a list of IP prefixes without host bits."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(ip_network(item) for item in value)


def prefixes(version: type[IPv4Network | IPv6Network]) -> Kind:
    """Return the kind of lists of prefixes of one IP version."""

    def read(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
        found = networks(value)
        if not all(isinstance(network, version) for network in found):
            raise ValueError
        return found

    name, example = ("v4", "100.99.0.0/16") if version is IPv4Network else ("v6", "2001:db8:99::/48")
    return Kind(f"a list of IP{name} prefixes without host bits, such as {example}", read)


def list_of(kind: Kind) -> Callable[[Any], Any]:
    """Return a reader of lists of a kind."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(kind.read(item) for item in value)

    return read


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def time_zone(value: Any) -> ZoneInfo:
    """Return an IANA time zone by its name."""
    if not isinstance(value, str) or not value:
        raise ValueError
    try:
        return ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as err:
        raise ValueError from err


YES_NO: Final = Kind("true or false", _yes_or_no)
HANDLE_KIND: Final = Kind("a handle: 1 to 32 of a-z, 0-9 and -", text(HANDLE))
TIME_ZONE: Final = Kind("an IANA time zone, such as Africa/Kampala", time_zone)
PATH: Final = Kind("a path", text(re.compile(r".{1,4096}"), 4096))
PATH_OR_EMPTY: Final = Kind("a path", or_empty(text(longest=4096)))
SECRET: Final = Kind(
    "the name of a secret in the vault (a-z, 0-9, . _ / -), such as nas/bng-1", text(_SECRET_NAME), shown=False
)
SECRET_OR_EMPTY: Final = Kind(SECRET.expected, or_empty(SECRET.read), shown=False)
SECRET_OR_NONE: Final = Kind(f'{SECRET.expected}, or "" where none is asked for', SECRET_OR_EMPTY.read, shown=False)
USER: Final = Kind("1 to 64 printable characters", text(re.compile(r".{1,64}")))
USER_OR_EMPTY: Final = Kind(f"{USER.expected}, or empty", or_empty(USER.read))


def documented(keys: Iterable[Key]) -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, doc) of every key, as docs/config.md shows them."""
    return [(key.section, key.name, default_text(key), key.doc) for key in keys]


def default_text(key: Key) -> str:
    """Return a key's default as people read it."""
    if key.default_text:
        return key.default_text
    match key.default:
        case Required():
            return "required"
        case str(value):
            return f'`"{value}"`'
        case bool(yes):
            return f"`{str(yes).lower()}`"
        case other:
            return f"`{other}`"
