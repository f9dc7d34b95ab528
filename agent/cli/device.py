"""`ispagent device`: routers, as the agent knows them, a look at one now, and how one is brought in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import Json, ListOutput, call_list, call_object, print_json, print_list
from agent.model import age_text
from trust.render import neutralise
from trust.terminal import Column

app = typer.Typer(help="Routers: what is known of them, and how one is brought in.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Name = Annotated[str, typer.Argument(help="What the router is called in the configuration, such as edge-1")]

PROBE_S: Final = 180.0
"""Three users log in one after the other, and each may have to be waited for."""
_STATES: Final = {
    "not-asked": "not asked yet",
    "reachable": "reachable",
    "unreachable": "UNREACHABLE",
    "refused": "REFUSED",
}


_COLUMNS: Final = (
    *map(Column, ("NAME", "ADDRESS", "VERSION", "IDENTITY", "STATE", "FINDINGS", "READ")),
    Column("WHICH", wide=True),
)


@app.command("list")
def list_(output: ListOutput = None, as_json: AsJson = False) -> None:
    """List the routers: what is known of each, and how old that is. Nothing is asked of them."""
    found = call_list("GET", "/v1/devices")
    if not print_list(found, output, as_json, _COLUMNS, _row):
        return
    for d in found:
        if d["problem"]:
            print(neutralise(f"{d['name']}: {d['problem']}"))


def _row(d: Json) -> tuple[str, ...]:
    findings = cast("list[Json]", d["findings"])
    return (
        str(d["name"]),
        str(d["address"]),
        str(d["version"] or ""),
        str(d["identity"] or ""),
        _STATES[str(d["state"])],
        "" if d["age_s"] is None else str(len(findings)),
        _age(d),
        ", ".join(str(f["code"]) for f in findings),
    )


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything that is known of a router, and how old it is. Nothing is asked of it."""
    found = call_object("GET", f"/v1/devices/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    _print_device(found)


@app.command()
def probe(name: Name, as_json: AsJson = False) -> None:
    """Connect to a router now and show what is found. Nothing is written on it, so nobody has to approve."""
    found = call_object("POST", f"/v1/devices/{quote(name, safe='')}/probe", {}, timeout_s=PROBE_S)
    if as_json:
        print_json(found)
    else:
        _print_device(found)
        print("\nnothing was written on it")
    if found["state"] != "reachable":
        raise typer.Exit(client.FAILED)


def _print_device(d: Json) -> None:
    print(neutralise(f"{d['name']} · {d['address']} · {_STATES[str(d['state'])]} · read {_age(d)}"))
    if d["problem"]:
        at = datetime.fromtimestamp(cast("int", d["tried_s"]), UTC) if d["tried_s"] else None
        print(neutralise(f"{at:%Y-%m-%d %H:%M:%S}Z {d['problem']}" if at else str(d["problem"])))
    if d["age_s"] is None:
        print(f"nothing was read of it since the agent started: ispagent device probe {d['name']}")
    elif d["problem"]:
        print(f"what follows is {_age(d)}")
    for label, text in cast("dict[str, str]", d["facts"]).items():
        print(neutralise(f"{label:<13} {text}"))
    for one in cast("list[Json]", d["polled"]):
        print(neutralise(f"{one['name']:<24} {one['value']} ({age_text(cast('int', one['age_s']))} ago)"))
    findings = cast("list[Json]", d["findings"])
    if findings:
        print(f"{len(findings)} FINDING{'S' if len(findings) > 1 else ''}")
    elif d["age_s"] is not None:
        print("no findings")
    for finding in findings:
        print(neutralise(f"! {finding['text']} [{finding['code']}]"))


def _age(d: Json) -> str:
    return "never" if d["age_s"] is None else f"{age_text(cast('int', d['age_s']))} ago"
