"""What a change does with a subscriber of any access method on routers: the same scenes, over every method."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import HURRIED, PATIENT, Waits, waits_of
from tests.e2e.router_site import (
    ELSEWHERE,
    FILTER,
    LOGIN,
    OTHER,
    ROUTERS,
    WORD,
    DisabledHotspots,
    Hotspots,
    Leases,
    Network,
    Ppp,
    Static,
    killed_with_a_command,
    ref,
    running,
    served,
    until,
)
from tests.e2e.site import ApiRefusedError, item_states, state_of

GATE, RENEWAL = pytest.mark.assumed("routeros-hotspot-gate-above"), pytest.mark.assumed("routeros-lease-applies")
ASSUMED = {Hotspots: (GATE,), DisabledHotspots: (GATE,), Leases: (RENEWAL,)}
Kind = type[Network]


def kinds(*more: tuple[Kind, str], of: tuple[Kind, ...] = (Ppp, Hotspots, DisabledHotspots, Leases, Static)) -> object:
    """Return the mark of a test that runs for each access method, and for these releases of edge-1 besides."""
    cases = [*((kind, "7.20.8") for kind in of), *more]
    params = [pytest.param(k, v, marks=ASSUMED.get(k, ())) for k, v in cases]
    return pytest.mark.parametrize(("kind", "version"), params)


@kinds((Static, "7.15.3"), (Static, "7.24"))
async def test_suspend_keeps_in_and_revert_lets_out(tmp_path: Path, kind: Kind, version: str) -> None:
    async with running(tmp_path, kind, versions=(version, "7.15.3")) as net:
        before = net.row(LOGIN)
        asked = await net.site.ask("suspend", ref(LOGIN))
        assert (asked["state"], asked["class"]) == ("waiting for approval", "low")
        assert (net.row(LOGIN), net.gets_out(LOGIN)) == (before, True)

        done = await net.site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("applied", "seen"), "done", 0)
        assert (net.kept_in(LOGIN), net.gets_out(OTHER)) == (True, True)
        assert net.row(LOGIN) == before | net.suspended(LOGIN)

        net.age(LOGIN)  # it logged in again, to the garden
        back = await net.site.do("revert", change=done["id"])
        assert net.row(LOGIN) == before
        if kind is DisabledHotspots:
            assert state_of(back)[0] == "set-at-next-login"
            await until(lambda: net.gets_out(LOGIN))
        else:
            assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
            assert net.gets_out(LOGIN)


@kinds()
async def test_a_batch_over_both_routers(tmp_path: Path, kind: Kind, version: str) -> None:
    at_once = kind.HELD == ROUTERS
    async with running(tmp_path, kind, subscribers=8, waits=PATIENT if at_once else HURRIED) as net:
        everybody = [f"user{n}@{name}" for name in ROUTERS for n in range(8)]
        asked = await net.site.ask("suspend", *map(ref, everybody), on_failure="stop" if at_once else "continue")
        done = await net.site.apply(asked, "joseph", "lena")
        held = {who: who.endswith(kind.HELD) for who in everybody}
        states = {True: ("applied", "seen"), False: ("set-not-enforced", "not-in-effect")}
        assert item_states(done) == {ref(who): states[kept] for who, kept in held.items()}
        assert {who: net.kept_in(who) for who in everybody} == held
        assert {who: net.gets_out(who) for who in everybody} == {who: not kept for who, kept in held.items()}
        if not at_once:
            return
        assert done["state"] == "done"
        net.age(*everybody)
        back = await net.site.apply(await net.site.ask("restore", *map(ref, everybody)), "joseph", "lena")
        if kind is not DisabledHotspots:  # who are offline until they log in
            assert back["state"] == "done"
            assert set(item_states(back).values()) == {("applied", "seen")}
            assert all(map(net.gets_out, everybody))
        await until(lambda: all(map(net.gets_out, everybody)))


def _as_winbox_writes(net: Network, kind: Kind) -> None:
    """Give a subscriber's row a comment in the code page of Windows."""
    cyrillic = "дом 5".encode("cp1251").decode("utf-8", "surrogateescape")
    (menu,) = {one.rpartition("/")[0] for one in kind.COMMANDS if one.endswith("/set") and "queue" not in one}
    named = net.login(LOGIN) if kind is not Leases else net.login(LOGIN).replace("-", ":")
    (row,) = [r for r in net.router(LOGIN).rows(menu) if named in (r.get("name"), r.get("mac-address"))]
    net.router(LOGIN).set(menu, row[".id"], comment=cyrillic)


@kinds(of=(Ppp, Hotspots, Leases))
async def test_a_comment_that_is_no_utf8_stops_its_own_item(tmp_path: Path, kind: Kind, version: str) -> None:
    async with running(tmp_path, kind, versions=(version, "7.15.3")) as net:
        _as_winbox_writes(net, kind)
        before = net.row(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN), ref(OTHER))
        assert item_states(done) == {ref(LOGIN): ("blocked", "not-utf8"), ref(OTHER): ("applied", "seen")}
        assert (net.row(LOGIN), net.gets_out(LOGIN), net.kept_in(OTHER)) == (before, True, True)


