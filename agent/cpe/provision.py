"""Provisioning: a CPE that is new, or was reset, is given the baseline that the configuration declares for such CPE.

It is a change as any other: previewed, approved, sent when the CPE is on the line, read back. People approve it, or a
standing authority that two of them signed for it: one CPE a plan, so many in an hour, until a date. The agent asks in
its own name, and can approve nothing.

    called in new or reset -> read the baseline's parameters -> plan  ->  standing authority, or waits for people
                            ->  applied: it has its baseline, until its next reset
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from agent.changes.journal import plans
from agent.changes.journal.commands import SetGate
from agent.changes.journal.machine import Gate
from agent.changes.journal.request import Ask, Request, RequestError, intent_of
from agent.changes.journal.trust_state import Pinned, TrustState
from agent.changes.planning.preview import NothingToDoError
from agent.connectors.base import UnreadableError
from agent.cpe import requirements
from agent.cpe.desk import CpeDesk
from agent.cpe.intake import CpeIntake
from agent.cpe_model.baseline import Baseline
from agent.cpe_model.known import Cpe
from agent.model import ItemState
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.store.errors import RefusedCommandError
from trust import envelope as envelopes
from trust import statements
from trust.cpe_settings import BASELINE
from trust.leaf import LeafKind
from trust.policy import Action
from trust.statements import Intent

_log = logging.getLogger(__name__)
LOOK_S: Final = 2.0
SELDOM_S: Final = 30.0
"""How often it is looked for CPE where none is being provisioned: one that calls in is told of."""
BEGIN_S: Final = 0.2
AGAIN_S: Final = 600.0
"""How soon it is tried again with a CPE where it did not work; then twice as long each time, up to a day."""
AGAIN_MAX_S: Final = 86_400.0
AT_ONCE: Final = 5000
"""CPE that are waited for at once; the others come when these are done."""
KEEP_S: Final = 30.0
"""How long a CPE is kept on the line while its plan is being approved and begun."""
_DONE: Final = frozenset({ItemState.APPLIED, ItemState.ACCEPTED})
_CREDENTIALS: Final = ("acs.username", "acs.password", "request.username", "request.password")


@dataclass(slots=True)
class _Try:
    """The state of provisioning one CPE, for its state and abilities then. `plan`: that waits or runs.

    `again_at`: boot-time clock.
    """

    resets: int
    takes_secrets: bool
    plan: bytes | None = None
    again_at: float = 0.0
    pause_s: float = AGAIN_S
    busy: bool = False


@dataclass(slots=True)
class Provisioner:
    """Gives CPE their baseline. `problems` says, by CPE, why one has not got it."""

    desk: CpeDesk
    intake: CpeIntake
    trust: TrustState
    clock: Clock
    handle: str
    poke: Callable[[], None]
    """Has the worker look at approved plans."""
    problems: dict[str, str] = field(default_factory=dict)
    _tries: dict[str, _Try] = field(default_factory=dict)

    async def run(self) -> None:
        """Work until cancelled."""
        if not self.intake.terms.baselines:
            return
        self.intake.cpes.rings_for = lambda cpe: self.intake.baseline(cpe) is not None
        async with trio.open_nursery() as nursery:
            while True:
                due = {cpe.name: cpe for cpe in self.intake.cpes.due() if self.intake.baseline(cpe) is not None}
                for name in set(self._tries) - set(due):
                    del self._tries[name]
                    self.problems.pop(name, None)
                busy = sum(t.busy for t in self._tries.values())
                for cpe in due.values():
                    if busy >= AT_ONCE:
                        break
                    attempt = self._tries.get(cpe.name)
                    now = (cpe.resets, cpe.takes_secrets)
                    if attempt is None or (attempt.resets, attempt.takes_secrets) != now:
                        attempt = self._tries[cpe.name] = _Try(*now)
                    if not attempt.busy and self.clock.boot_s() >= attempt.again_at:
                        attempt.busy, busy = True, busy + 1
                        nursery.start_soon(self._go_on, cpe, attempt)
                with trio.move_on_after(LOOK_S if self._tries else SELDOM_S):
                    await self.intake.cpes.reset_bell.wait()

    async def _go_on(self, cpe: Cpe, attempt: _Try) -> None:
        try:
            if attempt.plan is None:
                await self._ask(cpe, attempt)
            else:
                await self._look(cpe, attempt)
        except (RequestError, RefusedCommandError, UnreadableError) as err:
            self._later(cpe, attempt, str(err))
        finally:
            attempt.busy = False

    def _later(self, cpe: Cpe, attempt: _Try, why: str) -> None:
        if self.problems.get(cpe.name) != why:
            _log.info("cpe-not-provisioned", extra={"target": self.intake.manager.target_id(cpe.name)})
        self.problems[cpe.name] = why
        attempt.plan, attempt.again_at = None, self.clock.boot_s() + attempt.pause_s
        attempt.pause_s = min(attempt.pause_s * 2, AGAIN_MAX_S)

    async def _ask(self, cpe: Cpe, attempt: _Try) -> None:
        """Read the parameters that the baseline names, and make the plan."""
        baseline = self.intake.baseline(cpe)
        pinned = self.trust.current(self.clock.wall_s())
        if baseline is None:
            return
        if (asked := self._asked(cpe)) is not None:  # before the agent was started anew
            attempt.plan = asked
            return
        names = [*baseline.values, *(_CREDENTIALS if baseline.rotate else ())]
        async with self.desk.sessions.use(self.intake.manager.target_id(cpe.name)):
            await self.desk.refresh(cpe, ())  # what support wants to know of a new CPE; it need not have all of it
            problems = await self.desk.refresh(cpe, names)
            if problems:
                raise UnreadableError("; ".join(problems), reason=TargetReason.UNREADABLE)
            now = self.intake.cpes.find(cpe.name)
            if now is None or (now.resets, now.takes_secrets) != (attempt.resets, attempt.takes_secrets):
                return  # another attempt is for what it is since
            await self._plan(cpe, baseline, attempt, pinned)
            with trio.move_on_after(KEEP_S):
                while attempt.plan is not None and self._is_begun(attempt.plan):
                    await self.clock.sleep(BEGIN_S)

    def _asked(self, cpe: Cpe) -> bytes | None:
        """Return the plan that was made for this reset of the CPE and is not over yet, or None."""
        query = "SELECT plan_id FROM plan WHERE reason = ? AND finished_seq IS NULL AND gate IN (?, ?, ?)"
        gates = (Gate.OPEN.value, Gate.APPROVED.value, Gate.CONSUMED.value)
        rows = self.desk.store.query(query, (requirements.baseline_reason(cpe), *gates))
        return bytes(rows[0]["plan_id"]) if rows else None

    def _is_begun(self, plan_id: bytes) -> bool:
        """Return whether a plan is approved, and not over yet."""
        row = plans.find(self.desk.store.reader, plan_id.hex())
        return row.finished_seq is None and row.gate in (Gate.APPROVED, Gate.CONSUMED)

    async def _plan(self, cpe: Cpe, baseline: Baseline, attempt: _Try, pinned: Pinned) -> None:
        await self._void_older(cpe)
        ask = Ask(Action.CPE_SET, refs=(cpe.name,), settings={BASELINE: baseline.name})
        intent = intent_of(ask, self.handle, pinned.trust, self.trust.agent, self.clock.wall_s())
        digest = envelopes.digest_of(statements.payload_type(Intent), statements.encode(intent))
        try:
            attempt.plan = await self.intake.plan(Request(ask, self.handle, intent, digest), pinned)
        except NothingToDoError as err:
            if err.codes != {"already"}:
                raise RequestError("; ".join(err.lines)) from err
            # It reads as the baseline says: it counts as given, or the CPE would be due, and be read again, for good
            await self.intake.cpes.provisioned(cpe.name, attempt.resets)
            return
        self.poke()
        self.problems[cpe.name] = f"change {plans.find(self.desk.store.reader, attempt.plan.hex()).short}"

    async def _void_older(self, cpe: Cpe) -> None:
        """End the plans that wait and rest on the CPE's state before it was reset or accepted again: nobody is to look
        at two.
        """
        reason = requirements.baseline_reason(cpe)
        prefix = reason[: reason.rindex(":") + 1]
        query = "SELECT plan_id FROM plan WHERE gate IN (?, ?) AND substr(reason, 1, ?) = ? AND reason <> ?"
        gates = (Gate.OPEN.value, Gate.APPROVED.value)
        for row in self.desk.store.query(query, (*gates, len(prefix), prefix, reason)):
            sealed = self.desk.recorder.record(cpe.service or None, {"what": "expired", "cpe": cpe.name})
            with contextlib.suppress(RefusedCommandError):  # it started meanwhile: then it is stale
                await self.desk.store.run(SetGate(bytes(row["plan_id"]), Gate.EXPIRED, LeafKind.PLAN_VOID, sealed))

    async def _look(self, cpe: Cpe, attempt: _Try) -> None:
        """Look at the fate of the plan."""
        await trio.lowlevel.checkpoint()
        row = plans.find(self.desk.store.reader, (attempt.plan or b"").hex())
        states = plans.counts(self.desk.store.reader, row)
        if row.finished_seq is not None and set(states) <= _DONE:
            await self.intake.cpes.provisioned(cpe.name, attempt.resets)
        elif row.finished_seq is not None or row.gate.value in ("rejected", "cancelled", "expired", "void"):
            ended = ", ".join(sorted(state.value for state in states)) if row.finished_seq else row.gate.value
            self._later(cpe, attempt, f"change {row.short} ended as {ended}")
