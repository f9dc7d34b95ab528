"""The facts that a plan rests on have an author: a requester alone can neither forge evidence nor relabel a service."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.connectors.spec import AccessMap
from agent.runtime.errors import HttpError
from tests.builders.agent import CSV, JOSEPH, OTHER, Agent, agent_in, chain_time, done, given, item_of
from tests.builders.subscribers import billing_says
from tests.builders.world import World


async def imported(agent: Agent, *lines: str, dry_run: bool = False, uid: int = 4242) -> Any:
    now = chain_time().decode()
    csv = "\n".join([CSV.split(b"\n")[0].decode(), *(line % {"now": now} for line in lines)]) + "\n"
    fields = {"csv": base64.b64encode(csv.encode()).decode(), "dry_run": dry_run}
    return await agent.call("POST", "/v1/subscribers/import", fields, uid)


async def service(agent: Agent, ref: str) -> Any:
    return (await agent.call("GET", f"/v1/subscribers/{ref}?network=0"))["services"][0]


async def refs(agent: Agent) -> set[str]:
    return {s["ref"] for s in await agent.call("GET", "/v1/subscribers")}


async def shown(agent: Agent, change: str) -> Any:
    return await agent.call("GET", f"/v1/changes/{change}")


# --- evidence ---


async def test_H1_a_payment_that_the_requester_imports_is_no_evidence(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    await given(agent)
    await imported(agent, "C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s")
    forged = await agent.ask("restore", "C-1")
    assert (forged["class"], forged["gate"]) == ("low", "open"), "it waits for a person"
    assert "imported by hand by maria" in item_of(forged)["display"]["why"]
    assert world.values[world.user("u0")]["suspended"] == "yes"
    await billing_says(agent, b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s")
    real = await agent.ask("restore", "C-1")
    assert (real["class"], real["gate"]) == ("restore", "approved")


# --- who is reached ---

RELABEL = (
    "C-3,Clinic,home,u7,fake,20M,,0,99.00,2025-10-03,,%(now)s",
    "C-9,Bad Payer,home,u3,fake,20M,,0,99.00,2025-10-03,,%(now)s",
)


async def test_H2_login_moved_to_invented_debtor_waits_for_approval(agent: Agent) -> None:
    answer = await imported(agent, *RELABEL)
    assert (answer["added"], answer["changed_count"], answer["edits_count"]) == (0, 0, 2)
    assert {edit["ref"]: edit["fields"] for edit in answer["edits"]} == {
        "C-3/home": ["login: u3 > u7", "protected: hospital > -"],
        "C-9/home": ["login: that of C-3/home > u3"],
    }
    clinic = await service(agent, "C-3")
    assert (clinic["login"], clinic["protected"]) == ("u3", "hospital")
    assert "C-9/home" not in await refs(agent)
    change = await shown(agent, answer["change"])
    assert (change["gate"], change["requester"], change["class"]) == ("open", "maria", "low")
    first, second = item_of(change), item_of(change, 2)
    assert first["desired"] == ["was-login=u3", "login=u7", "was-protected=hospital", "protected="]
    assert second["display"]["why"].startswith("the login u3 was that of C-3/home")
    assert not (await agent.approve(change, "maria"))["accepted"], "who asked does not approve"
    assert (await agent.approve(change, "joseph"))["accepted"]
    over = await agent.end(change)
    assert [i["state"] for i in over["items"]] == ["applied", "applied"]
    clinic = await service(agent, "C-3")
    assert (clinic["login"], clinic["protected"]) == ("u7", "")

    cut = await agent.ask("suspend", "C-9")
    notes = item_of(cut)["display"]["entry"]
    assert f"its entry: in the inventory since just now by maria in change {answer['change']}" in notes


async def test_an_edit_is_taken_back(agent: Agent) -> None:
    answer = await imported(agent, *RELABEL)
    change = await shown(agent, answer["change"])
    await agent.approve(change, "joseph")
    await agent.end(change)
    revert = await agent.ask("revert", change=change["id"])
    await agent.approve(revert, "joseph")
    assert [i["state"] for i in (await agent.end(revert))["items"]] == ["applied", "applied"]
    clinic = await service(agent, "C-3")
    assert (clinic["login"], clinic["protected"]) == ("u3", "hospital")
    assert "C-9/home" not in await refs(agent)


async def test_two_services_change_logins_and_back(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way both have one login for a moment, as the preview says."""
    methods = (AccessMap("fake", "fake/d", frozenset({"20M"})),)
    monkeypatch.setattr(AgentConfig, "access", property(lambda _: methods))
    async with agent_in(tmp_path, world) as agent:
        await _swapped_and_back(agent)


