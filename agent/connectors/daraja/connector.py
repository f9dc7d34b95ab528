"""The connector to M-Pesa's Daraja: a reader for each paybill or till."""

from __future__ import annotations

from collections.abc import Sequence

from agent.billing_model.account import Payment
from agent.billing_model.hooks import HookScheme
from agent.connectors.daraja.configuration import DarajaConfig
from agent.connectors.daraja.daraja_session import DarajaReader
from agent.connectors.daraja.hooks import DarajaScheme
from agent.connectors.spec import ConnectorContext
from agent.model import Target


class DarajaConnector:
    """Plays `TellsPayments`, `RingsBell` and `TriesSource`."""

    def __init__(self, config: DarajaConfig, context: ConnectorContext) -> None:
        """Take the configuration; nothing is opened."""
        self._readers = {
            source.terms.target: DarajaReader(source, context.secrets, context.zone, context.clock)
            for source in config.sources
        }
        self.targets: Sequence[Target] = tuple(Target(target, "daraja") for target in self._readers)

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments that were made since a moment (unix seconds), of the last 48 hours.

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].payments(since_s)

    def hook(self, target: str) -> HookScheme | None:
        """Return how confirmations are read; None: they do not come."""
        return DarajaScheme() if self._readers[target].source.terms.hook else None

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on the credentials.

        Raises:
            SourceError: they could not be tried.
        """
        return await self._readers[target].rights()
