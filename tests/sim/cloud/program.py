"""Blocking programs in virtual time: one runs in a thread, and only while trio stands still and waits for it.

A person's desk is such a program. Where it would block, it says what it waits for (`wait`): it hands over to trio,
which waits for that in virtual time, and comes back with the answer. So one thread runs at any time, and always in the
same order.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

T = TypeVar("T")


@dataclass(eq=False)
class _Baton:
    """How a program and its task hand over to each other."""

    to_trio: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    to_program: queue.SimpleQueue[Callable[[], Any]] = field(default_factory=queue.SimpleQueue)


class ProgramEndedError(BaseException):
    """The task of this program was cancelled: the program is over, as by SIGKILL."""


_baton: ContextVar[_Baton | None] = ContextVar("baton", default=None)
_nursery: ContextVar[trio.Nursery | None] = ContextVar("programs", default=None)


def wait(what: Callable[[], Awaitable[T]]) -> T:
    """Return what `what` returns, in virtual time; called by a program."""
    baton = _baton.get()
    assert baton is not None, "only a program waits so"
    baton.to_trio.put(("wait", what))
    answer: T = baton.to_program.get()()
    return answer


def in_trio(act: Callable[[], T]) -> T:
    """Return what `act` returns; a program has it done by trio, on the thread to which its things belong."""
    if _baton.get() is None:
        return act()

    async def done() -> T:
        return act()

    return wait(done)


async def run_program(work: Callable[..., T], *args: Any) -> T:
    """Return what a blocking program returns; cancelled, it ends where it waits."""
    baton = _Baton()
    async with trio.open_nursery() as nursery:
        context = contextvars.copy_context()
        context.run(_baton.set, baton)
        context.run(_nursery.set, nursery)
        failed: Exception | None = None
        try:
            done: T = await _turns(baton, context, work, args)
        except Exception as err:  # noqa: BLE001  # raised below, outside of the nursery
            failed = err
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return done


async def _turns(baton: _Baton, context: contextvars.Context, work: Callable[..., Any], args: Any) -> Any:
    def body() -> None:
        try:
            done = work(*args)
        except BaseException as err:  # noqa: BLE001  # handed to whoever runs it
            baton.to_trio.put(("raised", err))
        else:
            baton.to_trio.put(("returned", done))

    thread = threading.Thread(target=context.run, args=(body,), name="program", daemon=True)
    thread.start()
    try:
        while True:
            word, what = baton.to_trio.get()
            if word == "returned":
                return what
            if word == "raised":
                raise what
            try:
                answer = await what()
            except trio.Cancelled:
                baton.to_program.put(_ended)
                while baton.to_trio.get()[0] == "wait":  # it cleans up, and may not wait for anything
                    baton.to_program.put(_ended)
                raise
            except BaseException as err:  # noqa: BLE001  # handed to the program
                baton.to_program.put(_raising(err))
            else:
                baton.to_program.put(_returning(answer))
    finally:
        thread.join()


def _ended() -> Any:
    raise ProgramEndedError


def _returning(answer: Any) -> Callable[[], Any]:
    return lambda: answer


def _raising(error: BaseException) -> Callable[[], Any]:
    def again() -> Any:
        raise error

    return again


class ProgramThread:
    """Stands for `threading.Thread` in a program: its work is a program beside it."""

    def __init__(self, *, target: Callable[[], None], daemon: bool = False) -> None:
        self._target, self._over = target, trio.Event()

    def start(self) -> None:
        """Begin; it first runs when the program waits."""
        baton, nursery = _Baton(), _nursery.get()
        assert nursery is not None, "only a program has threads"
        context = contextvars.copy_context()
        context.run(_baton.set, baton)

        async def life() -> None:
            try:
                await _turns(baton, context, self._target, ())
            finally:
                self._over.set()

        in_trio(lambda: nursery.start_soon(life))

    def join(self) -> None:
        """Wait for its end."""
        wait(self._over.wait)


def sleep(seconds: float) -> None:
    """Stand for `time.sleep` in a program."""

    async def pause() -> None:
        await trio.sleep(seconds)

    wait(pause)
