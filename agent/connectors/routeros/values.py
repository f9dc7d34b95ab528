"""Values as RouterOS writes them, brought to one spelling, so that two texts of one value compare equal.

A device's strings are kept as they are; only comparing goes through here. `normalize` is total and idempotent, and
returns a text that it does not understand unchanged: a spelling that is not folded costs a difference that is shown,
one that is folded wrongly would hide a change. So a rule is here only where RouterOS is known to mean the same.

Sources, by name in the rules below: [cli] MikroTik's CLI reference (manual.mikrotik.com/docs/cli-reference), which
types every property; [tree] the recorded /console/inspect trees, which describe some; [queue] the manual's page Queues;
[radius] the manual's page RADIUS, for Mikrotik-Rate-Limit; rate-limit has its format.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from typing import Final

from agent.spelling import mac_digits


class RouterKind(enum.StrEnum):
    """The kind of a property's text, which decides which texts are the same value."""

    TEXT = "text"
    """Compared to the letter: names, scripts, marks, and other formats that nothing here needs to read."""
    REFERENCE = "reference"
    """The name of a row elsewhere (profile, pool, interface, list), or a word such as `none`. To the letter."""
    ENUM = "enum"
    """One word of a few."""
    BOOL = "bool"
    SWITCH = "switch"
    """[cli] `switch`: there or not; where it is there its text may be empty."""
    INTEGER = "integer"
    DURATION = "duration"
    DURATION_PAIR = "duration-pair"
    RATE = "rate"
    """Bits per second."""
    RATE_PAIR = "rate-pair"
    """Upload and download of a simple queue, `10M/20M`."""
    RATE_LIMIT = "rate-limit"
    """`rx/tx [burst [threshold [time [priority [minimum]]]]]` of profiles and leases."""
    LIST = "list"
    """A set of words, comma separated."""
    MATCH_LIST = "match-list"
    """A set that a firewall rule matches: `!` in front turns all of it round, and the empty set is a value."""
    ADDRESS = "address"
    """One address, or the name of a pool."""
    ADDRESSES = "addresses"
    """Addresses in an order that counts, such as DNS servers."""
    INTERFACE_ADDRESS = "interface-address"
    """An address with its prefix length; the host part counts."""
    PREFIX = "prefix"
    """A network; an address alone is one of full length."""
    PREFIX_LIST = "prefix-list"
    """A set of networks; a simple queue's targets may be interfaces too."""
    RANGE = "range"
    """[cli] `ipRange`: an address, a network or FROM-TO, with `!` in front for all others; or a DNS name."""
    RANGES = "ranges"
    """Ranges in an order that counts: a pool is used from its first."""
    MAC = "mac"
    CLIENT_ID = "client-id"
    """A DHCP client identifier, `1:4e:97:a1:4c:d1:38`."""


def normalize(kind: RouterKind, text: str) -> str:
    """Return the one spelling of a value; the text unchanged where it is none that is understood."""
    rule = _RULES.get(kind)
    return text if rule is None else rule(text)


def rule_of(kind: RouterKind) -> Callable[[str], str] | None:
    """Return the rule by which `normalize` treats a kind; None: it has one spelling."""
    return _RULES.get(kind)


# --- words and numbers ---


def _bool(text: str) -> str:
    """The API prints true and false of a `bool` [cli], the console yes and no; both are taken."""
    return {"yes": "true", "no": "false"}.get(text, text)


def _enum(text: str) -> str:
    """An `enum` [cli] of yes, no and others is printed yes and no; no enum has true beside yes."""
    return {"true": "yes", "false": "no"}.get(text, text)


def _switch(text: str) -> str:
    return {"": "true", "yes": "true", "no": "false"}.get(text, text)


def _list(text: str) -> str:
    items = text.split(",")
    return text if "" in items else ",".join(sorted(set(items)))


def _match_list(text: str) -> str:
    """[cli] `super { !, state: ubit (...) }`: one `!`, before all."""
    bare = text.removeprefix("!")
    return text if "!" in bare else text[: len(text) - len(bare)] + _list(bare)


def mac_of(text: str) -> str:
    """Return the MAC address that people wrote, as RouterOS prints it; empty where it is none. Any separators, or none.

    So `aabb.ccdd.eeff` and `AA-BB-CC-DD-EE-FF` are one, and a client identifier (`1:aa:...`) is none.
    """
    digits = mac_digits(text).upper()
    return ":".join(digits[n : n + 2] for n in range(0, 12, 2)) if digits else ""


# --- durations ---