@kinds(of=(Ppp, Hotspots, Leases))
async def test_a_comment_that_becomes_no_utf8_is_drift(tmp_path: Path, kind: Kind, version: str) -> None:
    """Between preview and run."""
    async with running(tmp_path, kind, versions=(version, "7.15.3")) as net:
        asked = await net.site.ask("suspend", ref(LOGIN), ref(OTHER))
        _as_winbox_writes(net, kind)
        before = net.row(LOGIN)
        done = await net.site.apply(asked)
        assert item_states(done) == {ref(LOGIN): ("stale", "drifted"), ref(OTHER): ("applied", "seen")}
        assert (net.row(LOGIN), net.gets_out(LOGIN), net.kept_in(OTHER)) == (before, True, True)


@kinds(of=(Ppp, Hotspots))
async def test_a_change_of_tariff_is_what_the_session_gets(tmp_path: Path, kind: Kind, version: str) -> None:
    async with running(tmp_path, kind) as net:
        done = await net.site.do("set-plan", ref(ELSEWHERE), tariff="Home 50M")
        assert (state_of(done)[0], done["state"]) == ("applied", "done")
        (queue,) = [q for q in net.router(ELSEWHERE).rows("/queue/simple") if ELSEWHERE in q["name"]]
        assert queue["max-limit"] == "50000000/50000000"
        assert net.gets_out(ELSEWHERE)


@kinds(of=(Ppp, Hotspots))
async def test_a_new_tariff_ends_no_session_in_the_garden(tmp_path: Path, kind: Kind, version: str) -> None:
    """Seed 22000333: it was ended for nothing, and "carries on as before" was said of one that no command ended."""
    async with running(tmp_path, kind) as net:
        await net.site.do("suspend", ref(LOGIN))
        row, menu = net.row(LOGIN), "/ppp/active" if kind is Ppp else "/ip/hotspot/active"
        sessions = [one[".id"] for one in net.router(LOGIN).rows(menu)]
        done = await net.site.do("set-plan", ref(LOGIN), tariff="Home 50M")
        assert (state_of(done), done["state"]) == (("applied", "recorded"), "done")
        assert (net.row(LOGIN), [one[".id"] for one in net.router(LOGIN).rows(menu)]) == (row, sessions)
        assert net.kept_in(LOGIN)
        net.age(LOGIN)
        back = await net.site.do("restore", ref(LOGIN))
        assert (state_of(back), net.gets_out(LOGIN)) == (("applied", "seen"), True)
        assert net.row(LOGIN)["profile"] == "home50"


@kinds(of=(Ppp, Hotspots, Leases))
async def test_a_list_without_a_rule_suspends_nobody(tmp_path: Path, kind: Kind, version: str) -> None:
    async with running(tmp_path, kind) as net:
        router, before = net.router(LOGIN), net.row(LOGIN)
        drop = next(r for r in router.rows(FILTER) if r["action"] == "drop")
        router.remove(FILTER, drop[".id"])
        with pytest.raises(ApiRefusedError, match=r"would change|no rule"):
            await net.site.ask("suspend", ref(LOGIN))
        assert (net.gets_out(LOGIN), net.row(LOGIN)) == (True, before)


@kinds()
async def test_P2_another_administrator_was_faster(tmp_path: Path, kind: Kind, version: str) -> None:
    """What was approved is what is run, or nothing is."""
    async with running(tmp_path, kind) as net:
        asked = await net.site.ask("suspend", ref(LOGIN))
        before = net.row(LOGIN)
        net.meddle(LOGIN)
        meddled = net.row(LOGIN)
        assert meddled != before
        done = await net.site.apply(asked)
        assert (state_of(done)[0], net.row(LOGIN), net.gets_out(LOGIN)) == ("stale", meddled, True)


@kinds(of=(Ppp, Leases, Static))
async def test_who_is_offline_is_suspended_at_the_next_login(tmp_path: Path, kind: Kind, version: str) -> None:
    async with running(tmp_path, kind, waits=HURRIED) as net:
        plug_in = net.unplug(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done) == ("set-at-next-login", "offline")
        plug_in()
        await until(lambda: net.online(LOGIN))
        assert net.kept_in(LOGIN)


async def test_who_goes_offline_later_is_judged_by_the_row(tmp_path: Path) -> None:
    """Its session carried on; staff gave the profile back; it ended by itself. The next login has full internet."""
    async with running(tmp_path, Ppp, waits=HURRIED) as net:
        net.router(LOGIN).faults.inject("no-effect", match=Ppp.COMMANDS[1], times=1000)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done)[0] == "set-not-enforced"
        net.router(LOGIN).set("/ppp/secret", LOGIN, profile="home20")
        net.unplug(LOGIN)
        await net.site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        assert state_of(await net.site.wait_end(done))[0] == "set-not-enforced"


