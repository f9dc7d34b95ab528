"""`ispagent audit`: the log, its proofs, and evidence for people that trust nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from agent.cli.client import Json, ListOutput, call_list, call_object, print_json, print_lines, write_file
from agent.cli.outcome import event_text
from agent.cli.when import For, Since, Until, period, query, when_text
from trust.terminal import Column

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Open = Annotated[bool, typer.Option("--open", help="Lay the records open: the file then names subscribers")]
Out = Annotated[Path, typer.Option("--out", help="Where to write the file")]


@app.command("list")
def list_(
    change: Annotated[str, typer.Option("--change", help="Only this change's events")] = "",
    for_: For = "",
    since: Since = "",
    until: Until = "",
    by: Annotated[str, typer.Option("--by", help="Only by this person: asked, approved, imported…")] = "",
    newest: Annotated[bool, typer.Option("--newest", help="Newest first")] = False,
    after: Annotated[int, typer.Option("--after", help="Only events after this number")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Events to show")] = 1000,
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List events, oldest first (a thousand at a time). `--for`: about one customer, changes as a whole with them."""
    flags = {
        "change": change,
        "for": for_,
        "by": by,
        "newest": "1" if newest else "",
        "after": str(after or ""),
        "limit": str(limit),
    }
    events = call_list("GET", f"/v1/audit{query(flags | period(since, until))}")
    if events or as_json or output is not None:
        print_lines(events, output, as_json, _COLUMNS, _row, lambda: "\n".join(map(_line, events)))


_COLUMNS = (
    Column("number"),
    Column("change"),
    Column("at"),
    Column("event"),
    Column("kind", wide=True),
    Column("item", wide=True),
)


def _row(event: Json) -> tuple[str, ...]:
    """Return the cells of an event in a list."""
    at, text = when_text(event["at"]).strip(), event_text(event).partition("  ")[2]
    return str(event["seq"]), str(event["short"] or ""), at, text, str(event["kind"]), str(event["item"] or "")


def _line(event: Json) -> str:
    """Return an event as one line of a list."""
    text = event_text(event).partition("  ")[2]
    return f"{event['seq']:>7} {event['short'] or '-':<6} {when_text(event['at'])}  {text}"


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Recompute the whole log: every leaf, record and tree node."""
    found = call_object("GET", "/v1/audit/verify", timeout_s=600)
    if as_json:
        print_json(found)
        return
    print(f"{found['leaves']} leaves: each record, leaf and tree node adds up · {found['witnessed_text']}")
    print(f"log key {found['vkey']}")


@app.command()
def proof(seq: Annotated[int, typer.Argument(help="The event's number")], out: Out, open_: Open = False) -> None:
    """Write the proof of one event; `python -m trust verify FILE --vkey KEY` checks it anywhere."""
    found = call_object("GET", f"/v1/audit/proof/{seq}{'?open=1' if open_ else ''}")
    write_file(out, str(found["file"]).encode())
    print(f"{out}: event {seq}, its proof and the signed checkpoint")


@app.command()
def export(
    change: Annotated[str, typer.Argument(help="The change's id", metavar="ID")], out: Out, open_: Open = False
) -> None:
    """Write a change's evidence: leaves with proofs, plan, approvals, outcome, trust documents."""
    found = call_object("POST", f"/v1/audit/export/{quote(change, safe='')}{'?open=1' if open_ else ''}", {}, 120)
    write_file(out, str(found["file"]).encode())
    print(f"{out}: the evidence of {change}")
