"""All billing sources of an agent: their loops, webhooks, questions at the last moment, and doubt.

* One source is the authority for accounts; its state, and the age of an account, decide which conclusions are allowed.
* A webhook is a bell: it has accounts or payments read at once. It is done when the facts are durable; until then it is
  tried again, also after a restart.
* A payment has the account of its subscriber read at the authority, at once and again a little later while something is
  overdue there: the authority may learn of it later than the source of the payment.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from agent.age import age_text
from agent.billing import states
from agent.billing.hook_turns import HookTurns
from agent.billing.hooks_listener import HooksListener
from agent.billing.matcher import PaymentMatcher
from agent.billing.source_reader import SourceGround, SourceReader
from agent.billing.states import ReadingSize, SourceJudgment
from agent.billing_model.account import Payment
from agent.billing_model.days import today
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.source import SomePaymentsError
from agent.inventory import ledger
from agent.inventory.importing import Importer
from agent.inventory.ledger import HeardDone, KeptPayment, OpenHeard, RecordPayments
from agent.runtime.clock import sleep_or
from agent.runtime.notifier import Notifier
from agent.runtime.supervise import Backoff, supervise
from agent.store.db import Tx
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind

_log = logging.getLogger(__name__)
WAIT_S: Final = 10.0
"""How long an about-to waits for its account to be read again; then it is in doubt."""
HUNG_S: Final = 30.0
"""So long nobody waits for a source that let somebody wait for `WAIT_S`: one that hangs must not hold every plan."""
FOLLOW_S: Final = (10.0, 60.0, 300.0)
"""When the account of a payer is read again while something is overdue there, seconds after the payment was told of."""
BELL_S: Final = 5.0
"""How often it is looked for webhooks without a bell."""
HEARD_PAUSES: Final = Backoff(1.0, 300.0)


@dataclass(frozen=True, slots=True)
class SourceRules:
    """`authority`: name of the source with the accounts that decide. `recheck_s`: a younger account is not asked for
    again.

    `file_age_s`: the age limit of the billing file; 0: none is configured.
    """

    authority: str
    recheck_s: float
    file_age_s: float = 0.0


@dataclass(slots=True)
class _Follow:
    """A payer with an account to read again. `due_s`: boot-time clock."""

    due_s: float
    tries: int = 0


@dataclass(slots=True)
class _Calls:
    """The turns of a source's webhooks, and when one that failed is tried again (boot-time clock)."""

    turns: HookTurns = field(default_factory=HookTurns)
    again_s: float = float("-inf")
    busy: bool = False


@dataclass(frozen=True, slots=True)
class NoteAccepted:
    """Log that a person accepted the size of a reading."""

    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        return tx.append(Entry(LeafKind.IMPORTED, sealed=self.sealed))


