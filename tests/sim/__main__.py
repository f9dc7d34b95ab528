"""Simulates worlds: `python -m tests.sim` runs seeds from the clock on, `python -m tests.sim SEED` replays one."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import tempfile
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from tests.sim.acts import ACTS
from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS, PAIRS, pairs_of
from tests.sim.part import Part, WorldAct, WorldFault
from tests.sim.run import Told, run_seed
from tests.sim.shrink import Case, Shrunk, shrink

MEMORY = next((folder for folder in ("/dev/shm",) if os.access(folder, os.W_OK)), None)
"""A folder in memory for the worlds' files; None: the system's usual one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Faults, parts, size and acts in place of those that a seed draws; None: the seed draws them."""

    faults: tuple[WorldFault, ...] | None = None
    parts: tuple[type[Part], ...] | None = None
    without: frozenset[str] = frozenset()
    """Events that do not happen, by name."""
    size: float | None = None
    old_pace: bool = False
    acts: tuple[WorldAct, ...] | None = None


def main() -> int:
    """Run; return how many seeds showed something false."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this seed, with its trace")
    parser.add_argument("--cpu-s", type=float, default=3600.0, help="how much CPU time to spend")
    parser.add_argument("--count", type=int, default=0, help="how many seeds at most; 0: any number")
    parser.add_argument("--first", type=int, default=0, help="the first seed; 0: from the clock")
    parser.add_argument("--until-false", action="store_true", help="end with the first seed that shows something false")
    parser.add_argument("--faults", default="", help="these faults, by name, in place of the seed's own")
    parser.add_argument("--parts", default="", help="these parts, by name, in place of the seed's own")
    parser.add_argument("--acts", default="", help="these acts of people, by name, in place of the seed's own")
    parser.add_argument("--without", default="", help="events that do not happen, by name, as a cut seed names them")
    parser.add_argument("--size", type=float, help="how large worlds are, 0 to 1, in place of the seed's own size")
    parser.add_argument("--old-pace", action="store_true", help="as worlds were when the older seeds were kept")
    asked = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())
    gc.freeze()  # what was imported stays: it need not be looked at after each world
    chosen = Chosen(size=asked.size, old_pace=asked.old_pace)
    if asked.faults:
        by_name = {f.name: f for f in FAULTS}
        chosen = replace(chosen, faults=tuple(by_name[name] for name in asked.faults.split(",") if name != "none"))
    if asked.parts:
        kinds = {part.name: part for part in PARTS}
        chosen = replace(chosen, parts=tuple(kinds[name] for name in asked.parts.split(",")))
    if asked.acts:
        acts = {act.name: act for act in ACTS}
        chosen = replace(chosen, acts=tuple(acts[name] for name in asked.acts.split(",") if name != "none"))
    chosen = replace(chosen, without=frozenset(filter(None, asked.without.split(","))))
    if asked.seed is not None:
        told = _one(asked.seed, chosen, trace=True)
        print(told.text())
        return _complain(told)
    return _many(
        asked.first or int(time.time()) * 1000, asked.cpu_s, asked.count, chosen, until_false=asked.until_false
    )


def _one(seed: int, chosen: Chosen, *, trace: bool = False) -> Told:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return run_seed(
            seed,
            Path(folder),
            faults=chosen.faults,
            parts=chosen.parts,
            trace=print if trace else None,
            without=chosen.without,
            size=chosen.size,
            old_pace=chosen.old_pace,
            acts=chosen.acts,
        )


def _complain(told: Told) -> int:
    for verdict in told.wrong[:5]:
        print(f"  {verdict.text()}")
    return int(bool(told.wrong))


def _shrunk(told: Told, chosen: Chosen) -> Shrunk:
    """Return the least of a failing seed that is found with which the same rule is broken."""
    kinds = tuple(part for part in PARTS if part.name in told.parts)

    def play(case: Case) -> Told:
        own = replace(chosen, faults=case.faults, parts=case.parts, without=case.without, size=told.size)
        return _one(case.seed, replace(own, acts=tuple(act for act in ACTS if act.name in told.acts)))

    return shrink(Case(told.seed, told.faults, kinds, chosen.without), told, play)


def _many(first: int, cpu_s: float, count: int, chosen: Chosen, *, until_false: bool) -> int:
    began, wrong, pairs = time.process_time(), 0, set[tuple[str, str]]()
    with_part = defaultdict[str, set[tuple[str, str]]](set)
    runs, virtual_s = 0, 0.0
    seed = first
    while time.process_time() - began < cpu_s and not (count and runs == count):
        try:
            told = _one(seed, chosen)
        except Exception:  # noqa: BLE001  # any: a world that cannot be played to its end is told, and others go on
            print(f"seed {seed}: BROKE OFF\n{traceback.format_exc()}", flush=True)
            runs, wrong, seed = runs + 1, wrong + 1, seed + 1
            if until_false:
                break
            continue
        runs, virtual_s, pairs = runs + 1, virtual_s + told.virtual_s, pairs | pairs_of(told.acted)
        for part in told.parts:
            with_part[part] |= pairs_of(told.acted)
        print(told.text(), flush=True)
        wrong += _complain(told)
        if told.wrong:
            if until_false:
                break
            print(f"  replay: make sim SEED={seed}; {_shrunk(told, chosen).text()}", flush=True)
        seed += 1
    spent = time.process_time() - began
    print(f"pairs of faults by part: {', '.join(f'{part} {len(seen)}' for part, seen in sorted(with_part.items()))}")
    print(
        f"{runs} seeds, {wrong} with something false; {len(pairs)} of {len(PAIRS)} pairs of faults; "
        f"{virtual_s:.0f} virtual s in {spent:.0f} s of CPU ({virtual_s / spent * 60:.0f} a minute)"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
