"""The connector to Paystack: a reader for each source."""

from __future__ import annotations

from collections.abc import Sequence

from agent.billing_model.account import Payment
from agent.billing_model.hooks import HookScheme
from agent.connectors.paystack.configuration import PaystackConfig
from agent.connectors.paystack.hooks import PaystackScheme
from agent.connectors.paystack.paystack_session import PaystackReader
from agent.connectors.spec import ConnectorContext
from agent.model import Target


class PaystackConnector:
    """Plays `TellsPayments`, `RingsBell` and `TriesSource`."""

    def __init__(self, config: PaystackConfig, context: ConnectorContext) -> None:
        """Take the configuration; nothing is opened."""
        self._secrets = context.secrets
        self._readers = {
            source.terms.target: PaystackReader(source, context.secrets, context.zone, context.clock)
            for source in config.sources
        }
        self.targets: Sequence[Target] = tuple(Target(target, "paystack") for target in self._readers)

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments that were made, settled or taken back since a moment (unix seconds).

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].payments(since_s)

    def hook(self, target: str) -> HookScheme | None:
        """Return how Paystack's calls are verified; None: it does not call.

        Raises:
            UnreadableError: the secret key is not set.
        """
        source = self._readers[target].source
        if source.terms.hook is None:
            return None
        return PaystackScheme([self._secrets(name) for name in (source.terms.secret, source.secret_before) if name])

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on the key.

        Raises:
            SourceError: it could not be asked.
        """
        return await self._readers[target].rights()
