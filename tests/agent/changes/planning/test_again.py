"""Asking anew for the rest of a change: only what was not done, with its reason or tariff, in a plan of its own."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow, SetGate
from agent.changes.journal.machine import EXIT_CODES, ChangeState, Gate
from agent.changes.journal.request import Ask, RequestError, check_ask, local
from agent.changes.planning.again import own_verb
from agent.model import SuspensionReason, TariffChange
from agent.rest import HAVE_A_REST
from agent.store.errors import RefusedCommandError
from tests.builders.office import MARIA_UID, Desk, Office, approved, finished, office_in, work
from trust.leaf import LeafKind
from trust.policy import Action


async def asked(office: Office, ask: Ask) -> PlanRow:
    api = office.daemon.api.parts
    pinned = api.trust.current(time.time())
    request = local(ask, MARIA_UID, api.people, pinned.trust, api.agent, time.time())
    plan_id = await api.intake.plan(request, pinned)
    return plans.find(office.store.reader, plan_id.hex())


def listed(office: Office, row: PlanRow) -> dict[str, str]:
    found = office.store.reader.execute("SELECT service, state FROM item WHERE plan_id = ?", (row.plan_id,))
    return {r["service"]: r["state"] for r in found.fetchall()}


async def half_done(office: Office, desk: Desk, ask: Ask) -> PlanRow:
    """Return a change of two services of which one was refused by its target."""
    desk.world.faults["u1"] = ["refused"]
    row = await approved(office, await asked(office, ask))
    await work(office, lambda: finished(office) == 1)
    assert listed(office, row) == {"C-1/home": "applied", "C-2/home": "not-applied"}
    return row


async def test_the_rest_is_a_plan_of_its_own_with_its_own_approval(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await half_done(office, desk, Ask(Action.SUSPEND, ("C-1", "C-2/home"), reason=SuspensionReason.ABUSE))
        old = plans.find(office.store.reader, old.short)
        assert plans.state_now(office.store.reader, old) is ChangeState.NEEDS_YOU
        row = await asked(office, Ask(Action.SUSPEND, change=old.short))
        assert listed(office, row) == {"C-2/home": "planned"}
        assert (row.gate, row.reason) == (Gate.OPEN, "+abuse")
        head = plans.load(office.store.reader, office.daemon.files.vault, row).items.head
        assert head.display["source"] == f"again 1 of 2 of {old.short} · left out: 1 done"
        await approved(office, row)
        await work(office, lambda: finished(office) == 2)
        assert listed(office, row) == {"C-2/home": "applied"}
        state = plans.state_now(office.store.reader, old)
        assert (state, EXIT_CODES[state]) == (ChangeState.DONE, 0), "what it left out was done since"
        done = plans.done_again(office.store.reader, [old.plan_id])[old.plan_id]
        assert {n: one.change for n, one in done.items()} == {2: row.short}
        with pytest.raises(RequestError, match="has no rest"):
            await asked(office, Ask(Action.SUSPEND, change=row.short))


async def test_what_no_longer_owes_is_left_out_by_the_new_plan(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await half_done(office, desk, Ask(Action.SUSPEND, ("C-1", "C-2/home")))
        office.store._con.execute("UPDATE account SET balance = '0.00', invoices = '[]' WHERE subscriber = 'C-2'")
        with pytest.raises(RequestError, match="nothing would change"):
            await asked(office, Ask(Action.SUSPEND, change=old.short))


async def test_the_tariff_comes_along(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await half_done(office, desk, Ask(Action.SET_PLAN, ("C-1", "C-2/home"), tariff="50M"))
        row = await asked(office, Ask(Action.SET_PLAN, change=old.plan_id.hex()))
        loaded = plans.load(office.store.reader, office.daemon.files.vault, row)
        assert [d for i in loaded.items.items for d in i.desired] == [TariffChange("20M", "50M")]


@pytest.mark.parametrize(("gate", "kind"), [(Gate.EXPIRED, LeafKind.PLAN_VOID), (Gate.VOID, LeafKind.PLAN_VOID)])
async def test_a_plan_that_was_never_used_is_its_own_rest(office: Office, gate: Gate, kind: LeafKind) -> None:
    old = await asked(office, Ask(Action.SUSPEND, ("C-1", "C-2/home")))
    await office.store.run(SetGate(old.plan_id, gate, kind))
    row = await asked(office, Ask(Action.SUSPEND, change=old.short))
    assert listed(office, row) == {"C-1/home": "planned", "C-2/home": "planned"}


async def test_what_is_not_over_or_was_rejected_is_refused(office: Office) -> None:
    old = await asked(office, Ask(Action.SUSPEND, ("C-1",)))
    with pytest.raises(RequestError, match="expected a change that is over and was not rejected, it is open"):
        await asked(office, Ask(Action.SUSPEND, change=old.short))
    await office.store.run(SetGate(old.plan_id, Gate.REJECTED, LeafKind.REJECTION))
    with pytest.raises(RequestError, match="it is rejected"):
        await asked(office, Ask(Action.SUSPEND, change=old.short))
    other = await asked(office, Ask(Action.SUSPEND, ("C-2/home",)))
    await office.store.run(SetGate(other.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID))
    with pytest.raises(RequestError, match="expected the rest of a restore, it is a suspend"):
        await asked(office, Ask(Action.RESTORE, change=other.short))
    with pytest.raises(RefusedCommandError, match="there is no change"):
        await asked(office, Ask(Action.SUSPEND, change="ZZZZZ"))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (Ask(Action.REMOVE, ("C-1",)), "is a remove: ask for it by its own verb, ispagent subscriber remove REF"),
        (
            Ask(Action.RENAME_LOGIN, ("C-1",), settings={"login": "u9"}),
            "is a rename-login: ask for it by its own verb, ispagent subscriber rename-login REF NEW",
        ),
    ],
)
async def test_what_has_no_rest_names_its_own_verb(tmp_path: Path, ask: Ask, says: str) -> None:
    """A rest without the settings of the change, such as the new login, would be another change."""
    desk = Desk()
    desk.world.values[desk.world.user("u9")] = {"plan": "20M"}
    async with office_in(tmp_path, desk) as office:
        old = await asked(office, ask)
        await office.store.run(SetGate(old.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID))
        with pytest.raises(RequestError, match=says):
            await office.daemon.api.parts.intake.rest(old.short)


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.REVERT], ids=lambda a: a.value)
def test_each_verb_has_a_rest_or_a_command_of_its_own(action: Action) -> None:
    """A new verb in neither list would end `ispagent change again` with an internal error."""
    assert action.value in HAVE_A_REST or own_verb(action)


@pytest.mark.parametrize(
    ("state", "reason", "recorded", "command"),
    [
        ("set-not-enforced", "still-online", True, "ispagent change retry {0}"),
        ("set-not-enforced", "still-online", False, "there is: ispagent change suspend C-2/home"),
        ("set-not-enforced", "cancelled", True, "there is: ispagent change suspend C-2/home"),
        ("needs-a-person", "", True, "ispagent change show {0} --open, then ispagent change revert {0}"),
        ("diverged", "", True, "ispagent subscriber show C-2/home, then ispagent change suspend C-2/home"),
    ],
)
async def test_what_needs_a_person_comes_with_its_command(
    tmp_path: Path, state: str, reason: str, recorded: bool, command: str
) -> None:
    """`recorded`: the record of the service is as the change set it; otherwise a retry is refused as overtaken."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await half_done(office, desk, Ask(Action.SUSPEND, ("C-1", "C-2/home"), reason=SuspensionReason.ABUSE))
        con = office.store._con
        for trigger in ("item_way", "item_event"):
            con.execute(f"DROP TRIGGER {trigger}")
        con.execute("UPDATE item SET state = ?, reason = ? WHERE plan_id = ? AND n = 2", (state, reason, old.plan_id))
        if recorded:
            con.execute("INSERT INTO reason SELECT 'C-2/home', reason, plan_id, seq, looked_s FROM reason")
        with pytest.raises(RequestError, match=re.escape(command.format(old.short))):
            await asked(office, Ask(Action.SUSPEND, change=old.short))


