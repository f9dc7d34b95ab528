"""What became of an item: is it enforced, and the state in which it ends."""

from __future__ import annotations

from dataclasses import replace

from agent.changes.engine.item_parts import UNSENT, Stopped
from agent.changes.engine.item_steps import ItemSteps
from agent.changes.engine.sessions import Lines
from agent.changes.journal.machine import Event, settle
from agent.connectors.base import Enforced, Judgement, UnreadableError
from agent.model import ABSENT, Address, Effect, Item, Seen, Verdict
from agent.reasons import ProofReason

_SAID = {"ack-without-effect": "the NAS answered ACK"}


class ItemEnd:
    """Ends items of one plan."""

    def __init__(self, steps: ItemSteps) -> None:
        """Judge by what is known of their steps."""
        self._steps, self._parts, self._clock = steps, steps.parts, steps.parts.clock

    async def settle(self, item: Item, lines: Lines | None, stopped: Stopped | None) -> None:
        """Move an item to the state in which it ends. `lines` None: nothing can be read now. `stopped`: why it went
        no further, None: it did all.
        """
        if self._steps.journal.states[item.n] in UNSENT:
            await self._steps.move(item, Event.BEGIN, "")  # there was nothing to send: no session to end
        facts = [self._steps.known(item.n).fact(step) for step in item.steps]
        writes_stand = all(f.verdict is Verdict.APPLIED for f in facts if not f.effect)
        judgement: Judgement | None = None
        if item.enforce is not None and writes_stand:
            judgement = Judgement(Enforced.NO, ProofReason.UNREADABLE)
            if lines:
                redials = bool(self._steps.known(item.n).ended)
                judgement = await self.enforce(item, lines, item.enforce.within_s, redials=redials)
        elif item.enforce is None and self._ladder_text(item) and not await self._gone(item, lines):
            facts = [
                replace(f, verdict=Verdict.NOT_APPLIED) if f.unless and f.verdict is Verdict.APPLIED else f
                for f in facts
            ]
        event = settle(facts, judgement, None if stopped is None else stopped.event)
        if event is Event.LOSE:
            event = Event.ESCALATE  # the time for re-reading is over
        stands = writes_stand and event in (Event.PROVE, Event.SET_OFFLINE, Event.SET_UNENFORCED)
        desired = item.desired if stands else ()
        reason, detail = self._explain(item, judgement, stopped)
        await self._steps.move(item, event, reason, detail, desired)

    async def _gone(self, item: Item, lines: Lines | None) -> bool:
        """Tell whether all that an item was to end is gone: a later rung may have ended something else, or nothing."""
        ended = self._steps.known(item.n).ended
        until = self._clock.boot_s() + max(s.do.within_s for s in item.steps if isinstance(s.do, Effect))
        while lines is not None:
            try:
                if all(seen.value is ABSENT for seen in (await lines.read(ended)).values()):
                    return True
            except UnreadableError:
                pass  # as long as it cannot be read, it is not known to be gone
            if self._clock.boot_s() >= until:
                break
            await self._clock.sleep(self._parts.patience.poll_max_s)
        return False

    def _explain(self, item: Item, judgement: Judgement | None, stopped: Stopped | None) -> tuple[str, str]:
        if stopped is not None:
            return stopped.reason, stopped.detail
        last = self._steps.known(item.n).last
        if judgement is not None:
            detail = " · ".join(filter(None, (self._ladder_text(item), judgement.detail)))
            if judgement.enforced is Enforced.NO and last is not None and last.verdict is not Verdict.APPLIED:
                return last.reason, " · ".join(filter(None, (_SAID.get(last.reason, last.detail), detail)))
            return judgement.how, detail
        if last is not None and (ladder := self._ladder_text(item)):
            return last.reason, ladder
        return (last.reason, last.detail) if last is not None else ("", "")

    def _ladder_text(self, item: Item) -> str:
        """Return what became of each rung of a ladder that had to go on to a second one."""
        known = self._steps.known(item.n)
        ran = [
            (step.do.verb, done) for step in item.steps if isinstance(step.do, Effect) and (done := known.done(step.n))
        ]
        climbed = any(step.unless and known.done(step.n) for step in item.steps)
        return ", then ".join(f"{verb}: {done.reason}" for verb, done in ran) if climbed else ""

    async def enforce(self, item: Item, lines: Lines, within_s: float, *, redials: bool = True) -> Judgement:
        """Judge until it is enforced or `within_s` seconds are up: some writes take effect a while later.

        Where nobody is online and there was no session to end (`redials` is False) nobody is waited for.
        """
        enforce = item.enforce
        if enforce is None:
            return Judgement(Enforced.NO, ProofReason.UNMAPPED_METHOD, "nothing says what must hold")
        method = self._parts.access_methods.get(enforce.expect["method"])
        if method is None:
            return Judgement(Enforced.NO, ProofReason.UNMAPPED_METHOD, "its access method is no longer configured")
        ended = self._steps.known(item.n).ended
        until = self._clock.boot_s() + within_s
        pause = self._parts.patience.poll_s
        while True:
            seen: dict[Address, Seen] = {}
            judgement = Judgement(Enforced.NO, ProofReason.UNREADABLE, "could not be read")
            try:
                seen.update(await lines.read([enforce.address]))
                while missing := [a for a in method.enforcement_reads(enforce, seen) if a not in seen]:
                    seen.update(await lines.read(missing))
                judgement = method.judge(enforce, seen, list(ended))
            except UnreadableError as err:
                judgement = Judgement(Enforced.NO, err.reason, str(err))
            over = judgement.enforced is Enforced.YES or (judgement.enforced is Enforced.PENDING and not redials)
            if over or self._clock.boot_s() >= until:
                return judgement
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, self._parts.patience.poll_max_s)
