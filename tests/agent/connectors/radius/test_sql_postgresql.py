"""Statements by libpq itself, compared with the values that PostgreSQL gives back and the errors that psycopg has."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Event

import psycopg
import pytest
import trio

from agent.connectors.radius.sql_postgresql import Statements
from tests.servers import PostgreSQL

pytestmark = pytest.mark.servers

NASTY = ["", "a,b", 'say "x"', "back\\slash", "{x}", "NULL", "o'x", " é ", "%s $1", "tab\t"]


def connect(server: PostgreSQL, options: str = "") -> psycopg.Connection[tuple[object, ...]]:
    database = server.fresh()
    return psycopg.connect(
        host=database.host,
        port=database.port,
        dbname=database.dbname,
        user=database.user,
        password=database.password,
        options=options,
        autocommit=True,
    )


@pytest.fixture
def connection(postgresql: PostgreSQL) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with connect(postgresql) as connection:
        yield connection


def test_texts_come_back_as_they_went_alone_and_in_an_array(
    connection: psycopg.Connection[tuple[object, ...]],
) -> None:
    statements = Statements(connection)
    for text in NASTY:
        assert statements.run("SELECT %s::text, 'and'", (text,)) == ([(text, "and")], 1)
    rows, _ = statements.run("SELECT k FROM unnest(%s::text[]) WITH ORDINALITY AS u(k, n) ORDER BY n", (NASTY,))
    assert [text for (text,) in rows] == NASTY
    assert statements.run("SELECT k FROM unnest(%s::text[]) AS u(k)", ([],)) == ([], 0)


def test_integers_are_integers_and_null_is_none(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Statements(connection)
    row = (1, -2, 2**40, None, "7")
    assert statements.run("SELECT 1::int2, -2::int4, (2::int8 ^ 40)::int8, NULL, '7'", ()) == ([row], 1)


def test_changed_rows_are_counted(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Statements(connection)
    add = "INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)"
    assert statements.run(add, ("amina", "home", 1)) == ([], 1)
    assert statements.run(add, ("amina", "more", -1)) == ([], 1)
    change = "UPDATE radusergroup SET priority = %s WHERE username = %s"
    assert statements.run(change, (5, "amina")) == ([], 2)
    assert statements.run(change, (5, "nobody")) == ([], 0)
    assert statements.run("BEGIN", ()) == ([], 0)
    assert statements.run("ROLLBACK", ()) == ([], 0)


def test_text_with_a_nul_is_refused_before_it_is_sent(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Statements(connection)
    for parameter in ("ami\0na", ["ok", "ami\0na"]):
        with pytest.raises(psycopg.DataError):
            statements.run("SELECT %s::text", (parameter,))
    assert statements.run("SELECT 1", ()) == ([(1,)], 1)


def test_a_refusal_has_its_class_and_code(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Statements(connection)
    with pytest.raises(psycopg.errors.UndefinedTable) as missing:
        statements.run("SELECT * FROM not_there WHERE x = %s", ("1",))
    assert missing.value.sqlstate == "42P01"
    statements.run("SET statement_timeout = 50", ())
    with pytest.raises(psycopg.errors.QueryCanceled):
        statements.run("SELECT pg_sleep(10)", ())


def test_a_lost_server_is_an_operational_error_each_time(
    postgresql: PostgreSQL, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    statements = Statements(connection)
    ((pid,),), _ = statements.run("SELECT pg_backend_pid()", ())
    with connect(postgresql) as other:
        Statements(other).run("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        statements.run("SELECT pg_sleep(10)", ())
    with pytest.raises(psycopg.OperationalError) as gone:
        statements.run("SELECT 1", ())
    assert gone.value.sqlstate is None


def test_other_threads_run_while_the_server_works(
    postgresql: PostgreSQL, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    statements = Statements(connection)
    ended: list[Exception] = []

    def sleep() -> None:
        try:
            statements.run("SELECT pg_sleep(60)", ())
        except psycopg.Error as err:
            ended.append(err)

    thread = threading.Thread(target=sleep)
    thread.start()
    with connect(postgresql) as other:
        asleep = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
        while thread.is_alive() and not Statements(other).run(asleep + " AND wait_event = 'PgSleep'", ())[0]:
            pass
    thread.join()
    assert isinstance(ended[0], psycopg.errors.QueryCanceled)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_are_in_the_encoding_of_the_connection(postgresql: PostgreSQL, encoding: str) -> None:
    with connect(postgresql, f"-c client_encoding={encoding}") as connection:
        ((text, length),), _ = Statements(connection).run("SELECT %s::text, length(%s::text)", ("josé", "josé"))
    assert text == ("josé" if encoding == "LATIN1" else "josé".encode())
    assert length == 4


# --- in a task ---


async def test_a_task_is_given_what_a_thread_is_given(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Statements(connection)
    asked: list[tuple[str, tuple[object, ...]]] = [
        ("SELECT k, n FROM unnest(%s::text[]) WITH ORDINALITY AS u(k, n) ORDER BY n", (NASTY,)),
        ("SELECT 1, NULL, %s::text", ("x",)),
        ("SELECT repeat('x', 10000) FROM generate_series(1, 300)", ()),
        ("SELECT 1 WHERE false", ()),
        ("SET application_name = 'x'", ()),
    ]
    for query in asked:
        assert await statements.ask(*query) == statements.run(*query)


async def test_a_long_statement_is_sent_whole(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    keys = ["k" * 1000 for _ in range(5000)]
    assert await Statements(connection).ask("SELECT count(*) FROM unnest(%s::text[])", (keys,)) == ([(5000,)], 1)


async def test_other_tasks_go_on_while_one_asks(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    order: list[str] = []

    async def ask() -> None:
        await Statements(connection).ask("SELECT pg_sleep(0.5)", ())
        order.append("answered")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.05)
        order.append("elsewhere")
    assert order == ["elsewhere", "answered"]


async def test_refusals_and_a_lost_server_are_told_to_a_task_too(
    postgresql: PostgreSQL, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    statements = Statements(connection)
    with pytest.raises(psycopg.errors.UndefinedTable):
        await statements.ask("SELECT * FROM not_there", ())
    with pytest.raises(psycopg.DataError):
        await statements.ask("SELECT %s::text", ("ami\0na",))
    ((pid,),), _ = await statements.ask("SELECT pg_backend_pid()", ())
    with connect(postgresql) as other:
        Statements(other).run("SELECT pg_terminate_backend(%s)", (pid,))
    for _ in range(2):
        with pytest.raises(psycopg.Error) as gone:
            await statements.ask("SELECT 1", ())
        assert gone.value.sqlstate in {None, "57P01"}


READY = b"Z\x00\x00\x00\x05I"
"""ReadyForQuery, the end of an answer: PostgreSQL manual, section 53.7."""


def relay(listener: socket.socket, upstream: tuple[str, int], release: Event) -> None:
    """Pass one client's bytes on; hold the last segment of the answer to "held" back, for a minute at most."""
    client, _ = listener.accept()
    server, asked = socket.create_connection(upstream), threading.Event()

    def pass_on() -> None:
        while data := client.recv(65536):
            if b"held" in data:
                asked.set()
            server.sendall(data)

    threading.Thread(target=pass_on, daemon=True).start()
    while data := server.recv(65536):
        if asked.is_set() and data.endswith(READY):
            client.sendall(data.removesuffix(READY))
            release.wait(60)
            data = READY
        client.sendall(data)


async def test_other_tasks_go_on_while_the_end_of_an_answer_is_late(postgresql: PostgreSQL) -> None:
    database, order, spawn = postgresql.fresh(), list[str](), multiprocessing.get_context("spawn")
    release = spawn.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # A process: libpq, asked too early, would hold the interpreter's lock against a thread
        network = spawn.Process(target=relay, args=(listener, (database.host, database.port), release), daemon=True)
        network.start()
    login = {"dbname": database.dbname, "user": database.user, "password": database.password}
    with closing(psycopg.connect(host="127.0.0.1", port=port, sslmode="disable", autocommit=True, **login)) as over:

        async def ask() -> None:
            assert await Statements(over).ask("SELECT %s::text", ("held",)) == ([("held",)], 1)
            order.append("answered")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.2)
            order.append("elsewhere")
            release.set()
    network.kill()
    network.join()
    assert order == ["elsewhere", "answered"]
