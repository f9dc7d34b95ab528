"""`[stripe.NAME]`: one Stripe account. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.billing_model.terms import SourceTerms, source_keys, terms_of
from agent.config_reader import ConfigReader
from agent.config_schema import Key, Kind, or_empty, text
from agent.connectors.web_source import WebTerms, web_keys, web_terms_of

NAME: Final = "stripe"
_SECTION: Final = f"{NAME}.NAME"
_FIELD: Final = Kind(
    "the key of a metadata field, or empty", or_empty(text(re.compile(r"[A-Za-z0-9_. -]{1,40}", re.ASCII)))
)

KEYS: Final = (
    *web_keys(_SECTION, "https://api.stripe.com/v1", page=100),
    *source_keys(
        _SECTION,
        secret="restricted key (charges, disputes and events: read)",
        payments=True,
        hook="Known by Stripe's signature and its time.",
        hook_secret="endpoint's signing secret, `whsec_…`,",
    ),
    Key(_SECTION, "subscriber_metadata", _FIELD, "", "The metadata that names the subscriber; empty: none."),
)


@dataclass(frozen=True, slots=True)
class StripeSource:
    """One Stripe account. `subscriber_metadata`: "": no metadata names the subscriber."""

    terms: SourceTerms
    web: WebTerms
    subscriber_metadata: str


@dataclass(frozen=True, slots=True)
class StripeConfig:
    """Everything that the connector is configured with."""

    sources: tuple[StripeSource, ...]


def parse(reader: ConfigReader) -> StripeConfig:
    """Return the sources; those with problems are left out."""
    found = []
    for name, table in reader.named(NAME):
        where, before = f"{NAME}.{name}", len(reader.problems)
        values = reader.section(_SECTION, where, table)
        if table.get("hook") is True and not table.get("hook_secret"):
            reader.problem(f"{where}.hook_secret", "missing; expected the name of the endpoint's signing secret")
        if len(reader.problems) == before:
            web, terms = web_terms_of(reader, values), terms_of(f"{NAME}/{name}", values)
            found.append(StripeSource(terms, web, values["subscriber_metadata"]))
    return StripeConfig(tuple(found))


def secrets(config: StripeConfig) -> frozenset[str]:
    """Return the names of keys and signing secrets."""
    return frozenset().union(*(source.terms.secrets for source in config.sources))


def sources(config: StripeConfig) -> tuple[SourceTerms, ...]:
    """Return what every source is configured with."""
    return tuple(source.terms for source in config.sources)
