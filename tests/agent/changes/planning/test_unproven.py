"""A suspension that was set and not seen enforced is not "already" there: asked again, its rest is done and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.changes.journal import plans
from agent.changes.planning import preview
from agent.changes.planning.preview import NothingToDoError
from agent.changes.planning.unproven import _ACTED, UnprovenSuspension, _told, unproven_suspensions
from agent.connectors.base import AccessPlan
from agent.model import (
    ABSENT,
    Access,
    Address,
    Effect,
    Enforcement,
    Item,
    ItemState,
    Seen,
    Service,
    ServiceState,
    Step,
    SuspensionReason,
    Transition,
)
from agent.reasons import ItemReason, ProofReason
from tests.builders import world as worlds
from tests.builders.office import Desk, Office, approved, finished, office_in, work
from tests.builders.world import disconnect as of_sessions
from trust.policy import Action


def cut(login: str) -> Effect:
    """Return an effect on what no preview reads."""
    return replace(of_sessions(login), address=Address(f"fake/d/flows/{login}"))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "WITHIN_S", 0)
    monkeypatch.setattr(worlds, "disconnect", cut)


def items_of(office: Office, row: plans.PlanRow) -> list[Item]:
    return list(plans.load(office.store.reader, office.daemon.files.vault, row).items.items)


def states(office: Office, row: plans.PlanRow) -> list[str]:
    found = office.store.reader.execute("SELECT state FROM item WHERE plan_id = ?", (row.plan_id,))
    return [r["state"] for r in found]


async def suspended_in_vain(office: Office, desk: Desk) -> plans.PlanRow:
    """Return a change that suspended a service whose session went on, as it was said; now it has none."""
    desk.world.faults["u1"] = ["", "nak"]
    row = await approved(office, await office.plan("C-2/home"))
    await work(office, lambda: finished(office) == 1)
    assert states(office, row) == ["set-not-enforced"]
    del desk.world.sessions["u1"]
    return row


async def test_what_was_not_seen_enforced_is_done_again(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        (before,) = items_of(office, old)
        row = await office.plan("C-2/home")
        (item,) = items_of(office, row)
        assert [step.do for step in item.steps] == [step.do for step in before.steps if isinstance(step.do, Effect)]
        assert (item.enforce, item.steps[0].after, item.steps[0].on_revert) == (before.enforce, (), ())
        assert f"change {old.short} is set-not-enforced for it" in item.display["why"]
        await approved(office, row)
        await work(office, lambda: finished(office) == 2)
        assert states(office, row) == ["set-at-next-login"]
        with pytest.raises(NothingToDoError):
            await office.plan("C-2/home")


def test_a_fallback_is_taken_over_with_its_effect_only() -> None:
    """Alone it would be sent like any other, and end a session that is as wanted."""
    sessions, flows = of_sessions("u1"), cut("u1")
    user = Address("fake/d/user/u1")
    check = Enforcement("fake/d", user, {"method": "fake"}, 0)
    fallback = replace(flows, address=Address("fake/d/other/u1"))
    ends = (Step(2, "fake/d", sessions), Step(3, "fake/d", fallback, fallback_for=(2,)), Step(4, "fake/d", flows))
    left = UnprovenSuspension("K7QF2", ItemState.SET_NOT_ENFORCED, ends, check)
    nothing = AccessPlan((), None, {})
    with_all, without = left.after(nothing, {user}, "u1"), left.after(nothing, {user, sessions.address}, "u1")
    assert left.after(nothing, (), "u1") is None, "the service has another login by now"
    assert with_all is not None
    assert [(step.n, step.fallback_for) for step in with_all.steps] == [(1, ()), (2, (1,)), (3, ())]
    assert without is not None
    assert [(step.n, step.do) for step in without.steps] == [(1, flows)]


async def test_a_restore_does_not_wait_for_its_retry(tmp_path: Path) -> None:
    """Its turn may come long after: until then it holds nothing, and its reason is on record."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        (old,) = [plans.find(office.store.reader, old.short)]
        await office.daemon.api.parts.retry.retry(old)
        with trio.fail_after(5):
            await approved(office, await office.plan("C-2/home", verb=Action.RESTORE))
        await work(office, lambda: finished(office) == 2)
        assert "suspended" not in desk.world.values[desk.world.user("u1")]


