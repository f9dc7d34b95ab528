"""One step: send it, read it back, record the verdict. The second half alone is the recovery after a crash.

* The verdict comes from the device's state, never from its reply: *applied* is "read back, equal"; *not applied* is
  "the carrier is closed, it settled, and it reads as before"; a third value is *diverged*; a resource that is not
  re-read in time stays *unknown*. So does, at once, one of which the agent sends no read until a person acts.
* From the first byte to the recorded outcome nothing here can be cancelled, but a read-back of a device that calls in.
* A step is sent once. Whether it may be sent again is for `Steps.try_again` to say, after the verdict.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

import trio

from agent.connectors.base import (
    DriftedError,
    FinishesEffects,
    LateResult,
    LeavesUndecided,
    LostError,
    NamesProof,
    NotSentError,
    Reply,
    Session,
    UnreadableError,
)
from agent.model import (
    ABSENT,
    Absent,
    Address,
    Effect,
    ProofKind,
    Seen,
    StepOutcome,
    Ticket,
    Transition,
    Value,
    Verdict,
)
from agent.reasons import AnyReason, NumberedReason, TargetReason
from agent.runtime.clock import Clock

CRASH = "crash"
"""Why a reply is lost that nobody waited for: the agent died."""
_HUNG_UP = frozenset({TargetReason.SESSION_ENDED, TargetReason.NOT_ON_THE_LINE})
"""Reasons of connectors: the device ended its session before anything was sent, and will call in again."""
_ABSENT = frozenset({TargetReason.UNREACHABLE, TargetReason.TIMEOUT, TargetReason.HUNG_UP, TargetReason.CUT})
"""Reasons of connectors: a target that we dial does not answer now. All others are its answer."""
_HELD_BACK = frozenset({TargetReason.TRIPPED, TargetReason.UNSAFE})
"""Reasons of connectors: the agent sends no such request until a person acts. Waiting would only hold the addresses."""


_NONE = frozenset({TargetReason.NOTHING_TO_DO, TargetReason.NO_SESSION, TargetReason.NOT_THERE})
"""Reasons of effects that succeeded without ending anything."""


class OutcomeKind(enum.Enum):
    """How the engine goes on after an outcome or a failed read: the one place where their reasons are told apart."""

    SETTLED = enum.auto()
    EXPIRED = enum.auto()
    """The deadline passed, and nothing was sent."""
    DRIFTED = enum.auto()
    """It no longer reads as planned, and nothing was sent."""
    HUNG_UP = enum.auto()
    """The device ended its session, and nothing was sent."""
    AWAY = enum.auto()
    """The target did not answer, and nothing was sent."""
    LOST = enum.auto()
    """It was sent, and is proven to have had no effect: it may be sent once more."""
    NONE = enum.auto()
    """It ended nothing: there was nothing to act on, or the device denied the session that seemed to be there."""
    UNDECIDED = enum.auto()
    """It may have been taken, and nothing tells: the same write may be sent once more, and a person told after that."""
    CRASHED = enum.auto()
    """As LOST, where the agent died: that attempt is not counted."""


def kind_of(outcome: StepOutcome) -> OutcomeKind:
    """Return how to go on after an outcome."""
    if outcome.reason == TargetReason.EXPIRED:
        return OutcomeKind.EXPIRED
    if outcome.reason == TargetReason.UNDECIDED:
        return OutcomeKind.UNDECIDED
    if outcome.reason == TargetReason.DRIFTED:
        return OutcomeKind.DRIFTED
    if outcome.verdict is Verdict.NOT_APPLIED and outcome.reason in _HUNG_UP:
        return OutcomeKind.HUNG_UP
    if outcome.verdict is Verdict.NOT_APPLIED and outcome.reason in _ABSENT:
        return OutcomeKind.AWAY
    if outcome.verdict is Verdict.APPLIED and outcome.reason in _NONE:
        return OutcomeKind.NONE
    if outcome.verdict is not Verdict.NOT_APPLIED or not outcome.reason.startswith(f"{TargetReason.LOST}-"):
        return OutcomeKind.SETTLED
    return OutcomeKind.CRASHED if outcome.reason == _lost(None) else OutcomeKind.LOST


@dataclass(frozen=True, slots=True)
class _InDoubt:
    """Why the fate of a step that may have been sent is unknown; `text` is for people."""

    reason: AnyReason
    text: str = "no reply"


def _lost(why: Reply | _InDoubt | None) -> NumberedReason:
    return TargetReason.LOST.numbered(why.reason if isinstance(why, _InDoubt) else CRASH)


def _silence(why: Reply | _InDoubt | None) -> str:
    return why.text if isinstance(why, _InDoubt) else "no reply"


def hung_up(reason: str) -> bool:
    """Tell whether a device could not be read, or is busy, because it ended its session: it will call in again."""
    return reason in _HUNG_UP


def absent(reason: str) -> bool:
    """Tell whether a target could not be asked because it does not answer now."""
    return reason in _ABSENT


class OutcomeJournal(Protocol):
    """Takes the outcomes of tickets, to make them durable."""

    async def doubt(self, ticket: Ticket, reason: str) -> None:
        """Record that the step's fate is unknown while it is being re-read, so that nobody is shown "running"."""
        ...

    async def outcome(self, ticket: Ticket, outcome: StepOutcome) -> None:
        """Take the outcome; the ticket is used up. It is durable before any step that names the ticket's in its
        `after`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, seconds. `send_s` bounds one send; `reread_s` how long an unreadable target is re-read.

    `proof_s`: between an accepted effect and the first look for it: a NAS tells accounting within milliseconds.
    """

    send_s: float = 15.0
    reread_s: float = 300.0
    poll_s: float = 0.25
    poll_max_s: float = 2.0
    proof_s: float = 0.02


