"""The descriptor of the connector to Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.billing_model.source import RingsBell, TellsPayments, TriesSource
from agent.connectors.spec import ConnectorContext, ConnectorSpec, has_no_sources
from agent.connectors.stripe_payments import configuration
from agent.connectors.web_source import secrets_of, source_terms

if TYPE_CHECKING:
    from agent.connectors.stripe_payments.configuration import StripeConfig
    from agent.connectors.stripe_payments.connector import StripeConnector


def _make(config: StripeConfig, context: ConnectorContext) -> StripeConnector:
    from agent.connectors.stripe_payments.connector import StripeConnector

    return StripeConnector(config, context)


SPEC: Final = ConnectorSpec(
    name=configuration.NAME,
    keys=configuration.KEYS,
    parse=configuration.parse,
    secrets=secrets_of,
    make=_make,
    docs="docs/connectors/stripe.md",
    roles=(TellsPayments, RingsBell, TriesSource),
    sources=source_terms,
    idle=has_no_sources,
)
