"""Stripe: charges, refunds and disputes as payments of subscribers, and its signed webhooks.

`connector.StripeConnector` is the whole surface; `configuration` has its keys. Inside: `hooks` verifies its calls,
`charges` reads its objects (both pure), `stripe_session` asks its API.
"""

from agent.connectors.stripe_payments.spec import SPEC

__all__ = ["SPEC"]
