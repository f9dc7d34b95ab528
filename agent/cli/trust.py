"""`ispagent trust`: install the trust document, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from agent.cli import client
from agent.cli.client import Json, call_object, fail, print_json, read_file
from agent.cli.when import said
from trust.plural import counted

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def install(
    file: Annotated[Path, typer.Argument(help="The signed trust document")],
    words: Annotated[str, typer.Option("--words", help="Its head's words; asked for when left out")] = "",
) -> None:
    """Pin a trust document. The first one is compared with the words of its head, which you type."""
    data = read_file(file)
    current = call_object("GET", "/v1/trust")
    if current["version"] is None and not words:
        print("Read the head's words from somebody who signed it (ispcloud trust show), not from this file.")
        words = typer.prompt("words of the head")
    done = call_object("POST", "/v1/trust", {"document": client.b64(data), "words": words})
    print(f"trust version {done['version']} is pinned: {done['sha256']}")


@app.command()
def accept(words: Annotated[str, typer.Option("--words", help="Its head's words [asked for]")] = "") -> None:
    """After a restored backup: accept the pinned version, though a newer one may have been in force."""
    found = call_object("GET", "/v1/trust")
    if not found["doubt"]:
        fail("trust: it is not in doubt: there is nothing to accept", client.REFUSED)
    print(found["doubt"])
    typed = words or typer.prompt(f"words of the head of version {found['version']}")
    call_object("POST", "/v1/trust/accept", {"words": typed})
    print(f"trust version {found['version']} is accepted")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the trust in force: people, roles, policy."""
    found = call_object("GET", "/v1/trust")
    if as_json:
        print_json(found)
        return
    if found["version"] is None:
        print("no trust is installed: ispagent trust install FILE")
        return
    print(f"version {found['version']} · expires {said(found['expires'])}")
    print(f"head    {found['words']}")
    if found["doubt"]:
        print(f"DOUBT   {found['doubt']}")
    for person in cast("list[Json]", found["people"]):
        sees = "sees subscribers" if person["sees_subscribers"] else "sees summaries"
        print(f"person  {person['handle']:<16} {', '.join(cast('list[str]', person['roles']))} · {sees}")
    for policy in cast("list[Json]", found["policy"]):
        people, most = counted(policy["approvals"], "approval"), counted(policy["max_items"], "item")
        print(f"policy  {policy['class']:<16} {people}, at most {most}")
