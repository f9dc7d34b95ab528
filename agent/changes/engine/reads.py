"""Readings of a run outside its steps: before an item sends its first byte, and at the end of a batch.

* Before its first byte: whether the resources that an item rests on, and does not write, still read as in the preview.
  They are read again after the plan was approved. Many items of a run rest on the same few (a tariff's group, a marker
  group), so a reading of the run's last second serves all of them.
* At the end of a batch everything that it set is read once more, in one bulk read of each target. A write was read back
  when it was made. A database that fails over, or confirms a commit before it is safe, loses it afterwards; staff edit
  rows while a batch soaks. Such an item says so: it is not called done.
* A target that cannot be read holds up no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import trio

from agent.changes.engine.perform import same
from agent.changes.engine.sessions import ItemSessions, Sessions
from agent.changes.engine.steps import Steps
from agent.connectors.base import UnreadableError
from agent.inventory.book import AS_READ
from agent.model import Address, Effect, Item, Seen, Transition, by_target, target_of
from agent.runtime.clock import Clock
from agent.services.network import as_read

_log = logging.getLogger("agent.changes")
FRESH_S: Final = 1.0
"""How old a reading may be; chosen arbitrarily, far below the time between a preview and its approval."""
BATCH_MIN: Final = 2
"""Items that stand, from which on a run ends with this read; a single item was read back a moment ago."""


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
        if not wanted:
            return ""
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


async def read_targets(
    sessions: Sessions, addresses: Collection[Address]
) -> tuple[Mapping[Address, Seen], Mapping[str, UnreadableError]]:
    """Return the value of each address now, and the error of each target that cannot be read.

    Args:
        sessions: of all targets.
        addresses: of targets that the agent dials; devices that call in are not waited for.
    """
    seen: dict[Address, Seen] = {}
    unread: dict[str, UnreadableError] = {}

    async def read(target: str, wanted: list[Address]) -> None:
        try:
            session = await sessions.dialed(target)
            seen.update(await session.read(wanted))
        except UnreadableError as err:
            unread[target] = err

    async with trio.open_nursery() as nursery:
        for target, wanted in by_target(addresses).items():
            nursery.start_soon(read, target, wanted)
    return seen, unread


def set_by(steps: Steps) -> Mapping[Address, Transition]:
    """Return an item's applied writes by address; of several to one address the last."""
    return {
        write.address: write
        for step in steps.item.steps
        if not isinstance(step.do, Effect) and steps.stands(step.n)
        for write in step.do
    }


async def read_again(sessions: Sessions, standing: Sequence[Steps], changed: Callable[[], None]) -> None:
    """Read the writes of a run once more, and move the items that read otherwise; a failed read is logged.

    Args:
        sessions: of all targets.
        standing: the steps of the items that stand.
        changed: called after every move.
    """
    written = [(steps, set_by(steps)) for steps in standing]
    if len(written) < BATCH_MIN:
        return
    dialed = [a for _, writes in written for a in writes if not sessions.arrives_later(target_of(a))]
    seen, unread = await read_targets(sessions, dialed)
    for target in unread:
        _log.warning("what a batch set could not be read once more at its end", extra={"target": target})
    lost = 0
    for steps, writes in written:
        found = [w for a, w in writes.items() if a in seen and not same(seen[a].value, w.after, w.unprovable)]
        if found:
            lost += await steps.tickets.diverge(steps.item, found[0].address, tuple(writes))
            changed()
    if lost:
        _log.warning("what a batch set reads otherwise at its end", extra={"count": lost})
