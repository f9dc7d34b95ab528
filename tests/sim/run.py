"""Runs one seed: a world, its people, its faults, a rest, and the judgment."""

from __future__ import annotations

import gc
import hashlib
import itertools
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import trio
import trio._core._run as scheduler

from tests.sim import acts as people
from tests.sim import faults as table
from tests.sim import jump
from tests.sim.all_parts import PARTS
from tests.sim.crashes import CrashReader, crashes_read
from tests.sim.judge import Asked, Evidence, Verdict, judge
from tests.sim.part import Part, WorldAct, WorldFault
from tests.sim.people import RETRY_LATE, Desk
from tests.sim.quiet import at_rest, quiet, without_idle_looks
from tests.sim.world import World, WorldOptions, open_world

ASKS = 14
BUSY_S = 400.0
"""How long people ask, and faults begin."""
REST_S = 600.0
"""How long after that everything must be over: the agent reads again for a minute, and looks again every 15 s."""


DAYS_SHARE = 0.2
"""In how many worlds days pass after that, and people then ask again, before everything is judged."""
DAYS_S = 2 * 86400.0
WORLD_S = DAYS_S + 86400.0
"""After how long a world breaks off with an error: somebody in it waits for ever, and the agent goes on meanwhile."""
LATER_ASKS = 4
WHOLE = 20
"""After how many worlds Python looks for cycles everywhere."""
_worlds = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Told:
    """What a seed showed. `virtual_s`: how much time passed in the world; `cpu_s`: what it took."""

    seed: int
    parts: tuple[str, ...]
    faults: tuple[WorldFault, ...]
    verdicts: tuple[Verdict, ...]
    asked: int
    moves: int
    writes: int
    kills: int
    virtual_s: float
    cpu_s: float
    leaves_sha256: str
    """Of all leaves of the agent's log, one after the other."""
    events: tuple[str, ...] = ()
    """What people asked for and what went wrong, as `World.happens` names it."""
    acted: frozenset[str] = frozenset()
    """The faults that had something to act on, by name."""
    size: float = 1.0
    """Of the world, as `tests.sim.faults.size_of` says."""
    acts: tuple[str, ...] = ()
    """The names of the acts that happened (`tests.sim.acts`)."""

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """What must not be, and is not known."""
        return tuple(v for v in self.verdicts if not v.known)

    def text(self) -> str:
        """Return one line for people."""
        idle = {fault.name for fault in self.faults} - self.acted
        names = ", ".join(f"{f.name}{' (did nothing)' if f.name in idle else ''}" for f in self.faults) or "none"
        said = f"{len(self.wrong)} FALSE" if self.wrong else "ok"
        said += f" ({len(self.verdicts) - len(self.wrong)} known)" if len(self.verdicts) > len(self.wrong) else ""
        return (
            f"seed {self.seed}: {said}; {self.asked} changes, {self.writes} writes, {self.kills} kills, "
            f"{self.virtual_s:.0f} virtual s in {self.cpu_s:.1f} s of CPU; "
            f"size {self.size:g}; parts: {', '.join(self.parts)}; faults: {names}"
            f"{'; acts: ' if self.acts else ''}{', '.join(self.acts)}"
        )


