"""New payments of a source that lists them newest first by ids, and those that it deleted since. For any web API.

* Ids go up, whatever day a payment was dated: one that was dated back is found.
* A deleted payment has two proofs: a list that is whole around it, and has a newer one, lacks it, and it is not there
  when it is asked for. One proof alone is a fault as likely: a page was lost, a proxy answered with 404 during an
  update, or an answer came from a copy of the books that lags behind. Then the payment stays as it was, and each
  reading asks again.
* A payment that is there and that the list lacks proves that the list lost rows: it is partial. That is said once of
  each, as a system may leave some of its payments out of its list for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.records import Record
from agent.billing_model.source import SomePaymentsError
from agent.connectors.web_source_session import Fetch, newest_rows

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

    def __init__(self, what: str) -> None:
        """Take the name of their list, for messages: `uisp-crm/main: payments`."""
        self._what = what
        self._recent: dict[str, Payment] = {}
        self._doubted: set[str] = set()
        """Those of `_recent` that were not there when they were asked for by their ids."""

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
            SomePaymentsError: the list lost rows.
            MalformedRecordError: a payment has another form.
        """
        found, is_all = await self._newest(fetch, take, since_s)
        gone = await self._deleted(found, look_up, is_all=is_all)
        merged = {key: p for key, p in self._recent.items() if key not in gone} | found
        self._recent = {key: merged[key] for key in sorted(merged, key=_number)[-_RECENT:]}
        self._doubted = (self._doubted & self._recent.keys()) - found.keys()
        return [*found.values(), *gone.values()]

    async def one(self, look_up: LookUp, key: str) -> Payment | None:
        """Return a payment as it is now. One that is not there is as it was; None: it was never read.

        Raises:
            MalformedRecordError: it has another form.
        """
        found, before = await look_up(key), self._recent.get(key)
        if before is None:
            return found
        if found is None:
            self._doubted.add(key)
            return before
        self._recent[key] = found
        return found

    async def _newest(
        self, fetch: Fetch, take: Callable[[Record], Payment], since_s: float
    ) -> tuple[dict[str, Payment], bool]:
        """Return the newest payments, and whether the list has no others."""
        known = self._recent.keys()
        first = min(map(_number, known), default=0)
        doubted = min(map(_number, self._doubted), default=None)
        old_s = since_s if known else since_s - _SLACK_S
        seen: dict[str, Payment] = {}
        is_all = True

        def read(row: Record) -> Payment:
            seen[row.id("id")] = payment = take(row)
            return payment

        def is_needed(new: Mapping[str, Payment]) -> bool:
            """Return whether payments older than these are needed."""
            if len(seen) >= _MOST:
                return False
            if doubted is not None and doubted <= min(map(_number, new)):
                return True
            fresh = known and any(key not in known and _number(key) > first for key in new)
            return bool(fresh) or any(p.paid.last_s >= old_s for p in new.values())

        def enough(new: Mapping[str, Payment]) -> bool:
            nonlocal is_all
            is_all = is_needed(new)
            return not is_all

        try:
            return await newest_rows(self._what, fetch, _PAGE, read, enough), is_all
        except SourceError as err:
            if err.state is BillingState.PARTIAL:
                raise SomePaymentsError(str(err), list(seen.values())) from err
            raise

    async def _deleted(self, found: Mapping[str, Payment], look_up: LookUp, *, is_all: bool) -> Mapping[str, Payment]:
        """Return the payments that have both proofs, reversed."""
        oldest, newest = 0 if is_all else min(map(_number, found)), max(map(_number, found), default=0)
        missing = [p for key, p in self._recent.items() if key not in found and _number(key) > oldest]
        gone: dict[str, Payment] = {}
        for payment in missing[: _LOOKUPS if found else 1]:
            now = await look_up(payment.id)
            if now is not None:
                del self._recent[payment.id]
                text = f"{self._what}: one that was read before and is still there is missing in the list"
                raise SomePaymentsError(text, [*found.values(), now])
            if _number(payment.id) < newest:
                gone[payment.id] = replace(payment, state=PaymentState.REVERSED)
        return gone


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdecimal() else 0
