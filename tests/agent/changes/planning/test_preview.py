"""The texts of a preview's times, on the operator's own clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio

from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.moments import windows_text
from agent.changes.journal.request import RequestError
from agent.changes.planning import preview
from agent.changes.planning.preview import Scope, ring_waves
from agent.connectors.base import WARNING, AccessPlan
from agent.model import EffectKind, GuardKind, Item, Listed, ReasonChange, SuspensionReason
from agent.store.errors import RefusedCommandError
from tests.builders.office import MARIA_UID, Desk, Office, office_in
from tests.builders.world import FakeMethod
from tests.seeded import SeededChance
from trust import chance, short_id
from trust.policy import Action, Window, daily, in_windows

NOW_S = datetime(2026, 11, 25, 20, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ((), ""),
        (daily(0, 4, 9, 16), "Mon-Fri 09:00-16:00 EAT"),
        (daily(0, 6, 1, 5), "Mon-Sun 01:00-05:00 EAT"),
        ((*daily(0, 1, 9, 16), *daily(3, 3, 9, 16)), "Mon Tue Thu 09:00-16:00 EAT"),
        ((*daily(5, 6, 8, 24), *daily(0, 0, 22, 24)), "Mon 22:00-24:00, Sat Sun 08:00-24:00 EAT"),
        ((Window(30, 90),), "Mon 00:30-01:30 EAT"),
        ((Window(23 * 60, 27 * 60),), "Mon 23:00-Tue 03:00 EAT"),
        ((Window(0, 7 * 1440),), "Mon 00:00-Sun 24:00 EAT"),
        ((Window(0, 0),), "never"),
    ],
)
def test_windows(windows: tuple[Window, ...], says: str) -> None:
    assert windows_text(windows, NOW_S, ZoneInfo("Africa/Nairobi")) == says


def test_what_is_called_never_is_never() -> None:
    assert not any(in_windows((Window(0, 0),), minute) for minute in range(7 * 1440))


async def test_a_preview_says_how_many_must_approve_and_why(office: Office) -> None:
    told = []
    for ref, requester in (("C-1", MARIA_UID), ("C-2/home", 1)):
        row = await office.plan(ref, requester=requester)
        told.append(plans.load(office.store.reader, office.daemon.files.vault, row).items.head.display["needs"])
    assert told[0] == "1 approver"
    assert told[1].startswith("2 approvers, since nobody knows who asked: ")


async def test_who_asks_can_make_the_canary_smaller_and_never_larger(office: Office) -> None:
    previewer = office.parts.intake.previewer
    scope = Scope(active_services=1000, facts_age_s=None, facts_empty=False, source="")

    def first(configured: int, asked: int | None) -> int:
        terms = previewer.terms()
        ours = replace(terms, pacing=replace(terms.pacing, canary=configured))
        paced = replace(previewer, terms=lambda: ours)
        return paced._waves(1000, asked, scope)[0].last

    assert [first(5, asked) for asked in (None, 2, 5, 6, 1000)] == [5, 2, 5, 5, 5]
    assert [first(0, asked) for asked in (None, 3)] == [1000, 3]  # the operator wants none: who asks may


@pytest.mark.parametrize(
    ("changing", "percents", "lasts"),
    [
        (200, (1, 10, 50), [2, 20, 100, 200]),
        (1000, (5,), [50, 1000]),
        (3, (1, 10, 50), [1, 2, 3]),
        (2, (1, 10, 50), [1, 2]),
        (1, (1, 10), [1]),
        (50, (), [50]),
    ],
)
def test_rings_are_waves_of_so_many_percent(changing: int, percents: tuple[int, ...], lasts: list[int]) -> None:
    """B12: each ring has at least one item, the last one has the rest and no soak."""
    waves = ring_waves(changing, percents, 30)
    assert [w.last for w in waves] == lasts
    assert [w.first for w in waves] == [1, *(last + 1 for last in lasts[:-1])]
    assert [w.soak_s for w in waves] == [30] * (len(lasts) - 1) + [0]


@pytest.mark.parametrize(
    ("steps", "kinds"),
    [
        (lambda write, drop, tell: (write,), set()),
        (lambda write, drop, tell: (write, drop), {EffectKind.DISCONNECT}),
        (lambda write, drop, tell: (write, tell), {EffectKind.CHANGE_OF_AUTHORIZATION}),
        (
            lambda write, drop, tell: (write, replace(tell, on_revert=(drop.do,))),
            {EffectKind.CHANGE_OF_AUTHORIZATION, EffectKind.DISCONNECT},
        ),
        (lambda write, drop, tell: (write, replace(tell, do=replace(tell.do, verb="hum"))), {EffectKind.OTHER}),
    ],
)
async def test_a_plan_says_what_its_effects_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Any, kinds: set[EffectKind]
) -> None:
    planned = FakeMethod.plan

    def other(self: FakeMethod, *given: Any) -> AccessPlan:
        found = planned(self, *given)
        write, drop = found.steps
        tell = replace(drop, do=replace(drop.do, verb="tell", proof=None), on_revert=())
        return replace(found, steps=steps(write, replace(drop, on_revert=()), tell))

    monkeypatch.setattr(FakeMethod, "plan", other)
    async with office_in(tmp_path, Desk()) as office:
        plan = plans.signed(await office.plan("C-1"))
        assert plan.effect_kinds == tuple(sorted(kinds, key=lambda kind: kind.value))


async def test_a_step_that_asks_for_a_guard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connector has a confirmed commit: the plan would promise what nobody keeps."""
    planned = FakeMethod.plan

    def guarded(self: FakeMethod, *given: Any) -> AccessPlan:
        found = planned(self, *given)
        write, *rest = found.steps
        return replace(found, steps=(replace(write, guard=GuardKind.CONFIRMED_COMMIT), *rest))

    monkeypatch.setattr(FakeMethod, "plan", guarded)
    async with office_in(tmp_path, Desk()) as office:
        with pytest.raises(RequestError, match="step 1 on fake/d asks for confirmed-commit, which no connector"):
            await office.plan("C-1")
        assert office.number("SELECT count(*) FROM plan") == 0
        monkeypatch.undo()
        row = await office.plan("C-1")
        assert plans.signed(row).guard_kind is GuardKind.NONE


