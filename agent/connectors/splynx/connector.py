"""The connector to Splynx: a reader for each source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import tzinfo

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.hooks import HookScheme
from agent.connectors.spec import ConnectorContext
from agent.connectors.splynx.configuration import SplynxConfig
from agent.connectors.splynx.hooks import SplynxScheme
from agent.connectors.splynx.splynx_session import SplynxReader
from agent.model import Target


class SplynxConnector:
    """Implements the roles of `agent.billing_model.source`, all of them."""

    def __init__(self, config: SplynxConfig, context: ConnectorContext) -> None:
        """Take the configuration; nothing is opened."""
        made = [
            SplynxReader(each, context.secrets, context.clock, context.answers, context.zone) for each in config.sources
        ]
        self._secrets = context.secrets
        self._readers = {reader.name: reader for reader in made}
        self.targets: Sequence[Target] = tuple(Target(reader.name, "splynx") for reader in made)

    def zone(self, target: str) -> tzinfo:
        """Return the zone in which a Splynx counts its days."""
        return self._readers[target].zone

    async def accounts(self, target: str) -> FullReading:
        """Return all accounts of a Splynx, read whole.

        Raises:
            SourceError: it could not be read whole; nothing of it counts.
        """
        return await self._readers[target].all()

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by ids of customers, read now.

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].some(keys)

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments that were made or taken back since a moment (unix seconds).

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].payments(since_s)

    async def some_payments(self, target: str, ids: Collection[str]) -> Sequence[Payment]:
        """Return payments by their ids, read now; one that is not there is as it was read before, or left out.

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].some_payments(ids)

    def hook(self, target: str) -> HookScheme | None:
        """Return how webhooks of a Splynx are verified; None: the configuration wants none.

        Raises:
            UnreadableError: a secret of the webhook is not in the vault.
        """
        terms = self._readers[target].source.terms.hook
        if terms is None:
            return None
        return SplynxScheme([self._secrets(name) for name in (terms.secret, terms.secret_before) if name])

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on the API key.

        Raises:
            SourceError: it could not be asked.
        """
        return await self._readers[target].rights()
