"""Who pays is back: by a standing authority, in both orders of payment and suspension, once, and in its turn."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.billing import matcher, source_reader
from agent.billing_model.account import PaymentState
from agent.changes import paid
from agent.changes.authority import standings
from agent.changes.journal import plans
from agent.changes.journal.machine import Gate
from agent.inventory import importing
from agent.inventory.billing import BillingReader
from agent.inventory.ledger import Query
from agent.model import ItemState
from tests.builders.billing import refused
from tests.builders.paid_office import (
    PaidRig,
    decide,
    grant,
    paid_rig,
    restores,
    suspend_by_hand,
)
from trust.policy import Action
from trust.statements import Decision, FreezeScope

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PaidRig:
    return paid_rig(tmp_path, monkeypatch)


async def test_who_pays_is_back_within_seconds(rig: PaidRig) -> None:
    async with rig.life("C-1", "C-2"):
        rig.billing.pay("C-1")
        await rig.ring("C-1", "e1")
        await trio.sleep(5)
        assert (rig.desk.is_cut("C-1"), rig.reasons("C-1")) == (False, frozenset())
        assert (rig.desk.is_cut("C-2"), rig.reasons("C-2")) == (True, {"debt"})
        (plan,) = rig.plans()
        assert plan.requester == rig.office.daemon.config.name
        assert restores(rig.office).queue() == []


async def test_a_plan_is_approved_in_the_commit_that_saves_it(rig: PaidRig) -> None:
    gates: list[str] = []
    async with rig.life("C-1"):
        rig.billing.pay("C-1")
        rig.office.store.between = lambda _: gates.extend(plan.gate.value for plan in rig.plans())
        await rig.ring("C-1", "e1")
        await trio.sleep(5)
        assert rig.reasons("C-1") == frozenset()
    assert set(gates) == {"approved", "consumed"}


async def test_a_payment_that_polling_finds_restores_too(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        assert rig.reasons("C-1") == frozenset()


async def test_a_payer_heard_of_by_a_clock_that_was_set_back_is_back(rig: PaidRig) -> None:
    """Seed 4000062."""
    async with rig.life("C-1"):
        con = rig.office.store._con
        con.execute("UPDATE reason SET looked_s = ?", (rig.clock.wall_s(),))
        con.commit()
        await trio.sleep(10)
        rig.billing.pay("C-1")  # billing's clock is right
        rig.clock.step_wall(-400)
        await trio.sleep(75)
        rig.clock.step_wall(400)
        await rig.office.daemon.job.clock_watch.accept("maria")
        await trio.sleep(75)
        assert rig.reasons("C-1") == frozenset()


async def test_a_payer_of_a_clock_that_ran_ahead_is_back(rig: PaidRig) -> None:
    """Seed 5000038: its restore was planned for a day later, and waited for that."""
    async with rig.life("C-1"):
        watch = rig.office.daemon.job.clock_watch
        await watch.check()
        rig.billing.pay("C-1")
        rig.clock.step_wall(86_400)
        await trio.sleep(1000)  # until all accounts are read again: the known ones are a day old
        (ahead,) = rig.plans()
        assert ahead.gate.value in ("open", "approved")
        rig.clock.step_wall(-86_400)
        await trio.sleep(75)
        assert rig.plans()[0].gate is ahead.gate, "a clock that halts voids nothing"
        await watch.accept("maria")
        await trio.sleep(1000)
        assert rig.reasons("C-1") == frozenset()
        assert sorted(plan.gate.value for plan in rig.plans()) == ["consumed", "expired"]


async def test_one_payment_told_twice_is_one_restore(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.billing.pay("C-1")
        for n in range(5):
            await rig.ring("C-1", f"e{n}")
        await trio.sleep(4000)
        assert len(rig.plans()) == 1


async def test_a_ring_during_a_look_is_heard(rig: PaidRig) -> None:
    # A look lets other tasks run after every ten payers: what is matched then must not wait for the next look
    names = [f"C-{n}" for n in range(22)]
    async with rig.life(*names, restore_paid=False), trio.open_nursery() as nursery:
        for name in names:
            rig.billing.pay(name, part=name != "C-21")  # whoever paid a part is looked at, and left in doubt
        await trio.sleep(75)
        _match(rig, "C-21", "")
        found = restores(rig.office)
        found.asks = True
        nursery.start_soon(found.run)
        while not found._payers:
            await trio.lowlevel.checkpoint()
        assert len(found._payers) in (10, 20), "in the middle of the look"
        _match(rig, "C-21", "C-21")
        found.changed.ring()
        await trio.sleep(5)
        assert rig.reasons("C-21") == frozenset()
        nursery.cancel_scope.cancel()


def _match(rig: PaidRig, name: str, subscriber: str) -> None:
    """Say whose the payment of `name` is, as the matcher's commit does; "": nobody's yet."""
    con = rig.office.store._con
    con.execute("UPDATE payment SET subscriber = ? WHERE told LIKE ?", (subscriber, f'%"k-{name}"%'))
    con.commit()
    assert con.execute("SELECT count(*) FROM payment WHERE subscriber = ?", (name,)).fetchone()[0] == bool(subscriber)


async def test_a_doubtful_payer_delays_nobody(rig: PaidRig) -> None:
    async with rig.life("C-1", "C-2"):
        rig.desk.world.dead.add("fake/d")
        rig.billing.pay("C-1", part=True)
        rig.billing.pay("C-2")
        await trio.sleep(75)
        again = restores(rig.office)._payers["C-2/home"]
        rig.desk.world.dead.clear()
        await trio.sleep(again.again_at - rig.clock.boot_s() + 3)
        assert rig.reasons("C-2") == frozenset()


async def test_another_reason_stays(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        suspend_by_hand(rig.office, "C-1", "abuse")
        rig.billing.pay("C-1")
        await trio.sleep(75)
        assert rig.reasons("C-1") == {"abuse"}
        assert rig.desk.is_cut("C-1")


@pytest.mark.parametrize(
    ("part", "state", "why"),
    [
        (True, PaymentState.SETTLED, "it paid a part: 1 is overdue still"),
        (False, PaymentState.PENDING, ""),
    ],
)
async def test_what_does_not_settle_the_debt_asks_for_nothing(
    rig: PaidRig, part: bool, state: PaymentState, why: str
) -> None:
    async with rig.life("C-1"):
        rig.billing.pay("C-1", part=part, state=state)
        await trio.sleep(1000)
        assert rig.plans() == []
        assert rig.reasons("C-1") == {"debt"}
        assert [d.why for d in await restores(rig.office).for_people()] == ([why] if why else [])


async def test_a_credit_note_is_for_a_person(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.billing.debts["C-1"] = Decimal(0)
        await trio.sleep(1000)
        assert rig.plans() == []
        (doubt,) = await restores(rig.office).for_people()
        assert doubt.service == "C-1/home"
        assert doubt.why.startswith("nothing is overdue, and no new payment says why: a credit note")


async def test_a_payer_who_cannot_be_restored_is_told_why(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.office.store._con.execute("UPDATE service SET method = 'gone'")
        rig.billing.pay("C-1")
        await trio.sleep(75)
        assert (rig.plans(), rig.why("C-1")) == ([], "C-1/home: no access mapping for method gone")


async def test_account_that_is_gone_or_has_another_name_is_for_person(rig: PaidRig) -> None:
    async with rig.life("C-1", "C-2"):
        await trio.sleep(75)
        del rig.billing.debts["C-1"]
        rig.billing.owe("c 1")
        rig.billing.pay("c 1")
        await trio.sleep(1000)
        assert rig.plans() == []
        (doubt,) = await restores(rig.office).for_people()
        assert doubt.service == "C-1/home"
        assert doubt.why.startswith("billing has no account of this name any more")


async def test_payment_taken_back_before_restore_asks_for_nothing(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        told = rig.billing.pay("C-1")
        rig.billing.reverse(told)
        await trio.sleep(1000)
        assert rig.plans() == []


async def test_who_paid_while_accounts_were_unreadable_comes_back(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        await trio.sleep(75)
        rig.billing.pay("C-1")
        rig.billing.fails = [refused() for _ in range(4)]  # the questions after the payment; the whole readings go well
        await trio.sleep(3000)
        assert rig.reasons("C-1") == frozenset()


async def test_a_source_in_doubt_asks_for_nothing_until_it_is_fresh(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.billing.fails = [refused() for _ in range(60)]
        await trio.sleep(1000)
        rig.billing.pay("C-1")
        await trio.sleep(100)
        assert rig.plans() == []
        assert rig.why("C-1") == "it is in doubt: a person looks"
        rig.billing.fails.clear()
        await trio.sleep(1000)
        assert rig.reasons("C-1") == frozenset()


async def test_without_standing_authority_a_plan_waits_each_day(rig: PaidRig) -> None:
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(20 * 3600)
        (plan,) = rig.plans()
        assert plan.gate.value == "expired"
        assert "asked for again a day later, or by a person" in rig.why("C-1")
        await trio.sleep(5 * 3600)
        assert len(rig.plans()) == 2
        await grant(rig.office, rig.desk, 60)
        await trio.sleep(2 * 3600)
        assert rig.reasons("C-1") == frozenset()


@pytest.mark.parametrize("asked_first", [False, True])
async def test_a_payer_is_back_once_a_freeze_of_a_signer_is_lifted(rig: PaidRig, asked_first: bool) -> None:
    """While one of its two signers is frozen a standing authority covers nothing, also what it had covered."""
    async with rig.life("C-1"):
        submit = rig.office.daemon.job.approvals.submit
        people = rig.desk.people
        people.now_s = int(rig.office.daemon.clock.wall_s())
        freezes = []
        if asked_first:
            freezes.append(people.freeze("joseph"))  # of all: the plan is made, and waits
            assert (await submit(freezes[0]))[0].accepted
            rig.billing.pay("C-1")
            await trio.sleep(75)
        freezes.append(people.freeze("joseph", FreezeScope.PERSON, "lena"))
        assert (await submit(freezes[-1]))[0].accepted
        if not asked_first:
            rig.billing.pay("C-1")
        await trio.sleep(600)
        assert rig.reasons("C-1") == {"debt"}, "nobody in force allows it"
        people.now_s = int(rig.office.daemon.clock.wall_s())
        for freeze in reversed(freezes):
            (answer,) = await submit(people.unfreeze(freeze, ("joseph", "maria")))
            assert answer.accepted, answer.message
        await trio.sleep(120)
        assert rig.reasons("C-1") == frozenset(), rig.why("C-1")


async def test_a_payer_is_back_though_its_source_was_in_doubt(rig: PaidRig) -> None:
    """Found by the simulation: a restore that was approved lost its evidence for a moment, and waited for people."""
    async with rig.life("C-1"):
        submit, people = rig.office.daemon.job.approvals.submit, rig.desk.people
        people.now_s = int(rig.office.daemon.clock.wall_s())
        freeze = people.freeze("joseph")
        assert (await submit(freeze))[0].accepted
        rig.billing.pay("C-1")
        await trio.sleep(75)
        assert [plan.gate.value for plan in rig.plans()] == ["approved"]
        rig.billing.fails = [refused() for _ in range(2000)]
        await trio.sleep(1000)
        people.now_s = int(rig.office.daemon.clock.wall_s())
        assert (await submit(people.unfreeze(freeze, ("joseph", "maria"))))[0].accepted
        await trio.sleep(300)
        assert (rig.reasons("C-1"), rig.plans()[0].gate.value) == ({"debt"}, "open")
        rig.billing.fails.clear()
        rig.office.daemon.job.sources.readers["main"].poke()
        await trio.sleep(120)
        assert rig.reasons("C-1") == frozenset(), rig.why("C-1")


@pytest.mark.parametrize("decided", ["paused_by = 'maria', paused_s = 1", "gate = 'rejected'"])
async def test_a_plan_that_a_person_decided_on_is_not_withdrawn(rig: PaidRig, decided: str) -> None:
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        (plan,) = rig.plans()
        rig.office.store._con.execute(f"UPDATE plan SET {decided}")
        rig.office.store._con.commit()
        assert not await rig.office.daemon.job.approvals.standings.withdraw(plan.plan_id)
        await grant(rig.office, rig.desk, 60)
        await trio.sleep(300)
        assert (rig.reasons("C-1"), len(rig.plans())) == ({"debt"}, 1)


async def test_a_person_may_take_it(rig: PaidRig) -> None:
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        (plan,) = rig.plans()
        await decide(rig.office, rig.desk, plan, "joseph", "lena")  # the agent is no person: one more
        await trio.sleep(10)
        assert rig.reasons("C-1") == frozenset()


async def test_a_person_who_asks_first_has_the_only_plan(rig: PaidRig) -> None:
    async with rig.life("C-1", rate=0):
        await rig.office.plan("C-1", verb=Action.RESTORE)
        rig.billing.pay("C-1")
        await trio.sleep(100)
        (plan,) = rig.plans()
        assert plan.requester == "maria"
        assert rig.why("C-1") != ""


async def test_a_payer_waits_for_no_plan_that_nobody_approved(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        await rig.office.plan("C-1", verb=Action.RESTORE)
        rig.billing.pay("C-1")
        await rig.ring("C-1", "e1")
        await trio.sleep(5)
        assert (rig.reasons("C-1"), rig.desk.is_cut("C-1")) == (frozenset(), False), rig.why("C-1")
        assert sorted((plan.requester, plan.gate.value) for plan in rig.plans()) == sorted(
            [(rig.office.daemon.config.name, "consumed"), ("maria", "open")]
        )


@pytest.mark.parametrize("paid_first", [False, True])
async def test_a_payer_waits_for_no_item_that_is_over(rig: PaidRig, paid_first: bool) -> None:
    """A person's restore of two went on for an hour, as the other one's router was away."""
    async with rig.life("C-1", "C-2", rate=0):
        rig.desk.world.faults.update({"u-C-1": ["refused"], "u-C-2": ["away"] * 100})
        both = await rig.office.plan("C-1", "C-2", verb=Action.RESTORE)
        if paid_first:
            rig.billing.pay("C-1")
            await rig.ring("C-1", "e1")
            await trio.sleep(5)
        await decide(rig.office, rig.desk, both, "joseph")
        await trio.sleep(5)
        await grant(rig.office, rig.desk, 60)
        if not paid_first:
            rig.billing.pay("C-1")
            await rig.ring("C-1", "e1")
        await trio.sleep(400)
        states = rig.office.store.query("SELECT state FROM item WHERE plan_id = ? ORDER BY n", (both.plan_id,))
        assert [r["state"] for r in states] == ["not-applied", "waiting"]
        assert (rig.reasons("C-1"), rig.why("C-1")) == (frozenset(), "")


@pytest.mark.parametrize("restart", [False, True])
async def test_who_is_back_by_a_person_has_no_open_plan(rig: PaidRig, restart: bool) -> None:
    """Seed 29460230 of the simulation: the agent's own plan stayed in the list, and waited for an approval."""
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        (plan,) = rig.plans()
        await rig.office.plan("C-1", verb=Action.RESTORE)
        theirs = next(one for one in rig.plans() if one.requester == "maria")
        await decide(rig.office, rig.desk, theirs, "joseph")
        await trio.sleep(0 if restart else 100)
    async with rig.life(first=False, rate=0):
        await trio.sleep(100 if restart else 0)
        assert rig.reasons("C-1") == frozenset()
        assert {one.requester: one.gate.value for one in rig.plans()} == {
            plan.requester: "expired",
            "maria": "consumed",
        }