@pytest.mark.parametrize(
    ("action", "changed", "says"),
    [
        (
            Action.SUSPEND,
            {"desired": (ReasonChange(SuspensionReason.DEBT, added=True),)},
            "ispagent change revert K7QF2",
        ),
        (Action.DISCONNECT, {}, "cannot be undone: the sessions log in again"),
        (Action.RESTORE, {}, "nothing to undo: it writes nothing and records nothing"),
        (Action.SUSPEND, {"listed": Listed.EXCLUDED}, "nothing to undo"),
    ],
)
def test_a_revert_is_offered_where_there_is_something_to_revert(
    action: Action, changed: dict[str, Any], says: str
) -> None:
    """A restore that only takes the place of an unsent suspension leaves nothing that a revert could find."""
    item = replace(Item(n=1, salt="00" * 16, subject="C-1", listed=Listed.CHANGE, reason="", display={}), **changed)
    assert preview._undo(action, [item], "K7QF2").startswith(says)


async def test_short_ids_that_collide_are_drawn_again_and_get_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one letter to choose from, all ids of one length are the same: the second plan needs a longer one."""
    monkeypatch.setattr(short_id, "SHORT_ALPHABET", "Q")
    async with office_in(tmp_path, Desk()) as office:
        asked: list[PlanRow] = []

        async def ask() -> None:
            asked.append(await office.plan("C-1"))

        async with trio.open_nursery() as nursery:  # three at once: each looks while the others are not saved yet
            for _ in range(3):
                nursery.start_soon(ask)
        assert sorted(row.short for row in asked) == ["Q" * 5, "Q" * 6, "Q" * 7]
        reader, vault = office.store.reader, office.daemon.files.vault
        for row in asked:
            assert plans.find(reader, row.short.lower()).plan_id == row.plan_id
            undo = plans.load(reader, vault, row).items.head.display["undo"]
            assert undo.startswith(f"ispagent change revert {row.short} "), "the signed text names the plan's own id"


async def test_a_change_is_named_by_the_beginning_of_its_short_id(office: Office) -> None:
    """The short id is the plan's own, so that each desk shows the same one; fewer letters will do, and more."""
    reader, row = office.store.reader, await office.plan("C-1")
    whole = short_id.short_id(row.plan_id, 26)
    assert whole.startswith(row.short)
    for ref in (whole[:4], whole[:5], whole[:6], whole, whole[:5].lower(), row.plan_id.hex()):
        assert plans.find(reader, ref).plan_id == row.plan_id
    other = "2" if whole[5] != "2" else "3"
    for ref in ("", whole[:3], whole[:5] + other, whole + "2", "%", "____", row.plan_id.hex()[:8]):
        with pytest.raises(RefusedCommandError, match=f"there is no change {ref}: ispagent change list"):
            plans.find(reader, ref)
    again = await office.plan("C-1")
    while again.short[:4] == row.short[:4]:
        again = await office.plan("C-1")
    with office.store._con as con:  # two that begin alike, as may happen once in a million
        con.execute("UPDATE plan SET short = ? WHERE plan_id = ?", (row.short[:4] + other * 2, again.plan_id))
    with pytest.raises(RefusedCommandError, match=f"2 begin with {row.short[:4]}: .*{row.short}"):
        plans.find(reader, row.short[:4])
    assert plans.find(reader, row.short).plan_id == row.plan_id, "a whole one is never ambiguous"


async def test_short_ids_of_a_small_alphabet_never_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 ids of five letters, and forty plans: many tries collide."""
    monkeypatch.setattr(short_id, "SHORT_ALPHABET", "23")
    with chance.lend(SeededChance(12)):
        async with office_in(tmp_path, Desk()) as office:
            shorts = [(await office.plan("C-1")).short for _ in range(40)]
    assert len(set(shorts)) == 40
    assert {len(short) for short in shorts} >= {5, 6}


@pytest.mark.parametrize(
    ("warned", "told"),
    [
        ((), []),
        (("u0",), ["WARNING: fasttrack passes it by"]),
        (("u0", "u1"), ["WARNING: fasttrack passes it by (2 services)"]),
    ],
)
async def test_a_warning_is_told_once_for_all_its_services(
    office: Office, monkeypatch: pytest.MonkeyPatch, warned: tuple[str, ...], told: list[str]
) -> None:
    plan = FakeMethod.plan

    def warned_of(self: FakeMethod, wanted: Any, service: Any, seen: Any) -> AccessPlan:
        found = plan(self, wanted, service, seen)
        warning = {WARNING: "fasttrack passes it by"} if service.login in warned else {}
        return replace(found, display={**found.display, **warning})

    monkeypatch.setattr(FakeMethod, "plan", warned_of)
    row = await office.plan("C-1", "C-2/home")
    loaded = plans.load(office.store.reader, office.daemon.files.vault, row)
    assert [note for note in loaded.items.head.display["notes"].split(" · ") if "WARNING" in note] == told
