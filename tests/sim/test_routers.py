"""Routers in the simulation: some seeds with the faults that are theirs, and that the record tells who did what."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from lab.router.session import ApiSession
from lab.router.table import Row
from lab.router.words import encode_sentence
from lab.truth import NextLogin
from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS
from tests.sim.judge import Asked, Evidence
from tests.sim.part import Part
from tests.sim.parts import router_rules
from tests.sim.parts.radius import RadiusPart
from tests.sim.parts.router_access import (
    ACTIVE,
    COOKIES,
    FLOWS,
    KINDS,
    LEASES,
    LOGGED_IN,
    SECRETS,
    TARIFFS,
    Access,
    BlockedLeases,
    DisabledUsers,
    HotspotUsers,
    LateLeases,
    Leases,
    Online,
    PppSubscribers,
    Sample,
    StaticHosts,
    drawn_kinds,
    furnish,
)
from tests.sim.parts.router_record import AGENT, RecordedRouter, RowChange
from tests.sim.parts.routers import Line, RouterPart, Written
from tests.sim.run import Told, run_seed
from tests.sim.witness import ORIGINAL, Deed, Lost, Move, OpenStep, Seen

WORLD: tuple[type[Part], ...] = (RadiusPart, RouterPart)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the agent's warnings out of the way: there are many, and each is right."""
    caplog.set_level(logging.CRITICAL)


def told(seed: int, folder: Path, *names: str, trace: list[str] | None = None) -> Told:
    folder.mkdir(exist_ok=True)
    faults = [fault for fault in FAULTS if fault.name in names]
    assert len(faults) == len(names)
    return run_seed(seed, folder, faults=faults, parts=WORLD, trace=(trace if trace is not None else []).append)


