"""A simulated SQL server: many clients in one trio loop, in whatever time the loop has, without a thread.

A simulation makes one `SqlServer`, gives `pool.pools(server)` to the agent's RADIUS connector and a
`lab.SimulatedLabDatabase` to the lab, writes as other people do through `client()`, adds faults to `plan`, and lets its
judge `look` at the committed rows. The tables are those of FreeRADIUS 3.2; times in radacct are Unix seconds.
`tests/sim/test_sql_conformance.py` compares it with real servers; its known differences stand in `docs/testing.md`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import psycopg
import pymysql
import trio

from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql_connection import Answer
from tests.sim.sql.engine import DEADLOCK_S, EngineSession, SqlEngine, SqlRefusal, SqlTransaction
from tests.sim.sql.plan import FaultPlan

_KEEPS: Final = 4.0
"""How long a server keeps an idle transaction whose client is gone unnoticed, in timeouts of the agent, which sets it.

PostgreSQL: idle_in_transaction_session_timeout. MariaDB: idle_transaction_timeout.
"""
_NETWORK_NOTICES_S: Final = 7200.0 + 9 * 75
"""Linux' TCP keep-alive: two hours of silence, then nine probes. For clients that set no time-out."""


_STATEMENT_LATE: Final = {
    Database.POSTGRESQL: SqlRefusal("57014", "canceling statement due to statement timeout"),
    Database.MARIADB: SqlRefusal(1969, "Query execution was interrupted (max_statement_time exceeded)"),
}
_LOCK_LATE: Final = {
    Database.POSTGRESQL: SqlRefusal("55P03", "canceling statement due to lock timeout"),
    Database.MARIADB: SqlRefusal(1205, "Lock wait timeout exceeded; try restarting transaction"),
}


def driver_error(kind: Database, err: SqlRefusal) -> Exception:
    """Return what the driver raises for a server's refusal."""
    if kind is Database.POSTGRESQL:
        return psycopg.errors.lookup(str(err.code))(err.text)
    made: Exception = pymysql.err.error_map.get(err.code, pymysql.err.OperationalError)(err.code, err.text)
    return made


def lost(kind: Database, *, told: bool = False) -> Exception:
    """Return what a driver raises when the connection breaks. `told`: the server said that it stops."""
    if kind is Database.POSTGRESQL:
        if told:
            return psycopg.errors.AdminShutdown("terminating connection due to administrator command")
        return psycopg.OperationalError("server closed the connection unexpectedly")
    return pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")


class WouldWaitError(Exception):
    """A statement would have to wait for another transaction, and its caller cannot."""


