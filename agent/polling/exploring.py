"""Questions that people ask devices by hand: each is answered by its connector, row by row, in a task of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Final

import trio

from agent.connectors.base import AnswerRow, Connector, Explores, Question, UnreadableError
from agent.reasons import TargetReason
from agent.runtime.supervise import Crash, contain

_log = logging.getLogger("agent.polling")
AT_ONCE: Final = 8
"""Questions that are being answered; a search may take minutes. Chosen arbitrarily."""
ROWS_AHEAD: Final = 100
"""Rows that wait for the client; its connector waits then."""


class Explorer:
    """Answers questions of people, while it runs."""

    def __init__(self, connectors: Mapping[str, Connector]) -> None:
        """Take all connectors by name."""
        self._configured = frozenset(connectors)
        self._connectors = {name: one for name, one in connectors.items() if isinstance(one, Explores)}
        self._nursery: trio.Nursery | None = None
        self._under_way = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def start(self, name: str, question: Question) -> AsyncGenerator[object, None]:
        """Return the lines of an answer: `row`, and at the end `end` or `error`. It is worked on when it is iterated.

        Raises:
            UnreadableError: there is no such connector, it is asked nothing of the kind, or too much is asked.
        """
        connector = self._connectors.get(name)
        if name not in self._configured:
            why = f"the agent's configuration has nothing of {name[:40]}: add a device there, and restart the agent"
            raise UnreadableError(why, reason=TargetReason.UNSUPPORTED)
        if connector is None or question.verb not in connector.verbs:
            known = [f"{one} {verb}" for one, found in self._connectors.items() for verb in sorted(found.verbs)]
            why = f"expected one of {', '.join(known) or 'nothing'}, got {name[:40]} {question.verb[:40]}"
            raise UnreadableError(why, reason=TargetReason.UNSUPPORTED)
        if self._under_way >= AT_ONCE or self._nursery is None:
            raise UnreadableError(f"{AT_ONCE} questions are being answered: ask again", reason=TargetReason.BUSY)
        return self._lines(connector, question, self._nursery)

    async def _lines(
        self, connector: Explores, question: Question, nursery: trio.Nursery
    ) -> AsyncGenerator[object, None]:
        send, receive = trio.open_memory_channel[Mapping[str, object]](ROWS_AHEAD)
        scope = trio.CancelScope()
        self._under_way += 1
        nursery.start_soon(self._answer, connector, question, send, scope)
        try:
            async for line in receive:
                yield line
        finally:
            self._under_way -= 1
            scope.cancel()
            receive.close()

    async def _answer(
        self,
        connector: Explores,
        question: Question,
        send: trio.MemorySendChannel[Mapping[str, object]],
        scope: trio.CancelScope,
    ) -> None:
        async def tell(row: AnswerRow) -> None:
            await send.send({"row": dict(row)})

        with scope:
            async with send:
                last: Mapping[str, object] = {"end": True}
                try:
                    explore = partial(connector.explore, question, tell)
                    crash = await contain("explore", explore, log=_log, fatal=(UnreadableError,))
                except UnreadableError as err:
                    last = {"error": {"code": str(err.reason), "message": str(err)}}
                else:
                    if isinstance(crash, Crash):
                        last = {"error": {"code": "internal", "message": "the agent failed at this: see its log"}}
                await send.send(last)
