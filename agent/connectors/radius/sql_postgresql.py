"""Statements on a PostgreSQL connection, by libpq itself: parameters and rows as text, in a thread or in a task.

psycopg's cursors cost four times the CPU (adaptation of types, a cursor and a wait loop in Python for each statement),
and the agent runs some twenty statements for each suspension. psycopg still connects, and its error classes stay.
Nothing is prepared on the server: names of prepared statements get lost behind a pooler that shares connections.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import psycopg
import trio
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

_DONE: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_INTEGERS: Final = frozenset({20, 21, 23})
"""Type OIDs of int8, int2 and int4; every other column is given as text."""


class Statements:
    """Runs statements on one open connection. Used by one thread at a time."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Take the connection, which must be in autocommit mode: transactions are statements here."""
        self._pgconn = connection.pgconn
        encoding = connection.info.encoding
        # A database in SQL_ASCII declares no encoding: what it holds is told as bytes.
        self._write_as = "utf-8" if encoding == "ascii" else encoding
        self._read_as = None if encoding == "ascii" else encoding

    def run(self, sql: str, parameters: Sequence[object]) -> tuple[list[tuple[Any, ...]], int]:
        """Execute one statement, with `%s` for parameters; return its rows, and how many rows it changed. Blocks.

        Raises:
            psycopg.Error: the server refuses, or is gone.
        """
        sent = self._encode(parameters)
        return self._read(self._pgconn.exec_params(_numbered(sql), sent) if sent else self._pgconn.exec_(sql.encode()))

    async def ask(self, sql: str, parameters: Sequence[object]) -> tuple[list[tuple[Any, ...]], int]:
        """Execute one statement as `run` does, while other tasks go on. Cancelled, it leaves the connection useless.

        Raises:
            psycopg.Error: the server refuses, or is gone.
        """
        pgconn = self._pgconn
        pgconn.send_query_params(_numbered(sql), self._encode(parameters))
        while pgconn.flush():
            await trio.lowlevel.wait_writable(pgconn.socket)
        result = await self._next_result()
        if result is None:
            raise psycopg.OperationalError("the server gave no result")
        try:
            while await self._next_result() is not None:  # the answer's end: nothing else can be asked before it
                pass
        except psycopg.OperationalError:
            if result.status in _DONE:
                raise  # else the server said why before it went away
        return self._read(result)

    async def _next_result(self) -> PGresult | None:
        """Return the next result, or None at the answer's end.

        Asked too early, libpq blocks, and psycopg does not let other threads run meanwhile: a network that loses the
        last segment of an answer would stop the whole agent.
        """
        pgconn = self._pgconn
        while pgconn.is_busy():
            await trio.lowlevel.wait_readable(pgconn.socket)
            pgconn.consume_input()
        return pgconn.get_result()

    def _encode(self, parameters: Sequence[object]) -> list[bytes]:
        return [_parameter(value, self._write_as) for value in parameters]

    def _read(self, result: PGresult) -> tuple[list[tuple[Any, ...]], int]:
        if result.status not in _DONE:
            error = error_from_result(result, self._read_as or "utf-8")
            if error.sqlstate is None:  # the server did not say it: libpq lost the server
                raise psycopg.OperationalError(str(error))
            raise error
        count = result.ntuples
        columns = [self._column(result, column, count) for column in range(result.nfields)] if count else ()
        return list(zip(*columns, strict=True)), result.command_tuples or 0

    def _column(self, result: PGresult, column: int, count: int) -> list[Any]:
        found = [result.get_value(row, column) for row in range(count)]
        if result.ftype(column) in _INTEGERS:
            return [None if data is None else int(data) for data in found]
        encoding = self._read_as
        return found if encoding is None else [None if data is None else data.decode(encoding) for data in found]


@functools.lru_cache(maxsize=256)
def _numbered(sql: str) -> bytes:
    """Return a statement with `$1`, `$2`... for its `%s`, as libpq wants them."""
    first, *rest = sql.split("%s")
    return "".join([first, *(f"${n}{text}" for n, text in enumerate(rest, start=1))]).encode()


def _parameter(value: object, encoding: str) -> bytes:
    """Return a parameter as PostgreSQL reads it from text: a list is an array of texts."""
    text = _array(value) if isinstance(value, list) else str(value)
    if "\x00" in text:  # libpq takes C strings: it would silently end there
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return text.encode(encoding)


def _array(values: Sequence[str]) -> str:
    """Return an array literal: PostgreSQL manual, section 8.15.2."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"
