"""The second judge: real programs, real kills. `python -m tests.torture [--minutes M] [--seed N] [SCENARIO…]`."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.torture.rounds import Round, Servers
from tests.torture.scenarios import SCENARIOS, run_round


def main(argv: list[str]) -> int:
    """Return 0 where nothing false was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; a round that has begun is ended")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; 0: from the clock")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds at most; 0: any number")
    parser.add_argument("--chaos", type=float, default=25.0, help="how long the faults of one change go on, seconds")
    parser.add_argument("--faults", default="", help="of RADIUS, by name, in the place of those that a seed draws")
    parser.add_argument("--until-false", action="store_true", help="end with the first round that finds something")
    parser.add_argument("--keep", type=Path, default=None, help="where the folders of failures go; else a new folder")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; else all in turn")
    asked = parser.parse_args(argv)
    for name in asked.scenarios:
        if name not in SCENARIOS:
            parser.error(f"expected one of {', '.join(SCENARIOS)}, got {name!r}")
    logging.getLogger().addHandler(logging.NullHandler())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped
    names = [n for n in asked.scenarios or SCENARIOS if os.geteuid() == 0 or not SCENARIOS[n].needs_root]
    first = asked.seed or int(time.time())
    ends, done, false, total = time.monotonic() + 60 * asked.minutes, 0, 0, Counter[str]()
    with contextlib.ExitStack() as stack:
        servers = Servers(stack)
        for n in itertools.count():
            if time.monotonic() > ends or done == (asked.rounds or -1):
                break
            scenario, seed = names[n % len(names)], first + n // len(names)
            folder = Path(tempfile.mkdtemp(prefix="isp-torture-"))
            about = Round(scenario, seed, folder, asked.chaos, wanted=asked.faults.split(",") if asked.faults else ())
            run_round(about, servers)
            done, false = done + 1, false + bool(about.found)
            total += about.count
            took_s = time.monotonic() - about.began
            said = f"{len(about.found)} FALSE" if about.found else "ok"
            counted = ", ".join(f"{name} {number}" for name, number in sorted(about.count.items()))
            faults = f"; faults: {', '.join(about.faults)}" if about.faults else ""
            print(f"{scenario} {seed}: {said} in {took_s:.0f} s{faults}; {counted}", flush=True)
            if not about.found:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for verdict in sorted(about.found, key=lambda v: v.at)[:5]:
                print(f"  {verdict.text()}")
            if asked.keep:
                asked.keep.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(asked.keep / f"{scenario}-{seed}", ignore_errors=True)
                folder = Path(shutil.move(folder, asked.keep / f"{scenario}-{seed}"))
            print(f"  again: python -m tests.torture --seed {seed} --rounds 1 {scenario}; kept: {folder}", flush=True)
            if asked.until_false:
                break
    counted = ", ".join(f"{name} {number}" for name, number in sorted(total.items()))
    print(f"{done} rounds, {false} with something false; {counted}")
    return int(bool(false))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
