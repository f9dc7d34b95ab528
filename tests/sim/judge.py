"""Judges a world that is over, from what the witness saw and what people did. It imports nothing of the agent.

Rules for every part; each part has more of its own (`tests.sim.parts`), as whether what was claimed was true:

| rule | what must hold |
|---|---|
| `unannounced` | nothing was written to a line or a device, nor sent to one, that the log had not durably announced |
| `twice` | something is written, and each session ended, at most once for an announced step |
| `stranger` | lines and devices that no approved change names are not touched |
| `unapproved` | nothing is done for a change before enough people approved it |
| `cancelled` | after its cancel a change announces only its declared revert; a copy of the machine took none |
| `uncancelled` | no item stops as cancelled before somebody handed in a cancel of its change |
| `crashed` | no task crashes of a program that lives, and no change is given up for a fault of the agent's own |
| `restless` | some time after the last fault, every change is over and nothing is held |
| `log` | the log adds up |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.sim.crashes import Crashed
from tests.sim.part import Part
from tests.sim.witness import ORIGINAL, Deed, Lost, Seen, machine_of

PUT_BACK = "restored"
"""Why a run is given up as it should be: by docs/operations.md it needs a person."""
CANCELLED = "cancelled"
"""The reason of an item that stopped for its change's cancel, whatever was done before."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something that must not be. `leaf`: the number of the leaf that claims it; 0: none does."""

    rule: str
    at: float
    subject: str
    what: str
    truth: str = ""
    leaf: int = 0
    known: str = ""
    """Why it is told and counts as no failure: a weakness that is known, until it is mended or wanted."""

    def text(self) -> str:
        """Return it for people."""
        leaf = f" (leaf {self.leaf})" if self.leaf else ""
        return (
            f"{self.rule} at {self.at:.4f}: {self.subject}: {self.what}{leaf}{'; ' if self.truth else ''}{self.truth}"
        )


@dataclass
class Asked:
    """A change that people asked for.

    `subjects`: the services or devices that it is about, as `Deed.subject`. `approved_at`: when each of them handed in
    an approval that was taken.
    """

    plan: str
    action: str
    subjects: frozenset[str]
    need: int
    approved_at: list[float] = field(default_factory=list)
    cancelled_at: float = float("inf")
    """When a cancel was taken: nothing is announced after it."""
    cancel_sent_at: float = float("inf")
    """When a cancel was handed in first: from then on it may have been taken, also where no answer came."""
    unsure: int = 0
    """How many of those approvals may not have arrived, or hold no more, as a standing authority where a payer owes."""
    reason: str = ""
    """Why a service is to be suspended or restored; "": it was not said."""
    by_standing: bool = False
    """Whether a standing authority may have approved it as it was asked for."""


@dataclass
class Evidence:
    """What a judgment rests on.

    `asked`: by plan. `held`: addresses that the agent still holds. `open_changes`: those that are not over. `recorded`:
    whether the agent has a reason on record to suspend a service. `log_says`: what is wrong with the log's sums.
    `lost`: of which times the log knows nothing any more; `restored`: when files were put back; `damaged`: from when
    until when a database was damaged, so that tasks crash over what they read.
    """

    seen: Seen
    asked: Mapping[str, Asked]
    held: Sequence[str]
    open_changes: Sequence[str]
    recorded: Mapping[str, bool]
    log_says: str
    ended_at: float
    lost: Sequence[Lost] = ()
    restored: Sequence[float] = ()
    damaged: Sequence[tuple[float, float]] = ()
    crashes: Sequence[Crashed] = ()

    def forgot(self, at: float, by: float = float("inf"), *, first: float | None = None) -> bool:
        """Return whether the agent's log lost a record of that moment, by a copy that was put back or a disk that lied.

        Args:
            at: the moment.
            by: when the log is asked: what is lost later it still knows.
            first: since when it may have been recorded; None: at the moment alone.
        """
        return any(lost.has(at, by, first=first) for lost in self.lost)

    @property
    def acted(self) -> list[Deed]:
        """Everything that the agent wrote or sent."""
        return [*(w for w in self.seen.writes if w.by), *(s for s in self.seen.sent if s.by)]


def judge(evidence: Evidence, parts: Iterable[Part]) -> list[Verdict]:
    """Return everything that must not be, in the order of time."""
    found = [
        *_unannounced(evidence),
        *_approvals(evidence),
        *_uncancelled(evidence),
        *_twice(evidence),
        *_crashed(evidence),
        *_rest(evidence),
    ]
    for part in parts:
        found += part.judge(evidence)
    return sorted(found, key=lambda v: v.at)


