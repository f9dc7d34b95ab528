"""Whether the resources that an item rests on, and does not write, still read as in the preview.

They are read again after the plan was approved, just before the item's first byte. Many items of a run rest on the same
few (a tariff's group, a marker group), so a reading of the run's last second serves all of them.
"""

from __future__ import annotations

from typing import Final

from agent.changes.engine.sessions import ItemSessions
from agent.inventory.book import AS_READ
from agent.model import Address, Item, by_target
from agent.runtime.clock import Clock
from agent.services.network import as_read

FRESH_S: Final = 1.0
"""How old a reading may be; chosen arbitrarily, far below the time between a preview and its approval."""


class RecentReads:
    """Readings of a run's last second, as the requirement texts that they fulfill."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[Address, tuple[float, str]] = {}

    @staticmethod
    def needed(item: Item) -> bool:
        """Return whether an item rests on a resource that is read again."""
        return any(requirement.test == AS_READ for requirement in item.requires)

    async def broken(self, item: Item, sessions: ItemSessions, clock: Clock) -> str:
        """Return why a resource that the item rests on no longer reads as in the preview; "": all do.

        Raises:
            UnreadableError: a target could not be asked.
        """
        wanted = {r.address: r.shown for r in item.requires if r.test == AS_READ}
        now_s = clock.boot_s()
        self._known = {where: known for where, known in self._known.items() if now_s - known[0] < FRESH_S}
        found = {where: self._known[where][1] for where in wanted if where in self._known}
        for target, addresses in by_target([where for where in wanted if where not in found]).items():
            session = await sessions.at(target)
            for where, seen in (await session.read(addresses)).items():
                found[where] = as_read(where, seen.value).shown
                self._known[where] = now_s, found[where]
        changed = [where for where, shown in wanted.items() if found[where] != shown]
        return f"{', '.join(changed)} no longer reads as in the preview" if changed else ""
