"""The history through a connector: the agent's own reader of sources, ledger and matcher, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.billing.matcher import PaymentMatcher
from agent.billing.source_reader import SourceGround, SourceReader
from agent.billing_model.errors import BillingState
from agent.billing_model.terms import SourceTerms
from agent.inventory.billing import BillingReader
from agent.inventory.facts import Billing
from agent.inventory.ledger import RecordReading, SourceStatus
from agent.model import Service, SuspensionReason
from agent.store.db import Store
from agent.store.log_store import Sealed
from lab.history import PayerLife, books_at
from tests.builders.store import TRANSITIONS
from tests.builders.web import QuickClock
from tests.history.oracle import Told
from tests.history.replay import Operator

Moves = Callable[[float], None]
"""Brings the system to its state of a moment."""


class VirtualClock(QuickClock):
    """A clock that is set, from the first day of any history on."""

    def boot_s(self) -> float:
        return self.now_s


class ThroughSource:
    """One source behind its connector.

    `connector`: of the source `main`. `target`: its target. `moves`: of the system behind it. `told`: how much it
    tells. Sizes of readings are not judged here: the days that are played lie weeks apart.
    """

    source = "main"

    def __init__(
        self,
        operator: Operator,
        folder: Path,
        clock: VirtualClock,
        connector: Any,
        target: str,
        moves: Moves,
        told: Told,
    ) -> None:
        """Open a ledger in a folder; nothing is read yet."""
        self.told = told
        self._operator, self._clock, self._connector, self._target, self._moves = (
            operator,
            clock,
            connector,
            target,
            moves,
        )
        self.store = Store(folder, TRANSITIONS, clock.wall_s)
        ground = SourceGround(
            self.store,
            clock,
            lambda fields: Sealed(b"", repr(dict(fields)).encode(), b"c" * 32),
            lambda _name, _cause: None,
            zone=operator.zone,
            grace_days=operator.grace_days,
            dice=lambda: 0.5,
        )
        terms = SourceTerms(target, 900, 60, 7200, operator.billing_zone, "", None)
        self._reader = SourceReader(terms, connector, ground)
        self._matcher = PaymentMatcher(self.store, clock, ground.seal, [self.source])
        self._billing = BillingReader(operator.terms(self.source))
        self._books_s = 0.0
        self.before: Callable[[float], Any] | None = None
        """Run before each reading of accounts: what the system would have told by itself until then."""

    async def read(self, books_s: float, polled_s: float, now_s: float) -> None:
        """Read the accounts of a moment and the payments of another one, in their order."""
        if self.before is not None:
            await self.before(books_s)
        if not self._books_s:
            await self._read_accounts(polled_s)
        for at_s, accounts in sorted(((books_s, True), (polled_s, False))):
            await (self._read_accounts(at_s) if accounts else self._read_payments(at_s))
        self._books_s = books_s
        self._clock.now_s = now_s

    async def _read_accounts(self, at_s: float) -> None:
        self._go_to(at_s)
        reading = await self._connector.accounts(self._target)
        status = SourceStatus(self.source, BillingState.FRESH, "", at_s, at_s, at_s, len(reading.accounts), 0)
        await self.store.run(RecordReading(self.source, reading.accounts, status))

    async def _read_payments(self, at_s: float) -> None:
        self._go_to(at_s)
        await self._matcher.match(await self._reader.read_payments())

    def _go_to(self, at_s: float) -> None:
        self._clock.now_s = at_s
        self._moves(at_s)

    def surely_s(self, _life: PayerLife, books_s: float) -> float:
        """Return the moment of the reading."""
        return books_s

    def service(self, life: PayerLife, reasons: frozenset[SuspensionReason]) -> Service:
        """Return the service; its list has promises, and the days of postponements where the source tells none."""
        books = books_at(life, self._books_s)
        held = [d for d in (books.promise_until, self._hold_day(life, books.hold_until_s)) if d is not None]
        promise = max(held, default=None)
        extra = {} if promise is None else {"promise_until": promise.isoformat()}
        name = life.subscriber
        return Service(
            f"{name}/main", name, "", "main", name.lower(), "pppoe", "Home", "", 0, reasons=reasons, extra=extra
        )

    def _hold_day(self, life: PayerLife, until_s: float) -> date | None:
        return datetime.fromtimestamp(until_s, life.zone).date() if until_s and self.told.holds_by_day else None

    def billing(self, life: PayerLife, now_s: float) -> Billing:
        """Return what the ledger knows."""
        return self._billing.of(self.store.query, life.subscriber, now_s)


@asynccontextmanager
async def ledger_folder() -> AsyncIterator[Path]:
    """Give a folder for a ledger."""
    with TemporaryDirectory(prefix="isp-history-") as folder:
        yield Path(folder)