def run_seed(
    seed: int,
    folder: Path,
    *,
    faults: Sequence[WorldFault] | None = None,
    parts: Sequence[type[Part]] | None = None,
    trace: Callable[[str], None] | None = None,
    without: frozenset[str] = frozenset(),
    size: float | None = None,
    old_pace: bool = False,
    acts: Sequence[WorldAct] | None = (),
) -> Told:
    """Run a seed in a folder of its own. `faults`, `parts`, `size`: in place of those that the seed draws.

    Worlds whose parts are given are of full size, unless `size` says otherwise. `without`: events that do not happen,
    by name. `old_pace`: as in `WorldOptions`. `acts`: those of `tests.sim.acts` that happen, as far as their parts are
    there; None: the seed draws them. A world without any is the one that it was before there were acts.
    """
    began = time.process_time()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # no public name
    scheduler._r.seed(seed)
    drawn = table.drawn(seed, parts or PARTS) if faults is None else tuple(faults)
    if size is None:
        size = table.size_of(seed) if parts is None else 1.0
    kinds = table.parts_of(seed, drawn, size) if parts is None else tuple(parts)
    done = people.drawn_acts(seed, kinds, size) if acts is None else people.possible(kinds, acts)
    told = trace or (lambda text: None)
    options = WorldOptions(folder, seed, trace=told, without=without, size=size, old_pace=old_pace)

    resting = nullcontext if old_pace else at_rest

    async def main() -> Told:
        linked = any(kind.name == "cloud" for kind in kinds)
        with nullcontext() if old_pace else without_idle_looks(linked=linked):
            with trio.fail_after(WORLD_S):
                return await play()

    async def play() -> Told:
        async with open_world(options, [kind() for kind in kinds]) as world:
            desk = Desk(world)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.work, ASKS, BUSY_S)
                nursery.start_soon(table.play, world, drawn, BUSY_S)
                if done:
                    nursery.start_soon(people.play, desk, done, BUSY_S)
                for part in world.parts:
                    nursery.start_soon(part.work, world, desk, BUSY_S)
            world.trace("people and faults are at rest")
            for part in world.parts:
                await part.settle(world)
            with resting():
                await trio.sleep(REST_S)
            if random.Random(f"days {seed}").random() < DAYS_SHARE:
                with quiet(world, reports=not old_pace):
                    await trio.sleep(DAYS_S)
                world.trace("people ask again, days later")
                await desk.work(LATER_ASKS, BUSY_S)
                if RETRY_LATE in done:
                    await people.play(desk, (replace(RETRY_LATE, name=f"{RETRY_LATE.name} days later"),), BUSY_S)
                with resting():
                    await trio.sleep(REST_S)
            if world.witness.failed is not None:
                raise world.witness.failed
            evidence = await _gather(world, desk, crashes)
            seen = world.witness.seen
            writes = sum(bool(w.by) for w in seen.writes)
            return Told(
                seed,
                tuple(kind.name for kind in kinds),
                drawn,
                tuple(judge(evidence, world.parts)),
                len(desk.asked),
                len(seen.moves),
                writes,
                len(world.kills),
                trio.current_time(),
                time.process_time() - began,
                _leaves_sha256(world),
                tuple(world.events),
                frozenset(world.acted),
                size,
                tuple(act.name for act in done),
            )

    with crashes_read() as crashes, uncollected():
        return jump.run(main)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for cycles after the block only: within it that took a tenth of the time, at any moment.

    It looks at what the block made, and now and then at everything: all else that lives is three times as much.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect(0 if next(_worlds) % WHOLE else 2)


def _leaves_sha256(world: World) -> str:
    with closing(sqlite3.connect(f"file:{world.files.state / 'agent.db'}?mode=ro", uri=True)) as log:
        leaves = [row[0] for row in log.execute("SELECT leaf FROM event ORDER BY seq")]
    return hashlib.sha256(b"".join(leaves)).hexdigest()


async def _gather(world: World, desk: Desk, crashes: CrashReader) -> Evidence:
    """Return what the judgment rests on; the agent's own word counts only for its log's sums."""
    with closing(sqlite3.connect(f"file:{world.files.state / 'agent.db'}?mode=ro", uri=True)) as log:
        held = [row[0] for row in log.execute("SELECT address FROM address_lock")]
        found = log.execute("SELECT plan_id, short, gate, consumed_seq, finished_seq FROM plan")
        plans = {row[0].hex(): row[1:] for row in found}
        recorded = dict.fromkeys((row[0] for row in log.execute("SELECT ref FROM service")), False)
        recorded |= {row[0]: True for row in log.execute("SELECT DISTINCT service FROM reason")}
        (leaves,) = log.execute("SELECT count(*) FROM event").fetchone()
        asked = {one.plan: one for part in world.parts for one in part.own_asks(log)} | desk.asked
    said = "" if await world.office.verify_log() >= leaves else "the log has fewer leaves than its file"
    return Evidence(
        world.witness.seen,
        asked,
        held,
        [f"{plans[p][0]} ({plans[p][1]})" for p in _open(world, asked, plans)],
        recorded,
        said,
        trio.current_time(),
        world.lost,
        world.restored,
        world.damaged,
        crashes.found,
    )


Plan = tuple[str, str, int | None, int | None]


def _open(world: World, asked: Mapping[str, Asked], plans: Mapping[str, Plan]) -> list[str]:
    """Return the plans that go on, of those that the agent knows."""
    return [plan for plan in asked if plan in plans and _goes_on(world, asked[plan], plans[plan])]


def _goes_on(world: World, asked: Asked, plan: Plan) -> bool:
    """Tell whether a change that was begun, or has all its approvals, is not over."""
    _, gate, consumed, finished = plan
    approved = [at for at in asked.approved_at if not any(lost.has(at) for lost in world.lost)]
    enough = len(approved) - asked.unsure >= asked.need
    begun = consumed is not None or (enough and gate in ("open", "approved"))
    return begun and finished is None and bool(asked.subjects)
