"""`change suspend --overdue`: each with something overdue is named, cut or left out with the reason."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.changes.journal import request
from agent.changes.journal.request import Ask, RequestError
from agent.config_billing import DAYS
from agent.model import SuspensionReason
from tests.builders.agent import Agent, agent_in, refused, suspended_for
from tests.builders.people import AGENT, TRUST
from tests.builders.subscribers import bring
from tests.builders.world import World
from trust.policy import Action


@pytest.fixture
def world() -> World:
    world = World()
    for n in range(8):
        world.add(f"v{n}")
    return world


PAID = (
    b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,,,%(now)s",
    b"C-2,Joao Silva,home,u1,fake,20M,,0,0.00,,,%(now)s",
    b"C-3,Clinic,home,u2,fake,20M,hospital,0,0.00,,,%(now)s",
)
"""Those of every test's list."""


def day(ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=ago)).date().isoformat()


async def owing(agent: Agent) -> None:
    """Bring lines of which D-1 to D-6 have something overdue, D-1 for the longest."""
    lines = [
        ("D-1", "20M", "", "34.00", day(60)),
        ("D-2", "20M", "", "34.00", day(50)),
        ("D-3", "20M", "hospital", "34.00", day(40)),
        ("D-4", "50M", "", "34.00", day(30)),
        ("D-5", "20M", "", "3.00", day(20)),
        ("D-6", "20M", "", "34.00", day(1)),
        ("D-7", "20M", "", "34.00", day(-5)),
        ("D-8", "20M", "", "0.00", ""),
    ]
    await bring(
        agent,
        *PAID,
        *(
            f"{ref},A,home,v{n},fake,{tariff},{protected},0,{balance},{due},,%(now)s".encode()
            for n, (ref, tariff, protected, balance, due) in enumerate(lines)
        ),
    )


def listed(change: Any) -> dict[str, tuple[str, str]]:
    """Return what becomes of each service, and the reason code."""
    items = [json.loads(text) for text in change["documents"][1:]]
    return {i["subject"].removesuffix("/home"): (i["listed"], i["reason"]) for i in items}


async def ask(agent: Agent, **more: Any) -> Any:
    return await agent.ask("suspend", settings={"overdue": "yes"}, **more)


RULES = """
[billing]
grace_days = 2
minimum = "5.00"
overdue_except_tariffs = ["50M"]
most_a_day = 1
"""


async def test_each_is_named_with_what_becomes_of_it(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world, more=RULES) as agent:
        await owing(agent)
        change = await ask(agent)
        assert listed(change) == {
            "D-1": ("change", ""),
            "D-2": ("excluded", "daily-limit"),
            "D-3": ("excluded", "protected"),
            "D-4": ("excluded", "left-out"),
            "D-5": ("excluded", "below-minimum"),
            "D-6": ("excluded", "in-grace"),
        }
        head = json.loads(change["documents"][0])
        assert "not listed: 7 with nothing overdue" in json.dumps(head)
        cut = next(json.loads(text) for text in change["documents"][1:] if '"D-1/home"' in text)
        assert [r["test"] for r in cut["requires"]] == ["as-previewed", "owes", "suspension-day"]
        await agent.approve(change, "joseph")
        assert (await agent.end(change))["state"] == "done"
        assert [await suspended_for(agent, ref) for ref in ("D-1", "D-2")] == [["debt"], []]
        err = await refused(ask(agent))
        assert err.code == "nothing-to-do", "one a day was suspended"
        assert "D-2/home: at most 1 a day" in str(err)


async def test_an_exclusion_is_taken_out(agent: Agent) -> None:
    await owing(agent)
    change = await ask(agent, exclude=["D-1", "D-4/home"])
    assert listed(change).keys() == {"D-2", "D-3", "D-5", "D-6"}


async def test_it_is_one_change_of_its_class_that_a_person_approves(agent: Agent, world: World) -> None:
    await owing(agent)
    change = await ask(agent)
    assert (change["class"], change["gate"]) == ("low", "open")
    assert world.writes == []


async def test_no_day_for_it(tmp_path: Path, world: World) -> None:
    other = DAYS[(datetime.fromtimestamp(time.time(), UTC).weekday() + 3) % 7]
    async with agent_in(tmp_path, world, more=f'[billing]\nweekdays = ["{other}"]\n') as agent:
        await owing(agent)
        assert "nobody is suspended by --overdue" in str(await refused(ask(agent)))
        assert (await agent.ask("suspend", "D-1"))["gate"] == "open", "a person may name one"


async def test_nobody_is_overdue(agent: Agent) -> None:
    await bring(agent, *PAID)
    err = await refused(ask(agent))
    assert "nobody has anything overdue" in str(err)


async def test_what_no_longer_is_overdue_at_the_about_to_is_skipped(agent: Agent) -> None:
    await owing(agent)
    change = await ask(agent)
    await bring(agent, b"D-2,A,home,v1,fake,20M,,0,0.00,,%(now)s,%(now)s")
    await agent.approve(change, "joseph")
    over = await agent.end(change)
    assert {i["state"] for i in over["items"]} >= {"applied", "skipped"}
    assert await suspended_for(agent, "D-2") == []


@pytest.mark.parametrize(
    "asked",
    [
        Ask(Action.SUSPEND, ("D-1",), settings={"overdue": "yes"}),
        Ask(Action.SUSPEND, on_tariff="20M", settings={"overdue": "yes"}),
        Ask(Action.SUSPEND, reason=SuspensionReason.ABUSE, settings={"overdue": "yes"}),
        Ask(Action.SUSPEND, settings={"overdue": "no"}),
        Ask(Action.SUSPEND, settings={"overdue": "yes", "file": "x"}),
        Ask(Action.RESTORE, settings={"overdue": "yes"}),
    ],
)
def test_what_it_cannot_be_asked_with(asked: Ask) -> None:
    with pytest.raises(RequestError):
        request.check_ask(asked)


def test_a_signed_intent_asks_the_same() -> None:
    asked = request.local(Ask(Action.SUSPEND, settings={"overdue": "yes"}), 1, {1: "maria"}, TRUST, AGENT, time.time())
    assert (asked.intent.params, asked.intent.subjects) == ({"overdue": "yes"}, ())
    assert request.is_overdue(request.ask_of(asked.intent))
    plain = request.local(Ask(Action.SUSPEND, ("D-1",)), 1, {1: "maria"}, TRUST, AGENT, time.time())
    assert not request.is_overdue(request.ask_of(plain.intent))