def _unannounced(e: Evidence) -> Iterable[Verdict]:
    for deeds, effect, kind in ((e.seen.writes, False, "write"), (e.seen.sent, True, "request")):
        for deed in deeds:
            if deed.by and not any(step.effect is effect for step in deed.open):
                said = f"a {kind} ({deed.what}) by {deed.by} that no durable leaf announces"
                yield Verdict("unannounced", deed.at, deed.subject, said)


def _approvals(e: Evidence) -> Iterable[Verdict]:
    for deed in e.acted:
        plans = {step.plan for step in deed.open} & e.asked.keys()
        named = [e.asked[plan] for plan in plans if deed.subject in e.asked[plan].subjects]
        if deed.open and not named:
            said = f"{deed.what} by {deed.by} for no change that names it"
            yield Verdict("stranger", deed.at, deed.subject, said)
        for step in deed.open:
            bound = machine_of(deed.by) == ORIGINAL and step.direction == "forward"
            if step.plan in plans and bound and step.about_at > e.asked[step.plan].cancelled_at:
                said = f"{deed.what} of {step.plan[:6]}, announced after its cancel"
                yield Verdict("cancelled", deed.at, deed.subject, said)
        for asked in named:
            if sum(at <= deed.at for at in asked.approved_at) < asked.need and not asked.by_standing:
                said = f"{deed.what} of {asked.plan[:6]} before it was approved"
                yield Verdict("unapproved", deed.at, deed.subject, said)


def _uncancelled(e: Evidence) -> Iterable[Verdict]:
    for move in e.seen.moves:
        asked = e.asked.get(move.plan)
        if asked is not None and move.reason == CANCELLED and move.at < asked.cancel_sent_at:
            said = f"{move.state}: {move.detail}, and nobody had cancelled {asked.plan[:6]}"
            yield Verdict("uncancelled", move.at, move.service, said, leaf=move.seq)


def _twice(e: Evidence) -> Iterable[Verdict]:
    for deeds, effect, what in ((e.seen.writes, False, "was written"), (e.seen.ended, True, "session was ended")):
        done: dict[tuple[object, ...], list[float]] = {}
        for deed in deeds:
            step = next((s for s in deed.open if s.effect is effect), None)
            if step is None or not deed.by:
                continue
            announced = (step.plan, step.item, step.n, step.direction, step.attempt)
            machine = _asked_by(e, deed) if effect else machine_of(deed.by)
            key = (machine, deed.subject, deed.session, *announced)
            known = [t for t in done.get(key, ()) if not e.forgot(t, deed.at)]
            done[key] = [*known, deed.at]
            if len(known) == 1:
                said = f"{what} twice for one announced step {deed.session}"
                yield Verdict("twice", deed.at, deed.subject, said)


def _asked_by(e: Evidence, deed: Deed) -> str:
    """Return the machine that asked last for the end of a session: a NAS does not say who did."""
    sent = (s for s in reversed(e.seen.sent) if (s.subject, s.session) == (deed.subject, deed.session))
    return next((machine_of(s.by) for s in sent if s.at <= deed.at), machine_of(deed.by))


def _crashed(e: Evidence) -> Iterable[Verdict]:
    for move in e.seen.moves:
        put_back = any(at <= move.at for at in e.restored)
        given_up = move.reason == "given-up" and not _is_damaged(e, move.at)
        if given_up or (move.reason == PUT_BACK and not put_back):
            yield Verdict("crashed", move.at, move.service, f"{move.state}: {move.detail}", leaf=move.seq)
    for crash in e.crashes:
        if not _is_damaged(e, crash.at):
            yield Verdict("crashed", crash.at, crash.by, f"{crash.task or 'a task'}: {crash.error}")


def _is_damaged(e: Evidence, at: float) -> bool:
    return any(since <= at <= until for since, until in e.damaged)


def _rest(e: Evidence) -> Iterable[Verdict]:
    for change in e.open_changes:
        yield Verdict("restless", e.ended_at, "", f"{change} is not over")
    for address in e.held:
        yield Verdict("restless", e.ended_at, "", f"{address} is still held")
    if e.log_says:
        yield Verdict("log", e.ended_at, "", e.log_says)
