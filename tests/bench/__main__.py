"""`python -m tests.bench [NAME...] [--markdown] [--profile FILE]`: JSON, one result a line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    acs,
    acs_attack,
    acs_fleet,
    acs_malformed,
    acs_tree,
    api_stalls,
    backup,
    billing_paid,
    billing_read,
    cloud_approval,
    cloud_connections,
    cloud_submit,
    find,
    hooks_forged,
    journal,
    outage,
    routeros_held,
    routeros_read,
    routeros_write,
    routers_batch,
    snmp_poll,
    snmp_read,
    start_ready,
    startup,
    suspend,
    verify,
)
from tests.bench.result import Result, table


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", help="which (an unknown one: they are listed); none: all")
    parser.add_argument("--markdown", action="store_true", help="print a table too")
    parser.add_argument("--profile", type=Path, help="write cProfile's numbers of the agent there: suspend_2000, acs")
    args = parser.parse_args(argv)
    benches: dict[str, Callable[[], list[Result]]] = {
        "cli_status": startup.bench,
        "cli_startup": startup.bench_starts,
        "verify_100000_leaves": verify.bench,
        "subscriber_find": find.bench,
        "log_append": journal.bench_append,
        "journal_steps": journal.bench_steps,
        "billing_paid_300": billing_paid.bench,
        "suspend_2000": lambda: suspend.bench(profile=args.profile),
        "routeros_read": routeros_read.bench,
        "routeros_write": routeros_write.bench,
        "routeros_held": routeros_held.bench,
        "routers_batch": routers_batch.bench,
        "snmp_read": snmp_read.bench,
        "cloud_submits": cloud_submit.bench,
        "cloud_connections_2000": cloud_connections.bench,
        "cloud_storm_500": cloud_connections.bench_storm,
        "cloud_approval": cloud_approval.bench,
        "api_stalls": api_stalls.bench,
        "backup": backup.bench,
        "start_ready": start_ready.bench,
        "billing_read": billing_read.bench,
        "hooks_forged": hooks_forged.bench,
        "snmp_poll": snmp_poll.bench,
        "outage_view": outage.bench,
        "acs": lambda: acs.bench(profile=args.profile),
        "acs_attack": acs_attack.bench,
        "acs_fleet": acs_fleet.bench,
        "acs_tree": acs_tree.bench,
        "acs_malformed": acs_malformed.bench,
    }
    if unknown := set(args.names) - benches.keys():
        parser.error(f"expected names out of {', '.join(benches)}, got {', '.join(sorted(unknown))}")
    results: list[Result] = []
    for name, bench in benches.items():
        if not args.names or name in args.names:
            for result in bench():
                results.append(result)
                print(json.dumps(result.json()), flush=True)
    if args.markdown:
        print(table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