async def test_another_reason_is_added_and_judged_too(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        row = await office.plan("C-2/home", reason=SuspensionReason.ABUSE)
        (item,) = items_of(office, row)
        assert (len(item.steps), len(item.desired), item.enforce is not None) == (1, 1, True)


async def test_sessions_that_are_read_are_left_to_the_new_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a suspended subscriber may be as wanted: simulated seed 28000000 saw such a one ended."""
    monkeypatch.setattr(worlds, "disconnect", of_sessions)
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        with pytest.raises(NothingToDoError):
            await office.plan("C-2/home")


async def test_a_write_is_judged_by_its_own_check_and_ends_the_same(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        desk.world.values[desk.world.user("u1")] = {"plan": "20M"}  # by staff
        (item,) = items_of(office, await office.plan("C-2/home"))
        assert [type(step.do).__name__ for step in item.steps] == ["tuple", "Effect"], "its own effect is the same one"


async def test_what_was_not_proven_in_time_counts_for_clients_only(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        store, vault = office.store, office.daemon.files.vault
        assert [one.over for one in (await unproven_suspensions(store, vault, ["C-2/home"])).values()] == [False]
        store._con.execute("UPDATE item SET reason = ?", (ItemReason.NOT_PROVEN_IN_TIME,))
        assert [one.over for one in (await unproven_suspensions(store, vault, ["C-2/home"])).values()] == [True]
        with pytest.raises(NothingToDoError):
            await office.plan("C-2/home")


async def test_a_restore_in_between_ends_it(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        await approved(office, await office.plan("C-2/home", verb=Action.RESTORE))
        await work(office, lambda: finished(office) == 2)
        desk.world.values[desk.world.user("u1")] = {"plan": "20M", "suspended": "yes"}  # by staff
        (item,) = items_of(office, await office.plan("C-2/home"))
        assert (item.steps, item.enforce) == ((), None)


def test_behind_a_restore_only_the_logins_clients_count() -> None:
    """An address may be somebody else's by then, and a device may serve the service no more."""
    user, mac = Address("fake/d/user/u1"), "02:00:00:00:00:07"
    client, gone = (replace(cut("u1"), address=Address(f"fake/{one}/flows/{mac} u1")) for one in "de")
    check = Enforcement("fake/d", user, {"method": "fake", "clients": mac}, 0)
    ends = (Step(2, "fake/d", cut("10.0.0.5")), Step(3, "fake/d", client), Step(4, "fake/e", gone))
    left = UnprovenSuspension("K7QF2", ItemState.SET_NOT_ENFORCED, ends, check, over=True)
    write = Step(1, "fake/d", (Transition(user, Seen({}, 0), {"suspended": "yes"}),))
    new = replace(check, expect={"method": "fake", "clients": "02:00:00:00:00:08"})
    planned = AccessPlan((write,), new, {})
    rest = left.after(planned, {user}, "u1")
    assert rest is not None
    assert rest.enforce is not None
    assert [(step.n, step.do, step.after) for step in rest.steps[1:]] == [(2, client, (1,))]
    assert rest.enforce.expect["clients"] == "02:00:00:00:00:07,02:00:00:00:00:08"
    assert left.after(planned, {user}, "u2") is None
    hand = left.after(AccessPlan((), None, {}, (user,)), {user}, "u1")
    assert hand is not None, "staff suspended it again"
    assert (len(hand.steps), hand.enforce) == (1, check)
    several = replace(check, expect={"method": "fake", "fake/d clients": mac, "fake/e clients": ""})
    again = replace(planned, enforce=replace(new, expect=several.expect))
    both = replace(left, enforce=several).after(again, {user}, "u1")
    assert both is not None
    assert both.enforce is not None
    assert (len(both.steps), both.enforce.expect) == (2, several.expect)


class Knowing(worlds.FakeMethod):
    """A session's client is the letter that stands before its number."""

    def ends_of_clients(self, service: Service, ended: Mapping[Address, Seen]) -> Sequence[tuple[str, Effect]]:
        names = sorted(where.rpartition("#")[0][-1] for where in ended)
        return [(one, replace(cut("u1"), address=Address(f"fake/d/flows/{one} {service.login}"))) for one in names]


def test_a_client_that_came_after_the_preview_is_known() -> None:
    user, session = Address("fake/d/user/u1"), Address("fake/d/session/u1 b#2")
    check = Enforcement("fake/d", user, {"method": "fake", "clients": "a"}, 0)
    known = replace(cut("u1"), address=Address("fake/d/flows/a u1"))
    ended = {session: Seen({"login": "u1"}, 0), Address("fake/d/session/u1 a#1"): Seen({"login": "u1"}, 0)}
    ends = (Step(2, "fake/d", of_sessions("u1")), Step(3, "fake/d", known))
    left = UnprovenSuspension("K7QF2", ItemState.SET_NOT_ENFORCED, ends, check, ended=ended)
    service = Service("C-1/home", "C-1", "Amina", "home", "u1", "fake", "20M")
    found = left.knowing(Knowing(), service)
    assert (left.knowing(worlds.FakeMethod(), service), found.enforce.expect["clients"]) == (left, "a,b")
    assert [(step.n, step.do.address) for step in found.ends[2:] if isinstance(step.do, Effect)] == [
        (4, "fake/d/flows/b u1")
    ]
    several = {"method": "fake", "fake/d clients": "", "fake/e clients": "c"}
    both = replace(left, enforce=replace(check, expect=several)).knowing(Knowing(), service)
    assert both.enforce.expect == several | {"fake/d clients": "a,b"}


async def test_a_tariff_of_a_suspended_service_ends_clients_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged "suspended" as well: simulated seed 28005014 said so of a client that carried on."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        (kept,) = (await unproven_suspensions(office.store, office.daemon.files.vault, ["C-2/home"])).values()
        assert list(kept.ended) == ["fake/d/session/u1#1"]
        kept = replace(kept, ends=(*kept.ends, Step(9, "fake/d", cut("of-nobody"))))

        async def known(*_: object) -> dict[str, UnprovenSuspension]:
            return {"C-2/home": kept}

        monkeypatch.setattr(preview, "unproven_suspensions", known)
        monkeypatch.setattr(UnprovenSuspension, "knowing", lambda left, *_: with_client(left))
        row = await office.plan("C-2/home", verb=Action.SET_PLAN, tariff="50M")
        (item,) = items_of(office, row)
        ended = [step.do.address for step in item.steps if isinstance(step.do, Effect)]
        assert ended == ["fake/d/flows/u1", "fake/d/flows/7 u1"], "its own effect, and the client's"
        assert f"change {old.short} is set-not-enforced for it" in item.display["why"]
        again = await office.plan("C-2/home")
        (item,) = items_of(office, again)
        assert "fake/d/flows/of-nobody" in [step.do.address for step in item.steps if isinstance(step.do, Effect)]


async def test_a_tariff_in_between_is_what_the_next_check_looks_for(tmp_path: Path) -> None:
    """A disabled hotspot user keeps its tariff's profile: "its profile is home50, not home20" was said of it."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        desk.world.faults["u1"] = ["", "nak"]
        await approved(office, await office.plan("C-2/home", verb=Action.SET_PLAN, tariff="50M"))
        await work(office, lambda: finished(office) == 2)
        (item,) = items_of(office, await office.plan("C-2/home"))
        assert f"change {old.short} is set-not-enforced for it" in item.display["why"]
        assert item.enforce is not None
        assert item.enforce.expect["plan"] == "50M"


async def test_a_revert_that_suspends_counts_as_a_suspension(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        for number, verb in enumerate((Action.SUSPEND, Action.RESTORE), start=1):
            row = await approved(office, await office.plan("C-2/home", verb=verb))
            await work(office, lambda n=number: finished(office) == n)
        desk.world.faults["u1"] = ["", "nak"]
        back = await approved(office, await office.plan(verb=Action.REVERT, change=row.short))
        await work(office, lambda: finished(office) == 3)
        assert states(office, back) == ["set-not-enforced"]
        (item,) = items_of(office, await office.plan("C-2/home", reason=SuspensionReason.ABUSE))
        assert f"change {back.short} is set-not-enforced for it" in item.display["why"]


class AsksNas(worlds.FakeMethod):
    """A login may have a session that nobody knows: it is asked for where the record does not say that all is well."""

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        planned, where = super().plan(wanted, service, seen), Address(f"fake/d/sessions/{service.login}")
        suspended = wanted.access is Access.SUSPENDED
        if planned.steps or suspended is bool(service.reasons) or seen[where].value is not ABSENT:
            return planned
        check = Enforcement("fake/d", where, {"method": "fake", "state": wanted.access.value}, 0)
        return replace(planned, steps=(Step(1, "fake/d", of_sessions(service.login)),), enforce=check)


@pytest.fixture
def asks_nas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "disconnect", of_sessions)
    monkeypatch.setattr(worlds, "FakeMethod", AsksNas)


def as_not_proven(office: Office, row: plans.PlanRow) -> None:
    office.store._con.execute("UPDATE item SET reason = ? WHERE plan_id = ?", (ProofReason.NOT_PROVEN, row.plan_id))


@pytest.mark.usefixtures("asks_nas")
async def test_another_reason_asks_for_sessions_nobody_knows(tmp_path: Path) -> None:
    """Simulated seed 29480425: only the reason was recorded, and the session with full internet went on."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        as_not_proven(office, old)
        with pytest.raises(NothingToDoError):  # a monthly batch would ask for it each time
            await office.plan("C-2/home")
        row = await office.plan("C-2/home", reason=SuspensionReason.ABUSE)
        (item,) = items_of(office, row)
        assert [step.do for step in item.steps] == [of_sessions("u1")]
        assert item.enforce is not None
        assert f"change {old.short} is set-not-enforced for it" in item.display["why"]
        await approved(office, row)
        await work(office, lambda: finished(office) == 2)
        assert states(office, row) == ["set-at-next-login"]
        (item,) = items_of(office, await office.plan("C-2/home", reason=SuspensionReason.REQUEST))
        assert item.steps == (), "now it is proven"


@pytest.mark.usefixtures("asks_nas")
async def test_a_tariff_that_was_seen_enforced_vouches_too(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        await approved(office, await office.plan("C-2/home", verb=Action.SET_PLAN, tariff="50M"))
        await work(office, lambda: finished(office) == 2)
        (item,) = items_of(office, await office.plan("C-2/home", reason=SuspensionReason.ABUSE))
        assert item.steps == ()


async def test_a_session_of_unknown_policy_is_not_said_to_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "disconnect", of_sessions)
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        desk.world.sessions["u1"] = 1
        with pytest.raises(NothingToDoError) as told:
            await office.plan("C-2/home")
        assert f"not proven: change {old.short} is set-not-enforced for it" in " ".join(told.value.lines)


async def test_a_reason_that_is_lifted_proves_nothing(tmp_path: Path) -> None:
    """The lift is only recorded. The preview names the unproven suspension, and so does that of the next suspension."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        desk.world.faults["u1"] = ["", "nak", "nak"]
        await approved(office, await office.plan("C-2/home"))
        await work(office, lambda: finished(office) == 1)
        row = await approved(office, await office.plan("C-2/home", reason=SuspensionReason.ABUSE))
        await work(office, lambda: finished(office) == 2)
        assert states(office, row) == ["set-not-enforced"]
        del desk.world.sessions["u1"]
        lifted = await approved(office, await office.plan("C-2/home", verb=Action.RESTORE))
        (item,) = items_of(office, lifted)
        told = f"change {row.short} is set-not-enforced for it"
        assert (item.steps, item.display["now"]) == ((), f"not proven: {told}")
        await work(office, lambda: finished(office) == 3)
        assert states(office, lifted) == ["applied"]
        (item,) = items_of(office, await office.plan("C-2/home", reason=SuspensionReason.REQUEST))
        assert told in item.display["why"]


@pytest.mark.parametrize(
    ("state", "reason", "tells"),
    [
        ("applied", "", True),
        ("applied", "recorded", False),
        ("set-not-enforced", "not-proven", True),
        ("needs-a-person", "", True),
        ("cancelled", "", False),
        ("not-applied", "", False),
    ],
)
def test_an_item_that_did_nothing_hides_none_before_it(state: str, reason: str, tells: bool) -> None:
    row: Any = {"state": state, "reason": reason}
    assert (_told(row) is not None) is tells


def with_client(left: UnprovenSuspension) -> UnprovenSuspension:
    """Return it with the client 7, and what ends its connections."""
    client = Step(10, "fake/d", replace(cut("u1"), address=Address("fake/d/flows/7 u1")))
    enforce = replace(left.enforce, expect={**left.enforce.expect, "clients": "7"})
    return replace(left, ends=(*left.ends, client), enforce=enforce)


async def test_of_each_service_only_its_own_items_are_read(tmp_path: Path) -> None:
    """A batch asks for each of its thousands of services."""
    async with office_in(tmp_path, Desk()) as office:
        for sql, args in ((_ACTED, ("C-2/home",)),):
            found = {row["detail"] for row in office.store.query(f"EXPLAIN QUERY PLAN {sql}", args)}
            assert "SEARCH i USING INDEX item_service (service=?)" in found
            assert not [detail for detail in found if detail.startswith("SCAN")]