@pytest.mark.parametrize(
    ("seed", "names"),
    [
        pytest.param(6023, ("router-no-effect", "router-far", "router-reply-lost"), id="a-session-had-two-keys"),
        pytest.param(6031, ("router-cut", "router-other-admin"), id="a-cut-and-another-admin"),
    ],
)
def test_nothing_false_is_seen(seed: int, names: tuple[str, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    found = told(seed, tmp_path / "w", *names, trace=lines)
    assert not found.wrong, "\n".join([*(v.text() for v in found.wrong), *lines[-40:]])
    assert any(" agent 1: changed /" in line for line in lines), "a world in which no router is written shows nothing"


@pytest.mark.slow
def test_a_seed_says_all_of_routers_too(tmp_path: Path) -> None:
    runs: list[list[str]] = []
    for n in range(2):
        runs.append([])
        told(6040, tmp_path / "w", "router-reboots", "agent-killed", trace=runs[-1])
        (tmp_path / "w").rename(tmp_path / f"{n}")
    assert runs[0] == runs[1]


def test_every_kind_of_access_is_drawn() -> None:
    drawn = {kind for seed in range(100) for kind in drawn_kinds(seed)[1:]}
    assert drawn == set(KINDS)
    assert RouterPart in PARTS


def furnished(kind: type[Access] = PppSubscribers) -> tuple[RecordedRouter, Access, list[tuple[str, str, str]]]:
    clock = [1_767_225_600.0]
    router = RecordedRouter("7.20.8", "edge-1", lambda: clock[0], lambda: 0.0)
    furnish(router, kind)
    access = kind(router, "edge-1", 2, lambda: 0.0)
    router.flush()
    told: list[tuple[str, str, str]] = []

    def note(changes: list[RowChange], user: str, command: str) -> None:
        told.extend((user, command, f"{c.event} {c.path}") for c in changes if not c.row.dynamic)

    router.told = note
    return router, access, told


@pytest.mark.parametrize("name", ["router-rule-off", "router-login-refused"])
async def test_what_is_put_right_outlasts_a_safe_mode(name: str, autojump_clock: MockClock) -> None:
    """It was put right while a colleague held a safe mode, and undone with it: the rule stayed off to the end."""
    router, access, _ = furnished()
    part = SimpleNamespace(name="routers", routers={"edge-1": router}, access={"edge-1": access})
    menus = ("/user", "/ip/firewall/filter")

    async def until_acting(within_s: float) -> None:
        await trio.lowlevel.checkpoint()

    def rows() -> list[dict[str, str]]:
        kept = [row.props.items() for menu in menus for row in router.store.table(menu)]
        return [{name: value for name, value in props if value != "false"} for props in kept]

    before = rows()
    async with trio.open_nursery() as nursery:
        (fault,) = (fault for fault in FAULTS if fault.name == name)
        nursery.start_soon(fault.act, SimpleNamespace(parts=[part], until_acting=until_acting), random.Random(1))
        await trio.sleep(10)
        assert rows() != before
        router.safe_mode.take("*staff")
        await trio.sleep(300)
        router.safe_mode.unroll()
    assert rows() == before


def say(router: RecordedRouter, *words: str) -> None:
    """Let the agent's user say something to a router."""
    assert router.connect()
    session = ApiSession(router)
    password = router.password(AGENT)
    for sentence in (("/login", f"=name={AGENT}", f"=password={password}"), words):
        session.receive_untrusted(encode_sentence(sentence))
    session.close()


def test_the_record_tells_whose_command_changed_a_row() -> None:
    router, access, told = furnished()
    row = access.row("user1")
    assert row is not None
    router.set("/ppp/secret", row.id, comment="by hand")
    say(router, "/ppp/secret/set", f"=.id={row.id}", "=profile=suspended")
    router.set("/ppp/secret", row.id, comment="")
    router.flush()
    changed = "changed /ppp/secret"
    assert told == [("", "", changed), (AGENT, "/ppp/secret/set", changed), ("", "", changed)]


@pytest.mark.parametrize(
    ("kind", "edits", "other"),
    [
        (DisabledUsers, {"profile": "home50"}, True),
        (DisabledUsers, {"profile": "suspended"}, True),
        (DisabledUsers, {"comment": "moved house"}, False),
        (DisabledUsers, {}, False),
        (Leases, {"rate_limit": "50M/50M"}, True),
        (Leases, {"address_lists": "suspended"}, False),
        (PppSubscribers, {"profile": "suspended"}, False),
        (PppSubscribers, None, True),
        (StaticHosts, {"max_limit": "10M/50M"}, False),
    ],
)
def test_staff_may_give_a_row_what_no_restore_takes(
    kind: type[Access], edits: dict[str, str] | None, other: bool
) -> None:
    """The payer then waits for a person, still kept in. Where an address list suspends, nobody reads the queue."""
    router, access, _ = furnished(kind)
    row = access.row("user0")
    assert row is not None
    part = RouterPart()
    part.lines, part.written = {"C-1/home": Line("C-1/home", access, "user0")}, []
    if kind is not StaticHosts:
        after = dict(row.props) | ({"profile": "suspended"} if kind is PppSubscribers else {})
        change = RowChange(access.own, row, "changed", {}, after)
        part.written = [Written(40.0, "C-1/home", "edge-1", change, 39.0, (), ORIGINAL)]
        router.set(access.own, row.id, **access.by_hand("suspended" if kind is PppSubscribers else TARIFFS[0]))
    assert not part.is_other("C-1/home")
    if edits is None:
        router.remove(access.own, row.id)
    else:
        router.set(access.own, row.id, **edits)
    assert part.is_other("C-1/home") is other


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_true_of_who_is_in_and_who_is_out(kind: type[Access]) -> None:
    router, access, _ = furnished(kind)
    now = access.sample("user0")
    assert len(now.online) == 1
    assert not now.state(suspended=True).sessions[0].walled
    assert not now.state(suspended=False).sessions[0].walled
    row = access.row("user0")
    assert row is not None
    assert access.owner(access.own, row.props) == "user0"
    router.set(access.own, row.id, **access.by_hand("suspended"))
    access.restart("user0")
    after, other = access.sample("user0").state(suspended=True), access.sample("user1").state(suspended=True)
    assert after.next.walled or not after.next.accepted or kind.__name__ == "StaticHosts"
    assert not other.next.walled
    assert other.next.accepted


@pytest.mark.parametrize(
    ("began", "proven", "rules"),
    [
        (99.0, 100.1, []),
        (100.5, 100.1, []),
        (106.5, 100.1, []),
        (107.5, 100.1, ["kicked"]),
        (107.5, 0.0, ["kicked"]),
        (107.5, 100.8, []),
    ],
)
def test_an_end_is_judged_by_what_an_uptime_tells(began: float, proven: float, rules: list[str]) -> None:
    """Seed 1008 with billing-clock-wrong: a session began 0.01 s after the write, and was ended as from before it.

    Until the write is proven nobody knows when it took effect (seed 26100002).
    """
    _, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    online = Online("0x1", "100.64.0.2", began, shut=False, out=True, rate="20M/20M")
    line.times, line.samples = [began], [Sample((online,), NextLogin(True))]
    change = RowChange(SECRETS, Row("*1", {}), "changed", {}, {})
    written = Written(100.0, line.service, "edge-1", change, 99.0, (), ORIGINAL)
    step = OpenStep("aa", 1, 2, 1, 100.0, True, line.service, "", {}, proven_at=proven)
    ended = Deed(108.0, line.service, "agent", f"removed {ACTIVE}", (step,), "0x1")
    asked = {"aa": Asked("aa", "restore", frozenset({line.service}), 0)}
    part = SimpleNamespace(
        lines={line.service: line}, written=[written], tariffs={}, routers={}, changed={}, already=()
    )
    evidence = Evidence(Seen(ended=[ended]), asked, (), (), {}, "", 200.0)
    assert [verdict.rule for verdict in router_rules.judge(evidence, part)] == rules  # type: ignore[arg-type]  # as far as they ask


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ((), ["overwrote"]),
        (((99.5, ""),), []),
        (((99.5, "copy-1"),), []),
        (((99.5, ORIGINAL),), ["overwrote"]),
        (((98.5, "copy-1"),), ["overwrote"]),
    ],
)
def test_another_machine_may_come_between(changed: tuple[tuple[float, str], ...], rules: list[str]) -> None:
    """A row was read as `home` at 99 and was `other` at its write: somebody else may have changed it since, not we."""
    router, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    change = RowChange(
        SECRETS, Row("*1", {}), "changed", {"name": "user0", "profile": "other"}, {"name": "user0", "profile": "shut"}
    )
    fields = {"before": {"value": {"profile": "home"}}, "after": {"profile": "shut"}}
    do = ({"address": "routeros/edge-1/ppp/secret/user0", **fields},)
    step = OpenStep("aa", 1, 1, 1, 98.0, False, line.service, "", do)
    written = Written(100.0, line.service, "edge-1", change, 99.0, (step,), ORIGINAL)
    rows = {("edge-1", SECRETS, "*1"): changed}
    part = SimpleNamespace(
        already=(), lines={line.service: line}, written=[written], tariffs={}, routers={"edge-1": router}, changed=rows
    )
    evidence = Evidence(Seen(), {}, (), (), {}, "", 200.0)
    assert [verdict.rule for verdict in router_rules.judge(evidence, part)] == rules  # type: ignore[arg-type]  # as far as they ask


