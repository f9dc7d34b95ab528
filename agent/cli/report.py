"""`ispagent report`: suspended, restored, failed and pending, from the journal."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from agent.cli import client
from agent.cli.billing import source_lines
from agent.cli.client import Json, call_object, fail, print_json
from agent.cli.when import Since, Until, period, query
from trust.terminal import neutralize

app = typer.Typer()

_ALWAYS = ("suspended", "restored", "failed", "pending")


@app.command()
def report(
    since: Since = "30d",
    until: Until = "",
    by: Annotated[str, typer.Option("--by", help="day or tariff; by both unless given")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, every column")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Count suspensions and restores by day and tariff, and payers; each item asked for stands in one column."""
    if as_csv and as_json:
        fail("expected --csv or --json, got both", client.USAGE)
    found = call_object("GET", f"/v1/report{query({'by': by} | period(since, until))}", timeout_s=120)
    if as_json:
        print_json(found)
        return
    columns, rows = cast("list[str]", found["columns"]), cast("list[Json]", found["rows"])
    keys = [name for name in ("day", "tariff") if name in cast("list[str]", found["by"])]
    if as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow([*keys, *columns])
        out.writerows([row[name] for name in (*keys, *columns)] for row in rows)
        return
    if not rows:
        print("nothing was suspended or restored in that time")
    else:
        for line in _table(keys, [c for c in columns if c in _ALWAYS or any(row[c] for row in rows)], rows):
            print(line)
    if found["billing"] is not None:
        for line in billing_lines(cast("Json", found["billing"])):
            print(neutralize(line))


def billing_lines(billing: Json) -> list[str]:
    """Return the payers of the period, and the state of billing now, as lines for people."""
    waits = f"now {billing['waiting']} wait, {billing['for_people']} are in doubt"
    head = f"payers restored by the agent: {billing['payers_restored']} · {waits}"
    more = f" · {billing['unmatched']} payments have no subscriber" if billing["unmatched"] else ""
    return [head + more, *(line for one in cast("list[Json]", billing["sources"]) for line in source_lines(one))]


def _table(keys: Sequence[str], columns: Sequence[str], rows: Sequence[Json]) -> list[str]:
    """Return rows as aligned text, with a last one of sums; a column that is empty everywhere is not among them."""
    total = {column: sum(cast("int", row[column]) for row in rows) for column in columns}
    heads = [*keys, *(column.replace("_", " ") for column in columns)]
    cells = [[neutralize(str(row[key])) for key in keys] + [str(row[c] or "-") for c in columns] for row in rows]
    sums = [*(["all"] + [""] * len(keys))[: len(keys)], *(str(total[column]) for column in columns)]
    table = [heads, *cells, sums]
    widths = [max(len(line[n]) for line in table) for n in range(len(heads))]
    return [
        "  ".join(
            f"{text:<{width}}" if n < len(keys) else f"{text:>{width}}"
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
