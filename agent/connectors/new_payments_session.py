"""New payments of a source that lists them newest first by ids, and those that it deleted since. For any web API.

* Ids go up, whatever day a payment was dated: one that was dated back is found.
* A deleted payment is one that was read before, is missing among the others, and is not there when it is asked for.
  An empty list deletes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.records import Record
from agent.connectors.web_source_session import Fetch

_PAGE: Final = 100
"""Payments of a page: most readings need one."""
_RECENT: Final = 2_000
"""Payments that are remembered, by which a deleted one is seen."""
_SLACK_S: Final = 3 * 86_400
"""Payments may be dated back; so far before the wanted moment is looked in the first reading."""
_LOOKUPS: Final = 50
"""Payments that are looked up in one reading because the list has them no longer."""
_MOST: Final = 5_000
"""Payments of one reading; older ones were told before."""


class NewPayments:
    """The newest payments of one source, as they were read last. Lost at a restart."""

    def __init__(self) -> None:
        self.recent: dict[str, Payment] = {}

    async def read(
        self,
        fetch: Fetch,
        take: Callable[[Record], Payment],
        there: Callable[[str], Awaitable[bool]],
        since_s: float,
    ) -> Sequence[Payment]:
        """Return the payments since a moment, and those that were deleted since the reading before.

        Args:
            fetch: asks for a page, newest first.
            take: reads a payment.
            there: asks whether the source still has a payment of an id.
            since_s: unix seconds.

        Raises:
            MalformedRecordError: a payment has another form.
        """
        found = await self._newest(fetch, take, since_s)
        gone = await self._deleted(found, there)
        merged = {key: p for key, p in self.recent.items() if key not in {g.id for g in gone}} | found
        self.recent = {key: merged[key] for key in sorted(merged, key=_number)[-_RECENT:]}
        return [*found.values(), *gone]

    async def _newest(self, fetch: Fetch, take: Callable[[Record], Payment], since_s: float) -> dict[str, Payment]:
        first = min(map(_number, self.recent), default=0)
        old_s = since_s if self.recent else since_s - _SLACK_S
        found: dict[str, Payment] = {}
        while len(found) < _MOST:
            rows = await fetch(max(len(found) - 1, 0), _PAGE)
            new = {row.id("id"): take(row) for row in rows if row.id("id") not in found}
            found |= new
            fresh = self.recent and any(key not in self.recent and _number(key) > first for key in new)
            if not new or (not fresh and all(p.paid.last_s < old_s for p in new.values())):
                break
        return found

    async def _deleted(
        self, found: Mapping[str, Payment], there: Callable[[str], Awaitable[bool]]
    ) -> Sequence[Payment]:
        if not found:  # a list without anything tells more of the list than of the payments
            return []
        lowest = min(map(_number, found))
        missing = [p for key, p in self.recent.items() if key not in found and _number(key) >= lowest]
        return [
            replace(payment, state=PaymentState.REVERSED)
            for payment in missing[:_LOOKUPS]
            if not await there(payment.id)
        ]


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdecimal() else 0
