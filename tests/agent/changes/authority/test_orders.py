"""Payment and suspension in every order: whoever paid is back without a person, and nobody else is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
import trio

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import today, when_untrusted
from agent.billing_model.errors import BillingState
from agent.inventory import ledger
from agent.inventory.ledger import FILE, KeptAccount, RecordFile, RecordPayments, SourceStatus
from agent.model import Effect, Ticket
from agent.store.db import Store, Tx
from tests.builders.agent import Agent, done, given, item_of, refused, states, suspended_for
from tests.builders.expect import present
from tests.builders.world import World

DAY_S = 86_400


@dataclass(frozen=True)
class KnownSince:
    """Note that the agent has known the sources for a month."""

    def run(self, tx: Tx) -> None:
        for source in (FILE, "psp"):
            tx.run("INSERT OR REPLACE INTO source_began VALUES (?, ?)", (source, tx.now_s - 30 * DAY_S))


@dataclass
class Ledger:
    """The billing system and a payment provider, as the agent hears of them."""

    agent: Agent
    told: dict[str, Payment] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.agent.daemon.files.store

    async def account(self, balance: str, *, due_in_days: int = -10, subscriber: str = "C-1") -> None:
        """Have billing tell an account, exported now."""
        now_s, owed = time.time(), Decimal(balance)
        day = when_untrusted(str(today(now_s + due_in_days * DAY_S, UTC)), UTC).day
        invoices = (OpenInvoice("F-1", day, owed),) if owed > 0 else ()
        kept = KeptAccount(FILE, Account(subscriber, subscriber, "", owed, invoices, now_s), now_s)
        status = SourceStatus(FILE, BillingState.FRESH, "", now_s, now_s, now_s, 1)
        sealed = self.agent.daemon.api.parts.recorder.record(None, {"what": "billing"})
        await self.store.run(RecordFile([kept], [], "", status, sealed))

    async def paid(self, ago_s: float = 0, *, state: PaymentState = PaymentState.SETTLED, name: str = "p-1") -> int:
        """Have the provider tell of a payment that was made so long ago; return how much of that is news."""
        told = replace(self.told.setdefault(name, payment(ago_s, name)), state=state)
        return len(await self.store.run(RecordPayments("psp", [told])))

    async def restore(self) -> Any:
        change = await self.agent.ask("restore", "C-1")
        if change["gate"] == "approved":
            await self.agent.end(change)
        return await self.agent.call("GET", f"/v1/changes/{change['id']}")


def payment(ago_s: float, name: str) -> Payment:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s))
    return Payment(name, "", "C-1", Decimal(34), "USD", when_untrusted(at, UTC), PaymentState.SETTLED)


async def owing(agent: Agent) -> Ledger:
    """Return billing that says of C-1 that it owes, with a standing authority in force."""
    billing = Ledger(agent)
    await agent.daemon.files.store.run(KnownSince())
    await given(agent)
    await billing.account("34.00")
    return billing


async def test_paid_before_the_preview_is_left_out(agent: Agent) -> None:
    billing = await owing(agent)
    await billing.paid()
    assert "a payment came that billing may not count yet" in str(await refused(agent.ask("suspend", "C-1")))


@pytest.mark.parametrize("state", [PaymentState.SETTLED, PaymentState.PENDING])
async def test_paid_before_the_about_to_is_skipped(agent: Agent, world: World, state: PaymentState) -> None:
    billing = await owing(agent)
    change = await agent.ask("suspend", "C-1")
    await billing.paid(state=state)
    await agent.approve(change, "joseph")
    await agent.end(change)
    assert await states(agent, change) == ["skipped"]
    assert world.writes == []


@pytest.mark.parametrize("how", ["promised", "postponed", "exempt"])
async def test_promised_before_the_about_to_is_skipped(agent: Agent, how: str) -> None:
    billing = await owing(agent)
    change = await agent.ask("suspend", "C-1")
    kept = present(ledger.account_of(billing.store.query, FILE, "C-1"))
    fields: dict[str, object] = {
        "promised": {"promise_until": today(time.time() + DAY_S, UTC)},
        "postponed": {"hold_until_s": time.time() + 3600},
        "exempt": {"exempt": "staff"},
    }[how]  # type: ignore[assignment]  # fields of an account
    told = replace(kept.account, **fields)  # type: ignore[arg-type]  # as above
    await billing.store.run(ledger.RecordSome(FILE, ["C-1"], [told], time.time()))
    await agent.approve(change, "joseph")
    await agent.end(change)
    assert await states(agent, change) == ["skipped"]


async def test_heard_of_while_it_is_being_cut_restores_by_itself(agent: Agent, world: World) -> None:
    """The last look came before; the reason is recorded after."""
    billing = await owing(agent)
    heard: list[Ticket] = []
    async with trio.open_nursery() as nursery:

        def pays(ticket: Ticket) -> None:
            if not isinstance(ticket.do, Effect) and not heard:
                heard.append(ticket)
                nursery.start_soon(billing.paid, 60)

        world.on_send = pays
        assert (await done(agent, "suspend", "C-1"))["state"] == "done"
    assert heard
    looked = billing.store.query("SELECT looked_s, at_s FROM reason JOIN event USING (seq)", ())[0]
    assert looked["looked_s"] <= looked["at_s"]
    await billing.account("0.00")
    assert (await billing.restore())["state"] == "done"
    assert await suspended_for(agent, "C-1") == []


@pytest.mark.parametrize(
    ("ago_s", "why"),
    [
        (0, "after the cut"),
        (60, "a minute before the cut, and heard of after it"),
        (3 * DAY_S, "days before the cut: cash that was entered late"),
    ],
)
@pytest.mark.parametrize("next_open", [False, True])
async def test_payment_that_cut_did_not_know_of_restores_by_itself(
    agent: Agent, ago_s: int, why: str, next_open: bool
) -> None:
    billing = await owing(agent)
    await done(agent, "suspend", "C-1")
    assert await suspended_for(agent, "C-1") == ["debt"]
    assert (await billing.restore())["gate"] == "open", "it owes"
    assert await billing.paid(ago_s) == 1
    assert await billing.paid(ago_s) == 0, "by webhook and by poll it is one"
    await (billing.account("34.00", due_in_days=20) if next_open else billing.account("0.00"))
    restored = await billing.restore()
    assert (restored["class"], restored["state"], restored["approvals"]) == ("restore", "done", []), why
    assert await suspended_for(agent, "C-1") == []


@pytest.mark.parametrize(
    "tells",
    [
        lambda billing: billing.paid(state=PaymentState.PENDING),
        lambda billing: billing.paid(state=PaymentState.REVERSED),
        lambda billing: billing.account("0.00"),  # a credit note, or a write-off
    ],
    ids=["pending", "reversed", "credit-note"],
)
async def test_in_doubt_a_person_looks(agent: Agent, tells: Callable[[Ledger], Any]) -> None:
    billing = await owing(agent)
    await done(agent, "suspend", "C-1")
    await tells(billing)
    await billing.account("0.00")
    assert (await billing.restore())["gate"] == "open"
    assert await suspended_for(agent, "C-1") == ["debt"]


async def test_a_part_payment_waits_for_a_person(agent: Agent) -> None:
    billing = await owing(agent)
    await done(agent, "suspend", "C-1")
    await billing.paid()
    await billing.account("4.00")
    assert (await billing.restore())["gate"] == "open"


async def test_a_restore_takes_the_place_of_an_unsent_suspension(agent: Agent) -> None:
    billing = await owing(agent)
    suspension = await agent.ask("suspend", "C-1")
    await billing.paid()
    await billing.account("0.00")
    restore = await agent.ask("restore", "C-1")
    assert suspension["id"] in item_of(restore)["display"]["why"]
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    await agent.approve(suspension, "joseph")
    assert await states(agent, suspension) == ["superseded"]


async def test_another_reason_stays(agent: Agent) -> None:
    billing = await owing(agent)
    await done(agent, "suspend", "C-1")
    await done(agent, "suspend", "C-1", reason="abuse")
    await billing.paid()
    await billing.account("0.00")
    await billing.restore()
    assert await suspended_for(agent, "C-1") == ["abuse"]


async def test_one_that_is_taken_back_after_the_restore_owes_again(agent: Agent) -> None:
    """It comes with the next batch that a person approves; the second payment restores again."""
    billing = await owing(agent)
    await done(agent, "suspend", "C-1")
    await billing.paid()
    await billing.account("0.00")
    await billing.restore()
    assert await billing.paid(state=PaymentState.REVERSED) == 1
    await billing.account("34.00")
    assert await suspended_for(agent, "C-1") == []
    await done(agent, "suspend", "C-1")
    await billing.account("0.00")
    assert (await billing.restore())["gate"] == "open", "the payment was taken back"
    await billing.paid(name="p-2")
    await billing.account("0.00")
    assert (await billing.restore())["state"] == "done"
