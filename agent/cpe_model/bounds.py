"""Bounds of the vocabulary's values beyond their types: past them a CPE refuses a value or cuts a subscriber off. Pure.

A parameter without a name in the vocabulary has no bounds but its type's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final

_NUMBERED: Final = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")
_CHANNELS: Final[Mapping[str, frozenset[int]]] = {
    "2.4GHz": frozenset(range(1, 15)),
    "5GHz": frozenset([*range(36, 65, 4), *range(100, 145, 4), *range(149, 178, 4)]),
    "6GHz": frozenset([2, *range(1, 234, 4)]),
}
"""Numbers of the 20 MHz channels of each band (IEEE 802.11-2020 annex E); the CPE knows which a country allows."""
_SSID_BYTES: Final = 32
_HEX_KEY: Final = re.compile("[0-9A-Fa-f]{64}")
_URL: Final = re.compile(r"(?:https?|ftp)://[!-~]+", re.IGNORECASE)

Check = Callable[[str, str], str]
"""Returns the bounds that a value breaks, "" where it fits. Its arguments: the value, and the band of its radio."""


def problem(name: str, text: str, band: str = "") -> str:
    """Return the bounds that a value of a name breaks; "": it fits, or the name has no bounds.

    Args:
        name: of the vocabulary: `wifi.1.channel`.
        text: the value to be set. It is never repeated: it may be a secret.
        band: of a Wi-Fi channel, as the CPE says it (`5GHz`); "": not known.
    """
    check = _CHECKS.get(_NUMBERED.sub("N", name))
    return check(text, band) if check is not None else ""


def _ssid(text: str, _: str) -> str:
    size = len(text.encode())
    return "" if 1 <= size <= _SSID_BYTES else f"expected 1 to {_SSID_BYTES} bytes of UTF-8, got {size}"


def _key(text: str, _: str) -> str:
    fits = (8 <= len(text) <= 63 and text.isascii() and text.isprintable()) or _HEX_KEY.fullmatch(text)
    return "" if fits else "expected 8 to 63 printable ASCII characters, or 64 hexadecimal digits"


def _channel(text: str, band: str) -> str:
    bands = {known: numbers for known, numbers in _CHANNELS.items() if known in band} or _CHANNELS
    if band == "" and text == "0":  # automatic, in older data models
        return ""
    if text.isascii() and text.isdecimal() and int(text[:9]) in frozenset[int]().union(*bands.values()):
        return ""
    told = "; ".join(f"{known}: {_ranges(numbers)}" for known, numbers in bands.items())
    return f"expected a channel ({told})"


def _ranges(numbers: frozenset[int]) -> str:
    every = sorted(numbers)
    return f"{every[0]} to {every[-1]}" if len(every) < 20 else f"{every[0]} to {every[-1]}, as the band numbers them"


def _parsed(parse: Callable[[str], object], expected: str) -> Check:
    def check(text: str, _: str) -> str:
        try:
            parse(text)
        except ValueError:
            return f"expected {expected}"
        return ""

    return check


_ipv4 = _parsed(ipaddress.IPv4Address, "an IPv4 address")
_address = _parsed(ipaddress.ip_address, "an IP address")


def _mask(text: str, _: str) -> str:
    try:
        ipaddress.IPv4Network(f"0.0.0.0/{text}")
    except ValueError:
        return "expected a subnet mask: 255.255.255.0"
    return "" if "." in text and text != "0.0.0.0" else "expected a subnet mask: 255.255.255.0"  # noqa: S104  no bind


def _ipv4_list(text: str, _: str) -> str:
    wrong = any(_ipv4(part.strip(), "") for part in text.split(",")) if text else False
    return "expected IPv4 addresses with commas between them" if wrong else ""


def _number(least: int, most: int) -> Check:
    def check(text: str, _: str) -> str:
        fits = text.isascii() and text.isdecimal() and least <= int(text[:12]) <= most
        return "" if fits else f"expected a number from {least} to {most}"

    return check


def _some(text: str, _: str) -> str:
    return "" if text.strip() else "expected a text, got an empty one"


def _url(text: str, _: str) -> str:
    return "" if _URL.fullmatch(text) else "expected a URL: http://… without blanks"


_CHECKS: Final[Mapping[str, Check]] = {
    "wifi.N.ssid": _ssid,
    "wifi.N.key": _key,
    "wifi.N.channel": _channel,
    "wan.vlan": _number(0, 4094),
    "lan.ip": _ipv4,
    "lan.mask": _mask,
    "lan.dhcp.first": _ipv4,
    "lan.dhcp.last": _ipv4,
    "lan.dhcp.dns": _ipv4_list,
    "lan.dhcp.router": _ipv4_list,
    "dns.N.server": _address,
    "inform.interval": _number(1, 4_294_967_295),
    "acs.url": _url,
    "stun.port": _number(0, 65_535),
    "ping.host": _some,
    "ping.count": _number(1, 1000),
    "traceroute.host": _some,
    "download.url": _url,
    "upload.url": _url,
    "upload.size": _number(1, 10_000_000_000),
}
REQUIRED: Final[Mapping[str, str]] = {
    "ping": "host",
    "traceroute": "host",
    "download": "url",
    "upload": "url",
}
"""The argument without which a test tests nothing."""
