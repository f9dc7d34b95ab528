"""Routers as people see them: the list, what is known of one, a look at one now; and what the agent does with it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from agent.changes.engine import item
from agent.changes.engine.perform import Patience
from agent.connectors.routeros import line
from lab.router.device import Router
from lab.tests.router.routers import logged_in
from tests.agent.connectors.routeros.readying import exported
from tests.e2e.files import HURRIED, PATIENT, Files, Waits
from tests.e2e.router_site import ELSEWHERE, LOGIN, ROUTERS, Ppp, ref, served, typed, until
from tests.e2e.site import PATIENCE, ApiRefusedError, check_log, open_site, state_of

READER = "reader-password-of-routers"
RULES = "/ip/firewall/filter"


def users(router: Router) -> None:
    """A user of its own for reading, and nothing that would be a finding."""
    router.add("/user/group", name="ispagents-read", policy="read,api")
    router.add("/user", name="ispagents-read", password=READER, group="ispagents-read")
    router.set("/ip/service", "api-ssl", address="127.0.0.1/32")
    router.set("/ip/service", "api", disabled="yes")
    router.set("/system/ntp/client", enabled="yes")


def reading_apart(files: Files) -> None:
    text = files.config.read_text(encoding="utf-8")
    for name in ROUTERS:
        more = f'read_user = "ispagents-read"\nread_secret = "routeros/{name}/read"\n'
        text = text.replace(f"[routeros.{name}]\n", f"[routeros.{name}]\n{more}", 1)
        files.secrets[f"routeros/{name}/read"] = READER
    files.config.write_text(text, encoding="utf-8")


@asynccontextmanager
async def network(
    folder: Path,
    change: Callable[[Router], None] = lambda _: None,
    waits: Waits = PATIENT,
    patience: Patience = PATIENCE,
) -> AsyncIterator[Ppp]:
    """Two routers and the agent, which has a user of its own for reading; `change` befalls edge-1 before it starts."""
    async with served(folder, Ppp, 2, ("7.20.8", "7.24"), waits) as net:
        for router in net.routers.values():
            users(router)
        change(net.routers["edge-1"])
        reading_apart(net.site.files)
        async with open_site(net.site.files, patience=patience) as site:
            yield replace(net, site=site)
            await check_log(site)


async def test_what_is_known_of_routers_and_a_look_at_one(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        fresh = await typed(net, "device", "list")
        assert [row.split()[0] for row in fresh.out.splitlines()] == ["NAME", *ROUTERS]
        assert fresh.out.count("not asked yet") == 2
        shown = await typed(net, "device", "show", "edge-1")
        assert "nothing was read of it since the agent started: ispagent device probe edge-1" in shown.out

        probed = await typed(net, "device", "probe", "edge-1")
        assert (probed.code, probed.err) == (0, "")
        assert "edge-1 · 127.0.0.1:" in probed.out
        assert "read user     ispagents-read (group ispagents-read): api, read\n" in probed.out
        assert "service user  ispagents (group ispagents): api, read, write\n" in probed.out
        assert probed.out.endswith("no findings\n\nnothing was written on it\n")
        assert net.routers["edge-1"].rows("/system/history") == []

        listed = json.loads((await typed(net, "device", "list", "--json")).out)
        assert [(d["name"], d["state"], d["version"]) for d in listed] == [
            ("edge-1", "reachable", "7.20.8"),
            ("edge-2", "not-asked", ""),
        ]
        assert listed[0]["findings"] == []
        assert listed[0]["age_s"] < 60
        status = await typed(net, "status")
        assert "devices  1 of 1 reachable, 1 not asked yet: ispagent device list\n" in status.out


async def test_the_probe_is_on_the_connection_that_changes_use(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await net.site.do("suspend", ref(LOGIN))
        online = sorted(row["name"] for row in net.routers["edge-1"].rows("/user/active"))
        assert online == ["ispagents", "ispagents-read"]
        await typed(net, "device", "probe", "routeros/edge-1")
        assert sorted(row["name"] for row in net.routers["edge-1"].rows("/user/active")) == online


async def test_findings_are_said_and_refuse_nothing(tmp_path: Path) -> None:
    def neglected(router: Router) -> None:
        router.set("/user/group", "ispagents", policy="read,write,api,reboot")
        router.set("/ip/service", "api", disabled="no")
        router.clock_off_s = 4000

    async with network(tmp_path, neglected) as net:
        probed = await typed(net, "device", "probe", "edge-1")
        assert probed.code == 0
        assert "3 FINDINGS\n" in probed.out
        assert (
            "! user ispagents (group ispagents) may more than it needs: reboot [service-policies-superfluous]"
            in probed.out
        )
        assert "[clock]" in probed.out
        assert "[api-plain]" in probed.out
        assert ", 1 with findings: ispagent device list" in (await typed(net, "status")).out
        assert state_of(await net.site.do("suspend", ref(LOGIN)))[0] == "applied"


async def test_a_router_that_is_away_is_said_in_one_place(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await typed(net, "device", "probe", "edge-1")
        net.routers["edge-1"].serial = "ANOTHER"
        probed = await typed(net, "device", "probe", "edge-1")
        assert probed.code == 1
        assert "edge-1 · 127.0.0.1:" in probed.out
        assert " · REFUSED · " in probed.out
        assert "another router answers" in probed.out
        assert "SERIAL-edge-1" in probed.out  # what was known of it
        assert "DEVICES  0 of 1 reachable, 1 not asked yet" in (await typed(net, "status")).out
        listed = await typed(net, "device", "list")
        assert listed.out.splitlines()[-1].startswith("edge-1: routeros/edge-1: another router answers")


async def test_there_is_no_such_router(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        for command in ("show", "probe"):
            said = await typed(net, "device", command, "edge-9")
            assert said.code == 2
            assert "there is no device 'edge-9'; configured: edge-1, edge-2" in said.err


async def test_an_unknown_release_has_service_changes_and_says_so(tmp_path: Path) -> None:
    def upgraded(router: Router) -> None:
        router.version = "7.26"

    async with network(tmp_path, upgraded) as net:
        asked = await net.site.ask("suspend", ref(LOGIN))
        shown = await typed(net, "change", "show", asked["id"])
        told = " ".join(shown.out.split())
        assert "routeros/edge-1: RouterOS 7.26 is not known here (its menus are read as those of 7.24)" in told
        assert state_of(await net.site.apply(asked))[0] == "applied"
        assert not net.gets_out(LOGIN)
        other = await typed(net, "change", "show", (await net.site.ask("suspend", ref(ELSEWHERE)))["id"])
        assert "RouterOS 7.26" not in other.out


async def test_a_user_who_may_not_write_is_told_before_a_write(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        net.routers["edge-1"].set("/user/group", "ispagents", policy="read,api")
        await typed(net, "device", "probe", "edge-1")
        asked = await net.site.ask("suspend", ref(LOGIN))
        shown = await typed(net, "change", "show", asked["id"])
        assert "lacks policy write" in shown.out
        done = await net.site.apply(asked)
        assert state_of(done) == ("not-applied", "missing-policy")
        assert net.row(LOGIN)["profile"] == "home20"
        assert net.gets_out(LOGIN)
        assert net.routers["edge-1"].rows("/system/history") == []


async def test_a_busy_router_is_spared_until_its_cpu_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item, "SPARE_S", 0.1)
    monkeypatch.setattr(line, "SPARED_S", 0.0)
    async with network(tmp_path) as net:
        router = net.routers["edge-1"]
        router.cpu_load = 97
        asked = await net.site.ask("suspend", ref(LOGIN))
        await net.site.approve(asked, "joseph")
        seen: list[object] = []
        router.faults.inject("drift", match="/system/resource/print", times=3, drift=seen.append)
        with trio.fail_after(60):
            while len(seen) < 3:  # noqa: ASYNC110  the lab's router tells nobody
                await trio.sleep(0.02)
        assert net.row(LOGIN)["profile"] == "home20"
        assert net.gets_out(LOGIN)
        probed = await typed(net, "device", "probe", "edge-1")  # reads are not held
        assert "! CPU at 97 %: changes wait while it is 80 % or more [cpu]" in probed.out
        router.cpu_load = 20
        assert state_of(await net.site.wait_end(asked))[0] == "applied"
        assert not net.gets_out(LOGIN)


@pytest.mark.slow
async def test_a_change_says_that_it_waits_for_a_colleagues_safe_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item, "SPARE_S", 0.1)
    monkeypatch.setattr(item, "SPARE_MAX_S", 0.2)
    monkeypatch.setattr(line, "SPARED_S", 0.0)
    async with network(tmp_path) as net:
        router = net.routers["edge-1"]
        router.add("/user", name="joe", password="of-joe", group="full")
        joe = logged_in(router, "joe", "of-joe")
        joe.ask("/safe-mode/take")
        joe.ask("/ip/firewall/address-list/add", "=list=office", "=address=198.51.100.7")
        asked = await net.site.ask("suspend", ref(LOGIN))
        await net.site.approve(asked, "joseph")
        told = ""
        with trio.fail_after(60):
            while "safe mode" not in told:
                told = str((await net.site.show(asked["id"]))["waits_because"])
                await trio.sleep(0.05)
        assert re.match(r"waits since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: routeros/edge-1: a safe mode is open ", told)
        assert "(changes by joe): changes wait until it is released, since it would undo them" in told
        shown = await typed(net, "change", "show", asked["id"])
        assert told in shown.out
        assert net.gets_out(LOGIN)
        joe.ask("/safe-mode/release")
        done = await net.site.wait_end(asked)
        assert (state_of(done)[0], done["waits_because"]) == ("applied", "")
        assert not net.gets_out(LOGIN)


async def test_a_wrong_password_is_one_line_in_the_routers_log(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        tried: list[str] = []
        password = Router.password

        def counting(router: Router, name: str) -> str:
            tried.append(name)
            return password(router, name)

        net.routers["edge-1"].password = partial(counting, net.routers["edge-1"])  # type: ignore[method-assign]  # counts
        await net.site.set_secret("routeros/edge-1/read", "not-the-password")
        for _ in range(4):
            with pytest.raises(ApiRefusedError, match="invalid user name or password"):
                await net.site.ask("suspend", ref(LOGIN))
        assert tried == ["ispagents-read"]
        await net.site.set_secret("routeros/edge-1/read", READER)
        asked = await net.site.ask("suspend", ref(LOGIN))
        assert asked["state"] == "waiting for approval"


@pytest.mark.slow
async def test_whether_a_suspension_would_be_kept_is_told_beforehand(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        every = await typed(net, "device", "ready", "-o", "wide")
        assert every.code == 0, every.err
        assert every.out.endswith("nothing was written\n")
        rows = [row.split() for row in every.out.splitlines()[1:] if "READY" in row]
        assert {row[0] for row in rows} == set(ROUTERS)
        assert "drops list suspended" in every.out

        rules = net.routers["edge-2"].rows("/ip/firewall/filter")
        (drop,) = [row for row in rules if row.get("action") == "drop"]
        net.routers["edge-2"].remove("/ip/firewall/filter", drop[".id"])
        said = await typed(net, "device", "ready")
        assert said.code == 3
        assert "[list-without-rule]\n" in said.out
        assert "edge-2 edge-2: > ask for what is missing (2 rows: list suspended (IPv4) is dropped, above" in said.out
        found = await net.site.call("GET", "/v1/readiness")
        assert {one["device"]: one["state"] for one in found} == {"edge-1": "kept", "edge-2": "refused"}

        net.routers["edge-1"].serial = "ANOTHER"
        await net.site.call("POST", "/v1/devices/edge-1/probe", {})
        away = await typed(net, "device", "ready", "edge-1")
        assert away.code == 1
        assert "another router answers" in away.out
        assert net.routers["edge-1"].rows("/system/history") == []


@pytest.mark.slow
async def test_a_router_is_prepared_as_a_change_and_taken_back(tmp_path: Path) -> None:
    def bare(router: Router) -> None:
        """FastTrack, and neither a drop nor a profile of the suspended."""
        for row in router.rows(RULES):
            if row.get("action") != "fasttrack-connection":
                router.remove(RULES, row[".id"])
        (profile,) = [row for row in router.rows("/ppp/profile") if row["name"] == "suspended"]
        router.remove("/ppp/profile", profile[".id"])
        router.add("/ip/firewall/address-list", list="suspended", address="198.18.7.9")

    async with network(tmp_path, bare) as net:
        router = net.routers["edge-1"]
        before = exported(router)
        unready = await typed(net, "device", "ready", "edge-1")
        assert unready.code == 3
        assert "edge-1 edge-1: > ask for what is missing (3 rows: profile suspended with list suspended" in unready.out
        assert "): ispagent device prepare edge-1\n" in unready.out
        with pytest.raises(ApiRefusedError, match="has no PPP profile suspended"):
            await net.site.ask("suspend", ref(LOGIN))

        said = await typed(net, "device", "prepare", "edge-1", "--garden", "198.51.100.80", "--hold")
        assert said.code == 0, said.err
        assert "PREPARE-DEVICE 1 device" in said.out
        assert "list suspended (IPv4) has 1 member now: they are cut off at once" in " ".join(said.out.split())
        row = 'chain=forward action=drop src-address-list=suspended comment="ispagents: drop suspended" above="action='
        assert f"+ routeros/edge-1/ip/rule/ispagents: drop suspended is new: {row}" in said.out
        assert "\nGUARD  none: no confirmed commit, RouterOS has none for the API" in said.out
        assert "list suspended (IPv4) is dropped but for 198.51.100.80, above rule 0" in " ".join(said.out.split())
        assert exported(router) == before
        (listed,) = [c for c in await net.site.call("GET", "/v1/changes") if c["action"] == "prepare-device"]
        asked = await net.site.show(listed["id"])
        assert asked["class"] == "config"
        await net.site.approve(asked, "joseph")
        assert exported(router) == before
        await net.site.approve(asked, "lena")
        await net.site.call("POST", f"/v1/changes/{asked['id']}/apply", {})
        done = await net.site.wait_end(asked)
        assert [item["state"] for item in done["items"]] == ["applied"], done["items"]
        ours = [line for line in exported(router) if line not in before]
        assert len(ours) == 5
        assert all("ispagents: " in line for line in ours)
        assert [line for line in exported(router) if line not in ours] == before
        shown = (await typed(net, "change", "show", asked["id"])).out
        assert "\ndone: each row was read back\n" in shown
        assert "\nrow       applied, read back, equal · ip/rule/ispagents: drop suspended\n" in shown

        (ready,) = await net.site.call("GET", "/v1/readiness?device=edge-1")
        assert (ready["state"], ready["prepare"]) == ("kept", "")
        with pytest.raises(
            ApiRefusedError, match="router edge-1: nothing is missing: it has the profile, lists and rules"
        ):
            await net.site.ask("prepare-device", "edge-1")
        assert router.gets_out(LOGIN).fasttracked
        assert state_of(await net.site.do("suspend", ref(LOGIN)))[0] == "applied"
        assert not net.gets_out(LOGIN)
        assert not router.gets_out(LOGIN).lingers  # our accept of the answers to it is no garden
        with pytest.raises(ApiRefusedError, match=f"router edge-1: {ref(LOGIN)} is suspended there: restore it first"):
            await net.site.ask("revert", change=asked["id"])
        await net.site.do("restore", ref(LOGIN))
        (drop,) = [row for row in router.rows(RULES) if row.get("comment") == "ispagents: drop suspended"]
        router.set(RULES, drop[".id"], disabled="yes")  # by a colleague: both commands tell the same of it
        told = (await typed(net, "device", "ready", "edge-1")).out
        why = "'ispagents: drop suspended': disabled is true, expected it not to be set. By hand: put that right on"
        assert "edge-1 edge-1: > device prepare edge-1 would be refused: somebody changed the agent's rules of" in told
        assert why in told
        with pytest.raises(ApiRefusedError, match=re.escape(why)):
            await net.site.ask("prepare-device", "edge-1")
        router.set(RULES, drop[".id"], disabled="no")
        with pytest.raises(ApiRefusedError, match="has 1 members, whom the rule keeps in"):
            await net.site.ask("revert", change=asked["id"])
        (entry,) = router.rows("/ip/firewall/address-list")[:1]
        router.remove("/ip/firewall/address-list", entry[".id"])
        before = [line for line in before if "198.18.7.9" not in line]

        back = await net.site.ask("revert", change=asked["id"])
        assert back["class"] == "config"
        assert [i["state"] for i in (await net.site.apply(back, "joseph", "lena"))["items"]] == ["applied"]
        assert exported(router) == before
        with pytest.raises(ApiRefusedError, match="there is no router edge-9; configured: edge-1, edge-2"):
            await net.site.ask("prepare-device", "edge-9")


@pytest.mark.slow
async def test_e12_begun_preparation_waits_for_colleagues_safe_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row that is written meanwhile would be undone with his changes: no patience ends the wait, nor a half."""
    monkeypatch.setattr(item, "PAUSE_MAX_S", 0.0)  # a service's change goes on at once
    monkeypatch.setattr(item, "SPARE_S", 0.1)
    monkeypatch.setattr(item, "SPARE_MAX_S", 0.2)
    monkeypatch.setattr(line, "SPARED_S", 0.0)

    def bare(router: Router) -> None:
        for row in router.rows(RULES):
            router.remove(RULES, row[".id"])

    async with network(tmp_path, bare) as net:
        router = net.routers["edge-1"]
        before = exported(router)
        joe = logged_in(router)
        asked = await net.site.ask("prepare-device", "edge-1", settings={"garden": "198.51.100.80"})
        joe_opens = "/ip/firewall/address-list/add"  # the first row of ours is written into it
        router.faults.inject("drift", match=joe_opens, times=1, drift=lambda _: joe.ask("/safe-mode/take"))
        for person in ("joseph", "lena"):
            await net.site.approve(asked, person)
        told = ""
        with trio.fail_after(60):
            while "safe mode" not in told:
                change = await net.site.show(asked["id"])
                assert {one["state"] for one in change["items"]} <= {"planned", "running"}, change["items"]
                told = str(change["waits_because"])
                await trio.sleep(0.05)
        assert "a safe mode is open" in told
        assert len([one for one in exported(router) if one not in before]) == 1, "the garden's entry; no rule"
        other = await net.site.ask("prepare-device", "edge-1", settings={"list": "held"})
        assert "a safe mode is open" in (await typed(net, "change", "show", other["id"])).out
        joe.ask("/safe-mode/release")
        done = await net.site.wait_end(asked)
        assert [one["state"] for one in done["items"]] == ["applied"], done["items"]
        assert len([one for one in exported(router) if one not in before]) > 1