async def _swapped_and_back(agent: Agent) -> None:
    rows = (
        "C-1,Amina Hassan,home,u1,fake,20M,,0,34.00,2025-10-03,,%(now)s",
        "C-2,Joao Silva,home,u0,fake,20M,,0,12.50,2025-10-03,,%(now)s",
    )
    change = await shown(agent, (await imported(agent, *rows))["change"])
    for login in ("u1", "u0"):
        await agent.approve(change, "joseph")
        assert [i["state"] for i in (await agent.end(change))["items"]] == ["applied", "applied"]
        assert (await service(agent, "C-1"))["login"] == login
        change = await agent.ask("revert", change=change["id"]) if login == "u1" else change


async def test_an_edit_is_not_taken_back_over_a_later_one(agent: Agent) -> None:
    """An edit of a service that was suspended since is not taken back either."""
    answer = await imported(agent, *RELABEL)
    change = await shown(agent, answer["change"])
    await agent.approve(change, "joseph")
    await agent.end(change)
    later = await shown(
        agent, (await imported(agent, "C-3,Clinic,home,u6,fake,20M,,0,99.00,2025-10-03,,%(now)s"))["change"]
    )
    await agent.approve(later, "joseph")
    await agent.end(later)
    await done(agent, "suspend", "C-9")
    with pytest.raises(HttpError) as caught:
        await agent.ask("revert", change=change["id"])
    assert str(caught.value).splitlines() == [
        "nothing would change",
        "C-3/home: its login is u6 now",
        "C-9/home: it is suspended now",
    ]
    assert (await service(agent, "C-3"))["login"] == "u6"


async def test_a_first_list_is_one_change_where_the_policy_says_so(tmp_path: Path, world: World) -> None:
    """It is stored as it was approved; later lists add services as everywhere."""
    async with agent_in(tmp_path, world, more="[policy]\napprove_first_import = true\n") as agent:
        assert await refs(agent) == set()
        again = await imported(agent, "C-1,Amina Hassan,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s")
        assert (again["first_import"], again["added"], again["edits_count"]) == (True, 0, 1)
        assert "is not over" in str(again["edits_refused"]), "it is in the change that waits already"
        (listed,) = await agent.call("GET", "/v1/changes")
        change = await shown(agent, listed["id"])
        own = await agent.approve(change, "maria")
        assert not own["accepted"], "whoever asked does not approve"
        await agent.approve(change, "joseph")
        ended = await agent.end(change)
        assert {i["state"] for i in ended["items"]} == {"applied"}
        assert await refs(agent) == {i["service"] for i in ended["items"]}
        later = await imported(agent, "D-1,Dora,home,u6,fake,20M,,0,,,,")
        assert (later["first_import"], later["added"], later["edits_count"]) == (False, 1, 0)


async def test_entries_that_send_nothing_keep_to_no_pace(tmp_path: Path, world: World) -> None:
    """Seventy at one a second would not fit into a minute; nothing of them goes to the network."""
    for n in range(70):
        world.add(f"v{n}")
        world.values[world.user(f"v{n}")] = {"plan": "20M"}
    policy = "[policy]\napprove_first_import = true\nrun_for_s = 60\npace = 1\nsoak_s = 0\n"
    async with agent_in(tmp_path, world, more=policy) as agent:
        answer = await imported(agent, *(f"D-{n},Name {n},home,v{n},fake,20M,,0,,,," for n in range(70)))
        change = await shown(agent, answer["change"])
        assert (change["class"], change["counts"]) == ("large", {"planned": 70})


async def test_an_import_stores_the_rest_and_says_who_changed_a_name(agent: Agent) -> None:
    answer = await imported(agent, "C-1,Bad Payer,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s")
    assert (answer["changed_count"], answer["edits_count"], "change" in answer) == (1, 0, False)
    change = await agent.ask("suspend", "C-1", uid=JOSEPH)
    notes = item_of(change)["display"]["entry"]
    assert "Amina" not in change["documents"][0], "the head is not sealed under the subscriber's key"
    assert "name changed just now by maria in an import (was Amina Hassan)" in notes
    assert "imported by hand by maria" in item_of(change)["display"]["why"]


