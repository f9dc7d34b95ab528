"""Which NAS answer, as the last request to each of them showed; one of which nothing is known is asked about nobody."""

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
    """What is known of each NAS of a target. A NAS is asked once for all who want to know."""

    def __init__(self, nas: Mapping[str, Nas], ask: Callable[[Nas], Awaitable[str]]) -> None:
        """Know nothing yet.

        Args:
            nas: by accounting address.
            ask: sends a request about nobody, notes what came of it, and returns why no answer came, or "".
        """
        self._nas, self._ask = nas, ask
        self.silent: dict[str, str] = {}
        """By the name of each NAS that was asked: why it did not answer last; "": it did."""
        self._at: dict[str, float] = {}
        self._asking: dict[str, trio.Event] = {}

    def note(self, nas: Nas, why: str) -> None:
        """Take note of what came of a request to a NAS: why no answer came, or ""."""
        self.silent[nas.name], self._at[nas.name] = why, trio.current_time()

    async def missing(self) -> Mapping[str, str]:
        """Return why each NAS is taken to be away that does not answer, by accounting address."""
        found: dict[str, str] = {}

        async def look(accounting: str, nas: Nas) -> None:
            if why := await self._why(nas):
                found[accounting] = why

        async with trio.open_nursery() as nursery:
            for accounting, nas in self._nas.items():
                nursery.start_soon(look, accounting, nas)
        return found

    async def _why(self, nas: Nas) -> str:
        known = self.silent.get(nas.name)
        due = self._at.get(nas.name, float("-inf")) + (AGAIN_S if known else HEARD_S)
        asking = self._asking.get(nas.name)
        if asking is None and trio.current_time() >= due:
            asking = self._asking[nas.name] = trio.Event()
            try:
                await self._ask(nas)
            finally:
                del self._asking[nas.name]
                asking.set()
        elif asking is not None and not known:
            await asking.wait()
        return self.silent.get(nas.name, "")
