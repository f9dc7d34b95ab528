"""M-Pesa (Safaricom Daraja): the till's transactions of the last 48 hours, and confirmations, which only ring.

`connector.DarajaConnector` is the whole surface; `configuration` has its keys. Inside: `hooks` reads its unsigned
calls, `transactions` its rows (both pure), `daraja_session` asks its API.
"""

from agent.connectors.daraja.spec import SPEC

__all__ = ["SPEC"]
