"""Readings of one Stripe account: charges that are new, and older ones that something happened to.

Lists are paged by the last id of a page, newest first: a charge that comes meanwhile is on no page, and found by the
next reading, which begins earlier. What became of an older charge (captured, refunded, disputed) is told by the
account's events, which Stripe keeps for 30 days; the charge itself is then read as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from agent.billing_model.account import Payment
from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record, record_untrusted
from agent.connectors.stripe_payments.charges import charge_of_untrusted, charge_untrusted
from agent.connectors.stripe_payments.configuration import StripeSource
from agent.connectors.web_source_session import client_of, told_by
from agent.runtime.clock import Clock
from agent.runtime.web_session import WebReading

_VERSION: Final = "2024-06-20"
"""Of the API: answers keep this form whatever the account's default is."""
_PAGE_MOST: Final = 100
_EVENTS_S: Final = 30 * 86_400.0


class StripeReader:
    """Reads the payments of one account."""

    def __init__(self, source: StripeSource, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the source, the vault, the operator's zone and the clocks; nothing is opened."""
        self.source, self.zone = source, source.terms.zone or zone
        self._secrets, self._clock = secrets, clock
        self._client = client_of(source.web, clock, self._authorize)

    async def _authorize(self) -> Mapping[str, str]:
        key = self._secrets(self.source.terms.secret).decode()
        return {"authorization": f"Bearer {key}", "stripe-version": _VERSION}

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return charges that were made since a moment, and those that something happened to since then.

        Raises:
            SourceError: not all could be asked for.
        """
        since = {"created[gte]": str(int(since_s))}
        with told_by(self.source.terms.target):
            async with self._client.reading() as reading:
                rows = await self._list(reading, "/charges", since, "charge")
                charges = {charge.id("id"): charge for charge in rows}
                for name in await self._touched(reading, since_s):
                    if name not in charges:
                        answer = await reading.get("/charges/{}", ids=[name])
                        charges[name] = record_untrusted(answer.json, "charge")
                found = [await self._payment(reading, charge) for charge in charges.values()]
        return [payment for payment in found if payment is not None]

    async def rights(self) -> Sequence[str]:
        """Return what the key is allowed that the agent has no need of.

        Raises:
            SourceError: it could not be asked.
        """
        with told_by(self.source.terms.target):
            async with self._client.reading() as reading:
                await reading.get("/charges", {"limit": "1"})
            key = self._secrets(self.source.terms.secret).decode()
        found = []
        if key.startswith("sk_"):
            found.append("The key may do everything: make a restricted key that may read charges, disputes and events.")
        if key.startswith(("sk_test_", "rk_test_")):
            found.append("The key is one of test mode: no payment that it tells of is real.")
        return found

    async def _touched(self, reading: WebReading, since_s: float) -> list[str]:
        """Return the ids of charges that events since a moment are about."""
        oldest_s = max(since_s, self._clock.wall_s() - _EVENTS_S)
        query = {"created[gte]": str(int(oldest_s)), "type": "charge.*"}
        events = await self._list(reading, "/events", query, "event")
        return list(dict.fromkeys(name for event in events if (name := charge_of_untrusted(event))))

    async def _payment(self, reading: WebReading, charge: Record) -> Payment | None:
        disputes: list[str] = []
        if charge.flag("disputed"):
            query = {"charge": charge.id("id")}
            rows = await self._list(reading, "/disputes", query, "dispute")
            disputes = [dispute.text("status") for dispute in rows] or [
                ""
            ]  # disputed, and no dispute is shown: in doubt it is taken back
        return charge_untrusted(charge, self.zone, self.source.subscriber_metadata, disputes)

    async def _list(self, reading: WebReading, path: str, query: Mapping[str, str], kind: str) -> Sequence[Record]:
        """Return the objects of a list, all pages of it."""
        found: dict[str, Record] = {}
        after: dict[str, str] = {}
        limit = str(min(self.source.web.page, _PAGE_MOST))
        while True:
            answer = await reading.get(path, {**query, **after, "limit": limit})
            page = record_untrusted(answer.json, f"list of {kind}s")
            rows = {row.id("id"): row for row in page.records("data", kind)}
            if not found.keys().isdisjoint(rows):
                text = f"{self.source.terms.target}: list of {kind}s: one came on two pages"
                raise SourceError(text, state=BillingState.PARTIAL)
            found |= rows
            has_more = page.flag("has_more")
            if has_more is None or (has_more and not rows):
                raise MalformedRecordError(f"list of {kind}s: expected has_more with rows, got none")
            if not has_more:
                return list(found.values())
            after = {"starting_after": list(rows)[-1]}
