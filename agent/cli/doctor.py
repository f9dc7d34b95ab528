"""`ispagent doctor`: is it the agent, the database, or the NAS? Each fault is told with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import typer

from agent.cli import client
from agent.cli.client import Json, call_object, print_json, say
from trust.render import neutralise

DOCTOR_S = 180.0
"""Targets are checked at once, and each has a minute; then services are read."""
WORDS = {"ok": "ok", "warning": "LOOK", "fails": "FAILS", "not-checked": "not checked"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Check all that the agent depends on: logins, privileges, groups, NAS, clock, disk, billing, trust.

    It writes nothing. Exit code 5: a check fails; each that does names the command or the SQL that mends it.
    """
    found = call_object("GET", "/v1/doctor", timeout_s=DOCTOR_S)
    checks = cast("list[Json]", found["checks"])
    if as_json:
        print_json(found)
    else:
        for line in check_lines(checks):
            say(line)
        counts = {word: sum(WORDS[str(c["result"])] == word for c in checks) for word in WORDS.values()}
        print(", ".join(f"{n} {word}" for word, n in counts.items() if n))
    if any(check["result"] == "fails" for check in checks):
        raise typer.Exit(client.DEGRADED)


def check_lines(checks: Sequence[Json]) -> list[str]:
    """Return a line for each check, and one below it with its remedy."""
    width = max((len(str(c["about"])) for c in checks), default=0)
    lines = []
    for c in checks:
        word = WORDS[str(c["result"])]
        lines.append(f"{word:<11}  {c['about']:<{width}}  {c['what']}: {neutralise(str(c['detail']))}")
        if c["mend"] and c["result"] != "ok":
            lines.append(f"{'':<11}  > {neutralise(str(c['mend']))}")
    return lines
