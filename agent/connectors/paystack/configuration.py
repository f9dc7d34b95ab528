"""`[paystack.NAME]`: one Paystack integration. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.billing_model.terms import SourceTerms, source_keys, terms_of
from agent.config_reader import ConfigReader
from agent.config_schema import SECRET_OR_EMPTY, Key, Kind, or_empty, text
from agent.connectors.web_source import WebTerms, web_keys, web_terms_of

NAME: Final = "paystack"
_SECTION: Final = f"{NAME}.NAME"
_FIELD: Final = Kind(
    "the key of a metadata field, or empty", or_empty(text(re.compile(r"[A-Za-z0-9_. -]{1,40}", re.ASCII)))
)

KEYS: Final = (
    *web_keys(_SECTION, "https://api.paystack.co", page=100),
    *source_keys(
        _SECTION,
        secret="secret key",
        payments=True,
        hook="Known by Paystack's signature, which is made with the secret key.",
    ),
    Key(
        _SECTION,
        "secret_before",
        SECRET_OR_EMPTY,
        "",
        "The name of the secret key that is being replaced, for as long as calls signed with it may come.",
    ),
    Key(_SECTION, "subscriber_metadata", _FIELD, "", "The metadata that names the subscriber; empty: none."),
)


@dataclass(frozen=True, slots=True)
class PaystackSource:
    """One integration. `secret_before`: "": none is being replaced. `subscriber_metadata`: "": none names anybody."""

    terms: SourceTerms
    web: WebTerms
    secret_before: str
    subscriber_metadata: str


@dataclass(frozen=True, slots=True)
class PaystackConfig:
    """Everything that the connector is configured with."""

    sources: tuple[PaystackSource, ...]


def parse(reader: ConfigReader) -> PaystackConfig:
    """Return the sources; those with problems are left out."""
    found = []
    for name, table in reader.named(NAME):
        before = len(reader.problems)
        values = reader.section(_SECTION, f"{NAME}.{name}", table)
        if len(reader.problems) == before:
            web, terms = web_terms_of(reader, values), terms_of(f"{NAME}/{name}", values)
            found.append(PaystackSource(terms, web, values["secret_before"], values["subscriber_metadata"]))
    return PaystackConfig(tuple(found))


def secrets(config: PaystackConfig) -> frozenset[str]:
    """Return the names of secret keys."""
    return frozenset(
        name for source in config.sources for name in (*source.terms.secrets, source.secret_before) if name
    )


def sources(config: PaystackConfig) -> tuple[SourceTerms, ...]:
    """Return what every source is configured with."""
    return tuple(source.terms for source in config.sources)
