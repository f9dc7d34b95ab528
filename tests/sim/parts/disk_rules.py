"""Judges what an agent does with a disk that failed. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `lost` | a power cut takes no leaf that was durable, unless the disk lied |
| `again` | after a copy was put back that a mark knows to be old, no change from before goes on; people may retry it |
| `void` | and no plan from before can be used any more |
| `untyped` | where the words of the trust document are asked for, nothing is done before they were typed |
| `lingers` | an agent that cannot write its log begins nothing more, and ends once the reads under way are over |
| `sentence` | an agent that ends by itself says why in plain sentences, which name no subscriber |
| `damaged` | with a damaged database an agent does nothing but say so, and ends; one that runs ends as above |
| `stays-down` | it ends for good only where a file is damaged, or reads as something else |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.sim.judge import Evidence, Verdict
from tests.sim.witness import OpenStep, machine_of
from tests.sim.world import BACK_S

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.parts.disk import DiskPart

KNOWN_BY_MARKS: Final = frozenset((1, 9, 11, 12, 14, 27))
"""Kinds of leaf of which the marks know: start, rejection, cancel, freeze, consumed, restored-database."""
POWER_BACK: Final = "power on"
"""The end of a port's power cycle, which may not be left out once its power is off: no rule here is about it."""
LINGERS_S: Final = 1.0
"""For how long things may come to pass that were begun before."""
POWER_S: Final = 10.0
"""How long a power cycle takes at most."""
READS_S: Final = 240.0
"""How long reads under way take at most: a step is read back for 60 s, and reads of one that is far wait in line."""
NOTICES_S: Final = 120.0
"""Within how long after its page was flipped an agent has started, and ended."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The power was cut. `lies`: the disk had lied; `leaves`: the log's, number and kind; `plans`: those in it.

    `marked`: up to which leaf the marks were surely written; of a later one the power may have gone before that.
    """

    at: float
    lies: bool
    leaves: Sequence[tuple[int, int]]
    plans: frozenset[str]
    marked: int = 0


@dataclass(frozen=True, slots=True)
class Flip:
    """A page of a database reads as something else. `damages`: SQLite finds that, and the agent must.

    `alters`: SQLite finds nothing, and rows read as something else: the agent may find that, as in a page of zeros.

    `since`: since when; before `at`, when its agent had ended, where the page began to rot while it was in use.
    """

    at: float
    what: str
    damages: bool
    since: float
    alters: bool = False


@dataclass(slots=True)
class Rotten:
    """A page that rots while the agent runs. `shows`: SQLite sees that once it reads the page; `read_at`: it did.

    `begun`: the steps that were begun then.
    """

    at: float
    what: str
    shows: bool
    read_at: float = float("inf")
    begun: Sequence[OpenStep] = ()


@dataclass(slots=True)
class PutBack:
    """A copy of `copied_at` was put back. `known`: the plans until then; `noticed`: the agent must know it for old.

    Until `BACK_S` later no agent runs: what arrives then was sent before.
    """

    at: float
    kind: str
    copied_at: float
    known: Collection[str]
    noticed: bool
    asks_for_words: bool
    typed_at: float = float("inf")


def judge(e: Evidence, part: DiskPart, machine: Machine) -> Iterable[Verdict]:
    """Return everything that must not be."""
    yield from _lost(e, part)
    yield from _again(e, part)
    yield from _full(e, part, machine)
    yield from _damaged(e, part, machine)
    yield from _rotten(e, part, machine)
    yield from _exits(part, machine)


def _lost(e: Evidence, part: DiskPart) -> Iterable[Verdict]:
    causes = [*(cut.at for cut in part.cuts if cut.lies), *(back.at for back in part.put_back)]
    counted_at = 0.0
    for lost in e.lost:
        if not any(max(lost.since, counted_at) <= at <= lost.found_at for at in causes):
            yield Verdict("lost", lost.found_at, "", f"{lost.leaves} leaves that were durable are gone")
        counted_at = lost.found_at


def _again(e: Evidence, part: DiskPart) -> Iterable[Verdict]:
    with closing(sqlite3.connect(f"file:{part.state / 'agent.db'}?mode=ro", uri=True)) as log:
        found = log.execute("SELECT plan_id, gate, consumed_seq FROM plan").fetchall()
    usable = {row[0].hex() for row in found if row[2] is None and row[1] in ("open", "approved")}
    for back in (*part.put_back, *_noticed_losses(e, part)):
        for deed in e.acted:
            plans = {step.plan for step in deed.open if not _retried(e, step, back.at, deed.at)}
            old = back.noticed and deed.at >= back.at + BACK_S and plans and plans <= set(back.known)
            if old and deed.what != POWER_BACK:
                said = f"{deed.what} by {deed.by} of a change from before {back.kind} was put back"
                yield Verdict("again", deed.at, deed.subject, said)
            early = back.asks_for_words and back.at + BACK_S <= deed.at <= back.typed_at
            if early and deed.what != POWER_BACK:
                said = f"{deed.what} by {deed.by} before the words of the trust document were typed"
                yield Verdict("untyped", deed.at, deed.subject, said)
        for plan in sorted(usable & set(back.known) if back.noticed else ()):
            yield Verdict("void", back.at, "", f"{plan[:6]} can still be used after {back.kind} was put back")


