"""`python -m tests.year --seed N --asks 3000`: live through a dirty year, print what it showed as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import trio

from tests.e2e.files import real_radius
from tests.servers import FreeRadius, MariaDB, PostgreSQL
from tests.year.year import YearOptions, live, restarter


def main(argv: list[str]) -> int:
    """Return 0 where nothing false was claimed and nobody harmed."""
    parser = argparse.ArgumentParser(prog="python -m tests.year")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asks", type=int, default=3000)
    parser.add_argument("--round", type=int, default=50, help="asks between two moves of the clock")
    parser.add_argument("--services", type=int, default=600)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="postgresql")
    parser.add_argument("--freeradius", action="store_true", help="a real FreeRADIUS answers; else the lab's model")
    args = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isp-year-")))
        server: PostgreSQL | MariaDB | None = None
        if args.database == "postgresql":
            server = stack.enter_context(PostgreSQL())
        elif args.database == "mariadb":
            server = stack.enter_context(MariaDB())
        database = None if server is None else server.fresh()
        radius = None
        if args.freeradius and database is not None:
            radius = real_radius(stack.enter_context(FreeRadius(database)))

        options = YearOptions(
            folder,
            seed=args.seed,
            services=args.services,
            asks=args.asks,
            asks_a_round=args.round,
            database=database,
            radius=radius,
            restart=None if server is None else restarter(server),
            say=lambda text: print(text, file=sys.stderr),
        )
        report = trio.run(live, options)
    print(json.dumps(report.json(), indent=1, ensure_ascii=False))
    return 1 if report.false or report.harm else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