class SqlServer:
    """The server: its tables, its clients, and what is wrong with it."""

    def __init__(
        self,
        kind: Database,
        *,
        plan: FaultPlan | None = None,
        whole: bool = False,
        latency_s: Callable[[], float] = lambda: 0.0,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """Start it, empty.

        Args:
            kind: PostgreSQL or MariaDB.
            plan: what goes wrong at the agent's statements.
            whole: it reads tables from end to end, as the real ones do with small tables: more waits and conflicts.
            latency_s: how long one statement takes, drawn for each; 0: one turn of the loop.
            now_s: its wall clock, Unix seconds; None: the loop's time.
        """
        self.kind, self.plan = kind, plan or FaultPlan()
        self.latency_s = latency_s
        self.on_change: Callable[[frozenset[str], float | None], None] = lambda tables, began: None
        """Told at once which tables have other committed rows now, and when the transaction began that did it.

        None: no transaction did, a failover has forgotten some. Whose task it is says who did it.
        """
        self.engine = SqlEngine(
            kind,
            whole=whole,
            now_s=now_s or trio.current_time,
            woken=self._wake,
            changed=lambda tables, by: self.on_change(tables, by and by.began),
        )
        self.away_until = self.read_only_until = self.refuses_until = -math.inf
        self._clients: list[SqlClient] = []
        self._lingering: list[tuple[float, SqlClient]] = []
        self._woken = trio.Event()
        self.turns = itertools.count()
        self.troubles: list[tuple[float, float]] = []
        """When reading from it may have failed: from, until."""

    # --- for whoever builds a world ---

    def look(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the committed rows of a query (parameters as `%s`): for judges, it disturbs nobody."""
        return self.engine.look(sql, parameters)

    def client(self, *, lock_s: float = math.inf, statement_s: float = math.inf, matched: bool = False) -> SqlClient:
        """Return a new connection of somebody else's, which no fault strikes but those of the whole server."""
        return SqlClient(self, lock_s=lock_s, statement_s=statement_s, matched=matched)

    def agents_client(self, timeout_s: float) -> SqlClient:
        """Return a new connection with the timers that the agent sets for a target's timeout."""
        whole_s = max(1, math.ceil(timeout_s))  # MariaDB's are whole seconds
        lock_s = timeout_s if self.kind is Database.POSTGRESQL else whole_s
        return self.client(lock_s=lock_s, statement_s=timeout_s)

    async def write(self, statements: Iterable[tuple[str, Sequence[object]]]) -> None:
        """Run statements as one transaction of somebody else's.

        Raises:
            psycopg.Error, pymysql.err.MySQLError, OSError: it did not work.
        """
        with contextlib.closing(self.client()) as client:
            await client.ask("BEGIN")
            for sql, parameters in statements:
                await client.ask(sql, parameters)
            await client.ask("COMMIT")

    def restart(self, away_s: float = 0.0, *, forget: int = 0) -> int:
        """Break all connections and be away; the last `forget` commits are lost. Returns how many were."""
        self.away_until = max(self.away_until, trio.current_time() + away_s)
        self.note_trouble(away_s)
        for client in list(self._clients):
            client.break_off(lost(self.kind, told=not forget))
        self._lingering.clear()
        return self.engine.fail_over(forget)

    def be_read_only(self, for_s: float) -> None:
        """Take no writes for a time."""
        self.read_only_until = trio.current_time() + for_s
        self._look_at_time()

    def refuse(self, for_s: float) -> None:
        """Refuse logins for a time: the password was changed."""
        self.refuses_until = trio.current_time() + for_s
        self.note_trouble(for_s)

    def note_trouble(self, for_s: float) -> None:
        """Take note that reading may fail from now on for so long."""
        self.troubles.append((trio.current_time(), trio.current_time() + for_s))

    async def changed(self) -> None:
        """Return when a transaction has ended since, or been told to."""
        with trio.move_on_at(self._next_change()):
            await self._woken.wait()
        self._look_at_time()

    # --- for clients ---

    def _wake(self) -> None:
        self._woken.set()
        self._woken = trio.Event()

    def _look_at_time(self) -> None:
        now = trio.current_time()
        self.engine.read_only = now < self.read_only_until
        for at, client in list(self._lingering):
            if at <= now:
                self._lingering.remove((at, client))
                client._give_up()

    def _next_change(self) -> float:
        return min((at for at, _ in self._lingering), default=math.inf)


class SqlClient:
    """One connection to the server. Its errors are those of the real drivers."""

    def __init__(self, server: SqlServer, *, lock_s: float, statement_s: float, matched: bool) -> None:
        """Connect.

        Raises:
            psycopg.Error, pymysql.err.MySQLError, OSError: the server is away, or refuses.
        """
        kind = server.kind
        if trio.current_time() < server.away_until:
            if kind is Database.MARIADB:
                raise ConnectionRefusedError(111, "Connection refused")
            raise psycopg.OperationalError("connection to server failed: Connection refused")
        if trio.current_time() < server.refuses_until:
            if kind is Database.MARIADB:
                raise pymysql.err.OperationalError(1045, "Access denied for user")
            raise psycopg.OperationalError("FATAL:  password authentication failed for user")
        self._server, self._lock_s, self._statement_s = server, lock_s, statement_s
        self._session = EngineSession(matched=matched)
        self._broken: Exception | None = None
        self._refusal: SqlRefusal | None = None
        server._clients.append(self)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and is not over."""
        return self._session.transaction is not None or self._session.failed

    @property
    def is_waiting(self) -> bool:
        """Whether its statement waits for another transaction."""
        return self._session.working is not None and self._session.working.blockers is not None

    async def ask(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        """Run one statement, with `%s` for parameters; wait for locks as long as the server would.

        Raises:
            psycopg.Error, pymysql.err.MySQLError: the server refuses, or is gone.
        """
        server, began = self._server, trio.current_time()
        await trio.sleep(server.latency_s())
        self._check()
        server._look_at_time()
        self._meet_refusal(sql)
        work = server.engine.execute(self._session, sql, parameters)
        waits_for, since = None, began
        with contextlib.closing(work):
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    answer: Answer = end.value
                    self._note_begin()
                    return answer
                except SqlRefusal as err:
                    raise driver_error(server.kind, err) from None
                me = self._session.working
                if me is None:
                    raise RuntimeError("expected a transaction that waits")
                if me.blockers is not waits_for:
                    waits_for, since = me.blockers, trio.current_time()
                    me.since = (since, next(server.turns))
                await self._until_something_changes(me, began, since)
                self._check()

    async def _until_something_changes(self, me: SqlTransaction, began: float, since: float) -> None:
        """Wait until another transaction ends, or one of the server's timers for this statement strikes."""
        server, now = self._server, trio.current_time()
        is_postgresql = server.kind is Database.POSTGRESQL
        timers: list[tuple[float, SqlRefusal | None]] = [
            (began + self._statement_s, _STATEMENT_LATE[server.kind]),
            (since + self._lock_s, _LOCK_LATE[server.kind]),
            (since + DEADLOCK_S if is_postgresql else math.inf, None),
        ]
        ends = [at for at, _ in timers if at > now]
        with trio.move_on_at(min([*ends, server._next_change()])):
            await server._woken.wait()
        server._look_at_time()
        if timers[0][0] == timers[1][0] and not is_postgresql and me.since[1] % 2:
            timers[:2] = timers[1::-1]  # MariaDB's timers strike together: now one is first and now the other
        for at, refusal in sorted(timers, key=lambda timer: timer[0]):
            if not now < at <= trio.current_time() or me.doom is not None:
                continue
            if refusal is not None:
                me.doom = SqlRefusal(refusal.code, refusal.text)
            else:
                # Of those whose time has come at this very instant, the one that began to wait first is the victim.
                ring = [one for one in server.engine.cycle(me) if one.since[0] == me.since[0]]
                if ring and all(one.doom is None for one in ring):
                    min(ring, key=lambda one: one.since).doom = SqlRefusal("40P01", "deadlock detected")
                    server._wake()

    def ask_now(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        """Do as `ask`, for code that is not asynchronous: nothing may hold what the statement needs.

        Raises as `ask`. WouldWaitError: it would have to wait.
        """
        self._check()
        self._server._look_at_time()
        work = self._server.engine.execute(self._session, sql, parameters)
        with contextlib.closing(work):
            try:
                next(work)
            except StopIteration as end:
                answer: Answer = end.value
                self._note_begin()
                return answer
            except SqlRefusal as err:
                raise driver_error(self._server.kind, err) from None
        raise WouldWaitError(f"expected a statement that waits for nobody, got {sql}")

    def _note_begin(self) -> None:
        if (one := self._session.transaction) is not None:
            one.began = min(one.began, trio.current_time())

    def refuse(self, err: SqlRefusal) -> None:
        """Let the next statement be refused, with all that follows for its transaction."""
        self._refusal = err

    def _meet_refusal(self, sql: str) -> None:
        err, self._refusal = self._refusal, None
        if err is not None:
            self._server.engine.refuse(self._session, err, is_end=sql in ("COMMIT", "ROLLBACK"))
            raise driver_error(self._server.kind, err)

    def _check(self) -> None:
        if self._broken is not None:
            told, self._broken = self._broken, lost(self._server.kind)
            if self._server.kind is Database.MARIADB:
                self._broken = pymysql.err.InterfaceError(0, "")
            raise told

    def break_off(self, err: Exception) -> None:
        """Let the connection be broken: `err` is what the client is told next. The server rolls back."""
        self._broken = err
        self._give_up()

    def linger(self) -> None:
        """Be gone without a word: the server keeps the transaction and its locks until it notices."""
        kept_s = min(_KEEPS * self._statement_s, _NETWORK_NOTICES_S)
        self._broken = lost(self._server.kind)
        self._server._lingering.append((trio.current_time() + kept_s, self))

    def close(self) -> None:
        """Close the connection; the server rolls back what was not committed."""
        if any(client is self for _, client in self._server._lingering):
            return
        self._broken = lost(self._server.kind)
        self._give_up()

    def _give_up(self) -> None:
        for one in (self._session.transaction, self._session.working):
            if one is not None:
                self._server.engine.abort(one)
        self._session.transaction, self._session.failed = None, False
        with contextlib.suppress(ValueError):
            self._server._clients.remove(self)
        self._server._wake()