def _retried(e: Evidence, step: OpenStep, since: float, until: float) -> bool:
    """Return whether a person had an item tried again after a copy was put back: its rows are read before that."""
    moves = (m for m in e.seen.moves if (m.plan, m.item, m.reason) == (step.plan, step.item, "retry"))
    return any(since <= move.at <= until for move in moves)


def _noticed_losses(e: Evidence, part: DiskPart) -> Iterable[PutBack]:
    """Return what a disk that lied lost and a mark knows: the mark file is on another disk, which did not lie."""
    for lost in e.lost:
        for cut in part.cuts:
            put_back = any(cut.at <= back.at <= lost.found_at for back in part.put_back)
            if cut.lies and cut.at <= lost.found_at < cut.at + 120 and not put_back:
                size = cut.leaves[-1][0] - lost.leaves if cut.leaves else 0
                noticed = any(size < seq <= cut.marked and kind in KNOWN_BY_MARKS for seq, kind in cut.leaves)
                yield PutBack(lost.found_at - BACK_S, "what the disk had", lost.since, cut.plans, noticed, False)


def _full(e: Evidence, part: DiskPart, machine: Machine) -> Iterable[Verdict]:
    for at, begun in part.refused_at:
        if not _ends(e, part, machine, at, begun):
            yield Verdict("lingers", at, "", "the log could not be written, and the agent goes on")


def _ends(e: Evidence, part: DiskPart, machine: Machine, at: float, begun: Sequence[OpenStep]) -> bool:
    """Tell whether the agent that ran at a moment ended then, by itself or otherwise, and began nothing before that.

    It first switches the power of a port on again that it had switched off: nobody else would. Reads that are under way
    come to their end first, and those of the steps that it had `begun`, whoever is cancelled.
    """
    ends = [*(one.at for one in machine.exits), *(cut.at for cut in part.cuts), *part.kills()]
    last_on = max((d.at for d in e.acted if d.what == POWER_BACK and at < d.at <= at + POWER_S), default=at)
    end = min((end for end in ends if end >= at), default=float("inf"))
    deeds = [d for d in e.acted if machine_of(d.by) == machine.name and last_on + LINGERS_S < d.at <= end]
    items = {(step.plan, step.item) for step in begun}
    late = any(all((step.plan, step.item) not in items for step in d.open) for d in deeds)
    moved = [m for m in e.seen.moves if m.machine == machine.name and last_on + LINGERS_S < m.at <= end]
    return end <= at + READS_S and not late and all((m.plan, m.item) in items for m in moved)


def _damaged(e: Evidence, part: DiskPart, machine: Machine) -> Iterable[Verdict]:
    for flip in part.flips:
        if not flip.damages:
            continue
        until = next((back.at for back in part.put_back if back.at >= flip.at), e.ended_at)
        for deed in e.acted:
            if deed.by.startswith(machine.name) and flip.at + BACK_S <= deed.at < until:
                yield Verdict("damaged", deed.at, deed.subject, f"{deed.what} by {deed.by}, and {flip.what}")
        ended = any(flip.since <= one.at <= until and one.stays_down for one in machine.exits)
        if not ended and until - flip.at > NOTICES_S:
            yield Verdict("damaged", until, "", f"nobody noticed that {flip.what}")


def _rotten(e: Evidence, part: DiskPart, machine: Machine) -> Iterable[Verdict]:
    for rot in part.rotten:
        if rot.shows and rot.read_at < float("inf") and not _ends(e, part, machine, rot.read_at, rot.begun):
            yield Verdict("damaged", rot.read_at, "", f"it read that {rot.what}, and goes on")


def _exits(part: DiskPart, machine: Machine) -> Iterable[Verdict]:
    names = part.names()
    for one in machine.exits:
        for sentence in one.sentences:
            lines = [line for line in sentence.splitlines() if line.strip()]
            if len(lines) != 1 or "Traceback" in sentence or "Error(" in sentence:
                yield Verdict("sentence", one.at, one.life, f"expected one plain sentence, got {sentence!r}")
            if any(name in sentence for name in names):
                yield Verdict("sentence", one.at, one.life, f"it names a subscriber: {sentence!r}")
        damaged = any((flip.damages or flip.alters) and flip.since <= one.at for flip in part.flips)
        damaged = damaged or any(rot.read_at <= one.at <= rot.read_at + READS_S for rot in part.rotten)
        lied = any(cut.lies and cut.at <= one.at for cut in part.cuts)
        if one.stays_down and not damaged and not lied:
            yield Verdict("stays-down", one.at, one.life, f"nothing is damaged: {' | '.join(one.sentences)}")