async def perform_step(
    session: Session,
    ticket: Ticket,
    journal: OutcomeJournal,
    clock: Clock,
    patience: Patience,
    replied: Callable[[], None] = lambda: None,
    *,
    leave: bool = False,
) -> StepOutcome:
    """Send the ticket's step and return its outcome, recorded.

    `replied` is called once the target has accepted an effect: nothing is under way to it any more, only reads follow.
    `leave`: whether reading back may be cancelled: of a device that calls in when it likes it may take days, and the
    fate of the step is then found after the next start, as after a crash.

    Raises:
        StoreFailedError: the outcome could not be made durable (the step's fate is found again by recovery).
    """
    sent: _Sent | StepOutcome | None = None
    deadline = trio.current_time() + patience.send_s
    while True:
        # One scope for the send and all that follows: a scope takes some 40 calls, and each step comes through here
        with trio.CancelScope(shield=True, deadline=deadline) as scope:
            if sent is None:
                sent = await _send(session, ticket, clock)
                scope.deadline = deadline = math.inf
                if scope.cancel_called:  # the answer came with the deadline: this scope would cut the next wait short
                    continue
            if isinstance(sent, StepOutcome):
                outcome = sent
            else:
                if isinstance(sent.said, _InDoubt) and sent.said.reason != TargetReason.DRIFTED:
                    await journal.doubt(ticket, sent.said.reason)
                if leave:  # a device that calls in may come back in days: a stop of the agent must not wait for that
                    scope.shield = False
                if isinstance(sent.said, Reply) and sent.said.accepted and isinstance(ticket.do, Effect):
                    replied()
                    await clock.sleep(patience.proof_s)
                outcome = await _read_back(session, ticket, sent.said, clock, patience)
                if leave:
                    scope.shield = True
            outcome = _decided(session, ticket, outcome)
            await journal.outcome(ticket, outcome)
            return outcome
        late = f"no reply from {_asked(ticket)} in {patience.send_s:g} s"
        sent, deadline = _Sent(_InDoubt(TargetReason.TIMEOUT, late)), math.inf


async def recover_step(
    session: Session,
    ticket: Ticket,
    journal: OutcomeJournal,
    clock: Clock,
    patience: Patience,
    *,
    leave: bool = False,
) -> StepOutcome:
    """Find the fate of a step that was about to be sent when the agent died; re-read, never blindly resend."""
    with trio.CancelScope(shield=not leave) as scope:
        outcome = await _read_back(session, ticket, None, clock, patience)
        scope.shield = True
        outcome = _decided(session, ticket, outcome)
        await journal.outcome(ticket, outcome)
    return outcome


