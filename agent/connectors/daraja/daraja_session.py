"""Readings of one paybill or till: the transactions of the last 48 hours at most, which is all that is kept there.

A token is asked for with the credentials, and kept in memory for as long as it holds or until it is refused.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from agent.billing_model.account import Payment
from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record, record_untrusted
from agent.billing_model.source import SomePaymentsError
from agent.connectors.daraja.configuration import DarajaSource
from agent.connectors.daraja.transactions import EAST_AFRICA, name_untrusted, payment_untrusted, rows_untrusted
from agent.connectors.web_source_session import client_of, told_by, whole_list
from agent.runtime.clock import Clock
from agent.runtime.errors import WebRefusedError
from agent.runtime.web_session import WebPost, WebReading

_log = logging.getLogger(__name__)
KEPT_S: Final = 48 * 3600.0
BACK_S: Final = 3600.0
"""Read again each time: a transaction may show up in the list late."""
_EARLY_S: Final = 60.0
"""So long before its end a token is no longer used."""
_PAGE_MOST: Final = 1_000_000
"""Rows of a page. Its server alone decides how many it gives."""


class DarajaReader:
    """Reads the payments of one paybill or till."""

    def __init__(self, source: DarajaSource, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the source, the vault, the operator's zone and the clocks; nothing is opened."""
        self.source, self.zone = source, source.terms.zone or zone
        self._secrets, self._clock = secrets, clock
        self._token, self._until_boot_s = "", float("-inf")
        self._client = client_of(source.web, clock, self._bearer, one_at_a_time=True)
        self._tokens = client_of(source.web, clock, self._basic)

    async def _basic(self) -> Mapping[str, str]:
        return {"authorization": f"Basic {b64encode(self._secrets(self.source.terms.secret)).decode()}"}

    async def _bearer(self) -> Mapping[str, str]:
        if not self._token or self._clock.boot_s() >= self._until_boot_s:
            began_s = self._clock.boot_s()
            async with self._tokens.reading() as reading:
                answer = await reading.get("/oauth/v1/generate", {"grant_type": "client_credentials"})
            told = record_untrusted(answer.json, "token")
            token, holds_s = told.text("access_token"), told.number("expires_in")
            if not token or holds_s is None:
                raise MalformedRecordError("token: expected access_token and expires_in, got none")
            self._token, self._until_boot_s = token, began_s + holds_s - _EARLY_S
        return {"authorization": f"Bearer {self._token}"}

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return the payments since a moment, of the last 48 hours.

        Raises:
            SourceError: not all could be asked for. SomePaymentsError where pages do not fit: how Daraja pages is
                assumed, and a wrong guess must not keep payers cut off.
        """
        now_s = self._clock.wall_s()
        if 0 < since_s < now_s - KEPT_S:
            _log.warning("payments-out-of-reach", extra={"target": self.source.terms.target})
        begin_s = max(since_s - BACK_S, now_s - KEPT_S)
        with told_by(self.source.terms.target):
            try:
                rows = await self._rows(begin_s, now_s)
            except WebRefusedError:  # the token ended early: another one is tried once
                self._token = ""
                rows = await self._rows(begin_s, now_s)
            return self._payments(rows)

    def _payments(self, rows: Iterable[Record]) -> Sequence[Payment]:
        found = [payment_untrusted(row, self.source.currency) for row in rows]
        return [payment for payment in found if payment is not None]

    async def rights(self) -> Sequence[str]:
        """Return the sentences on the credentials once they were tried.

        Raises:
            SourceError: they are refused, or there is no answer.
        """
        now_s = self._clock.wall_s()
        with told_by(self.source.terms.target):
            await self._rows(now_s - BACK_S, now_s)
        return (
            "Safaricom keeps transactions for 48 hours: what was paid while the agent was away for longer is lost.",
        )

    async def _rows(self, begin_s: float, end_s: float) -> Sequence[Record]:
        seen: dict[str, Record] = {}
        async with self._client.reading() as reading:

            async def fetch(offset: int, _most: int) -> Sequence[Record]:
                rows = await self._page(reading, begin_s, end_s, offset)
                named = [Record(row.kind, {**row.fields, "id": name_untrusted(row)}) for row in rows]
                seen.update((row.id("id"), row) for row in named)
                return named

            what = f"{self.source.terms.target}: transactions"
            try:
                found = await whole_list(what, fetch, _PAGE_MOST, lambda row: row)
            except SourceError as err:
                if err.state is BillingState.PARTIAL:
                    raise SomePaymentsError(str(err), self._payments(seen.values())) from err
                raise
        return list(found.values())

    async def _page(self, reading: WebReading, begin_s: float, end_s: float, offset: int) -> Sequence[Record]:
        asked = {
            "ShortCode": self.source.short_code,
            "StartDate": _moment(begin_s),
            "EndDate": _moment(end_s),
            "OffSetValue": str(offset),
        }
        body = WebPost(json.dumps(asked).encode(), "application/json")
        answer = await reading.post("/pulltransactions/v1/query", body)
        return rows_untrusted(record_untrusted(answer.json, "answer"))


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, EAST_AFRICA).strftime("%Y-%m-%d %H:%M:%S")
