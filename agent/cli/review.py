"""`ispagent review`: changes that one person made alone, and their reviews by another."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from agent.cli.change import Id, Signed, submit
from agent.cli.client import Json, call_list, print_json
from agent.cli.when import said, when_text
from trust.terminal import neutralize

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
_VERDICTS = {"approve": "in order", "reject": "NOT IN ORDER"}


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Closed reviews too")] = False, as_json: AsJson = False
) -> None:
    """List the reviews that wait for a second person, the oldest first."""
    found = call_list("GET", f"/v1/reviews{'?closed=1' if everything else ''}")
    if as_json:
        print_json(found)
        return
    if not found:
        print("no reviews yet" if everything else "no review is open")
    for review in found:
        print(_line(review))
    if any(not review["verdict"] for review in found):
        print("to close one: ispagent change show ID --export DIR, then at a desk: ispcloud changes review --file DIR")


def _line(review: Json) -> str:
    counts = ", ".join(f"{n} {state}" for state, n in cast("dict[str, int]", review["counts"]).items())
    opened = when_text(review["opened_at"])
    why = f"{review['action']} {str(review['reason'])[1:]}".rstrip()
    head = (
        f"{review['id']:<6} {opened} {why:<15} by {neutralize(str(review['person'])):<10} {review['state']} · {counts}"
    )
    if not review["verdict"]:
        return head
    at = said(review["closed_at"])
    return f"{head}\n       {_VERDICTS[str(review['verdict'])]}, says {neutralize(str(review['closed_by']))} {at}"


@app.command()
def close(id_: Id, file: Signed, as_json: AsJson = False) -> None:
    """Hand in a second person's signed review (ispcloud changes review)."""
    submit(file, as_json, id_)
