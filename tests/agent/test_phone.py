"""What the person on the phone types: finding somebody, and what the agent then says of them."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.subscriber_page import page
from agent.config import AgentConfig
from agent.connectors.base import AddressHolder, Enforced, Judgment, NetworkState
from agent.connectors.spec import AccessMap
from agent.model import Address, Seen, Service
from agent.reasons import ProofReason
from agent.services.holders import Holders
from tests.builders.agent import Agent, agent_in, chain_time, refused
from tests.builders.people import plan_of
from tests.builders.subscribers import bring_csv
from tests.builders.terminal import Terminal
from tests.builders.world import FakeConnector, FakeMethod, World
from trust import proof
from trust.statements import Decision, Saw, SeenHeads

DIRTY = """subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of,phone,mac
C-1,Амина Хасан,home,u0,fake,20M,,0,34.00,2025-10-03,,{now},+254 712 345 678,4C-5E-0C-AA-BB-01
C-2,João Silva,home,u1,fake,20M,,0,12.50,2025-10-03,,{now},0712 999 000,4c5e.0caa.bb02
C-2,João Silva,shop,u2,fake,20M,,0,,,,,,
C-3,Clinic,home,u3,fake,20M,hospital,0,99.00,2025-10-03,,{now},,
T-7,imported wrongly,home,u0,fake,20M,,0,,,,,,
"""


@pytest.fixture(autouse=True)
def access(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration declares the access method, so that shared logins are seen."""
    methods = (AccessMap("fake", "fake/d", frozenset({"20M"})),)
    monkeypatch.setattr(AgentConfig, "access", property(lambda _: methods))


