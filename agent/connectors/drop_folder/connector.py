"""The connector: accounts and payments from CSV files. It reads, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import tzinfo
from functools import partial
from typing import TypeVar

import trio

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.errors import BillingState, MalformedTableError, SourceError
from agent.billing_model.tables import accounts_untrusted, payments_untrusted
from agent.connectors.drop_folder.configuration import FolderConfig, FolderSource
from agent.connectors.drop_folder.files_session import CsvTable, FolderFiles
from agent.model import Target
from agent.runtime.clock import Clock

T = TypeVar("T")


class DropFolderConnector:
    """Plays `TellsAccounts` and `TellsPayments`."""

    def __init__(self, config: FolderConfig, zone: tzinfo, clock: Clock) -> None:
        """Take the sources; nothing is opened yet."""
        self._sources = {source.terms.target: source for source in config.sources}
        self._zone, self._clock = zone, clock
        self.targets: Sequence[Target] = tuple(Target(name, "drop-folder") for name in self._sources)

    def zone(self, target: str) -> tzinfo:
        """Return the zone in which a source counts its days."""
        return self._sources[target].terms.zone or self._zone

    async def accounts(self, target: str) -> FullReading:
        """Return the accounts of the last whole file.

        Raises:
            SourceError: there is none, it may not count, or it is older than `max_age_s`.
        """
        return await trio.to_thread.run_sync(self._accounts, self._sources[target], self._clock.wall_s())

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts of the last whole file: a folder cannot be asked for one.

        Raises:
            SourceError: as `accounts`.
        """
        return [account for account in (await self.accounts(target)).accounts if account.key in keys]

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments of the whole files that were put there since a moment.

        Raises:
            SourceError: one of them may not count, or cannot be read.
        """
        return await trio.to_thread.run_sync(self._payments, self._sources[target], since_s)

    def _accounts(self, source: FolderSource, now_s: float) -> FullReading:
        table = FolderFiles(source).last(source.accounts)
        told_s = min(table.changed_s, now_s)
        zone = self.zone(source.terms.target)
        read = partial(accounts_untrusted, table.columns, table.rows, zone, told_s)
        found, skipped = _told_by(source, table, read)
        oldest_s = min((account.as_of_s for account in found), default=told_s)
        if oldest_s < now_s - source.terms.max_age_s:
            most, age_h = source.terms.max_age_s, (now_s - oldest_s) / 3600
            text = f"{source.terms.target}: expected accounts of at most {most} s ago, got {age_h:.1f} hours ago"
            raise SourceError(text, state=BillingState.STALE)
        return FullReading(found, skipped)

    def _payments(self, source: FolderSource, since_s: float) -> Sequence[Payment]:
        zone = self.zone(source.terms.target)
        found: dict[str, Payment] = {}
        for table in FolderFiles(source).since(source.payments, since_s):
            read = _told_by(source, table, partial(payments_untrusted, table.columns, table.rows, zone))
            found.update((payment.id, payment) for payment in read)
        return tuple(found.values())


def _told_by(source: FolderSource, table: CsvTable, read: Callable[[], T]) -> T:
    try:
        return read()
    except MalformedTableError as err:
        text = f"{source.terms.target}: {table.name[:80]!a}: {err}"
        raise SourceError(text, state=BillingState.UNREACHABLE) from err
