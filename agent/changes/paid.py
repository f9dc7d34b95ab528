"""Paid restores: a service that is suspended for debt comes back by itself once a payment is settled.

* It is a change as any other: the agent asks in its own name and can approve nothing. A standing authority that two
  people signed approves it; over its rate, or without one, people may. A person that asks by hand takes it over.
* The evidence is that of `facts.paid_since`: nothing is overdue now, and a payment that the suspension did not know of.
  The order of payment and suspension does not matter. Other reasons for a suspension stay.
* A service has one open restore; under a standing authority a person's that nobody approved does not count. One that
  fails or expires is asked for again, later each time, up to an hour. Beyond the rate nothing is asked for: the queue
  is in the order in which payments were settled, its plans are made in turn.
* Where no standing authority is in force a plan waits for a person, and is asked for again a day later: not six hundred
  of them each half an hour. The same holds where a person rejected or cancelled one.
* Where a service was restored meanwhile, by a person for one, the agent withdraws its own plan that nobody approved.
* Doubtful ones are not asked for at all: `for_people` lists them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

import trio

from agent.billing_model.account import PaymentState
from agent.changes.authority import standings
from agent.changes.authority.standings import InForce, Standings
from agent.changes.journal import budget, plans
from agent.changes.journal.machine import FINAL, Gate
from agent.changes.journal.request import Ask, Request, RequestError, intent_of
from agent.changes.journal.trust_state import Pinned, TrustState
from agent.changes.planning.intake import Intake
from agent.changes.planning.preview import NothingToDoError
from agent.connectors.base import UnreadableError
from agent.inventory import facts
from agent.inventory.billing import BillingReader
from agent.inventory.facts import Billing
from agent.model import ItemState, ReasonChange, SuspensionReason
from agent.runtime.clock import Clock
from agent.runtime.notifier import Notifier
from agent.runtime.slices import InSlices
from agent.store.db import Store
from agent.store.errors import RefusedCommandError
from trust import envelope as envelopes
from trust import statements
from trust.moments import moment_text
from trust.policy import Action, RiskClass
from trust.statements import Intent
from trust.verify import BY_STANDING

_log = logging.getLogger(__name__)
LOOK_S: Final = 30.0
"""How often it is looked without a bell."""
AGAIN_S: Final = 30.0
"""How soon a failed or expired restore is asked for again; then twice as long each time, up to an hour."""
AGAIN_MAX_S: Final = 3600.0
PERSON_S: Final = 86_400.0
"""How soon a restore is asked for again that waited for a person, or was turned down by one."""
JUDGE_S: Final = 600.0
"""How often one is judged that waits its turn: on pay day there are hundreds, and a bell rings for each payment."""
AT_ONCE: Final = 8
"""Plans that are made at once: each reads the service's targets."""
_OPEN: Final = (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED)
_BEGUN: Final = (Gate.APPROVED.value, Gate.CONSUMED.value)
_GO_ON: Final = tuple(sorted(state.value for state in frozenset(ItemState) - FINAL))
"""States of an item that is not over."""
_LIFTS: Final = str(ReasonChange(SuspensionReason.DEBT, added=False))
_TURNED_DOWN: Final = frozenset({Gate.REJECTED, Gate.CANCELLED})

_CANDIDATES: Final = """
SELECT r.service, s.subscriber, coalesce(r.looked_s, e.at_s) AS looked_s, min(p.settled_s) AS paid_s
FROM reason r JOIN event e ON e.seq = r.seq JOIN service s ON s.ref = r.service JOIN payment p USING (subscriber)
WHERE r.reason = 'debt' AND p.state = 'settled' AND p.settled_s >= coalesce(r.looked_s, e.at_s)
GROUP BY r.service ORDER BY paid_s, r.service
"""
"""Services with a payment that their suspension did not know of, the first to pay first; each is judged then."""
_NEEDLESS: Final = """
SELECT p.plan_id FROM plan p JOIN item i USING (plan_id)
WHERE p.gate = 'open' AND +p.requester = ? AND p.reason = ? AND i.state = 'planned'
AND NOT EXISTS (SELECT 1 FROM reason r WHERE r.service = i.service AND r.reason = 'debt')
"""
"""Plans of a requester that wait for an approval, to lift a debt that is on record no more."""


