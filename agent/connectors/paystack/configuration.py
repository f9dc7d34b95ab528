"""`[paystack.NAME]`: one Paystack integration. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.billing_model.terms import SourceTerms, source_keys
from agent.config_reader import ConfigReader
from agent.config_schema import SECRET_OR_EMPTY, Key
from agent.connectors.web_source import METADATA_KEY, WebSources, WebTerms, read_sources, secrets_of, web_keys

NAME: Final = "paystack"
_SECTION: Final = f"{NAME}.NAME"

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
    Key(_SECTION, "subscriber_metadata", METADATA_KEY, "", "The metadata that names the subscriber; empty: none."),
)


@dataclass(frozen=True, slots=True)
class PaystackSource:
    """One integration. `secret_before`: "": none is being replaced. `subscriber_metadata`: "": none names anybody."""

    terms: SourceTerms
    web: WebTerms
    secret_before: str
    subscriber_metadata: str


PaystackConfig = WebSources[PaystackSource]


def parse(reader: ConfigReader) -> PaystackConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""
    return read_sources(reader, NAME, PaystackSource)


def secrets(config: PaystackConfig) -> frozenset[str]:
    """Return the names of secret keys."""
    return secrets_of(config) | {source.secret_before for source in config.sources if source.secret_before}
