"""How a router reads a value and writes it back: a kind is a function of the text sent to the text shown.

A kind raises one of three refusals, worded by RouterOS with the argument's name. Kinds for menus that matter are chosen
in `lore`; for all others `from_type_text` reads the type texts that the router's own console gives, and a text that it
does not understand passes through.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Kind: TypeAlias = Callable[[str], str]


class BadValueError(Exception):
    """A value that the argument cannot have. `text` has a place for the argument's name."""

    text = "invalid value for argument {}"

    def message(self, argument: str) -> str:
        """The router's own words."""
        return self.text.format(argument)


class NoMatchError(BadValueError):
    """The value is none of those that there are."""

    text = "input does not match any value of {}"


class OutOfRangeError(BadValueError):
    """The number is too small or too large."""

    def __init__(self, low: str, high: str) -> None:
        super().__init__()
        self._range = f"{low}..{high}"

    def message(self, argument: str) -> str:
        return f"value of {argument} out of range ({self._range})"


def text(value: str) -> str:
    """Any text."""
    return value


def nonempty(value: str) -> str:
    """Any text but none."""
    if not value:
        raise BadValueError
    return value


_TRUE: Final = frozenset(("yes", "true"))
_FALSE: Final = frozenset(("no", "false"))


def flag(value: str) -> str:
    """A truth value; the API shows `true` and `false`."""
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    raise NoMatchError


def _loose_flag(value: str) -> str:
    return "true" if value in _TRUE else "false" if value in _FALSE else value


def choice(*values: str) -> Kind:
    """One of several words. A truth value is read as yes or no where those are among them."""

    def read(value: str) -> str:
        value = {"true": "yes", "false": "no"}.get(value, value) if "yes" in values else value
        if value not in values:
            raise NoMatchError
        return value

    return read


def choices(*values: str, empty: bool = True) -> Kind:
    """A list of words, in the router's own order; `!` before the list turns its meaning round."""

    def read(value: str) -> str:
        sign, listed = ("!", value[1:]) if value.startswith("!") else ("", value)
        wanted = [v for v in listed.split(",") if v]
        if any(v not in values for v in wanted) or not (wanted or empty):
            raise NoMatchError
        return sign + ",".join(v for v in values if v in wanted)

    return read


def policies(*values: str) -> Kind:
    """Return the kind of a user group's policies: all of them in the router's order, those not held with `!`."""

    def read(value: str) -> str:
        wanted = [v for v in value.split(",") if v]
        if any(v.removeprefix("!") not in values for v in wanted):
            raise NoMatchError
        held = {v for v in wanted if not v.startswith("!")} - {v[1:] for v in wanted if v.startswith("!")}
        return ",".join([v for v in values if v in held] + [f"!{v}" for v in values if v not in held])

    return read


def integer(low: int = 0, high: int = 2**32 - 1) -> Kind:
    """A whole number, decimal or with 0x."""

    def read(value: str) -> str:
        if not re.fullmatch(r"-?[0-9]{1,20}|0x[0-9A-Fa-f]{1,16}", value):
            raise BadValueError
        number = int(value, 16) if value.startswith("0x") else int(value)
        if not low <= number <= high:
            raise OutOfRangeError(str(low), str(high))
        return str(number)

    return read


def one_of(*kinds: Kind) -> Kind:
    """The first kind that takes the value."""

    def read(value: str) -> str:
        refusal: BadValueError | None = None
        for kind in kinds:
            try:
                return kind(value)
            except BadValueError as err:
                refusal = refusal or err
        raise refusal or BadValueError

    return read


def negated(kind: Kind) -> Kind:
    """A value with `!` before it, or without."""

    def read(value: str) -> str:
        return "!" + kind(value[1:]) if value.startswith("!") else kind(value)

    return read


def listed(kind: Kind) -> Kind:
    """Values of a kind with commas between; none is a list too."""

    def read(value: str) -> str:
        return ",".join(kind(v) for v in value.split(",")) if value else ""

    return read


