"""The connector to UISP CRM: a reader for each source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import tzinfo

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.hooks import HookScheme
from agent.connectors.spec import ConnectorContext
from agent.connectors.uisp_crm.configuration import CrmConfig
from agent.connectors.uisp_crm.crm_session import CrmReader
from agent.connectors.uisp_crm.hooks import CrmScheme
from agent.model import Target


class CrmConnector:
    """Implements the roles of `agent.billing_model.source`, all of them."""

    def __init__(self, config: CrmConfig, context: ConnectorContext) -> None:
        """Take the configuration; nothing is opened."""
        self._readers = {
            source.terms.target: CrmReader(source, context.secrets, context.clock, context.answers, context.zone)
            for source in config.sources
        }
        self.targets: Sequence[Target] = tuple(Target(target, "uisp-crm") for target in self._readers)

    def zone(self, target: str) -> tzinfo:
        """Return the zone in which a CRM counts its days."""
        return self._readers[target].zone

    async def accounts(self, target: str) -> FullReading:
        """Return all accounts of a CRM, read whole.

        Raises:
            SourceError: it could not be read whole; nothing of it counts.
        """
        return await self._readers[target].all()

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by ids of clients, and those that events of webhooks are about, read now.

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
        """Return how webhooks of a CRM are read; None: the configuration wants none."""
        return CrmScheme() if self._readers[target].source.terms.hook else None

    async def rights(self, target: str) -> Sequence[str]:
        """Return sentences on the app key and on settings of the CRM.

        Raises:
            SourceError: it could not be asked.
        """
        return await self._readers[target].rights()
