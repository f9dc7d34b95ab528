"""`[stripe.NAME]`: one Stripe account. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.billing_model.terms import SourceTerms, source_keys
from agent.config_reader import ConfigReader
from agent.config_schema import Key
from agent.connectors.web_source import METADATA_KEY, WebSources, WebTerms, read_sources, web_keys

NAME: Final = "stripe"
_SECTION: Final = f"{NAME}.NAME"

KEYS: Final = (
    *web_keys(_SECTION, "https://api.stripe.com/v1", page=100),
    *source_keys(
        _SECTION,
        secret="restricted key (charges, disputes and events: read)",
        payments=True,
        hook="Known by Stripe's signature and its time.",
        hook_secret="endpoint's signing secret, `whsec_…`,",
    ),
    Key(_SECTION, "subscriber_metadata", METADATA_KEY, "", "The metadata that names the subscriber; empty: none."),
)


@dataclass(frozen=True, slots=True)
class StripeSource:
    """One Stripe account. `subscriber_metadata`: "": no metadata names the subscriber."""

    terms: SourceTerms
    web: WebTerms
    subscriber_metadata: str


StripeConfig = WebSources[StripeSource]


def parse(reader: ConfigReader) -> StripeConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""

    def check(where: str, table: Mapping[str, Any]) -> None:
        if table.get("hook") is True and not table.get("hook_secret"):
            reader.problem(f"{where}.hook_secret", "missing; expected the name of the endpoint's signing secret")

    return read_sources(reader, NAME, StripeSource, check)
