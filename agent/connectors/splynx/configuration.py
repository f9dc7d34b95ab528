"""`[splynx.NAME]`: one Splynx. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.billing_model.errors import MalformedAmountError
from agent.billing_model.money import currency_untrusted
from agent.billing_model.terms import SourceTerms, source_keys
from agent.config_reader import ConfigReader
from agent.config_schema import REQUIRED, Key, Kind, or_empty, text
from agent.connectors.web_source import WebSources, WebTerms, read_sources, web_keys

NAME: Final = "splynx"
_SECTION: Final = f"{NAME}.NAME"
_FIELD: Final = Kind(
    "login, id, or attribute:NAME with the name of an additional field of customers",
    text(re.compile(r"login|id|attribute:[A-Za-z0-9_]{1,64}", re.ASCII)),
)
_PROVIDER: Final = Kind(
    "receipt_number, field_1 to field_5, or empty", or_empty(text(re.compile(r"receipt_number|field_[1-5]", re.ASCII)))
)


def _currency(value: object) -> str:
    try:
        return currency_untrusted(value)
    except MalformedAmountError as err:
        raise ValueError from err


KEYS: Final = (
    *web_keys(_SECTION, "https://splynx.example.net/api/2.0"),
    Key(
        _SECTION,
        "key",
        Kind("an API key: 8 to 64 letters and digits", text(re.compile(r"[A-Za-z0-9]{8,64}", re.ASCII))),
        REQUIRED,
        "The API key, one that nothing but this agent uses. Its secret stands in the vault.",
    ),
    *source_keys(
        _SECTION,
        secret="API secret",
        accounts=True,
        payments=True,
        hook="Calls are signed (HMAC-SHA1).",
        hook_secret="secret of its webhook",
    ),
    Key(_SECTION, "subscriber", _FIELD, "login", "The field of a customer that is the subscriber of the inventory."),
    Key(
        _SECTION,
        "currency",
        Kind("a currency code such as USD, or empty", or_empty(_currency)),
        "",
        "The currency of its sums, which its API does not tell; empty: not known.",
    ),
    Key(
        _SECTION,
        "provider_reference",
        _PROVIDER,
        "receipt_number",
        "The field of a payment that has the reference of the provider that took it, such as M-Pesa; empty: none.",
    ),
)


@dataclass(frozen=True, slots=True)
class SplynxSource:
    """One Splynx. `subscriber`: `login`, `id` or `attribute:NAME`; `provider_reference`: a field of payments, or ""."""

    terms: SourceTerms
    web: WebTerms
    key: str
    subscriber: str
    currency: str
    provider_reference: str


SplynxConfig = WebSources[SplynxSource]


def parse(reader: ConfigReader) -> SplynxConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""

    def check(where: str, table: Mapping[str, Any]) -> None:
        if table.get("hook") is True and not table.get("hook_secret"):
            reader.problem(f"{where}.hook_secret", "missing; expected the name of the webhook's secret in the vault")

    return read_sources(reader, NAME, SplynxSource, check)
