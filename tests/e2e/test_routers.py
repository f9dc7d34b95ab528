"""Changes on two routers without RADIUS: a suspension is a profile, and the packet view says who gets out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.e2e.files import COLUMNS, HURRIED, PATIENT, Files, Waits, make_files, stamp, waits_of
from tests.e2e.site import AgentProgram, ApiRefusedError, Office, check_log, item_states, open_site, state_of

PASSWORD = "api-password-of-routers"
ROUTERS = ("edge-1", "edge-2")


@dataclass
class Network:
    """Two routers and an agent in front of them. Logins are `NAME@ROUTER`, and each router knows only its own."""

    site: Office
    routers: dict[str, Router]

    def router(self, login: str) -> Router:
        return self.routers[login.partition("@")[2]]

    def gets_out(self, login: str) -> bool:
        return self.router(login).gets_out(login).out

    def secret(self, login: str) -> dict[str, str]:
        (found,) = [r for r in self.router(login).rows("/ppp/secret") if r["name"] == login]
        return found

    def sessions(self, login: str) -> list[str]:
        return [r["session-id"] for r in self.router(login).rows("/ppp/active") if r["name"] == login]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110  the lab's CPE tell nobody
            await trio.sleep(0.02)


def ref(login: str) -> str:
    return f"C-{login.replace('@', '-')}/home"


def make_router(name: str, logins: list[str], version: str) -> Router:
    router = Router(version, identity=name, serial=f"SERIAL-{name}")
    gateway = {"local_address": "100.64.0.1", "remote_address": "cgnat"}
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M", **gateway)
    router.add("/ppp/profile", name="home50", rate_limit="50M/50M", **gateway)
    router.add("/ppp/profile", name="suspended", address_list="suspended", **gateway)
    rules = "/ip/firewall/filter"
    router.add(rules, chain="forward", action="accept", src_address_list="suspended", dst_address_list="pay-page")
    router.add(rules, chain="forward", action="drop", src_address_list="suspended")
    router.add(rules, chain="forward", action="fasttrack-connection", connection_state="established,related")
    router.add("/user/group", name="ispagents", policy="read,write,api")  # no `sensitive`: it sees no password
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    for login in logins:
        router.add("/ppp/secret", name=login, password="of-the-subscriber", profile="home20", service="pppoe")
        router.plug_in(login, "of-the-subscriber", redial_s=0.05)
    return router


def mapping(endpoints: dict[str, Endpoint], waits: Waits) -> str:
    text = ""
    for name, endpoint in endpoints.items():
        text += (
            f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "ispagents"\n'
            f'secret = "routeros/{name}"\nfingerprint = "{endpoint.fingerprint}"\nserial = "SERIAL-{name}"\n'
            f"timeout_s = {waits.answer_s}\n"
            f'[ppp.{name}]\ntarget = "routeros/{name}"\nsuspended_profile = "suspended"\n'
            f"disconnect_within_s = {waits.gone_s}\nredial_within_s = {waits.back_s}\n"
            f'[ppp.{name}.tariffs]\n"Home 20M" = "home20"\n"Home 50M" = "home50"\n'
        )
    return text


def billing_row(login: str) -> dict[str, str]:
    """Return a line of the subscriber file; everybody owes."""
    now = datetime.now(UTC)
    values = {
        "subscriber": ref(login).partition("/")[0],
        "name": login,
        "service": "home",
        "login": login,
        "method": login.partition("@")[2],
        "tariff": "Home 20M",
        "balance": "34.00",
        "due": (now - timedelta(days=10)).date().isoformat(),
        "paid_at": stamp(now - timedelta(days=60)),
        "as_of": stamp(now),
    }
    return {column: values.get(column, "") for column in COLUMNS}


@asynccontextmanager
async def served(
    folder: Path, subscribers: int, versions: Sequence[str] = ("7.20.8", "7.15.3"), waits: Waits = PATIENT
) -> AsyncIterator[tuple[dict[str, Router], Files]]:
    """Two routers on the network, everybody online, and the files of an agent for them."""
    logins = {name: [f"user{n}@{name}" for n in range(subscribers)] for name in ROUTERS}
    routers = {name: make_router(name, logins[name], version) for name, version in zip(ROUTERS, versions, strict=True)}
    async with trio.open_nursery() as nursery:
        endpoints: dict[str, Endpoint] = {
            name: await nursery.start(partial(serve, router, tls=True)) for name, router in routers.items()
        }
        files = make_files(folder, mapping(endpoints, waits), [], {f"routeros/{name}": PASSWORD for name in ROUTERS})
        files.billing.rows.update({ref(login): billing_row(login) for name in ROUTERS for login in logins[name]})
        files.billing.write()
        await until(lambda: all(len(r.rows("/ppp/active")) == subscribers for r in routers.values()))
        yield routers, files
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def network(folder: Path, subscribers: int = 3, waits: Waits = PATIENT) -> AsyncIterator[Network]:
    """The same with the agent at work; whatever happened, its log adds up at the end."""
    async with served(folder, subscribers, waits=waits) as (routers, files), open_site(files) as site:
        yield Network(site, routers)
        await check_log(site)


LOGIN, OTHER = "user0@edge-1", "user1@edge-1"
ELSEWHERE = "user0@edge-2"


async def test_suspend_keeps_in_and_revert_lets_out(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        before, (old,) = net.secret(LOGIN), net.sessions(LOGIN)
        asked = await net.site.ask("suspend", ref(LOGIN))
        assert (asked["state"], asked["class"]) == ("waiting for approval", "low")
        assert net.secret(LOGIN) == before
        assert net.sessions(LOGIN) == [old]
        assert net.gets_out(LOGIN)

        done = await net.site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("applied", "seen"), "done", 0)
        assert old not in net.sessions(LOGIN)
        assert not net.gets_out(LOGIN)
        assert not net.router(LOGIN).gets_out(LOGIN).lingers  # nor do connections from before flow on
        assert net.gets_out(OTHER)
        assert net.secret(LOGIN)["profile"] == "suspended"
        assert net.secret(LOGIN)["password"] == before["password"]

        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.gets_out(LOGIN)
        assert net.secret(LOGIN)["profile"] == "home20"


async def test_a_batch_over_both_routers(tmp_path: Path) -> None:
    async with network(tmp_path, subscribers=8) as net:
        logins = [f"user{n}@{name}" for name in ROUTERS for n in range(8)]
        asked = await net.site.ask("suspend", *map(ref, logins))
        done = await net.site.apply(asked, "joseph", "lena")
        assert done["state"] == "done"
        assert set(item_states(done).values()) == {("applied", "seen")}
        assert not any(map(net.gets_out, logins))
        restored = await net.site.apply(await net.site.ask("restore", *map(ref, logins)), "joseph", "lena")
        assert restored["state"] == "done"
        assert all(map(net.gets_out, logins))


async def test_a_change_of_tariff_is_what_the_session_gets(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        done = await net.site.do("set-plan", ref(ELSEWHERE), tariff="Home 50M")
        assert (state_of(done)[0], done["state"]) == ("applied", "done")
        (queue,) = [q for q in net.router(ELSEWHERE).rows("/queue/simple") if ELSEWHERE in q["name"]]
        assert queue["max-limit"] == "50000000/50000000"
        assert net.gets_out(ELSEWHERE)


async def test_a_disconnect_changes_nothing_else(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        (old,) = net.sessions(LOGIN)
        done = await net.site.do("disconnect", ref(LOGIN))
        assert done["state"] == "done"
        assert old not in net.sessions(LOGIN)
        assert net.secret(LOGIN)["profile"] == "home20"
        await until(lambda: net.gets_out(LOGIN))  # it dials again


async def test_a_list_without_a_rule_suspends_nobody(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        router = net.router(LOGIN)
        drop = next(r for r in router.rows("/ip/firewall/filter") if r["action"] == "drop")
        router.remove("/ip/firewall/filter", drop[".id"])
        with pytest.raises(ApiRefusedError, match=r"would change|no rule"):
            await net.site.ask("suspend", ref(LOGIN))
        assert net.gets_out(LOGIN)
        assert net.secret(LOGIN)["profile"] == "home20"


async def test_another_administrator_was_faster(tmp_path: Path) -> None:
    """What was approved is what is run, or nothing is."""
    async with network(tmp_path) as net:
        asked = await net.site.ask("suspend", ref(LOGIN))
        net.router(LOGIN).set("/ppp/secret", LOGIN, profile="home50")
        done = await net.site.apply(asked)
        assert state_of(done)[0] == "stale"
        assert net.secret(LOGIN)["profile"] == "home50"
        assert net.gets_out(LOGIN)


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost", "cut-before", "cut-after"])
@pytest.mark.parametrize("command", ["/ppp/secret/set", "/ppp/active/remove"])
async def test_what_is_lost_on_the_way_is_read_back(tmp_path: Path, fault: str, command: str) -> None:
    """Done is said of what was read back, and what did not happen is never said to be done."""
    async with network(tmp_path, waits=waits_of(fault)) as net:
        net.router(LOGIN).faults.inject(fault, match=command)
        done = await net.site.do("suspend", ref(LOGIN))
        assert net.router(LOGIN).faults.met
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        # What was lost before it took effect reads as before, and was sent again; the rest was found done
        happened = fault in ("reply-lost", "cut-after")
        step = 1 if command == "/ppp/secret/set" else 2
        verdicts = [s["verdict"] for s in done["steps"] if s["step"] == step]
        assert verdicts == (["applied"] if happened else ["not-applied", "applied"])
        assert net.secret(LOGIN)["profile"] == "suspended"
        assert not net.gets_out(LOGIN)
        assert net.gets_out(OTHER)


async def test_P15_another_router_answers(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        net.router(LOGIN).serial = "ANOTHER"
        with pytest.raises(ApiRefusedError, match="another router answers"):
            await net.site.ask("suspend", ref(LOGIN))
        asked = await net.site.ask("suspend", ref(ELSEWHERE))  # the other one is as before
        assert asked["state"] == "waiting for approval"


async def test_subscriber_without_session_is_suspended_at_next_login(tmp_path: Path) -> None:
    async with network(tmp_path, waits=HURRIED) as net:
        router = net.router(LOGIN)
        (cpe,) = router.access.of_login(LOGIN)
        router.access.unplug(cpe)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done)[0] == "set-at-next-login"
        router.plug_in(LOGIN, "of-the-subscriber")
        await until(lambda: bool(net.sessions(LOGIN)))
        assert not net.gets_out(LOGIN)


@pytest.mark.parametrize("command", ["/ppp/secret/set", pytest.param("/ppp/active/remove", marks=pytest.mark.slow)])
async def test_the_agent_is_killed_with_a_command_on_its_way(tmp_path: Path, command: str) -> None:
    """It took effect and nobody was told: the next life reads it back, and does nothing twice."""
    async with served(tmp_path, 2) as (routers, files):
        net = Network(Office(files), routers)
        programs = [AgentProgram(files)]
        try:
            await trio.to_thread.run_sync(programs[0].wait_ready)
            await net.site.install()
            asked = await net.site.ask("suspend", ref(LOGIN))
            net.router(LOGIN).faults.inject("drift", match=command, drift=lambda _: programs[0].kill())
            await net.site.approve(asked, "joseph")
            await until(lambda: programs[0].ended)
            programs.append(AgentProgram(files))
            await trio.to_thread.run_sync(programs[1].wait_ready)
            done = await net.site.wait_end(asked)
        finally:
            for program in programs:
                program.stop()
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert [(s["step"], s["attempt"], s["verdict"]) for s in done["steps"]] == [
            (1, 1, "applied"),
            (2, 1, "applied"),
            (3, 1, "applied"),
        ]
        sets = [h for h in net.router(LOGIN).rows("/system/history") if "secret" in h.get("action", "")]
        assert len([h for h in sets if h.get("by") == "ispagents"]) == 1
        assert not net.gets_out(LOGIN)
        assert net.gets_out(OTHER)


async def test_a_garden_that_holds_the_internet_is_none(tmp_path: Path) -> None:
    """E4: An accept towards a list is the way to a pay page only as long as somebody looks at what is in the list."""
    async with network(tmp_path) as net:
        router = net.router(LOGIN)
        router.add("/ip/firewall/address-list", list="pay-page", address="0.0.0.0/1")
        router.add("/ip/firewall/address-list", list="pay-page", address="128.0.0.0/1")
        with pytest.raises(ApiRefusedError, match="may let it out before it is dropped"):
            await net.site.ask("suspend", ref(LOGIN))


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_no_fasttracked_connection_outlives_its_session(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        router, own = net.router(LOGIN), "100.64.3.251"
        router.set("/ppp/secret", LOGIN, remote_address=own)
        flow = {
            "protocol": "tcp",
            "src_address": f"{own}:50001",
            "dst_address": "203.0.113.80:443",
            "fasttrack": "true",
        }
        router.add("/ip/firewall/connection", **flow)
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert [s["step"] for s in done["steps"]] == [1, 2, 3]
        assert own not in str(router.rows("/ip/firewall/connection"))
        assert not net.gets_out(LOGIN)
        back = await net.site.do("revert", change=done["id"])
        assert state_of(back)[0] == "applied"
        assert net.gets_out(LOGIN)


@pytest.mark.assumed("routeros-connections-outlive-sessions", "routeros-pool-same-address")
async def test_a_pool_that_repeats_an_address_saves_no_connection(tmp_path: Path) -> None:
    """FastTrack took it before the suspension, so no rule sees it: it is cut, and read back gone."""
    async with network(tmp_path) as net:
        router = net.router(LOGIN)

        def flows() -> set[str]:
            rows = router.rows("/ip/firewall/connection")
            return {r["src-address"] for r in rows if r["src-address"].startswith("100.64.")}

        known = flows()
        before = [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN]
        assert router.gets_out(LOGIN).fasttracked
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN] == before
        assert not router.gets_out(LOGIN).lingers
        assert flows() == known - {f"{before[0]}:50000"}  # nobody else's
        assert router.gets_out(OTHER).lingers


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_what_former_owner_left_at_new_address_is_cut_as_well(tmp_path: Path) -> None:
    """The address is known only once the new session is there: what is open from it then, FastTrack carries."""
    async with network(tmp_path) as net:
        router, new = net.router(LOGIN), "10.255.0.9"
        (old,) = [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN]
        router.add("/ip/pool", name="walled", ranges=new)
        router.set("/ppp/profile", "suspended", remote_address="walled")
        ends = {"protocol": "tcp", "dst_address": "203.0.113.80:443", "fasttrack": "true"}
        router.add("/ip/firewall/connection", src_address=f"{new}:50001", **ends)
        router.set("/ppp/secret", OTHER, remote_address=old)  # somebody else has the old one by then
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        sources = [f["src-address"].partition(":")[0] for f in router.rows("/ip/firewall/connection")]
        assert (new in sources, old in sources) == (False, True)


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_connections_that_cannot_be_cut_are_counted(tmp_path: Path) -> None:
    async with network(tmp_path, waits=HURRIED) as net:
        router = net.router(LOGIN)
        router.faults.inject("trap:failure: busy", match="/ip/firewall/connection/remove", times=1000)
        done = await net.site.do("suspend", ref(LOGIN))
        assert router.gets_out(LOGIN).lingers
        assert state_of(done)[0] == "set-not-enforced"
        (item,) = done["items"]
        assert "1 connection(s) of 100.64." in item["detail"]
        assert "carry on as before" in item["detail"]


async def test_an_accept_of_established_above_the_drop_saves_none(
    tmp_path: Path,
) -> None:
    """MikroTik's default configuration with the drop appended: refused before, since what was open carried on."""
    async with network(tmp_path) as net:
        router, menu = net.router(LOGIN), "/ip/firewall/filter"
        for row in router.rows(menu):
            router.remove(menu, row[".id"])
        router.add(menu, chain="forward", action="accept", connection_state="established,related")
        router.add(menu, chain="forward", action="drop", src_address_list="suspended")
        for row in router.rows("/ip/firewall/connection"):  # none that FastTrack took
            router.store.table("/ip/firewall/connection").get(row[".id"]).state["fasttrack"] = "false"
        assert router.gets_out(LOGIN).lingers
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        verdict = router.gets_out(LOGIN)
        assert (verdict.out, verdict.lingers) == (False, False)
        assert router.gets_out(OTHER).lingers
