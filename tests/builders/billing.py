"""A billing source of which a test decides what it holds, how long it takes and how it fails."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal

import trio

from agent.billing_model.account import Account, FullReading, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import When
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.terms import SourceTerms
from agent.runtime.clock import Clock
from tests.builders.clock import FakeClock

LONG_AGO = date(2025, 12, 3)


def refused(retry_after_s: float = 0.0, state: BillingState = BillingState.UNREACHABLE) -> SourceError:
    return SourceError("main: expected an answer, got none", state=state, retry_after_s=retry_after_s)


def terms(target: str = "fake-billing/main", every_s: int = 900, payments_every_s: int = 60) -> SourceTerms:
    return SourceTerms(target, every_s, payments_every_s, 7200, None, "", None)


@dataclass
class FakeBilling:
    """Tells accounts and payments, and looks payments up.

    `hangs`: it never answers. `fails`: raised by the next calls for accounts, one each.
    """

    clock: Clock = field(default_factory=FakeClock)
    debts: dict[str, Decimal] = field(default_factory=dict)
    """By subscriber, overdue since long ago; 0: nothing is open."""
    paid: list[Payment] = field(default_factory=list)
    fails: list[SourceError] = field(default_factory=list)
    payment_fails: list[SourceError] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    """Subscribers that their accounts name otherwise."""
    poison: set[str] = field(default_factory=set)
    """Keys for which it has nothing but an error."""
    hangs: bool = False
    takes_s: float = 0.0
    fulls: list[float] = field(default_factory=list)
    somes: list[tuple[str, ...]] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    looked_up: list[tuple[str, ...]] = field(default_factory=list)

    def zone(self, target: str) -> tzinfo:
        del target
        return UTC

    def owe(self, subscriber: str, amount: str = "34") -> None:
        self.debts[subscriber] = Decimal(amount)

    def pay(
        self,
        subscriber: str,
        *,
        part: bool = False,
        state: PaymentState = PaymentState.SETTLED,
        reference: str = "",
        late_s: float = 0.0,
    ) -> Payment:
        """Book a payment, of all that is open or of a part. `reference`: it names the payer only so."""
        at = self.clock.wall_s() - late_s
        told = Payment(
            f"p-{len(self.paid) + 1}",
            "" if reference else f"k-{subscriber}",
            "" if reference else subscriber,
            self.debts.get(subscriber, Decimal(34)),
            "USD",
            When(at, at, datetime.fromtimestamp(at, UTC).date()),
            state,
            (reference,) if reference else (),
        )
        self.paid.append(told)
        if state is PaymentState.SETTLED:
            self.debts[subscriber] = Decimal(1) if part else Decimal(0)
        return told

    def last_of(self, subscriber: str) -> tuple[str, ...]:
        """Return the id of a subscriber's newest payment, as a webhook names it; empty: it paid nothing."""
        return tuple(p.id for p in self.paid if p.subscriber == subscriber)[-1:]

    def reverse(self, payment: Payment, amount: str = "34") -> None:
        """Take a payment back: it is owed again."""
        self.paid[self.paid.index(payment)] = replace(payment, state=PaymentState.REVERSED)
        self.owe(payment.subscriber, amount)

    def account(self, subscriber: str) -> Account:
        owed = self.debts[subscriber]
        due = LONG_AGO + timedelta(days=1)
        invoices = (OpenInvoice(f"F-{subscriber}", due, owed),) if owed else ()
        return Account(
            f"k-{subscriber}", self.named.get(subscriber, subscriber), "USD", owed, invoices, self.clock.wall_s()
        )

    async def accounts(self, target: str) -> FullReading:
        del target
        self.fulls.append(self.clock.wall_s())
        found = [self.account(subscriber) for subscriber in self.debts]
        await self._answer()
        return FullReading(found)

    async def some_accounts(self, target: str, keys: Collection[str]) -> Sequence[Account]:
        del target
        self.somes.append(tuple(sorted(keys)))
        found = [self.account(s) for s in self.debts if f"k-{s}" in keys]
        await self._answer()
        if self.poison & set(keys):
            raise SourceError("status 500", state=BillingState.UNREACHABLE)
        return found

    async def payments(self, target: str, since_s: float) -> Sequence[Payment]:
        del target
        self.polls.append(since_s)
        found = [p for p in self.paid if p.paid.last_s >= since_s]
        await self._answer(self.payment_fails)
        return found

    async def some_payments(self, target: str, ids: Collection[str]) -> Sequence[Payment]:
        del target
        self.looked_up.append(tuple(sorted(ids)))
        found = [p for p in self.paid if p.id in ids]
        await self._answer(self.payment_fails)
        return found

    async def _answer(self, fails: list[SourceError] | None = None) -> None:
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.takes_s:
            await self.clock.sleep(self.takes_s)
        fails = self.fails if fails is None else fails
        if fails:
            raise fails.pop(0)
