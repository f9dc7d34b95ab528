"""`python -m tests.history --subscribers 9000 --every 45`: replay two years, print what was seen as JSON."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from collections.abc import Mapping

import trio

from tests.history.campaign import Opens, campaign
from tests.history.through_csv import through_csv
from tests.history.through_splynx import through_splynx
from tests.history.through_sql import through_sql
from tests.history.through_uisp import through_uisp
from tests.servers import PostgreSQL

THROUGH: Mapping[str, Opens] = {"csv": through_csv, "uisp": through_uisp, "splynx": through_splynx}
"""And `sql`, on a PostgreSQL of its own."""


def main(argv: list[str]) -> int:
    """Return 0 where the agent and the oracle agree on everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.history")
    parser.add_argument("--subscribers", type=int, default=9000)
    parser.add_argument("--every", type=int, default=45, help="days between two days that are played")
    parser.add_argument("--through", choices=(*THROUGH, "sql"), default="csv")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hot", type=int, default=40, help="further moments of each batch of 300")
    args = parser.parse_args(argv)
    begun_s = time.monotonic()
    say = functools.partial(print, file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        opens = through_sql(stack.enter_context(PostgreSQL())) if args.through == "sql" else THROUGH[args.through]
        run = functools.partial(campaign, opens, args.subscribers, args.every, args.seed, args.hot, say=say)
        seen = trio.run(run)
    report = {
        "through": args.through,
        "subscribers": args.subscribers,
        "decisions": seen.decisions,
        "seen": dict(sorted(seen.seen.items())),
        "differ": seen.differ[:50],
        "took_s": round(time.monotonic() - begun_s),
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return 1 if seen.differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