def _decided(session: Session, ticket: Ticket, outcome: StepOutcome) -> StepOutcome:
    """Return an outcome that says "not applied" only where something tells that no attempt was taken."""
    claims = outcome.verdict is Verdict.NOT_APPLIED and plays(type(session), LeavesUndecided)
    if not claims or not cast("LeavesUndecided", session).undecided(ticket):
        return outcome
    return replace(outcome, verdict=Verdict.UNKNOWN, reason=TargetReason.UNDECIDED)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A step was sent, or may have been: the target's reply, or why it is in doubt."""

    said: Reply | _InDoubt | None


async def _send(session: Session, ticket: Ticket, clock: Clock) -> _Sent | StepOutcome:
    """Send a step; a StepOutcome says that nothing was sent."""
    if clock.boot_s() >= ticket.deadline_s:
        return StepOutcome(Verdict.NOT_APPLIED, TargetReason.EXPIRED, "the deadline passed before the first byte")
    try:
        return _Sent(await session.send(ticket))
    except DriftedError as err:
        if ticket.attempt > 1:  # an earlier attempt of ours was sent: only what it reads now can be said
            return _Sent(_InDoubt(TargetReason.DRIFTED))
        return StepOutcome(Verdict.NOT_APPLIED, TargetReason.DRIFTED, str(err), err.observed)
    except NotSentError as err:
        return StepOutcome(Verdict.NOT_APPLIED, err.reason, str(err))
    except LostError as err:
        return _Sent(_InDoubt(err.reason, str(err)))


def _asked(ticket: Ticket) -> str:
    """Return the devices that a step asked: its target, and the NAS of the sessions that it was bound to, as read."""
    values = [seen.value for seen in ticket.bound.values()]
    nas = sorted({str(value["nas"]) for value in values if not isinstance(value, Absent) and value.get("nas")})
    return f"{ticket.target} (NAS {', '.join(nas)})" if nas else ticket.target


@functools.cache
def plays(kind: type, role: type) -> bool:
    """Tell whether objects of a class play an optional role, one of the protocols of `agent.connectors.base`.

    Asked of each class once: `isinstance` with such a protocol takes 20 µs each time that the answer is no.
    """
    return issubclass(kind, role)


def _read_back(
    session: Session, ticket: Ticket, said: Reply | _InDoubt | None, clock: Clock, patience: Patience
) -> Awaitable[StepOutcome]:
    """Return the verdict, to be awaited. `said`: the reply; or why it is in doubt; None when a crash lost even that."""
    if isinstance(ticket.do, Effect):
        return _prove_effect(session, ticket, ticket.do, said, clock, patience)
    return _prove_writes(session, ticket.do, said, clock, patience)


def same(value: Value, wanted: Value, unprovable: frozenset[str]) -> bool:
    """Return whether two values agree in every field that can be read back."""
    # A field that cannot be read back (a secret) comes back empty: to compare it would make each write a third value
    if value is ABSENT or wanted is ABSENT:
        return value is wanted
    if not unprovable:
        return value == wanted
    return {k: v for k, v in value.items() if k not in unprovable} == {
        k: v for k, v in wanted.items() if k not in unprovable
    }


def still_written(value: Value, write: Transition) -> bool:
    """Return whether the fields that a write changed read as it left them; others' changes beside are theirs."""
    before, after = write.before.value, write.after
    if isinstance(value, Absent) or isinstance(before, Absent) or isinstance(after, Absent):
        return same(value, after, write.unprovable)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)} - write.unprovable
    return all(value.get(name) == after.get(name) for name in changed)


def _judge_writes(writes: tuple[Transition, ...], seen: Mapping[Address, Seen]) -> Verdict:
    if all(same(seen[w.address].value, w.after, w.unprovable) for w in writes):
        return Verdict.APPLIED
    # With every field: "as before" must be exact, where "as wanted" may leave out what cannot be read
    if all(same(seen[w.address].value, w.before.value, frozenset()) for w in writes):
        return Verdict.NOT_APPLIED
    return Verdict.DIVERGED


