"""The connector end to end on a database and a NAS: addresses, bulk reads, conditional writes, disconnects."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Never, TypeVar

import pytest
import trio
import trio.testing

from agent.connectors.base import (
    AccessPlan,
    AnswerBook,
    Answers,
    Busy,
    CannotEnforce,
    Connector,
    DriftedError,
    KeptAnswer,
    KnowsAbsence,
    LostError,
    NoAnswers,
    NotSentError,
    Reach,
    Reply,
    Session,
    UnreadableError,
)
from agent.connectors.radius import SPEC, dictionary
from agent.connectors.radius import session as session_module
from agent.connectors.radius import sql as sql_module
from agent.connectors.radius.addresses import session_fields
from agent.connectors.radius.beginnings import CLOCKS_S
from agent.connectors.radius.connector import CALLS, WINDOW, RadiusConnector
from agent.connectors.radius.dictionary import profile
from agent.connectors.radius.dynauth_session import DynAuthSession
from agent.connectors.radius.errors import NasUnreachableError
from agent.connectors.radius.rowset import fields_of
from agent.connectors.radius.schema import Database, Method, Nas, RadiusConfig
from agent.connectors.radius.session import ASKED_PER_S, SETTLE_S, identification
from agent.connectors.radius.sql_connection import Guard, Pool, Pools
from agent.model import (
    ABSENT,
    Access,
    Address,
    Direction,
    Effect,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    Service,
    ServiceState,
    Target,
    Ticket,
    Transition,
    Value,
)
from agent.reasons import TargetReason
from agent.runtime.clock import Clock, SystemClock
from tests.agent.connectors.radius.fakes import (
    SECRET,
    TcpCutter,
    UdpNas,
    attributes_of,
    error_cause,
    reply,
)
from tests.builders.connector import commit, context
from tests.builders.expect import expect
from tests.servers import Cluster, FreeRadius, MariaDB, RadiusDatabase

pytestmark = pytest.mark.servers

T = TypeVar("T")
MAIN = Target("radius/main", "radius")
USER = Address("radius/main/user/amina.h")
SESSIONS = Address("radius/main/sessions/amina.h")
SERVICE = Service("C-10482", "C-10482", "Amina Hassan", "home", "amina.h", "pppoe", "Home 20M")


def connector(
    database: RadiusDatabase,
    nas_port: int = 1,
    *,
    port: int = 0,
    clock: Clock | None = None,
    book: AnswerBook | None = None,
    pools: Pools = Pool,
) -> RadiusConnector:
    target = replace(database.target(secret="db"), timeout_s=20.0)
    if port:
        target = replace(target, port=port)
    config = RadiusConfig(
        (target,),
        (
            Nas("bng-1", "10.0.0.1", "127.0.0.1", nas_port, "nas", profile="mikrotik"),
            Nas("bng-2", "10.0.0.2", "127.0.0.1", nas_port, "nas", profile="generic"),
        ),
        (Method("pppoe", "radius/main", {"Mikrotik-Address-List": "suspended"}, {"Home 20M": "home20"}),),
    )
    secrets = {"db": database.password.encode(), "nas": SECRET}
    return RadiusConnector(
        config,
        secrets.__getitem__,
        commit,
        clock=clock or SystemClock(),
        book=book or NoAnswers(),
        pools=pools,
    )


@pytest.fixture
def database(sqlite_radius: RadiusDatabase) -> RadiusDatabase:
    fill(sqlite_radius)
    return sqlite_radius


def fill(database: RadiusDatabase) -> None:
    database.add_group("home20", [("Mikrotik-Rate-Limit", ":=", "20M/20M")])
    database.add_group("suspended", [("Mikrotik-Address-List", ":=", "suspended")])
    database.add_user("amina.h", "wonder", {"home20": 1})


def add_session(
    database: RadiusDatabase, unique: str, nas: str = "10.0.0.1", login: str = "amina.h", *, began_s: int | None = None
) -> None:
    """Leave a row open; one without a time looks as if accounting had been silent on it for ever."""
    began = None if began_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began_s))
    database.run(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, framedipaddress, acctstarttime)"
        " VALUES (%s, %s, %s, %s, '100.64.12.9', %s)",
        f"sid-{unique}", unique, login, nas, began,
    )  # fmt: skip


def heard(database: RadiusDatabase, at_s: float) -> None:
    """Let accounting have heard of each session at a time."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
    database.run("UPDATE radacct SET acctupdatetime = %s", at)


@asynccontextmanager
async def dialed(made: RadiusConnector) -> AsyncIterator[Session]:
    async with made.dial(MAIN) as session:
        yield session


DISCONNECT = Effect(SESSIONS, "disconnect", {}, "k", Replay.IF_UNPROVEN, ProofKind.GONE, 20)


def ticket(
    do: tuple[Transition, ...] | Effect, bound: Mapping[Address, Seen] | None = None, in_s: float = 60.0
) -> Ticket:
    return Ticket("p", 1, 1, Direction.FORWARD, 1, "radius/main", do, bound or {}, SystemClock().boot_s() + in_s)


def test_it_is_a_connector_and_registered(database: RadiusDatabase) -> None:
    made: Connector = SPEC.make(RadiusConfig((), (), ()), context({}))
    assert made.traits.conditional
    assert (made.traits.reach, made.traits.window) == (Reach.DIAL, WINDOW)
    assert connector(database).targets == (MAIN,)
    assert connector(database).access_methods.keys() == {"pppoe"}


async def test_serve_returns_at_once(database: RadiusDatabase) -> None:
    async def arrived(session: Session) -> None:
        raise AssertionError("nobody calls in")

    with trio.fail_after(60):
        await connector(database).serve(arrived)


# --- reading --------------------------------------------------------------------------------------------------------


