"""Sources at work: readings in their time, states that last, questions at the last moment, webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.billing.matcher import PaymentMatcher
from agent.billing.source_reader import SourceGround, SourceReader
from agent.billing.sources import HUNG_S, WAIT_S, BillingSources, SourceRules
from agent.billing_model.account import PaymentState
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.hooks import Heard
from agent.billing_model.source import SomePaymentsError
from agent.inventory import ledger
from agent.inventory.importing import Importer
from agent.inventory.ledger import KeepHeard
from agent.store.log_store import Sealed
from tests.builders.billing import FakeBilling, refused, terms
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.job import TRANSITIONS, CrashingStore

pytestmark = pytest.mark.virtual_time


class SourcesRig:
    """Sources over a store of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.billing = FakeBilling(self.clock)
        self.noted: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.store = CrashingStore(self.folder, TRANSITIONS, self.clock.wall_s)
        ground = SourceGround(
            self.store,
            self.clock,
            lambda fields: Sealed(b"", repr(dict(fields)).encode(), b"c" * 32),
            self.noted.__setitem__,
            zone=self.billing.zone(""),
            grace_days=0,
            dice=lambda: 0.5,
        )
        self.reader = SourceReader(terms(), self.billing, ground)
        matcher = PaymentMatcher(self.store, self.clock, ground.seal, ["main"])
        importer = Importer(self.store, ground.seal, lambda _: None, None, [], self.clock.wall_s)
        rules = SourceRules("main", 60)
        self.sources = BillingSources(ground, {"main": self.reader}, rules, matcher, importer)

    def add(self, *subscribers: str) -> None:
        for name in subscribers:
            self.billing.owe(name)
            self.store._con.execute(
                "INSERT INTO service (ref, subscriber, name, service, login, method, tariff, protected, feeds, extra)"
                " VALUES (?, ?, '', '', ?, 'fake', '20M', '', 0, '{}')",
                (name, name, f"login-{name}"),
            )
            self.store._con.commit()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sources.run)
            await trio.sleep(1)
            yield
            nursery.cancel_scope.cancel()

    def state(self) -> BillingState:
        return self.sources.now("main").state

    def overdue(self, subscriber: str) -> Decimal:
        kept = present(ledger.account_of(self.store.query, "main", subscriber))
        return kept.account.balance


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SourcesRig]:
    made = SourcesRig(tmp_path)
    yield made
    made.store.close()


