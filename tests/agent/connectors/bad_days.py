"""A billing source that is read into a ledger on a bad day: what the ledger holds before, meanwhile and afterwards."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from agent.billing import states
from agent.billing.source_reader import SourceGround, SourceReader
from agent.billing.states import SourceJudgment
from agent.billing_model.account import Account, Payment
from agent.billing_model.errors import BillingState, SourceError
from agent.inventory import ledger
from agent.runtime.clock import Clock
from agent.store.log_store import Sealed
from tests.builders.billing import terms
from tests.builders.job import TRANSITIONS, CrashingStore

LATER_S = 5000.0
"""Longer than a source asks to be left alone."""


@dataclass
class BadReading:
    """A source, its ledger, and the words that no text about it may hold. `lane`: `accounts` or `payments`."""

    store: CrashingStore
    reader: SourceReader
    lane: str
    planted: Collection[str]

    async def read(self) -> SourceJudgment:
        """Read once; return how the source counts then, in the words that operators see, without anything planted."""
        problem: SourceError | None = None
        try:
            problem = await self.reader.read_accounts() if self.lane == "accounts" else None
            if self.lane == "payments":
                await self.reader.read_payments()
        except SourceError as err:
            problem = err
        status = ledger.status(self.store.query, self.reader.name)
        judged = SourceJudgment(status.state, status.detail)
        if self.lane == "payments" and self.reader.accounts_of is not None:  # its state is that of its accounts
            assert judged.state is BillingState.NEVER
            judged = states.FRESH if problem is None else states.of_error(problem)
            assert self.reader.payments_problem == judged.detail
        if problem is not None:
            assert judged == states.of_error(problem)
            assert str(problem).startswith(f"{self.reader.terms.target}: ")
        for word in self.planted:
            assert word not in f"{problem!r} {judged.detail}", "a secret or a subscriber is told"
        return judged

    @property
    def payments(self) -> dict[str, Payment]:
        """The payments of the ledger; each is there once."""
        kept = [k.payment for k in ledger.latest_payments(self.store.query, 1_000_000, lists=True)]
        found = {payment.id: payment for payment in kept}
        assert len(found) == len(kept)
        return found

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts of the ledger."""
        return {key: kept.account for key, kept in ledger.accounts(self.store.query, self.reader.name).items()}

    async def fails(self, state: BillingState, says: str, *, more: bool = False) -> None:
        """Read: it ends in `state`, says so, and the ledger holds what it held before, and with `more` new payments."""
        before = self.payments, self.accounts
        judged = await self.read()
        assert judged.state is state, (judged.state, judged.detail)
        assert re.search(says, judged.detail), judged.detail
        known = {key: payment for key, payment in self.payments.items() if key in before[0] or not more}
        assert (known, self.accounts) == before
        assert len(self.payments) > len(known) or not more


@contextmanager
def bad_reading(
    folder: Path, target: str, connector: Any, clock: Clock, lane: str, planted: Collection[str]
) -> Iterator[BadReading]:
    """Yield a source over a ledger of its own."""
    store = CrashingStore(folder, TRANSITIONS, clock.wall_s)
    try:
        ground = SourceGround(
            store,
            clock,
            lambda fields: Sealed(b"", repr(dict(fields)).encode(), b"c" * 32),
            lambda name, cause: None,
            zone=UTC,
            grace_days=0,
            dice=lambda: 0.5,
        )
        yield BadReading(store, SourceReader(terms(target), connector, ground), lane, planted)
    finally:
        store.close()