@pytest.mark.parametrize(
    ("reason", "detail", "removed_at", "rules"),
    [
        ("still-online", "1 session carries on as before", None, ["spared"]),
        ("still-online", "1 session carries on as before", 90.0, ["spared"]),
        ("still-online", "1 session carries on as before", 102.0, []),
        ("timeout", "no answer · 1 session carries on as before", None, []),
        ("lost-cut", "no answer · 1 session carries on as before", None, []),
        ("cancelled", "cancelled while it waited", None, []),
        ("reads-otherwise", "its row no longer reads as it was set", None, []),
        ("overtaken", "change ABCDE acted on the service since: no longer judged", None, []),
    ],
)
def test_who_says_that_a_session_carries_on_asked_for_its_end(
    reason: str, detail: str, removed_at: float | None, rules: list[str]
) -> None:
    """Seed 22000195: people cancelled between the write and its session's end, and nothing may be sent then."""
    router, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    online = Online("0x1", "100.64.0.2", 50.0, shut=True, out=False, rate="")
    line.times, line.samples = [50.0], [Sample((online,), NextLogin(True))]
    shut, home = {"name": "user0", "profile": "shut"}, {"name": "user0", "profile": "home"}
    change = RowChange(SECRETS, Row("*1", {}), "changed", shut, home)
    do = ({"address": "routeros/edge-1/ppp/secret/user0", "before": {"value": shut}, "after": home},)
    step = OpenStep("aa", 1, 1, 1, 98.0, False, line.service, "", do)
    written = Written(100.0, line.service, "edge-1", change, 99.0, (step,), ORIGINAL)
    router.faults.came[f"{ACTIVE}/print"] = [101.0]
    if removed_at is not None:
        router.faults.came[f"{ACTIVE}/remove"] = [removed_at]
    move = Move(
        130.0, "aa", 1, line.service, "", "set-not-enforced", "running", 98.0, reason, detail, False, 7, ORIGINAL
    )
    asked = {"aa": Asked("aa", "restore", frozenset({line.service}), 0)}
    part = SimpleNamespace(
        already=(), lines={line.service: line}, written=[written], tariffs={}, routers={"edge-1": router}, changed={}
    )
    evidence = Evidence(Seen(moves=[move]), asked, (), (), {}, "", 200.0)
    assert [verdict.rule for verdict in router_rules.judge(evidence, part)] == rules  # type: ignore[arg-type]  # as far as they ask