@dataclass(frozen=True, slots=True)
class WaitingPayer:
    """A service that is to come back. `since_s`: since when its payment is settled, unix seconds."""

    service: str
    since_s: float
    why: str
    change: str = ""
    """The short id of its open change; "": none was asked for yet."""


@dataclass(frozen=True, slots=True)
class DoubtfulPayer:
    """A suspended service with an event on its account that no standing authority covers."""

    service: str
    why: str


@dataclass(slots=True)
class _Payer:
    """How the restore of one service stands. `again_at`, `judge_at`: boot-time clock."""

    since_s: float
    plan: bytes | None = None
    again_at: float = float("-inf")
    pause_s: float = AGAIN_S
    judge_at: float = float("-inf")
    in_doubt: bool = False
    busy: bool = False
    alone: bool = False
    """Asked for while no standing authority was in force."""
    why: str = ""


@dataclass(slots=True)
class PaidRestores:
    """Asks for the restores of payers."""

    store: Store
    intake: Intake
    standings: Standings
    billing: BillingReader
    trust: TrustState
    clock: Clock
    handle: str
    zone: ZoneInfo
    changed: Notifier
    """Rung when the ledger learned something."""
    poke: Callable[[], None]
    """Has the worker look at approved plans."""
    waiting: Mapping[bytes, str]
    """Why plans have not started yet."""
    asks: bool = True
    """Whether it asks at all; otherwise it only names the payers."""
    _payers: dict[str, _Payer] = field(default_factory=dict)
    _asking: int = 0

    async def run(self) -> None:
        """Work until cancelled; returns at once where it asks for nothing."""
        if not self.asks:
            return
        async with trio.open_nursery() as nursery:
            while True:
                rung, began = self.changed.next_ring(), self.clock.boot_s()  # a ring during the look counts as well
                await self._look(nursery)
                due = [p.again_at for p in self._payers.values() if p.plan is None and p.again_at > began]
                pause_s = min(due, default=float("inf")) - self.clock.boot_s()
                with trio.move_on_after(min(LOOK_S, max(pause_s, 0.0))):
                    await rung.wait()

    async def _look(self, nursery: trio.Nursery) -> None:
        if (pinned := self.trust.pinned) is None:
            await trio.lowlevel.checkpoint()
            return
        for r in self.store.query(_NEEDLESS, (self.handle, _LIFTS)):
            await self.standings.withdraw(bytes(r["plan_id"]))
        found = {r["service"]: r for r in self.store.query(_CANDIDATES)}
        for gone in [name for name, payer in self._payers.items() if name not in found and not payer.busy]:
            del self._payers[gone]
        if all(name in self._payers and self._payers[name].busy for name in found):
            await trio.lowlevel.checkpoint()
            return
        in_force = self.standings.in_force(self.clock.wall_s())
        covered = standings.may_cover(in_force, pinned.trust, Action.RESTORE, RiskClass.RESTORE)
        turn = self._turn_text(pinned, in_force, covered=covered)
        async for service, r in InSlices(found.items()):
            payer = self._payers.setdefault(service, _Payer(r["paid_s"]))
            if payer.busy:
                continue
            if payer.plan is not None:
                self._see(service, payer)
            if payer.alone and covered and await self._waits_for_nobody(payer):
                payer.plan, payer.alone, payer.again_at = None, False, float("-inf")
            if payer.plan is not None or payer.again_at > self.clock.boot_s():
                continue
            room = not turn and self._asking < AT_ONCE
            if room or payer.judge_at <= self.clock.boot_s():
                payer.in_doubt, payer.judge_at = not self._may_come(service), self.clock.boot_s() + JUDGE_S
            if payer.in_doubt:
                payer.why = "it is in doubt: a person looks"
            elif turn:
                payer.why = turn
            elif room:
                payer.busy, payer.alone = True, not covered
                self._asking += 1
                nursery.start_soon(self._asked, service, payer, pinned)
                turn = self._turn_text(pinned, in_force, covered=covered)

    def _may_come(self, service: str) -> bool:
        return standings.has_matched_payment(self.store.query, service, self.clock.wall_s(), self.billing)

    def _turn_text(self, pinned: Pinned, found: Sequence[InForce], *, covered: bool) -> str:
        """Return why one more restore has to wait its turn; "": it need not, or waits for a person anyway."""
        policy, now_s = pinned.trust.policy_class(RiskClass.RESTORE), self.clock.wall_s()
        if policy is None or not covered:
            return ""
        query, risk = self.store.query, RiskClass.RESTORE.value
        ahead = [*budget.waiting_of(query, risk, now_s), *([1] * self._asking)]
        of_class = budget.next_turn(budget.uses_of(query, risk, now_s), ahead, 1, policy.budget_per_hour, now_s)
        turn_s = max(self.standings.turn_s(found, Action.RESTORE, now_s, asking=self._asking), of_class or now_s)
        if turn_s <= now_s:
            return ""
        return f"it waits its turn, or for a person: from {moment_text(turn_s, self.zone, now_s)} on"

    # --- one restore ---

    async def _asked(self, service: str, payer: _Payer, pinned: Pinned) -> None:
        with self._is_busy(payer):
            try:
                await self._ask(service, payer, pinned)
            except NothingToDoError as err:
                self._later(service, payer, "; ".join(err.lines))
            except (RequestError, RefusedCommandError, UnreadableError) as err:
                self._later(service, payer, str(err))

    @contextmanager
    def _is_busy(self, payer: _Payer) -> Iterator[None]:
        try:
            yield
        finally:
            payer.busy = False
            self._asking -= 1
            self.changed.ring()  # there is room for the next one

    async def _ask(self, service: str, payer: _Payer, pinned: Pinned) -> None:
        if (
            asked := self._open_restore(service, covered=not payer.alone)
        ) is not None:  # by a person, or before the agent was started anew
            payer.plan = asked
            payer.alone = payer.alone or self._is_for_people(asked)
            await trio.lowlevel.checkpoint()
            return
        ask = Ask(Action.RESTORE, refs=(service,), reason=SuspensionReason.DEBT)
        intent = intent_of(ask, self.handle, pinned.trust, self.trust.agent, self.clock.wall_s())
        digest = envelopes.digest_of(statements.payload_type(Intent), statements.encode(intent))
        payer.plan = await self.intake.plan(Request(ask, self.handle, intent, digest), pinned)
        # Billing fell silent while the plan was made: only people may approve that one, and nobody is to wait for them
        unseen = not payer.alone and self._is_for_people(payer.plan) and not self._may_come(service)
        if unseen and await self.standings.withdraw(payer.plan):
            self._later(service, payer, "its payment could not be seen while its restore was planned")
            return
        self.poke()
        self._see(service, payer)

    def _open_restore(self, service: str, *, covered: bool) -> bytes | None:
        """Return the plan that restores a service, whoever asked for it, and is not over yet; None: there is none.

        A batch may go on for hours after the service's own item. `covered`: a standing authority is in force, so that
        no payer waits for a person's plan that nobody approved.
        """
        query = (
            "SELECT p.plan_id FROM item i JOIN plan p USING (plan_id) WHERE i.service = ? AND p.reason = ?"  # noqa: S608  # only question marks
            " AND p.finished_seq IS NULL AND (p.gate IN (?, ?) OR p.gate = ? AND (p.requester = ? OR NOT ?))"
            f" AND i.state IN ({','.join('?' * len(_GO_ON))})"
        )
        rows = self.store.query(query, (service, _LIFTS, *_BEGUN, Gate.OPEN.value, self.handle, covered, *_GO_ON))
        return bytes(rows[0]["plan_id"]) if rows else None

    def _is_for_people(self, plan_id: bytes) -> bool:
        """Tell whether a plan is the agent's own, open, and of a class that only people approve.

        One from before the agent was started anew was made while no standing authority was in force.
        """
        row = plans.find(self.store.reader, plan_id.hex())
        return row.gate is Gate.OPEN and row.requester == self.handle and RiskClass(row.risk) not in BY_STANDING

    async def _waits_for_nobody(self, payer: _Payer) -> bool:
        """Withdraw the agent's plan that waits for a person; False: a person decided on it, or it was approved."""
        if payer.plan is None:
            await trio.lowlevel.checkpoint()
            return True
        row = plans.find(self.store.reader, payer.plan.hex())
        if row.gate is not Gate.OPEN or row.requester != self.handle:  # a person's own stays for its approvers
            await trio.lowlevel.checkpoint()
            return row.gate is Gate.OPEN
        return await self.standings.withdraw(payer.plan)

    def _see(self, service: str, payer: _Payer) -> None:
        """Take note of how a plan stands, and the service's item in it."""
        row = plans.find(self.store.reader, (payer.plan or b"").hex())
        items = self.store.query("SELECT state FROM item WHERE plan_id = ? AND service = ?", (row.plan_id, service))
        states = {str(item["state"]) for item in items}
        if row.finished_seq is None and row.gate in _OPEN and states & {*_GO_ON}:
            stands = "it waits for a person's approval" if row.gate is Gate.OPEN else "it is approved"
            payer.why = self.waiting.get(row.plan_id) or stands
            return
        ended = ", ".join(sorted(states)) if row.gate is Gate.CONSUMED else row.gate.value
        payer.plan = None
        waited_for_people = payer.alone and row.gate is Gate.EXPIRED
        if row.gate in _TURNED_DOWN or waited_for_people:
            payer.again_at = self.clock.boot_s() + PERSON_S
            payer.alone = waited_for_people  # a person's no outlives a new standing authority
            payer.why = f"change {row.short} ended as {ended}: asked for again a day later, or by a person"
        else:
            self._later(row.short, payer, f"change {row.short} ended as {ended}")

    def _later(self, what: str, payer: _Payer, why: str) -> None:
        _log.info("a paid service is not restored yet", extra={"change": what if payer.plan else ""})
        payer.plan, payer.why = None, why
        payer.again_at = self.clock.boot_s() + payer.pause_s
        payer.pause_s = min(payer.pause_s * 2, AGAIN_MAX_S)

    # --- for people ---

    def queue(self) -> list[WaitingPayer]:
        """Return the services that are to come back, the first to pay first, and why each is not back yet."""
        found = []
        unseen = "it was not looked at yet" if self.asks else "[billing] restore_paid is false: somebody else asks"
        for r in self.store.query(_CANDIDATES):
            payer = self._payers.get(r["service"], _Payer(r["paid_s"], why=unseen))
            short = "" if payer.plan is None else plans.find(self.store.reader, payer.plan.hex()).short
            found.append(WaitingPayer(r["service"], r["paid_s"], payer.why, short))
        return found

    async def for_people(self) -> list[DoubtfulPayer]:
        """Return the suspended services that a person should look at, and why."""
        rows = self.store.query(
            "SELECT r.service, s.subscriber, coalesce(r.looked_s, e.at_s) AS looked_s FROM reason r"
            " JOIN event e ON e.seq = r.seq JOIN service s ON s.ref = r.service WHERE r.reason = 'debt' ORDER BY 1"
        )
        now_s = self.clock.wall_s()
        found = self.billing.of_many(self.store.query, [r["subscriber"] for r in rows], now_s)
        return [
            DoubtfulPayer(r["service"], why)
            async for r in InSlices(rows)
            if (why := doubtful(found[r["subscriber"]], r["looked_s"]))
        ]


def doubtful(billing: Billing, looked_s: float) -> str:
    """Return why a person should look at a suspended service; "": there is no question.

    Args:
        billing: of its subscriber, now.
        looked_s: when the account was looked at last before the suspension, unix seconds.
    """
    if billing.kept is None:
        gone = "billing has no account of this name any more: it may have another name there, or be gone"
        return "" if billing.doubt else gone
    if facts.paid_since(billing, looked_s):
        return ""
    states = [p.payment.state for p in billing.payments if max(p.settled_s, p.learned_s) >= looked_s]
    unsure, overdue = facts.unsure(billing), facts.late(billing, billing.kept.account)
    if PaymentState.SETTLED in states:
        if unsure:
            return f"it paid, and {unsure}"
        if overdue > 0:
            return f"it paid a part: {overdue} is overdue still"
        if (owed := facts.unlisted(billing.kept.account)) > 0:
            return f"it paid, and {owed} are owed of which billing lists no invoice"
        return "it paid, by what a person could have written: no standing authority goes by that"
    if unsure or overdue > 0:
        return ""
    if PaymentState.PENDING in states:
        return "nothing is overdue, and its payment is pending"
    return "nothing is overdue, and no new payment says why: a credit note, a write-off, or a payment that was known"