async def test_a_batch_says_whose_entries_changed(agent: Agent) -> None:
    await imported(agent, "C-1,Bad Payer,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s")
    change = await agent.ask("suspend", "C-1", "C-2/home", reason="abuse", uid=JOSEPH)
    notes = json.loads(change["documents"][0])["display"]["notes"]
    assert "2 in the inventory for less than 7 days, added by maria in an import" in notes
    assert "C-1/home: name changed by maria in an import" in notes
    assert "Amina" not in notes


async def test_H2_a_name_changed_by_the_requester_blocks_the_item(agent: Agent) -> None:
    await imported(agent, "C-1,Bad Payer,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s")
    both = await agent.ask("suspend", "C-1", "C-2/home", reason="abuse")
    states = {i["service"]: (i["state"], i["reason"]) for i in both["items"]}
    assert states == {"C-1/home": ("blocked", "own-edit"), "C-2/home": ("planned", "")}
    with pytest.raises(HttpError, match="nobody else looked since: name by maria; let somebody else ask"):
        await agent.ask("suspend", "C-1", reason="abuse")
    unknown = await agent.ask("suspend", "C-1", "C-2/home", reason="abuse", uid=OTHER)
    first = next(i for i in (await shown(agent, unknown["id"]))["items"] if i["service"] == "C-1/home")
    assert first["reason"] == "own-edit", "it may be anybody's"
    looked = await agent.ask("suspend", "C-1", reason="abuse", uid=JOSEPH)
    await agent.approve(looked, "lena")
    assert [i["state"] for i in (await agent.end(looked))["items"]] == ["applied"]
    again = await agent.ask("restore", "C-1", reason="abuse")
    assert [i["state"] for i in again["items"]] == ["planned"]


async def test_what_only_others_changed_blocks_nothing(agent: Agent) -> None:
    """Nor do new services, nor what a person approved as a change of its own."""
    await imported(agent, "C-1,Bad Payer,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s", uid=JOSEPH)
    answer = await imported(agent, *RELABEL)
    change = await shown(agent, answer["change"])
    await agent.approve(change, "joseph")
    await agent.end(change)
    found = await agent.ask("suspend", "C-1", "C-3", "C-9", "C-2/home", reason="abuse")
    assert {i["state"] for i in found["items"]} == {"planned"}


async def test_a_second_import_asks_for_nothing_twice(agent: Agent) -> None:
    first = await imported(agent, *RELABEL)
    again = await imported(agent, *RELABEL)
    assert "change" not in again
    assert first["change"] in " ".join(again["edits_refused"])


async def test_a_dry_run_asks_for_nothing(agent: Agent) -> None:
    answer = await imported(agent, *RELABEL, dry_run=True)
    assert (answer["edits_count"], "change" in answer) == (2, False)
    assert await agent.call("GET", "/v1/changes") == []


async def test_a_typo_is_refused_by_name(agent: Agent) -> None:
    answer = await imported(agent, "C-1,Amina Hassan,home,u0h,fake,20M,,0,,,,")
    assert "has no such user" in " ".join(answer["edits_refused"])
    assert (await service(agent, "C-1"))["login"] == "u0"


async def test_a_suspended_service_keeps_its_login(agent: Agent) -> None:
    await done(agent, "suspend", "C-1")
    answer = await imported(agent, "C-1,Amina Hassan,home,u6,fake,20M,,0,,,,")
    assert "suspended for debt" in " ".join(answer["edits_refused"])
    assert (await service(agent, "C-1"))["login"] == "u0"


async def test_nobody_asks_for_an_edit_but_an_import(agent: Agent) -> None:
    with pytest.raises(HttpError, match="expected an import"):
        await agent.ask("subscriber-edit", "C-1", settings={"C-1": "{}"})


async def test_thirty_logins_are_one_change(tmp_path: Path) -> None:
    world = World()
    for n in range(70):
        world.add(f"v{n}")
        world.values[world.user(f"v{n}")] = {"plan": "20M"}
    async with agent_in(tmp_path, world) as agent:
        await imported(agent, *(f"D-{n},Name {n},home,v{n},fake,20M,,0,,,," for n in range(30)))
        answer = await imported(agent, *(f"D-{n},Name {n},home,v{n + 30},fake,20M,,0,,,," for n in range(30)))
        change = await shown(agent, answer["change"])
        assert (answer["edits_count"], change["counts"]["planned"], change["class"]) == (30, 30, "batch")
