"""`[daraja.NAME]`: one paybill or till of M-Pesa. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.billing_model.terms import SourceTerms, source_keys
from agent.config_reader import ConfigReader
from agent.config_schema import REQUIRED, Key, Kind, text
from agent.connectors.web_source import WebSources, WebTerms, read_sources, web_keys

NAME: Final = "daraja"
_SECTION: Final = f"{NAME}.NAME"
_SHORTCODE: Final = Kind("a short code: 5 to 7 digits", text(re.compile(r"[0-9]{5,7}", re.ASCII)))
_CURRENCY: Final = Kind("a currency code such as KES", text(re.compile(r"[A-Z]{3}", re.ASCII)))
_REFUSED_WORDS: Final = ("mpesa", "m-pesa", "safaricom", "exe", "exec", "cmd", "sql", "query")
"""Safaricom registers no URL with one of these in it."""

KEYS: Final = (
    *web_keys(_SECTION, "https://api.safaricom.co.ke", page=0),
    *source_keys(
        _SECTION,
        secret="consumer key and secret, as `KEY:SECRET`,",
        payments=True,
        hook="Nothing signs it: `hook_from` must name Safaricom's addresses, and a call only has the list read.",
    ),
    Key(_SECTION, "short_code", _SHORTCODE, REQUIRED, "The paybill or till."),
    Key(_SECTION, "currency", _CURRENCY, "KES", "Its currency."),
)


@dataclass(frozen=True, slots=True)
class DarajaSource:
    """One paybill or till."""

    terms: SourceTerms
    web: WebTerms
    short_code: str
    currency: str


DarajaConfig = WebSources[DarajaSource]


def parse(reader: ConfigReader) -> DarajaConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""

    def check(where: str, table: Mapping[str, Any]) -> None:
        if table.get("hook") is True and not table.get("hook_from"):
            reader.problem(f"{where}.hook_from", "missing; expected Safaricom's addresses: its calls are not signed")
        name = where.removeprefix(f"{NAME}.")
        if table.get("hook") is True and (word := next((w for w in _REFUSED_WORDS if w in name), "")):
            reader.problem(where, f"expected a NAME without {word!r}: it is in the URL, and Safaricom refuses it there")

    return read_sources(reader, NAME, DarajaSource, check)
