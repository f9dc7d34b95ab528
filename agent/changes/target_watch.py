"""Looks whether each target that we dial answers, every now and then and at once when one left something unanswered.

A target that nobody needed yet has its turn too, so an outage is known before a change meets it; but not at once, since
a look opens its session.

Its findings go to `Outages`: for `status`, for the log, for monitoring. Nothing is decided by it: a change finds out
for itself.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import trio

from agent.changes.engine.sessions import Sessions
from agent.connectors.base import UnreadableError
from agent.runtime.clock import Clock
from agent.runtime.outages import Outages
from agent.runtime.supervise import supervise

_log = logging.getLogger("agent.outages")
EVERY_S: Final = 30.0
"""Between two looks at a target that answers. Chosen arbitrarily: a person is told within it."""
SOONEST_S: Final = 2.0
"""Between two looks, however much is left unanswered meanwhile."""
ANSWER_S: Final = 20.0
"""A target that takes longer does not answer."""
LOOKS_AT_ONCE: Final = 32
"""Targets that are asked at the same time; chosen arbitrarily. Their first turns come together: where 500 routers were
dialed at once, 70 took longer than their time, and outages were told that were none."""


class TargetWatch:
    """The looks at all targets."""

    def __init__(self, sessions: Sessions, outages: Outages, clock: Clock) -> None:
        """Take the sessions by which targets are asked, and the record of their answers."""
        self._sessions, self._outages, self._clock = sessions, outages, clock
        self._turn = trio.CapacityLimiter(LOOKS_AT_ONCE)
        for target in sessions.dialed_targets:
            outages.expect(target)

    async def run(self) -> None:
        """Look until cancelled; each target has a task of its own, so a few silent ones hold up no other."""
        async with trio.open_nursery() as nursery:
            for target in self._sessions.dialed_targets:
                again = partial(self._again, target)
                nursery.start_soon(partial(supervise, "target watch", again, log=_log))

    async def _again(self, target: str) -> None:
        while True:
            with trio.move_on_after(EVERY_S):
                await self._trouble(target)
            await self.look(target)
            await trio.sleep(SOONEST_S)

    async def _trouble(self, target: str) -> None:
        """Return when something was left unanswered, by this target for all that is known."""
        await self._sessions.trouble.wait()
        while not self._sessions.is_open(target):
            await self._sessions.trouble.wait()

    async def look(self, target: str) -> None:
        """Ask a target when it is its turn, and note its answer and those of the things behind it."""
        found = {target: f"no answer in {ANSWER_S:g} s"}
        async with self._turn:
            with trio.move_on_after(ANSWER_S):
                try:
                    found = dict(await (await self._sessions.dialed(target)).answering())
                except UnreadableError as err:
                    found = {target: str(err)}
        for name, cause in found.items():
            self._outages.note(name, cause)
