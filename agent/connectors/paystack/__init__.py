"""Paystack: transactions, refunds and disputes as payments of subscribers, and its signed webhooks.

`connector.PaystackConnector` is the whole surface; `configuration` has its keys. Inside: `hooks` verifies its calls,
`transactions` reads its objects (both pure), `paystack_session` asks its API.
"""

from agent.connectors.paystack.spec import SPEC

__all__ = ["SPEC"]
