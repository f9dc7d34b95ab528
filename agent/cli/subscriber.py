"""`ispagent subscriber`: who the agent knows."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import Json, call_list, call_object, print_json, read_file
from agent.cli.cpe import support_lines
from trust.render import neutralise

app = typer.Typer(help="Subscribers and their services.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header; - is standard input")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, store nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Merge a CSV of services into the inventory; what it leaves out stays."""
    body = {"csv": client.b64(read_file(file)), "dry_run": dry_run}
    done = call_object("POST", "/v1/subscribers/import", body, timeout_s=120)
    if as_json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    print(f"{done['rows']} rows: {done['added']} {would}added, {done['changed_count']} {would}changed")
    print(f"{done['unchanged']} as before, {done['not_in_file']} known and not in the file: kept")
    for change in cast("list[Json]", done["changed"])[:10]:
        print(f"  {change['ref']}: {neutralise('; '.join(cast('list[str]', change['fields'])))}")
    if done["cannot_enforce_count"]:
        print(f"{done['cannot_enforce_count']} CANNOT BE ENFORCED as configured:")
        for line in cast("list[str]", done["cannot_enforce"])[:10]:
            print(f"  {neutralise(line)}")


@app.command("list")
def list_(
    tariff: Annotated[str, typer.Option("--tariff", help="Only services on this tariff")] = "",
    as_json: AsJson = False,
) -> None:
    """List services."""
    found = call_list("GET", f"/v1/subscribers{f'?tariff={quote(tariff)}' if tariff else ''}")
    if as_json:
        print_json(found)
        return
    for s in found:
        print(_line(s))


def _line(s: Json) -> str:
    """Return a service as one line of a list."""
    reasons = ", ".join(cast("list[str]", s["suspended_for"]))
    state = f"SUSPENDED {reasons}" if reasons else ""
    return neutralise(f"{s['ref']:<20} {s['name']:<28} {s['tariff']:<14} {s['login']:<20} {state}".rstrip())


@app.command()
def find(
    text: Annotated[list[str], typer.Argument(help="Name, number, login, phone, MAC, address…", metavar="TEXT")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Services to show")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find services by any part of what is known of them; MAC addresses and phone numbers in any spelling."""
    wanted = " ".join(text)
    found = call_object("GET", f"/v1/subscriber-search?text={quote(wanted, safe='')}&limit={limit}")
    if as_json:
        print_json(found)
        return
    services, total = cast("list[Json]", found["services"]), cast("int", found["total"])
    if not services:
        client.fail(f"nothing is known under {neutralise(wanted)}: a shorter part of the name may fit", client.FAILED)
    if found["near"]:
        print(f"nothing is called {neutralise(wanted)}; near it:")
    for s in services:
        print(_line(s))
        for line in _extra_lines(s):
            print(line)
    if total > len(services) or found["more"]:
        least = "at least " if found["more"] else ""
        print(f"… and {least}{total - len(services)} more: add a word, or --limit {total}")


def _extra_lines(s: Json) -> list[str]:
    """Return the further columns of the import that a service has, wrapped; none where it has none."""
    extra = cast("dict[str, str]", s["extra"])
    text = " · ".join(f"{name} {value}" for name, value in extra.items() if value)
    return [neutralise(line) for line in textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")]


@app.command()
def show(ref: Annotated[str, typer.Argument(help="C-10482 or C-10482/home")], as_json: AsJson = False) -> None:
    """Show a subscriber's services, billing data and CPE: what is known, how old it is, and what is missing."""
    found = call_object("GET", f"/v1/subscribers/{quote(ref, safe='')}")
    if as_json:
        print_json(found)
        return
    for s in cast("list[Json]", found["services"]):
        reasons = ", ".join(cast("list[str]", s["suspended_for"]))
        print(neutralise(f"{s['ref']} {s['name']} · {s['tariff']} · {s['login']} · {s['method']}"))
        print(neutralise(f"  {f'suspended for {reasons}' if reasons else 'active'}"))
        if s["protected"] or s["feeds"]:
            print(neutralise(f"  protected: {s['protected'] or '-'} · feeds {s['feeds']}"))
    for c in cast("list[Json]", found["cpes"]):
        for line in support_lines(c):
            print(neutralise(line))
    billing = cast("Json | None", found["billing"])
    print(f"billing: {neutralise(str(billing['text'])) if billing else 'no data'}")
