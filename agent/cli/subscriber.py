"""`ispagent subscriber`: the inventory of subscribers and their services."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.change import AllServices, Hold, ask
from agent.cli.client import Json, ListOutput, call_list, call_object, print_json, print_lines, read_file
from agent.cli.subscriber_page import page
from agent.cli.when import query
from trust.terminal import Column, neutralize

app = typer.Typer()
SHOWN = 10
"""Lines of one kind that an import prints."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header; - is standard input")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes, store nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Merge a CSV of services into the inventory; services that it leaves out stay.

    Another login, access method or protection of a known service, and a new service with a known one's login, are not
    stored: they become a change that somebody approves. With [policy] approve_first_import, so is all of a first list.
    """
    body = {"csv": client.b64(read_file(file)), "dry_run": dry_run}
    done = call_object("POST", "/v1/subscribers/import", body, timeout_s=120)
    if as_json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    print(f"{done['rows']} rows: {done['added']} {would}added, {done['changed_count']} {would}changed")
    print(f"{done['unchanged']} as before, {done['not_in_file']} known and not in the file: kept")
    _print_fields(cast("list[Json]", done["changed"]))
    if done["edits_count"]:
        first = done["first_import"]  # [policy] approve_first_import
        what = "the first list" if first else "a new login, access method or protection"
        print(f"{done['edits_count']} NOT STORED: {what} needs an approval")
        _print_fields(cast("list[Json]", done["edits"]))
    if done["cannot_enforce_count"]:
        print(f"{done['cannot_enforce_count']} CANNOT BE ENFORCED as configured:")
        for missing in cast("list[Json]", done["cannot_enforce_by"])[:SHOWN]:
            print(f"  {missing['services']:>6}  {neutralize(str(missing['what']))}")
        for line in cast("list[str]", done["cannot_enforce"])[:SHOWN]:
            print(f"  {neutralize(line)}")
        if (more := cast("int", done["cannot_enforce_count"]) - SHOWN) > 0:
            print(f"  … {more} more: --json has the first 50")
    if "change" in done:
        print(f"change {done['change']} has them and waits for approval: ispagent change show {done['change']}")
    if refused := cast("list[str]", done.get("edits_refused", [])):
        lines = ["they were refused, and the entries are as before:", *map(neutralize, refused)]
        print("\n".join(lines), file=sys.stderr)
        raise typer.Exit(client.REFUSED)


def _print_fields(changes: list[Json]) -> None:
    for change in changes[:SHOWN]:
        print(f"  {change['ref']}: {neutralize('; '.join(cast('list[str]', change['fields'])))}")


@app.command("list")
def list_(
    tariff: Annotated[str, typer.Option("--tariff", help="Only services on this tariff")] = "",
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List services."""
    found = call_list("GET", f"/v1/subscribers{f'?tariff={quote(tariff)}' if tariff else ''}")
    if found or as_json or output is not None:
        print_lines(found, output, as_json, _COLUMNS, _row, lambda: "\n".join(map(_line, found)))


_COLUMNS = (
    Column("service"),
    Column("name"),
    Column("tariff"),
    Column("login"),
    Column("suspended for"),
    Column("method", wide=True),
    Column("protected", wide=True),
)


def _row(s: Json) -> tuple[str, ...]:
    """Return the cells of a service in a list."""
    reasons = ", ".join(cast("list[str]", s["suspended_for"]))
    return (
        *(str(s[name]) for name in ("ref", "name", "tariff", "login")),
        reasons,
        str(s["method"]),
        str(s["protected"]),
    )


def _line(s: Json) -> str:
    """Return a service as one line of a list."""
    reasons = ", ".join(cast("list[str]", s["suspended_for"]))
    state = f"SUSPENDED {reasons}" if reasons else ""
    return neutralize(f"{s['ref']:<20} {s['name']:<28} {s['tariff']:<14} {s['login']:<20} {state}".rstrip())


@app.command()
def find(
    text: Annotated[list[str], typer.Argument(help="Name, number, login, phone, MAC, address…", metavar="TEXT")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Services to show")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find services by any part of their data; MAC addresses and phone numbers in any spelling."""
    wanted = " ".join(text)
    found = call_object("GET", f"/v1/subscriber-search?text={quote(wanted, safe='')}&limit={limit}")
    if as_json:
        print_json(found)
        return
    services, total = cast("list[Json]", found["services"]), cast("int", found["total"])
    if "address" in found:
        for line in _holder_lines(found):
            print(neutralize(line))
    elif not services:
        client.fail(f"nothing is known under {wanted}: a shorter part of the name may fit", client.FAILED)
    if found["near"]:
        print(f"nothing is called {neutralize(wanted)}; near it:")
    for s in services:
        print(_line(s))
        for line in _extra_lines(s):
            print(line)
    if total > len(services) or found["more"]:
        least = "at least " if found["more"] else ""
        print(f"… and {least}{total - len(services)} more: add a word, or --limit {total}")


def _holder_lines(found: Json) -> list[str]:
    """Return the holders of an IP address now, and the targets that did not say."""
    address, lines = found["address"], []
    for holder in cast("list[Json]", found["holders"]):
        lines.append(f"{address} now: login {holder['login']}, {holder['told']} ({holder['target']})")
        services = cast("list[Json]", holder["services"])
        lines += [f"  {_line(s)}" for s in services] or ["  no service has that login"]
    not_checked = cast("dict[str, str]", found["not_checked"])
    if not lines:
        told = "no target that was asked" if not_checked else "no target"
        lines.append(f"{address} now: {told} tells of anybody who has it")
    return [*lines, *(f"not checked: {target}: {why}" for target, why in not_checked.items())]


def _extra_lines(s: Json) -> list[str]:
    """Return the further columns of the import that a service has, wrapped; none where it has none."""
    extra = cast("dict[str, str]", s["extra"])
    text = " · ".join(f"{name} {value}" for name, value in extra.items() if value)
    return [neutralize(line) for line in textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")]


@app.command()
def show(
    ref: Annotated[str, typer.Argument(help="C-10482, C-10482/home, a login or a MAC address")],
    history: Annotated[bool, typer.Option("--history", help="All changes, not only the last five")] = False,
    no_network: Annotated[bool, typer.Option("--no-network", help="Do not ask the network")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a customer: the network now, the record, billing, CPE and the last changes."""
    flags = {"history": "1" if history else "", "network": "0" if no_network else ""}
    found = call_object("GET", f"/v1/subscribers/{quote(ref, safe='')}{query(flags)}", timeout_s=60)
    if as_json:
        print_json(found)
        return
    for line in page(found, whole=history):
        print(neutralize(line))


@app.command()
def remove(
    refs: Annotated[list[str], typer.Argument(help="Services, or subscribers with --all-services", metavar="REF")],
    all_services: AllServices = False,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Take services out of the inventory: a change, with preview and approval. Nothing is sent to the network."""
    ask({"action": "remove", "refs": refs, "all_services": all_services, "hold": hold}, as_json)


@app.command("rename-login")
def rename_login(
    ref: Annotated[str, typer.Argument(help="The service: C-10482/home", metavar="REF")],
    new: Annotated[str, typer.Argument(help="Its login from now on, as the network has it", metavar="NEW")],
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Write another login for a service: a change, with preview and approval. Nothing is sent to the network."""
    ask({"action": "rename-login", "refs": [ref], "settings": {"login": new}, "hold": hold}, as_json)
