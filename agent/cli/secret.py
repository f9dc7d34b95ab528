"""`ispagent secret`: passwords of databases and shared secrets of NAS, sealed at rest."""

from __future__ import annotations

import sys
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import call_object, fail, print_json
from trust.terminal import Column, check_lines

app = typer.Typer()
TRY_S = 90.0
"""A database or a NAS that does not answer is waited for."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The name that the configuration uses")],
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input, without asking")] = False,
) -> None:
    """Set a secret, asked for without echo and never printed again, and try it. Exit code 4: it is set, and refused."""
    if stdin:
        value = sys.stdin.buffer.read().removesuffix(b"\n")
    else:
        value = str(typer.prompt(f"secret {name}", hide_input=True, confirmation_prompt=True)).encode()
    if not value:
        fail(f"expected a secret for {name}, got nothing", client.USAGE)
    path = f"/v1/secrets/{quote(name, safe='')}"
    call_object("POST", path, {"secret": client.b64(value)})
    print(f"secret {name} is set", flush=True)
    checks = cast("list[client.Json]", call_object("POST", f"{path}/try", {}, timeout_s=TRY_S)["checks"])
    for line in check_lines(checks):
        client.say(line)
    if any(check["result"] == "fails" for check in checks):
        raise typer.Exit(client.MIXED)


@app.command("list")
def list_(output: client.ListOutput = None, as_json: AsJson = False) -> None:
    """List the secrets that the configuration names, and which are set. Never their values."""
    found = call_object("GET", "/v1/secrets")
    if as_json:
        print_json(found)
        return
    have = set(cast("list[str]", found["secrets"]))
    wanted: list[client.Json] = [{"name": n, "set": n in have} for n in cast("list[str]", found["wanted"])]
    if wanted or output is not None:
        client.print_lines(wanted, output, as_json, _COLUMNS, _row, lambda: "\n".join(map(_line, wanted)))


_COLUMNS = (Column("secret"), Column("state"))


def _row(secret: client.Json) -> tuple[str, ...]:
    """Return the cells of a secret in a list."""
    return str(secret["name"]), "set" if secret["set"] else "NOT SET"


def _line(secret: client.Json) -> str:
    """Return a secret as one line of a list."""
    name, state = _row(secret)
    return f"{name:<32} {state}"
