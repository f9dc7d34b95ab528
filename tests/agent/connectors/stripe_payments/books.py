"""A small Stripe that holds charges, disputes and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.agent.connectors.pay_server import Answer, Asked

NOW = 1_795_000_000


def charge(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "object": "charge",
        "amount": 1099,
        "amount_captured": 1099,
        "amount_refunded": 0,
        "captured": True,
        "created": NOW - 60,
        "currency": "usd",
        "customer": None,
        "description": None,
        "disputed": False,
        "metadata": {},
        "payment_intent": None,
        "refunded": False,
        "status": "succeeded",
        **fields,
    }


@dataclass
class Books:
    """The charges of this Stripe, the newest first.

    `shift`: rows by which pages behind the first are moved. `hidden`: charges that its lists lack.
    """

    charges: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    disputes: list[dict[str, Any]] = field(default_factory=list)
    failing: int = 0
    shift: int = 0
    hidden: set[str] = field(default_factory=set)

    def answer(self, asked: Asked) -> Answer:
        if self.failing:
            return self.failing, {"error": {"message": "no"}}
        kind, _, name = asked.path.removeprefix("/v1/").partition("/")
        rows: list[dict[str, Any]] = getattr(self, kind)
        if name:
            found = [row for row in rows if row["id"] == name]
            return (200, found[0]) if found else (404, {})
        since = int(asked.query.get("created[gte]", "0"))
        rows = [row for row in rows if row.get("created", NOW) >= since and row["id"] not in self.hidden]
        rows = [row for row in rows if row.get("charge") == asked.query.get("charge", row.get("charge"))]
        begin = 0
        if after := asked.query.get("starting_after"):
            begin = max([row["id"] for row in rows].index(after) + 1 + self.shift, 0)
        end = begin + int(asked.query["limit"])
        return 200, {"object": "list", "data": rows[begin:end], "has_more": end < len(rows)}
