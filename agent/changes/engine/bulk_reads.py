"""Bulk reads over many targets: one that cannot be read holds up no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import trio

from agent.changes.engine.sessions import Sessions
from agent.connectors.base import UnreadableError
from agent.model import Address, Seen, by_target


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
            session = await sessions.dialled(target)
            seen.update(await session.read(wanted))
        except UnreadableError as err:
            unread[target] = err

    async with trio.open_nursery() as nursery:
        for target, wanted in by_target(addresses).items():
            nursery.start_soon(read, target, wanted)
    return seen, unread
