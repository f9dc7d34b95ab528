"""Tasks that may crash without taking the daemon along. The one place, with codecs' borders, that may catch everything.

A crash is logged (its type and where, never its message: that may hold a subscriber's name) and the task starts again
after a pause that grows and is jittered, so that many do not come back at once. `trio.Cancelled` always passes, as do
the errors in `fatal`, `UncontainedError` (a failed commit), and those of a database that cannot be read: nobody knows
what else is damaged, and a task that starts again reads the same page.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from agent.runtime.errors import UncontainedError
from trust import chance

T = TypeVar("T")

_UNREADABLE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB}
"""SQLite's codes for a damaged page, and for one that the disk does not give."""
_NO_TEXT: Final = "Could not decode to UTF-8"
"""How Python's message begins where a text in a damaged page is none; then it quotes the text."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between restarts, seconds: `first_s` doubled each time up to `most_s`, of which a random 50 to 100 %.

    A task that ran for `steady_s` starts again from `first_s`.
    """

    first_s: float = 0.5
    most_s: float = 60.0
    steady_s: float = 120.0

    def pause_s(self, crashes: int, dice: float) -> float:
        """Return the pause after so many crashes in a row (1 or more); `dice` in [0, 1)."""
        # 2.0 ** 1024 overflows; by 60 doublings any most_s is reached.
        return min(self.most_s, self.first_s * 2.0 ** min(crashes - 1, 60)) * (0.5 + dice / 2)


@dataclass(frozen=True, slots=True)
class Crash:
    """The error of a contained task: an `Exception`, or a group of them."""

    error: Exception


async def contain(
    name: str,
    fn: Callable[[], Awaitable[T]],
    *,
    log: logging.Logger,
    fatal: tuple[type[Exception], ...] = (),
) -> T | Crash:
    """Return the result of `fn`, or the `Crash`, logged, if it raises an Exception that is not `fatal`.

    Of a group (a nursery's) with something `fatal` in it, all is raised; else the crashes are logged and the rest
    (Cancelled, KeyboardInterrupt) is raised. An error that `ends_program` is always fatal.
    """

    def passes(err: BaseException) -> bool:
        return isinstance(err, fatal) or ends_program(err)

    try:
        return await fn()
    except BaseExceptionGroup as group:
        crashed, rest = group.split(Exception)
        if crashed is None or group.subgroup(passes) is not None:
            raise
        _log_crash(name, crashed, log)
        if rest is not None:
            raise rest from None
        return Crash(crashed)
    except Exception as err:
        if passes(err):
            raise
        _log_crash(name, err, log)
        return Crash(err)


def ends_program(err: BaseException) -> bool:
    """Return whether no task may go on after an error: nothing can be recorded, or a database is damaged."""
    return isinstance(err, UncontainedError) or is_unreadable(err)


def is_unreadable(err: BaseException) -> bool:
    """Return whether SQLite says that it cannot read a database: a page is damaged, or the disk does not give it."""
    if not isinstance(err, sqlite3.Error):
        return False
    code: int | None = getattr(err, "sqlite_errorcode", None)  # errors of Python's own module have none
    return str(err).startswith(_NO_TEXT) if code is None else code & 0xFF in _UNREADABLE


def _log_crash(name: str, error: BaseException, log: logging.Logger) -> None:
    log.error("a task crashed", exc_info=(type(error), error, error.__traceback__), extra={"task": name})


async def supervise(
    name: str,
    fn: Callable[[], Awaitable[None]],
    *,
    log: logging.Logger,
    backoff: Backoff | None = None,
    fatal: tuple[type[Exception], ...] = (),
    dice: Callable[[], float] = chance.fraction,
) -> None:
    """Run `fn` until it returns, again after each crash. Pauses are on trio's clock: a suspend may lengthen them."""
    backoff = backoff or Backoff()
    crashes = 0
    while True:
        started = trio.current_time()
        if not isinstance(await contain(name, fn, log=log, fatal=fatal), Crash):
            return
        crashes = 1 if trio.current_time() - started >= backoff.steady_s else crashes + 1
        pause_s = backoff.pause_s(crashes, dice())
        log.warning("a task starts again", extra={"task": name, "crashes": crashes, "pause_s": round(pause_s, 1)})
        await trio.sleep(pause_s)
