"""The holders of an IP address now, as the targets tell: for a person with nothing but an address to go by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import trio

from agent.connectors.base import AddressHolder, Changes, Connector, KnowsHolders, UnreadableError
from agent.services.network import Targets

HOLDERS_S = 10.0
"""How long a target may take to name the holders of an address."""


@dataclass(slots=True)
class Holders:
    """The holders of an address, by target. `not_checked`: targets that did not say, with the reason."""

    found: dict[str, list[AddressHolder]] = field(default_factory=dict)
    not_checked: dict[str, str] = field(default_factory=dict)


class HolderReader:
    """Asks every target that knows the holders of addresses."""

    def __init__(self, targets: Targets, connectors: Iterable[Connector]) -> None:
        """Take the targets' sessions, and all connectors."""
        self._targets = targets
        every = list(connectors)
        self._asked: Mapping[str, KnowsHolders] = {
            target.id: one for one in every if isinstance(one, KnowsHolders) for target in one.targets
        }
        silent = [one for one in every if isinstance(one, Changes) and one.access_methods]
        self._silent = [t.id for one in silent if not isinstance(one, KnowsHolders) for t in one.targets]

    async def read(self, address: str) -> Holders:
        """Return the holders of an IP address now, an IPv4 or IPv6 one as `ipaddress` writes it."""
        told = Holders(not_checked=dict.fromkeys(self._silent, "it cannot say who has an address"))
        async with trio.open_nursery() as nursery:
            for target, connector in self._asked.items():
                nursery.start_soon(self._read, target, connector, address, told)
        return told

    async def _read(self, target: str, connector: KnowsHolders, address: str, told: Holders) -> None:
        told.not_checked[target] = f"no answer within {HOLDERS_S:.0f} s"
        with trio.move_on_after(HOLDERS_S):
            where = connector.holders_at(target, address)
            try:
                seen = await (await self._targets.dialed(target)).read([where])
            except UnreadableError as err:
                told.not_checked[target] = str(err)
                return
            del told.not_checked[target]
            told.found[target] = list(connector.holders_of(target, address, seen[where].value))
