"""Reads and writes of one router, against the lab's: what is refused, what drifted, and what a router may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import trio

from agent.connectors.base import (
    CLOCK_SET,
    IN_FORCE,
    DriftedError,
    LostError,
    NotSentError,
    Reach,
    Session,
    UnreadableError,
)
from agent.connectors.routeros import readers
from agent.connectors.routeros.addresses import RouterResource, rows_of
from agent.connectors.routeros.api_session import RouterApi
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.exchanges import RouterAnswer
from agent.connectors.routeros.rulesets import ruleset_of
from agent.connectors.routeros.schema import RouterosConfig, RouterTarget
from agent.model import (
    ABSENT,
    Absent,
    Address,
    Direction,
    Effect,
    Replay,
    SecretRef,
    Seen,
    Target,
    Ticket,
    Transition,
    Value,
)
from agent.runtime.clock import SystemClock
from lab.router.device import Router
from lab.router.table import Row
from tests.agent.connectors.routeros.sessions import PASSWORD, commit, opened


def make_router(version: str = "7.20.8") -> Router:
    router = Router(version, serial="HFG09ABCDEF")
    router.add("/ppp/profile", name="home20", local_address="10.0.0.1", remote_address="10.0.0.2")
    router.add("/ppp/profile", name="suspended", address_list="suspended")
    router.add("/ppp/secret", name="amina.h", password="wonder", profile="home20", comment="roof, left mast")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")
    return router


def at(resource: str, key: str) -> Address:
    return Address(f"routeros/edge-1/{resource}/{key}")


SECRET = at("ppp/secret", "amina.h")


async def value_of(session: Session, address: Address) -> Value:
    return (await session.read([address]))[address].value


def ticket(do: tuple[Transition, ...] | Effect, deadline_s: float = float("inf")) -> Ticket:
    return Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, "routeros/edge-1", do, {}, deadline_s)


def write(before: Value, address: Address = SECRET, **after: str) -> tuple[Transition, ...]:
    assert not isinstance(before, Absent)
    return (Transition(address, Seen(before, 0), {**before, **after}),)


# --- reading ---


async def test_a_secret_reads_as_the_router_has_it() -> None:
    async with opened(make_router()) as session:
        value = await value_of(session, SECRET)
        assert not isinstance(value, Absent)
        assert (value["profile"], value["comment"], value["disabled"]) == ("home20", "roof, left mast", "false")
        assert isinstance(value["password"], SecretRef)
        assert "last-logged-out" not in value  # it changes by itself


async def test_many_names_are_one_command() -> None:
    router = make_router()
    names = [f"user{n}" for n in range(40)]
    for name in names:
        router.add("/ppp/secret", name=name, password="x", profile="home20")
    async with opened(router) as session:
        for wanted in (names[:8], names):
            seen = await session.read([at("ppp/secret", n) for n in (*wanted, "nobody")])
            assert seen[at("ppp/secret", "nobody")].value is ABSENT
            assert all(seen[at("ppp/secret", n)].value is not ABSENT for n in wanted)


async def test_sessions_lists_and_rules() -> None:
    router = make_router()
    router.set("/ppp/secret", "amina.h", profile="suspended", local_address="10.0.0.1", remote_address="10.0.0.9")
    router.add("/ip/firewall/filter", chain="forward", action="drop", src_address_list="suspended", comment="ours")
    router.add("/ip/firewall/address-list", list="vip", address="10.0.0.9")
    router.add("/ip/firewall/address-list", list="off", address="10.0.0.9", disabled="yes")
    router.plug_in("amina.h", "wonder")
    async with opened(router) as session:
        sessions = rows_of(await value_of(session, at("ppp/active", "amina.h")))
        ((sid, row),) = sessions.items()
        assert (row["login"], row["address"]) == ("amina.h", "10.0.0.9")
        assert await value_of(session, at("ppp/session", sid)) == row
        assert await value_of(session, at("ip/members", "suspended")) == {"10.0.0.9": "dynamic"}
        assert await value_of(session, at("ip/members", "vip")) == {"10.0.0.9": "static"}
        assert await value_of(session, at("ip/members", "off")) is ABSENT
        found = ruleset_of(await value_of(session, at("ip/filter", "all")))
        assert [r["src-address-list"] for r in found.filter] == ["suspended"]
        assert (found.raw, found.members, found.ways_out) == ((), {"suspended": {"10.0.0.9": "dynamic"}}, None)
        assert found.tracking == {"enabled": "auto", "loose-tcp-tracking": "true"}
        assert await value_of(session, at("online", "all")) == {"amina.h": "1"}
        began = await value_of(session, at("ppp/began", "amina.h"))
        assert not isinstance(began, Absent)
        assert abs(int(str(began[sid])) - int(router.now())) <= 2


@pytest.mark.parametrize(("age_s", "login"), [(40, "amina.h"), (3723, "amina.h"), (6 * 86_400 + 3 * 3600, "amina.h")])
async def test_how_old_a_session_is(age_s: int, login: str) -> None:
    """RouterOS writes 6d3h, and a session that carries on must not look new."""
    ahead = 0.0
    router = Router(clock=lambda: time.time() + ahead)
    router.add("/ppp/profile", name="p", local_address="10.0.0.1", remote_address="10.0.0.2")
    router.add("/ppp/secret", name=login, password="x", profile="p")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")
    router.plug_in(login, "x")
    ahead = float(age_s)
    async with opened(router) as session:
        began = await value_of(session, at("ppp/began", login))
        assert not isinstance(began, Absent)
        (since,) = began.values()
        assert abs(time.time() - age_s - int(str(since))) <= 2


@pytest.mark.parametrize("text", ["radius/main/user/x", "routeros/edge-2/ppp/secret/x", "routeros/edge-1/ppp/secret/"])
async def test_only_its_own_addresses_are_read(text: str) -> None:
    async with opened(make_router()) as session:
        with pytest.raises(UnreadableError, match="not an address"):
            await session.read([Address(text)])


async def test_pools_and_who_has_an_address_for_a_while() -> None:
    router = make_router()
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.0.9,10.9.0.0/24")
    router.add("/ipv6/pool", name="pd", prefix="2001:db8::/40", prefix_length="56")
    router.add("/ip/dhcp-server", name="lan", interface="ether5")
    router.add("/ip/dhcp-server/lease", address="10.0.5.7", mac_address="02:00:00:00:00:07", server="lan")
    router.plug_in("amina.h", "wonder")
    async with opened(router) as session:
        assert await value_of(session, at("ip/pools", "all")) == {"cgnat": "100.64.0.2-100.64.0.9,10.9.0.0/24"}
        assert await value_of(session, at("ipv6/pools", "all")) == {"pd": "2001:db8::/40"}
        # A lease that somebody made is for good, a session is not
        assert await value_of(session, at("ip/held", "all")) == {"10.0.0.2": "PPP session of amina.h"}
        assert await value_of(session, at("ipv6/held", "all")) is ABSENT


async def test_a_dynamic_lease_is_for_a_while() -> None:
    router = make_router()
    router.add("/ip/address", address="10.0.5.1/24", interface="ether5")
    router.add("/ip/pool", name="lan", ranges="10.0.5.10-10.0.5.99")
    router.add("/ip/dhcp-server", name="lan", interface="ether5", address_pool="lan", disabled="no")
    router.plug_in_dhcp("02:00:00:00:00:07", server="lan")
    async with opened(router) as session:
        held = await value_of(session, at("ip/held", "all"))
        assert isinstance(held, Mapping)
        assert list(held.values()) == ["DHCP lease of 02:00:00:00:00:07"]


async def test_in_a_menu_that_is_not_installed_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    menu = (("/ip/no-such-package", "session", "user", ("address",), ""),)
    monkeypatch.setitem(readers._HELD, RouterResource.HELD, menu)
    async with opened(make_router()) as session:
        assert await value_of(session, at("ip/held", "all")) is ABSENT
    router = make_router()
    router.faults.inject("trap:interrupted", match="/ppp/active/print")
    monkeypatch.setitem(readers._HELD, RouterResource.HELD, (("/ppp/active", "PPP session", "name", ("address",), ""),))
    async with opened(router) as session:
        with pytest.raises(UnreadableError):
            await value_of(session, at("ip/held", "all"))


# --- writing ---


async def test_a_write_touches_what_differs_and_nothing_else() -> None:
    router = make_router()
    async with opened(router) as session:
        reply = await session.send(ticket(write(await value_of(session, SECRET), profile="suspended")))
        assert reply.accepted
    (row,) = [r for r in router.rows("/ppp/secret") if r["name"] == "amina.h"]
    assert (row["profile"], row["comment"], row["password"]) == ("suspended", "roof, left mast", "wonder")


async def test_drift_is_told() -> None:
    router = make_router()
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        router.set("/ppp/secret", "amina.h", profile="suspended")
        with pytest.raises(DriftedError) as caught:
            await session.send(ticket(write(before, comment="x")))
        now = caught.value.observed[SECRET].value
        assert not isinstance(now, Absent)
        assert now["profile"] == "suspended"
        router.remove("/ppp/secret", "amina.h")
        with pytest.raises(DriftedError) as gone:
            await session.send(ticket(write(before, comment="x")))
        assert gone.value.observed[SECRET].value is ABSENT


async def test_what_may_not_be_written_is_not_sent() -> None:
    async with opened(make_router()) as session:
        before = await value_of(session, SECRET)
        assert not isinstance(before, Absent)
        for do, reason in (
            (write(before), "unwritable"),
            ((Transition(SECRET, Seen(before, 0), ABSENT),), "unsupported"),
            ((Transition(SECRET, Seen(ABSENT, 0), before),), "unsupported"),
            (write(before, at("hotspot/profile", "home20"), comment="x"), "unsupported"),
            (write(before) * 2, "unsupported"),
            (write(before, password="in-clear"), "unwritable"),
            (write(before, comment="a\0b"), "unwritable"),
            ((Transition(SECRET, Seen(before, 0), {**before, "profile": ("a", "b")}),), "unwritable"),
            (Effect(at("ppp/active", "amina.h"), "reboot", {}, "k", Replay.NEVER, None, 1), "unsupported"),
        ):
            with pytest.raises(NotSentError) as caught:
                await session.send(ticket(do))
            assert caught.value.reason == reason
        assert await value_of(session, SECRET) == before


@pytest.mark.parametrize(("fault", "reason"), [("cut-before", "unreachable"), ("trap:not permitted", "refused")])
async def test_a_failed_look_says_whether_to_come_again(fault: str, reason: str) -> None:
    """Seed 29450681: a connection closed meanwhile, the session's end was never asked for again, and it carried on."""
    router = make_router()
    router.set("/ppp/secret", "amina.h", local_address="10.0.0.1", profile="home20", remote_address="10.0.0.9")
    router.plug_in("amina.h", "wonder")
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        kick = Effect(at("ppp/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        end = replace(ticket(kick), bound=await session.bind(kick))
        for asked, menu in ((ticket(write(before, profile="suspended")), "/ppp/secret"), (end, "/ppp/active")):
            router.faults.inject(fault, match=f"{menu}/print")
            with pytest.raises(NotSentError) as caught:
                await session.send(asked)
            assert caught.value.reason == reason
    assert router.rows("/ppp/active")


async def test_after_the_deadline_nothing_is_sent() -> None:
    async with opened(make_router()) as session:
        before = await value_of(session, SECRET)
        with pytest.raises(NotSentError) as caught:
            await session.send(ticket(write(before, profile="suspended"), deadline_s=0.0))
        assert caught.value.reason == "expired"
        assert await value_of(session, SECRET) == before


async def test_a_refusal_is_an_answer_and_the_session_goes_on() -> None:
    router = make_router()
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        reply = await session.send(ticket(write(before, profile="no-such-profile")))
        assert (reply.accepted, reply.reason) == (False, "refused")
        assert "profile" in reply.detail
        assert await value_of(session, SECRET) == before


async def test_a_cut_is_lost_and_the_next_read_connects_again() -> None:
    router = make_router()
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        router.faults.inject("cut-after", match="/ppp/secret/set")
        with pytest.raises(LostError) as caught:
            await session.send(ticket(write(before, profile="suspended")))
        assert caught.value.reason == "cut"
        now = await value_of(session, SECRET)
        assert not isinstance(now, Absent)
        assert now["profile"] == "suspended"


async def test_P3_another_session_with_the_bound_id_is_left_alone() -> None:
    router = make_router()
    router.set("/ppp/secret", "amina.h", local_address="10.0.0.1", remote_address="10.0.0.9")
    router.plug_in("amina.h", "wonder")
    async with opened(router) as session:
        kick = Effect(at("ppp/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        ((where, seen),) = (await session.bind(kick)).items()
        assert not isinstance(seen.value, Absent)
        other = Seen({**seen.value, "login": "bob"}, 0)
        assert (await session.send(replace(ticket(kick), bound={where: other}))).reason == "no-session"
        assert await value_of(session, where) is not ABSENT
        assert (await session.send(replace(ticket(kick), bound={where: seen}))).reason == "done"
        assert await value_of(session, where) is ABSENT


async def test_a_session_that_ends_by_itself_holds_up_no_other() -> None:
    router = make_router()
    router.set("/ppp/secret", "amina.h", local_address="10.0.0.1", profile="home20", remote_address="10.0.0.9")
    for _ in range(2):
        router.plug_in("amina.h", "wonder", redial_s=60)
    async with opened(router) as session:
        kick = Effect(at("ppp/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        bound = await session.bind(kick)
        first = router.rows("/ppp/active")[0][".id"]
        router.faults.inject("drift", match="/ppp/active/remove", drift=lambda r: r.remove("/ppp/active", first))
        assert (await session.send(replace(ticket(kick), bound=bound))).accepted
        assert all([await value_of(session, where) is ABSENT for where in bound])


async def test_later_attempt_leaves_session_alone_that_began_since() -> None:
    router = make_router()
    router.set("/ppp/secret", "amina.h", local_address="10.0.0.1", profile="home20", remote_address="10.0.0.9")
    router.plug_in("amina.h", "wonder", redial_s=0)
    async with opened(router) as session:
        kick = Effect(at("ppp/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        first = await session.bind(kick)
        again = await session.bind(kick, first)  # read in another second, perhaps
        assert {a: s.value for a, s in again.items()} == {a: s.value for a, s in first.items()}, "it is still there"
        old = [row[".id"] for row in router.rows("/ppp/active")]
        assert (await session.send(replace(ticket(kick), bound=first))).reason == "done"
        router.plug_in("amina.h", "wonder")
        assert [row[".id"] for row in router.rows("/ppp/active")] != old
        assert await session.bind(kick), "a first attempt ends it"
        assert await session.bind(kick, first) == {}
        began_s = next(iter(first.values())).at_s
        for since_s, ends in ((began_s - 3600, False), (began_s + 3600, True)):
            spares = replace(kick, args={"since": str(since_s)})
            assert bool(await session.bind(spares)) is ends, "those that began after the instant that it names stay"
        ahead = replace(kick, args={"since": str(began_s - 3600), CLOCK_SET: "7200"})
        assert await session.bind(ahead), "our clock was set since that instant: it was an hour later than now says"
        late = replace(kick, args={IN_FORCE: str(began_s - 100)})
        assert await session.bind(late) == {}, (
            "it began long after the writes that are before it: a restart was between"
        )
        early = replace(kick, args={IN_FORCE: str(began_s + 100)})
        assert await session.bind(early), "it began before them"
        long_since = {where: Seen(seen.value, seen.at_s + 3600) for where, seen in first.items()}
        assert (await session.bind(kick, long_since)).keys() == (await session.bind(kick)).keys(), "old ones by then"


async def test_those_who_wait_for_a_router_that_is_away_wait_once() -> None:
    async with opened(make_router(), lambda t: replace(t, port=1)) as session:
        errors: list[UnreadableError] = []

        async def read() -> None:
            try:
                await session.read([SECRET])
            except UnreadableError as err:
                errors.append(err)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read)
        assert [err.reason for err in errors] == ["unreachable"] * 4


async def test_given_up_in_the_middle_it_settles() -> None:
    router = make_router()
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        await session.settle()
        router.faults.inject("command-lost", match="/ppp/secret/set")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.send, ticket(write(before, profile="suspended")))
            with trio.fail_after(60):
                while not router.faults.met:  # noqa: ASYNC110  the lab's router tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        began = trio.current_time()
        await session.settle()
        assert trio.current_time() - began > 1.5


async def test_a_bind_of_another_effect_is_refused() -> None:
    async with opened(make_router()) as session:
        with pytest.raises(UnreadableError, match="no effect"):
            await session.bind(Effect(SECRET, "disconnect", {}, "k", Replay.NEVER, None, 1))


# --- which router it is ---


async def refuses(router: Router, change: Callable[[RouterTarget], RouterTarget], words: str, reason: str) -> None:
    async with opened(router, change) as session:
        with pytest.raises(UnreadableError, match=words) as caught:
            await session.read([SECRET])
        assert caught.value.reason == reason
        with pytest.raises(NotSentError):
            await session.send(ticket(write({"name": "amina.h"}, profile="x")))


async def test_another_certificate() -> None:
    await refuses(make_router(), lambda t: replace(t, fingerprint=bytes(32)), "certificate", "unreachable")


async def test_a_wrong_user() -> None:
    await refuses(make_router(), lambda t: replace(t, user="somebody"), "routeros/edge-1", "refused")


async def test_another_serial_number() -> None:
    await refuses(make_router(), lambda t: replace(t, serial="OTHER"), "another router answers", "refused")


@pytest.mark.parametrize("serial", ["HFG09ABCDEF", "ABCD-EF12"])
async def test_its_serial_number_or_software_id(serial: str) -> None:
    async with opened(make_router(), lambda t: replace(t, serial=serial)) as session:
        assert await value_of(session, SECRET) is not ABSENT


@pytest.mark.parametrize("version", ["6.42.12", "5.26"])
async def test_a_version_before_every_table_is_left_alone(version: str) -> None:
    router = make_router()
    router.version = version
    await refuses(router, lambda t: t, f"RouterOS {version} is older than 6.43", "refused")


@pytest.mark.parametrize("version", ["7.26", "7.17.2", "8.1", "6.50", "6.48.6", "6.43"])
async def test_a_version_that_is_not_known_has_service_changes(version: str) -> None:
    router = make_router("6.49.18" if version.startswith("6.") else "7.20.8")
    router.version = version
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        (note,) = session.notes()
        assert note.startswith(f"routeros/edge-1: RouterOS {version} is not known here")
        assert note.endswith("only service changes")
        assert (await session.send(ticket(write(before, profile="suspended")))).accepted
        now = await value_of(session, SECRET)
        assert now == {**before, "profile": "suspended"}  # type: ignore[dict-item]  # it is not ABSENT: it was written


async def test_a_property_that_the_tables_lack_makes_nothing_fail() -> None:
    """A later release may show more, and may show less: what it does not show is not written."""
    router = make_router()
    router.version = "7.26"
    view = router.store.view

    def later(path: str, row: Row) -> dict[str, str]:
        shown = view(path, row) | {"of-the-future": "yes"}
        shown.pop("limit-bytes-in", None)
        return shown

    router.store.view = later  # type: ignore[method-assign]  # a release that is not recorded
    async with opened(router) as session:
        before = await value_of(session, SECRET)
        assert not isinstance(before, Absent)
        assert "of-the-future" not in before
        with pytest.raises(NotSentError, match="its row does not show limit-bytes-in") as caught:
            await session.send(ticket(write(before, **{"limit-bytes-in": "1000000"})))
        assert caught.value.reason == "unwritable"
        assert (await session.send(ticket(write(before, profile="suspended")))).accepted


async def test_a_known_version_has_no_note() -> None:
    async with opened(make_router()) as session:
        await value_of(session, SECRET)
        assert list(session.notes()) == []


async def test_nobody_listens() -> None:
    await refuses(make_router(), lambda t: replace(t, port=1), "routeros/edge-1", "unreachable")


async def test_plain_where_the_operator_says_so() -> None:
    async with opened(make_router(), tls=False) as session:
        assert await value_of(session, SECRET) is not ABSENT


async def test_a_target_that_is_not_configured() -> None:
    made = RouterosConnector(RouterosConfig(), {}.__getitem__, commit, clock=SystemClock())
    assert made.traits.reach is Reach.DIAL
    with pytest.raises(UnreadableError, match="no target"):
        async with made.dial(Target("routeros/other", "routeros")):
            raise AssertionError("dialed")


async def test_a_beginning_does_not_wander() -> None:
    """It is our clock less an uptime, each cut to seconds; read a second later it must be the same moment."""
    ahead = 0.0
    router = Router(clock=lambda: time.time() + ahead)
    router.add("/ppp/profile", name="p", local_address="10.0.0.1", remote_address="10.0.0.2")
    router.add("/ppp/secret", name="amina.h", password="x", profile="p")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")
    router.plug_in("amina.h", "x")
    async with opened(router) as session:
        first = await value_of(session, at("ppp/began", "amina.h"))
        ahead = 1.0  # as if the uptime had been cut one second later
        assert await value_of(session, at("ppp/began", "amina.h")) == first
        ahead = 60.0
        assert await value_of(session, at("ppp/began", "amina.h")) != first


def add_hotspot_user(router: Router) -> None:
    router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.250")
    router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", disabled="no")
    router.add("/ip/hotspot/user", name="amina.h", password="x")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")


async def test_a_hotspot_session_is_one_in_every_read() -> None:
    """Its beginning is part of its key: with an answer that crosses a second, it had one among the sessions, and
    another among the beginnings, and so was taken for one from before a change."""
    ahead = 0.0
    router = Router(clock=lambda: time.time() + ahead)
    add_hotspot_user(router)
    router.plug_in_hotspot(user="amina.h", password="x")
    async with opened(router) as session:
        sessions = rows_of(await value_of(session, at("hotspot/active", "amina.h")))
        ahead = 1.0
        began = await value_of(session, at("hotspot/began", "amina.h"))
        assert not isinstance(began, Absent)
        assert list(began) == list(sessions)
        assert list(began.values()) == [key.rpartition("@")[2] for key in sessions]
        ahead = 60.0
        assert list(rows_of(await value_of(session, at("hotspot/active", "amina.h")))) != list(sessions)


class LateClock(SystemClock):
    """The machine's clocks, later than they are."""

    late_s = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + type(self).late_s

    def boot_s(self) -> float:
        return super().boot_s() + type(self).late_s


@pytest.mark.parametrize(("slow", "ends"), [("ppp/active", False), ("ppp/began", True)])
async def test_a_slow_answer_tells_a_beginning_later(monkeypatch: pytest.MonkeyPatch, slow: str, ends: bool) -> None:
    """Only its own way does: how long the sessions took before says nothing of when they began."""
    clock = LateClock()
    router = Router(clock=clock.wall_s)
    router.add("/ppp/profile", name="p", local_address="10.0.0.1", remote_address="10.0.0.2")
    router.add("/ppp/secret", name="amina.h", password="x", profile="p")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")
    router.plug_in("amina.h", "x")
    wrote_s = int(clock.wall_s()) - 10
    async with opened(router, clock=clock) as session:
        read = session.read

        async def late(addresses: Sequence[Address]) -> Mapping[Address, Seen]:
            found = await read(addresses)
            if slow in str(addresses[0]):
                monkeypatch.setattr(LateClock, "late_s", 15.0)
            return found

        monkeypatch.setattr(session, "read", late)
        kick = Effect(
            at("ppp/active", "amina.h"), "disconnect", {IN_FORCE: str(wrote_s)}, "k", Replay.IF_UNPROVEN, None, 1
        )
        assert bool(await session.bind(kick)) is ends


class SetClock(SystemClock):
    """The machine's clocks, of which somebody sets one."""

    ahead_s = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + type(self).ahead_s


@pytest.mark.parametrize("set_s", [100.0, -100.0])
async def test_whoever_sets_our_clock_a_session_is_still_there(monkeypatch: pytest.MonkeyPatch, set_s: float) -> None:
    """A hotspot's session is known by its beginning: by a clock that was set it seemed gone, and was not ended."""
    router = Router(clock=time.time)
    add_hotspot_user(router)
    router.plug_in_hotspot(user="amina.h", password="x")
    async with opened(router, clock=SetClock()) as session:
        kick = Effect(at("hotspot/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        bound = await session.bind(kick)
        began = await value_of(session, at("hotspot/began", "amina.h"))
        monkeypatch.setattr(SetClock, "ahead_s", set_s)
        assert [await value_of(session, where) is ABSENT for where in bound] == [False]
        after = await value_of(session, at("hotspot/began", "amina.h"))
        assert not isinstance(began, Absent)
        assert after == {key: str(int(str(since_s)) + int(set_s)) for key, since_s in began.items()}
        assert (await session.send(replace(ticket(kick), bound=bound))).detail == "1 ended"
        assert [await value_of(session, where) for where in bound] == [ABSENT]


async def test_a_hotspot_session_after_one_that_was_seen_gone() -> None:
    """The simulation's seed 60039: two sessions at one address, begun 4 s apart, were one where the first was gone."""
    ahead = 0.0
    router = Router(clock=lambda: time.time() + ahead)
    add_hotspot_user(router)
    client = router.plug_in_hotspot(user="amina.h", password="x")
    async with opened(router) as session:
        ahead = 4.0
        kick = Effect(at("hotspot/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        bound = await session.bind(kick)
        assert (await session.send(replace(ticket(kick), bound=bound))).reason == "done"
        assert [await value_of(session, where) for where in bound] == [ABSENT]
        router.hotspot.log_in(client)
        (key,) = rows_of(await value_of(session, at("hotspot/active", "amina.h")))
        assert at("hotspot/session", key) not in bound


class FarClock(SystemClock):
    """The machine's clocks, later by as long as answers are on their way."""

    ahead_s = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + type(self).ahead_s

    def boot_s(self) -> float:
        return super().boot_s() + type(self).ahead_s


async def test_a_session_on_a_far_router_is_one_in_every_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question and its answer take seconds each: nobody says that it began after the answer, or ends nothing."""
    monkeypatch.setattr(FarClock, "ahead_s", 0.0)
    router = Router(clock=lambda: time.time() + FarClock.ahead_s)
    add_hotspot_user(router)
    router.plug_in_hotspot(user="amina.h", password="x")
    call = RouterApi.call

    async def slowly(api: RouterApi, *words: str, timeout_s: float) -> RouterAnswer:
        FarClock.ahead_s += 4.0
        found = await call(api, *words, timeout_s=timeout_s)
        FarClock.ahead_s += 4.0
        return found

    async with opened(router, clock=FarClock()) as session:
        await session.read([at("hotspot/user", "amina.h")])
        began_s = int(time.time())
        FarClock.ahead_s += 100.0
        monkeypatch.setattr(RouterApi, "call", slowly)
        kick = Effect(at("hotspot/active", "amina.h"), "disconnect", {}, "k", Replay.IF_UNPROVEN, None, 1)
        bound = await session.bind(replace(kick, args={IN_FORCE: str(began_s + 60)}))
        (key,) = rows_of(await value_of(session, at("hotspot/active", "amina.h")))
        assert list(bound) == [at("hotspot/session", key)], "it began before the writes"
        began = await value_of(session, at("hotspot/began", "amina.h"))
        assert not isinstance(began, Absent)
        assert list(began) == [key]
        assert int(str(began[key])) >= began_s - 1, "it seems no older than it is"
        assert (await session.send(replace(ticket(kick), bound=bound))).detail == "1 ended"


@pytest.mark.parametrize(("user", "mine"), [("amina.h", 1), ("other", 0), ("T-02:00:00:00:00:07", 1)])
async def test_connections_of_a_client_are_those_of_its_login(user: str, mine: int) -> None:
    """Whoever has the device by then has a session there; a trial of the same client is nobody else."""
    mac = "02:00:00:00:00:07"
    router = Router()
    add_hotspot_user(router)
    router.add("/ip/hotspot/user", name="other", password="x")
    router.add("/ip/hotspot/user", name="T-02:00:00:00:00:07", password="x")
    client = router.plug_in_hotspot(mac=mac, user=user, password="x")
    async with opened(router) as session:
        assert len(rows_of(await value_of(session, at("hotspot/flows", f"{mac} amina.h")))) == mine
        assert len(rows_of(await value_of(session, at("hotspot/flows", mac)))) == 1, "as older plans name it"
        assert len(rows_of(await value_of(session, at("hotspot/login-flows", user)))) == 1
        client.password = ""
        router.hotspot.log_out(client, "lost")
        assert len(rows_of(await value_of(session, at("hotspot/flows", f"{mac} amina.h")))) == 1, "nobody is"