async def _prove_writes(
    session: Session, writes: tuple[Transition, ...], said: Reply | _InDoubt | None, clock: Clock, patience: Patience
) -> StepOutcome:
    until = clock.boot_s() + patience.reread_s
    addresses = [w.address for w in writes]
    seen = await _reread(session, addresses, until, clock, patience)
    if isinstance(seen, StepOutcome):
        return seen
    verdict = _judge_writes(writes, seen)
    if verdict is Verdict.APPLIED:
        return _written(writes, seen, said.detail if isinstance(said, Reply) else "")
    # Not what was wanted. Before saying so: nothing of ours may still be on its way, and a second read must agree.
    await session.settle()
    again = await _reread(session, addresses, until, clock, patience)
    if isinstance(again, StepOutcome):
        return replace(again, observed=seen)
    # What the second read finds counts: a write that was late in the first is applied
    verdict = _judge_writes(writes, again)
    if verdict is Verdict.APPLIED:
        return _written(writes, again, "")
    refused = said if isinstance(said, Reply) and not said.accepted else None
    without = TargetReason.ACCEPTED_WITHOUT_EFFECT if isinstance(said, Reply) else _lost(said)
    reasons = {
        Verdict.DIVERGED: TargetReason.THIRD_VALUE,
        Verdict.NOT_APPLIED: refused.reason if refused else without,
    }
    # Also of one that accepted it: a CPE may say that it applies it later
    told = said.detail if isinstance(said, Reply) else said.text if isinstance(said, _InDoubt) else ""
    return StepOutcome(verdict, reasons[verdict], told, again)


def _written(writes: tuple[Transition, ...], seen: Mapping[Address, Seen], detail: str) -> StepOutcome:
    """Return the outcome of writes that stand: read back, or only accepted where a value cannot be read (a secret)."""
    taken = [w.address.rsplit("/", 1)[-1] for w in writes if not seen[w.address].live]
    if not taken:
        return StepOutcome(Verdict.APPLIED, TargetReason.READ_BACK, detail, seen)
    rest = "" if len(taken) == len(writes) else "all else read back"
    said = f"accepted, not provable: {', '.join(taken)}"
    return StepOutcome(Verdict.APPLIED, TargetReason.NOT_PROVABLE, "; ".join(filter(None, (said, rest, detail))), seen)


async def _reread(
    session: Session, addresses: list[Address], until: float, clock: Clock, patience: Patience
) -> Mapping[Address, Seen] | StepOutcome:
    """Return the values; or the outcome of a step that cannot be read back, in time or until a person acts."""
    pause = patience.poll_s
    while True:
        try:
            return await session.read(addresses)
        except UnreadableError as err:
            if err.reason in _HELD_BACK:
                return await _held_back(session, err)
            if clock.boot_s() + pause >= until:
                return _UNREAD
        await clock.sleep(pause)
        pause = min(pause * 2, patience.poll_max_s)


_UNREAD = StepOutcome(Verdict.UNKNOWN, TargetReason.UNREADABLE, "could not be read back in time")


async def _held_back(session: Session, err: UnreadableError) -> StepOutcome:
    """Return that the fate is unknown, once nothing may still be on its way: the addresses are given back next."""
    await session.settle()
    return StepOutcome(Verdict.UNKNOWN, err.reason, f"cannot be read back: {err}")


