"""A small Paystack."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.agent.connectors.pay_server import Answer, Asked

NOW = datetime.fromtimestamp(1_795_000_000, UTC)


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def transaction(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "status": "success",
        "reference": f"ref-{number}",
        "amount": 150_000,
        "currency": "NGN",
        "paid_at": ago(1),
        "created_at": ago(1),
        "metadata": None,
        "customer": {"customer_code": "CUS_1", "email": "amina@example.org"},
        **fields,
    }


@dataclass
class Books:
    """The rows of this Paystack, the newest first. `shift`: pages behind the first begin so many rows later."""

    transactions: list[dict[str, Any]] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)
    disputes: list[dict[str, Any]] = field(default_factory=list)
    failing: int = 0
    shift: int = 0

    def answer(self, asked: Asked) -> Answer:
        if self.failing:
            return self.failing, {"status": False, "message": "no"}
        if asked.path.startswith("/transaction/verify/"):
            name = asked.path.rpartition("/")[2]
            found = [row for row in self.transactions if row["reference"] == name]
            # the description of this answer knows no null in its place
            return (
                (200, {"status": True, "data": {**found[0], "metadata": found[0]["metadata"] or ""}})
                if found
                else (404, {"status": False})
            )
        rows = {"/transaction": self.transactions, "/refund": self.refunds, "/dispute": self.disputes}[asked.path]
        made = [row for row in rows if row.get("created_at", row.get("createdAt")) >= asked.query.get("from", "")]
        each, page = int(asked.query.get("per_page") or asked.query["perPage"]), int(asked.query["page"])
        pages = -(-len(made) // each)
        begin = (page - 1) * each + (self.shift if page > 1 else 0)
        meta = {"total": len(made), "pageCount": pages}
        return 200, {"status": True, "data": made[begin : begin + each], "meta": meta}
