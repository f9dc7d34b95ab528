"""Random histories of a plan: an agent that walks the machine's tables, and now and then lies; a carrier that cuts."""

from __future__ import annotations

import dataclasses
import functools
import random

from tests.builders.operator import AGENT, MINUTE, approval, key, plan, signed_standing
from tests.trust.lying import restored
from tests.trust.tales import K, Tale, sha_of
from trust import life, proof
from trust.envelope import Envelope
from trust.leaf import VERDICT_CODES
from trust.life import ALLOWED, MOVES, LifeOfPlan, Stage
from trust.policy import Action, RiskClass
from trust.proof import Export
from trust.statements import Decision, FreezeScope, OnFailure, OutcomeState, Plan, SizeBucket

PLANS = (
    plan(),
    plan(),
    plan(on_failure=OnFailure.REVERT),
    plan(risk_class=RiskClass.BATCH),
    plan(risk_class=RiskClass.RESTORE, action=Action.RESTORE, requester="billing"),
    plan(requester="unknown"),
    plan(size_bucket=SizeBucket.TO_100, requester="tech4"),
    plan(requester="billing"),
    plan(requester="portal"),
    plan(risk_class=RiskClass.CONFIG, requester="billing"),
    plan(risk_class=RiskClass.BATCH, requester="portal"),
    plan(risk_class=RiskClass.RESTORE, action=Action.RESTORE, requester="portal"),
)
PEOPLE = ("joseph", "joseph", "lena", "maria", "tech4", "far")
_ITEMS = (1, 1, 2)
_FREEZES = (
    (FreezeScope.ALL, "", 0),
    (FreezeScope.AGENT, AGENT, 0),
    (FreezeScope.AGENT, "bb" * 16, 0),
    (FreezeScope.PERSON, "joseph", 0),
    (FreezeScope.PERSON, "maria", 0),
    (FreezeScope.KEY, key("joseph").public.hex(), 0),
    (FreezeScope.ALL, "", MINUTE),
)


@functools.lru_cache
def _approval(which: Plan, who: str, decision: Decision) -> Envelope:
    return approval(which, who, decision=decision)


