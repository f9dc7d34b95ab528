"""The connector to Stripe: a reader for each source."""

from __future__ import annotations

from collections.abc import Sequence

from agent.billing_model.account import Payment
from agent.billing_model.hooks import HookScheme
from agent.connectors.spec import ConnectorContext
from agent.connectors.stripe_payments.configuration import StripeConfig
from agent.connectors.stripe_payments.hooks import StripeScheme
from agent.connectors.stripe_payments.stripe_session import StripeReader
from agent.model import Target


class StripeConnector:
    """Plays `TellsPayments`, `RingsBell` and `TriesSource`."""

    def __init__(self, config: StripeConfig, context: ConnectorContext) -> None:
        """Take the configuration; nothing is opened."""
        self._secrets = context.secrets
        self._readers = {
            source.terms.target: StripeReader(source, context.secrets, context.zone, context.clock)
            for source in config.sources
        }
        self.targets: Sequence[Target] = tuple(Target(target, "stripe") for target in self._readers)

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        """Return the payments that were made, settled or taken back since a moment (unix seconds).

        Raises:
            SourceError: not all could be asked for.
        """
        return await self._readers[target].payments(since_s)

    def hook(self, target: str) -> HookScheme | None:
        """Return how Stripe's calls are verified; None: it does not call.

        Raises:
            UnreadableError: the signing secret is not set.
        """
        terms = self._readers[target].source.terms.hook
        if terms is None:
            return None
        return StripeScheme([self._secrets(name) for name in (terms.secret, terms.secret_before) if name])

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on the key.

        Raises:
            SourceError: it could not be asked.
        """
        return await self._readers[target].rights()