async def test_a_restart_leaves_no_payer_to_people(rig: PaidRig) -> None:
    """Its plan was made while no standing authority was in force, so that only people can approve it."""
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        await grant(rig.office, rig.desk, 60)
        assert [plan.gate for plan in rig.plans()] == [Gate.OPEN]
    async with rig.life(first=False):
        await trio.sleep(10)
        assert rig.reasons("C-1") == frozenset(), rig.why("C-1")
        assert sorted(plan.gate.value for plan in rig.plans()) == ["consumed", "expired"]


async def test_a_plan_made_while_billing_fell_silent_is_withdrawn(
    rig: PaidRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulation: the payment was seen before the plan and not in it, and the payer waited for people."""
    seen, unpatched = [True, False, False], standings.has_matched_payment

    def has_matched_payment(query: Query, service: str, now_s: float, billing: BillingReader) -> bool:
        return unpatched(query, service, now_s, billing) and (not seen or seen.pop(0))

    async with rig.life("C-1"):
        monkeypatch.setattr(standings, "has_matched_payment", has_matched_payment)
        rig.billing.pay("C-1")
        await trio.sleep(180)
        assert rig.reasons("C-1") == frozenset(), rig.why("C-1")
        assert sorted(plan.gate.value for plan in rig.plans()) == ["consumed", "expired"]


async def test_a_new_standing_authority_waits_for_no_person(rig: PaidRig) -> None:
    async with rig.life("C-1", rate=0):
        await rig.office.plan("C-1", verb=Action.RESTORE)
        rig.billing.pay("C-1")
        await trio.sleep(100)
        assert (rig.reasons("C-1"), len(rig.plans())) == ({"debt"}, 1)
        await grant(rig.office, rig.desk, 60)
        await trio.sleep(100)
        assert rig.reasons("C-1") == frozenset(), rig.why("C-1")


async def test_who_is_turned_down_is_not_asked_for_again_the_same_day(rig: PaidRig) -> None:
    async with rig.life("C-1", rate=0):
        rig.billing.pay("C-1")
        await trio.sleep(75)
        (plan,) = rig.plans()
        await decide(rig.office, rig.desk, plan, "joseph", decision=Decision.REJECT)
        await trio.sleep(20 * 3600)
        assert len(rig.plans()) == 1


async def test_a_target_that_is_away_is_asked_for_again(rig: PaidRig) -> None:
    async with rig.life("C-1"):
        rig.desk.world.dead.add("fake/d")
        rig.billing.pay("C-1")
        await trio.sleep(600)
        assert rig.desk.is_cut("C-1")
        assert rig.why("C-1") != ""
        rig.desk.world.dead.clear()
        await trio.sleep(4000)
        assert rig.reasons("C-1") == frozenset()
        applied = [p for p in rig.plans() if ItemState.APPLIED in plans.counts(rig.office.store.reader, p)]
        assert len(applied) == 1


async def test_a_restart_between_payment_and_restore_forgets_nothing(rig: PaidRig) -> None:
    async with rig.life("C-1", "C-2"):
        rig.billing.pay("C-1")
        await rig.ring("C-1", "e1")
    async with rig.life(first=False):
        await trio.sleep(30)
        assert rig.reasons("C-1") == frozenset()
        assert len(rig.plans()) == 1


async def test_over_the_rate_the_first_to_pay_comes_first(rig: PaidRig) -> None:
    async with rig.life("C-1", "C-2", "C-3", rate=1):
        for name in ("C-2", "C-3", "C-1"):
            rig.billing.pay(name)
            await rig.ring(name, f"e-{name}")
            await trio.sleep(30)
        assert [rig.desk.is_cut(n) for n in ("C-1", "C-2", "C-3")] == [True, False, True]
        assert "it waits its turn" in rig.why("C-1")
        assert len(rig.plans()) == 1
        await trio.sleep(3600)
        assert [rig.desk.is_cut(n) for n in ("C-1", "C-2", "C-3")] == [True, False, False]
        await trio.sleep(3600)
        assert [rig.desk.is_cut(n) for n in ("C-1", "C-2", "C-3")] == [False, False, False]
        assert len(rig.plans()) == 3


async def test_who_waits_for_room_is_judged_once_more(rig: PaidRig, monkeypatch: pytest.MonkeyPatch) -> None:
    judged, may_come = Counter[str](), paid.PaidRestores._may_come

    def counted(self: paid.PaidRestores, service: str) -> bool:
        judged[service] += 1
        return may_come(self, service)

    monkeypatch.setattr(paid.PaidRestores, "_may_come", counted)
    names = [f"C-{n}" for n in range(4 * paid.AT_ONCE)]
    async with rig.life(*names, rate=1000):
        for name in names:
            rig.billing.pay(name)
        await trio.sleep(120)
        assert not any(rig.desk.is_cut(name) for name in names)
    assert max(judged.values()) <= 2


@pytest.mark.slow
async def test_pay_day_ends_in_time_and_forgets_nobody(rig: PaidRig, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, limit in ((importing, "LONG_BYTES"), (source_reader, "AT_ONCE"), (matcher, "AT_ONCE")):
        monkeypatch.setattr(module, limit, 1 << 30)  # virtual time would not wait for a thread
    names = [f"C-{n}" for n in range(600)]
    async with rig.life(*names, rate=200):
        start_s = trio.current_time()
        for name in names:
            rig.billing.pay(name)
        await trio.sleep(600)
        assert sum(rig.desk.is_cut(name) for name in names) == 400
        assert len(rig.plans()) == 200  # the others wait without a plan
        while any(rig.desk.is_cut(name) for name in names):
            await trio.sleep(60)
            assert trio.current_time() - start_s <= 3 * 3600 + 600
        assert len(rig.plans()) == 600
        assert restores(rig.office).queue() == []
        starts = [r["at_s"] for r in rig.office.store.query("SELECT at_s FROM standing_use ORDER BY at_s")]
        assert len(starts) == 600
        assert all(later - earlier >= 3600 for earlier, later in zip(starts, starts[200:], strict=False))


async def test_where_somebody_else_asks_the_payer_is_only_listed(rig: PaidRig) -> None:
    async with rig.life("C-1", restore_paid=False):
        rig.billing.pay("C-1")
        await rig.ring("C-1", "e1")
        await trio.sleep(600)
        (waiting,) = restores(rig.office).queue()
        assert (waiting.change, waiting.why) == ("", "[billing] restore_paid is false: somebody else asks")
        assert (rig.desk.is_cut("C-1"), rig.plans()) == (True, [])


@pytest.mark.parametrize("people_too", [False, True])
async def test_a_payment_taken_back_while_a_restore_waits_ends_it(rig: PaidRig, people_too: bool) -> None:
    """Whoever approved it besides saw a payment in the preview."""
    async with rig.life("C-1"):
        dead = rig.desk.world.dead

        def die(_: object) -> None:
            if any(plan.gate is Gate.CONSUMED for plan in rig.plans()):
                dead.add("fake/d")
                rig.office.store.between = lambda _: None

        rig.office.store.between = die
        told = rig.billing.pay("C-1")
        await trio.sleep(200)
        (plan,) = rig.plans()
        assert (plan.gate, plan.finished_seq, rig.desk.is_cut("C-1")) == (Gate.CONSUMED, None, True)
        if people_too:
            add = "INSERT INTO approval (plan_id, person, key, decision, envelope, seq) VALUES (?,?,?,?,?,?)"
            row = (plan.plan_id, "joseph", "k", Decision.APPROVE.value, b"", 1)
            rig.office.store._con.execute(add, row).connection.commit()
        rig.billing.reverse(told)
        await trio.sleep(100)
        dead.clear()
        await trio.sleep(600)
        assert (rig.desk.is_cut("C-1"), rig.reasons("C-1")) == (True, {"debt"})
