"""`ispagent device`: routers, as the agent knows them, a look at one now, and how one is brought in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import Json, call_list, call_object, print_json
from agent.model import age_text
from trust.render import neutralise

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


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the routers: what is known of each, and how old that is. Nothing is asked of them."""
    found = call_list("GET", "/v1/devices")
    if as_json:
        print_json(found)
        return
    print(f"{'NAME':<16} {'ADDRESS':<22} {'VERSION':<9} {'IDENTITY':<20} {'STATE':<13} {'FINDINGS':<8} READ")
    for d in found:
        known = d["age_s"] is not None
        findings = len(cast("list[Json]", d["findings"]))
        version, identity = (str(d[key] or "-") for key in ("version", "identity"))
        cells = f"{d['name']:<16} {d['address']:<22} {version:<9} {identity:<20} {_STATES[str(d['state'])]:<13}"
        print(neutralise(f"{cells} {findings if known else '-':<8} {_age(d)}"))
    for d in found:
        if d["problem"]:
            print(neutralise(f"{d['name']}: {d['problem']}"))


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