@pytest.mark.assumed("routeros-secret-disabled")
async def test_a_disabled_secret_rejects_nobody_that_radius_knows(tmp_path: Path) -> None:
    async with running(tmp_path, Ppp, waits=HURRIED) as net:
        net.router(LOGIN).set("/ppp/aaa", use_radius="yes")
        net.router(LOGIN).set("/ppp/secret", LOGIN, disabled="yes")
        net.unplug(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert "the router may ask RADIUS about the login" in done["items"][0]["detail"]
        net.router(LOGIN).set("/ppp/aaa", use_radius="no")
        done = await net.site.do("restore", ref(LOGIN))
        assert state_of(done) == ("applied", "stays-rejected")


@pytest.mark.assumed("routeros-secret-disabled")
async def test_already_is_not_said_of_a_login_that_radius_may_let_in(tmp_path: Path) -> None:
    """Staff disabled the secret of a suspended subscriber: its session stays in the garden, the next login may not."""
    async with running(tmp_path, Ppp, waits=HURRIED) as net:
        assert state_of(await net.site.do("suspend", ref(LOGIN))) == ("applied", "seen")
        net.router(LOGIN).set("/ppp/aaa", use_radius="yes")
        net.router(LOGIN).set("/ppp/secret", LOGIN, disabled="yes")
        with pytest.raises(ApiRefusedError) as told:
            await net.site.ask("suspend", ref(LOGIN))
        assert "already suspended for debt; what holds cannot be told: its PPP secret is disabled" in str(told.value)
        assert "the network reads so" not in str(told.value)
        second = await net.site.do("suspend", ref(LOGIN), reason="abuse")
        assert state_of(second) == ("stale", "stale")


STEPS = [(k, n) for k in (Ppp, DisabledHotspots, Leases, Static) for n in range(len(k.COMMANDS))]


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost", "cut-before", "cut-after"])
@pytest.mark.parametrize(("kind", "n"), STEPS)
async def test_what_is_lost_on_the_way_is_read_back(tmp_path: Path, fault: str, kind: Kind, n: int) -> None:
    """Done is said of what was read back, and what did not happen is never said to be done."""
    async with running(tmp_path, kind, waits=waits_of(fault)) as net:
        before = net.row(LOGIN)
        net.router(LOGIN).faults.inject(fault, match=kind.COMMANDS[n])
        done = await net.site.do("suspend", ref(LOGIN))
        assert net.router(LOGIN).faults.met
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        # What was lost before it took effect reads as before, and was sent again; the rest was found done
        verdicts = [s["verdict"] for s in done["steps"] if s["step"] == n + 1]
        assert verdicts == (["applied"] if fault in ("reply-lost", "cut-after") else ["not-applied", "applied"])
        assert net.row(LOGIN) == before | net.suspended(LOGIN)
        assert (net.kept_in(LOGIN), net.gets_out(OTHER)) == (True, True)


QUICK = {(Ppp, 0), (DisabledHotspots, 0), (Leases, 0), (Static, 2)}


@pytest.mark.parametrize(
    ("kind", "n"), [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in STEPS]
)
async def test_the_agent_is_killed_with_a_command_on_its_way(tmp_path: Path, kind: Kind, n: int) -> None:
    """It took effect and nobody was told: the next life reads it back, and does nothing twice."""
    async with served(tmp_path, kind, 2) as net:
        before = net.row(LOGIN)
        done = await killed_with_a_command(net.site.files, net.router(LOGIN), kind.COMMANDS[n], LOGIN)
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        told = sorted((s["step"], s["attempt"], s["verdict"]) for s in done["steps"])
        assert told == [(step + 1, 1, "applied") for step in range(len(kind.COMMANDS))]
        assert net.row(LOGIN) == before | net.suspended(LOGIN)
        assert (net.kept_in(LOGIN), net.gets_out(OTHER)) == (True, True)
        ours = [h for h in net.router(LOGIN).rows("/system/history") if h.get("by") == "ispagents"]
        assert len(ours) == len(kind.COMMANDS), ours


class OnBoth(Ppp):
    """A login of `edge-1` may come to `edge-2`."""

    @classmethod
    def method(cls, name: str, waits: Waits) -> str:
        more = '\nalso_on = ["routeros/edge-2"]' if name == "edge-1" else ""
        return super().method(name, waits).replace(f'"routeros/{name}"', f'"routeros/{name}"{more}', 1)


async def test_a_login_that_came_to_another_router_stops_its_item(tmp_path: Path) -> None:
    async with running(tmp_path, OnBoth, waits=HURRIED) as net:
        net.unplug(LOGIN)
        asked = await net.site.ask("suspend", ref(LOGIN))
        other = net.router(ELSEWHERE)
        other.add("/ppp/secret", name=LOGIN, password=WORD, profile="home20", service="pppoe")
        other.plug_in(LOGIN, WORD)
        done = await net.site.apply(asked)
        assert other.gets_out(LOGIN).out
        assert state_of(done)[0] == "stale"
