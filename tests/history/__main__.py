"""`python -m tests.history --subscribers 9000 --every 45`: replay two years, print what was seen as JSON."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Mapping

import trio

from tests.history.campaign import Opens, campaign
from tests.history.replay import OPERATORS, Replayed
from tests.history.through_csv import through_csv
from tests.history.through_splynx import through_splynx
from tests.history.through_sql import through_sql
from tests.history.through_uisp import through_uisp
from tests.history.whole_agent import live
from tests.servers import PostgreSQL

THROUGH: Mapping[str, Opens] = {"csv": through_csv, "uisp": through_uisp, "splynx": through_splynx}
"""And `sql`, on a PostgreSQL of its own; and `agent`, a whole one on a lab network."""


def main(argv: list[str]) -> int:
    """Return 0 where the agent and the oracle agree on everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.history")
    parser.add_argument("--subscribers", type=int, default=9000)
    parser.add_argument("--every", type=int, default=45, help="days between two days that are played")
    parser.add_argument("--through", choices=(*THROUGH, "sql", "agent"), default="csv")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hot", type=int, default=40, help="further moments of each batch of 300, or of each agent")
    args = parser.parse_args(argv)
    begun_s = time.monotonic()
    say = functools.partial(print, file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        if args.through == "agent":
            return _report(args, _whole_agents(args, say), begun_s)
        opens = through_sql(stack.enter_context(PostgreSQL())) if args.through == "sql" else THROUGH[args.through]
        run = functools.partial(campaign, opens, args.subscribers, args.every, args.seed, args.hot, say=say)
        seen = trio.run(run)
    return _report(args, seen, begun_s)  # after the database has ended, so that its CPU time counts


def _whole_agents(args: argparse.Namespace, say: Callable[[str], None]) -> Replayed:
    """Let an agent of each operator live through two years, one after the other."""
    logging.disable(logging.CRITICAL)
    whole = Replayed()
    for n, (name, operator) in enumerate(OPERATORS.items()):
        count = args.subscribers // len(OPERATORS) + (n < args.subscribers % len(OPERATORS))
        say(f"{name}: {count} subscribers")
        whole.add(live(operator, count, args.every, seed=args.seed, hot=args.hot, prefix=chr(65 + n), say=say))
    return whole


def _report(args: argparse.Namespace, seen: Replayed, begun_s: float) -> int:
    report = {
        "through": args.through,
        "subscribers": args.subscribers,
        "decisions": seen.decisions,
        "seen": dict(sorted(seen.seen.items())),
        "differ": seen.differ[:50],
        "took_s": round(time.monotonic() - begun_s),
        "cpu_s": round(
            sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ),
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return 1 if seen.differ else 0


def _cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
