"""A conversation with one router over its API: any number of tasks call at once, on one connection, by tags.

Two tasks carry it, one that writes and one that reads. So a cancelled caller leaves no half sentence behind,
slow answers hold up nobody else, and a connection that breaks is noticed while nobody waits for it.

How a call ends, and the knowledge then: see `errors`. A command that was sent and has no whole answer is cancelled on
the router first, which may take `limits.CANCEL_S` more than the caller's time; if the router does not confirm, the
connection is closed with all that is in flight on it: a command that may still be at work must not outlive its carrier.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from agent.connectors.routeros import limits
from agent.connectors.routeros.carrier_session import Carrier, Dial, Endpoint, check, dial, fetch_certificate
from agent.connectors.routeros.errors import (
    CarrierLostError,
    LocalRouterError,
    MalformedRouterReplyError,
    RouterError,
    RouterTimeoutError,
    UnreachableRouterError,
)
from agent.connectors.routeros.exchanges import Exchange, Exchanges, RouterAnswer
from agent.connectors.routeros.login import Login
from agent.connectors.routeros.wire import ReplyReader, encode_sentence
from agent.runtime.notifier import Notifier

__all__ = ["Endpoint", "RouterAnswer", "RouterApi", "carry", "connect", "fetch_certificate", "open_in"]

_RESERVED: Final = frozenset({"/login", "/cancel", "/quit"})


class _Call(Exchange):
    """A command on its way: waiting for its turn, then sent, then over."""

    def __init__(self, tag: str, words: tuple[str, ...], deadline: float) -> None:
        self.data, self.deadline = encode_sentence(words, tag), deadline
        self.wake = trio.Event()
        super().__init__(tag, words, self.wake.set)
        self.sent = False
        self.lost: RouterError | None = None
        """Why the session ended, when it did before this call was over."""


class RouterApi:
    """An open, logged-in API session. Made by `connect` or `open_in`."""

    def __init__(self, carrier: Carrier, reader: ReplyReader) -> None:
        self._carrier, self._reader = carrier, reader
        self._exchanges: Exchanges[_Call] = Exchanges()
        self._waiting: deque[_Call] = deque()
        self._cancels: deque[_Call] = deque()
        self._to_send, self._ended = Notifier(), Notifier()
        """The bells of the task that writes, and of those who wait for the end of a call that they gave up."""
        self._look, self._looks_at = trio.Event(), math.inf
        """The bell of the task that watches deadlines, and when it looks by itself."""
        self._over: RouterError | None = None
        self._end = trio.Event()
        self._closed = trio.Event()

    @property
    def closed(self) -> bool:
        """Whether this session is over: no call can be made on it any more."""
        return self._over is not None

    @property
    def certificate(self) -> bytes | None:
        """The router's certificate, DER; None on plain TCP."""
        return self._carrier.certificate

    async def aclose(self) -> None:
        """Close the connection, and return when it is closed. Commands in flight are lost; may be called again."""
        self._finish(CarrierLostError("the connection was closed here", sent=True))
        with trio.CancelScope(shield=True):  # the closing itself waits for nobody
            await self._closed.wait()

    async def call(self, *words: str, timeout_s: float) -> RouterAnswer:
        """Send a command and return its answer.

        Args:
            words: `/ppp/secret/print`, `=.proplist=name,profile`, `?name=x`; no tag.
            timeout_s: from now to the end of the answer, its turn in the queue included.

        Raises:
            LocalRouterError: these words cannot be sent; nothing was.
            TrapError: the router refused.
            AnswerTooLongError: the answer passes a limit.
            CarrierLostError: the connection is gone.
            RouterTimeoutError: no end of the answer in time.
            MalformedRouterReplyError: the router speaks another protocol; the command's fate is unknown.
        """
        if words and words[0] in _RESERVED:
            raise LocalRouterError(f"{words[0]}: the session itself sends it")
        deadline = trio.current_time() + (timeout_s if timeout_s > 0 else 0.0)
        call = _Call(self._exchanges.new_tag(), words, deadline)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._over is not None:
            raise CarrierLostError(str(self._over), sent=False)
        self._waiting.append(call)
        self._to_send.ring()
        if deadline < self._looks_at:
            self._look.set()
        try:
            await call.wake.wait()
        finally:
            given_up = not call.finished
            if given_up:
                await self._give_up(call)
        return self._outcome(call, words[0], timeout_s, given_up=given_up)

    def _outcome(self, call: _Call, command: str, timeout_s: float, *, given_up: bool) -> RouterAnswer:
        if not given_up or call.too_long:
            return call.answer()
        if call.lost is None:
            raise RouterTimeoutError(f"{command}: no end of the answer in {timeout_s:g} s", sent=call.sent)
        if call.sent and isinstance(call.lost, MalformedRouterReplyError):
            raise MalformedRouterReplyError(str(call.lost))
        raise CarrierLostError(str(call.lost), sent=call.sent)

    # --- giving up ---

    async def _give_up(self, call: _Call) -> None:
        """End a call that nobody waits for any more: take it back unsent, or have the router cancel it."""
        call.lost = self._over
        if call.lost is not None:
            return
        if not call.sent:
            if call in self._waiting:
                self._waiting.remove(call)
            return
        cancel = _Call(self._exchanges.new_tag(), ("/cancel", f"=tag={call.tag}"), math.inf)
        self._cancels.append(cancel)
        self._to_send.ring()
        with trio.move_on_after(limits.CANCEL_S, shield=True):
            while self._over is None and not (call.finished and cancel.finished):
                await self._ended.wait()
        if self._over is None and not (call.finished and cancel.finished):
            self._finish(
                CarrierLostError(f"closed: a cancelled command did not end in {limits.CANCEL_S:g} s", sent=True)
            )
        if self._over is not None:
            with trio.CancelScope(shield=True):
                await self._closed.wait()

    def _finish(self, why: RouterError) -> None:
        """Give the session up, for the first reason only: nobody's command is sent or answered from here on."""
        if self._over is None:
            self._over = why
            for call in self._unanswered():
                call.wake.set()
            self._waiting.clear()
            self._cancels.clear()
            self._end.set()
            self._ended.ring()

    # --- the three tasks ---

    async def _run(self) -> None:
        """Carry the session until it is over; the connection is closed then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._read)
                nursery.start_soon(self._watch)
                await self._end.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._finish(CarrierLostError("the connection was closed here", sent=True))
            try:
                await self._carrier.close(in_doubt=len(self._exchanges) > 0)
            finally:  # who gave a call up waits for this, and no cancel reaches there
                self._closed.set()

    async def _watch(self) -> None:
        """Wake each call at its deadline. A timeout of its own would cost a call more than its bytes do."""
        while True:
            self._look = trio.Event()
            self._looks_at = min((call.deadline for call in self._unanswered()), default=math.inf)
            with trio.move_on_at(self._looks_at):
                await self._look.wait()
            now = trio.current_time()
            for call in self._unanswered():
                if call.deadline <= now:
                    call.wake.set()

    def _unanswered(self) -> list[_Call]:
        """Return the calls with a caller that waits."""
        return [call for call in (*self._exchanges.in_flight, *self._waiting) if not call.wake.is_set()]

    async def _write(self) -> None:
        try:
            while True:
                batch = self._next_batch()
                if batch:
                    await self._carrier.send(batch)
                else:
                    await self._to_send.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish(CarrierLostError("the connection broke", sent=True))

    def _next_batch(self) -> bytes:
        """Return the sentences that are next; from here on they count as sent."""
        batch = bytearray()
        while len(batch) < limits.BATCH_BYTES:
            if self._cancels:
                call = self._cancels.popleft()
            elif self._waiting and len(self._exchanges) < limits.COMMANDS_IN_FLIGHT:
                call = self._waiting.popleft()
                if call.deadline <= trio.current_time():
                    call.wake.set()  # no first byte after the deadline
                    continue
            else:
                break
            self._exchanges.open(call)
            call.sent = True
            batch += call.data
        return bytes(batch)

    async def _read(self) -> None:
        try:
            while data := await self._carrier.receive():
                before = len(self._exchanges)
                for reply in self._reader.receive_untrusted(data):
                    self._exchanges.take(reply)
                if len(self._exchanges) < before:
                    self._ended.ring()
                    if self._waiting:
                        self._to_send.ring()
            self._finish(CarrierLostError("the router closed the connection", sent=True))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish(CarrierLostError("the connection broke", sent=True))
        except RouterError as err:
            self._finish(err)


# --- opening ---


async def carry(
    endpoint: Endpoint,
    user: str,
    password: bytes,
    *,
    timeout_s: float,
    dial: Dial = dial,
    task_status: trio.TaskStatus[RouterApi] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Log in, hand out the session by `task_status`, and carry it until it is over: for `nursery.start`.

    Raises:
        LocalRouterError: the endpoint says not how the router is known, or there is no user.
        UnreachableRouterError: no session came about.
        LoginRefusedError: wrong user or password.
        MalformedRouterReplyError: the peer is no router.
    """
    api = await _log_in(endpoint, user, password, timeout_s, dial)
    task_status.started(api)
    await api._run()  # noqa: SLF001  the other half of it