class History:
    """One history in the making. `lies`: how likely each leaf is one that no agent would write there."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.lies = dice.choice((0.0, 0.0, 0.02, 0.2))
        self.tale = Tale(dice.choice(PLANS))
        self.tale.names = dice.random() > 0.05
        self.life = LifeOfPlan(self.tale.plan.on_failure is OnFailure.REVERT)

    def tell(self) -> Tale:
        """Live it to some end."""
        tale, dice = self.tale, self.dice
        if dice.random() < 0.95:
            tale.write(K.START, of_plan=False)
        for _ in range(dice.randrange(4, 40)):
            self._one()
            if self.life.stage in (Stage.CLOSED, Stage.OVER) and dice.random() < 0.3:
                break
        return tale

    def _one(self) -> None:
        """Write one more leaf: one that may come now, as far as it is no lie."""
        lie = self.dice.random() < self.lies
        for _ in range(12):
            leaves, told, mine, states = (
                len(self.tale.log),
                len(self.tale.statements),
                self.tale.mine,
                dict(self.tale.states),
            )
            self._write()
            lived = self._lived()
            if lie or lived.fault is None:
                self.life = lived
                return
            del self.tale.log[leaves:], self.tale.statements[told:]
            self.tale.mine, self.tale.states = mine, states

    def _lived(self) -> LifeOfPlan:
        mine = [(n, one.leaf) for n, one in enumerate(self.tale.log) if one.leaf.plan == self.tale.sha256]
        return life.replay(mine, reverts=self.life.reverts)

    def _write(self) -> None:
        """Write a leaf that is likely at this stage."""
        dice, stage = self.dice, self.life.stage
        likely = {
            Stage.ABSENT: (self._plan, self._plan, self._cancel),
            Stage.OPEN: (self._approve, self._approve, self._consume, self._consume, self._stop, self._freeze),
            Stage.CLOSED: (self._end, self._end, self._other),
            Stage.RUNNING: (*(self._step,) * 3, *(self._move,) * 5, *(self._done,) * 3, self._end, self._freeze),
            Stage.OVER: (self._move, self._end, self._other),
        }
        if dice.random() < self.lies:
            dice.choice([act for acts in likely.values() for act in acts])()
        elif dice.random() < 0.08:
            dice.choice((self._other, self._cancel, self._freeze, self._lift))()
        else:
            dice.choice(likely[stage])()

    def _plan(self) -> None:
        self.tale.write(K.PLAN)

    def _approve(self) -> None:
        if self.tale.plan.risk_class is RiskClass.RESTORE and self.dice.random() < 0.6:
            self.tale.tell(K.STANDING_USED, signed_standing(), actor=bytes.fromhex("88" * 16))
            return
        told = _approval(self.tale.plan, self.dice.choice(PEOPLE), Decision.APPROVE)
        if self.dice.random() < self.lies:
            self.tale.statements.append(told)
        else:
            self.tale.tell(K.APPROVAL, told)

    def _consume(self) -> None:
        self.tale.minute = MINUTE + self.dice.choice((0, 0, 5, 29)) + (self.dice.random() < self.lies) * 5
        self.tale.consume()

    def _stop(self) -> None:
        if self.dice.random() < 0.5:
            told = _approval(self.tale.plan, self.dice.choice(PEOPLE), Decision.REJECT)
            self.tale.tell(K.REJECTION, told)
        else:
            self.dice.choice((self._cancel, lambda: self.tale.write(K.PLAN_VOID)))()

    def _cancel(self) -> None:
        self.tale.cancel(self.dice.choice(("maria", "joseph")))

    def _freeze(self) -> None:
        if self.dice.random() < 0.2:
            scope, target, expires = self.dice.choice(_FREEZES)
            self.tale.freeze(scope, target, self.dice.choice(("maria", "lena", "tech4")), expires)

    def _lift(self) -> None:
        if self.tale.freezes:
            people = self.dice.choice((("maria", "lena"), ("maria", "lena"), ("maria",), ("maria", "tech4")))
            others = {sha_of(f): f for f in self.tale.freezes if self.dice.random() < 0.5}
            others.pop(sha_of(self.tale.freezes[-1]), None)
            self.tale.unfreeze(*people, also=list(others.values()))

    def _step(self) -> None:
        states = tuple(life.BUCKETS) if self.dice.random() < self.lies else ("", "running")
        self.tale.send(self.dice.randrange(1, 4), self.dice.choice(_ITEMS), self.dice.choice(states))

    def _done(self) -> None:
        verdict = self.dice.choice(("applied", "applied", *VERDICT_CODES))
        self.tale.sent(verdict, self.dice.randrange(1, 4), self.dice.choice(_ITEMS))

    def _move(self) -> None:
        item = self.dice.choice(_ITEMS)
        before = self.tale.states.get(item, "planned")
        after = ("superseded",) if self.life.stage is Stage.OPEN else MOVES.get(before, ())
        lie = self.dice.random() < self.lies or not after
        self.tale.move(self.dice.choice(tuple(life.BUCKETS) if lie else after), item)

    def _other(self) -> None:
        kinds = [K.REFUSED, K.EXPORTED, K.PAUSED, K.RESUMED, K.RESUMED, K.REVIEW_OPENED]
        kind = self.dice.choice(list(K) if self.dice.random() < self.lies else kinds)
        self.tale.write(kind, of_plan=kind in ALLOWED or self.dice.random() < 0.5)

    def _end(self) -> None:
        if self.life.stage is Stage.CLOSED:
            state = self.dice.choice(self.life.outcome_states or tuple(OutcomeState))
            self.tale.end(1 + len(self.life.endings), state=state, buckets={})
        elif self.dice.random() < self.lies:
            self.tale.end(
                self.dice.randrange(1, 3), self.dice.choice((None, 3)), state=self.dice.choice(list(OutcomeState))
            )
        elif self.dice.random() < 0.4:
            self.tale.end(1 + len(self.life.endings))


def file_of(tale: Tale, dice: random.Random) -> bytes:
    """Return a file of a history: whole or not, open or not, in the log's order or not, and now and then cut."""
    size = len(tale.log)
    without: set[int] = {0} if dice.random() < 0.5 else set()
    if dice.random() < 0.15:
        without |= set(range(dice.randrange(1, size + 1), size))
    if dice.random() < 0.1:
        without.add(dice.randrange(size))
    if len(without) == size:
        without = set()
    told = [e for e in tale.statements if dice.random() > 0.02]
    made = tale.export(
        whole=not without, without=without, statements_=told, opened=dice.random() > 0.1, items=dice.random() < 0.1
    )
    return proof.encode_export(_disturbed(made, dice))


def _disturbed(made: Export, dice: random.Random) -> Export:
    entries = list(made.entries)
    roll = dice.random()
    if roll < 0.2:
        dice.shuffle(entries)
    elif roll < 0.22:
        entries.append(dice.choice(entries))
    elif roll < 0.24:
        entries[-1] = dataclasses.replace(entries[-1], index=entries[-1].index + 1)
    return dataclasses.replace(made, entries=tuple(entries))


def history(seed: int) -> bytes:
    """Return the file of one random history."""
    dice = random.Random(seed)
    if dice.random() < 0.03:
        return file_of(restored(dice.random() < 0.5, dice.random() < 0.7), dice)
    return file_of(History(dice).tell(), dice)
