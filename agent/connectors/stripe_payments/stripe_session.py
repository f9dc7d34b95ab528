"""Readings of one Stripe account: charges that are new, and older ones that something happened to.

Lists are paged by an id, newest first: a charge that comes meanwhile is on no page, and found by the next reading,
which begins earlier. Two proofs that a list is whole: each page begins with the last row of the page before, and no
charge that was read before is missing. Otherwise it is partial, and its payments count: they were made.

What became of an older charge (captured, refunded, disputed) is told by the account's events, which Stripe keeps for
30 days; the charge itself is then read as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from agent.billing_model.account import Payment
from agent.billing_model.errors import MalformedRecordError
from agent.billing_model.records import Record, record_untrusted
from agent.billing_model.source import SomePaymentsError
from agent.connectors.stripe_payments.charges import charge_of_untrusted, charge_untrusted
from agent.connectors.stripe_payments.configuration import StripeSource
from agent.connectors.web_source_session import client_of, told_by
from agent.runtime.clock import Clock
from agent.runtime.web_session import WebReading

_VERSION: Final = "2024-06-20"
"""Of the API: answers keep this form whatever the account's default is."""
_PAGE_MOST: Final = 100
_EVENTS_S: Final = 30 * 86_400.0
_RECENT: Final = 2_000
"""Charges that are remembered, by which a list that lost one is seen."""


class StripeReader:
    """Reads the payments of one account."""

    def __init__(self, source: StripeSource, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the source, the vault, the operator's zone and the clocks; nothing is opened."""
        self.source, self.zone = source, source.terms.zone or zone
        self._secrets, self._clock = secrets, clock
        self._client = client_of(source.web, clock, self._authorize)
        self._recent: dict[str, Payment] = {}

    async def _authorize(self) -> Mapping[str, str]:
        key = self._secrets(self.source.terms.secret).decode()
        return {"authorization": f"Bearer {key}", "stripe-version": _VERSION}

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return charges that were made since a moment, and those that something happened to since then.

        Raises:
            SourceError: not all could be asked for. SomePaymentsError where a list lost rows.
        """
        doubts: list[str] = []
        since = {"created[gte]": str(int(since_s))}
        with told_by(self.source.terms.target):
            async with self._client.reading() as reading:
                rows = await self._list(reading, "/charges", since, "charge", doubts)
                charges = {charge.id("id"): charge for charge in rows}
                if lost := await self._lost(reading, charges, since_s):
                    charges[lost.id("id")] = lost
                    doubts.append("list of charges: one that was read before and is still there is missing")
                for name in await self._touched(reading, since_s, doubts):
                    if name not in charges and (charge := await self._charge(reading, name)) is not None:
                        charges[name] = charge
                made = [await self._payment(reading, charge, doubts) for charge in charges.values()]
        found = [payment for payment in made if payment is not None]
        if doubts:
            raise SomePaymentsError(f"{self.source.terms.target}: {doubts[0]}", found)
        newest = sorted((self._recent | {p.id: p for p in found}).items(), key=lambda item: item[1].paid.first_s)
        self._recent = dict(newest[-_RECENT:])
        return found

    async def _lost(self, reading: WebReading, charges: Mapping[str, Record], since_s: float) -> Record | None:
        """Return a charge that was read before, is still there, and is missing in the list; None: there is none.

        It is named once: a list that lacks one for ever must not be partial for ever.
        """
        missing = [key for key, p in self._recent.items() if key not in charges and p.paid.first_s >= int(since_s)]
        for key in missing[:_PAGE_MOST]:
            del self._recent[key]
            if (charge := await self._charge(reading, key)) is not None:
                return charge
        return None

    async def _charge(self, reading: WebReading, name: str) -> Record | None:
        """Return a charge; None: it was data of test mode, as no other one is ever deleted."""
        answer = await reading.get("/charges/{}", ids=[name], expected=(200, 404))
        return None if answer.json is None else record_untrusted(answer.json, "charge")

    async def rights(self) -> Sequence[str]:
        """Return the rights of the key that the agent has no need of.

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

    async def _touched(self, reading: WebReading, since_s: float, doubts: list[str]) -> list[str]:
        """Return the ids of charges that events since a moment are about."""
        oldest_s = max(since_s, self._clock.wall_s() - _EVENTS_S)
        query = {"created[gte]": str(int(oldest_s)), "type": "charge.*"}
        events = await self._list(reading, "/events", query, "event", doubts)
        return list(dict.fromkeys(name for event in events if (name := charge_of_untrusted(event))))

    async def _payment(self, reading: WebReading, charge: Record, doubts: list[str]) -> Payment | None:
        """Return a charge as a payment; None: it failed, or is in doubt."""
        disputes: list[str] = []
        if charge.flag("disputed"):
            query = {"charge": charge.id("id")}
            rows = await self._list(reading, "/disputes", query, "dispute", doubts)
            disputes = [dispute.text("status") for dispute in rows]
            if not disputes:  # it may be an inquiry, or won: a payment that is taken back never counts again
                doubts.append("a charge is disputed, and the list of disputes has none of it")
                return None
        return charge_untrusted(charge, self.zone, self.source.subscriber_metadata, disputes)

    async def _list(
        self, reading: WebReading, path: str, query: Mapping[str, str], kind: str, doubts: list[str]
    ) -> Sequence[Record]:
        """Return the objects of a list, all pages of it; up to the first page that does not fit, which is in doubt."""
        found: dict[str, Record] = {}
        after: dict[str, str] = {}
        last = ""
        limit = str(min(self.source.web.page, _PAGE_MOST))
        while True:
            answer = await reading.get(path, {**query, **after, "limit": limit})
            page = record_untrusted(answer.json, f"list of {kind}s")
            rows = {row.id("id"): row for row in page.records("data", kind)}
            if last and (next(iter(rows), "") != last or len(found.keys() & rows.keys()) > 1):
                doubts.append(f"list of {kind}s: a page does not begin with the last row of the page before")
                return list(found.values())
            new = rows.keys() - found.keys()
            found |= rows
            has_more = page.flag("has_more")
            if has_more is None or (has_more and not new):
                raise MalformedRecordError(f"list of {kind}s: expected has_more with rows, got none")
            if not has_more:
                return list(found.values())
            *_, before, last = ["", *found]
            after = {"starting_after": before or last}
            last = last if before else ""
