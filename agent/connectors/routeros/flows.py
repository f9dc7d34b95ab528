"""Which open connections a suspension must not leave: how many, and by what they pass. Pure.

A FastTracked connection passes by the firewall, and it outlives the session that it was opened in: where the subscriber
gets the same address again, as a pool gives it whenever possible, it carries on. All others meet each rule with every
packet, so where the rules hold they need no more proof; and they may be back at once with the same two ends, since
somebody outside goes on sending. So only those count that are FastTracked, or do not say that they are not.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.connectors.routeros.addresses import rows_of
from agent.model import Value

Row = Mapping[str, str]


def passes(row: Row) -> bool:
    """Tell whether a connection passes by the firewall."""
    return row.get("fasttrack") != "false"


def passing(connections: Value) -> frozenset[str]:
    """Return the keys of the connections that pass by the firewall, of those that were read under an owner."""
    return frozenset(key for key, row in rows_of(connections).items() if passes(row))


def left_text(many: int, whose: str) -> str:
    """Return what is said of connections that a suspension left."""
    return f"{many} connection(s) of {whose} carry on as before"