@pytest.mark.parametrize(
    ("changed", "lost", "rules"),
    [
        ((), (), ["denied"]),
        (((101.0, ""),), (), []),
        (((99.0, ""), (101.0, ORIGINAL)), (), ["denied"]),
        ((), (Lost(98.0, 120.0, 5),), []),
        ((), (Lost(98.0, 140.0, 5),), ["denied"]),
        ((), (Lost(100.5, 120.0, 5),), ["denied"]),
    ],
)
def test_what_is_denied_is_not_there_or_not_known(
    changed: tuple[tuple[float, str], ...], lost: tuple[Lost, ...], rules: list[str]
) -> None:
    """Staff set the row back before it was read again, or a copy was put back from before the write."""
    _, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    change = RowChange(SECRETS, Row("*1", {}), "changed", {"profile": "home"}, {"profile": "shut"})
    do = ({"address": "routeros/edge-1/ppp/secret/user0", "before": {"value": change.before}, "after": change.after},)
    step = OpenStep("aa", 1, 1, 1, 98.0, False, line.service, "", do)
    written = Written(100.0, line.service, "edge-1", change, 99.0, (step,), ORIGINAL)
    move = Move(130.0, "aa", 1, line.service, "", "stale", "planned", 120.0, "stale", "", False, 7, ORIGINAL)
    part = SimpleNamespace(lines={line.service: line}, written=[written], changed={("edge-1", SECRETS, "*1"): changed})
    evidence = Evidence(Seen(moves=[move]), {}, (), (), {}, "", 200.0, lost)
    assert [verdict.rule for verdict in router_rules._denied(evidence, part)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("sessions", "rules"),
    [
        ({50.0: "0x1"}, ["claim"]),
        ({50.0: "0x1", 298.5: "0x2"}, []),
        ({50.0: "0x1", 290.0: "0x2"}, []),
        ({50.0: "0x1", 290.0: "", 295.0: "0x2"}, []),
        ({50.0: "0x1", 150.0: "0x2"}, ["claim"]),
    ],
    ids=["carries on", "another since", "another just before", "none for a while", "another long before"],
)
def test_a_disconnect_is_of_the_session_looked_up(sessions: dict[float, str], rules: list[str]) -> None:
    """It may redial between the reading and the announcement, for which a slow store takes a minute."""
    _, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    for at, name in sessions.items():
        online = Online(name, "100.64.0.2", at, shut=False, out=True, rate="20M/20M")
        line.times.append(at)
        line.samples.append(Sample((online,) if name else (), NextLogin(True)))
    of = (1, line.service, "")
    began = Move(298.0, "aa", *of, "running", "planned", 200.0, "", "", False, 6, ORIGINAL)
    ended = Move(310.0, "aa", *of, "applied", "running", 298.0, "", "", False, 7, ORIGINAL)
    asked = {"aa": Asked("aa", "disconnect", frozenset({line.service}), 0)}
    part = SimpleNamespace(lines={line.service: line})
    evidence = Evidence(Seen(moves=[began, ended]), asked, (), (), {}, "", 400.0)
    assert [verdict.rule for verdict in router_rules._claims(evidence, part)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("action", "logged_in", "rules"),
    [("restore", False, []), ("restore", True, ["claim"]), ("suspend", False, ["claim"])],
)
def test_a_connection_alone_is_no_session_of_the_active(action: str, logged_in: bool, rules: list[str]) -> None:
    """Seed 24000028: a cancel left a logged-out user a connection, and the restore after it truly said: no session."""
    _, access, _ = furnished(HotspotUsers)
    suspended = action == "suspend"
    line = Line("C-1/home", access, "user0")
    rate = access.rate(TARIFFS[0])
    online = Online("user0 10.5.50.2 1" if logged_in else "a connection", "10.5.50.2", 0.0, False, True, rate)
    after = NextLogin(True, suspended, rate)
    one = Sample((online,), after) if logged_in else Sample((), after, left=(online,))
    line.times, line.samples = [50.0], [one]
    state = "set-at-next-login"
    move = Move(130.0, "aa", 1, line.service, "", state, "running", 98.0, "offline", "", suspended, 7, ORIGINAL)
    asked = {"aa": Asked("aa", action, frozenset({line.service}), 0)}
    part = SimpleNamespace(lines={line.service: line}, written=[], tariffs={}, routers={}, changed={}, already=())
    evidence = Evidence(Seen(moves=[move]), asked, (), (), {}, "", 200.0)
    assert [verdict.rule for verdict in router_rules.judge(evidence, part)] == rules  # type: ignore[arg-type]  # as far as they ask