async def test_every_kind_of_address_in_one_read(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    password = commit(f"{USER} check:Cleartext-Password :=", "wonder")
    one = {"login": "amina.h", "nas": "10.0.0.1", "sid": "sid-u1", "ip": "100.64.12.9"}
    addresses = {
        USER: {"check:Cleartext-Password": SecretRef(password), "group:home20": "1"},
        Address("radius/main/user/no/body"): ABSENT,
        Address("radius/main/group/home20"): {"reply:Mikrotik-Rate-Limit": (":= 20M/20M",)},
        Address("radius/main/group/none"): ABSENT,
        SESSIONS: {"u1": tuple(f"{k}={v}" for k, v in one.items())},
        Address("radius/main/sessions/bob"): ABSENT,
        Address("radius/main/session/u1"): one,
        Address("radius/main/session/u2"): ABSENT,
        Address("radius/main/online/all"): {"amina.h": "1"},
    }  # fmt: skip
    async with dialed(connector(database)) as session:
        seen = await session.read(list(addresses))
        assert await session.read([]) == {}
    assert {a: s.value for a, s in seen.items()} == addresses
    assert all(s.live for s in seen.values())


async def test_the_servers_clock_and_zone_against_ours(cluster: Cluster) -> None:
    database, where = cluster.fresh(), Address("radius/main/clock/now")
    if database.kind is Database.POSTGRESQL:
        database.run(f"ALTER DATABASE {database.dbname} SET timezone = 'Asia/Karachi'")
    async with dialed(connector(database)) as session:
        told = session_fields((await session.read([where]))[where].value)
    assert abs(int(told["ahead"])) <= 5
    assert int(told["zone"]) == 18_000 if database.kind is Database.POSTGRESQL else int(told["zone"]) % 900 == 0


async def test_sqlite_has_no_clock_of_its_own(database: RadiusDatabase) -> None:
    where = Address("radius/main/clock/now")
    async with dialed(connector(database)) as session:
        assert (await session.read([where]))[where].value is ABSENT


async def test_a_thousand_addresses_are_few_queries(database: RadiusDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    run = sql_module.Connection.run

    def counting(
        self: sql_module.Connection, sql: str, parameters: tuple[object, ...] = ()
    ) -> list[tuple[object, ...]]:
        statements.append(sql)
        return run(self, sql, parameters)

    monkeypatch.setattr(sql_module.Connection, "run", counting)
    users = [Address(f"radius/main/user/u{n}") for n in range(500)]
    sessions = [Address(f"radius/main/sessions/u{n}") for n in range(500)]
    async with dialed(connector(database)) as session:
        assert len(await session.read([*users, *sessions])) == 1000
    assert len([s for s in statements if s.startswith("SELECT")]) == 20


@pytest.mark.parametrize("text", ["radius/other/user/a", "radius/main/nas/a", "radius/main/user/", "radius/main", ""])
async def test_an_address_of_another_target_is_refused(database: RadiusDatabase, text: str) -> None:
    async with dialed(connector(database)) as session:
        with pytest.raises(UnreadableError, match="not an address of this target"):
            await session.read([Address(text)])


async def test_a_target_that_is_not_configured(database: RadiusDatabase) -> None:
    with pytest.raises(UnreadableError, match="radius/other"):
        async with connector(database).dial(Target("radius/other", "radius")):
            pass


async def test_two_logins_that_the_database_holds_equal_are_refused(cluster: Cluster) -> None:
    database = cluster.fresh()
    fill(database)
    made = connector(database)
    recipe = made.access_methods["pppoe"]
    twin = replace(SERVICE, login="Amina.H", ref="C-2")
    async with dialed(made) as session:
        seen: dict[Address, Seen] = {}
        while missing := [*recipe.reads(SERVICE, seen), *recipe.reads(twin, seen)]:
            seen |= await session.read(missing)
    state = ServiceState(Access.SUSPENDED, "Home 20M")
    got = [recipe.plan(state, s, seen) for s in (SERVICE, twin)]
    if database.kind.value == "mariadb":
        assert [g.reason for g in got if isinstance(g, CannotEnforce)] == ["ambiguous-login"] * 2
    else:
        assert isinstance(got[0], AccessPlan)
        assert isinstance(got[1], CannotEnforce)
        assert got[1].reason == "no-such-login"


async def planned(made: RadiusConnector, session: Session, login: str) -> AccessPlan | CannotEnforce:
    recipe, service, seen = made.access_methods["pppoe"], replace(SERVICE, login=login), dict[Address, Seen]()
    while missing := recipe.reads(service, seen):
        seen |= await session.read(missing)
    return recipe.plan(ServiceState(Access.SUSPENDED, "Home 20M"), service, seen)


@pytest.mark.parametrize("own", [False, True], ids=["only the other has rows", "both have rows"])
async def test_nobody_is_cut_for_a_login_mariadb_holds_equal(mariadb: MariaDB, own: bool) -> None:
    database = mariadb.fresh()
    fill(database)
    database.add_user("josé", "y", {"home20": 1})
    add_session(database, "s-other", login="josé")
    if own:
        database.add_user("jose", "x", {"home20": 1})
    made = connector(database)
    async with dialed(made) as session:
        plan = await planned(made, session, "jose")
        bound = await session.bind(replace(DISCONNECT, address=Address("radius/main/sessions/jose")))
        theirs = await session.bind(replace(DISCONNECT, address=Address("radius/main/sessions/josé")))
    assert isinstance(plan, CannotEnforce)
    assert (plan.reason, plan.detail) == ("ambiguous-login", "the database holds jose and josé to be the same login")
    assert bound == {}
    assert theirs.keys() == {Address("radius/main/session/s-other")}


async def test_only_a_session_of_another_makes_it_ambiguous(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    fill(database)
    database.add_user("jose", "x", {"home20": 1})
    add_session(database, "s-other", login="josé")
    made = connector(database)
    async with dialed(made) as session:
        plan = await planned(made, session, "jose")
    assert isinstance(plan, CannotEnforce)
    assert plan.reason == "ambiguous-login"


async def test_one_spelling_in_another_case_is_the_same_person(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    fill(database)
    database.add_user("Alice", "x", {"home20": 1})
    add_session(database, "s1", login="ALICE")
    made = connector(database)
    async with dialed(made) as session:
        plan = expect(AccessPlan, await planned(made, session, "alice"))
        await session.send(ticket(plan.steps[0].do))
        drop = expect(Effect, plan.steps[1].do)
        assert (await session.bind(drop)).keys() == {Address("radius/main/session/s1")}
    assert database.run("SELECT BINARY username FROM radusergroup WHERE groupname = 'suspended'") == [(b"Alice",)]


# --- writing --------------------------------------------------------------------------------------------------------


async def marked(session: Session) -> tuple[Transition, Transition]:
    """The suspension of what is there now, and its inverse."""
    before = (await session.read([USER]))[USER]
    assert before.value is not ABSENT
    after: Value = {**before.value, "group:suspended": "-1"}
    return Transition(USER, before, after), Transition(USER, Seen(after, before.at_s), before.value)


async def test_write_read_back_and_revert(database: RadiusDatabase) -> None:
    async with dialed(connector(database)) as session:
        forward, back = await marked(session)
        assert await session.send(ticket((forward,))) == Reply(True, "committed", "1 row")
        assert (await session.read([USER]))[USER].value == forward.after
        assert await session.send(ticket((back,))) == Reply(True, "committed", "1 row")
        assert (await session.read([USER]))[USER].value == forward.before.value


async def test_sending_twice_drifts_and_says_what_is_there(database: RadiusDatabase) -> None:
    async with dialed(connector(database)) as session:
        forward, _ = await marked(session)
        await session.send(ticket((forward,)))
        with pytest.raises(DriftedError) as caught:
            await session.send(ticket((forward,)))
    assert caught.value.reason == "drifted"
    assert caught.value.observed[USER].value == forward.after


async def test_a_thread_that_cannot_be_started_is_the_targets_trouble(
    database: RadiusDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dialed(connector(database)) as session:
        forward, _ = await marked(session)

        async def none_left(*_: object, **__: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(trio.to_thread, "run_sync", none_left)
        with pytest.raises(UnreadableError, match="no thread could be started") as unread:
            await session.read([USER])
        with pytest.raises(NotSentError, match="nothing was written: no thread could be started") as unsent:
            await session.send(ticket((forward,)))
    assert {unread.value.reason, unsent.value.reason} == {"unreachable"}


async def test_nothing_is_sent_after_the_deadline(database: RadiusDatabase) -> None:
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            add_session(database, "u1")
            forward, _ = await marked(session)
            for do in ((forward,), DISCONNECT):
                with pytest.raises(NotSentError) as caught:
                    await session.send(ticket(do, await session.bind(DISCONNECT), in_s=-0.001))
                assert caught.value.reason == "expired"
            assert (await session.read([USER]))[USER].value == forward.before.value
    assert nas.requests == []


async def test_a_secret_is_not_written(database: RadiusDatabase) -> None:
    async with dialed(connector(database)) as session:
        forward, _ = await marked(session)
        assert forward.before.value is not ABSENT
        after = {**forward.before.value, "check:Cleartext-Password": SecretRef("00" * 32)}
        with pytest.raises(NotSentError) as caught:
            await session.send(ticket((replace(forward, after=after),)))
    assert caught.value.reason == "unwritable"


async def test_what_a_step_cannot_do_here_is_refused(database: RadiusDatabase) -> None:
    async with dialed(connector(database)) as session:
        forward, back = await marked(session)
        group = replace(forward, address=Address("radius/main/group/home20"))
        for do in ((forward, back), (group,), replace(DISCONNECT, verb="reboot")):
            with pytest.raises(NotSentError) as caught:
                await session.send(ticket(do))
            assert caught.value.reason == "unsupported"
        with pytest.raises(UnreadableError):
            await session.bind(replace(DISCONNECT, verb="reboot"))


async def test_a_lost_commit_is_lost_and_settles(radius_database: RadiusDatabase) -> None:
    fill(radius_database)
    with TcpCutter(radius_database.port, b"COMMIT", deliver=True) as cutter:
        cutter.armed = False
        async with dialed(connector(radius_database, port=cutter.port)) as session:
            forward, _ = await marked(session)
            cutter.armed = True
            with pytest.raises(LostError):
                await session.send(ticket((forward,)))
            cutter.armed = False
            started = trio.current_time()
            await session.settle()
            assert trio.current_time() - started > SETTLE_S / 2
            assert (await session.read([USER]))[USER].value == forward.after
            started = trio.current_time()
            await session.settle()
            assert trio.current_time() - started < SETTLE_S / 2, "nothing is in doubt any more"


class HungPool(Pool):
    """A pool of a database that answers nobody before it is told to; it counts the calls that are under way."""

    answers = trio.Event()
    calls = most = 0

    async def in_thread(self, work: Callable[[], T], guard: Guard, limit_s: float) -> tuple[bool, T | None]:
        HungPool.calls += 1
        HungPool.most = max(HungPool.most, HungPool.calls)
        try:
            await HungPool.answers.wait()
            return await super().in_thread(work, guard, limit_s)
        finally:
            HungPool.calls -= 1


@pytest.fixture
def hung_pool() -> type[HungPool]:
    HungPool.answers, HungPool.calls, HungPool.most = trio.Event(), 0, 0
    return HungPool


async def test_steps_in_flight_share_the_calls(database: RadiusDatabase, hung_pool: type[HungPool]) -> None:
    replies: list[Reply] = []
    for n in range(WINDOW):
        database.add_user(f"u{n}", "wonder", {"home20": 1})
    async with dialed(connector(database, pools=hung_pool)) as session, trio.open_nursery() as nursery:

        async def write(n: int) -> None:
            where, before = Address(f"radius/main/user/u{n}"), seen[f"u{n}"]
            after: Value = {**fields_of(before), "group:suspended": "-1"}
            replies.append(await session.send(ticket((Transition(where, Seen(before, 0), after),))))

        hung_pool.answers.set()
        users = [Address(f"radius/main/user/u{n}") for n in range(WINDOW)]
        seen = {where.rpartition("/")[2]: s.value for where, s in (await session.read(users)).items()}
        hung_pool.answers = trio.Event()
        for n in range(WINDOW):
            nursery.start_soon(write, n)
        await trio.testing.wait_all_tasks_blocked()
        assert hung_pool.calls == CALLS
        hung_pool.answers.set()
    assert (len(replies), hung_pool.most) == (WINDOW, CALLS)
    assert database.run("SELECT count(*) FROM radusergroup WHERE groupname = 'suspended'") == [(WINDOW,)]


async def test_write_without_a_turn_is_not_sent(
    database: RadiusDatabase, hung_pool: type[HungPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "TURN_S", 0.05)
    async with dialed(connector(database, pools=hung_pool)) as session, trio.open_nursery() as nursery:
        for _ in range(CALLS):
            nursery.start_soon(session.read, [USER])
        await trio.testing.wait_all_tasks_blocked()
        there = Transition(USER, Seen({}, 0), {"group:suspended": "-1"})
        with pytest.raises(NotSentError, match=r"kept the database busy for 0\.05 s") as caught:
            await session.send(ticket((there,)))
        assert caught.value.reason is TargetReason.TIMEOUT
        hung_pool.answers.set()


# --- disconnecting --------------------------------------------------------------------------------------------------


def waiting(monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> None:
    """Give profiles as shipped another time-out."""

    def timed(name: str) -> dictionary.Profile:
        return replace(profile(name), timeout_s=timeout_s, retries=2)

    monkeypatch.setattr("agent.connectors.radius.connector.profile", timed)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for NAS that answer."""
    waiting(monkeypatch, 10)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """Where a NAS is silent, which is waited for."""
    waiting(monkeypatch, 0.2)


async def drop(
    database: RadiusDatabase, answer: Callable[[bytes], list[bytes]]
) -> tuple[Reply | LostError | NotSentError, list[dict[int, bytes]]]:
    with UdpNas(answer).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            bound = await session.bind(DISCONNECT)
            try:
                got: Reply | LostError | NotSentError = await session.send(ticket(DISCONNECT, bound))
            except (LostError, NotSentError) as err:
                got = err
    return got, [dict(attributes_of(data)) for data, _ in nas.requests]


async def test_bind_names_each_open_session(database: RadiusDatabase) -> None:
    for unique, nas in (("u1", "10.0.0.1"), ("u2", "10.0.0.2")):
        add_session(database, unique, nas)
    async with dialed(connector(database)) as session:
        bound = await session.bind(DISCONNECT)
        again = await session.read(list(bound))
    assert bound.keys() == {Address("radius/main/session/u1"), Address("radius/main/session/u2")}
    assert {a: s.value for a, s in bound.items()} == {a: s.value for a, s in again.items()}


async def test_a_disconnect_for_configured_nas_leaves_out_the_others(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    add_session(database, "u2", "10.9.9.9", began_s=int(time.time()) - 3600)
    add_session(database, "u3", "10.9.9.9", began_s=int(time.time()) - 3 * 86400)
    async with dialed(connector(database)) as session:
        everywhere = await session.bind(DISCONNECT)
        configured = await session.bind(replace(DISCONNECT, args={"nas": "configured"}))
    assert everywhere.keys() == {Address(f"radius/main/session/{u}") for u in ("u1", "u2")}, "u3 is not checked"
    assert configured.keys() == {Address("radius/main/session/u1")}


async def test_ack_and_what_identifies_the_session(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    add_session(database, "u2", "10.0.0.2")
    got, requests = await drop(database, lambda data: [reply(data, ack=True)])
    assert got == Reply(True, "ack", "2 sessions")
    by_sid = {r[44]: r for r in requests}
    assert by_sid.keys() == {b"sid-u1", b"sid-u2"}
    assert by_sid[b"sid-u1"][1] == b"amina.h"
    assert by_sid[b"sid-u1"][8] == bytes((100, 64, 12, 9))
    assert 4 not in by_sid[b"sid-u1"], "the mikrotik profile does not send NAS-IP-Address"
    assert by_sid[b"sid-u2"][4] == bytes((10, 0, 0, 2))


@pytest.mark.parametrize(
    ("attributes", "reason", "told"),
    [
        (error_cause(506), "nak-506", "Resources-Unavailable by bng-1, 1 of 1"),
        (error_cause(508), "nak-508", "Multiple-Session-Selection-Unsupported"),
        (b"", "nak", "refused by bng-1, 1 of 1 session"),
    ],
    ids=["506", "508", "no cause"],
)
async def test_nak_by_name(database: RadiusDatabase, attributes: bytes, reason: str, told: str) -> None:
    add_session(database, "u1")
    got, _ = await drop(database, lambda data: [reply(data, ack=False, attributes=attributes)])
    assert isinstance(got, Reply)
    assert (got.accepted, got.reason) == (False, reason)
    assert got.detail.startswith(told)


async def test_a_denied_session_is_absent_until_accounting_hears(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    row, every = Address("radius/main/session/u1"), DISCONNECT.address
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        made = connector(database, nas.port)
        async with dialed(made) as session:
            got = await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            assert got == Reply(True, "not-there", "open in accounting, and denied by its NAS: sid-u1 on bng-1")
            assert (await session.read([row]))[row].value is ABSENT
            ghosts = (await session.read([every]))[every].value
            assert ghosts is not ABSENT
            assert any(text.startswith("denied=") for text in ghosts["u1"])
            assert await session.bind(DISCONNECT) == {}, "nobody is asked about a ghost again"
        async with dialed(made) as session:
            assert (await session.read([row]))[row].value is ABSENT, "another connection knows it as well"
            heard(database, time.time() + CLOCKS_S + 5)
            assert (await session.read([row]))[row].value is not ABSENT, "its NAS was wrong"
            assert (await session.bind(DISCONNECT)).keys() == {row}


def may_be_over(value: Value) -> list[str]:
    """Return the sessions of a login that its NAS may have ended."""
    return [uid for uid, texts in fields_of(value).items() if any(text.startswith("may-be-over=") for text in texts)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answers", [True, False], ids=["ACK", "silence"])
async def test_a_session_may_be_over_once_its_end_was_asked_for(database: RadiusDatabase, answers: bool) -> None:
    add_session(database, "u1")
    row, every, book = Address("radius/main/session/u1"), DISCONNECT.address, Book()
    with UdpNas(lambda data: [reply(data, ack=True)] if answers else []).run() as nas:
        async with dialed(connector(database, nas.port, book=book)) as session:
            assert may_be_over((await session.read([every]))[every].value) == []
            sent = ticket(DISCONNECT, await session.bind(DISCONNECT))
            if answers:
                await session.send(sent)
            else:
                with pytest.raises(LostError):
                    await session.send(sent)
            seen = await session.read([row, every])
            assert may_be_over(seen[every].value) == ["u1"]
            assert "may-be-over" not in fields_of(seen[row].value), "accounting did not tell it"
    async with dialed(connector(database, book=book)) as session:
        told = (await session.read([every]))[every].value
        assert may_be_over(told) == ["u1"], "also after a restart"
        heard(database, time.time() + CLOCKS_S + 5)
        assert may_be_over((await session.read([every]))[every].value) == []


async def test_a_session_that_no_nas_was_asked_about_is_marked(
    database: RadiusDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request went out. Its open row alone says that it goes on, until accounting hears of it or its NAS answers."""
    add_session(database, "u1")
    every, nak = DISCONNECT.address, [error_cause(504)]

    def unasked(value: Value) -> bool:
        return any(text.startswith("unasked=") for text in fields_of(value)["u1"])

    async def unreachable(*_: object) -> Never:
        await trio.lowlevel.checkpoint()
        raise NasUnreachableError("NAS bng-1: nothing could be sent: Network is unreachable")

    with UdpNas(lambda data: [reply(data, ack=False, attributes=nak[0])]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            with monkeypatch.context() as patch:
                patch.setattr(DynAuthSession, "exchange", unreachable)
                bound = await session.bind(DISCONNECT)
                with pytest.raises(NotSentError, match="Network is unreachable"):
                    await session.send(ticket(DISCONNECT, bound))
            assert unasked((await session.read([every]))[every].value)
            assert await session.bind(DISCONNECT) == bound, "accounting did not tell it"
            await session.send(ticket(DISCONNECT, bound))
            assert not unasked((await session.read([every]))[every].value), "its NAS refused: it has the session"
            with monkeypatch.context() as patch:
                patch.setattr(DynAuthSession, "exchange", unreachable)
                with pytest.raises(NotSentError):
                    await session.send(ticket(DISCONNECT, bound))
            assert unasked((await session.read([every]))[every].value)
            heard(database, time.time() + CLOCKS_S + 5)
            assert not unasked((await session.read([every]))[every].value)


@pytest.mark.parametrize("ack", [True, False], ids=["ACK", "503"])
async def test_a_late_update_proves_no_life(database: RadiusDatabase, ack: bool) -> None:
    """Its NAS sent it before the Disconnect-Request; the accounting server wrote it after the answer."""
    add_session(database, "u1", began_s=int(time.time()) - 3600)
    heard(database, time.time() - 300)
    row, every, cause = Address("radius/main/session/u1"), DISCONNECT.address, b"" if ack else error_cause(503)
    with UdpNas(lambda data: [reply(data, ack=ack, attributes=cause)]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            for passed_s in (-2, CLOCKS_S - 5):
                heard(database, time.time() + passed_s)
                seen = await session.read([row, every])
                assert may_be_over(seen[every].value) == ["u1"], "it may have been sent before the answer"
                assert seen[row].value is not ABSENT, "nor is its end proven any more"
            heard(database, time.time() + CLOCKS_S + 5)
            assert may_be_over((await session.read([every]))[every].value) == []


async def test_a_late_update_proves_no_life_by_our_slow_clock(radius_database: RadiusDatabase) -> None:
    class Slow(SystemClock):
        def wall_s(self) -> float:
            return time.time() - 300

    fill(radius_database)
    add_session(radius_database, "u1", began_s=int(time.time()) - 3600)
    heard(radius_database, time.time() - 300)
    every = DISCONNECT.address
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dialed(connector(radius_database, nas.port, clock=Slow())) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            heard(radius_database, time.time() - 2)
            assert may_be_over((await session.read([every]))[every].value) == ["u1"]


async def test_an_id_that_is_used_again_is_another_session(database: RadiusDatabase) -> None:
    add_session(database, "u1", began_s=int(time.time()) - 3600)
    async with dialed(connector(database)) as session:
        first = await session.bind(DISCONNECT)
        assert await session.bind(DISCONNECT, first) == first
        database.run("UPDATE radacct SET acctstarttime = %s", int(time.time()) + 1)
        assert await session.bind(DISCONNECT, first) == {}, "it began since, and is what the first attempt led to"


async def test_a_denial_outlives_a_failover(database: RadiusDatabase) -> None:
    add_session(database, "u1", began_s=int(time.time()) - 3600)
    heard(database, time.time() - 300)
    row = Address("radius/main/session/u1")
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            heard(database, time.time() - 600)
            assert (await session.read([row]))[row].value is ABSENT, "the database forgot an update"


async def test_a_refused_end_leaves_a_session_as_it_was(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    every = DISCONNECT.address
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(506))]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            assert may_be_over((await session.read([every]))[every].value) == []


async def test_a_suspension_ends_a_session_again_that_may_be_over(database: RadiusDatabase) -> None:
    """Its Stop and the Start of the next one got lost: its NAS denies it, and is asked for others of the login."""
    add_session(database, "u1")
    suspends = replace(BY_NAME, args={**BY_NAME.args, "not-in": "100.64.12.0/24"})
    acks = [True]

    def answer(data: bytes) -> list[bytes]:
        return [reply(data, ack=True) if acks.pop() else reply(data, ack=False, attributes=error_cause(503))]

    with UdpNas(answer).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert await session.bind(suspends) == {}, "it is in the garden"
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            bound = await session.bind(suspends)
            assert list(bound) == [Address("radius/main/session/u1")]
            acks[:] = [False]
            assert (await session.send(ticket(suspends, bound))).reason == TargetReason.NOT_THERE
            assert list(await session.bind(suspends, bound)) == HELD


class Book:
    """Keeps answers in memory, as the agent's database does."""

    def __init__(self) -> None:
        self.rows: list[KeptAnswer] = []

    def kept(self, of: str) -> Sequence[KeptAnswer]:
        assert of == "radius"
        return self.rows

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        self.rows += answers


async def test_a_ghost_stays_one_after_a_restart(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    ghost, book = Address("radius/main/session/u1"), Book()
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        async with dialed(connector(database, nas.port, book=book)) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            await session.send(ticket(BY_NAME, await session.bind(BY_NAME)))
    async with dialed(connector(database, book=book)) as session:
        assert (await session.read([ghost]))[ghost].value is ABSENT
        assert all(s.value is ABSENT for s in (await session.read(HELD)).values())
    assert {(one.kind, one.by) for one in book.rows} == {("denied", "bng-1"), ("held", "bng-1"), ("held", "bng-2")}


async def test_a_forgotten_end_of_accounting_stays_after_a_restart(database: RadiusDatabase) -> None:
    """A failover brings the open row of an ended session back: nobody is taken to be online by it."""
    add_session(database, "u1")
    row, book = Address("radius/main/session/u1"), Book()
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dialed(connector(database, nas.port, book=book)) as session:
            await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            assert (await session.read([row]))[row].value is not ABSENT, "an ACK alone proves nothing"
            database.run("UPDATE radacct SET acctstoptime = '2026-11-27 10:00:00'")
            assert (await session.read([row]))[row].value is ABSENT
    database.run("UPDATE radacct SET acctstoptime = NULL")
    async with dialed(connector(database, book=book)) as session:
        assert (await session.read([row]))[row].value is ABSENT
        heard(database, time.time() + CLOCKS_S + 5)
        assert (await session.read([row]))[row].value is not ABSENT, "accounting heard of it since"


BY_NAME = replace(DISCONNECT, args={"by-user-name": "bng-1,bng-2"})
HELD = [Address(f"radius/main/held/bng-{n}/amina.h") for n in (1, 2)]
ACKED = [Address(f"radius/main/acked/bng-{n}/amina.h") for n in (1, 2)]


async def test_without_accounting_each_nas_is_asked_by_user_name(database: RadiusDatabase) -> None:
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            bound = await session.bind(BY_NAME)
            assert list(bound) == HELD
            assert {s.value["why"] for s in bound.values() if s.value is not ABSENT} == {"was not asked"}
            got = await session.send(ticket(BY_NAME, bound))
            assert got == Reply(True, "no-session", "no session on bng-1, bng-2")
            assert all(s.value is ABSENT for s in (await session.read([*HELD, *ACKED])).values())
        requests = [dict(attributes_of(data)) for data, _ in nas.requests]
    assert [r[1] for r in requests] == [b"amina.h"] * 2
    assert not any({8, 44} & r.keys() for r in requests), "no session is named"
    assert [r.get(4) for r in sorted(requests, key=len)] == [None, bytes((10, 0, 0, 2))], "as its profile identifies it"


async def test_nas_that_ends_session_that_accounting_does_not_know(database: RadiusDatabase) -> None:
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            got = await session.send(ticket(BY_NAME, await session.bind(BY_NAME)))
            assert got == Reply(True, "ack", "2 sessions")
            assert all(s.value is ABSENT for s in (await session.read(HELD)).values())
            assert all(s.value is not ABSENT for s in (await session.read(ACKED)).values()), "it may have done nothing"


async def test_where_accounting_has_one_nobody_is_asked_by_user_name(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    async with dialed(connector(database)) as session:
        first = await session.bind(BY_NAME)
        assert first.keys() == {Address("radius/main/session/u1")}
        database.run("UPDATE radacct SET acctstoptime = '2026-11-27 10:00:00'")
        assert await session.bind(BY_NAME, first) == {}, "it ended: who logs in now does so under the new rows"
        assert list(await session.bind(BY_NAME)) == HELD


@pytest.mark.usefixtures("impatient")
async def test_nas_that_refuses_question_or_is_silent_says_nothing(database: RadiusDatabase) -> None:
    seen: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        seen.append(data)
        picky = dict(attributes_of(data)).get(4) is None  # bng-1
        return [reply(data, ack=False, attributes=error_cause(402))] if picky else []

    with UdpNas(answer).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            first = await session.bind(BY_NAME)
            with pytest.raises(LostError, match="1 of 2 requests: no reply from NAS bng-2 at "):
                await session.send(ticket(BY_NAME, first))
            told = {a: s.value for a, s in (await session.read(HELD)).items()}
            assert told[HELD[0]] == {"why": "refused the question (Missing-Attribute)"}
            assert told[HELD[1]] == {"why": "did not answer"}
            # Another login is not asked about there for a while: each would wait as long
            other = replace(BY_NAME, address=Address("radius/main/sessions/other"))
            assert list(await session.bind(other)) == [Address("radius/main/held/bng-1/other")]
            where = Address("radius/main/held/bng-2/other")
            assert (await session.read([where]))[where].value == {"why": "did not answer"}
            kick = replace(other, args={**other.args, "each-answers": "yes"})
            assert len(await session.bind(kick)) == 2, (
                "nothing judges it afterwards: silence is not the end of a session"
            )
            with pytest.raises(LostError, match="no reply from NAS bng-2"):
                await session.send(ticket(kick, await session.bind(kick)))


@pytest.mark.usefixtures("impatient")
async def test_only_those_that_did_not_say_are_asked_again(database: RadiusDatabase) -> None:
    silent = {b"bng-2": True}

    def answer(data: bytes) -> list[bytes]:
        second = dict(attributes_of(data)).get(4) is not None
        return [] if second and silent[b"bng-2"] else [reply(data, ack=False, attributes=error_cause(503))]

    with UdpNas(answer).run() as nas:
        made = connector(database, nas.port)
        async with dialed(made) as session:
            first = await session.bind(BY_NAME)
            with pytest.raises(LostError):
                await session.send(ticket(BY_NAME, first))
            assert list(await session.bind(BY_NAME, first)) == [], "it was silent a moment ago"
            made._answers.say("bng-2", "somebody", "", 0, 0.0)  # it answers again
            silent[b"bng-2"] = False
            again = await session.bind(BY_NAME, first)
            assert list(again) == [HELD[1]]
            assert (await session.send(ticket(BY_NAME, again))).reason == "no-session"


async def test_one_nas_is_asked_about_few_logins_a_second(database: RadiusDatabase) -> None:
    async with dialed(connector(database)) as session:
        began = trio.current_time()
        for n in range(5):
            await session.bind(replace(BY_NAME, address=Address(f"radius/main/sessions/u{n}")))
        assert trio.current_time() - began >= 4 / ASKED_PER_S


async def test_who_logs_in_during_others_turn_is_not_asked_about(database: RadiusDatabase) -> None:
    """A question by User-Name ends what the NAS has: where accounting knows the session by then, that one is judged."""
    async with dialed(connector(database)) as session:
        assert list(await session.bind(BY_NAME)) == HELD, "nobody waited: what was read is fresh"
        real, others = session.read, trio.current_time() + 0.3

        async def read(addresses: Collection[Address]) -> Mapping[Address, Seen]:
            seen = await real(addresses)
            if "bng-1" not in session._turns:  # the first look
                session._turns |= {"bng-1": others, "bng-2": others}
                add_session(database, "back", began_s=int(time.time()))
            return seen

        session.read = read  # type: ignore[method-assign]  # between the read and the question
        session._turns.clear()
        assert list(await session.bind(BY_NAME)) == [Address("radius/main/session/back")]


async def test_a_later_attempt_ends_what_the_first_meant_to_end(database: RadiusDatabase) -> None:
    now_s = int(time.time())
    add_session(database, "old", began_s=now_s - 86400)
    async with dialed(connector(database)) as session:
        first = await session.bind(DISCONNECT)
        add_session(database, "new", began_s=now_s + 1)
        add_session(database, "late", began_s=now_s - 7200)  # its Start was late
        again = await session.bind(DISCONNECT, first)
        assert again.keys() == {Address(f"radius/main/session/{u}") for u in ("old", "late")}
        # It was let into the garden after the marker was taken away: wrong, whenever it began
        wrong = await session.bind(replace(DISCONNECT, args={"in": "100.64.0.0/10"}), first)
        assert len(wrong) == 3
        right = await session.bind(replace(DISCONNECT, args={"not-in": "100.64.0.0/10"}))
        assert right == {}, "all are in the garden already"


async def test_later_attempt_spares_what_came_by_clock_behind(database: RadiusDatabase) -> None:
    """Its NAS dates the end of the first session and the begin of the next by one clock, 100 s behind ours."""
    now_s = int(time.time())
    add_session(database, "old", began_s=now_s - 86400)
    async with dialed(connector(database)) as session:
        first = await session.bind(DISCONNECT)
        stopped = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now_s - 100))
        database.run("UPDATE radacct SET acctstoptime = %s WHERE acctuniqueid = 'old'", stopped)
        add_session(database, "new", began_s=now_s - 99)
        assert await session.bind(DISCONNECT, first) == {}
        add_session(database, "elsewhere", nas="10.0.0.2", began_s=now_s - 99)
        assert list(await session.bind(DISCONNECT, first)) == [Address("radius/main/session/elsewhere")]


async def test_a_newer_session_with_what_is_wanted_is_not_ended(database: RadiusDatabase) -> None:
    """bng-2 rebooted after the preview: the row of before is open still, and the new session is a restored one."""
    now_s = int(time.time())
    add_session(database, "old", began_s=now_s - 600)
    restore = replace(DISCONNECT, args={"in": "100.127.0.0/16", "outside": str(now_s), "known": "old"})
    async with dialed(connector(database)) as session:
        add_session(database, "new", began_s=now_s + 1)
        assert list(await session.bind(restore)) == [Address("radius/main/session/old")]
        assert len(await session.bind(DISCONNECT)) == 2


async def test_B9_each_of_two_sessions_is_asked_for_by_its_own_id(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    add_session(database, "u2")

    def answer(data: bytes) -> list[bytes]:
        cause = 503 if dict(attributes_of(data))[44] == b"sid-u1" else 501
        return [reply(data, ack=False, attributes=error_cause(cause))]

    got, _ = await drop(database, answer)
    assert isinstance(got, Reply)
    assert got.reason == "nak-501"


@pytest.mark.usefixtures("impatient")
async def test_silence_is_lost_since_the_nas_may_have_acted(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    got, requests = await drop(database, lambda data: [])
    assert isinstance(got, LostError)
    assert got.reason == "timeout"
    assert "3 datagrams" in str(got)
    assert len(requests) == 3


@pytest.mark.usefixtures("impatient")
async def test_a_nas_silent_is_asked_for_nobody_until_it_answers(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    silent = [True]

    def answer(data: bytes) -> list[bytes]:
        return [] if silent[0] else [reply(data, ack=False, attributes=error_cause(503))]

    with UdpNas(answer).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert isinstance(session, Answers)
            assert await session.answering() == {"radius/main": ""}, "a NAS that nobody needed is left alone"
            assert nas.requests == []
            with pytest.raises(LostError, match=r"no reply from NAS bng-1 at 127\.0\.0\.1:\d+ \(3 datagrams"):
                await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            assert "its secret is another one" in (await session.answering())["nas/bng-1"]
            silent[0] = False
            assert (await session.answering())["nas/bng-1"] == ""
            asked = len(nas.requests)
            assert (await session.answering())["nas/bng-1"] == ""
            assert len(nas.requests) == asked
    assert all(b"amina" not in data for data, _ in nas.requests[3:])


async def test_a_database_that_does_not_answer_says_why(radius_database: RadiusDatabase) -> None:
    made = connector(radius_database)
    made._secrets = lambda name: b"not-the-password" if name == "db" else SECRET
    async with dialed(made) as session:
        assert isinstance(session, Answers)
        found = await session.answering()
    assert found["radius/main"].startswith("cannot be read: wrong password for user radius at 127.0.0.1:")


@pytest.mark.usefixtures("impatient")
async def test_a_silent_nas_is_missing_for_its_own_sessions_only(database: RadiusDatabase) -> None:
    """It is asked once, about nobody; who has no session there needs it not."""
    add_session(database, "u1")
    bruno = replace(DISCONNECT, address=Address("radius/main/sessions/bruno"))
    with UdpNas(lambda data: []).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert isinstance(session, KnowsAbsence)
            found: list[Busy | None] = []

            async def ask(effect: Effect) -> None:
                found.append(await session.missing(effect))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask, DISCONNECT)
            missing = [f.detail for f in found if f is not None]
            assert len(missing) == 5
            assert missing[0].startswith(f"no reply from NAS bng-1 at 127.0.0.1:{nas.port} (3 datagrams")
            assert await session.missing(bruno) is None
    asked = [attributes_of(data) for data, _ in nas.requests]
    assert len(asked) == 2 * 3, "both NAS, three datagrams each"
    assert not [a for a in asked if b"amina.h" in dict(a).values()]


@pytest.mark.parametrize("ack", [True, False])
async def test_any_answer_proves_a_nas_to_be_there(database: RadiusDatabase, ack: bool) -> None:
    add_session(database, "u1")
    with UdpNas(lambda data: [reply(data, ack=ack, attributes=b"" if ack else error_cause(503))]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert isinstance(session, KnowsAbsence)
            assert [await session.missing(DISCONNECT) for _ in range(3)] == [None] * 3
    assert len(nas.requests) == 2, "each NAS once: an answer counts for a while"


@pytest.mark.usefixtures("impatient")
async def test_a_nas_is_missing_from_its_first_unanswered_request_on(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    there = True
    with UdpNas(lambda data: [reply(data, ack=True)] if there else []).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert isinstance(session, KnowsAbsence)
            assert await session.missing(DISCONNECT) is None
            there = False
            with pytest.raises(LostError):
                await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
            missing = await session.missing(DISCONNECT)
    assert missing is not None
    assert "bng-1" in missing.detail


@pytest.mark.usefixtures("impatient")
async def test_a_wrong_secret_makes_a_nas_missing(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    with UdpNas(lambda data: [reply(data, ack=True, secret=b"theirs")]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            assert isinstance(session, KnowsAbsence)
            missing = await session.missing(DISCONNECT)
    assert missing is not None
    assert "not made with our secret" in missing.detail


@pytest.mark.usefixtures("impatient")
async def test_a_wrong_secret_is_lost_and_told(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    got, _ = await drop(database, lambda data: [reply(data, ack=True, secret=b"theirs")])
    assert isinstance(got, LostError)
    assert "not made with our secret" in str(got)


@pytest.mark.usefixtures("impatient")
async def test_one_answered_and_one_silent_is_lost(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    add_session(database, "u2")
    got, _ = await drop(
        database, lambda data: [reply(data, ack=True)] if dict(attributes_of(data))[44] == b"sid-u1" else []
    )
    assert isinstance(got, LostError)
    assert str(got).startswith("1 of 2 requests: no reply from NAS ")


async def test_a_session_on_an_unknown_nas_sends_nothing_at_all(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    add_session(database, "u2", "10.9.9.9", began_s=int(time.time()))
    got, requests = await drop(database, lambda data: [reply(data, ack=True)])
    assert isinstance(got, NotSentError)
    assert got.reason == "unknown-nas"
    assert "10.9.9.9" in str(got)
    assert requests == []


async def test_no_session_is_nothing_to_do(database: RadiusDatabase) -> None:
    got, requests = await drop(database, lambda data: [reply(data, ack=True)])
    assert got == Reply(True, "no-session", "no session is open")
    assert requests == []


async def test_only_the_bound_session_is_dropped_of_however_many(database: RadiusDatabase) -> None:
    add_session(database, "u1")
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            bound = await session.bind(DISCONNECT)
            database.run("UPDATE radacct SET acctstoptime = 1")
            add_session(database, "u2")
            await session.send(ticket(DISCONNECT, bound))
            now = await session.read([*bound, SESSIONS])
    assert [dict(attributes_of(d))[44] for d, _ in nas.requests] == [b"sid-u1"]
    assert now[Address("radius/main/session/u1")].value is ABSENT
    assert now[SESSIONS].value != ABSENT


async def test_freeradius_takes_it(sqlite_radius: RadiusDatabase, freeradius: Callable[..., FreeRadius]) -> None:
    fill(sqlite_radius)
    add_session(sqlite_radius, "u1")
    server = freeradius(sqlite_radius, coa=True, secret=SECRET.decode())
    async with dialed(connector(sqlite_radius, server.coa_port)) as session:
        got = await session.send(ticket(DISCONNECT, await session.bind(DISCONNECT)))
        still = await session.read([SESSIONS])
    assert got == Reply(True, "ack", "1 session")
    assert still[SESSIONS].value is not ABSENT, "its listener ACKs and touches nothing: an ACK is not proof"
    (request,) = server.dynauth_requests()
    assert (request["user"], request["session"], request["address"]) == ("amina.h", "sid-u1", "100.64.12.9")


async def test_freeradius_leaves_addresses_of_an_id_used_again(
    radius_database: RadiusDatabase, freeradius: Callable[..., FreeRadius]
) -> None:
    server = freeradius(radius_database)

    def told(status: str, at_s: int, ip: str, *more: tuple[str, str]) -> None:
        session = (("User-Name", "amina.h"), ("Acct-Session-Id", "81000001"), ("NAS-IP-Address", "10.0.0.1"))
        event = (("Acct-Status-Type", status), ("Event-Timestamp", str(at_s)), ("Framed-IP-Address", ip))
        assert server.radclient("acct", *session, *event, *more) is not None

    now_s, every = int(time.time()), DISCONNECT.address
    told("Start", now_s - 900, "100.64.12.9")
    told("Interim-Update", now_s - 600, "100.64.12.9", ("Acct-Session-Time", "300"))
    async with dialed(connector(radius_database)) as session:
        for status, ip in (("Start", None), ("Interim-Update", "100.127.0.9")):
            told(status, now_s, "100.127.0.9", ("Acct-Session-Time", "1"))
            ((_, texts),) = fields_of((await session.read([every]))[every].value).items()
            known = dict(text.partition("=")[::2] for text in expect(tuple, texts))
            assert (known.get("ip"), known["since"]) == (ip, str(now_s))


def test_identification_takes_what_accounting_told() -> None:
    session = {"login": "a", "sid": "s", "ip": "100.64.0.1", "ip6": "2001:db8::/64", "mac": "AA", "nas": "2001:db8::1"}
    everything = sorted(dictionary.IDENTIFICATION)
    assert identification(everything, session) == {
        "Acct-Session-Id": "s",
        "Calling-Station-Id": "AA",
        "Framed-IP-Address": "100.64.0.1",
        "Framed-IPv6-Prefix": "2001:db8::/64",
        "NAS-IPv6-Address": "2001:db8::1",
        "User-Name": "a",
    }
    assert identification(everything, {"nas": "bng.example", "login": "a"}) == {
        "NAS-Identifier": "bng.example",
        "User-Name": "a",
    }
    assert identification(["User-Name"], session) == {"User-Name": "a"}
    only6 = identification(profile("generic").identify, {"login": "a", "nas": "2001:db8::1"})
    assert only6 == {"User-Name": "a", "NAS-IPv6-Address": "2001:db8::1"}, "it has no NAS-IP-Address"


# --- the recipe on a real database ----------------------------------------------------------------------------------


async def test_suspension_planned_written_dropped_and_judged(
    radius_database: RadiusDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time-outs that are shipped: this NAS answers once it wrote to the database
    monkeypatch.setattr("agent.connectors.radius.connector.profile", profile)
    fill(radius_database)
    add_session(radius_database, "u1")
    numbers = {"postgresql": "now()", "mariadb": "now()"}

    dropped: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        if data not in dropped:  # on a busy machine it is asked again, as any NAS is
            dropped.append(data)
            radius_database.run(f"UPDATE radacct SET acctstoptime = {numbers[radius_database.kind.value]}")
            add_session(radius_database, "u2")
        return [reply(data, ack=True)]

    with UdpNas(answer).run() as nas:
        made = connector(radius_database, nas.port)
        recipe = made.access_methods["pppoe"]
        async with dialed(made) as session:
            seen: dict[Address, Seen] = {}
            while missing := recipe.reads(SERVICE, seen):
                seen |= await session.read(missing)
            plan = expect(AccessPlan, recipe.plan(ServiceState(Access.SUSPENDED, "Home 20M"), SERVICE, seen))
            assert plan.enforce is not None
            await session.send(ticket(plan.steps[0].do))
            bound = await session.bind(DISCONNECT)
            assert (await session.send(ticket(plan.steps[1].do, bound))).accepted
            now: dict[Address, Seen] = {}
            while missing := recipe.enforcement_reads(plan.enforce, now):
                now |= await session.read(missing)
            got = recipe.judge(plan.enforce, now, list(bound))
    assert (got.enforced.value, got.how) == ("yes", "inferred")
    assert plan.display["now"].startswith("online")


# --- rows of sessions that are over -----------------------------------------------------------------------------------

ROW = Address("radius/main/open-row/u1")


async def close(session: Session, after: Value = ABSENT, before: Seen | None = None) -> Reply:
    seen = before or (await session.read([ROW]))[ROW]
    return await session.send(ticket((Transition(ROW, seen, after),)))


async def test_a_row_is_closed_only_once_its_nas_denied_the_session(database: RadiusDatabase) -> None:
    heard_s = int(time.time()) - 3 * 86400
    add_session(database, "u1", began_s=heard_s)
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        async with dialed(connector(database, nas.port)) as session:
            with pytest.raises(NotSentError, match="sid-u1: its NAS did not deny it") as refused:
                await close(session)
            assert refused.value.reason == "not-denied"
            about = replace(DISCONNECT, address=Address("radius/main/session/u1"))
            bound = await session.bind(about)
            assert (await session.send(ticket(about, bound))).reason == "not-there"
            before = (await session.read([ROW]))[ROW]
            assert before.value is not ABSENT, "the row is as it was"
            assert await close(session) == Reply(True, "committed", "1 row of accounting closed")
            assert (await session.read([ROW]))[ROW].value is ABSENT
            found = database.run("SELECT acctstoptime = acctstarttime, acctterminatecause FROM radacct")
            assert [(bool(same), cause) for same, cause in found] == [(True, "Stale-Session")]
            assert await close(session, before=before) == Reply(True, "committed", "1 row of accounting closed"), (
                "it is so already"
            )
            # And back
            assert (await close(session, before.value, Seen(ABSENT, 0))).accepted
            assert (await session.read([ROW]))[ROW].value == before.value
            database.run("UPDATE radacct SET acctstoptime = '2026-11-27 10:00:00', acctterminatecause = 'User-Request'")
            with pytest.raises(DriftedError):
                await close(session, before.value, Seen(ABSENT, 0))


async def test_a_row_that_accounting_heard_of_since_is_not_closed(database: RadiusDatabase) -> None:
    add_session(database, "u1", "10.9.9.9", began_s=int(time.time()) - 3 * 86400)
    async with dialed(connector(database)) as session:
        before = (await session.read([ROW]))[ROW]
        database.run("UPDATE radacct SET acctupdatetime = '2026-11-20 10:00:00'")
        with pytest.raises(DriftedError):
            await close(session, before=before)
    recent = int(time.time()) - 60
    database.run("DELETE FROM radacct")
    add_session(database, "u1", "10.9.9.9", began_s=recent)
    async with dialed(connector(database)) as session:
        with pytest.raises(NotSentError, match=r"10\.9\.9\.9 cannot be asked"):
            await close(session)
