"""The NAS that answer, by the last request to each. A NAS is asked about nobody where nothing is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent.connectors.radius.schema import Nas

HEARD_S: Final = 300.0
"""How long an answer counts: most NAS log each request, so one that is idle is asked seldom."""
AGAIN_S: Final = 10.0
"""How soon a silent NAS is asked again."""


class NasPresence:
    """The presence of each NAS of a target. A NAS is asked once for all its callers."""

    def __init__(self, nas: Mapping[str, Nas], ask: Callable[[Nas], Awaitable[str]]) -> None:
        """Know nothing yet.

        Args:
            nas: by accounting address.
            ask: sends a request about nobody, notes the result, and returns why no answer came, or "".
        """
        self._nas, self._ask = nas, ask
        self.silent: dict[str, str] = {}
        """The reason of its silence by the name of each NAS that was asked; "": it answered last."""
        self._at: dict[str, float] = {}
        self._asking: dict[str, trio.Event] = {}
        self._missing: Mapping[str, str] = {}
        self._missing_until = float("-inf")
        """Until when `_missing` holds: an item asks for it, and there may be hundreds of NAS."""

    def note(self, name: str, why: str) -> None:
        """Take note of the result of a request to the NAS of a name: why no answer came, or ""."""
        if why or self.silent.get(name):
            self._missing_until = float("-inf")
        self.silent[name], self._at[name] = why, trio.current_time()

    async def missing(self) -> Mapping[str, str]:
        """Return why each NAS is taken to be away that does not answer, by accounting address."""
        now = trio.current_time()
        if now < self._missing_until:
            return self._missing
        asked = [nas for nas in self._nas.values() if self._must_ask(nas, now)]
        if asked:
            async with trio.open_nursery() as nursery:
                for nas in asked:
                    nursery.start_soon(self._ask_once, nas)
        self._missing = {ip: why for ip, nas in self._nas.items() if (why := self.silent.get(nas.name))}
        self._missing_until = min(map(self._due, self._nas.values()), default=float("-inf"))
        return self._missing

    def _due(self, nas: Nas) -> float:
        return self._at.get(nas.name, float("-inf")) + (AGAIN_S if self.silent.get(nas.name) else HEARD_S)

    def _must_ask(self, nas: Nas, now: float) -> bool:
        """Tell whether nothing is known of a NAS of late; one that is known to be silent is asked by one at a time."""
        known = self.silent.get(nas.name)
        return now >= self._due(nas) and not (known and nas.name in self._asking)

    async def _ask_once(self, nas: Nas) -> None:
        """Ask a NAS, or wait for the answer that somebody else asked for."""
        if (asking := self._asking.get(nas.name)) is not None:
            await asking.wait()
            return
        asking = self._asking[nas.name] = trio.Event()
        try:
            await self._ask(nas)
        finally:
            del self._asking[nas.name]
            asking.set()
