"""Database connections in bounded threads, and giving up one that hangs without losing track of what it had sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from agent.connectors.radius.sql_connection import Connection

if TYPE_CHECKING:
    from agent.connectors.radius.schema import SqlTarget

_T = TypeVar("_T")


class Guard:
    """What the waiting task and the working thread of one call agree on: given up or not, COMMIT sent or not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.aborted = False
        self.committing = False

    def uses(self, connection: Connection) -> None:
        """Say which connection the thread talks on, so that `abort` can end the talk."""
        with self._lock:
            self._connection = connection
            if self.aborted:
                connection.kill()

    def release(self) -> bool:
        """Let go of the connection; True when the call was given up, and the connection with it."""
        with self._lock:
            self._connection = None
            return self.aborted

    def abort(self) -> None:
        """Give the call up: no COMMIT will be sent that has not been, and a thread that waits gets an error."""
        with self._lock:
            self.aborted = True
            if self._connection is not None:
                self._connection.kill()

    def commit_begins(self) -> bool:
        """Tell whether COMMIT may be sent; from then on its fate is the server's."""
        with self._lock:
            self.committing = not self.aborted
            return self.committing

    def rolled_back(self) -> None:
        """Say that the server rolled back in answer to COMMIT."""
        with self._lock:
            self.committing = False


class Pool:
    """Connections to one database: kept when they are good, at most `window` of them."""

    def __init__(self, target: SqlTarget, password: Callable[[], bytes], window: int) -> None:
        """Take the target, a way to its password (asked for at each new connection) and the number of connections."""
        self.target = target
        self._password, self._window = password, window
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        # Twice: a thread that was given up holds its token until its connection, just killed, has let it go.
        self._threads = trio.CapacityLimiter(2 * window)

    async def in_thread(self, work: Callable[[], _T], guard: Guard, limit_s: float) -> tuple[bool, _T | None]:
        """Run blocking work and return (True, its result), or (False, None) when it took too long and was given up."""
        try:
            with trio.move_on_after(limit_s):
                return True, await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
            return False, None
        finally:
            guard.abort()

    async def open(self, limit_s: float) -> Connection | None:
        """Return a new connection, or None when it took too long.

        Raises:
            DRIVER_ERRORS: the database cannot be reached, or refuses.
        """
        guard = Guard()

        def connect() -> Connection | None:
            connection = self._connect()
            if guard.release():
                connection.close()
                return None
            return connection

        return (await self.in_thread(connect, guard, limit_s))[1]

    def kept(self) -> Connection | None:
        """Take a connection that was kept, if there is one."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def take(self, guard: Guard) -> Connection:
        """Return a connection, a kept one if there is one. For threads.

        Raises:
            DRIVER_ERRORS: the database cannot be reached, or refuses.
        """
        connection = self.kept() or self._connect()
        guard.uses(connection)
        return connection

    def _connect(self) -> Connection:
        return Connection(self.target, self._password().decode() if self.target.secret else "")

    def give_back(self, connection: Connection, guard: Guard) -> None:
        """Keep a connection for the next one, unless there are enough or the call was given up."""
        connection.fresh = False
        with self._lock:
            keep = not guard.release() and len(self._idle) < self._window
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def drop(self, connection: Connection | None, guard: Guard) -> None:
        """Close a connection that is not to be used again."""
        guard.release()
        if connection is not None:
            connection.close()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
