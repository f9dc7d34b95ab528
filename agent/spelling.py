"""Spellings: texts that people write differently and mean alike. Names in any case, MAC addresses, phone numbers.

All of it is pure, and idempotent: a folded text folds to itself.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.model import Service

_SEPARATORS: Final = re.compile("[:.-]")
_MAC_CHARS: Final = 24
"""A separator between any two digits. Longer text is none, and not worth the work."""
_MAC: Final = re.compile(r"[0-9a-f]{12}")
_PHONE: Final = re.compile(r"\+?\(?[0-9][0-9 ()./-]{5,24}", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", re.ASCII)
PHONE_DIGITS_MIN: Final = 6
_LOOKALIKES: Final = str.maketrans("авекмнорстухіјѕ", "abekmhopctyxijs")
"""Cyrillic letters that are drawn like Latin ones, so that `С-10482` is found however its first letter was typed."""


def fold(text: str) -> str:
    """Return text in which case, accents, widths and Latin look-alikes of Cyrillic letters make no difference."""
    plain = text.lower() if text.isascii() else _unaccented(text).translate(_LOOKALIKES)
    return " ".join(plain.split())


def _unaccented(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c))).casefold()


def mac_digits(text: str) -> str:
    """Return the twelve hex digits, lower case, of a text that is a MAC address, with any separators; else ""."""
    if not 12 <= len(text) <= _MAC_CHARS:
        return ""
    digits = _SEPARATORS.sub("", text.strip()).lower()
    return digits if _MAC.fullmatch(digits) else ""


def mac_spellings(mac: str) -> tuple[str, ...]:
    """Return the usual spellings of a MAC address, given as twelve hex digits in lower case."""
    pairs = [mac[i : i + 2] for i in range(0, 12, 2)]
    lower = (
        ":".join(pairs),
        "-".join(pairs),
        ".".join(mac[i : i + 4] for i in (0, 4, 8)),
        mac,
        f"{mac[:6]}-{mac[6:]}",
    )
    return (*lower, *(text.upper() for text in lower))


def phone_of(text: str) -> str:
    """Return the digits of a text that may be a phone number, without those that only dial abroad; else ""."""
    text = text.strip()
    if not _PHONE.fullmatch(text) or _ADDRESS.fullmatch(text):
        return ""
    digits = re.sub("[^0-9]", "", text).lstrip("0")
    return digits if len(digits) >= PHONE_DIGITS_MIN else ""


def near_spellings(login: str) -> tuple[str, ...]:
    """Return how a login that a system does not know may be spelled there instead, without itself."""
    mac = mac_digits(login)
    near = mac_spellings(mac) if mac else (login.lower(), login.upper(), login.casefold())
    return tuple(dict.fromkeys(text for text in near if text != login))


def search_key(service: Service) -> str:
    """Return everything that a service may be found by, folded, a line each."""
    texts = [service.ref, service.name, service.login, *(service.extra or {}).values()]
    found = [fold(text) for text in texts if text]
    found += [f"mac={mac}" for text in texts if (mac := mac_digits(text))]
    found += [f"tel={phone}" for text in (service.extra or {}).values() if (phone := phone_of(text))]
    return "\n".join(dict.fromkeys(found))


def handle_of(text: str) -> str:
    """Return the name of a device in the configuration: in a-z, 0-9 and -, at most 32 characters."""
    return _NOT_IN_HANDLES.sub("-", text.casefold()).strip("-")[:_HANDLE_CHARS].strip("-") or "device"


_NOT_IN_HANDLES = re.compile(r"[^a-z0-9]+")
_HANDLE_CHARS = 32