@pytest.mark.slow
async def test_a_half_done_preparation_is_taken_back_by_a_revert(tmp_path: Path) -> None:
    def bare(router: Router) -> None:
        for row in router.rows(RULES):
            router.remove(RULES, row[".id"])

    async with network(tmp_path, bare) as net:
        router = net.routers["edge-1"]
        before = exported(router)
        asked = await net.site.ask("prepare-device", "edge-1", settings={"garden": "198.51.100.80"})
        router.faults.inject("trap:not enough permissions (9)", match=f"{RULES}/add", times=100)
        done = await net.site.apply(asked, "joseph", "lena")
        stood = [line for line in exported(router) if line not in before]
        assert len(stood) == 1, stood  # the garden's entry; no rule
        assert done["exit"] != 0
        router.faults.clear()
        back = await net.site.apply(await net.site.ask("revert", change=done["id"]), "joseph", "lena")
        assert [item["state"] for item in back["items"]] == ["applied"]
        assert exported(router) == before


@pytest.mark.slow
async def test_what_needs_person_after_reboot_is_taken_back_by_revert(tmp_path: Path) -> None:
    """Writes that stand although nothing was recorded of them are in the revert; it once left them out in silence."""
    async with network(tmp_path, waits=HURRIED, patience=replace(PATIENCE, reread_s=4.0)) as net:
        router = net.routers["edge-2"]
        router.down_s = 8
        router.faults.inject("drift", match="/ppp/active/remove", times=1, drift=lambda _: router.reboot())
        logins = [f"user{n}@edge-{edge}" for edge in (1, 2) for n in (0, 1)]
        done = await net.site.apply(await net.site.ask("suspend", *map(ref, logins)), "joseph")
        states = [item["state"] for item in done["items"]]
        assert "needs-a-person" in states, states
        router.down_s = 0
        await until(lambda: len(router.rows("/ppp/active")) > 0)
        await typed(net, "device", "probe", "edge-2")
        stood = [login for login in logins if net.row(login)["profile"] == "suspended"]
        back = await net.site.ask("revert", change=done["id"])
        assert len(back["items"]) == len(stood)
        assert (await net.site.apply(back, "joseph"))["exit"] == 0
        assert {net.row(login)["profile"] for login in logins} == {"home20"}
