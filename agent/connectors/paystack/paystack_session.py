"""Readings of one Paystack integration: transactions, and refunds and disputes of older ones.

Lists are paged by number, newest first: a row that comes meanwhile moves others to a later page, so none is lost, and
one that comes twice is the same. Fewer rows than the first page counts are no whole list. Lists go by when something
was made, not by when it changed: so each reading begins some days before the moment since which payments are wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Payment
from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record, record_untrusted
from agent.connectors.paystack.configuration import PaystackSource
from agent.connectors.paystack.transactions import (
    dispute_untrusted,
    reference_untrusted,
    refund_untrusted,
    transaction_untrusted,
)
from agent.connectors.web_source_session import client_of, told_by
from agent.runtime.clock import Clock
from agent.runtime.web_session import WebReading

BACK_S: Final = 3 * 86_400.0
"""A bank transfer is pending for so long at most."""
DISPUTE_BACK_S: Final = 60 * 86_400.0
"""A dispute is resolved within that time."""
_PAGE_MOST: Final = 100


class PaystackReader:
    """Reads the payments of one integration."""

    def __init__(self, source: PaystackSource, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the source, the vault, the operator's zone and the clocks; nothing is opened."""
        self.source, self.zone = source, source.terms.zone or zone
        self._secrets = secrets
        self._client = client_of(source.web, clock, self._authorize)

    async def _authorize(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._secrets(self.source.terms.secret).decode()}"}

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return transactions made since some days before a moment, and older ones that were taken back since.

        Raises:
            SourceError: not all could be asked for.
        """
        since = _moment(since_s - BACK_S)
        with told_by(self.source.terms.target):
            async with self._client.reading() as reading:
                rows = await self._list(reading, "/transaction", {"from": since}, "per_page", "transaction")
                found = {reference_untrusted(row, "reference"): row for row in rows}
                taken: dict[str, Decimal] = defaultdict(Decimal)
                for refund in await self._list(reading, "/refund", {"from": since}, "perPage", "refund"):
                    reference, amount = refund_untrusted(refund)
                    taken[reference] += amount
                query = {"from": _moment(since_s - DISPUTE_BACK_S)}
                disputes = await self._list(reading, "/dispute", query, "perPage", "dispute")
                disputed = dict(dispute_untrusted(dispute) for dispute in reversed(disputes))  # the newest one counts
                for reference in dict.fromkeys([*taken, *disputed]):
                    if reference not in found and (row := await self._verified(reading, reference)) is not None:
                        found[reference] = row
        with told_by(self.source.terms.target):
            payments = [
                transaction_untrusted(
                    row,
                    self.zone,
                    self.source.subscriber_metadata,
                    taken.get(reference, Decimal(0)),
                    is_disputed=disputed.get(reference, False),
                )
                for reference, row in found.items()
            ]
        return [payment for payment in payments if payment is not None]

    async def rights(self) -> Sequence[str]:
        """Return the rights of the key that the agent has no need of.

        Raises:
            SourceError: it could not be asked.
        """
        with told_by(self.source.terms.target):
            async with self._client.reading() as reading:
                await reading.get("/transaction", {"per_page": "1", "page": "1"})
            key = self._secrets(self.source.terms.secret).decode()
        found = ["The secret key may do everything, refunds too: Paystack has none that only reads."]
        if key.startswith("sk_test_"):
            found.append("The key is one of test mode: no payment that it tells of is real.")
        return found

    async def _verified(self, reading: WebReading, reference: str) -> Record | None:
        answer = await reading.get("/transaction/verify/{}", ids=[reference], expected=(200, 404))
        if answer.json is None:
            return None
        return record_untrusted(record_untrusted(answer.json, "answer").fields.get("data"), "transaction")

    async def _list(
        self, reading: WebReading, path: str, query: Mapping[str, str], per_page: str, kind: str
    ) -> Sequence[Record]:
        """Return the rows of a list, all pages of it, each once."""
        found: dict[str, Record] = {}
        limit, page, expected = min(self.source.web.page, _PAGE_MOST), 1, 0
        while True:
            answer = await reading.get(path, {**query, per_page: str(limit), "page": str(page)})
            told = record_untrusted(answer.json, f"list of {kind}s")
            rows = told.records("data", kind)
            found.update((row.id("id"), row) for row in rows)
            meta = record_untrusted(told.fields.get("meta"), f"list of {kind}s: meta")
            pages = meta.number("pageCount")
            if pages is None:
                raise MalformedRecordError(f"list of {kind}s: expected pageCount in meta, got none")
            if page == 1:
                expected = meta.number("total") or 0  # rows that come later are in no total that counts
            if page >= pages and len(found) < expected:  # a page was lost, or came in place of another one
                text = f"{self.source.terms.target}: list of {kind}s: expected {expected} rows, got {len(found)}"
                raise SourceError(text, state=BillingState.PARTIAL)
            if page >= pages:
                return list(found.values())
            page += 1


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(max(at_s, 0.0), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