async def test_a_service_that_is_gone_is_named(office: Office) -> None:
    old = await asked(office, Ask(Action.SUSPEND, ("C-1", "C-2/home")))
    await office.store.run(SetGate(old.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID))
    office.store._con.execute("DELETE FROM service WHERE ref = 'C-1/home'")
    rest = await office.daemon.api.parts.intake.rest(old.short)
    assert rest.refs == ("C-2/home",)
    assert [(o.service, o.why) for o in rest.left_out] == [("C-1/home", "no longer in the subscriber list")]


@pytest.mark.parametrize(
    "ask",
    [Ask(Action.SUSPEND, ("C-1",), change="K7QF2"), Ask(Action.CPE_REBOOT, change="K7QF2"), Ask(Action.SUSPEND)],
)
def test_an_ask_names_services_or_a_change(ask: Ask) -> None:
    with pytest.raises(RequestError, match="expected"):
        check_ask(ask)


async def test_a_desk_asks_for_the_rest_by_the_change_alone(office: Office) -> None:
    """The desk knows no services: its intent names the change, and the agent decides what its rest is."""
    old = await asked(office, Ask(Action.SUSPEND, ("C-1", "C-2/home")))
    await office.store.run(SetGate(old.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID))
    await office.receive("intent", office.sealed(office.intent(change=old.plan_id.hex())))
    new = office.row()
    assert new.plan_id != old.plan_id
    assert listed(office, new) == {"C-1/home": "planned", "C-2/home": "planned"}
