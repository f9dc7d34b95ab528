"""One session of a CPE on the line: requests to it go in here, and come out of the HTTP exchange at the other end.

The listener has the bytes (`receive`, `respond`), whoever works on the CPE has `ask`. Between the two the floor is
held: a CPE that has said all waits for the response to its empty POST, for `limits.HOLD_S` at most, since it gives up
after 30 seconds (TR-069 section 3.4.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from agent.connectors.base import LostError, NotSentError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp.acs_session import AcsReply, AcsSession, Answered, Ended, Informed, SessionEvent
from agent.connectors.cwmp.endings import ending
from agent.connectors.cwmp.errors import LocalCwmpError
from agent.connectors.cwmp.messages import Fault
from agent.connectors.cwmp.methods import AcsRequest, CpeResponse
from agent.connectors.cwmp.reading import BodyRead
from agent.reasons import TargetReason

Take = Callable[[SessionEvent], Awaitable[None]]
"""The listener's handler of an event, before it is acknowledged."""
Gone = Callable[[], Awaitable[None]]
"""Returns when the CPE dropped the connection on which it waits for a response."""

_SOON_S: Final = 0.05
"""How long a CPE is kept waiting before it is watched whether it is still there."""


class _Asked:
    """A request of ours on its way."""

    def __init__(self, request: AcsRequest) -> None:
        self.request = request
        self.answer: CpeResponse | Fault | None = None
        self.sent = False
        self.over = trio.Event()


class CwmpSession:
    """One session. `over` is set when it ended; `held` says whether somebody still has work for the CPE."""

    def __init__(self, session: AcsSession, address: str = "") -> None:
        """Begin with a session that waits for an Inform, or has just received one. `address`: that it comes from."""
        self.session, self.address = session, address
        self.name = ""
        """The CPE of the session, once an Inform named it."""
        self.accepted = False
        """Whether it proved to be an accepted CPE: until then little is taken from it."""
        self.begun = False
        """Whether its first POST was answered."""
        self.ended: Ended | None = None
        """How it ended, where it did so by a message in it, or by time."""
        self.over = trio.Event()
        self.held = False
        self.anew: CwmpSession | None = None
        """The next session, which the CPE began in this one by another Inform."""
        self.on_over: Callable[[], None] = lambda: None
        """Called once the session is over, after whoever waits for an answer was told so."""
        self._asked: _Asked | None = None
        self._turn = trio.Lock()
        self._changed = trio.Event()

    def accept(self) -> None:
        """Take note that it proved to be an accepted CPE."""
        self.accepted = True
        self.session.accept()

    # --- who works on the CPE ---

    async def ask(self, request: AcsRequest) -> CpeResponse | Fault:
        """Return a CPE's answer to a request.

        Raises:
            NotSentError: it was not sent: the session is over, or the CPE's version does not have it.
            LostError: it was sent, and the session ended before the answer came.
        """
        async with self._turn:
            if self.over.is_set():
                before = f"the CPE {ending(self.ended).text} before anything was sent"
                raise NotSentError(before, reason=TargetReason.SESSION_ENDED)  # not of this: it goes out next time
            asked = _Asked(request)
            try:
                self.session.send(request)
            except LocalCwmpError as err:
                raise NotSentError(f"the CPE cannot be asked this: {err}", reason=TargetReason.UNSUPPORTED) from err
            self._asked = asked
            self.changed()
            try:
                await asked.over.wait()
            except trio.Cancelled:
                self.hang_up()  # nobody waits for its answer any more, which would be taken for another's
                raise
            finally:
                self._asked = None
            if asked.answer is not None:
                return asked.answer
            why = ending(self.ended)
            if asked.sent:
                raise LostError(f"the CPE {why.text}: it had not answered", reason=why.reason)
            raise NotSentError(f"the CPE {why.text} before it was asked", reason=TargetReason.SESSION_ENDED)

    def hold(self) -> None:
        """Keep the CPE on the line for work to come."""
        self.held = True

    def release(self) -> None:
        """Let the CPE go once nothing is queued."""
        self.held = False
        self.changed()

    def hang_up(self, ended: Ended | None = None) -> None:
        """End the session now: the fate of an unanswered call is unknown. `ended`: how, where the session says so."""
        self.ended = self.ended or ended
        self.over.set()
        if self._asked is not None:
            self._asked.over.set()
        self.changed()
        self.on_over()

    def changed(self) -> None:
        """Wake whoever holds the floor."""
        self._changed.set()
        self._changed = trio.Event()

    # --- the HTTP exchange ---

    async def exchange(
        self,
        body: bytes,
        now: Callable[[], float],
        take: Take,
        gone: Gone = trio.sleep_forever,
        read: BodyRead | None = None,
    ) -> AcsReply:
        """Take one POST and return the response to it; its events are durable by then.

        Args:
            body: of the POST, in clear.
            now: the time when it is called: on the clock of the session.
            take: is given each event.
            gone: returns when the CPE is no longer there to be answered.
            read: the result of reading the body; None: it is read now.
        """
        if self.over.is_set() and not self.session.ended:
            return AcsReply(400)
        call = self
        for event in self.session.receive_untrusted(body, read):
            if isinstance(event, Informed) and self.over.is_set():
                call = self.anew = CwmpSession(
                    self.session, self.address
                )  # whoever has this one is not to speak to the next
            await call._take(event, take)
        return await call._answer(now, take, gone)

    async def _answer(self, now: Callable[[], float], take: Take, gone: Gone) -> AcsReply:
        if self.session.idle and self.held:
            await self._hold(gone)
        if self.over.is_set() and not self.session.ended:
            return AcsReply(400)
        pending = self._asked
        reply = self.session.respond(now())
        if pending is not None and self.session.pending is pending.request:
            pending.sent = True
        if reply.ended is not None:
            await self._take(reply.ended, take)
        return reply

    async def _take(self, event: SessionEvent, take: Take) -> None:
        match event:
            case Answered():
                if self._asked is not None and self._asked.request is event.request:
                    self._asked.answer = event.answer
                    self._asked.over.set()
            case Ended():
                self._ended(event)
            case _:
                pass
        await take(event)

    def _ended(self, event: Ended) -> None:
        self.ended = self.ended or event
        if self._asked is not None:
            self._asked.sent = event.unanswered is self._asked.request
            self._asked.over.set()
        self.over.set()
        self.on_over()

    async def _hold(self, gone: Gone) -> None:
        """Wait until something is to be asked, or nobody has work, or the CPE should not be made to wait longer."""
        deadline = trio.current_time() + limits.HOLD_S
        with trio.move_on_after(_SOON_S):  # mostly somebody has something at once, and a task less is to be made
            while self.held and self.session.idle and not self.over.is_set():
                await self._changed.wait()
        if not self.held or not self.session.idle or self.over.is_set():
            return

        async def until_gone() -> None:
            await gone()
            self.hang_up()  # nothing may be sent to nobody: it would be unknown what became of it

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_gone)
            with trio.move_on_at(deadline):
                while self.held and self.session.idle and not self.over.is_set():
                    await self._changed.wait()
            nursery.cancel_scope.cancel()
