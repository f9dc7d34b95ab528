"""The connector: accounts and payments by configured queries. It reads, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import tzinfo
from typing import TypeVar

import trio

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.errors import BillingState, MalformedTableError, SourceError
from agent.billing_model.hmac_hooks import HmacScheme
from agent.billing_model.hooks import HookScheme
from agent.billing_model.tables import accounts_untrusted, payments_untrusted
from agent.connectors.accounts_sql import query
from agent.connectors.accounts_sql.schema import AccountsSqlConfig, QuerySource
from agent.connectors.accounts_sql.sql_reading import QueryRows, SqlReader
from agent.connectors.base import UnreadableError
from agent.model import Target
from agent.runtime.clock import Clock

T = TypeVar("T")


class AccountsSqlConnector:
    """Plays `TellsAccounts`, `TellsPayments`, `RingsBell` and `TriesSource`."""

    def __init__(self, config: AccountsSqlConfig, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the sources; nothing is opened yet."""
        self._sources = {source.terms.target: source for source in config}
        self._secrets, self._zone, self._clock = secrets, zone, clock
        self._readers = {name: SqlReader(source, self._password(source)) for name, source in self._sources.items()}
        self.targets: Sequence[Target] = tuple(Target(name, "accounts-sql") for name in self._sources)

    def _password(self, source: QuerySource) -> Callable[[], bytes]:
        return lambda: self._secrets(source.terms.secret)

    def zone(self, target: str) -> tzinfo:
        """Return the zone in which a source counts its days."""
        return self._sources[target].terms.zone or self._zone

    async def accounts(self, target: str) -> FullReading:
        """Return all accounts of the query.

        Raises:
            SourceError: it could not be read whole, or is older than `max_age_s` by its own word.
        """
        source, read_s = self._sources[target], self._clock.wall_s()
        table = await self._read(target, query.all_accounts(source.accounts_query))
        found, skipped = await self._accounts(target, table, read_s)
        oldest_s = min((account.as_of_s for account in found), default=read_s)
        if oldest_s < read_s - source.terms.max_age_s:
            age_h = (read_s - oldest_s) / 3600
            text = f"{target}: column as_of: expected at most {source.terms.max_age_s} s ago, got {age_h:.1f} hours ago"
            raise SourceError(text, state=BillingState.STALE)
        return FullReading(found, skipped)

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by the source's own ids.

        Raises:
            SourceError: not all could be asked for.
        """
        if not keys:
            return ()
        source, read_s = self._sources[target], self._clock.wall_s()
        columns = (await self._read(target, query.limited(query.all_accounts(source.accounts_query), 0))).columns
        table = await self._read(target, query.some_accounts(source.accounts_query, columns, keys))
        found, _ = await self._accounts(target, table, read_s)
        return [account for account in found if account.key in keys]  # MariaDB takes `a` for `A`

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments of the query; none where there is no such query.

        Raises:
            SourceError: not all could be asked for.
        """
        source = self._sources[target]
        if not source.payments_query:
            return ()
        table = await self._read(target, query.payments_since(source.payments_query, since_s))
        try:
            return await trio.to_thread.run_sync(payments_untrusted, table.columns, table.rows, self.zone(target))
        except MalformedTableError as err:
            raise _malformed(target, "payments_query", err) from err

    def hook(self, target: str) -> HookScheme | None:
        """Return how calls of the system are verified; None: it does not call.

        Raises:
            UnreadableError: the secret is not set.
        """
        terms = self._sources[target].terms
        if terms.hook is None:
            return None
        names = [name for name in (terms.hook.secret, terms.hook.secret_before) if name]
        return HmacScheme(self._sources[target].style, [self._secrets(name) for name in names])

    async def rights(self, target: str) -> Sequence[str]:
        """Return the rights of the database's user beyond reading.

        Raises:
            SourceError: it could not be asked.
        """
        source = self._sources[target]
        if not await self._asked(target, self._readers[target].may_write):
            return ()
        told = f"The user {source.user} could write: give the agent one that may only read."
        return (f"{told} Its connections are read-only all the same.",)

    async def _read(self, target: str, statement: query.Statement) -> QueryRows:
        return await self._asked(target, lambda: self._readers[target].read(statement))

    async def _asked(self, target: str, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except UnreadableError as err:  # a secret that is missing
            raise SourceError(f"{target}: {err}", state=BillingState.REFUSED) from err

    async def _accounts(self, target: str, table: QueryRows, read_s: float) -> tuple[list[Account], int]:
        zone = self.zone(target)
        try:
            return await trio.to_thread.run_sync(accounts_untrusted, table.columns, table.rows, zone, read_s)
        except MalformedTableError as err:
            raise _malformed(target, "accounts_query", err) from err


def _malformed(target: str, key: str, err: MalformedTableError) -> SourceError:
    return SourceError(f"{target}: {key}: {err}", state=BillingState.UNREACHABLE)
