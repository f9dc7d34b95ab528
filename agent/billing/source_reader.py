"""Reads one billing source into the ledger: all accounts in its time, payments more often, some accounts at once.

* A full reading is stored only when it is whole and of a likely size; else the kept one stays, and the source's state
  says why. Nothing that fails here ends the agent.
* Two lanes: full readings and payments, one at a time each; beside them questions for some accounts, one at a time.
  A caller that asks while one question is under way joins the next, so that many at once cost one call.
* A source that says for how long it wants to be left alone is left alone, by all of them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from typing import Final

import trio

from agent.billing import states
from agent.billing.states import ReadingSize, SourceJudgment
from agent.billing_model.account import Account, Payment
from agent.billing_model.days import today
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.source import LooksUpPayments, SomePaymentsError, TellsAccounts, TellsPayments
from agent.billing_model.terms import SourceTerms
from agent.inventory import ledger
from agent.inventory.ledger import KeptPayment, RecordPayments, RecordReading, RecordSome, SetStatus, SourceStatus
from agent.runtime.clock import Clock, sleep_or
from agent.runtime.notifier import Notifier
from agent.runtime.supervise import Backoff
from agent.store.db import Store
from agent.store.log_store import Sealed
from trust import chance

_log = logging.getLogger(__name__)
FULL_S: Final = 1800.0
"""A full reading that takes longer counts as one that did not come."""
PAYMENTS_S: Final = 300.0
SOME_S: Final = 30.0
OVERLAP_S: Final = 3600.0
"""Payments are read again from so long before the last reading on: clocks differ, and books are written late."""
LATE_S: Final = 48 * 3600.0
"""As `OVERLAP_S`, once in each `every_s` and at a start: for lost webhooks, and payments that were dated back."""
FIRST_S: Final = 35 * 86_400.0
"""How far back the payments of a new source are read."""
ALONE_MOST_S: Final = 86_400.0
"""The longest that a source is left alone because it asked for it."""
FIRST_PAUSE_S: Final = 5.0
LOOKED_UP: Final = 10
"""More payments than so many are read as a list: a source has a page of it in one call."""
AT_ONCE: Final = 500
"""More accounts are counted in a thread: other tasks go on."""


@dataclass(frozen=True, slots=True)
class SourceGround:
    """Everything that the readers of all sources share.

    Args:
        store: of the agent.
        clock: of everything.
        seal: seals a record for the log.
        note: told how a source answered: (name, cause); cause "": it does.
        zone: the operator's, of "today".
        grace_days: the configured ones.
        changed: rung when the ledger learned something.
        dice: in [0, 1), of the jitter.
    """

    store: Store
    clock: Clock
    seal: Callable[[Mapping[str, str | int]], Sealed]
    note: Callable[[str, str], None]
    zone: tzinfo
    grace_days: int
    changed: Notifier = field(default_factory=Notifier)
    dice: Callable[[], float] = lambda: chance.randbelow(1 << 20) / (1 << 20)


@dataclass(slots=True)
class _Batch:
    """Accounts that are asked for together. `problem`: why they were not read; "": they were."""

    keys: set[str] = field(default_factory=set)
    problem: str = ""
    done: trio.Event = field(default_factory=trio.Event)


def _tell_nobody(_new: Sequence[KeptPayment]) -> None:
    """Tell of payments before anybody runs the reader."""


class SourceReader:
    """Reads the accounts and payments of one source on its schedule, and keeps its state."""

    def __init__(self, terms: SourceTerms, teller: object, ground: SourceGround) -> None:
        """Take a source's terms and the connector that reads it, which plays one or both roles."""
        self.terms = terms
        self.accounts_of = teller if isinstance(teller, TellsAccounts) and terms.every_s else None
        self.payments_of = teller if isinstance(teller, TellsPayments) and terms.payments_every_s else None
        self._payments_by_id = teller if self.payments_of and isinstance(teller, LooksUpPayments) else None
        self.teller = teller
        self.payments_problem = ""
        """Why its payments cannot be read; "": they can."""
        self._ground = ground
        self._told: Callable[[Sequence[KeptPayment]], object] = _tell_nobody
        """Is handed payments that are new or changed."""
        self._alone_until = float("-inf")
        """Boot-time clock."""
        self._alone_why = ""
        self._questioned: ReadingSize | None = None
        self._accepted: ReadingSize | None = None
        self._poked = trio.Event()
        self._next = _Batch()
        self._asked = trio.Event()
        self._paying = trio.Lock()
        self._paid_s: float | None = None
        """When the last good reading of payments began, unix seconds; None: not since the start."""
        self._looked_back_s = float("-inf")
        """When it was last read with `LATE_S`, unix seconds."""

    @property
    def name(self) -> str:
        """The SOURCE of its facts."""
        return self.terms.name

    # --- loops ---

    async def run(self, told: Callable[[Sequence[KeptPayment]], object]) -> None:
        """Read until cancelled. `told`: is handed payments that are new or changed."""
        self._told = told
        async with trio.open_nursery() as nursery:
            if self.accounts_of is not None:
                nursery.start_soon(self._read_accounts_again)
                nursery.start_soon(self._answer)
            if self.payments_of is not None:
                nursery.start_soon(self._read_payments_again)

    async def _read_accounts_again(self) -> None:
        failures = 0
        while True:
            self._poked = trio.Event()
            problem = await self.read_accounts()
            failures = 0 if problem is None else failures + 1
            await sleep_or(self._ground.clock, self._pause_s(failures, self.terms.every_s), self._poked)

    async def _read_payments_again(self) -> None:
        failures = 0
        while True:
            try:
                new = await self.read_payments()
                failures = 0
                if new:
                    self._told(new)
            except SourceError:
                failures += 1
            await self._ground.clock.sleep(self._pause_s(failures, self.terms.payments_every_s))

    def _pause_s(self, failures: int, every_s: float) -> float:
        alone_s = self._alone_until - self._ground.clock.boot_s()
        dice = self._ground.dice()
        if not failures:
            return max(every_s * (0.95 + dice / 10), alone_s)
        backoff = Backoff(min(FIRST_PAUSE_S, every_s), every_s)
        return max(backoff.pause_s(failures, dice), alone_s)

    # --- all accounts ---

    async def read_accounts(self) -> SourceError | None:
        """Read all accounts, store them if they are whole and of a likely number; return why they are not whole."""
        if self.accounts_of is None:
            return None
        tried_s = self._ground.clock.wall_s()
        try:
            self._check_left_alone()
            with trio.fail_after(FULL_S):
                reading = await self.accounts_of.accounts(self.terms.target)
        except trio.TooSlowError:
            problem = self._too_slow(FULL_S)
        except SourceError as err:
            problem = err
        else:
            await self._take(reading.accounts, reading.skipped, tried_s)
            return None
        self._leave_alone(problem)
        await self._set(states.of_error(problem), tried_s)
        return problem

    async def _take(self, accounts: Sequence[Account], skipped: int, tried_s: float) -> None:
        g, name = self._ground, self.name
        day = today(g.clock.wall_s(), g.zone)
        now = await self._size(accounts, day)
        before = self._accepted
        if before is None and ledger.status(g.store.query, name).read_s:
            before = await self._kept_size(day)
        judged, self._accepted = states.of_reading(before, now, skipped), None
        if judged != states.FRESH:
            self._questioned = now if states.acceptable(judged.state) else None
            await self._set(judged, tried_s)
            return
        self._questioned = None
        status = SourceStatus(name, judged.state, "", tried_s, tried_s, tried_s, now.accounts, now.overdue)
        fields: dict[str, str | int] = {
            "what": "billing",
            "source": name,
            "facts": now.accounts,
            "overdue": now.overdue,
        }
        if skipped:
            fields["skipped"] = skipped
        await g.store.run(RecordReading(name, accounts, status, g.seal(fields)))
        g.note(self.terms.target, "")
        g.changed.ring()

    async def _kept_size(self, day: date) -> ReadingSize:
        name, store = self.name, self._ground.store

        def read(reader: sqlite3.Connection) -> list[Account]:
            kept = ledger.accounts(lambda sql, args: reader.execute(sql, args).fetchall(), name)
            return [k.account for k in kept.values()]

        few = ledger.status(store.query, name).accounts < AT_ONCE
        return await self._size(read(store.reader) if few else await store.aside(read), day)

    async def _size(self, accounts: Sequence[Account], day: date) -> ReadingSize:
        grace = self._ground.grace_days

        def count() -> ReadingSize:
            return ReadingSize(len(accounts), sum(a.overdue(day, grace) > 0 for a in accounts))

        return count() if len(accounts) < AT_ONCE else await trio.to_thread.run_sync(count)

    async def _set(self, judged: SourceJudgment, tried_s: float) -> None:
        before = ledger.status(self._ground.store.query, self.name)
        now = replace(before, state=judged.state, detail=judged.detail, since_s=tried_s, tried_s=tried_s)
        await self._ground.store.run(SetStatus(now))
        self._ground.note(self.terms.target, f"{judged.state.value}: {judged.detail}" if judged.detail else "")

    def poke(self) -> None:
        """Have all accounts read now, whatever the schedule says."""
        self._poked.set()

    def accept(self) -> ReadingSize | None:
        """Have the next reading compared with the size that is in question; None: none is in question."""
        self._accepted = self._questioned
        return self._accepted

    # --- some accounts ---

    async def recheck(self, keys: Collection[str]) -> str:
        """Read accounts again, together with those that others ask for; return why they were not read, "": they were.

        Args:
            keys: the source's own ids.
        """
        batch = self._next
        batch.keys.update(keys)
        self._asked.set()
        await batch.done.wait()
        return batch.problem

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            batch, self._next = self._next, _Batch()
            try:
                batch.problem = "it was not read to the end"
                batch.problem = await self._read_some(sorted(batch.keys))
            finally:
                batch.done.set()

    async def _read_some(self, keys: Collection[str]) -> str:
        if self.accounts_of is None:
            return f"{self.name} tells no accounts"
        asked_s = self._ground.clock.wall_s()
        try:
            self._check_left_alone()
            with trio.fail_after(SOME_S):
                found = await self.accounts_of.some_accounts(self.terms.target, keys)
        except trio.TooSlowError:
            return str(self._too_slow(SOME_S))
        except SourceError as err:
            self._leave_alone(err)
            return str(err)
        await self._ground.store.run(RecordSome(self.name, keys, found, asked_s))
        self._ground.changed.ring()
        return ""

    # --- payments ---

    async def read_payments(self, at_least_since_s: float | None = None) -> list[KeptPayment]:
        """Read payments into the ledger; return those that are new or changed. Those of a partial list are told of.

        Args:
            at_least_since_s: read those since that moment too, unix seconds; None: those since the last reading.

        Raises:
            SourceError: they cannot be read.
        """
        if self.payments_of is None:
            return []
        async with self._paying:
            now_s = self._ground.clock.wall_s()
            since_s, late = self._since_s(now_s)
            if at_least_since_s is not None:
                since_s = min(since_s, at_least_since_s)
            try:
                self._check_left_alone()
                with trio.fail_after(PAYMENTS_S):
                    found = await self.payments_of.payments(self.terms.target, since_s)
            except trio.TooSlowError:
                await self._payments_failed(problem := self._too_slow(PAYMENTS_S), now_s)
                raise problem from None
            except SourceError as err:
                self._leave_alone(err)
                if isinstance(err, SomePaymentsError):
                    new = await self._ground.store.run(self.record(err.payments))
                    if new:
                        self._told(new)
                        self._ground.changed.ring()
                await self._payments_failed(err, now_s)
                raise
            self._paid_s = now_s
            self._looked_back_s = now_s if late else self._looked_back_s
            new = await self._ground.store.run(self.record(found))
            self.payments_problem = ""
            if self.accounts_of is None:
                await self._set_of_payments(states.FRESH, now_s)
            if new:
                self._ground.changed.ring()
            return new

    async def look_up_payments(self, ids: Collection[str]) -> Sequence[Payment] | None:
        """Return payments by their ids, read beside other readings; nothing is stored (`record`).

        Returns None where the source does not look up payments, or not so many: `read_payments` finds them.

        Raises:
            SourceError: they cannot be read.
        """
        if self._payments_by_id is None or not 0 < len(ids) <= LOOKED_UP:
            return None
        self._check_left_alone()
        try:
            with trio.fail_after(SOME_S):
                return await self._payments_by_id.some_payments(self.terms.target, ids)
        except trio.TooSlowError:
            raise self._too_slow(SOME_S) from None
        except SourceError as err:
            self._leave_alone(err)
            raise

    def record(self, payments: Sequence[Payment]) -> RecordPayments:
        """Return the command that stores payments as they were read."""
        sealed = self._ground.seal({"what": "payments", "source": self.name, "read": len(payments)})
        return RecordPayments(self.name, payments, sealed)

    def _since_s(self, now_s: float) -> tuple[float, bool]:
        """Return since when payments are read, and whether it is long before the last reading."""
        if self._paid_s is not None and now_s - self._looked_back_s < max(self.terms.every_s, 900):
            return self._paid_s - OVERLAP_S, False
        last_s = self._paid_s
        if last_s is None:
            query = "SELECT max(learned_s) AS last FROM payment WHERE source = ?"
            last_s = self._ground.store.query(query, (self.name,))[0]["last"]
        return (now_s - FIRST_S if last_s is None else last_s - LATE_S), True

    async def _payments_failed(self, problem: SourceError, tried_s: float) -> None:
        self.payments_problem = str(problem)
        if self.accounts_of is None:
            await self._set_of_payments(states.of_error(problem), tried_s)
        else:
            _log.warning("payments were not read", extra={"target": self.terms.target})

    async def _set_of_payments(self, judged: SourceJudgment, tried_s: float) -> None:
        await self._set(judged, tried_s)
        if judged == states.FRESH:
            status = ledger.status(self._ground.store.query, self.name)
            await self._ground.store.run(SetStatus(replace(status, read_s=tried_s)))

    # --- whether it may be asked ---

    def _check_left_alone(self) -> None:
        left_s = self._alone_until - self._ground.clock.boot_s()
        if left_s > 0:
            why = f"{self._alone_why}; it asked to be left alone for {round(left_s)} s more"
            raise SourceError(why, state=BillingState.UNREACHABLE)

    def _leave_alone(self, err: SourceError) -> None:
        if err.retry_after_s > 0:
            wait_s = min(err.retry_after_s, ALONE_MOST_S)
            self._alone_until = max(self._alone_until, self._ground.clock.boot_s() + wait_s)
            self._alone_why = str(err)

    def _too_slow(self, limit_s: float) -> SourceError:
        return SourceError(f"{self.name}: no whole answer within {limit_s:.0f} s", state=BillingState.UNREACHABLE)
