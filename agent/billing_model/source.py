"""The roles of a billing source: a connector that plays one or both, and only reads.

A target of such a connector is one source, `KIND/NAME`; facts of it have the address `billing/main/SUBSCRIBER`.
Names of sources are unique over all connectors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Protocol, runtime_checkable

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.hooks import HookScheme


@runtime_checkable
class TellsAccounts(Protocol):
    """Knows accounts: balances, open invoices, promises."""

    def zone(self, target: str) -> tzinfo:
        """Return the zone in which a source counts its days."""
        ...

    async def accounts(self, target: str) -> FullReading:
        """Return all accounts of a source, read whole: ids are unique, and the pages agreed.

        Raises:
            SourceError: it could not be read whole; nothing of it counts.
        """
        ...

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by the source's own ids, read now. One that is not there any more is left out.

        Raises:
            SourceError: not all could be asked for.
        """
        ...


class SomePaymentsError(SourceError):
    """A list of payments is partial. `payments`: those that it does tell; they were made, whatever it lacks."""

    def __init__(self, message: str, payments: Sequence[Payment]) -> None:
        super().__init__(message, state=BillingState.PARTIAL)
        self.payments = payments


@runtime_checkable
class TellsPayments(Protocol):
    """Returns the payments of a source."""

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments that were made, settled or taken back since a moment (unix seconds), in any order.

        A source may return older ones too. Each has the same `id` whenever it is returned.

        Raises:
            SourceError: not all could be asked for.
        """
        ...


@runtime_checkable
class LooksUpPayments(Protocol):
    """Can be asked for single payments: a webhook that names one then costs one call, however many others came."""

    async def some_payments(self, target: str, ids: Collection[str]) -> Sequence[Payment]:
        """Return payments by their ids, read now. One that is not there is as it was told before, or left out: that it
        was deleted is proven by `payments` alone, as a proxy may answer so during an update.

        Raises:
            SourceError: not all could be asked for.
        """
        ...


@runtime_checkable
class RingsBell(Protocol):
    """Is called by its system when something changed there."""

    def hook(self, target: str) -> HookScheme | None:
        """Return how webhooks of a source are verified; None: the configuration wants none."""
        ...


@runtime_checkable
class TriesSource(Protocol):
    """Can say more of its credentials than that a reading works."""

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on rights of the credentials beyond reading, and on settings of the source.

        Raises:
            SourceError: it could not be asked.
        """
        ...