async def test_all_accounts_are_read_in_their_time(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    assert (rig.state(), rig.sources.doubt("C-1")) == (BillingState.NEVER, "main is never: it was not read yet")
    async with rig.running():
        assert rig.state() is BillingState.FRESH
        assert rig.sources.doubt("C-1") == ""
        assert rig.sources.state_text("main") == "main fresh, read 1s ago"
        status = ledger.status(rig.store.query, "main")
        assert (status.accounts, status.overdue) == (2, 2)
        await trio.sleep(2700)
    assert len(rig.billing.fulls) == 4
    assert rig.noted == {"fake-billing/main": ""}


async def test_what_fails_is_doubt_at_once_and_tried_again_soon(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.fails = [refused(), refused()]
        await trio.sleep(905)
        assert rig.state() is BillingState.UNREACHABLE
        assert rig.sources.doubt("C-1") == "main is unreachable: main: expected an answer, got none"
        assert rig.noted["fake-billing/main"] == "unreachable: main: expected an answer, got none"
        assert rig.overdue("C-1") == 34  # what was read before stays
        await trio.sleep(60)
        assert rig.state() is BillingState.FRESH


async def test_a_state_outlives_a_restart(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.fails = [refused(state=BillingState.REFUSED) for _ in range(99)]
        await trio.sleep(905)
    rig.store.close()
    rig.start()
    assert rig.state() is BillingState.REFUSED
    assert rig.overdue("C-1") == 34


async def test_a_source_is_left_alone_as_long_as_it_asks(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.fails = [refused(retry_after_s=2000)]
        await trio.sleep(905)
        full, some, polls = len(rig.billing.fulls), len(rig.billing.somes), len(rig.billing.polls)
        await trio.sleep(1800)
        await rig.sources.refresh(["C-1"])
        assert (len(rig.billing.fulls), len(rig.billing.somes)) == (full, some)
        assert len(rig.billing.polls) <= polls + 1
        assert rig.sources.doubt("C-1") == "main is unreachable: main: expected an answer, got none"
        await trio.sleep(400)
        assert rig.state() is BillingState.FRESH


async def test_accounts_grow_stale(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.hangs = True
        await trio.sleep(900 + 1700)
        assert rig.state() is BillingState.FRESH  # the reading is still under way
        await trio.sleep(7200)
        assert rig.state() is BillingState.UNREACHABLE
    rig.clock.step_wall(7201)
    rig.store._con.execute("UPDATE billing_source SET state = 'fresh', detail = ''")
    rig.store._con.commit()
    assert rig.state() is BillingState.STALE


async def test_a_shrunk_reading_waits_for_a_person(rig: SourcesRig) -> None:
    rig.add(*(f"C-{n}" for n in range(40)))
    async with rig.running():
        for n in range(30):
            del rig.billing.debts[f"C-{n}"]
        await trio.sleep(960)
        assert rig.state() is BillingState.SHRUNK
        assert rig.sources.now("main").detail == "accounts: 40 before, 10 now: less than half"
        assert len(ledger.accounts(rig.store.query, "main")) == 40
        assert rig.sources.doubt("C-39") == "main is shrunk: accounts: 40 before, 10 now: less than half"
        await trio.sleep(960)
        assert rig.state() is BillingState.SHRUNK
        assert await rig.sources.accept("main", "maria") is not None
        await trio.sleep(1)
        (ciphertext,) = rig.store.reader.execute(
            "SELECT record FROM event ORDER BY seq DESC LIMIT 1 OFFSET 1"
        ).fetchone()
        assert b"maria" in ciphertext
        assert rig.state() is BillingState.FRESH
        assert len(ledger.accounts(rig.store.query, "main")) == 10
        assert await rig.sources.accept("main", "maria") is None


async def test_an_accepted_size_covers_no_other_one(rig: SourcesRig) -> None:
    rig.add(*(f"C-{n}" for n in range(80)))
    async with rig.running():
        for n in range(50):
            del rig.billing.debts[f"C-{n}"]
        await trio.sleep(960)
        for n in range(50, 78):
            del rig.billing.debts[f"C-{n}"]
        await rig.sources.accept("main", "maria")
        await trio.sleep(1)
        assert rig.state() is BillingState.SHRUNK
        assert rig.sources.now("main").detail == "accounts: 30 before, 2 now: less than half"


async def test_a_due_day_that_passes_swells_nothing(rig: SourcesRig) -> None:
    rig.add(*(f"C-{n}" for n in range(40)))
    rig.clock.start_wall_s -= 40 * 86_400  # all invoices are due tomorrow
    async with rig.running():
        assert ledger.status(rig.store.query, "main").overdue == 0
        rig.clock.step_wall(40 * 86_400)
        await trio.sleep(960)
        assert (rig.state(), ledger.status(rig.store.query, "main").overdue) == (BillingState.FRESH, 40)


async def test_an_empty_reading_is_not_stored(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.debts.clear()
        await trio.sleep(960)
        assert rig.state() is BillingState.EMPTY
        assert rig.overdue("C-1") == 34
        assert await rig.sources.accept("main", "maria") is None


# --- questions at the last moment ---


async def test_many_about_tos_cost_one_call(rig: SourcesRig) -> None:
    names = [f"C-{n}" for n in range(30)]
    rig.add(*names)
    rig.billing.takes_s = 0.5
    async with rig.running():
        await trio.sleep(100)
        for name in names:
            rig.billing.debts[name] = Decimal(0)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(rig.sources.refresh, [name])
        assert sorted(key for call in rig.billing.somes for key in call) == sorted(f"k-{n}" for n in names)
        assert len(rig.billing.somes) <= 2
        assert rig.overdue("C-7") == 0


async def test_a_young_account_is_not_asked_for_again(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await rig.sources.refresh(["C-1"])
        assert rig.billing.somes == []
        await trio.sleep(61)
        await rig.sources.refresh(["C-1"])
        await rig.sources.refresh(["C-1"])
        assert rig.billing.somes == [("k-C-1",)]


async def test_an_account_that_cannot_be_asked_for_is_in_doubt(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.fails = [refused()]
        await rig.sources.refresh(["C-1"])
        assert rig.sources.doubt("C-1") == "its account could not be read again: main: expected an answer, got none"
        assert rig.sources.doubt("C-2") == ""
        await rig.sources.refresh(["C-1"])
        assert rig.sources.doubt("C-1") == ""


async def test_later_reading_ends_doubt_of_account_that_was_not_read(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.fails = [refused()]
        await rig.sources.refresh(["C-1", "C-2"])
        assert (rig.sources.doubt("C-1") and rig.sources.doubt("C-2")) != ""
        del rig.billing.debts["C-2"]
        await trio.sleep(1000)
        assert (rig.sources.doubt("C-1"), rig.sources.doubt("C-2")) == ("", "")


async def test_a_source_that_hangs_holds_nobody_for_long(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.hangs = True
        before_s = trio.current_time()
        await rig.sources.refresh(["C-1"])
        assert trio.current_time() - before_s == pytest.approx(WAIT_S)
        assert rig.sources.doubt("C-1") == "its account could not be read again: main did not answer within 10 s"
        await rig.sources.refresh(["C-2"])
        assert trio.current_time() - before_s == pytest.approx(WAIT_S)
        assert rig.sources.doubt("C-2") == "its account could not be read again: main did not answer a moment ago"
        rig.billing.hangs = False
        await trio.sleep(HUNG_S + 1)
        await rig.sources.refresh(["C-1", "C-2"])
        assert (rig.sources.doubt("C-1"), rig.sources.doubt("C-2")) == ("", "")


async def test_an_account_that_is_gone_is_gone(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        del rig.billing.debts["C-1"]
        await rig.sources.refresh(["C-1"])
        assert ledger.account_of(rig.store.query, "main", "C-1") is None


# --- payments ---


async def test_a_payment_has_its_account_read_at_once(rig: SourcesRig) -> None:
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1")
        await trio.sleep(70)
        assert rig.overdue("C-1") == 0
        assert rig.billing.somes == [("k-C-1",)]
        (kept,) = ledger.payments_of(rig.store.query, "C-1")
        assert (kept.matched_by, kept.settled_s > 0) == ("source", True)


async def test_a_payment_of_a_partial_list_has_its_account_read(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        paid = rig.billing.pay("C-1")
        rig.billing.payment_fails = [SomePaymentsError("main: page 2 did not fit", [paid])]
        await trio.sleep(70)
        assert rig.overdue("C-1") == 0
        assert len(ledger.payments_of(rig.store.query, "C-1")) == 1


async def test_an_authority_that_learns_late_is_asked_again(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1", part=True)
        await trio.sleep(75)
        rig.billing.debts["C-1"] = Decimal(0)
        await trio.sleep(60)
        assert rig.overdue("C-1") == 0


async def test_a_typed_reference_is_matched_and_an_unknown_one_is_not(rig: SourcesRig) -> None:
    rig.add("C-1001", "C-1002")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1001", reference="internet c 1001")
        rig.billing.pay("C-1002", reference="thanks")
        await trio.sleep(70)
        (kept,) = ledger.payments_of(rig.store.query, "C-1001")
        assert kept.matched_by == "typed"
        assert rig.overdue("C-1001") == 0
        (open_,) = ledger.unmatched(rig.store.query)
        assert await rig.sources.matcher.why(open_) == "its reference fits no subscriber"
        rig.add("thanks")  # a subscriber of that name is imported
        await trio.sleep(1000)
        assert ledger.unmatched(rig.store.query) == []


async def test_payments_overlap_and_look_far_back_at_times(rig: SourcesRig) -> None:
    rig.add("C-1")
    rig.billing.pay("C-1")
    start_s = rig.clock.wall_s()
    async with rig.running():
        await trio.sleep(1000)
    since = [start_s - s for s in rig.billing.polls]
    assert since[0] == pytest.approx(35 * 86_400, abs=5)
    assert min(since[1:]) < 3600 + 5
    assert any(s > 40 * 3600 for s in since[1:])


async def test_payments_that_cannot_be_read_leave_accounts_fresh(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.billing.payment_fails = [refused(), refused()]
        await trio.sleep(63)
        assert rig.reader.payments_problem == "main: expected an answer, got none"
        assert rig.state() is BillingState.FRESH
        await trio.sleep(60)
        assert rig.reader.payments_problem == ""


# --- webhooks ---


async def ring(rig: SourcesRig, event_id: str = "e1", **heard: object) -> None:
    await rig.store.run(KeepHeard("main", event_id, Heard(event_id, "paid", **heard)))  # type: ignore[arg-type]  # fields of Heard
    rig.sources.heard.ring()


async def test_a_webhook_has_its_account_read_at_once(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1")
        await ring(rig, accounts=("k-C-1",), payment_ids=("p-1",))
        await trio.sleep(0.1)
        assert rig.overdue("C-1") == 0
        assert len(ledger.payments_of(rig.store.query, "C-1")) == 1
        assert ledger.heard_open(rig.store.query) == []


async def test_a_payment_that_a_webhook_names_is_looked_up(rig: SourcesRig) -> None:
    """It costs no list of the last hour's payments, and its account is read once."""
    rig.add("C-1", "C-2")
    async with rig.running():
        await trio.sleep(100)
        polls = len(rig.billing.polls)
        for name, event in (("C-1", "e1"), ("C-2", "e2")):
            paid = rig.billing.pay(name)
            await ring(rig, event, accounts=(f"k-{name}",), payment_ids=(paid.id,))
            await trio.sleep(0.1)
        assert (rig.billing.looked_up, len(rig.billing.polls)) == ([("p-1",), ("p-2",)], polls)
        assert rig.billing.somes == [("k-C-1",), ("k-C-2",)]
        assert [len(ledger.payments_of(rig.store.query, name)) for name in ("C-1", "C-2")] == [1, 1]


async def test_account_of_a_named_payment_is_read_before_the_end(rig: SourcesRig) -> None:
    """A webhook may name the payment alone: its account is read after it, though nothing of the payment is new."""
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        paid = rig.billing.pay("C-1")
        rig.billing.fails = [refused()]
        await ring(rig, "e1", payment_ids=(paid.id,))
        await trio.sleep(0.1)
        assert len(ledger.heard_open(rig.store.query)) == 1, "its account was not read"
        await trio.sleep(10)
        assert (ledger.heard_open(rig.store.query), rig.overdue("C-1")) == ([], 0)
        rig.billing.owe("C-1")
        rig.billing.somes.clear()
        await ring(rig, "e2", payment_ids=(paid.id,))
        await trio.sleep(0.1)
        assert (rig.billing.somes, rig.overdue("C-1")) == ([("k-C-1",)], 34)


async def test_payments_that_cannot_be_looked_up_keep_the_webhook(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        paid = rig.billing.pay("C-1")
        rig.billing.payment_fails = [refused()]
        await ring(rig, accounts=("k-C-1",), payment_ids=(paid.id,))
        await trio.sleep(0.1)
        assert len(ledger.heard_open(rig.store.query)) == 1
        await trio.sleep(10)
        assert ledger.heard_open(rig.store.query) == []
        assert len(ledger.payments_of(rig.store.query, "C-1")) == 1


async def test_a_lookup_without_an_answer_in_time_is_told(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.takes_s = 40
        with pytest.raises(SourceError, match="no whole answer within 30 s"):
            await rig.reader.look_up_payments(["p-1"])


@pytest.mark.parametrize(("named", "lists"), [(11, 1), (0, 1)])
async def test_many_payments_or_unnamed_ones_are_read_as_a_list(rig: SourcesRig, named: int, lists: int) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1")
        polls = len(rig.billing.polls)
        await ring(rig, payment_ids=tuple(f"p-{n}" for n in range(named)))
        await trio.sleep(0.1)
        assert (rig.billing.looked_up, len(rig.billing.polls) - polls) == ([], lists)
        assert rig.overdue("C-1") == 0


async def test_a_partial_list_with_the_named_payments_is_enough(rig: SourcesRig) -> None:
    """Else a list that never fits would put off every payer by the growing pauses of failed readings."""
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        paid = [rig.billing.pay("C-1") for _ in range(11)]
        names = tuple(p.id for p in paid)
        lists = [paid[1:], *[paid] * 50]
        rig.billing.payment_fails = [SomePaymentsError("main: page 2 did not fit", told) for told in lists]
        await ring(rig, payment_ids=names)
        await trio.sleep(0.1)
        assert len(ledger.heard_open(rig.store.query)) == 1, "one is missing"
        await trio.sleep(10)
        assert (ledger.heard_open(rig.store.query), rig.overdue("C-1")) == ([], 0)
        assert rig.billing.payment_fails, "no list ever was whole"


async def test_a_webhook_stays_until_it_is_read_even_over_a_restart(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        rig.billing.pay("C-1")
        rig.billing.fails = [refused(), refused()]
        await ring(rig, accounts=("k-C-1",))
        await trio.sleep(0.1)
        assert len(ledger.heard_open(rig.store.query)) == 1
    rig.store.close()
    rig.start()
    rig.billing.fails = []
    async with rig.running():
        await trio.sleep(10)
        assert rig.overdue("C-1") == 0
        assert ledger.heard_open(rig.store.query) == []


async def test_a_webhook_that_cannot_be_read_holds_up_no_other(rig: SourcesRig) -> None:
    payers = [f"C-{n}" for n in range(6)]
    rig.add(*payers)
    rig.billing.poison = {"event/poison"}
    async with rig.running():
        await trio.sleep(100)
        await ring(rig, "poison", accounts=("event/poison",))
        for name in payers:
            rig.billing.pay(name)
            await ring(rig, name, accounts=(f"k-{name}",))
        await trio.sleep(60)
        assert [rig.overdue(name) for name in payers] == [0] * 6
        assert [one.heard.event_id for one in ledger.heard_open(rig.store.query)] == ["poison"]
        await trio.sleep(2 * 86_400)
        assert ledger.heard_open(rig.store.query) == []  # given up: the regular readings find what it rang for


async def test_a_webhook_that_only_tries_the_way_costs_nothing(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        polls = len(rig.billing.polls)
        await ring(rig, test=True)
        await trio.sleep(0.1)
        assert (len(rig.billing.polls), rig.billing.somes) == (polls, [])
        assert ledger.heard_open(rig.store.query) == []


async def test_a_signed_body_counts_where_a_webhook_carries_one(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        await trio.sleep(100)
        told = rig.billing.pay("C-1")
        rig.billing.paid.clear()  # the source cannot be asked for payments
        await ring(rig, payment=told)
        await trio.sleep(0.1)
        (kept,) = ledger.payments_of(rig.store.query, "C-1")
        assert kept.payment.state is PaymentState.SETTLED
        assert rig.overdue("C-1") == 0


async def test_a_clock_that_was_set_back_a_little_hides_no_payment(rig: SourcesRig) -> None:
    rig.add("C-1")
    async with rig.running():
        rig.clock.step_wall(-250)
        rig.billing.owe("C-1", "0")
        await rig.sources.refresh(["C-1"])
        assert rig.overdue("C-1") == 0
