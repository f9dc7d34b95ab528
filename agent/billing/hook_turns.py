"""The order in which one source's webhooks are dealt with. Pure.

Many calls cost one reading, and one call that cannot be read fails it for all of them: a system that answers with an
error for one event is enough. So the calls of a failed reading go behind the others, and the next reading has half as
many. A call that failed again and again for a day is given up: the regular readings find its facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.inventory.ledger import OpenHeard

MOST: Final = 50
"""Calls of one reading. Chosen arbitrarily."""
TRIES: Final = 3
GIVE_UP_S: Final = 86_400
"""A call is given up after both."""


@dataclass(slots=True)
class HookTurns:
    """The turns of one source's calls. `failures`: readings that failed, one after the other."""

    failures: int = 0
    _size: int = MOST
    _tries: Counter[str] = field(default_factory=Counter)

    def next(self, calls: Sequence[OpenHeard]) -> list[OpenHeard]:
        """Return the calls of the next reading out of those that are open: those that failed least, oldest first."""
        return sorted(calls, key=lambda call: self._tries[call.heard.event_id])[: self._size]

    def failed(self, calls: Sequence[OpenHeard]) -> None:
        """Note that a reading for some calls failed."""
        self.failures += 1
        self._size = max(len(calls) // 2, 1)
        self._tries.update(call.heard.event_id for call in calls)

    def done(self, calls: Sequence[OpenHeard]) -> None:
        """Note that a reading for some calls is durable, or that they were given up."""
        self.failures, self._size = 0, min(self._size * 2, MOST)
        for call in calls:
            del self._tries[call.heard.event_id]

    def given_up(self, calls: Sequence[OpenHeard], now_s: float) -> list[OpenHeard]:
        """Return the calls that are not tried again. `now_s`: unix seconds."""
        return [c for c in calls if self._tries[c.heard.event_id] >= TRIES and now_s - c.at_s > GIVE_UP_S]