@asynccontextmanager
async def desk(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    """A terminal of an agent that has the dirty list beside the clean one."""
    async with agent_in(folder, world) as agent:
        csv = DIRTY.format(now=chain_time().decode()).encode()
        await bring_csv(agent, csv)
        yield Terminal(agent, monkeypatch)


async def test_find(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        said = await at.type("subscriber", "find", "ХАСАН")
        assert said.code == 0
        assert said.lines == [
            "C-1/home             Амина Хасан                  20M            u0",
            "  phone +254 712 345 678 · mac 4C-5E-0C-AA-BB-01",
        ]
        assert "C-2/home" in (await at.type("subscriber", "find", "4c:5e:0c:aa:bb:02")).out
        assert "C-2/home" in (await at.type("subscriber", "find", "0712", "999000")).out
        shared = await at.type("subscriber", "find", "u0")
        assert [line.split()[0] for line in shared.lines if line[0] != " "] == ["C-1/home", "T-7/home"]
        near = await at.type("subscriber", "find", "Silfa")
        assert near.lines[0] == "nothing is called Silfa; near it:"
        some = await at.type("subscriber", "find", "home", "--limit", "2")
        assert some.lines[-1] == "… and 3 more: add a word, or --limit 5"
        nobody = await at.type("subscriber", "find", "Zzyzx")
        assert (nobody.code, nobody.err) == (
            1,
            "nothing is known under Zzyzx: a shorter part of the name may fit\n",
        )
        found = json.loads((await at.type("subscriber", "find", "хасан", "--json")).out)
        assert (found["total"], found["near"], found["services"][0]["ref"]) == (1, False, "C-1/home")
        assert all(len(line) <= 100 for line in [*said.lines, *some.lines])


# --- who did what -----------------------------------------------------------------------------------------------------


async def done(at: Terminal, action: str, *refs: str, who: str = "joseph", **more: object) -> str:
    """Carry a change out; return its id."""
    change = await at.agent.ask(action, *refs, **more)
    assert (await at.agent.approve(change, who))["accepted"]
    await at.agent.end(change)
    return str(change["id"])


async def test_changes_are_found_by_whose_when_and_what(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    first = await done(at, "suspend", "C-1", "C-2/home")
    second = await done(at, "restore", "C-1", on_failure="continue")
    waiting = (await agent.ask("suspend", "C-1"))["id"]

    async def ids(*args: str) -> list[str]:
        said = await at.type("change", "list", *args)
        assert said.code == 0, said.err
        assert all(len(line) <= 100 for line in said.lines)
        return [line.split()[0] for line in said.lines if line[0] != " "]

    assert await ids() == [waiting, second, first]
    assert await ids("--limit", "2") == [waiting, second]
    assert await ids("--state", "done") == [second, first]
    assert await ids("--state", "open") == [waiting]
    assert await ids("--mine") == await ids("--by", "maria") == [waiting, second, first]
    assert await ids("--for", "u1") == [first]  # a login
    assert await ids("--for", "c-2/HOME", "--since", "1h") == [first]
    assert await ids("--until", "yesterday") == ["no"]  # no change fits
    assert await ids("--since", "2099-01-01") == ["no"]
    assert await ids("--by", "lena") == ["no"]
    mine = await at.type("change", "list", "--for", "C-2", "--json")
    assert [(i["service"], i["state"]) for i in json.loads(mine.out)[0]["items"]] == [("C-2/home", "applied")]
    wrong = await at.type("change", "list", "--state", "gone")
    assert (wrong.code, wrong.err.partition(",")[0]) == (2, "state: expected waiting-for-approval")
    nobody = await at.type("change", "list", "--for", "C-9")
    assert nobody.code == 2
    told = "there is no subscriber, service, login or MAC address"
    assert nobody.err == f"{told} C-9: ispagent subscriber find C-9\n"
    near = await at.type("change", "list", "--for", "Sylva")
    assert near.err == f"{told} Sylva (did you mean C-2/home?)\n"


async def test_after_the_end_every_item_says_its_result(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.faults["u1"] = ["refused"]
    async with agent_in(tmp_path, world) as agent:
        at = Terminal(agent, monkeypatch)
        change = await agent.ask("suspend", "C-1", "C-2/home", "C-3", "C-4", on_failure="continue")
        before = (await at.type("change", "show", change["id"], "--list")).out
        assert before.count("would change") == 2
        await agent.approve(change, "joseph")
        await agent.end(change)
        after = (await at.type("change", "show", change["id"], "--list")).lines
        assert not [line for line in after if "would change" in line]
        results = {line.partition(": ")[0]: line.partition(": ")[2] for line in after if line.startswith("C-")}
        assert results["C-1/home"].startswith("enforced now · ")
        assert results["C-2/home"].startswith("NOT APPLIED · ")
        assert results["C-3/home"].startswith("left out: ")
        never = await agent.ask("restore", "C-1", on_failure="continue")
        assert (await agent.approve(never, "joseph", decision=Decision.REJECT))["accepted"]
        listed = (await at.type("change", "show", never["id"], "--list")).out
        assert "C-1/home: nothing was sent, the change is rejected" in listed


async def test_the_log_of_one_customer(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    change = await done(at, "suspend", "C-1", "C-2/home")
    other = await done(at, "restore", "C-2/home", on_failure="continue", who="lena")
    said = await at.type("audit", "list", "--for", "C-1", "--newest")
    kinds = [line[28:].split()[0] for line in said.lines]
    assert kinds[0] == "change-finished"
    assert [line for line in said.lines if " asked by maria: suspend" in line]
    assert [line for line in said.lines if " approval by joseph" in line]
    assert {line.split()[1] for line in said.lines} == {change}
    assert not [line for line in said.lines if " item 2 " in line], "that item is somebody else's"
    numbers = [int(line.split()[0]) for line in said.lines]
    assert numbers == sorted(numbers, reverse=True)
    oldest = await at.type("audit", "list", "--for", "C-1")
    assert [int(line.split()[0]) for line in oldest.lines] == sorted(numbers)

    by_lena = await at.type("audit", "list", "--by", "lena")
    assert [(line.split()[1], "approval by lena" in line) for line in by_lena.lines] == [(other, True)]
    imported = await at.type("audit", "list", "--by", "maria", "--limit", "1")
    assert "imported by maria" in imported.out
    assert (await at.type("audit", "list", "--for", "C-1", "--until", "yesterday")).lines == []
    assert (await at.type("audit", "list", "--for", "C-1", "--since", "2099-01-01")).lines == []
    nobody = await at.type("audit", "list", "--for", "C-9")
    assert (nobody.code, nobody.err.partition(" C-9")[0]) == (
        2,
        "there is no subscriber, service, login or MAC address",
    )
    few = await at.type("audit", "list", "--newest", "--limit", "3", "--json")
    found = json.loads(few.out)
    assert (len(found), found[0]["kind"]) == (3, "change-finished")


# --- what one person did alone ----------------------------------------------------------------------------------------


async def verified(agent: Agent, change: str) -> list[str]:
    """Return what the offline verifier says of a change's export, once it verifies."""
    file = (await agent.call("POST", f"/v1/audit/export/{change}", {}))["file"]
    report = proof.verify_export_untrusted(file.encode(), head=agent.head)
    assert report.ok, report.lines
    return [line.text for line in report.lines]


async def test_a_review_is_listed_and_closed_by_somebody_else(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Terminal(agent, monkeypatch)
    await done(at, "suspend", "C-1")
    assert (await at.type("review", "list")).out == "no review is open\n"
    change = await agent.ask("restore", "C-1", alone=True, on_failure="continue")
    assert (await agent.approve(change, "maria"))["accepted"]
    await agent.end(change)

    listed = await at.type("review", "list")
    assert listed.lines[0].startswith(f"{change['id']} ")
    assert "restore debt    by maria      done · 1 applied" in listed.lines[0]
    assert "REVIEW   1 done by one person alone, the oldest " in (await at.type("status")).out

    minute = int(time.time()) // 60 + 2
    later = {"not_before": minute}
    own = await agent.approve(change, "maria", **later)
    assert (own["accepted"], own["reason"]) == (False, "requester-approves")
    early = await agent.approve(change, "joseph", not_before=minute - 10)
    assert (early["accepted"], early["reason"]) == (False, "not-yet-valid")
    blind = await agent.approve(change, "joseph", saw=Saw.SUMMARY, **later)
    assert (blind["accepted"], blind["reason"]) == (False, "summary-only")
    assert len((await at.type("review", "list")).lines) == 2

    seen = SeenHeads(1, agent.head)
    file = tmp_path / "review.json"
    file.write_bytes(agent.people.approve(plan_of(change), "joseph", seen=seen, **later))
    closed = await at.type("review", "close", change["id"], "--file", str(file))
    assert (closed.code, "review closed by joseph: in order" in closed.out) == (0, True)
    assert (await at.type("review", "list")).out == "no review is open\n"
    assert "in order, says joseph" in (await at.type("review", "list", "--all")).out
    assert "REVIEW" not in (await at.type("status")).out
    again = await agent.approve(change, "lena", **later)
    assert (again["accepted"], again["reason"]) == (False, "consumed")
    assert "review-closed by joseph" in (await at.type("audit", "list", "--change", change["id"])).out
    reviewed = "one person did it alone; joseph reviewed it afterwards: in order"
    assert reviewed in await verified(agent, change["id"])
    assert (await agent.call("GET", "/v1/audit/verify"))["leaves"] > 10


async def test_a_review_may_object(agent: Agent, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    await done(at, "suspend", "C-1")
    change = await agent.ask("restore", "C-1", alone=True, on_failure="continue")
    await agent.approve(change, "maria")
    await agent.end(change)
    minute = int(time.time()) // 60 + 2
    said = await agent.approve(change, "lena", decision=Decision.REJECT, not_before=minute)
    assert (said["accepted"], said["message"]) == (True, "review closed by lena: NOT IN ORDER")
    assert world.values[world.user("u0")] == {"plan": "20M"}, "a review changes nothing"
    told = await verified(agent, change["id"])
    assert "one person did it alone; lena reviewed it afterwards: NOT IN ORDER" in told
    assert "when it was consumed: approved by maria" in told


# --- the report -------------------------------------------------------------------------------------------------------


async def test_the_report_adds_up(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.faults["u1"] = ["refused"]
    world.add("u0", online=True)
    async with agent_in(tmp_path, world) as agent:
        at = Terminal(agent, monkeypatch)
        assert (await at.type("report")).out == "nothing was suspended or restored in that time\n"
        await done(at, "suspend", "C-1", "C-2/home", "C-3", on_failure="continue")
        await done(at, "restore", "C-1", on_failure="continue")
        await agent.ask("suspend", "C-1")
        found = json.loads((await at.type("report", "--json")).out)
        (row,) = found["rows"]
        assert row["tariff"] == "20M"
        counts = {column: row[column] for column in found["columns"] if row[column]}
        assert counts == {"suspended": 1, "restored": 1, "failed": 1, "pending": 1, "nothing_sent": 1}
        csv = (await at.type("report", "--csv", "--by", "tariff")).lines
        assert csv[0] == (
            "tariff,suspended,restored,at_next_login,recorded,stays_rejected,failed,cannot_enforce,pending,taken_back,"
            "nothing_sent"
        )
        assert csv[1:] == ["20M,1,1,0,0,0,1,0,1,0,1"]
        table = (await at.type("report")).lines
        assert table[0].split() == ["day", "tariff", "suspended", "restored", "failed", "pending", "nothing", "sent"]
        assert table[-1].split() == ["all", "1", "1", "1", "1", "1"]
        assert max(map(len, table)) <= 80
        assert (await at.type("report", "--until", "yesterday")).out.startswith("nothing was suspended")
        assert (await at.type("report", "--csv", "--json")).code == 2
        assert (await at.type("report", "--by", "nas")).err == "by: expected day or tariff, got nas\n"


async def test_the_report_calls_nobody_restored_who_stays_suspended(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staff took the marker of two reasons away; lifting one of them suspends again."""
    world.add("u0", online=True)
    async with agent_in(tmp_path, world) as agent:
        at = Terminal(agent, monkeypatch)
        await done(at, "suspend", "C-1")
        await done(at, "suspend", "C-1", reason="abuse")
        world.values[world.user("u0")] = {"plan": "20M"}
        await done(at, "restore", "C-1", on_failure="continue")
        assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}
        (row,) = json.loads((await at.type("report", "--json")).out)["rows"]
        assert (row["suspended"], row["restored"], row["recorded"]) == (1, 0, 2)


async def test_the_report_restores_nobody_who_stays_rejected(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, "the login stays rejected: disabled by staff")
    monkeypatch.setattr(FakeMethod, "judge", lambda *_: judged)
    async with agent_in(tmp_path, world) as agent:
        at = Terminal(agent, monkeypatch)
        await done(at, "suspend", "C-1")
        await done(at, "restore", "C-1", on_failure="continue")
        (row,) = json.loads((await at.type("report", "--json")).out)["rows"]
        counts = {name: n for name, n in row.items() if n and name not in ("day", "tariff")}
        assert counts == {"stays_rejected": 2}


# --- one number, several services -------------------------------------------------------------------------------------


async def test_all_services_of_a_subscriber(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        file = tmp_path / "overdue.txt"
        file.write_text("C-2\nC-99\nu0\nC-4  # paid\n")
        said = await at.type("change", "suspend", "--reason", "abuse", "--file", str(file))
        assert (said.code, said.out) == (2, "")
        assert said.err.splitlines() == [
            "C-2: 2 services: name one of C-2/home, C-2/shop, or take all with --all-services",
            "C-99: no such service: ispagent subscriber find C-99",
            "u0: 2 services: name one of C-1/home, T-7/home",
        ]
        every = await at.type("change", "suspend", "--reason", "abuse", "--file", str(file), "--all-services")
        assert every.err.splitlines() == [
            "C-99: no such service: ispagent subscriber find C-99",
            "u0: 2 services: name one of C-1/home, T-7/home",
        ], "a login that several claim does not say whose they are"
        file.write_text("C-2\nC-4\n")
        taken = await at.type("change", "suspend", "--reason", "abuse", "--file", str(file), "--all-services", "--json")
        assert [i["service"] for i in json.loads(taken.out)["items"]] == ["C-2/home", "C-2/shop", "C-4/home"]
        by_mac = await at.type("change", "suspend", "--reason", "abuse", "4C5E0CAABB02", "--json")
        assert [i["service"] for i in json.loads(by_mac.out)["items"]] == ["C-2/home"]
        left = await at.type(
            "change", "suspend", "--reason", "abuse", "--on-tariff", "20M", "--exclude", "C-2", "--all-services",
            "--json",
        )  # fmt: skip
        assert not [i for i in json.loads(left.out)["items"] if i["service"].startswith("C-2/")]


# --- a customer's page ------------------------------------------------------------------------------------------------


async def test_a_session_that_may_be_over_is_said_to_be_so(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndAskedFor(FakeMethod):
        def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
            state = super().network_state(service, seen)
            return replace(state, sessions=tuple(replace(s, unsure="its end was asked for") for s in state.sessions))

    connector = FakeConnector(world)
    connector.access_methods = {"fake": EndAskedFor()}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        said = await Terminal(agent, monkeypatch).type("subscriber", "show", "u1")
        (now,) = [line[14:] for line in said.lines if line[2:14].strip() == "now"]
        assert now == "online on bng · sid 1 · policy not told · by fake · may be over: its end was asked for"


async def test_a_customers_page(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    change = await done(at, "suspend", "C-2/home")
    said = await at.type("subscriber", "show", "u1")  # a login, as `change suspend` takes it
    assert said.code == 0
    rows = {line[2:14].strip(): line[14:] for line in said.lines if line.startswith("  ") and line[14:]}
    assert said.lines[0] == "C-2/home  Joao Silva · 20M · login u1 · fake"
    assert rows["now"] == "online on bng · sid 2 · policy not told · by fake"
    assert rows["next login"] == "SUSPENDED · tariff 20M"
    assert rows["recorded"].startswith("suspended for debt since ")
    assert rows["recorded"].endswith(f" by change {change}, asked by maria, approved by joseph")
    assert "DIFFERS" not in rows
    assert rows["billing"].startswith("12.50 due 2025-10-03")
    assert said.lines[-3] == "last changes"
    assert said.lines[-2].startswith(f"  {change}")
    assert said.lines[-2].endswith("suspend debt · asked by maria, approved by joseph · done")
    assert said.lines[-1] == "         C-2/home: enforced now · The device shows it"
    assert (await at.type("subscriber", "show", "U1")).lines == said.lines
    both = await at.type("subscriber", "show", "C-2")
    assert [line.split()[0] for line in both.lines if line.startswith("C-2/")] == ["C-2/home", "C-2/shop"]
    assert all(len(line) <= 100 for line in both.lines)


async def test_the_page_never_gives_memory_for_the_network(
    agent: Agent, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Terminal(agent, monkeypatch)
    await done(at, "suspend", "C-2/home", "C-1")
    world.values[world.user("u1")] = {"plan": "20M"}  # staff took the mark away by hand
    del world.sessions["u1"]
    world.values[world.user("u0")] = {"plan": "20M", "suspended": "yes", "rejected": "disabled by staff"}
    del world.values[world.user("u2")]
    by_hand = (await at.type("subscriber", "show", "C-2/home")).out
    assert "now         offline: no session by the router's own list" in by_hand
    assert "next login  active · tariff 20M" in by_hand
    assert "recorded    suspended for debt" in by_hand
    assert "DIFFERS     the next login would be active, and suspended is recorded: ispagent drift" in by_hand
    assert "next login  REJECTED: disabled by staff" in (await at.type("subscriber", "show", "C-1")).out
    gone = (await at.type("subscriber", "show", "C-2/shop")).out
    assert "next login  no such login" in gone

    world.dead.add("fake/d")
    dead = (await at.type("subscriber", "show", "C-2/home")).out
    assert "network     NOT CHECKED: fake/d is dead" in dead
    assert "next login" not in dead
    assert "DIFFERS" not in dead
    assert "recorded    suspended for debt" in dead
    assert "network     not asked" in (await at.type("subscriber", "show", "C-2/home", "--no-network")).out
    shown = json.loads((await at.type("subscriber", "show", "C-2/home", "--json")).out)
    assert shown["services"][0]["network"] == {"checked": False, "why": "fake/d is dead"}


async def test_the_page_of_a_shared_login_shows_both(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        said = (await at.type("subscriber", "show", "u0")).lines
        assert [line.split()[0] for line in said if line[0:1] in ("C", "T")] == ["C-1/home", "T-7/home"]
        by_mac = (await at.type("subscriber", "show", "4c5e.0caa.bb01")).lines
        assert by_mac[0].startswith("C-1/home")
        assert by_mac[1] == "              phone +254 712 345 678 · mac 4C-5E-0C-AA-BB-01"


async def test_the_whole_history(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Terminal(agent, monkeypatch)
    ids = [(await agent.ask("suspend", "C-2/home", reason="abuse"))["id"] for _ in range(7)]
    few = (await at.type("subscriber", "show", "C-2/home", "--no-network")).lines
    every = (await at.type("subscriber", "show", "C-2/home", "--no-network", "--history")).lines
    assert [line.split()[0] for line in few if "asked by" in line] == ids[:1:-1]
    assert [line.split()[0] for line in every if "asked by" in line] == ids[::-1]


# --- removed, and called otherwise ------------------------------------------------------------------------------------


async def test_wrong_line_that_shares_login_is_removed_and_put_back(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        agent = at.agent
        before = await agent.call("GET", "/v1/subscribers")
        assert "whose it is, nobody can say" in str(await refused(agent.ask("suspend", "C-1")))
        said = await at.type("subscriber", "remove", "T-7")
        assert said.code == 0, said.err
        assert "RECORD - inventory T-7/home as a whole" in said.out
        assert "its login u0 stays in the network as it is and is then C-1/home's" in " ".join(said.out.split())
        change = (await agent.call("GET", "/v1/changes"))[0]
        shown = await agent.call("GET", f"/v1/changes/{change['id']}")
        assert (await agent.approve(shown, "joseph"))["accepted"]
        ended = await agent.end(shown)
        assert [(i["state"], i["reason"]) for i in ended["items"]] == [("applied", "recorded")]
        assert "T-7" not in {s["subscriber"] for s in await agent.call("GET", "/v1/subscribers")}
        assert "T-7" not in (await at.type("subscriber", "find", "u0")).out
        assert world.writes == [], "nothing was sent"

        await done(at, "suspend", "C-1")  # the good customer is not in anybody's way any more
        page = await at.type("subscriber", "show", "T-7/home")
        assert page.lines[0] == "T-7/home is not in the inventory any more"
        assert f"  {change['id']}" in page.out

        back = await agent.ask("revert", change=change["id"], on_failure="continue")
        item = json.loads(back["documents"][1])
        assert "its login is also that of C-1/home" in item["display"]["why"]
        await agent.approve(back, "lena")
        assert [i["state"] for i in (await agent.end(back))["items"]] == ["applied"]
        after = {s["ref"]: s for s in await agent.call("GET", "/v1/subscribers")}
        assert after["T-7/home"] == next(s for s in before if s["ref"] == "T-7/home")
        assert "T-7" in (await at.type("subscriber", "find", "wrongly")).out
        again = await refused(agent.ask("revert", change=change["id"], on_failure="continue"))
        assert "it is in the inventory again" in str(again)


async def test_what_is_suspended_or_has_an_open_change_is_not_removed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Terminal(agent, monkeypatch)
    await done(at, "suspend", "C-1")
    suspended = await at.type("subscriber", "remove", "C-1")
    assert suspended.code != 0
    assert "suspended for debt: the network would keep it suspended" in suspended.err
    waiting = await agent.ask("suspend", "C-2/home")
    busy = await at.type("subscriber", "remove", "C-2/home")
    assert f"change {waiting['id']} of it is not over" in busy.err
    both = await at.type("subscriber", "remove", "C-2")
    assert "take all with --all-services" in both.err
    renamed = await at.type("subscriber", "rename-login", "C-1", "u9")
    assert "suspended for debt: the mark is on the login u0" in renamed.err


async def test_suspended_and_shared_is_removed_and_both_come_back(
    agent: Agent, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Terminal(agent, monkeypatch)
    await done(at, "suspend", "C-1")
    csv = DIRTY.format(now=chain_time().decode()).encode()
    await bring_csv(agent, csv)
    assert "nobody can say" in str(await refused(agent.ask("restore", "C-1", on_failure="continue")))
    change = await agent.ask("remove", "C-1")
    why = json.loads(change["documents"][1])["display"]["why"]
    assert "with the mark of its suspension for debt, which a restore of T-7/home lifts" in why
    await agent.approve(change, "joseph")
    await agent.end(change)
    await done(at, "restore", "T-7", on_failure="continue")
    assert world.values[world.user("u0")] == {"plan": "20M"}
    back = await agent.ask("revert", change=change["id"], on_failure="continue")
    assert back["class"] == "low"
    await agent.approve(back, "joseph")
    await agent.end(back)
    found = {s["ref"]: s["suspended_for"] for s in await agent.call("GET", "/v1/subscribers")}
    assert found["C-1/home"] == ["debt"]


async def test_a_login_is_renamed_and_back(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("4c:5e:0c:aa:bb:07")
    async with agent_in(tmp_path, world) as agent:
        at = Terminal(agent, monkeypatch)
        said = await at.type("subscriber", "rename-login", "C-1", "4c:5e:0c:aa:bb:07")
        assert said.code == 0, said.err
        assert "RECORD ~ inventory C-1/home login 4c:5e:0c:aa:bb:07 (was: u0)" in said.out
        assert "the network has that login: active, 1 session" in " ".join(said.out.split())
        change = await agent.call("GET", f"/v1/changes/{(await agent.call('GET', '/v1/changes'))[0]['id']}")
        await agent.approve(change, "joseph")
        await agent.end(change)
        found = await at.type("subscriber", "find", "4C5E.0CAA.BB07")
        assert found.lines[0].startswith("C-1/home")
        assert (await at.type("subscriber", "find", "u0")).code == 1
        await done(at, "suspend", "4C-5E-0C-AA-BB-07")
        assert world.values[world.user("4c:5e:0c:aa:bb:07")] == {"plan": "20M", "suspended": "yes"}
        await done(at, "restore", "C-1", on_failure="continue")
        back = await agent.ask("revert", change=change["id"], on_failure="continue")
        await agent.approve(back, "joseph")
        await agent.end(back)
        assert (await agent.call("GET", "/v1/subscribers"))[0]["login"] == "u0"


async def test_a_login_that_is_nobodys_or_somebodys_is_refused(
    agent: Agent, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Terminal(agent, monkeypatch)
    for login, why in {
        "u1": "the login u1 is that of C-2/home",
        "nobody": "fake/d has no such user",
        "u0": "its login is u0 already",
        "u\u200b1": "expected no invisible character",
    }.items():
        said = await at.type("subscriber", "rename-login", "C-1", login)
        assert said.code != 0
        assert why in said.err
    world.dead.add("fake/d")
    said = await at.type("subscriber", "rename-login", "C-1", "elsewhere")
    assert "not checked whether the network has that login: fake/d is dead" in " ".join(said.out.split())


async def test_two_services_do_not_come_to_one_login(agent: Agent, world: World) -> None:
    """Each rename is right alone: the preview of neither knows of the other."""
    world.add("u9")
    asked = [await agent.ask("rename-login", ref, settings={"login": "u9"}) for ref in ("C-1", "C-2/home")]
    for change in asked:
        await agent.approve(change, "joseph")
    ends = [await agent.end(change) for change in asked]
    (first,), (second,) = (end["items"] for end in ends)
    assert (first["state"], second["state"]) == ("applied", "skipped")
    assert second["detail"] == "the login u9 is also that of C-1/home now: whose it is, nobody could say"
    logins = {s["ref"]: s["login"] for s in await agent.call("GET", "/v1/subscribers")}
    assert (logins["C-1/home"], logins["C-2/home"]) == ("u9", "u1")
    # the way back: another service has the old login by then
    other = await agent.ask("rename-login", "C-2/home", settings={"login": "u0"})
    await agent.approve(other, "joseph")
    await agent.end(other)
    back = str(await refused(agent.ask("revert", change=asked[0]["id"], on_failure="continue")))
    assert "the login u0 is that of C-2/home" in back


async def test_an_old_login_that_went_elsewhere_stays_there(agent: Agent, world: World) -> None:
    """It went there between the revert's preview and its start."""
    world.add("u9")
    renamed = await agent.ask("rename-login", "C-1", settings={"login": "u9"})
    await agent.approve(renamed, "joseph")
    await agent.end(renamed)
    back = await agent.ask("revert", change=renamed["id"], on_failure="continue")
    other = await agent.ask("rename-login", "C-2/home", settings={"login": "u0"})
    for change in (other, back):
        await agent.approve(change, "joseph")
        ended = await agent.end(change)
    assert [i["state"] for i in ended["items"]] == ["skipped"]
    assert "the login u0 is also that of C-2/home now" in ended["items"][0]["detail"]


async def test_an_import_between_preview_and_run_wins(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    change = await agent.ask("remove", "C-1")
    csv = DIRTY.format(now=chain_time().decode()).replace(",u0,fake,20M,,0,34", ",u7,fake,20M,,0,34").encode()
    await bring_csv(agent, csv)
    await agent.approve(change, "joseph")
    ended = await agent.end(change)
    assert [i["state"] for i in ended["items"]] == ["skipped"]
    assert "its entry changed since the preview" in ended["items"][0]["detail"]


async def test_who_has_an_address_now(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        csv = (
            DIRTY.format(now=chain_time().decode()).partition("\n")[0]
            + "\nS-1,Static,home,10.9.0.0/30,lines,20M"
            + "," * 8
        )
        await bring_csv(at.agent, csv.encode())
        parts = at.agent.daemon.api.parts
        lines = AccessMap("lines", "fake/d", frozenset(), addressed=True)
        object.__setattr__(parts.intake, "access", (lines,))
        said = await at.type("subscriber", "find", "10.9.0.2")
        assert "10.9.0.2 now: no target that was asked tells of anybody who has it" in said.lines
        assert "not checked: fake/d: it cannot say who has an address" in said.lines
        assert [line.split()[0] for line in said.lines if line.startswith("S-1")] == ["S-1/home"]

        async def read(_: object, ip: str) -> Holders:
            return Holders({"fake/d": [AddressHolder("U1", "a session on bng-2, by accounting")]}, {"fake/r": "away"})

        monkeypatch.setattr(type(parts.holders), "read", read)
        live = await at.type("subscriber", "find", "100.64.3.7")
        assert live.lines[0] == "100.64.3.7 now: login U1, a session on bng-2, by accounting (fake/d)"
        assert live.lines[1].startswith("  C-2/home ")
        assert live.lines[-1] == "not checked: fake/r: away"
        shown = json.loads((await at.type("subscriber", "find", "100.64.3.7", "--json")).out)
        assert [s["ref"] for s in shown["holders"][0]["services"]] == ["C-2/home"]


def test_a_page_tells_open_apart_from_not_checked() -> None:
    network = {
        **dict.fromkeys(("refused", "unknown", "not_held", "mend", "unjudged", "sessionless", "tariff"), ""),
        "checked": True,
        "access": "suspended",
        "absent": False,
        "sessions": [],
        "reply": {},
        "groups": [],
        "sessions_by": "accounting",
        "not_checked": ["edge-2 was not read"],
        "ways_out": ["DNS to any server"],
    }
    service = {
        "ref": "C-1",
        "name": "Amina",
        "tariff": "20M",
        "login": "u0",
        "method": "fake",
        "extra": {},
        "network": network,
        "protected": "",
        "feeds": 0,
        "billing": None,
        "line": None,
    }
    found = {"services": [service], "reasons": [], "gone": [], "cpes": [], "changes": []}
    lines = [" ".join(line.split()) for line in page(found, whole=False)]
    assert "not checked edge-2 was not read" in lines
    assert "open DNS to any server" in lines