# duration = 1*DIGIT                                    ; seconds
#          / [ units ] clock / units                    ; 1d02:03:04.5, 1w2d3h4m5s600ms
# units    = [n"w"][n"d"][n"h"][n"m"][n"s"][n"ms"][n"us"][n"ns"]      ; at least one, in this order
# clock    = 1*DIGIT ":" 2DIGIT ":" 2DIGIT [ "." 1*9DIGIT ]
# Both come from RouterOS itself: [tree] has 35w3d13h13m56s and 00:00:00.200, [cli] 00:01:00 and 1d00:00:00. Digits are
# bounded: int() refuses more than 4300, and no device counts so far.
_UNITS: Final[Mapping[str, int]] = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_COUNT: Final = "[0-9]{1,18}"
_SECONDS: Final = re.compile(_COUNT)
_IN_UNITS: Final = re.compile("".join(f"(?:({_COUNT}){unit})?" for unit in _UNITS))
_CLOCK: Final = re.compile(
    rf"(?:({_COUNT})w)?(?:({_COUNT})d)?({_COUNT}):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{{1,9}}))?"
)


def _duration(text: str) -> str:
    """RouterOS prints 1w2d3h4m5s, and takes seconds, units and a clock. `none` is a value of its own, not 0s."""
    span = _nanoseconds(text)
    if span is None:
        return text
    parts = []
    for unit, size in _UNITS.items():
        count, span = divmod(span, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def seconds(text: str) -> int | None:
    """Return how long a duration is, in whole seconds; None where it is none that is understood."""
    span = _nanoseconds(text)
    return None if span is None else span // _UNITS["s"]


def _nanoseconds(text: str) -> int | None:
    if _SECONDS.fullmatch(text):
        return int(text) * _UNITS["s"]
    if found := _CLOCK.fullmatch(text):
        weeks, days, hours, minutes, seconds, fraction = found.groups(default="0")
        counts = zip((weeks, days, hours, minutes, seconds), ("w", "d", "h", "m", "s"), strict=True)
        return sum(int(count) * _UNITS[unit] for count, unit in counts) + int(fraction.ljust(9, "0"))
    found = _IN_UNITS.fullmatch(text) if text else None
    if found is None:
        return None
    return sum(int(count) * size for count, size in zip(found.groups("0"), _UNITS.values(), strict=True))


# --- rates ---

_RATE: Final = re.compile("(0|[1-9][0-9]{0,17})([kKMG]?)")
_TIMES: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def _rate(text: str) -> str:
    """[radius] k is 1,000 and M 1,000,000; [queue] writes 256K too; the API prints plain bits, 10000000.

    A number that begins with 0 is not touched: the console reads it as octal.
    """
    found = _RATE.fullmatch(text)
    return str(int(found[1]) * _TIMES[found[2]]) if found else text


def _pair(one: Callable[[str], str]) -> Callable[[str], str]:
    """[cli] `composite { upload, download }`: both are wanted, one alone is refused, so none is doubled here."""

    def both(text: str) -> str:
        halves = text.split("/")
        return "/".join(map(one, halves)) if len(halves) == 2 else text

    return both


def _rate_limit(text: str) -> str:
    """[radius] The rates rx/tx, then optionally burst rates, burst thresholds, burst times, priority, minimum rates.

    One number stands for rx and tx. With a burst, thresholds that are left out are the rates, times are 1 s, the
    priority is 8 and the minimum is the rates. Without a burst nothing is filled in.
    """
    parts = [part for part in text.split(" ") if part]
    found = [rule(part) for rule, part in zip(_RATE_LIMIT, parts, strict=False)]
    known = [part for part in found if part is not None]
    if not known or len(known) != len(parts):
        return text
    rates = known[0]
    defaults = (rates, "0/0", rates, "1s/1s", "8", rates)
    return " ".join((*known, *defaults[len(known) :])) if len(known) > 1 else rates


def _rx_tx(is_one: Callable[[str], bool], one: Callable[[str], str]) -> Callable[[str], str | None]:
    """Return the rule of `rx[/tx]`, which gives None for a text that it does not understand."""

    def both(text: str) -> str | None:
        halves = text.split("/")
        if len(halves) > 2 or not all(map(is_one, halves)):
            return None
        return f"{one(halves[0])}/{one(halves[-1])}"

    return both


def _is_rate(text: str) -> bool:
    return _RATE.fullmatch(text) is not None


def _is_duration(text: str) -> bool:
    return _nanoseconds(text) is not None


def _priority(text: str) -> str | None:
    return text if text in tuple("12345678") else None


_RATE_LIMIT: Final = (
    _rx_tx(_is_rate, _rate),
    _rx_tx(_is_rate, _rate),
    _rx_tx(_is_rate, _rate),
    _rx_tx(_is_duration, _duration),
    _priority,
    _rx_tx(_is_rate, _rate),
)


# --- addresses ---


def _address(text: str) -> str:
    found = _parse_address(text)
    return text if found is None else str(found)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; None for anything else, as a name, or a number that ipaddress would take for an address."""
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        return None


def _length(text: str, bits: int) -> int | None:
    """Return a prefix length, also from a netmask; ipaddress would take a wildcard (0.0.0.255) for one too."""
    if _LENGTH.fullmatch(text):
        return int(text) if int(text) <= bits else None
    mask = _parse_address(text) if bits == 32 else None
    if not isinstance(mask, IPv4Address):
        return None
    length = int(mask).bit_count()
    return length if int(mask) == (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF else None


_LENGTH: Final = re.compile("0|[1-9][0-9]{0,2}")


def _parse_prefix(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """Return address and prefix length; an address alone has the full length."""
    head, slash, tail = text.partition("/")
    address = _parse_address(head)
    if address is None or (isinstance(address, IPv6Address) and address.scope_id):
        return None
    length = _length(tail, address.max_prefixlen) if slash else address.max_prefixlen
    return None if length is None else (address, length)


def _network(address: IPv4Address | IPv6Address, length: int) -> IPv4Network | IPv6Network:
    """Return the network of an address: RouterOS stores 203.0.113.77/24 as 203.0.113.0/24 ([cli], address-list)."""
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), length), strict=False)
    return IPv6Network((int(address), length), strict=False)


def _prefix(text: str) -> str:
    found = _parse_prefix(text)
    return text if found is None else str(_network(*found))


def _interface_address(text: str) -> str:
    """Without a length it stays as it is: the argument `netmask` may have said it."""
    found = _parse_prefix(text) if "/" in text else None
    return text if found is None else f"{found[0]}/{found[1]}"


def _range(text: str) -> str:
    """[cli, address-list]: stored without host bits; a range that is exactly one network is stored as that network.

    A host is printed without /32 in IPv4, and with /128 in IPv6, where there are no ranges.
    """
    bare = text.removeprefix("!")
    found = _one_range(bare)
    return text if found is None else text[: len(text) - len(bare)] + found


def _one_range(text: str) -> str | None:
    head, dash, tail = text.partition("-")
    if not dash:
        found = _parse_prefix(text)
        return None if found is None else _shown(_network(*found))
    first, last = _parse_address(head), _parse_address(tail)
    if not isinstance(first, IPv4Address) or not isinstance(last, IPv4Address) or first > last:
        return None
    # At most 62 networks make up a range of IPv4; only whether it is one is asked.
    networks = list(summarize_address_range(first, last))
    return _shown(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def _shown(network: IPv4Network | IPv6Network) -> str:
    return str(network.network_address) if network.version == 4 and network.prefixlen == 32 else str(network)


def _each(one: Callable[[str], str]) -> Callable[[str], str]:
    def ordered(text: str) -> str:
        return ",".join(map(one, text.split(",")))

    return ordered


def _prefix_list(text: str) -> str:
    return _list(",".join(map(_prefix, text.split(","))))


# --- identifiers ---

_MAC: Final = re.compile("[0-9A-Fa-f]{2}([:.-])(?:[0-9A-Fa-f]{2}\\1){4}[0-9A-Fa-f]{2}")
_CLIENT_ID: Final = re.compile("[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){1,254}")


def _mac(text: str) -> str:
    """[tree] `AB[:|-|.]CD...`; printed in capitals with colons."""
    return text.upper().replace("-", ":").replace(".", ":") if _MAC.fullmatch(text) else text


def _client_id(text: str) -> str:
    """Bytes in hexadecimal, printed small and without leading zeros: 1:0:11:32:9e:7f:63."""
    if not _CLIENT_ID.fullmatch(text):
        return text
    return ":".join(f"{int(byte, 16):x}" for byte in text.split(":"))


_RULES: Final[Mapping[RouterKind, Callable[[str], str]]] = {
    RouterKind.ENUM: _enum,
    RouterKind.BOOL: _bool,
    RouterKind.SWITCH: _switch,
    RouterKind.DURATION: _duration,
    RouterKind.DURATION_PAIR: _pair(_duration),
    RouterKind.RATE: _rate,
    RouterKind.RATE_PAIR: _pair(_rate),
    RouterKind.RATE_LIMIT: _rate_limit,
    RouterKind.LIST: _list,
    RouterKind.MATCH_LIST: _match_list,
    RouterKind.ADDRESS: _address,
    RouterKind.ADDRESSES: _each(_address),
    RouterKind.INTERFACE_ADDRESS: _interface_address,
    RouterKind.PREFIX: _prefix,
    RouterKind.PREFIX_LIST: _prefix_list,
    RouterKind.RANGE: _range,
    RouterKind.RANGES: _each(_range),
    RouterKind.MAC: _mac,
    RouterKind.CLIENT_ID: _client_id,
}
"""The kinds that have several spellings. TEXT, REFERENCE and INTEGER have one: RouterOS prints an integer plainly."""