async def _prove_effect(
    session: Session, ticket: Ticket, effect: Effect, said: Reply | _InDoubt | None, clock: Clock, patience: Patience
) -> StepOutcome:
    reply = said if isinstance(said, Reply) else None
    if reply is None and plays(type(session), FinishesEffects):
        await _finish(cast("FinishesEffects", session), ticket, clock, patience)
    if effect.proof is None:
        if reply is not None:
            verdict = Verdict.APPLIED if reply.accepted else Verdict.NOT_APPLIED
            return StepOutcome(verdict, reply.reason, "accepted, not provable" if reply.accepted else reply.detail)
        return StepOutcome(Verdict.UNKNOWN, _lost(said), f"{_silence(said)}, and there is no way to prove it")
    until = clock.boot_s() + (effect.within_s if reply is None or reply.accepted else patience.poll_s)
    observed, later = await _wait_for_proof(session, ticket, effect.proof, until, clock, patience)
    reply = later or reply
    if isinstance(observed, StepOutcome):
        return observed
    # The proof outranks the reply: a session that is gone is gone, though its NAS said NAK (RFC 5176, Error-Cause 503)
    if _effect_holds(ticket.bound, effect.proof, observed):
        return _done(session, effect, reply, observed)
    if reply is not None:
        if reply.accepted:
            took = "the NAS answered ACK" if reply.reason == TargetReason.ACK else f"{ticket.target} took the request"
            detail = " · ".join(filter(None, (took, reply.detail)))
            return StepOutcome(Verdict.NOT_APPLIED, TargetReason.ACK_WITHOUT_EFFECT, detail, observed)
        return StepOutcome(Verdict.NOT_APPLIED, reply.reason, reply.detail, observed)
    # No reply, and it did not hold. Before saying so: nothing may still be on its way, and a second read must agree.
    await session.settle()
    again = await _reread(session, list(ticket.bound), clock.boot_s() + patience.reread_s, clock, patience)
    if isinstance(again, StepOutcome):
        return replace(again, observed=observed)
    if _effect_holds(ticket.bound, effect.proof, again):
        return _done(session, effect, None, again)
    return StepOutcome(Verdict.NOT_APPLIED, _lost(said), f"{_silence(said)}, and it reads as before", again)


async def _finish(session: FinishesEffects, ticket: Ticket, clock: Clock, patience: Patience) -> None:
    """Have a session send the rest of an effect after a lost reply, for as long as it would be re-read.

    Whatever was cancelled or frozen meanwhile: the way in which an approved effect ends belongs to it.
    """
    until, pause = clock.boot_s() + patience.reread_s, patience.poll_s
    while True:
        try:
            await session.finish(ticket)
        except UnreadableError:
            if clock.boot_s() + pause >= until:
                return
        else:
            return
        await clock.sleep(pause)
        pause = min(pause * 2, patience.poll_max_s)


def _done(session: Session, effect: Effect, reply: Reply | None, seen: Mapping[Address, Seen]) -> StepOutcome:
    """Return the outcome of an effect that is proven, in the words of its session where it has some."""
    if plays(type(session), NamesProof):
        said = cast("NamesProof", session).proof_of(effect)
        return StepOutcome(Verdict.APPLIED, TargetReason.PROOF_SEEN, said, seen)
    if reply is None:
        return StepOutcome(Verdict.APPLIED, TargetReason.READ_BACK, observed=seen)
    return StepOutcome(Verdict.APPLIED, reply.reason, reply.detail, seen)


def _effect_holds(bound: Mapping[Address, Seen], proof: ProofKind, now: Mapping[Address, Seen]) -> bool:
    if proof is ProofKind.GONE:
        return all(now[a].value is ABSENT for a in bound)
    if proof is ProofKind.CHANGED:
        return all(now[a].value != before.value for a, before in bound.items())
    return all(now[a].value == before.value for a, before in bound.items())


async def _wait_for_proof(
    session: Session, ticket: Ticket, proof: ProofKind, until: float, clock: Clock, patience: Patience
) -> tuple[Mapping[Address, Seen] | StepOutcome, Reply | None]:
    """Return the last reading, which may or may not hold, or the outcome of an effect that cannot be proven; and the
    device's later reply to an effect that it had accepted: a refusal ends the waiting.
    """
    pause = patience.proof_s
    last: Mapping[Address, Seen] | None = None
    give_up = until + patience.reread_s
    while True:
        try:
            last = await session.read(list(ticket.bound))
        except UnreadableError as err:
            if err.reason in _HELD_BACK:  # an earlier reading says nothing: the effect had more time since
                return await _held_back(session, err), None
            last = None
        now = clock.boot_s()
        later = cast("LateResult", session).late_result(ticket) if plays(type(session), LateResult) else None
        over = now >= until or (later is not None and not later.accepted)
        if last is not None and (_effect_holds(ticket.bound, proof, last) or over):
            return last, later
        if now >= give_up:
            return _UNREAD, later
        await clock.sleep(min(pause, max(until - now, patience.poll_s)) if now < until else pause)
        pause = min(pause * 2, patience.poll_max_s)