async def open_in(
    nursery: trio.Nursery, endpoint: Endpoint, user: str, password: bytes, *, timeout_s: float, dial: Dial = dial
) -> RouterApi:
    """Return a session that lives in `nursery`: any task may use it, and any may end it with `aclose`.

    Raises:
        RouterError: as `carry`.
    """

    async def start(task_status: trio.TaskStatus[RouterApi]) -> None:
        await carry(endpoint, user, password, timeout_s=timeout_s, dial=dial, task_status=task_status)

    api: RouterApi = await nursery.start(start)
    return api


@asynccontextmanager
async def connect(endpoint: Endpoint, user: str, password: bytes, *, timeout_s: float) -> AsyncIterator[RouterApi]:
    """Give a session that lives as long as the block; it must be entered and left by the same task.

    Args:
        endpoint: where, and how the router is known.
        user: the name to log in with.
        password: the bytes that the router compares; UTF-8 where a person typed it.
        timeout_s: for the connection, TLS and the login together.

    Raises:
        RouterError: as `carry`. An error of the block passes as it is, not in a group of the nursery's.
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        api = await open_in(nursery, endpoint, user, password, timeout_s=timeout_s)
        try:
            yield api
        finally:
            await api.aclose()
    finally:
        # Not told of the block's error, the nursery puts it in no group
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)


async def _log_in(endpoint: Endpoint, user: str, password: bytes, timeout_s: float, dial: Dial) -> RouterApi:
    check(endpoint)
    login = Login(user, password)
    first = encode_sentence(login.first())
    carrier: Carrier | None = None
    try:
        with trio.move_on_after(timeout_s if timeout_s > 0 else 0.0):
            carrier = await dial(endpoint)
            return RouterApi(carrier, await _converse(carrier, login, first))
    except BaseException:
        if carrier is not None:
            await carrier.close(in_doubt=False)
        raise
    if carrier is not None:
        await carrier.close(in_doubt=False)
    raise UnreachableRouterError(f"no session in {timeout_s:g} s", reason="timeout")


async def _converse(carrier: Carrier, login: Login, data: bytes) -> ReplyReader:
    reader = ReplyReader()
    try:
        while not login.done:
            if data:
                await carrier.send(data)
                data = b""
            came = await carrier.receive()
            if not came:
                raise UnreachableRouterError("login: the router hung up without a word", reason="hung-up")
            for reply in reader.receive_untrusted(came):
                words = login.receive(reply)
                if words is not None:
                    data = encode_sentence(words)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as err:
        raise UnreachableRouterError("login: the connection broke", reason="hung-up") from err
    return reader
