"""A small Daraja that keeps 48 hours."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.agent.connectors.pay_server import Answer, Asked

NOW = 1_795_000_000
EAT = timedelta(hours=3)


def row(name: str, hours_ago: float = 1.0, **fields: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(NOW, UTC) + EAT - timedelta(hours=hours_ago)
    return {
        "transactionId": name,
        "trxDate": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "msisdn": 254722000000,
        "sender": "MPESA",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "C-17",
        "amount": "168.00",
        "organizationname": "An ISP",
        **fields,
    }


@dataclass
class Till:
    """The rows of this Daraja, in pages of two. `refuses`: tokens that have ended.

    `shift`: rows by which pages behind the first are moved. `whole`: it gives all rows, whatever the offset.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    refuses: set[str] = field(default_factory=set)
    expires_in: object = "3599"
    code: str = "1000"
    shift: int = 0
    whole: bool = False

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/oauth/v1/generate":
            assert asked.query == {"grant_type": "client_credentials"}
            assert asked.headers["authorization"] == f"Basic {b64encode(b'key:secret').decode()}"
            self.tokens += 1
            return 200, {"access_token": f"t{self.tokens}", "expires_in": self.expires_in}
        assert (asked.method, asked.path) == ("POST", "/pulltransactions/v1/query")
        if asked.headers["authorization"].removeprefix("Bearer ") in self.refuses:
            return 401, {"errorMessage": "Invalid Access Token"}
        body = json.loads(asked.body)
        assert (body["ShortCode"], set(body)) == ("600638", {"ShortCode", "StartDate", "EndDate", "OffSetValue"})
        begin, end = (datetime.strptime(body[name], "%Y-%m-%d %H:%M:%S") for name in ("StartDate", "EndDate"))  # noqa: DTZ007  East African time, as the API has it
        assert end - begin <= timedelta(hours=48)
        found = [one for one in self.rows if begin <= datetime.strptime(one["trxDate"], "%Y-%m-%dT%H:%M:%SZ") <= end]  # noqa: DTZ007  the same
        offset = int(body["OffSetValue"])
        offset = max(offset + self.shift, 0) if offset else 0
        page = found if self.whole else found[offset : offset + 2]
        if not page:
            return 200, {"ResponseRefID": "1", "ResponseCode": "1001", "ResponseMessage": "none"}
        return 200, {"ResponseRefID": "1", "ResponseCode": self.code, "ResponseMessage": "x", "Response": [page]}