def pair(kind: Kind) -> Kind:
    """`up/down`; one value stands for both."""

    def read(value: str) -> str:
        up, slash, down = value.partition("/")
        return f"{kind(up)}/{kind(down if slash else up)}"

    return read


# --- durations --------------------------------------------------------------------------------------------------------

_UNITS: Final = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_PARTS: Final = re.compile(r"(\d{1,12})(ms|us|w|d|h|m|s)")
_CLOCK: Final = re.compile(r"(\d{1,6}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")


def milliseconds(value: str) -> int | None:
    """A duration in milliseconds: `1w2d`, `1d 02:00:00`, `300ms`, `00:10:00`, `90` (seconds); None when it is none."""
    rest = value.strip()
    if not rest:
        return None
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", rest):
        return int(float(rest) * 1000)
    total = 0
    while rest:
        if found := _PARTS.match(rest):
            scale = dict(_UNITS).get(found[2], 0)
            total += int(found[1]) * scale
        elif found := _CLOCK.fullmatch(rest):
            hours, minutes, seconds = int(found[1]), int(found[2]), int(found[3] or 0)
            if minutes > 59 or seconds > 59:
                return None
            total += ((hours * 60 + minutes) * 60 + seconds) * 1000 + int((found[4] or "0").ljust(3, "0")[:3])
        else:
            return None
        rest = rest[found.end() :].lstrip()
    return total


def format_duration(ms: int) -> str:
    """A duration as the router shows it: `1w2d3h4m5s6ms`, `0s`."""
    out = []
    for unit, size in _UNITS:
        if ms >= size:
            out.append(f"{ms // size}{unit}")
            ms %= size
    return "".join(out) or "0s"


def duration(low_ms: int = 0, high_ms: int = 2**32 * 1000) -> Kind:
    """A duration within limits."""

    def read(value: str) -> str:
        ms = milliseconds(value)
        if ms is None:
            raise BadValueError
        if not low_ms <= ms <= high_ms:
            raise OutOfRangeError(format_duration(low_ms), format_duration(high_ms))
        return format_duration(ms)

    return read


# --- rates ------------------------------------------------------------------------------------------------------------

_RATE: Final = re.compile(r"(\d{1,15})([kKMG]?)")
_SCALE: Final = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000, "G": 1_000_000_000}


def rate(value: str) -> str:
    """Bits a second: `10M` is shown as 10000000."""
    found = _RATE.fullmatch(value)
    if not found:
        raise BadValueError
    return str(int(found[1]) * _SCALE[found[2]])


def short_rate(bits: str) -> str:
    """Bits a second as an export writes them: 10000000 is `10M`."""
    if not bits.isdecimal() or bits == "0":
        return bits
    for letter, size in (("G", 10**9), ("M", 10**6), ("k", 1000)):
        if int(bits) % size == 0:
            return f"{int(bits) // size}{letter}"
    return bits


_SIZE: Final = re.compile(r"(\d{1,12})(KiB|MiB|GiB)?")
_KIBIBYTES: Final = {"KiB": 1, "MiB": 1024, "GiB": 1024 * 1024}


def kibibytes(value: str) -> str:
    """A size in KiB: an export writes `2048KiB`, the API prints 2048. A word (`unlimited`) passes."""
    found = _SIZE.fullmatch(value)
    return str(int(found[1]) * _KIBIBYTES[found[2] or "KiB"]) if found else value