@pytest.mark.parametrize(
    ("began", "changed", "known"),
    [
        (115.0, (110.0, 120.0), True),
        (115.0, (110.0,), False),  # the row is not set back
        (115.0, (90.0, 120.0), False),
        (105.0, (110.0, 120.0), False),
        (125.0, (110.0, 120.0), False),
        (99.0, (), False),
    ],
)
def test_a_rate_may_be_of_a_row_that_was_set_back(began: float, changed: tuple[float, ...], known: bool) -> None:
    """Staff set a tariff's row back, a subscriber logged in, and staff set the row again: nothing tells that rate."""
    _, access, _ = furnished()
    line = Line("C-1/home", access, "user0")
    online = Online("0x2", "100.64.0.2", began, shut=False, out=True, rate=access.rate(TARIFFS[0]))
    line.times, line.samples = [100.0], [Sample((online,), NextLogin(True, rate=access.rate(TARIFFS[1])))]
    change = RowChange(SECRETS, Row("*1", {}), "changed", {"name": "user0"}, {"name": "user0"})
    step = OpenStep("aa", 1, 1, 1, 98.0, False, line.service, "", ())
    written = Written(100.0, line.service, "edge-1", change, 99.0, (step,), ORIGINAL)
    move = Move(130.0, "aa", 1, line.service, "", "applied", "running", 98.0, "seen", "", False, 7, ORIGINAL)
    asked = {"aa": Asked("aa", "set-plan", frozenset({line.service}), 0)}
    rows = {("edge-1", SECRETS, "*1"): [(at, "") for at in changed]}
    part = SimpleNamespace(
        lines={line.service: line}, written=[written], tariffs={"aa": TARIFFS[1]}, changed=rows, routers={}, already=()
    )
    evidence = Evidence(Seen(moves=[move]), asked, (), (), {}, "", 200.0)
    found = list(router_rules._claims(evidence, part))  # type: ignore[arg-type]  # as far as it asks
    assert [bool(verdict.known) for verdict in found] == [known]


def test_a_connection_of_a_logged_out_user_is_told_apart() -> None:
    router, access, _ = furnished(HotspotUsers)
    (session,) = [row for row in router.store.table(LOGGED_IN) if row.props["user"] == access.logins["user0"]]
    row = access.row("user0")
    assert row is not None
    router.set(access.own, row.id, disabled="yes")
    for cookie in list(router.store.table(COOKIES)):
        router.remove(COOKIES, cookie.id)
    router.remove(LOGGED_IN, session.id)
    found = access.sample("user0")
    assert (found.online, [one.session for one in found.left]) == ((), ["a connection"])
    assert [one.walled for one in found.state(suspended=True).sessions] == [False], "it is at large"
    assert found.state(suspended=False).sessions == ()


def connections(router: RecordedRouter, address: str) -> list[Row]:
    return [row for row in router.store.table(FLOWS[0]) if row.props["src-address"].startswith(f"{address}:")]


@pytest.mark.parametrize("kind", [Leases, LateLeases, BlockedLeases])
def test_a_client_that_is_off_leaves_its_connection(kind: type[Access]) -> None:
    """It says nothing to the router: a suspension meanwhile finds its connection, and cannot know that it is off."""
    router, access, _ = furnished(kind)
    row = access.row("user0")
    assert row is not None
    (flow,) = connections(router, row.props["address"])
    access.restart("user0", away=True)
    router.set(LEASES, row.id, **access.by_hand("suspended"))
    found = access.sample("user0")
    assert (found.online, [one.address for one in found.left]) == ((), [row.props["address"]])
    assert [one.walled for one in found.state(suspended=True).sessions] == [False], "it is at large"
    assert found.state(suspended=False).sessions == ()
    router.remove(FLOWS[0], flow.id)
    assert access.sample("user0").left == ()


def test_a_client_that_is_on_again_goes_on() -> None:
    """No table has two connections with the same ends."""
    router, access, _ = furnished(Leases)
    row = access.row("user0")
    assert row is not None
    before = connections(router, row.props["address"])
    for _ in range(2):
        access.restart("user0", away=True)
        access.back("user0")
        assert connections(router, row.props["address"]) == before
        assert len(access.sample("user0").online) == 1
    router.set(LEASES, row.id, **access.by_hand("suspended"))
    assert [one.walled for one in access.sample("user0").state(suspended=True).sessions] == [False], "by its connection"
