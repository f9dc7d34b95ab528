"""localstripe, a stateful Stripe server, as a process of its own: `python -m tests.agent.billing.local_stripe`.

It listens on a free port of 127.0.0.1, which it prints. It keeps nothing on the disk: localstripe by itself writes all
objects to one file in /tmp, and reads them from there at its start. Two things that the connector needs are added,
for localstripe 1.15 lacks them: `created[gte]` of charges (it knows `gt` only, and answers 500), and their
`amount_captured`. It has no disputes and no events `charge.*`, sends each event once, and takes no restricted key.
"""

from __future__ import annotations

import socket
from typing import Any

from aiohttp import web
from localstripe.resources import Charge, List, Store
from localstripe.server import app

_list_all = Charge._api_list_all


def list_since(url: str, created: Any = None, **query: Any) -> List:
    """Return the charges as localstripe does, also since a moment and at it."""
    if isinstance(created, dict) and "gte" in created:
        created = {"gt": str(int(created["gte"]) - 1)}
    return _list_all(url, created=created, **query)


if __name__ == "__main__":
    Store.dump_to_disk = lambda self: None
    Charge._api_list_all = staticmethod(list_since)
    Charge.amount_captured = property(lambda charge: charge.amount if charge.captured else 0)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    web.run_app(app, sock=listener, print=None, access_log=None)