def is_size(value: object) -> bool:
    """Tell whether a recorded default is a size with its unit."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and found[2] is not None


# --- addresses --------------------------------------------------------------------------------------------------------

_OCTETS: Final = re.compile(r"[0-9A-Fa-f]{2}")
_HOST: Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_*]([A-Za-z0-9_-]*[A-Za-z0-9_*])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)


def ip4(value: str) -> str:
    """An IPv4 address."""
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError as err:
        raise BadValueError from err


def ip6(value: str) -> str:
    """An IPv6 address."""
    try:
        return str(ipaddress.IPv6Address(value))
    except ValueError as err:
        raise BadValueError from err


def prefix4(value: str) -> str:
    """An IPv4 prefix, its host bits cleared; an address is shown with /32."""
    try:
        return str(ipaddress.IPv4Network(value, strict=False))
    except ValueError as err:
        raise BadValueError from err


def prefix6(value: str) -> str:
    """An IPv6 prefix, its host bits cleared; an address is shown with /128."""
    try:
        return str(ipaddress.IPv6Network(value, strict=False))
    except ValueError as err:
        raise BadValueError from err


def interface_address4(value: str) -> str:
    """An address with its prefix length, host bits kept: 10.0.0.1/24."""
    try:
        return str(ipaddress.IPv4Interface(value))
    except ValueError as err:
        raise BadValueError from err


def range4(value: str) -> str:
    """Return an IPv4 address, prefix or range as the router shows it: a prefix of one address without its length."""
    first, dash, last = value.partition("-")
    if dash:
        low, high = ip4(first), ip4(last)
        if ipaddress.IPv4Address(high) < ipaddress.IPv4Address(low):
            raise BadValueError
        return f"{low}-{high}"
    return prefix4(value).removesuffix("/32")


def host(value: str) -> str:
    """A name to be resolved. All digits and dots is a mistyped address, not a name."""
    if not _HOST.fullmatch(value) or re.fullmatch(r"[0-9./-]+", value):
        raise BadValueError
    return value


def mac(value: str) -> str:
    """A MAC address, upper case with colons; read with colons, dashes, dots or nothing between."""
    octets = re.sub(r"[:.-]", "", value)
    if len(octets) != 12 or not re.fullmatch(r"[0-9A-Fa-f]{12}", octets):
        raise BadValueError
    return ":".join(_OCTETS.findall(octets.upper()))


# --- type texts -------------------------------------------------------------------------------------------------------

_INTERVAL: Final = re.compile(r"(?:(\S+?)\.\.(\S*?)\s+\(time interval\)|time interval)")
_FLAGS: Final = re.compile(r"([^\s\[]+)\[,\w+\*\]")
_LENGTHS: Final = re.compile(r"(?:min|max) length (\d+)")
_NUMBERS: Final = re.compile(r"(-?\d+)\.\.(-?\d+)")


def _passing(kind: Kind) -> Kind:
    """A text that the kind cannot read passes: a type text names the first of an argument's types only."""

    def read(value: str) -> str:
        try:
            return kind(value)
        except OutOfRangeError:
            raise
        except BadValueError:
            return value

    return read


def _lengths(described: str) -> Kind:
    low = high = None
    for found in _LENGTHS.finditer(described):
        low, high = (int(found[1]), high) if found[0].startswith("min") else (low, int(found[1]))

    def read(value: str) -> str:
        if len(value) < (low or 0) or (high is not None and len(value) > high):
            raise BadValueError
        return value

    return read


def from_type_text(described: str) -> Kind:
    """The kind that a type text of the console describes, such as `0s..1d    (time interval)`."""
    if found := _INTERVAL.fullmatch(described):
        low, high = (milliseconds(found[i] or "") for i in (1, 2))
        return _passing(duration(low or 0, high if high is not None else 2**32 * 1000))
    if found := _FLAGS.fullmatch(described):
        return choices(*found[1].split("|"))
    if found := _NUMBERS.fullmatch(described):
        return _passing(integer(int(found[1]), int(found[2])))
    if described.startswith("string value"):
        return _lengths(described)
    for label, kind in (("(MAC address)", mac), ("(IP address range)", range4), ("(IP prefix)", prefix4)):
        if described.endswith(label):
            return _passing(listed(negated(kind))) if kind is prefix4 else _passing(kind)
    if described.endswith("(IPv6 prefix)"):
        return _passing(prefix6)
    if described.endswith("(IP address)"):
        return _passing(ip4)
    return text


def from_default(default: str | float | bool | None) -> Kind:
    """The kind that a default suggests: a truth value is shown as one, all else passes."""
    return _loose_flag if isinstance(default, bool) else text


def format_default(default: str | float | bool | None) -> str:
    """A default as the API shows it."""
    if isinstance(default, bool):
        return "true" if default else "false"
    return "" if default is None else str(default)