@dataclass(slots=True)
class BillingSources:
    """All sources. The billing file has its own way (`importer`), and one place in each list."""

    ground: SourceGround
    readers: Mapping[str, SourceReader]
    rules: SourceRules
    matcher: PaymentMatcher
    importer: Importer
    heard: Notifier = field(default_factory=Notifier)
    """Rung when a webhook is kept."""
    hooks: HooksListener | None = field(default=None, init=False)
    """Hears webhooks; None: none is configured."""
    _unread: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Why the account of a subscriber was not read when it was asked for last, and when that failed, unix seconds."""
    _hung_until: float = float("-inf")
    _follows: dict[str, _Follow] = field(default_factory=dict)
    _calls: dict[str, _Calls] = field(default_factory=lambda: defaultdict(_Calls))
    _new: list[KeptPayment] = field(default_factory=list)
    _told: trio.Event = field(default_factory=trio.Event)

    @property
    def names(self) -> tuple[str, ...]:
        """All configured sources, that of the file first."""
        return (*((ledger.FILE,) if self.rules.file_age_s else ()), *self.readers)

    @property
    def authority(self) -> SourceReader | None:
        """The source with the accounts that decide; None: it is the file, or none is configured."""
        return self.readers.get(self.rules.authority)

    async def run(self) -> None:
        """Read until cancelled."""
        if not self.readers:
            return
        async with trio.open_nursery() as nursery:
            for reader in self.readers.values():
                nursery.start_soon(self._supervised, reader)
            nursery.start_soon(self._listen)
            nursery.start_soon(self._go_after_payers)
            await self._match_again()

    async def _supervised(self, reader: SourceReader) -> None:
        async def read() -> None:
            await reader.run(self.tell)

        await supervise(f"billing {reader.name}", read, log=_log)

    # --- payers ---

    def tell(self, new: Sequence[KeptPayment]) -> None:
        """Take payments that are new or changed: bring them to their subscribers and read their accounts."""
        self._new.extend(new)
        self._told.set()

    async def _match_again(self) -> None:
        """Look at all payments that are nobody's yet whenever accounts were read: a name may be known by now."""
        while True:
            rung = self.ground.changed.next_ring()
            unmatched = ledger.unmatched(self.ground.store.query)
            if unmatched and (matched := await self.matcher.match(unmatched)):
                self._follow(matched)
            await rung.wait()
            await self.ground.clock.sleep(BELL_S)  # many changes at once need one look

    async def _go_after_payers(self) -> None:
        while True:
            self._told = trio.Event()
            new, self._new = self._new, []
            if new:
                self._follow(await self.matcher.match(new))
            now = self.ground.clock.boot_s()
            due = [name for name, follow in self._follows.items() if follow.due_s <= now]
            if due:
                await self._look_after(due)
            next_s = min((f.due_s for f in self._follows.values()), default=now + 3600) - self.ground.clock.boot_s()
            await sleep_or(self.ground.clock, max(next_s, 0.0), self._told)

    def _follow(self, subscribers: Collection[str]) -> None:
        for name in subscribers:
            self._follows[name] = _Follow(self.ground.clock.boot_s())
        if subscribers:
            self._told.set()

    async def _look_after(self, subscribers: Sequence[str]) -> None:
        await self._recheck([name for name in subscribers if self._still_overdue(name) or not self._is_new(name)])
        now_s = self.ground.clock.boot_s()
        for name in subscribers:
            follow = self._follows[name]
            if follow.tries >= len(FOLLOW_S) or not self._still_overdue(name):
                del self._follows[name]  # the next full reading sees the rest
            else:
                follow.due_s, follow.tries = now_s + FOLLOW_S[follow.tries], follow.tries + 1

    def _is_new(self, subscriber: str) -> bool:
        """Return whether an account was read a moment ago, as where its webhook names it."""
        return self._was_read(subscriber, BELL_S)

    def _was_read(self, subscriber: str, within_s: float) -> bool:
        """Return whether an account was read lately; not where that lies ahead: our clock was set back since."""
        kept = ledger.account_of(self.ground.store.query, self.rules.authority, subscriber)
        return kept is not None and 0 <= self.ground.clock.wall_s() - kept.read_s < within_s

    def _still_overdue(self, subscriber: str) -> bool:
        if self._why_unread(subscriber):
            return True
        kept = ledger.account_of(self.ground.store.query, self.rules.authority, subscriber)
        day = today(self.ground.clock.wall_s(), self.ground.zone)
        return kept is not None and kept.account.overdue(day, self.ground.grace_days) > 0

    # --- webhooks ---

    async def _listen(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                by_source: dict[str, list[OpenHeard]] = {}
                for each in ledger.heard_open(self.ground.store.query):
                    by_source.setdefault(each.source, []).append(each)
                now = self.ground.clock.boot_s()
                for source, calls in by_source.items():
                    state = self._calls[source]
                    if source in self.readers and not state.busy and state.again_s <= now:
                        state.busy = True
                        nursery.start_soon(self._deal, self.readers[source], calls)
                with trio.move_on_after(BELL_S):
                    await self.heard.wait()

    async def _deal(self, reader: SourceReader, calls: Sequence[OpenHeard]) -> None:
        """Read the accounts that webhooks rang for, as many as have their turn; they are done when the facts are
        durable.
        """
        state = self._calls[reader.name]
        try:
            if gone := state.turns.given_up(calls, self.ground.clock.wall_s()):
                _log.warning("webhooks-given-up", extra={"target": reader.terms.target, "count": len(gone)})
                await self._done(reader, gone)
                return
            some = state.turns.next(calls)
            problem, looked_up = await self._read_heard(reader, [c for c in some if not c.heard.test])
            if problem:
                if looked_up:
                    self._tell_of(await self.ground.store.run(reader.record(looked_up)))
                state.turns.failed(some)
                pause_s = HEARD_PAUSES.pause_s(state.turns.failures, self.ground.dice())
                state.again_s = self.ground.clock.boot_s() + pause_s
            else:
                await self._done(reader, some, looked_up)
        finally:
            state.busy = False

    async def _done(self, reader: SourceReader, calls: Sequence[OpenHeard], looked_up: Sequence[Payment] = ()) -> None:
        paid = reader.record(looked_up) if looked_up else None
        self._tell_of(await self.ground.store.run(HeardDone(reader.name, [c.heard.event_id for c in calls], paid)))
        self._calls[reader.name].turns.done(calls)
        self.heard.ring()  # others may have come meanwhile

    def _tell_of(self, new: Sequence[KeptPayment]) -> None:
        if new:
            self.tell(new)
            self.ground.changed.ring()

    async def _read_heard(self, reader: SourceReader, calls: Sequence[OpenHeard]) -> tuple[str, list[Payment]]:
        """Read the facts that webhooks rang for; return why not all were read ("": they were), and looked-up payments.

        Those are stored by the caller, in one commit with the end of the calls; all else is stored here.
        """
        if not calls:
            return "", []
        told = [c.heard.payment for c in calls if c.heard.payment is not None]
        if told:  # the configuration lets this source count by its signed body
            sealed = self.ground.seal({"what": "payments", "source": reader.name, "heard": len(told)})
            self.tell(await self.ground.store.run(RecordPayments(reader.name, told, sealed)))
        keys = {key for c in calls for key in c.heard.accounts}
        asked = [c for c in calls if c.heard.payment is None]
        named = {payment_id for c in asked for payment_id in c.heard.payment_ids}
        unnamed = any(not c.heard.accounts and not c.heard.payment_ids for c in asked)
        new: list[KeptPayment] = []
        looked_up: list[Payment] = []
        problems: list[str] = []

        async def read_accounts() -> None:
            problems.append(await reader.recheck(keys))

        async def read_payments() -> None:
            try:
                found = None if unnamed else await reader.look_up_payments(sorted(named))
                if found is None:
                    new.extend(await reader.read_payments(min(c.at_s for c in asked) - WAIT_S))
                else:
                    looked_up.extend(found)
            except SourceError as err:
                listed = {p.id for p in err.payments} if isinstance(err, SomePaymentsError) else set()
                if unnamed or not named <= listed:  # else the list lost rows, and none that the calls are about
                    problems.append(str(err))
            payers = self._payers(reader, named, looked_up) - keys
            if payers and reader.accounts_of is not None:
                problems.append(await reader.recheck(payers))

        async with trio.open_nursery() as nursery:  # both at once: somebody waits
            if keys and reader.accounts_of is not None:
                nursery.start_soon(read_accounts)
            if reader.payments_of is not None and (named or unnamed):
                nursery.start_soon(read_payments)
            elif any(not c.heard.accounts for c in asked):
                reader.poke()  # it rang for everything
        if new:  # not before: an account that is read just now would be asked for once more
            self.tell(new)
        return next(filter(None, problems), ""), looked_up

    def _payers(self, reader: SourceReader, named: Collection[str], looked_up: Sequence[Payment]) -> set[str]:
        """Return the source's ids of the accounts of payments that webhooks named."""
        kept = (ledger.payment(self.ground.store.query, reader.name, name) for name in named)
        return {p.account for p in (*looked_up, *(k.payment for k in kept if k is not None)) if p.account}

    # --- at the last moment ---

    async def refresh(self, services: Collection[str]) -> None:
        """Read the billing file again if it changed, and accounts of services' subscribers unless that was just done.

        It returns within `WAIT_S`. An account that could not be read is in doubt from then on, until it can be read.

        Args:
            services: refs of the inventory.
        """
        if await self.importer.refresh():
            self.ground.changed.ring()
        if self.authority is None:
            return
        found = dict.fromkeys(r["subscriber"] for ref in services for r in self._rows(ref))
        young_s = self.rules.recheck_s
        if old := [name for name in found if self._why_unread(name) or not self._was_read(name, young_s)]:
            await self._recheck(old)

    def _rows(self, ref: str) -> Sequence[Mapping[str, str]]:
        return [dict(r) for r in self.ground.store.query("SELECT subscriber FROM service WHERE ref = ?", (ref,))]

    async def _recheck(self, subscribers: Sequence[str]) -> None:
        reader = self.authority
        if reader is None:
            await trio.lowlevel.checkpoint()
            return
        keys: dict[str, str] = {}
        for name in subscribers:
            if (kept := ledger.account_of(self.ground.store.query, reader.name, name)) is not None:
                keys[name] = kept.account.key
        problem = f"{reader.name} did not answer a moment ago"
        if keys and self._hung_until <= self.ground.clock.boot_s():
            with trio.move_on_after(WAIT_S) as waited:
                problem = await reader.recheck(set(keys.values()))
            if waited.cancelled_caught:
                problem = f"{reader.name} did not answer within {WAIT_S:.0f} s"
                self._hung_until = self.ground.clock.boot_s() + HUNG_S
        for name in keys:
            if problem:
                self._unread[name] = problem, self.ground.clock.wall_s()
            else:
                self._unread.pop(name, None)
        await trio.lowlevel.checkpoint()

    def _why_unread(self, subscriber: str) -> str:
        """Return why an account was not read when it was asked for last; "": it was, or a later reading told it."""
        why, failed_s = self._unread.get(subscriber, ("", 0.0))
        if not why:
            return ""
        query, name = self.ground.store.query, self.rules.authority
        kept = ledger.account_of(query, name, subscriber)
        read_s = ledger.status(query, name).read_s if kept is None else kept.read_s
        if read_s > failed_s:
            del self._unread[subscriber]
            return ""
        return why

    # --- what may be concluded, and what a person decides ---

    async def accept(self, source: str, who: str) -> ReadingSize | None:
        """Take the size of a source's reading that is in question, and read it again; None: none is in question.

        Args:
            source: one of `readers`.
            who: the person's handle, for the log.
        """
        size = self.readers[source].accept()
        if size is None:
            await trio.lowlevel.checkpoint()
            return None
        fields: dict[str, str | int] = {"what": "billing-accepted", "source": source, "by": who}
        record = self.ground.seal({**fields, "facts": size.accounts, "overdue": size.overdue})
        await self.ground.store.run(NoteAccepted(record))
        self.readers[source].poke()
        return size

    def now(self, source: str) -> SourceJudgment:
        """Return how far a source counts now."""
        status, reader = ledger.status(self.ground.store.query, source), self.readers.get(source)
        judged = SourceJudgment(status.state, status.detail)
        if status.state is BillingState.NEVER:
            return states.NEVER
        max_age_s = self.rules.file_age_s if reader is None else reader.terms.max_age_s
        if not max_age_s:  # it tells no accounts that could be too old
            return judged
        return states.at(judged, status.read_s or None, max_age_s, self.ground.clock.wall_s())

    def doubt(self, subscriber: str) -> str:
        """Return why nothing may be concluded from the authority's facts on a subscriber; "": it may."""
        name, reader = self.rules.authority, self.authority
        if reader is None:
            return self.importer.doubt(subscriber)
        judged = self.now(name)
        if judged.state is not BillingState.FRESH:
            return f"{name} is {judged.state.value}: {judged.detail}"
        if why := self._why_unread(subscriber):
            return f"its account could not be read again: {why}"
        kept = ledger.account_of(self.ground.store.query, name, subscriber)
        if kept is not None:
            age_s = self.ground.clock.wall_s() - kept.read_s
            if age_s > reader.terms.max_age_s:
                return f"its account was read {age_text(int(age_s))} ago"
        return ""

    def state_text(self, name: str) -> str:
        """Return name, state and age of a source in a few words, for previews and checks."""
        judged, status = self.now(name), ledger.status(self.ground.store.query, name)
        age = f", read {age_text(int(self.ground.clock.wall_s() - status.read_s))} ago" if status.read_s else ""
        return f"{name} {judged.state.value}{age}"
