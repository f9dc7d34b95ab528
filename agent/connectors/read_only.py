"""A connector without a write half, handed out like any other: a command that changes something is refused unsent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from agent.connectors.base import (
    NOTHING_EARLIER,
    AccessMethod,
    Busy,
    Earlier,
    NotSentError,
    Reach,
    Reads,
    ReadSession,
    Reply,
    Session,
    Traits,
)
from agent.model import Address, Effect, Seen, Target, Ticket
from agent.reasons import TargetReason


class ReadOnly:
    """Implements `agent.connectors.base.Changes` over a connector that plays `Reads`."""

    def __init__(self, reads: Reads) -> None:
        """Take the connector that is read."""
        self._reads = reads
        self.traits = Traits(conditional=False, settle_s=0.0, window=reads.window, reach=Reach.DIAL)
        self.targets: Sequence[Target] = reads.targets
        self.access_methods: Mapping[str, AccessMethod] = {}

    def dial(self, target: Target) -> AbstractAsyncContextManager[Session]:
        """Return a session to `target`.

        Raises:
            UnreadableError: on entering, when it cannot be reached.
        """
        return self._dial(target)

    @asynccontextmanager
    async def _dial(self, target: Target) -> AsyncIterator[Session]:
        async with self._reads.dial(target) as session:
            yield ReadOnlySession(session)

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Return at once: its targets are dialed."""


class ReadOnlySession:
    """Implements `agent.connectors.base.Session` over a session that only reads."""

    def __init__(self, session: ReadSession) -> None:
        """Take the session that reads."""
        self.target = session.target
        self._session = session

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address.

        Raises:
            UnreadableError: the target could not be asked.
        """
        return await self._session.read(addresses)

    def notes(self) -> Sequence[str]:
        """Return the session's own notes."""
        return self._session.notes()

    async def bind(
        self,
        effect: Effect,  # noqa: ARG002  no effect acts on anything here
        earlier: Earlier = NOTHING_EARLIER,  # noqa: ARG002  nor did one before
    ) -> Mapping[Address, Seen]:
        """Return nothing."""
        return {}

    async def send(self, ticket: Ticket) -> Reply:
        """Raise: nothing is ever sent.

        Raises:
            NotSentError: always.
        """
        raise NotSentError(
            f"{ticket.target} is only read: the agent changes nothing on it", reason=TargetReason.UNSUPPORTED
        )

    async def settle(self) -> None:
        """Return at once: no command is in doubt."""

    async def busy(self) -> Busy | None:
        """Return None: a target that nothing is sent to need not be spared."""
        return None
