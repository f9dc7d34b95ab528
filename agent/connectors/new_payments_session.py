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


LookUp = Callable[[str], Awaitable[Payment | None]]
"""Asks for a payment by its id; None: the source has it no longer."""


class NewPayments:
    """The newest payments of one source, as they were read last. Lost at a restart."""

    def __init__(self) -> None:
        self.recent: dict[str, Payment] = {}

    async def read(
        self, fetch: Fetch, take: Callable[[Record], Payment], look_up: LookUp, since_s: float
    ) -> Sequence[Payment]:
        """Return the payments since a moment, and those that were deleted since the reading before.

        Args:
            fetch: asks for a page, newest first.
            take: reads a payment.
            look_up: asks whether the source still has a payment.
            since_s: unix seconds.

        Raises:
            MalformedRecordError: a payment has another form.
        """
        found = await self._newest(fetch, take, since_s)
        gone = await self._deleted(found, look_up)
        merged = {key: p for key, p in self.recent.items() if key not in {g.id for g in gone}} | found
        self.recent = {key: merged[key] for key in sorted(merged, key=_number)[-_RECENT:]}
        return [*found.values(), *gone]

    async def one(self, look_up: LookUp, key: str) -> Payment | None:
        """Return a payment as it is now, reversed where it was read before and is deleted; None: it is not known.

        Raises:
            MalformedRecordError: it has another form.
        """
        found, before = await look_up(key), self.recent.get(key)
        return replace(before, state=PaymentState.REVERSED) if found is None and before is not None else found

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

    async def _deleted(self, found: Mapping[str, Payment], look_up: LookUp) -> Sequence[Payment]:
        if not found:  # a list without anything tells more of the list than of the payments
            return []
        lowest = min(map(_number, found))
        missing = [p for key, p in self.recent.items() if key not in found and _number(key) >= lowest]
        return [
            replace(payment, state=PaymentState.REVERSED)
            for payment in missing[:_LOOKUPS]
            if await look_up(payment.id) is None
        ]


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdecimal() else 0
